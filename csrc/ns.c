/*
 * ns.c - namespaces: handles on them, entering and leaving
 *
 * Owns the metatable nsbox.ns; nsfd.c opens the descriptors.
 * Must not know how a process is started.  See namespaces(7), ioctl_ns(2),
 * setns(2), unshare(2), pidfd_open(2).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "nb.h"

/***
 * Namespaces.
 *
 * The kinds are the names in `/proc/PID/ns`: `user` `mnt` `pid` `net` `uts`
 * `ipc` `cgroup` `time`.  A handle keeps its namespace alive; two handles are
 * equal (`==`) when they mean the same namespace.
 * @module nsbox.sys.ns
 */

/* whether a file is a namespace, and no device to which an ioctl may mean
 * something else: 0 or -errno.  All of them are on one device, learnt once */
static int checknsfs(int fd, dev_t dev)
{
	static _Atomic dev_t nsfs;
	struct statfs fs;

	if (dev == nsfs)
		return 0;
	if (fstatfs(fd, &fs) < 0)
		return -errno;
	if (fs.f_type != NSFS_MAGIC)
		return -EINVAL;
	nsfs = dev;
	return 0;
}

/* learns what the descriptor in ns is; 0 or -errno, -EINVAL when it is not
 * a namespace */
static int identify(struct nb_ns *ns)
{
	struct stat st;
	int err;

	if (fstat(ns->h.fd, &st) < 0)
		return -errno;
	err = checknsfs(ns->h.fd, st.st_dev);
	if (err)
		return err;
	ns->kind = ioctl(ns->h.fd, NS_GET_NSTYPE);
	if (ns->kind < 0)
		return errno == ENOTTY ? -EINVAL : -errno;
	ns->dev = st.st_dev;
	ns->ino = st.st_ino;
	return 0;
}

/* --- results --- */

int nb_fillns(lua_State *L, struct nb_ns *ns, int fd, const char *subject)
{
	int err;

	if (fd < 0)
		return nb_fail(L, -fd, subject);
	ns->h.fd = fd;
	err = identify(ns);
	if (err) { /* what it is open on is not to wait for the collector */
		nb_close(fd);
		ns->h.fd = -1;
	}
	if (err == -EINVAL) {
		luaL_pushfail(L);
		lua_pushfstring(L, "%s: not a namespace", subject);
		lua_pushinteger(L, EINVAL);
		return 3;
	}
	return err ? nb_fail(L, -err, subject) : 1;
}

/* pushes "unshare user, mnt", the subject of a failure */
static const char *subject(lua_State *L, const char *call, uint64_t kinds)
{
	const char *separator = " ";
	luaL_Buffer b;

	luaL_buffinit(L, &b);
	luaL_addstring(&b, call);
	for (const struct nb_word *w = nb_kinds; w->word; w++) {
		if (!(kinds & w->value))
			continue;
		luaL_addstring(&b, separator);
		luaL_addstring(&b, w->word);
		separator = ", ";
	}
	luaL_pushresult(&b);
	return lua_tostring(L, -1);
}

/* --- functions --- */

static int openpath(lua_State *L)
{
	const char *path = nb_checkpath(L, 1);
	struct nb_ns *ns = nb_newns(L);

	int fd = nb_openns(path);

	return nb_fillns(L, ns, fd, path);
}

static int openpid(lua_State *L)
{
	lua_Integer pid = luaL_checkinteger(L, 1);
	int kind = (int)nb_checkword(L, 2, nb_kinds, "namespace");
	struct nb_ns *ns;
	const char *path;
	int fd;

	luaL_argcheck(L, pid > 0 && pid <= INT32_MAX, 1, "not a process id");
	path = lua_pushfstring(L, "/proc/%d/ns/%s", (int)pid,
			       nb_wordof(nb_kinds, (uint64_t)kind));
	ns = nb_newns(L);

	fd = nb_openns(path);
	if (fd == -ENOENT && kill((pid_t)pid, 0) < 0 && errno == ESRCH)
		fd = -ESRCH;

	return nb_fillns(L, ns, fd, path);
}

static int openpidfd(lua_State *L)
{
	int pidfd = nb_checkfd(L, 1);
	int kind = (int)nb_checkword(L, 2, nb_kinds, "namespace");
	const char *name = luaL_tolstring(L, 1, NULL);
	struct nb_ns *ns = nb_newns(L);

	int fd = nb_opennsof(pidfd, kind);

	return nb_fillns(L, ns, fd, name);
}

