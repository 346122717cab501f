-- Runs the specs in every cell: as whom, on which build, with which system
-- calls.  Usage: lua5.4 spec/cells.lua [CELL…] [-- BUSTED ARGUMENTS]
--
-- Nothing touches the host: every cell has its own network and mount namespace,
-- copy of the tree and ordinary user, who is made for the run and removed after
-- it.  Without root only the cells of the current user are possible.
--
-- One cell more runs at once than there are processors, because a cell waits for the kernel a
-- fifth of its time, to take namespaces down; the longest first.  NSBOX_JOBS=1 runs them one
-- by one.

local CALLS = "clone3,openat2,open_tree,move_mount,mount_setattr,fsopen,fsmount"

-- as: root, user (has subordinate ids) or nosub (has none); tags, exclude: for
-- busted; budget: seconds the cell may take on a slow machine; uml: on the second
-- kernel, where even an ordinary user is root.  What takes long where only the machine
-- and not the cell makes a difference runs as root and as a user only.
local cells = {
  { name = "root", as = "root", exclude = "user,fault", budget = 600 },
  { name = "user", as = "user", exclude = "root,fault", budget = 600 },
  { name = "nosub", as = "nosub", exclude = "root,fault,long", budget = 600 },
  { name = "nested", as = "user", exclude = "root,user,fault,long", budget = 600, nested = true },
  { name = "box", as = "user", exclude = "root,user,fault,long", budget = 600, box = true },
  { name = "enosys", as = "user", exclude = "root,fault,long", budget = 600, deny = CALLS },
  { name = "debug", as = "user", exclude = "root", tags = "fault", budget = 120, build = "debug" },
  { name = "debug-root", as = "root", exclude = "user", tags = "fault", budget = 120,
    build = "debug" },
  { name = "asan", as = "user", exclude = "root,long", budget = 1200, build = "asan" },
  { name = "asan-root", as = "root", exclude = "user,long", budget = 1200, build = "asan" },
  { name = "valgrind", as = "user", exclude = "root,fault", tags = "valgrind", budget = 200,
    valgrind = true },
  { name = "uml", as = "root", exclude = "user,fault", tags = "uml,onlyuml", budget = 240,
    uml = true },
}
-- a slow machine may say so: NSBOX_SLOW=3 triples the budgets
local slow = tonumber(os.getenv "NSBOX_SLOW") or 1
local jobs = tonumber(os.getenv "NSBOX_JOBS")

local lua = arg[-1]
local build = os.getenv "NSBOX_BUILD" or "build"

-- shell ------------------------------------------------------------------------

local function quote(s) return "'" .. tostring(s):gsub("'", "'\\''") .. "'" end

local function output(command)
  local f <close> = assert(io.popen(command))
  return (f:read "a":gsub("%s+$", ""))
end

-- true, or nil and the exit status; Ctrl-C ends the run
local function execute(command)
  local ok, how, code = os.execute(command)
  if how == "signal" and code == 2 or code == 130 then error "interrupted" end
  return ok, code
end

local function slurp(path)
  local f = io.open(path)
  if not f then return "" end
  local text = f:read "a"
  f:close()
  return text
end

local function seconds()
  return tonumber(slurp "/proc/uptime":match "^%S+")
end

-- users ------------------------------------------------------------------------

local COMMENT = "nsbox specs"
local root = slurp "/proc/self/status":match "Uid:%s+%d+%s+(%d+)" == "0"
local self = slurp "/proc/self/stat":match "^%d+"
local users = {} -- cell → { name, uid, gid }; without root { } where the cell can run

-- useradd gives up at once when another one holds the lock
local function retry(command)
  local why
  for _ = 1, 10 do
    why = output(command .. " 2>&1 && echo done")
    if why:find "done$" then return true end
    if not why:find "lock" then break end
    os.execute "sleep 0.5"
  end
  return nil, why
end

