--- The kinds of namespace, in the words of /proc/PID/ns and in the order that
-- nsbox names them.
--
-- namespaces(7)
--
-- @internal nsbox.kinds

return { "user", "mnt", "pid", "net", "uts", "ipc", "cgroup", "time" }
