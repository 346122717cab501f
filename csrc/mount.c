/*
 * mount.c - mounts, one function per system call
 *
 * Owns the words for mount flags and attributes.  Makes no directory,
 * resolves no path, decides no default.  See mount(2), umount2(2),
 * pivot_root(2), mount_setattr(2), open_tree(2), move_mount(2), statx(2).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bare.h"
#include "nb.h"
#include "plan.h"

/***
 * Mounts.
 *
 * The module itself can be called: `sys.mount(…)` is `sys.mount.mount(…)`.
 * @module nsbox.sys.mount
 */

/* for headers before glibc 2.36 */
#ifndef MOUNT_ATTR_RDONLY
#define MOUNT_ATTR_RDONLY 0x1
#define MOUNT_ATTR_NOSUID 0x2
#define MOUNT_ATTR_NODEV 0x4
#define MOUNT_ATTR_NOEXEC 0x8
#define MOUNT_ATTR__ATIME 0x70
#define MOUNT_ATTR_NOATIME 0x10
#define MOUNT_ATTR_STRICTATIME 0x20
#define MOUNT_ATTR_NODIRATIME 0x80
#endif
#ifndef MOUNT_ATTR_NOSYMFOLLOW
#define MOUNT_ATTR_NOSYMFOLLOW 0x200000
#endif
#ifndef MS_NOSYMFOLLOW
#define MS_NOSYMFOLLOW 256
#endif
#ifndef OPEN_TREE_CLONE
#define OPEN_TREE_CLONE 1
#define OPEN_TREE_CLOEXEC O_CLOEXEC
#define MOVE_MOUNT_F_EMPTY_PATH 4
#define MOVE_MOUNT_T_SYMLINKS 0x10
#endif

/* MOUNT_ATTR_RELATIME is 0: a bit of our own, until the kernel's are made */
#define ATTR_RELATIME (UINT64_C(1) << 62)

const struct nb_word nb_mountflags[] = {
    {"ro", MS_RDONLY},
    {"nosuid", MS_NOSUID},
    {"nodev", MS_NODEV},
    {"noexec", MS_NOEXEC},
    {"noatime", MS_NOATIME},
    {"nodiratime", MS_NODIRATIME},
    {"relatime", MS_RELATIME},
    {"strictatime", MS_STRICTATIME},
    {"lazytime", MS_LAZYTIME},
    {"nosymfollow", MS_NOSYMFOLLOW},
    {"sync", MS_SYNCHRONOUS},
    {"dirsync", MS_DIRSYNC},
    {"silent", MS_SILENT},
    {"bind", MS_BIND},
    {"rec", MS_REC},
    {"rbind", MS_BIND | MS_REC},
    {"move", MS_MOVE},
    {"remount", MS_REMOUNT},
    {"private", MS_PRIVATE},
    {"slave", MS_SLAVE},
    {"shared", MS_SHARED},
    {"unbindable", MS_UNBINDABLE},
    {NULL, 0},
};

const struct nb_word nb_propagations[] = {
    {"private", MS_PRIVATE},	   {"slave", MS_SLAVE}, {"shared", MS_SHARED},
    {"unbindable", MS_UNBINDABLE}, {NULL, 0},
};

static const struct nb_word attrs[] = {
    {"ro", MOUNT_ATTR_RDONLY},
    {"nosuid", MOUNT_ATTR_NOSUID},
    {"nodev", MOUNT_ATTR_NODEV},
    {"noexec", MOUNT_ATTR_NOEXEC},
    {"noatime", MOUNT_ATTR_NOATIME},
    {"nodiratime", MOUNT_ATTR_NODIRATIME},
    {"relatime", ATTR_RELATIME},
    {"strictatime", MOUNT_ATTR_STRICTATIME},
    {"nosymfollow", MOUNT_ATTR_NOSYMFOLLOW},
    {NULL, 0},
};

static const struct nb_word umount_flags[] = {
    {"force", MNT_FORCE},
    {"detach", MNT_DETACH},
    {"expire", MNT_EXPIRE},
    {"nofollow", UMOUNT_NOFOLLOW},
    {NULL, 0},
};

static const struct nb_word tree_flags[] = {
    {"clone", OPEN_TREE_CLONE},
    {"recursive", AT_RECURSIVE},
    {"nofollow", AT_SYMLINK_NOFOLLOW},
    {"no_automount", AT_NO_AUTOMOUNT},
    {NULL, 0},
};

static uint64_t fieldattrs(lua_State *L, int t, const char *name)
{
	uint64_t value;

	lua_pushstring(L, name);
	lua_rawget(L, t);
	value = nb_checkwords(L, -1, attrs, "mount attribute");
	lua_pop(L, 1);
	return value;
}

