-- For other benchmarks: starts one container of $PAYLOAD: new user, pid, mount,
-- uts, ipc and net namespaces, uid 0 mapped, its own /proc, host name c1.
-- Usage: PAYLOAD=/path lua5.4 slot_launch.lua

os.exit(require("nsbox").run {
  os.getenv "PAYLOAD", hostname = "c1", maps = "self", bare = true,
  namespaces = { "user", "pid", "mnt", "uts", "ipc", "net" },
})
