/*
 * nl_iptables.c - what the old tables of iptables do with forwarded packets
 *
 * They are no part of nf_tables, and nothing shows them but the sockopts that
 * iptables-legacy uses.  A table that nobody has used is not asked for: the
 * question would make it.  See iptables(8), linux/netfilter_ipv4/ip_tables.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
/* after that one */
#include <linux/netfilter.h>
#include <linux/netfilter_ipv4/ip_tables.h>
#include <linux/netfilter_ipv6/ip6_tables.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "nl.h"

/***
@submodule nsbox.sys.netlink
*/

#define MOST (512U << 20) /* bytes of a table, as the kernel has it */

/* the two families differ in the layout of an entry */
struct layout {
	int domain, level, info, entries;
	const char *names;
	size_t size;		      /* of an entry, without its matches */
	size_t target, next, in, out; /* offsets of fields */
};

static const struct layout layouts[] = {
    {AF_INET, SOL_IP, IPT_SO_GET_INFO, IPT_SO_GET_ENTRIES,
     "/proc/thread-self/net/ip_tables_names", sizeof(struct ipt_entry),
     offsetof(struct ipt_entry, target_offset),
     offsetof(struct ipt_entry, next_offset),
     offsetof(struct ipt_entry, ip.iniface),
     offsetof(struct ipt_entry, ip.outiface)},
    {AF_INET6, SOL_IPV6, IP6T_SO_GET_INFO, IP6T_SO_GET_ENTRIES,
     "/proc/thread-self/net/ip6_tables_names", sizeof(struct ip6t_entry),
     offsetof(struct ip6t_entry, target_offset),
     offsetof(struct ip6t_entry, next_offset),
     offsetof(struct ip6t_entry, ipv6.iniface),
     offsetof(struct ip6t_entry, ipv6.outiface)},
};

static int opennames(void *arg)
{
	const struct layout *l = arg;
	int fd = open(l->names, O_RDONLY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

static int opensocket(void *arg)
{
	const struct layout *l = arg;
	int fd = socket(l->domain, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);

	return fd < 0 ? -errno : fd;
}

static int open_there(const struct nbl_where *w, nb_inside f, void *arg)
{
	int nsfd = nbl_opennet(w), fd;

	if (nsfd == -ENODATA)
		return nb_above_stdio(f(arg));
	if (nsfd < 0)
		return nsfd;
	fd = nb_within(nsfd, f, arg);
	if (nsfd != w->fd)
		nb_close(nsfd);
	return fd;
}

/* whether there is a table "filter": 1, 0 or -errno */
static int in_use(const struct nbl_where *w, const struct layout *l)
{
	char names[512];
	ssize_t n;
	int fd = open_there(w, opennames, (void *)l);

	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	n = read(fd, names, sizeof(names) - 1);
	nb_close(fd);
	if (n < 0)
		return -errno;
	names[n] = '\0';
	return strncmp(names, "filter\n", 7) == 0 ||
	       strstr(names, "\nfilter\n");
}

struct filter {
	struct ipt_getinfo info;
	struct ipt_get_entries *entries; /* to be freed */
};

/* 0 or an errno; both families have the same info and the same head */
static int get(int fd, const struct layout *l, struct filter *f)
{
	socklen_t len = sizeof(f->info);
	int err = 0;

	strcpy(f->info.name, "filter");
	if (getsockopt(fd, l->level, l->info, &f->info, &len) < 0)
		return errno;
	if (f->info.size > MOST)
		return EFBIG;
	len = (socklen_t)(sizeof(*f->entries) + f->info.size);
	f->entries = calloc(1, len);
	if (!f->entries)
		return ENOMEM;
	strcpy(f->entries->name, "filter");
	f->entries->size = f->info.size;
	if (getsockopt(fd, l->level, l->entries, f->entries, &len) < 0)
		err = errno;
	return err;
}

static const char *entry_at(const struct filter *f, const struct layout *l,
			    uint32_t at)
{
	return at <= f->info.size && f->info.size - at >= l->size
		   ? (const char *)f->entries->entrytable + at
		   : NULL;
}

static uint16_t u16(const char *p)
{
	uint16_t value;

	memcpy(&value, p, sizeof(value));
	return value;
}

/* the verdict of the rule that a chain ends with, which is its policy */
static bool drops(const struct filter *f, const struct layout *l)
{
	const char *e = entry_at(f, l, f->info.underflow[NF_INET_FORWARD]);
	struct xt_standard_target t;
	size_t target = e ? u16(e + l->target) : 0;
	const char *end = (const char *)f->entries->entrytable + f->info.size;

	if (!e || target < l->size || (size_t)(end - e) < target + sizeof(t))
		return false;
	memcpy(&t, e + target, sizeof(t));
	return t.verdict == -NF_DROP - 1;
}

static void push_device(lua_State *L, const char *name)
{
	if (!*name)
		return;
	lua_pushlstring(L, name, strnlen(name, IFNAMSIZ));
	lua_pushboolean(L, 1);
	lua_rawset(L, -3);
}

/* the record of a table, which stays on top */
static void push(lua_State *L, const struct filter *f, const struct layout *l)
{
	const char *e;
	uint32_t at = 0;

	lua_createtable(L, 0, 2);
	lua_pushstring(L, drops(f, l) ? "drop" : "accept");
	lua_setfield(L, -2, "policy");
	lua_newtable(L);
	while ((e = entry_at(f, l, at)) && u16(e + l->next) >= l->size) {
		push_device(L, e + l->in);
		push_device(L, e + l->out);
		at += u16(e + l->next);
	}
	lua_setfield(L, -2, "devices");
}

/***
What the old tables of iptables do with forwarded packets: those that
`iptables-legacy` shows, and `nsbox.sys.nft` does not.
@function iptables
@param where as in @{open}; nil: the caller's own
@tparam string family `"inet"` `"inet6"`
@treturn table|boolean `{ policy = "drop" or "accept", devices }` of the chain
  FORWARD, with the names of devices that rules of its table speak of; false:
  there is no such table
@return[2] nil, message, errno: EPERM
@see iptables(8)
*/
static int netlink_iptables(lua_State *L)
{
	struct nbl_where where;
	struct filter f = {0};
	const struct layout *l;
	int fd, err;

	lua_settop(L, 2);
	nbl_checkwhere(L, 1, &where);
	l = &layouts[nb_checkword(L, 2, nbl_families, "family") == AF_INET6];

	err = in_use(&where, l);
	if (err == 0) {
		lua_pushboolean(L, 0);
		return 1;
	}
	fd = err < 0 ? err : open_there(&where, opensocket, (void *)l);
	if (fd >= 0) {
		err = get(fd, l, &f);
		nb_close(fd);
	} else {
		err = -fd;
	}
	if (err) {
		free(f.entries);
		return nb_fail(L, err, "iptables");
	}
	push(L, &f, l);
	free(f.entries);
	return 1;
}

const luaL_Reg nbl_iptablesfuncs[] = {
    {"iptables", netlink_iptables},
    {NULL, NULL},
};
