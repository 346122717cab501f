-- Islands: scopes of ordinary users, and of root with `private = true`. What is
-- there is read back with nsenter(1) and ip(8).

local dkjson = require "dkjson"
local lfs = require "lfs"
local nsbox = require "nsbox"
local blame = require "blame"
local netns = require "netns"

local misuse, failure = blame.misuse, blame.failure

-- what ip(8) says in the namespaces of a process
local function ip_at(pid, words)
  local out, status = sh(("nsenter -t %d -U -n --preserve-credentials ip -j -d %s")
    :format(pid, words))
  assert(status == 0, out)
  return out == "" and {} or assert(dkjson.decode(out), out)
end

local function holder(scope) return scope._island.process.pid end

local function names(pid, words)
  local list = {}
  for _, link in ipairs(ip_at(pid, words or "link")) do list[#list + 1] = link.ifname end
  table.sort(list)
  return table.concat(list, " ")
end

local function target(pid, kind)
  return lfs.symlinkattributes(("/proc/%d/ns/%s"):format(pid, kind), "target")
end

local function runs(pid)
  local stat = slurp(("/proc/%d/stat"):format(pid))
  return stat ~= nil and stat:match "%) (%u)" ~= "Z"
end

describe("an island", function()
  needs("maps", "netns", "procmount")

  it("is made by the first verb, not before, and ends with its scope", function()
    local s = nsbox.scope { private = true }
    assert.is_true(s.private)
    assert.is_nil(s._island)
    misuse(function() s:bridge { "br0", adr = "10.0.3.1/24" } end, "bridge: unknown option 'adr'")
    assert.is_nil(s._island)
    local uid = nsbox.sys.process.geteuid()
    assert.equal(("scope (private island of uid %d): empty"):format(uid), tostring(s))
    local before = slurp "/proc/self/net/dev"
    local br = s:bridge { "br0", addr = "10.0.3.1/24" }
    local pid = holder(s)
    assert.equal("br0 lo", names(pid))
    assert.equal(before:match "br0", slurp "/proc/self/net/dev":match "br0")
    assert.equal("bridge br0: 10.0.3.1/24, 0 ports", tostring(br))
    assert.equal(("scope (private island of uid %d): 1 link"):format(uid), tostring(s))
    s:close()
    assert.is_false(runs(pid))
    assert.equal("scope (closed): empty", tostring(s))
  end)

  it("is looked into by scope.ns", function()
    local s <close> = nsbox.scope { private = true }
    local out = s.ns:exec { "sh", "-c", "id -u; ls /sys/class/net 2>/dev/null; cat /proc/net/dev" }
    assert.matches("^0\n", out.stdout)
    assert.equal("lo", names(holder(s)))
    assert.equal(s.ns, s.ns)
    assert.equal(3, s.ns:call(function() return 3 end))
    for _, kind in ipairs { "user", "mnt", "net" } do
      assert.equal(target(holder(s), kind), ("%s:[%d]"):format(kind, s.ns[kind].inode))
    end
  end)

  it("has boxes that are children of it, which find each other", function()
    local s <close> = nsbox.scope { private = true }
    local br = s:bridge { "br0", addr = "10.0.3.1/24" }
    local a = s:box { name = "a", net = br }
    local b = s:box { name = "b", net = { br, addr = "10.0.3.9/24", rate = "100mbit" } }
    local _, parent = assert(nsbox.sys.ns.open(a.pid, "user")):parent():id()
    assert.equal(s.ns.user.inode, parent)
    assert.equal("10.0.3.2", ip_at(a.pid, "addr show dev eth0")[1].addr_info[1]["local"])
    assert.equal("10.0.3.9", ip_at(b.pid, "addr show dev eth0")[1].addr_info[1]["local"])
    assert.is_true(a:exec({ "ping", "-c1", "-W5", "b" }).ok)
    assert.equal(2, #ip_at(holder(s), "link show master br0"))
    a:close()
    assert.equal(1, #ip_at(holder(s), "link show master br0"))
    -- of a scope that knows nothing of it
    local _, result = nsbox.run { "ip", "-br", "addr", "show", "dev", "eth0", net = br,
      stdout = "capture" }
    assert.matches("10%.0%.3%.%d", result.stdout)
  end)

  it("has names of its own, as ip netns knows them", function()
    needs "mount_api"
    local s <close> = nsbox.scope { private = true }
    local blue = s:netns { "blue", sysctl = { ["net.ipv4.ip_default_ttl"] = 65 } }
    assert.is_nil(slurp "/run/netns/blue")
    assert.equal("blue\n", (s.ns:exec({ "ip", "netns" }).stdout:gsub(" %(id: %d+%)", "")))
    assert.equal("65\n", s.ns:exec({ "ip", "netns", "exec", "blue", "cat",
      "/proc/sys/net/ipv4/ip_default_ttl" }).stdout)
    s:veth { { "a", addr = "10.1.0.1/24" }, { "b", netns = "blue", addr = "10.1.0.2/24" } }
    assert.equal("a lo", names(holder(s)))
    assert.is_true(blue:exec({ "ping", "-c1", "-W5", "10.1.0.1" }).ok)
    local err = failure(function() s:netns "blue" end, "EEXIST")
    assert.equal("/run/netns/blue", err.subject)
    err = failure(function() s:bridge { "br0", netns = "red" } end, "ENOENT")
    assert.equal("/run/netns/red", err.subject)
    assert.matches("the names there are those that it made", err.hint)
    blue:close()
    assert.equal("", s.ns:exec({ "ip", "netns" }).stdout)
    -- the kernel takes the devices of a namespace away after that, in its own time
    for _ = 1, 600 do
      if names(holder(s)) == "lo" then break end
      require("nsbox.sys.fd").poll({}, 0.05)
    end
    assert.equal("lo", names(holder(s)))
  end)

  it("has /etc/netns of its own", function()
    needs "mount_api"
    local s <close> = nsbox.scope { private = true }
    s:netns { "blue", dns = { "9.9.9.9", search = "lan" } }
    local function exec(...) return s.ns:exec({ "ip", "netns", "exec", "blue", ... }).stdout end
    assert.equal("nameserver 9.9.9.9\nsearch lan\n", exec("cat", "/etc/resolv.conf"))
    assert.is_nil(slurp "/etc/netns/blue/resolv.conf")
    -- the rest is as it was
    assert.equal(slurp "/etc/passwd", exec("cat", "/etc/passwd"))
    local made = s:dns("blue", { "8.8.8.8" })
    assert.equal("nameserver 8.8.8.8\n", exec("cat", "/etc/resolv.conf"))
    made:close()
    assert.equal("nameserver 9.9.9.9\nsearch lan\n", exec("cat", "/etc/resolv.conf"))
  end)

  it("has settings, borrowed links, batches, pins", function()
    needs "mount_api"
    local s <close> = nsbox.scope { private = true }
    local function forward()
      return s.ns:exec({ "cat", "/proc/sys/net/ipv4/ip_forward" }).stdout
    end
    local made = s:sysctl(nil, { ["net.ipv4.ip_forward"] = 1 })
    assert.equal("1\n", forward())
    made:close()
    assert.equal("0\n", forward())
    local lo = s:link "lo":addr "10.99.0.1/32"
    assert.equal(3, #ip_at(holder(s), "addr show dev lo")[1].addr_info)
    lo:close()
    assert.equal(2, #ip_at(holder(s), "addr show dev lo")[1].addr_info)
    local br = s:bridge { "br0", addr = "10.0.3.1/24" }
    s:batch(function()
      for i = 1, 5 do br:attach(s:netns("n" .. i)) end
    end)
    assert.equal(5, #ip_at(holder(s), "link show master br0"))
    failure(function()
      s:batch(function()
        s:veth { "x", "y" }
        s:veth { "x", "z" }
      end)
    end, "EEXIST")
    assert.equal(5, #ip_at(holder(s), "link show type veth"))
    local net <close> = nsbox.ns.of(s.ns, "net")
    assert.is_nil(net._pin)
    local n1 = s:netns "n6"
    n1:pin "/tmp/nsbox-pin"
    assert.equal(n1.inode, tonumber(s.ns:exec({ "stat", "-c", "%i", "/tmp/nsbox-pin" }).stdout))
    n1:unpin()
    assert.is_nil(slurp "/tmp/nsbox-pin")
  end)

  it("lets others into a box that has some of its namespaces", function()
    local s <close> = nsbox.scope { private = true }
    local b = s:box { namespaces = { "user", "mnt" } }
    for _, kind in ipairs { "user", "net" } do
      local link = b:exec({ "readlink", "/proc/self/ns/" .. kind }).stdout
      assert.equal(target(b.pid, kind), (link:gsub("\n", "")))
    end
    assert.equal(target(holder(s), "net"), target(b.pid, "net"))
    assert.not_equal(target(holder(s), "user"), target(b.pid, "user"))
    assert.equal(7, b:call(function() return 7 end))
    for _, place in ipairs { b, b.pid } do
      local ns <close> = nsbox.ns.of(place)
      for _, kind in ipairs { "user", "mnt", "net" } do
        local link = ns:exec({ "readlink", "/proc/self/ns/" .. kind }).stdout
        assert.equal(target(b.pid, kind), (link:gsub("\n", "")))
      end
    end
  end)

  it("gives a box the ids that it has", function()
    needs "subuid"
    local s <close> = nsbox.scope { private = true }
    local b = s:box { "sh", "-c", "id -u; id -g; cat /proc/self/uid_map", maps = "subuid",
      user = "100:100", stdout = "capture" }
    local out = b:start():wait().stdout
    assert.matches("^100\n100\n", out)
    local here = nsbox.run { "true", maps = "subuid" }
    assert.equal(0, here)
    local err = failure(function()
      s:box { "true", maps = { { 0, 4294900000, 1 } } }
    end, nsbox.sys.process.geteuid() ~= 0 and "EPERM" or nil)
    assert.is_string(err.detail)
  end)

  it("says where it is in errors", function()
    local s <close> = nsbox.scope { private = true }
    local err = failure(function() s:link "eth77" end, "ENODEV")
    assert.matches("%(in private island of uid %d+%)", tostring(err))
    s:bridge "br0"
    assert.matches("%(in private island of uid %d+%)",
      tostring(failure(function() s:bridge "br0" end, "EEXIST")))
  end)

  it("keeps its cards", function()
    local s <close> = nsbox.scope { private = true }
    local br = s:bridge "br0"
    local err = failure(function() br:attach(nsbox.sys.process.getpid()) end, "EPERM")
    assert.matches("^what is on an island stays there: in a box of its scope", err.hint)
  end)

  it("has no cards of the machine", function()
    netns(function()
      os.execute "ip link add v0 type veth peer v1"
      local s <close> = nsbox.scope { private = true }
      for verb, o in pairs { macvlan = {}, ipvlan = {}, vlan = { id = 5 } } do
        o[1], o.link = "e0", "v0"
        local err = failure(function() s[verb](s, o) end, "EPERM")
        assert.matches("v0 %(in private island of uid %d+%): it is a card of the machine",
          tostring(err))
        assert.matches("^a " .. verb .. " on it takes CAP_NET_ADMIN", err.hint)
        o.link = "nope"
        failure(function() s[verb](s, o) end, "ENODEV")
      end
    end)
  end)

  it("is not made where user namespaces are disabled: the switch is named", function()
    needs "sysctl"
    local script = tmpdir() .. "/x.lua"
    spew(script, [[
      local nsbox = require "nsbox"
      local s <close> = nsbox.scope()
      print(nsbox.try(s.bridge, s, "br0"))]])
    local out = lua(script, nil,
      "unshare -Ur sh -c 'echo 0 >/proc/sys/user/max_user_namespaces; exec \"$@\"' sh ")
    assert.matches("^nil\tbridge: clone: No space left on device %(ENOSPC%)\n  hint: "
      .. "user.max_user_namespaces is 0: nobody may make them; as root: sysctl %-w", out)
  end)

  it("is told of when it has ended", function()
    local s <close> = nsbox.scope { private = true }
    s:bridge "br0"
    s._island.process:kill "KILL"
    require("nsbox.sys.fd").poll { [s._island.process:fileno()] = "r" }
    local err = failure(function() s:bridge "br1" end, "ESRCH")
    assert.matches("the island has ended", tostring(err))
    failure(function() s:netns "blue" end, "ESRCH")
  end)

  it("is not for scopes with a name, and not asked for twice", function()
    misuse(function() nsbox.scope { "shop", private = true } end, "an island ends with its script")
    misuse(function() nsbox.scope { private = 1 } end, "scope: private: expected true or false")
  end)
end)

describe("a scope of an ordinary user #user", function()
  needs("maps", "netns", "procmount")

  it("works on an island, unless told to stay", function()
    local s <close> = nsbox.scope()
    assert.is_true(s.private)
    s:bridge "br0"
    assert.equal("br0 lo", names(holder(s)))
    local err = failure(function() nsbox.scope { private = false } end, "EPERM")
    assert.matches("without private = false", err.hint)
  end)
end)

describe("a scope of root #root", function()
  it("works here, unless told otherwise", function()
    local s <close> = nsbox.scope()
    assert.is_false(s.private)
    assert.equal("scope (here): empty", tostring(s))
    assert.equal(target(nsbox.sys.process.getpid(), "net"), "net:[" .. s.ns.net.inode .. "]")
    assert.is_false(nsbox.scope { private = false }.private)
  end)
end)
