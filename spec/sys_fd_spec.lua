local sys = require "nsbox.sys"

local function target(number)
  return (sh("readlink /proc/" .. sys.process.getpid() .. "/fd/" .. number):gsub("\n", ""))
end

local function fdinfo(number)
  return slurp("/proc/self/fdinfo/" .. number)
end

describe("nsbox.sys.fd", function()
  local fd, errno = sys.fd, sys.errno

  it("raises on what is no descriptor", function()
    for _, wrong in ipairs { -1, 1.5, 2 ^ 40, "0", {}, true } do
      assert.error_matches(function() fd.read(wrong) end, "bad argument #1 to 'read'")
    end
    assert.error_matches(fd.dup, "descriptor expected, got no value")
  end)

  it("raises on wrong arguments and lists the known words", function()
    assert.error_matches(function() fd.open("/etc", "rdonli") end,
      "bad argument #2 to 'open' %(unknown open flag 'rdonli' %(known: rdonly, wronly,")
    assert.error_matches(function() fd.open("/etc", { "path", 1 }) end,
      "bad argument #2 to 'open' %(open flag expected, got number%)")
    assert.error_matches(function() fd.open "/etc\0/passwd" end, "string contains zeros")
    assert.error_matches(function() fd.open("/etc", "rdonly", "rw-") end, "octal mode expected")
    assert.error_matches(function() fd.open("/etc", "rdonly", "0800") end, "octal mode expected")
    assert.error_matches(function() fd.read(0, 0) end, "positive number expected")
    assert.error_matches(function() fd.poll({ x = "r" }) end, "integer keys expected")
    assert.error_matches(function() fd.poll({ [0] = "x" }) end, "unknown event 'x'")
    assert.error_matches(function() fd.poll({}, -1) end, "seconds, or nil, expected")
    assert.error_matches(function() fd.poll({}, 0 / 0) end, "seconds, or nil, expected")
  end)

  it("opens inside a root: no link leads out of it", function()
    local root, outside = tmpdir(), tmpdir()
    spew(outside .. "/f", "out")
    spew(root .. "/f", "in")
    os.execute(("mkdir %s/d; ln -s /f %s/d/abs; ln -s ../../../../f %s/d/rel; ln -s %s/f %s/d/out; "
      .. "ln -s loop %s/loop"):format(root, root, root, outside, root, root))
    local dir <close> = assert(fd.open(root, { "path", "directory" }))
    for _, path in ipairs { "f", "/f", "/d/abs", "d/rel", "/../f", "d/../../f", "//f" } do
      local file <close> = assert(fd.open(path, "rdonly", nil, dir))
      assert.equal("in", file:read())
    end
    for path, code in pairs { ["/d/out"] = errno.ENOENT, loop = errno.ELOOP,
      ["f/x"] = errno.ENOTDIR, [("x"):rep(300)] = errno.ENAMETOOLONG } do
      assert.equal(code, (select(3, fd.open(path, "rdonly", nil, dir))))
    end
    assert.error_matches(function() fd.open("f", "creat", nil, dir) end, "not together with a root")
  end)

  it("raises at the line of the caller", function()
    local ok, message = pcall(function() fd.read "x" end)
    assert.is_false(ok)
    assert.matches("sys_fd_spec.lua:%d+: bad argument", message)
  end)

  it("makes a pipe whose ends are close-on-exec and above stderr", function()
    local r, w = assert(fd.pipe())
    for _, h in ipairs { r, w } do
      assert.is_true(h:fileno() > 2)
      assert.matches("flags:%s+02%d%d%d%d%d%d\n", fdinfo(h:fileno()))
      assert.matches("^pipe:", target(h:fileno()))
    end
  end)

  it("stays above stderr when the host's standard files are closed", function()
    local out = lua [[-e '
      local sys = require "nsbox.sys"
      local r, w = sys.fd.pipe()
      local h = sys.fd.open "/dev/null"
      local d = sys.fd.dup(h)
      local report = io.open("/dev/fd/9", "w")
      report:write(tostring(r:fileno() > 2 and w:fileno() > 2 and h:fileno() > 2
        and d:fileno() > 2))
      report:close()' 9>&1 <&- >&- 2>&-]]
    -- the shell connects stdin after the arguments: close the rest at least
    assert.equal("true", out)
  end)

  it("reads what was written, and exactly one nil at the end", function()
    local r, w = assert(fd.pipe())
    assert.equal(5, w:write "a\0b\255c")
    assert.equal("a\0", r:read(2))
    assert.equal("b\255c", fd.read(r))
    w:close()
    assert.equal(1, select("#", r:read()))
    assert.is_nil((r:read()))
  end)

  it("takes integers, handles and Lua files alike", function()
    local r, w = assert(fd.pipe())
    assert.equal(2, fd.write(w:fileno(), "hi"))
    assert.equal("hi", fd.read(r:fileno()))
    local f <close> = assert(io.open("/proc/self/comm"))
    assert.equal(slurp "/proc/self/comm", fd.read(f))
    f:close()
    assert.error_matches(function() fd.read(f) end, "attempt to use a closed file")
  end)

  it("reads at most 65536 bytes at once", function()
    local h <close> = assert(fd.open "/dev/zero")
    assert.equal(65536, #h:read(1 << 40))
    assert.equal(65536, #h:read())
  end)

  it("writes short when a nonblocking pipe is full, then EAGAIN", function()
    local r, w = assert(fd.pipe())
    assert.equal(w, w:nonblock(true))
    local wrote = w:write(("x"):rep(1 << 20))
    assert.is_true(wrote > 0 and wrote < 1 << 20)
    local n, message, number = w:write "x"
    assert.is_nil(n)
    assert.equal(errno.EAGAIN, number)
    assert.matches("^descriptor %d+: ", message)
    assert.matches("flags:%s+%d*4%d%d%d\n", fdinfo(w:fileno()))
    w:nonblock(false)
    assert.not_matches("flags:%s+%d*4%d%d%d\n", fdinfo(w:fileno()))
    assert.is_nil(select(3, r:read()))
  end)

  it("survives a reader that is gone, whatever the host does with SIGPIPE", function()
    local script = [['
      local fd = require("nsbox.sys").fd
      local r, w = fd.pipe()
      r:close()
      local n, _, e = w:write "x"
      print(n, require("nsbox.sys").errno[e])
      for line in io.lines "/proc/self/status" do
        if line:find "^SigPnd" or line:find "^ShdPnd" or line:find "^SigBlk" then
          print((line:gsub("%s+", " ")))
        end
      end']]
    local quiet = "nil\tEPIPE\nSigPnd: 0000000000000000\nShdPnd: 0000000000000000\n"
      .. "SigBlk: 0000000000000000\n"
    assert.equal(quiet, (lua("-e " .. script)))
    local ignored = sh(("trap '' PIPE; LUA_CPATH='%s' %s -e %s"):format(package.cpath,
      os.getenv "LUA" or "lua5.4", script))
    assert.equal(quiet, ignored)
  end)

  it("creates a file with the mode under the umask", function()
    local path = tmpdir() .. "/f"
    local h <close> = assert(fd.open(path, { "wronly", "creat", "excl" }, "0640"))
    assert.equal(3, h:write "abc")
    assert.equal("640 3\n", (sh("stat -c '%a %s' " .. path)))
    local _, message, number = fd.open(path, { "wronly", "creat", "excl" })
    assert.equal(errno.EEXIST, number)
    assert.equal(path .. ": File exists", message)
  end)

  it("appends, truncates, and opens directories and links as asked", function()
    local dir = tmpdir()
    local path = dir .. "/f"
    spew(path, "one")
    do
      local h <close> = assert(fd.open(path, { "wronly", "append" }))
      h:write "two"
    end
    assert.equal("onetwo", slurp(path))
    do local _ <close> = assert(fd.open(path, { "wronly", "trunc" })) end
    assert.equal("", slurp(path))
    sh("ln -s f " .. dir .. "/l")
    assert.equal(errno.ELOOP, (select(3, fd.open(dir .. "/l", "nofollow"))))
    assert.equal(errno.ENOTDIR, (select(3, fd.open(path, "directory"))))
    local d <close> = assert(fd.open(dir, { "path", "directory" }))
    assert.equal(dir, target(d:fileno()))
  end)

  it("duplicates into a handle of its own", function()
    local r, w = assert(fd.pipe())
    local copy <close> = assert(fd.dup(w))
    w:close()
    copy:write "x"
    assert.equal("x", r:read())
    assert.equal(errno.EBADF, (select(3, fd.dup(1 << 20))))
  end)

  it("closes twice without harm, and raises when a closed handle is used", function()
    local r, w = assert(fd.pipe())
    local number = r:fileno()
    assert.equal("nsbox.fd (" .. number .. ")", tostring(r))
    assert.is_true(r:close())
    assert.is_true(r:close())
    assert.is_true(fd.close(r))
    assert.equal("nsbox.fd (closed)", tostring(r))
    assert.is_nil(fdinfo(number))
    for _, method in ipairs { "read", "fileno", "nonblock", "dup" } do
      assert.error_matches(function() r[method](r) end, "attempt to use a closed nsbox.fd")
    end
    assert.error_matches(function() fd.write(r, "") end, "attempt to use a closed nsbox.fd")
    assert.is_true(w:close())
  end)

  it("closes a bare descriptor, but never a Lua file", function()
    local copy = assert(fd.dup(0))
    assert.is_true(fd.close(copy:fileno()))
    local ok, message, number = fd.close(copy:fileno())
    assert.is_nil(ok)
    assert.equal(errno.EBADF, number)
    assert.matches("Bad file descriptor", message)
    assert.error_matches(function() fd.close(io.stdout) end, "handle or integer expected")
  end)

  it("closes what is collected, and at the end of a block", function()
    local number
    do
      local h = assert(fd.open "/dev/null")
      number = h:fileno()
    end
    collectgarbage()
    collectgarbage()
    assert.is_nil(fdinfo(number))
    do
      local h <close> = assert(fd.open "/dev/null")
      number = h:fileno()
    end
    assert.is_nil(fdinfo(number))
  end)

  it("polls for what is asked and reports what is ready", function()
    local r, w = assert(fd.pipe())
    local rn, wn = r:fileno(), w:fileno()
    assert.same({}, fd.poll({ [rn] = "r" }, 0))
    assert.same({}, fd.poll({}, 0))
    assert.same({ [wn] = "w" }, fd.poll({ [rn] = "r", [wn] = "rw" }))
    w:write "x"
    assert.same({ [rn] = "r", [wn] = "w" }, fd.poll({ [rn] = "r", [wn] = "w" }, 1))
  end)

  it("counts a peer that hung up as ready", function()
    local r, w = assert(fd.pipe())
    w:close()
    assert.same({ [r:fileno()] = "r" }, fd.poll { [r:fileno()] = "r" })
    local r2, w2 = assert(fd.pipe())
    r2:close()
    assert.same({ [w2:fileno()] = "w" }, fd.poll { [w2:fileno()] = "w" })
  end)

  it("polls more descriptors than fit on the stack", function()
    local set, want, keep = {}, {}, {}
    for i = 1, 40 do
      keep[i] = assert(fd.open "/dev/null")
      set[keep[i]:fileno()], want[keep[i]:fileno()] = "rw", "rw"
    end
    assert.same(want, fd.poll(set, 0))
    for _, h in ipairs(keep) do h:close() end
  end)

  it("fails with EBADF for a descriptor that is not open", function()
    local ok, message, number = fd.poll({ [1 << 16] = "r" }, 0)
    assert.is_nil(ok)
    assert.equal(errno.EBADF, number)
    assert.equal("descriptor 65536: Bad file descriptor", message)
  end)

  it("returns EINTR to the caller when a signal comes", function()
    -- lua.c turns SIGINT into an error as soon as poll has returned: only the
    -- trace sees what it returned
    local out = sh(([[NSBOX_TRACE=1 LUA_CPATH='%s' %s -e '
      local sys = require "nsbox.sys"
      local wait = "until grep -q \") S\" /proc/%%d/stat; do :; done; kill -INT %%d"
      local pid = sys.process.getpid()
      local kill = io.popen(wait:format(pid, pid))
      print(pcall(sys.fd.poll, {}))
      kill:close()']]):format(package.cpath, os.getenv "LUA" or "lua5.4"))
    assert.matches("fd%.poll = fail EINTR %(poll: Interrupted system call%)", out)
    assert.matches("interrupted!", out)
  end)
end)
