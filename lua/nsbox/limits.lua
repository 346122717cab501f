--- The options that say how much a program may have: `rlimits`, `oom_score_adj`, `nice`,
-- `affinity`; and `groups`.
--
-- All of them are values in place of the caller's, not changes of those. A resource limit is
-- for each program in the box, also one that enters it, and for a function that is called
-- there; not for nsbox-init, where that is pid 1. The other three are for nsbox-init as well.
--
-- getrlimit(2), setpriority(2), sched_setaffinity(2), proc_pid_oom_score_adj(5)
--
-- @internal nsbox.limits

local M = {}

local COUNT <const>, SIZE <const>, SECONDS <const>, MICROSECONDS <const> = 1, 2, 3, 4

-- as prlimit(1) calls them, and what is counted
local RESOURCES <const> = {
  as = SIZE, core = SIZE, cpu = SECONDS, data = SIZE, fsize = SIZE, locks = COUNT,
  memlock = SIZE, msgqueue = SIZE, nice = COUNT, nofile = COUNT, nproc = COUNT, rss = SIZE,
  rtprio = COUNT, rttime = MICROSECONDS, sigpending = COUNT, stack = SIZE,
}

local MOST_CPUS <const> = 8192

local function count(value)
  local n = math.type(value) and math.tointeger(value)
  if n and n >= 0 then
    return n
  end
  return nil, require("nsbox.mistake")[math.type(value) and "bad" or "expected"](
    "a number from 0 on, or 'unlimited'", value)
end

local function one_limit(kind, value)
  if value == "unlimited" then
    return value
  elseif kind == COUNT then
    return count(value)
  end
  local units = require "nsbox.units"
  if kind == SIZE then
    return units.size(value, {})
  end
  local seconds, message = units.duration(value, { max = 1e9 })
  -- the kernel's second has no parts
  return seconds and math.ceil(kind == SECONDS and seconds or seconds * 1e6), message
end

-- soft above hard; unlimited is above all
local function above(soft, hard)
  return hard ~= "unlimited" and (soft == "unlimited" or soft > hard)
end

-- one value for both, or { soft, hard }
local function pair(kind, value)
  if type(value) ~= "table" then
    local limit, message = one_limit(kind, value)
    return limit and { limit, limit }, message
  end
  for key in next, value do
    if key ~= 1 and key ~= 2 then
      return nil, "expected one limit, or { soft, hard }"
    end
  end
  local soft, message = one_limit(kind, value[1])
  local hard
  if soft then
    hard, message = one_limit(kind, value[2])
  end
  if message then
    return nil, message
  elseif above(soft, hard) then
    return nil, ("the soft limit, %s, is above the hard one, %s"):format(soft, hard)
  end
  return { soft, hard }
end

--- Checks the option `rlimits`: `{ nofile = 1024, core = 0, as = { "1G", "unlimited" } }`.
-- @param value what was given
-- @treturn ?table name → `{ soft, hard }`, each an integer or "unlimited"
-- @treturn[2] nil
-- @treturn[2] string what is wrong
function M.check_rlimits(value)
  local mistake = require "nsbox.mistake"
  if type(value) ~= "table" then
    return nil, mistake.expected("limits as { nofile = 1024 }", value)
  end
  local out = {}
  for name, given in next, value do
    local kind = RESOURCES[name]
    if type(name) ~= "string" then
      return nil, "a limit has a name: { nofile = 1024 }"
    elseif not kind then
      local near = mistake.suggest(name:lower(), RESOURCES)
      return nil, ("'%s' is no resource%s"):format(name,
        near and (" (did you mean '%s'?)"):format(near) or ", see getrlimit(2)")
    end
    local limits, message = pair(kind, given)
    if not limits then
      return nil, name .. ": " .. message
    end
    out[name] = limits
  end
  return out
end

local function cpu(value)
  local n = math.type(value) and math.tointeger(value)
  if n and n >= 0 and n < MOST_CPUS then
    return n
  end
  return nil, require("nsbox.mistake")[math.type(value) and "bad" or "expected"](
    ("a cpu, 0 to %d"):format(MOST_CPUS - 1), value)
end

--- Checks the option `affinity`: a cpu or a list.
-- @param value what was given
-- @treturn ?table list
-- @treturn[2] nil
-- @treturn[2] string what is wrong
function M.check_affinity(value)
  local list, message = require("nsbox.types").list(cpu)(value)
  if list and #list == 0 then
    return nil, "on which cpu? the list is empty"
  end
  return list, message
end

--- Checks the option `groups`: a gid or a name, or a list.
-- @param value what was given
-- @treturn ?table list
-- @treturn[2] nil
-- @treturn[2] string what is wrong
function M.check_groups(value)
  return require("nsbox.types").list(require("nsbox.user").check_group)(value)
end

--- Puts them into a plan.
-- @tparam table plan
-- @tparam table o checked options, or a plan that has them
function M.add(plan, o)
  plan.rlimits, plan.oom_score_adj = o.rlimits, o.oom_score_adj
  plan.nice, plan.affinity = o.nice, o.affinity
end

return M
