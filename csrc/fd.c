/*
 * fd.c - descriptors: the handle, and what a script does with one
 *
 * Owns the metatable nsbox.fd and what counts as a descriptor argument.
 * Must not know what a descriptor stands for.  Every descriptor made here is
 * close-on-exec and above stderr.  See open(2), pipe2(2), read(2), write(2),
 * ppoll(2), fcntl(2).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bare.h"
#include "nb.h"
#include "plan.h"

/***
 * Descriptors.
 *
 * Wherever a function takes a descriptor, it takes an integer, a handle of
 * nsbox (an `nsbox.fd`, an `nsbox.ns`, an `nsbox.process`, which stands for
 * its pidfd) or an open Lua file.  A closed handle raises.  Handles close
 * their descriptor when they are collected and at the end of a `<close>`
 * variable; closing twice is harmless.
 * @module nsbox.sys.fd
 */

#define READ_MOST 65536 /* what a pipe holds */

/* --- descriptors, without Lua --- */

int nb_close(int fd)
{
	int err = errno;
	int rc = close(fd);

	/* Linux has closed it, whatever close(2) says */
	errno = err;
	return rc;
}

int nb_above_stdio(int fd)
{
	int moved;

	if (fd < 0 || fd > STDERR_FILENO)
		return fd;
	moved = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	nb_close(fd);
	return moved;
}

/* --- the handle --- */

static int fd_gc(lua_State *L)
{
	struct nb_fd *h = luaL_checkudata(L, 1, NB_FD);
	int fd = h->fd;

	h->fd = -1;
	if (fd >= 0)
		nb_close(fd);
	return 0;
}

static int fd_tostring(lua_State *L)
{
	const struct nb_fd *h = luaL_checkudata(L, 1, NB_FD);

	if (h->fd < 0)
		lua_pushliteral(L, NB_FD " (closed)");
	else
		lua_pushfstring(L, NB_FD " (%d)", h->fd);
	return 1;
}

/* the handle at idx, one of ours, closed or not; NULL: something else */
static struct nb_fd *tohandle(lua_State *L, int idx, const char **name)
{
	static const char *const names[] = {NB_FD, NB_NS, NB_PROCESS};

	for (size_t i = 0; i < NB_COUNT(names); i++) {
		struct nb_fd *h = luaL_testudata(L, idx, names[i]);

		if (h) {
			*name = names[i];
			return h;
		}
	}
	return NULL;
}

int nb_checkfd(lua_State *L, int idx)
{
	const luaL_Stream *file;
	const struct nb_fd *h;
	const char *name;
	lua_Integer n;
	int isint;

	if (lua_type(L, idx) == LUA_TNUMBER) {
		n = lua_tointegerx(L, idx, &isint);
		if (!isint || n < 0 || n > INT_MAX)
			nb_argerror(L, idx, "not a descriptor");
		return (int)n;
	}
	h = tohandle(L, idx, &name);
	if (h) {
		if (h->fd < 0)
			luaL_error(L, "attempt to use a closed %s", name);
		return h->fd;
	}
	file = luaL_testudata(L, idx, LUA_FILEHANDLE);
	if (!file)
		return nb_typeerror(L, idx, "descriptor");
	if (!file->closef)
		luaL_error(L, "attempt to use a closed file");
	return fileno(file->f);
}

static int failfd(lua_State *L, int err, int fd)
{
	return nb_fail(L, err, lua_pushfstring(L, "descriptor %d", fd));
}

/* --- functions --- */

static const struct nb_word open_flags[] = {
    {"rdonly", O_RDONLY},
    {"wronly", O_WRONLY},
    {"rdwr", O_RDWR},
    {"creat", O_CREAT},
    {"excl", O_EXCL},
    {"trunc", O_TRUNC},
    {"append", O_APPEND},
    {"nonblock", O_NONBLOCK},
    {"directory", O_DIRECTORY},
    {"nofollow", O_NOFOLLOW},
    {"path", O_PATH},
    {"tmpfile", O_TMPFILE},
    {NULL, 0},
};

mode_t nb_checkmode(lua_State *L, int idx, const char *def)
{
	const char *s = luaL_optstring(L, idx, def);
	char *end;
	long mode;

	luaL_argcheck(L, *s >= '0' && *s <= '7', idx, "octal mode expected");
	mode = strtol(s, &end, 8);
	luaL_argcheck(L, !*end && mode <= 07777, idx, "octal mode expected");
	return (mode_t)mode;
}

