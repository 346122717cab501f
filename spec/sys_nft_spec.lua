local dkjson = require "dkjson"
local inside = require "netns"
local sys = require "nsbox.sys"
local fd, process = sys.fd, sys.process

local EPERM <const>, ENOENT <const>, EINVAL <const>, EEXIST <const> = 1, 2, 22, 17

-- what the command shows
local function nft_command(text)
  return (sh("nft " .. text))
end

describe("nsbox.sys.nft", function()
  it("runs what nft takes, and shows what nft shows", function()
    needs "nftables"
    local shown, listed = inside(function()
      local nft = sys.nft
      local handle <close> = assert(nft.open())
      assert(handle:run "add table inet mine; add set inet mine s { type ipv4_addr; }")
      assert(handle:run "add element inet mine s { 10.0.0.1 }")
      return handle:run "list ruleset", nft_command "list ruleset"
    end)
    assert.matches("10%.0%.0%.1", shown)
    assert.equal(listed, shown)
  end)

  it("does all of a text, or nothing of it", function()
    needs "nftables"
    local ok, message, errno, listed = inside(function()
      local handle <close> = assert(sys.nft.open())
      local ok, message, errno = handle:run "add table inet mine; add rule inet mine none accept"
      return ok, message, errno, nft_command "list tables"
    end)
    assert.is_nil(ok)
    assert.equal(ENOENT, errno)
    assert.matches("No such file or directory$", message)
    assert.equal("", listed)
  end)

  it("does each text of a list, whatever became of the others", function()
    needs "nftables"
    local results, listed = inside(function()
      local handle <close> = assert(sys.nft.open())
      return handle:run { "add table inet a", "create table inet a", "no command",
        "add table inet b" }, nft_command "list tables"
    end)
    assert.equal("", results[1])
    assert.equal(EEXIST, results[2][2])
    assert.equal(EINVAL, results[3][2])
    assert.matches("^syntax error", results[3][1])
    assert.equal("", results[4])
    assert.equal("table inet a\ntable inet b\n", listed)
  end)

  it("gives JSON where it is asked for", function()
    needs "nftables"
    local text, plain = inside(function()
      local handle <close> = assert(sys.nft.open())
      assert(handle:run "add table ip6 mine")
      return handle:run("list tables", true), handle:run "list tables"
    end)
    local found
    for _, entry in ipairs(dkjson.decode(text).nftables) do
      found = found or entry.table
    end
    assert.equal("mine", found.name)
    assert.equal("table ip6 mine\n", plain)
  end)

  it("names the tables", function()
    needs "nftables"
    local none, some = inside(function()
      local handle <close> = assert(sys.nft.open())
      local none = handle:tables()
      local words = {}
      -- an answer of two messages, the first one of 32 kB
      for i = 1, 300 do words[i] = ("add table inet t%d; add table ip6 t%d"):format(i, i) end
      assert(handle:run(table.concat(words, "\n")))
      return none, handle:tables()
    end)
    assert.same({}, none)
    assert.equal(600, #some)
    local seen = {}
    for _, t in ipairs(some) do seen[t.family .. " " .. t.name] = true end
    assert.is_true(seen["inet t1"] and seen["ip6 t300"])
  end)

  it("works in another namespace, and leaves the caller where it is", function()
    needs "nftables"
    local here, there, before, after = inside(function()
      local before = fd.stat("/proc/self/ns/net").ino
      local other = assert(sys.ns.newnet())
      local handle <close> = assert(sys.nft.open(other))
      assert(handle:run "add table inet mine")
      return nft_command "list tables", handle:run "list tables", before,
        fd.stat("/proc/self/ns/net").ino
    end)
    assert.equal("", here)
    assert.equal("table inet mine\n", there)
    assert.equal(before, after)
  end)

  -- a network namespace of a user namespace of the caller's
  it("works in the namespace of a user namespace that is the caller's", function()
    needs("nftables", "maps")
    local child = assert(process.spawn { argv = { "sleep", "60" }, new = { "user", "net" },
      maps = require("nsbox.idmap").resolve "self" })
    local handle <close> = assert(sys.nft.open(child))
    assert(handle:run "add table inet mine")
    assert.equal("table inet mine\n", handle:run "list tables")
    child:kill "KILL"
    fd.poll { [child:fileno()] = "r" }
    child:status()
    child:close()
  end)

  it("works where all low descriptors are taken", function()
    needs "nftables"
    local script = tmpdir() .. "/low.lua"
    spew(script, [[
      local sys = require "nsbox.sys"
      local handle <close> = assert(sys.nft.open())
      local taken = {}
      repeat
        taken[#taken + 1] = assert(sys.fd.open("/dev/null", { "rdonly" }))
      until taken[#taken]:fileno() > 1100
      assert(handle:run "add table inet low")
      local high <close> = assert(sys.nft.open())
      assert(high:run "add table inet high")
      local results = high:run { "list tables", "list table inet none" }
      io.write(handle:run "list tables", results[1], results[2][1], "\n")
      io.stdout:flush()
      os.execute "nft list tables"
    ]])
    local out, status = lua(script, "", "ulimit -Sn 2048; exec unshare -Urn ")
    local tables <const> = "table inet low\ntable inet high\n"
    assert.equal(tables .. tables .. "No such file or directory\n"
      .. tables, out)
    assert.equal(0, status)
  end)

  it("says who may not", function()
    needs "nftables"
    local nothing, message, errno = inside(function()
      assert(sys.cap.set { effective = {}, permitted = {}, inheritable = {} })
      return sys.nft.open()
    end)
    assert.is_nil(nothing)
    assert.equal(EPERM, errno)
    assert.matches("not permitted", message)
  end)

  it("raises misuse", function()
    needs "nftables"
    local messages = inside(function()
      local handle = assert(sys.nft.open())
      local out = {}
      for i, f in ipairs {
        function() handle:run(1) end,
        function() handle:run { "list tables", {} } end,
        function() handle:run "list\0tables" end,
        function() sys.nft.open {} end,
        function() handle:close() handle:close() handle:run "list tables" end,
      } do
        out[i] = select(2, pcall(f))
      end
      return out
    end)
    assert.matches("string expected, got number", messages[1])
    assert.matches("string expected, got table", messages[2])
    assert.matches("NUL byte", messages[3])
    assert.matches("bad argument #1", messages[4])
    assert.matches("closed nsbox.nft", messages[5])
  end)

  it("#fault fails where it is told to", function()
    needs "nftables"
    local script = tmpdir() .. "/fault.lua"
    spew(script, [[print(require("nsbox.sys.nft").open():run "list tables")]])
    assert.matches("^nil\tnft: Cannot allocate memory\t12\n",
      (lua(script, "", "NSBOX_FAULT=nft.run:ENOMEM exec unshare -Urn ")))
  end)
end)
