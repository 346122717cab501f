/*
 * nl_monitor.c - what changes, as it changes
 *
 * Owns the metatable nsbox.netlink.monitor and the list of what can be watched.
 * The kernel drops what nobody reads in time, and says so once: then a reader
 * has to look at everything again.  See netlink(7), rtnetlink(7).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "nl.h"

/***
@submodule nsbox.sys.netlink
*/

#define DATAGRAM 65536	 /* at most */
#define BUFFER (1 << 20) /* of the socket: some thousand changes */
#define GROUPS 4

static const struct object {
	const char *what;
	uint16_t added, removed; /* the types of its messages */
	bool bridge;		 /* of the family AF_BRIDGE */
	nbl_push push;
	int groups[GROUPS]; /* RTNLGRP_*, 0: no more */
} objects[] = {
    {"link", RTM_NEWLINK, RTM_DELLINK, false, nbl_pushlink, {RTNLGRP_LINK}},
    /* one that left its bridge is a removed port, and a link as before */
    {"port", RTM_NEWLINK, RTM_DELLINK, true, nbl_pushport, {RTNLGRP_LINK}},
    {"addr",
     RTM_NEWADDR,
     RTM_DELADDR,
     false,
     nbl_pushaddr,
     {RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR}},
    {"route",
     RTM_NEWROUTE,
     RTM_DELROUTE,
     false,
     nbl_pushroute,
     {RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE}},
    {"rule",
     RTM_NEWRULE,
     RTM_DELRULE,
     false,
     nbl_pushrule,
     {RTNLGRP_IPV4_RULE, RTNLGRP_IPV6_RULE}},
    {"neigh",
     RTM_NEWNEIGH,
     RTM_DELNEIGH,
     false,
     nbl_pushneigh,
     {RTNLGRP_NEIGH}},
    {"fdb", RTM_NEWNEIGH, RTM_DELNEIGH, true, nbl_pushfdb, {RTNLGRP_NEIGH}},
};

struct monitor {
	struct nbl n;
	uint32_t wanted; /* bits, by place in objects */
	bool lost;	 /* to be told at the next read */
};

static struct monitor *check(lua_State *L)
{
	struct monitor *m = luaL_checkudata(L, 1, NB_MONITOR);

	if (m->n.h.fd < 0)
		luaL_error(L, "attempt to use a closed " NB_MONITOR);
	return m;
}

/* --- opening --- */

static uint32_t bitof(lua_State *L, int idx)
{
	const char *list = "";

	if (lua_type(L, idx) != LUA_TSTRING)
		nb_argerror(L, 2, "list of strings expected");
	for (size_t i = 0; i < NB_COUNT(objects); i++)
		if (strcmp(objects[i].what, lua_tostring(L, idx)) == 0)
			return UINT32_C(1) << i;
	for (size_t i = 0; i < NB_COUNT(objects); i++)
		list = lua_pushfstring(L, "%s%s%s", list, *list ? ", " : "",
				       objects[i].what);
	nb_argerror(L, 2,
		    lua_pushfstring(L, "unknown object '%s' (known: %s)",
				    lua_tostring(L, idx), list));
	return 0;
}

static uint32_t checkwanted(lua_State *L)
{
	uint32_t wanted = 0;
	lua_Integer n;

	luaL_checktype(L, 2, LUA_TTABLE);
	n = (lua_Integer)lua_rawlen(L, 2);
	for (lua_Integer i = 1; i <= n; i++) {
		lua_rawgeti(L, 2, i);
		wanted |= bitof(L, lua_gettop(L));
		lua_settop(L, 2);
	}
	luaL_argcheck(L, wanted, 2, "nothing to watch");
	return wanted;
}

static int subscribe(int fd, uint32_t wanted)
{
	struct sockaddr_nl any = {.nl_family = AF_NETLINK};
	int size = BUFFER;

	/* the first needs privilege, the second goes up to rmem_max */
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	/* a socket that has no number yet is told nothing */
	if (bind(fd, (struct sockaddr *)&any, sizeof(any)) < 0)
		return -errno;
	for (size_t i = 0; i < NB_COUNT(objects); i++) {
		const int *group = objects[i].groups;

		if (!(wanted & UINT32_C(1) << i))
			continue;
		for (int j = 0; j < GROUPS && group[j]; j++)
			if (setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP,
				       &group[j], sizeof(group[j])) < 0)
				return -errno;
	}
	return 0;
}

