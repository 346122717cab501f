/*
 * nl_link.c - links: add, set, delete
 *
 * Owns what can be said of all kinds of link.  What a kind has of its own is
 * in nl_kinds.c, the record of a link in nl_linkread.c.  See rtnetlink(7),
 * ip-link(8).
 */
#include <net/if.h>
#include <string.h>

#include "nl_link.h"

/***
@submodule nsbox.sys.netlink
*/

/***
A handle.
@type nsbox.netlink
*/

static const struct nb_word addrgenmodes[] = {
    {"eui64", IN6_ADDR_GEN_MODE_EUI64},
    {"none", IN6_ADDR_GEN_MODE_NONE},
    {"stable_secret", IN6_ADDR_GEN_MODE_STABLE_PRIVACY},
    {"random", IN6_ADDR_GEN_MODE_RANDOM},
    {NULL, 0}};

#define SWITCHES                                                               \
	{.name = "up"}, {.name = "promisc"}, {.name = "allmulti"},             \
	    {.name = "arp"},                                                   \
	{                                                                      \
		.name = "multicast"                                            \
	}

static const struct nbl_attr peer_map[] = {{.name = "1"},     {.name = "index"},
					   {.name = "netns"}, NBL_BORN,
					   NBL_QUEUES,	      {NULL}};

static const struct nbl_attr add_map[] = {
    {.name = "1"},
    {.name = "index"},
    {.name = "kind"},
    {.name = "data"},
    {.name = "peer"},
    {.name = "netns"},
    SWITCHES,
    NBL_BORN,
    NBL_QUEUES,
    {.name = "master", IFLA_MASTER, NBL_INDEX},
    {.name = "link", IFLA_LINK, NBL_INDEX},
    {.name = "link_netnsid", IFLA_LINK_NETNSID, NBL_S32},
    {NULL}};

static const struct nbl_attr set_map[] = {
    {.name = "1"},
    {.name = "name"},
    {.name = "kind"},
    {.name = "data"},
    {.name = "netns"},
    {.name = "addrgenmode"},
    SWITCHES,
    NBL_BORN,
    {.name = "master", IFLA_MASTER, NBL_INDEX},
    {.name = "alias", IFLA_IFALIAS, NBL_TEXT, .max = 255},
    {.name = "carrier", IFLA_CARRIER, NBL_BOOL8},
    {.name = "protodown", IFLA_PROTO_DOWN, NBL_BOOL8},
    {NULL}};

/* --- parts of a request --- */

static void putswitches(lua_State *L, struct nbl *h, int t, const char *what)
{
	static const struct {
		const char *name;
		unsigned flag;
		bool inverted;
	} switches[] = {
	    {"up", IFF_UP, false},
	    {"promisc", IFF_PROMISC, false},
	    {"allmulti", IFF_ALLMULTI, false},
	    {"arp", IFF_NOARP, true},
	    {"multicast", IFF_MULTICAST, false},
	};
	struct ifinfomsg *ifi = nbl_header(h);

	for (size_t i = 0; i < NB_COUNT(switches); i++) {
		if (!nbl_field(L, t, switches[i].name, LUA_TBOOLEAN, what))
			continue;
		ifi->ifi_change |= switches[i].flag;
		if (lua_toboolean(L, -1) != (int)switches[i].inverted)
			ifi->ifi_flags |= switches[i].flag;
		lua_pop(L, 1);
	}
}

static int indexfield(lua_State *L, int t, const char *what)
{
	lua_Integer index = 0;

	if (!nbl_field(L, t, "index", LUA_TNUMBER, what))
		return 0;
	index = lua_tointeger(L, -1);
	if (index < 1 || index > INT32_MAX)
		nbl_badfield(L, what, "index", "an integer from 1 on");
	lua_pop(L, 1);
	return (int)index;
}

/* the name at t[1], for a new link; the kernel finds one when there is none */
static const char *newname(lua_State *L, int t, const char *what)
{
	const char *name = NULL;

	lua_rawgeti(L, t, 1);
	if (!lua_isnil(L, -1))
		name = nbl_checkname(L, lua_gettop(L), what, "1");
	lua_pop(L, 1); /* the table keeps it */
	return name;
}

void nbl_putlinkname(lua_State *L, struct nbl *h, const char *name)
{
	if (name)
		nbl_put(L, h, IFLA_IFNAME, name, strlen(name) + 1);
}

/* the link to act on, at t[1]; subject and header get it.  With a number an
 * attribute is not needed, with a name only if the request is to change it */
