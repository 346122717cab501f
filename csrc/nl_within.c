/*
 * nl_within.c - netlink sockets, in any network namespace
 *
 * See netlink(7), network_namespaces(7); within.c goes there.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ask.h"
#include "nl.h"

void nbl_checkwhere(lua_State *L, int idx, struct nbl_where *w)
{
	lua_Integer pid;

	memset(w, 0, sizeof(*w));
	w->fd = w->ctl = -1;
	switch (lua_type(L, idx)) {
	case LUA_TNONE:
	case LUA_TNIL:
		return;
	case LUA_TSTRING:
		w->path = nb_checkpath(L, idx);
		return;
	case LUA_TNUMBER:
		pid = luaL_checkinteger(L, idx);
		luaL_argcheck(L, pid > 0 && pid <= INT32_MAX, idx,
			      "not a process id");
		snprintf(w->pid, sizeof(w->pid), "/proc/%d/ns/net", (int)pid);
		w->path = w->pid;
		return;
	default:
		w->fd = nb_checkfd(L, idx);
		w->process = luaL_testudata(L, idx, NB_PROCESS) != NULL;
	}
}

static int makesocket(void *arg)
{
	const int *protocol = arg;
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, *protocol);

	return fd < 0 ? -errno : fd;
}

/* before Linux 4.20 there is no strict check; then dumps are longer */
static void setoptions(int fd)
{
	static const int options[] = {NETLINK_EXT_ACK, NETLINK_CAP_ACK,
				      NETLINK_GET_STRICT_CHK};
	int on = 1;

	for (size_t i = 0; i < NB_COUNT(options); i++)
		setsockopt(fd, SOL_NETLINK, options[i], &on, sizeof(on));
}

int nbl_opennet(const struct nbl_where *w)
{
	int fd;

	if (w->path) {
		fd = nb_openns(w->path);
		return fd == -ENOENT && *w->pid ? -ESRCH : fd;
	}
	if (w->process)
		return nb_opennsof(w->fd, CLONE_NEWNET);
	return w->fd < 0 ? -ENODATA : w->fd;
}

int nbl_socket(const struct nbl_where *w, int protocol)
{
	int err = nb_fault("netlink.open");
	int nsfd, fd;

	if (err)
		return -err;
	nsfd = nbl_opennet(w);
	if (nsfd < 0 && nsfd != -ENODATA)
		return nsfd;

	if (nsfd >= 0 && w->ctl >= 0)
		fd = nb_askctl(w->ctl, NB_ASK_SOCKET, (uint64_t)protocol, NULL,
			       nsfd, NULL);
	else
		fd = nsfd < 0 ? nb_above_stdio(makesocket(&protocol))
			      : nb_within(nsfd, makesocket, &protocol);
	if (nsfd != w->fd && nsfd >= 0)
		nb_close(nsfd);
	if (fd >= 0)
		setoptions(fd);
	return fd;
}

int nbl_failwhere(lua_State *L, const struct nbl_where *w, int err)
{
	if (err != EINVAL || (!w->path && w->fd < 0))
		return nb_fail(L, err, w->path ? w->path : "netlink");
	luaL_pushfail(L);
	if (w->path)
		lua_pushfstring(L, "%s: not a network namespace", w->path);
	else
		lua_pushfstring(L, "descriptor %d: not a network namespace",
				w->fd);
	lua_pushinteger(L, EINVAL);
	return 3;
}
