/*
 * nl_linkread.c - links: get and list
 *
 * Owns the record of a link, which monitors show, too.  No link is looked at
 * that was not asked for.  See rtnetlink(7), ip-link(8).
 */
#include <net/if.h>
#include <net/if_arp.h>
#include <string.h>

#include "nl_link.h"

#ifndef RTEXT_FILTER_SKIP_STATS
#define RTEXT_FILTER_SKIP_STATS (1 << 3)
#endif

/***
@submodule nsbox.sys.netlink
*/

/***
A handle.
@type nsbox.netlink
*/

/* IFF_LOWER_UP and beyond are not in net/if.h, and linux/if.h clashes */
static const struct nb_word flag_words[] = {{"up", IFF_UP},
					    {"broadcast", IFF_BROADCAST},
					    {"debug", IFF_DEBUG},
					    {"loopback", IFF_LOOPBACK},
					    {"pointopoint", IFF_POINTOPOINT},
					    {"noarp", IFF_NOARP},
					    {"promisc", IFF_PROMISC},
					    {"allmulti", IFF_ALLMULTI},
					    {"master", IFF_MASTER},
					    {"slave", IFF_SLAVE},
					    {"multicast", IFF_MULTICAST},
					    {"dynamic", IFF_DYNAMIC},
					    {"lower_up", 1 << 16},
					    {"dormant", 1 << 17},
					    {NULL, 0}};

static const struct nb_word types[] = {{"ether", ARPHRD_ETHER},
				       {"loopback", ARPHRD_LOOPBACK},
				       {"none", ARPHRD_NONE},
				       {"ipip", ARPHRD_TUNNEL},
				       {"sit", ARPHRD_SIT},
				       {"gre", ARPHRD_IPGRE},
				       {"infiniband", ARPHRD_INFINIBAND},
				       {NULL, 0}};

/* RFC 2863; linux/if.h, IF_OPER_* */
static const struct nb_word states[] = {
    {"unknown", 0}, {"notpresent", 1}, {"down", 2}, {"lowerlayerdown", 3},
    {"testing", 4}, {"dormant", 5},    {"up", 6},   {NULL, 0}};

static const struct nbl_attr record_map[] = {
    {.name = "name", IFLA_IFNAME, NBL_STRING},
    NBL_BORN,
    NBL_QUEUES,
    {.name = "master", IFLA_MASTER, NBL_INDEX},
    {.name = "link_netnsid", IFLA_LINK_NETNSID, NBL_S32},
    {.name = "alias", IFLA_IFALIAS, NBL_STRING},
    {.name = "state", IFLA_OPERSTATE, NBL_WORD8, .words = states},
    {.name = "qdisc", IFLA_QDISC, NBL_STRING},
    {.name = "promiscuity", IFLA_PROMISCUITY, NBL_U32},
    {.name = "carrier", IFLA_CARRIER, NBL_BOOL8},
    {.name = "protodown", IFLA_PROTO_DOWN, NBL_BOOL8},
    {.name = "min_mtu", IFLA_MIN_MTU, NBL_U32},
    {.name = "max_mtu", IFLA_MAX_MTU, NBL_U32},
    {NULL}};

/* the device that this one is on, or its other end */
static void setlink(lua_State *L, struct nlattr *tb[NBL_TB], const char *kind)
{
	uint32_t index = (uint32_t)nbl_uint(tb[IFLA_LINK]);

	if (!index)
		return;
	lua_pushinteger(L, index);
	lua_setfield(L, -2, kind && nbl_peerattr(kind) ? "peer" : "link");
}

static void setinfo(lua_State *L, struct nlattr *tb[NBL_TB])
{
	struct nlattr *info[NBL_TB];
	const char *kind, *slave;

	memset(info, 0, sizeof(info));
	if (tb[IFLA_LINKINFO])
		nbl_parsenested(info, tb[IFLA_LINKINFO]);
	kind = nbl_text(info[IFLA_INFO_KIND]);
	if (kind) {
		lua_pushstring(L, kind);
		lua_setfield(L, -2, "kind");
		nbl_setkind(L, kind, info[IFLA_INFO_DATA]);
	}
	slave = nbl_text(info[IFLA_INFO_SLAVE_KIND]);
	if (info[IFLA_INFO_SLAVE_DATA] && slave && strcmp(slave, "bridge") == 0)
		nbl_setport(L, info[IFLA_INFO_SLAVE_DATA]);
	setlink(L, tb, kind);
}

static void setflag(lua_State *L, const char *name, bool value)
{
	lua_pushboolean(L, value);
	lua_setfield(L, -2, name);
}

