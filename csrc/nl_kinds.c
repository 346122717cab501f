/*
 * nl_kinds.c - what a kind of link has of its own: IFLA_INFO_DATA
 *
 * One map a kind, the words of `ip link`.  A kind that is not here can be
 * made all the same, with attributes by number.  libnl-route 3.7 has no
 * bridge options and no ipvlan flags, and sends vxlan's port too wide.
 * See ip-link(8), linux/if_link.h.
 */
#include <arpa/inet.h>
#include <linux/if_tun.h>
#include <linux/if_vlan.h>
#include <linux/veth.h>
#include <string.h>

#include "nl.h"

#define TYPE_MOST 0x3fff /* above are flags, see NLA_TYPE_MASK */

/* single bits of one attribute, each a field */
struct bits {
	uint16_t number;
	bool masked; /* with a mask behind the value: struct ifla_vlan_flags */
	const struct nb_word *words;
};

struct kind {
	const char *name;
	const struct nbl_attr *map;
	const struct bits *bits;
	int peer;
};

static const struct nb_word vlan_protocols[] = {
    {"802.1q", 0x8100}, {"802.1ad", 0x88a8}, {NULL, 0}};

/* --- bridge: times are hundredths of a second, as in ip --- */

static const struct nbl_attr bridge[] = {
    {.name = "forward_delay", IFLA_BR_FORWARD_DELAY, NBL_U32},
    {.name = "hello_time", IFLA_BR_HELLO_TIME, NBL_U32},
    {.name = "max_age", IFLA_BR_MAX_AGE, NBL_U32},
    {.name = "ageing_time", IFLA_BR_AGEING_TIME, NBL_U32},
    {.name = "stp", IFLA_BR_STP_STATE, NBL_BOOL32},
    {.name = "priority", IFLA_BR_PRIORITY, NBL_U16},
    {.name = "vlan_filtering", IFLA_BR_VLAN_FILTERING, NBL_BOOL8},
    {.name = "vlan_protocol",
     IFLA_BR_VLAN_PROTOCOL,
     NBL_WORDBE16,
     .words = vlan_protocols},
    {.name = "vlan_default_pvid",
     IFLA_BR_VLAN_DEFAULT_PVID,
     NBL_U16,
     .max = 4094},
    {.name = "vlan_stats_enabled", IFLA_BR_VLAN_STATS_ENABLED, NBL_BOOL8},
    {.name = "vlan_stats_per_port", IFLA_BR_VLAN_STATS_PER_PORT, NBL_BOOL8},
    {.name = "group_fwd_mask", IFLA_BR_GROUP_FWD_MASK, NBL_U16},
    {.name = "group_address", IFLA_BR_GROUP_ADDR, NBL_MAC},
    {.name = "mcast_snooping", IFLA_BR_MCAST_SNOOPING, NBL_BOOL8},
    {.name = "mcast_router", IFLA_BR_MCAST_ROUTER, NBL_U8, .max = 2},
    {.name = "mcast_querier", IFLA_BR_MCAST_QUERIER, NBL_BOOL8},
    {.name = "mcast_query_use_ifaddr",
     IFLA_BR_MCAST_QUERY_USE_IFADDR,
     NBL_BOOL8},
    {.name = "mcast_hash_max", IFLA_BR_MCAST_HASH_MAX, NBL_U32},
    {.name = "mcast_last_member_count", IFLA_BR_MCAST_LAST_MEMBER_CNT, NBL_U32},
    {.name = "mcast_startup_query_count",
     IFLA_BR_MCAST_STARTUP_QUERY_CNT,
     NBL_U32},
    {.name = "mcast_last_member_interval",
     IFLA_BR_MCAST_LAST_MEMBER_INTVL,
     NBL_U64},
    {.name = "mcast_membership_interval",
     IFLA_BR_MCAST_MEMBERSHIP_INTVL,
     NBL_U64},
    {.name = "mcast_querier_interval", IFLA_BR_MCAST_QUERIER_INTVL, NBL_U64},
    {.name = "mcast_query_interval", IFLA_BR_MCAST_QUERY_INTVL, NBL_U64},
    {.name = "mcast_query_response_interval",
     IFLA_BR_MCAST_QUERY_RESPONSE_INTVL,
     NBL_U64},
    {.name = "mcast_startup_query_interval",
     IFLA_BR_MCAST_STARTUP_QUERY_INTVL,
     NBL_U64},
    {.name = "mcast_stats_enabled", IFLA_BR_MCAST_STATS_ENABLED, NBL_BOOL8},
    {.name = "mcast_igmp_version",
     IFLA_BR_MCAST_IGMP_VERSION,
     NBL_U8,
     .max = 3},
    {.name = "mcast_mld_version", IFLA_BR_MCAST_MLD_VERSION, NBL_U8, .max = 2},
    {.name = "nf_call_iptables", IFLA_BR_NF_CALL_IPTABLES, NBL_BOOL8},
    {.name = "nf_call_ip6tables", IFLA_BR_NF_CALL_IP6TABLES, NBL_BOOL8},
    {.name = "nf_call_arptables", IFLA_BR_NF_CALL_ARPTABLES, NBL_BOOL8},
    {.name = "fdb_flush", IFLA_BR_FDB_FLUSH, NBL_FLAG, NBL_WRITE},
    {.name = "root_port", IFLA_BR_ROOT_PORT, NBL_U16, NBL_READ},
    {.name = "root_path_cost", IFLA_BR_ROOT_PATH_COST, NBL_U32, NBL_READ},
    {.name = "topology_change", IFLA_BR_TOPOLOGY_CHANGE, NBL_BOOL8, NBL_READ},
    {NULL}};

