/*
 * idmap.c - the id maps of a user namespace
 *
 * Owns the check of ranges and the three ways to write a map.  Must not know
 * which ids a user was given (/etc/subuid).  See user_namespaces(7),
 * newuidmap(1), newgidmap(1).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "nb.h"

/***
 * Id maps.
 *
 * Ranges are a list of `{ inside, outside, length }`, the three numbers of a
 * line in `/proc/PID/uid_map`.
 * @module nsbox.sys.idmap
 */

#define MOST_RANGES 340 /* the kernel's limit since 4.15 */
#define LINE_MOST 33	/* three 32-bit numbers, their separators */
#define MAP_MOST (MOST_RANGES * LINE_MOST + 1)

extern char **environ;

struct range {
	uint32_t part[3]; /* inside, outside, length */
};

enum { INSIDE, OUTSIDE, LENGTH };

static const char *const helpers[][4] = {
    {"/usr/bin/newuidmap", "/bin/newuidmap", "/usr/local/bin/newuidmap",
     "/run/wrappers/bin/newuidmap"},
    {"/usr/bin/newgidmap", "/bin/newgidmap", "/usr/local/bin/newgidmap",
     "/run/wrappers/bin/newgidmap"},
};

/* --- ranges --- */

static int wrongrange(lua_State *L, int idx, lua_Integer i, const char *why)
{
	return nb_argerror(
	    L, idx, lua_pushfstring(L, "range %I %s", (LUAI_UACINT)i, why));
}

/* the range on top */
static struct range checkrange(lua_State *L, int idx, lua_Integer i)
{
	struct range r;

	if (!lua_istable(L, -1) || lua_rawlen(L, -1) != 3)
		wrongrange(L, idx, i, "must be { inside, outside, length }");
	for (int part = INSIDE; part <= LENGTH; part++) {
		lua_Integer value;
		int isint = 0;

		lua_rawgeti(L, -1, part + 1);
		value = lua_type(L, -1) == LUA_TNUMBER
			    ? lua_tointegerx(L, -1, &isint)
			    : 0;
		if (!isint || value < 0 || value > UINT32_MAX)
			wrongrange(L, idx, i,
				   "needs integers from 0 to 4294967295");
		r.part[part] = (uint32_t)value;
		lua_pop(L, 1);
	}
	if (!r.part[LENGTH])
		wrongrange(L, idx, i, "is empty");
	for (int part = INSIDE; part <= OUTSIDE; part++)
		if ((uint64_t)r.part[part] + r.part[LENGTH] > UINT64_C(1) << 32)
			wrongrange(L, idx, i, "goes beyond the last id");
	return r;
}

static bool overlap(const struct range *a, const struct range *b, int part)
{
	uint64_t enda = (uint64_t)a->part[part] + a->part[LENGTH];
	uint64_t endb = (uint64_t)b->part[part] + b->part[LENGTH];

	return a->part[part] < endb && b->part[part] < enda;
}

const char *nb_checkranges(lua_State *L, int idx)
{
	struct range ranges[MOST_RANGES];
	char text[MAP_MOST];
	size_t len = 0;
	lua_Integer n;

	if (!lua_istable(L, idx))
		nb_typeerror(L, idx, "list of ranges");
	n = (lua_Integer)lua_rawlen(L, idx);
	if (n == 0)
		nb_argerror(L, idx, "no range");
	if (n > MOST_RANGES)
		nb_argerror(L, idx, "more than 340 ranges");
	for (lua_Integer i = 0; i < n; i++) {
		struct range *r = &ranges[i];

		lua_rawgeti(L, idx, i + 1);
		*r = checkrange(L, idx, i + 1);
		lua_pop(L, 1);
		for (lua_Integer j = 0; j < i; j++)
			if (overlap(r, &ranges[j], INSIDE) ||
			    overlap(r, &ranges[j], OUTSIDE))
				wrongrange(L, idx, i + 1,
					   "overlaps an earlier one");
		len += (size_t)snprintf(text + len, sizeof(text) - len,
					"%u %u %u\n", r->part[INSIDE],
					r->part[OUTSIDE], r->part[LENGTH]);
	}
	/* the kernel's other limit: a map is one write of less than a page */
	if (len >= (size_t)sysconf(_SC_PAGESIZE))
		nb_argerror(L, idx, "more than a page of text");
	return lua_pushlstring(L, text, len);
}

/* --- system calls: 0 or -errno --- */

