/*
 * nl_neigh.c - neighbours and forwarding entries: add, append, replace, del,
 * list
 *
 * Both are RTM_NEWNEIGH; what is keyed by an address is a neighbour, as in
 * ip-neighbour(8), what is keyed by a MAC is a forwarding entry of a bridge or
 * vxlan, as in bridge(8).  Owns the states and flags that those tools choose.
 */
#include <linux/neighbour.h>
#include <string.h>

#include "nl.h"

/***
@submodule nsbox.sys.netlink
*/

/***
A handle.
@type nsbox.netlink
*/

static const struct nb_word states[] = {
    {"none", NUD_NONE},		  {"incomplete", NUD_INCOMPLETE},
    {"reachable", NUD_REACHABLE}, {"stale", NUD_STALE},
    {"delay", NUD_DELAY},	  {"probe", NUD_PROBE},
    {"failed", NUD_FAILED},	  {"noarp", NUD_NOARP},
    {"permanent", NUD_PERMANENT}, {NULL, 0}};

/* what bridge(8) sets for its words */
static const struct nb_word fdb_states[] = {
    {"permanent", NUD_NOARP | NUD_PERMANENT},
    {"static", NUD_NOARP | NUD_REACHABLE},
    {"dynamic", NUD_REACHABLE},
    {NULL, 0}};

static const struct nb_word flags[] = {{"proxy", NTF_PROXY},
				       {"router", NTF_ROUTER},
				       {"use", NTF_USE},
				       {"extern_learn", NTF_EXT_LEARNED},
				       {NULL, 0}};

static const struct nb_word fdb_flags[] = {{"self", NTF_SELF},
					   {"router", NTF_ROUTER},
					   {"sticky", NTF_STICKY},
					   {"use", NTF_USE},
					   {"extern_learn", NTF_EXT_LEARNED},
					   {NULL, 0}};

static const struct nb_word masters[] = {{"master", NTF_MASTER}, {NULL, 0}};
static const struct nb_word offloads[] = {{"offload", NTF_OFFLOADED},
					  {NULL, 0}};

static const struct nbl_attr family = {
    .name = "family", 0, NBL_WORD8, .words = nbl_families};

static const struct nbl_attr neigh_map[] = {
    {.name = "1"},
    {.name = "dev"},
    {.name = "state"},
    {.name = "proxy"},
    {.name = "router"},
    {.name = "use"},
    {.name = "extern_learn"},
    {.name = "mac", NDA_LLADDR, NBL_MAC},
    {.name = "protocol", NDA_PROTOCOL, NBL_WORD8, .words = nbl_protocols},
    {NULL}};

#define FDB                                                                    \
	{.name = "dst", NDA_DST, NBL_IP},                                      \
	    {.name = "vlan", NDA_VLAN, NBL_U16, .max = 4095},                  \
	    {.name = "vni", NDA_VNI, NBL_U32, .max = 0xffffff},                \
	    {.name = "src_vni", NDA_SRC_VNI, NBL_U32, .max = 0xffffff},        \
	    {.name = "port", NDA_PORT, NBL_BE16},                              \
	    {.name = "via", NDA_IFINDEX, NBL_INDEX},                           \
	{                                                                      \
		.name = "nhid", NDA_NH_ID, NBL_U32                             \
	}

static const struct nbl_attr fdb_map[] = {{.name = "1", NDA_LLADDR, NBL_MAC},
					  {.name = "dev"},
					  {.name = "state"},
					  {.name = "self"},
					  {.name = "master"},
					  {.name = "router"},
					  {.name = "sticky"},
					  {.name = "use"},
					  {.name = "extern_learn"},
					  FDB,
					  {NULL}};

static const struct nbl_attr fdb_record[] = {
    {.name = "mac", NDA_LLADDR, NBL_MAC},
    {.name = "master", NDA_MASTER, NBL_INDEX},
    FDB,
    {NULL}};

/* --- requests --- */

