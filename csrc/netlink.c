/*
 * netlink.c - handles on rtnetlink, and what require finds in netlink.so
 *
 * Owns the metatable nsbox.netlink.  A handle is
 * bound to its namespace when it is opened; the process stays where it was.
 * Nothing is cached, nothing is decided here.  A companion of nsbox.so: a
 * script without networks does not load libnl.  See rtnetlink(7), netlink(7).
 */
#include <errno.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "nl.h"
#include "process.h"

/***
Links, and what hangs on them, in any network namespace.

A handle's requests take a table: its first element is the thing, its fields
are words of `ip`. They return true (and the kernel's warning, if it has one),
or `nil, message, errno`: the message has the kernel's own sentence where it
gives one. Misuse raises before anything is sent. Reads return records, tables
with the same words; another device in a record is its index.

    local nl <close> = assert(netlink.open(ns))
    assert(nl:link_add { "br0", kind = "bridge", up = true })
    print(nl:link_get("br0").mac)

Loaded on its own: `require "nsbox.sys.netlink"`, or the field of `nsbox.sys`.
@module nsbox.sys.netlink
*/

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

/* what each type of object adds to handles and batches, and to handles */
static const luaL_Reg *const requests[] = {
    nbl_linkrequests,  nbl_portrequests, nbl_addrrequests, nbl_routerequests,
    nbl_neighrequests, nbl_rulerequests, nbl_nsidrequests, nbl_qdiscrequests,
};
static const luaL_Reg *const reads[] = {
    nbl_batchfuncs, nbl_linkreads,  nbl_portreads,  nbl_tunfuncs,
    nbl_addrreads,  nbl_routereads, nbl_neighreads, nbl_rulereads,
    nbl_nsidreads,  nbl_qdiscreads,
};

struct nbl *nbl_check(lua_State *L, int idx)
{
	struct nbl *h = luaL_checkudata(L, idx, NB_NETLINK);

	if (h->h.fd < 0)
		luaL_error(L, "attempt to use a closed " NB_NETLINK);
	return h;
}

void nbl_release(struct nbl *h)
{
	int fd = h->h.fd;

	h->h.fd = -1;
	if (fd >= 0)
		nb_close(fd);
	nlmsg_free(h->msg);
	h->msg = NULL;
	nbl_forget(h);
}

struct nbl *nbl_new(lua_State *L, const struct nbl_where *w, int protocol,
		    int *err)
{
	struct nbl *h = lua_newuserdatauv(L, sizeof(*h), 0);
	int fd;

	memset(h, 0, sizeof(*h));
	h->h.fd = -1;
	luaL_setmetatable(L, NB_NETLINK);
	fd = nbl_socket(w, protocol);
	if (fd >= 0) {
		h->h.fd = fd;
		fd = nbl_newmessage(h);
	}
	*err = fd < 0 ? -fd : 0;
	return h;
}

/***
Open a handle.
@function open
@param[opt] where the network namespace: a handle of one, a process handle, a
  pid, or a path; absent: the caller's own. One whose user namespace belongs to
  the caller can be opened from outside
@param[opt] by the process that serves (see @{nsbox.sys.process.spawn}) which
goes there to make the socket: quicker than a child made for it
@treturn nsbox.netlink
@return[2] nil, message, errno: EPERM, ESRCH, ENOENT, EINVAL when it is no
  network namespace
@see rtnetlink(7)
*/
static int netlink_open(lua_State *L)
{
	const struct nb_process *by = NULL;
	struct nbl_where where;
	int err;

	nbl_checkwhere(L, 1, &where);
	if (!lua_isnoneornil(L, 2))
		by = luaL_checkudata(L, 2, NB_PROCESS);
	if (by) {
		luaL_argcheck(L, by->l.ctl >= 0 && by->l.serves, 2,
			      "a process that serves expected");
		where.ctl = by->l.ctl;
	}

	nbl_new(L, &where, NETLINK_ROUTE, &err);

	return err ? nbl_failwhere(L, &where, err) : 1;
}

/***
A handle.
@type nsbox.netlink
*/

/***
The index of a device.
@function index
@tparam string name or one of its alternative names
@treturn integer
@return[2] nil, message, errno: ENODEV
@see netdevice(7)
*/
static int netlink_index(lua_State *L)
{
	struct nbl *h = nbl_check(L, 1);
	int index, failed;

	luaL_checktype(L, 2, LUA_TSTRING);
	nbl_begin(h, "index", NULL);
	failed = nbl_index(L, h, 2, "index", "name", &index);
	if (failed)
		return failed;
	lua_pushinteger(L, index);
	return 1;
}

/***
The name of a device.
@function name
@tparam integer index
@treturn string
@return[2] nil, message, errno: ENODEV
@see netdevice(7)
*/
static int netlink_name(lua_State *L)
{
	const struct nbl *h = nbl_check(L, 1);
	lua_Integer index = luaL_checkinteger(L, 2);
	struct ifreq ifr;
	int rc;

	luaL_argcheck(L, index > 0 && index <= INT32_MAX, 2, "not an index");
	memset(&ifr, 0, sizeof(ifr));
	ifr.ifr_ifindex = (int)index;

	rc = ioctl(h->h.fd, SIOCGIFNAME, &ifr);

	if (rc < 0)
		return nb_fail(L, errno,
			       lua_pushfstring(L, "name %d", (int)index));
	lua_pushstring(L, ifr.ifr_name);
	return 1;
}

