/*
 * seccomp.c - libseccomp: the names of system calls, and filters made of rules
 *
 * A companion of nsbox.so: only what makes filters of its own loads it.  The
 * built-in filter is in nsbox.so, and spawn installs either.
 *
 * seccomp_init(3), seccomp_rule_add(3), seccomp_export_bpf(3)
 */
#if !__has_include(<seccomp.h>)
#error "libseccomp is missing (Debian: apt-get install libseccomp-dev)"
#endif
#include <errno.h>
#include <seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "nb.h"

#define MAX_CALLS 1024
#define ARM_CALLS 0xf0000 /* its private ones begin here */
#define MAX_RULES 65536
#define MAX_ARGS 6

static const struct nb_word arches[] = {
    {"aarch64", SCMP_ARCH_AARCH64},
    {"arm", SCMP_ARCH_ARM},
    {"mips", SCMP_ARCH_MIPS},
    {"mips64", SCMP_ARCH_MIPS64},
    {"mips64n32", SCMP_ARCH_MIPS64N32},
    {"mipsel", SCMP_ARCH_MIPSEL},
    {"mipsel64", SCMP_ARCH_MIPSEL64},
    {"mipsel64n32", SCMP_ARCH_MIPSEL64N32},
    {"parisc", SCMP_ARCH_PARISC},
    {"parisc64", SCMP_ARCH_PARISC64},
    {"ppc", SCMP_ARCH_PPC},
    {"ppc64", SCMP_ARCH_PPC64},
    {"ppc64le", SCMP_ARCH_PPC64LE},
    {"riscv64", SCMP_ARCH_RISCV64},
    {"s390", SCMP_ARCH_S390},
    {"s390x", SCMP_ARCH_S390X},
    {"x32", SCMP_ARCH_X32},
    {"x86", SCMP_ARCH_X86},
    {"x86_64", SCMP_ARCH_X86_64},
    {NULL, 0},
};

static const struct nb_word actions[] = {
    {"allow", SCMP_ACT_ALLOW},
    {"errno", SCMP_ACT_ERRNO(0)},
    {"kill_process", SCMP_ACT_KILL_PROCESS},
    {"kill_thread", SCMP_ACT_KILL_THREAD},
    {"log", SCMP_ACT_LOG},
    {"trap", SCMP_ACT_TRAP},
    {NULL, 0},
};

static const struct nb_word comparisons[] = {
    {"eq", SCMP_CMP_EQ}, {"ge", SCMP_CMP_GE}, {"gt", SCMP_CMP_GT},
    {"le", SCMP_CMP_LE}, {"lt", SCMP_CMP_LT}, {"masked_eq", SCMP_CMP_MASKED_EQ},
    {"ne", SCMP_CMP_NE}, {NULL, 0},
};

struct rule {
	int call; /* as of the native architecture, or libseccomp's own */
	uint32_t action;
	unsigned int nargs;
	struct scmp_arg_cmp args[MAX_ARGS];
};

struct profile {
	uint32_t action;
	uint32_t arches[NB_COUNT(arches)];
	size_t narches, nrules;
	struct rule rules[];
};

/***
Seccomp filters: names of system calls, and filters made of rules by libseccomp.

Loaded on its own: `require "nsbox.sys.seccomp"`, or the field of `nsbox.sys`;
it needs libseccomp (Debian: libseccomp2).  Nothing here changes the process:
a filter is bytes, for the field `seccomp` of @{nsbox.sys.process.spawn}.

@module nsbox.sys.seccomp
*/

/***
The architecture of this process, as libseccomp calls it.
@function arch
@treturn string `"x86_64"`
@see seccomp_arch_native(3)
*/
static int seccomp_arch_name(lua_State *L)
{
	lua_pushstring(L, nb_wordof(arches, seccomp_arch_native()));
	return 1;
}

static void setcall(lua_State *L, uint32_t arch, int number)
{
	char *name = seccomp_syscall_resolve_num_arch(arch, number);

	/* nothing here raises but for want of memory, which leaks a name */
	if (!name)
		return;
	lua_pushinteger(L, number);
	lua_setfield(L, -2, name);
	free(name);
}

/***
The system calls that an architecture has.
@function calls
@tparam string arch `"x86_64"`, `"x86"`, `"aarch64"`, `"arm"` …
@treturn table name → number
@treturn integer the architecture, as a filter sees it (AUDIT_ARCH)
@see seccomp_syscall_resolve_num_arch(3)
*/
static int seccomp_calls(lua_State *L)
{
	uint32_t arch = (uint32_t)nb_checkword(L, 1, arches, "architecture");

	lua_newtable(L);
	for (int i = 0; i < MAX_CALLS; i++)
		setcall(L, arch, i);
	for (int i = 0; arch == SCMP_ARCH_ARM && i < 16; i++)
		setcall(L, arch, ARM_CALLS + i);
	lua_pushinteger(L, arch);
	return 2;
}

