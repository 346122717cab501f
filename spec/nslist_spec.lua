-- The list of all namespaces, against lsns and /proc.

local nsbox = require "nsbox"
local nslist = require "nsbox.nslist"
local blame = require "blame"
local ns = nsbox.ns

local function find(kind, inode)
  for record in ns.list(kind) do
    if record.inode == inode then return record end
  end
end

describe("nsbox.ns.list", function()
  it("has each namespace once, those of this process among them", function()
    local own <close> = ns.of()
    local pid, seen = nsbox.sys.process.getpid(), {}
    for record in ns.list() do
      local name = record.kind .. record.inode
      assert.is_nil(seen[name])
      seen[name] = record
    end
    for _, kind in ipairs(own.kinds) do
      local record = seen[kind .. own[kind].inode]
      local mine = false
      for _, p in ipairs(record.pids) do mine = mine or p == pid end
      assert.is_true(mine)
      assert.equal(("%s:[%d] %d pids"):format(kind, record.inode, #record.pids),
        tostring(record):match "^%S+ %d+ pids")
    end
  end)

  it("counts the processes it may not look at #user", function()
    -- pid 1 is not ours
    local _, unseen = nslist.read "net"
    assert.is_true(unseen > 0)
  end)

  describe("of a box", function()
    needs("maps", "procmount")

    it("says what lsns says: processes, the first of them, owner", function()
      local box <close> = nsbox.box {}
      local second <close> = box:spawn { "cat", stdin = "pipe" }
      assert(second.pid)
      local want, got = {}, {}
      local inodes = {}
      for _, kind in ipairs(box.ns.kinds) do inodes[box.ns[kind].inode] = true end
      local text, status
      repeat -- it fails when some process ends meanwhile
        text, status = sh "lsns -n -r -o NS,TYPE,NPROCS,PID,ONS"
      until status == 0
      for line in text:gmatch "[^\n]+" do
        local inode = tonumber(line:match "^%d+")
        if inodes[inode] then want[#want + 1] = line end
      end
      for record in ns.list() do
        if inodes[record.inode] then
          got[#got + 1] = ("%d %s %d %d %d"):format(record.inode, record.kind, #record.pids,
            record.pids[1], record.owner)
        end
      end
      table.sort(want)
      table.sort(got)
      assert.equal(#box.ns.kinds, #want)
      assert.same(want, got)
    end)

    it("has the name and cgroup of the first process, and the owner of each kind", function()
      local box <close> = nsbox.box {}
      local record = find("uts", box.ns.uts.inode)
      assert.same({ "nsbox-init", box.ns.user.inode, { box.pid } },
        { record.comm, record.owner, record.pids })
      local cgroup = slurp(("/proc/%d/cgroup"):format(box.pid))
      assert.equal(cgroup:match "0::([^\n]*)" or cgroup:match "[^\n]*", record.cgroup)
      local own <close> = ns.of(nil, "user")
      -- an ordinary user's is a child of the island
      local _, around = assert(nsbox.sys.ns.open(box.pid, "user")):parent():id()
      assert.equal(around, find("user", box.ns.user.inode).owner)
      assert.equal(around ~= own.inode, box._island ~= nil)
      -- the box object holds it open as well
      assert.equal(nsbox.sys.process.getpid(), record.fds[1].pid)
    end)

    it("opens a record's namespace, and no other when its numbers belong to others", function()
      local box <close> = nsbox.box { namespaces = { "user", "uts" } }
      local record = find("uts", box.ns.uts.inode)
      local opened <close> = ns.of(record)
      assert.equal(box.ns.uts.inode, opened.inode)
      opened:close()
      box:close()
      record.pids = { nsbox.sys.process.getpid() } -- as if recycled
      local fd = nsbox.sys.fd
      local other <close> = assert(fd.open("/proc/self/ns/uts", { "rdonly" }))
      record.fds = { { pid = nsbox.sys.process.getpid(), fd = other:fileno() } }
      local err = blame.failure(function() ns.of(record) end, "ESRCH")
      assert.matches(record.inode .. "]: it is gone", tostring(err), 1, true)
      record.fds = {}
      assert.is_nil(find("uts", record.inode))
    end)

    it("finds what only a mount holds, in another mount namespace as well", function()
      local box <close> = nsbox.box { bare = true, tmpfs = "/tmp" }
      local r = box:exec { "unshare", "-u", "sh", "-c",
        "touch /tmp/pin && mount --bind /proc/self/ns/uts /tmp/pin && readlink /proc/self/ns/uts" }
      local inode = tonumber(r.stdout:match "^uts:%[(%d+)%]\n$")
      assert(inode, r.stderr)
      local record = find("uts", inode)
      assert.same({ {}, {}, ("/proc/%d/root/tmp/pin"):format(box.pid), box.ns.user.inode },
        { record.pids, record.fds, record.path, record.owner })
      assert.equal(("uts:[%d] 0 pids /proc/%d/root/tmp/pin"):format(inode, box.pid),
        tostring(record))
      local opened <close> = ns.of(record)
      assert.equal(inode, opened.inode)
    end)
  end)
end)
