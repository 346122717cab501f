/*
 * nl_batch.c - requests: sent one by one, or queued and sent together
 *
 * Owns the queue.  A batch is not a transaction: the kernel takes the messages
 * one after the other and goes on after one that failed; only the last one
 * asks for an acknowledgement, failures answer by themselves.
 * See netlink(7).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "nl.h"

/***
@submodule nsbox.sys.netlink
*/

/* what one answer takes of the receive buffer, with the kernel's overhead */
#define ANSWER 1024
/* what the send buffer takes at the least, see socket(7) */
#define LEAST 4096

struct queued {
	size_t at, len; /* in bytes; len 0: it could not be built */
	int err;
	char *message; /* of the failure */
	char subject[sizeof((struct nbl *)0)->subject];
};

struct batch {
	char *bytes;
	size_t len, room;
	struct queued *queue;
	size_t count, places;
};

/* user values: the handle, and the tables of the requests (which keep the
 * handles of namespaces in them from being collected) */
enum { HANDLE = 1, TABLES, VALUES = TABLES };

static struct nbl *handleof(lua_State *L, int idx)
{
	struct nbl *h;

	lua_getiuservalue(L, idx, HANDLE);
	h = nbl_check(L, -1);
	lua_pop(L, 1); /* the batch keeps it */
	return h;
}

/* most batches are sent once: what they had is for the next one */
static void empty(struct batch *b)
{
	for (size_t i = 0; i < b->count; i++)
		free(b->queue[i].message);
	free(b->queue);
	free(b->bytes);
	memset(b, 0, sizeof(*b));
}

/* --- queueing --- */

static bool reserve(struct batch *b, size_t more)
{
	if (b->count == b->places) {
		size_t places = b->places ? b->places * 2 : 8;
		void *p = realloc(b->queue, places * sizeof(*b->queue));

		if (!p)
			return false;
		b->queue = p;
		b->places = places;
	}
	if (b->room - b->len < more) {
		size_t room = b->room ? b->room : 1024;
		void *p;

		while (room - b->len < more)
			room *= 2;
		p = realloc(b->bytes, room);
		if (!p)
			return false;
		b->bytes = p;
		b->room = room;
	}
	return true;
}

/* message: of a failure that is known already, or NULL */
static bool enqueue(struct batch *b, const struct nbl *h, int err,
		    const char *message)
{
	const struct nlmsghdr *n = nlmsg_hdr(h->msg);
	size_t len = NLMSG_ALIGN(n->nlmsg_len);
	struct queued *q;

	if (!reserve(b, len))
		return false;
	q = &b->queue[b->count];
	memset(q, 0, offsetof(struct queued, subject));
	memcpy(q->subject, h->subject, sizeof(q->subject));
	q->err = err;
	if (err) {
		q->message = strdup(message);
		b->count++;
		return q->message != NULL;
	}
	q->at = b->len;
	q->len = len;
	memcpy(b->bytes + b->len, n, len);
	b->len += len;
	b->count++;
	return true;
}

static int queue(lua_State *L, struct batch *b, struct nbl *h, int failed)
{
	int err = nb_fault(h->verb);
	bool ok;

	if (err)
		failed = nbl_fail(L, h, err);
	if (failed)
		err = (int)lua_tointeger(L, -1);
	lua_getiuservalue(L, 1, TABLES);
	lua_pushvalue(L, 2);
	lua_rawseti(L, -2, (lua_Integer)b->count + 1);
	lua_pop(L, 1);

	ok = enqueue(b, h, err, failed ? lua_tostring(L, -2) : NULL);

	if (!ok)
		return nb_fail(L, ENOMEM, h->subject);
	lua_settop(L, 1);
	return 1;
}

int nbl_request(lua_State *L, const char *verb, nbl_builder build)
{
	struct batch *b = luaL_testudata(L, 1, NB_BATCH);
	struct nbl *h = b ? handleof(L, 1) : nbl_check(L, 1);
	int failed;

	luaL_checktype(L, 2, LUA_TTABLE);
	lua_settop(L, 2);
	nbl_begin(h, verb, NULL);
	failed = build(L, h, 2);
	if (b)
		return queue(L, b, h, failed);
	return failed ? failed : nbl_send(L, h);
}

/* --- sending --- */

struct sending {
	struct batch *b;
	size_t *order; /* sequence number - first: the place in the queue */
	uint32_t first, count;
};

static void setfailure(struct queued *q, int err, const char *text)
{
	q->err = err;
	free(q->message);
	if (asprintf(&q->message, "%s: %s", q->subject,
		     text ? text : strerror(err)) < 0)
		q->message = NULL;
}

static void answered(void *arg, uint32_t seq, int err, const char *text)
{
	const struct sending *s = arg;

	if (err && seq - s->first < s->count)
		setfailure(&s->b->queue[s->order[seq - s->first]], err, text);
}

/* how many messages at once: each may be answered, and the answers must not
 * overflow the socket */
