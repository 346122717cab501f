/*
 * nl_route.c - routes: add, replace, del, get, list
 *
 * Owns what ip(8) adds to a request when nothing is said: table, scope and
 * protocol.  Libraries that leave it out make routes that ip cannot delete.
 * See rtnetlink(7), ip-route(8).
 */
#include <stdio.h>
#include <string.h>

#include "nl.h"

/***
@submodule nsbox.sys.netlink
*/

/***
A handle.
@type nsbox.netlink
*/

static const struct nb_word types[] = {{"unicast", RTN_UNICAST},
				       {"local", RTN_LOCAL},
				       {"broadcast", RTN_BROADCAST},
				       {"anycast", RTN_ANYCAST},
				       {"multicast", RTN_MULTICAST},
				       {"blackhole", RTN_BLACKHOLE},
				       {"unreachable", RTN_UNREACHABLE},
				       {"prohibit", RTN_PROHIBIT},
				       {"throw", RTN_THROW},
				       {"nat", RTN_NAT},
				       {NULL, 0}};

const struct nb_word nbl_protocols[] = {{"unspec", RTPROT_UNSPEC},
					{"redirect", RTPROT_REDIRECT},
					{"kernel", RTPROT_KERNEL},
					{"boot", RTPROT_BOOT},
					{"static", RTPROT_STATIC},
					{"ra", RTPROT_RA},
					{"zebra", RTPROT_ZEBRA},
					{"bird", RTPROT_BIRD},
					{"dhcp", RTPROT_DHCP},
					{"babel", RTPROT_BABEL},
					{"bgp", RTPROT_BGP},
					{"isis", RTPROT_ISIS},
					{"ospf", RTPROT_OSPF},
					{"rip", RTPROT_RIP},
					{NULL, 0}};

static const struct nb_word hop_flags[] = {
    {"onlink", RTNH_F_ONLINK}, {"pervasive", RTNH_F_PERVASIVE}, {NULL, 0}};

static const struct nb_word hop_states[] = {{"dead", RTNH_F_DEAD},
					    {"linkdown", RTNH_F_LINKDOWN},
					    {"offload", RTNH_F_OFFLOAD},
					    {NULL, 0}};

static const struct nbl_attr table = {
    .name = "table", 0, NBL_WORD32, .words = nbl_tables};
static const struct nbl_attr scope = {
    .name = "scope", 0, NBL_WORD8, .words = nbl_scopes};
static const struct nbl_attr type = {
    .name = "type", 0, NBL_WORD8, .words = types};
static const struct nbl_attr protocol = {
    .name = "protocol", 0, NBL_WORD8, .words = nbl_protocols};
static const struct nbl_attr family = {
    .name = "family", 0, NBL_WORD8, .words = nbl_families};

/* of RTA_METRICS */
static const struct nbl_attr metrics[] = {
    {.name = "mtu", RTAX_MTU, NBL_U32},
    {.name = "advmss", RTAX_ADVMSS, NBL_U32},
    {.name = "window", RTAX_WINDOW, NBL_U32},
    {.name = "hoplimit", RTAX_HOPLIMIT, NBL_U32},
    {.name = "initcwnd", RTAX_INITCWND, NBL_U32},
    {.name = "initrwnd", RTAX_INITRWND, NBL_U32},
    {.name = "quickack", RTAX_QUICKACK, NBL_U32},
    {.name = "congctl", RTAX_CC_ALGO, NBL_STRING, .max = 15},
    {NULL}};

static const struct nbl_attr request_map[] = {
    {.name = "1"},
    {.name = "family"},
    {.name = "via"},
    {.name = "dev"},
    {.name = "src"},
    {.name = "from"},
    {.name = "table"},
    {.name = "scope"},
    {.name = "type"},
    {.name = "protocol"},
    {.name = "onlink"},
    {.name = "pervasive"},
    {.name = "nexthops"},
    {.name = "mtu"},
    {.name = "advmss"},
    {.name = "window"},
    {.name = "hoplimit"},
    {.name = "initcwnd"},
    {.name = "initrwnd"},
    {.name = "quickack"},
    {.name = "congctl"},
    {.name = "metric", RTA_PRIORITY, NBL_U32},
    {.name = "nhid", RTA_NH_ID, NBL_U32},
    {.name = "expires", RTA_EXPIRES, NBL_U32},
    {NULL}};

