local nsbox = require "nsbox"
local inside = require "inside"
local netns = require "netns"
local children = require "children"
local blame = require "blame"
local misuse, failure = blame.misuse, blame.failure

local FORWARD <const> = "net.ipv4.ip_forward"
local RANGE <const> = "net.ipv4.ip_local_port_range"

-- by another way than the one that wrote
local function value(path, enter)
  return ((sh((enter or "") .. " cat /proc/sys/" .. path)):gsub("%s+", " "):gsub(" $", ""))
end

describe("nsbox.sys.netlink.sysctl_get, sysctl_set", function()
  needs("netns", "sysctl")

  it("read and write what is in that namespace #valgrind", function()
    netns(function()
      local netlink = nsbox.sys.netlink
      local ns <close> = netns.new()
      assert.equal("0", netlink.sysctl_get(ns, "net/ipv4/ip_forward"))
      assert.is_true(netlink.sysctl_set(ns, "net/ipv4/ip_forward", "1"))
      assert.equal("1", netlink.sysctl_get(ns, "net/ipv4/ip_forward"))
      assert.equal("0", netlink.sysctl_get(nil, "net/ipv4/ip_forward"))
      assert.equal("0", value "net/ipv4/ip_forward")
      assert.same({ n = 3, nil, "/proc/sys/net/ipv4/nope: No such file or directory", 2 },
        table.pack(netlink.sysctl_get(ns, "net/ipv4/nope")))
      assert.equal(22, (select(3, netlink.sysctl_set(ns, "net/ipv4/ip_forward", "x"))))
    end)
  end)

  it("raise on other names", function()
    local get = nsbox.sys.netlink.sysctl_get
    assert.error_matches(function() get(nil, "kernel/hostname") end, 'begins with "net/"')
    assert.error_matches(function() get(nil, "net/../kernel/hostname") end, "no name of a setting")
    assert.error_matches(function() get(nil) end, "string expected")
  end)
end)

