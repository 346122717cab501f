/*
 * spawn.c - a Lua table becomes a launch: fields to steps, in a sound order
 *
 * The only place that knows the order of a plan and the fields of the table.
 * Knows nothing of how a plan is run.  The order follows what the kernel
 * forces: ids and capabilities last, because the steps before need them;
 * descriptors and signals just before exec, and a seccomp filter as the last.
 *
 * clone(2), setns(2), capabilities(7), execve(2)
 */
#include <errno.h>
#include <math.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/nsfs.h>
#include <sys/capability.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <unistd.h>

#include "builder.h"
#include "spawn.h"

#define FIXED_STEPS 48
#define MAX_JOIN 64
#define DEFAULT_PATH                                                           \
	"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

static const char *const plan_fields[] = {
    "argv",	 "env",	    "path",	     "cwd",  "trycwd",	     "stdin",
    "stdout",	 "stderr",  "keep",	     "new",  "join",	     "maps",
    "hostname",	 "mounts",  "writes",	     "lo",   "time_offsets", "uid",
    "gid",	 "groups",  "trygroups",     "caps", "no_new_privs", "setsid",
    "pdeathsig", "init",    "gate",	     "idle", "serves",	     "dumpable",
    "seccomp",	 "rlimits", "oom_score_adj", "nice", "affinity",     "slave",
    NULL};
static const char *const write_fields[] = {"1", "2", "optional", NULL};
static const char *const time_fields[] = {"monotonic", "boottime", NULL};

static bool has(uint64_t kinds, uint64_t kind)
{
	return kinds & kind;
}

static void add_stdio(struct nb_builder *b)
{
	int32_t fds[3];
	uint32_t offset;

	fds[0] = nb_fieldfd(b, "stdin");
	fds[1] = nb_fieldfd(b, "stdout");
	fds[2] = nb_fieldfd(b, "stderr");
	if (fds[0] < 0 && fds[1] < 0 && fds[2] < 0)
		return;
	offset = nb_put(b, fds, sizeof(fds));
	nb_step(b, NB_STEP_STDIO)->a = offset;
}

static uint64_t putjoins(struct nb_builder *b, uint32_t *offset, uint64_t *n)
{
	lua_State *L = b->L;
	lua_Integer len = nb_count(L, b->table, "join");
	uint64_t kinds = 0;

	*n = (uint64_t)len;
	if (len > MAX_JOIN)
		luaL_error(L, "join: at most %d namespaces", MAX_JOIN);
	*offset = nb_reserve(b, (size_t)len * sizeof(struct nb_join));
	lua_getfield(L, b->table, "join");
	for (lua_Integer i = 1; i <= len; i++) {
		struct nb_join j;

		lua_geti(L, -1, i);
		j.fd = nb_checkfd(L, -1);
		j.kind = ioctl(j.fd, NS_GET_NSTYPE);
		if (j.kind <= 0)
			luaL_error(L, "join[%d]: not a namespace", (int)i);
		kinds |= (uint32_t)j.kind;
		((struct nb_join *)nb_at(b, *offset))[i - 1] = j;
		lua_pop(L, 1);
	}
	lua_pop(L, 1);
	return kinds;
}

/*
 * nsbox-init inherits by number: what it will join, what the program keeps.
 * exec would take the capabilities of a child whose kernel id is not root in
 * its new user namespace, so they go along as ambient ones.
 */
static void add_init(struct nb_builder *b, uint64_t kinds, uint32_t joins,
		     uint64_t njoins)
{
	uint64_t all = ALL_CAPS >> (62 - nb_plan(b)->last_cap);
	uint64_t argv[5] = {0}, n;
	uint32_t fds = nb_putfds(b, "keep", &n);
	uint64_t kept = n;
	bool ambient = has(kinds, CLONE_NEWUSER) && njoins == 0;
	struct nb_step *s;
	char from[12];

	for (uint64_t i = 0; i < njoins; i++)
		((int32_t *)nb_at(b, fds))[n++] =
		    ((struct nb_join *)nb_at(b, joins))[i].fd;
	n = nb_listtrees(b, fds, n, kept + MAX_EXTRA);
	if (ambient) {
		s = nb_step(b, NB_STEP_CAPS);
		s->x = s->y = s->z = all;
		s = nb_step(b, NB_STEP_AMBIENT);
		s->flags = NB_EXECROOT;
		s->x = all;
	}
	s = nb_step(b, NB_STEP_INIT);
	s->a = fds;
	s->x = n;
	snprintf(from, sizeof(from), "%u", nb_plan(b)->nsteps);
	argv[0] = nb_putstring(b, "nsbox-init");
	argv[1] = nb_putstring(b, "0000000000");
	argv[2] = nb_putstring(b, "0000000000");
	argv[3] = nb_putstring(b, from);
	fds = nb_put(b, argv, sizeof(argv));
	nb_plan(b)->init_argv = fds;
	if (ambient) {
		nb_stepx(b, NB_STEP_AMBIENT, 0);
		s = nb_step(b, NB_STEP_CAPS);
		s->x = s->z = ALL_CAPS >> (62 - nb_plan(b)->last_cap);
	}
}