int nb_writeproc(pid_t pid, const char *file, const char *text)
{
	size_t len = strlen(text);
	char path[64];
	ssize_t n;
	int fd, err;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	/* the kernel takes a map in one write or not at all */
	n = write(fd, text, len);
	err = errno;
	nb_close(fd);
	if (n < 0)
		return -err;
	return (size_t)n == len ? 0 : -EIO;
}

/* reads a whole file into text, which becomes a string: length or -errno */
static ssize_t readproc(pid_t pid, const char *file, char *text, size_t size)
{
	char path[64];
	size_t len = 0;
	ssize_t n;
	int fd, err;

	if (pid)
		snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
	else
		snprintf(path, sizeof(path), "/proc/self/%s", file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	while ((n = read(fd, text + len, size - 1 - len)) > 0)
		len += (size_t)n;
	err = errno;
	nb_close(fd);
	text[len] = '\0';
	return n < 0 ? -err : (ssize_t)len;
}

/* argv for a helper: its path, the pid, every number of the map; to be freed.
 * words and pid are the strings that it points into */
static char **helperargv(const char *helper, char *pid, char *words)
{
	size_t n = 0;
	char **argv;

	for (const char *c = words; *c; c++)
		n += *c == ' ' || *c == '\n';
	argv = calloc(n + 4, sizeof(*argv));
	if (!argv)
		return NULL;
	n = 0;
	argv[n++] = (char *)helper;
	argv[n++] = pid;
	for (char *save, *w = strtok_r(words, " \n", &save); w;
	     w = strtok_r(NULL, " \n", &save))
		argv[n++] = w;
	return argv;
}

/* posix_spawn with our signals undone and its output in `out`: 0 or -errno */
static int spawnhelper(char **argv, int out, pid_t *child)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t none, all;
	int err;

	err = posix_spawn_file_actions_init(&actions);
	if (err)
		return -err;
	err = posix_spawnattr_init(&attr);
	if (err) {
		posix_spawn_file_actions_destroy(&actions);
		return -err;
	}
	sigemptyset(&none);
	sigfillset(&all);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &all);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK |
					    POSIX_SPAWN_SETSIGDEF);
	err = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null",
					       O_RDONLY, 0);
	if (!err)
		err = posix_spawn_file_actions_adddup2(&actions, out, 1);
	if (!err)
		err = posix_spawn_file_actions_adddup2(&actions, out, 2);
	if (!err)
		err =
		    posix_spawn(child, argv[0], &actions, &attr, argv, environ);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&actions);
	return -err;
}

/* reads until the end, keeping what fits, without the last newline */
static void drain(int fd, char *said, size_t size)
{
	char rest[256] = "";
	size_t len = 0;
	ssize_t n;

	do {
		size_t room = size - 1 - len;

		n = read(fd, room ? said + len : rest,
			 room ? room : sizeof(rest));
		if (n > 0 && room)
			len += (size_t)n;
	} while (n > 0 || (n < 0 && errno == EINTR));
	while (len && said[len - 1] == '\n')
		len--;
	said[len] = '\0';
}

/* waits for the helper: 0 when the map is there, or -errno */
static int reaphelper(pid_t child, const char *helper, pid_t pid)
{
	const char *name = strrchr(helper, '/');
	char map[64];
	pid_t got;
	int status;

	do
		got = waitpid(child, &status, 0);
	while (got < 0 && errno == EINTR);
	if (got == child)
		return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0
								     : -EPERM;
	if (errno != ECHILD)
		return -errno;
	/* the host ignores SIGCHLD, or reaped it: the map itself tells */
	name = strstr(name ? name : helper, "gid") ? "gid_map" : "uid_map";
	return readproc(pid, name, map, sizeof(map)) > 0 ? 0 : -EPERM;
}

int nb_startmaphelper(struct nb_maphelper *h, const char *helper, pid_t pid,
		      const char *text)
{
	char number[16];
	char *words = strdup(text);
	char **argv = NULL;
	int ends[2] = {-1, -1};
	int err = 0;

	h->helper = helper;
	h->pid = pid;
	snprintf(number, sizeof(number), "%d", (int)pid);
	if (words)
		argv = helperargv(helper, number, words);
	if (!argv)
		err = -ENOMEM;
	if (!err && pipe2(ends, O_CLOEXEC) < 0)
		err = -errno;
	if (!err) {
		ends[0] = nb_above_stdio(ends[0]);
		ends[1] = nb_above_stdio(ends[1]);
		if (ends[0] < 0 || ends[1] < 0)
			err = -errno;
	}
	if (!err)
		err = spawnhelper(argv, ends[1], &h->child);
	if (ends[1] >= 0)
		nb_close(ends[1]);
	if (err && ends[0] >= 0)
		nb_close(ends[0]);
	h->out = ends[0];
	free(argv);
	free(words);
	return err;
}