/* "10.0.0.2 dev eth0": what failures name */
static void begin(lua_State *L, struct nbl *h, int t)
{
	lua_rawgeti(L, t, 1);
	nbl_name(L, h, " ", -1);
	lua_getfield(L, t, "dev");
	nbl_name(L, h, " dev ", -1);
	lua_settop(L, t);
}

/* the address at t[1], and the family */
static void target(lua_State *L, int t, struct nbl_prefix *dst)
{
	lua_rawgeti(L, t, 1);
	if (lua_type(L, -1) != LUA_TSTRING ||
	    !nbl_prefixof(lua_tostring(L, -1), dst) || dst->given)
		nbl_badfield(L, "neigh", "1", "an address, without prefix,");
	lua_pop(L, 1);
}

static int build(lua_State *L, struct nbl *h, int t, int type, int options)
{
	static const struct nbl_attr state = {
	    .name = "state", 0, NBL_WORD16, .words = states};
	struct ndmsg nd = {0};
	uint64_t word = type == RTM_NEWNEIGH ? NUD_PERMANENT : NUD_NONE;
	struct nbl_prefix dst;
	int failed;

	target(L, t, &dst);
	begin(L, h, t);
	failed = nbl_needdevice(L, h, t, "neigh", "dev", &nd.ndm_ifindex);
	if (failed)
		return failed;
	nd.ndm_family = (uint8_t)dst.family;
	nbl_number(L, t, &state, "neigh", &word);
	nd.ndm_state = (uint16_t)word;
	nd.ndm_flags = (uint8_t)nbl_bits(L, t, flags, "neigh");
	nbl_message(L, h, type, options, &nd, sizeof(nd));
	nbl_put(L, h, NDA_DST, dst.bytes, dst.size);
	return nbl_putfields(L, h, t, neigh_map, "neigh");
}

static int build_add(lua_State *L, struct nbl *h, int t)
{
	return build(L, h, t, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_EXCL);
}

/***
Tell the kernel the MAC of a neighbour.
@function neigh_add
@tparam table neigh the address, and

  - `dev`: the device, by name or index; `mac`
  - `state`: `"permanent"`, if absent, `"reachable"` `"stale"` `"noarp"`
`"none"`
    `"incomplete"` `"delay"` `"probe"` `"failed"`
  - `proxy`: answer for it; `router` `use` `extern_learn`; `protocol`, as in
    @{route_add}
@treturn boolean true
@return[2] nil, message, errno: EEXIST
@see ip-neighbour(8)
*/
static int neigh_add(lua_State *L)
{
	return nbl_request(L, "neigh_add", build_add);
}

static int build_replace(lua_State *L, struct nbl *h, int t)
{
	return build(L, h, t, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE);
}

/***
Tell the kernel the MAC of a neighbour, or another one.
@function neigh_replace
@tparam table neigh as in @{neigh_add}
@treturn boolean true
@return[2] nil, message, errno
@see ip-neighbour(8)
*/
static int neigh_replace(lua_State *L)
{
	return nbl_request(L, "neigh_replace", build_replace);
}

static int build_del(lua_State *L, struct nbl *h, int t)
{
	return build(L, h, t, RTM_DELNEIGH, 0);
}

/***
Make the kernel forget a neighbour.
@function neigh_del
@tparam table neigh the address, `dev`, `proxy`
@treturn boolean true
@return[2] nil, message, errno: ENOENT
@see ip-neighbour(8)
*/
static int neigh_del(lua_State *L)
{
	return nbl_request(L, "neigh_del", build_del);
}

static int fdb(lua_State *L, struct nbl *h, int t, int type, int options)
{
	static const struct nbl_attr state = {
	    .name = "state", 0, NBL_WORD16, .words = fdb_states};
	struct ndmsg nd = {.ndm_family = AF_BRIDGE};
	uint64_t word = NUD_NOARP | NUD_PERMANENT;
	int failed;

	if (lua_rawgeti(L, t, 1) != LUA_TSTRING)
		nbl_badfield(L, "fdb", "1", "aa:bb:cc:dd:ee:ff");
	lua_pop(L, 1);
	begin(L, h, t);
	failed = nbl_needdevice(L, h, t, "fdb", "dev", &nd.ndm_ifindex);
	if (failed)
		return failed;
	nbl_number(L, t, &state, "fdb", &word);
	nd.ndm_state = (uint16_t)word;
	nd.ndm_flags = (uint8_t)(nbl_bits(L, t, fdb_flags, "fdb") |
				 nbl_bits(L, t, masters, "fdb"));
	if (!(nd.ndm_flags & (NTF_SELF | NTF_MASTER)))
		nd.ndm_flags |= NTF_SELF;
	nbl_message(L, h, type, options, &nd, sizeof(nd));
	return nbl_putfields(L, h, t, fdb_map, "fdb");
}

