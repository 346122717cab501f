/*
 * nl_build.c - the request being built in a handle's scratch message
 *
 * Owns the rule that building may raise: the message belongs to the handle,
 * the next request starts it anew.  It grows, and moves when it does: a handle
 * is opened for few requests, most of them short, and memory that is touched
 * costs page faults.  Must not know what is in it.
 * See netlink(7), and libnl's netlink/msg.h and netlink/attr.h.
 */
#include <errno.h>
#include <string.h>

#include "nl.h"

#define SHORT 512     /* to begin with */
#define LONGEST 32768 /* a request */

int nbl_newmessage(struct nbl *h)
{
	h->msg = nlmsg_alloc_size(SHORT);
	return h->msg ? 0 : -ENOMEM;
}

/* appends; returns where the next one goes */
static char *add(char *at, const char *end, const char *text)
{
	while (at < end - 1 && *text)
		*at++ = *text++;
	*at = '\0';
	return at;
}

void nbl_begin(struct nbl *h, const char *verb, const char *thing)
{
	const char *end = h->subject + sizeof(h->subject);
	char *put;

	nlmsg_hdr(h->msg)->nlmsg_len = NLMSG_HDRLEN;
	h->text = NULL;
	h->verb = verb;
	/* cut where it does not fit; a tenth of what snprintf takes */
	put = add(h->subject, end, verb);
	if (thing)
		add(add(put, end, " "), end, thing);
}

/* in a tenth of the time of snprintf */
static const char *decimal(lua_Integer n, char *end)
{
	lua_Unsigned left = n < 0 ? 0 - (lua_Unsigned)n : (lua_Unsigned)n;

	*--end = '\0';
	do
		*--end = (char)('0' + left % 10);
	while (left /= 10);
	if (n < 0)
		*--end = '-';
	return end;
}

void nbl_name(lua_State *L, struct nbl *h, const char *before, int idx)
{
	const char *end = h->subject + sizeof(h->subject);
	char digits[24];
	const char *text;
	char *put = h->subject + strlen(h->subject);

	if (lua_isinteger(L, idx))
		text = decimal(lua_tointeger(L, idx), digits + sizeof(digits));
	else if (lua_type(L, idx) == LUA_TSTRING)
		text = lua_tostring(L, idx);
	else
		text = luaL_typename(L, idx);
	add(add(put, end, before), end, text);
}

static void toolong(lua_State *L, const struct nbl *h)
{
	luaL_error(L, "%s: too much for one message", h->subject);
}

static void grow(lua_State *L, struct nbl *h)
{
	size_t size = nlmsg_get_max_size(h->msg) * 2;

	if (size > LONGEST || nlmsg_expand(h->msg, size) < 0)
		toolong(L, h);
}

void nbl_append(lua_State *L, struct nbl *h, const void *data, size_t len)
{
	while (nlmsg_append(h->msg, (void *)data, len, NLMSG_ALIGNTO) < 0)
		grow(L, h);
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
	nbl_append(L, h, header, len);
}

void *nbl_header(struct nbl *h)
{
	return nlmsg_data(nlmsg_hdr(h->msg));
}

void nbl_put(lua_State *L, struct nbl *h, int type, const void *data,
	     size_t len)
{
	if (len > UINT16_MAX - NLA_HDRLEN)
		toolong(L, h);
	while (nla_put(h->msg, type, (int)len, data) < 0)
		grow(L, h);
}

void nbl_putu32(lua_State *L, struct nbl *h, int type, uint32_t value)
{
	nbl_put(L, h, type, &value, sizeof(value));
}

size_t nbl_nest(lua_State *L, struct nbl *h, int type)
{
	struct nlattr *nest;

	while (!(nest = nla_nest_start(h->msg, type)))
		grow(L, h);
	return (size_t)((char *)nest - (char *)nlmsg_hdr(h->msg));
}

static struct nlattr *nestat(struct nbl *h, size_t nest)
{
	return (void *)((char *)nlmsg_hdr(h->msg) + nest);
}

void nbl_nestend(struct nbl *h, size_t nest)
{
	/* what is empty says something, too */
	nla_nest_end_keep_empty(h->msg, nestat(h, nest));
}

void nbl_nestfilled(struct nbl *h, size_t nest)
{
	if ((char *)nlmsg_tail(nlmsg_hdr(h->msg)) >
	    (char *)nla_data(nestat(h, nest)))
		nbl_nestend(h, nest);
	else
		nla_nest_cancel(h->msg, nestat(h, nest));
}
