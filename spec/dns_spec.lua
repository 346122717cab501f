local nsbox = require "nsbox"
local dns = require "nsbox.dns"
local children = require "children"
local rundir = require "nsbox.rundir"
local blame = require "blame"
local roots = require "roots"
local misuse, failure = blame.misuse, blame.failure

local LOCAL <const> = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"

local function cat(box, ...) return box:exec({ "cat", ... }).stdout end

-- files that boxes have mounted
local function held()
  local list = {}
  for _, name in ipairs(rundir.open "spec" and entries(rundir.path()) or {}) do
    list[#list + 1] = name:match "^dns%-"
  end
  return #list
end

describe("scope:dns", function()
  it("says what to do where /etc may not be written to #user", function()
    needs("netns", "mount_api")
    require "inside"({ "user", "net", "mnt" }, function()
      sh "mount -t tmpfs tmpfs /run"
      local here = nsbox.scope { private = false }
      here:netns "blue"
      local err = failure(function() here:dns("blue", "9.9.9.9") end, "EACCES")
      assert.equal("dns /etc/netns: Permission denied (EACCES)\n  hint: the files of a name are in "
        .. "/etc/netns, which this script may not write to; a scope with private = true has a "
        .. "directory of its own there", tostring(err))
      here:close()
      local own <close> = nsbox.scope { private = true }
      own:netns { "blue", dns = "9.9.9.9" }
      assert.equal("nameserver 9.9.9.9\n",
        own.ns:exec({ "cat", "/etc/netns/blue/resolv.conf" }).stdout)
    end)
  end)

  it("says what is wrong at the caller's line", function()
    local s <close> = nsbox.scope()
    misuse(function() s:dns() end, "dns: argument 1: expected a pid, a path")
    misuse(function() s:dns("blue") end, "dns: expected a table of options, got")
    misuse(function() s:dns("blue", {}) end, "dns: expected name servers")
    misuse(function() s:dns("blue", false) end, "dns: false sets nothing")
    misuse(function() s:dns("blue", "hosts") end, "dns: expected name servers, \"host\" or false")
    misuse(function() s:dns("blue", { "9.9.9.9/32" }) end, "an address without a prefix is wanted")
    misuse(function() s:dns("blue", { "9.9.9.9", serach = "x" }) end, "(did you mean 'search'?)")
    misuse(function() s:dns("blue", { search = "a b" }) end, "'a b' is no word")
    misuse(function() s:dns("blue", { hosts = { a = "x" } }) end, "dns: hosts: 'a': ")
    misuse(function() s:dns("blue", { hosts = { ["a\nb"] = "1.2.3.4" } }) end, "is no word")
    misuse(function() s:box { dns = "x" } end, "box: dns: expected name servers")
    misuse(function() s:box { dns = "host", namespaces = { "user" } } end,
      "box: dns: needs a new mnt namespace")
    failure(function() s:dns("no-such-name", "9.9.9.9") end, "ENOENT")
    failure(function() s:dns(2147483647, "9.9.9.9") end, "ESRCH")
    local err = failure(function() s:dns(nsbox.sys.process.getpid(), "9.9.9.9") end, "EINVAL")
    assert.matches("it has no mount namespace of its own", err.detail)
    err = failure(function() s:dns("/proc/self/ns/net", "9.9.9.9") end, "EINVAL")
    assert.equal("dns is for a box, a pid, or a name under /run/netns", err.hint)
  end)

  it("takes what is of use elsewhere from the host's", function()
    assert.same({ "10.0.0.1", "fd00::1", search = { "a", "b" }, options = { "ndots:2", "edns0" } },
      dns.usable("# x\nnameserver 127.0.0.53\nnameserver 10.0.0.1\nnameserver ::1\n"
        .. "nameserver fd00::1\nnameserver fe80::1%eth0\nsearch a b\noptions ndots:2 edns0\n"))
    -- what could not be given as `dns` is not taken from there
    assert.same({ "10.0.0.1", search = { "a" }, options = { "edns0" } },
      dns.usable("nameserver 10.0.0.1\nsearch a b\1c ;d\noptions nd\0ots edns0\n"))
    local before, dir = dns.sources, tmpdir()
    finally(function() dns.sources = before end)
    dns.sources = { dir .. "/stub", dir .. "/real" }
    spew(dir .. "/stub", "nameserver 127.0.0.53\n")
    local s <close> = nsbox.scope()
    local err = failure(function() s:dns(1, "host") end, "EADDRNOTAVAIL")
    assert.matches("/stub nor .*/real names no server", err.detail)
  end)

  describe("of a box", function()
    needs("maps", "procmount", "mount_api")

    it("is mounted over what it has, and taken away again", function()
      local s <close> = nsbox.scope()
      local b = s:box { name = "web" }
      local before = cat(b, "/etc/resolv.conf", "/etc/hosts")
      local d = s:dns(b, { "9.9.9.9", "fd00::53", search = { "a.test", "b.test" },
        options = "ndots:1", hosts = { db = { "10.0.0.2", "fd00::2" }, www = "10.0.0.3" } })
      assert.equal("dns of box web", tostring(d))
      assert.equal("nameserver 9.9.9.9\nnameserver fd00::53\nsearch a.test b.test\noptions "
        .. "ndots:1\n",
        cat(b, "/etc/resolv.conf"))
      assert.equal(LOCAL .. "10.0.0.2\tdb\nfd00::2\tdb\n10.0.0.3\twww\n", cat(b, "/etc/hosts"))
      assert.equal("web\n", cat(b, "/etc/hostname"))
      assert.matches("^10%.0%.0%.3 +www\n$", b:exec({ "getent", "hosts", "www" }).stdout)
      assert.is_false(b:exec({ "sh", "-c", "echo x > /etc/resolv.conf" }).ok)
      -- on top of it, and off again
      local second = s:dns(b, "8.8.8.8")
      assert.equal("nameserver 8.8.8.8\n", cat(b, "/etc/resolv.conf"))
      second:close()
      assert.matches("^nameserver 9.9.9.9\n", cat(b, "/etc/resolv.conf"))
      d:close()
      d:close()
      assert.equal(before, cat(b, "/etc/resolv.conf", "/etc/hosts"))
      s:close()
      assert.equal(0, held())
    end)

    it("is taken away where it was put, whatever leads there now", function()
      needs "rootfs"
      local root, other = roots.make(), tmpdir()
      spew(other .. "/file", "other\n")
      assert(os.execute(("mkdir %s/etc %s/more"):format(root, root)))
      local s <close> = nsbox.scope()
      local b = s:box { rootfs = root, maps = "self",
        bind = { { other .. "/file", to = "/more/resolv.conf" } } }
      local d = s:dns(b, "9.9.9.9")
      assert.equal("nameserver 9.9.9.9\n", cat(b, "/etc/resolv.conf"))
      -- between the look at it and the end of it
      local mount = require "nsbox.sys.mount"
      local umount = mount.umount
      finally(function() mount.umount = umount end)
      mount.umount = function(...)
        os.rename("/etc", "/was")
        roots.link("more", "/etc")
        return umount(...)
      end
      d:close()
      assert.equal("other\n", cat(b, "/etc/resolv.conf"))
      assert.equal("", cat(b, "/was/resolv.conf"))
    end)

    it("is an option of it, and of a program that runs", function()
      local _, result = nsbox.run { "cat", "/etc/resolv.conf", dns = "9.9.9.9", stdout = "capture" }
      assert.equal("nameserver 9.9.9.9\n", result.stdout)
      local before, dir = dns.sources, tmpdir()
      finally(function() dns.sources = before end)
      dns.sources = { dir .. "/resolv" }
      spew(dir .. "/resolv", "nameserver 10.1.1.1\noptions edns0\n")
      local s <close> = nsbox.scope()
      assert.equal("nameserver 10.1.1.1\noptions edns0\n",
        cat(s:box { dns = "host" }, "/etc/resolv.conf"))
      -- where it cannot be, there is no box
      sh("chmod 755 " .. dir)
      local err = failure(function()
        s:box { name = "x", dns = "9.9.9.9", bind = { dir, to = "/etc", ro = true } }
      end, "EROFS")
      assert.is_nil(s.boxes.x)
      assert.equal("/etc/resolv.conf", err.subject)
      assert.matches("put an empty file there", err.hint)
    end)

    it("is set by its card, and goes with that", function()
      needs("netns", "bridge")
      local s <close> = nsbox.scope { private = true }
      local b = s:box { name = "web", net = s:bridge { "br0", addr = "10.0.3.1/24" } }
      local before = cat(b, "/etc/resolv.conf")
      b.links[1]:set { dns = { "9.9.9.9", search = "lan" } }
      assert.equal("nameserver 9.9.9.9\nsearch lan\n", cat(b, "/etc/resolv.conf"))
      b.links[1]:close()
      assert.equal(before, cat(b, "/etc/resolv.conf"))
    end)

    it("follows a link in the box's own view, and makes what is missing", function()
      local s <close> = nsbox.scope()
      local b = s:box { tmpfs = "/etc", caps = "all" }
      assert(b:exec({ "sh", "-c", "mkdir /etc/run; ln -s run/stub /etc/resolv.conf" }).ok)
      s:dns(b, "9.9.9.9")
      assert.equal("nameserver 9.9.9.9\n", cat(b, "/etc/run/stub"))
      assert.equal("/etc/run/stub", (b:exec({ "cat", "/proc/self/mountinfo" }).stdout
        :match "dns%-%x+ (%S+)"))
    end)

    it("is anybody's, by pid, and undone after a crash", function()
      local script = "local nsbox = require 'nsbox'\n"
      local p = assert(nsbox.sys.process.spawn(children.box { argv = { "sleep", "600" },
        new = { "mnt" } }))
      finally(function()
        p:kill "KILL"
        children.ending(p)
      end)
      local path = ("/proc/%d/root/etc/resolv.conf"):format(p:pid())
      local before = slurp(path)
      local s = nsbox.scope()
      s:dns(p:pid(), "9.9.9.9")
      assert.equal("nameserver 9.9.9.9\n", slurp(path))
      s:close()
      assert.equal(before, slurp(path))
      children.script(script .. ([[nsbox.dns(%d, "9.9.9.9")
        nsbox.sys.process.open(nsbox.sys.process.getpid()):kill "KILL"]]):format(p:pid()))
      assert.equal("nameserver 9.9.9.9\n", slurp(path))
      nsbox.scope.recover()
      assert.equal(before, slurp(path))
      assert.equal(0, held())
    end)
  end)

  describe("of a name #root", function()
    before_each(function() sh "ip netns add blue" end)
    after_each(function()
      nsbox.scope.recover()
      sh "ip netns del blue; umount /run/netns; rmdir /run/netns"
    end)

    local function inside(file) return (sh("ip netns exec blue cat " .. file)) end

    it("is what ip netns exec shows", function()
      local hosts = inside "/etc/hosts"
      local s = nsbox.scope()
      local d = s:dns("blue", { "192.168.10.1", search = "lan" })
      assert.equal("dns of netns blue", tostring(d))
      assert.equal("nameserver 192.168.10.1\nsearch lan\n", inside "/etc/resolv.conf")
      assert.equal(hosts, inside "/etc/hosts")
      s:dns("blue", { hosts = { a = "10.0.0.1" } })
      assert.equal(LOCAL .. "10.0.0.1\ta\n", inside "/etc/hosts")
      s:close()
      assert.is_nil(nsbox.sys.fd.stat "/etc/netns/blue")
    end)

    it("is an option of netns and of a card", function()
      local s = nsbox.scope()
      s:netns { "red", dns = { "1.1.1.1" } }
      assert.equal("nameserver 1.1.1.1\n", (sh "ip netns exec red cat /etc/resolv.conf"))
      s:bridge { "br0", addr = "10.0.3.1/24" }:attach("blue", { dns = "2.2.2.2" })
      assert.equal("nameserver 2.2.2.2\n", inside "/etc/resolv.conf")
      s:close()
      assert.is_nil(nsbox.sys.fd.stat "/etc/netns/red")
      assert.is_nil(nsbox.sys.fd.stat "/etc/netns/blue")
    end)

    it("gives a file back that was there, where it is still as we left it", function()
      sh "mkdir -p /etc/netns/blue; echo 'nameserver 7.7.7.7 # mine' > /etc/netns/blue/resolv.conf"
      finally(function() sh "rm -r /etc/netns/blue; rmdir /etc/netns" end)
      local ino = nsbox.sys.fd.stat("/etc/netns/blue/resolv.conf").ino
      local s = nsbox.scope()
      s:dns("blue", "9.9.9.9")
      assert.equal("nameserver 9.9.9.9\n", inside "/etc/resolv.conf")
      assert.equal(ino, nsbox.sys.fd.stat("/etc/netns/blue/resolv.conf").ino)
      s:close()
      assert.equal("nameserver 7.7.7.7 # mine\n", slurp "/etc/netns/blue/resolv.conf")
      -- killed while it wrote
      local content = require "nsbox.undo.content"
      local step = { path = "/etc/netns/blue/resolv.conf", ino = ino,
        dev = nsbox.sys.fd.stat("/etc/netns/blue/resolv.conf").dev,
        old = "nameserver 7.7.7.7\n", new = "search example.test\n" }
      for _, left in ipairs { "searserver 7.7.7.7\n", "search example.test\n", "search "
        .. "example.\n" } do
        spew(step.path, left)
        content.undo({ step }, error)
        assert.equal(left == "search example.\n" and left or step.old, slurp(step.path))
      end
      -- somebody else wrote
      s = nsbox.scope()
      s:dns("blue", "9.9.9.9")
      spew("/etc/netns/blue/resolv.conf", "nameserver 6.6.6.6\n")
      s:close()
      assert.equal("nameserver 6.6.6.6\n", slurp "/etc/netns/blue/resolv.conf")
    end)

    it("is committed with a named scope", function()
      local function declare()
        local s = nsbox.scope "shop"
        local fresh = s:dns("blue", "9.9.9.9").fresh
        s:commit()
        s:close()
        return fresh
      end
      assert.is_true(declare())
      assert.is_false(declare())
      assert.equal("nameserver 9.9.9.9\n", inside "/etc/resolv.conf")
      nsbox.scope.remove "shop"
      assert.is_nil(nsbox.sys.fd.stat "/etc/netns/blue")
    end)
  end)
end)

describe("boxes on a bridge #root", function()
  it("find each other by name, kept current in place", function()
    local s = nsbox.scope()
    local br = s:bridge { "br0", addr = "10.0.3.1/24" }
    local web, db = s:box { name = "web", net = br }, s:box { name = "db", net = br }
    local both = LOCAL .. web.links[1].ip .. "\tweb\n" .. db.links[1].ip .. "\tdb\n"
    assert.equal(both, cat(web, "/etc/hosts"))
    assert.equal(both, cat(db, "/etc/hosts"))
    assert.is_true(web:exec({ "ping", "-c1", "-W5", "db" }).ok)
    assert.is_true(db:exec({ "ping", "-c1", "-W5", "web" }).ok)
    -- one file for all that see the same; a program keeps it open
    assert.equal(1, held())
    local reader = web:spawn { "tail", "-n", "+1", "-f", "/etc/hosts", stdout = "pipe" }
    local late = s:box { name = "late" }
    local card = br:attach(late)
    local all = both .. card.ip .. "\tlate\n"
    assert.equal(all, cat(web, "/etc/hosts"))
    assert.equal(all, cat(late, "/etc/hosts"))
    local line
    repeat line = reader.stdout:read("l", { timeout = 10 }) until not line or line:find "late"
    assert.equal(card.ip .. "\tlate", line)
    reader:close()
    card:close()
    assert.equal(both, cat(web, "/etc/hosts"))
    db:close()
    assert.equal(LOCAL .. web.links[1].ip .. "\tweb\n", cat(web, "/etc/hosts"))
    s:close()
    assert.equal(0, held())
  end)

  it("see the names of their bridges, and their own", function()
    local s <close> = nsbox.scope()
    local a = s:bridge { "br0", addr = "10.0.3.1/24" }
    local b = s:bridge { "br1", addr = "10.0.4.1/24" }
    local one, two = s:box { name = "one", net = a }, s:box { name = "two", net = b,
      dns = { hosts = { extra = "1.2.3.4" } } }
    local router = s:box { name = "router", net = { a, b } }
    assert.equal(LOCAL .. "10.0.3.2\tone\n10.0.3.3\trouter\n", cat(one, "/etc/hosts"))
    assert.equal(LOCAL .. "1.2.3.4\textra\n10.0.4.2\ttwo\n10.0.4.3\trouter\n",
      cat(two, "/etc/hosts"))
    local text = cat(router, "/etc/hosts")
    for _, line in ipairs { "10.0.3.2\tone", "10.0.4.2\ttwo", "10.0.3.3\trouter",
      "10.0.4.3\trouter" } do
      assert(text:find(line, 1, true), text)
    end
    assert.is_nil(text:find "extra")
    -- one without a name is seen by none, and sees all; a bare one is left alone
    assert.equal(cat(one, "/etc/hosts"), cat(s:box { net = a }, "/etc/hosts"))
    assert.equal(slurp "/etc/hosts", cat(s:box { name = "bare", net = a, bare = true },
      "/etc/hosts"))
  end)

  it("are found in a batch, too", function()
    local s <close> = nsbox.scope()
    local boxes = {}
    s:batch(function()
      local br = s:bridge { "br0", addr = "10.0.3.1/24" }
      for i = 1, 3 do boxes[i] = s:box { name = "b" .. i, net = br } end
    end)
    assert.equal(LOCAL .. "10.0.3.2\tb1\n10.0.3.3\tb2\n10.0.3.4\tb3\n", cat(boxes[1], "/etc/hosts"))
  end)
end)
