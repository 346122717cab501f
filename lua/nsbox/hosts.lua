--- The text of an /etc/hosts.
--
-- hosts(5)
--
-- @internal nsbox.hosts

local M = {}

--- The machine itself, and what else has a name.
-- @tparam table ... lists of `{ address =, name = }`
-- @treturn string
function M.text(...)
  local lines = { "127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost ip6-loopback" }
  for _, list in ipairs { ... } do
    for _, entry in ipairs(list) do
      lines[#lines + 1] = entry.address .. "\t" .. entry.name
    end
  end
  return table.concat(lines, "\n") .. "\n"
end

return M
