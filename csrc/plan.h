/*
 * plan.h - the launch of a process as flat data
 *
 * spawn (spawn.c) turns a Lua table into one arena: this header, the steps,
 * the strings.  Everything inside is an offset from the arena's start, so
 * that the same bytes run at any address: in the child that shares the
 * parent's memory, and in nsbox-init, which gets them by a memfd.  plan.c is
 * compiled into both.
 */
#ifndef NB_PLAN_H
#define NB_PLAN_H

#include <stdint.h>

/*
 * What a step does; the order here is roughly the order in a plan.
 * The X-macro keeps the words that errors, traces and NSBOX_FAULT use beside
 * the numbers.
 */
/* clang-format off */
#define NB_STEPS(X)                                                            \
	X(HOLD, "hold")		/* close the parent's end of ctl */                 \
	X(PDEATHSIG, "pdeathsig") /* x, and end if the parent is gone */ \
	X(SIGNALS, "signals")	/* dispositions to default */                   \
	X(RELEASE, "release")	/* wait until the parent let us go (maps) */       \
	X(INIT, "init")		/* exec nsbox-init with x descriptors at a */             \
	X(HARD, "rlimits")	/* y is the hard limit of resource x */            \
	X(OOM, "oom_score_adj") /* x */                                        \
	X(NICE, "nice")		/* x */                                               \
	X(AFFINITY, "affinity") /* the cpus in the x bytes of a */             \
	X(UIDMAP, "uid_map")	/* open a, one write of b; likewise… */            \
	X(SETGROUPS, "setgroups")                                              \
	X(GIDMAP, "gid_map")                                                   \
	X(DUMPABLE, "dumpable") /* PR_SET_DUMPABLE x */                        \
	X(JOIN, "setns")	/* x descriptors at a: setns in a sound order */        \
	X(UNSHARE, "unshare")	/* kinds x */                                      \
	X(NEEDMAPS, "maps")	/* ask for the maps of a late user namespace */      \
	X(FORK, "fork")		/* CLONE_PARENT: enter the pid namespace */            \
	X(WRITE, "write")	/* open a, one write of b */                           \
	X(TIME, "time_offsets") /* the same, for /proc/self/timens_offsets */  \
	X(ENTER, "setns")	/* open a, setns(x) */                               \
	X(HOSTNAME, "hostname") /* a */                                        \
	X(LO, "lo")		/* loopback up */                                           \
	X(MOUNT, "mount")	/* source a, target b, type c, data d, flags x */      \
	X(GRAB, "bind")		/* open_tree(a), for a PLACE; x: no other way */                   \
	X(IDMAP, "idmap")	/* the parent showed the tree of step y with our ids */ \
	X(PLACE, "bind")	/* the tree of step y at b; attributes set x */        \
	X(MASK, "mask")		/* an empty file or directory over a */           \
	X(UMASK, "umask")	/* the caller's again, after a root or scratch */ \
	X(LINK, "symlink")	/* b, a link to a */                             \
	X(FILE, "file")		/* b, with the content a and mode x */            \
	X(DIRECTORY, "directory") /* b, mode x */                                    \
	X(PIVOT, "pivot_root")	/* the new root is the only one */            \
	X(ATTR, "attr")		/* mount_setattr(a, set x, clear y) */                 \
	X(GROUPS, "setgroups")	/* x ids at a; y: where it may */                                  \
	X(GID, "setgid")	/* x */                                                 \
	X(UID, "setuid")	/* x */                                                 \
	X(BOUNDING, "bounding") /* drop all but x */                           \
	X(CAPS, "caps")		/* permitted x, inheritable y, effective z */          \
	X(AMBIENT, "ambient")	/* clear, then raise x */                          \
	X(KEEPCAPS, "keepcaps") /* x */                                        \
	X(NNP, "no_new_privs")	/* */                                             \
	X(CHDIR, "cwd")		/* a, checked by getcwd */                             \
	X(STDIO, "stdio")	/* fds at a: stdin, stdout, stderr */                  \
	X(KEEP, "keep")		/* all but 0-2 and x descriptors at a are cloexec */   \
	X(GATE, "gate")		/* report READY, wait for the word to go on */         \
	X(STARTED, "started")	/* report that a Lua function takes over */    \
	X(SUPERVISE, "fork")	/* nsbox-init stays as pid 1, its child goes on */  \
	X(IDLE, "idle")		/* nsbox-init is all there is; x: it serves */ \
	X(SETSID, "setsid")	/* */                                                \
	X(SIGMASK, "sigmask")	/* none blocked */                              \
	X(RLIMIT, "rlimits")	/* resource x: soft y, hard z */                 \
	X(SECCOMP, "seccomp")	/* the filter of x instructions at a */        \
	X(EXEC, "exec")		/* argv[0], searched along PATH */
