local function run(script, env)
  return sh(("%s LUA_CPATH='%s' LUA_PATH='./nowhere/?.lua' %s -e '%s'"):format(env or "",
    package.cpath, os.getenv "LUA" or "lua5.4", script))
end

describe("nsbox.sys", function()
  local sys = require "nsbox.sys"

  it("has its modules, each the one that require finds", function()
    for _, name in ipairs { "cap", "errno", "fd", "idmap", "mount", "netlink", "ns",
      "process" } do
      assert.is_table(sys[name])
      assert.equal(sys[name], require("nsbox.sys." .. name))
    end
  end)

  it("has the functions that people know by name", function()
    assert.equal(sys.process.clone, sys.clone)
    assert.equal(sys.process.spawn, sys.spawn)
    assert.equal(sys.ns.unshare, sys.unshare)
    assert.equal(sys.ns.setns, sys.setns)
    assert.equal(sys.idmap.map, sys.map)
    assert.equal(sys.mount.pivot_root, sys.pivot_root)
    assert.matches("^%d+%.%d+%.%d+$", sys._VERSION)
  end)

  it("has nothing else", function()
    assert.is_nil(sys.bogus)
    assert.is_nil(sys[1])
    assert.is_nil(sys[{}])
  end)

  it("is nsbox when nsbox.so is alone", function()
    assert.equal("true\n",
      (run [[print(require "nsbox" == require "nsbox.sys" and require "nsbox".fd ~= nil)]]))
  end)

  it("finds any module first, and handles work without theirs", function()
    assert.matches("^nsbox.fd %(%d+%)\n$", (run [[
      print((require "nsbox.sys.mount".open_tree("/", "nofollow")) or "nsbox.fd (0)")]]))
    assert.equal("net\n", (run [[print(require "nsbox.sys.ns".open("/proc/self/ns/net"):kind())]]))
  end)

  it("loads without an effect: no descriptor, signal, or file", function()
    local out = run [[
      local function look()
        for line in io.lines "/proc/self/status" do
          if line:find "^Sig%u%l" or line:find "^Threads" or line:find "^NoNewPrivs"
            or line:find "^Umask" then
            print(line)
          end
        end
        io.stdout:flush()
        os.execute "ls /proc/$PPID/fd"
      end
      look()
      print "then"
      local sys = require "nsbox.sys"
      local _ = sys.fd, sys.ns, sys.cap, sys.idmap, sys.mount, sys.errno, sys.process, sys.netlink
      look()]]
    local before, after = out:match "^(.*)then\n(.*)$"
    assert.matches("SigBlk.*\n0\n", before)
    assert.equal(before, after)
  end)

  it("can be loaded by two states of one process", function()
    assert.equal("true\n", (run [[
      local sys = require "nsbox.sys"
      local first = sys.fd
      for name in pairs(package.loaded) do
        if name:find "^nsbox" then package.loaded[name] = nil end
      end
      local again = require "nsbox.sys"
      local a, b = first.pipe(), again.fd.pipe()
      print(a:close() and again.fd.close(b))]]))
  end)

  describe("NSBOX_TRACE", function()
    local function traced(script, to)
      return run(script, "NSBOX_TRACE=" .. (to or "1"))
    end

    it("prints one line a call, with words and handles", function()
      local out = traced [[
        local fd = require "nsbox.sys".fd
        local r, w = fd.pipe()
        local h = fd.open("/dev/null", { "rdonly", "nofollow" })
        r:close()]]
      local lines = {}
      for line in out:gmatch "[^\n]+" do lines[#lines + 1] = line end
      assert.equal(3, #lines)
      local stamp = "^nsbox%[%d+%] %d%d:%d%d:%d%d%.%d%d%d%d%d%d "
      assert.matches(stamp .. "fd%.pipe%(%) = nsbox%.fd %(%d+%), nsbox%.fd %(%d+%)$", lines[1])
      assert.matches(stamp .. 'fd%.open%("/dev/null", {"rdonly", "nofollow"}%) = nsbox', lines[2])
      assert.matches(stamp .. "fd%.close%(nsbox%.fd %(%d+%)%) = true$", lines[3])
    end)

    it("prints the name of the error for a failure", function()
      assert.matches('fd%.open%("/nope"%) = fail ENOENT %(/nope: No such file or directory%)\n$',
        (traced [[require "nsbox.sys".fd.open "/nope"]]))
    end)

    it("cuts long strings and tables, and quotes what does not print", function()
      local out = traced [[
        local fd = require "nsbox.sys".fd
        fd.open(("x"):rep(100))
        fd.open("a\n\"\1")
        local t = {}
        for i = 1, 30 do t[i] = "rdonly" end
        fd.open("/nope", t)]]
      assert.matches('fd%.open%("' .. ("x"):rep(64) .. '"%.%.%.%) = fail', out)
      assert.matches([[fd%.open%("a\n\"\001"%) = fail]], out)
      assert.equal(24, select(2, out:gsub('"rdonly"', "")))
      assert.matches('"rdonly", %.%.%.}%)', out)
      out = traced [[local _ = require "nsbox.sys".process.filter({}, ("\0\xff"):rep(12))]]
      assert.matches(('process%.filter%({}, "' .. ("\\000\\255"):rep(8) .. '"%.%.%.%)'), out)
    end)

    it("leaves errors as they are, at the line of the caller", function()
      local script = [[
        local sys = require "nsbox.sys"
        print(pcall(function() sys.fd.read "x" end))
        print(pcall(function() sys.mount.setattr("/", { sett = 1 }) end))
        local r = sys.fd.pipe()
        print(pcall(function() r:read(0) end))
        r:close()
        print(pcall(function() r:read() end))]]
      local plain = run(script)
      assert.matches("bad argument #1 to 'read'", plain)
      local both = traced(script)
      assert.equal(plain, (both:gsub("nsbox%[%d+%][^\n]*\n", "")))
      assert.matches('fd%.read%("x"%) %.%.%.\n', both)
    end)

    it("shows a module that is called, and a call that does not come back", function()
      assert.matches('%d mount%("a", "/nope", "b"%) = fail',
        (traced [[require "nsbox.sys".mount("a", "/nope", "b")]]))
      assert.matches('ns%.unshare%("x"%) %.%.%.\n',
        (traced [[pcall(require "nsbox.sys".unshare, "x") os.exit(true, true)]]))
    end)

    it("appends to a file", function()
      local path = tmpdir() .. "/trace"
      for _ = 1, 2 do
        assert.equal("", (traced([[require "nsbox.sys".fd.open "/nope"]], path)))
      end
      assert.equal(2, select(2, slurp(path):gsub("fd%.open", "")))
    end)
  end)
end)