int nb_endmaphelper(struct nb_maphelper *h, char *said, size_t size)
{
	drain(h->out, said, size);
	nb_close(h->out);
	return reaphelper(h->child, h->helper, h->pid);
}

int nb_maphelper(const char *helper, pid_t pid, const char *text, char *said,
		 size_t size)
{
	struct nb_maphelper h;
	int err = nb_startmaphelper(&h, helper, pid, text);

	said[0] = '\0';
	return err ? err : nb_endmaphelper(&h, said, size);
}

/* --- functions --- */

static pid_t checkpid(lua_State *L, int idx)
{
	lua_Integer pid = luaL_checkinteger(L, idx);

	luaL_argcheck(L, pid > 0 && pid <= INT32_MAX, idx, "not a process id");
	return (pid_t)pid;
}

static int result(lua_State *L, int err, pid_t pid, const char *file)
{
	if (err)
		return nb_fail(
		    L, -err, lua_pushfstring(L, "/proc/%d/%s", (int)pid, file));
	lua_pushboolean(L, 1);
	return 1;
}

static int writemap(lua_State *L, const char *file)
{
	pid_t pid = checkpid(L, 1);
	const char *text = nb_checkranges(L, 2);

	int err = nb_writeproc(pid, file, text);

	return result(L, err, pid, file);
}

/***
 * Writes the uid map of a process's user namespace, in one write.
 * @function uid_map
 * @tparam integer pid
 * @tparam table ranges at most 340
 * @treturn boolean true
 * @return[2] nil, message, errno: EPERM without the right or when there is a
 *   map already
 * @see user_namespaces(7)
 */
static int idmap_uid_map(lua_State *L)
{
	return writemap(L, "uid_map");
}

/***
 * Writes the gid map of a process's user namespace, in one write.
 *
 * Without CAP_SETGID outside, `setgroups` must be `"deny"` before.
 * @function gid_map
 * @tparam integer pid
 * @tparam table ranges at most 340
 * @treturn boolean true
 * @return[2] nil, message, errno
 * @see user_namespaces(7)
 */
static int idmap_gid_map(lua_State *L)
{
	return writemap(L, "gid_map");
}

static const struct nb_word policies[] = {
    {"deny", 0},
    {"allow", 1},
    {NULL, 0},
};

/***
 * Allows or denies setgroups(2) in a process's user namespace.
 * @function setgroups
 * @tparam integer pid
 * @tparam string policy `"deny"`, for good, or `"allow"`
 * @treturn boolean true
 * @return[2] nil, message, errno
 * @see user_namespaces(7)
 */
static int idmap_setgroups(lua_State *L)
{
	pid_t pid = checkpid(L, 1);
	uint64_t policy = nb_checkword(L, 2, policies, "policy");

	int err = nb_writeproc(pid, "setgroups", nb_wordof(policies, policy));

	return result(L, err, pid, "setgroups");
}

/***
 * Writes maps, each in one write, in the order that the kernel wants:
 * setgroups, uid, gid.
 * @function map
 * @tparam integer pid
 * @tparam table maps `uid`, `gid`: ranges; `setgroups`: `"deny"` or
 *   `"allow"`; each is optional
 * @treturn boolean true
 * @return[2] nil, message, errno; the message names the file
 * @see user_namespaces(7)
 */
static int idmap_map(lua_State *L)
{
	static const char *const known[] = {"uid", "gid", "setgroups", NULL};
	pid_t pid = checkpid(L, 1);
	struct {
		const char *file;
		const char *text;
	} writes[] = {
	    {"setgroups", NULL}, {"uid_map", NULL}, {"gid_map", NULL}};
	const char *file = NULL;
	int err = 0;

	luaL_checktype(L, 2, LUA_TTABLE);
	nb_checkfields(L, 2, known, NULL);
	if (lua_getfield(L, 2, "setgroups") != LUA_TNIL)
		writes[0].text = nb_wordof(
		    policies, nb_checkword(L, -1, policies, "policy"));
	if (lua_getfield(L, 2, "uid") != LUA_TNIL)
		writes[1].text = nb_checkranges(L, -1);
	if (lua_getfield(L, 2, "gid") != LUA_TNIL)
		writes[2].text = nb_checkranges(L, -1);

	for (size_t i = 0; !err && i < NB_COUNT(writes); i++) {
		file = writes[i].file;
		if (writes[i].text)
			err = nb_writeproc(pid, file, writes[i].text);
	}

	return result(L, err, pid, file);
}