/* clang-format on */

enum nb_stepop {
#define X(name, word) NB_STEP_##name,
	NB_STEPS(X)
#undef X
};

/* how a step takes a failure */
#define NB_MISSING_OK 1	  /* a path that does not exist is fine */
#define NB_TRY 2	  /* so is everything else, but a loop of links */
#define NB_RECURSIVE 4	  /* GRAB, ATTR: with all submounts */
#define NB_OUTSIDE 2048	  /* the parent does it, who has the privilege */
#define NB_EXECROOT 4096  /* AMBIENT: not for uid 0, to whom exec gives all */
#define NB_PERMITTED 8192 /* CAPS: what is permitted stays so, besides x */
#define NB_TERMINAL 16384 /* GRAB: a, where it is the file at b; no a: none */
#define NB_SURPLUS 32768  /* CAPS, AMBIENT: where PERMITTED left more than x */
/* MOUNT, PLACE, with a root of the box's own: */
#define NB_NOFOLLOW 8 /* no symbolic link may lead there */
#define NB_MAKE 16    /* where it is missing, it is made */
#define NB_ROOT 32    /* over "/": this is the root from here on */
#define NB_SCRATCH 64 /* over "/": for steps that are below this one */
#define NB_BASE 32768 /* there are steps below this one */
/* what happened to it: */
#define NB_LATE 128    /* its attributes have to wait for PIVOT */
#define NB_INSTEAD 256 /* MOUNT: y, the caller's own, came instead */
/* nb_find(), besides NB_NOFOLLOW: */
#define NB_MAKEDIR 512
#define NB_MAKEFILE 1024

struct nb_step {
	uint16_t op;
	uint16_t flags;
	int32_t fd;    /* GRAB: the tree; PLACE, MOUNT: the root of the mount;
			* JOIN: which one failed */
	int32_t fault; /* debug build: fail with this errno */
	uint32_t a, b, c, d;
	uint32_t below; /* 1 + the step in whose mount its paths begin */
	uint64_t x, y, z;
};

/* what a NB_TERMINAL has to be */
struct nb_file {
	uint64_t dev, ino; /* as in struct nb_status */
};

/* what JOIN finds at a */
struct nb_join {
	int32_t fd, kind;
};

/* what the child says on its end of the control socket */
enum nb_said {
	NB_FAILED = 1, /* step, value = errno; the child is ending */
	NB_WANTMAPS,   /* the maps of a late user namespace, please */
	NB_WANTSTEP,   /* this step, which is NB_OUTSIDE */
	NB_FORKED,     /* value = pid of the process that goes on */
	NB_READY,      /* at the gate */
	NB_STARTED,    /* the program was exec'd, the function takes over */
	NB_ENDED,      /* nsbox-init: value = the program's wait status */
};

struct nb_report {
	uint32_t said;
	uint32_t step;
	int32_t value;
	int32_t detail; /* JOIN: which of the descriptors */
};