-- what an interrupted run left
local function remove_stale()
  local line = "(nsbox%-%l+%-(%d+)):[^:]*:%d+:%d+:([^:]*)"
  for name, pid, comment in slurp "/etc/passwd":gmatch(line) do
    if comment == COMMENT and slurp("/proc/" .. pid .. "/stat") == "" then
      retry("userdel " .. name)
    end
  end
end

local function add_user(cell, home)
  local name = ("nsbox-%s-%s"):format(cell.name:gsub("%-", ""), self)
  local count = cell.as == "nosub" and 0 or 65536
  os.execute "touch /etc/subuid /etc/subgid"
  local ok, why = retry(("useradd --no-create-home --home-dir %s --shell /bin/sh --comment '%s' "
    .. "-K SUB_UID_COUNT=%d -K SUB_GID_COUNT=%d %s"):format(home, COMMENT, count, count, name))
  if not ok then return nil, why end
  local function sub()
    return tonumber(slurp "/etc/subuid":match("%f[^\n\0]" .. name:gsub("%-", "%%-") .. ":(%d+)"))
  end
  if cell.as == "user" and not sub() then
    -- an old useradd, or one that was told not to
    local first = 1879048192 + cell.place * 65536
    retry(("usermod --add-subuids %d-%d --add-subgids %d-%d %s"):format(first, first + 65535,
      first, first + 65535, name))
  end
  users[cell] = { name = name, uid = output("id -u " .. name), gid = output("id -g " .. name),
    sub = sub() }
  return users[cell]
end

local function remove_users()
  for _, user in pairs(users) do
    if user.name then retry("userdel " .. user.name) end
  end
end

