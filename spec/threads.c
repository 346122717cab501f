/*
 * threads.c - a host with threads that are busy in malloc and stdio
 *
 * Embeds Lua and runs the script named by its argument, while four threads
 * hold the locks of libc as often as they can.  With a second argument, one of
 * them forks instead.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <lauxlib.h>
#include <lualib.h>

#include "nsbox.h"

#define THREADS 4

static atomic_bool stop;

static void *busy(void *arg)
{
	FILE *null = fopen("/dev/null", "w");
	unsigned int n = (unsigned int)(size_t)arg;

	if (!null)
		return NULL;
	while (!stop) {
		char *p = malloc(n % 4000 + 1);

		if (p)
			memset(p, 1, n % 4000 + 1);
		fprintf(null, "%u\n", n);
		fflush(null);
		/* stdout is the script's, too */
		flockfile(stdout);
		funlockfile(stdout);
		free(p);
		n = n * 1103515245 + 12345;
	}
	fclose(null);
	return NULL;
}

/* children that never exec hold a copy of whatever was open, for good */
static void *prefork(void *arg)
{
	(void)arg;
	for (int i = 0; i < 200 && !stop; i++) {
		if (fork() == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			for (;;)
				pause();
		}
		usleep(2000);
	}
	/* the death signal is sent when the thread ends, not the process */
	while (!stop)
		usleep(1000);
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t threads[THREADS];
	lua_State *L = luaL_newstate();
	int rc;

	if (!L || argc < 2)
		return 2;
	luaL_openlibs(L);
	nsbox_preload(L);
	for (size_t i = 0; i < THREADS; i++)
		if (pthread_create(&threads[i], NULL,
				   argc > 2 && i == 0 ? prefork : busy,
				   (void *)i) != 0)
			return 2;
	rc = luaL_dofile(L, argv[1]);
	if (rc != LUA_OK)
		fprintf(stderr, "%s\n", lua_tostring(L, -1));
	stop = 1;
	for (size_t i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	lua_close(L);
	return rc != LUA_OK;
}
