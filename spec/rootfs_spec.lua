local nsbox = require "nsbox"
local sys = require "nsbox.sys"
local blame = require "blame"
local roots = require "roots"
local inside = require "inside"
local terminal = require "terminal"
local lfs = require "lfs"
local misuse, failure, sh_in, make = blame.misuse, blame.failure, roots.sh, roots.make
local link = roots.link
local is_root = sys.process.ids().euid == 0 and not in_userns()

local function has(options, word)
  return ("," .. options .. ","):find("," .. word .. ",", 1, true) ~= nil
end

local function passwd(root, text)
  assert(lfs.mkdir(root .. "/etc"))
  spew(root .. "/etc/passwd", text)
end

local function mountinfo(root, o)
  return roots.mounts((sh_in(root, "cat /proc/self/mountinfo", o)))
end

describe("rootfs, misused", function()
  it("says what is wrong at the caller's line", function()
    misuse(function() nsbox.run { "a", rootfs = 3 } end, "rootfs: expected a directory, or")
    misuse(function() nsbox.run { "a", rootfs = "" } end, "rootfs: expected an absolute path")
    misuse(function() nsbox.run { "a", rootfs = { "/x", ro = 1 } } end, "rootfs: ro: expected true")
    misuse(function() nsbox.run { "a", rootfs = { "/x", roo = true } } end, "did you mean 'ro'")
    misuse(function() nsbox.run { "a", rootfs = { "/x\0" } } end, "rootfs: '/x\\0' contains a NUL")
    misuse(function() nsbox.run { "a", rootfs = "/x", namespaces = { "user" } } end,
      "rootfs: needs a new mnt namespace")
    misuse(function() nsbox.run { "a", rootfs = "/x", cwd = "y" } end, "cwd: 'y' is relative")
    misuse(function() nsbox.run { "a", devices = "/dev/null" } end, "devices: a box without a")
    misuse(function() nsbox.run { "a", rootfs = "/x", devices = "/etc" } end,
      "devices: expected a device such as '/dev/fuse'")
    misuse(function() nsbox.run { "a", rootfs = "/x", devices = "/dev/../dev/sda" } end,
      "devices: expected a device such as '/dev/fuse'")
    misuse(function() nsbox.run { "a", masks = true, namespaces = { "user" } } end,
      "masks: needs a new mnt namespace")
    misuse(function() nsbox.run { "a", rootfs = "/x", bind = "/y:/" } end, "bind: '/': the root is")
    misuse(function() nsbox.run { "a", masks = 1 } end, "masks: expected true or false")
  end)
end)