static const struct nbl_attr record_map[] = {
    {.name = "src", RTA_PREFSRC, NBL_IP},
    {.name = "metric", RTA_PRIORITY, NBL_U32},
    {.name = "table", RTA_TABLE, NBL_WORD32, .words = nbl_tables},
    {.name = "dev", RTA_OIF, NBL_INDEX},
    {.name = "iif", RTA_IIF, NBL_INDEX},
    {.name = "mark", RTA_MARK, NBL_U32},
    {.name = "nhid", RTA_NH_ID, NBL_U32},
    {NULL}};

/* --- parts of a request --- */

/* a bare address */
static bool address(lua_State *L, int t, const char *name, const char *what,
		    struct nbl_prefix *p)
{
	bool there = nbl_prefix(L, t, name, what, p);

	if (there && p->given)
		nbl_badfield(L, what, name, "an address, without prefix,");
	return there;
}

/* the gateway, which may be one of the other family */
static void putvia(lua_State *L, struct nbl *h, int dst,
		   const struct nbl_prefix *via)
{
	struct {
		uint16_t family;
		uint8_t bytes[16];
	} far = {(uint16_t)via->family, {0}};

	if (via->family == dst) {
		nbl_put(L, h, RTA_GATEWAY, via->bytes, via->size);
		return;
	}
	memcpy(far.bytes, via->bytes, via->size);
	nbl_put(L, h, RTA_VIA, &far, sizeof(far.family) + via->size);
}

/* the hop at the top: a struct rtnexthop and its attributes */
static int puthop(lua_State *L, struct nbl *h, int dst)
{
	static const struct nbl_attr map[] = {
	    {.name = "via"},	{.name = "dev"},       {.name = "weight"},
	    {.name = "onlink"}, {.name = "pervasive"}, {NULL}};
	static const struct nbl_attr weight = {
	    .name = "weight", 0, NBL_U32, .max = 256};
	int t = lua_gettop(L), index = 0, failed;
	struct rtnexthop hop = {0};
	uint32_t at = NLMSG_ALIGN(nlmsg_hdr(h->msg)->nlmsg_len);
	struct nlmsghdr *n;
	struct nbl_prefix via;
	uint64_t value = 1;

	failed = nbl_device(L, h, t, "nexthop", "dev", &index);
	if (failed)
		return failed;
	if (nbl_number(L, t, &weight, "nexthop", &value) && !value)
		nbl_badfield(L, "nexthop", "weight", "1 to 256");
	hop.rtnh_ifindex = index;
	hop.rtnh_hops = (uint8_t)(value - 1);
	hop.rtnh_flags = (uint8_t)nbl_bits(L, t, hop_flags, "nexthop");
	nbl_append(L, h, &hop, sizeof(hop));
	if (address(L, t, "via", "nexthop", &via))
		putvia(L, h, dst, &via);
	else if (!index)
		nbl_badfield(L, "nexthop", "via", "or dev");
	failed = nbl_putfields(L, h, t, map, "nexthop");
	n = nlmsg_hdr(h->msg);
	hop.rtnh_len = (uint16_t)(n->nlmsg_len - at);
	memcpy((char *)n + at, &hop, sizeof(hop));
	return failed;
}

static int puthops(lua_State *L, struct nbl *h, int dst)
{
	int list = lua_gettop(L), failed;
	size_t nest = nbl_nest(L, h, RTA_MULTIPATH);
	lua_Integer n = (lua_Integer)lua_rawlen(L, list);

	if (!n)
		nbl_badfield(L, "route", "nexthops", "a list of tables");
	for (lua_Integer i = 1; i <= n; i++) {
		if (lua_rawgeti(L, list, i) != LUA_TTABLE)
			nbl_badfield(L, "route", "nexthops",
				     "a list of tables");
		failed = puthop(L, h, dst);
		if (failed)
			return failed;
		lua_pop(L, 1);
	}
	nbl_nestend(h, nest);
	return 0;
}