static int puttarget(lua_State *L, struct nbl *h, int t, bool resolve)
{
	int index = 0, failed = 0;

	lua_rawgeti(L, t, 1);
	if (lua_isinteger(L, -1) || resolve || lua_type(L, -1) != LUA_TSTRING) {
		nbl_name(L, h, " ", -1);
		failed = nbl_index(L, h, lua_gettop(L), "link", "1", &index);
		if (failed)
			return failed;
	} else {
		nbl_checkname(L, lua_gettop(L), "link", "1");
		nbl_name(L, h, " ", -1);
	}
	nbl_message(L, h, RTM_NEWLINK, 0,
		    &(struct ifinfomsg){.ifi_index = index},
		    sizeof(struct ifinfomsg));
	if (!index)
		nbl_putlinkname(L, h, lua_tostring(L, -1));
	lua_pop(L, 1);
	return 0;
}

static int putpeer(lua_State *L, struct nbl *h, int number)
{
	int t = lua_gettop(L), failed;
	const struct ifinfomsg *link = nbl_header(h);
	struct ifinfomsg ifi = {.ifi_index = indexfield(L, t, "peer")};
	size_t nest;

	/* the kernel would choose another one without a word */
	if (ifi.ifi_index && !link->ifi_index)
		luaL_error(L, "peer: field 'index': the link needs one, too");
	nest = nbl_nest(L, h, number);
	nbl_append(L, h, &ifi, sizeof(ifi));
	nbl_putlinkname(L, h, newname(L, t, "peer"));
	nbl_putnetns(L, h, t, "peer", IFLA_NET_NS_PID, IFLA_NET_NS_FD);
	failed = nbl_putfields(L, h, t, peer_map, "peer");
	nbl_nestend(h, nest);
	return failed;
}

/* kind, data, peer */
static int putinfo(lua_State *L, struct nbl *h, int t, bool required)
{
	const char *kind = NULL;
	size_t info, data = 0;
	int failed = 0, peer;

	if (nbl_field(L, t, "kind", LUA_TSTRING, "link")) {
		kind = lua_tostring(L, -1);
		lua_pop(L, 1);
	}
	if (!kind && required)
		nbl_badfield(L, "link", "kind", "string");
	if (!kind) {
		if (nbl_field(L, t, "data", LUA_TTABLE, "link"))
			nbl_badfield(L, "link", "kind", "with data, a string");
		return 0;
	}
	info = nbl_nest(L, h, IFLA_LINKINFO);
	nbl_put(L, h, IFLA_INFO_KIND, kind, strlen(kind) + 1);
	if (nbl_field(L, t, "data", LUA_TTABLE, "link")) {
		data = nbl_nest(L, h, IFLA_INFO_DATA);
		failed = nbl_putkind(L, h, kind, lua_gettop(L));
		if (failed)
			return failed;
		lua_pop(L, 1);
	}
	if (nbl_field(L, t, "peer", LUA_TTABLE, "link")) {
		peer = nbl_peerattr(kind);
		if (!peer)
			luaL_error(L, "link: a %s has no peer", kind);
		if (!data)
			data = nbl_nest(L, h, IFLA_INFO_DATA);
		failed = putpeer(L, h, peer);
		if (failed)
			return failed;
		lua_pop(L, 1);
	}
	if (data)
		nbl_nestend(h, data);
	nbl_nestend(h, info);
	return 0;
}

/* --- requests --- */

static int build_add(lua_State *L, struct nbl *h, int t)
{
	const char *name = newname(L, t, "link");
	struct ifinfomsg ifi = {.ifi_index = indexfield(L, t, "link")};
	int failed;

	nbl_begin(h, h->verb, name);
	nbl_message(L, h, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &ifi,
		    sizeof(ifi));
	nbl_putlinkname(L, h, name);
	failed = nbl_putfields(L, h, t, add_map, "link");
	if (failed)
		return failed;
	putswitches(L, h, t, "link");
	nbl_putnetns(L, h, t, "link", IFLA_NET_NS_PID, IFLA_NET_NS_FD);
	return putinfo(L, h, t, true);
}

