local sys = require "nsbox.sys"
local netns = require "netns"

local netlink, errno = sys.netlink, sys.errno

-- f(handle) in a network namespace of its own, with a pair of veth, both up
local function with(f)
  netns(function()
    local nl <close> = assert(netlink.open())
    assert(nl:link_add { "ours", kind = "veth", up = true, peer = { "theirs" } })
    assert(nl:link_set { "theirs", up = true })
    f(nl)
  end)
end

local function run(command) assert.same({ "", 0 }, { sh(command) }) end

-- what tc(8) says of the first one on a device, or of that handle
local function tc(dev, handle)
  for _, q in ipairs(netns.tc("qdisc show dev " .. dev)) do
    if not handle or q.handle == handle then return q end
  end
end

-- the record of the first one on a device, or of that handle
local function record(nl, dev, handle)
  for _, q in ipairs(assert(nl:qdisc_list { dev = dev })) do
    if not handle or q.handle == handle then return q end
  end
end

-- the same is made by both, and both see the same of both; tc makes it anew,
-- for of an old netem it would leave what is not said
local function agree(nl, words, kind, data)
  nl:qdisc_del { dev = "theirs" }
  run(("tc qdisc replace dev theirs root handle 7: %s %s"):format(kind, words))
  assert.is_true(nl:qdisc_replace { dev = "ours", kind = kind, handle = "7:", data = data })
  local options = {}
  for _, q in ipairs(netns.tc "qdisc show") do options[q.dev] = q.options end
  assert.same(options.theirs, options.ours, words)
  local theirs, ours = record(nl, "theirs"), record(nl, "ours")
  assert.same(theirs.data, ours.data, words)
  assert.same({ kind, "7:", "root", nl:index "ours" },
    { ours.kind, ours.handle, ours.parent, ours.dev })
  return ours.data
end

