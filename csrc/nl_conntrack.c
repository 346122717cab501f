/*
 * nl_conntrack.c - forgetting connections that the kernel follows
 *
 * Address translation is decided by the first packet of a connection.  UDP
 * has no end: who goes on sending goes on to where the first one went.  See
 * linux/netfilter/nfnetlink_conntrack.h.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <netinet/in.h>
#include <string.h>

#include "nl.h"

/***
@submodule nsbox.sys.netlink
*/

#define TYPE(m) (NFNL_SUBSYS_CTNETLINK << 8 | (m))

static const struct nb_word protocols[] = {{"tcp", IPPROTO_TCP},
					   {"udp", IPPROTO_UDP},
					   {"sctp", IPPROTO_SCTP},
					   {NULL, 0}};

enum { WHERE = 1, PROTOCOL, PORTS }; /* where the arguments are */

/* the family and the attribute that names it, as bytes; nil: not wanted */
static void push(lua_State *L, const struct nlmsghdr *n)
{
	struct nlattr *tb[NBL_TB], *tuple, *proto;
	const struct nfgenmsg *g = nbl_open(n, sizeof(*g), tb);
	bool wanted = false;
	luaL_Buffer b;

	tuple = g ? tb[CTA_TUPLE_ORIG] : NULL;
	if (tuple) {
		nbl_parsenested(tb, tuple);
		proto = tb[CTA_TUPLE_PROTO];
		if (proto) {
			nbl_parsenested(tb, proto);
			wanted = tb[CTA_PROTO_NUM] && tb[CTA_PROTO_DST_PORT] &&
				 nbl_uint(tb[CTA_PROTO_NUM]) ==
				     nb_checkword(L, PROTOCOL, protocols,
						  "protocol");
		}
	}
	if (wanted) {
		lua_geti(L, PORTS,
			 ntohs((uint16_t)nbl_uint(tb[CTA_PROTO_DST_PORT])));
		wanted = lua_toboolean(L, -1);
		lua_pop(L, 1);
	}
	if (!wanted) {
		lua_pushnil(L);
		return;
	}
	luaL_buffinit(L, &b);
	luaL_addchar(&b, (char)g->nfgen_family);
	luaL_addlstring(&b, nla_data(tuple), (size_t)nla_len(tuple));
	luaL_pushresult(&b);
}

/* the one on top: 0 or an errno */
static int forget(lua_State *L, struct nbl *h)
{
	size_t len;
	const char *bytes = lua_tolstring(L, -1, &len);
	struct nfgenmsg g = {.nfgen_family = (uint8_t)bytes[0],
			     .version = NFNETLINK_V0};
	int err = 0, top = lua_gettop(L);

	nbl_begin(h, "conntrack_forget", NULL);
	nbl_message(L, h, TYPE(IPCTNL_MSG_CT_DELETE), 0, &g, sizeof(g));
	nbl_put(L, h, CTA_TUPLE_ORIG | NLA_F_NESTED, bytes + 1, len - 1);
	nbl_send(L, h);
	if (lua_isnil(L, top + 1))
		err = (int)lua_tointeger(L, top + 3);
	lua_settop(L, top);
	return err;
}

/***
Forget connections by what they were first sent to: the next packet of one is
the first of a new one.
@function conntrack_forget
@param where as in @{open}; nil: the caller's own
@tparam string protocol `"udp"` `"tcp"` `"sctp"`
@tparam table ports port → true
@treturn integer how many
@return[2] nil, message, errno: EPERM
@see conntrack(8)
*/
static int netlink_conntrack_forget(lua_State *L)
{
	struct nfgenmsg g = {.nfgen_family = AF_UNSPEC,
			     .version = NFNETLINK_V0};
	struct nbl_where where;
	lua_Integer count = 0;
	struct nbl *h;
	int failed, err;

	lua_settop(L, PORTS);
	nbl_checkwhere(L, WHERE, &where);
	nb_checkword(L, PROTOCOL, protocols, "protocol");
	luaL_checktype(L, PORTS, LUA_TTABLE);

	h = nbl_new(L, &where, NETLINK_NETFILTER, &err);
	if (err)
		return nbl_failwhere(L, &where, err);
	nbl_begin(h, "conntrack_forget", NULL);
	nbl_message(L, h, TYPE(IPCTNL_MSG_CT_GET), 0, &g, sizeof(g));
	failed = nbl_dump(L, h, push);
	if (!lua_istable(L, PORTS + 2)) {
		nbl_release(h);
		return failed;
	}
	for (lua_Integer i = 1; lua_geti(L, PORTS + 2, i) != LUA_TNIL; i++) {
		/* ENOENT: it ended by itself */
		if (forget(L, h) == 0)
			count++;
		lua_pop(L, 1);
	}
	nbl_release(h);

	lua_pushinteger(L, count);
	return 1;
}

const luaL_Reg nbl_conntrackfuncs[] = {
    {"conntrack_forget", netlink_conntrack_forget},
    {NULL, NULL},
};