/* the fields `action` and `errno` of the table at t */
static uint32_t checkaction(lua_State *L, int t, const char *what)
{
	uint32_t action, err;

	if (lua_getfield(L, t, "action") == LUA_TNIL)
		luaL_error(L, "%s: needs an action", what);
	action = (uint32_t)nb_checkword(L, -1, actions, "action");
	lua_pop(L, 1);
	err = (uint32_t)nb_fieldint(L, t, "errno", 0, 4095, EPERM);
	return action == SCMP_ACT_ERRNO(0) ? SCMP_ACT_ERRNO(err) : action;
}

static void checkarg(lua_State *L, int t, struct scmp_arg_cmp *arg)
{
	static const char *const fields[] = {"index", "op", "value", "value2",
					     NULL};
	uint64_t *const to[] = {&arg->datum_a, &arg->datum_b};

	luaL_checktype(L, t, LUA_TTABLE);
	nb_checkfields(L, t, fields, "argument");
	memset(arg, 0, sizeof(*arg));
	arg->arg = (unsigned int)nb_fieldint(L, t, "index", 0, MAX_ARGS - 1, 0);
	lua_getfield(L, t, "op");
	arg->op =
	    (enum scmp_compare)nb_checkword(L, -1, comparisons, "comparison");
	lua_pop(L, 1);
	for (int i = 0; i < 2; i++) {
		if (lua_getfield(L, t, fields[2 + i]) != LUA_TNIL) {
			if (!lua_isinteger(L, -1))
				luaL_error(L, "%s: expected an integer",
					   fields[2 + i]);
			*to[i] = (uint64_t)lua_tointeger(L, -1);
		}
		lua_pop(L, 1);
	}
}

static void checkrule(lua_State *L, int t, int i, struct rule *rule)
{
	static const char *const fields[] = {"call", "action", "errno", "args",
					     NULL};
	const char *name;
	lua_Integer n;

	luaL_checkstack(L, 8, NULL);
	luaL_checktype(L, t, LUA_TTABLE);
	nb_checkfields(L, t, fields, "rule");
	name = nb_fieldstring(L, t, "call", "");
	rule->call = seccomp_syscall_resolve_name(name);
	if (rule->call == __NR_SCMP_ERROR)
		luaL_error(L, "rules[%d]: '%s' is no system call", i, name);
	rule->action = checkaction(L, t, "rule");
	rule->nargs = 0;
	if (lua_getfield(L, t, "args") != LUA_TNIL) {
		luaL_checktype(L, -1, LUA_TTABLE);
		n = luaL_len(L, -1);
		if (n < 0 || n > MAX_ARGS)
			luaL_error(L, "rules[%d]: at most %d args", i,
				   MAX_ARGS);
		for (lua_Integer k = 1; k <= n; k++) {
			lua_geti(L, -1, k);
			checkarg(L, lua_gettop(L), &rule->args[k - 1]);
			lua_pop(L, 1);
		}
		rule->nargs = (unsigned int)n;
	}
	lua_pop(L, 1);
}

/* the profile at index 1, as a userdata on the stack */
static struct profile *checkprofile(lua_State *L)
{
	static const char *const fields[] = {"action", "errno", "arches",
					     "rules", NULL};
	struct profile *p;
	lua_Integer n;

	luaL_checktype(L, 1, LUA_TTABLE);
	nb_checkfields(L, 1, fields, "profile");
	if (lua_getfield(L, 1, "rules") != LUA_TTABLE)
		luaL_error(L, "rules: expected a list, got %s",
			   luaL_typename(L, -1));
	n = luaL_len(L, -1);
	if (n < 0 || n > MAX_RULES)
		luaL_error(L, "rules: too long a list");
	p = lua_newuserdatauv(L, sizeof(*p) + (size_t)n * sizeof(*p->rules), 0);
	p->action = checkaction(L, 1, "profile");
	p->narches = 0;
	p->nrules = (size_t)n;
	for (lua_Integer i = 1; i <= n; i++) {
		lua_geti(L, -2, i);
		checkrule(L, lua_gettop(L), (int)i, &p->rules[i - 1]);
		lua_pop(L, 1);
	}
	if (lua_getfield(L, 1, "arches") != LUA_TNIL) {
		luaL_checktype(L, -1, LUA_TTABLE);
		n = luaL_len(L, -1);
		if (n < 0 || (size_t)n > NB_COUNT(p->arches))
			luaL_error(L, "arches: too long a list");
		for (lua_Integer i = 1; i <= n; i++) {
			lua_geti(L, -1, i);
			p->arches[p->narches++] = (uint32_t)nb_checkword(
			    L, -1, arches, "architecture");
			lua_pop(L, 1);
		}
	}
	lua_pop(L, 1);
	return p;
}