describe("nsbox.sys.netlink queueing disciplines", function()
  needs "netns"

  it("limit a rate with tbf, as tc makes it #valgrind", function()
    with(function(nl)
      assert.same({ rate = 10000000, burst = 16000, limit = 78500 },
        agree(nl, "rate 10mbit burst 16000 latency 50ms", "tbf",
          { rate = 10e6, burst = 16000, latency = 50000 }))
      agree(nl, "rate 1mbit burst 5000 limit 30000", "tbf",
        { rate = 1e6, burst = 5000, limit = 30000 })
      agree(nl, "rate 9kbit burst 1600 limit 3000 mpu 64 overhead 14", "tbf",
        { rate = 9000, burst = 1600, limit = 3000, mpu = 64, overhead = 14 })
      assert.equal(2000000, agree(nl, "rate 1mbit burst 5000 limit 30000 peakrate 2mbit mtu 2000",
        "tbf", { rate = 1e6, burst = 5000, limit = 30000, peakrate = 2e6, mtu = 2000 }).peakrate)
      -- what does not fit into 32 bits of bytes per second
      assert.is_true(nl:qdisc_replace { dev = "ours", kind = "tbf",
        data = { rate = 100e9, burst = 200000, limit = 3000000 } })
      assert.equal(12500000000, tc("ours").options.rate)
      assert.equal(100000000000, record(nl, "ours").data.rate)
      assert.equal(3000000, record(nl, "ours").data.limit)
    end)
  end)

  it("have a burst that fits into its field, whatever the rate makes of it", function()
    with(function(nl)
      -- 2^32 ticks of 64 ns at 10^17 bytes a second are more than an integer holds
      local function attribute(number, data)
        return string.pack("I2 I2", 4 + #data, number) .. data
      end
      local parameters = string.pack("I1 I1 I2 i2 I2 I4", 0, 1, 0, 0, 0, 0xffffffff)
        .. ("\0"):rep(12) .. string.pack("I4 I4 I4", 3000, 0xffffffff, 0)
      assert.is_true(nl:qdisc_add { dev = "ours", kind = "tbf",
        data = attribute(1, parameters) .. attribute(4, string.pack("I8", 100000000000000000)) })
      assert.same({ rate = 800000000000000000, burst = 0xffffffff, limit = 3000 },
        record(nl, "ours").data)
    end)
  end)

  it("count what passes, and what does not", function()
    with(function(nl)
      assert(nl:link_set { "ours", addrgenmode = "none" })
      assert(nl:addr_add { "10.0.0.1/24", dev = "ours" })
      assert(nl:qdisc_add { dev = "ours", kind = "bfifo", handle = "1:", data = { limit = 9000 } })
      assert.equal(9000, tc("ours").options.limit)
      assert.equal(0, record(nl, "ours").stats.drops)
      run "ip neigh replace 10.0.0.2 lladdr 02:00:00:00:00:02 nud permanent dev ours"
      run "bash -c 'for i in 1 2 3; do echo text >/dev/udp/10.0.0.2/9; done'"
      local want, got = tc "ours", record(nl, "ours").stats
      assert(want.packets >= 3 and want.bytes > 3 * 42)
      for _, key in ipairs { "bytes", "packets", "drops", "overlimits", "requeues", "backlog",
        "qlen" } do
        assert(math.type(got[key]) == "integer" and got[key] >= want[key], key)
      end
    end)
  end)

  it("have classes with htb", function()
    with(function(nl)
      run "tc qdisc add dev theirs root handle 1: htb default 20 r2q 1000"
      run "tc class add dev theirs parent 1: classid 1:1 htb rate 10mbit ceil 20mbit"
      run("tc class add dev theirs parent 1:1 classid 1:20 htb rate 1mbit ceil 2mbit burst 20000 "
        .. "cburst 10000 prio 3 quantum 3000")
      run "tc qdisc add dev theirs parent 1:20 handle 20: pfifo limit 7"

      local b = nl:batch()
      b:qdisc_add { dev = "ours", kind = "htb", handle = "1:",
        data = { default = 0x20, r2q = 1000 } }
      b:class_add { dev = "ours", kind = "htb", parent = "1:", classid = "1:1",
        data = { rate = 10e6, ceil = 20e6 } }
      b:class_add { dev = "ours", kind = "htb", parent = "1:1", classid = "1:20",
        data = { rate = 1e6, ceil = 2e6, burst = 20000, cburst = 10000, prio = 3,
          quantum = 3000 } }
      b:qdisc_add { dev = "ours", kind = "pfifo", parent = "1:20", handle = "20:",
        data = { limit = 7 } }
      assert.same({ { true, true, true, true }, 0 }, { b:send() })

      -- 6.1 of iproute2 has no JSON of classes
      assert.equal((sh "tc -d class show dev theirs"), (sh "tc -d class show dev ours"))
      local want, got = tc("theirs", "1:").options, tc("ours", "1:").options
      -- what came between the discipline and its first class
      want.direct_packets_stat, got.direct_packets_stat = nil, nil
      assert.same(want, got)
      assert.same(tc("theirs", "20:").options, tc("ours", "20:").options)
      assert.same({ default = 0x20, r2q = 1000 }, { default = record(nl, "ours", "1:").data.default,
        r2q = record(nl, "ours", "1:").data.r2q })
      assert.same({ "1:20", 7 },
        { record(nl, "ours", "20:").parent, record(nl, "ours", "20:").data.limit })
      local function classes(dev)
        local byid = {}
        for _, c in ipairs(assert(nl:class_list { dev = dev })) do
          c.dev, c.stats = nil, nil
          byid[c.classid] = c
        end
        return byid
      end
      local ours = classes "ours"
      assert.same(classes "theirs", ours)
      assert.same({ kind = "htb", classid = "1:20", parent = "1:1", data = { rate = 1000000,
        ceil = 2000000, burst = 20000, cburst = 10000, prio = 3, quantum = 3000 } }, ours["1:20"])

      assert.same({ nil, "class_del 1:1 dev ours: HTB class in use", errno.EBUSY },
        { nl:class_del { dev = "ours", classid = "1:1" } })
      -- it is done, and a kernel of today has something to say
      local ok, warning = nl:class_add { dev = "ours", kind = "htb", parent = "1:",
        classid = "1:30", data = { rate = 50e9 } }
      assert.is_true(ok)
      assert(not warning or warning:find "quantum of class 10030 is big", warning)
      assert.is_true(nl:class_replace { dev = "ours", kind = "htb", parent = "1:",
        classid = "1:1", data = { rate = 50e9 } })
      assert.equal(50000000000, classes "ours"["1:1"].data.ceil)
      assert.is_true(nl:qdisc_del { dev = "ours", parent = "1:20" })
      assert.is_true(nl:class_del { dev = "ours", classid = "1:20" })
      assert.is_nil(classes "ours"["1:20"])
    end)
  end)

  it("take what comes in, and are taken away", function()
    with(function(nl)
      assert.equal("noqueue", record(nl, "ours").kind)
      assert.is_true(nl:qdisc_add { dev = "ours", kind = "ingress" })
      assert.equal("ingress", tc("ours", "ffff:").kind)
      assert.same({ "ingress", "ffff:" }, { record(nl, "ours", "ffff:").parent,
        record(nl, "ours", "ffff:").handle })
      assert.is_true(nl:qdisc_add { dev = "ours", kind = "pfifo", handle = "a:" })
      local fifo = record(nl, "ours", "a:")
      fifo.stats = nil
      assert.same({ kind = "pfifo", handle = "a:", parent = "root", dev = nl:index "ours",
        data = { limit = 1000 } }, fifo)
      -- only its own
      for _, q in ipairs(nl:qdisc_list { dev = "theirs" }) do
        assert.equal(nl:index "theirs", q.dev)
      end
      assert(#nl:qdisc_list() > #nl:qdisc_list { dev = "ours" })
      assert.is_true(nl:qdisc_del { dev = "ours", parent = "ingress" })
      assert.is_nil(tc("ours", "ffff:"))
      assert.is_true(nl:qdisc_del { dev = "ours" })
      assert.equal("noqueue", tc("ours").kind)
      local _, why, number = nl:qdisc_del { dev = "ours" }
      assert.matches("^qdisc_del dev ours: .+", why)
      assert.equal(errno.ENOENT, number)
    end)
  end)

  it("of unknown kinds get the bytes that they are given", function()
    with(function(nl)
      assert.is_true(nl:qdisc_add { dev = "ours", kind = "pfifo", data = string.pack("I4", 77) })
      assert.equal(77, tc("ours").options.limit)
      assert.same({ nil, "qdisc_add bogus dev ours: Specified qdisc kind is unknown",
        errno.ENOENT }, { nl:qdisc_add { dev = "ours", kind = "bogus" } })
      assert.same({ nil, "qdisc_add pfifo dev ours: Exclusivity flag on, cannot modify",
        errno.EEXIST }, { nl:qdisc_add { dev = "ours", kind = "pfifo", data = { limit = 5 } } })
      assert.same({ nil, "qdisc_add tbf dev nope: dev nope: No such device", errno.ENODEV },
        { nl:qdisc_add { dev = "nope", kind = "tbf" } })
      assert.equal(77, tc("ours").options.limit)
    end)
  end)

  it("delay, lose and repeat with netem, as tc does it #uml", function()
    needs "netem"
    with(function(nl)
      assert.same({ delay = 100000, limit = 1000 },
        agree(nl, "delay 100ms", "netem", { delay = 100000 }))
      local data = agree(nl, "limit 50 delay 10ms 2ms 25% loss 1% 10% duplicate 0.5% reorder 5% "
        .. "corrupt 0.1% rate 10mbit", "netem", { limit = 50, delay = 10000, jitter = 2000,
          delay_corr = 0.25, loss = 0.01, loss_corr = 0.1, duplicate = 0.005, reorder = 0.05,
          corrupt = 0.001, rate = 10e6 })
      assert.same({ 50, 10000, 2000, 10000000, 1 },
        { data.limit, data.delay, data.jitter, data.rate, data.gap })
      for key, part in pairs { loss = 0.01, loss_corr = 0.1, delay_corr = 0.25,
        duplicate = 0.005, reorder = 0.05, corrupt = 0.001 } do
        assert(math.abs(data[key] - part) < 1e-6, key)
      end
      -- longer than what the ticks of the old field hold, which is all that tc knows
      assert.is_true(nl:qdisc_replace { dev = "ours", kind = "netem", handle = "7:",
        data = { delay = 1e9 } })
      assert.equal(1000000000, record(nl, "ours").data.delay)
      assert(tc("ours").options.delay.delay > 274)
      assert.is_true(nl:qdisc_replace { dev = "ours", kind = "netem", handle = "7:",
        data = { delay = 0.25 } })
      assert.equal(0.25, record(nl, "ours").data.delay)
      assert.equal(100000000000, agree(nl, "rate 100gbit", "netem", { rate = 100e9 }).rate)
      assert.is_true(agree(nl, "loss 100% ecn", "netem", { loss = 1, ecn = true }).ecn)
    end)
  end)

  it("have fq_codel's options, as tc gives them #uml", function()
    with(function(nl)
      local kind = { dev = "ours", kind = "fq_codel", data = { limit = 500, flows = 64,
        target = 5000, interval = 100000, ecn = true, quantum = 1514 } }
      local ok, why, number = nl:qdisc_add(kind)
      if ok then
        agree(nl, "limit 500 flows 64 target 5ms interval 100ms ecn quantum 1514", "fq_codel",
          kind.data)
      else
        -- a kernel without it says so
        assert.same({ "qdisc_add fq_codel dev ours: Specified qdisc kind is unknown",
          errno.ENOENT }, { why, number })
      end
    end)
  end)

  it("raise when they can be none, and nothing is sent", function()
    with(function(nl)
      local function raises(text, qdisc)
        qdisc.dev = qdisc.dev or "ours"
        local _, why = pcall(function() nl:qdisc_add(qdisc) end)
        assert.matches("^[^\n]*sys_netlink_qdisc_spec.lua:%d+: " .. text, why)
      end
      local function tbf(text, data) raises("tbf: " .. text, { kind = "tbf", data = data }) end
      tbf("field 'rate': bits per second expected", { burst = 5000, limit = 5000 })
      tbf("field 'rate': at least 8 bits", { rate = 7, burst = 5000, limit = 5000 })
      tbf("field 'rate': a number from 0", { rate = -1, burst = 5000, limit = 5000 })
      tbf("field 'rate': a number from 0", { rate = 0 / 0, burst = 5000, limit = 5000 })
      tbf("field 'rate': number", { rate = "10mbit", burst = 5000, limit = 5000 })
      tbf("field 'burst': bytes", { rate = 1e6, limit = 5000 })
      tbf("field 'burst': integer", { rate = 1e6, burst = 1 << 32, limit = 5000 })
      tbf("field 'limit': in bytes, or latency", { rate = 1e6, burst = 5000 })
      tbf("field 'limit': in bytes, or latency",
        { rate = 1e6, burst = 5000, limit = 5000, latency = 5 })
      tbf("field 'mtu': with peakrate", { rate = 1e6, burst = 5000, limit = 5000, mtu = 1500 })
      tbf("unknown field 'rates'", { rate = 1e6, burst = 5000, limit = 5000, rates = 1 })
      local function netem(text, data)
        raises("netem: " .. text, { kind = "netem", data = data })
      end
      netem("field 'loss': a number from 0 to 1", { loss = 1.5 })
      netem("field 'loss': number", { loss = "1%" })
      netem("field 'delay': with jitter", { jitter = 5 })
      netem("field 'delay': with reorder", { reorder = 0.5 })
      raises("htb: field 'default': integer", { kind = "htb", data = { default = "1:20" } })
      raises("qdisc: field 'kind': string", {})
      raises("qdisc: field 'parent': \"root\"", { kind = "tbf", parent = "12345:" })
      raises("qdisc: field 'handle': \"root\"", { kind = "tbf", handle = "1" })
      raises("qdisc: field 'dev': a device", { kind = "tbf", dev = true })
      raises("qdisc: unknown field 'rate'", { kind = "pfifo", rate = 1e6 })
      raises("bogus: field 'data': a string of bytes", { kind = "bogus", data = {} })
      raises("tbf: field 'data': a table, or the bytes", { kind = "tbf", data = 1 })
      assert.error_matches(function() nl:class_add { dev = "ours", kind = "htb" } end,
        "class: field 'classid': \"1:10\" expected")
      assert.error_matches(function() nl:class_list() end, "filter: field 'dev': a device")
      assert.equal("noqueue", tc("ours").kind)
    end)
  end)
end)