void nb_checkattrs(lua_State *L, int t, uint64_t *set, uint64_t *clr)
{
	const uint64_t atimes = MOUNT_ATTR__ATIME | ATTR_RELATIME;
	uint64_t s = fieldattrs(L, t, "set");
	uint64_t c = fieldattrs(L, t, "clear");

	/* the access times are one field to the kernel: whoever changes it
	 * must clear all of it, and clearing one means relatime */
	if ((s | c) & atimes)
		c |= MOUNT_ATTR__ATIME;
	*set = s & ~ATTR_RELATIME;
	*clr = c & ~ATTR_RELATIME;
}

static const char *optstring(lua_State *L, int idx)
{
	return lua_isnoneornil(L, idx) ? NULL : nb_checkpath(L, idx);
}

/***
 * Mounts a file system, or changes a mount: plain mount(2).
 * @function mount
 * @tparam[opt] string source
 * @tparam string target
 * @tparam[opt] string fstype
 * @param[opt] flags a word or a list: `ro` `nosuid` `nodev` `noexec`
 *   `noatime` `nodiratime` `relatime` `strictatime` `lazytime` `nosymfollow`
 *   `sync` `dirsync` `silent` `bind` `rec` `rbind` `move` `remount` `private`
 *   `slave` `shared` `unbindable`
 * @tparam[opt] string data what the file system understands: `"size=1m"`
 * @treturn boolean true
 * @return[2] nil, message, errno; the message names the source where that
 *   is what is missing
 * @see mount(2)
 */
static int mount_mount(lua_State *L)
{
	const char *source = optstring(L, 1);
	const char *target = nb_checkpath(L, 2);
	const char *fstype = optstring(L, 3);
	unsigned long flags = nb_checkwords(L, 4, nb_mountflags, "mount flag");
	const char *data = optstring(L, 5);
	int err = 0;

	if (mount(source, target, fstype, flags, data) < 0)
		err = errno;
	if (err == ENOENT && source && (flags & (MS_BIND | MS_MOVE)) &&
	    access(source, F_OK) < 0)
		target = source;

	if (err)
		return nb_fail(L, err, target);
	lua_pushboolean(L, 1);
	return 1;
}

/* the module called as a function */
static int mount_call(lua_State *L)
{
	lua_remove(L, 1);
	return mount_mount(L);
}

/***
 * Removes a mount.
 * @function umount
 * @tparam string target
 * @param[opt] flags a word or a list: `force` `detach` `expire` `nofollow`
 * @treturn boolean true
 * @return[2] nil, message, errno
 * @see umount2(2)
 */
static int mount_umount(lua_State *L)
{
	const char *target = nb_checkpath(L, 1);
	int flags = (int)nb_checkwords(L, 2, umount_flags, "umount flag");

	int rc = umount2(target, flags);

	return nb_result(L, rc, target);
}

/***
 * Makes a mount point the root of the mount namespace.
 * @function pivot_root
 * @tparam string new
 * @tparam string old where the old root goes; `"."` twice stacks it below
 * @treturn boolean true
 * @return[2] nil, message, errno
 * @see pivot_root(2)
 */
static int mount_pivot_root(lua_State *L)
{
	const char *new = nb_checkpath(L, 1);
	const char *old = nb_checkpath(L, 2);

	int rc = (int)syscall(SYS_pivot_root, new, old);

	return nb_result(L, rc, new);
}

/***
 * Sets how mounts below a mount point propagate.
 * @function propagation
 * @tparam string target
 * @tparam string how `"private"`, `"slave"`, `"shared"` or `"unbindable"`
 * @tparam[opt=false] boolean recursive all mounts below, too
 * @treturn boolean true
 * @return[2] nil, message, errno
 * @see mount_namespaces(7)
 */
static int mount_propagation(lua_State *L)
{
	const char *target = nb_checkpath(L, 1);
	unsigned long how = nb_checkword(L, 2, nb_propagations, "propagation");
	int rc;

	if (lua_toboolean(L, 3))
		how |= MS_REC;

	rc = mount(NULL, target, NULL, how, NULL);

	return nb_result(L, rc, target);
}

/***
 * Opens a mount, or a detached copy of it.
 * @function open_tree
 * @tparam string path
 * @param[opt] flags a word or a list: `clone` `recursive` `nofollow`
 *   `no_automount`
 * @treturn nsbox.fd
 * @return[2] nil, message, errno
 * @see open_tree(2)
 */
static int mount_open_tree(lua_State *L)
{
	const char *path = nb_checkpath(L, 1);
	uint64_t flags = nb_checkwords(L, 2, tree_flags, "open_tree flag");
	struct nb_fd *h = nb_newfd(L);

	h->fd = nb_above_stdio(
	    (int)syscall(SYS_open_tree, AT_FDCWD, path,
			 (unsigned int)flags | OPEN_TREE_CLOEXEC));

	return h->fd < 0 ? nb_fail(L, errno, path) : 1;
}

