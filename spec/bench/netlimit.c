/*
 * netlimit.c - what networks cost at the least: the same requests by raw
 * rtnetlink, without checks, records or undo
 *
 *	netlimit up N batch|each   a bridge, N named namespaces with a card on
 *				   it; microseconds of all
 *	netlimit attach PID COUNT  a card for a process that runs, COUNT times;
 *				   median
 *	netlimit get NAME COUNT    the record of one link; median
 *
 * With "same" behind them, it is what nsbox asks for, by which it differs from
 * what the commands of ip(8) do: one queue an end, and ping for everybody.
 *
 * In a network and mount namespace of its own, /run empty.  See rtnetlink(7).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define BRIDGE 1000
#define PORT 2000
#define CARD 3000
#define TOGETHER 200 /* messages in one send */

static char out[1 << 20];
static size_t len;
static uint32_t seq;
static struct nlmsghdr *last;
static int same;

_Noreturn static void die(const char *what)
{
	perror(what);
	exit(1);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int nlsocket(void)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	if (fd < 0)
		die("socket");
	return fd;
}

static void message(int type, int flags, const void *header, size_t size)
{
	last = (void *)(out + len);
	memset(last, 0, NLMSG_SPACE(size));
	last->nlmsg_len = (uint32_t)NLMSG_LENGTH(size);
	last->nlmsg_type = (uint16_t)type;
	last->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	last->nlmsg_seq = ++seq;
	memcpy(NLMSG_DATA(last), header, size);
}

static struct rtattr *attr(int type, const void *data, size_t size)
{
	struct rtattr *a =
	    (void *)((char *)last + NLMSG_ALIGN(last->nlmsg_len));

	a->rta_type = (unsigned short)type;
	a->rta_len = (unsigned short)RTA_LENGTH(size);
	if (size)
		memcpy(RTA_DATA(a), data, size);
	last->nlmsg_len =
	    (uint32_t)(NLMSG_ALIGN(last->nlmsg_len) + RTA_SPACE(size));
	return a;
}

static void number(int type, uint32_t value)
{
	attr(type, &value, sizeof(value));
}

static void queues(void)
{
	if (!same)
		return;
	number(IFLA_NUM_TX_QUEUES, 1);
	number(IFLA_NUM_RX_QUEUES, 1);
}

static void endnest(struct rtattr *a)
{
	a->rta_len =
	    (unsigned short)((char *)last + last->nlmsg_len - (char *)a);
}

static void queued(void)
{
	len += NLMSG_ALIGN(last->nlmsg_len);
}

/* only the last message asks for an acknowledgement */
static void flush(int fd)
{
	static char in[65536];
	uint32_t want = last->nlmsg_seq;

	last->nlmsg_flags |= NLM_F_ACK;
	if (send(fd, out, len, 0) != (ssize_t)len)
		die("send");
	len = 0;
	for (;;) {
		ssize_t n = recv(fd, in, sizeof(in), 0);

		if (n < 0)
			die("recv");
		for (struct nlmsghdr *h = (void *)in; NLMSG_OK(h, n);
		     h = NLMSG_NEXT(h, n)) {
			const struct nlmsgerr *e = NLMSG_DATA(h);

			if (h->nlmsg_type != NLMSG_ERROR)
				continue;
			errno = -e->error;
			if (e->error)
				die("request");
			if (h->nlmsg_seq == want)
				return;
		}
	}
}

static uint32_t address(int i)
{
	return htonl(0x0a000001u + (uint32_t)i);
}

static void up(int index)
{
	struct ifinfomsg m = {
	    .ifi_index = index, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};

	message(RTM_NEWLINK, 0, &m, sizeof(m));
	queued();
}

static void addaddress(int index, uint32_t addr)
{
	struct ifaddrmsg m = {.ifa_family = AF_INET,
			      .ifa_prefixlen = 16,
			      .ifa_index = (uint32_t)index};

	message(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &m, sizeof(m));
	attr(IFA_LOCAL, &addr, sizeof(addr));
	attr(IFA_ADDRESS, &addr, sizeof(addr));
	queued();
}

static void addroute(uint32_t via)
{
	struct rtmsg m = {.rtm_family = AF_INET,
			  .rtm_table = RT_TABLE_MAIN,
			  .rtm_protocol = RTPROT_BOOT,
			  .rtm_scope = RT_SCOPE_UNIVERSE,
			  .rtm_type = RTN_UNICAST};

	message(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, &m, sizeof(m));
	attr(RTA_GATEWAY, &via, sizeof(via));
	queued();
}

static void addbridge(int fd)
{
	struct ifinfomsg m = {
	    .ifi_index = BRIDGE, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
	struct rtattr *info;

	message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &m, sizeof(m));
	attr(IFLA_IFNAME, "br0", sizeof("br0"));
	info = attr(IFLA_LINKINFO, NULL, 0);
	attr(IFLA_INFO_KIND, "bridge", sizeof("bridge"));
	endnest(info);
	queued();
	addaddress(BRIDGE, address(0));
	flush(fd);
}