describe("rootfs", function()
  needs("maps", "procmount", "rootfs")

  it("is the root, and nothing of the old one is left", function()
    local root = make()
    local text = sh_in(root, "ls /..; stat -c %d:%i / /.. /../..")
    assert.equal("bin\ndev\netc\nproc\nsys\n", (text:gsub("%d+:%d+\n", "")))
    local one = text:match "%d+:%d+\n"
    assert.equal(one:rep(3), text:match "%d.*$")
    local list, count = mountinfo(root)
    for point in pairs(list) do
      assert.matches("^/[%a]*", point)
      assert(point == "/" or point:find "^/proc" or point:find "^/sys" or point:find "^/dev"
        or point:find "^/etc/", point)
    end
    assert(has(list["/"].options, "nosuid") and has(list["/"].options, "nodev"))
    local different = 0
    for _ in pairs(list) do different = different + 1 end
    assert.equal(count, different) -- nothing lies over or under another one
  end)

  it("has a minimal /dev, and nothing else in it", function()
    local root = make()
    local out = sh_in(root, "cd /dev; for f in null zero full random urandom tty; do "
      .. "stat -c '%n %F %t:%T %a' $f; done; for l in fd stdin stdout stderr ptmx; do "
      .. "echo $l $(readlink $l); done; stat -c '%n %F %a' shm; ls", { stdin = "null" })
    assert.equal([[
null character special file 1:3 666
zero character special file 1:5 666
full character special file 1:7 666
random character special file 1:8 666
urandom character special file 1:9 666
tty character special file 5:0 666
fd /proc/self/fd
stdin /proc/self/fd/0
stdout /proc/self/fd/1
stderr /proc/self/fd/2
ptmx pts/ptmx
shm directory 1777
fd
full
mqueue
null
ptmx
pts
random
shm
stderr
stdin
stdout
tty
urandom
zero
]], out)
    local list = mountinfo(root)
    assert.equal("devpts", list["/dev/pts"].fstype)
    assert.equal("ptmx\n", (sh_in(root, "ls /dev/pts"))) -- a new instance
    for _, point in ipairs { "/dev", "/dev/shm", "/proc" } do
      for _, word in ipairs { "nosuid", "nodev", "noexec" } do
        assert(has(list[point].options, word), point .. " " .. word)
      end
    end
    assert(has(list["/sys"].options, "ro"))
    assert.matches("Read%-only", (sh_in(root, "echo 1 >/proc/sys/kernel/randomize_va_space")))
  end)

  it("has the terminal of a stream as its console", function()
    local root, t <close> = make(), terminal()
    local want = (sh("stat -c '%t:%T %i' " .. t.path))
    local function console(o)
      o.stdin, o.stdout = o.stdin or "null", "capture"
      o.rootfs, o.stderr = o.rootfs or root, o.stderr or "null"
      o[1], o[2], o[3] = "sh", "-c", "stat -c '%t:%T %i' /dev/console; cat /proc/self/mountinfo"
      local text = select(2, nsbox.run(o)).stdout
      return text:match "^(%x+:%x+ %d+\n)", roots.mounts(text)["/dev/console"]
    end
    -- with a file, a number, an init, without a user namespace, over what the image says
    assert(os.execute(("mkdir %s/dev && ln -s /bin/sh %s/dev/console"):format(root, root)))
    local file <close> = io.open(t.path, "r+")
    for _, o in ipairs { { stdin = t.fd }, { stderr = t.fd }, { stdin = file },
      { stdin = t.fd:fileno() }, { stdin = t.fd, init = true }, { stdin = t.fd, rootfs = {
      root, ro = true } }, { stdin = t.fd, namespaces = { user = not is_root } } } do
      local found, mount = console(o)
      assert.equal(want, found)
      assert(has(mount.options, "nosuid") and has(mount.options, "noexec"), mount.options)
      assert.equal("devpts", mount.fstype)
    end
    assert.same({ nil, nil }, { console {} })
    assert.is_nil((select(2, console { stdin = t.fd, bare = true })))
    -- it stays, for what enters
    local box <close> = nsbox.box { "sleep", "1000", rootfs = root, stdin = t.fd, stdout = "null",
      stderr = "null" }
    assert.equal(want, box:exec({ "stat", "-c", "%t:%T %i", "/dev/console" }).stdout)
    -- who may open the terminal may open this, too
    local _, result = nsbox.run { "sh", "-c", "echo here >/dev/console", rootfs = root,
      stdin = t.fd, stdout = "null", maps = "self" }
    assert.is_true(result.ok)
    assert.equal("here\r\n", t.output:read())
  end)

  it("is writable, and what is made belongs to the caller", function()
    local root = make()
    assert.equal("0 0\n", (sh_in(root, "echo x >/new; stat -c '%u %g' /new")))
    local uid, gid = sys.process.geteuid()
    local st = sys.fd.stat(root .. "/new")
    assert.same({ uid, gid }, { st.uid, st.gid })
  end)

  it("is read-only when it says so, with places to write", function()
    local root = make()
    local o = { rootfs = { root, ro = true }, tmpfs = { { "/tmp", size = "64K", mode = "0700" },
      "/var/run" } }
    local out = sh_in(root, "touch /x; stat -c %a /tmp /var/run; "
      .. "touch /tmp/y /var/run/z /dev/shm/s; ls /tmp /var/run; "
      .. "head -c 100000 /bin/busybox >/tmp/big", o)
    assert.matches("^touch: /x: Read%-only file system\n700\n1777\n/tmp:\ny\n\n/var/run:\nz\n.*"
      .. "head: ", out)
    -- the places that were missing were made, empty
    assert.same({ "bin", "dev", "etc", "proc", "sys", "tmp", "var" }, entries(root))
    assert.same({}, entries(root .. "/tmp"))
    assert.equal("rwxr-xr-x", lfs.attributes(root .. "/var/run", "permissions"))
    assert.equal("/var/run", (sh_in(root, "cd /var/run && pwd", o):gsub("\n", "")))
  end)

  it("shows binds, of directories and of files, and makes their places", function()
    local root, dir = make(), tmpdir()
    spew(dir .. "/f", "hello\n")
    local mask = sh("umask")
    local out = sh_in(root, "cat /a/b/f /c/d; echo new >/a/b/g; echo x >/ro/h; "
      .. "stat -c %a /a /c/d", { maps = "self",
        bind = { dir .. ":/a/b", { dir .. "/f", to = "/c/d" }, dir .. ":/ro:ro" } })
    assert.matches("^hello\nhello\nsh: can't create /ro/h: Read%-only file system\n755\n", out)
    assert.equal("new\n", slurp(dir .. "/g"))
    assert.equal("directory", lfs.attributes(root .. "/a/b", "mode"))
    assert.equal("rw-r--r--", lfs.attributes(root .. "/c/d", "permissions"))
    assert.equal(0, lfs.attributes(root .. "/c/d", "size"))
    assert.equal(mask, (sh "umask"))
    -- a directory on a file
    assert.equal("ENOTDIR", failure(function()
      sh_in(root, "true", { bind = dir .. ":/c/d" })
    end).code)
  end)

  it("protects every mount below a bind", function()
    local root = make()
    -- /dev has mounts of its own
    local ro = mountinfo(root, { bind = "/dev:/mnt:ro" })
    local rw = mountinfo(root, { bind = "/dev:/mnt" })
    local seen = 0
    for point, m in pairs(ro) do
      if point:find "^/mnt" then
        seen = seen + 1
        assert(has(m.options, "ro") and has(m.options, "nosuid") and has(m.options, "nodev"),
          point .. " " .. m.options)
        assert(has(rw[point].options, "rw") and has(rw[point].options, "nodev"), point)
      end
    end
    assert.is_true(seen > 1)
    assert.matches("Read%-only", (sh_in(root, "touch /mnt/shm/x", { bind = "/dev:/mnt:ro" })))
  end)

  it("keeps what a link leads to inside", function()
    local root, outside, dir = make(), tmpdir(), tmpdir()
    spew(dir .. "/f", "shown\n")
    lfs.mkdir(root .. "/real")
    link(outside, root .. "/absolute")
    link(("../"):rep(12) .. outside:sub(2), root .. "/relative")
    link(("../"):rep(12) .. "real", root .. "/up")
    link("real/", root .. "/trailing")
    link("/proc/self/root" .. outside, root .. "/magic")
    link("/real/../../real", root .. "/dots")
    for target, shown in pairs {
      ["/absolute"] = outside, ["/relative"] = outside, ["/up"] = "/real", ["/trailing"] = "/real",
      ["/absolute/below"] = outside .. "/below", ["/dots/more"] = "/real/more",
      ["/real/../../../new"] = "/new",
    } do
      local text = sh_in(root, ("cat %s/f %s/f"):format(shown, target),
        { bind = dir .. ":" .. target })
      assert.equal("shown\nshown\n", text, target)
      assert.same({}, entries(outside))
      assert.is_not_nil(lfs.attributes(root .. shown), target)
    end
    for _, target in ipairs { "/absolute/x", "/relative/x", "/magic/x" } do
      local ok, err = nsbox.try(sh_in, root, "true", { tmpfs = target })
      -- what leads through /proc is refused where openat2(2) sees it
      assert(ok or target == "/magic/x" and err.code == "ELOOP")
      assert.same({}, entries(outside))
    end
    -- round and round
    link("b", root .. "/a")
    link("a", root .. "/b")
    assert.equal("ELOOP", failure(function() sh_in(root, "true", { tmpfs = "/a/x" }) end).code)
  end)

  it("refuses a /proc, /sys or /dev that is a link", function()
    for _, name in ipairs { "proc", "sys", "dev" } do
      local root, outside = make(), tmpdir()
      link(outside, root .. "/" .. name)
      local err = failure(function() sh_in(root, "true") end, "ELOOP")
      assert.same({ "mount", "/" .. name }, { err.step, err.subject })
      assert.matches("a symbolic link in " .. root:gsub("%p", "%%%0"), err.hint)
      assert.same({}, entries(outside))
      os.remove(root .. "/" .. name)
      link("bin", root .. "/" .. name) -- nor one that stays inside
      failure(function() sh_in(root, "true") end, "ELOOP")
    end
  end)

  it("hides what tells of the machine", function()
    local root = make()
    local out = sh_in(root, "cat /proc/keys /proc/timer_list /proc/interrupts 2>/dev/null | "
      .. "wc -c; for d in /proc/acpi /sys/firmware; do [ -d $d ] && ls -A $d && touch $d/x; done; "
      .. "echo end")
    out = out:gsub("touch: [^\n]*: Read%-only file system\n", "")
    assert.equal("0\nend\n", out)
    local list = mountinfo(root)
    for _, path in ipairs { "/proc/sys", "/proc/irq", "/proc/fs" } do
      assert(has(list[path].options, "ro"), path)
    end
    list = mountinfo(root, { masks = false })
    assert.same({ nil, nil }, { list["/proc/keys"], list["/proc/sys"] })
    assert.is_not_nil(list["/dev/null"])
  end)

  it("covers nothing with what only looks like /dev/null", function()
    local root, dir = make(), tmpdir()
    spew(dir .. "/false", "")
    spew(dir .. "/secret", "secret\n")
    local message = inside({ "user", "mnt" }, function(path)
      assert(sys.mount(path .. "/false", "/dev/null", nil, "bind"))
      local _, err = nsbox.try(nsbox.run, { "true", rootfs = root })
      return tostring(err)
    end, dir)
    assert.matches("^run: mask [%w_]+: .*%(ENXIO%)\n  hint: /dev/null is not the null device",
      message)
  end)

  it("is not left while its directories are swapped for links", function()
    local rounds = tonumber(os.getenv "NSBOX_RACE") or 50
    local came, outside = require "race"(rounds)
    assert.same({}, outside)
    local sum = 0
    for code, times in pairs(came) do
      -- the attacker's own work may be in the way; nothing else
      assert(("ran ENOENT ELOOP ENOTDIR ESTALE EINVAL"):find(code, 1, true), code)
      sum = sum + times
      if rounds > 1000 then print(code, times) end
    end
    assert.equal(rounds, sum)
  end)

  -- the same, where it matters, and each time: see meanwhile.c
  it("looks again where a mount has gone", function()
    local root, shown = make(), tmpdir()
    assert(os.execute(("cd %s && mkdir -p one/in one/new two/in two/new"):format(root)))
    local file = tmpdir() .. "/x.lua"
    spew(file, [[
      local nsbox = require "nsbox"
      for _, o in ipairs { { bind = arg[2] .. ":/one/in" }, { tmpfs = "/one/new" } } do
        o[1], o.rootfs = "true", arg[1]
        print((select(2, nsbox.try(nsbox.run, o)).code))
      end]])
    local before = ("%s %s/one %s/two "):format(built "meanwhile", root, root)
    assert.equal("ESTALE\nESTALE\n", (lua(("%s %s %s"):format(file, root, shown), "", before)))
    assert.same({}, entries(shown))
  end)

  it("does not begin while the old root is there", function()
    local root = make()
    local text = ([[
      local nsbox = require "nsbox"
      local _, err = nsbox.try(nsbox.run, { "ls", "/", rootfs = %q })
      print(err.step, err.code)]]):format(root)
    -- umount2(2) says that it is done, and did nothing
    assert.equal("pivot_root\tEBUSY\n", (lua("-", text, built "deny" .. " umount2=0 ")))
  end)

  it("is told its name and those of others", function()
    local root = make()
    local out = sh_in(root, "cat /etc/hosts /etc/hostname; hostname; touch /etc/hosts",
      { hostname = "web" })
    assert.matches("^127%.0%.0%.1\tlocalhost\n::1\tlocalhost[^\n]*\n127%.0%.1%.1\tweb\nweb\nweb\n"
      .. "touch: /etc/hosts: Read%-only", out)
    assert.equal(0, lfs.attributes(root .. "/etc/hosts", "size"))
    -- in the caller's network it asks whom the caller asks
    assert.equal(slurp "/etc/resolv.conf", (sh_in(root, "cat /etc/resolv.conf",
      { namespaces = { net = false } })))
  end)

  it("says so when the places of these lead in a circle", function()
    for _, name in ipairs { "hosts", "hostname" } do
      local root = make()
      lfs.mkdir(root .. "/etc")
      link("other", root .. "/etc/" .. name)
      link(name, root .. "/etc/other")
      local err = failure(function() sh_in(root, "true", { hostname = "web" }) end, "ELOOP")
      assert.equal("/etc/" .. name, err.subject)
      assert.matches("a symbolic link that leads in a circle", err.hint)
    end
  end)

  it("may be on what nobody can write to", function()
    local root = make()
    for _, name in ipairs { "proc", "sys", "dev" } do lfs.mkdir(root .. "/" .. name) end
    local function run(rootfs, more)
      return inside({ "user", "mnt" }, function(o)
        assert(sys.mount(root, root, nil, "bind"))
        assert(sys.mount.setattr(root, { set = "ro" }))
        local ok, err = nsbox.try(sh_in, root, "ls; touch /x", o)
        return ok or tostring(err)
      end, { rootfs = rootfs, hostname = "x", tmpfs = more })
    end
    -- without its name then, which has no place
    for _, rootfs in ipairs { { root }, { root, ro = true } } do
      assert.equal("bin\ndev\nproc\nsys\ntouch: /x: Read-only file system\n", run(rootfs))
    end
    assert.matches("mount /none: Read%-only file system .*hint: /none is missing in " ..
      root:gsub("%p", "%%%0"), run({ root }, "/none"))
  end)

  it("cannot be given what it lacks where its maker may not write #user", function()
    local err = failure(function() nsbox.run { "true", rootfs = "/usr" } end, "EACCES")
    assert.matches("^/proc is missing in /usr, and the box's root may not make it", err.hint)
  end)

  it("has its own users, whatever its links say", function()
    local root = make()
    lfs.mkdir(root .. "/etc")
    lfs.mkdir(root .. "/there")
    link("/there/passwd", root .. "/etc/passwd")
    spew(root .. "/there/passwd", "root:x:0:0::/home/boss:/bin/sh\n")
    assert.equal("/home/boss\n", (sh_in(root, "echo $HOME", { user = "root" })))
    local err = failure(function() sh_in(root, "true", { user = "daemon" }) end, "ENOENT")
    assert.equal("user", err.step)
    os.remove(root .. "/etc/passwd")
    link("/etc/passwd", root .. "/etc/passwd")
    assert.equal("user", failure(function() sh_in(root, "true", { user = "root" }) end).step)
  end)

  it("has the users that are seen when it is made of several", function()
    local root, dir = make(), tmpdir()
    for _, name in ipairs { "/etc", "/there", "/away" } do lfs.mkdir(root .. name) end
    assert(os.execute(("chmod 755 %s && mkdir %s/etc"):format(dir, dir)))
    spew(root .. "/etc/passwd", "root:x:0:0::/below:/bin/sh\n")
    spew(root .. "/there/passwd", "root:x:0:0::/there:/bin/sh\n")
    spew(root .. "/there/group", "one:x:0:\n")
    spew(dir .. "/passwd", "root:x:0:0::/bound:/bin/sh\n")
    local function home(o)
      o.user = "root"
      return (sh_in(root, "echo $HOME", o))
    end
    assert.equal("/below\n", home { tmpfs = { "/tmp", "/etc/other" }, bind = dir .. ":/mnt" })
    assert.equal("/bound\n", home { bind = dir .. ":/etc" })
    assert.equal("/bound\n", home { bind = { { dir .. "/passwd", to = "/etc/passwd" } } })
    assert.equal("ENOENT", failure(function() home { tmpfs = "/etc" } end).code)
    -- a link in what is bound, and the place of a bind that is one
    os.remove(dir .. "/passwd")
    link("/there/passwd", dir .. "/passwd")
    assert.equal("/there\n", home { bind = dir .. ":/etc" })
    link("/there/group", dir .. "/group")
    assert.equal("/there\n", (sh_in(root, "echo $HOME", { user = "root:one",
      bind = dir .. ":/etc" })))
    link("../etc", root .. "/away/place")
    assert.equal("/there\n", home { bind = dir .. ":/away/place" })
  end)

  it("has the home of its user in all that enters the box", function()
    local root = make()
    passwd(root, "root:x:0:0::/home/boss:/bin/sh\nother:x:0:0::/other:/bin/sh\n")
    local b <close> = nsbox.box { rootfs = root, user = "root" }
    local echo = { "sh", "-c", "echo $HOME" }
    assert.equal("/home/boss\n", b:exec(echo).stdout)
    echo.user = "other"
    assert.equal("/other\n", b:exec(echo).stdout)
    local plain <close> = nsbox.box { rootfs = root }
    echo.user = nil
    assert.equal((sh_in(root, "echo $HOME")), plain:exec(echo).stdout)
  end)

  it("has the users of the mounts that it joins #root", function()
    local root = make()
    passwd(root, "other:x:0:0::/other:/bin/sh\n")
    local b <close> = nsbox.box { rootfs = root }
    local _, result = nsbox.run { "sh", "-c", "echo $HOME", user = "other", stdout = "capture",
      namespaces = { user = b, mnt = b, pid = false } }
    assert.equal("/other\n", result.stdout)
  end)

  it("starts in /, or where it is told", function()
    local root = make()
    lfs.mkdir(root .. "/work")
    assert.equal("/\n", (sh_in(root, "pwd")))
    assert.equal("/work\n", (sh_in(root, "pwd", { cwd = "/work" })))
    assert.equal("ENOENT", failure(function() sh_in(root, "pwd", { cwd = "/nope" }) end).code)
  end)

  it("keeps nothing of the caller open", function()
    local root = make()
    for _, command in ipairs { "ls /proc/self/fd", "true; ls /proc/self/fd" } do
      assert.equal("0\n1\n2\n3\n", (sh_in(root, command))) -- the last one is what lists
    end
    local b <close> = nsbox.box { rootfs = root }
    assert.equal("0\n1\n2\n3\n", b:exec({ "ls", "/proc/self/fd" }).stdout)
  end)

  it("gives no descriptor of the caller to what a function in it starts", function()
    local root, text = make(), tmpdir() .. "/secret"
    spew(text, "secret\n")
    local held <close> = io.open(text) -- without close-on-exec, as Lua has it
    local b <close> = nsbox.box { rootfs = root }
    local seen, own = b:call(function()
      local out <close> = io.popen "ls /proc/self/fd | wc -l"
      return out:read "n", held:read "a"
    end)
    assert.equal(4, seen) -- the last one is what lists
    assert.equal("secret\n", own)
  end)

  it("is all there without a user namespace, too #root", function()
    local root = make()
    local o = { rootfs = root, namespaces = { user = false }, tmpfs = "/tmp" }
    local text = sh_in(root, "ls /dev | grep -c null; cat /proc/self/mountinfo", o)
    assert.matches("^1\n", text)
    for _, point in ipairs { "/", "/proc", "/sys", "/dev", "/tmp" } do
      assert.is_truthy(require("roots").mounts(text)[point], point)
    end
    local b <close> = nsbox.box { rootfs = root, namespaces = { user = false } }
    assert.equal("bin\n", (b:exec({ "ls", "-d", "bin" }).stdout))
    assert.is_true(b:call(function() return io.open "/bin/busybox" ~= nil end))
  end)

  it("gives no program of the machine to an image that asks for it", function()
    local root = make()
    link("/proc/self/exe", root .. "/bin/link")
    spew(root .. "/bin/script", "#!/proc/self/exe\n")
    assert(os.execute(("chmod 755 %s/bin/script"):format(root)))
    -- what they get is nsbox-init, sealed, which does nothing for them
    local b <close> = nsbox.box { rootfs = root }
    for _, name in ipairs { "link", "script" } do
      assert.equal(2, (nsbox.run { name, rootfs = root, stderr = "null" }))
      assert.equal(2, b:exec({ name }).status)
    end
    -- nor by a descriptor that this script has open
    local dir <close> = sys.fd.open("/bin", { "path", "directory" })
    link("/proc/self/fd/" .. dir:fileno() .. "/sh", root .. "/bin/fd")
    assert.equal("ENOENT", failure(function() nsbox.run { "fd", rootfs = root } end).code)
    for _, cwd in ipairs { "/proc/self/fd/" .. dir:fileno(), "/proc/self/cwd/.." } do
      local out, err = nsbox.try(sh_in, root, "pwd", { cwd = cwd })
      assert(out == "/\n" or err.step == "cwd")
    end
  end)

  it("is that of all that enters the box", function()
    local root = make()
    passwd(root, "me:x:0:0::/home/me:/bin/sh\n")
    local b <close> = nsbox.box { rootfs = root, name = "rooted" }
    assert.equal("/\nrooted\n", b:exec({ "sh", "-c", "pwd; hostname" }).stdout)
    assert.equal("/home/me\n", b:exec({ "sh", "-c", "echo $HOME", user = "me" }).stdout)
    assert.equal("/bin\n", b:exec({ "pwd", cwd = "/bin" }).stdout)
    local p = b:spawn { "touch", "/made" }
    assert.is_true(p:wait().ok)
    assert.is_not_nil(lfs.attributes(root .. "/made"))
    spew(root .. "/read", "by a function")
    assert.equal("by a function", b:call(function() return io.open("/read"):read "a" end))
    misuse(function() b:exec { "true", cwd = "x" } end, "exec: cwd: 'x' is relative")
  end)

  it("goes with an init, and with capabilities", function()
    needs "memfd_exec"
    local root = make()
    assert.equal("2\n", (sh_in(root, "echo $$", { init = true })))
    -- whoever may mount finds nothing to come back by
    local out = sh_in(root, "umount / ; umount /proc/keys; ls /.. | head -n 1",
      { caps = "all", no_new_privs = false })
    assert.matches("bin\n$", out)
  end)

  it("can be empty, and made of directories of the machine #uml", function()
    local dir = tmpdir()
    local o = { "sh", "-c", "ls /; echo x >/work/x; cat /proc/self/mountinfo; touch /y",
      bind = { dir .. ":/work" }, maps = "self", rootfs = {}, stdout = "capture",
      stderr = "capture" }
    for _, path in ipairs { "/usr", "/bin", "/lib", "/lib64" } do
      if lfs.attributes(path) then o.bind[#o.bind + 1] = { path, ro = true } end
    end
    local _, result = nsbox.run(o)
    assert.matches("^bin\ndev\netc\nlib\n", result.stdout)
    assert.is_true(result.ok)
    assert.equal("x\n", slurp(dir .. "/x"))
    local list = roots.mounts(result.stdout)
    assert.equal("tmpfs", list["/"].fstype)
    assert(has(list["/usr"].options, "ro"))
    o.rootfs = { ro = true }
    assert.matches("Read%-only", select(2, nsbox.run(o)).stderr)
  end)

  it("shares what the box shares with its caller", function()
    local root = make()
    local list = mountinfo(root, { namespaces = { pid = false, net = false } })
    assert.equal("proc", list["/proc"].fstype)
    assert.equal("sysfs", list["/sys"].fstype)
    assert(has(list["/sys"].options, "ro"))
    assert.equal("0\n", (sh_in(root, "cat /proc/keys 2>/dev/null | wc -c",
      { namespaces = { pid = false } })))
  end)

  it("can be bare: then it has /proc and nothing else", function()
    local root = make()
    local list, count = mountinfo(root, { bare = true })
    assert.equal(2, count)
    assert.equal("proc", list["/proc"].fstype)
    assert.same({ "bin", "proc" }, entries(root))
    -- and what of /proc it is not to see, where it says so
    list = mountinfo(root, { bare = true, masks = true })
    assert(list["/proc/keys"] and has(list["/proc/sys"].options, "ro"))
    assert.is_nil(list["/sys"])
  end)

  it("shows devices of the machine", function()
    local root = make()
    assert.equal("1:5\n", (sh_in(root, "stat -c %t:%T /dev/more/zero",
      { bind = "/dev/zero:/dev/more/zero" })))
    local out = sh_in(root, "ls /dev; head -c 4 /dev/zero | wc -c",
      { devices = { "/dev/full", "/dev/zero", "/dev/zero" }, bare = true })
    assert.equal("full\nzero\n4\n", out)
    assert.equal("/dev/nope", failure(function()
      sh_in(root, "true", { devices = "/dev/nope" })
    end, "ENOENT").subject)
    assert.matches("it is a directory, no device", failure(function()
      sh_in(root, "true", { devices = "/dev/shm" })
    end, "ENODEV").detail)
  end)

  it("says what is wrong with the directory", function()
    local root = make()
    local err = failure(function() nsbox.run { "sh", rootfs = root .. "/nope" } end, "ENOENT")
    assert.equal(root .. "/nope", err.subject)
    assert.matches("which is to be the root", err.hint)
    err = failure(function() nsbox.run { "sh", rootfs = root .. "/bin/busybox" } end, "ENOTDIR")
    assert.matches("cannot be the root", err.hint)
    local dir = tmpdir()
    local loop = dir .. "/loop"
    assert(lfs.link(loop, loop, true))
    for _, o in ipairs { { rootfs = loop }, { rootfs = root, bind = loop .. ":/mnt" } } do
      o[1] = "sh"
      err = failure(function() nsbox.run(o) end, "ELOOP")
      assert.same({ loop, loop .. " is, or is below, a symbolic link that leads in a circle" },
        { err.subject, err.hint })
    end
    local hint = inside({ "user", "mnt" }, function()
      assert(sys.mount("tmpfs", dir, "tmpfs", {}, "nr_inodes=1"))
      return failure(function() nsbox.run { "sh", rootfs = dir } end, "ENOSPC").hint
    end)
    assert.equal(("is missing in %s and cannot be made there: its file system is full "
      .. "(df, df -i)"):format(dir), (hint:gsub("^/%a+ ", "")))
    err = failure(function() sh_in(root, "true", { tmpfs = "/dev/null" }) end)
    assert.equal(({
      EINVAL = "/dev/null is no directory, and a file system is mounted on one", -- move_mount(2)
      ENOTDIR = "a directory can be mounted only on a directory, a file only on a file", -- mount(2)
    })[err.code], err.hint)
  end)

  it("is one where a filter of the caller's refuses to copy mounts, too", function()
    local root, script = make(), tmpdir() .. "/script.lua"
    spew(script, ([[os.exit(require("nsbox").run { "ls", "/sys/firmware", rootfs = %q,
      maps = "self" })]]):format(root))
    local out, status = lua(script, nil, built "deny" .. " open_tree=1 ")
    assert.same({ "", 0 }, { out, status })
  end)

  it("mounts nothing outside where mounts are shared", function()
    local root, dir = make(), tmpdir()
    local before, during, after, result = inside({ "user", "mnt" }, function()
      assert(sys.mount.propagation("/", "shared", true))
      local text = slurp "/proc/self/mountinfo"
      local b <close> = nsbox.box { rootfs = root, bind = { { dir, to = "/mnt" },
        "/usr:/mnt/below" } }
      local inside_it = slurp "/proc/self/mountinfo"
      local out = b:exec({ "cat", "/proc/self/mountinfo" }).stdout
      b:close()
      return text, inside_it, slurp "/proc/self/mountinfo", out
    end)
    assert.matches("shared:", before)
    assert.equal(before, during)
    assert.equal(before, after)
    assert.matches(" /mnt/below ", result)
    assert.is_nil(result:find("shared:", 1, true))
    assert.same({ "below" }, entries(dir))
    assert.same({}, entries(dir .. "/below"))
  end)

  it("leaves no mount outside, also when it fails", function()
    local root = make()
    local before = slurp "/proc/self/mountinfo"
    sh_in(root, "true")
    nsbox.try(sh_in, root, "true", { tmpfs = "/bin/busybox" })
    assert.equal(before, slurp "/proc/self/mountinfo")
  end)
end)

describe("a root of its own fails at every step", function()
  needs("maps", "procmount", "rootfs")

  it("and leaves nothing #fault", function()
    local root = make()
    local file = tmpdir() .. "/fault.lua"
    spew(file, [[
      local nsbox = require "nsbox"
      local function mounts()
        local f <close> = io.open "/proc/self/mountinfo"
        return f:read "a"
      end
      local before = mounts()
      local ran, err = nsbox.try(nsbox.run, { "true", hostname = "x", stdout = "capture",
        rootfs = { arg[1], ro = true }, tmpfs = "/tmp", bind = { "/usr:/usr:ro",
          { arg[1], to = "/again", idmap = true } } })
      print(ran == 0 and "ran" or err.step .. " " .. err.code)
      collectgarbage() collectgarbage()
      local children = io.open("/proc/self/task/" .. nsbox.sys.process.getpid() .. "/children")
      assert(children:read "a" == "" and mounts() == before)
      local lfs, open = require "lfs", 0
      for name in lfs.dir "/proc/self/fd" do
        local target = lfs.symlinkattributes("/proc/self/fd/" .. name, "target") or ""
        -- the tree of a root is on the disk of the root itself
        assert(target:find(arg[1], 1, true) ~= 1 and target ~= "/", target)
      end]])
    local steps, failed = 0, {}
    local last = cell:find "^asan" and 40 or 120
    repeat
      steps = steps + 1
      -- a sanitizer is slow: it gets the last ones of the kinds of steps that are many
      local number = last == 40 and steps > 20 and steps * 3 or steps
      local out, status = sh(("NSBOX_FAULT=%d:EIO LUA_PATH='%s' LUA_CPATH='%s' %s %s %s"):format(
        number, package.path, package.cpath, os.getenv "LUA" or "lua5.4", file, root))
      assert.equal(0, status, out)
      assert(out == "ran\n" or out:find "^[%l_]+ EIO\n$", out)
      failed[out:match "^%S+"] = true
    until steps == last
    for _, step in ipairs { "bind", "mount", "attr", "mask", "symlink", "file", "pivot_root" } do
      assert(failed[step] or last == 40, step)
    end
    assert.is_true(failed.ran)
  end)
end)

describe("overlay", function()
  it("says what is wrong at the caller's line", function()
    misuse(function() nsbox.run { "a", overlay = "tmp" } end, "overlay: over what?")
    misuse(function() nsbox.run { "a", rootfs = {}, overlay = "tmp" } end, "overlay: an empty")
    misuse(function() nsbox.run { "a", rootfs = "/x", overlay = true } end, "overlay: expected")
    misuse(function() nsbox.run { "a", rootfs = "/x", overlay = { uper = 1 } } end, "'upper'")
    misuse(function() nsbox.run { "a", rootfs = "/x", overlay = { upper = "/u" } } end,
      "overlay: upper and work go together")
    misuse(function() nsbox.run { "a", rootfs = "/x", overlay = { lower = { "/a", 3 } } } end,
      "overlay: lower[2]: expected a directory")
    local hole = { "/a", nil, "/b" }
    misuse(function() nsbox.run { "a", rootfs = "/x", overlay = { lower = hole } } end,
      "overlay: lower: has a hole")
    misuse(function() nsbox.run { "a", rootfs = "/x", overlay = { lower = { a = "/a" } } } end,
      "overlay: lower: expected a list")
    local many = {}
    for i = 1, 500 do many[i] = "/a" end
    misuse(function() nsbox.run { "a", rootfs = "/x", overlay = { lower = many } } end,
      "overlay: lower: at most 499 directories")
  end)

  describe("of a box", function()
    needs("maps", "procmount", "rootfs", "overlay_userns")

    it("throws away what changes", function()
      local root = make()
      spew(root .. "/file", "old\n")
      local before = table.concat(entries(root), " ")
      local out = sh_in(root, "cat /file; echo new >/file; cat /file; rm -r /bin/ls; touch /x; "
        .. "stat -c %u /x; cat /proc/mounts", { overlay = "tmp", tmpfs = "/made" })
      assert.matches("^old\nnew\n0\noverlay / overlay rw,nosuid,nodev", out)
      assert.equal(before, table.concat(entries(root), " "))
      assert.equal("old\n", slurp(root .. "/file"))
      assert.equal("link", lfs.symlinkattributes(root .. "/bin/ls", "mode"))
      assert.equal("old\n", (sh_in(root, "cat /file", { overlay = "tmp" })))
    end)

    it("keeps them in its upper directory, whatever that is called", function()
      local root, other, dir = make(), tmpdir(), tmpdir()
      local odd = dir .. "/a:b,c\\d e"
      assert(lfs.mkdir(odd) and lfs.mkdir(odd .. "/upper") and lfs.mkdir(odd .. "/work"))
      assert(os.execute(("mkdir -p '%s/lower'; mv %s '%s/root'"):format(odd, root, odd)))
      root = odd .. "/root"
      spew(odd .. "/lower/file", "lower\n")
      spew(root .. "/file", "root\n")
      spew(root .. "/passwd", "")
      spew(other .. "/more", "more\n")
      local o = { overlay = { lower = { odd .. "/lower", other }, upper = odd .. "/upper",
        work = odd .. "/work" }, bare = true }
      assert.equal("lower\nmore\n",
        (sh_in(root, "cat /file /more; echo new >/made; rm /passwd", o)))
      assert.equal("new\n", slurp(odd .. "/upper/made"))
      assert.equal("char device", lfs.attributes(odd .. "/upper/passwd", "mode"))
      assert.is_nil(slurp(root .. "/made"))
      assert.equal(sys.fd.stat(dir).uid, sys.fd.stat(odd .. "/upper/made").uid)
      -- and they are there the next time
      assert.equal("new\n", (sh_in(root, "cat /made; test -e /passwd && echo oh", o)))
    end)

    it("is of layers wherever their maker can go, and does not say where", function()
      local parent, root, lower = tmpdir(), make(), tmpdir()
      assert(os.execute(("cd %s; mkdir upper work; mv %s root; mv %s lower; chmod 700 ."):format(
        parent, root, lower)))
      spew(parent .. "/lower/file", "lower\n")
      root = parent .. "/root"
      for _, overlay in ipairs { "tmp", { lower = parent .. "/lower", upper = parent .. "/upper",
        work = parent .. "/work" } } do
        local out = sh_in(root, "echo new >/made; cat /made /file /proc/self/mountinfo",
          { overlay = overlay })
        assert.matches("^new\n", out)
        assert.equal(overlay ~= "tmp", out:find "^new\nlower\n" ~= nil)
        assert.is_nil(out:find(parent, 1, true))
      end
      assert.equal("new\n", slurp(parent .. "/upper/made"))
    end)

    it("may have many layers, whatever their names are", function()
      local root, list, dir = make(), {}, tmpdir()
      for i = 1, 40 do
        list[i] = ("%s/%s/%d"):format(dir, ("x"):rep(200), i)
        assert(os.execute(("mkdir -p %s; touch %s/f%d; ln -s %d %s/which"):format(list[i], list[i],
          i, i, list[i])))
      end
      assert.equal("41\n1\n", (sh_in(root, "ls / | grep -c '^f[0-9]\\|^bin$'; readlink /which",
        { overlay = { lower = list } })))
    end)

    it("says which of its directories is missing, and what it cannot be", function()
      local root, dir = make(), tmpdir()
      for _, name in ipairs { "upper", "work", "lower" } do lfs.mkdir(dir .. "/" .. name) end
      spew(dir .. "/file", "")
      local function wrong(name, path, code)
        local o = { lower = { dir .. "/lower" }, upper = dir .. "/upper", work = dir .. "/work" }
        if name == "lower" then o.lower[2] = path else o[name] = path end
        local err = failure(function() sh_in(root, "true", { overlay = o }) end, code)
        assert.same({ "overlay", path }, { err.step, err.subject })
        assert.matches("^" .. name, err.detail)
        return err.detail
      end
      for _, name in ipairs { "upper", "work", "lower" } do
        wrong(name, dir .. "/nope", "ENOENT")
        wrong(name, dir .. "/file", "ENOTDIR")
      end
      assert.matches("^lower%[2%]: ", wrong("lower", dir .. "/nope", "ENOENT"))
      wrong("work", dir .. "/upper", "EINVAL")
      wrong("work", dir .. "/upper/../work/..", "EINVAL")
      wrong("work", "/proc", "EXDEV")
      assert.equal(root .. "/nope", failure(function()
        sh_in(root .. "/nope", "true", { overlay = "tmp" })
      end, "ENOENT").subject)
      lfs.mkdir(dir .. "/lower/below")
      for _, lower in ipairs { { "/lower", "/lower" }, { "/lower", "/lower/below" } } do
        local err = failure(function()
          sh_in(root, "true", { overlay = { lower = { dir .. lower[1], dir .. lower[2] } } })
        end, "ELOOP")
        assert.matches("^two of the directories of the overlay are one, or one", err.hint)
      end
    end)

    it("is not over what has mounts below it, which came from elsewhere", function()
      needs "mount_api"
      local hint = inside({ "user", "mnt" }, function()
        return failure(function() nsbox.run { "sh", rootfs = "/", overlay = "tmp" } end, "EINVAL")
          .hint
      end)
      assert.matches("^no layer may have mounts below it", hint)
    end)

    it("is mounted as any other root", function()
      local root = make()
      for _, bare in ipairs { false, true } do
        local o = { overlay = "tmp", bare = bare }
        local list = mountinfo(root, o)
        assert.equal("overlay", list["/"].fstype)
        assert.equal(not bare, has(list["/"].options, "nosuid"))
        assert.equal(not bare, has(list["/"].options, "nodev"))
      end
    end)

    it("is written to by one box at a time", function()
      local root, dir = make(), tmpdir()
      for name in ("u w u2 w2 u3 w3"):gmatch "%S+" do lfs.mkdir(dir .. "/" .. name) end
      local function overlay(u, w)
        return { upper = dir .. "/" .. u, work = dir .. "/" .. w }
      end
      local first = nsbox.box { rootfs = root, overlay = overlay("u", "w") }
      local _ <close> = nsbox.box { "true", rootfs = root, overlay = overlay("u2", "w2") }
      -- it has a copy of whatever is open here
      local forked, out = assert(sys.clone({ pdeathsig = "KILL" }, sys.fd.poll, {}, 60))
      for _, o in ipairs { overlay("u", "w"), overlay("u", "w3"), overlay("u3", "w") } do
        local err = failure(function() sh_in(root, "true", { overlay = o }) end, "EBUSY")
        assert.matches("another box writes there", err.detail)
        assert.matches("one box at a time", err.hint)
      end
      local text = ([[
        print(require "nsbox.error".try(require "nsbox".run, { "true", rootfs = "%s",
          overlay = { upper = "%s/u", work = "%s/w" } }))]]):format(root, dir, dir)
      assert.matches("EBUSY", (lua("-", text)))
      first:close()
      assert.matches("^0\t", (lua("-", text)))
      forked:kill "KILL"
      assert(sys.fd.poll { [forked:fileno()] = "r" })
      forked:status()
      forked:close()
      out:close()
      assert.equal("new\n", (sh_in(root, "echo new >/f; cat /f", { overlay = overlay("u", "w") })))
      assert.equal("new\n", (sh_in(root, "cat /f", { overlay = overlay("u", "w") })))
      -- a program that ended, and one that could not be started
      local b <close> = nsbox.box { "true", rootfs = root, overlay = overlay("u", "w") }
      b:start():wait()
      failure(function()
        nsbox.run { "/nope", rootfs = root, overlay = overlay("u", "w") }
      end, "ENOENT")
      assert.equal("new\n", (sh_in(root, "cat /f", { overlay = overlay("u", "w") })))
    end)

    it("hides the users of its layers as its files do", function()
      local root, dir = make(), tmpdir()
      passwd(root, "root:x:0:0::/lower:/bin/sh\n")
      lfs.mkdir(dir .. "/u")
      lfs.mkdir(dir .. "/w")
      local function run(command, user)
        return (sh_in(root, command, { user = user, overlay = { upper = dir .. "/u",
          work = dir .. "/w" } }))
      end
      assert.equal("/lower\n", run("echo $HOME; rm /etc/passwd", "root"))
      assert.equal("ENOENT", failure(function() run("true", "root") end).code)
      run "rm -r /etc; mkdir /etc; echo root:x:0:0::/upper:/bin/sh >/etc/passwd"
      assert.equal("/upper\n", run("echo $HOME", "root"))
      run "rm /etc/passwd" -- in a directory that hides the one below
      assert.equal("ENOENT", failure(function() run("true", "root") end).code)
    end)

    it("is that of a box on an island, too, with its users", function()
      needs "mount_api"
      local root, dir = make(), tmpdir()
      assert(os.execute(("chmod 755 %s; mkdir %s/u %s/w"):format(dir, dir, dir)))
      spew(dir .. "/passwd", "u:x:0:0::/bound:/bin/sh\n")
      local lab <close> = nsbox.scope { private = true }
      local b = lab:box { rootfs = root, user = "u", bind = dir .. ":/etc",
        overlay = { upper = dir .. "/u", work = dir .. "/w" } }
      assert.equal("/bound\n", b:exec({ "sh", "-c", "echo $HOME; touch /made" }).stdout)
      assert.equal("", slurp(dir .. "/u/made"))
      local without = lab:box { user = "u", bind = dir .. ":/etc" }
      assert.equal("/bound\n", without:exec({ "sh", "-c", "echo $HOME" }).stdout)
    end)

    it("finds users where they are seen", function()
      local root, lower = make(), tmpdir()
      assert(lfs.mkdir(root .. "/etc") and lfs.mkdir(lower .. "/etc"))
      spew(root .. "/etc/passwd", "root:x:0:0::/below:/bin/sh\n")
      spew(lower .. "/etc/passwd", "root:x:0:0::/above:/bin/sh\n")
      assert.equal("/above\n", (sh_in(root, "echo $HOME", { user = "root",
        overlay = { lower = lower } })))
      assert.equal("/below\n", (sh_in(root, "echo $HOME", { user = "root", overlay = "tmp" })))
    end)
  end)
end)

describe("nsbox.rootfs.unpack", function()
  it("says what it was given", function()
    misuse(function() nsbox.rootfs.unpack() end, "argument 1: expected a path, got nothing")
    misuse(function() nsbox.rootfs.unpack("/x", false) end, "argument 2: expected a path, got fal")
    -- it would be cut there
    misuse(function() nsbox.rootfs.unpack("/x\0.tar", "/y") end, "'/x\\0.tar' contains a NUL")
    misuse(function() nsbox.rootfs.unpack("/x", "/y\0") end, "argument 2: '/y\\0' contains a NUL")
    misuse(function() nsbox.rootfs.unpack("/x", "") end, "argument 2: expected a path, got an")
    misuse(function() nsbox.rootfs.unpack("/x", "/y", {}) end, "and no options")
  end)

  it("says which archive is none", function()
    needs("maps", "procmount", "rootfs")
    local dir = tmpdir()
    assert.equal("ENOENT", failure(function() nsbox.rootfs.unpack("/nope.tar", dir) end).code)
    spew(dir .. "/empty", "")
    assert.matches("empty", failure(function()
      nsbox.rootfs.unpack(dir .. "/empty", dir .. "/to")
    end).detail)
    spew(dir .. "/garbage", ("garbage"):rep(1000))
    local err = failure(function() nsbox.rootfs.unpack(dir .. "/garbage", dir .. "/to") end)
    assert.matches("^tar: ", err.detail)
    assert.equal(dir .. "/garbage", err.subject)
    assert.equal("ENOENT", failure(function()
      nsbox.rootfs.unpack(dir .. "/garbage", dir .. "/no/such")
    end).code)
    -- what it looked at to see the kind cannot be put back
    local r, w = sys.fd.pipe()
    w:write "garbage"
    assert.matches("a pipe", failure(function()
      nsbox.rootfs.unpack("/proc/self/fd/" .. r:fileno(), dir .. "/to")
    end).detail)
    r:close()
    w:close()
  end)

  it("reads what tar and its helpers say of a damaged archive, and takes no directory for one",
    function()
      needs("maps", "procmount", "rootfs")
      local dir = tmpdir()
      assert(os.execute(("cd %s && mkdir in && head -c 300000 /dev/urandom >in/f && "
        .. "tar -C in -cf x.tar . && gzip -k x.tar && xz -k x.tar && "
        .. "for k in .gz .xz ''; do head -c 100000 x.tar$k >cut$k; done"):format(dir)))
      for file, want in pairs { ["cut.gz"] = "gzip: unexpected end of file",
        ["cut.xz"] = "xz: Unexpected end of input", cut = "tar: Unexpected EOF in archive" } do
        local err = failure(function() nsbox.rootfs.unpack(dir .. "/" .. file, dir .. "/to") end)
        assert.equal("the archive is damaged: " .. want, err.detail)
        assert.equal(dir .. "/" .. file, err.subject)
      end
      failure(function() nsbox.rootfs.unpack(dir .. "/in", dir .. "/to") end, "EISDIR")
    end)

  it("leaves out devices, wherever they are #root", function()
    needs("root", "procmount", "rootfs", "idmap")
    local dir = tmpdir()
    local name = "b: Cannot mknod: Operation not permitted"
    assert(os.execute(("cd %s && mkdir -p in/a in/z && mknod in/a/null c 1 3 && "
      .. "mknod 'in/%s' b 7 0 && touch in/z/f && mkfifo in/z/fifo && tar -C in -cf x.tar ."):format(
      dir, name)))
    nsbox.rootfs.unpack(dir .. "/x.tar", dir .. "/to")
    assert.same({ "a", "z" }, entries(dir .. "/to"))
    assert.same({}, entries(dir .. "/to/a"))
    assert.same({ "f", "fifo" }, entries(dir .. "/to/z"))
    -- what else is wrong still counts
    assert(os.execute(("cd %s && rm -rf to && mkdir -p to/z/f/x"):format(dir)))
    local err = failure(function() nsbox.rootfs.unpack(dir .. "/x.tar", dir .. "/to") end)
    assert.equal("tar: ./z/f: Cannot open: File exists", err.detail)
    -- tar complains of a device just when xz does, which it does in pieces
    assert(os.execute(("cd %s && mkdir on && head -c 10000000 /dev/zero >on/a && "
      .. "mknod on/n c 1 3 && head -c 30000 /dev/urandom | base64 >on/z && "
      .. "tar -C on --sort=name -cf y.tar . && xz y.tar && "
      .. "head -c 8000 y.tar.xz >cut.xz"):format(dir)))
    for _ = 1, 20 do
      err = failure(function() nsbox.rootfs.unpack(dir .. "/cut.xz", dir .. "/other") end)
      assert.equal("the archive is damaged: xz: Unexpected end of input", err.detail)
    end
  end)

  it("leaves out what is in its dev, and in no other directory of that name", function()
    needs("maps", "procmount", "rootfs")
    local dir = tmpdir()
    for _, from in ipairs { ".", "dev usr" } do
      assert(os.execute(("cd %s && rm -rf in to && mkdir -p in/dev in/usr/dev && touch in/dev/a "
        .. "in/usr/dev/b && tar -C in -cf x.tar %s"):format(dir, from)))
      nsbox.rootfs.unpack(dir .. "/x.tar", dir .. "/to")
      assert.same({}, entries(dir .. "/to/dev"))
      assert.same({ "b" }, entries(dir .. "/to/usr/dev"))
    end
  end)

  for _, kind in ipairs { "", "gzip", "xz" } do
    it("makes a root of an archive " .. kind, function()
      needs("maps", "procmount", "rootfs")
      local root, dir = make(), tmpdir()
      spew(root .. "/owned", "")
      assert(os.execute(("cd %s && chmod 4711 owned && mkdir dev && touch dev/null && "
        .. "tar %s -cf %s/x.tar ."):format(root, kind ~= "" and "--" .. kind or "", dir)))
      local to = dir .. "/to"
      assert.equal(to, nsbox.rootfs.unpack(dir .. "/x.tar", to))
      assert.same({ "bin", "dev", "owned" }, entries(to))
      assert.same({}, entries(to .. "/dev"))
      assert.equal(tonumber("4711", 8), sys.fd.stat(to .. "/owned").mode & 4095)
      assert.equal("fine\n", (sh_in(to, "echo fine")))
    end)
  end

  it("gives files to whom the archive says, as root #root", function()
    needs("root", "procmount", "rootfs", "idmap")
    local dir = tmpdir()
    assert(os.execute(("cd %s && mkdir in && touch in/f in/g && chown 33:7 in/f && "
      .. "tar -cf x.tar -C in ."):format(dir)))
    nsbox.rootfs.unpack(dir .. "/x.tar", dir .. "/to")
    local f, g = sys.fd.stat(dir .. "/to/f"), sys.fd.stat(dir .. "/to/g")
    assert.same({ 33, 7, 0, 0 }, { f.uid, f.gid, g.uid, g.gid })
  end)

  it("cannot be led out by the archive", function()
    needs("maps", "procmount", "rootfs")
    local dir = tmpdir()
    -- a link that leads out, and a file behind it
    assert(os.execute(("cd %s && mkdir a b && ln -s %s/out a/l && mkdir b/l out && "
      .. "echo x >b/l/f && tar -cf x.tar -C a l && tar -rf x.tar -C %s/b l/f"):format(dir, dir,
      dir)))
    nsbox.try(nsbox.rootfs.unpack, dir .. "/x.tar", dir .. "/to")
    assert.same({}, entries(dir .. "/out"))
  end)
end)

describe("rootfs of root's box #root", function()
  needs("root", "procmount", "rootfs", "idmap")

  it("is named when the box's root may not enter it", function()
    local root = make()
    assert(os.execute("chmod 700 " .. root))
    for _, bare in ipairs { false, true } do
      local err = failure(function()
        nsbox.run { "true", rootfs = { root, idmap = false }, bare = bare }
      end, "EACCES")
      assert.same({ "bind", root }, { err.step, err.subject })
      assert.matches(root .. " has mode 0700 and belongs to uid 0 outside", err.hint, 1, true)
    end
    local err = failure(function()
      nsbox.run { "true", rootfs = { root, idmap = false }, overlay = "tmp" }
    end, "EACCES")
    assert.matches(root .. " has mode 0700 and belongs to uid 0 outside", err.hint, 1, true)
    assert.equal(0, (nsbox.run { "true", rootfs = root }))
  end)

  it("is shown by other ids", function()
    local root = make()
    spew(root .. "/theirs", "")
    assert(os.execute(("chown 33:7 %s/theirs"):format(root)))
    local map = sh_in(root, "cat /proc/self/uid_map")
    assert.is_true(tonumber(map:match "^%s*0%s+(%d+)") > 0)
    assert.equal("0:0 /bin\n33:7 /theirs\n0:0 /new\n", (sh_in(root,
      "touch /new; chown 5:6 /new; chown 0:0 /new; stat -c '%u:%g %n' /bin /theirs /new")))
    local st = sys.fd.stat(root .. "/new")
    assert.same({ 0, 0 }, { st.uid, st.gid })
    -- outside it is nobody that makes it
    local b <close> = nsbox.box { rootfs = root }
    assert.equal(tonumber(map:match "^%s*0%s+(%d+)"), sys.fd.stat("/proc/" .. b.pid).uid)
  end)

  it("may have two maps at once, and be where only root can go", function()
    local parent = tmpdir()
    local root = make()
    assert(os.execute(("chmod 700 %s && mv %s %s/root"):format(parent, root, parent)))
    root = parent .. "/root"
    for _, first in ipairs { 100000, 300000 } do
      local out = sh_in(root, "touch /f; stat -c %u /f; cat /proc/self/uid_map",
        { maps = { { 0, first, 1000 } } })
      assert.matches("^0\n *0 +" .. first .. " +1000\n", out)
      assert.equal(0, sys.fd.stat(root .. "/f").uid)
    end
  end)

  it("shows binds with its ids when they say so", function()
    local root, dir = make(), tmpdir()
    for _, rootfs in ipairs { root, false } do
      local status, result = nsbox.run { "sh", "-c", "stat -c %u /mnt; echo x >/mnt/x",
        rootfs = rootfs or nil, bind = { { dir, to = "/mnt", idmap = true } },
        stdout = "capture", stderr = "capture" }
      assert.same({ 0, "0\n", "" }, { status, result.stdout, result.stderr })
      assert.equal(0, sys.fd.stat(dir .. "/x").uid)
      os.remove(dir .. "/x")
    end
    assert.equal("65534\n", (sh_in(root, "stat -c %u /mnt", { bind = dir .. ":/mnt" })))
  end)

  it("belongs to nobody when it is not to be shown so", function()
    local root = make()
    assert.equal("0\n", (sh_in(root, "stat -c %u /bin", { maps = "self" })))
    assert.equal("65534\n", (sh_in(root, "stat -c %u /bin", { bare = true,
      rootfs = { root, idmap = false } })))
    assert(os.execute(("chown -R 200000:200000 %s"):format(root)))
    assert.equal("0\n", (sh_in(root, "stat -c %u /bin", { maps = { { 0, 200000, 65536 } },
      rootfs = { root, idmap = false } })))
  end)

  it("says so when the file system cannot", function()
    local root = make()
    assert(os.execute(("mkdir %s/p && mount -t proc proc %s/p"):format(root, root)))
    local err = failure(function() sh_in(root, "true") end)
    assert(os.execute(("umount %s/p"):format(root)))
    assert.same({ "idmap", root }, { err.step, err.subject })
    assert.matches("cannot be shown with other ids", err.hint)
  end)

  it("mounts nothing outside where mounts are shared, as root", function()
    local root, dir = make(), tmpdir()
    local before, during, shared = inside({ "mnt" }, function()
      assert(sys.mount.propagation("/", "shared", true))
      local text = slurp "/proc/self/mountinfo"
      local b <close> = nsbox.box { rootfs = root, bind = {
        { dir, to = "/mnt", idmap = true }, "/usr:/mnt/below" } }
      local out = b:exec({ "cat", "/proc/self/mountinfo" }).stdout
      return text, slurp "/proc/self/mountinfo", out:find("shared:", 1, true)
    end)
    assert.matches("shared:", before)
    assert.equal(before, during)
    assert.is_nil(shared)
  end)

  it("is also that of boxes on an island", function()
    needs "mount_api"
    local root = make()
    local lab <close> = nsbox.scope { private = true }
    local b = lab:box { rootfs = root, name = "there" }
    assert.equal("0\n", b:exec({ "sh", "-c", "touch /f; stat -c %u /f" }).stdout)
    assert.equal(0, sys.fd.stat(root .. "/f").uid)
  end)
end)
