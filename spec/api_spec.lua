-- What is public has a block in the reference; the sources themselves are read.

local function sources(dir, pattern)
  local list = {}
  for path in sh("find " .. dir .. " -type f"):gmatch "[^\n]+" do
    if path:find(pattern) then list[#list + 1] = path end
  end
  table.sort(list)
  return list
end

describe("the reference", function()
  for _, path in ipairs(sources("csrc", "%.c$")) do
    local text = slurp(path)
    it("knows the module of " .. path, function()
      assert(not text:find "/%*%*%*" or text:find "@module" or text:find "@submodule",
        "a file with reference blocks says @module or @submodule in the first")
    end)

    for name, entries in text:gmatch "luaL_Reg ([%w_]+)%[%] = (%b{});" do
      it(("documents what %s registers in %s"):format(path, name), function()
        local missing = {}
        for word, func in entries:gmatch '{%s*"([%w_]+)",%s*([%w_]+)%s*}' do
          -- the block right before the function, or one that names it
          local before = text:match("^(.-)\nstatic int " .. func .. "%(lua_State")
          local block = before and before:match "/%*%*%*.*$"
          local documented = block and block:find "%*/%s*$"
            or text:find("@function%s+[%w_.:]-%f[%w_]" .. word .. "%f[^%w_]")
          if not word:find "^__" and not documented then missing[#missing + 1] = word end
        end
        assert.same({}, missing)
      end)
    end
  end

  for _, path in ipairs(sources("lua", "%.lua$")) do
    it("documents what is public in " .. path, function()
      local text = slurp(path)
      local module = text:match "\nreturn ([%w_]+)%s*$" or "M"
      local missing, comment = {}, nil
      for line in text:gmatch "([^\n]*)\n" do
        local name = line:match "^function ([%w_]+[.:][%w_]+)"
          or line:match "^([%w_]+%.[%w_]+) = function"
        -- the module's functions, and the methods of its objects
        if name and not (name:find(":", 1, true) or name:find("^" .. module .. "%.")) then
          name = nil
        end
        if name and not name:find "[.:]_" and not comment then missing[#missing + 1] = name end
        if line:find "^%-%-%-" then
          comment = true
        elseif not line:find "^%-%-" then
          comment = nil
        end
      end
      assert.same({}, missing)
    end)
  end

  it("has one version", function()
    local header = slurp "csrc/nsbox.h":match 'NSBOX_VERSION "([^"]+)"'
    assert.is_string(header)
    assert.equal(header, require "nsbox.sys"._VERSION)
  end)
end)

for _, file in ipairs { "nsbox.so", "nsbox/sys/netlink.so", "nsbox/sys/nft.so",
  "nsbox/sys/seccomp.so" } do
  describe(file, function()
    it("exports what a host may call and nothing else", function()
      local build = os.getenv "NSBOX_BUILD" or "build"
      local others = {}
      for name in sh(("nm -D --defined-only %s/%s"):format(build, file)):gmatch " [A-Z] (%S+)" do
        if not name:find "^luaopen_nsbox" and not name:find "^nsbox_preload"
          and not name:find "^__asan" and not name:find "^__odr_asan" then
          others[#others + 1] = name
        end
      end
      assert.same({}, others)
    end)
  end)
end
