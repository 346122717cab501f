--- Shaping: how fast, how late and how surely what a device sends arrives.
--
-- A rate alone is a token bucket (tbf), a delay or a loss a netem, with the
-- rate in it. Both work on what a device sends: a cable that is slow both ways
-- has one at each end.
--
-- tc(8), tc-tbf(8), tc-netem(8)
--
-- @internal nsbox.shape

local M = {}

local PACKET <const> = 1514      -- an Ethernet frame, where no mtu is given
local BURST <const> = 0.01       -- seconds of the rate: two ticks of the slowest clock
local QUEUE <const> = 0.05       -- seconds of the rate that may wait
local LEAST <const> = 10         -- packets that may wait, whatever the rate
local MANY <const> = 1000        -- packets that netem holds, besides those on their way
local ANY_RATE <const> = 1000000 -- packets a second, where no rate is given

--- The fields of an option schema.
M.fields = {
  rate = { "rate", min = 1000, max = 1000000000000, doc = "bit/s, or \"10mbit\"" },
  delay = { "duration", max = 60, doc = "seconds, or \"20ms\"" },
  loss = { "percent", doc = "\"1%\"" },
}

local function frame(o)
  return o.mtu and o.mtu + 14 or PACKET
end

-- the bucket has to be refilled by a timer, and holds two packets at least
local function bucket(o)
  local bytes = o.rate / 8
  local burst = math.ceil(math.max(bytes * BURST, 2 * frame(o)))
  return { rate = o.rate, burst = burst,
    limit = math.min(0xffffffff, burst + math.ceil(math.max(bytes * QUEUE, LEAST * frame(o)))) }
end

-- all that is on its way waits in the queue: the kernel's 1000 packets would
-- be a rate of their own
local function line(o)
  local delay = o.delay or 0
  local packets = o.rate and o.rate / 8 / frame(o) or ANY_RATE
  return { rate = o.rate, delay = delay > 0 and math.floor(delay * 1e6 + 0.5) or nil,
    loss = o.loss and o.loss / 100, limit = MANY + math.ceil(delay * packets) }
end

--- What is asked for, as `qdisc_add` wants it.
-- @tparam table o `rate` (bit/s), `delay` (seconds), `loss` (per cent), `mtu`
-- @tparam integer index of the device
-- @tparam[opt] string handle `"1:"`
-- @treturn ?table nil: nothing is asked for
function M.request(o, index, handle)
  local far = o.delay and o.delay > 0 or o.loss and o.loss > 0
  if not far and not o.rate then
    return nil
  end
  return { dev = index, handle = handle, kind = far and "netem" or "tbf",
    data = far and line(o) or bucket(o) }
end

--- Queues the request, if anything is asked for.
-- @tparam userdata batch of the netlink handle where the device is
-- @tparam integer index of the device
-- @tparam table o as for `request`
-- @treturn integer how many
function M.configure(batch, index, o)
  local request = M.request(o, index)
  if request then
    batch:qdisc_replace(request)
  end
  return request and 1 or 0
end

return M