/***
 * Attaches what open_tree gave.
 *
 * A target that is a symbolic link is followed, as mount(2) does.
 * @function move_mount
 * @param fd a descriptor of a mount
 * @tparam string target
 * @param[opt] root a directory that is "/" for the target: neither a link, also
 *   one of /proc, nor ".." leads out of it
 * @tparam[opt] boolean make a file, where the target is missing in that root
 * @treturn boolean true
 * @return[2] nil, message, errno
 * @see move_mount(2)
 */
static int mount_move_mount(lua_State *L)
{
	int fd = nb_checkfd(L, 1);
	const char *target = nb_checkpath(L, 2);
	int root = lua_isnoneornil(L, 3) ? -1 : nb_checkfd(L, 3);
	bool make = lua_toboolean(L, 4);
	long to, rc;

	if (root < 0) {
		rc = syscall(SYS_move_mount, fd, "", AT_FDCWD, target,
			     MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_SYMLINKS);
		return nb_result(L, (int)rc, target);
	}
	to = nb_find(root, target, make ? NB_MAKEFILE : 0);
	if (to < 0)
		return nb_fail(L, (int)-to, target);
	rc = syscall(SYS_move_mount, fd, "", (int)to, "",
		     MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
	nb_close((int)to);
	return nb_result(L, (int)rc, target);
}

/***
 * Changes the attributes of a mount.
 *
 * Kernels before 5.12 have no mount_setattr(2): there each mount is
 * remounted, one after the other.
 * @function setattr
 * @param target a path, or a descriptor of a mount (from open_tree)
 * @tparam table changes `set`, `clear`: words or lists of `ro` `nosuid`
 *   `nodev` `noexec` `noatime` `nodiratime` `relatime` `strictatime`
 *   `nosymfollow`; `recursive`: boolean; `propagation`: as in `propagation`;
 *   `idmap`: a descriptor of a user namespace, by whose maps the ids of a tree
 *   that open_tree cloned are shown (Linux 5.12)
 * @treturn boolean true
 * @return[2] nil, message, errno
 * @see mount_setattr(2)
 */
static int mount_setattr_(lua_State *L)
{
	static const char *const known[] = {"set",	   "clear", "recursive",
					    "propagation", "idmap", NULL};
	bool path = lua_type(L, 1) == LUA_TSTRING;
	int dir = path ? AT_FDCWD : nb_checkfd(L, 1);
	const char *target = path ? nb_checkpath(L, 1) : "";
	uint64_t set, clr, propagation = 0;
	bool recursive;
	int idmap = -1;
	long rc;

	luaL_checktype(L, 2, LUA_TTABLE);
	nb_checkfields(L, 2, known, "setattr");
	nb_checkattrs(L, 2, &set, &clr);
	recursive = nb_fieldbool(L, 2, "recursive", false);
	if (lua_getfield(L, 2, "propagation") != LUA_TNIL)
		propagation =
		    nb_checkword(L, -1, nb_propagations, "propagation");
	if (lua_getfield(L, 2, "idmap") != LUA_TNIL)
		idmap = nb_checkfd(L, -1);

	/* no remount shows other ids */
	rc = idmap < 0
		 ? nb_setattr(dir, target, set, clr, propagation, recursive)
		 : nb_rawsetattr(dir, target, set | MOUNT_ATTR_IDMAP, clr,
				 propagation, idmap, recursive);

	if (rc < 0)
		return nb_fail(L, (int)-rc, path ? target : "setattr");
	lua_pushboolean(L, 1);
	return 1;
}

/***
 * The number of the mount that a path is on, the first field of its line in
 * `/proc/PID/mountinfo`: no other mount has it as long as that one is there.
 * @function id
 * @tparam string path
 * @treturn integer
 * @return[2] nil, message, errno: ENOSYS before Linux 5.8
 * @see statx(2)
 */
static int mount_id(lua_State *L)
{
	const char *path = nb_checkpath(L, 1);
	struct statx st;
	int rc;

	rc = statx(AT_FDCWD, path, 0, STATX_MNT_ID, &st);

	if (rc < 0)
		return nb_fail(L, errno, path);
	if (!(st.stx_mask & STATX_MNT_ID))
		return nb_fail(L, ENOSYS, path);
	lua_pushinteger(L, (lua_Integer)st.stx_mnt_id);
	return 1;
}

static const luaL_Reg mount_funcs[] = {
    {"id", mount_id},
    {"mount", mount_mount},
    {"move_mount", mount_move_mount},
    {"open_tree", mount_open_tree},
    {"pivot_root", mount_pivot_root},
    {"propagation", mount_propagation},
    {"setattr", mount_setattr_},
    {"umount", mount_umount},
    {NULL, NULL},
};

static const luaL_Reg mount_meta[] = {
    {"__call", mount_call},
    {NULL, NULL},
};

int luaopen_nsbox_sys_mount(lua_State *L)
{
	lua_newtable(L);
	nb_setfuncs(L, "mount", mount_funcs);
	lua_newtable(L);
	nb_setfuncs(L, "mount", mount_meta);
	lua_setmetatable(L, -2);
	return 1;
}
