/*
 * self.c - the calling process: its ids, its name, replacing it
 *
 * getpid(2), madvise(2), credentials(7), prctl(2), execve(2), getpwnam(3)
 */
#include <errno.h>
#include <pwd.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "nb.h"
#include "process.h"

/* what the child printed must reach its files once, and what the parent had
 * not yet written must not be written twice */
/* what has nothing to write is not touched: around a fork, each page that is
 * costs a copy of it */
static void flush(FILE *f)
{
	if (__fpending(f) > 0)
		fflush(f);
}

void nb_flushoutput(lua_State *L)
{
	luaL_Stream *out;

	flush(stdout);
	flush(stderr);
	lua_getfield(L, LUA_REGISTRYINDEX, "_IO_output");
	out = luaL_testudata(L, -1, LUA_FILEHANDLE);
	if (out && out->closef)
		flush(out->f);
	lua_pop(L, 1);
}

/***
The calling process itself.

@submodule nsbox.sys.process
*/

/* a page that is empty in each forked child, however it came into being;
 * MAP_FAILED: this kernel has none (before Linux 4.14) */
static void *newpage(void)
{
	size_t size = (size_t)sysconf(_SC_PAGESIZE);
	void *page = mmap(NULL, size, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page != MAP_FAILED && madvise(page, size, MADV_WIPEONFORK) < 0) {
		munmap(page, size);
		page = MAP_FAILED;
	}
	return page;
}

/* Whose work something is, is asked again and again, and a system call costs
 * what the processor remembers of our memory, too.  Who asks once needs no
 * page. */
static pid_t ownpid(void)
{
	static _Atomic(void *) page;
	static atomic_int asked;
	void *mine = page;

	if (!mine && atomic_fetch_add(&asked, 1) == 1)
		page = mine = newpage();
	if (!mine || mine == MAP_FAILED)
		return (pid_t)syscall(SYS_getpid);
	if (!*(volatile pid_t *)mine)
		*(volatile pid_t *)mine = (pid_t)syscall(SYS_getpid);
	return *(volatile pid_t *)mine;
}

/***
The caller's process id.
@function getpid
@treturn integer
@see getpid(2)
*/
static int process_getpid(lua_State *L)
{
	lua_pushinteger(L, ownpid());
	return 1;
}

/***
The ids of the caller.
@function ids
@treturn table `{ uid, euid, gid, egid, groups }`
@see credentials(7)
*/
static int process_ids(lua_State *L)
{
	gid_t *groups;
	int n = getgroups(0, NULL);

	lua_createtable(L, 0, 5);
	lua_pushinteger(L, getuid());
	lua_setfield(L, -2, "uid");
	lua_pushinteger(L, geteuid());
	lua_setfield(L, -2, "euid");
	lua_pushinteger(L, getgid());
	lua_setfield(L, -2, "gid");
	lua_pushinteger(L, getegid());
	lua_setfield(L, -2, "egid");
	lua_createtable(L, n > 0 ? n : 0, 0);
	groups = lua_newuserdatauv(L, ((size_t)n + 1) * sizeof(*groups), 0);
	n = getgroups(n, groups);
	for (int i = 0; i < n; i++) {
		lua_pushinteger(L, groups[i]);
		lua_seti(L, -3, i + 1);
	}
	lua_pop(L, 1);
	lua_setfield(L, -2, "groups");
	return 1;
}

/***
The caller's effective user and group id: the cheap part of @{ids}.
@function geteuid
@treturn integer uid
@treturn integer gid
@see geteuid(2)
*/
static int process_geteuid(lua_State *L)
{
	lua_pushinteger(L, geteuid());
	lua_pushinteger(L, getegid());
	return 2;
}

/***
Whether other processes of the user may look into this one.
@function dumpable
@tparam[opt] boolean on
@treturn boolean as it is now
@see prctl(2)
*/
static int process_dumpable(lua_State *L)
{
	if (!lua_isnoneornil(L, 1)) {
		luaL_checktype(L, 1, LUA_TBOOLEAN);
		prctl(PR_SET_DUMPABLE, lua_toboolean(L, 1), 0, 0, 0);
	}
	lua_pushboolean(L, prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 1);
	return 1;
}

/***
Set the host name of the caller's UTS namespace.
@function sethostname
@tparam string name at most 64 bytes
@treturn boolean true
@return[2] nil, message, errno
@see sethostname(2)
*/
static int process_sethostname(lua_State *L)
{
	const char *name = nb_checkpath(L, 1);

	return nb_result(L, sethostname(name, strlen(name)), name);
}

/***
The working directory.
@function getcwd
@treturn string
@return[2] nil, message, errno
@see getcwd(3)
*/
static int process_getcwd(lua_State *L)
{
	char buffer[4096];

	if (!getcwd(buffer, sizeof(buffer)))
		return nb_fail(L, errno, "getcwd");
	lua_pushstring(L, buffer);
	return 1;
}

/***
Go to another working directory.
@function chdir
@param to a path, or a descriptor
@treturn boolean true
@return[2] nil, message, errno
@see chdir(2)
*/
static int process_chdir(lua_State *L)
{
	bool named = lua_type(L, 1) == LUA_TSTRING;
	const char *path = named ? nb_checkpath(L, 1) : "chdir";
	int fd = named ? -1 : nb_checkfd(L, 1);
	int rc;

	rc = named ? chdir(path) : fchdir(fd);

	return nb_result(L, rc, path);
}

