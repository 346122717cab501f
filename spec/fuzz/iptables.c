/*
 * iptables.c - the reader of nl_iptables.c over any table
 *
 * nl_iptables.c with system calls that hand out the input: the answer to the
 * first question, and behind it that to the second.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
/* after that one */
#include <linux/netfilter_ipv4/ip_tables.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "input.h"

static int stub_socket(int domain, int type, int protocol)
{
	(void)domain;
	(void)type;
	(void)protocol;
	return NOWHERE;
}

static ssize_t stub_read(int fd, char *to, size_t room)
{
	(void)fd;
	(void)room;
	memcpy(to, "nat\nfilter\n", 11);
	return 11;
}

static int stub_getsockopt(int fd, int level, int name, void *to,
			   socklen_t *len)
{
	struct ipt_getinfo *info = to;
	size_t n = left < *len ? left : *len;

	(void)fd;
	(void)level;
	if (n == 0) {
		errno = ENOPROTOOPT;
		return -1;
	}
	memcpy(to, input, n);
	input += n;
	left -= n;
	/* few tables of a megabyte: they take long to clear */
	if (name == IPT_SO_GET_INFO && *len == sizeof(*info) &&
	    info->size < 1U << 28)
		info->size %= 1U << 16;
	return 0;
}

#define open stub_open
#define socket stub_socket
#define read stub_read
#define getsockopt stub_getsockopt

#include "../../csrc/nl_iptables.c"
