/*
 * serve.c - a part of nsbox-init: what it does when asked; see ask.h
 *
 * Without libc, as all of nsbox-init.  What a message asks for is done and
 * answered before the next is read; nsbox-init is back in its own network
 * namespace then.
 *
 * setns(2), unix(7), mount(2), move_mount(2)
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "ask.h"
#include "bare.h"
#include "sys.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

#define OWN "/proc/self/ns/net"

union control {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(sizeof(int))];
};

static long openpath(const char *path, long flags)
{
	return nb_sys5(__NR_openat, AT_FDCWD, path, flags | O_CLOEXEC, 0, 0);
}

static void closefd(long fd)
{
	if (fd >= 0)
		nb_sys(__NR_close, fd, 0, 0);
}

/* our own network namespace, opened once */
static long home(void)
{
	static long fd = -1;

	if (fd < 0)
		fd = openpath(OWN, O_RDONLY);
	return fd;
}

/* who cannot come back would serve the wrong network */
static void goback(void)
{
	if (nb_sys(__NR_setns, home(), CLONE_NEWNET, 0) < 0)
		for (;;)
			nb_sys(__NR_exit_group, 1, 0, 0);
}

static uint64_t cookie(void)
{
	uint64_t value = 0;
	uint32_t len = sizeof(value);
	long fd = nb_sys(__NR_socket, AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd >= 0 && nb_sys5(__NR_getsockopt, fd, SOL_SOCKET, SO_NETNS_COOKIE,
			       &value, &len) < 0)
		value = 0;
	closefd(fd);
	return value;
}

static long ask_socket(long netns, uint64_t protocol)
{
	long r;

	if (netns < 0)
		return -EBADF;
	r = home();
	if (r >= 0)
		r = nb_sys(__NR_setns, netns, CLONE_NEWNET, 0);
	if (r < 0)
		return r;
	r = nb_sys(__NR_socket, AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
	goback();
	return r;
}

static long ask_newnet(const char *ping, struct nb_answer *answer)
{
	long fd = home(), r;

	if (fd >= 0)
		fd = nb_sys(__NR_unshare, CLONE_NEWNET, 0, 0);
	if (fd < 0)
		return fd;
	r = nb_loup();
	fd = r < 0 ? r : openpath(OWN, O_RDONLY);
	/* a kernel without ping sockets has no such file */
	if (ping)
		nb_writefile("/proc/sys/net/ipv4/ping_group_range", ping);
	answer->cookie = cookie();
	goback();
	return fd;
}

static long ask_mount(const struct nb_ask *a, const char *const s[4], long fd)
{
	const char *source = s[0];
	char link[32];

	if (fd >= 0) {
		nb_fdpath(link, (int)fd);
		source = link;
	}
	return nb_sys5(__NR_mount, source, s[1], s[2], a->x, s[3]);
}

static long serve(const struct nb_ask *a, long fd, struct nb_answer *answer)
{
	const char *s[4];

	for (int i = 0; i < 4; i++) {
		if (a->s[i] >= a->size)
			return -EINVAL;
		s[i] = a->s[i] ? (const char *)a + a->s[i] : NULL;
	}
	switch ((enum nb_asked)a->op) {
	case NB_ASK_SOCKET:
		return ask_socket(fd, a->x);
	case NB_ASK_NEWNET:
		return ask_newnet(s[0], answer);
	case NB_ASK_OPEN:
		return openpath(s[0], (long)a->x);
	case NB_ASK_MOUNT:
		return ask_mount(a, s, fd);
	case NB_ASK_UMOUNT:
		return nb_sys(__NR_umount2, s[1], a->x, 0);
	case NB_ASK_TREE:
		return nb_sys(__NR_open_tree, AT_FDCWD, s[0], a->x);
	case NB_ASK_MOVE:
		return nb_sys5(__NR_move_mount, fd, "", AT_FDCWD, s[1],
			       4 /* MOVE_MOUNT_F_EMPTY_PATH */);
	}
	return -ENOSYS;
}

static bool gives_fd(uint32_t op)
{
	return op == NB_ASK_SOCKET || op == NB_ASK_NEWNET ||
	       op == NB_ASK_OPEN || op == NB_ASK_TREE;
}

static void reply(int ctl, struct nb_answer *answer, long fd)
{
	union control control;
	struct iovec iov;
	struct msghdr m;
	struct cmsghdr *c;

	iov.iov_base = answer;
	iov.iov_len = sizeof(*answer);
	for (size_t i = 0; i < sizeof(m); i++)
		((char *)&m)[i] = 0;
	m.msg_iov = &iov;
	m.msg_iovlen = 1;
	if (fd >= 0) {
		for (size_t i = 0; i < sizeof(control); i++)
			control.bytes[i] = 0;
		m.msg_control = control.bytes;
		m.msg_controllen = CMSG_SPACE(sizeof(int));
		c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		*(int *)(void *)CMSG_DATA(c) = (int)fd;
	}
	nb_sys(__NR_sendmsg, ctl, &m, MSG_NOSIGNAL);
}

int nb_serve(int ctl)
{
	static union {
		struct nb_ask a;
		char bytes[NB_ASK_MOST];
	} message;
	union control control;
	struct nb_answer answer;
	struct iovec iov;
	struct msghdr m;
	const struct cmsghdr *c;
	long n, fd = -1, r;

	iov.iov_base = &message;
	iov.iov_len = sizeof(message);
	for (size_t i = 0; i < sizeof(m); i++)
		((char *)&m)[i] = 0;
	m.msg_iov = &iov;
	m.msg_iovlen = 1;
	m.msg_control = control.bytes;
	m.msg_controllen = sizeof(control.bytes);
	n = nb_sys(__NR_recvmsg, ctl, &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	if (n == -EINTR || n == -EAGAIN)
		return 0;
	if (n <= 0)
		return -1;
	c = CMSG_FIRSTHDR(&m);
	if (c && c->cmsg_type == SCM_RIGHTS)
		fd = *(const int *)(const void *)CMSG_DATA(c);
	answer.value = -EINVAL;
	answer.pad = 0;
	answer.cookie = 0;
	r = -EINVAL;
	if (n >= (long)sizeof(message.a) && message.a.size == n &&
	    message.bytes[n - 1] == '\0')
		r = serve(&message.a, fd, &answer);
	closefd(fd);
	answer.value = r < 0 ? (int32_t)r : 0;
	fd = r >= 0 && gives_fd(message.a.op) ? r : -1;
	reply(ctl, &answer, fd);
	closefd(fd);
	return 0;
}
