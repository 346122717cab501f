/*
 * mountinfo.c - the walk of setattr.c over any mountinfo
 *
 * setattr.c with system calls that hand out the input, in pieces, and change
 * nothing.
 */
#include <string.h>

#include "nosys.h"

#include "../../csrc/setattr.c"

#include <lauxlib.h>

#include "fuzz.h"

#define TABLE 100 /* descriptors: of mountinfo, of a mount */
#define MOUNT 101
#define PIECE 7

static const char *input;
static size_t size, at;
static uint32_t top; /* the id of the mount that is asked for */
static lua_Integer remounts;
static char visited[BUFFER]; /* the last path that was opened */

long nb_status(int fd, struct nb_status *to)
{
	(void)fd;
	memset(to, 0, sizeof(*to));
	to->mnt = top;
	return 0;
}

long nb_find(int root, const char *path, unsigned how)
{
	(void)root;
	(void)how;
	strcpy(visited, path);
	return MOUNT;
}

static long piece(char *to, size_t room)
{
	size_t n = size - at < PIECE ? size - at : PIECE;

	n = n < room ? n : room;
	memcpy(to, input + at, n);
	at += n;
	return (long)n;
}

static long nb_sys6(long n, long a, long b, long c, long d, long e, long f)
{
	(void)d;
	(void)e;
	(void)f;
	switch (n) {
	case __NR_openat:
		if (strcmp((const char *)b, "/proc/self/mountinfo") != 0)
			return nb_find(0, (const char *)b, 0);
		at = 0;
		return TABLE;
	case __NR_read:
		return a == TABLE ? piece((char *)b, (size_t)c) : -EBADF;
	case __NR_statfs:
		memset((void *)b, 0, 32 * sizeof(unsigned long));
		return 0;
	case __NR_mount:
		remounts++;
		return 0;
	case __NR_mount_setattr:
		return -ENOSYS;
	default:
		return 0;
	}
}

/* walk(text, id of the mount to begin at, whether paths begin at a root):
 * result, remounts, the last path that was opened */
static int walk(lua_State *L)
{
	uint32_t id = (uint32_t)luaL_checkinteger(L, 2);
	long r;

	input = lua_tolstring(L, 1, &size);
	top = id;
	remounts = 0;
	*visited = '\0';
	r = nb_setattrin(lua_toboolean(L, 3) ? MOUNT : -1, MOUNT, 1, 0, 1);
	lua_pushinteger(L, r);
	lua_pushinteger(L, remounts);
	lua_pushstring(L, visited);
	return 3;
}

void fuzz_open(lua_State *L)
{
	lua_pushcfunction(L, walk);
	lua_setfield(L, -2, "walk");
}
