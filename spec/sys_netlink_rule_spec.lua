local sys = require "nsbox.sys"
local netns = require "netns"

local netlink, errno = sys.netlink, sys.errno

local function with(f)
  netns(function()
    local nl <close> = assert(netlink.open())
    f(nl)
  end)
end

local function record(nl, priority, family)
  for _, r in ipairs(assert(nl:rule_list { family = family })) do
    if r.priority == priority then return r end
  end
end

-- the rules as ip shows them, one line each, "102: from all …"
local function ip(words) return (sh("ip rule show " .. (words or "")):gsub("[ \t]+", " ")) end

describe("nsbox.sys.netlink rules", function()
  needs "netns"

  it("are the same whether ip adds them or we do #valgrind", function()
    with(function(nl)
      for i, rule in ipairs {
        { "from 10.0.0.0/8 table 1000", { from = "10.0.0.0/8", table = 1000 } },
        { "to 192.168.0.1 lookup local", { to = "192.168.0.1", table = "local" } },
        { "fwmark 5 lookup 77", { fwmark = 5, table = 77 } },
        { "fwmark 0x10/0xf0 lookup 77", { fwmark = 0x10, fwmask = 0xf0, table = 77 } },
        { "iif eth9 oif lo", { iif = "eth9", oif = "lo" } },
        { "ipproto tcp sport 80 dport 1000-2000 lookup 9", { ipproto = "tcp", sport = 80,
          dport = { 1000, 2000 }, table = 9 } },
        { "suppress_prefixlength 0 lookup main", { suppress_prefixlength = 0, table = "main" } },
        { "not from 10.0.0.1 blackhole", { invert = true, from = "10.0.0.1",
          type = "blackhole" } },
        { "uidrange 0-0 prohibit", { uidrange = 0, type = "prohibit" } },
        { "tos 4 unreachable", { tos = 4, type = "unreachable" } },
        { "goto 32766", { jump = 32766 } },
        { "protocol static lookup 3", { protocol = "static", table = 3 } },
      } do
        local theirs, ours = 100 + i, 200 + i
        assert.same({ "", 0 }, { sh(("ip rule add priority %d %s"):format(theirs, rule[1])) })
        rule[2].priority = ours
        assert.is_true(nl:rule_add(rule[2]))
        local want, got = record(nl, theirs), record(nl, ours)
        want.priority = ours
        assert.same(want, got, rule[1])
        local lines = ip()
        assert.equal(lines:match("\n" .. theirs .. ": ([^\n]*)"),
          lines:match("\n" .. ours .. ": ([^\n]*)"))
        for key, value in pairs(rule[2]) do assert.same(value, got[key], key) end
        assert.equal("inet", got.family)
        assert.is_true(nl:rule_del { priority = ours })
        assert.is_nil(record(nl, ours))
      end
    end)
  end)

  it("are of one family", function()
    with(function(nl)
      assert.is_true(nl:rule_add { priority = 5, from = "fd00::/8", table = 300 })
      assert.is_true(nl:rule_add { priority = 6, family = "inet6", type = "prohibit" })
      assert.is_nil(record(nl, 5, "inet"))
      assert.same({ family = "inet6", priority = 5, from = "fd00::/8", table = 300,
        type = "unicast", protocol = "unspec" }, record(nl, 5, "inet6"))
      local list = netns.ip "-6 rule show"
      assert.same({ "fd00::", 8, "300" }, { list[2].src, list[2].srclen, list[2].table })
      assert.equal("prohibit", list[3].action)
      assert.equal(3, #nl:rule_list { family = "inet" })
      assert.same({ 0, "local", "kernel" }, { nl:rule_list()[1].priority,
        nl:rule_list()[1].table, nl:rule_list()[1].protocol })
    end)
  end)

  it("fail with the kernel's sentence, and come in batches", function()
    with(function(nl)
      local b = nl:batch()
      b:rule_add { priority = 7, from = "10.0.0.0/8", table = 7 }
      b:rule_add { priority = 7, from = "10.0.0.0/8", table = 7 }
      b:rule_del { priority = 8 }
      b:rule_add { priority = 9, l3mdev = true, table = 5 }
      local results, failed = b:send()
      assert.equal(3, failed)
      assert.is_true(results[1])
      assert.same({ "rule_add priority 7: File exists", errno.EEXIST }, results[2])
      assert.same({ "rule_del priority 8: No such file or directory", errno.ENOENT }, results[3])
      assert.equal(errno.EINVAL, results[4][2])
      assert.equal(4, #netns.ip "rule show")
    end)
  end)

  it("are told by a monitor", function()
    with(function(nl)
      local m <close> = assert(netlink.monitor(nil, { "rule" }))
      assert(nl:rule_add { priority = 7, fwmark = 3, type = "blackhole" })
      assert(nl:rule_del { fwmark = 3 })
      local events = assert(m:read())
      assert.same({ "new", "rule", 7, 3, "blackhole" }, { events[1].action, events[1].what,
        events[1].priority, events[1].fwmark, events[1].type })
      assert.same({ "del", 7 }, { events[2].action, events[2].priority })
    end)
  end)

  it("raise when they can be none, and nothing is sent", function()
    with(function(nl)
      local function raises(text, rule)
        local _, why = pcall(function() nl:rule_add(rule) end)
        assert.matches("^[^\n]*sys_netlink_rule_spec.lua:%d+: rule: " .. text, why)
      end
      raises("field 'from': an address, its prefix", { from = "10.0.0.0/33" })
      raises("field 'to': an address of the family of from", { from = "10.0.0.1", to = "fd00::1" })
      raises("field 'family': that of the addresses", { from = "10.0.0.1", family = "inet6" })
      raises("field 'sport': integer from 0 to 65535, or", { sport = 65536 })
      raises("field 'sport': integer", { sport = { 5, 4 } })
      raises("field 'sport': integer", { sport = { 5 } })
      raises("field 'sport': integer", { sport = "80" })
      raises("field 'ipproto': one of tcp,", { ipproto = "http" })
      raises("field 'iif': at most 15 bytes", { iif = "0123456789abcdef" })
      raises("field 'suppress_prefixlength': integer from 0 to 128", { suppress_prefixlength = -1 })
      raises("field 'table': one of", { table = "mine" })
      raises("field 'jump': number", { jump = "there" })
      raises("unknown field 'pref'", { pref = 5 })
      for _, rule in ipairs { {}, { family = "inet" } } do
        assert.error_matches(function() nl:rule_del(rule) end, "something that names it")
      end
      assert.equal(3, #netns.ip "rule show")
    end)
  end)
end)
