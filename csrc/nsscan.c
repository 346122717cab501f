/*
 * nsscan.c - which processes and descriptors are in, or hold, which namespace
 *
 * One pass over /proc.  Knows nothing of mounts: what is pinned stands in
 * mountinfo, and is the caller's to read.
 *
 * proc(5), namespaces(7)
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "nb.h"

/* a process in a namespace (fd -1), or a descriptor that holds it */
struct sighting {
	uint64_t inode;
	int kind; /* index in nb_kinds */
	int pid, fd;
};

/* freed by Lua, whatever raises */
struct sightings {
	struct sighting *list;
	size_t n, cap;
	lua_Integer unseen; /* processes that would not let us look */
	int err;
};

static void add(struct sightings *s, int kind, uint64_t inode, int pid, int fd)
{
	if (s->n == s->cap) {
		size_t cap = s->cap ? 2 * s->cap : 1024;
		void *more = realloc(s->list, cap * sizeof(*s->list));

		if (!more) {
			s->err = ENOMEM;
			return;
		}
		s->list = more;
		s->cap = cap;
	}
	s->list[s->n++] = (struct sighting){inode, kind, pid, fd};
}

/* "net:[4026531840]" -> its kind's index and inode; -1: something else */
static int parse(const char *link, uint64_t *inode)
{
	const char *colon = strchr(link, ':');

	if (!colon || colon[1] != '[')
		return -1;
	for (int k = 0; nb_kinds[k].word; k++) {
		size_t len = strlen(nb_kinds[k].word);

		if (len == (size_t)(colon - link) &&
		    strncmp(link, nb_kinds[k].word, len) == 0) {
			*inode = strtoull(colon + 2, NULL, 10);
			return k;
		}
	}
	return -1;
}

/* the kind of namespace that a link names, -1: none; errno is 0 or says why */
static int readns(int dir, const char *name, uint64_t *inode)
{
	char link[64];
	ssize_t n;

	errno = 0;
	n = readlinkat(dir, name, link, sizeof(link) - 1);
	if (n < 0)
		return -1;
	link[n] = '\0';
	return parse(link, inode);
}

/* false: not ours to see */
static bool scan_kinds(struct sightings *s, int dir, int pid, uint64_t wanted)
{
	uint64_t inode;

	for (int k = 0; nb_kinds[k].word; k++) {
		if (!(wanted & nb_kinds[k].value))
			continue;
		if (readns(dir, nb_kinds[k].word, &inode) == k)
			add(s, k, inode, pid, -1);
		else if (errno == EACCES)
			return false;
	}
	return true;
}

/* the numbers among the names in a directory; f is told each */
static int each_number(int dir,
		       void (*f)(struct sightings *, int dir, const char *name,
				 uint64_t wanted, int pid),
		       struct sightings *s, uint64_t wanted, int pid)
{
	char buffer[8192] __attribute__((aligned(8)));
	ssize_t n = 0;

	while (s->err == 0 && (n = getdents64(dir, buffer, sizeof(buffer))) > 0)
		for (ssize_t at = 0; at < n;) {
			struct dirent64 *e = (void *)(buffer + at);

			at += e->d_reclen;
			if (isdigit((unsigned char)e->d_name[0]))
				f(s, dir, e->d_name, wanted, pid);
		}
	return n < 0 ? -1 : 0;
}

static void see_fd(struct sightings *s, int dir, const char *name,
		   uint64_t wanted, int pid)
{
	uint64_t inode;
	int kind = readns(dir, name, &inode);

	if (kind >= 0 && wanted & nb_kinds[kind].value)
		add(s, kind, inode, pid, atoi(name));
}

/* a directory of a process, -1: it ended meanwhile, or is not ours to see */
static int open_of(int proc, const char *pid, const char *name, int flags)
{
	char path[32];

	snprintf(path, sizeof(path), "%.10s/%s", pid, name);
	return openat(proc, path, flags | O_DIRECTORY | O_CLOEXEC);
}

