/*
 * trace.c - NSBOX_TRACE: one line a call, as strace prints them
 *
 * Owns the variable NSBOX_TRACE ("1" is stderr, anything else a file to
 * append to) and the form of a line.  Must not know what is traced.  Off, it
 * costs nothing: the functions are then registered as they are.
 *
 * The wrapper calls the real function in its own frame, arguments and stack
 * levels untouched, so that errors are raised exactly as without a trace.
 * The price: it does not see them.  A line whose call has not come back is
 * printed, without a result, when the next one begins or the process ends.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "nb.h"

#define LINE_MOST 2048
#define STRING_MOST 64
#define BINARY_MOST 16
#define ENTRIES_MOST 24
#define DEEPEST 3

/* a line being made; what does not fit is cut */
struct line {
	size_t len;
	char text[LINE_MOST];
};

/* the call that this thread is in */
static __thread struct {
	pid_t pid; /* a forked child inherits the line, not the call */
	struct line line;
} open_call;

/* --- where lines go --- */

static const char *wanted(void)
{
	static const char *name;

	/* once: a script that changes its environment changes no trace */
	if (!name) {
		name = getenv("NSBOX_TRACE");
		if (!name)
			name = "";
	}
	return name;
}

bool nb_tracing(void)
{
	return *wanted() != '\0';
}

static int sink(void)
{
	static int fd = -1;
	const char *name = wanted();

	if (fd < 0 && strcmp(name, "1") == 0)
		fd = STDERR_FILENO;
	if (fd < 0)
		fd = nb_above_stdio(open(
		    name, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600));
	return fd;
}

/* --- making a line --- */

__attribute__((format(printf, 2, 0))) static void
vput(struct line *l, const char *fmt, va_list args)
{
	size_t room = sizeof(l->text) - l->len;
	int n = vsnprintf(l->text + l->len, room, fmt, args);

	if (n > 0)
		l->len += (size_t)n < room ? (size_t)n : room - 1;
}

__attribute__((format(printf, 2, 3))) static void put(struct line *l,
						      const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vput(l, fmt, args);
	va_end(args);
}

static void begin(struct line *l)
{
	struct timeval now;
	struct tm tm;

	l->len = 0;
	gettimeofday(&now, NULL);
	localtime_r(&now.tv_sec, &tm);
	put(l, "nsbox[%d] %02d:%02d:%02d.%06ld ", (int)getpid(), tm.tm_hour,
	    tm.tm_min, tm.tm_sec, (long)now.tv_usec);
}

/* one write(2): processes that share the sink do not mix their lines */
static void end(struct line *l)
{
	int err = errno;

	if (l->len == sizeof(l->text) - 1)
		memcpy(l->text + l->len - 3, "...", 3);
	l->text[l->len++] = '\n';
	if (write(sink(), l->text, l->len) < 0)
		errno = 0; /* a trace that cannot be written is lost */
	l->len = 0;
	errno = err;
}

static void putstring(struct line *l, const char *s, size_t len)
{
	/* a filter of system calls, what a netlink socket says… */
	bool binary = memchr(s, '\0', len) != NULL;
	size_t most = binary ? BINARY_MOST : STRING_MOST;

	put(l, "\"");
	for (size_t i = 0; i < len && i < most; i++) {
		unsigned char c = (unsigned char)s[i];

		if (c == '"' || c == '\\')
			put(l, "\\%c", c);
		else if (c == '\n')
			put(l, "\\n");
		else if (c < ' ' || c == 127 || (binary && c > 127))
			put(l, "\\%03d", c);
		else
			put(l, "%c", c);
	}
	put(l, len > most ? "\"..." : "\"");
}

static void putvalue(lua_State *L, struct line *l, int idx, int depth);