/***
Watch a network namespace.
@function monitor
@param where as in @{open}; nil: the caller's own
@tparam table what a list of `"link"` `"port"` `"addr"` `"route"` `"rule"`
  `"neigh"` `"fdb"`
@treturn nsbox.netlink.monitor
@return[2] nil, message, errno
@see rtnetlink(7)
*/
static int netlink_monitor(lua_State *L)
{
	struct nbl_where where;
	struct monitor *m;
	uint32_t wanted;
	int err;

	lua_settop(L, 2);
	nbl_checkwhere(L, 1, &where);
	wanted = checkwanted(L);
	m = lua_newuserdatauv(L, sizeof(*m), 0);
	memset(m, 0, sizeof(*m));
	m->n.h.fd = -1;
	m->n.datagram = DATAGRAM;
	m->wanted = wanted;
	luaL_setmetatable(L, NB_MONITOR);

	err = nbl_socket(&where, NETLINK_ROUTE);
	if (err >= 0) {
		m->n.h.fd = err;
		err = subscribe(m->n.h.fd, wanted);
	}

	return err < 0 ? nbl_failwhere(L, &where, -err) : 1;
}

/* --- reading --- */

/* all that is there, in buf; 0 or -errno: EAGAIN when there is nothing */
static int gather(struct monitor *m)
{
	struct nbl *n = &m->n;
	int err = nb_fault("netlink.read");

	if (err)
		return -err;
	n->len = 0;
	if (m->lost) {
		m->lost = false;
		return -ENOBUFS;
	}
	while (n->len < BUFFER) {
		ssize_t got = nbl_receive(n, MSG_DONTWAIT);

		if (got < 0) {
			/* what came before is told first */
			m->lost = got != -EAGAIN && n->len;
			return n->len ? 0 : (int)got;
		}
		n->len += (size_t)got;
	}
	return 0;
}

static const struct object *objectof(const struct monitor *m,
				     const struct nlmsghdr *n)
{
	const struct rtgenmsg *g = nlmsg_data(n);

	if (nlmsg_datalen(n) < (int)sizeof(*g))
		return NULL;
	for (size_t i = 0; i < NB_COUNT(objects); i++) {
		const struct object *o = &objects[i];

		if (m->wanted & UINT32_C(1) << i &&
		    (o->added == n->nlmsg_type ||
		     o->removed == n->nlmsg_type) &&
		    o->bridge == (g->rtgen_family == AF_BRIDGE))
			return o;
	}
	return NULL;
}

/***
A watch over a namespace.
@type nsbox.netlink.monitor
*/

/***
What has changed since the last read; it never waits.
@function read
@treturn table a list, perhaps empty, of records with `what`, `"link"` …, and
  `action`: `"new"` (also for a change) or `"del"`
@return[2] nil, message, errno: EAGAIN when nothing has; ENOBUFS when changes
  were lost: list everything anew, then go on reading
@see netlink(7)
*/
static int monitor_read(lua_State *L)
{
	struct monitor *m = check(L);
	struct nlmsghdr *n;
	lua_Integer i = 0;
	int err, left;

	err = gather(m);

	if (err)
		return nb_fail(L, -err, "monitor");
	lua_newtable(L);
	n = (void *)m->n.buf;
	left = (int)m->n.len;
	for (; nlmsg_ok(n, left); n = nlmsg_next(n, &left)) {
		const struct object *o = objectof(m, n);

		if (!o)
			continue;
		o->push(L, n);
		if (lua_isnil(L, -1)) {
			lua_pop(L, 1);
			continue;
		}
		lua_pushstring(L, o->what);
		lua_setfield(L, -2, "what");
		lua_pushstring(L, n->nlmsg_type == o->added ? "new" : "del");
		lua_setfield(L, -2, "action");
		lua_rawseti(L, -2, ++i);
	}
	return 1;
}

/***
The number of the socket: readable when there is something to read.
@function fileno
@treturn integer it stays the property of the monitor
*/
static int monitor_fileno(lua_State *L)
{
	lua_pushinteger(L, check(L)->n.h.fd);
	return 1;
}

/***
Close the monitor; twice is harmless.
@function close
@treturn boolean true
*/
static int monitor_close(lua_State *L)
{
	struct monitor *m = luaL_checkudata(L, 1, NB_MONITOR);

	nbl_release(&m->n);
	lua_pushboolean(L, 1);
	return 1;
}

static int monitor_gc(lua_State *L)
{
	monitor_close(L);
	return 0;
}

static int monitor_tostring(lua_State *L)
{
	const struct monitor *m = luaL_checkudata(L, 1, NB_MONITOR);

	if (m->n.h.fd < 0)
		lua_pushliteral(L, NB_MONITOR " (closed)");
	else
		lua_pushfstring(L, NB_MONITOR " (%d)", m->n.h.fd);
	return 1;
}

const luaL_Reg nbl_monitorfuncs[] = {
    {"monitor", netlink_monitor},
    {NULL, NULL},
};

const luaL_Reg nbl_monitormethods[] = {
    {"close", monitor_close},
    {"fileno", monitor_fileno},
    {"read", monitor_read},
    {NULL, NULL},
};

const luaL_Reg nbl_monitormeta[] = {
    {"__close", monitor_gc},
    {"__gc", monitor_gc},
    {"__tostring", monitor_tostring},
    {NULL, NULL},
};
