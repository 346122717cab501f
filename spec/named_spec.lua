local nsbox = require "nsbox"
local children = require "children"
local blame = require "blame"
local rundir = require "nsbox.rundir"
local misuse, failure = blame.misuse, blame.failure

local function names() return table.concat(entries "/run/netns", " ") end

local function journal(name) return rundir.path() .. "/" .. name .. ".journal" end

-- kills a script when it has printed a line; what it printed
local function killed(code, before)
  local out = children.script(("local nsbox = require 'nsbox'\n%s\nio.stdout:flush()\n"
    .. "nsbox.sys.process.open(nsbox.sys.process.getpid()):kill 'KILL'"):format(code), before)
  return (out:gsub("Killed\n$", ""))
end

describe("a named scope #root", function()
  before_each(function()
    -- the suite's own script has a journal, too
    assert.equal("", (sh "mkdir -p -m 700 /run/nsbox; mount -t tmpfs -o mode=700 tmpfs /run/nsbox"))
  end)

  after_each(function()
    nsbox.scope.recover()
    for _, scope in ipairs(nsbox.scope.list()) do
      if not scope.anonymous then nsbox.scope.remove(scope.name) end
    end
    -- the directory of names is shared, as ip netns leaves it
    sh "umount /run/netns; rmdir /run/netns; umount /run/nsbox"
  end)

  it("keeps what it commits, and nothing else", function()
    local s = nsbox.scope { "shop" }
    s:netns "blue"
    assert.equal("blue", names())
    s:close()
    assert.equal("", names())
    assert.is_nil(slurp(journal "shop"))
    s = nsbox.scope { "shop" }
    s:netns "blue"
    s:commit()
    s:netns "red"
    s:close()
    assert.equal("blue", names())
    assert.matches("^scope \"shop\" %(committed%): 1 part\n  netns blue +/run/netns/blue\n +net:"
      .. "%[%d+%] pinned at /run/netns/blue$", nsbox.scope.show "shop")
    nsbox.scope.remove "shop"
    assert.equal("", names())
    assert.same({}, nsbox.scope.list())
  end)

  it("leaves alone what is equal, and removes what is not declared any more", function()
    local s = nsbox.scope "shop"
    local blue = s:netns "blue"
    s:netns "red"
    assert.is_true(blue.fresh)
    s:commit()
    s:close()
    s = nsbox.scope "shop"
    local again = s:netns "blue"
    assert.same({ false, true }, { again.fresh, again == blue })
    assert.equal("blue red", names())
    s:netns "white"
    s:commit()
    assert.equal("blue white", names())
    s:close()
    blue:close()
    -- unless told not to
    s = nsbox.scope { "shop", prune = false }
    s:commit()
    s:close()
    assert.equal("blue white", names())
    -- adding never removes
    s = nsbox.scope.open "shop"
    s:netns "more"
    s:commit()
    s:close()
    assert.equal("blue more white", names())
    s = nsbox.scope "shop"
    s:commit()
    s:close()
    assert.equal("", names())
  end)

  it("finds what has a number for a name", function()
    local s = nsbox.scope "1"
    s:netns "007"
    s:bridge "12"
    s:commit()
    s:close()
    s = nsbox.scope "1"
    assert.same({ false, false }, { s:netns("007").fresh, s:bridge("12").fresh })
    s:commit()
    s:close()
    nsbox.scope.remove "1"
    assert.equal("", names())
  end)

  it("tells links of one name in several namespaces apart, however these are named", function()
    for i, order in ipairs { { "a", "b" }, { "b", "a" } } do
      local s <close> = nsbox.scope "shop"
      local places = { a = s:netns "a", b = s:netns "b" }
      for _, name in ipairs(order) do
        assert.equal(i == 1, s:bridge({ "br0", netns = places[name] }).fresh)
      end
      s:commit()
    end
    assert.matches("bridge br0 in netns a ", nsbox.scope.show "shop")
  end)

  it("makes again what somebody removed", function()
    local s = nsbox.scope "shop"
    s:netns "blue"
    s:commit()
    s:close()
    sh "ip netns del blue"
    assert.matches("gone", nsbox.scope.show "shop")
    s = nsbox.scope "shop"
    assert.is_true(s:netns("blue").fresh)
    s:commit()
    s:close()
    assert.matches("^blue", (sh "ip netns list"))
  end)

  it("goes back when it is not committed, however it is left", function()
    local s = nsbox.scope "shop"
    s:netns "blue"
    s:commit()
    s:close()
    assert.has_error(function()
      local t <close> = nsbox.scope "shop"
      t:netns "red"
      error "x"
    end)
    assert.equal("blue", names())
    s = nsbox.scope "shop"
    s:netns "red"
    s:rollback()
    assert.equal("blue", names())
    assert.equal("done\n", (children.script [[
      local s = require "nsbox".scope "shop"
      s:netns "red"
      print "done"
    ]]))
    assert.equal("blue", names())
    assert.equal("ready\n", killed [[S = nsbox.scope "shop"; S:netns "red"; print "ready"]])
    assert.equal("blue red", names())
    assert.same({ "crashed" }, { nsbox.scope.list()[1].state })
    assert.equal(1, nsbox.scope.recover())
    assert.equal("blue", names())
    assert.equal(0, nsbox.scope.recover())
  end)

  it("is recovered by whoever opens the next scope", function()
    killed [[S = nsbox.scope(); S:netns "one"]]
    assert.equal("one", names())
    killed [[nsbox.netns "two"]]
    assert.equal("two", names())
    local s = nsbox.scope()
    assert.equal("", names())
    s:netns "three"
    assert.equal("three", names())
    s:close()
  end)

  it("goes on with a commit that was killed in the middle", function()
    local s = nsbox.scope "shop"
    s:netns "blue"
    s:netns "red"
    s:commit()
    s:close()
    local text = slurp(journal "shop")
    -- as a kill between the commit and what follows would leave it
    spew(journal "shop", text .. "commit\t0\tdrop=1 2\n")
    assert.equal(1, nsbox.scope.recover())
    assert.equal("red", names())
  end)

  it("goes on with a commit, and leaves alone what was made with what it drops", function()
    local s = nsbox.scope "shop"
    for i = 0, 2 do s:bridge("br" .. i) end
    s:commit()
    s:close()
    spew(journal "shop", slurp(journal "shop") .. "commit\t0\tdrop=2 3\n")
    assert.equal(1, nsbox.scope.recover())
    assert.equal("br0", (sh "ip -br link show type bridge"):match "^%S+")
    assert.is_nil((sh "ip -br link show type bridge"):match "br[12]")
    s = nsbox.scope "shop"
    assert.is_false(s:bridge("br0").fresh)
    s:commit()
    s:close()
  end)

  it("is as it was when a commit cannot be written, and commits later", function()
    local s = nsbox.scope "shop"
    s:netns "blue"
    s:netns "red"
    s:commit()
    s:close()
    s = nsbox.scope "shop"
    s:netns "blue"
    -- the file's last block is full, and there is no other
    local text = slurp(journal "shop")
    spew(journal "shop", text .. ("run\t0\n"):rep((4096 - #text) // 6))
    sh "mount -o remount,size=4k /run/nsbox"
    failure(function() s:commit() end, "ENOSPC")
    sh "mount -o remount,size=64k /run/nsbox"
    s:netns "red"
    s:commit()
    s:close()
    assert.equal(0, nsbox.scope.recover())
    assert.equal("blue red", names())
  end)

  it("has one run at a time", function()
    local s <close> = nsbox.scope "shop"
    local r, w = assert(nsbox.sys.fd.pipe())
    local err = failure(function() nsbox.scope { "shop", timeout = 0.05 } end, "ETIMEDOUT")
    assert.equal("scope shop: this script has it open itself, for more than 0.05 s (ETIMEDOUT)"
      .. "\n  hint: go on with that object, or close() it before the next one is opened",
      tostring(err))
    assert.equal(("scope shop: another run (pid %d) has this scope, for more than 0.05 s "
      .. "(ETIMEDOUT)\n"):format(nsbox.sys.process.getpid()), (children.script [[
        print(select(2, pcall(require "nsbox".scope, { "shop", timeout = 0.05 })))
      ]]))
    err = failure(function()
      local t = nsbox.scope.open "shop"
      t._named.timeout = 0.05
      t:netns "x"
    end, "ETIMEDOUT")
    assert.equal("netns", err.op)
    -- the waiting one goes on when the first has ended
    local p, out = assert(nsbox.sys.process.clone({}, function()
      w:write "."
      local t = nsbox.scope { "shop", timeout = 60 }
      t:netns "theirs"
      t:commit()
      t:close()
      return "done"
    end))
    children.await(r:fileno())
    s:close()
    assert.same({ "exit", 0 }, { children.ending(p) })
    out:close()
    r:close()
    w:close()
    assert.equal("theirs", names())
  end)

  it("says that a child of a script that was killed holds its lock", function()
    local file = tmpdir() .. "/out"
    killed([[
      local s = nsbox.scope "shop"
      s:netns "blue"
      s:commit()
      local r, w = nsbox.sys.fd.pipe()
      local p = assert(nsbox.sys.process.clone({}, function()
        nsbox.sys.fd.poll({ [r:fileno()] = "r" }, 60)
        w:close()
      end))
      print(nsbox.sys.process.getpid(), p:pid())
    ]], (">%s 2>&1"):format(file))
    local owner, child = slurp(file):match "(%d+)\t(%d+)"
    local err = failure(function() nsbox.scope { "shop", timeout = 0.05 } end, "ETIMEDOUT")
    assert.equal(("its script (pid %s) has ended, but a process that it forked holds its lock, "
      .. "for more than 0.05 s"):format(owner), err.detail)
    assert.equal("fuser -v /run/nsbox/shop.journal shows which", err.hint)
    local p <close> = assert(nsbox.sys.process.open(tonumber(child)))
    p:kill "KILL"
    children.await(p:fileno())
    nsbox.scope.remove "shop"
  end)

  it("has a journal that does not grow with its runs", function()
    local most = { 0, 0 }
    for i = 0, 19 do
      local s = nsbox.scope "shop"
      s:netns "blue"
      s:netns("n" .. i % 2)
      s:commit()
      s:close()
      most[i // 10 + 1] = math.max(most[i // 10 + 1], #slurp(journal "shop"))
    end
    assert.is_true(most[2] <= most[1], table.concat(most, " "))
    assert.same({ "shop.journal" }, entries(rundir.path()))
    assert.equal("blue n1", names())
    assert.matches("netns blue .*netns n1 ", nsbox.scope.show "shop")
    local s = nsbox.scope "shop"
    assert.is_false(s:netns("blue").fresh)
    s:netns "red"
    s:close()
    nsbox.scope.remove "shop"
    assert.equal("", names())
  end)

  it("that was begun before a restart is one of this boot when it is run again", function()
    local s = nsbox.scope "shop"
    s:netns "blue"
    s:commit()
    s:close()
    sh "umount /run/netns/blue"
    spew(journal "shop", (slurp(journal "shop"):gsub("boot=[%x-]+", "boot=0")))
    s = nsbox.scope "shop"
    assert.is_true(s:netns("blue").fresh)
    s:commit()
    s:close()
    killed [[S = nsbox.scope "shop"; S:netns "blue"; S:netns "red"]]
    assert.equal(1, nsbox.scope.recover())
    assert.equal("blue", names())
    nsbox.scope.remove "shop"
    assert.equal("", names())
  end)

  it("is shown and removed without a name, too", function()
    killed [[S = nsbox.scope(); S:netns "one"]]
    local name = nsbox.scope.list()[1].name
    assert.matches("^scope without a name %(crashed, pid %d+%): 1 part\n  netns one ",
      nsbox.scope.show(name))
    nsbox.scope.remove(name)
    assert.equal("", names())
    failure(function() nsbox.scope.show(name) end, "ENOENT")
    misuse(function() nsbox.scope.show "." end, "'.' is no name for a scope")
  end)

  it("keeps its journal where files cannot be without a name", function()
    local fd = nsbox.sys.fd
    local open, tried = fd.open, 0
    function fd.open(path, flags, mode)
      for _, flag in ipairs(flags or {}) do
        if flag == "tmpfile" then
          tried = tried + 1
          return nil, path .. ": Operation not supported", 95
        end
      end
      return open(path, flags, mode)
    end
    local ok, err = pcall(function()
      local s = nsbox.scope "shop"
      s:netns "blue"
      s:commit()
      failure(function() nsbox.scope { "shop", timeout = 0 } end, "ETIMEDOUT")
      s:close()
      local a <close> = nsbox.scope()
      local b <close> = nsbox.scope()
      a:netns "a"
      b:netns "b"
      -- as a kill before the first line leaves one
      spew(journal "none", "")
      assert.equal(0, nsbox.scope.recover())
      assert.is_nil(slurp(journal "none"))
      spew(journal "none", "")
      nsbox.scope("none"):close()
    end)
    fd.open = open
    assert.is_true(ok, tostring(err))
    assert.is_true(tried > 4)
    nsbox.scope.remove "shop"
    assert.same({}, entries(rundir.path()))
  end)

  it("says what it cannot do", function()
    misuse(function() nsbox.scope.open "a b" end, "scope.open: 'a b' is no name for a scope")
    misuse(function() nsbox.scope { "shop", "store" } end,
      "scope: argument 2: there is one thing only, got 'store' as well")
    assert.equal("nsbox.scope.list() has all",
      failure(function() nsbox.scope.remove ".1-2" end, "ENOENT").hint)
    misuse(function() nsbox.scope.remove(1) end, "scope.remove: expected a name")
    failure(function() nsbox.scope.open "none" end, "ENOENT")
    failure(function() nsbox.scope.remove "none" end, "ENOENT")
    failure(function() nsbox.scope.show "none" end, "ENOENT")
    local s <close> = nsbox.scope "shop"
    local box = s:box { name = "web" }
    local err = failure(function() s:commit() end, "EOPNOTSUPP")
    assert.equal("web", err.subject)
    assert.equal("running", box.state)
    box:close()
    s:bridge { "br0", stp = true }
    s:commit()
    s:close()
    local t <close> = nsbox.scope "shop"
    err = failure(function() t:bridge { "br0", stp = false } end, "EEXIST")
    assert.matches("has it already, with other options", err.detail)
    assert.is_false(t:bridge({ "br0", stp = true }).fresh)
  end)

  it("lets go of what is released", function()
    local s = nsbox.scope "shop"
    s:netns "blue":release()
    s:bridge "br0":release()
    s:close()
    assert.equal("blue", names())
    assert.matches("group default", (sh "ip link show br0"))
    sh "ip netns del blue; ip link del br0"
  end)

  it("lets go of what a verb that failed could not undo", function()
    local s = nsbox.scope()
    s:netns("blue")
    s._parts[1].object = nil -- as such a verb leaves it
    s:release()
    s:close()
    assert.equal("blue", names())
    sh "ip netns del blue"
  end)

  it("lets go of what stood before, with the commit", function()
    local s = nsbox.scope "shop"
    s:netns "blue"
    s:bridge "br0"
    s:commit()
    s:close()
    s = nsbox.scope "shop"
    s:netns "blue":release()
    s:bridge "br0":release()
    s:close()
    assert.equal(2, #nsbox.scope.list()[1].parts)
    s = nsbox.scope "shop"
    s:netns "blue":release()
    s:bridge "br0":release()
    s:commit()
    s:close()
    assert.same({}, nsbox.scope.list())
    assert.equal("blue", names())
    assert.matches("group default", (sh "ip link show br0"))
    sh "ip netns del blue; ip link del br0"
  end)

  it("tells the error, and not that it could not be noted", function()
    sh "ip netns add blue"
    local s = nsbox.scope()
    s:netns "red"
    local write = s._journal.write
    function s._journal.write(self, op, word, ...)
      if word == "undone" then
        require("nsbox.error").raise { op = op, code = "ENOSPC" }
      end
      return write(self, op, word, ...)
    end
    failure(function() s:netns "blue" end, "EEXIST")
    s:close()
    assert.equal("blue", names())
    sh "ip netns del blue"
  end)

  it("keeps the file of a name that could not be unmounted, for the next time", function()
    local s = nsbox.scope()
    s:netns "blue"
    local pin = require "nsbox.undo.pin"
    local whole = pin.undo
    function pin.undo(steps, fail)
      for _, step in ipairs(steps) do
        fail(step, require("nsbox.error").new { op = "undo", code = "EBUSY" })
      end
    end
    local err = failure(function() s:close() end)
    pin.undo = whole
    assert.equal(1, #err.undo)
    assert.equal("blue", names())
    assert.equal(1, nsbox.scope.recover())
    assert.equal("", names())
  end)

  it("is not recovered by whoever may not look", function()
    killed [[S = nsbox.scope(); S:netns "one"; S:bridge { "br0", netns = "one" }]]
    local out = children.script([[
      local ok, err = pcall(require "nsbox".scope.recover)
      print(ok, #err.undo, err.undo[1].code, err.undo[2].code)
    ]], "setpriv --bounding-set -sys_admin --inh-caps -sys_admin env")
    assert.equal("false\t2\tEPERM\tEPERM\n", out)
    assert.equal("one", names())
    assert.equal(1, nsbox.scope.recover())
    assert.equal("", names())
  end)

  describe("journal", function()
    -- of a script that was killed with two names
    local function crashed()
      killed [[S = nsbox.scope(); S:netns "one"; S:netns "two"]]
      local dir = rundir.path()
      local name = entries(dir)[1]
      return dir .. "/" .. name, slurp(dir .. "/" .. name)
    end

    it("does not grow while nothing is left of what it says", function()
      local s <close> = nsbox.scope()
      local size
      for i = 1, 20 do
        s:netns "one":close()
        local now = #slurp(rundir.path() .. "/" .. entries(rundir.path())[1])
        assert.equal(size or now, now, i)
        size = now
      end
      local two = s:netns "two"
      s:netns "one":close()
      assert.is_true(#slurp(rundir.path() .. "/" .. entries(rundir.path())[1]) > size)
      two:close()
    end)

    it("is a file: a directory or a link of such a name is passed over", function()
      local dir = rundir.path()
      sh(("mkdir %s/x.journal; ln -s x.journal %s/y.journal"):format(dir, dir))
      assert.same({}, nsbox.scope.list())
      assert.equal(0, nsbox.scope.recover())
      failure(function() nsbox.scope.open "x" end, "ENOENT")
    end)

    it("that was cut is read up to there", function()
      local path, text = crashed()
      -- the last line has no end: its step is known by what was planned
      spew(path, text .. "did\t4\tindex")
      assert.equal(1, nsbox.scope.recover())
      assert.equal("", names())
      assert.same({}, entries(rundir.path()))
    end)

    it("that is garbled is put aside, what can be read is undone", function()
      local path, text = crashed()
      spew(path, text .. "d\1d\t2\n")
      local err = failure(function() nsbox.scope.recover() end, nil)
      assert.equal("EBADMSG", err.undo[1].code)
      assert.equal("", names())
      assert.matches("%.damaged$", entries(rundir.path())[1])
      os.remove(rundir.path() .. "/" .. entries(rundir.path())[1])
    end)

    it("that was cut is written on behind the last line", function()
      local s = nsbox.scope "shop"
      s:netns "blue"
      s:commit()
      s:close()
      spew(journal "shop", slurp(journal "shop") .. "do\t9\tpart=3\tki")
      s = nsbox.scope "shop"
      assert.is_false(s:netns("blue").fresh)
      s:commit()
      s:close()
      assert.equal(0, nsbox.scope.recover())
      assert.equal("committed", nsbox.scope.list()[1].state)
    end)

    it("that is garbled and has something is not put aside", function()
      local s = nsbox.scope "shop"
      s:netns "blue"
      s:commit()
      s:close()
      spew(journal "shop", slurp(journal "shop") .. "d\1d\t2\n")
      local err = failure(function() nsbox.scope.recover() end)
      assert.matches('scope.remove%("shop"%) removes what can be read', err.undo[1].hint)
      s = nsbox.scope "shop"
      assert.is_false(s:netns("blue").fresh)
      s:close()
      nsbox.scope.remove "shop"
      assert.equal("", names())
    end)

    it("of another version is left alone", function()
      local path, text = crashed()
      spew(path, (text:gsub("^nsbox\t1", "nsbox\t2")))
      local err = failure(function() nsbox.scope.recover() end, nil)
      assert.matches("another version of nsbox %(2, this one reads 1%)", tostring(err.undo[1]))
      assert.equal("one two", names())
      assert.equal("another version", nsbox.scope.list()[1].state)
      spew(path, text)
    end)

    it("of a newer version that can do more is undone as far as this one can", function()
      killed [[S = nsbox.scope "shop"; S:netns "one"]]
      local path, text = journal "shop", slurp(journal "shop")
      spew(path, text .. "do\t99\tpart=99\tkind=wormhole\tverb=tunnel\tname=w\n")
      assert.matches("tunnel w +something that this version of nsbox does not know: wormhole$",
        nsbox.scope.show "shop")
      local err = failure(function() nsbox.scope.recover() end)
      assert.equal("undo w: this version of nsbox cannot undo a wormhole (EOPNOTSUPP)",
        tostring(err.undo[1]))
      assert.equal("", names())
      spew(path, text)
    end)

    it("of another boot knows that nothing of it is there", function()
      local path, text = crashed()
      -- a restart leaves files, as stale ones
      sh "umount /run/netns/one; umount /run/netns/two"
      spew(path, (text:gsub("boot=[%x-]+", "boot=0")))
      assert.equal(1, nsbox.scope.recover())
      assert.equal("", names())
    end)

    it("of another pid namespace is undone, but for its processes", function()
      killed [[
        S = nsbox.scope()
        local b = S:netns "one"
        S:bridge { "br0", netns = b }
        local p = require "nsbox.part".new(S, "box")
        p.name = "web"
        p:step("process", { pid = 1, id = "x" }, function() return {} end)
      ]]
      local name = entries(rundir.path())[1]
      local path = rundir.path() .. "/" .. name
      local text = slurp(path)
      spew(path, (text:gsub("pidns=%d+", "pidns=1")))
      assert.equal("elsewhere", nsbox.scope.list()[1].state)
      local err = failure(function() nsbox.scope.recover() end, nil)
      assert.equal(1, #err.undo)
      assert.equal("undo web: it is a process of another pid namespace, whose numbers mean others "
        .. "here (EXDEV)\n  hint: recover it there; if that is gone, so is the process: remove the "
        .. "journal, a file in /run/nsbox", tostring(err.undo[1]))
      assert.equal("", names())
      assert.matches("%(elsewhere%): 1 part\n  box web ", nsbox.scope.show(name:match "^(.*)%.j"))
      spew(path, text)
      assert.equal(1, nsbox.scope.recover())
    end)

    it("does not undo what has another identity", function()
      local path = crashed()
      assert.is_string(path)
      sh "ip netns del one; ip netns add one"
      assert.equal(1, nsbox.scope.recover())
      assert.equal("one", names())
      sh "ip netns del one"
    end)

    it("is not kept where others could write", function()
      local dir = rundir.path()
      local s = nsbox.scope()
      sh("chmod 777 " .. dir)
      local err = failure(function() s:netns "blue" end, "EPERM")
      assert.matches("others may write to it %(mode 0777%)", err.detail)
      assert.equal("", names())
      sh("chmod 700 " .. dir .. "; chown 12345 " .. dir)
      err = failure(function() s:netns "blue" end, "EPERM")
      assert.matches("it belongs to uid 12345", err.detail)
      sh("umount " .. dir .. "; mv " .. dir .. " " .. dir .. ".away; ln -s /tmp " .. dir)
      err = failure(function() s:netns "blue" end, "ENOTDIR")
      assert.matches(("nsbox keeps its journals in %s: remove what is there"):format(dir), err.hint,
        1, true)
      sh("rm " .. dir .. "; mv " .. dir .. ".away " .. dir)
      sh("mount -t tmpfs -o mode=700 tmpfs " .. dir)
      s:close()
    end)

    it("that cannot be written stops the verb before anything is done", function()
      sh "mount -o remount,size=8k /run/nsbox"
      local s = nsbox.scope()
      s:netns "blue"
      sh "dd if=/dev/zero of=/run/nsbox/full bs=4k count=9"
      local failed
      for i = 1, 100 do
        local ok, err = nsbox.try(s.netns, s, "n" .. i)
        if not ok then
          failed = err
          assert.equal("ENOSPC", err.code)
          break
        end
      end
      assert.is_table(failed)
      s:close()
      assert.equal("", names())
    end)
  end)
end)
