/*
 * nft.c - nftables in any network namespace, and what require finds in nft.so
 *
 * libnftables opens its socket where the caller is.  That one is replaced, as
 * soon as it is there, by one of the namespace that is meant: so every way
 * into a namespace that rtnetlink can go (nl_within.c) is open, and the caller
 * stays where it was.  The socket is watched by select(2), which ends the
 * process when its number is 1024 or above: where all low ones are taken, a
 * child makes room in its own table and does the work.
 *
 * A companion of nsbox.so: a script without firewalls does not load it.
 * See libnftables(3), nft(8), select(2).
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
/* after that one */
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <nftables/libnftables.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "nl.h"
#include "process.h"

/***
Firewalls and address translation, as nft(8) takes and shows them.

A handle is bound to its network namespace when it is opened; the process stays
where it was. Loaded on its own: `require "nsbox.sys.nft"`, or the field of
`nsbox.sys`; it needs libnftables (Debian: libnftables1).

    local nft <close> = assert(nft.open(ns))
    assert(nft:run "add table inet mine; add chain inet mine input")
    print(nft:run "list ruleset")
@module nsbox.sys.nft
*/

#define NB_NFT "nsbox.nft"
#define LOW 1024  /* FD_SETSIZE */
#define MARGIN 16 /* descriptors that libnftables may open */
#define DATAGRAM 65536

struct nft {
	struct nb_fd h; /* first: a handle is taken where a descriptor is */
	struct nft_ctx
	    *ctx; /* talks over the same; NULL: no low number was free */
};

struct job {
	const char *const *commands;
	size_t count;
	bool json;
};

/* --- answers: a byte, the length, the text --- */

enum { FAILED = 0, DONE = 1 };
#define HEAD (1 + sizeof(uint32_t))

struct reply {
	char *bytes;
	size_t len, room;
};

static bool makeroom(struct reply *r, size_t more)
{
	size_t room = r->room ? r->room : 4096;
	char *bytes;

	while (room - r->len < more)
		room *= 2;
	if (room == r->room)
		return true;
	bytes = realloc(r->bytes, room);
	if (!bytes)
		return false;
	r->bytes = bytes;
	r->room = room;
	return true;
}

static bool answer(struct reply *r, char how, const char *text)
{
	uint32_t len = (uint32_t)strlen(text);

	if (!makeroom(r, HEAD + len))
		return false;
	r->bytes[r->len] = how;
	memcpy(r->bytes + r->len + 1, &len, sizeof(len));
	memcpy(r->bytes + r->len + HEAD, text, len);
	r->len += HEAD + len;
	return true;
}

/* takes the next one; what a child said that died is a failure */
static int next(struct reply *r, size_t *at, const char **text, size_t *len)
{
	size_t left = r->len - *at;
	const char *p = r->bytes + *at;
	uint32_t n;

	if (left >= HEAD && (*p == DONE || *p == FAILED)) {
		memcpy(&n, p + 1, sizeof(n));
		if (n <= left - HEAD) {
			*text = p + HEAD;
			*len = n;
			*at += HEAD + n;
			return *p;
		}
	}
	*text = p;
	*len = left;
	*at = r->len;
	return FAILED;
}

/* --- libnftables and its socket --- */

/* the number that the next descriptor gets, or -errno */
static int nextfd(void)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	close(fd);
	return fd;
}

static bool is_netfilter(int fd)
{
	int protocol = -1, domain = -1;
	socklen_t len = sizeof(int);

	return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 &&
	       getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &len) == 0 &&
	       domain == AF_NETLINK && protocol == NETLINK_NETFILTER;
}

/* a context that talks over sock: 0 or an errno, EMFILE when there is no low
 * number for it.  Without any number libnftables would call exit */