static int open_inside(int root, const char *path, int flags)
{
	char link[32];
	long at = nb_find(root, path, 0);
	int fd, err;

	if (at < 0) {
		errno = (int)-at;
		return -1;
	}
	/* it is one already, and there may be no /proc to open it by */
	if (flags & O_PATH && !(flags & O_DIRECTORY))
		return (int)at;
	nb_fdpath(link, (int)at);
	fd = open(link, flags);
	err = errno;
	nb_close((int)at);
	errno = err;
	return fd;
}

/***
 * Opens a file.
 * @function open
 * @tparam string path
 * @param[opt="rdonly"] flags a word or a list: `rdonly` `wronly` `rdwr`
 *   `creat` `excl` `trunc` `append` `nonblock` `directory` `nofollow` `path`
 *   `tmpfile` (then path is the directory, see `link`)
 * @tparam[opt="0666"] string mode octal, for `creat` and `tmpfile`; the umask
 * applies
 * @param[opt] root a directory that is "/" for the path: neither a link nor
 *   ".." leads out of it (then not with `creat`, `tmpfile`, `nofollow`)
 * @treturn nsbox.fd
 * @return[2] nil, message, errno
 * @see open(2), openat2(2)
 */
static int fd_open(lua_State *L)
{
	const char *path = nb_checkpath(L, 1);
	int flags = (int)nb_checkwords(L, 2, open_flags, "open flag");
	mode_t mode = nb_checkmode(L, 3, "0666");
	int root = lua_isnoneornil(L, 4) ? -1 : nb_checkfd(L, 4);
	struct nb_fd *h;

	luaL_argcheck(L,
		      root < 0 || !(flags & (O_CREAT | O_TMPFILE | O_NOFOLLOW) &
				    ~O_DIRECTORY),
		      2, "not together with a root");
	h = nb_newfd(L);

	h->fd = nb_above_stdio(
	    root < 0 ? open(path, flags | O_CLOEXEC | O_NOCTTY, mode)
		     : open_inside(root, path, flags | O_CLOEXEC | O_NOCTTY));

	return h->fd < 0 ? nb_fail(L, errno, path) : 1;
}

/***
 * Makes a pipe.
 * @function pipe
 * @treturn nsbox.fd the end to read from
 * @treturn nsbox.fd the end to write to
 * @return[2] nil, message, errno
 * @see pipe2(2)
 */
static int fd_pipe(lua_State *L)
{
	struct nb_fd *r = nb_newfd(L);
	struct nb_fd *w = nb_newfd(L);
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return nb_fail(L, errno, "pipe");
	r->fd = nb_above_stdio(ends[0]);
	w->fd = nb_above_stdio(ends[1]);
	if (r->fd < 0 || w->fd < 0)
		return nb_fail(L, errno, "pipe");

	return 2;
}

/***
 * Reads what is there.
 * @function read
 * @param fd a descriptor
 * @tparam[opt=65536] integer n bytes at most; never more than 65536 at once
 * @treturn string one byte at least
 * @return[2] nil, one value, at the end of the file
 * @return[3] nil, message, errno:
 *   EAGAIN when a nonblocking descriptor has nothing, EINTR after a signal
 * @see read(2)
 */
static int fd_read(lua_State *L)
{
	int fd = nb_checkfd(L, 1);
	lua_Integer n = luaL_optinteger(L, 2, READ_MOST);
	char buf[READ_MOST];
	ssize_t got;

	luaL_argcheck(L, n > 0, 2, "positive number expected");
	if (n > READ_MOST)
		n = READ_MOST;

	got = read(fd, buf, (size_t)n);

	if (got < 0)
		return failfd(L, errno, fd);
	if (got == 0)
		luaL_pushfail(L);
	else
		lua_pushlstring(L, buf, (size_t)got);
	return 1;
}

/*
 * write(2), but a reader that is gone is EPIPE and nothing else: the host
 * may not have ignored SIGPIPE.  The signal is the thread's own, so it is
 * blocked here, and taken back if this write caused it.
 */
static ssize_t quietwrite(int fd, const char *s, size_t len)
{
	static const struct timespec now;
	sigset_t sigpipe, mask, pending;
	bool before = false;
	ssize_t n;
	int err;

	sigemptyset(&sigpipe);
	sigaddset(&sigpipe, SIGPIPE);
	pthread_sigmask(SIG_BLOCK, &sigpipe, &mask);
	if (sigismember(&mask, SIGPIPE) && sigpending(&pending) == 0)
		before = sigismember(&pending, SIGPIPE);

	n = write(fd, s, len);
	err = errno;

	if (n < 0 && err == EPIPE && !before)
		while (sigtimedwait(&sigpipe, NULL, &now) < 0 && errno == EINTR)
			;
	pthread_sigmask(SIG_SETMASK, &mask, NULL);
	errno = err;
	return n;
}