static int build_fdbadd(lua_State *L, struct nbl *h, int t)
{
	return fdb(L, h, t, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_EXCL);
}

/***
Tell a bridge or a vxlan where a MAC is.
@function fdb_add
@tparam table fdb the MAC, and

  - `dev`: the device: a vxlan, or the port of a bridge
  - `master`: in the bridge that it is a port of; `self`: in the device itself,
    also when neither is said
  - `vlan`; for a vxlan `dst`: the address behind which it is, `vni` `src_vni`
    `port` `via` (the device to send by) `nhid`
  - `state`: `"permanent"`, if absent, `"static"` `"dynamic"`; `sticky` `router`
    `use` `extern_learn`
@treturn boolean true
@return[2] nil, message, errno: EEXIST
@see bridge(8)
*/
static int fdb_add(lua_State *L)
{
	return nbl_request(L, "fdb_add", build_fdbadd);
}

static int build_fdbappend(lua_State *L, struct nbl *h, int t)
{
	return fdb(L, h, t, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_APPEND);
}

/***
Tell a vxlan one more place of a MAC: what has none goes to all those of
`"00:00:00:00:00:00"`.
@function fdb_append
@tparam table fdb as in @{fdb_add}
@treturn boolean true
@return[2] nil, message, errno
@see bridge(8)
*/
static int fdb_append(lua_State *L)
{
	return nbl_request(L, "fdb_append", build_fdbappend);
}

static int build_fdbreplace(lua_State *L, struct nbl *h, int t)
{
	return fdb(L, h, t, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE);
}

/***
Tell a bridge or a vxlan where a MAC is, or is now.
@function fdb_replace
@tparam table fdb as in @{fdb_add}
@treturn boolean true
@return[2] nil, message, errno
@see bridge(8)
*/
static int fdb_replace(lua_State *L)
{
	return nbl_request(L, "fdb_replace", build_fdbreplace);
}

static int build_fdbdel(lua_State *L, struct nbl *h, int t)
{
	return fdb(L, h, t, RTM_DELNEIGH, 0);
}

/***
Make a bridge or a vxlan forget a MAC.
@function fdb_del
@tparam table fdb the MAC, `dev`, `self` or `master`, `vlan` `dst` `vni` …
@treturn boolean true
@return[2] nil, message, errno: ENOENT
@see bridge(8)
*/
static int fdb_del(lua_State *L)
{
	return nbl_request(L, "fdb_del", build_fdbdel);
}

/* --- reads --- */

void nbl_pushneigh(lua_State *L, const struct nlmsghdr *n)
{
	struct nlattr *tb[NBL_TB];
	const struct ndmsg *nd = nbl_open(n, sizeof(*nd), tb);

	if (!nd || !nb_wordof(nbl_families, nd->ndm_family) || !tb[NDA_DST]) {
		lua_pushnil(L);
		return;
	}
	lua_createtable(L, 0, 6);
	nbl_pushprefix(L, nla_data(tb[NDA_DST]), (size_t)nla_len(tb[NDA_DST]),
		       -1);
	lua_setfield(L, -2, "addr");
	nbl_setint(L, "dev", nd->ndm_ifindex);
	nbl_setword(L, "family", nbl_families, nd->ndm_family);
	nbl_setword(L, "state", states, nd->ndm_state);
	nbl_setbits(L, flags, nd->ndm_flags);
	nbl_setfields(L, tb, neigh_map);
}

