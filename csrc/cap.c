/*
 * cap.c - capabilities of threads, in words
 *
 * Owns the words (libcap's names without "cap_") and the five sets.  Must
 * not know which sets a box gets.  See capabilities(7), cap_get_proc(3),
 * cap_get_bound(3), prctl(2).
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "nb.h"

/***
 * Capabilities.
 *
 * Words are those of capabilities(7) in lower case and without `cap_`:
 * `"net_admin"`; arguments may have the prefix and upper case.
 * @module nsbox.sys.cap
 */

#define MOST_CAPS 64
#define BIT(cap) (UINT64_C(1) << (cap))

enum { EFFECTIVE, PERMITTED, INHERITABLE, BOUNDING, AMBIENT, NSETS };

static const char *const set_names[] = {"effective", "permitted", "inheritable",
					"bounding",  "ambient",	  NULL};

/* the lines of /proc/PID/status */
static const char *const status_names[] = {
    "\nCapEff:", "\nCapPrm:", "\nCapInh:", "\nCapBnd:", "\nCapAmb:"};

static const cap_flag_t flags[] = {CAP_EFFECTIVE, CAP_PERMITTED,
				   CAP_INHERITABLE};

/* --- words --- */

/* asked of the kernel and of libcap once; threads may share this library */
static struct {
	pthread_once_t once;
	int n;
	char names[MOST_CAPS][32];
} caps = {.once = PTHREAD_ONCE_INIT};

static void learn(void)
{
	caps.n = cap_max_bits();
	if (caps.n > MOST_CAPS)
		caps.n = MOST_CAPS;
	for (int cap = 0; cap < caps.n; cap++) {
		/* a number when libcap is older than the kernel */
		char *name = cap_to_name(cap);
		const char *word = name ? name : "";

		if (strncmp(word, "cap_", 4) == 0)
			word += 4;
		snprintf(caps.names[cap], sizeof(caps.names[cap]), "%s", word);
		cap_free(name);
	}
}

static int count(void)
{
	pthread_once(&caps.once, learn);
	return caps.n;
}

static int capof(const char *word)
{
	int n = count();

	if (strncasecmp(word, "cap_", 4) == 0)
		word += 4;
	for (int cap = 0; cap < n; cap++)
		if (*caps.names[cap] == tolower((unsigned char)*word) &&
		    strcasecmp(caps.names[cap], word) == 0)
			return cap;
	return -1;
}

static uint64_t unknowncap(lua_State *L, int idx, const char *word)
{
	struct nb_nearest best = {NULL, 0};
	const char *hint = "";
	luaL_Buffer b;

	for (int cap = 0; cap < caps.n; cap++)
		nb_nearest(&best, word, caps.names[cap]);
	if (best.name)
		hint = lua_pushfstring(L, " (did you mean '%s'?)", best.name);
	luaL_buffinit(L, &b);
	luaL_addstring(&b, caps.names[0]);
	for (int cap = 1; cap < caps.n; cap++) {
		luaL_addstring(&b, ", ");
		luaL_addstring(&b, caps.names[cap]);
	}
	luaL_pushresult(&b);
	nb_argerror(L, idx,
		    lua_pushfstring(L, "unknown capability '%s'%s; known: %s",
				    word, hint, lua_tostring(L, -1)));
	return 0;
}

uint64_t nb_checkcaps(lua_State *L, int idx)
{
	uint64_t mask = 0;
	lua_Integer n;
	int known = count();

	if (lua_type(L, idx) == LUA_TSTRING &&
	    strcmp(lua_tostring(L, idx), "all") == 0)
		return known == MOST_CAPS ? UINT64_MAX : BIT(known) - 1;
	if (!lua_istable(L, idx))
		nb_typeerror(L, idx, "list of capabilities, or 'all',");
	n = (lua_Integer)lua_rawlen(L, idx);
	for (lua_Integer i = 1; i <= n; i++) {
		int cap;

		if (lua_rawgeti(L, idx, i) != LUA_TSTRING)
			nb_argerror(L, idx, "list of capabilities expected");
		cap = capof(lua_tostring(L, -1));
		if (cap < 0)
			return unknowncap(L, idx, lua_tostring(L, -1));
		mask |= BIT(cap);
		lua_pop(L, 1);
	}
	return mask;
}