static int putmetrics(lua_State *L, struct nbl *h, int t)
{
	size_t nest = nbl_nest(L, h, RTA_METRICS);
	int failed = nbl_putsome(L, h, t, metrics, "route");

	nbl_nestfilled(h, nest);
	return failed;
}

/* where the route leads to, and by what the family is known: all zeros for
 * "default" */
static void target(lua_State *L, int t, struct nbl_prefix *dst)
{
	struct nbl_prefix other;
	uint64_t wanted = 0;
	bool known = nbl_number(L, t, &family, "route", &wanted);
	const char *text;

	memset(dst, 0, sizeof(*dst));
	lua_rawgeti(L, t, 1);
	text = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "";
	if (strcmp(text, "default") == 0) {
		dst->family = (int)wanted;
		if (!known && (address(L, t, "via", "route", &other) ||
			       address(L, t, "src", "route", &other)))
			dst->family = other.family;
		if (!dst->family &&
		    nbl_field(L, t, "nexthops", LUA_TTABLE, "route")) {
			if (lua_rawgeti(L, -1, 1) == LUA_TTABLE &&
			    address(L, lua_gettop(L), "via", "nexthop", &other))
				dst->family = other.family;
			lua_pop(L, 2);
		}
		if (!dst->family)
			dst->family = AF_INET;
		dst->size = dst->family == AF_INET ? 4 : 16;
	} else if (!nbl_prefixof(text, dst)) {
		nbl_badfield(L, "route", "1",
			     "\"default\", or an address, its prefix at most "
			     "/32 (IPv6: /128),");
	}
	if (known && dst->family != (int)wanted)
		nbl_badfield(L, "route", "family", "that of the destination");
	lua_pop(L, 1);
}

/* "default via 10.0.0.1": what failures name */
static void begin(lua_State *L, struct nbl *h, int t)
{
	lua_rawgeti(L, t, 1);
	nbl_name(L, h, " ", -1);
	lua_getfield(L, t, "via");
	if (lua_type(L, -1) == LUA_TSTRING)
		nbl_name(L, h, " via ", -1);
	lua_settop(L, t);
}

/* the numbers of the header, as ip(8) chooses those that are not given */
static uint32_t header(lua_State *L, int t, struct rtmsg *r, bool del,
		       bool direct)
{
	uint64_t value = del ? RTN_UNSPEC : RTN_UNICAST;
	uint32_t tableid;

	nbl_number(L, t, &type, "route", &value);
	r->rtm_type = (uint8_t)value;

	value = del ? RTPROT_UNSPEC : RTPROT_BOOT;
	nbl_number(L, t, &protocol, "route", &value);
	r->rtm_protocol = (uint8_t)value;

	value = del ? RT_SCOPE_NOWHERE : RT_SCOPE_UNIVERSE;
	if (r->rtm_type == RTN_LOCAL || r->rtm_type == RTN_NAT)
		value = RT_SCOPE_HOST;
	else if (r->rtm_type == RTN_BROADCAST || r->rtm_type == RTN_ANYCAST ||
		 r->rtm_type == RTN_MULTICAST)
		value = RT_SCOPE_LINK;
	else if (r->rtm_type == RTN_UNICAST && !del && direct)
		value = RT_SCOPE_LINK;
	nbl_number(L, t, &scope, "route", &value);
	r->rtm_scope = (uint8_t)value;

	value = RT_TABLE_MAIN;
	if (r->rtm_type == RTN_LOCAL || r->rtm_type == RTN_BROADCAST ||
	    r->rtm_type == RTN_ANYCAST || r->rtm_type == RTN_NAT)
		value = RT_TABLE_LOCAL;
	nbl_number(L, t, &table, "route", &value);
	tableid = (uint32_t)value;
	r->rtm_table = tableid < 256 ? (uint8_t)tableid : RT_TABLE_UNSPEC;
	return tableid;
}

static bool there(lua_State *L, int t, const char *name)
{
	bool is;

	lua_getfield(L, t, name);
	is = !lua_isnil(L, -1);
	lua_pop(L, 1);
	return is;
}