/***
 * Writes; a short count is possible.
 *
 * A reader that is gone is the failure EPIPE, never a SIGPIPE.
 * @function write
 * @param fd a descriptor
 * @tparam string s
 * @treturn integer bytes written
 * @return[2] nil, message, errno: EAGAIN, EPIPE, EINTR …
 * @see write(2)
 */
static int fd_write(lua_State *L)
{
	int fd = nb_checkfd(L, 1);
	size_t len;
	const char *s = luaL_checklstring(L, 2, &len);

	ssize_t n = quietwrite(fd, s, len);

	if (n < 0)
		return failfd(L, errno, fd);
	lua_pushinteger(L, n);
	return 1;
}

/***
 * Closes a handle or a descriptor; closing a handle twice is harmless.
 * @function close
 * @param fd an integer or a handle; Lua's files have their own close
 * @treturn boolean true
 * @return[2] nil, message, errno (EBADF for an integer that is not open)
 * @see close(2)
 */
static int fd_close(lua_State *L)
{
	const char *name;
	struct nb_fd *h = tohandle(L, 1, &name);
	int fd = h ? h->fd : -1;
	int rc = 0;

	if (!h && lua_type(L, 1) != LUA_TNUMBER)
		nb_typeerror(L, 1, "handle or integer");
	if (!h)
		fd = nb_checkfd(L, 1);

	if (h)
		h->fd = -1;
	if (fd >= 0)
		rc = close(fd);

	if (rc < 0 && errno == EBADF)
		return failfd(L, EBADF, fd);
	lua_pushboolean(L, 1);
	return 1;
}

/***
 * The number of a descriptor.
 * @function fileno
 * @param fd a descriptor
 * @treturn integer it stays the property of the handle
 */
static int fd_fileno(lua_State *L)
{
	lua_pushinteger(L, nb_checkfd(L, 1));
	return 1;
}

/***
 * Duplicates a descriptor.
 * @function dup
 * @param fd a descriptor
 * @treturn nsbox.fd close-on-exec, above stderr
 * @return[2] nil, message, errno
 * @see fcntl(2)
 */
static int fd_dup(lua_State *L)
{
	int fd = nb_checkfd(L, 1);
	struct nb_fd *h = nb_newfd(L);

	h->fd = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);

	return h->fd < 0 ? failfd(L, errno, fd) : 1;
}

/***
 * Sets whether reads and writes return EAGAIN instead of waiting.
 * @function nonblock
 * @param fd a descriptor
 * @tparam[opt=true] boolean on
 * @return fd
 * @return[2] nil, message, errno
 * @see fcntl(2)
 */
static int fd_nonblock(lua_State *L)
{
	int fd = nb_checkfd(L, 1);
	bool on = lua_isnoneornil(L, 2) || lua_toboolean(L, 2);
	int flags, rc;

	flags = fcntl(fd, F_GETFL);
	rc = flags;
	if (flags >= 0)
		rc = fcntl(fd, F_SETFL,
			   on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK);

	if (rc < 0)
		return failfd(L, errno, fd);
	lua_settop(L, 1);
	return 1;
}

/* --- poll --- */

static const struct nb_word poll_events[] = {
    {"r", POLLIN},
    {"w", POLLOUT},
    {"rw", POLLIN | POLLOUT},
    {NULL, 0},
};

/* how many descriptors are polled without an allocation */
#define POLL_FEW 16

/* fills p (when there is room) from the table at 1; returns the count */
static size_t pollset(lua_State *L, struct pollfd *p, size_t room)
{
	size_t n = 0;

	lua_pushnil(L);
	while (lua_next(L, 1)) {
		if (n < room) {
			if (!lua_isinteger(L, -2))
				luaL_argerror(L, 1, "integer keys expected");
			p[n].fd = nb_checkfd(L, -2);
			p[n].events =
			    (short)nb_checkword(L, -1, poll_events, "event");
			p[n].revents = 0;
		}
		n++;
		lua_pop(L, 1);
	}
	return n;
}

/* seconds at idx, nil for ever */
static const struct timespec *checktimeout(lua_State *L, int idx,
					   struct timespec *ts)
{
	lua_Number s;

