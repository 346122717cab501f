/*
 * ask.c - asking an idle nsbox-init; see ask.h
 *
 * unix(7)
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "ask.h"
#include "nb.h"

union control {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(sizeof(int))];
};

static int tell(int ctl, const void *data, size_t len, int fd)
{
	union control control;
	struct iovec iov = {(void *)(uintptr_t)data, len};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n;

	if (fd >= 0) {
		struct cmsghdr *c;

		memset(&control, 0, sizeof(control));
		m.msg_control = control.bytes;
		m.msg_controllen = sizeof(control.bytes);
		c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(fd));
		memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	}
	do
		n = sendmsg(ctl, &m, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EPIPE || errno == ECONNRESET ? -ESRCH : -errno;
	return 0;
}

static int hear(int ctl, struct nb_answer *a)
{
	union control control;
	struct iovec iov = {a, sizeof(*a)};
	struct msghdr m = {.msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = control.bytes,
			   .msg_controllen = sizeof(control.bytes)};
	const struct cmsghdr *c;
	ssize_t n;
	int fd = 0;

	do
		n = recvmsg(ctl, &m, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == ECONNRESET ? -ESRCH : -errno;
	if (n != sizeof(*a))
		return -ESRCH;
	c = CMSG_FIRSTHDR(&m);
	if (c && c->cmsg_type == SCM_RIGHTS) {
		memcpy(&fd, CMSG_DATA(c), sizeof(fd));
		fd = nb_above_stdio(fd);
		return fd < 0 ? -errno : fd;
	}
	return a->value;
}

int nb_askctl(int ctl, enum nb_asked op, uint64_t x, const char *const s[4],
	      int fd, struct nb_answer *answer)
{
	struct {
		struct nb_ask a;
		char text[NB_ASK_MOST - sizeof(struct nb_ask)];
	} message;
	struct nb_answer own;
	size_t len = sizeof(struct nb_ask);
	int r;

	memset(&message.a, 0, sizeof(message.a));
	message.a.op = op;
	message.a.x = x;
	for (int i = 0; i < 4; i++) {
		size_t n = s && s[i] ? strlen(s[i]) + 1 : 0;

		if (n == 0)
			continue;
		if (len + n > sizeof(message))
			return -ENAMETOOLONG;
		memcpy((char *)&message + len, s[i], n);
		message.a.s[i] = (uint32_t)len;
		len += n;
	}
	message.a.size = (uint32_t)len;
	r = tell(ctl, &message, len, fd);
	return r < 0 ? r : hear(ctl, answer ? answer : &own);
}
