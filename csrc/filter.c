/*
 * filter.c - the built-in seccomp filter, and the field `seccomp` of a plan
 *
 * The filter is made at build time from lua/nsbox/policy.lua and embedded by
 * filter_image.S.  Where it refuses a call for want of a capability, its
 * answer is a mark that names the capability; here marks become answers.  So
 * one filter serves boxes with any capabilities, and a launch needs no
 * compiler.  What is in a filter is not looked at beyond that: the kernel does.
 *
 * seccomp(2), bpf(4)
 */
#include <errno.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <string.h>

#include "builder.h"
#include "process.h"

extern const char nb_filter_image[], nb_filter_image_end[];

/* what lua/nsbox/filter.lua puts where an errno would be: these and the
 * number of a capability; no errno is as large */
#define MARK_EPERM 2048
#define MARK_ENOSYS 3072
#define MARKS 64

#define IS_RET(insn) ((insn)->code == (BPF_RET | BPF_K))

/* who has sys_admin needs none of the capabilities that were split off it */
static uint64_t implied(uint64_t caps)
{
	static const int of_sys_admin[] = {34 /* syslog */, 38 /* perfmon */,
					   39 /* bpf */,
					   40 /* checkpoint_restore */};

	if (caps >> CAP_SYS_ADMIN & 1)
		for (size_t i = 0; i < NB_COUNT(of_sys_admin); i++)
			caps |= UINT64_C(1) << of_sys_admin[i];
	return caps;
}

static void resolve(struct sock_filter *insn, uint64_t caps)
{
	uint32_t data = insn->k & SECCOMP_RET_DATA, cap;
	int err = data >= MARK_ENOSYS ? ENOSYS : EPERM;

	if (!IS_RET(insn) ||
	    (insn->k & SECCOMP_RET_ACTION_FULL) != SECCOMP_RET_ERRNO)
		return;
	cap = data - (err == ENOSYS ? MARK_ENOSYS : MARK_EPERM);
	if (data < MARK_EPERM || cap >= MARKS)
		return;
	insn->k = caps >> cap & 1 ? SECCOMP_RET_ALLOW
				  : SECCOMP_RET_ERRNO | (uint32_t)err;
}

/***
Processes.

@submodule nsbox.sys.process
*/

/***
The seccomp filter of a program with these capabilities, for @{spawn}'s plan.

@function filter
@tparam table|string caps a list of capabilities, or `"all"`
@tparam[opt] string marked a filter made by `nsbox.filter`; default: the
built-in one
@treturn string the filter, as the kernel takes it
@see seccomp(2), capabilities(7)
*/
static int process_filter(lua_State *L)
{
	uint64_t caps = implied(nb_checkcaps(L, 1));
	size_t size = (size_t)(nb_filter_image_end - nb_filter_image);
	const char *marked = nb_filter_image;
	struct sock_filter insn;
	luaL_Buffer b;
	char *to;

	if (!lua_isnoneornil(L, 2))
		marked = luaL_checklstring(L, 2, &size);
	luaL_argcheck(L, size % sizeof(insn) == 0, 2, "not a filter");
	to = luaL_buffinitsize(L, &b, size);
	for (size_t i = 0; i < size; i += sizeof(insn)) {
		memcpy(&insn, marked + i, sizeof(insn));
		resolve(&insn, caps);
		memcpy(to + i, &insn, sizeof(insn));
	}
	luaL_pushresultsize(&b, size);
	return 1;
}

const luaL_Reg nb_filterfuncs[] = {{"filter", process_filter}, {NULL, NULL}};

/* the field, or NULL; n: of its instructions */
static const struct sock_filter *field(struct nb_builder *b, size_t *n)
{
	lua_State *L = b->L;
	const char *bytes = NULL;
	size_t size = 0;

	*n = 0;
	if (lua_getfield(L, b->table, "seccomp") != LUA_TNIL) {
		if (lua_type(L, -1) != LUA_TSTRING)
			luaL_error(L, "seccomp: expected a filter, got %s",
				   luaL_typename(L, -1));
		bytes = lua_tolstring(L, -1, &size);
		*n = size / sizeof(struct sock_filter);
		if (size % sizeof(struct sock_filter) != 0 || *n == 0 ||
		    *n > BPF_MAXINSNS)
			luaL_error(L,
				   "seccomp: a filter has 1 to %d "
				   "instructions of 8 bytes; this has %d bytes",
				   BPF_MAXINSNS, (int)size);
	}
	lua_pop(L, 1); /* the plan table holds it */
	return (const struct sock_filter *)bytes;
}

bool nb_hasfilter(struct nb_builder *b)
{
	size_t n;

	return field(b, &n) != NULL;
}

/*
 * A filter that kills, kills with a core dump, for which kernels before 5.16
 * end all who share the memory: us.
 */
bool nb_filterkills(struct nb_builder *b)
{
	size_t n;
	const struct sock_filter *f = field(b, &n);

	for (size_t i = 0; i < n; i++) {
		uint32_t action = f[i].k & SECCOMP_RET_ACTION_FULL;

		if (IS_RET(&f[i]) && action != SECCOMP_RET_ALLOW &&
		    action != SECCOMP_RET_ERRNO && action != SECCOMP_RET_LOG)
			return true;
	}
	return false;
}

void nb_putfilter(struct nb_builder *b)
{
	size_t n;
	const struct sock_filter *f = field(b, &n);
	uint32_t offset = nb_put(b, f, n * sizeof(*f));
	struct nb_step *s = nb_step(b, NB_STEP_SECCOMP);

	s->a = offset;
	s->x = n;
}
