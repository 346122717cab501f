/*
 * alone.c - an interpreter with a sanitizer's runtime, which nothing that it
 * starts has
 *
 * Compiled with LUA and PRELOAD: a program that starts LUA with PRELOAD before
 * it (a shell would have a SIGCHLD and descriptors of its own).  Without them:
 * the library that PRELOAD ends with.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#ifdef LUA
int main(int argc, char **argv)
{
	const char *others = getenv("LD_PRELOAD");
	char all[4096];

	(void)argc;
	snprintf(all, sizeof all, "%s:%s", PRELOAD, others ? others : "");
	setenv("LD_PRELOAD", all, 1);
	execvp(LUA, argv);
	perror(LUA);
	return 127;
}
#else
__attribute__((constructor)) static void alone(void)
{
	unsetenv("LD_PRELOAD");
}
#endif
