local program = require "nsbox.program"
local boxes = require "boxes"
local inside = require "inside"
local nsbox = require "nsbox"
local run = require "nsbox.run"
local output = boxes.output

local function lines(text)
  local set, list = {}, {}
  for line in text:gmatch "[^\n]+" do
    list[#list + 1] = line
    local name, value = line:match "^([^=]+)=(.*)$"
    if name then set[name] = value end
  end
  table.sort(list)
  return list, set
end

describe("nsbox.program", function()
  it("makes an environment of PATH, HOME and TERM", function()
    local list, path = program.environment(nil, "/root")
    assert.same({ "HOME=/root", "PATH=" .. path, "TERM=" .. (os.getenv "TERM" or "dumb") }, list)
    assert.equal("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", path)
  end)

  it("adds what env names and sets", function()
    local list, path = program.environment({ "USER", "NO_SUCH_VARIABLE", A = "1", B = 2,
      PATH = "/bin" }, "/")
    local _, set = lines(table.concat(list, "\n"))
    assert.same({ HOME = "/", PATH = "/bin", TERM = os.getenv "TERM" or "dumb",
      USER = os.getenv "USER", A = "1", B = "2" }, set)
    assert.equal("/bin", path)
  end)

  it("finds options that exclude each other", function()
    assert.is_nil(program.conflict { "true" })
    assert.is_nil(program.conflict { "true", input = "x" })
    assert.is_string(program.conflict {})
    assert.is_string(program.conflict { "cat", input = "x", stdin = "inherit" })
  end)
end)

describe("a program", function()
  needs("maps", "pidns", "procmount")

  it("has no more environment than PATH, HOME and TERM", function()
    local list = lines(output { "env" })
    assert.same(program.environment(nil, "/root"), list)
  end)

  it("gets the variables that env names, sets, or all of them", function()
    local _, set = lines(output { "env", env = { "LANG", GREETING = "good day", N = 7 } })
    assert.same({ os.getenv "LANG", "good day", "7", "/root" },
      { set.LANG, set.GREETING, set.N, set.HOME })
    _, set = lines(output { "env", env = { "*", HOME = "/here" } })
    assert.equal("/here", set.HOME)
    assert.equal(os.getenv "PATH", set.PATH)
  end)

  it("is searched in the PATH it gets", function()
    local dir = tmpdir()
    os.execute("chmod 755 " .. dir)
    spew(dir .. "/nsbox-tool", "#!/bin/sh\necho found\n")
    os.execute("chmod 755 " .. dir .. "/nsbox-tool")
    assert.equal("found\n", (output { "nsbox-tool", env = { PATH = dir } }))
    assert.equal("exec", (boxes.failure { "nsbox-tool" }).step)
  end)

  it("starts in the caller's directory, or where cwd says", function()
    assert.equal(require("lfs").currentdir() .. "\n", (output { "/bin/pwd" }))
    assert.equal("/usr\n", (output { "/bin/pwd", cwd = "/usr" }))
    assert.equal("/usr/lib\n", (output { "sh", "-c", "cd lib; pwd", cwd = "/usr" }))
  end)

  it("is root, in no other group where groups can be dropped", function()
    assert.equal("0 0\n", (output { "sh", "-c", "echo $(id -u) $(id -g)" }))
  end)

  it("is the user that was asked for #root", function()
    needs "root"
    assert.equal("1234 0 0\n", (output { "sh", "-c", "echo $(id -u) $(id -g) $(id -G)",
      user = 1234 }))
    assert.equal("1234 77 77\n", (output { "sh", "-c", "echo $(id -u) $(id -g) $(id -G)",
      user = "1234:77" }))
  end)

  local function passwd(f)
    local dir = tmpdir()
    os.execute("chmod 755 " .. dir)
    spew(dir .. "/passwd", "root:x:0:0::/root:/bin/sh\nweb:x:0:0::/srv:/bin/sh\n"
      .. "app:x:7:8::/app:/bin/sh\n")
    spew(dir .. "/group", "root:x:0:\ndata:x:0:\nmore:x:9:app\nextra:x:10:app,web\n")
    return f { dir .. "/passwd:/etc/passwd", dir .. "/group:/etc/group" }
  end

  it("is a user by the name that the box's own passwd has", function()
    passwd(function(binds)
      assert.equal("0 /srv\n", (output { "sh", "-c", "echo $(id -u) $HOME", user = "web:data",
        bind = binds }))
    end)
  end)

  it("has that user's groups, unless one is given #root", function()
    needs "root"
    passwd(function(binds)
      local command = "echo $(id -u) $(id -g) $(id -G) $HOME"
      assert.equal("7 8 8 9 10 /app\n", (output { "sh", "-c", command, user = "app",
        bind = binds }))
      assert.equal("7 9 9 /app\n", (output { "sh", "-c", command, user = "app:more",
        bind = binds }))
    end)
  end)

  local ID <const> = "echo $(id -u) $(id -g) / $(id -G)"

  -- as in a box with a map of the caller's own ids, and where root is one of another namespace
  it("is a user of a namespace in which setgroups is denied #user", function()
    local function looks(how)
      assert.matches("^0 0 / 0", how { "sh", "-c", ID, user = "root", stdout = "capture" })
    end
    local function run_in(namespaces)
      return function(o)
        o.namespaces = namespaces
        return select(2, run(o)).stdout
      end
    end
    local function exec_in(place)
      return function(o) return place:exec(o).stdout end
    end
    local box <close> = nsbox.box {}
    local both <close> = nsbox.ns.of(box, "user", "mnt")
    local own <close> = nsbox.ns.new { "user", "mnt" }
    looks(run_in { user = box })
    looks(run_in { user = box, mnt = box, pid = false })
    looks(exec_in(box))
    looks(exec_in(both))
    looks(exec_in(own))
    assert.equal("ok", inside({ "user" }, function()
      looks(run_in { user = false })
      return "ok"
    end))
    -- but not with groups that it is to have
    local err = boxes.failure { "true", user = "root", groups = {}, namespaces = { user = box } }
    assert.same({ "EPERM", "setgroups" }, { err.code, err.step })
  end)

  it("is in none of its caller's groups in a namespace that it joins #root", function()
    needs "root"
    assert.equal("ok", inside({ groups = { 0, 7 } }, function()
      local box <close> = nsbox.box { namespaces = { "user" } }
      local ns <close> = nsbox.ns.of(box, "user")
      for _, text in ipairs { output { "sh", "-c", ID, namespaces = { user = box } },
        box:exec({ "sh", "-c", ID }).stdout, ns:exec({ "sh", "-c", ID }).stdout } do
        assert.equal("0 0 / 0\n", text)
      end
      return "ok"
    end))
  end)

  it("is a user with a map of his own", function()
    needs "subuid"
    assert.equal("5 5\n", (output { "sh", "-c", "echo $(id -u) $(id -g)", user = "5:5",
      maps = "subuid" }))
  end)

  it("does not wait for a passwd that is a FIFO, nor read one without end", function()
    local dir = tmpdir()
    os.execute(("chmod 755 %s; mkfifo %s/fifo"):format(dir, dir))
    local err = boxes.failure { "true", user = "root", bind = dir .. "/fifo:/etc/passwd" }
    assert.matches("^run: user root: the box has no /etc/passwd", tostring(err))
    err = boxes.failure { "true", user = "root", bind = "/dev/zero:/etc/passwd" }
    assert.equal("user", err.step)
    local line = ("#"):rep(1023) .. "\n"
    -- the last line within the first megabyte is cut: its home would be another one
    spew(dir .. "/long", "me:x:0:0::/me:/bin/sh\n" .. line:rep(1023) .. ("#"):rep(970)
      .. "\nhalf:x:0:0::/home/" .. ("h"):rep(100) .. ":/bin/sh\nlate:x:0:0::/:/bin/sh\n")
    local bind = dir .. "/long:/etc/passwd"
    assert.equal("/me\n", (output { "sh", "-c", "echo $HOME", user = "me", bind = bind }))
    for _, name in ipairs { "half", "late" } do
      assert.equal("user", boxes.failure({ "true", user = name, bind = bind }).step)
    end
  end)

  it("does not find in passwd what a tmpfs hides", function()
    local err = boxes.failure { "true", user = "root", tmpfs = "/etc" }
    assert.matches("^run: user root: the box has no /etc/passwd", tostring(err))
  end)

  it("inherits no descriptor, no signal disposition and no session", function()
    local held <close> = assert(io.open "/etc/passwd")
    local out = output { "sh", "-c", "ls /proc/self/fd; grep -E 'Sig(Blk|Ign)' /proc/self/status; "
      .. "ps -o sid= -p 1" }
    assert.matches("^0\n1\n2\n3\nSigBlk:\t0+\nSigIgn:\t0+\n +1\n$", out)
    held:read(1)
  end)

  it("dies after its timeout, whatever it does with signals", function()
    local status = run { "sh", "-c", "trap '' TERM INT; while :; do sleep 1; done", timeout = 0.05 }
    assert.equal(124, status)
  end)
end)
