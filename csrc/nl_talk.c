/*
 * nl_talk.c - sending requests and collecting what the kernel answers
 *
 * Owns the sequence numbers, the buffer for replies and the shape of a
 * failure: the kernel's own sentence where it has one, and its raw errno.
 * The buffer is there while it is needed: many handles may be open.
 * Replies are collected before Lua sees one, so nothing here can be left
 * half way by an error.  rtnetlink answers inside send(2): receiving never
 * waits for anybody.  See netlink(7).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "nl.h"

#define FIRST 4096 /* an answer, and the first part of a dump, have a page */
#define REST 32768 /* what the kernel puts into the others at most */
#define TRIES 10   /* of a dump that is interrupted, or did not fit */
#define MOST_ERRNO 4095

void nbl_forget(struct nbl *h)
{
	free(h->buf);
	h->buf = NULL;
	h->room = h->len = 0;
	h->text = NULL;
}

int nbl_fail(lua_State *L, struct nbl *h, int err)
{
	if (!h->text)
		return nb_fail(L, err, h->subject);
	luaL_pushfail(L);
	lua_pushfstring(L, "%s: %s", h->subject, h->text);
	lua_pushinteger(L, err);
	nbl_forget(h);
	return 3;
}

/* --- receiving --- */

static bool makeroom(struct nbl *h)
{
	size_t room = h->room;
	char *buf;

	if (!h->datagram)
		h->datagram = FIRST;
	if (room - h->len >= h->datagram)
		return true;
	while (room - h->len < h->datagram)
		room = room ? room * 2 : h->datagram * 2;
	buf = realloc(h->buf, room);
	if (!buf)
		return false;
	h->buf = buf;
	h->room = room;
	return true;
}

/* how much of a datagram is whole messages: what follows them would be taken
 * for the beginning of the next datagram */
static ssize_t whole(const char *bytes, ssize_t got)
{
	struct nlmsghdr *n = (void *)(uintptr_t)bytes;
	int left = (int)got;

	while (nlmsg_ok(n, left))
		n = nlmsg_next(n, &left);
	return (char *)n - bytes;
}

