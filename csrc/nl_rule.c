/*
 * nl_rule.c - rules, which choose a table of routes: add, del, list
 *
 * See rtnetlink(7), ip-rule(8), linux/fib_rules.h.
 */
#include <linux/fib_rules.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>

#include "nl.h"

/***
@submodule nsbox.sys.netlink
*/

/***
A handle.
@type nsbox.netlink
*/

static const struct nb_word types[] = {{"unicast", FR_ACT_TO_TBL},
				       {"goto", FR_ACT_GOTO},
				       {"nop", FR_ACT_NOP},
				       {"blackhole", FR_ACT_BLACKHOLE},
				       {"unreachable", FR_ACT_UNREACHABLE},
				       {"prohibit", FR_ACT_PROHIBIT},
				       {NULL, 0}};

static const struct nb_word protos[] = {
    {"tcp", IPPROTO_TCP},   {"udp", IPPROTO_UDP},	{"icmp", IPPROTO_ICMP},
    {"sctp", IPPROTO_SCTP}, {"icmpv6", IPPROTO_ICMPV6}, {NULL, 0}};

static const struct nb_word flags[] = {{"invert", FIB_RULE_INVERT}, {NULL, 0}};
static const struct nb_word states[] = {{"iif_detached", FIB_RULE_IIF_DETACHED},
					{"oif_detached", FIB_RULE_OIF_DETACHED},
					{"unresolved", FIB_RULE_UNRESOLVED},
					{NULL, 0}};

static const struct nbl_attr table = {
    .name = "table", 0, NBL_WORD32, .words = nbl_tables};
static const struct nbl_attr type = {
    .name = "type", 0, NBL_WORD8, .words = types};
static const struct nbl_attr family = {
    .name = "family", 0, NBL_WORD8, .words = nbl_families};
static const struct nbl_attr tos = {.name = "tos", 0, NBL_U8};
#define BOTH                                                                   \
	{.name = "protocol", FRA_PROTOCOL, NBL_WORD8, .words = nbl_protocols}, \
	    {.name = "priority", FRA_PRIORITY, NBL_U32},                       \
	    {.name = "iif", FRA_IIFNAME, NBL_STRING, .max = IFNAMSIZ - 1},     \
	    {.name = "oif", FRA_OIFNAME, NBL_STRING, .max = IFNAMSIZ - 1},     \
	    {.name = "fwmark", FRA_FWMARK, NBL_U32},                           \
	    {.name = "fwmask", FRA_FWMASK, NBL_U32},                           \
	    {.name = "jump", FRA_GOTO, NBL_U32},                               \
	    {.name = "l3mdev", FRA_L3MDEV, NBL_BOOL8},                         \
	    {.name = "ipproto", FRA_IP_PROTO, NBL_WORD8, .words = protos},     \
	{                                                                      \
		.name = "suppress_ifgroup", FRA_SUPPRESS_IFGROUP, NBL_U32      \
	}

static const struct nbl_attr request_map[] = {{.name = "family"},
					      {.name = "from"},
					      {.name = "to"},
					      {.name = "table"},
					      {.name = "type"},
					      {.name = "tos"},
					      {.name = "invert"},
					      {.name = "sport"},
					      {.name = "dport"},
					      {.name = "uidrange"},
					      {.name = "suppress_prefixlength",
					       FRA_SUPPRESS_PREFIXLEN,
					       NBL_U32,
					       .max = 128},
					      BOTH,
					      {NULL}};

static const struct nbl_attr record_map[] = {
    {.name = "table", FRA_TABLE, NBL_WORD32, .words = nbl_tables},
    BOTH,
    {NULL}};

/* --- requests --- */

/* a number, or { first, last } */
static bool range(lua_State *L, int t, const char *name, lua_Integer most,
		  uint32_t *first, uint32_t *last)
{
	lua_Integer from, to;

	lua_pushstring(L, name);
	if (lua_rawget(L, t) == LUA_TNIL) {
		lua_pop(L, 1);
		return false;
	}
	if (lua_istable(L, -1)) {
		lua_rawgeti(L, -1, 1);
		lua_rawgeti(L, -2, 2);
	} else {
		lua_pushvalue(L, -1);
		lua_pushvalue(L, -1);
	}
	from = lua_isinteger(L, -2) ? lua_tointeger(L, -2) : -1;
	to = lua_isinteger(L, -1) ? lua_tointeger(L, -1) : -1;
	if (from < 0 || to < from || to > most)
		nbl_badfield(L, "rule", name,
			     lua_pushfstring(L,
					     "integer from 0 to %I, or "
					     "{ first, last },",
					     (LUAI_UACINT)most));
	lua_pop(L, 3);
	*first = (uint32_t)from;
	*last = (uint32_t)to;
	return true;
}