/* joined first: privilege over them may be gone after the new ones */
static void add_namespaces(struct nb_builder *b, uint64_t kinds, uint32_t joins,
			   uint64_t njoins, bool own)
{
	struct nb_step *s;
	/* a process in there could trace us before we are one of it */
	bool hide =
	    njoins > 0 && !nb_fieldbool(b->L, b->table, "dumpable", false);

	if (hide)
		nb_stepx(b, NB_STEP_DUMPABLE, 0);
	if (njoins) {
		s = nb_step(b, NB_STEP_JOIN);
		s->a = joins;
		s->x = njoins;
	}
	if (kinds)
		nb_stepx(b, NB_STEP_UNSHARE, kinds);
	if (!b->l->late_maps)
		return;
	/* the files in /proc are ours to write only while dumpable */
	if (hide)
		nb_stepx(b, NB_STEP_DUMPABLE, 1);
	if (own)
		nb_addownmaps(b);
	else
		nb_step(b, NB_STEP_NEEDMAPS);
	if (hide)
		nb_stepx(b, NB_STEP_DUMPABLE, 0);
}

static void add_time(struct nb_builder *b, uint64_t kinds)
{
	lua_State *L = b->L;
	char text[128] = "";

	if (lua_getfield(L, b->table, "time_offsets") == LUA_TTABLE) {
		int t = lua_gettop(L);

		nb_checkfields(L, t, time_fields, "time_offsets");
		for (int i = 0; time_fields[i]; i++) {
			size_t n = strlen(text);
			lua_Number v, whole;

			if (lua_getfield(L, t, time_fields[i]) != LUA_TNIL) {
				if (!lua_isnumber(L, -1))
					luaL_error(L,
						   "time_offsets: %s: "
						   "expected a number",
						   time_fields[i]);
				v = lua_tonumber(L, -1);
				whole = floor(v);
				if (!(fabs(v) < 1e11))
					luaL_error(L,
						   "time_offsets: %s is out "
						   "of range",
						   time_fields[i]);
				snprintf(text + n, sizeof(text) - n,
					 "%s %lld %ld\n", time_fields[i],
					 (long long)whole,
					 (long)((v - whole) * 1e9));
			}
			lua_pop(L, 1);
		}
	} else if (!lua_isnil(L, -1)) {
		luaL_error(L, "time_offsets: expected a table");
	}
	lua_pop(L, 1);
	if (*text && !has(kinds, CLONE_NEWTIME))
		luaL_error(L, "time_offsets: needs a new time namespace");
	if (!has(kinds, CLONE_NEWTIME))
		return;
	/* clone3 could make it, too; but a child that shares no memory would
	 * be inside at once, and its offsets frozen */
	nb_stepx(b, NB_STEP_UNSHARE, CLONE_NEWTIME);
	if (*text)
		nb_add_file(b, NB_STEP_TIME, "/proc/self/timens_offsets", text);
	/* who execs is inside then; but who waits at a gate, or idles, is to be
	 * inside before, where others may join */
	if (b->l->init) {
		uint32_t path =
		    nb_putstring(b, "/proc/self/ns/time_for_children");
		struct nb_step *s = nb_step(b, NB_STEP_ENTER);

		s->a = path;
		s->x = CLONE_NEWTIME;
	}
}

