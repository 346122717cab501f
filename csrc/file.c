/*
 * file.c - names in a file system and locks; a part of nsbox.sys.fd
 *
 * What a journal and a pin need beyond open and write: a directory with its
 * mode from the start, a file that is complete before it has a name, a lock;
 * the names in a directory; and connecting to a name. open(2), pwrite(2),
 * linkat(2), mkdir(2), readlink(2), getdents(2), flock(2), ftruncate(2),
 * unix(7)
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "nb.h"

static const struct nb_word locks[] = {
    {"exclusive", LOCK_EX}, {"shared", LOCK_SH}, {"none", LOCK_UN}, {NULL, 0}};

/***
Names in a file system and locks.

@submodule nsbox.sys.fd
*/

/***
 * Makes a directory.
 * @function mkdir
 * @tparam string path
 * @tparam[opt="0777"] string mode octal; the umask applies
 * @treturn boolean true
 * @return[2] nil, message, errno
 * @see mkdir(2)
 */
static int fd_mkdir(lua_State *L)
{
	const char *path = nb_checkpath(L, 1);
	mode_t mode = nb_checkmode(L, 2, "0777");

	int rc = mkdir(path, mode);

	return nb_result(L, rc, path);
}

/***
 * Locks an open file, without waiting; closing its last descriptor unlocks it,
 * and so does `none`, whoever has another one.
 * @function flock
 * @param fd a descriptor
 * @tparam[opt="exclusive"] string how `exclusive`, `shared` or `none`
 * @treturn boolean true
 * @return[2] nil, message, errno: EAGAIN when somebody else holds it
 * @see flock(2)
 */
static int fd_flock(lua_State *L)
{
	int fd = nb_checkfd(L, 1);
	int how = lua_isnoneornil(L, 2)
		      ? LOCK_EX
		      : (int)nb_checkword(L, 2, locks, "lock");

	int rc = flock(fd, how | LOCK_NB);

	return nb_result(L, rc, "flock");
}

/***
 * Gives an open file a name; it fails where something has that name.
 * A file opened with `tmpfile` has none until then.
 * @function link
 * @param fd a descriptor
 * @tparam string path
 * @treturn boolean true
 * @return[2] nil, message, errno: EEXIST when the name is taken
 * @see linkat(2)
 */
static int fd_link(lua_State *L)
{
	int fd = nb_checkfd(L, 1);
	const char *path = nb_checkpath(L, 2);
	char from[40];
	int rc;

	snprintf(from, sizeof(from), "/proc/self/fd/%d", fd);
	rc = linkat(AT_FDCWD, from, AT_FDCWD, path, AT_SYMLINK_FOLLOW);

	return nb_result(L, rc, path);
}

/***
 * Sets the size of an open file.
 * @function truncate
 * @param fd a descriptor
 * @tparam integer size in bytes
 * @treturn boolean true
 * @return[2] nil, message, errno
 * @see ftruncate(2)
 */
static int fd_truncate(lua_State *L)
{
	int fd = nb_checkfd(L, 1);
	lua_Integer size = luaL_checkinteger(L, 2);
	int rc;

	luaL_argcheck(L, size >= 0, 2, "not a size");
	rc = ftruncate(fd, size);

	return nb_result(L, rc, "truncate");
}

/***
 * Writes to a file at an offset; a short count is possible. Where the file was
 * opened with `append` it is its end, whatever the offset says. Unlike `write`
 * it is for files alone, and never the cause of a signal.
 * @function pwrite
 * @param fd a descriptor
 * @tparam string s
 * @tparam integer offset in bytes
 * @treturn integer bytes written
 * @return[2] nil, message, errno: ENOSPC, ESPIPE: it is no file …
 * @see pwrite(2)
 */
static int fd_pwrite(lua_State *L)
{
	int fd = nb_checkfd(L, 1);
	size_t len;
	const char *s = luaL_checklstring(L, 2, &len);
	lua_Integer offset = luaL_checkinteger(L, 3);
	ssize_t n;

	luaL_argcheck(L, offset >= 0, 3, "not an offset");
	n = pwrite(fd, s, len, offset);

	if (n < 0)
		return nb_fail(L, errno, "pwrite");
	lua_pushinteger(L, n);
	return 1;
}

/***
 * The names in an open directory, from where the last reading of it ended.
 * @function names
 * @param fd a descriptor
 * @treturn table a list, in no order, without `.` and `..`
 * @return[2] nil, message, errno: ENOTDIR
 * @see getdents(2)
 */
static int fd_names(lua_State *L)
{
	int fd = nb_checkfd(L, 1);
	_Alignas(struct dirent64) char buf[4096];
	lua_Integer count = 0;
	long got;

	lua_newtable(L);
	while ((got = syscall(SYS_getdents64, fd, buf, sizeof(buf))) > 0) {
		const struct dirent64 *d;

		for (long at = 0; at < got; at += d->d_reclen) {
			d = (const void *)(buf + at);
			if (strcmp(d->d_name, ".") == 0 ||
			    strcmp(d->d_name, "..") == 0)
				continue;
			lua_pushstring(L, d->d_name);
			lua_rawseti(L, -2, ++count);
		}
	}

	return got < 0 ? nb_fail(L, errno, "names") : 1;
}

/***
 * Connects to a stream socket that has a name in the file system.
 * @function connect
 * @tparam string path 107 bytes at most
 * @treturn nsbox.fd
 * @return[2] nil, message, errno: ECONNREFUSED when nobody listens
 * @see unix(7)
 */
static int fd_connect(lua_State *L)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	const char *path = nb_checkpath(L, 1);
	struct nb_fd *handle = nb_newfd(L);
	int fd;

	luaL_argcheck(L, strlen(path) < sizeof(to.sun_path), 1, "too long");
	memcpy(to.sun_path, path, strlen(path) + 1);
	fd = nb_above_stdio(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
	if (fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0) {
		nb_close(fd);
		fd = -1;
	}

	if (fd < 0)
		return nb_fail(L, errno, path);
	handle->fd = fd;
	return 1;
}

/***
 * Reads a symbolic link.
 * @function readlink
 * @tparam string path
 * @treturn string where it leads to; a link of /proc: the path of what it means
 * @return[2] nil, message, errno
 * @see readlink(2)
 */
static int fd_readlink(lua_State *L)
{
	const char *path = nb_checkpath(L, 1);
	char target[PATH_MAX];
	ssize_t n;

	n = readlink(path, target, sizeof(target));

	if (n < 0)
		return nb_fail(L, errno, path);
	lua_pushlstring(L, target, (size_t)n);
	return 1;
}

const luaL_Reg nb_filefuncs[] = {{"connect", fd_connect},
				 {"mkdir", fd_mkdir},
				 {"readlink", fd_readlink},
				 {NULL, NULL}};
const luaL_Reg nb_filemethods[] = {
    {"flock", fd_flock},   {"link", fd_link},	      {"names", fd_names},
    {"pwrite", fd_pwrite}, {"truncate", fd_truncate}, {NULL, NULL}};
