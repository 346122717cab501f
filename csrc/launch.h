/*
 * launch.h - from a plan to a running child
 */
#ifndef NB_LAUNCH_H
#define NB_LAUNCH_H

#include <stdbool.h>
#include <sys/types.h>
#include <sys/wait.h>

#include "plan.h"

/* younger than some headers */
#ifndef P_PIDFD
#define P_PIDFD 3
#endif

struct nb_launch {
	struct nb_plan *plan;
	/* the maps we write; NULL: none, or the child writes its own */
	const char *uid_map, *gid_map, *setgroups;
	const char *newuidmap, *newgidmap; /* helpers; NULL: written here */
	int via; /* ctl of an nsbox-init that opens the map files, or -1 */
	bool late_maps; /* the child makes its user namespace itself */
	bool two_way;	/* the child waits for us: a socket, not a pipe */
	bool init;	/* nsbox-init runs part of the plan */
	bool supervise; /* and stays: STARTED comes instead of end of file */
	bool serves;	/* and does what it is asked for: see ask.h */
	bool filtered;	/* the program has a filter: its report may not come */
	bool function;	/* fork(2): a Lua function takes over in the child */
	bool gate;	/* it has yet to come to its gate */

	/* what came of it; descriptors are -1 when there is none */
	pid_t pid;
	int pidfd;
	int ctl;	   /* our end, kept for a gate or a supervisor */
	int memory;	   /* the plan of a filtered one's nsbox-init */
	bool gated;	   /* it waits at its gate */
	int err;	   /* errno; 0 when it runs */
	int step;	   /* which step of the plan failed, or -1 */
	int detail;	   /* JOIN: which descriptor */
	const char *where; /* "clone", "uid_map"…: outside of the plan */
	char said[256];	   /* what a helper printed */
};

/*
 * Starts the child and stays with it until its program was exec'd, it stands
 * at its gate, or it failed; then nothing is left of it.  0 or -1; 1 in the
 * child of a launch for a function.
 */
int nb_launch(struct nb_launch *l);

/* opens the gate and waits for exec, or failure.  0 or -1. */
int nb_launch_go(struct nb_launch *l);

/* ends a child that waits at its gate; the descriptors in l are closed, unless
 * the child is not ours */
void nb_launch_abandon(struct nb_launch *l);

/* a signal to a process of which a pidfd is held: 0, or -1 and errno */
int nb_pidfdkill(int pidfd, pid_t pid, int sig);

const char *nb_stepword(int op);

/* a step that is NB_OUTSIDE, for the child pid (spawn_limits.c): 0 or -errno */
int nb_outside(pid_t pid, const struct nb_step *s);
/* "nofile", or NULL */
const char *nb_resource(uint64_t number);

#endif