static void putports(lua_State *L, struct nbl *h, int t, const char *name,
		     int number)
{
	struct fib_rule_port_range ports;
	uint32_t first, last;

	if (!range(L, t, name, UINT16_MAX, &first, &last))
		return;
	ports.start = (uint16_t)first;
	ports.end = (uint16_t)last;
	nbl_put(L, h, number, &ports, sizeof(ports));
}

/* the prefixes decide about the family, then what is said */
static int familyof(lua_State *L, int t, const struct nbl_prefix *from,
		    const struct nbl_prefix *to)
{
	uint64_t said;
	bool known = nbl_number(L, t, &family, "rule", &said);
	int is = from->family ? from->family : to->family;

	if (from->family && to->family && from->family != to->family)
		nbl_badfield(L, "rule", "to",
			     "an address of the family of from");
	if (known && is && is != (int)said)
		nbl_badfield(L, "rule", "family", "that of the addresses");
	if (known)
		return (int)said;
	return is ? is : AF_INET;
}

/* "priority 100": what failures name */
static void begin(lua_State *L, struct nbl *h, int t)
{
	const char *thing = NULL;

	lua_getfield(L, t, "priority");
	if (!lua_isnil(L, -1))
		thing = lua_pushfstring(L, "priority %s",
					luaL_tolstring(L, -1, NULL));
	nbl_begin(h, h->verb, thing);
	lua_settop(L, t);
}

static int build(lua_State *L, struct nbl *h, int t, int message, int options)
{
	bool add = message == RTM_NEWRULE, jump;
	struct fib_rule_hdr r = {0};
	struct nbl_prefix from, to;
	struct fib_rule_uid_range uids;
	uint64_t value = 0, tableid;
	bool hastable, l3mdev;

	begin(L, h, t);
	nbl_prefix(L, t, "from", "rule", &from);
	nbl_prefix(L, t, "to", "rule", &to);
	r.family = (uint8_t)familyof(L, t, &from, &to);
	r.src_len = from.len;
	r.dst_len = to.len;
	jump = nbl_field(L, t, "jump", LUA_TNUMBER, "rule");
	l3mdev = nbl_field(L, t, "l3mdev", LUA_TBOOLEAN, "rule");
	lua_settop(L, t);
	value = jump ? FR_ACT_GOTO : add ? FR_ACT_TO_TBL : FR_ACT_UNSPEC;
	nbl_number(L, t, &type, "rule", &value);
	r.action = (uint8_t)value;
	value = 0;
	nbl_number(L, t, &tos, "rule", &value);
	r.tos = (uint8_t)value;
	r.flags = nbl_bits(L, t, flags, "rule");
	hastable = nbl_number(L, t, &table, "rule", &tableid);
	if (!hastable && add && r.action == FR_ACT_TO_TBL && !l3mdev)
		r.table = RT_TABLE_MAIN;
	else if (hastable && tableid < 256)
		r.table = (uint8_t)tableid;

	nbl_message(L, h, message, options, &r, sizeof(r));
	if (from.len)
		nbl_put(L, h, FRA_SRC, from.bytes, from.size);
	if (to.len)
		nbl_put(L, h, FRA_DST, to.bytes, to.size);
	if (hastable && tableid > 255)
		nbl_putu32(L, h, FRA_TABLE, (uint32_t)tableid);
	putports(L, h, t, "sport", FRA_SPORT_RANGE);
	putports(L, h, t, "dport", FRA_DPORT_RANGE);
	if (range(L, t, "uidrange", UINT32_MAX - 1, &uids.start, &uids.end))
		nbl_put(L, h, FRA_UID_RANGE, &uids, sizeof(uids));
	return nbl_putfields(L, h, t, request_map, "rule");
}

static int build_add(lua_State *L, struct nbl *h, int t)
{
	return build(L, h, t, RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL);
}

/***
Add a rule: for which packets a table is looked at.
@function rule_add
@tparam table rule

  - `table`: as in @{route_add}, main if absent; or `type`: `"blackhole"`
    `"unreachable"` `"prohibit"` `"nop"`; or `jump`: the priority of a rule; or
    `l3mdev`: that of the VRF
  - `priority`: rules are tried from 0 on; absent: before all but the first
  - `from` `to`: prefixes; `iif` `oif`: names of devices; `fwmark` `fwmask`
    `tos`; `ipproto`: `"tcp"` `"udp"` … or a number; `sport` `dport` `uidrange`:
    a number or `{ first, last }`; `invert`: all other packets
  - `suppress_prefixlength`: routes with a prefix of at most this length do not
    count; `suppress_ifgroup`; `protocol`, as in @{route_add}
  - `family`: `"inet"` `"inet6"`, where no address tells it
@treturn boolean true
@return[2] nil, message, errno: EEXIST
@see ip-rule(8)
*/
static int rule_add(lua_State *L)
{
	return nbl_request(L, "rule_add", build_add);
}