void nb_pushcaps(lua_State *L, uint64_t mask)
{
	int known = count();
	lua_Integer n = 0;

	lua_newtable(L);
	for (int cap = 0; cap < known; cap++) {
		if (!(mask & BIT(cap)))
			continue;
		lua_pushstring(L, caps.names[cap]);
		lua_rawseti(L, -2, ++n);
	}
}

/* --- system calls: 0 or -errno --- */

static int getown(uint64_t sets[NSETS])
{
	cap_flag_value_t on;
	int n = count();
	cap_t state = cap_get_proc();

	if (!state)
		return -errno;
	for (int cap = 0; cap < n; cap++) {
		for (int set = EFFECTIVE; set <= INHERITABLE; set++)
			if (cap_get_flag(state, cap, flags[set], &on) == 0 &&
			    on == CAP_SET)
				sets[set] |= BIT(cap);
		if (cap_get_bound(cap) == CAP_SET)
			sets[BOUNDING] |= BIT(cap);
		if (cap_get_ambient(cap) == CAP_SET)
			sets[AMBIENT] |= BIT(cap);
	}
	cap_free(state);
	return 0;
}

/* libcap has only three of the five sets of another process, and would read
 * them at different times: one look at its status has them all */
static int getother(pid_t pid, uint64_t sets[NSETS])
{
	char path[32], text[8192];
	size_t len = 0;
	ssize_t n;
	int fd, err;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	while ((n = read(fd, text + len, sizeof(text) - 1 - len)) > 0)
		len += (size_t)n;
	err = errno;
	nb_close(fd);
	if (n < 0)
		return -err;

	text[len] = '\0';
	for (int set = 0; set < NSETS; set++) {
		const char *line = strstr(text, status_names[set]);

		if (!line)
			return -EIO;
		line += strlen(status_names[set]);
		sets[set] = strtoull(line, NULL, 16);
	}
	return 0;
}

/* a mask goes to one flag of a libcap state */
static int fillflag(cap_t state, cap_flag_t flag, uint64_t mask)
{
	cap_value_t list[MOST_CAPS];
	int n = 0;

	for (int cap = 0; cap < count(); cap++)
		if (mask & BIT(cap))
			list[n++] = cap;
	if (cap_clear_flag(state, flag) < 0)
		return -1;
	return n ? cap_set_flag(state, flag, n, list, CAP_SET) : 0;
}

static int setthree(const uint64_t sets[NSETS])
{
	cap_t state = cap_init();
	int rc = state ? 0 : -1;
	int err;

	for (int set = EFFECTIVE; rc == 0 && set <= INHERITABLE; set++)
		rc = fillflag(state, flags[set], sets[set]);
	if (rc == 0)
		rc = cap_set_proc(state);
	err = errno;
	if (state)
		cap_free(state);
	return rc < 0 ? -err : 0;
}

static int setbounding(uint64_t mask)
{
	for (int cap = 0; cap < count(); cap++)
		if (!(mask & BIT(cap)) && cap_get_bound(cap) == CAP_SET &&
		    cap_drop_bound(cap) < 0)
			return -errno;
	return 0;
}

static int setambient(uint64_t mask)
{
	if (cap_reset_ambient() < 0)
		return -errno;
	for (int cap = 0; cap < count(); cap++)
		if ((mask & BIT(cap)) && cap_set_ambient(cap, CAP_SET) < 0)
			return -errno;
	return 0;
}

/* which of the five are wanted is the mask of set numbers; what failed is
 * left in *set */
static int apply(const uint64_t wanted[NSETS], unsigned int which, int *set)
{
	const unsigned int three =
	    1u << EFFECTIVE | 1u << PERMITTED | 1u << INHERITABLE;
	uint64_t now[NSETS] = {0};
	int err = 0;

	/* first what needs CAP_SETPCAP, which the second step may give up;
	 * last what needs the sets of the second */
	*set = BOUNDING;
	if (which & 1u << BOUNDING)
		err = setbounding(wanted[BOUNDING]);
	if (err)
		return err;

	*set = PERMITTED;
	if (which & three) {
		err = getown(now);
		if (err)
			return err;
		for (int i = EFFECTIVE; i <= INHERITABLE; i++)
			if (which & 1u << i)
				now[i] = wanted[i];
		if (!(which & 1u << EFFECTIVE))
			now[EFFECTIVE] &= now[PERMITTED];
		err = setthree(now);
	}
	if (err)
		return err;

	*set = AMBIENT;
	if (which & 1u << AMBIENT)
		err = setambient(wanted[AMBIENT]);
	return err;
}