static size_t most(int fd, int option, size_t least)
{
	int size = 0;
	socklen_t len = sizeof(size);

	getsockopt(fd, SOL_SOCKET, option, &size, &len);
	return (size_t)size > least ? (size_t)size : least;
}

/* the messages from place i on that go into one send; returns the place
 * after them */
static size_t sendsome(struct nbl *h, struct sending *s, size_t i,
		       size_t messages, size_t bytes)
{
	struct batch *b = s->b;
	struct nlmsghdr *last = NULL;
	size_t from = 0, len = 0;
	int err;

	s->first = h->seq + 1;
	s->count = 0;
	for (; i < b->count && s->count < messages; i++) {
		struct queued *q = &b->queue[i];

		if (!q->len)
			continue;
		if (len && len + q->len > bytes)
			break;
		from = len ? from : q->at;
		last = (void *)(b->bytes + q->at);
		last->nlmsg_seq = ++h->seq;
		s->order[s->count++] = i;
		len += q->len;
	}
	if (!last)
		return i;
	last->nlmsg_flags |= NLM_F_ACK;
	err = nbl_exchange(h, b->bytes + from, len, h->seq, answered, s);
	/* nobody knows what became of them */
	for (uint32_t j = 0; err && j < s->count; j++)
		if (!b->queue[s->order[j]].err)
			setfailure(&b->queue[s->order[j]], -err, h->text);
	return i;
}

/***
Requests that are sent together.

It has the requests of a handle, `link_add` and all others, with the same
tables; there they are queued, and return the batch. A request can refer to a
device that an earlier one makes, by the index that it gives it.
@type nsbox.netlink.batch
*/

/***
Send what is queued, in as few system calls as possible, and empty the queue.

The kernel goes on after a request that failed.
@function send
@treturn table a list, for each request true or `{ message, errno }`
@treturn integer how many failed
@see netlink(7)
*/
static int batch_send(lua_State *L)
{
	struct batch *b = luaL_checkudata(L, 1, NB_BATCH);
	struct nbl *h = handleof(L, 1);
	struct sending s = {b, NULL, 0, 0};
	size_t messages, bytes;
	lua_Integer failed = 0;

	s.order = lua_newuserdatauv(L, (b->count + 1) * sizeof(*s.order), 0);
	lua_createtable(L, (int)b->count, 0);

	h->text = NULL;
	messages = bytes = SIZE_MAX;
	/* the kernel keeps 32 bytes for itself */
	if (b->count > 1)
		messages = most(h->h.fd, SO_RCVBUF, ANSWER) / ANSWER;
	if (b->len > LEAST - 64)
		bytes = most(h->h.fd, SO_SNDBUF, LEAST) - 64;
	for (size_t i = 0; i < b->count;)
		i = sendsome(h, &s, i, messages, bytes);

	for (size_t i = 0; i < b->count; i++) {
		const struct queued *q = &b->queue[i];

		if (q->err) {
			lua_createtable(L, 2, 0);
			lua_pushstring(L, q->message);
			lua_rawseti(L, -2, 1);
			lua_pushinteger(L, q->err);
			lua_rawseti(L, -2, 2);
			failed++;
		} else {
			lua_pushboolean(L, 1);
		}
		lua_rawseti(L, -2, (lua_Integer)i + 1);
	}
	empty(b);
	nbl_forget(h);
	lua_newtable(L);
	lua_setiuservalue(L, 1, TABLES);
	lua_pushinteger(L, failed);
	return 2;
}

static int batch_len(lua_State *L)
{
	const struct batch *b = luaL_checkudata(L, 1, NB_BATCH);

	lua_pushinteger(L, (lua_Integer)b->count);
	return 1;
}

static int batch_gc(lua_State *L)
{
	empty(luaL_checkudata(L, 1, NB_BATCH));
	return 0;
}

static int batch_tostring(lua_State *L)
{
	const struct batch *b = luaL_checkudata(L, 1, NB_BATCH);

	lua_pushfstring(L, NB_BATCH " (%d requests)", (int)b->count);
	return 1;
}

/***
A handle.
@type nsbox.netlink
*/

/***
An empty batch of requests to this namespace.
@function batch
@treturn nsbox.netlink.batch
*/
static int netlink_batch(lua_State *L)
{
	struct batch *b;

	nbl_check(L, 1);
	b = lua_newuserdatauv(L, sizeof(*b), VALUES);
	memset(b, 0, sizeof(*b));
	luaL_setmetatable(L, NB_BATCH);
	lua_pushvalue(L, 1);
	lua_setiuservalue(L, -2, HANDLE);
	lua_newtable(L);
	lua_setiuservalue(L, -2, TABLES);
	return 1;
}

const luaL_Reg nbl_batchfuncs[] = {
    {"batch", netlink_batch},
    {NULL, NULL},
};

const luaL_Reg nbl_batchmethods[] = {
    {"send", batch_send},
    {NULL, NULL},
};

const luaL_Reg nbl_batchmeta[] = {
    {"__gc", batch_gc},
    {"__len", batch_len},
    {"__tostring", batch_tostring},
    {NULL, NULL},
};