static int build_del(lua_State *L, struct nbl *h, int t)
{
	int named = 0;

	lua_pushnil(L);
	while (lua_next(L, t)) {
		lua_pop(L, 1);
		named++;
	}
	lua_getfield(L, t, "family");
	/* the kernel would delete the first one there is */
	if (named == !lua_isnil(L, -1))
		nbl_badfield(L, "rule", "priority", "something that names it,");
	lua_pop(L, 1);
	return build(L, h, t, RTM_DELRULE, 0);
}

/***
Delete the first rule that is so.
@function rule_del
@tparam table rule as in @{rule_add}; what is not given may be anything
@treturn boolean true
@return[2] nil, message, errno: ENOENT
@see ip-rule(8)
*/
static int rule_del(lua_State *L)
{
	return nbl_request(L, "rule_del", build_del);
}

/* --- reads --- */

static void setrange(lua_State *L, const char *name, uint32_t first,
		     uint32_t last)
{
	if (first == last) {
		lua_pushinteger(L, first);
	} else {
		lua_createtable(L, 2, 0);
		lua_pushinteger(L, first);
		lua_rawseti(L, -2, 1);
		lua_pushinteger(L, last);
		lua_rawseti(L, -2, 2);
	}
	lua_setfield(L, -2, name);
}

static void setports(lua_State *L, const char *name, const struct nlattr *nla)
{
	struct fib_rule_port_range ports = {0};

	if (!nla)
		return;
	nla_memcpy(&ports, nla, sizeof(ports));
	setrange(L, name, ports.start, ports.end);
}

static void setprefix(lua_State *L, const char *name, const struct nlattr *nla,
		      int len)
{
	if (!nla)
		return;
	nbl_pushprefix(L, nla_data(nla), (size_t)nla_len(nla),
		       len == nla_len(nla) * 8 ? -1 : len);
	lua_setfield(L, -2, name);
}

void nbl_pushrule(lua_State *L, const struct nlmsghdr *n)
{
	struct nlattr *tb[NBL_TB];
	const struct fib_rule_hdr *r = nbl_open(n, sizeof(*r), tb);
	struct fib_rule_uid_range uids = {0};
	uint32_t least = UINT32_MAX;

	if (!r || !nb_wordof(nbl_families, r->family)) {
		lua_pushnil(L);
		return;
	}
	lua_createtable(L, 0, 8);
	nbl_setword(L, "family", nbl_families, r->family);
	nbl_setword(L, "type", types, r->action);
	nbl_setint(L, "priority", 0); /* the kernel does not say that one */
	nbl_setbits(L, flags, r->flags);
	nbl_setbits(L, states, r->flags);
	if (r->tos)
		nbl_setint(L, "tos", r->tos);
	setprefix(L, "from", tb[FRA_SRC], r->src_len);
	setprefix(L, "to", tb[FRA_DST], r->dst_len);
	nbl_setfields(L, tb, record_map);
	if (!nbl_uint(tb[FRA_TABLE])) {
		lua_pushnil(L);
		lua_setfield(L, -2, "table");
	}
	setports(L, "sport", tb[FRA_SPORT_RANGE]);
	setports(L, "dport", tb[FRA_DPORT_RANGE]);
	if (tb[FRA_UID_RANGE]) {
		nla_memcpy(&uids, tb[FRA_UID_RANGE], sizeof(uids));
		setrange(L, "uidrange", uids.start, uids.end);
	}
	if (tb[FRA_SUPPRESS_PREFIXLEN])
		least = (uint32_t)nbl_uint(tb[FRA_SUPPRESS_PREFIXLEN]);
	if (least != UINT32_MAX)
		nbl_setint(L, "suppress_prefixlength", least);
}

/***
The records of the rules, in the order in which they are tried, IPv4 first.
@function rule_list
@tparam[opt] table filter `family`
@treturn table list of `{ family priority type table from to iif oif fwmark
  fwmask ipproto sport dport … }`, what it has of them, in the words of
  @{rule_add}
@treturn ?string "interrupted" when rules came and went, each time it was tried
@return[2] nil, message, errno
@see ip-rule(8)
*/
static int rule_list(lua_State *L)
{
	static const struct nbl_attr map[] = {{.name = "family"}, {NULL}};
	struct nbl *h = nbl_list(L, "rule_list");
	struct fib_rule_hdr r = {0};
	uint64_t value;
	int failed;

	if (nbl_number(L, 2, &family, "filter", &value))
		r.family = (uint8_t)value;
	nbl_message(L, h, RTM_GETRULE, 0, &r, sizeof(r));
	failed = nbl_putfields(L, h, 2, map, "filter");
	return failed ? failed : nbl_dump(L, h, nbl_pushrule);
}

const luaL_Reg nbl_rulerequests[] = {
    {"rule_add", rule_add},
    {"rule_del", rule_del},
    {NULL, NULL},
};

const luaL_Reg nbl_rulereads[] = {
    {"rule_list", rule_list},
    {NULL, NULL},
};