static int build(lua_State *L, struct nbl *h, int t, int message, int options)
{
	struct nbl_prefix dst, via, src, from;
	struct rtmsg r = {0};
	bool hasvia, hassrc;
	uint32_t tableid;
	int index = 0, failed;

	target(L, t, &dst);
	hasvia = address(L, t, "via", "route", &via);
	hassrc = address(L, t, "src", "route", &src);
	if (hassrc && src.family != dst.family)
		nbl_badfield(L, "route", "src", "an address of its family");
	begin(L, h, t);
	failed = nbl_device(L, h, t, "route", "dev", &index);
	if (failed)
		return failed;

	r.rtm_family = (uint8_t)dst.family;
	r.rtm_dst_len = dst.len;
	r.rtm_flags = nbl_bits(L, t, hop_flags, "route");
	tableid =
	    header(L, t, &r, message == RTM_DELROUTE,
		   !hasvia && !there(L, t, "nexthops") && !there(L, t, "nhid"));
	if (nbl_prefix(L, t, "from", "route", &from)) {
		if (from.family != dst.family)
			nbl_badfield(L, "route", "from", "its family");
		r.rtm_src_len = from.len;
	}
	nbl_message(L, h, message, options, &r, sizeof(r));
	if (dst.len)
		nbl_put(L, h, RTA_DST, dst.bytes, dst.size);
	if (from.size)
		nbl_put(L, h, RTA_SRC, from.bytes, from.size);
	if (hasvia)
		putvia(L, h, dst.family, &via);
	if (hassrc)
		nbl_put(L, h, RTA_PREFSRC, src.bytes, src.size);
	if (index)
		nbl_putu32(L, h, RTA_OIF, (uint32_t)index);
	if (tableid > 255)
		nbl_putu32(L, h, RTA_TABLE, tableid);
	failed = putmetrics(L, h, t);
	if (failed)
		return failed;
	if (nbl_field(L, t, "nexthops", LUA_TTABLE, "route")) {
		failed = puthops(L, h, dst.family);
		if (failed)
			return failed;
		lua_pop(L, 1);
	}
	return nbl_putfields(L, h, t, request_map, "route");
}

/* --- requests --- */

static int build_add(lua_State *L, struct nbl *h, int t)
{
	return build(L, h, t, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL);
}

/***
Add a route.
@function route_add
@tparam table route the destination, `"default"`, `"10.1.0.0/16"`, `"fd01::1"`,
  and

  - `via`: the gateway, also of the other family; `dev`: the device, by name or
    index; `onlink`: the gateway is there, whatever the addresses say
  - `nexthops` for several ways: a list of `{ via, dev, weight, onlink }`
  - `src`: the address to send from; `metric`; `from`: IPv6, senders that it is
    for; `nhid`: a nexthop object instead of all this
  - `table`: `"main"` `"local"` `"default"` or a number
  - `type`: `"unicast"` `"blackhole"` `"unreachable"` `"prohibit"` `"throw"`
    `"local"` `"broadcast"` `"anycast"` `"multicast"` `"nat"`
  - `scope`, as in @{addr_add}; `protocol`: `"boot"` `"static"` … or a number
  - `mtu` `advmss` `window` `hoplimit` `initcwnd` `initrwnd` `quickack`
    `congctl`; `expires`: seconds, IPv6
  - `family`: `"inet6"` for a default route that nothing else tells it

  What is not given is chosen as `ip` does.
@treturn boolean true
@return[2] nil, message, errno: EEXIST; ENETUNREACH "Nexthop has invalid
gateway"
@see ip-route(8)
*/
static int route_add(lua_State *L)
{
	return nbl_request(L, "route_add", build_add);
}

static int build_replace(lua_State *L, struct nbl *h, int t)
{
	return build(L, h, t, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE);
}

/***
Add a route, or take the place of one with this destination, table and metric.
@function route_replace
@tparam table route as in @{route_add}
@treturn boolean true
@return[2] nil, message, errno
@see ip-route(8)
*/
static int route_replace(lua_State *L)
{
	return nbl_request(L, "route_replace", build_replace);
}

static int build_del(lua_State *L, struct nbl *h, int t)
{
	return build(L, h, t, RTM_DELROUTE, 0);
}