	if (lua_isnoneornil(L, idx))
		return NULL;
	s = luaL_checknumber(L, idx);
	luaL_argcheck(L, s >= 0, idx, "seconds, or nil, expected");
	if (s > INT_MAX)
		s = INT_MAX;
	ts->tv_sec = (time_t)s;
	ts->tv_nsec = (long)((s - floor(s)) * 1e9);
	return ts;
}

/*
 * lua.c's handler of Ctrl-C only sets a hook; when that happened after the
 * last instruction and before the poll, nothing would wake us.  Its hook is
 * told from a debugger's by what it asks for: everything, at each instruction.
 */
static bool interrupted(lua_State *L)
{
	int all = LUA_MASKCALL | LUA_MASKRET | LUA_MASKLINE | LUA_MASKCOUNT;

	return lua_gethookmask(L) == all && lua_gethookcount(L) == 1;
}

/* signals come before the look at the hook, or during the poll */
static int interruptible_poll(lua_State *L, struct pollfd *p, size_t n,
			      const struct timespec *timeout)
{
	sigset_t all, old;
	int ready, err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	if (interrupted(L)) {
		ready = -1;
		err = EINTR;
	} else {
		ready = ppoll(p, n, timeout, &old);
		err = errno;
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	errno = err;
	return ready;
}

/***
 * Waits until a descriptor is ready.
 *
 * A peer that hung up and an error count as ready for what was asked: the
 * next read or write says which.
 * @function poll
 * @tparam table set descriptor numbers to `"r"`, `"w"` or `"rw"`
 * @tparam[opt] number seconds to wait at most; nil waits for ever
 * @treturn table the ready ones, in the same shape; empty after the time
 * @return[2] nil, message, errno: EINTR after a signal, EBADF
 * @see ppoll(2)
 */
static int fd_poll(lua_State *L)
{
	struct pollfd few[POLL_FEW], *p = few;
	struct timespec ts;
	const struct timespec *timeout = checktimeout(L, 2, &ts);
	size_t n;
	int ready;

	luaL_checktype(L, 1, LUA_TTABLE);
	n = pollset(L, few, POLL_FEW);
	if (n > POLL_FEW) {
		p = lua_newuserdatauv(L, n * sizeof(*p), 0);
		pollset(L, p, n);
	}

	ready = interruptible_poll(L, p, n, timeout);

	if (ready < 0)
		return nb_fail(L, errno, "poll");
	lua_createtable(L, 0, ready);
	for (size_t i = 0; i < n; i++) {
		short got = p[i].revents;

		if (got & POLLNVAL)
			return failfd(L, EBADF, p[i].fd);
		if (got & (POLLHUP | POLLERR))
			got = p[i].events;
		got &= p[i].events;
		if (!got)
			continue;
		lua_pushstring(L, nb_wordof(poll_events, (uint64_t)got));
		lua_rawseti(L, -2, p[i].fd);
	}
	return 1;
}

static const luaL_Reg fd_methods[] = {
    {"close", fd_close},   {"dup", fd_dup},
    {"fileno", fd_fileno}, {"nonblock", fd_nonblock},
    {"read", fd_read},	   {"write", fd_write},
    {NULL, NULL},
};

static const luaL_Reg fd_meta[] = {
    {"__close", fd_gc},
    {"__gc", fd_gc},
    {"__tostring", fd_tostring},
    {NULL, NULL},
};

static const luaL_Reg fd_funcs[] = {
    {"dup", fd_dup},   {"open", fd_open}, {"pipe", fd_pipe},
    {"poll", fd_poll}, {NULL, NULL},
};

struct nb_fd *nb_newfd(lua_State *L)
{
	struct nb_fd *h = lua_newuserdatauv(L, sizeof(*h), 0);

	h->fd = -1;
	/* any module may be the first to make one */
	if (luaL_newmetatable(L, NB_FD)) {
		luaL_setfuncs(L, fd_meta, 0);
		lua_newtable(L);
		nb_setfuncs(L, "fd", fd_methods);
		nb_setfuncs(L, "fd", nb_filemethods);
		lua_setfield(L, -2, "__index");
	}
	lua_setmetatable(L, -2);
	return h;
}

int luaopen_nsbox_sys_fd(lua_State *L)
{
	lua_newtable(L);
	nb_setfuncs(L, "fd", fd_funcs);
	nb_setfuncs(L, "fd", nb_statfuncs);
	nb_setfuncs(L, "fd", nb_filefuncs);
	nb_setfuncs(L, "fd", nb_filemethods);
	nb_setfuncs(L, "fd", fd_methods);
	return 1;
}