/* 0 or -errno; what is not of all of the architectures is none of a rule's
 * business */
static int fill(scmp_filter_ctx ctx, const struct profile *p)
{
	int rc = 0;

	/* a tree instead of a list: the kernel asks it for every call there
	 * is when it is installed */
	seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	for (size_t i = 0; i < p->narches && rc == 0; i++)
		if (seccomp_arch_exist(ctx, p->arches[i]) == -EEXIST)
			rc = seccomp_arch_add(ctx, p->arches[i]);
	for (size_t i = 0; i < p->nrules && rc == 0; i++) {
		const struct rule *r = &p->rules[i];

		if (r->action != p->action)
			rc = seccomp_rule_add_array(ctx, r->action, r->call,
						    r->nargs, r->args);
		if (rc == -EEXIST || rc == -EDOM)
			rc = 0;
	}
	return rc;
}

/* what write does with the filter of profile p, in the memory file fd */
static int export(const struct profile *p, int fd,
		  int (*write)(const scmp_filter_ctx, int))
{
	scmp_filter_ctx ctx = seccomp_init(p->action);
	int rc = ctx ? fill(ctx, p) : -ENOMEM;

	if (rc == 0)
		rc = write(ctx, fd);
	if (ctx)
		seccomp_release(ctx);
	return rc;
}

static int make(lua_State *L, int (*write)(const scmp_filter_ctx, int))
{
	const struct profile *p = checkprofile(L);
	struct nb_fd *file = nb_newfd(L);
	luaL_Buffer b;
	ssize_t n;
	char *to;
	int rc;

	file->fd = nb_above_stdio(memfd_create("nsbox-filter", MFD_CLOEXEC));
	if (file->fd < 0)
		return nb_fail(L, errno, "memfd_create");
	rc = export(p, file->fd, write);
	n = lseek(file->fd, 0, SEEK_END);
	if (rc < 0) {
		nb_close(file->fd);
		file->fd = -1;
		return nb_fail(L, -rc, "seccomp");
	}

	to = luaL_buffinitsize(L, &b, (size_t)n);
	n = pread(file->fd, to, (size_t)n, 0);
	nb_close(file->fd);
	file->fd = -1;
	luaL_pushresultsize(&b, n < 0 ? 0 : (size_t)n);
	return 1;
}

/***
Makes a filter of rules.

@function compile
@tparam table profile
 `action` for calls without a rule: `"allow"`, `"errno"`, `"kill_process"`,
 `"kill_thread"`, `"log"`, `"trap"`; `errno` its number (1: EPERM);
 `arches` list of further architectures, beside the native one;
 `rules` list of `{ call = name, action =, errno =, args = }`, `args` being a
 list of `{ index = 0 to 5, op =, value =, value2 = }`, which all must hold,
`op` one of `"eq"`, `"ne"`, `"lt"`, `"le"`, `"gt"`, `"ge"`, and `"masked_eq"`:
what `value` masks equals `value2`
@treturn string for the field `seccomp` of @{nsbox.sys.process.spawn}
@return[2] nil, message, errno
@see seccomp_rule_add(3)
*/
static int seccomp_compile(lua_State *L)
{
	return make(L, seccomp_export_bpf);
}

/***
The same as text to read, libseccomp's pseudo filter code.
@function describe
@tparam table profile as of @{compile}
@treturn string
@return[2] nil, message, errno
@see seccomp_export_pfc(3)
*/
static int seccomp_describe(lua_State *L)
{
	return make(L, seccomp_export_pfc);
}

static const luaL_Reg seccomp_funcs[] = {
    {"arch", seccomp_arch_name},
    {"calls", seccomp_calls},
    {"compile", seccomp_compile},
    {"describe", seccomp_describe},
    {NULL, NULL},
};

int luaopen_nsbox_sys_seccomp(lua_State *L)
{
	lua_newtable(L);
	nb_setfuncs(L, "seccomp", seccomp_funcs);
	return 1;
}

void nsbox_preload_seccomp(lua_State *L)
{
	luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
	lua_pushcfunction(L, luaopen_nsbox_sys_seccomp);
	lua_setfield(L, -2, "nsbox.sys.seccomp");
	lua_pop(L, 1);
}