/***
Delete the first route that is so.
@function route_del
@tparam table route as in @{route_add}; what is not given may be anything, but
  for the table
@treturn boolean true
@return[2] nil, message, errno: ESRCH
@see ip-route(8)
*/
static int route_del(lua_State *L)
{
	return nbl_request(L, "route_del", build_del);
}

/* --- reads --- */

static void setvia(lua_State *L, struct nlattr *tb[NBL_TB])
{
	const struct nlattr *nla = tb[RTA_GATEWAY];
	size_t skip = 0;

	if (!nla) {
		nla = tb[RTA_VIA];
		skip = sizeof(uint16_t);
	}
	if (!nla || (size_t)nla_len(nla) < skip)
		return;
	nbl_pushprefix(L, (const char *)nla_data(nla) + skip,
		       (size_t)nla_len(nla) - skip, -1);
	lua_setfield(L, -2, "via");
}

static void sethops(lua_State *L, struct nlattr *list)
{
	struct rtnexthop *hop = nla_data(list);
	int left = nla_len(list);
	lua_Integer n = 0;

	lua_newtable(L);
	for (; left >= (int)sizeof(*hop) && RTNH_OK(hop, left);
	     left -= RTNH_ALIGN(hop->rtnh_len), hop = RTNH_NEXT(hop)) {
		struct nlattr *tb[NBL_TB];

		nbl_parse(tb, (struct nlattr *)(hop + 1),
			  hop->rtnh_len - sizeof(*hop));
		lua_createtable(L, 0, 4);
		if (hop->rtnh_ifindex)
			nbl_setint(L, "dev", hop->rtnh_ifindex);
		nbl_setint(L, "weight", hop->rtnh_hops + 1);
		setvia(L, tb);
		nbl_setbits(L, hop_flags, hop->rtnh_flags);
		nbl_setbits(L, hop_states, hop->rtnh_flags);
		lua_rawseti(L, -2, ++n);
	}
	lua_setfield(L, -2, "nexthops");
}

static void setdst(lua_State *L, const char *name, const struct nlattr *nla,
		   int len, int all)
{
	if (nla)
		nbl_pushprefix(L, nla_data(nla), (size_t)nla_len(nla),
			       len == all ? -1 : len);
	else
		lua_pushliteral(L, "default");
	lua_setfield(L, -2, name);
}

void nbl_pushroute(lua_State *L, const struct nlmsghdr *n)
{
	struct nlattr *tb[NBL_TB], *inner[NBL_TB];
	const struct rtmsg *r = nbl_open(n, sizeof(*r), tb);
	int all;

	/* multicast routing has its own families */
	if (!r || !nb_wordof(nbl_families, r->rtm_family)) {
		lua_pushnil(L);
		return;
	}
	all = r->rtm_family == AF_INET ? 32 : 128;
	lua_createtable(L, 0, 12);
	setdst(L, "dst", tb[RTA_DST], r->rtm_dst_len, all);
	if (tb[RTA_SRC])
		setdst(L, "from", tb[RTA_SRC], r->rtm_src_len, all);
	nbl_setword(L, "family", nbl_families, r->rtm_family);
	nbl_setword(L, "table", nbl_tables, r->rtm_table);
	nbl_setword(L, "type", types, r->rtm_type);
	nbl_setword(L, "scope", nbl_scopes, r->rtm_scope);
	nbl_setword(L, "protocol", nbl_protocols, r->rtm_protocol);
	nbl_setbits(L, hop_flags, r->rtm_flags);
	nbl_setbits(L, hop_states, r->rtm_flags);
	nbl_setfields(L, tb, record_map);
	setvia(L, tb);
	if (tb[RTA_METRICS]) {
		nbl_parsenested(inner, tb[RTA_METRICS]);
		nbl_setfields(L, inner, metrics);
	}
	if (tb[RTA_MULTIPATH])
		sethops(L, tb[RTA_MULTIPATH]);
}

