/*
 * nb.h - what the files of nsbox.so share: results, words, handles, traces
 *
 * Every binding function has three zones: arguments (may raise, owns
 * nothing), system calls (may own, never raises), results.  An attribute
 * cleanup does not run when Lua raises, so nothing here relies on one.
 */
#ifndef NB_H
#define NB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <lauxlib.h>
#include <lua.h>

#include "nsbox.h"

/* younger than some headers of libc, which write it so */
#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif

#define NB_COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* metatable names: users read them in argument errors */
#define NB_FD "nsbox.fd"
#define NB_NS "nsbox.ns"
#define NB_PROCESS "nsbox.process"
#define NB_MOUNTS "nsbox.mounts"

/* --- results (aux.c) --- */

/* fail, "subject: strerror", errno; err is captured by the caller where the
 * call failed, because pushing strings may change errno */
int nb_fail(lua_State *L, int err, const char *subject);
/* true, or nb_fail(errno) when rc < 0 */
int nb_result(lua_State *L, int rc, const char *subject);
/* raises.  An index below zero is a value taken out of a table, not an
 * argument: then the error has the caller's line and no argument number.
 * The same rule holds for idx in all nb_check functions */
int nb_argerror(lua_State *L, int idx, const char *message);
int nb_typeerror(lua_State *L, int idx, const char *expected);

/* the best of the names seen so far: start from { NULL, 0 } */
struct nb_nearest {
	const char *name;
	int distance;
};
void nb_nearest(struct nb_nearest *best, const char *wanted, const char *known);

/* --- words (aux.c): strings at the interface, integers inside --- */

struct nb_word {
	const char *word;
	uint64_t value;
};

/* one word at idx -> its value; an unknown word raises and lists the known
 * ones.  what names the family in that error: "namespace", "mount flag" */
uint64_t nb_checkword(lua_State *L, int idx, const struct nb_word *words,
		      const char *what);
/* a word, a list of words, or nil (0) -> the values or-ed together */
uint64_t nb_checkwords(lua_State *L, int idx, const struct nb_word *words,
		       const char *what);
/* pushes a list of the words whose bits are in value */
void nb_pushwords(lua_State *L, const struct nb_word *words, uint64_t value);
/* the word for exactly this value, or NULL */
const char *nb_wordof(const struct nb_word *words, uint64_t value);

/* the kinds of namespace, CLONE_NEW* (nsfd.c) */
extern const struct nb_word nb_kinds[];
/* a signal as a word ("TERM", "SIGTERM") or number (process.c) */
int nb_checksignal(lua_State *L, int idx);
void nb_pushsignal(lua_State *L, int sig);
const char *nb_errnoname(int err); /* "EPERM" or NULL (errno.c) */

/* --- fields of option tables (aux.c); t is the table's absolute index --- */

/* a field that must not be there is an argument error naming the nearest
 * known one; known is NULL-terminated, and "1", "2" in it allow an array */
void nb_checkfields(lua_State *L, int t, const char *const *known,
		    const char *what);
/* string without NUL, or def; the pointer lives as long as the table does */
const char *nb_fieldstring(lua_State *L, int t, const char *name,
			   const char *def);
lua_Integer nb_fieldint(lua_State *L, int t, const char *name, lua_Integer min,
			lua_Integer max, lua_Integer def);
bool nb_fieldbool(lua_State *L, int t, const char *name, bool def);
/* a string argument without NUL bytes */
const char *nb_checkpath(lua_State *L, int idx);
/* unsigned 32 bit uid or gid; what names it in the error */
uint32_t nb_checkid(lua_State *L, int idx, const char *what);

/* --- descriptor handles (fd.c): born closed (-1), then filled --- */

struct nb_fd {
	int fd;
};
struct nb_fd *nb_newfd(lua_State *L);
/* the descriptor behind idx: an integer, an nsbox handle (fd, ns, process:
 * its pidfd) or an open Lua file; closed handles and the rest raise */
int nb_checkfd(lua_State *L, int idx);
/* moves fd above stderr, keeping it close-on-exec; a host may run with its
 * stdio closed, and 0 is a valid descriptor.  -1 and errno on failure */