static void add_write(struct nb_builder *b, int element, int i)
{
	lua_State *L = b->L;
	const char *path, *data;
	size_t pathlen = 0, datalen = 0;
	uint32_t a, d;
	struct nb_step *s;

	nb_checktable(b, element, "writes", i);
	nb_checkfields(L, element, write_fields, "writes");
	lua_geti(L, element, 1);
	lua_geti(L, element, 2);
	path = lua_tolstring(L, -2, &pathlen);
	data = lua_tolstring(L, -1, &datalen);
	if (!path || !data) {
		luaL_error(L, "writes[%d]: expected { path, data }", i);
		return;
	}
	if (strlen(path) != pathlen || strlen(data) != datalen)
		luaL_error(L, "writes[%d]: contains a NUL byte", i);
	a = nb_putstring(b, path);
	d = nb_putstring(b, data);
	s = nb_step(b, NB_STEP_WRITE);
	s->a = a;
	s->b = d;
	s->flags = nb_fieldbool(L, element, "optional", false) ? NB_TRY : 0;
}

static void add_cwd(struct nb_builder *b)
{
	const char *cwd = nb_fieldstring(b->L, b->table, "cwd", NULL);
	const char *trycwd = nb_fieldstring(b->L, b->table, "trycwd", NULL);

	if (cwd)
		nb_stepstring(b, NB_STEP_CHDIR, cwd);
	else if (trycwd)
		nb_stepstring(b, NB_STEP_CHDIR, trycwd)->flags = NB_TRY;
}

/* --- the whole --- */

static uint64_t newkinds(struct nb_builder *b)
{
	return nb_fieldwords(b, b->table, "new", nb_kinds, "namespace");
}

static void add_exec(struct nb_builder *b)
{
	lua_State *L = b->L;
	const char *path = nb_fieldstring(L, b->table, "path", DEFAULT_PATH);
	uint32_t offset;

	if (nb_count(L, b->table, "argv") == 0)
		luaL_error(L, "argv: needs at least the program");
	/* assigned after the call: it may move the plan */
	offset = nb_putvector(b, "argv");
	nb_plan(b)->argv = offset;
	offset = nb_putvector(b, "env");
	nb_plan(b)->env = offset;
	offset = nb_putstring(b, path);
	nb_plan(b)->path = offset;
}

/* the last steps: the gate, who stays behind, the program */
static void add_program(struct nb_builder *b, bool idle)
{
	lua_State *L = b->L;
	uint64_t kept;
	uint32_t keep = nb_putfds(b, "keep", &kept);
	struct nb_step *s = nb_step(b, NB_STEP_KEEP);

	s->a = keep;
	s->x = kept;
	if (nb_fieldbool(L, b->table, "dumpable", false))
		nb_stepx(b, NB_STEP_DUMPABLE, 1);
	if (nb_fieldbool(L, b->table, "gate", false))
		nb_step(b, NB_STEP_GATE);
	if (idle) {
		if (nb_hasfilter(b))
			luaL_error(L, "seccomp: idle has no program to filter");
		nb_stepx(b, NB_STEP_IDLE, b->l->serves);
		return;
	}
	if (b->l->supervise) {
		nb_step(b, NB_STEP_SUPERVISE);
		nb_stepx(b, NB_STEP_PDEATHSIG, SIGKILL);
	}
	if (nb_fieldbool(L, b->table, "setsid", false))
		nb_step(b, NB_STEP_SETSID);
	nb_step(b, NB_STEP_SIGMASK);
	nb_addrlimits(b);
	nb_addlast(b);
	add_exec(b);
	nb_step(b, NB_STEP_EXEC);
}

#ifdef NSBOX_DEBUG
/* NSBOX_FAULT names a step by its word or its number in the plan */
static void plant_faults(struct nb_builder *b)
{
	struct nb_step *s = nb_at(b, nb_plan(b)->steps);
	char number[12];

	for (uint32_t i = 0; i < nb_plan(b)->nsteps; i++) {
		snprintf(number, sizeof(number), "%u", i + 1);
		s[i].fault = nb_fault(number);
		if (s[i].fault == 0)
			s[i].fault = nb_fault(nb_stepword(s[i].op));
	}
}
#endif

/*
 * Who runs which step: see the head of plan.c.  In a root of its own a program
 * may be a link to /proc/self/exe, or a script that names it: what it gets is
 * nsbox-init, from a sealed file and with no descriptor but its own, and not
 * the interpreter (CVE-2019-5736).  oom_score_adj is one for all processes that
 * share a memory.
 */
static bool needs_init(struct nb_builder *b, uint64_t njoins)
{
	return njoins > 0 || b->l->supervise || nb_pivots(b) ||
	       nb_fieldbool(b->L, b->table, "gate", false) ||
	       nb_given(b, "oom_score_adj") || nb_filterkills(b) ||
	       nb_given(b, "uid") || nb_given(b, "gid");
}