/* each system call here is done for each process there is */
static void see_process(struct sightings *s, int proc, const char *name,
			uint64_t wanted, int unused)
{
	int pid = atoi(name), dir = open_of(proc, name, "ns", O_PATH);
	bool seen;

	(void)unused;
	if (dir < 0)
		return;
	seen = scan_kinds(s, dir, pid, wanted);
	close(dir);
	if (!seen)
		s->unseen++;
	dir = seen ? open_of(proc, name, "fd", O_RDONLY) : -1;
	if (dir < 0)
		return;
	each_number(dir, see_fd, s, wanted, pid);
	close(dir);
}

static void scan(struct sightings *s, uint64_t wanted)
{
	int proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (proc < 0 || each_number(proc, see_process, s, wanted, 0) < 0)
		s->err = s->err ? s->err : errno;
	if (proc >= 0)
		close(proc);
}

static int by_identity(const void *a, const void *b)
{
	const struct sighting *x = a, *y = b;

	if (x->kind != y->kind)
		return x->kind < y->kind ? -1 : 1;
	if (x->inode != y->inode)
		return x->inode < y->inode ? -1 : 1;
	if (x->pid != y->pid)
		return x->pid < y->pid ? -1 : 1;
	return (x->fd > y->fd) - (x->fd < y->fd);
}

static int sightings_gc(lua_State *L)
{
	struct sightings *s = lua_touserdata(L, 1);

	free(s->list);
	s->list = NULL;
	return 0;
}

/* the sightings from i on that are of one namespace, as a record; how many */
static size_t push_record(lua_State *L, const struct sightings *s, size_t i)
{
	const struct sighting *first = &s->list[i];
	lua_Integer pids = 0, fds = 0;
	size_t n = 0;

	lua_createtable(L, 0, 4); /* record, pids, fds */
	lua_newtable(L);
	lua_newtable(L);
	for (; i + n < s->n; n++) {
		const struct sighting *x = &s->list[i + n];

		if (x->kind != first->kind || x->inode != first->inode)
			break;
		if (x->fd < 0) {
			lua_pushinteger(L, x->pid);
			lua_seti(L, -3, ++pids);
			continue;
		}
		lua_createtable(L, 0, 2);
		lua_pushinteger(L, x->pid);
		lua_setfield(L, -2, "pid");
		lua_pushinteger(L, x->fd);
		lua_setfield(L, -2, "fd");
		lua_seti(L, -2, ++fds);
	}
	lua_setfield(L, -3, "fds");
	lua_setfield(L, -2, "pids");
	lua_pushstring(L, nb_kinds[first->kind].word);
	lua_setfield(L, -2, "kind");
	lua_pushinteger(L, (lua_Integer)first->inode);
	lua_setfield(L, -2, "inode");
	return n;
}

/***
Finding namespaces.

@submodule nsbox.sys.ns
*/

/***
Every namespace that a process is in, or holds open by a descriptor.

@function scan
@tparam[opt] string|table kinds which kinds; default all
@treturn table list of `{ kind, inode, pids = list, fds = list of { pid, fd }
}`, by kind and inode
@treturn integer processes that would not let us look
@return[2] nil, message, errno
@see proc(5), namespaces(7)
*/
static int ns_scan(lua_State *L)
{
	uint64_t wanted = lua_isnoneornil(L, 1)
			      ? ~UINT64_C(0)
			      : nb_checkwords(L, 1, nb_kinds, "namespace");
	struct sightings *s = lua_newuserdatauv(L, sizeof(*s), 0);
	lua_Integer records = 0;

	memset(s, 0, sizeof(*s));
	lua_createtable(L, 0, 1);
	lua_pushcfunction(L, sightings_gc);
	lua_setfield(L, -2, "__gc");
	lua_setmetatable(L, -2);

	scan(s, wanted);

	if (s->err)
		return nb_fail(L, s->err, "/proc");
	if (s->n > 0)
		qsort(s->list, s->n, sizeof(*s->list), by_identity);
	lua_newtable(L);
	for (size_t i = 0; i < s->n;) {
		i += push_record(L, s, i);
		lua_seti(L, -2, ++records);
	}
	lua_pushinteger(L, s->unseen);
	return 2;
}

const luaL_Reg nb_nsscanfuncs[] = {{"scan", ns_scan}, {NULL, NULL}};