struct nb_plan {
	uint32_t size;
	uint32_t steps, nsteps; /* struct nb_step */
	uint32_t argv, env;	/* uint64_t offsets, 0 ends; become pointers */
	uint32_t path;		/* PATH to search, or 0 */
	uint32_t init_argv;	/* argv of nsbox-init, like argv */
	int32_t init_fd;	/* sealed image of nsbox-init, or -1 */
	int32_t memory_fd;	/* this plan, for nsbox-init, or -1 */
	int32_t ctl;		/* child's end of the control socket or pipe */
	int32_t parent_ctl;	/* the parent's, to be closed by the child */
	int32_t umask;		/* the caller's, while there is none, or -1 */
	int32_t root;		/* the box's own, before PIVOT, or -1 */
	int32_t null, empty;	/* what covers files, and directories, once it
				 * was needed */
	int32_t shares;		/* cleared by the kernel when the child stops
				 * sharing our memory: it exec'd or ended */
	uint32_t last_cap;	/* highest capability of this kernel */
	uint32_t surplus;	/* more is permitted than CAPS said */
	/* the report of a failure, which a filter may keep from being written;
	 * said is 0 while there is none */
	struct nb_report failure;
	uint64_t cloneflags;
};

static inline void *nb_inplan(struct nb_plan *plan, uint32_t offset)
{
	return (char *)plan + offset;
}

/* NULL for an absent string, as mount(2) wants it */
static inline char *nb_textinplan(struct nb_plan *plan, uint32_t offset)
{
	return offset ? (char *)plan + offset : (char *)0;
}

/* runs the steps from `from` on.  0, for a plan without EXEC; -1 when a step
 * failed: it has been reported, and the caller must end the process */
int nb_plan_run(struct nb_plan *plan, uint32_t from);

/* capget(2) of the calling thread, into two of them: 0 or -errno */
struct __user_cap_data_struct;
long nb_getcaps(struct __user_cap_data_struct *d);

/* ends the process, which a filter may refuse */
void nb_quit(int code) __attribute__((noreturn));

/* one byte from the parent; ends the process when there is no parent; 0 */
long nb_await(struct nb_plan *plan);

#define NB_CPUS 8192 /* the most that a kernel can have */

/* one step that limits (plan_limits.c); 0 or -errno */
long nb_limitstep(struct nb_plan *plan, struct nb_step *s);

/* one step that mounts (plan_mount.c); 0 or -errno */
long nb_mountstep(struct nb_plan *plan, struct nb_step *s, uint32_t number);

/*
 * Where a path leads inside of a root that strangers may change (plan_path.c):
 * an O_PATH descriptor, or -errno.  With NB_NOFOLLOW no symbolic link is
 * taken; NB_MAKEDIR and NB_MAKEFILE make what is missing.
 */
long nb_find(int root, const char *path, unsigned how);

/* a new directory or file in a directory where strangers make no names, by
 * NB_MAKEDIR or NB_MAKEFILE: a descriptor, or -errno; or what is there */
long nb_make(int dir, const char *name, unsigned how);

#define NB_IS_DIR 0040000
#define NB_IS_CHAR 0020000
#define NB_IS_LINK 0120000

struct nb_status {
	uint32_t type;		 /* NB_IS_* */
	uint64_t ino, dev, rdev; /* devices: major << 32 | minor */
	uint64_t mnt;
	int mounted; /* it is the root of its mount */
};

/* of what a descriptor is open on; 0 or -errno */
long nb_status(int fd, struct nb_status *to);

#ifndef MOUNT_ATTR_IDMAP
#define MOUNT_ATTR_IDMAP 0x100000
#endif

/*
 * mount_setattr(2) alone; path "" is what dirfd is open on, userns a descriptor
 * for MOUNT_ATTR_IDMAP, else 0.  0 or -errno.
 */
long nb_rawsetattr(int dirfd, const char *path, uint64_t set, uint64_t clr,
		   uint64_t propagation, int userns, int recursive);

/*
 * The same on path, without idmaps; where the kernel has none, a walk over
 * /proc/self/mountinfo with one remount each.  set and clr are MOUNT_ATTR_*.
 * 0 or -errno.
 */
long nb_setattr(int dirfd, const char *path, uint64_t set, uint64_t clr,
		uint64_t propagation, int recursive);
/* of the mount that a descriptor is the root of, inside the root base, or -1 */
long nb_setattrin(int base, int fd, uint64_t set, uint64_t clr, int recursive);

#endif
