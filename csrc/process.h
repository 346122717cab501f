/*
 * process.h - the handle of a process, and the functions of its module that
 * live in files of their own
 */
#ifndef NB_PROCESS_H
#define NB_PROCESS_H

#include "launch.h"
#include "nb.h"

struct nb_process {
	struct nb_fd h; /* first: a process is taken where a descriptor is */
	pid_t pid;
	struct nb_launch l; /* ctl, supervise, gated: what a child still owes */
	bool child;	    /* ours to wait for */
	bool ended;
	int status; /* as of waitpid(2) */
};

/* a closed handle on the stack */
struct nb_process *nb_newprocess(lua_State *L);
/* takes over what the launch in p->l opened */
void nb_adopt(struct nb_process *p);

/* before a fork or an exec: what was printed reaches its files once */
void nb_flushoutput(lua_State *L);

/* what tells a process from all others (identity.c); 0 or -errno */
int nb_identity(int pidfd, pid_t pid, char *text, size_t size);

extern const luaL_Reg nb_clonefuncs[];	  /* clone.c */
extern const luaL_Reg nb_filterfuncs[];	  /* filter.c */
extern const luaL_Reg nb_selffuncs[];	  /* self.c */
extern const luaL_Reg nb_insidemethods[]; /* inside.c */
extern const luaL_Reg nb_mountsfuncs[];	  /* spawn_mounts.c */
void nb_openmounts(lua_State *L);

#endif