int nb_above_stdio(int fd);
int nb_close(int fd); /* close(2) that keeps errno */
/* file permissions as an octal string, "0644", or def */
mode_t nb_checkmode(lua_State *L, int idx, const char *def);
/* parts of the module fd */
extern const luaL_Reg nb_statfuncs[]; /* stat.c */
extern const luaL_Reg nb_filefuncs[]; /* file.c */
extern const luaL_Reg nb_filemethods[];

/* --- namespaces (nsfd.c): a descriptor or -errno --- */

int nb_openns(const char *path);
/* that namespace of the process behind a pidfd; -ESRCH when it has ended */
int nb_opennsof(int pidfd, int kind);

/* --- another network namespace (within.c): a descriptor or -errno --- */

/* runs there, perhaps in a forked child: system calls only */
typedef int (*nb_inside)(void *arg);
/* f(arg) in the network namespace nsfd, with the power that the caller has
 * over it; what f opened works from anywhere */
int nb_within(int nsfd, nb_inside f, void *arg);

/* --- id maps (idmap.c) --- */

/* checks the list of { inside, outside, length } at idx, raises when it is
 * wrong, and pushes the text for the map file, one line a range */
const char *nb_checkranges(lua_State *L, int idx);
/* one open and exactly one write(2) of /proc/PID/file: 0 or -errno */
int nb_writeproc(pid_t pid, const char *file, const char *text);
/* runs newuidmap or newgidmap (a full path) for the ranges in text, waits;
 * what it printed goes to said.  0 or -errno (EPERM: it refused) */
int nb_maphelper(const char *helper, pid_t pid, const char *text, char *said,
		 size_t size);
/* the same in two parts, for two of them at once */
struct nb_maphelper {
	const char *helper;
	pid_t pid, child;
	int out;
};
int nb_startmaphelper(struct nb_maphelper *h, const char *helper, pid_t pid,
		      const char *text);
int nb_endmaphelper(struct nb_maphelper *h, char *said, size_t size);

/* --- mounts (mount.c) --- */

extern const struct nb_word nb_mountflags[]; /* MS_*, for mount(2) */
/* the fields set= and clear= of the table at t, MOUNT_ATTR_* words, made
 * consistent: choosing an access time clears the others */
void nb_checkattrs(lua_State *L, int t, uint64_t *set, uint64_t *clr);
/* "private", "slave", "shared", "unbindable": MS_*, for both calls */
extern const struct nb_word nb_propagations[];

/* --- capabilities (cap.c) --- */

/* a list of words ("net_admin"), or "all", as a mask of this kernel's */
uint64_t nb_checkcaps(lua_State *L, int idx);
void nb_pushcaps(lua_State *L, uint64_t mask);

/* --- namespaces (ns.c) --- */

struct nb_ns {
	struct nb_fd h; /* first: nb_checkfd relies on it */
	int kind;
	dev_t dev;
	ino_t ino;
	uint64_t cookie; /* of a network namespace; 0: not asked for yet */
};
struct nb_ns *nb_newns(lua_State *L);
/* the argument, which must be an open handle */
struct nb_ns *nb_checkns(lua_State *L, int idx);
/* the handle on top, filled with fd (or -errno): results */
int nb_fillns(lua_State *L, struct nb_ns *ns, int fd, const char *subject);
/* parts of the module ns */
extern const luaL_Reg nb_nsscanfuncs[]; /* nsscan.c */
extern const luaL_Reg nb_netnsfuncs[];	/* netns.c */
extern const luaL_Reg nb_netnsmethods[];

/* --- trace (trace.c) --- */

/* like luaL_setfuncs without upvalues; under NSBOX_TRACE each function is
 * wrapped so that a call prints one strace-like line, words for numbers */
void nb_setfuncs(lua_State *L, const char *module, const luaL_Reg *funcs);
/* one line of the trace, when tracing is on */
void nb_trace(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
bool nb_tracing(void);

/* --- faults: NSBOX_FAULT=step:ERRNO in a debug build (aux.c) --- */
#ifdef NSBOX_DEBUG
/* the errno to fail this step with, or 0 */
int nb_fault(const char *step);
#else
#define nb_fault(step) 0
#endif

#endif