void nbl_pushlink(lua_State *L, const struct nlmsghdr *n)
{
	struct nlattr *tb[NBL_TB];
	const struct ifinfomsg *ifi = nbl_open(n, sizeof(*ifi), tb);
	const char *type;

	if (!ifi) {
		lua_pushnil(L);
		return;
	}
	type = nb_wordof(types, ifi->ifi_type);
	lua_createtable(L, 0, 24);
	lua_pushinteger(L, ifi->ifi_index);
	lua_setfield(L, -2, "index");
	if (type)
		lua_pushstring(L, type);
	else
		lua_pushinteger(L, ifi->ifi_type);
	lua_setfield(L, -2, "type");
	setflag(L, "up", ifi->ifi_flags & IFF_UP);
	setflag(L, "promisc", ifi->ifi_flags & IFF_PROMISC);
	setflag(L, "allmulti", ifi->ifi_flags & IFF_ALLMULTI);
	nb_pushwords(L, flag_words, ifi->ifi_flags);
	lua_setfield(L, -2, "flags");
	nbl_setfields(L, tb, record_map);
	setinfo(L, tb);
}

static void putskipstats(lua_State *L, struct nbl *h)
{
	nbl_putu32(L, h, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
}

/***
The record of one link; no other link is looked at.
@function link_get
@tparam string|integer link name or index
@treturn table `index name type kind data mac mtu txqueuelen group alias qdisc
  state up promisc allmulti carrier flags promiscuity master link link_netnsid
  min_mtu max_mtu numtxqueues …`, what it has of them; `peer` is the other end
  of a veth; `port`, of a bridge's port, has the words of @{port_set}; `link`
and `peer` are in the namespace `link_netnsid`, if that is there; `state` is a
  word of RFC 2863
@return[2] nil, message, errno: ENODEV
@see rtnetlink(7)
*/
static int link_get(lua_State *L)
{
	struct nbl *h = nbl_check(L, 1);
	struct ifinfomsg ifi = {0};
	const char *name = NULL;

	lua_settop(L, 2);
	if (lua_type(L, 2) == LUA_TSTRING)
		name = nbl_checkname(L, 2, "link", "1");
	else
		nbl_index(L, h, 2, "link", "1", &ifi.ifi_index);
	nbl_begin(h, "link_get", NULL);
	nbl_name(L, h, " ", 2);
	nbl_message(L, h, RTM_GETLINK, 0, &ifi, sizeof(ifi));
	nbl_putlinkname(L, h, name);
	putskipstats(L, h);
	return nbl_get(L, h, nbl_pushlink);
}

/***
The records of all links, or of some; see @{link_get}.
@function link_list
@tparam[opt] table filter `master`, a device; `kind`
@treturn table list
@treturn ?string "interrupted" when links came and went, each time it was tried
@return[2] nil, message, errno
@see rtnetlink(7)
*/
static int link_list(lua_State *L)
{
	static const struct nbl_attr map[] = {
	    {.name = "master", IFLA_MASTER, NBL_INDEX},
	    {.name = "kind"},
	    {NULL}};
	struct nbl *h = nbl_check(L, 1);
	const char *kind = NULL;
	int failed, results;

	lua_settop(L, 2);
	if (lua_isnil(L, 2)) {
		lua_newtable(L);
		lua_replace(L, 2);
	}
	luaL_checktype(L, 2, LUA_TTABLE);
	nbl_begin(h, "link_list", NULL);
	nbl_message(L, h, RTM_GETLINK, 0, &(struct ifinfomsg){0},
		    sizeof(struct ifinfomsg));
	failed = nbl_putfields(L, h, 2, map, "filter");
	if (failed)
		return failed;
	putskipstats(L, h);
	if (nbl_field(L, 2, "kind", LUA_TSTRING, "filter")) {
		size_t info = nbl_nest(L, h, IFLA_LINKINFO);

		kind = lua_tostring(L, -1);
		nbl_put(L, h, IFLA_INFO_KIND, kind, strlen(kind) + 1);
		nbl_nestend(h, info);
		lua_pop(L, 1);
	}
	results = nbl_dump(L, h, nbl_pushlink);
	/* a kernel that has no driver of that kind filters nothing */
	if (kind && results < 3) {
		int list = lua_gettop(L) - results + 1;

		lua_pushstring(L, kind);
		nbl_keep(L, list, "kind");
	}
	return results;
}

const luaL_Reg nbl_linkreads[] = {
    {"link_get", link_get},
    {"link_list", link_list},
    {NULL, NULL},
};