/***
The route that a packet would take.
@function route_get
@tparam table route the destination, and what is known of the packet: `from`,
  its sender; `iif`, the device it came from; `dev`, that it is to leave by;
  `mark` `uid`. With `fibmatch` the answer is the entry of the table
@treturn table as in @{route_list}
@return[2] nil, message, errno: ENETUNREACH, EHOSTUNREACH
@see ip-route(8)
*/
static int route_get(lua_State *L)
{
	static const struct nbl_attr map[] = {
	    {.name = "1"},
	    {.name = "fibmatch"},
	    {.name = "from"},
	    {.name = "iif", RTA_IIF, NBL_INDEX},
	    {.name = "dev", RTA_OIF, NBL_INDEX},
	    {.name = "mark", RTA_MARK, NBL_U32},
	    {.name = "uid", RTA_UID, NBL_U32},
	    {NULL}};
	static const struct nb_word flags[] = {{"fibmatch", RTM_F_FIB_MATCH},
					       {NULL, 0}};
	struct nbl *h = nbl_check(L, 1);
	struct rtmsg r = {0};
	struct nbl_prefix dst, from;
	bool hasfrom;
	int failed;

	luaL_checktype(L, 2, LUA_TTABLE);
	lua_settop(L, 2);
	lua_rawgeti(L, 2, 1);
	if (lua_type(L, -1) != LUA_TSTRING ||
	    !nbl_prefixof(lua_tostring(L, -1), &dst) || dst.given)
		nbl_badfield(L, "route", "1", "an address, without prefix,");
	nbl_begin(h, "route_get", lua_tostring(L, -1));
	hasfrom = address(L, 2, "from", "route", &from);
	if (hasfrom && from.family != dst.family)
		nbl_badfield(L, "route", "from", "an address of its family");
	r.rtm_family = (uint8_t)dst.family;
	r.rtm_dst_len = dst.len;
	r.rtm_src_len = hasfrom ? from.len : 0;
	r.rtm_flags = nbl_bits(L, 2, flags, "route");
	/* IPv6 looks there anyway, and refuses to be asked */
	if (dst.family == AF_INET)
		r.rtm_flags |= RTM_F_LOOKUP_TABLE;
	nbl_message(L, h, RTM_GETROUTE, 0, &r, sizeof(r));
	nbl_put(L, h, RTA_DST, dst.bytes, dst.size);
	if (hasfrom)
		nbl_put(L, h, RTA_SRC, from.bytes, from.size);
	failed = nbl_putfields(L, h, 2, map, "route");
	return failed ? failed : nbl_get(L, h, nbl_pushroute);
}

/***
The records of all routes, or of some; the kernel sorts out the others.
@function route_list
@tparam[opt] table filter `table` `family` `dev` `type` `protocol`
@treturn table list of `{ dst via dev src metric table scope type protocol
  family onlink mtu … nexthops from dead linkdown … }`, what it has of them, in
  the words of @{route_add}
@treturn ?string "interrupted" when routes came and went, each time it was tried
@return[2] nil, message, errno: ENOENT for a table that is not there, with a
  family
@see rtnetlink(7)
*/
static int route_list(lua_State *L)
{
	static const struct nbl_attr map[] = {
	    {.name = "table"},
	    {.name = "family"},
	    {.name = "type"},
	    {.name = "protocol"},
	    {.name = "dev", RTA_OIF, NBL_INDEX},
	    {NULL}};
	struct nbl *h = nbl_list(L, "route_list");
	struct rtmsg r = {0};
	uint64_t value;
	int failed;

	if (nbl_number(L, 2, &family, "filter", &value))
		r.rtm_family = (uint8_t)value;
	if (nbl_number(L, 2, &type, "filter", &value))
		r.rtm_type = (uint8_t)value;
	if (nbl_number(L, 2, &protocol, "filter", &value))
		r.rtm_protocol = (uint8_t)value;
	nbl_message(L, h, RTM_GETROUTE, 0, &r, sizeof(r));
	if (nbl_number(L, 2, &table, "filter", &value))
		nbl_putu32(L, h, RTA_TABLE, (uint32_t)value);
	failed = nbl_putfields(L, h, 2, map, "filter");
	return failed ? failed : nbl_dump(L, h, nbl_pushroute);
}

const luaL_Reg nbl_routerequests[] = {
    {"route_add", route_add},
    {"route_del", route_del},
    {"route_replace", route_replace},
    {NULL, NULL},
};

const luaL_Reg nbl_routereads[] = {
    {"route_get", route_get},
    {"route_list", route_list},
    {NULL, NULL},
};
