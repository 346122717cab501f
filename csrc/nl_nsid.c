/*
 * nl_nsid.c - the numbers by which a namespace knows others
 *
 * The kernel says where the other end of a link is by such a number
 * (link_netnsid).  See rtnetlink(7), ip-netns(8).
 */
#include <linux/net_namespace.h>

#include "nl.h"

/***
@submodule nsbox.sys.netlink
*/

/***
A handle.
@type nsbox.netlink
*/

static const struct nbl_attr map[] = {
    {.name = "netns"}, {.name = "nsid"}, {NULL}};

static void putpeer(lua_State *L, struct nbl *h, int t, int type)
{
	struct rtgenmsg g = {.rtgen_family = AF_UNSPEC};

	nbl_message(L, h, type, 0, &g, sizeof(g));
	if (!nbl_putnetns(L, h, t, "nsid", NETNSA_PID, NETNSA_FD))
		nbl_badfield(L, "nsid", "netns",
			     "a pid, or a handle of the namespace");
}

static int build_set(lua_State *L, struct nbl *h, int t)
{
	static const struct nbl_attr nsid = {
	    .name = "nsid", 0, NBL_U32, .max = INT32_MAX};
	uint64_t number = (uint32_t)NETNSA_NSID_NOT_ASSIGNED;

	putpeer(L, h, t, RTM_NEWNSID);
	nbl_number(L, t, &nsid, "nsid", &number);
	nbl_putu32(L, h, NETNSA_NSID, (uint32_t)number);
	return nbl_putfields(L, h, t, map, "nsid");
}

/***
Give a namespace a number in this one, for good.
@function nsid_set
@tparam table nsid `netns`: a pid, or a handle of the namespace; `nsid`: from 0
  on; absent: the first free one
@treturn boolean true
@return[2] nil, message, errno: EEXIST "Peer netns already has a nsid", "The
  specified nsid is already used"
@see ip-netns(8)
*/
static int nsid_set(lua_State *L)
{
	return nbl_request(L, "nsid_set", build_set);
}

/* --- reads --- */

static void push(lua_State *L, const struct nlmsghdr *n)
{
	struct nlattr *tb[NBL_TB];
	int32_t nsid = NETNSA_NSID_NOT_ASSIGNED;

	if (nbl_open(n, sizeof(struct rtgenmsg), tb) && tb[NETNSA_NSID])
		nsid = (int32_t)nbl_uint(tb[NETNSA_NSID]);
	if (nsid == NETNSA_NSID_NOT_ASSIGNED)
		lua_pushboolean(L, 0);
	else
		lua_pushinteger(L, nsid);
}

/***
The number of a namespace in this one.
@function nsid_get
@tparam table nsid `netns`: a pid, or a handle of the namespace
@treturn integer|boolean false when it has none
@return[2] nil, message, errno
@see ip-netns(8)
*/
static int nsid_get(lua_State *L)
{
	static const struct nbl_attr only[] = {{.name = "netns"}, {NULL}};
	struct nbl *h = nbl_check(L, 1);
	int failed;

	luaL_checktype(L, 2, LUA_TTABLE);
	lua_settop(L, 2);
	nbl_begin(h, "nsid_get", NULL);
	putpeer(L, h, 2, RTM_GETNSID);
	failed = nbl_putfields(L, h, 2, only, "nsid");
	return failed ? failed : nbl_get(L, h, push);
}

/***
All numbers that namespaces have in this one.
@function nsid_list
@treturn table list of integers
@return[2] nil, message, errno
@see ip-netns(8)
*/
static int nsid_list(lua_State *L)
{
	struct nbl *h = nbl_check(L, 1);
	struct rtgenmsg g = {.rtgen_family = AF_UNSPEC};

	nbl_begin(h, "nsid_list", NULL);
	nbl_message(L, h, RTM_GETNSID, 0, &g, sizeof(g));
	return nbl_dump(L, h, push);
}

const luaL_Reg nbl_nsidrequests[] = {
    {"nsid_set", nsid_set},
    {NULL, NULL},
};

const luaL_Reg nbl_nsidreads[] = {
    {"nsid_get", nsid_get},
    {"nsid_list", nsid_list},
    {NULL, NULL},
};
