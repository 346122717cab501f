/*
 * nl_port.c - ports of a bridge: their options and their VLANs
 *
 * Owns the messages of the family AF_BRIDGE about links.  A port is asked for
 * by index: the bridge looks at nothing else.
 * See bridge(8), linux/if_bridge.h.
 */
#include <linux/if_bridge.h>
#include <string.h>

#include "nl.h"

#ifndef RTEXT_FILTER_BRVLAN_COMPRESSED
#define RTEXT_FILTER_BRVLAN_COMPRESSED (1 << 2)
#endif

#define VID_MOST 4094

/***
@submodule nsbox.sys.netlink
*/

/***
A handle.
@type nsbox.netlink
*/

static const struct nb_word states[] = {
    {"disabled", BR_STATE_DISABLED}, {"listening", BR_STATE_LISTENING},
    {"learning", BR_STATE_LEARNING}, {"forwarding", BR_STATE_FORWARDING},
    {"blocking", BR_STATE_BLOCKING}, {NULL, 0}};

static const struct nbl_attr map[] = {
    {.name = "1"},
    {.name = "state", IFLA_BRPORT_STATE, NBL_WORD8, .words = states},
    {.name = "priority", IFLA_BRPORT_PRIORITY, NBL_U16, .max = 63},
    {.name = "cost", IFLA_BRPORT_COST, NBL_U32},
    {.name = "hairpin", IFLA_BRPORT_MODE, NBL_BOOL8},
    {.name = "guard", IFLA_BRPORT_GUARD, NBL_BOOL8},
    {.name = "root_block", IFLA_BRPORT_PROTECT, NBL_BOOL8},
    {.name = "fastleave", IFLA_BRPORT_FAST_LEAVE, NBL_BOOL8},
    {.name = "learning", IFLA_BRPORT_LEARNING, NBL_BOOL8},
    {.name = "flood", IFLA_BRPORT_UNICAST_FLOOD, NBL_BOOL8},
    {.name = "mcast_flood", IFLA_BRPORT_MCAST_FLOOD, NBL_BOOL8},
    {.name = "bcast_flood", IFLA_BRPORT_BCAST_FLOOD, NBL_BOOL8},
    {.name = "mcast_to_unicast", IFLA_BRPORT_MCAST_TO_UCAST, NBL_BOOL8},
    {.name = "mcast_router", IFLA_BRPORT_MULTICAST_ROUTER, NBL_U8, .max = 3},
    {.name = "proxy_arp", IFLA_BRPORT_PROXYARP, NBL_BOOL8},
    {.name = "proxy_arp_wifi", IFLA_BRPORT_PROXYARP_WIFI, NBL_BOOL8},
    {.name = "neigh_suppress", IFLA_BRPORT_NEIGH_SUPPRESS, NBL_BOOL8},
    {.name = "vlan_tunnel", IFLA_BRPORT_VLAN_TUNNEL, NBL_BOOL8},
    {.name = "group_fwd_mask", IFLA_BRPORT_GROUP_FWD_MASK, NBL_U16},
    {.name = "isolated", IFLA_BRPORT_ISOLATED, NBL_BOOL8},
    {.name = "locked", IFLA_BRPORT_LOCKED, NBL_BOOL8},
    {.name = "backup_port", IFLA_BRPORT_BACKUP_PORT, NBL_INDEX},
    {.name = "fdb_flush", IFLA_BRPORT_FLUSH, NBL_FLAG, NBL_WRITE},
    {.name = "no", IFLA_BRPORT_NO, NBL_U16, NBL_READ},
    {NULL}};

/* --- requests --- */

/* the device at t[1], as the header of a message of this type */
static int putport(lua_State *L, struct nbl *h, int t, int type)
{
	struct ifinfomsg ifi = {.ifi_family = AF_BRIDGE};
	int failed;

	lua_rawgeti(L, t, 1);
	nbl_name(L, h, " ", -1);
	failed = nbl_index(L, h, lua_gettop(L), "port", "1", &ifi.ifi_index);
	if (failed)
		return failed;
	lua_pop(L, 1);
	nbl_message(L, h, type, 0, &ifi, sizeof(ifi));
	return 0;
}

static int build_set(lua_State *L, struct nbl *h, int t)
{
	int failed = putport(L, h, t, RTM_SETLINK);
	size_t nest;

	if (failed)
		return failed;
	nest = nbl_nest(L, h, IFLA_PROTINFO);
	failed = nbl_putfields(L, h, t, map, "port");
	nbl_nestend(h, nest);
	return failed;
}

