/*
 * signal.c - signals as words, signal(7)
 */
#include <signal.h>
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

const char *nb_signalname(int sig)
{
	if (sig > 0 && (size_t)sig < NB_COUNT(signals) && signals[sig])
		return signals[sig];
	return "RT";
}

int nb_checksignal(lua_State *L, int idx)
{
	const char *word = luaL_checkstring(L, idx);

	if (strncmp(word, "SIG", 3) == 0)
		word += 3;
	for (size_t i = 1; i < NB_COUNT(signals); i++)
		if (signals[i] && strcmp(signals[i], word) == 0)
			return (int)i;
	return luaL_error(L, "unknown signal '%s'", word);
}
