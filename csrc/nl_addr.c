/*
 * nl_addr.c - addresses: add, replace, del, list
 *
 * Owns the checks that the kernel leaves to its callers: an IPv4 address of
 * /33 is refused here.  See rtnetlink(7), ip-address(8).
 */
#include <linux/if_addr.h>
#include <net/if.h>
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

/* what a request can ask for, each a boolean field */
static const struct nb_word flags[] = {{"nodad", IFA_F_NODAD},
				       {"noprefixroute", IFA_F_NOPREFIXROUTE},
				       {"home", IFA_F_HOMEADDRESS},
				       {"mngtmpaddr", IFA_F_MANAGETEMPADDR},
				       {"autojoin", IFA_F_MCAUTOJOIN},
				       {"optimistic", IFA_F_OPTIMISTIC},
				       {NULL, 0}};

/* what the kernel says of one */
static const struct nb_word states[] = {
    {"secondary", IFA_F_SECONDARY},
    {"dadfailed", IFA_F_DADFAILED},
    {"deprecated", IFA_F_DEPRECATED},
    {"tentative", IFA_F_TENTATIVE},
    {"permanent", IFA_F_PERMANENT},
    {"stable_privacy", IFA_F_STABLE_PRIVACY},
    {NULL, 0}};

static const struct nbl_attr scope = {
    .name = "scope", 0, NBL_WORD8, .words = nbl_scopes};
static const struct nbl_attr family = {
    .name = "family", 0, NBL_WORD8, .words = nbl_families};

/* what names an address, and the rest of what makes one */
static const struct nbl_attr add_map[] = {
    {.name = "1"},
    {.name = "dev"},
    {.name = "peer"},
    {.name = "scope"},
    {.name = "nodad"},
    {.name = "noprefixroute"},
    {.name = "home"},
    {.name = "mngtmpaddr"},
    {.name = "autojoin"},
    {.name = "optimistic"},
    {.name = "valid_lft"},
    {.name = "preferred_lft"},
    {.name = "broadcast", IFA_BROADCAST, NBL_IP4},
    {.name = "label", IFA_LABEL, NBL_STRING, .max = IFNAMSIZ - 1},
    {.name = "metric", IFA_RT_PRIORITY, NBL_U32},
    {.name = "proto", IFA_PROTO, NBL_U8},
    {NULL}};

static const struct nbl_attr del_map[] = {
    {.name = "1"},
    {.name = "dev"},
    {.name = "peer"},
    {.name = "label", IFA_LABEL, NBL_STRING, .max = IFNAMSIZ - 1},
    {NULL}};

static const struct nbl_attr record_map[] = {
    {.name = "broadcast", IFA_BROADCAST, NBL_IP4},
    {.name = "label", IFA_LABEL, NBL_STRING},
    {.name = "metric", IFA_RT_PRIORITY, NBL_U32},
    {.name = "proto", IFA_PROTO, NBL_U8},
    {NULL}};

/* --- requests --- */

/* the address, and what names it, in a new message */
static int puttarget(lua_State *L, struct nbl *h, int t, int type, int options)
{
	struct nbl_prefix local, peer;
	struct ifaddrmsg ifa = {0};
	int index = 0, failed;
	bool far;

	lua_rawgeti(L, t, 1);
	if (lua_type(L, -1) != LUA_TSTRING ||
	    !nbl_prefixof(lua_tostring(L, -1), &local))
		nbl_badfield(
		    L, "addr", "1",
		    "an address, its prefix at most /32 (IPv6: /128),");
	far = nbl_prefix(L, t, "peer", "addr", &peer);
	/* then the prefix is that of the peer */
	if (!far && !local.given)
		nbl_badfield(L, "addr", "1", "an address with its prefix");
	if (far && local.given)
		nbl_badfield(L, "addr", "1",
			     "without prefix, as there is a peer, an address");
	if (far && peer.family != local.family)
		nbl_badfield(L, "addr", "peer",
			     "an address of the same family");
	nbl_begin(h, h->verb, lua_tostring(L, -1));
	lua_pop(L, 1);

	failed = nbl_needdevice(L, h, t, "addr", "dev", &index);
	if (failed)
		return failed;
	ifa.ifa_family = (uint8_t)local.family;
	ifa.ifa_prefixlen = far ? peer.len : local.len;
	ifa.ifa_index = (uint32_t)index;
	nbl_message(L, h, type, options, &ifa, sizeof(ifa));
	nbl_put(L, h, IFA_LOCAL, local.bytes, local.size);
	nbl_put(L, h, IFA_ADDRESS, far ? peer.bytes : local.bytes, local.size);
	return 0;
}

