--- `nsbox.doctor()`: what works on this machine, for people and bug reports.
--
-- @module nsbox.doctor

local machine = require "nsbox.machine"
local probe = require "nsbox.probe"

local M = {}

--- Runs all probes.
-- @treturn table list of `{ name, what, ok, why, remedy }`, with `versions`:
--   `{ nsbox, lua, kernel, machine, user }`
function M.findings()
  local ids = machine.ids()
  local list = {
    versions = {
      nsbox = require("nsbox.sys")._VERSION,
      lua = _VERSION,
      kernel = machine.sysctl("kernel.osrelease") or "unknown",
      system = (machine.read("/etc/os-release") or ""):match('PRETTY_NAME="([^"]*)"') or "unknown",
      user = ("uid %d, gid %d%s"):format(ids.euid, ids.egid,
        machine.initial_userns() == false and ", inside a user namespace" or ""),
    },
  }
  for _, name in ipairs(probe.names()) do
    local ok, why, remedy = probe.check(name)
    list[#list + 1] = { name = name, what = probe.what(name), ok = ok, why = why, remedy = remedy }
  end
  return list
end

--- Findings as a table to read.
-- @tparam table findings
-- @treturn string text, ending in a newline
function M.format(findings)
  local v = findings.versions
  local lines = { ("nsbox %s, %s, Linux %s, %s, %s"):format(v.nsbox, v.lua, v.kernel, v.system,
    v.user) }
  local width = 0
  for _, finding in ipairs(findings) do
    width = math.max(width, #finding.name)
  end
  for _, finding in ipairs(findings) do
    lines[#lines + 1] = ("%s  %-" .. width .. "s  %s"):format(finding.ok and "yes" or "NO ",
      finding.name, finding.what)
    if not finding.ok then
      local indent = (" "):rep(width + 7)
      lines[#lines + 1] = indent .. "why: " .. tostring(finding.why)
      if finding.remedy then
        lines[#lines + 1] = indent .. "try: " .. finding.remedy
      end
    end
  end
  return table.concat(lines, "\n") .. "\n"
end

--- Tries everything, prints what works and what does not, why, and a remedy.
-- @treturn table the findings, see `findings`
function M.doctor()
  local findings = M.findings()
  io.stdout:write(M.format(findings))
  return findings
end

return M