static int newcontext(struct nft_ctx **ctx, int sock)
{
	int fd = nextfd(), err = 0;

	if (fd < 0)
		return -fd;
	if (fd >= LOW)
		return EMFILE;
	*ctx = nft_ctx_new(NFT_CTX_DEFAULT);
	if (!*ctx)
		return ENOMEM;
	/* not so: another thread has taken that number meanwhile */
	if (!is_netfilter(fd))
		err = EAGAIN;
	else if (dup3(sock, fd, O_CLOEXEC) < 0)
		err = errno;
	if (err) {
		nft_ctx_free(*ctx);
		*ctx = NULL;
		return err;
	}
	nft_ctx_buffer_output(*ctx);
	nft_ctx_buffer_error(*ctx);
	return 0;
}

/* asks for something small: libnftables would print what is said to who may
 * not, or find no nf_tables.  0 or an errno */
static int greet(int sock)
{
	struct {
		struct nlmsghdr n;
		struct nfgenmsg g;
	} ask = {{sizeof(ask), NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETGEN,
		  NLM_F_REQUEST, 0, 0},
		 {AF_UNSPEC, NFNETLINK_V0, 0}};
	union {
		struct nlmsghdr n;
		char room[4096];
	} reply;
	const struct nlmsgerr *e = NLMSG_DATA(&reply.n);

	/* the kernel answers inside send(2) */
	if (send(sock, &ask, sizeof(ask), 0) < 0 ||
	    recv(sock, &reply, sizeof(reply), 0) < 0)
		return errno;
	if (reply.n.nlmsg_type != NLMSG_ERROR)
		return 0;
	/* EINVAL: nothing in the kernel answers for nf_tables */
	return e->error == -EINVAL ? EOPNOTSUPP : -e->error;
}

/* all replies, one after the other: 0 or an errno */
static int dump_tables(int sock, struct reply *r)
{
	struct {
		struct nlmsghdr n;
		struct nfgenmsg g;
	} ask = {{sizeof(ask), NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETTABLE,
		  NLM_F_REQUEST | NLM_F_DUMP, 0, 0},
		 {AF_UNSPEC, NFNETLINK_V0, 0}};

	if (send(sock, &ask, sizeof(ask), 0) < 0)
		return errno;
	for (;;) {
		struct nlmsghdr *n;
		unsigned int left;
		ssize_t got;

		if (!makeroom(r, DATAGRAM))
			return ENOMEM;
		got = recv(sock, r->bytes + r->len, DATAGRAM, 0);
		if (got < 0)
			return errno;
		n = (void *)(r->bytes + r->len);
		left = (unsigned int)got;
		r->len += NLMSG_ALIGN((size_t)got);
		for (; NLMSG_OK(n, left); n = NLMSG_NEXT(n, left)) {
			if (n->nlmsg_type == NLMSG_ERROR)
				return -((struct nlmsgerr *)NLMSG_DATA(n))
					    ->error;
			if (n->nlmsg_type == NLMSG_DONE)
				return 0;
		}
	}
}

/* 0 or an errno */
static int run_all(struct nft_ctx *ctx, const struct job *job, struct reply *r)
{
	nft_ctx_output_set_flags(ctx, job->json ? NFT_CTX_OUTPUT_JSON : 0);
	for (size_t i = 0; i < job->count; i++) {
		int rc = nft_run_cmd_from_buffer(ctx, job->commands[i]);
		/* both are emptied by this */
		const char *out = nft_ctx_get_output_buffer(ctx);
		const char *error = nft_ctx_get_error_buffer(ctx);

		if (!answer(r, rc ? FAILED : DONE, rc ? error : out))
			return ENOMEM;
	}
	return 0;
}

/* --- where no low number is free --- */

/* libnftables calls exit: nothing of the host's may run then */
static void leave(void)
{
	_exit(EXIT_FAILURE);
}

/* it has our descriptors, a lock among them: what is locked stays so until
 * the work is done, even when we are killed meanwhile.  So what is in the
 * way is moved, not closed */
