--- From the list of system calls to the filter that the kernel runs.
--
-- libseccomp makes a comparison for each call, and the kernel translates them at each launch:
-- 823 instructions for two architectures, which cost as much as the rest of a launch.
-- Numbers of calls that are allowed lie side by side: here it is a tree of ranges, a fifth of
-- that. What libseccomp knows, the names, comes from `nsbox.sys.seccomp`; rules of other kinds
-- than those of `nsbox.policy` are compiled by it.
--
-- The build embeds the filter in nsbox.so. At run time this is for boxes that change it.
--
-- seccomp(2), linux/filter.h
--
-- @internal nsbox.filter

local pack, unpack = string.pack, string.unpack

-- instructions of the classic packet filter
local LOAD <const>, RETURN <const> = 0x20, 0x06
local JUMP <const>, IF_EQUAL <const>, IF_AT_LEAST <const>, IF_ANY <const> = 0x05, 0x15, 0x35, 0x45
local INSTRUCTION <const> = "=I2 B B I4"
local FAR <const> = 250 -- a condition jumps over 255 at most

-- struct seccomp_data
local NUMBER <const>, ARCH <const>, ARGS <const> = 0, 4, 16
local LOW <const> = pack("=I2", 1) == pack("<I2", 1) and 0 or 4

local ALLOW <const>, ERRNO <const> = 0x7fff0000, 0x00050000
local FAILS <const> = { EPERM = 1, ENOSYS = 38 }
-- an errno that csrc/filter.c replaces: these and the number of a capability
local MARKS <const> = { EPERM = 2048, ENOSYS = 3072 }

local M = {}

--- Whether a filter can end a program, rather than have its calls fail.
-- @tparam string bytes
-- @treturn boolean
function M.kills(bytes)
  for at = 1, #bytes, 8 do
    local code, _, _, k = unpack(INSTRUCTION, bytes, at)
    local action = k & 0xffff0000
    -- kill_process, kill_thread, trap
    if code == RETURN and (action == 0x80000000 or action == 0 or action == 0x00030000) then
      return true
    end
  end
  return false
end

-- Jumps go forward only: written from its end, a program is at each point the rest of it.
local function put(program, code, k, yes, no)
  program[#program + 1] = pack(INSTRUCTION, code, yes or 0, no or 0, k)
  return #program
end

-- a condition: where to go on if it holds, and if not
local function branch(program, code, k, yes, no)
  if #program - yes > FAR then
    yes = put(program, JUMP, #program - yes)
  end
  if #program - no > FAR then
    no = put(program, JUMP, #program - no)
  end
  return put(program, code, k, #program - yes, #program - no)
end

local function ret(program, k)
  local at = program.returns[k]
  if not at or #program - at > FAR // 2 then
    at = put(program, RETURN, k)
    program.returns[k] = at
  end
  return at
end

local function text_of(program)
  local reversed = table.move(program, 1, #program, 1, {})
  for i = 1, #reversed // 2 do
    reversed[i], reversed[#reversed + 1 - i] = reversed[#reversed + 1 - i], reversed[i]
  end
  return table.concat(reversed)
end

-- the answer to a call, by the rule about it
local function answer(program, rule)
  if rule == "allow" then
    return ret(program, ALLOW)
  elseif not rule.arg then
    return ret(program, rule.ret)
  end
  local refused, allowed = ret(program, rule.ret), ret(program, ALLOW)
  if rule.any then
    branch(program, IF_ANY, rule.any, refused, allowed)
  else
    local hit, miss = refused, allowed
    if rule.but then
      hit, miss = allowed, refused
    end
    for _, value in ipairs(rule.is or rule.but) do
      miss = branch(program, IF_EQUAL, value, hit, miss)
    end
  end
  return put(program, LOAD, ARGS + 8 * rule.arg + LOW)
end

-- { first number, rule } of each range, in order
local function ranges(rules, calls, otherwise)
  local numbers, of = {}, {}
  for name, number in pairs(calls) do
    if rules[name] then
      numbers[#numbers + 1], of[number] = number, rules[name]
    end
  end
  table.sort(numbers)
  local list, next_number = { { 0, otherwise } }, 0
  local function begin(number, rule)
    local last = list[#list]
    if last[1] == number then
      last[2] = rule
    elseif last[2] ~= rule then
      list[#list + 1] = { number, rule }
    end
  end
  for _, number in ipairs(numbers) do
    if number > next_number then
      begin(next_number, otherwise)
    end
    begin(number, of[number])
    next_number = number + 1
  end
  begin(next_number, otherwise)
  return list
end

local function tree(program, list, first, last)
  if first == last then
    return answer(program, list[first][2])
  end
  local middle = (first + last + 1) // 2
  local above = tree(program, list, middle, last)
  local below = tree(program, list, first, middle - 1)
  return branch(program, IF_AT_LEAST, list[middle][1], above, below)
end

--- The built-in rules: the name of a call → "allow", or a table with `ret`.
-- @treturn table
function M.rules()
  local policy, rules = require "nsbox.policy", {}
  for name in policy.allow:gmatch "%S+" do
    rules[name] = "allow"
  end
  for _, entry in ipairs(policy.refuse) do
    local data = entry.unless and MARKS[entry.err] + policy.caps[entry.unless] or FAILS[entry.err]
    local rule = { ret = ERRNO | data, arg = entry.arg, any = entry.any, is = entry.is,
      but = entry.but, err = entry.err, unless = entry.unless }
    for name in entry[1]:gmatch "%S+" do
      rules[name] = rule
    end
  end
  return rules
end

--- A rule that refuses.
-- @tparam integer errno
-- @treturn table
function M.refusal(errno)
  return { ret = ERRNO | errno }
end

--- The architectures of this machine.
-- @treturn table list of names, the native one first
function M.arches()
  local native = require("nsbox.sys.seccomp").arch()
  return require("nsbox.policy").arches[native] or { native }
end

--- Makes a filter of rules; its marks are for `sys.process.filter`.
-- @tparam table rules as of `rules`
-- @tparam[opt] table arches list of architectures; default: this machine's
-- @treturn string
function M.make(rules, arches)
  local program = { returns = {} }
  local otherwise = M.refusal(FAILS.ENOSYS)
  local blocks = {}
  arches = arches or M.arches()
  for i = #arches, 1, -1 do
    local calls, token = require("nsbox.sys.seccomp").calls(arches[i])
    local list = ranges(rules, calls, otherwise)
    tree(program, list, 1, #list)
    blocks[i] = { token, put(program, LOAD, NUMBER) }
  end
  local start = ret(program, otherwise.ret) -- what this machine cannot run
  for i = #blocks, 1, -1 do
    start = branch(program, IF_EQUAL, blocks[i][1], blocks[i][2], start)
  end
  put(program, LOAD, ARCH)
  return text_of(program)
end

--- The built-in filter, its marks in it; for the build.
-- @treturn string
function M.builtin()
  return M.make(M.rules())
end

return M