/* --- macvlan, macvtap --- */

static const struct nb_word macvlan_modes[] = {
    {"private", MACVLAN_MODE_PRIVATE}, {"vepa", MACVLAN_MODE_VEPA},
    {"bridge", MACVLAN_MODE_BRIDGE},   {"passthru", MACVLAN_MODE_PASSTHRU},
    {"source", MACVLAN_MODE_SOURCE},   {NULL, 0}};

static const struct nb_word macvlan_flags[] = {
    {"nopromisc", MACVLAN_FLAG_NOPROMISC},
    {"nodst", MACVLAN_FLAG_NODST},
    {NULL, 0}};

static const struct bits macvlan_bits = {IFLA_MACVLAN_FLAGS, false,
					 macvlan_flags};

static const struct nbl_attr macvlan[] = {
    {.name = "mode", IFLA_MACVLAN_MODE, NBL_WORD32, .words = macvlan_modes},
    {.name = "nopromisc"},
    {.name = "nodst"},
    {.name = "bcqueuelen", IFLA_MACVLAN_BC_QUEUE_LEN, NBL_U32},
    {.name = "usedbcqueuelen",
     IFLA_MACVLAN_BC_QUEUE_LEN_USED,
     NBL_U32,
     NBL_READ},
    {NULL}};

/* --- ipvlan, ipvtap --- */

static const struct nb_word ipvlan_modes[] = {{"l2", IPVLAN_MODE_L2},
					      {"l3", IPVLAN_MODE_L3},
					      {"l3s", IPVLAN_MODE_L3S},
					      {NULL, 0}};

static const struct nb_word ipvlan_flags[] = {{"bridge", 0},
					      {"private", IPVLAN_F_PRIVATE},
					      {"vepa", IPVLAN_F_VEPA},
					      {NULL, 0}};

static const struct nbl_attr ipvlan[] = {
    {.name = "mode", IFLA_IPVLAN_MODE, NBL_WORD16, .words = ipvlan_modes},
    {.name = "flags", IFLA_IPVLAN_FLAGS, NBL_WORD16, .words = ipvlan_flags},
    {NULL}};

/* --- vlan --- */

static const struct nb_word vlan_flags[] = {
    {"reorder_hdr", VLAN_FLAG_REORDER_HDR},	  {"gvrp", VLAN_FLAG_GVRP},
    {"loose_binding", VLAN_FLAG_LOOSE_BINDING},	  {"mvrp", VLAN_FLAG_MVRP},
    {"bridge_binding", VLAN_FLAG_BRIDGE_BINDING}, {NULL, 0}};

static const struct bits vlan_bits = {IFLA_VLAN_FLAGS, true, vlan_flags};

static const struct nbl_attr vlan[] = {
    {.name = "id", IFLA_VLAN_ID, NBL_U16, .max = 4094},
    {.name = "protocol",
     IFLA_VLAN_PROTOCOL,
     NBL_WORDBE16,
     .words = vlan_protocols},
    {.name = "reorder_hdr"},
    {.name = "gvrp"},
    {.name = "loose_binding"},
    {.name = "mvrp"},
    {.name = "bridge_binding"},
    {NULL}};

/* --- vxlan: group and remote are one attribute, told apart by the address;
 * what is read is called group for a multicast address --- */

static const struct nb_word vxlan_df[] = {{"unset", VXLAN_DF_UNSET},
					  {"set", VXLAN_DF_SET},
					  {"inherit", VXLAN_DF_INHERIT},
					  {NULL, 0}};