/* --- functions --- */

/***
 * The capability sets of the calling thread, or of a process.
 * @function get
 * @tparam[opt] integer pid
 * @treturn table `effective`, `permitted`, `inheritable`, `bounding`,
 *   `ambient`: lists of words, in the order of their numbers
 * @return[2] nil, message, errno
 * @see capabilities(7)
 */
static int cap_get(lua_State *L)
{
	lua_Integer pid = luaL_optinteger(L, 1, 0);
	uint64_t sets[NSETS] = {0};
	int err;

	luaL_argcheck(L, pid >= 0 && pid <= INT32_MAX, 1, "not a process id");

	err = pid ? getother((pid_t)pid, sets) : getown(sets);

	if (err)
		return nb_fail(
		    L, -err,
		    lua_pushfstring(L, "capabilities of %d", (int)pid));
	lua_createtable(L, 0, NSETS);
	for (int set = 0; set < NSETS; set++) {
		nb_pushcaps(L, sets[set]);
		lua_setfield(L, -2, set_names[set]);
	}
	return 1;
}

/***
 * Sets capability sets of the calling thread.
 *
 * The order is bounding, then effective, permitted and inheritable together,
 * then ambient.  Sets that are not named stay; effective loses what permitted
 * loses.  The bounding set only shrinks: naming what it has not is no error.
 * @function set
 * @tparam table sets as `get` returns; each is a list of words or `"all"`
 * @treturn boolean true
 * @return[2] nil, message, errno; sets before the one in the message have
 *   been changed
 * @see cap_set_proc(3)
 */
static int cap_set(lua_State *L)
{
	uint64_t wanted[NSETS] = {0};
	unsigned int which = 0;
	int err, set;

	luaL_checktype(L, 1, LUA_TTABLE);
	nb_checkfields(L, 1, set_names, NULL);
	for (int i = 0; i < NSETS; i++) {
		lua_getfield(L, 1, set_names[i]);
		if (!lua_isnil(L, -1)) {
			wanted[i] = nb_checkcaps(L, -1);
			which |= 1u << i;
		}
		lua_pop(L, 1);
	}

	err = apply(wanted, which, &set);

	if (err)
		return nb_fail(L, -err, set_names[set]);
	lua_pushboolean(L, 1);
	return 1;
}

/***
 * Whether execve(2) may still give privileges; can be given up for good.
 * @function no_new_privs
 * @tparam[opt] boolean on true sets it for the calling thread; there is no
 *   way back
 * @treturn boolean whether it is set now
 * @return[2] nil, message, errno
 * @see prctl(2)
 */
static int cap_no_new_privs(lua_State *L)
{
	bool on = !lua_isnoneornil(L, 1);
	int rc = 0;

	luaL_argcheck(L, !on || (lua_isboolean(L, 1) && lua_toboolean(L, 1)), 1,
		      "true expected: it cannot be cleared");

	if (on)
		rc = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (rc == 0)
		rc = prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0);

	if (rc < 0)
		return nb_fail(L, errno, "no_new_privs");
	lua_pushboolean(L, rc);
	return 1;
}

/***
 * All capabilities of this kernel.
 * @function names
 * @treturn table list of words, in the order of their numbers
 * @see capabilities(7)
 */
static int cap_names(lua_State *L)
{
	nb_pushcaps(L, UINT64_MAX);
	return 1;
}

static const luaL_Reg cap_funcs[] = {
    {"get", cap_get}, {"names", cap_names}, {"no_new_privs", cap_no_new_privs},
    {"set", cap_set}, {NULL, NULL},
};

int luaopen_nsbox_sys_cap(lua_State *L)
{
	lua_newtable(L);
	nb_setfuncs(L, "cap", cap_funcs);
	return 1;
}
