-- The defences of the README's table, each as what takes it away:
--
--     { file, text, replacement, spec file, its name, cell, [further text, replacement …] }
--
-- All texts are in one file, each there once. The spec has to fail without it; see mutate.lua.

local ROOTS <const>, ESCAPE <const>, CVE <const> = "rootfs_spec", "escape_spec", "cve_spec"

local IN_ROOT <const> = "RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS |"
local NAME <const>, FOLLOWED <const> = "O_PATH | O_NOFOLLOW | O_CLOEXEC | flags",
  "O_PATH | O_CLOEXEC | flags"
local HIDE <const> = [[	if (hide)
		nb_stepx(b, NB_STEP_DUMPABLE, 0);
	if (njoins) {]]
local CLOSE <const> = "	long r = nb_sys(__NR_close_range, 3, ~0U, CLOSE_RANGE_CLOEXEC);\n\n"
local WRITES <const> = [[	nb_each(b, "writes", nb_count(L, t, "writes"), add_write);
]]
local LAYERS <const> = "layers < MOST_LAYERS"
local BOTTOM <const> = [[	if (r == 0)
		r = nb_sys(__NR_chdir, "/"]]
local UNSEEN <const> = BOTTOM:gsub("r == 0", "r == 0 || r == -EBUSY")

return {
  -- roots
  { "csrc/plan_path.c", IN_ROOT, "", ROOTS, "keeps what a link leads to inside", "user" },
  { "csrc/plan_path.c", NAME, FOLLOWED, ROOTS, "keeps what a link leads to inside", "enosys" },
  { "csrc/plan_path.c", NAME, FOLLOWED, ROOTS, "is not left while its directories are swapped for "
    .. "links", "user" },
  { "csrc/plan_path.c", "(how & NB_NOFOLLOW ? RESOLVE_NO_SYMLINKS : 0)", "0", ROOTS,
    "refuses a /proc, /sys or /dev that is a link", "user" },
  { "csrc/plan_path.c", NAME, FOLLOWED, CVE, "writes its files to no place that the image says, "
    .. "CVE-2025-24965", "user" },
  { "csrc/plan_inside.c", "r = -ENXIO;", "r = 0;", ROOTS,
    "covers nothing with what only looks like /dev/null", "user" },
  { "csrc/plan_mount.c", "		r = -ESTALE;", "		r = 0;", CVE,
    "has no console but what its caller has, CVE-2025-52565", "user" },
  { "lua/nsbox/basics.lua", "if kind.masks then", "if false then", ROOTS,
    "hides what tells of the machine", "user" },
  { "csrc/plan_mount.c", LAYERS, "layers < 0", ROOTS,
    "is the root, and nothing of the old one is left", "user", BOTTOM, UNSEEN },
  { "csrc/plan_mount.c", BOTTOM, UNSEEN, ROOTS, "does not begin while the old root is there",
    "user" },
  { "csrc/plan_inside.c", "r = same ? 0 : -ESTALE;", "r = same ? 0 : 0;", ROOTS,
    "looks again where a mount has gone", "user" },
  { "csrc/plan_inside.c", "r = same ? 0 : -ESTALE;", "r = same ? 0 : 0;", ROOTS,
    "looks again where a mount has gone", "enosys" },
  { "lua/nsbox/overmount.lua", "mount.move_mount(trees[i], file.target, root, not file.optional)",
    "(fd.open(file.target, { 'wronly', 'creat' }) and mount.move_mount)(trees[i], file.target)",
    CVE, "has no file made by a descriptor of its caller", "user" },
  { "csrc/plan.c", CLOSE .. "	if (r < 0)", "	long r = 0;\n\n	if (r < 0)", ESCAPE,
    "are closed with a root of its own, and those to the machine's", "user", CLOSE .. "	none[0]",
    "	long r = 0;\n\n	none[0]" },
  { "csrc/plan.c", "if (r > 0 && buffer[0] == '/')", "if (r > 0)", CVE,
    "does not start in a directory that is open here, CVE-2024-21626", "user", CLOSE
    .. "	none[0]", "	long r = 0;\n\n	none[0]" },
  { "csrc/spawn.c", " || nb_pivots(b) ||", " ||", ROOTS,
    "gives no program of the machine to an image that asks for it", "user" },
  { "csrc/plan_inside.c", "from->flags & NB_RECURSIVE);\n\t*late", "0);\n\t*late", ROOTS,
    "protects every mount below a bind", "user" },
  { "lua/nsbox/root.lua", '"nodev", plan.no_new_privs and "nosuid" or nil', "", ESCAPE,
    "do not go through a device in the image", "root" },
  { "csrc/spawn.c", ": MS_PRIVATE);", ": MS_SHARED);", ESCAPE,
    "are not opened by mounts that are shared with the machine", "root" },
  { "csrc/launch.c", "MOUNT_ATTR_IDMAP, 0, MS_PRIVATE,", "MOUNT_ATTR_IDMAP, 0, 0,", ROOTS,
    "mounts nothing outside where mounts are shared, as root", "root" },
  { "lua/nsbox/preview.lua", "read(path, root)", "read(path)", ROOTS,
    "has its own users, whatever its links say", "user" },
  { "csrc/spawn.c", WRITES .. "	nb_addmounts(b);\n", "	nb_addmounts(b);\n" .. WRITES, CVE,
    "has its settings written by the kernel's /proc, CVE-2025-52881", "user" },
  { "lua/nsbox/root.lua", "scratch, attributes(o, plan), in_userns)", "scratch, {}, in_userns)",
    ROOTS, "is mounted as any other root", "user" },
  { "lua/nsbox/overlay.lua", '"/../" .. name or nil', "M.sources(o)[i] or nil", ROOTS,
    "is of layers wherever their maker can go, and does not say where", "user" },
  { "lua/nsbox/overlay.lua", '  lock(op, "upper", overlay.upper, upper_handle)\n', "", ROOTS,
    "is written to by one box at a time", "user" },
  { "lua/nsbox/overlay.lua", '  lock(op, "work", overlay.work, work_handle)\n', "", ROOTS,
    "is written to by one box at a time", "user" },
  { "lua/nsbox/process.lua", 'handle:flock "none"', "handle:fileno()", ROOTS,
    "is written to by one box at a time", "user" },
  { "lua/nsbox/preview.lua", "o.overlay and (o.overlay.base or #o.overlay.lower > 0)", "false",
    ROOTS, "hides the users of its layers as its files do", "user" },
  -- what every box has
  { "lua/nsbox/mounts.lua", 'set = ATTRIBUTES[no_new_privs], recursive = true }',
    'set = { "nosuid" }, recursive = true }', ESCAPE,
    "are closed by default, and each by what it is said to be", "user" },
  { "lua/nsbox/mounts.lua", "if masks then", "if false then", ESCAPE,
    "are closed by default, and each by what it is said to be", "user" },
  { "lua/nsbox/plan.lua", "    chosen.time = nil", "    chosen.pid, chosen.time = nil, nil", ESCAPE,
    "are closed for programs that enter", "user" },
  -- a user's box without a network of its own has that of an island
  { "lua/nsbox/plan.lua", "    chosen.time = nil", "    chosen.net, chosen.time = nil, nil", ESCAPE,
    "are closed for programs that enter", "root" },
  { "lua/nsbox/idmap.lua", 'maps = who.root and "range" or "self"', 'maps = "self"', ESCAPE,
    "are closed by default, and each by what it is said to be", "root" },
  { "lua/nsbox/defaults.lua", '"audit_write", "setfcap"', '"audit_write", "setfcap", "net_raw"',
    ESCAPE, "are closed by default, and each by what it is said to be", "user" },
  { "lua/nsbox/plan.lua", "plan.no_new_privs = not o.bare", "plan.no_new_privs = false", ESCAPE,
    "are not opened by files that would give privileges", "user" },
  { "lua/nsbox/plan.lua", "choice = not o.bare", "choice = false", "seccomp_spec",
    "refuses what reaches beyond it, and no kernel does so by itself", "user" },
  { "lua/nsbox/box.lua", "seccomp = self._programs_filter", "seccomp = nil", "seccomp_spec",
    "refuses them in every way into it", "user" },
  { "csrc/init.c", "	seal(traceable);\n", "", "seccomp_spec",
    "is not to be had by having pid 1 do it, whoever may trace it", "user" },
  { "csrc/init.c", "	if (!serves)\n		seal(is_traceable());\n", "", "seccomp_spec",
    "is not to be had by having pid 1 do it, whoever may trace it", "user" },
  { "csrc/init.c", "	nb_sys5(__NR_prctl, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog, 0, 0);\n", "",
    "seccomp_spec", "is not to be had by having pid 1 do it, whoever may trace it", "user" },
  { "csrc/init.c", "CAP_KILL | UINT64_C(1) << CAP_SYS_PTRACE)", "CAP_KILL)", "seccomp_spec",
    "refuses them in every way into it", "user" },
  { "csrc/spawn_caps.c", "b->l->supervise || b->l->gate ||", "b->l->supervise ||", "seccomp_spec",
    "is not to be had by having do it what waits at the gate", "user" },
  { "lua/nsbox/box.lua", "and may_trace(p.caps) then", "and false then", "seccomp_spec",
    "is not to be had by having do it what waits at the gate", "user" },
  { "lua/nsbox/plan.lua", "plan.setsid = not o.bare", "plan.setsid = false", ESCAPE,
    "do not go through the caller's terminal", "user" },
  { "lua/nsbox/plan.lua", "plan.setsid = not o.bare", "plan.setsid = false", ESCAPE,
    "do not go through it where it is the box's console", "user" },
  { "csrc/spawn_caps.c", 'capfield(b, t, "inheritable", 0)',
    'capfield(b, t, "inheritable", UINT64_C(1))', CVE,
    "inherits no capabilities, CVE-2022-29162, CVE-2022-27650", "user" },
  { "lua/nsbox/plan.lua", "uid, gid, groups = 0, 0, {}", "uid, gid, groups = 0, 0, nil",
    "program_spec", "is in none of its caller's groups in a namespace that it joins", "root" },
  { "csrc/spawn.c", HIDE, "	if (njoins) {", CVE,
    "gets no hold of a process that enters, CVE-2016-9962, CVE-2016-8649", "user" },
  { "csrc/spawn.c", HIDE, "	if (njoins) {", CVE, "gets no hold of a function that is called in it",
    "user" },
  { "lua/nsbox/basics.lua", "flags = SAFE_RO, try = true", "flags = SAFE, try = true", CVE,
    "cannot write to the machine's control groups, CVE-2023-25809", "user" },
  { "lua/nsbox/user.lua", 'text:find("^%d+$")', 'text:find("^%d+")', CVE,
    "takes no half of a number for a user, CVE-2026-30892", "user" },
  { "csrc/core.c", "if (is_setid())", "if (0 && is_setid())", CVE,
    "is not loaded by a setuid program, CVE-2020-5291", "root" },
}
