--- What else changes when a kernel begins to forward, or ends it.
--
-- It tells every device of it, and, in IPv4, decides anew about redirects. So
-- whoever writes the setting back leaves a machine as any host is, and not as
-- this one was: with redirects that were forbidden, without a device that did
-- forward. What would not come back is recorded.
--
-- ip-sysctl.txt
--
-- @internal nsbox.forwarding

local netlink = require "nsbox.sys.netlink"

local FAMILIES <const> = { ["net/ipv4/ip_forward"] = "ipv4",
  ["net/ipv4/conf/all/forwarding"] = "ipv4", ["net/ipv6/conf/all/forwarding"] = "ipv6" }

local M = {}

--- What is not as it is now when a setting that is going to be changed is written back.
-- @tparam nsbox.NetPlace place
-- @tparam string path of the setting, "net/ipv4/ip_forward"
-- @tparam string old what it is now
-- @treturn ?string for `restore`
function M.besides(place, path, old)
  local family = FAMILIES[path]
  if not family then
    return nil
  end
  local forwards, out = tonumber(old) ~= 0, {}
  local function note(name, afterwards)
    local one = ("net/%s/conf/%s"):format(family, name)
    local now = netlink.sysctl_get(place:namespace(), one)
    if now and now ~= (afterwards and "1" or "0") then
      out[#out + 1] = one .. "=" .. now
    end
  end
  if family == "ipv4" then
    note("all/accept_redirects", not forwards)
  end
  note("default/forwarding", forwards)
  for _, link in ipairs(place.nl:link_list() or {}) do
    if not link.name:find("..", 1, true) then -- which is no name of a setting
      note(link.name .. "/forwarding", forwards)
    end
  end
  return out[1] and table.concat(out, " ")
end

--- Makes that what it was; what is gone meanwhile stays so.
-- @tparam nsbox.NetPlace place
-- @tparam ?string besides
function M.restore(place, besides)
  for path, value in (besides or ""):gmatch "(%S+)=(%S+)" do
    netlink.sysctl_set(place:namespace(), path, value)
  end
end

return M