static int deathsignal(struct nb_builder *b)
{
	int sig = 0;

	if (nb_fieldstring(b->L, b->table, "pdeathsig", NULL)) {
		lua_getfield(b->L, b->table, "pdeathsig");
		sig = nb_checksignal(b->L, -1);
	} else {
		lua_pushnil(b->L);
	}
	lua_pop(b->L, 1);
	return sig;
}

void nb_makeplan(lua_State *L, int t, struct nb_launch *l)
{
	struct nb_builder builder = {.L = L, .table = t, .l = l}, *b = &builder;
	uint64_t kinds, joined, njoins;
	uint32_t joins;
	int pdeathsig;
	struct nb_step *s;
	bool fork, own, idle;

	luaL_checktype(L, t, LUA_TTABLE);
	luaL_checkstack(L, 20, NULL);
	nb_checkfields(L, t, plan_fields, "plan");
	nb_beginplan(b, FIXED_STEPS + nb_countmounts(b) + nb_countlimits(b) +
			    (uint32_t)nb_count(L, t, "writes"));
	nb_plan(b)->last_cap = (uint32_t)cap_max_bits() - 1;
	nb_plan(b)->root = nb_plan(b)->null = nb_plan(b)->empty = -1;
	nb_plan(b)->umask = -1;
	kinds = newkinds(b);
	pdeathsig = deathsignal(b);
	joined = putjoins(b, &joins, &njoins);
	idle = nb_fieldbool(L, t, "idle", false);
	l->gate = nb_fieldbool(L, t, "gate", false);
	l->supervise = idle || nb_fieldbool(L, t, "init", false);
	l->serves = idle && nb_fieldbool(L, t, "serves", false);
	l->filtered = nb_hasfilter(b);
	l->init = !l->function && needs_init(b, njoins);

	/* one clone makes all namespaces, unless others are joined before or
	 * libc's fork makes the child */
	nb_takemaps(b);
	if ((l->uid_map || l->gid_map) && !has(kinds, CLONE_NEWUSER))
		luaL_error(L, "maps: need a new user namespace");
	fork = (joined | (l->function || njoins ? kinds : 0)) & CLONE_NEWPID;
	/* a program enters its time namespace by exec, a function by this */
	fork |= l->function && has(kinds, CLONE_NEWTIME);
	if (!l->function && njoins == 0)
		nb_plan(b)->cloneflags = kinds & ~(uint64_t)CLONE_NEWTIME;
	nb_step(b, NB_STEP_HOLD);
	if (pdeathsig)
		nb_stepx(b, NB_STEP_PDEATHSIG, (uint64_t)pdeathsig);
	/* a function runs with the handlers of its host, once that holds its
	 * pidfd: see nb_launch() */
	nb_step(b, l->function ? NB_STEP_RELEASE : NB_STEP_SIGNALS);
	l->late_maps =
	    (l->uid_map || l->gid_map) && nb_plan(b)->cloneflags == 0;
	/* the parent of a user namespace below a joined one is not ours: only
	 * the child can write there */
	own = joined & CLONE_NEWUSER
		  ? !l->newuidmap && !l->newgidmap && l->via < 0
		  : njoins == 0 && nb_ownmaps(l);
	l->two_way = l->init || fork || l->function ||
		     ((l->uid_map || l->gid_map) && !own);
	if (own && !l->late_maps)
		nb_addownmaps(b);
	else if ((l->uid_map || l->gid_map) && !l->late_maps)
		nb_step(b, NB_STEP_RELEASE);
	if (l->init) {
		add_stdio(b);
		add_init(b, kinds, joins, njoins);
	}
	/* where the parent can see us, and nobody else */
	l->two_way |= nb_addlimits(b);
	add_namespaces(
	    b, nb_plan(b)->cloneflags ? 0 : kinds & ~(uint64_t)CLONE_NEWTIME,
	    joins, njoins, own);
	add_time(b, kinds);
	if (fork)
		nb_stepx(b, NB_STEP_FORK, (uint64_t)pdeathsig);
	if (nb_fieldstring(L, t, "hostname", NULL))
		nb_stepstring(b, NB_STEP_HOSTNAME,
			      nb_fieldstring(L, t, "hostname", NULL));
	if (has(kinds, CLONE_NEWNS)) {
		uint32_t none = nb_putstring(b, "none"),
			 root = nb_putstring(b, "/");

		s = nb_step(b, NB_STEP_MOUNT);
		s->a = none;
		s->b = root;
		s->c = none;
		/* the caller's mounts come in until the mounts say otherwise */
		s->x =
		    MS_REC | (nb_fieldbool(L, t, "slave", false) ? MS_SLAVE
								 : MS_PRIVATE);
	}
	if (nb_fieldbool(L, t, "lo", false))
		nb_step(b, NB_STEP_LO);
	nb_each(b, "writes", nb_count(L, t, "writes"), add_write);
	nb_addmounts(b);
	nb_addprivilege(b, pdeathsig);
	add_cwd(b);
	if (!l->init)
		add_stdio(b);
	if (l->function) {
		/* it may use what is open here; the programs that it starts
		 * have none of that */
		nb_step(b, NB_STEP_KEEP);
		nb_addrlimits(b);
		nb_addlast(b);
		nb_step(b, NB_STEP_STARTED);
	} else {
		add_program(b, idle);
	}
	nb_plan(b)->size = b->a.len;
#ifdef NSBOX_DEBUG
	plant_faults(b);
#endif
	l->plan = nb_plan(b);
}