_Noreturn static void child(const struct job *job, int sock, int to)
{
	int high = fcntl(sock, F_DUPFD, LOW), err;
	struct nft_ctx *ctx = NULL;
	struct reply r = {0};

	atexit(leave);
	/* what it says when it gives up is an answer, too */
	dup2(to, STDERR_FILENO);
	for (int fd = STDERR_FILENO + 1; fd <= STDERR_FILENO + MARGIN; fd++) {
		fcntl(fd, F_DUPFD, LOW);
		close(fd);
	}
	err = high < 0 ? EMFILE : newcontext(&ctx, high);
	if (!err)
		err = run_all(ctx, job, &r);
	for (size_t i = 0; err && i < job->count; i++)
		answer(&r, FAILED, strerror(err));
	for (size_t at = 0; at < r.len;) {
		ssize_t n = write(STDERR_FILENO, r.bytes + at, r.len - at);

		if (n < 0)
			break;
		at += (size_t)n;
	}
	_exit(EXIT_SUCCESS);
}

static int collect(int fd, struct reply *r)
{
	ssize_t n;

	do {
		if (!makeroom(r, 4096))
			return ENOMEM;
		n = read(fd, r->bytes + r->len, r->room - r->len);
		if (n > 0)
			r->len += (size_t)n;
	} while (n > 0 || (n < 0 && errno == EINTR));
	return n < 0 ? errno : 0;
}

