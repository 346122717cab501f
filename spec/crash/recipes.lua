-- What is killed: one recipe for each verb, and some together. A recipe gets
-- `nsbox`, and `stranger`, the pid of a process in a network namespace that is
-- not the script's. Each ends by undoing what it made, or by keeping it as a
-- named scope, which the harness then removes.

return {
  { "box", [[
    local s <close> = nsbox.scope()
    s:box { "sleep", "60", name = "a" }:start()
    s:box { "sleep", "60", init = true }:start()
    s:box { name = "idle" }
    s:box { "true" }:start():wait()
    s.boxes.a:close()
  ]] },
  { "box with many ids", [[
    -- it forgets its death signal, as programs do that drop their privilege
    local s <close> = nsbox.scope()
    local b = s:box { "setpriv", "--reuid", "1000", "--clear-groups", "sleep", "60",
      maps = os.getenv "SUBUID" and "subuid" or nil }
    b:start()
    s:box { "sleep", "60" }
  ]], ids = true },
  { "netns", [[
    local s <close> = nsbox.scope()
    s:netns "blue"
    s:netns "red":close()
    s:netns "green"
  ]] },
  { "bridge", [[
    local s <close> = nsbox.scope()
    s:bridge "br0"
    s:bridge "br1":close()
    s:bridge { "br2", netns = stranger }
    s:netns "blue"
    s:bridge { "br3", netns = "blue" }
  ]] },
  { "error", [[
    pcall(function()
      local s <close> = nsbox.scope()
      s:netns "blue"
      s:bridge "br0"
      s:bridge "br0"
    end)
  ]] },
  { "named", [[
    local s = nsbox.scope { "shop" }
    s:netns "blue"
    s:bridge "br0"
    s:commit()
    s:close()
    s = nsbox.scope { "shop" }
    s:netns "blue"
    s:netns "red"
    s:commit()
    s:bridge "br1"
    s:close()
  ]] },
}
