/*
 * nl_sysctl.c - settings of a network namespace
 *
 * What is below /proc/sys/net shows the namespace of whoever opens it, and
 * stays with that one: so the file is opened inside, and read or written from
 * here.  See sysctl(8), proc(5), network_namespaces(7).
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "nl.h"

/***
@submodule nsbox.sys.netlink
*/

#define ROOT "/proc/sys/"
#define LONGEST 16384 /* a value; most are of one line */

struct opening {
	const char *path;
	int flags;
};

static int openfile(void *arg)
{
	const struct opening *o = arg;
	int fd = open(o->path, o->flags | O_CLOEXEC | O_NOCTTY);

	return fd < 0 ? -errno : fd;
}

/* a descriptor or -errno */
static int opensetting(const struct nbl_where *w, const char *path, int flags)
{
	struct opening o = {path, flags};
	int nsfd, fd;

	nsfd = nbl_opennet(w);
	if (nsfd == -ENODATA)
		return nb_above_stdio(openfile(&o));
	if (nsfd < 0)
		return nsfd;
	fd = nb_within(nsfd, openfile, &o);
	if (nsfd != w->fd)
		nb_close(nsfd);
	return fd;
}

/* the name as a path: "net/ipv4/ip_forward", pushed and kept by the stack */
static const char *checkname(lua_State *L, int idx)
{
	const char *name = nb_checkpath(L, idx);

	luaL_argcheck(L, strncmp(name, "net/", 4) == 0, idx,
		      "a name that begins with \"net/\" expected");
	luaL_argcheck(L, !strstr(name, ".."), idx, "no name of a setting");
	return lua_pushfstring(L, ROOT "%s", name);
}

/***
The value of a setting in a network namespace.
@function sysctl_get
@param where as in @{open}; nil: the caller's own
@tparam string name below /proc/sys, `"net/ipv4/ip_forward"`
@treturn string without the newline at its end
@return[2] nil, message, errno: ENOENT; EACCES for one that is only written
@see sysctl(8)
*/
static int netlink_sysctl_get(lua_State *L)
{
	char value[LONGEST];
	struct nbl_where where;
	const char *path;
	ssize_t n = 0;
	int fd, err = 0;

	lua_settop(L, 2);
	nbl_checkwhere(L, 1, &where);
	path = checkname(L, 2);

	fd = opensetting(&where, path, O_RDONLY);
	if (fd < 0) {
		err = -fd;
	} else {
		n = read(fd, value, sizeof(value));
		err = n < 0 ? errno : 0;
		nb_close(fd);
	}

	if (err)
		return nb_fail(L, err, path);
	if (n > 0 && value[n - 1] == '\n')
		n--;
	lua_pushlstring(L, value, (size_t)n);
	return 1;
}

/***
Change a setting of a network namespace.
@function sysctl_set
@param where as in @{open}; nil: the caller's own
@tparam string name below /proc/sys, `"net/ipv4/ip_forward"`
@tparam string value
@treturn boolean true
@return[2] nil, message, errno: EINVAL for a value that it cannot have
@see sysctl(8)
*/
static int netlink_sysctl_set(lua_State *L)
{
	struct nbl_where where;
	const char *path, *value;
	size_t len;
	int fd, err = 0;

	lua_settop(L, 3);
	nbl_checkwhere(L, 1, &where);
	value = luaL_checklstring(L, 3, &len);
	path = checkname(L, 2);

	fd = opensetting(&where, path, O_WRONLY);
	if (fd < 0) {
		err = -fd;
	} else {
		if (write(fd, value, len) < 0)
			err = errno;
		nb_close(fd);
	}

	return err ? nb_fail(L, err, path) : nb_result(L, 0, path);
}

const luaL_Reg nbl_sysctlfuncs[] = {
    {"sysctl_get", netlink_sysctl_get},
    {"sysctl_set", netlink_sysctl_set},
    {NULL, NULL},
};