static bool isname(const char *s)
{
	if (!isalpha((unsigned char)*s) && *s != '_')
		return false;
	while (isalnum((unsigned char)*s) || *s == '_')
		s++;
	return !*s;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* the named fields, sorted, so that a call reads the same each time */
static size_t fieldnames(lua_State *L, int idx, const char *names[], size_t max)
{
	size_t n = 0;

	lua_pushnil(L);
	while (lua_next(L, idx)) {
		if (n < max && lua_type(L, -2) == LUA_TSTRING)
			names[n++] = lua_tostring(L, -2);
		lua_pop(L, 1);
	}
	qsort(names, n, sizeof(*names), by_name);
	return n;
}

static bool full(struct line *l, lua_Integer n)
{
	put(l, n > 1 ? ", " : "");
	if (n > ENTRIES_MOST)
		put(l, "...");
	return n > ENTRIES_MOST;
}

/* what is neither in the list nor named: the descriptors of a poll */
static lua_Integer putnumbered(lua_State *L, struct line *l, int idx, int depth,
			       lua_Integer n)
{
	lua_Integer listed = n;

	lua_pushnil(L);
	while (lua_next(L, idx)) {
		int top = lua_gettop(L);

		if (lua_isinteger(L, top - 1) &&
		    (lua_tointeger(L, top - 1) < 1 ||
		     lua_tointeger(L, top - 1) > listed)) {
			if (full(l, ++n)) {
				lua_pop(L, 2);
				break;
			}
			put(l,
			    "[%lld] = ", (long long)lua_tointeger(L, top - 1));
			putvalue(L, l, top, depth + 1);
		}
		lua_pop(L, 1);
	}
	return n;
}

static void puttable(lua_State *L, struct line *l, int idx, int depth)
{
	const char *names[64];
	lua_Integer n = 0;

	if (depth >= DEEPEST || !lua_checkstack(L, 8)) {
		put(l, "{...}");
		return;
	}
	put(l, "{");
	for (lua_Integer i = 1; lua_rawgeti(L, idx, i) != LUA_TNIL; i++) {
		if (full(l, ++n))
			break;
		putvalue(L, l, lua_gettop(L), depth + 1);
		lua_pop(L, 1);
	}
	lua_pop(L, 1);
	if (n <= ENTRIES_MOST)
		n = putnumbered(L, l, idx, depth, n);
	for (size_t i = 0, count = fieldnames(L, idx, names, NB_COUNT(names));
	     i < count && n <= ENTRIES_MOST; i++) {
		if (full(l, ++n))
			break;
		put(l, isname(names[i]) ? "%s = " : "[\"%s\"] = ", names[i]);
		lua_getfield(L, idx, names[i]);
		putvalue(L, l, lua_gettop(L), depth + 1);
		lua_pop(L, 1);
	}
	put(l, "}");
}

/* our handles have a __tostring that cannot fail; others are not asked */
static void putuserdata(lua_State *L, struct line *l, int idx)
{
	int top = lua_gettop(L);
	const char *name = NULL;

	if (luaL_getmetafield(L, idx, "__name") == LUA_TSTRING)
		name = lua_tostring(L, -1);
	if (name && strncmp(name, "nsbox.", 6) == 0)
		put(l, "%s", luaL_tolstring(L, idx, NULL));
	else
		put(l, "%s: %p", name ? name : "userdata",
		    lua_topointer(L, idx));
	lua_settop(L, top);
}

static void putvalue(lua_State *L, struct line *l, int idx, int depth)
{
	const char *s;
	size_t len;

	switch (lua_type(L, idx)) {
	case LUA_TNIL:
		put(l, "nil");
		break;
	case LUA_TBOOLEAN:
		put(l, lua_toboolean(L, idx) ? "true" : "false");
		break;
	case LUA_TNUMBER:
		if (lua_isinteger(L, idx))
			put(l, LUA_INTEGER_FMT, lua_tointeger(L, idx));
		else
			put(l, LUA_NUMBER_FMT, lua_tonumber(L, idx));
		break;
	case LUA_TSTRING:
		s = lua_tolstring(L, idx, &len);
		putstring(l, s, len);
		break;
	case LUA_TTABLE:
		puttable(L, l, idx, depth);
		break;
	case LUA_TUSERDATA:
		putuserdata(L, l, idx);
		break;
	default:
		put(l, "%s", luaL_typename(L, idx));
	}
}

static void putvalues(lua_State *L, struct line *l, int from)
{
	int top = lua_gettop(L);

	for (int i = from; i <= top; i++) {
		put(l, i > from ? ", " : "");
		putvalue(L, l, i, 0);
	}
}

static void putresults(lua_State *L, struct line *l, int n)
{
	int first = lua_gettop(L) - n + 1;

	put(l, " = ");
	if (n >= 3 && lua_isnil(L, first) && lua_isinteger(L, first + 2)) {
		const char *name =
		    nb_errnoname((int)lua_tointeger(L, first + 2));

		put(l, "fail %s (%s)", name ? name : "?",
		    luaL_tolstring(L, first + 1, NULL));
		lua_pop(L, 1);
		return;
	}
	putvalues(L, l, first);
}

/* --- calls --- */

/* prints the line of a call that is not back when something else happens */
static void suspend(void)
{
	if (open_call.line.len && open_call.pid == getpid()) {
		put(&open_call.line, " ...");
		end(&open_call.line);
	}
	open_call.line.len = 0;
}

__attribute__((destructor)) static void leave(void)
{
	if (open_call.line.len)
		suspend();
}

/* these may wait, or not come back: a trace must show that they are called */
static bool waits(const char *name)
{
	static const char *const names[] = {
	    "fd.poll",	       "fd.read",	  "fd.write",
	    "idmap.newgidmap", "idmap.newuidmap", "process.clone",
	    "process.exec",    "process.spawn",	  NULL};

	for (const char *const *n = names; *n; n++)
		if (strcmp(*n, name) == 0)
			return true;
	return false;
}

/* upvalues: the function, its name */
static int traced(lua_State *L)
{
	lua_CFunction real = lua_tocfunction(L, lua_upvalueindex(1));
	const char *name = lua_tostring(L, lua_upvalueindex(2));
	const char *dot = strchr(name, '.');
	/* a module that is called gets itself first */
	bool call = dot && strcmp(dot, ".__call") == 0;
	struct line line;
	int n;

	suspend();
	luaL_checkstack(L, 12, NULL);
	begin(&line);
	if (call)
		put(&line, "%.*s(", (int)(dot - name), name);
	else
		put(&line, "%s(", name);
	putvalues(L, &line, call ? 2 : 1);
	put(&line, ")");
	open_call.pid = getpid();
	open_call.line = line;
	if (waits(name))
		suspend();

	n = real(L);

	if (!open_call.line.len) {
		begin(&line);
		put(&line, "%s", name);
	}
	open_call.line.len = 0;
	luaL_checkstack(L, 12, NULL);
	putresults(L, &line, n);
	end(&line);
	return n;
}

void nb_setfuncs(lua_State *L, const char *module, const luaL_Reg *funcs)
{
	if (!nb_tracing()) {
		luaL_setfuncs(L, funcs, 0);
		return;
	}
	for (; funcs->name; funcs++) {
		lua_pushcfunction(L, funcs->func);
		lua_pushfstring(L, "%s.%s", module, funcs->name);
		lua_pushcclosure(L, traced, 2);
		lua_setfield(L, -2, funcs->name);
	}
}

void nb_trace(const char *fmt, ...)
{
	struct line line;
	va_list args;

	if (!nb_tracing())
		return;
	suspend();
	begin(&line);
	va_start(args, fmt);
	vput(&line, fmt, args);
	va_end(args);
	end(&line);
}