/***
Change the options that a link has as a port of a bridge.
@function port_set
@tparam table port the link, by name or index, and, true or false: `hairpin`
  `guard` `root_block` `fastleave` `learning` `flood` `mcast_flood`
  `bcast_flood` `mcast_to_unicast` `proxy_arp` `neigh_suppress` `isolated`
  `locked` `vlan_tunnel` `fdb_flush`; `cost` `priority` `mcast_router`
  `group_fwd_mask`; `state`: `"disabled"` `"blocking"` `"listening"`
  `"learning"` `"forwarding"`; `backup_port`: a link, or false
@treturn boolean true
@return[2] nil, message, errno: EINVAL, EOPNOTSUPP when it is no port
@see bridge(8)
*/
static int port_set(lua_State *L)
{
	return nbl_request(L, "port_set", build_set);
}

static const struct nbl_attr vlan_map[] = {{.name = "1"},
					   {.name = "vid"},
					   {.name = "vid_end"},
					   {.name = "pvid"},
					   {.name = "untagged"},
					   {.name = "self"},
					   {NULL}};

static uint16_t vidfield(lua_State *L, int t, const char *name, uint16_t def)
{
	lua_Integer vid = def;

	lua_pushstring(L, name);
	lua_rawget(L, t);
	if (!lua_isnil(L, -1))
		vid = lua_isinteger(L, -1) ? lua_tointeger(L, -1) : 0;
	lua_pop(L, 1);
	if (vid < 1 || vid > VID_MOST)
		nbl_badfield(L, "vlan", name, "integer from 1 to 4094");
	return (uint16_t)vid;
}

static bool boolfield(lua_State *L, int t, const char *name)
{
	bool value;

	lua_pushstring(L, name);
	lua_rawget(L, t);
	if (!lua_isnil(L, -1) && !lua_isboolean(L, -1))
		nbl_badfield(L, "vlan", name, "true or false");
	value = lua_toboolean(L, -1);
	lua_pop(L, 1);
	return value;
}

static void putvlan(lua_State *L, struct nbl *h, int flags, uint16_t vid)
{
	struct bridge_vlan_info info = {(uint16_t)flags, vid};

	nbl_put(L, h, IFLA_BRIDGE_VLAN_INFO, &info, sizeof(info));
}

static int build_vlan(lua_State *L, struct nbl *h, int t, int type)
{
	int failed = putport(L, h, t, type), flags = 0;
	uint16_t vid, end, self = BRIDGE_FLAGS_SELF;
	size_t spec;

	if (failed)
		return failed;
	nbl_putfields(L, h, t, vlan_map, "vlan");
	vid = vidfield(L, t, "vid", 0);
	end = vidfield(L, t, "vid_end", vid);
	if (end < vid)
		nbl_badfield(L, "vlan", "vid_end", "not less than vid");
	if (boolfield(L, t, "pvid"))
		flags |= BRIDGE_VLAN_INFO_PVID;
	if (boolfield(L, t, "untagged"))
		flags |= BRIDGE_VLAN_INFO_UNTAGGED;
	spec = nbl_nest(L, h, IFLA_AF_SPEC);
	if (boolfield(L, t, "self"))
		nbl_put(L, h, IFLA_BRIDGE_FLAGS, &self, sizeof(self));
	if (end == vid) {
		putvlan(L, h, flags, vid);
	} else {
		putvlan(L, h, flags | BRIDGE_VLAN_INFO_RANGE_BEGIN, vid);
		putvlan(L, h, flags | BRIDGE_VLAN_INFO_RANGE_END, end);
	}
	nbl_nestend(h, spec);
	return 0;
}

static int build_vlanadd(lua_State *L, struct nbl *h, int t)
{
	return build_vlan(L, h, t, RTM_SETLINK);
}

static int build_vlandel(lua_State *L, struct nbl *h, int t)
{
	return build_vlan(L, h, t, RTM_DELLINK);
}

/***
Admit VLANs to a port of a bridge that filters them.
@function vlan_add
@tparam table vlan the port, by name or index, and `vid`, 1 to 4094; `vid_end`
  of a range; `pvid`: what comes untagged belongs to it; `untagged`: leaves
  without a tag; `self`: the port is the bridge itself
@treturn boolean true
@return[2] nil, message, errno
@see bridge(8)
*/
static int vlan_add(lua_State *L)
{
	return nbl_request(L, "vlan_add", build_vlanadd);
}

