std = "lua54"
max_line_length = 100

-- the functions of spec/helper.lua
local helper = {
  "needs", "slurp", "spew", "entries", "tmpdir", "sh", "lua", "matches", "cell",
  "in_userns", "built",
}
files["spec"] = {
  std = "+busted",
  read_globals = helper,
}
files["spec/helper.lua"] = {
  globals = helper,
}
files["spec/fuzz"] = { read_globals = { "fuzz" } } -- of spec/fuzz/NAME.c
files["rockspec/*.rockspec"] = { std = "+rockspec" }
files[".config.ld"] = { allow_defined_top = true, ignore = { "113", "131" } }