static const struct nbl_attr vxlan[] = {
    {.name = "id", IFLA_VXLAN_ID, NBL_U32, .max = 0xffffff},
    {.name = "remote", IFLA_VXLAN_GROUP, NBL_IP4},
    {.name = "remote", IFLA_VXLAN_GROUP6, NBL_IP6},
    {.name = "group", IFLA_VXLAN_GROUP, NBL_IP4, NBL_WRITE},
    {.name = "group", IFLA_VXLAN_GROUP6, NBL_IP6, NBL_WRITE},
    {.name = "src", IFLA_VXLAN_LOCAL, NBL_IP4},
    {.name = "src", IFLA_VXLAN_LOCAL6, NBL_IP6},
    {.name = "link", IFLA_VXLAN_LINK, NBL_INDEX},
    {.name = "dstport", IFLA_VXLAN_PORT, NBL_BE16},
    {.name = "ttl", IFLA_VXLAN_TTL, NBL_U8},
    {.name = "ttl_inherit", IFLA_VXLAN_TTL_INHERIT, NBL_FLAG},
    {.name = "tos", IFLA_VXLAN_TOS, NBL_U8},
    {.name = "df", IFLA_VXLAN_DF, NBL_WORD8, .words = vxlan_df},
    {.name = "label", IFLA_VXLAN_LABEL, NBL_BE32, .max = 0xfffff},
    {.name = "learning", IFLA_VXLAN_LEARNING, NBL_BOOL8},
    {.name = "ageing", IFLA_VXLAN_AGEING, NBL_U32},
    {.name = "maxaddress", IFLA_VXLAN_LIMIT, NBL_U32},
    {.name = "proxy", IFLA_VXLAN_PROXY, NBL_BOOL8},
    {.name = "rsc", IFLA_VXLAN_RSC, NBL_BOOL8},
    {.name = "l2miss", IFLA_VXLAN_L2MISS, NBL_BOOL8},
    {.name = "l3miss", IFLA_VXLAN_L3MISS, NBL_BOOL8},
    {.name = "udp_csum", IFLA_VXLAN_UDP_CSUM, NBL_BOOL8},
    {.name = "udp_zero_csum6_tx", IFLA_VXLAN_UDP_ZERO_CSUM6_TX, NBL_BOOL8},
    {.name = "udp_zero_csum6_rx", IFLA_VXLAN_UDP_ZERO_CSUM6_RX, NBL_BOOL8},
    {.name = "remcsum_tx", IFLA_VXLAN_REMCSUM_TX, NBL_BOOL8},
    {.name = "remcsum_rx", IFLA_VXLAN_REMCSUM_RX, NBL_BOOL8},
    {.name = "external", IFLA_VXLAN_COLLECT_METADATA, NBL_BOOL8},
    {.name = "gbp", IFLA_VXLAN_GBP, NBL_FLAG},
    {.name = "gpe", IFLA_VXLAN_GPE, NBL_FLAG},
    {NULL}};

/* --- the short ones --- */

static const struct nbl_attr vrf[] = {
    {.name = "table", IFLA_VRF_TABLE, NBL_U32}, {NULL}};

/* made by ioctl, see nl_tun.c */
static const struct nb_word tun_types[] = {
    {"tun", IFF_TUN}, {"tap", IFF_TAP}, {NULL, 0}};

static const struct nbl_attr tun[] = {
    {.name = "mode", IFLA_TUN_TYPE, NBL_WORD8, NBL_READ, tun_types},
    {.name = "user", IFLA_TUN_OWNER, NBL_U32, NBL_READ},
    {.name = "group", IFLA_TUN_GROUP, NBL_U32, NBL_READ},
    {.name = "pi", IFLA_TUN_PI, NBL_BOOL8, NBL_READ},
    {.name = "vnet_hdr", IFLA_TUN_VNET_HDR, NBL_BOOL8, NBL_READ},
    {.name = "persist", IFLA_TUN_PERSIST, NBL_BOOL8, NBL_READ},
    {.name = "multi_queue", IFLA_TUN_MULTI_QUEUE, NBL_BOOL8, NBL_READ},
    {NULL}};

static const struct kind kinds[] = {
    {"veth", NULL, NULL, VETH_INFO_PEER},
    {"bridge", bridge, NULL, 0},
    {"macvlan", macvlan, &macvlan_bits, 0},
    {"macvtap", macvlan, &macvlan_bits, 0},
    {"ipvlan", ipvlan, NULL, 0},
    {"ipvtap", ipvlan, NULL, 0},
    {"vlan", vlan, &vlan_bits, 0},
    {"vxlan", vxlan, NULL, 0},
    {"vrf", vrf, NULL, 0},
    {"tun", tun, NULL, 0},
    /* these put the other end where veth does */
    {"vxcan", NULL, NULL, VETH_INFO_PEER},
    {"netkit", NULL, NULL, VETH_INFO_PEER},
};

static const struct kind *find(const char *name)
{
	for (size_t i = 0; i < NB_COUNT(kinds); i++)
		if (strcmp(kinds[i].name, name) == 0)
			return &kinds[i];
	return NULL;
}