ssize_t nbl_receive(struct nbl *h, int flags)
{
	struct sockaddr_nl from;
	struct iovec iov;
	struct msghdr m = {.msg_name = &from, .msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n;

	if (!makeroom(h))
		return -ENOMEM;
	do {
		iov.iov_base = h->buf + h->len;
		iov.iov_len = h->datagram;
		m.msg_namelen = sizeof(from);
		n = recvmsg(h->h.fd, &m, flags);
		/* other processes may write to us: only the kernel is heard */
	} while (n < 0 ? errno == EINTR : from.nl_pid != 0);
	if (n < 0)
		return -errno;
	if (m.msg_flags & MSG_TRUNC)
		return -EMSGSIZE;
	return whole(h->buf + h->len, n);
}

const char *nbl_sentence(const struct nlmsghdr *n, size_t payload)
{
	struct nlattr *text;

	if (!(n->nlmsg_flags & NLM_F_ACK_TLVS) ||
	    (size_t)nlmsg_datalen(n) < payload)
		return NULL;
	text = nla_find(
	    (struct nlattr *)((char *)nlmsg_data(n) + NLMSG_ALIGN(payload)),
	    nlmsg_datalen(n) - (int)NLMSG_ALIGN(payload), NLMSGERR_ATTR_MSG);
	return text && nla_len(text) > 1 ? nbl_text(text) : NULL;
}

/* what a message says of success, made an errno */
static int errnoof(int error)
{
	return error > 0 || error < -MOST_ERRNO ? EBADMSG : -error;
}

/* the errno in an NLMSG_ERROR (0: an acknowledgement), and its sentence */
static int answer(const struct nlmsghdr *n, const char **text)
{
	const struct nlmsgerr *e = nlmsg_data(n);
	size_t payload = sizeof(*e);

	*text = NULL;
	if ((size_t)nlmsg_datalen(n) < sizeof(*e))
		return EBADMSG;
	/* the request comes back, unless that is cut off */
	if (!(n->nlmsg_flags & NLM_F_CAPPED) &&
	    e->msg.nlmsg_len >= NLMSG_HDRLEN)
		payload += e->msg.nlmsg_len - NLMSG_HDRLEN;
	*text = nbl_sentence(n, payload);
	return errnoof(e->error);
}

/* the message of the kernel's answers; what fails in receiving it, as
 * netlink(7) has it: then nobody knows what became of the request */
static ssize_t hear(struct nbl *h)
{
	ssize_t got = nb_fault("netlink.lost") ? -ENOBUFS : nbl_receive(h, 0);

	return got < 0 ? -ENOBUFS : got;
}

int nbl_exchange(struct nbl *h, const void *bytes, size_t len, uint32_t last,
		 nbl_answer each, void *arg)
{
	bool done = false;

	h->text = NULL;
	/* without the kernel's address: an unconnected socket sends there */
	if (send(h->h.fd, bytes, len, 0) < 0)
		return -errno;
	while (!done) {
		struct nlmsghdr *n;
		ssize_t got;
		int left;

		h->len = 0;
		got = hear(h);
		if (got < 0) {
			h->text = "the kernel's answer was lost: nobody knows "
				  "whether it was done";
			return (int)got;
		}
		left = (int)got;
		for (n = (void *)h->buf; nlmsg_ok(n, left);
		     n = nlmsg_next(n, &left)) {
			const char *text;
			int err;

			if (n->nlmsg_type != NLMSG_ERROR)
				continue;
			err = answer(n, &text);
			each(arg, n->nlmsg_seq, err, text);
			done = done || n->nlmsg_seq == last;
		}
	}
	return 0;
}

/* --- one request --- */

struct outcome {
	struct nbl *h;
	uint32_t seq;
	int err;
};

static void note(void *arg, uint32_t seq, int err, const char *text)
{
	struct outcome *o = arg;

	if (seq != o->seq)
		return;
	o->err = err;
	o->h->text = text;
}

int nbl_send(lua_State *L, struct nbl *h)
{
	struct nlmsghdr *n = nlmsg_hdr(h->msg);
	struct outcome o = {h, ++h->seq, 0};
	int err, results = 1;

	n->nlmsg_seq = o.seq;
	n->nlmsg_flags |= NLM_F_ACK;
	err = nb_fault(h->verb);
	if (!err)
		err = -nbl_exchange(h, n, n->nlmsg_len, o.seq, note, &o);

	if (err || o.err)
		return nbl_fail(L, h, err ? err : o.err);
	lua_pushboolean(L, 1);
	if (h->text) {
		lua_pushstring(L, h->text);
		results = 2;
	}
	nbl_forget(h);
	return results;
}

/* --- reading --- */

enum { INTERRUPTED = 1 };

/* looks at the messages from h->len on; true after the last one */
static bool look(struct nbl *h, ssize_t got, int *err)
{
	struct nlmsghdr *n = (void *)(h->buf + h->len);
	int left = (int)got;
	bool ours = false, done = false;

	for (; nlmsg_ok(n, left); n = nlmsg_next(n, &left)) {
		if (n->nlmsg_seq != h->seq)
			continue;
		ours = true;
		if ((n->nlmsg_flags & NLM_F_DUMP_INTR) && *err >= 0)
			*err = INTERRUPTED;
		if (n->nlmsg_type == NLMSG_ERROR) {
			*err = -answer(n, &h->text);
			done = true;
		} else if (n->nlmsg_type == NLMSG_DONE) {
			int status = nlmsg_datalen(n) >= (int)sizeof(status)
					 ? *(int *)nlmsg_data(n)
					 : 0;

			if (status < 0) {
				*err = -errnoof(status);
				h->text = nbl_sentence(n, sizeof(status));
			}
			done = true;
		} else if (!(n->nlmsg_flags & NLM_F_MULTI)) {
			done = true;
		}
	}
	/* what an earlier read left behind is overwritten */
	if (ours)
		h->len += (size_t)got;
	return done;
}

/* sends and collects all replies in buf: 0, INTERRUPTED or -errno */
static int collect(struct nbl *h)
{
	struct nlmsghdr *m = nlmsg_hdr(h->msg);
	int err = 0;
	bool done = false;

	m->nlmsg_seq = ++h->seq;
	h->len = 0;
	h->text = NULL;
	if (send(h->h.fd, m, m->nlmsg_len, 0) < 0)
		return -errno;
	while (!done) {
		ssize_t got = nbl_receive(h, 0);

		if (got == -EMSGSIZE) {
			err = -EMSGSIZE;
			done = !(m->nlmsg_flags & NLM_F_DUMP);
		} else if (got < 0) {
			return (int)got;
		} else {
			done = look(h, got, &err);
			/* a long one: the next parts are as long as we let */
			if (!done && got > FIRST / 2 && h->datagram < REST)
				h->datagram = REST;
		}
	}
	return err;
}

/* the same, again while it was interrupted or did not fit */
static int ask(struct nbl *h)
{
	int err = nb_fault(h->verb);

	if (err)
		return -err;
	for (int i = 0; i < TRIES; i++) {
		err = collect(h);
#ifdef NSBOX_DEBUG
		if (!err && nb_fault("netlink.interrupted"))
			err = INTERRUPTED;
#endif
		if (err == -EMSGSIZE)
			h->datagram *= 2;
		else if (err != INTERRUPTED)
			break;
	}
	return err;
}

/* calls push for each record, and with a list (an index) adds it there */
static void pushall(lua_State *L, struct nbl *h, nbl_push push, int list)
{
	struct nlmsghdr *n = (void *)h->buf;
	int left = (int)h->len;
	lua_Integer i = 0;

	for (; nlmsg_ok(n, left); n = nlmsg_next(n, &left)) {
		if (n->nlmsg_seq != h->seq || n->nlmsg_type < NLMSG_MIN_TYPE)
			continue;
		push(L, n);
		if (!list)
			return;
		if (lua_isnil(L, -1))
			lua_pop(L, 1);
		else
			lua_rawseti(L, list, ++i);
	}
	if (!list)
		lua_pushnil(L);
}

int nbl_get(lua_State *L, struct nbl *h, nbl_push push)
{
	int err = ask(h);

	if (err < 0)
		return nbl_fail(L, h, -err);
	pushall(L, h, push, 0);
	nbl_forget(h);
	return 1;
}

int nbl_dump(lua_State *L, struct nbl *h, nbl_push push)
{
	int err;

	nlmsg_hdr(h->msg)->nlmsg_flags |= NLM_F_DUMP;
	err = ask(h);

	if (err < 0)
		return nbl_fail(L, h, -err);
	lua_newtable(L);
	pushall(L, h, push, lua_gettop(L));
	nbl_forget(h);
	if (err != INTERRUPTED)
		return 1;
	lua_pushliteral(L, "interrupted");
	return 2;
}
