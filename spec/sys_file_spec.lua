local fd = require "nsbox.sys.fd"
local errno = require "nsbox.sys.errno"
local lfs = require "lfs"

describe("nsbox.sys.fd, names and locks #valgrind", function()
  it("makes a directory with its mode", function()
    local path = tmpdir() .. "/d"
    assert.is_true(fd.mkdir(path, "0700"))
    assert.equal("rwx------", lfs.attributes(path, "permissions"))
    local ok, message, code = fd.mkdir(path)
    assert.same({ nil, path .. ": File exists", errno.EEXIST }, { ok, message, code })
    assert.has_error(function() fd.mkdir(path, "rwx") end)
  end)

  it("gives a file its name when it is complete", function()
    local dir = tmpdir()
    local f <close> = assert(fd.open(dir, { "rdwr", "tmpfile" }, "0600"))
    assert.equal(3, f:write "abc")
    assert.same({}, entries(dir))
    local path = dir .. "/name"
    assert.is_true(fd.link(f, path))
    assert.equal("abc", slurp(path))
    assert.equal(fd.stat(f).ino, lfs.attributes(path, "ino"))
    local ok, _, code = fd.link(f, path)
    assert.same({ nil, errno.EEXIST }, { ok, code })
  end)

  it("reads a link", function()
    local dir = tmpdir()
    assert(lfs.link("over/there", dir .. "/l", true))
    assert.equal("over/there", fd.readlink(dir .. "/l"))
    local f <close> = assert(fd.open(dir, "path"))
    assert.equal(dir, fd.readlink("/proc/self/fd/" .. f:fileno()))
    local ok, message, code = fd.readlink(dir)
    assert.same({ nil, dir .. ": Invalid argument", errno.EINVAL }, { ok, message, code })
  end)

  it("locks without waiting", function()
    local path = tmpdir() .. "/lock"
    spew(path, "")
    local a, b = assert(fd.open(path, "rdwr")), assert(fd.open(path, "rdwr"))
    assert.is_true(fd.flock(a))
    local ok, _, code = fd.flock(b, "shared")
    assert.same({ nil, errno.EAGAIN }, { ok, code })
    local _, status = sh(("flock -n %s true"):format(path))
    assert.equal(1, status)
    -- whoever has another one of the same
    local copy <close> = assert(fd.dup(a))
    assert.is_true(a:flock "none")
    assert.is_true(fd.flock(b))
    assert.is_true(b:flock "none")
    copy:close()
    a:close()
    assert.is_true(fd.flock(b, "shared"))
    b:close()
    _, status = sh(("flock -n %s true"):format(path))
    assert.equal(0, status)
  end)

  it("writes at the end of a file, and into nothing else", function()
    local path = tmpdir() .. "/f"
    spew(path, "abc")
    local f <close> = assert(fd.open(path, "rdwr"))
    assert.equal(2, f:append "de")
    assert.equal("abc", f:read(3))
    assert.equal(1, fd.append(f, "f"))
    assert.equal("abcdef", slurp(path))
    local r, w = assert(fd.pipe())
    assert.equal(errno.ESPIPE, (select(3, w:append "x")))
    r:close()
    assert.equal(errno.ESPIPE, (select(3, w:append "x")))
    w:close()
  end)

  it("lists the names in a directory, however many", function()
    local path, wanted = tmpdir(), {}
    for i = 1, 300 do
      wanted[i] = ("%03d-%s"):format(i, ("x"):rep(i % 200))
      spew(path .. "/" .. wanted[i], "")
    end
    local d <close> = assert(fd.open(path, "directory"))
    local names = assert(d:names())
    table.sort(names)
    assert.same(wanted, names)
    assert.same({}, d:names())
    local f <close> = assert(fd.open(path .. "/" .. wanted[1]))
    assert.equal(errno.ENOTDIR, (select(3, f:names())))
  end)

  it("sets the size", function()
    local path = tmpdir() .. "/f"
    spew(path, "abcdef")
    local f <close> = assert(fd.open(path, "rdwr"))
    assert.is_true(fd.truncate(f, 2))
    assert.equal("ab", slurp(path))
    assert.has_error(function() fd.truncate(f, -1) end)
  end)
end)