/***
 * Opens a namespace: `open(path)`, `open(pid, kind)`, `open(process, kind)`.
 * @function open
 * @param what a path, a process id, or a process handle (or another handle on
 *   a pidfd), which cannot be mistaken when the number is used again
 * @tparam[opt] string kind needed for a process, forbidden for a path
 * @treturn nsbox.ns
 * @return[2] nil, message, errno: ESRCH when the process has gone, EINVAL
 *   when the file is not a namespace
 * @see namespaces(7)
 */
static int ns_open(lua_State *L)
{
	switch (lua_type(L, 1)) {
	case LUA_TSTRING:
		luaL_argcheck(L, lua_isnoneornil(L, 2), 2,
			      "a path has no kind");
		return openpath(L);
	case LUA_TUSERDATA:
		return openpidfd(L);
	default:
		return openpid(L);
	}
}

/***
 * Moves the calling thread into a namespace, or into those of a process.
 *
 * `pid` and `time` apply to children only.  `user` and `mnt` need a process
 * with one thread.
 * @function setns
 * @param target a namespace, or a process with `kinds`
 * @param[opt] kinds a word or a list of them
 * @treturn boolean true
 * @return[2] nil, message, errno
 * @see setns(2)
 */
static int ns_setns(lua_State *L)
{
	int fd = nb_checkfd(L, 1);
	uint64_t kinds = nb_checkwords(L, 2, nb_kinds, "namespace");
	const struct nb_ns *ns = luaL_testudata(L, 1, NB_NS);
	int rc;

	if (!kinds && luaL_testudata(L, 1, NB_PROCESS))
		luaL_argerror(L, 2, "which namespaces of the process?");
	if (!kinds && ns)
		kinds = (uint64_t)ns->kind;

	rc = setns(fd, (int)kinds);

	if (rc < 0) {
		int err = errno;

		return nb_fail(L, err, subject(L, "setns", kinds));
	}
	lua_pushboolean(L, 1);
	return 1;
}

/***
 * Moves the calling thread into new namespaces.
 *
 * `pid` and `time` apply to children only.  `user` needs a process with one
 * thread.
 * @function unshare
 * @param kinds a word or a list of them
 * @treturn boolean true
 * @return[2] nil, message, errno
 * @see unshare(2)
 */
static int ns_unshare(lua_State *L)
{
	uint64_t kinds;
	int rc;

	luaL_checkany(L, 1);
	kinds = nb_checkwords(L, 1, nb_kinds, "namespace");
	luaL_argcheck(L, kinds, 1, "no namespace");

	rc = unshare((int)kinds);

	if (rc < 0) {
		int err = errno;

		return nb_fail(L, err, subject(L, "unshare", kinds));
	}
	lua_pushboolean(L, 1);
	return 1;
}

/* --- methods --- */

struct nb_ns *nb_checkns(lua_State *L, int idx)
{
	struct nb_ns *ns = luaL_checkudata(L, idx, NB_NS);

	if (ns->h.fd < 0)
		luaL_error(L, "attempt to use a closed " NB_NS);
	return ns;
}

/***
 * A namespace.
 * @type nsbox.ns
 */

/***
 * The kind of namespace.
 * @function kind
 * @treturn string a word: `"net"`
 */
static int ns_kind(lua_State *L)
{
	const struct nb_ns *ns = nb_checkns(L, 1);

	lua_pushstring(L, nb_wordof(nb_kinds, (uint64_t)ns->kind));
	return 1;
}

/***
 * What tells this namespace from all others that exist now.
 * @function id
 * @treturn integer device
 * @treturn integer inode, the number in `readlink /proc/PID/ns/KIND`
 * @see ioctl_ns(2)
 */
static int ns_id(lua_State *L)
{
	const struct nb_ns *ns = nb_checkns(L, 1);

	lua_pushinteger(L, (lua_Integer)ns->dev);
	lua_pushinteger(L, (lua_Integer)ns->ino);
	return 2;
}

static int related(lua_State *L, unsigned long request, const char *what)
{
	const struct nb_ns *ns = nb_checkns(L, 1);
	struct nb_ns *other = nb_newns(L);

	int fd = nb_above_stdio(ioctl(ns->h.fd, request));

	return nb_fillns(L, other, fd < 0 ? -errno : fd, what);
}

/***
 * The user namespace that owns this one.
 * @function owner
 * @treturn nsbox.ns
 * @return[2] nil, message, errno: EPERM when it is an ancestor of the
 *   caller's own
 * @see ioctl_ns(2)
 */
static int ns_owner(lua_State *L)
{
	return related(L, NS_GET_USERNS, "owner");
}

/***
 * The parent of a `user` or `pid` namespace.
 * @function parent
 * @treturn nsbox.ns
 * @return[2] nil, message, errno: EINVAL for other kinds, EPERM when it is an
 *   ancestor of the caller's own
 * @see ioctl_ns(2)
 */