int nbl_peerattr(const char *kind)
{
	const struct kind *k = find(kind);

	return k ? k->peer : 0;
}

/* --- writing --- */

static void putbits(lua_State *L, struct nbl *h, const struct bits *b, int t,
		    const char *what)
{
	struct ifla_vlan_flags value = {0, 0};
	uint16_t narrow;

	for (const struct nb_word *w = b->words; w->word; w++) {
		lua_pushstring(L, w->word);
		lua_rawget(L, t);
		if (lua_isboolean(L, -1)) {
			value.mask |= (uint32_t)w->value;
			if (lua_toboolean(L, -1))
				value.flags |= (uint32_t)w->value;
		} else if (!lua_isnil(L, -1)) {
			nbl_badfield(L, what, w->word, "true or false");
		}
		lua_pop(L, 1);
	}
	narrow = (uint16_t)value.flags;
	if (value.mask && b->masked)
		nbl_put(L, h, b->number, &value, sizeof(value));
	else if (value.mask)
		nbl_put(L, h, b->number, &narrow, sizeof(narrow));
}

/* { { number, bytes }, ... } */
static void putraw(lua_State *L, struct nbl *h, int t, const char *what)
{
	lua_Integer n = (lua_Integer)lua_rawlen(L, t);

	for (lua_Integer i = 1; i <= n; i++) {
		const char *bytes;
		lua_Integer number = 0;
		size_t len;

		lua_rawgeti(L, t, i);
		if (lua_istable(L, -1)) {
			lua_rawgeti(L, -1, 1);
			number = lua_tointeger(L, -1);
			lua_rawgeti(L, -2, 2);
		}
		if (number < 1 || number > TYPE_MOST ||
		    lua_type(L, -1) != LUA_TSTRING)
			nbl_badfield(L, what, "data",
				     "a list of { number, bytes }");
		bytes = lua_tolstring(L, -1, &len);
		nbl_put(L, h, (int)number, bytes, len);
		lua_pop(L, 3);
	}
}

int nbl_putkind(lua_State *L, struct nbl *h, const char *kind, int t)
{
	static const struct nbl_attr none[] = {{NULL}};
	const struct kind *k = find(kind);
	int failed;

	if (!k) {
		putraw(L, h, t, kind);
		return 0;
	}
	failed = nbl_putfields(L, h, t, k->map ? k->map : none, kind);
	if (!failed && k->bits)
		putbits(L, h, k->bits, t, kind);
	return failed;
}

/* --- reading --- */

static void setbits(lua_State *L, const struct bits *b, struct nlattr *nla)
{
	uint32_t value = 0;

	nla_memcpy(&value, nla, sizeof(value));
	for (const struct nb_word *w = b->words; w->word; w++) {
		lua_pushboolean(L, (value & w->value) != 0);
		lua_setfield(L, -2, w->word);
	}
}

/* an address to which many listen is a group */
static void renamegroup(lua_State *L, struct nlattr *tb[NBL_TB])
{
	const uint8_t *v4, *v6;

	v4 = nbl_data(tb[IFLA_VXLAN_GROUP], 4);
	v6 = nbl_data(tb[IFLA_VXLAN_GROUP6], 16);
	if (!(v4 && v4[0] >> 4 == 14) && !(v6 && v6[0] == 0xff))
		return;
	lua_getfield(L, -1, "remote");
	lua_setfield(L, -2, "group");
	lua_pushnil(L);
	lua_setfield(L, -2, "remote");
}

static void setraw(lua_State *L, struct nlattr *data)
{
	struct nlattr *nla;
	lua_Integer n = 0;
	int left;

	nla_for_each_nested(nla, data, left)
	{
		lua_createtable(L, 2, 0);
		lua_pushinteger(L, nla_type(nla));
		lua_rawseti(L, -2, 1);
		lua_pushlstring(L, nla_data(nla), (size_t)nla_len(nla));
		lua_rawseti(L, -2, 2);
		lua_rawseti(L, -2, ++n);
	}
}

void nbl_setkind(lua_State *L, const char *kind, struct nlattr *data)
{
	const struct kind *k = find(kind);
	struct nlattr *tb[NBL_TB];

	if (!data || (k && !k->map))
		return;
	lua_createtable(L, 0, k ? 16 : 0);
	if (!k) {
		setraw(L, data);
	} else {
		nbl_parsenested(tb, data);
		nbl_setfields(L, tb, k->map);
		if (k->bits && tb[k->bits->number])
			setbits(L, k->bits, tb[k->bits->number]);
		if (k->map == vxlan)
			renamegroup(L, tb);
	}
	lua_setfield(L, -2, "data");
}
