-- Takes the defences away, one by one, in a copy of the tree, and looks whether the spec
-- that is said to show them fails then.  Usage: lua5.4 spec/mutate.lua [part of a name]
--
-- A text that is not there, or twice, is an error, and so is a spec that fails or is
-- skipped as things are: then it would show nothing.

local wanted = arg[1]
local list = {}
for _, m in ipairs(dofile "spec/mutations.lua") do
  local name = m[5] .. " " .. m[1]
  if not wanted or name:find(wanted, 1, true) then list[#list + 1] = m end
end
assert(#list > 0, "no defence is called so")

local function output(command)
  local f <close> = assert(io.popen(command .. " 2>&1"))
  local text = f:read "a"
  return text, f:close() == true
end

local function slurp(path)
  local f <close> = assert(io.open(path, "rb"))
  return f:read "a"
end

local function spew(path, text)
  local f <close> = assert(io.open(path, "wb"))
  assert(f:write(text))
end

local lua = arg[-1]
local dir = output "mktemp -d":match "%S+"

local function make()
  return output(("make -s -C %s CI= all tools"):format(dir))
end

-- "passed", "failed", or what was said instead
local function run(m)
  local text, ok = output(("cd %s && NSBOX_BUILD=build %s spec/cells.lua %s -- spec/%s.lua "
    .. "--filter='%s'"):format(dir, lua, m[6], m[4], (m[5]:gsub("%W", "."))))
  local passed, failed = text:match "\n(%d+) passed, (%d+) failed"
  passed, failed = tonumber(passed), tonumber(failed)
  if passed and failed > 0 then return "failed", text:match "\nFAILED [^\n]*\n%s*([^\n]*)" end
  if ok and passed and passed > 0 then return "passed" end
  return text
end

-- text with a replacement, which is wanted exactly once
local function replaced(m, text, old, new)
  local first, last = text:find(old, 1, true)
  if not first or text:find(old, last + 1, true) then
    error(("%s: not there once: %s"):format(m[1], old), 0)
  end
  return text:sub(1, first - 1) .. new .. text:sub(last + 1)
end

local function mutated(m, text)
  text = replaced(m, text, m[2], m[3])
  for i = 7, #m, 2 do text = replaced(m, text, m[i], m[i + 1]) end
  return text
end

local function one(m, seen)
  local path = dir .. "/" .. m[1]
  local text = slurp(path)
  local new = mutated(m, text)
  if seen[m[6] .. m[5]] == nil then
    assert(select(2, make()), "it does not build as it is")
    seen[m[6] .. m[5]] = run(m)
  end
  local before = seen[m[6] .. m[5]]
  if before ~= "passed" then return "does not pass as it is: " .. before end
  spew(path, new)
  local said, ok = make()
  local result, why
  if ok then result, why = run(m) end
  spew(path, text)
  if result == "failed" then return "seen to fail", why end
  return result == "passed" and "NOT SEEN" or result or "does not build: " .. said
end

local ok, err = pcall(function()
  assert(select(2, output(("cp -a . %s && rm -rf %s/.git %s/build/asan %s/build/debug"):format(dir,
    dir, dir, dir))))
  for _, m in ipairs(list) do mutated(m, slurp(m[1])) end
  local seen, bad = {}, 0
  for _, m in ipairs(list) do
    local result, why = one(m, seen)
    if result ~= "seen to fail" then bad = bad + 1 end
    print(("%-12s %s: %s [%s, %s]"):format(result, m[4], m[5], m[6], m[1]))
    print("", why or "")
  end
  print(("%d of %d seen to fail"):format(#list - bad, #list))
  assert(bad == 0, "a spec shows nothing")
end)
os.execute(("rm -rf '%s'"):format(dir))
if not ok then
  io.stderr:write("mutate: ", tostring(err), "\n")
  os.exit(1)
end