static int ns_parent(lua_State *L)
{
	return related(L, NS_GET_PARENT, "parent");
}

/***
 * The user that made a `user` namespace.
 * @function owner_uid
 * @treturn integer as the caller's user namespace sees it
 * @return[2] nil, message, errno: EINVAL for other kinds
 * @see ioctl_ns(2)
 */
static int ns_owner_uid(lua_State *L)
{
	const struct nb_ns *ns = nb_checkns(L, 1);
	uid_t uid;

	int rc = ioctl(ns->h.fd, NS_GET_OWNER_UID, &uid);

	if (rc < 0)
		return nb_fail(L, errno, "owner_uid");
	lua_pushinteger(L, uid);
	return 1;
}

/***
 * The number of the descriptor.
 * @function fileno
 * @treturn integer it stays the property of the handle
 */
static int ns_fileno(lua_State *L)
{
	lua_pushinteger(L, nb_checkns(L, 1)->h.fd);
	return 1;
}

/***
 * Another handle of the same namespace.
 * @function dup
 * @treturn nsbox.ns
 * @return[2] nil, message, errno
 * @see fcntl(2)
 */
static int ns_dup(lua_State *L)
{
	const struct nb_ns *ns = nb_checkns(L, 1);
	struct nb_ns *other = nb_newns(L);
	int fd = fcntl(ns->h.fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);

	if (fd < 0)
		return nb_fail(L, errno, "dup");
	*other = *ns;
	other->h.fd = fd;
	return 1;
}

/***
 * Closes the handle; twice is harmless.
 * @function close
 * @treturn boolean true
 */
static int ns_close(lua_State *L)
{
	struct nb_ns *ns = luaL_checkudata(L, 1, NB_NS);
	int fd = ns->h.fd;

	ns->h.fd = -1;
	if (fd >= 0)
		nb_close(fd);

	lua_pushboolean(L, 1);
	return 1;
}

static int ns_gc(lua_State *L)
{
	ns_close(L);
	return 0;
}

/* the inode of a closed handle may belong to another namespace by now */
static int ns_eq(lua_State *L)
{
	const struct nb_ns *a = luaL_testudata(L, 1, NB_NS);
	const struct nb_ns *b = luaL_testudata(L, 2, NB_NS);

	lua_pushboolean(L, a && b && a->h.fd >= 0 && b->h.fd >= 0 &&
			       a->dev == b->dev && a->ino == b->ino);
	return 1;
}

static int ns_tostring(lua_State *L)
{
	const struct nb_ns *ns = luaL_checkudata(L, 1, NB_NS);

	if (ns->h.fd < 0)
		lua_pushliteral(L, NB_NS " (closed)");
	else
		lua_pushfstring(L, NB_NS " (%s:[%I])",
				nb_wordof(nb_kinds, (uint64_t)ns->kind),
				(LUAI_UACINT)ns->ino);
	return 1;
}

static const luaL_Reg ns_methods[] = {
    {"close", ns_close},
    {"dup", ns_dup},
    {"fileno", ns_fileno},
    {"id", ns_id},
    {"kind", ns_kind},
    {"owner", ns_owner},
    {"owner_uid", ns_owner_uid},
    {"parent", ns_parent},
    {NULL, NULL},
};

static const luaL_Reg ns_meta[] = {
    {"__close", ns_gc},		 {"__eq", ns_eq}, {"__gc", ns_gc},
    {"__tostring", ns_tostring}, {NULL, NULL},
};

static const luaL_Reg ns_funcs[] = {
    {"open", ns_open},
    {"setns", ns_setns},
    {"unshare", ns_unshare},
    {NULL, NULL},
};

struct nb_ns *nb_newns(lua_State *L)
{
	struct nb_ns *ns = lua_newuserdatauv(L, sizeof(*ns), 0);

	memset(ns, 0, sizeof(*ns));
	ns->h.fd = -1;
	luaL_setmetatable(L, NB_NS);
	return ns;
}

int luaopen_nsbox_sys_ns(lua_State *L)
{
	if (luaL_newmetatable(L, NB_NS)) {
		luaL_setfuncs(L, ns_meta, 0);
		lua_newtable(L);
		nb_setfuncs(L, "ns", ns_methods);
		nb_setfuncs(L, "ns", nb_netnsmethods);
		lua_setfield(L, -2, "__index");
	}
	lua_pop(L, 1);
	lua_newtable(L);
	nb_setfuncs(L, "ns", ns_funcs);
	nb_setfuncs(L, "ns", nb_nsscanfuncs);
	nb_setfuncs(L, "ns", nb_netnsfuncs);
	return 1;
}