/* seconds, or "forever"; false: absent */
static bool lifetime(lua_State *L, int t, const char *name, uint32_t *seconds)
{
	static const struct nb_word words[] = {{"forever", UINT32_MAX},
					       {NULL, 0}};
	const struct nbl_attr a = {.name = name, 0, NBL_WORD32, .words = words};
	uint64_t value;

	if (!nbl_number(L, t, &a, "addr", &value))
		return false;
	*seconds = (uint32_t)value;
	return true;
}

static void putlifetimes(lua_State *L, struct nbl *h, int t)
{
	struct ifa_cacheinfo info = {.ifa_valid = UINT32_MAX,
				     .ifa_prefered = UINT32_MAX};
	bool valid = lifetime(L, t, "valid_lft", &info.ifa_valid);
	bool preferred = lifetime(L, t, "preferred_lft", &info.ifa_prefered);

	if (!valid && !preferred)
		return;
	if (!preferred)
		info.ifa_prefered = info.ifa_valid;
	if (!info.ifa_valid)
		nbl_badfield(L, "addr", "valid_lft", "more than 0");
	if (info.ifa_prefered > info.ifa_valid)
		nbl_badfield(L, "addr", "preferred_lft",
			     "at most as much as valid_lft");
	nbl_put(L, h, IFA_CACHEINFO, &info, sizeof(info));
}

static int build(lua_State *L, struct nbl *h, int t, int options)
{
	int failed = puttarget(L, h, t, RTM_NEWADDR, options);
	const struct nlattr *local;
	struct ifaddrmsg *ifa;
	uint32_t bits;
	uint64_t word;

	if (failed)
		return failed;
	ifa = nbl_header(h);
	local = nlmsg_attrdata(nlmsg_hdr(h->msg), sizeof(*ifa));
	if (nbl_number(L, t, &scope, "addr", &word))
		ifa->ifa_scope = (uint8_t)word;
	else if (ifa->ifa_family == AF_INET &&
		 *(const uint8_t *)nla_data(local) == 127)
		ifa->ifa_scope = RT_SCOPE_HOST; /* as ip does */
	bits = nbl_bits(L, t, flags, "addr");
	if (bits)
		nbl_putu32(L, h, IFA_FLAGS, bits);
	putlifetimes(L, h, t);
	return nbl_putfields(L, h, t, add_map, "addr");
}

static int build_add(lua_State *L, struct nbl *h, int t)
{
	return build(L, h, t, NLM_F_CREATE | NLM_F_EXCL);
}

/***
Give a device an address.
@function addr_add
@tparam table addr the address with its prefix, `"10.0.0.1/24"`, `"fd00::1/64"`,
  and

  - `dev`: the device, by name or index
  - `peer`: of a point-to-point device, with the prefix, which the address is
    without then
  - `broadcast` `label` `metric` (of the route to the subnet) `proto`
  - `scope`: `"global"` `"site"` `"link"` `"host"` or a number; the kernel knows
    that of an IPv6 address
  - `valid_lft` `preferred_lft`: seconds, or `"forever"`
  - `nodad` `noprefixroute` `home` `mngtmpaddr` `autojoin` `optimistic`
@treturn boolean true
@return[2] nil, message, errno: EEXIST "Address already assigned", ENODEV
@see ip-address(8)
*/
static int addr_add(lua_State *L)
{
	return nbl_request(L, "addr_add", build_add);
}

static int build_replace(lua_State *L, struct nbl *h, int t)
{
	return build(L, h, t, NLM_F_CREATE | NLM_F_REPLACE);
}

/***
Give a device an address, or change the lifetimes, flags and metric of one that
it has.
@function addr_replace
@tparam table addr as in @{addr_add}
@treturn boolean true
@return[2] nil, message, errno
@see ip-address(8)
*/
static int addr_replace(lua_State *L)
{
	return nbl_request(L, "addr_replace", build_replace);
}

static int build_del(lua_State *L, struct nbl *h, int t)
{
	int failed = puttarget(L, h, t, RTM_DELADDR, 0);

	return failed ? failed : nbl_putfields(L, h, t, del_map, "addr");
}

/***
Take an address from a device.
@function addr_del
@tparam table addr the address with its prefix, `dev`, `peer`, `label`
@treturn boolean true
@return[2] nil, message, errno: EADDRNOTAVAIL
@see ip-address(8)
*/
static int addr_del(lua_State *L)
{
	return nbl_request(L, "addr_del", build_del);
}

