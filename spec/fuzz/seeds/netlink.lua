-- usage: unshare -n lua5.4 spec/fuzz/seeds/netlink.lua      (as root, after make)
--
-- Writes the seeds of the target netlink: what this kernel says to each question in a namespace
-- with something of everything.

local SETUP <const> = [[
ip link set lo up
ip link add br0 type bridge vlan_filtering 1 || ip link add br0 type bridge
ip link add v0 type veth peer name v1
ip link set v0 master br0 up; ip link set v1 up; ip link set br0 up
bridge vlan add dev v0 vid 2-5
ip addr add 10.9.0.1/24 dev v1; ip addr add fd00::1/64 dev v1 nodad
ip addr add 10.9.1.1 peer 10.9.1.2/32 dev v1
ip link add vx0 type vxlan id 7 group 239.1.1.1 dev v1 dstport 4789
ip link add g0 type gretap remote 10.9.0.7
ip link add d0 type dummy
ip route add 10.8.0.0/16 via 10.9.0.2 mtu 1400
ip route add 10.7.0.0/16 nexthop via 10.9.0.2 weight 2 nexthop via 10.9.0.3
ip -6 route add fd01::/64 via fd00::2; ip route add unreachable 10.6.0.0/16
ip rule add from 10.9.0.0/24 fwmark 7/15 ipproto tcp dport 80-90 lookup 77
ip -6 rule add uidrange 1000-2000 lookup main suppress_prefixlength 0
ip neigh add 10.9.0.2 lladdr 02:00:00:00:00:09 dev v1
ip neigh add fd00::2 lladdr 02:00:00:00:00:09 dev v1 nud stale
bridge fdb add 02:00:00:00:00:0a dev v0 master static
tc qdisc add dev v1 root handle 1: htb default 10
tc class add dev v1 parent 1: classid 1:10 htb rate 10mbit ceil 20mbit
tc qdisc add dev v1 parent 1:10 handle 10: netem delay 5ms 1ms loss 1% rate 5mbit
tc qdisc add dev v0 root tbf rate 1mbit burst 32kbit latency 400ms
tc qdisc add dev br0 root fq_codel
ip netns add fuzz-seed 2>/dev/null; ip netns set fuzz-seed 7 2>/dev/null
]]

-- what to say to a handle `nl`, as one line; the number is that of spec/fuzz/netlink.lua
local QUESTIONS <const> = {
  "nl:link_get 'v0'", "nl:link_list()", "nl:vlan_list()", "nl:addr_list()", "nl:route_list()",
  "nl:route_get { '10.9.0.9' }", "nl:rule_list()", "nl:neigh_list()", "nl:fdb_list()",
  "nl:qdisc_list()", "nl:class_list { dev = 'v1' }", "nl:nsid_list()", "nl:nsid_get { netns = 1 }",
  "nl:link_del { 4711 }", [[
    local b = nl:batch(); b:link_add { "br0", kind = "bridge" }; b:link_del { 4711 }
    b:addr_add { "10.0.0.1/24", dev = 1 }; b:send() ]], [[
    local m = netlink.monitor(nil, { "link", "port", "addr", "route", "rule", "neigh", "fdb" })
    nl:link_add { "m0", kind = "bridge", up = true }; nl:addr_add { "10.5.0.1/24", dev = "m0" }
    print "MONITOR"; io.stdout:flush(); nl:link_del { "m0" }; while m:read() do end ]],
  "netlink.sockets(nil, 'tcp', 'inet6')", "netlink.conntrack_forget(nil, 'udp', { [53] = true })",
}
local MOST <const> = 12000 -- a seed is small; what is longer is cut between messages

local function run(command)
  local pipe <close> = assert(io.popen("(" .. command .. "\n) 2>&1"))
  return pipe:read "a"
end

local function write(name, bytes)
  local file <close> = assert(io.open("spec/fuzz/seeds/netlink/" .. name, "wb"))
  file:write(bytes)
end

-- what strace dumped, as a list of strings
local function dumps(trace)
  local list = {}
  for line in trace:gmatch "[^\n]+" do
    local hex = line:match "^ | %x+  (.*)"
    if line:find "^ %* %d+ bytes in buffer" then
      list[#list + 1] = ""
    elseif hex then
      list[#list] = list[#list] .. hex:sub(1, 48):gsub("%X", ""):gsub("%x%x", function(byte)
        return string.char(tonumber(byte, 16))
      end)
    end
  end
  return list
end

-- the datagrams in a trace of recvmsg, as the target wants them
local function datagrams(trace)
  local out, size, first = {}, 0, nil
  for _, bytes in ipairs(dumps(trace)) do
    local at, messages = 1, {}
    while at + 15 <= #bytes do
      local len, kind, flags, seq = string.unpack("=I4 I2 I2 I4", bytes, at)
      if len < 16 then
        break
      end
      first = first or seq
      local message = bytes:sub(at, at + len - 1)
      size = size + len
      if size < MOST or kind < 16 then
        messages[#messages + 1] = message:sub(1, 4) .. string.pack("=I2 I2 I4", kind, flags,
          math.max(0, seq - first + 1)) .. message:sub(13) .. ("\0"):rep(-len % 4)
      end
      at = at + (len + 3 & ~3)
    end
    local whole = table.concat(messages)
    if #whole > 0 then
      out[#out + 1] = string.pack("=s2", whole)
    end
  end
  return table.concat(out)
end

run(SETUP)
local script = os.tmpname()
for i, question in ipairs(QUESTIONS) do
  local file <close> = assert(io.open(script, "w"))
  file:write("local netlink = require 'nsbox.sys.netlink'\nlocal nl = netlink.open()\n", question)
  file:close()
  local trace = run(("LUA_CPATH='build/?.so;;' strace -qq -e trace=recvmsg -e read=all lua5.4 %s")
    :format(script))
  trace = trace:gsub("^.*MONITOR", "")
  local name = question:match "%a+_%a+" or question:match "netlink%.(%a+)"
  write(("%02d-%s"):format(i, name), string.char(i - 1) .. datagrams(trace))
end
os.remove(script)
run "ip netns del fuzz-seed"

