/*
 * clone.c - a Lua function in a child process
 *
 * The child is made by libc's fork and set up by a plan, as a program is;
 * then the function runs protected and the child leaves by _exit, so that no
 * finalizer, <close> or stdio buffer of the parent runs twice.  How values
 * travel is wire.c's business.
 *
 * fork(2), unshare(2), setns(2)
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "arena.h"
#include "launch.h"
#include "nb.h"
#include "process.h"
#include "spawn.h"
#include "wire.h"

/* os.exit in the child: no finalizer, <close> or atexit of the parent */
static int child_exit(lua_State *L)
{
	int code = lua_isboolean(L, 1) ? !lua_toboolean(L, 1)
				       : (int)luaL_optinteger(L, 1, 0);

	nb_flushoutput(L);
	_exit(code);
}

static void send_bytes(lua_State *L, int fd)
{
	size_t len;
	const char *p = lua_tolstring(L, -1, &len);

	while (len > 0) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno != EINTR)
			break;
		if (n > 0) {
			p += n;
			len -= (size_t)n;
		}
	}
}

/* true, results: encoded in a protected call of its own */
static int encode_call(lua_State *L)
{
	nb_encode(L, lua_gettop(L));
	return 1;
}

/* the error on top as its text, when it cannot go by value */
static int encode_text(lua_State *L)
{
	lua_pushboolean(L, 0);
	luaL_tolstring(L, 1, NULL);
	nb_encode(L, 2);
	return 1;
}

static int text_of(lua_State *L)
{
	luaL_tolstring(L, 1, NULL);
	return 1;
}

/* false, the error and, since metatables stay here, the text that it has by its
 * own */
static int encode_failure(lua_State *L)
{
	lua_pushboolean(L, 0);
	lua_pushvalue(L, 1);
	if (luaL_getmetafield(L, 1, "__tostring") != LUA_TNIL) {
		lua_pop(L, 1);
		lua_pushcfunction(L, text_of);
		lua_pushvalue(L, 1);
		if (lua_pcall(L, 1, 1, 0) != LUA_OK)
			lua_pop(L, 1);
	}
	nb_encode(L, lua_gettop(L) - 1);
	return 1;
}

/* [error] -> [bytes]; whatever a __tostring does, the child answers */
static void encode_error(lua_State *L)
{
	lua_pushcfunction(L, encode_failure);
	lua_pushvalue(L, -2);
	if (lua_pcall(L, 1, 1, 0) == LUA_OK)
		return;
	lua_pop(L, 1);
	lua_pushcfunction(L, encode_text);
	lua_pushvalue(L, -2);
	if (lua_pcall(L, 1, 1, 0) == LUA_OK)
		return;
	/* what its text failed with is a text, at last */
	lua_pushcfunction(L, encode_text);
	lua_insert(L, -2);
	if (lua_pcall(L, 1, 1, 0) != LUA_OK)
		lua_pushliteral(L, "");
}

/* [.., f, args] in the child: never returns */
static void run_function(lua_State *L, int f, int fd)
{
	int status, code = 0;

	lua_getglobal(L, "os");
	if (lua_istable(L, -1)) {
		lua_pushcfunction(L, child_exit);
		lua_setfield(L, -2, "exit");
	}
	lua_pop(L, 1);
	status = lua_pcall(L, lua_gettop(L) - f, LUA_MULTRET, 0);
	if (status == LUA_OK) {
		lua_pushboolean(L, 1);
		lua_insert(L, f);
		lua_pushcfunction(L, encode_call);
		lua_insert(L, f);
		status = lua_pcall(L, lua_gettop(L) - f, 1, 0);
	}
	if (status != LUA_OK) {
		code = 1;
		encode_error(L);
	}
	send_bytes(L, fd);
	nb_flushoutput(L);
	_exit(code);
}

/* a copy of the options, with the array part as `new` */
static void push_plan(lua_State *L)
{
	lua_newtable(L);
	lua_newtable(L);
	for (lua_Integer i = 1; lua_geti(L, 1, i) != LUA_TNIL; i++)
		lua_seti(L, -2, i);
	lua_pop(L, 1);
	lua_setfield(L, -2, "new");
	for (lua_pushnil(L); lua_next(L, 1);) {
		lua_pushvalue(L, -2);
		lua_insert(L, -2);
		if (lua_type(L, -3) == LUA_TSTRING)
			lua_rawset(L, -4);
		else
			lua_pop(L, 2);
	}
}

