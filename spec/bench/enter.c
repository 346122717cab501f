/*
 * enter.c - what entering namespaces costs at least
 *
 * A module for lifetimes.lua, so that it forks a process of the same size:
 *
 *     enter({ descriptor, ... }, siblings, program or function)
 *
 * does what ns:call and box:exec do, by raw system calls: fork, setns, with
 * siblings (a pid namespace is among them) clone once more as a child of the
 * same parent, run the program if there is one, exit; and waits for it.  A
 * function is called there, and how that went sent by a pipe.
 */
#include <fcntl.h>
#include <lauxlib.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

int luaopen_enter(lua_State *L);

struct what {
	int kinds[8], n, siblings;
	const char *program;
	int answer[2]; /* of a function */
};

static void child(lua_State *L, const struct what *w)
{
	char status;

	for (int i = 0; i < w->n; i++)
		if (setns(w->kinds[i], 0) < 0)
			_exit(1);
	if (w->siblings) {
		long pid =
		    syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0);

		if (pid)
			_exit(pid < 0);
	}
	if (w->program)
		execl(w->program, w->program, NULL);
	if (w->answer[1] >= 0) {
		lua_settop(L, 3);
		status = (char)lua_pcall(L, 0, 0, 0);
		_exit(write(w->answer[1], &status, 1) != 1 || status);
	}
	_exit(w->program != NULL);
}

static int enter(lua_State *L)
{
	struct what w = {.siblings = lua_toboolean(L, 2), .answer = {-1, -1}};
	int status = 0;
	char byte;
	pid_t pid;

	luaL_checktype(L, 1, LUA_TTABLE);
	if (lua_isfunction(L, 3) && pipe2(w.answer, O_CLOEXEC) < 0)
		return luaL_error(L, "enter: no pipe");
	if (!lua_isfunction(L, 3))
		w.program = luaL_optstring(L, 3, NULL);
	for (; w.n < 8 && lua_geti(L, 1, w.n + 1) == LUA_TNUMBER; w.n++)
		w.kinds[w.n] = (int)lua_tointeger(L, -1);

	pid = fork();
	if (pid == 0)
		child(L, &w);
	if (w.answer[0] >= 0) {
		close(w.answer[1]);
		while (read(w.answer[0], &byte, 1) > 0)
			;
		close(w.answer[0]);
	}
	for (int i = 0; i <= w.siblings; i++)
		if (wait(&status) < 0 || status != 0)
			return luaL_error(L, "enter failed: %d", status);
	return 0;
}

int luaopen_enter(lua_State *L)
{
	lua_pushcfunction(L, enter);
	return 1;
}