/* the first helper that is there, or else the usual one */
static const char *findhelper(const char *const paths[4])
{
	for (int i = 0; i < 4; i++)
		if (access(paths[i], X_OK) == 0)
			return paths[i];
	return paths[0];
}

static int runhelper(lua_State *L, const char *const paths[4])
{
	pid_t pid = checkpid(L, 1);
	const char *helper = lua_isnoneornil(L, 3) ? NULL : nb_checkpath(L, 3);
	/* pushes, so it comes after the optional argument */
	const char *text = nb_checkranges(L, 2);
	char said[512];
	int err;

	if (!helper)
		helper = findhelper(paths);
	err = nb_maphelper(helper, pid, text, said, sizeof(said));

	if (err && *said) {
		luaL_pushfail(L);
		lua_pushstring(L, said); /* it names itself */
		lua_pushinteger(L, -err);
		return 3;
	}
	if (err)
		return nb_fail(L, -err, helper);
	lua_pushboolean(L, 1);
	return 1;
}

/***
 * Has newuidmap write a uid map, with ids that `/etc/subuid` grants.
 * @function newuidmap
 * @tparam integer pid
 * @tparam table ranges
 * @tparam[opt] string helper path of the program, looked for in the usual
 *   directories
 * @treturn boolean true
 * @return[2] nil, message (what the helper said), errno
 * @see newuidmap(1)
 */
static int idmap_newuidmap(lua_State *L)
{
	return runhelper(L, helpers[0]);
}

/***
 * Has newgidmap write a gid map, with ids that `/etc/subgid` grants.
 * @function newgidmap
 * @tparam integer pid
 * @tparam table ranges
 * @tparam[opt] string helper path of the program, looked for in the usual
 *   directories
 * @treturn boolean true
 * @return[2] nil, message (what the helper said), errno
 * @see newgidmap(1)
 */
static int idmap_newgidmap(lua_State *L)
{
	return runhelper(L, helpers[1]);
}

/***
 * Reads a map.
 * @function read
 * @tparam[opt] integer pid nil is the caller
 * @tparam string which `"uid"` or `"gid"`
 * @treturn table ranges; outside ids as the caller's user namespace sees them
 * @return[2] nil, message, errno
 * @see user_namespaces(7)
 */
static int idmap_read(lua_State *L)
{
	static const struct nb_word which[] = {
	    {"uid", 0}, {"gid", 1}, {NULL, 0}};
	pid_t pid = lua_isnoneornil(L, 1) ? 0 : checkpid(L, 1);
	const char *file =
	    nb_checkword(L, 2, which, "map") ? "gid_map" : "uid_map";
	char text[MAP_MOST];
	unsigned int r[3];
	int used;

	/* the kernel pads the numbers to ten columns: still 33 a line */
	ssize_t len = readproc(pid, file, text, sizeof(text));

	if (len < 0)
		return result(L, (int)len, pid, file);
	lua_newtable(L);
	for (const char *at = text;
	     sscanf(at, "%u %u %u%n", &r[0], &r[1], &r[2], &used) == 3;
	     at += used) {
		lua_createtable(L, 3, 0);
		for (int i = 0; i < 3; i++) {
			lua_pushinteger(L, r[i]);
			lua_rawseti(L, -2, i + 1);
		}
		lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
	}
	return 1;
}

static const luaL_Reg idmap_funcs[] = {
    {"gid_map", idmap_gid_map},	    {"map", idmap_map},
    {"newgidmap", idmap_newgidmap}, {"newuidmap", idmap_newuidmap},
    {"read", idmap_read},	    {"setgroups", idmap_setgroups},
    {"uid_map", idmap_uid_map},	    {NULL, NULL},
};

int luaopen_nsbox_sys_idmap(lua_State *L)
{
	lua_newtable(L);
	nb_setfuncs(L, "idmap", idmap_funcs);
	return 1;
}