static void addpair(int i, int nsfd)
{
	struct ifinfomsg m = {
	    .ifi_index = PORT + i, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
	struct ifinfomsg peer = {.ifi_index = CARD};
	struct rtattr *info, *data, *far;
	char name[IFNAMSIZ];

	snprintf(name, sizeof(name), "veth%d", i);
	message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &m, sizeof(m));
	attr(IFLA_IFNAME, name, strlen(name) + 1);
	number(IFLA_MASTER, BRIDGE);
	queues();
	info = attr(IFLA_LINKINFO, NULL, 0);
	attr(IFLA_INFO_KIND, "veth", sizeof("veth"));
	data = attr(IFLA_INFO_DATA, NULL, 0);
	far = attr(VETH_INFO_PEER, &peer, sizeof(peer));
	attr(IFLA_IFNAME, "eth0", sizeof("eth0"));
	number(IFLA_NET_NS_FD, (uint32_t)nsfd);
	queues();
	endnest(far);
	endnest(data);
	endnest(info);
	queued();
}

static void inside(int fd, int i)
{
	up(1);
	up(CARD);
	addaddress(CARD, address(i));
	addroute(address(0));
	flush(fd);
}

static void openping(void)
{
	static const char all[] = "0 2147483647";
	int fd = open("/proc/sys/net/ipv4/ping_group_range", O_WRONLY);

	if (fd < 0 || write(fd, all, sizeof(all) - 1) < 0)
		die("ping_group_range");
	close(fd);
}

/* a namespace with a name; *fd: a socket in it */
static int named(int i, int *fd)
{
	char path[64];
	int ns;

	if (unshare(CLONE_NEWNET) < 0)
		die("unshare");
	if (same)
		openping();
	snprintf(path, sizeof(path), "/run/netns/ns%d", i);
	close(open(path, O_CREAT | O_RDONLY | O_CLOEXEC, 0444));
	if (mount("/proc/thread-self/ns/net", path, "none", MS_BIND, NULL) < 0)
		die("mount");
	ns = open(path, O_RDONLY | O_CLOEXEC);
	*fd = nlsocket();
	return ns;
}

static void make(int n, int together)
{
	int *ns = calloc((size_t)n + 1, sizeof(int));
	int *fd = calloc((size_t)n + 1, sizeof(int));
	int host = nlsocket();
	double start = now();

	mkdir("/run/netns", 0755);
	addbridge(host);
	for (int i = 1; i <= n; i++) {
		ns[i] = named(i, &fd[i]);
		if (together)
			continue;
		addpair(i, ns[i]);
		flush(host);
		inside(fd[i], i);
	}
	for (int i = 1; together && i <= n; i++) {
		addpair(i, ns[i]);
		if (i % TOGETHER == 0 || i == n)
			flush(host);
	}
	for (int i = 1; together && i <= n; i++)
		inside(fd[i], i);
	printf("%.0f\n", now() - start);
	free(ns);
	free(fd);
}

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void median(double *list, int n)
{
	qsort(list, (size_t)n, sizeof(*list), ascending);
	printf("%.1f\n", list[n / 2]);
}

static void attach(const char *pid, int count)
{
	double *took = calloc((size_t)count, sizeof(double));
	int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	int host = nlsocket();
	char path[64];

	addbridge(host);
	snprintf(path, sizeof(path), "/proc/%s/ns/net", pid);
	for (int i = 0; i < count; i++) {
		struct ifinfomsg m = {.ifi_index = PORT + 1};
		double start = now();
		int ns = open(path, O_RDONLY | O_CLOEXEC), fd;

		if (ns < 0 || setns(ns, CLONE_NEWNET) < 0)
			die(path);
		fd = nlsocket();
		setns(home, CLONE_NEWNET);
		addpair(1, ns);
		flush(host);
		inside(fd, 1);
		close(fd);
		close(ns);
		took[i] = now() - start;
		message(RTM_DELLINK, 0, &m, sizeof(m));
		queued();
		flush(host);
	}
	median(took, count);
	free(took);
}

static void get(const char *name, int count)
{
	double *took = calloc((size_t)count, sizeof(double));
	int fd = nlsocket();
	static char in[65536];

	for (int i = 0; i < count; i++) {
		struct ifinfomsg m = {0};
		double start = now();

		message(RTM_GETLINK, 0, &m, sizeof(m));
		attr(IFLA_IFNAME, name, strlen(name) + 1);
		number(IFLA_EXT_MASK, 1 << 3); /* RTEXT_FILTER_SKIP_STATS */
		queued();
		if (send(fd, out, len, 0) < 0 ||
		    recv(fd, in, sizeof(in), 0) < 0)
			die(name);
		len = 0;
		took[i] = now() - start;
	}
	median(took, count);
	free(took);
}

int main(int argc, char **argv)
{
	if (argc != 4 && argc != 5)
		return 2;
	same = argc == 5 && strcmp(argv[4], "same") == 0;
	if (strcmp(argv[1], "up") == 0)
		make(atoi(argv[2]), strcmp(argv[3], "batch") == 0);
	else if (strcmp(argv[1], "attach") == 0)
		attach(argv[2], atoi(argv[3]));
	else
		get(argv[2], atoi(argv[3]));
	return 0;
}