/***
Admit VLANs no longer.
@function vlan_del
@tparam table vlan as in @{vlan_add}
@treturn boolean true
@return[2] nil, message, errno
@see bridge(8)
*/
static int vlan_del(lua_State *L)
{
	return nbl_request(L, "vlan_del", build_vlandel);
}

/* --- reads --- */

void nbl_setport(lua_State *L, struct nlattr *options)
{
	struct nlattr *tb[NBL_TB];

	nbl_parsenested(tb, options);
	lua_createtable(L, 0, 24);
	nbl_setfields(L, tb, map);
	lua_setfield(L, -2, "port");
}

/* the table with index, name and master of a message of AF_BRIDGE; false: nil,
 * it is none */
static bool pushport(lua_State *L, const struct nlmsghdr *n,
		     struct nlattr *tb[NBL_TB])
{
	static const struct nbl_attr common[] = {
	    {.name = "name", IFLA_IFNAME, NBL_STRING},
	    {.name = "master", IFLA_MASTER, NBL_INDEX},
	    {NULL}};
	const struct ifinfomsg *ifi = nbl_open(n, sizeof(*ifi), tb);

	if (!ifi) {
		lua_pushnil(L);
		return false;
	}
	lua_createtable(L, 0, 4);
	lua_pushinteger(L, ifi->ifi_index);
	lua_setfield(L, -2, "index");
	nbl_setfields(L, tb, common);
	return true;
}

void nbl_pushport(lua_State *L, const struct nlmsghdr *n)
{
	struct nlattr *tb[NBL_TB];

	/* the bridge itself has one that is not nested */
	if (pushport(L, n, tb) && tb[IFLA_PROTINFO] &&
	    nla_len(tb[IFLA_PROTINFO]) > 1)
		nbl_setport(L, tb[IFLA_PROTINFO]);
}

/* adds one to the list on top, or ends the range that the last one began */
static void addvlan(lua_State *L, const struct bridge_vlan_info *info)
{
	lua_Integer n = (lua_Integer)lua_rawlen(L, -1);

	if (n && info->flags & BRIDGE_VLAN_INFO_RANGE_END) {
		lua_rawgeti(L, -1, n);
		lua_pushinteger(L, info->vid);
		lua_setfield(L, -2, "vid_end");
		lua_pop(L, 1);
		return;
	}
	lua_createtable(L, 0, 4);
	lua_pushinteger(L, info->vid);
	lua_setfield(L, -2, "vid");
	lua_pushboolean(L, info->flags & BRIDGE_VLAN_INFO_PVID);
	lua_setfield(L, -2, "pvid");
	lua_pushboolean(L, info->flags & BRIDGE_VLAN_INFO_UNTAGGED);
	lua_setfield(L, -2, "untagged");
	lua_rawseti(L, -2, n + 1);
}

static void pushvlans(lua_State *L, const struct nlmsghdr *n)
{
	struct nlattr *tb[NBL_TB], *nla;
	int left;

	if (!pushport(L, n, tb))
		return;
	if (!tb[IFLA_AF_SPEC]) {
		lua_pop(L, 1);
		lua_pushnil(L);
		return;
	}
	lua_newtable(L);
	nla_for_each_nested(nla, tb[IFLA_AF_SPEC], left)
	{
		if (nla_type(nla) == IFLA_BRIDGE_VLAN_INFO &&
		    nla_len(nla) >= (int)sizeof(struct bridge_vlan_info))
			addvlan(L, nla_data(nla));
	}
	lua_setfield(L, -2, "vlans");
}

/***
The VLANs of all ports, and of the bridges themselves.
@function vlan_list
@treturn table list of `{ index, name, master, vlans }`; `vlans` is a list of
  `{ vid, vid_end, pvid, untagged }`
@treturn ?string "interrupted"
@return[2] nil, message, errno
@see bridge(8)
*/
static int vlan_list(lua_State *L)
{
	struct nbl *h = nbl_check(L, 1);
	struct ifinfomsg ifi = {.ifi_family = AF_BRIDGE};

	nbl_begin(h, "vlan_list", NULL);
	nbl_message(L, h, RTM_GETLINK, 0, &ifi, sizeof(ifi));
	nbl_putu32(L, h, IFLA_EXT_MASK, RTEXT_FILTER_BRVLAN_COMPRESSED);
	return nbl_dump(L, h, pushvlans);
}

const luaL_Reg nbl_portrequests[] = {
    {"port_set", port_set},
    {"vlan_add", vlan_add},
    {"vlan_del", vlan_del},
    {NULL, NULL},
};

const luaL_Reg nbl_portreads[] = {
    {"vlan_list", vlan_list},
    {NULL, NULL},
};
