-- whatever the kernel answers: the first byte chooses the question
local netlink = require "nsbox.sys.netlink"

local WATCHED <const> = { "link", "port", "addr", "route", "rule", "neigh", "fdb" }

local ASK <const> = {
  function(nl) return nl:link_get(1) end,
  function(nl) return nl:link_list() end,
  function(nl) return nl:vlan_list() end,
  function(nl) return nl:addr_list() end,
  function(nl) return nl:route_list() end,
  function(nl) return nl:route_get { "10.0.0.1" } end,
  function(nl) return nl:rule_list() end,
  function(nl) return nl:neigh_list() end,
  function(nl) return nl:fdb_list() end,
  function(nl) return nl:qdisc_list() end,
  function(nl) return nl:class_list { dev = 1 } end,
  function(nl) return nl:nsid_list() end,
  function(nl) return nl:nsid_get { netns = 1 } end,
  function(nl) return nl:link_del { 7 } end,
  function(nl)
    local batch = nl:batch()
    batch:link_del { 7 }
    batch:addr_add { "10.0.0.1/24", dev = 1 }
    batch:link_del { 8 }
    local results, failed = batch:send()
    assert(#results == 3 and failed >= 0 and failed <= 3)
    return results
  end,
  function()
    local monitor <close> = netlink.monitor(nil, WATCHED)
    local list, message, errno
    repeat
      list, message, errno = monitor:read()
      for _, change in ipairs(list or {}) do
        assert(change.action == "new" or change.action == "del")
      end
    until not list
    return list, message, errno
  end,
  function() return netlink.sockets(nil, "tcp", "inet6") end,
  function() return netlink.conntrack_forget(nil, "udp", { [53] = true }) end,
}

local function check(result, message, errno)
  if result == nil and message then
    assert(type(message) == "string" and math.type(errno) == "integer" and errno > 0)
  end
end

return function(bytes)
  local ask = ASK[(bytes:byte() or 0) % #ASK + 1]
  local nl <close> = assert(netlink.open())
  check(fuzz.with(bytes:sub(2), function()
    return ask(nl)
  end))
end