/***
What tells the namespace of the handle from all others, as the method of
@{nsbox.sys.ns} of this name does, but wherever the handle came from.
@function cookie
@treturn integer
@return[2] nil, message, errno: ENOPROTOOPT before Linux 5.14
@see socket(7)
*/
static int netlink_cookie(lua_State *L)
{
	const struct nbl *h = nbl_check(L, 1);
	uint64_t value;
	socklen_t len = sizeof(value);
	int rc;

	rc = getsockopt(h->h.fd, SOL_SOCKET, SO_NETNS_COOKIE, &value, &len);

	if (rc < 0)
		return nb_fail(L, errno, "cookie");
	lua_pushinteger(L, (lua_Integer)value);
	return 1;
}

/***
The longest packet of a device: less than its record, and by ioctl, so that the
kernel does not deal with a change of its carrier first, as @{link_get} makes it
do (Linux 6.8), for which it may have to wait for all processors.
@function mtu
@tparam string|integer link name or index
@treturn integer
@return[2] nil, message, errno: ENODEV
@see netdevice(7)
*/
static int netlink_mtu(lua_State *L)
{
	struct nbl *h = nbl_check(L, 1);
	struct ifreq ifr;
	int index, failed, rc;

	luaL_checkany(L, 2);
	nbl_begin(h, "mtu", NULL);
	failed = nbl_index(L, h, 2, "mtu", "link", &index);
	if (failed)
		return failed;
	memset(&ifr, 0, sizeof(ifr));
	ifr.ifr_ifindex = index;

	rc = ioctl(h->h.fd, SIOCGIFNAME, &ifr);
	if (rc == 0)
		rc = ioctl(h->h.fd, SIOCGIFMTU, &ifr);

	if (rc < 0)
		return nb_fail(L, errno, lua_pushfstring(L, "mtu %d", index));
	lua_pushinteger(L, ifr.ifr_mtu);
	return 1;
}

/***
The number of the socket.
@function fileno
@treturn integer it stays the property of the handle
*/
static int netlink_fileno(lua_State *L)
{
	lua_pushinteger(L, nbl_check(L, 1)->h.fd);
	return 1;
}

/***
Close the handle; twice is harmless.
@function close
@treturn boolean true
*/
static int netlink_close(lua_State *L)
{
	nbl_release(luaL_checkudata(L, 1, NB_NETLINK));
	lua_pushboolean(L, 1);
	return 1;
}

static int netlink_gc(lua_State *L)
{
	nbl_release(luaL_checkudata(L, 1, NB_NETLINK));
	return 0;
}

static int netlink_tostring(lua_State *L)
{
	const struct nbl *h = luaL_checkudata(L, 1, NB_NETLINK);

	if (h->h.fd < 0)
		lua_pushliteral(L, NB_NETLINK " (closed)");
	else
		lua_pushfstring(L, NB_NETLINK " (%d)", h->h.fd);
	return 1;
}

static const luaL_Reg netlink_methods[] = {
    {"close", netlink_close},
    {"cookie", netlink_cookie},
    {"fileno", netlink_fileno},
    {"index", netlink_index},
    {"mtu", netlink_mtu},
    {"name", netlink_name},
    {NULL, NULL},
};

static const luaL_Reg netlink_meta[] = {
    {"__close", netlink_gc},
    {"__gc", netlink_gc},
    {"__tostring", netlink_tostring},
    {NULL, NULL},
};

static const luaL_Reg netlink_funcs[] = {
    {"open", netlink_open},
    {NULL, NULL},
};

/* with the table of its methods left on the stack; false: it is there */
static bool newclass(lua_State *L, const char *name, const luaL_Reg *meta)
{
	if (!luaL_newmetatable(L, name)) {
		lua_pop(L, 1);
		return false;
	}
	luaL_setfuncs(L, meta, 0);
	lua_newtable(L);
	lua_pushvalue(L, -1);
	lua_setfield(L, -3, "__index");
	lua_remove(L, -2);
	return true;
}

int luaopen_nsbox_sys_netlink(lua_State *L)
{
	if (newclass(L, NB_NETLINK, netlink_meta)) {
		nb_setfuncs(L, "netlink", netlink_methods);
		for (size_t i = 0; i < NB_COUNT(requests); i++)
			nb_setfuncs(L, "netlink", requests[i]);
		for (size_t i = 0; i < NB_COUNT(reads); i++)
			nb_setfuncs(L, "netlink", reads[i]);
		lua_pop(L, 1);
	}
	if (newclass(L, NB_BATCH, nbl_batchmeta)) {
		nb_setfuncs(L, "batch", nbl_batchmethods);
		for (size_t i = 0; i < NB_COUNT(requests); i++)
			nb_setfuncs(L, "batch", requests[i]);
		lua_pop(L, 1);
	}
	if (newclass(L, NB_MONITOR, nbl_monitormeta)) {
		nb_setfuncs(L, "monitor", nbl_monitormethods);
		lua_pop(L, 1);
	}
	lua_newtable(L);
	nb_setfuncs(L, "netlink", netlink_funcs);
	nb_setfuncs(L, "netlink", nbl_monitorfuncs);
	nb_setfuncs(L, "netlink", nbl_sysctlfuncs);
	nb_setfuncs(L, "netlink", nbl_socketfuncs);
	nb_setfuncs(L, "netlink", nbl_conntrackfuncs);
	nb_setfuncs(L, "netlink", nbl_iptablesfuncs);
	return 1;
}

void nsbox_preload_netlink(lua_State *L)
{
	luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
	lua_pushcfunction(L, luaopen_nsbox_sys_netlink);
	lua_setfield(L, -2, "nsbox.sys.netlink");
	lua_pop(L, 1);
}