/* --- reads --- */

static void setlifetime(lua_State *L, const char *name, uint32_t seconds)
{
	if (seconds == UINT32_MAX)
		lua_pushliteral(L, "forever");
	else
		lua_pushinteger(L, seconds);
	lua_setfield(L, -2, name);
}

static bool same(const struct nlattr *a, const struct nlattr *b)
{
	return nla_len(a) == nla_len(b) &&
	       memcmp(nla_data(a), nla_data(b), (size_t)nla_len(a)) == 0;
}

void nbl_pushaddr(lua_State *L, const struct nlmsghdr *n)
{
	struct nlattr *tb[NBL_TB];
	const struct ifaddrmsg *ifa = nbl_open(n, sizeof(*ifa), tb);
	const struct ifa_cacheinfo *times;
	const struct nlattr *near, *far;
	uint32_t bits;
	bool ptp;

	if (!ifa || !nb_wordof(nbl_families, ifa->ifa_family)) {
		lua_pushnil(L);
		return;
	}
	/* IPv6 has the first only with a peer */
	near = tb[IFA_LOCAL] ? tb[IFA_LOCAL] : tb[IFA_ADDRESS];
	far = tb[IFA_ADDRESS] ? tb[IFA_ADDRESS] : near;
	if (!near) {
		lua_pushnil(L);
		return;
	}
	ptp = !same(near, far);
	bits =
	    tb[IFA_FLAGS] ? (uint32_t)nbl_uint(tb[IFA_FLAGS]) : ifa->ifa_flags;

	lua_createtable(L, 0, 12);
	nbl_pushprefix(L, nla_data(near), (size_t)nla_len(near),
		       ptp ? -1 : ifa->ifa_prefixlen);
	lua_setfield(L, -2, "addr");
	if (ptp) {
		nbl_pushprefix(L, nla_data(far), (size_t)nla_len(far),
			       ifa->ifa_prefixlen);
		lua_setfield(L, -2, "peer");
	}
	nbl_setint(L, "dev", ifa->ifa_index);
	nbl_setword(L, "family", nbl_families, ifa->ifa_family);
	nbl_setword(L, "scope", nbl_scopes, ifa->ifa_scope);
	nbl_setfields(L, tb, record_map);
	nbl_setbits(L, flags, bits);
	nbl_setbits(L, states, bits);
	if (bits & IFA_F_SECONDARY) {
		lua_pushboolean(L, 1);
		lua_setfield(L, -2,
			     nla_len(near) == 4 ? "secondary" : "temporary");
	}
	times = nbl_data(tb[IFA_CACHEINFO], sizeof(*times));
	if (times) {
		setlifetime(L, "valid_lft", times->ifa_valid);
		setlifetime(L, "preferred_lft", times->ifa_prefered);
	}
}

/***
The records of all addresses, or of some.
@function addr_list
@tparam[opt] table filter `dev`; `family`: `"inet"` `"inet6"`
@treturn table list of `{ addr dev family scope label broadcast peer metric
  valid_lft preferred_lft permanent nodad noprefixroute tentative secondary
  temporary deprecated dadfailed … }`, what it has of them, the flags as true;
`addr` is what @{addr_add} takes as the first element
@treturn ?string "interrupted" when addresses came and went, each time it was
  tried
@return[2] nil, message, errno: ENODEV
@see rtnetlink(7)
*/
static int addr_list(lua_State *L)
{
	static const struct nbl_attr map[] = {
	    {.name = "dev"}, {.name = "family"}, {NULL}};
	struct nbl *h = nbl_list(L, "addr_list");
	struct ifaddrmsg ifa = {0};
	int index = 0, failed;
	uint64_t word;

	failed = nbl_device(L, h, 2, "filter", "dev", &index);
	if (failed)
		return failed;
	if (nbl_number(L, 2, &family, "filter", &word))
		ifa.ifa_family = (uint8_t)word;
	ifa.ifa_index = (uint32_t)index;
	nbl_message(L, h, RTM_GETADDR, 0, &ifa, sizeof(ifa));
	failed = nbl_putfields(L, h, 2, map, "filter");
	return failed ? failed : nbl_dump(L, h, nbl_pushaddr);
}

const luaL_Reg nbl_addrrequests[] = {
    {"addr_add", addr_add},
    {"addr_del", addr_del},
    {"addr_replace", addr_replace},
    {NULL, NULL},
};

const luaL_Reg nbl_addrreads[] = {
    {"addr_list", addr_list},
    {NULL, NULL},
};
