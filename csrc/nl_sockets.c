/*
 * nl_sockets.c - who listens where in a network namespace
 *
 * See sock_diag(7).
 */
#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

#include "nl.h"

/***
@submodule nsbox.sys.netlink
*/

static const struct nb_word protocols[] = {{"tcp", IPPROTO_TCP},
					   {"udp", IPPROTO_UDP},
					   {"sctp", IPPROTO_SCTP},
					   {NULL, 0}};

static void push(lua_State *L, const struct nlmsghdr *n)
{
	struct nlattr *tb[NBL_TB];
	const struct inet_diag_msg *m = nbl_open(n, sizeof(*m), tb);
	bool v6;

	if (!m) {
		lua_pushnil(L);
		return;
	}
	v6 = m->idiag_family == AF_INET6;
	lua_createtable(L, 0, 6);
	nbl_pushprefix(L, m->id.idiag_src, v6 ? 16 : 4, -1);
	lua_setfield(L, -2, "addr");
	nbl_setint(L, "port", ntohs(m->id.idiag_sport));
	nbl_setint(L, "uid", m->idiag_uid);
	nbl_setint(L, "inode", m->idiag_inode);
	/* else it also has what comes in v4 */
	if (nbl_uint(tb[INET_DIAG_SKV6ONLY])) {
		lua_pushboolean(L, 1);
		lua_setfield(L, -2, "v6only");
	}
}

/***
The sockets that wait for whoever comes: of TCP those that listen, of UDP those
that are connected to nobody.
@function sockets
@param where as in @{open}; nil: the caller's own
@tparam string protocol `"tcp"` `"udp"` `"sctp"`
@tparam string family `"inet"` `"inet6"`
@treturn table list of `{ addr, port, uid, inode, v6only }`
@return[2] nil, message, errno: ENOENT when the kernel cannot tell, or has no
  such protocol
@see sock_diag(7)
*/
static int netlink_sockets(lua_State *L)
{
	struct inet_diag_req_v2 req = {0};
	struct nbl_where where;
	struct nbl *h;
	int err;

	lua_settop(L, 3);
	nbl_checkwhere(L, 1, &where);
	req.sdiag_protocol = (uint8_t)nb_checkword(L, 2, protocols, "protocol");
	/* a UDP socket that is connected to nobody; with more than is needed
	 * the kernel looks through all connections */
	req.idiag_states = req.sdiag_protocol == IPPROTO_UDP ? 1 << TCP_CLOSE
							     : 1 << TCP_LISTEN;
	req.sdiag_family = (uint8_t)nb_checkword(L, 3, nbl_families, "family");

	h = nbl_new(L, &where, NETLINK_SOCK_DIAG, &err);
	if (err)
		return nbl_failwhere(L, &where, err);
	nbl_begin(h, "sockets", lua_tostring(L, 2));
	nbl_message(L, h, SOCK_DIAG_BY_FAMILY, 0, &req, sizeof(req));
	err = nbl_dump(L, h, push);
	/* what was pushed is Lua's by now */
	nbl_release(h);
	return err;
}

const luaL_Reg nbl_socketfuncs[] = {
    {"sockets", netlink_sockets},
    {NULL, NULL},
};