/***
The environment of the caller.
@function environ
@treturn table list of `"NAME=value"`
@see environ(7)
*/
static int process_environ(lua_State *L)
{
	lua_newtable(L);
	for (int i = 0; environ && environ[i]; i++) {
		lua_pushstring(L, environ[i]);
		lua_seti(L, -2, i + 1);
	}
	return 1;
}

static int set_variable(const char *pair)
{
	char *name = strdup(pair), *value = name ? strchr(name, '=') : NULL;
	int rc = -1;

	if (value) {
		*value = '\0';
		rc = setenv(name, value + 1, 1);
	}
	free(name);
	return rc;
}

/***
Replace the environment of the caller.
@function setenviron
@tparam table list of `"NAME=value"`
@treturn boolean true
@return[2] nil, message, errno
@see clearenv(3), setenv(3)
*/
static int process_setenviron(lua_State *L)
{
	lua_Integer n;
	int rc;

	luaL_checktype(L, 1, LUA_TTABLE);
	n = (lua_Integer)lua_rawlen(L, 1);
	for (lua_Integer i = 1; i <= n; i++) {
		size_t len;
		const char *pair;

		lua_rawgeti(L, 1, i);
		luaL_argcheck(L, lua_type(L, -1) == LUA_TSTRING, 1,
			      "expected strings");
		pair = lua_tolstring(L, -1, &len);
		luaL_argcheck(L,
			      strlen(pair) == len && pair[0] != '=' &&
				  strchr(pair, '='),
			      1, "expected NAME=value, without NUL bytes");
		lua_pop(L, 1);
	}

	rc = clearenv();
	for (lua_Integer i = 1; i <= n && rc == 0; i++) {
		lua_rawgeti(L, 1, i);
		rc = set_variable(lua_tostring(L, -1));
		lua_pop(L, 1);
	}

	return nb_result(L, rc, "setenviron");
}

/***
A clock that is never set: for time-outs and durations.
@function clock
@treturn number seconds
@see clock_gettime(2)
*/
static int process_clock(lua_State *L)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	lua_pushnumber(L, (lua_Number)t.tv_sec + (lua_Number)t.tv_nsec / 1e9);
	return 1;
}

static int push_user(lua_State *L, const struct passwd *pw, int err)
{
	if (!pw)
		return nb_fail(L, err ? err : ENOENT, "user");
	lua_createtable(L, 0, 4);
	lua_pushstring(L, pw->pw_name);
	lua_setfield(L, -2, "name");
	lua_pushinteger(L, pw->pw_uid);
	lua_setfield(L, -2, "uid");
	lua_pushinteger(L, pw->pw_gid);
	lua_setfield(L, -2, "gid");
	lua_pushstring(L, pw->pw_dir);
	lua_setfield(L, -2, "home");
	return 1;
}

/***
A user of the host, by NSS.
@function user
@tparam integer|string who uid or name
@treturn table `{ name, uid, gid, home }`
@return[2] nil, message, errno; ENOENT: there is none
@see getpwnam(3)
*/
static int process_user(lua_State *L)
{
	struct passwd *pw;

	errno = 0;
	if (lua_isinteger(L, 1))
		pw = getpwuid(nb_checkid(L, 1, "uid"));
	else
		pw = getpwnam(nb_checkpath(L, 1));
	return push_user(L, pw, errno);
}

static char **string_vector(lua_State *L, int idx)
{
	lua_Integer n;
	char **v;

	luaL_checktype(L, idx, LUA_TTABLE);
	n = luaL_len(L, idx);
	v = lua_newuserdatauv(L, ((size_t)n + 1) * sizeof(*v), 0);
	for (lua_Integer i = 0; i < n; i++) {
		/* the table keeps the string alive */
		luaL_argcheck(L, lua_geti(L, idx, i + 1) == LUA_TSTRING, idx,
			      "expected a list of strings");
		v[i] = (char *)lua_tostring(L, -1);
		lua_pop(L, 1);
	}
	v[n] = NULL;
	return v;
}

/***
Replace the calling process by a program.

The file is searched along PATH.  Returns only when it fails.
@function exec
@tparam table argv list of strings
@tparam[opt] table env list of `"NAME=value"`; default the caller's
@return nil, message, errno
@see execve(2)
*/
static int process_exec(lua_State *L)
{
	char **argv, **env = NULL;

	lua_settop(L, 2);
	luaL_checktype(L, 1, LUA_TTABLE);
	luaL_argcheck(L, luaL_len(L, 1) > 0, 1, "needs at least the program");
	argv = string_vector(L, 1);
	if (!lua_isnil(L, 2))
		env = string_vector(L, 2);
	nb_flushoutput(L);

	if (env)
		execvpe(argv[0], argv, env);
	else
		execvp(argv[0], argv);
	return nb_fail(L, errno, argv[0]);
}

/***
The number of a signal.
@function signal
@tparam string name `"TERM"`, `"SIGTERM"`, `"RTMIN+3"`; an unknown one raises
@treturn integer
@see signal(7)
*/
static int process_signal(lua_State *L)
{
	lua_pushinteger(L, nb_checksignal(L, 1));
	return 1;
}

const luaL_Reg nb_selffuncs[] = {
    {"exec", process_exec},	    {"getpid", process_getpid},
    {"ids", process_ids},	    {"geteuid", process_geteuid},
    {"user", process_user},	    {"signal", process_signal},
    {"dumpable", process_dumpable}, {"sethostname", process_sethostname},
    {"chdir", process_chdir},	    {"getcwd", process_getcwd},
    {"environ", process_environ},   {"setenviron", process_setenviron},
    {"clock", process_clock},	    {NULL, NULL}};
