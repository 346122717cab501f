/*
 * enter.c - what entering namespaces costs at least
 *
 * A module for lifetimes.lua, so that it forks a process of the same size:
 *
 *     enter({ descriptor, ... }, siblings, program)
 *
 * does what ns:call and box:exec do, by raw system calls: fork, setns, with
 * siblings (a pid namespace is among them) clone once more as a child of the
 * same parent, run the program if there is one, exit; and waits for it.
 */
#include <lauxlib.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

int luaopen_enter(lua_State *L);

static void child(const int *kinds, int n, int siblings, const char *program)
{
	for (int i = 0; i < n; i++)
		if (setns(kinds[i], 0) < 0)
			_exit(1);
	if (siblings) {
		long pid =
		    syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0);

		if (pid)
			_exit(pid < 0);
	}
	if (program)
		execl(program, program, NULL);
	_exit(program != NULL);
}

static int enter(lua_State *L)
{
	const char *program = luaL_optstring(L, 3, NULL);
	int siblings = lua_toboolean(L, 2), kinds[8], n = 0, status = 0;
	pid_t pid;

	luaL_checktype(L, 1, LUA_TTABLE);
	for (; n < 8 && lua_geti(L, 1, n + 1) == LUA_TNUMBER; n++)
		kinds[n] = (int)lua_tointeger(L, -1);

	pid = fork();
	if (pid == 0)
		child(kinds, n, siblings, program);
	for (int i = 0; i <= siblings; i++)
		if (wait(&status) < 0 || status != 0)
			return luaL_error(L, "enter failed: %d", status);
	return 0;
}

int luaopen_enter(lua_State *L)
{
	lua_pushcfunction(L, enter);
	return 1;
}
