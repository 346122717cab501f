/*
 * nl_build.c - the request being built in a handle's scratch message
 *
 * Owns the rule that building may raise: the message belongs to the handle,
 * the next request starts it anew.  Must not know what is in it.
 * See netlink(7), and libnl's netlink/msg.h and netlink/attr.h.
 */
#include <stdio.h>
#include <string.h>

#include "nl.h"

void nbl_begin(struct nbl *h, const char *verb, const char *thing)
{
	nlmsg_hdr(h->msg)->nlmsg_len = NLMSG_HDRLEN;
	h->text = NULL;
	h->verb = verb;
	snprintf(h->subject, sizeof(h->subject), "%s%s%s", verb,
		 thing ? " " : "", thing ? thing : "");
}

static void toolong(lua_State *L, const struct nbl *h)
{
	luaL_error(L, "%s: too much for one message", h->subject);
}

void nbl_message(lua_State *L, struct nbl *h, int type, int flags,
		 const void *header, size_t len)
{
	struct nlmsghdr *n = nlmsg_hdr(h->msg);

	n->nlmsg_len = NLMSG_HDRLEN;
	n->nlmsg_type = (uint16_t)type;
	n->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	n->nlmsg_seq = 0;
	n->nlmsg_pid = 0;
	if (nlmsg_append(h->msg, (void *)header, len, NLMSG_ALIGNTO) < 0)
		toolong(L, h);
}

void *nbl_header(struct nbl *h)
{
	return nlmsg_data(nlmsg_hdr(h->msg));
}

void nbl_put(lua_State *L, struct nbl *h, int type, const void *data,
	     size_t len)
{
	if (len > UINT16_MAX - NLA_HDRLEN ||
	    nla_put(h->msg, type, (int)len, data) < 0)
		toolong(L, h);
}

void nbl_putu32(lua_State *L, struct nbl *h, int type, uint32_t value)
{
	nbl_put(L, h, type, &value, sizeof(value));
}

struct nlattr *nbl_nest(lua_State *L, struct nbl *h, int type)
{
	struct nlattr *nest = nla_nest_start(h->msg, type);

	if (!nest)
		toolong(L, h);
	return nest;
}

void nbl_nestend(struct nbl *h, struct nlattr *nest)
{
	/* what is empty says something, too */
	nla_nest_end_keep_empty(h->msg, nest);
}
