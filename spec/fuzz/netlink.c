/*
 * netlink.c - a kernel that answers whatever the input says
 *
 * send() and recvmsg() of all of nsbox, wrapped by the linker.  The input is a
 * list of datagrams: the length in two bytes, its highest bit for one that did
 * not fit, and as many bytes.  A message numbered 1 answers what was last
 * sent, 2 the one after that in the same batch.
 */
#include <errno.h>
#include <linux/netlink.h>
#include <sanitizer/asan_interface.h>
#include <string.h>
#include <sys/socket.h>

#include <lauxlib.h>

#include "fuzz.h"

#define TRUNCATED 0x8000

ssize_t __wrap_send(int fd, const void *bytes, size_t len, int flags);
ssize_t __wrap_recvmsg(int fd, struct msghdr *m, int flags);

static const char *input;
static size_t left;
static uint32_t sent; /* the number of the last request */

ssize_t __wrap_send(int fd, const void *bytes, size_t len, int flags)
{
	const struct nlmsghdr *n = bytes;

	(void)fd;
	(void)flags;
	/* what is sent is whole messages */
	for (size_t rest = len; rest; rest -= NLMSG_ALIGN(n->nlmsg_len),
		    n = (const void *)((const char *)n +
				       NLMSG_ALIGN(n->nlmsg_len)))
		if (!NLMSG_OK(n, rest))
			__builtin_trap();
	n = bytes;
	sent = n->nlmsg_seq;
	return (ssize_t)len;
}

/* the numbers of the messages in a datagram, made those of the requests */
static void renumber(char *bytes, size_t len)
{
	struct nlmsghdr n;

	while (len >= sizeof(n)) {
		memcpy(&n, bytes, sizeof(n));
		n.nlmsg_seq += sent - 1;
		memcpy(bytes, &n, sizeof(n));
		if (n.nlmsg_len < sizeof(n) || n.nlmsg_len > len ||
		    NLMSG_ALIGN(n.nlmsg_len) > len)
			return;
		bytes += NLMSG_ALIGN(n.nlmsg_len);
		len -= NLMSG_ALIGN(n.nlmsg_len);
	}
}

ssize_t __wrap_recvmsg(int fd, struct msghdr *m, int flags)
{
	char *to = m->msg_iov->iov_base;
	size_t room = m->msg_iov->iov_len, n;
	uint16_t head;

	(void)fd;
	if (left < sizeof(head)) {
		errno = flags & MSG_DONTWAIT ? EAGAIN : ENOBUFS;
		return -1;
	}
	memcpy(&head, input, sizeof(head));
	input += sizeof(head);
	left -= sizeof(head);
	n = head & ~TRUNCATED;
	n = n < left ? n : left;
	m->msg_flags = n > room || head & TRUNCATED ? MSG_TRUNC : 0;
	/* what is behind the datagram is nobody's to read */
	ASAN_UNPOISON_MEMORY_REGION(to, room);
	memcpy(to, input, n < room ? n : room);
	renumber(to, n < room ? n : room);
	if (n < room)
		ASAN_POISON_MEMORY_REGION(to + n, room - n);
	input += n;
	left -= n;
	memset(m->msg_name, 0, m->msg_namelen);
	return (ssize_t)(n < room ? n : room);
}

/* what will be received, until the function returns */
static int with(lua_State *L)
{
	input = luaL_checklstring(L, 1, &left);
	lua_pushvalue(L, 2);
	lua_call(L, 0, LUA_MULTRET);
	input = NULL;
	left = 0;
	return lua_gettop(L) - 2;
}

void fuzz_open(lua_State *L)
{
	lua_pushcfunction(L, with);
	lua_setfield(L, -2, "with");
}