describe("scope:sysctl", function()
  it("says what is wrong at the caller's line", function()
    local s <close> = nsbox.scope()
    local function wrong(key, set, text)
      misuse(function() s:sysctl(nil, { [key] = set }) end, text)
    end
    wrong("kernel.hostname", "x", "only settings below net belong to a network namespace, not "
      .. "kernel.*")
    wrong("net/ipv4/ip_forward", 1, "is a path; a key has dots: 'net.ipv4.ip_forward'")
    wrong("/proc/sys/net/ipv4/ip_forward", 1, "is a path; a key has dots: 'net.ipv4.ip_forward'")
    wrong("net.ipv4.//.x", 1, "'net.ipv4.//.x' is no key")
    wrong("net.ipv4..x", 1, "'net.ipv4..x' is no key")
    wrong("net.ipv4./.x", 1, "'net.ipv4./.x' is no key")
    wrong(1, 1, "expected keys as 'net.ipv4.ip_forward'")
    wrong(FORWARD, {}, "'net.ipv4.ip_forward': expected an integer")
    wrong(FORWARD, 1.5, "'net.ipv4.ip_forward': expected an integer")
    wrong(FORWARD, "1\n2", "expected an integer, true, false or one line of text")
    misuse(function() s:sysctl(nil, {}) end, "sysctl: which settings?")
    misuse(function() s:sysctl() end, "sysctl: expected { [key] = value, … }, got")
    misuse(function() s:sysctl(-1, { [FORWARD] = 1 }) end, "sysctl: expected a pid")
    misuse(function() s:netns { "x", sysctl = { ["kernel.x"] = 1 } } end, "netns: sysctl: "
      .. "'kernel.x'")
    misuse(function() s:box { sysctl = { [FORWARD] = 1 }, namespaces = { net = false } } end,
      "box: sysctl: needs a new net namespace")
    misuse(function() s:box { forward = true, namespaces = { "user" } } end,
      "box: forward: needs a new net namespace")
  end)

  it("sets, and sets back what is still as it was left", function()
    needs("netns", "sysctl")
    netns(function()
      local s = nsbox.scope()
      local made = s:sysctl(nil, { [FORWARD] = true, [RANGE] = "5000 5001" })
      assert.equal("sysctl net.ipv4.ip_forward=1 net.ipv4.ip_local_port_range=5000 5001",
        tostring(made))
      assert.same({ "1", "5000 5001" },
        { value "net/ipv4/ip_forward", value "net/ipv4/ip_local_port_range" })
      s:close()
      assert.same({ "0", "32768 60999" },
        { value "net/ipv4/ip_forward", value "net/ipv4/ip_local_port_range" })
      s = nsbox.scope()
      s:sysctl(nil, { [RANGE] = "5000 5001" })
      sh "echo 6000 6001 > /proc/sys/net/ipv4/ip_local_port_range" -- somebody else's from here on
      s:close()
      assert.equal("6000 6001", value "net/ipv4/ip_local_port_range")
      -- one after the other
      s = nsbox.scope()
      s:sysctl(nil, { ["net.ipv4.ip_default_ttl"] = 65 })
      local second = s:sysctl(nil, { ["net.ipv4.ip_default_ttl"] = 66 })
      second:close()
      second:close()
      assert.equal("65", value "net/ipv4/ip_default_ttl")
      s:sysctl(nil, { ["net.ipv4.ip_default_ttl"] = 67 })
      s:close()
      assert.equal("64", value "net/ipv4/ip_default_ttl")
      s = nsbox.scope()
      s:sysctl(nil, { [FORWARD] = 1 }):release()
      s:close()
      assert.equal("1", value "net/ipv4/ip_forward")
    end)
  end)

  it("leaves what another scope needs to the last of them", function()
    needs("netns", "sysctl")
    netns(function()
      for _, order in ipairs { { 1, 2, 3 }, { 3, 2, 1 }, { 2, 3, 1 } } do
        local scopes = { nsbox.scope(), nsbox.scope(), nsbox.scope() }
        for _, s in ipairs(scopes) do s:sysctl(nil, { [FORWARD] = 1 }) end
        for i, which in ipairs(order) do
          scopes[which]:close()
          assert.equal(i < 3 and "1" or "0", value "net/ipv4/ip_forward")
        end
      end
    end)
  end)

  it("puts back what the kernel changed on its own when it began to forward", function()
    needs("netns", "sysctl")
    netns(function()
      sh "ip link add v0..1 type veth peer v1"
      local keys = { "net/ipv4/conf/all/accept_redirects", "net/ipv4/conf/default/forwarding",
        "net/ipv4/conf/lo/forwarding", "net/ipv4/conf/v1/forwarding",
        "net/ipv6/conf/default/forwarding", "net/ipv6/conf/v1/forwarding" }
      local function values()
        local list = {}
        for i, key in ipairs(keys) do list[i] = value(key) end
        return table.concat(list, " ")
      end
      local function begin() -- a host that believes no redirects, and forwards for one device
        for _, it in ipairs { "ipv4/ip_forward 0", "ipv6/conf/all/forwarding 0",
          "ipv4/conf/all/accept_redirects 0", "ipv4/conf/v1/forwarding 1",
          "ipv6/conf/v1/forwarding 1" } do
          local path, text = it:match "(%S+) (%S+)"
          sh(("echo %s > /proc/sys/net/%s"):format(text, path))
        end
        return values()
      end
      local before = begin()
      assert.equal("0 0 0 1 0 1", before)
      local a, b = nsbox.scope(), nsbox.scope()
      a:sysctl(nil, { [FORWARD] = 1, ["net.ipv6.conf.all.forwarding"] = 1 })
      b:sysctl(nil, { [FORWARD] = 1, ["net.ipv6.conf.all.forwarding"] = 1 })
      assert.equal("0 1 1 1 1 1", values())
      a:close() -- the other one needs it, and knows what was before both
      assert.equal("0 1 1 1 1 1", values())
      b:close()
      assert.equal(before, values())
      -- by a router that is none for a while
      sh "echo 1 > /proc/sys/net/ipv4/ip_forward; echo 0 > /proc/sys/net/ipv4/conf/v1/forwarding"
      sh "echo 1 > /proc/sys/net/ipv4/conf/all/accept_redirects"
      before = values()
      b = nsbox.scope()
      b:sysctl(nil, { ["net.ipv4.conf.all.forwarding"] = 0 })
      assert.equal("1 0 0 0 0 1", values())
      sh "ip link add v2 type veth peer v3" -- what is new is as it is then
      b:close()
      assert.equal(before, values())
      assert.equal("1", value "net/ipv4/conf/v3/forwarding")
    end)
  end)

  it("takes a device with a dot in its name as sysctl does", function()
    needs("netns", "sysctl")
    netns(function()
      sh "ip link add br0.1 type bridge"
      local s = nsbox.scope()
      s:sysctl(nil, { ["net.ipv4.conf.br0/1.forwarding"] = 1 })
      assert.equal("1", value "net/ipv4/conf/br0.1/forwarding")
      assert.equal("1\n",
        (sh "/sbin/sysctl -n net.ipv4.conf.br0/1.forwarding"))
      s:close()
      assert.equal("0", value "net/ipv4/conf/br0.1/forwarding")
    end)
  end)

  it("undoes nothing where the device, or the namespace, is gone", function()
    needs("netns", "sysctl")
    netns(function()
      sh "ip link add br0 type bridge"
      local ns = netns.new()
      local s = nsbox.scope()
      s:sysctl(nil, { ["net.ipv4.conf.br0.forwarding"] = 1 })
      s:sysctl(ns, { [FORWARD] = 1 })
      sh "ip link del br0"
      ns:close()
      s:close()
    end)
  end)

  it("sets what is an ipc namespace's in a box of its own, and nothing else #uml", function()
    needs("maps", "procmount", "ipcsysctl")
    local MAX <const> = "kernel.shmmni"
    local function run(o)
      o[1], o[2], o[3] = "cat", "/proc/sys/kernel/shmmni", "/proc/sys/fs/mqueue/msg_max"
      o.sysctl, o.stdout = o.sysctl or { [MAX] = 99, ["fs.mqueue.msg_max"] = 12 }, "capture"
      return select(2, nsbox.run(o)).stdout
    end
    local before = slurp "/proc/sys/kernel/shmmni"
    assert.equal("99\n12\n", run {})
    assert.equal("99\n12\n", run { bare = true })
    assert.equal("99\n12\n", run { namespaces = { "user", "ipc" } })
    assert.equal("99\n12\n", run { rootfs = { ro = true }, bind = { { "/usr", ro = true },
      { "/bin", ro = true }, { "/lib", ro = true }, { "/lib64", ro = true } } })
    assert.equal(before, slurp "/proc/sys/kernel/shmmni")
    assert.equal("ENOENT", failure(function()
      run { sysctl = { ["fs.mqueue.nope"] = 1 } }
    end, "ENOENT").code)
    local function wrong(key, text, namespaces)
      local o = { "a", sysctl = { [key] = 1 }, namespaces = namespaces }
      misuse(function() nsbox.run(o) end, text)
    end
    wrong("kernel.pid_max", "'kernel.pid_max' is one of the whole machine; of a box's own")
    wrong("kernel.shmax", "(did you mean 'kernel.shmmax'?)")
    wrong("kernel.hostname", "'kernel.hostname' is the option `hostname`")
    wrong("fs.file-max", "is one of the whole machine")
    wrong("kernel.shmmax/..", "is one of the whole machine")
    wrong("fs.mqueue.//.x", "is no key")
    wrong(MAX, "sysctl: needs a new ipc namespace for kernel.shmmni", { ipc = false })
  end)

  it("names what it cannot do", function()
    needs("netns", "sysctl")
    netns(function()
      local s <close> = nsbox.scope()
      local function hint(key, set, code)
        return failure(function() s:sysctl(nil, { [key] = set }) end, code).hint
      end
      assert.equal("did you mean 'net.ipv4.ip_forward'?", hint("net.ipv4.ip_forwad", 1, "ENOENT"))
      assert.equal("there is no device eth7; there are: lo",
        hint("net.ipv4.conf.eth7.rp_filter", 1, "ENOENT"))
      assert.matches("^this kernel has no setting net.foo.bar", hint("net.foo.bar", 1, "ENOENT"))
      assert.equal("'x' is no value for it; now it is '0'", hint(FORWARD, "x", "EINVAL"))
      assert.matches("can only be written", hint("net.ipv4.route.flush", 1, "EACCES"))
      assert.matches("can only be read",
        hint("net.ipv4.tcp_available_congestion_control", "x", "EACCES"))
      assert.equal("scope (here): empty", tostring(s))
    end)
  end)

  it("needs no writable /proc/sys for what is so already", function()
    needs("maps", "netns", "sysctl")
    inside({ "net", "mnt", netns.power() and "uts" or "user" }, function()
      sh "mount -t tmpfs tmpfs /run; ip link set lo up; echo 1 > /proc/sys/net/ipv4/ip_forward"
      assert.equal("", (sh [[mount --rbind /proc/sys /proc/sys &&
        mount -o remount,bind,ro /proc/sys]]))
      local s = nsbox.scope()
      s:sysctl(nil, { [FORWARD] = 1 })
      local err = failure(function()
        s:sysctl(nil, { ["net.ipv6.conf.all.forwarding"] = 1 })
      end, "EROFS")
      assert.matches("^/proc/sys is mounted read%-only, as in a container: set "
        .. "net.ipv6.conf.all.forwarding where", err.hint)
      err = failure(function()
        s:bridge({ "br0", addr = "10.0.3.1/24" }):publish "80:80"
        s:veth({ { "v0", addr = "10.0.4.1/24" }, { "v1", netns = netns.new(),
          addr = "10.0.4.2/24" } })[2]:publish "81:80"
      end, "EROFS")
      assert.equal("net.ipv4.conf.v0.route_localnet", err.subject)
      s:close()
      assert.equal("1", value "net/ipv4/ip_forward")
    end)
  end)

  describe("in namespaces of the scope #root", function()
    after_each(function() sh "umount /run/netns; rmdir /run/netns" end)

    it("needs no step", function()
      local s = nsbox.scope()
      s:netns { "blue", sysctl = { [FORWARD] = 1 } }
      assert.equal("1", value("net/ipv4/ip_forward", "ip netns exec blue"))
      s:sysctl("blue", { [FORWARD] = 0 })
      assert.equal("0", value("net/ipv4/ip_forward", "ip netns exec blue"))
      assert.equal(0, #s._parts[2].steps)
      local t = nsbox.scope() -- another scope has to put it back
      t:sysctl("blue", { [FORWARD] = 1 })
      assert.equal("1", value("net/ipv4/ip_forward", "ip netns exec blue"))
      t:close()
      assert.equal("0", value("net/ipv4/ip_forward", "ip netns exec blue"))
      local err = failure(function()
        s:netns { "red", sysctl = { ["net.ipv4.nope"] = 1 } }
      end, "ENOENT")
      assert.same({ "netns red", "net.ipv4.nope" }, { err.netns, err.subject })
      assert.is_nil(slurp "/run/netns/red")
      s:close()
    end)

    it("is committed with a named scope, and recovered", function()
      sh "ip netns add blue"
      finally(function() sh "ip netns del blue" end)
      local function declare()
        local s = nsbox.scope "shop"
        local made = s:sysctl("blue", { [FORWARD] = 1 })
        s:commit()
        s:close()
        return made.fresh
      end
      assert.is_true(declare())
      assert.is_false(declare())
      assert.matches("sysctl net.ipv4.ip_forward in netns blue +net.ipv4.ip_forward = 1 %(was 0%)",
        nsbox.scope.show "shop")
      sh "ip netns exec blue sysctl net.ipv4.ip_forward=0"
      assert.matches("gone", nsbox.scope.show "shop")
      assert.is_true(declare())
      nsbox.scope.remove "shop"
      assert.equal("0", value("net/ipv4/ip_forward", "ip netns exec blue"))
      children.script [[
        local nsbox = require "nsbox"
        nsbox.sysctl("blue", { ["net.ipv4.ip_forward"] = 1 })
        nsbox.sys.process.open(nsbox.sys.process.getpid()):kill "KILL"
      ]]
      assert.equal("1", value("net/ipv4/ip_forward", "ip netns exec blue"))
      assert.equal(1, nsbox.scope.recover())
      assert.equal("0", value("net/ipv4/ip_forward", "ip netns exec blue"))
    end)
  end)
end)

describe("a box", function()
  needs("maps", "procmount", "sysctl")

  local FILES <const> = { "cat", "/proc/sys/net/ipv4/ip_forward",
    "/proc/sys/net/ipv6/conf/all/forwarding", "/proc/sys/net/ipv4/ip_default_ttl" }

  it("gets its settings at birth", function()
    local s <close> = nsbox.scope()
    local function show(o)
      local b <close> = s:box(o)
      return b:exec(FILES).stdout
    end
    assert.equal("0\n0\n64\n", show {})
    assert.equal("1\n1\n65\n",
      show { forward = true, sysctl = { ["net.ipv4.ip_default_ttl"] = 65 } })
    assert.equal("1\n1\n64\n", show { forward = true, bare = true })
    local err = failure(function() s:box { sysctl = { ["net.ipv4.nope"] = 1 } } end, "ENOENT")
    assert.same({ "write", "/proc/sys/net/ipv4/nope" }, { err.step, err.subject })
    assert.matches("^scope %b(): empty$", tostring(s))
  end)

  it("is set from outside, without a step", function()
    local s <close> = nsbox.scope()
    local b = s:box {}
    s:sysctl(b, { [FORWARD] = 1 })
    assert.equal("1\n0\n64\n", b:exec(FILES).stdout)
    assert.equal(0, #s._parts[2].steps)
    local t = nsbox.scope()
    t:sysctl(b.pid, { [FORWARD] = 0 })
    assert.equal("0\n0\n64\n", b:exec(FILES).stdout)
    t:close()
    assert.equal("1\n0\n64\n", b:exec(FILES).stdout)
  end)
end)

describe("sysctl of a box", function()
  needs("netns", "maps", "procmount")

  it("is for what it has before its cards", function()
    netns(function()
      local s <close> = nsbox.scope()
      local br = s:bridge { "br0", addr = "10.0.3.1/24" }
      local key <const> = "net.ipv4.conf.eth0.accept_local"
      local err = failure(function() s:box { net = br, sysctl = { [key] = 1 } } end, "ENOENT")
      assert.equal("there is no device eth0 when the box is made: scope:sysctl(box, { … }) sets "
        .. "what its cards have", err.hint)
      local box = s:box { net = br }
      s:sysctl(box, { [key] = 1 })
      assert.equal("1\n", box:exec({ "cat", "/proc/sys/net/ipv4/conf/eth0/accept_local" }).stdout)
      err = failure(function() s:box { sysctl = { ["net.ipv4.nope"] = 1 } } end, "ENOENT")
      assert.equal("this kernel has no /proc/sys/net/ipv4/nope", err.hint)
    end)
  end)
end)
