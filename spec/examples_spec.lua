-- Every example runs and prints what its header states.
--
--     -- One sentence on what it shows.
--     --
--     -- Needs: PROBE…           optional: skipped where a probe says no
--     -- Network: private     optional: root runs it in a network and mount namespace made for
--     --                      it; an ordinary user's scopes work on islands
--     -- Usage: lua5.4 examples/NAME.lua
--     -- Input:                  optional: fed to its standard input
--     --     a line
--     -- Output:                 stdout and stderr; "…" stands for anything
--     --     a line
--
-- In C the same in the first comment.

local function header(path)
  local h, section = {}, nil
  for line in slurp(path):gmatch "([^\n]*)\n" do
    local text = line:match "^%-%-(.*)" or line:match "^%s?/?%*(.*)"
    if text and text:find "^/" then break end -- the end of a comment in C
    if text or not line:find "^#!" then
      if not text then break end
      local key, value = text:match "^%s?(%u%l+):%s*(.-)%s*$"
      local indented = text:match "^%s%s%s%s%s?(.*)$"
      if key then
        section, h[key] = key, value ~= "" and value .. "\n" or ""
      elseif section and indented then
        h[section] = h[section] .. indented .. "\n"
      else
        section = nil
      end
    end
  end
  return h
end

-- what is before the command of an example that changes the network
local function private(h)
  if h.Network ~= "private\n" or not require("nsbox.island").is_needless() then return nil end
  return "unshare -nm --propagation private sh -c 'mount -t tmpfs -o mode=755 tmpfs /run && "
    .. "exec \"$@\"' sh "
end

local function check(h, run)
  for name in (h.Needs or ""):gmatch "[^%s,]+" do needs(name) end
  assert(h.Output, "the header states no output")
  local got, status = run(h.Input)
  if not matches(h.Output, got) then assert.equal(h.Output, got) end
  assert.equal(0, status)
end

describe("examples", function()
  it("are short: at most 40 lines below the header", function()
    for _, name in ipairs(entries "examples") do
      local code = name:find "%.lua$" and slurp("examples/" .. name):match "^#!.-\n\n(.*)$"
      local _, lines = (code or ""):gsub("\n", "")
      assert(lines <= 40, ("%s has %d"):format(name, lines))
    end
  end)

  for _, name in ipairs(entries "examples") do
    local path = "examples/" .. name
    if name:find "%.lua$" then
      -- not every kernel has ipvlan; the second one has
      local tag = name == "ipvlan.lua" and " #uml" or ""
      it("print what they state: " .. name .. tag, function()
        local h = header(path)
        check(h, function(input) return lua(path, input, private(h)) end)
      end)
    elseif name:find "%.c$" then
      it("build, and print what they state: " .. name, function()
        local program = tmpdir() .. "/program"
        check(header(path), function()
          local cc = ("%s -Wall -Wextra -Werror $(pkg-config --cflags lua5.4) -Icsrc -o %s %s "
            .. "build/libnsbox.a $(pkg-config --libs lua5.4) -lcap"):format(
            os.getenv "CC" or "cc", program, path)
          local out, status = sh(cc)
          assert(status == 0, out)
          return sh("LUA_PATH='lua/?.lua;;' " .. program)
        end)
      end)
    end
  end
end)