/***
Make a link.

All of it is one request: the other end of a veth is born in its namespace,
under its name. What the kernel does not take there, `alias` and UP of the peer,
is for @{link_set}.
@function link_add
@tparam table link the name (absent: the kernel's choice, `"eth%d"`: the first
  free one), and

  - `kind`: `"bridge"` `"veth"` `"dummy"` …
  - `data`: what the kind has of its own, in the words of `ip link` (`src` for
    `local`). bridge: `stp` `forward_delay` `ageing_time` `vlan_filtering`
    `mcast_snooping` …; macvlan, macvtap: `mode` `nopromisc`; ipvlan, ipvtap:
    `mode` `flags`; vlan: `id` `protocol`; vxlan: `id` `remote` `group` `src`
    `link` `dstport` …; vrf: `table`. For kinds not known here a list of
    `{ number, bytes }`
  - `peer` of a veth: `{ name, netns, index, mac, mtu, txqueuelen, group, … }`;
    its `index` only together with the link's
  - `netns`: where it is made, a pid or a handle; `link`: the device below it,
    which is sought here; `link_netnsid`: or there
  - `index`: one that is free; `mac` `mtu` `txqueuelen` `group` `master`
    `numtxqueues` `numrxqueues` `gso_max_size` `gso_max_segs`; `up` `promisc`
    `allmulti` `arp` `multicast`
@treturn boolean true
@treturn ?string a warning of the kernel's
@return[2] nil, message, errno: EEXIST; EOPNOTSUPP "Unknown device type"
@see ip-link(8)
*/
static int link_add(lua_State *L)
{
	return nbl_request(L, "link_add", build_add);
}

static void putaddrgenmode(lua_State *L, struct nbl *h, int t)
{
	size_t spec, inet6;
	uint8_t mode;

	if (!nbl_field(L, t, "addrgenmode", LUA_TSTRING, "link"))
		return;
	mode = (uint8_t)nb_checkword(L, -1, addrgenmodes, "addrgenmode");
	lua_pop(L, 1);
	spec = nbl_nest(L, h, IFLA_AF_SPEC);
	inet6 = nbl_nest(L, h, AF_INET6);
	nbl_put(L, h, IFLA_INET6_ADDR_GEN_MODE, &mode, sizeof(mode));
	nbl_nestend(h, inet6);
	nbl_nestend(h, spec);
}

static int build_set(lua_State *L, struct nbl *h, int t)
{
	const char *name = NULL;
	int failed;

	if (nbl_field(L, t, "name", LUA_TSTRING, "link")) {
		name = nbl_checkname(L, lua_gettop(L), "link", "name");
		lua_pop(L, 1);
	}
	failed = puttarget(L, h, t, name != NULL);
	if (failed)
		return failed;
	nbl_putlinkname(L, h, name);
	failed = nbl_putfields(L, h, t, set_map, "link");
	if (failed)
		return failed;
	putswitches(L, h, t, "link");
	nbl_putnetns(L, h, t, "link", IFLA_NET_NS_PID, IFLA_NET_NS_FD);
	putaddrgenmode(L, h, t);
	return putinfo(L, h, t, false);
}

/***
Change a link.
@function link_set
@tparam table link its name or index, and

  - `name`: the new one; `netns`: where it is moved to (some 20 ms: make it
    there instead); `master`: a device, or false for none
  - `mac` `mtu` `txqueuelen` `group` `alias` `gso_max_size` `gso_max_segs`;
    `up` `promisc` `allmulti` `arp` `multicast` `carrier` `protodown`;
    `addrgenmode`: `"eui64"` `"none"` `"stable_secret"` `"random"`
  - `kind` with `data`: as in @{link_add}
@treturn boolean true
@treturn ?string a warning of the kernel's
@return[2] nil, message, errno
@see ip-link(8)
*/
static int link_set(lua_State *L)
{
	return nbl_request(L, "link_set", build_set);
}

static int build_del(lua_State *L, struct nbl *h, int t)
{
	static const struct nbl_attr map[] = {
	    {.name = "1"}, {.name = "group", IFLA_GROUP, NBL_U32}, {NULL}};
	struct ifinfomsg ifi = {0};
	int failed = 0;

	lua_rawgeti(L, t, 1);
	if (lua_isnil(L, -1)) {
		if (!nbl_field(L, t, "group", LUA_TNUMBER, "link"))
			nbl_badfield(L, "link", "1", "a device, or a group,");
		nbl_name(L, h, " group ", -1);
		nbl_message(L, h, RTM_DELLINK, 0, &ifi, sizeof(ifi));
	} else {
		failed = puttarget(L, h, t, false);
	}
	if (failed)
		return failed;
	nlmsg_hdr(h->msg)->nlmsg_type = RTM_DELLINK;
	return nbl_putfields(L, h, t, map, "link");
}

/***
Delete a link, or all links of a group in one request.
@function link_del
@tparam table link its name or index, or `group`
@treturn boolean true
@return[2] nil, message, errno: ENODEV
@see ip-link(8)
*/
static int link_del(lua_State *L)
{
	return nbl_request(L, "link_del", build_del);
}

const luaL_Reg nbl_linkrequests[] = {
    {"link_add", link_add},
    {"link_del", link_del},
    {"link_set", link_set},
    {NULL, NULL},
};