static int run_forked(int sock, const struct job *job, struct reply *r)
{
	int ends[2], err;
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return errno;
	/* as libc does it: libnftables allocates, a host may have threads */
	pid = fork();
	if (pid == 0)
		child(job, sock, ends[1]);
	err = pid < 0 ? errno : 0;
	close(ends[1]);
	if (pid > 0) {
		err = collect(ends[0], r);
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	close(ends[0]);
	return err;
}

/* 0 or an errno.  No handler of the host's may interrupt it: it would not
 * know what became of its transaction */
static int run(const struct nft *h, const struct job *job, struct reply *r)
{
	int err = nb_fault("nft.run");
	sigset_t all, old;

	if (err)
		return err;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = h->ctx ? run_all(h->ctx, job, r) : run_forked(h->h.fd, job, r);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return err;
}

/* --- results --- */

/* libnftables says what the kernel said only in words: "Could not process
 * rule: No such file or directory" */
static int errno_in(const char *text, size_t len)
{
	const char *word = text;

	for (size_t i = 1; i < len; i++)
		if (text[i - 1] == ':' && text[i] == ' ')
			word = text + i + 1;
	len -= (size_t)(word - text);
	for (int err = 1; err < 134; err++) {
		const char *known = strerror(err);

		if (strlen(known) == len && memcmp(known, word, len) == 0)
			return err;
	}
	return EINVAL;
}

/* message and errno: the first line, without where in the text that was */
static void push_failure(lua_State *L, const char *text, size_t len)
{
	const char *end = memchr(text, '\n', len), *p;

	if (end)
		len = (size_t)(end - text);
	p = memmem(text, len, "Error: ", 7);
	if (p) {
		len -= (size_t)(p + 7 - text);
		text = p + 7;
	}
	if (len == 0)
		lua_pushliteral(L, "libnftables ended without a word");
	else
		lua_pushlstring(L, text, len);
	lua_pushinteger(L, len ? errno_in(text, len) : EIO);
}

/* one value in a list, else one or three */
static int push_answer(lua_State *L, struct reply *r, size_t *at, bool list)
{
	const char *text;
	size_t len;

	if (next(r, at, &text, &len) == DONE) {
		lua_pushlstring(L, text, len);
		return 1;
	}
	if (!list) {
		luaL_pushfail(L);
		push_failure(L, text, len);
		return 3;
	}
	lua_createtable(L, 2, 0);
	push_failure(L, text, len);
	lua_rawseti(L, -3, 2);
	lua_rawseti(L, -2, 1);
	return 1;
}

/* --- functions --- */

/***
Open a handle.
@function open
@param[opt] where the network namespace: a handle of one, a process handle, a
  pid, or a path; absent: the caller's own. One whose user namespace belongs to
  the caller can be opened from outside
@treturn nsbox.nft
@return[2] nil, message, errno: EPERM, ESRCH, ENOENT, EINVAL; EPROTONOSUPPORT or
  EOPNOTSUPP when the kernel has no netfilter or no nf_tables
@see nft(8)
*/
static int nft_open(lua_State *L)
{
	struct nbl_where where;
	struct nft *h;
	int fd, err;

	nbl_checkwhere(L, 1, &where);
	h = lua_newuserdatauv(L, sizeof(*h), 0);
	h->h.fd = -1;
	h->ctx = NULL;
	luaL_setmetatable(L, NB_NFT);

	fd = nbl_socket(&where, NETLINK_NETFILTER);
	if (fd >= 0) {
		h->h.fd = fd;
		/* libnftables reads without waiting */
		fcntl(fd, F_SETFL, O_NONBLOCK);
		err = greet(fd);
		if (!err)
			err = newcontext(&h->ctx, fd);
		if (err && err != EMFILE)
			fd = -err;
	}

	return fd < 0 ? nbl_failwhere(L, &where, -fd) : 1;
}

/* a command without NUL; an index below zero: of a list */
static const char *checkcommand(lua_State *L, int idx)
{
	size_t len;
	const char *text;

	if (lua_type(L, idx) != LUA_TSTRING)
		nb_typeerror(L, idx, "string");
	text = lua_tolstring(L, idx, &len);
	if (strlen(text) != len)
		nb_argerror(L, idx, "a NUL byte in a command");
	return text;
}

/***
A handle.
@type nsbox.nft
*/

/***
Run commands.
All of a text is one transaction: it is done, or nothing of it is. With a
list, each text is one, whatever became of those before it.
@function run
@tparam string|table commands as nft(8) takes them
@tparam[opt] boolean json show lists as JSON
@treturn string|table what they show; of a list, a list: a text, or
  `{ message, errno }`
@return[2] nil, message, errno: EPERM; EINVAL also for what is no command
@see libnftables(3), libnftables-json(5)
*/
static int nft_run(lua_State *L)
{
	const struct nft *h = luaL_checkudata(L, 1, NB_NFT);
	bool list = lua_istable(L, 2);
	size_t count = list ? (size_t)luaL_len(L, 2) : 1, at = 0, len;
	struct job job = {.count = count, .json = lua_toboolean(L, 3)};
	struct reply reply = {0}, copy;
	const char **commands;
	int err;

	if (h->h.fd < 0)
		return luaL_error(L, "attempt to use a closed " NB_NFT);
	lua_settop(L, 2);
	commands = lua_newuserdatauv(L, (count + 1) * sizeof(*commands), 0);
	if (!list)
		commands[0] = checkcommand(L, 2);
	for (size_t i = 0; list && i < count; i++) {
		lua_geti(L, 2, (lua_Integer)i + 1);
		commands[i] = checkcommand(L, -1);
		lua_pop(L, 1); /* the list has it */
	}
	job.commands = commands;
	nb_flushoutput(L);

	err = run(h, &job, &reply);

	if (err) {
		free(reply.bytes);
		return nb_fail(L, err, "nft");
	}
	/* Lua's from here on: what follows may raise */
	lua_pushlstring(L, reply.bytes ? reply.bytes : "", reply.len);
	free(reply.bytes);
	copy.bytes = (char *)lua_tolstring(L, -1, &len);
	copy.len = len;
	if (!list)
		return push_answer(L, &copy, &at, false);
	lua_createtable(L, (int)count, 0);
	for (size_t i = 0; i < count; i++) {
		push_answer(L, &copy, &at, true);
		lua_rawseti(L, -2, (lua_Integer)i + 1);
	}
	return 1;
}

/* as nft calls them */
static const char *family_of(int number)
{
	static const struct nb_word families[] = {
	    {"inet", NFPROTO_INET},
	    {"ip", NFPROTO_IPV4},
	    {"ip6", NFPROTO_IPV6},
	    {"arp", NFPROTO_ARP},
	    {"bridge", NFPROTO_BRIDGE},
	    {"netdev", NFPROTO_NETDEV},
	    {NULL, 0},
	};

	return nb_wordof(families, (uint64_t)number);
}

/* what one reply names, added to the list on top; false: that was the last */
static bool add_table(lua_State *L, const struct nlmsghdr *n)
{
	const struct nfgenmsg *g = NLMSG_DATA(n);
	size_t left = n->nlmsg_len - NLMSG_LENGTH(sizeof(*g));
	const struct nlattr *a = (const void *)(g + 1);

	if (n->nlmsg_type != (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWTABLE))
		return false;
	while (left >= sizeof(*a) && a->nla_len >= sizeof(*a) &&
	       a->nla_len <= left) {
		size_t len = NLA_ALIGN(a->nla_len);

		if (a->nla_type == NFTA_TABLE_NAME && a->nla_len > NLA_HDRLEN) {
			lua_createtable(L, 0, 2);
			lua_pushstring(L, (const char *)a + NLA_HDRLEN);
			lua_setfield(L, -2, "name");
			lua_pushstring(L, family_of(g->nfgen_family));
			lua_setfield(L, -2, "family");
			lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
		}
		left -= len < left ? len : left;
		a = (const void *)((const char *)a + len);
	}
	return true;
}

/***
The tables that there are.
What `run "list tables"` says as well, after it has looked at everything that is
in them.
@function tables
@treturn table list of `{ family, name }`
@return[2] nil, message, errno
*/
static int nft_tables(lua_State *L)
{
	const struct nft *h = luaL_checkudata(L, 1, NB_NFT);
	struct reply r = {0};
	struct nlmsghdr *n;
	unsigned int left;
	int err;

	if (h->h.fd < 0)
		return luaL_error(L, "attempt to use a closed " NB_NFT);

	err = dump_tables(h->h.fd, &r);

	if (err) {
		free(r.bytes);
		return nb_fail(L, err, "tables");
	}
	lua_pushlstring(L, r.bytes, r.len);
	free(r.bytes);
	n = (void *)lua_tostring(L, -1);
	left = (unsigned int)r.len;
	lua_newtable(L);
	for (; NLMSG_OK(n, left) && add_table(L, n); n = NLMSG_NEXT(n, left))
		;
	return 1;
}

static void release(struct nft *h)
{
	if (h->ctx)
		nft_ctx_free(h->ctx);
	h->ctx = NULL;
	if (h->h.fd >= 0)
		nb_close(h->h.fd);
	h->h.fd = -1;
}

/***
Close the handle; twice is harmless.
@function close
@treturn boolean true
*/
static int nft_close(lua_State *L)
{
	release(luaL_checkudata(L, 1, NB_NFT));
	lua_pushboolean(L, 1);
	return 1;
}

static int nft_gc(lua_State *L)
{
	release(luaL_checkudata(L, 1, NB_NFT));
	return 0;
}

static int nft_tostring(lua_State *L)
{
	const struct nft *h = luaL_checkudata(L, 1, NB_NFT);

	if (h->h.fd < 0)
		lua_pushliteral(L, NB_NFT " (closed)");
	else
		lua_pushfstring(L, NB_NFT " (%d)", h->h.fd);
	return 1;
}

static const luaL_Reg nft_methods[] = {
    {"close", nft_close},
    {"run", nft_run},
    {"tables", nft_tables},
    {NULL, NULL},
};

static const luaL_Reg nft_meta[] = {
    {"__close", nft_gc},
    {"__gc", nft_gc},
    {"__tostring", nft_tostring},
    {NULL, NULL},
};

static const luaL_Reg nft_funcs[] = {
    {"open", nft_open},
    {NULL, NULL},
};

int luaopen_nsbox_sys_nft(lua_State *L)
{
	if (luaL_newmetatable(L, NB_NFT)) {
		luaL_setfuncs(L, nft_meta, 0);
		lua_newtable(L);
		nb_setfuncs(L, "nft", nft_methods);
		lua_setfield(L, -2, "__index");
	}
	lua_pop(L, 1);
	lua_newtable(L);
	nb_setfuncs(L, "nft", nft_funcs);
	return 1;
}

void nsbox_preload_nft(lua_State *L)
{
	luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
	lua_pushcfunction(L, luaopen_nsbox_sys_nft);
	lua_setfield(L, -2, "nsbox.sys.nft");
	lua_pop(L, 1);
}
