-- What lives cost: a box from its creation to its end, entering one that runs,
-- a Lua function inside, and the list of all namespaces.
--
-- All variants take turns, and ratios are taken within a round, so that other
-- work on the machine hits them alike.  It is the ratios that count.
--
-- Usage: make bench, or make bench ROUNDS=25

local nsbox = require "nsbox"
local process = require "nsbox.sys.process"
local fd = require "nsbox.sys.fd"

local LUA <const> = os.getenv "LUA" or "lua5.4"
local ROUNDS <const> = tonumber(os.getenv "ROUNDS") or 11
local COUNT <const> = tonumber(os.getenv "COUNT") or 20
local PROCESSES <const> = 1000
local CWD <const> = assert(process.getcwd())

local function absolute(path)
  return path:sub(1, 1) == "/" and path or CWD .. "/" .. path
end

local BUILD <const> = absolute(os.getenv "NSBOX_BUILD" or "build")
local TRUE <const> = BUILD .. "/bench/true"
package.cpath = BUILD .. "/bench/?.so;" .. package.cpath
local enter = require "enter"

local figures <const> = dofile((arg[0]:match "^(.*)/" or ".") .. "/figures.lua")
local median <const>, row <const> = figures.median, figures.row

-- the median of a count of calls
local function timed(f)
  local took = {}
  for i = 1, COUNT do
    local start = process.clock()
    f()
    took[i] = (process.clock() - start) * 1e6
  end
  return median(took)
end

local null <const> = assert(fd.open("/dev/null", { "rdwr" }))
local ENV <const> = {
  "PATH=" .. (os.getenv "PATH" or "/usr/bin:/bin"),
  ("LUA_PATH=%s/lua/?.lua;;"):format(BUILD), ("LUA_CPATH=%s/?.so;;"):format(BUILD),
}

-- a whole command; what it printed
local function whole(...)
  local r, w = assert(fd.pipe())
  local p <close> = assert(process.spawn { argv = { ... }, env = ENV, stdin = null, stdout = w })
  w:close()
  local text = r:read() or ""
  assert(fd.poll { [p:fileno()] = "r" })
  r:close()
  local how, code = p:status()
  assert(how == "exit" and code == 0, ...)
  return text
end

-- list of { name, f → microseconds, index of what it is compared with }
local function compare(title, columns, list)
  local took = {}
  for i = 1, #list do
    took[i] = {}
  end
  for round = 1, ROUNDS do
    for i, variant in ipairs(list) do
      took[i][round] = variant[2]()
    end
  end
  print(("\n**%s**\n"):format(title))
  row(table.unpack(columns))
  row("---", "---:", "---:")
  for i, variant in ipairs(list) do
    local ratios = {}
    for round = 1, ROUNDS do
      ratios[round] = took[i][round] / took[variant[3] or i][round]
    end
    row(variant[1], ("%.0f"):format(median(took[i])), ("%.2f"):format(median(ratios)))
  end
end

local function lua(f)
  return function()
    return timed(f)
  end
end

local function command(...)
  local argv = { ... }
  return lua(function()
    whole(table.unpack(argv))
  end)
end

-- by raw system calls, see enter.c; what: a program, a function
local function limit(ns, what)
  local fds, siblings = {}, false
  for i, kind in ipairs(ns.kinds) do
    fds[i], siblings = ns._handles[kind]:fileno(), siblings or kind == "pid"
  end
  if process.geteuid() == 0 then -- the user namespace last: root has less power inside
    table.insert(fds, table.remove(fds, 1))
  end
  return lua(function()
    enter(fds, siblings, what)
  end)
end

local function lives()
  local function live(o)
    local box <close> = nsbox.box(o)
    box:start()
    box:wait()
  end
  compare(("A static `true`: %d in each of %d rounds, microseconds each"):format(COUNT, ROUNDS), {
    "life of a default box", "median", "x run" }, {
      { "`nsbox.run`", lua(function() nsbox.run { TRUE } end) },
      { "box: create, start, wait, close", lua(function() live { TRUE } end), 1 },
      { "`nsbox.run` with init", lua(function() nsbox.run { TRUE, init = true } end), 1 },
      { "box with init: create, start, wait, close",
        lua(function() live { TRUE, init = true } end), 1 },
    })
end

local function entering()
  local box <close> = nsbox.box {}
  local pid, kinds = tostring(box.pid), table.concat(box.ns.kinds, "','")
  local few <close> = nsbox.ns.of(box, "user", "net", "uts")
  local all <close> = nsbox.ns.of(box)
  local script = ("os.exit(require'nsbox'.ns.of(%s,'%s'):exec{'%s'}.status)"):format(pid, kinds,
    TRUE)
  compare("Entering a default box that runs", { "a static `true` inside", "median", "x nsenter" }, {
    { "`nsenter -t PID … true`, the command",
      command("nsenter", "-t", pid, "-U", "-m", "-p", "-n", "-u", "-i", "-C",
        "--preserve-credentials", TRUE) },
    { "`lua5.4` with `nsbox.ns.of(PID):exec`, the command", command(LUA, "-e", script), 1 },
    { "(bare `lua5.4`)", command(LUA, "-e", ""), 1 },
    { "`box:exec`", lua(function() box:exec { TRUE } end), 1 },
    { "`box:exec`, nothing captured",
      lua(function() box:exec { TRUE, stdout = "null", stderr = "null" } end), 1 },
    { "limit: fork, setns, exec in C", limit(all, TRUE), 1 },
  })
  local function empty() end
  compare("A Lua function inside", { "an empty function", "median", "x limit" }, {
    { "limit: fork, setns, exit in C: user, net, uts", limit(few) },
    { "the same, which calls the function and sends an answer", limit(few, empty), 1 },
    { "`ns:call`", lua(function() few:call(empty) end), 1 },
    { "limit: all kinds of a box", limit(all) },
    { "the same, with function and answer", limit(all, empty), 4 },
    { "`box:call`", lua(function() box:call(empty) end), 4 },
  })
end

local function processes()
  local n = 0
  for name in require("lfs").dir "/proc" do
    n = n + (name:find "^%d+$" and 1 or 0)
  end
  return n
end

local function listing()
  local r, w = assert(fd.pipe())
  local more = {}
  for i = 1, PROCESSES - processes() do
    more[i] = assert(process.spawn { argv = { "/bin/cat" }, env = {}, stdin = r, stdout = null })
  end
  compare(("Every namespace of a machine with %d processes"):format(processes()),
    { "", "median", "x lsns" }, {
      -- it fails when a process ends meanwhile
      { "`lsns`, the command", command("sh", "-c", "lsns || :") },
      { "`nsbox.ns.list()`", lua(function() nsbox.ns.list() end), 1 },
      { '`nsbox.ns.list "net"`', lua(function() nsbox.ns.list "net" end), 1 },
    })
  w:close()
  for _, p in ipairs(more) do
    assert(fd.poll { [p:fileno()] = "r" })
    p:status()
    p:close()
  end
  r:close()
end

lives()
entering()
listing()