/* --- what a failed launch says --- */

static const char *subject(lua_State *L, const struct nb_launch *l)
{
	struct nb_plan *plan = l->plan;
	struct nb_step *s =
	    (struct nb_step *)((char *)plan + plan->steps) + l->step;
	const char *base = (const char *)plan;

	switch ((enum nb_stepop)s->op) {
	case NB_STEP_WRITE:
	case NB_STEP_TIME:
	case NB_STEP_ENTER:
	case NB_STEP_HOSTNAME:
	case NB_STEP_ATTR:
	case NB_STEP_MASK:
	case NB_STEP_CHDIR:
		return base + s->a;
	case NB_STEP_GRAB:
		return s->a ? base + s->a : NULL;
	case NB_STEP_IDMAP:
	case NB_STEP_PLACE:
		if (s->op == NB_STEP_IDMAP || s->flags & NB_ROOT)
			s = (struct nb_step *)((char *)plan + plan->steps) +
			    s->y;
		return base + (s->op == NB_STEP_PLACE ? s->b : s->a);
	case NB_STEP_MOUNT:
	case NB_STEP_LINK:
	case NB_STEP_FILE:
	case NB_STEP_DIRECTORY:
		return base + s->b;
	case NB_STEP_GID:
	case NB_STEP_UID:
		return lua_pushfstring(L, "%I", (LUAI_UACINT)s->x);
	case NB_STEP_OOM:
	case NB_STEP_NICE:
		return lua_pushfstring(L, "%d", (int)(int64_t)s->x);
	case NB_STEP_HARD:
	case NB_STEP_RLIMIT:
		return nb_resource(s->x);
	case NB_STEP_AFFINITY:
		return l->detail < 0 ? NULL
				     : lua_pushfstring(L, "cpu %d", l->detail);
	case NB_STEP_JOIN:
		return nb_wordof(
		    nb_kinds,
		    (uint64_t)((const struct nb_join *)(base + s->a))[l->detail]
			.kind);
	case NB_STEP_UNSHARE:
		return nb_wordof(nb_kinds, s->x);
	case NB_STEP_EXEC: {
		/* in a shared memory the offsets have become pointers */
		uint64_t first = *(const uint64_t *)(base + plan->argv);

		return first < plan->size ? base + first
					  : (const char *)(uintptr_t)first;
	}
	default:
		return NULL;
	}
}

int nb_launchfailed(lua_State *L, const struct nb_launch *l)
{
	const char *word = l->where, *about = NULL;

	luaL_checkstack(L, 8, NULL);
	if (l->step >= 0) {
		struct nb_step *s =
		    (struct nb_step *)((char *)l->plan + l->plan->steps);

		word = nb_stepword(s[l->step].op);
		about = subject(L, l);
	}
	luaL_pushfail(L);
	lua_pushfstring(L, about ? "%s %s: %s" : "%s%s: %s", word,
			about ? about : "", strerror(l->err));
	if (l->said[0]) {
		lua_pushfstring(L, "%s (%s)", lua_tostring(L, -1), l->said);
		lua_remove(L, -2);
	}
	lua_pushinteger(L, l->err);
	lua_pushstring(L, word);
	lua_pushstring(L, about);
	return 5;
}
