/*
 * signal.c - signals as words, signal(7)
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "nb.h"

static const char *const signals[] = {
    [SIGHUP] = "HUP",	    [SIGINT] = "INT",	    [SIGQUIT] = "QUIT",
    [SIGILL] = "ILL",	    [SIGTRAP] = "TRAP",	    [SIGABRT] = "ABRT",
    [SIGBUS] = "BUS",	    [SIGFPE] = "FPE",	    [SIGKILL] = "KILL",
    [SIGUSR1] = "USR1",	    [SIGSEGV] = "SEGV",	    [SIGUSR2] = "USR2",
    [SIGPIPE] = "PIPE",	    [SIGALRM] = "ALRM",	    [SIGTERM] = "TERM",
    [SIGSTKFLT] = "STKFLT", [SIGCHLD] = "CHLD",	    [SIGCONT] = "CONT",
    [SIGSTOP] = "STOP",	    [SIGTSTP] = "TSTP",	    [SIGTTIN] = "TTIN",
    [SIGTTOU] = "TTOU",	    [SIGURG] = "URG",	    [SIGXCPU] = "XCPU",
    [SIGXFSZ] = "XFSZ",	    [SIGVTALRM] = "VTALRM", [SIGPROF] = "PROF",
    [SIGWINCH] = "WINCH",   [SIGIO] = "IO",	    [SIGPWR] = "PWR",
    [SIGSYS] = "SYS"};

/* [] -> [word] */
void nb_pushsignal(lua_State *L, int sig)
{
	if (sig > 0 && (size_t)sig < NB_COUNT(signals) && signals[sig])
		lua_pushstring(L, signals[sig]);
	else if (sig == SIGRTMIN)
		lua_pushliteral(L, "RTMIN");
	else /* libc has the two below, which others can send, too */
		lua_pushfstring(L, sig > SIGRTMIN ? "RTMIN+%d" : "RTMIN%d",
				sig - SIGRTMIN);
}

/* "RTMIN", "RTMAX" and what is counted from them; 0 when it is none of those */
static int realtime(const char *word)
{
	int from = strncmp(word, "RTMIN", 5) == 0   ? SIGRTMIN
		   : strncmp(word, "RTMAX", 5) == 0 ? SIGRTMAX
						    : 0;
	char *end = NULL;
	long n;

	if (!from || !word[5])
		return from;
	if ((word[5] != '+' && word[5] != '-') || word[6] < '0' ||
	    word[6] > '9')
		return 0;
	n = strtol(word + 5, &end, 10);
	if (*end || n < (long)NB_COUNT(signals) - from || n > SIGRTMAX - from)
		return 0;
	return from + (int)n;
}

int nb_checksignal(lua_State *L, int idx)
{
	const char *word = luaL_checkstring(L, idx);
	int sig;

	if (strncmp(word, "SIG", 3) == 0)
		word += 3;
	for (size_t i = 1; i < NB_COUNT(signals); i++)
		if (signals[i] && strcmp(signals[i], word) == 0)
			return (int)i;
	sig = realtime(word);
	return sig ? sig : luaL_error(L, "unknown signal '%s'", word);
}