/***
A Lua function in a child.

@submodule nsbox.sys.process
*/

/***
Run a Lua function in a child process, in new or joined namespaces.

The child is made by fork(2) and sees a copy of everything; it leaves without
running a finalizer, `<close>` or stdio buffer of the parent.  Descriptors above
2 stay open in it, and are closed in the programs that it starts.  What the
function returns, or its error, can be read from the second result as bytes
for @{results}.  Values are sent by value: nil, booleans, numbers, strings and
acyclic tables of them, 16 MB at most.

@function clone
@tparam table options kinds of new namespaces as the array part, and every
 field of @{spawn}'s plan but `argv`, `env`, `path`, `keep`, `gate`, `init`
@tparam function f
@param ... its arguments
@treturn process
@treturn fd where its results can be read
@return[2] nil, message, errno, step, subject as @{spawn}
@see fork(2), unshare(2), setns(2)
*/
static int process_clone(lua_State *L)
{
	static const char *const unfit[] = {"argv", "env",  "path", "keep",
					    "gate", "init", "idle"};
	struct nb_process *p;
	struct nb_fd *in;
	int pipefd[2], r, top = lua_gettop(L);

	luaL_checktype(L, 1, LUA_TTABLE);
	luaL_checktype(L, 2, LUA_TFUNCTION);
	for (size_t i = 0; i < NB_COUNT(unfit); i++) {
		if (lua_getfield(L, 1, unfit[i]) != LUA_TNIL)
			return luaL_error(L,
					  "clone: %s is for a program, not a "
					  "function",
					  unfit[i]);
		lua_pop(L, 1);
	}
	if (lua_rawlen(L, 1) > 0)
		push_plan(L);
	else
		lua_pushvalue(L, 1);
	p = nb_newprocess(L);
	in = nb_newfd(L);
	p->l.function = true;
	nb_makeplan(L, top + 1, &p->l);
	nb_flushoutput(L);

	if (pipe2(pipefd, O_CLOEXEC) < 0)
		return nb_fail(L, errno, "pipe");
	pipefd[0] = nb_above_stdio(pipefd[0]);
	pipefd[1] = nb_above_stdio(pipefd[1]);
	if (pipefd[0] < 0 || pipefd[1] < 0) {
		int err = errno;

		nb_close(pipefd[0]);
		nb_close(pipefd[1]);
		return nb_fail(L, err, "pipe");
	}
	r = nb_launch(&p->l);
	if (r > 0) {
		close(pipefd[0]);
		close(p->l.plan->ctl);
		/* the plan closed the parent's end; its number will be
		 * another's when p is collected here */
		p->l.ctl = -1;
		lua_settop(L, top);
		run_function(L, 2, pipefd[1]);
	}
	nb_close(pipefd[1]);
	in->fd = pipefd[0];
	if (r < 0) {
		nb_close(in->fd);
		in->fd = -1;
		return nb_launchfailed(L, &p->l);
	}
	nb_adopt(p);
	nb_sparearena(L, top + 4);
	lua_settop(L, top + 3);
	return 2;
}

/***
The values in the bytes that a clone's function sent.

@function results
@tparam string bytes all that came up to the end of the descriptor
@treturn boolean true
@return ... what the function returned
@treturn[2] boolean false
@return[2] the function's error
@return[2] its text, where it has a `__tostring`
@return[3] nil, message when the bytes are cut: the child died before
*/
static int process_results(lua_State *L)
{
	int n;

	luaL_checktype(L, 1, LUA_TSTRING);
	lua_settop(L, 1);
	n = nb_decode(L, 1);
	if (n < 1 || !lua_isboolean(L, 2)) {
		luaL_pushfail(L);
		lua_pushliteral(L, "the child ended before it could answer");
		return 2;
	}
	return n;
}

const luaL_Reg nb_clonefuncs[] = {
    {"clone", process_clone}, {"results", process_results}, {NULL, NULL}};
