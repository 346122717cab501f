local sys = require "nsbox.sys"
local c = require "children"
local inside = require "inside"
local lfs = require "lfs"
local process, errno, fd = sys.process, sys.errno, sys.fd

-- how the function ended, and what it sent; then its results
local function call(options, f, ...)
  local child, out = assert(process.clone(options, f, ...))
  local text = c.drain(out)
  local how, value = c.ending(child)
  return how, value, process.results(text)
end

local function results(...)
  return { select(3, call({}, ...)) }
end

describe("nsbox.sys.process.clone", function()
  it("has a number of its own, however often its parent asked for his", function()
    local own
    for _ = 1, 3 do own = process.getpid() end
    assert.equal(lfs.symlinkattributes("/proc/self", "target"), tostring(own))
    local function both()
      local first = process.getpid()
      return first, process.getpid(), lfs.symlinkattributes("/proc/self", "target")
    end
    local first, second, seen = inside({ "user" }, both)
    assert.equal(seen, tostring(first))
    assert.equal(first, second)
    assert.not_equal(own, first)
    assert.equal(1, (inside({ "user", "pid" }, both)))
    assert.equal(own, process.getpid())
  end)

  it("refuses what is no function, and the fields of a program", function()
    assert.error_matches(function() process.clone() end, "bad argument #1 to 'clone'")
    assert.error_matches(function() process.clone({}) end, "bad argument #2 to 'clone'")
    assert.error_matches(function() process.clone({}, "x") end, "function expected, got string")
    for _, field in ipairs { "argv", "env", "path", "keep", "gate", "init" } do
      local ok, message = pcall(function() process.clone({ [field] = {} }, print) end)
      assert.is_false(ok)
      assert.matches("sys_clone_spec.lua:%d+: clone: " .. field
        .. " is for a program, not a function", message)
    end
    assert.error_matches(function() process.clone({ "nett" }, print) end,
      "unknown namespace 'nett'")
    assert.error_matches(function() process.clone({ hostnam = "x" }, print) end,
      "unknown field 'hostnam' %(did you mean 'hostname'%?%)")
    assert.error_matches(function() process.clone({ maps = c.self_maps() }, print) end,
      "maps: need a new user namespace")
  end)

  it("carries values of every type both ways #valgrind", function()
    local values = {
      true, false, 0, -1, math.maxinteger, math.mininteger, 0.5, -0.0, 1e300, 1 / 0, -1 / 0, 2.0,
      "", "text", "a\0b\n.{}", ("x"):rep(200000),
      {}, { 1, 2, 3 }, { a = { b = { c = "d" } }, [1.5] = true, [false] = 0, [-3] = {} },
    }
    local got = results(function(...) return ... end, table.unpack(values))
    assert.same({ true, table.unpack(values) }, got)
    for i, value in ipairs(values) do
      assert.equal(math.type(value), math.type(got[i + 1]))
    end
    assert.equal("-0.0", tostring(got[9]))
    local n = table.pack(select(3, call({}, function() return nil, 1, nil end)))
    assert.same({ n = 4, true, nil, 1, nil }, n)
    local nan = results(function() return 0 / 0 end)[2]
    assert.is_true(nan ~= nan)
    assert.same({ true }, results(function() end))
    local upvalue = { "seen" }
    assert.same({ true, "seen", 3 },
      results(function(...) return upvalue[1], select("#", ...) end, nil, nil, nil))
  end)

  it("gives the child what cannot be sent back", function()
    local file <close> = assert(io.open "/proc/self/status")
    assert.same({ true, "userdata" }, results(function(f) return type(f) end, file))
  end)

  it("carries errors", function()
    local function fails(f) return select(2, table.unpack(results(f))) end
    assert.matches("sys_clone_spec.lua:%d+: oops", (fails(function() error "oops" end)))
    assert.same({ code = 7, list = { 1 } },
      fails(function() error { code = 7, list = { 1 } } end))
    assert.matches("attempt to concatenate a nil value", fails(function() return nil .. "x" end))
    assert.matches("^function: ", fails(function() error(print) end))
    assert.matches("^table: ", fails(function() error { print } end))
    assert.equal("named", fails(function()
      error(setmetatable({ print }, { __tostring = function() return "named" end }))
    end))
    assert.matches("worse", fails(function()
      error(setmetatable({ print }, { __tostring = function() error "worse" end }))
    end))
    assert.same({ { code = 7 }, "code 7" }, { fails(function()
      error(setmetatable({ code = 7 }, { __tostring = function(e) return "code " .. e.code end }))
    end) })
    assert.same({ { code = 7 } }, { fails(function()
      error(setmetatable({ code = 7 }, { __tostring = function() error "worse" end }))
    end) })
    assert.is_nil((fails(function() error() end)))
    assert.matches("yield", fails(function() coroutine.yield() end))
    assert.same({ "exit", 1, false }, { (function(how, value, ok) return how, value, ok end)(
      call({}, function() error "x" end)) })
  end)

  it("names the type that cannot be sent", function()
    local function fails(f)
      local t = results(f)
      assert.is_false(t[1])
      return t[2]
    end
    assert.matches("cannot send a function to another process",
      fails(function() return print end))
    assert.matches("cannot send a userdata", fails(function() return { io.stdout } end))
    assert.matches("cannot send a thread",
      fails(function() return { [coroutine.running()] = 1 } end))
    local cyclic = {}
    cyclic.self = cyclic
    assert.matches("one that contains itself", fails(function() return cyclic end))
    local deep = {}
    for _ = 1, 101 do deep = { deep } end
    assert.matches("nested deeper than 100", fails(function() return deep end))
    assert.same({ true, true }, results(function()
      local fine = true
      for _ = 1, 99 do fine = { fine } end
      return fine ~= nil
    end))
  end)

  it("sends 16 MB, and no more", function()
    local limit = 16 << 20
    local got = results(function() return ("x"):rep(limit - 100) end)
    assert.same({ true, limit - 100 }, { got[1], #got[2] })
    for _, f in ipairs {
      function() return ("x"):rep(limit + 1) end,
      function() return { ("x"):rep(limit) } end,
      function()
        local half = ("x"):rep(limit // 2)
        return half, half, half
      end,
    } do
      got = results(f)
      assert.is_false(got[1])
      assert.matches("16", got[2])
    end
  end)

  it("leaves by os.exit", function()
    for _, case in ipairs { { 0, 0 }, { 3, 3 }, { 255, 255 }, { true, 0 }, { false, 1 }, {} } do
      local how, value, ok, message = call({}, function() os.exit(case[1], true) end)
      assert.same({ "exit", case[2] or 0, nil, "the child ended before it could answer" },
        { how, value, ok, message })
    end
  end)

  it("runs nothing of the parent twice", function()
    local dir = tmpdir()
    local function note(text)
      local f <close> = io.open(dir .. "/log", "a")
      f:write(text .. "\n")
    end
    do
      local guard <close> = setmetatable({}, { __close = function() note "closed" end,
        __gc = function() note "collected" end })
      call({}, function() note "child" end)
      call({}, function() error "child" end)
      call({}, function() os.exit(0, true) end)
      note "parent"
      assert(guard)
    end
    assert.equal("child\nparent\nclosed\n", slurp(dir .. "/log"))
  end)

  it("flushes output once", function()
    local dir = tmpdir()
    local out = c.script(([[
      local c = require "children"
      local process = require "nsbox.sys.process"
      io.write "before "
      local mine = io.open("%s/mine", "w")
      mine:write "buffered "
      for _, f in ipairs { function() io.write "child " end,
        function() io.write "exits " os.exit(0, true) end,
        function() io.write "fails " error "x" end } do
        local p, r = process.clone({}, f)
        c.drain(r)
        c.ending(p)
      end
      io.write "after "
      mine:write "end"
      io.output(dir)
    ]]):gsub("io.output%(dir%)", "mine:close()"):format(dir))
    assert.equal("before child exits fails after ", out)
    assert.equal("buffered end", slurp(dir .. "/mine"))
  end)

  it("tells a child that was killed before it answered", function()
    local child, out = assert(process.clone({}, function()
      local r, w = fd.pipe()
      r:read()
      w:close()
    end))
    assert.is_nil((child:status()))
    assert(child:kill "KILL")
    local text = c.drain(out)
    assert.same({ "signal", "KILL" }, { c.ending(child) })
    assert.same({ nil, "the child ended before it could answer" }, { process.results(text) })
  end)

  it("works in a host without standard streams", function()
    local path = tmpdir() .. "/report"
    c.script(([[
      local c = require "children"
      local process = require "nsbox.sys.process"
      local p, r = process.clone({}, function(x) return x + 1 end, 41)
      local report = io.open("%s", "w")
      report:write(tostring(select(2, process.results(c.drain(r)))))
      report:close()
    ]]):format(path), "exec <&- >&- 2>&-;")
    assert.equal("42", slurp(path))
  end)

  it("is a child of its own, also inside another", function()
    local me = process.getpid()
    local got = results(function()
      local inner = results(function() return process.getpid() end)
      return process.getpid(), inner[2]
    end)
    assert.is_true(got[1])
    assert.is_true(me ~= got[2] and got[2] ~= got[3] and me ~= got[3])
  end)

  it("runs inside a coroutine", function()
    local co = coroutine.wrap(function()
      coroutine.yield(results(function() return "from a coroutine" end))
    end)
    assert.same({ true, "from a coroutine" }, co())
  end)

  it("leaves nothing when the kernel refuses", function()
    local dir = tmpdir()
    assert.same({ n = 5, nil, ("cwd %s/none: No such file or directory"):format(dir),
      errno.ENOENT, "cwd", dir .. "/none" },
      table.pack(process.clone({ cwd = dir .. "/none" }, print)))
  end)

  describe("in namespaces #uml", function()
    needs "maps"

    local LIST = { "mnt", "uts", "ipc", "pid", "net", "cgroup", "time", "user" }
    local function links()
      local t = {}
      for _, kind in ipairs(LIST) do
        t[kind] = lfs.symlinkattributes("/proc/self/ns/" .. kind, "target")
      end
      return t
    end

    for kind, probe in pairs { mnt = "maps", uts = "utsns", ipc = "ipcns", pid = "pidns",
      net = "netns", cgroup = "cgroupns", time = "timens", user = "maps" } do
      it("makes one, and no other: " .. kind, function()
        needs(probe)
        local options = { "user", kind, maps = c.self_maps() }
        local _, _, ok, inner = call(options, links)
        assert.is_true(ok)
        local outer = links()
        for _, other in ipairs(LIST) do
          assert.equal(other ~= kind and other ~= "user", outer[other] == inner[other])
        end
      end)
    end

    it("has all that a program has", function()
      needs("utsns", "pidns")
      local dir = tmpdir()
      local _, _, ok, pid, ids, name, cwd, nnp, mountinfo = call({ "user", "mnt", "uts", "pid",
        maps = c.self_maps(), hostname = "clone", cwd = "/etc", no_new_privs = true,
        mounts = { { target = dir, type = "tmpfs" } } }, function()
        return process.getpid(), process.ids(), slurp "/proc/sys/kernel/hostname",
          process.getcwd(), sys.cap.no_new_privs(), slurp "/proc/self/mountinfo"
      end)
      assert.same({ true, 1, 0, 0, "clone\n", "/etc", true },
        { ok, pid, ids.euid, ids.egid, name, cwd, nnp })
      assert.is_truthy(mountinfo:find(dir, 1, true))
    end)

    it("has a map and a hostname #valgrind", function()
      needs "utsns"
      local _, _, ok, name, ids = call({ "user", "uts", maps = c.self_maps(), hostname = "clone" },
        function() return slurp "/proc/sys/kernel/hostname", process.ids() end)
      assert.same({ true, "clone\n", 0, 0 }, { ok, name, ids.uid, ids.gid })
    end)

    it("has the clocks of its time namespace", function()
      needs "timens"
      local _, _, ok, up = call({ "user", "time", maps = c.self_maps(),
        time_offsets = { boottime = 1000000 } }, function() return slurp "/proc/uptime" end)
      assert.is_true(ok)
      assert.is_true(tonumber(up:match "^%S+") > 1000000)
    end)

    it("has ranges as root #root", function()
      local _, _, ok, map = call({ "user", maps = { uid = { { 0, 100000, 10 }, { 10, 1, 1 } },
        gid = { { 0, 100000, 10 } } }, uid = 3, gid = 4 }, function()
        return slurp "/proc/self/uid_map"
      end)
      assert.is_true(ok)
      assert.matches("^%s*0%s+100000%s+10\n%s*10%s+1%s+1\n$", map)
    end)

    it("has subordinate ids #user", function()
      needs "subuid"
      local maps = require("nsbox.idmap").resolve "subuid"
      local _, _, ok, map, ids = call({ "user", "pid", maps = maps, uid = 5, gid = 6,
        groups = { 7 } }, function() return slurp "/proc/self/uid_map", process.ids() end)
      assert.is_true(ok)
      assert.is_truthy(map:find(tostring(maps.uid[2][2]), 1, true))
      assert.same({ uid = 5, euid = 5, gid = 6, egid = 6, groups = { 7 } }, ids)
    end)

    it("joins those of a program", function()
      needs "utsns"
      local p, finish = c.hold(c.box { new = { "uts", "mnt", "pid" }, hostname = "joined" })
      local join = {}
      for i, kind in ipairs { "user", "uts", "mnt", "pid" } do
        join[i] = assert(sys.ns.open(p, kind))
      end
      local how, value, ok, name, inner = call({ join = join }, function()
        return slurp "/proc/sys/kernel/hostname", links()
      end)
      assert.same({ "exit", 0, true, "joined\n" }, { how, value, ok, name })
      for _, h in ipairs(join) do
        local _, inode = h:id()
        assert.equal(("%s:[%d]"):format(h:kind(), inode), inner[h:kind()])
        h:close()
      end
      finish()
    end)

    it("does not change what others see of the host", function()
      local before = process.dumpable()
      call({ "user", "pid", maps = c.self_maps() }, function() end)
      assert.equal(before, process.dumpable())
      assert.is_true(#slurp "/proc/self/environ" > 0)
    end)
  end)
end)

describe("nsbox.sys.process.results", function()
  -- bytes of a real answer
  local function sample()
    local child, out = assert(process.clone({}, function()
      return 1, 2.5, "text", { 1, { a = true, b = "c" }, [2.5] = false }, nil, ("y"):rep(300)
    end))
    local text = c.drain(out)
    c.ending(child)
    return text
  end

  local function cut(text)
    assert.same({ n = 2, nil, "the child ended before it could answer" },
      table.pack(process.results(text)))
  end

  it("takes a string only", function()
    assert.error_matches(function() process.results() end, "string expected, got no value")
    assert.error_matches(function() process.results(5) end, "string expected, got number")
  end)

  it("tells bytes that are cut, wherever that is", function()
    local text = sample()
    assert.is_true((process.results(text)))
    for i = 0, #text - 1 do cut(text:sub(1, i)) end
  end)

  it("tells bytes that were never an answer", function()
    for _, text in ipairs { "", ".", "x.", "n.", "i.", "s\255\255\255\255.", "{.", "}.", "t{.",
      "tt",
      "t}.", "t{nt}.", "t{t}.", "ts\255\255\255\255x.", "ts\5\0\0\0abc.",
      "t{d" .. ("d"):pack(0 / 0) .. "t}.", "t" .. ("{t"):rep(10000) .. ".",
      "t" .. ("{"):rep(200) .. ("}"):rep(200) .. "." } do
      cut(text)
    end
    assert.same({ true }, { process.results "t." })
    assert.same({ false, "x" }, { process.results "fs\1\0\0\0x." })
  end)

  it("does not answer more values than the stack takes", function()
    cut("t" .. ("n"):rep(2000000) .. ".")
  end)

  it("survives any bytes", function()
    math.randomseed(42) -- the same bytes in every run
    local text = sample()
    local tags = { "n", "t", "f", "i", "d", "s", "{", "}", ".", "\0", "\255" }
    for _ = 1, 20000 do
      local bytes = { text:byte(1, 120) }
      for _ = 1, math.random(6) do
        bytes[math.random(#bytes)] = math.random(2) == 1 and math.random(0, 255)
          or tags[math.random(#tags)]:byte()
      end
      bytes[#bytes + 1] = ("."):byte()
      local ok = process.results(string.char(table.unpack(bytes)))
      assert(ok == nil or type(ok) == "boolean")
    end
    for _ = 1, 5000 do
      local parts = { "t" }
      for i = 2, math.random(40) do parts[i] = tags[math.random(#tags)] end
      parts[#parts + 1] = "."
      local ok = process.results(table.concat(parts))
      assert(ok == nil or type(ok) == "boolean")
    end
  end)

  it("leaves no handle in the child that closes what has its number now", function()
    assert.same({ true, 50 }, results(function()
      local handles = {}
      for i = 1, 50 do handles[i] = assert(fd.open("/dev/null", "wronly")) end
      collectgarbage()
      collectgarbage()
      local open = 0
      for _, handle in ipairs(handles) do open = open + (fd.write(handle, "x") or 0) end
      return open
    end))
  end)
end)
