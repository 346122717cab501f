/*
 * netns.c - network namespaces: making one, telling them apart; a part of
 * nsbox.sys.ns
 *
 * Both need the calling thread inside for a moment.  No Lua runs meanwhile,
 * signals wait, and the thread is back before anything is reported; where it
 * cannot come back, the process ends: nothing it did then would be where the
 * caller thinks.
 *
 * network_namespaces(7), setns(2), socket(7)
 */
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "nb.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

#define OWN "/proc/thread-self/ns/net"

/***
Network namespaces.

@submodule nsbox.sys.ns
*/

/* --- system calls: 0, a descriptor or -errno --- */

static int openown(void)
{
	int fd = open(OWN, O_RDONLY | O_CLOEXEC);

	fd = nb_above_stdio(fd);
	return fd < 0 ? -errno : fd;
}

static void goback(int own)
{
	if (setns(own, CLONE_NEWNET) == 0)
		return;
	fprintf(stderr, "nsbox: cannot return to the network namespace: %s\n",
		strerror(errno));
	abort();
}

/* of the namespace that a socket is in; 0 or -errno */
static int askcookie(int fd, uint64_t *cookie)
{
	socklen_t len = sizeof(*cookie);

	return getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, cookie, &len) < 0
		   ? -errno
		   : 0;
}

/* lo is up; *cookie: 0 where there is none, before Linux 5.14 */
static int loup(uint64_t *cookie)
{
	struct ifreq ifr = {.ifr_name = "lo", .ifr_flags = IFF_UP};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int err = 0;

	if (fd < 0)
		return -errno;
	if (ioctl(fd, SIOCSIFFLAGS, &ifr) < 0)
		err = -errno;
	if (askcookie(fd, cookie) < 0)
		*cookie = 0;
	nb_close(fd);
	return err;
}

static int writefile(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), err = 0;
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = write(fd, text, strlen(text));
	if (n < 0)
		err = -errno;
	nb_close(fd);
	return err;
}

/* a new namespace, in its first state; *where is what failed */
static int make(const char *ping, uint64_t *cookie, const char **where)
{
	int own = openown(), fd, err;

	*where = OWN;
	if (own < 0)
		return own;
	*where = "unshare net";
	err = nb_fault("unshare");
	if (err || unshare(CLONE_NEWNET) < 0) {
		fd = -(err ? err : errno);
		nb_close(own);
		return fd;
	}
	*where = OWN;
	fd = openown();
	if (fd >= 0) {
		*where = "lo";
		err = loup(cookie);
		/* a kernel without ping sockets has no such file */
		if (ping)
			writefile("/proc/sys/net/ipv4/ping_group_range", ping);
		if (err) {
			nb_close(fd);
			fd = err;
		}
	}
	goback(own);
	nb_close(own);
	return fd;
}

static int anysocket(void *arg)
{
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	(void)arg;
	return fd < 0 ? -errno : fd;
}

static int cookie(const struct nb_ns *ns, uint64_t *value)
{
	int fd = nb_within(ns->h.fd, anysocket, NULL), err;

	if (fd < 0)
		return fd;
	err = askcookie(fd, value);
	nb_close(fd);
	return err;
}

/* --- functions --- */

/***
 * Makes a network namespace, its loopback device up, and holds it.
 * The calling thread is where it was before.
 * @function newnet
 * @tparam[opt] string ping the range of groups that may use ping sockets
 *   inside, as `net.ipv4.ping_group_range`: `"0 2147483647"`
 * @treturn nsbox.ns
 * @return[2] nil, message, errno: EPERM without CAP_SYS_ADMIN
 * @see network_namespaces(7)
 */
static int ns_newnet(lua_State *L)
{
	const char *ping = lua_isnoneornil(L, 1) ? NULL : nb_checkpath(L, 1);
	struct nb_ns *ns = nb_newns(L);
	const char *where;
	sigset_t all, before;
	int fd;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	fd = make(ping, &ns->cookie, &where);
	pthread_sigmask(SIG_SETMASK, &before, NULL);

	return nb_fillns(L, ns, fd, where);
}

/***
 * What tells a network namespace from all others there ever were since this
 * machine started: inodes are used again, this number is not.
 * @function cookie
 * @treturn integer
 * @return[2] nil, message, errno: EINVAL for other kinds, EPERM without
 *   privilege over it, ENOPROTOOPT before Linux 5.14
 * @see socket(7)
 */
static int ns_cookie(lua_State *L)
{
	struct nb_ns *ns = nb_checkns(L, 1);
	int err = 0;

	if (ns->kind != CLONE_NEWNET)
		return nb_fail(L, EINVAL, "cookie");
	if (!ns->cookie)
		err = cookie(ns, &ns->cookie);

	if (err)
		return nb_fail(L, -err, "cookie");
	lua_pushinteger(L, (lua_Integer)ns->cookie);
	return 1;
}

const luaL_Reg nb_netnsfuncs[] = {{"newnet", ns_newnet}, {NULL, NULL}};
const luaL_Reg nb_netnsmethods[] = {{"cookie", ns_cookie}, {NULL, NULL}};
