local nsbox = require "nsbox"
local ledger = require "nsbox.ledger"
local journals = require "nsbox.journal"
local netns = require "netns"

-- the bridges of others, as a scope sees them
local function seen(scope)
  local open <close> = ledger.open(scope, "spec")
  local list = {}
  for _, it in ipairs(open:bridges()) do
    list[#list + 1] = it.step.dev .. " " .. it.step.addr
  end
  table.sort(list)
  return table.concat(list, ", ")
end

describe("the ledger", function()
  needs("netns", "bridge")

  it("follows journals that grow, begin again, and end", function()
    netns(function()
      local a <close> = nsbox.scope()
      local b = nsbox.scope()
      assert.equal("", seen(a))
      local br = b:bridge { "br0", addr = "10.1.0.1/24" }
      assert.equal("br0 10.1.0.1/24", seen(a))
      br:close() -- nothing is left: the journal is cut
      assert.equal("", seen(a))
      -- longer than what was read of it before
      for i = 1, 3 do b:bridge { "c" .. i, addr = ("10.1.%d.1/24"):format(i) } end
      assert.equal("c1 10.1.1.1/24, c2 10.1.2.1/24, c3 10.1.3.1/24", seen(a))
      b:bridge({ "plain", addr = false }):close()
      assert.equal("c1 10.1.1.1/24, c2 10.1.2.1/24, c3 10.1.3.1/24", seen(a))
      b:close()
      assert.equal("", seen(a))
    end)
  end)

  it("does not read half a line, nor believe another boot", function()
    netns(function()
      local a <close> = nsbox.scope()
      seen(a) -- the directory is there
      local path = journals.path ".1-77"
      local function file(text)
        spew(path, ("nsbox\t1\ttime=1\nrun\t0\tpid=1\tpidns=1\tboot=%s\n"):format(
          text:match "^boot=(%S+)" or journals.boot_id()) .. text:gsub("^boot=%S+ ", ""))
      end
      local line = "do\t1\tkind=link\tpart=1\tdev=br7\taddr=10.7.0.1/24\n"
      file(line:sub(1, -4))
      assert.equal("", seen(a))
      file(line)
      assert.equal("br7 10.7.0.1/24", seen(a))
      file(line .. "undone\t1\n")
      assert.equal("", seen(a))
      file("boot=elsewhen " .. line)
      assert.equal("", seen(a))
      os.remove(path)
      assert.equal("", seen(a))
    end)
  end)

  it("lets nobody choose meanwhile, and everybody after", function()
    netns(function()
      local a <close> = nsbox.scope()
      local b <close> = nsbox.scope()
      local open = ledger.open(a, "spec")
      local dir <close> = nsbox.sys.fd.open(require("nsbox.rundir").open "spec", { "directory" })
      assert.is_nil((dir:flock()))
      open:close()
      open:close()
      assert.is_true(dir:flock())
      dir:close()
      -- what fails to choose holds nothing
      pcall(b.bridge, b, { "br0", addr = { "10.1.0.1/24", "10.1.0.2/16" } })
      ledger.open(a, "spec"):close()
    end)
  end)
end)