void nbl_pushfdb(lua_State *L, const struct nlmsghdr *n)
{
	struct nlattr *tb[NBL_TB];
	const struct ndmsg *nd = nbl_open(n, sizeof(*nd), tb);
	const char *state = "dynamic";

	if (!nd || nd->ndm_family != AF_BRIDGE || !tb[NDA_LLADDR]) {
		lua_pushnil(L);
		return;
	}
	if (nd->ndm_state & NUD_PERMANENT)
		state = "permanent";
	else if (nd->ndm_state & NUD_NOARP)
		state = "static";
	else if (nd->ndm_state & NUD_STALE)
		state = "stale";
	lua_createtable(L, 0, 8);
	nbl_setint(L, "dev", nd->ndm_ifindex);
	lua_pushstring(L, state);
	lua_setfield(L, -2, "state");
	nbl_setbits(L, fdb_flags, nd->ndm_flags);
	nbl_setbits(L, offloads, nd->ndm_flags);
	nbl_setfields(L, tb, fdb_record);
}

/***
The records of the neighbours, all or some.
@function neigh_list
@tparam[opt] table filter `dev` `family`; `proxy`: those that are answered for,
  which are not listed otherwise
@treturn table list of `{ addr dev mac state family protocol proxy router … }`,
  what it has of them
@treturn ?string "interrupted" when they changed, each time it was tried
@return[2] nil, message, errno
@see ip-neighbour(8)
*/
static int neigh_list(lua_State *L)
{
	static const struct nbl_attr map[] = {
	    {.name = "family"},
	    {.name = "proxy"},
	    {.name = "dev", NDA_IFINDEX, NBL_INDEX},
	    {NULL}};
	static const struct nb_word proxy[] = {{"proxy", NTF_PROXY}, {NULL, 0}};
	struct nbl *h = nbl_list(L, "neigh_list");
	struct ndmsg nd = {0};
	uint64_t word;
	int failed;

	if (nbl_number(L, 2, &family, "filter", &word))
		nd.ndm_family = (uint8_t)word;
	nd.ndm_flags = (uint8_t)nbl_bits(L, 2, proxy, "filter");
	nbl_message(L, h, RTM_GETNEIGH, 0, &nd, sizeof(nd));
	failed = nbl_putfields(L, h, 2, map, "filter");
	return failed ? failed : nbl_dump(L, h, nbl_pushneigh);
}

/***
The records of the forwarding entries of bridges and devices, all or some.
@function fdb_list
@tparam[opt] table filter `dev`; `master`: those of the ports of that bridge,
and its own
@treturn table list of `{ mac dev state master self vlan dst vni port via … }`,
  what it has of them; `master` is the index of the bridge that knows it;
`state` can also be `"stale"`
@treturn ?string "interrupted" when they changed, each time it was tried
@return[2] nil, message, errno
@see bridge(8)
*/
static int fdb_list(lua_State *L)
{
	static const struct nbl_attr map[] = {
	    {.name = "dev", NDA_IFINDEX, NBL_INDEX},
	    {.name = "master", NDA_MASTER, NBL_INDEX},
	    {NULL}};
	struct nbl *h = nbl_list(L, "fdb_list");
	struct ndmsg nd = {.ndm_family = AF_BRIDGE};
	int failed;

	nbl_message(L, h, RTM_GETNEIGH, 0, &nd, sizeof(nd));
	failed = nbl_putfields(L, h, 2, map, "filter");
	return failed ? failed : nbl_dump(L, h, nbl_pushfdb);
}

const luaL_Reg nbl_neighrequests[] = {
    {"fdb_add", fdb_add},
    {"fdb_append", fdb_append},
    {"fdb_del", fdb_del},
    {"fdb_replace", fdb_replace},
    {"neigh_add", neigh_add},
    {"neigh_del", neigh_del},
    {"neigh_replace", neigh_replace},
    {NULL, NULL},
};

const luaL_Reg nbl_neighreads[] = {
    {"fdb_list", fdb_list},
    {"neigh_list", neigh_list},
    {NULL, NULL},
};