-- processes of a user made for this run that are still there
local function strays(user)
  local list = {}
  local text = output "ps -eo pid=,uid=,comm="
  for pid, uid, name in text:gmatch "(%d+)%s+(%d+)%s+([^\n]*)" do
    uid = tonumber(uid)
    if uid == tonumber(user.uid)
      or user.sub and uid >= user.sub and uid < user.sub + 65536 then
      list[#list + 1] = { pid = pid, name = name }
    end
  end
  return list
end

-- one cell ---------------------------------------------------------------------

local base = output "mktemp -d /tmp/nsbox-cells.XXXXXX"

-- a copy of the tree that belongs to whoever runs the cell
local function tree(name, user)
  local path = base .. "/" .. name
  local copy = ("mkdir -p %s/tree %s/home && mkdir -m 700 %s/run && "
    .. "tar -cf - --exclude=./.git --exclude='*.[od]' . | tar -C %s/tree -xf - --no-same-owner")
    :format(path, path, path, path)
  assert(os.execute(copy), "cannot copy the tree")
  if user and user.name then
    assert(os.execute(("chown -R %s:%s %s"):format(user.uid, user.gid, path)))
  end
  return path
end

-- the files that have one of these tags: reading all of them takes long on a slow kernel
local function tagged(tags)
  local pattern = "#" .. tags:gsub(",", "\\|#")
  local files = {}
  for file in output(("grep -l '%s' spec/*_spec.lua"):format(pattern)):gmatch "%S+" do
    files[#files + 1] = file
  end
  return files
end

local function command_of(cell, args)
  local user = users[cell]
  local path = tree(cell.name, user)
  local so = cell.build and build .. "/" .. cell.build or build
  local env = {
    PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    HOME = path .. "/home",
    USER = user and user.name or cell.uml and "root" or output "id -un",
    LANG = "C.UTF-8",
    TERM = "dumb",
    LUA = lua,
    LUA_PATH = ("%s/tree/lua/?.lua;%s/tree/spec/?.lua;;"):format(path, path),
    LUA_CPATH = ("%s/tree/%s/?.so;;"):format(path, so),
    NSBOX_BUILD = so,
    NSBOX_CELL = cell.name,
    NSBOX_STATUS = ("%s/status-%s"):format(path, cell.name),
    NSBOX_TREE = path .. "/tree",
    XDG_RUNTIME_DIR = path .. "/run",
  }
  local c = { "cd", quote(path .. "/tree"), "&&", "exec", "timeout", "--foreground", "-k", "5",
    tostring(math.ceil(cell.budget * slow) + 30) }
  local function add(...)
    for _, word in ipairs { ... } do c[#c + 1] = word end
  end
  if root then
    -- with a /run of its own: scopes keep their journals there, and netns their names; and an
    -- /etc, where these have files (another run's lock of /etc/passwd may be gone meanwhile);
    -- /dev/net/tun is everybody's on most machines, but not on all
    add("unshare", "-n", "-m", "--propagation", "private", "sh", "-c",
      quote ('mount -t tmpfs -o mode=755 tmpfs /run && { [ ! -c /dev/net/tun ] || { '
        .. 'mknod -m 666 /run/tun c 10 200 && mount --bind /run/tun /dev/net/tun; }; } '
        .. '&& { cp -a /etc "$0" 2>/dev/null; mount --bind "$0/etc" /etc; } && exec "$@"'), path)
  end
  if cell.deny then add(build .. "/deny", cell.deny) end
  if user and user.name then
    add("setpriv", "--reuid", user.uid, "--regid", user.gid, "--init-groups")
  end
  if cell.nested then
    -- the shell is pid 1 there and reaps what loses its parent
    add("unshare", "-Urpfmn", "--kill-child", "--mount-proc", "--map-root-user",
      "sh", "-c", quote '"$@"; status=$?; exit $status', "cell")
  end
  if cell.box then
    add("env", quote("LUA_PATH=" .. env.LUA_PATH), quote("LUA_CPATH=" .. env.LUA_CPATH), lua,
      "spec/inbox.lua")
  end
  if cell.build == "asan" then
    -- the runtime is for the interpreter: with it any program takes 30 ms more to start
    env.LUA = path .. "/" .. lua:match "[^/]+$"
    local cc = os.getenv "CC" or "cc"
    local preload = output(cc .. " -print-file-name=libasan.so") .. ":" .. path .. "/alone.so"
    assert(os.execute(("%s -fPIC -shared -o %s/alone.so spec/alone.c && "
      .. "%s -static -DLUA='\"%s\"' -DPRELOAD='\"%s\"' -o %s spec/alone.c")
      :format(cc, path, cc, lua, preload, env.LUA)))
    local log = ("log_path=%s/log-%s"):format(path, cell.name)
    env.ASAN_OPTIONS = "detect_leaks=1:detect_stack_use_after_return=0:exitcode=99:" .. log
    env.UBSAN_OPTIONS = "print_stacktrace=1:" .. log
  end
  if cell.valgrind then env.NSBOX_LAUNCH = "fork" end
  if cell.uml then add("spec/uml/boot", path) end
  add("env", "-i")
  for key, value in pairs(env) do add(quote(key .. "=" .. value)) end
  if cell.valgrind then
    add("valgrind", "--quiet", "--error-exitcode=99", "--suppressions=spec/valgrind.supp",
      "--leak-check=full", "--errors-for-leak-kinds=definite", "--show-leak-kinds=definite",
      -- one file for all: a child that opened one of its own would do so in its own mounts,
      -- which could not be made read-only then
      "--keep-debuginfo=yes", ("--log-file=%s/log-%s"):format(path, cell.name))
  end
  add(env.LUA, output "command -v busted", "--ignore-lua", "-o", "spec/handler.lua")
  if cell.tags then add("--tags=" .. cell.tags) end
  add("--exclude-tags=" .. cell.exclude .. (cell.uml and "" or ",onlyuml"))
  add(table.unpack(#args == 0 and cell.tags and tagged(cell.tags) or args))
  add "</dev/null"
  return table.concat(c, " "), env.NSBOX_STATUS, path
end

-- an address in a name differs from run to run
local function key_of(file, name)
  return (file .. ": " .. name:gsub("0x%x+", "0x…"))
end

-- begins to run a cell
local function start(cell, args)
  local command, status, path = command_of(cell, args)
  local running = { cell = cell, status = status, path = path, start = seconds(),
    out = path .. "/out", code = path .. "/code" }
  -- not by &: a shell has such a command ignore SIGINT; the code's file appears whole
  running.pipe = assert(io.popen(("(%s) >%s 2>&1; echo $? >%s.new; mv %s.new %s")
    :format(command, running.out, running.code, running.code, running.code)))
  return running
end

-- what came of it; specs: key → { ran = bool, reason }, shared by all cells
local function finish(running, args, specs)
  local cell, status, path = running.cell, running.status, running.path
  local result = { cell = cell, passed = 0, failed = 0, skipped = 0, notes = {}, failures = {} }
  local function trouble(fmt, ...)
    result.failed = result.failed + 1
    result.failures[#result.failures + 1] = fmt:format(...)
  end
  running.pipe:close()
  local code = tonumber(slurp(running.code))
  local ok = code == 0
  result.seconds = seconds() - running.start
  io.write(slurp(running.out))

  local complete, reasons, last = false, {}, "its start"
  for line in slurp(status):gmatch "[^\n]+" do
    local how, _, file, name, reason = line:match "^(%l+)\t([^\t]*)\t([^\t]*)\t([^\t]*)\t(.*)$"
    if line == "end" then complete = true end
    if how then
      result[how] = result[how] + 1
      local key = key_of(file, name)
      local spec = specs[key] or {}
      specs[key], last = spec, key
      spec.ran = spec.ran or how ~= "skipped"
      spec.reason = reason
      if how == "skipped" then reasons[reason] = (reasons[reason] or 0) + 1 end
      if how == "failed" then
        result.failures[#result.failures + 1] = key .. (reason ~= "" and ": " .. reason or "")
      end
    end
  end
  for reason, n in pairs(reasons) do
    result.notes[#result.notes + 1] = ("skipped %d: %s"):format(n, reason)
  end
  table.sort(result.notes)
  -- what valgrind says in lines with dashes is that it does not know a system call; nor does
  -- it know the ioctls of namespaces and pidfds
  local logs = output(("cat %s/log-%s* 2>/dev/null | grep -v -e '^--' -e 'unhandled ioctl 0xb70' "
    .. "-e 'unhandled ioctl 0xff0' -e 'This could cause spurious value errors' "
    .. "-e README_MISSING_SYSCALL_OR_IOCTL")
    :format(path, cell.name))
  if logs ~= "" then
    print(logs)
    trouble "the sanitizer or valgrind reported errors, see above"
  end
  result.complete = complete
  if not complete then
    trouble("the run ended early, with status %s, after %s", code, last)
  elseif not ok and result.failed == 0 then -- a crash while ending
    trouble("status %s without a failed spec", code)
  elseif #args == 0 and result.passed + result.failed + result.skipped == 0 then
    trouble "ran no spec at all"
  end
  if result.seconds > cell.budget * slow then
    trouble("took %.0f s, its budget is %.0f s", result.seconds, cell.budget * slow)
  end
  local user = users[cell]
  if user and user.name then
    local left
    for _ = 1, 20 do -- what was killed may still be going
      left = strays(user)
      if #left == 0 then break end
      os.execute "sleep 0.1"
    end
    for _, process in ipairs(left) do
      trouble("process left: %s %s", process.pid, process.name)
      os.execute("kill -9 " .. process.pid)
    end
  end
  return result
end

-- every spec there is, whatever its tags
local function list(specs)
  local path = tree "list"
  local text = output(("cd %s/tree && LUA_PATH='%s/tree/lua/?.lua;;' NSBOX_CELL=list "
    .. "%s $(command -v busted) --ignore-lua --list"):format(path, path, lua))
  for file, name in text:gmatch "([^\n]-):%d+: ([^\n]*)" do
    local key = key_of(file:gsub("^%W*", ""), name)
    specs[key] = specs[key] or { reason = "its tags exclude every cell" }
  end
end

-- all of them --------------------------------------------------------------------

local wanted, args, more = {}, {}, false
for _, word in ipairs(arg) do
  if more then args[#args + 1] = quote(word)
  elseif word == "--" then more = true
  else wanted[word] = true end
end
for name in pairs(wanted) do
  local known = false
  for _, cell in ipairs(cells) do known = known or cell.name == name end
  assert(known, "no cell is called " .. name)
end

local function main()
  local specs, results, out, left, complete = {}, {}, {}, {}, true
  local me = not root and output "id -un"
  local has = me and slurp "/etc/subuid":find("%f[^\n\0]" .. me:gsub("%p", "%%%0") .. ":")
  if root then remove_stale() end
  assert(os.execute("chmod 755 " .. base))

  local waiting = {}
  for place, cell in ipairs(cells) do
    cell.place = place
    if not next(wanted) or wanted[cell.name] then
      local why, _
      if root and cell.as ~= "root" then
        _, why = add_user(cell, base .. "/" .. cell.name .. "/home")
      elseif not root and not cell.uml then
        -- without root the other cells are worth something without subordinate ids, too
        if cell.as == "user" and not has and cell.name ~= "user" then cell.as = "nosub" end
        why = cell.as == "root" and "needs root"
          or cell.as == "user" and not has and "needs a user with subordinate ids"
          or cell.as == "nosub" and has and "needs a user without subordinate ids" or nil
      end
      if why then
        left[#left + 1] = cell.name
        out[#out + 1] = ("%-10s left out: %s"):format(cell.name, why)
      else
        waiting[#waiting + 1] = cell
      end
    end
  end
  table.sort(waiting, function(a, b)
    if a.budget ~= b.budget then return a.budget > b.budget end
    return a.place < b.place
  end)

  local processors = tonumber((output "nproc")) or 1
  jobs = jobs or processors + 1
  -- what they take from each other is not theirs
  slow = slow * math.max(1, math.min(jobs, #waiting) / processors)
  local running = {}
  while #waiting > 0 or #running > 0 do
    while #running < jobs and #waiting > 0 do
      running[#running + 1] = start(table.remove(waiting, 1), args)
    end
    for i = #running, 1, -1 do
      if slurp(running[i].code) ~= "" then
        local result = finish(table.remove(running, i), args, specs)
        results[#results + 1] = result
        complete = complete and result.complete
      end
    end
    execute "sleep 0.1"
  end
  table.sort(results, function(a, b) return a.cell.place < b.cell.place end)

  local passed, failed, skipped = 0, 0, 0
  print(("\n%-10s %6s %6s %7s %7s %7s"):format("cell", "passed", "failed", "skipped", "seconds",
    "budget"))
  for _, r in ipairs(results) do
    print(("%-10s %6d %6d %7d %7.1f %7d"):format(r.cell.name, r.passed, r.failed, r.skipped,
      r.seconds, r.cell.budget * slow))
    for _, note in ipairs(r.notes) do print("           " .. note) end
    passed, failed, skipped = passed + r.passed, failed + r.failed, skipped + r.skipped
  end
  for _, line in ipairs(out) do print(line) end

  -- with everything run, a spec that ran nowhere tests nothing
  local nowhere = {}
  if not next(wanted) and #args == 0 and complete then
    list(specs)
    for key, spec in pairs(specs) do
      if not spec.ran then nowhere[#nowhere + 1] = ("%s (%s)"):format(key, spec.reason) end
    end
    table.sort(nowhere)
    if #left == 0 then failed = failed + #nowhere end
  end
  -- what counts as failed comes last, where one looks first
  for _, line in ipairs(nowhere) do print("ran in no cell: " .. line) end
  for _, r in ipairs(results) do
    for _, failure in ipairs(r.failures) do
      print(("failed in %s: %s"):format(r.cell.name, failure))
    end
  end
  print(("%d passed, %d failed, %d skipped"):format(passed, failed, skipped))
  return failed == 0
end

local ok, fine = xpcall(main, debug.traceback)
remove_users()
os.execute("rm -rf " .. quote(base))
if not ok then
  io.stderr:write("cells: ", fine, "\n")
  os.exit(false, true)
end
os.exit(fine and true or false, true)
