/*
 * plan.c - runs a plan, in the child
 *
 * Compiled twice: into nsbox.so, where it runs in a child that shares the
 * parent's memory, and into nsbox-init.  So nothing here calls libc, writes
 * to a global or allocates; a failure becomes a report on the control socket.
 * Steps that change kernel ids or gain capabilities would clear the dumpable
 * flag of a shared memory: spawn.c places them behind INIT.
 *
 * clone(2), namespaces(7), mount_setattr(2), capabilities(7), credentials(7),
 * seccomp(2)
 */
#include <errno.h>
#include <linux/fcntl.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/filter.h>
#include <linux/if.h>
#include <linux/poll.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <linux/sockios.h>
#include <stdbool.h>
#include <stddef.h>

#include "bare.h"
#include "plan.h"
#include "sys.h"

#define BUFFER 4096
#define SHORT 128 /* most paths are */
#define NSIG_KERNEL 64
#define SIGSET_SIZE 8
#define ALL_SIGNALS (~UINT64_C(0))

void nb_quit(int code)
{
	nb_sys(__NR_exit_group, code, 0, 0);
	nb_sys(__NR_exit, code, 0, 0);
	for (;;)
		__builtin_trap();
}

static void report(struct nb_plan *plan, enum nb_said said, uint32_t step,
		   int32_t value, int32_t detail)
{
	struct nb_report r;

	r.said = said;
	r.step = step;
	r.value = value;
	r.detail = detail;
	if (said == NB_FAILED) /* the write may be refused, or be the end */
		plan->failure = r;
	nb_sys(__NR_write, plan->ctl, &r, sizeof(r));
}

/* without a parent there is nothing to go on for */
long nb_await(struct nb_plan *plan)
{
	char byte;
	long n;

	do
		n = nb_sys(__NR_read, plan->ctl, &byte, 1);
	while (n == -EINTR);
	if (n <= 0)
		nb_quit(1);
	return 0;
}

static long cloexec(int fd, bool on)
{
	return nb_sys(__NR_fcntl, fd, F_SETFD, on ? FD_CLOEXEC : 0);
}

/* offsets become pointers, once per address space */
static char **vector(struct nb_plan *plan, uint32_t offset)
{
	char **v = nb_inplan(plan, offset);

	for (size_t i = 0; v[i]; i++)
		if ((uintptr_t)v[i] < plan->size)
			v[i] = nb_inplan(plan, (uint32_t)(uintptr_t)v[i]);
	return v;
}

static long do_pdeathsig(struct nb_plan *plan, int sig)
{
	struct pollfd pfd;
	long now[2];
	long r = nb_sys(__NR_prctl, PR_SET_PDEATHSIG, sig, 0);

	/* it may have died before: then nobody holds the other end */
	pfd.fd = plan->ctl;
	pfd.events = pfd.revents = 0;
	now[0] = now[1] = 0;
	if (r == 0 && nb_sys5(__NR_ppoll, &pfd, 1, now, NULL, SIGSET_SIZE) > 0)
		nb_quit(1);
	return r;
}

static long do_init(struct nb_plan *plan, struct nb_step *s)
{
	int32_t *fds = nb_inplan(plan, s->a);
	char link[32], *none[1];
	/* it may stay for long, or among strangers: with what it needs only */
	long r = nb_sys(__NR_close_range, 3, ~0U, CLOSE_RANGE_CLOEXEC);

	none[0] = NULL;
	for (uint64_t i = 0; i < s->x && r == 0; i++)
		r = cloexec(fds[i], false);
	if (r == 0)
		r = cloexec(plan->ctl, false);
	if (r == 0)
		r = cloexec(plan->memory_fd, false);
	if (r == 0)
		r = nb_sys5(__NR_execveat, plan->init_fd, "",
			    vector(plan, plan->init_argv), none, AT_EMPTY_PATH);
	if (r == -ENOENT) { /* valgrind looks for a file of its name */
		nb_fdpath(link, plan->init_fd);
		r = nb_sys(__NR_execve, link, vector(plan, plan->init_argv),
			   none);
	}
	return r;
}

/* those that are left, a bit each; what is refused stays, where there is a user
 * namespace yet to come */
static long join_left(struct nb_step *s, const struct nb_join *j,
		      uint64_t *left, bool more)
{
	for (uint64_t i = 0; i < s->x; i++) {
		long r;

		if (!(*left >> i & 1))
			continue;
		r = nb_sys(__NR_setns, j[i].fd, j[i].kind, 0);
		if (r == 0) {
			*left &= ~(UINT64_C(1) << i);
		} else if (r != -EPERM || !more) {
			s->fd = (int32_t)i;
			return r;
		}
	}
	return 0;
}

/*
 * Joining needs CAP_SYS_ADMIN over the owner of each namespace: the caller
 * may have it now and lose it with a user namespace, or get it only there.  So
 * all but those are tried first, and what was refused again in each of them,
 * in their order: the outer one first.
 */
static long do_join(struct nb_plan *plan, struct nb_step *s)
{
	const struct nb_join *j = nb_inplan(plan, s->a);
	uint64_t left = 0, users = 0;
	long r;

	for (uint64_t i = 0; i < s->x; i++)
		if (j[i].kind == CLONE_NEWUSER)
			users |= UINT64_C(1) << i;
		else
			left |= UINT64_C(1) << i;
	r = join_left(s, j, &left, users != 0);
	for (uint64_t i = 0; i < s->x && r == 0; i++) {
		uint64_t this = UINT64_C(1) << i;

		if (!(users & this))
			continue;
		users &= ~this;
		r = join_left(s, j, &this, false);
		if (r == 0)
			r = join_left(s, j, &left, users != 0);
	}
	return r;
}

/* the pid namespace joined or unshared holds only children: become one, as
 * a sibling, so that the parent can wait for it */
static long do_fork(struct nb_plan *plan, uint32_t step, int sig)
{
	long pid =
	    nb_sys5(__NR_clone, CLONE_PARENT | 17 /* SIGCHLD */, 0, 0, 0, 0);

	if (pid < 0)
		return pid;
	if (pid > 0) {
		report(plan, NB_FORKED, step, (int32_t)pid, 0);
		nb_quit(0);
	}
	nb_await(plan);
	return sig ? do_pdeathsig(plan, sig) : 0;
}

static long do_enter(const char *path, uint64_t kind)
{
	long fd =
	    nb_sys5(__NR_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0, 0);
	long r = fd < 0 ? fd : nb_sys(__NR_setns, fd, kind, 0);

	if (fd >= 0)
		nb_sys(__NR_close, fd, 0, 0);
	return r;
}

long nb_writefile(const char *path, const char *data)
{
	long n = (long)nb_length(data), r;
	long fd =
	    nb_sys5(__NR_openat, AT_FDCWD, path, O_WRONLY | O_CLOEXEC, 0, 0);

	if (fd < 0)
		return fd;
	r = nb_sys(__NR_write, fd, data, n);
	nb_sys(__NR_close, fd, 0, 0);
	return r < 0 ? r : r == n ? 0 : -EIO;
}

long nb_loup(void)
{
	struct ifreq ifr;
	char *raw = (char *)&ifr;
	long r, fd = nb_sys(__NR_socket, 2 /* AF_INET */,
			    2 /* SOCK_DGRAM */ | O_CLOEXEC, 0);

	if (fd < 0)
		return fd;
	for (size_t i = 0; i < sizeof(ifr); i++)
		raw[i] = 0;
	ifr.ifr_name[0] = 'l';
	ifr.ifr_name[1] = 'o';
	ifr.ifr_flags = IFF_UP;
	r = nb_sys(__NR_ioctl, fd, SIOCSIFFLAGS, &ifr);
	nb_sys(__NR_close, fd, 0, 0);
	return r;
}

/* --- privilege --- */

long nb_getcaps(struct __user_cap_data_struct *d)
{
	struct __user_cap_header_struct h;

	h.version = _LINUX_CAPABILITY_VERSION_3;
	h.pid = 0;
	return nb_sys(__NR_capget, &h, d, 0);
}

static bool may_setgid(void)
{
	struct __user_cap_data_struct d[2];

	return nb_getcaps(d) == 0 && d[0].effective >> CAP_SETGID & 1;
}

/* Whether this user namespace has it denied, user_namespaces(7).  Where /proc
 * is that of a pid namespace that we are not in, and has no file to ask: who
 * has the privilege and is refused. */
static bool denies_setgroups(void)
{
	char first = '\0';
	long fd = nb_sys5(__NR_openat, AT_FDCWD, "/proc/self/setgroups",
			  O_RDONLY | O_CLOEXEC, 0, 0);

	if (fd < 0)
		return may_setgid();
	nb_sys(__NR_read, fd, &first, 1);
	nb_sys(__NR_close, fd, 0, 0);
	return first == 'd';
}

/* a filter of the caller's, say, may refuse it, too: then groups would stay
 * that the program is not to have */
static long do_groups(struct nb_plan *plan, const struct nb_step *s)
{
	long r = nb_sys(__NR_setgroups, s->x, nb_inplan(plan, s->a), 0);

	if (r == -EPERM && s->y && denies_setgroups())
		return 0;
	return r;
}

static long do_bounding(uint64_t keep, uint32_t last)
{
	for (uint32_t cap = 0; cap <= last; cap++) {
		long r;

		if (keep >> cap & 1)
			continue;
		r = nb_sys(__NR_prctl, PR_CAPBSET_DROP, cap, 0);
		if (r < 0)
			return r;
	}
	return 0;
}

static long do_caps(struct nb_plan *plan, const struct nb_step *s)
{
	struct __user_cap_header_struct h;
	struct __user_cap_data_struct d[2];
	uint64_t permitted = s->x, old;
	long r;

	if (s->flags & NB_SURPLUS && !plan->surplus)
		return 0;
	if (s->flags & NB_PERMITTED) {
		r = nb_getcaps(d);
		if (r < 0)
			return r;
		old = d[0].permitted | (uint64_t)d[1].permitted << 32;
		plan->surplus = (old & ~permitted) != 0;
		permitted |= old;
	}
	h.version = _LINUX_CAPABILITY_VERSION_3;
	h.pid = 0;
	d[0].permitted = (uint32_t)permitted;
	d[1].permitted = (uint32_t)(permitted >> 32);
	d[0].inheritable = (uint32_t)s->y;
	d[1].inheritable = (uint32_t)(s->y >> 32);
	d[0].effective = (uint32_t)s->z;
	d[1].effective = (uint32_t)(s->z >> 32);
	return nb_sys(__NR_capset, &h, d, 0);
}

static long do_ambient(const struct nb_plan *plan, const struct nb_step *s)
{
	long r;

	if ((s->flags & NB_SURPLUS && !plan->surplus) ||
	    (s->flags & NB_EXECROOT && nb_sys(__NR_geteuid, 0, 0, 0) == 0))
		return 0;
	r = nb_sys5(__NR_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0,
		    0);

	for (uint32_t cap = 0; cap <= plan->last_cap && r == 0; cap++)
		if (s->x >> cap & 1)
			r = nb_sys5(__NR_prctl, PR_CAP_AMBIENT,
				    PR_CAP_AMBIENT_RAISE, cap, 0, 0);
	return r;
}

/* --- what the program inherits --- */

/* apart, for that takes a page of stack that is not there yet */
static __attribute__((noinline)) long long_cwd(char *first)
{
	char buffer[BUFFER];
	long r = nb_sys(__NR_getcwd, buffer, sizeof(buffer), 0);

	*first = buffer[0];
	return r;
}

/* where that fails, "/": the directory we are in may lie under a mount, or
 * outside */
static long do_chdir(const char *path)
{
	char buffer[SHORT];
	long r = nb_sys(__NR_chdir, path, 0, 0);

	if (r == 0) {
		r = nb_sys(__NR_getcwd, buffer, sizeof(buffer), 0);
		if (r == -ERANGE)
			r = long_cwd(buffer);
		/* the kernel writes "(unreachable)" before a directory outside
		 * the root, which is the way out of CVE-2024-21626 */
		if (r > 0 && buffer[0] == '/')
			return 0;
		r = r < 0 ? r : -ENOENT;
	}
	nb_sys(__NR_chdir, "/", 0, 0);
	return r;
}

/* fds[0..2] become 0, 1, 2; any of them may be one of these already */
static long do_stdio(int32_t *fds)
{
	long r = 0;

	for (int i = 0; i < 3; i++) {
		if (fds[i] < 0 || fds[i] > 2 || fds[i] == i)
			continue;
		r = nb_sys(__NR_fcntl, fds[i], F_DUPFD_CLOEXEC, 3);
		if (r < 0)
			return r;
		fds[i] = (int32_t)r;
	}
	for (int i = 0; i < 3; i++) {
		if (fds[i] < 0)
			continue;
		r = fds[i] == i ? cloexec(i, false)
				: nb_sys(__NR_dup3, fds[i], i, 0);
		if (r < 0)
			return r;
		fds[i] = i;
	}
	return 0;
}

static long do_keep(struct nb_plan *plan, struct nb_step *s)
{
	int32_t *fds = nb_inplan(plan, s->a);
	long r = nb_sys(__NR_close_range, 3, ~0U, CLOSE_RANGE_CLOEXEC);

	if (r < 0)
		return r;
	for (uint64_t i = 0; i < s->x && r == 0; i++)
		r = cloexec(fds[i], false);
	return r;
}

/* the signals in a line of a status in /proc; all of them, where it has no
 * such line */
static uint64_t signals_in(const char *status, const char *name)
{
	uint64_t set = 0;
	size_t n = 0;

	while (*status && name[n])
		n = *status++ == name[n] ? n + 1 : 0;
	if (name[n])
		return ALL_SIGNALS;
	for (; *status && *status != '\n'; status++)
		set =
		    set << 4 | (uint64_t)(*status <= '9' ? *status - '0'
							 : *status - 'a' + 10);
	return set;
}

/* the signals whose disposition is not the default one: most often one or
 * two, and each takes a system call to set */
static uint64_t changed_signals(void)
{
	char status[BUFFER];
	long n = -1, fd = nb_sys5(__NR_openat, AT_FDCWD, "/proc/self/status",
				  O_RDONLY | O_CLOEXEC, 0, 0);

	if (fd >= 0) {
		n = nb_sys(__NR_read, fd, status, sizeof(status) - 1);
		nb_sys(__NR_close, fd, 0, 0);
	}
	if (n < 0)
		return ALL_SIGNALS;
	status[n] = '\0';
	return signals_in(status, "\nSigIgn:\t") |
	       signals_in(status, "\nSigCgt:\t");
}

/* An ignored signal would stay ignored across exec, and a program expects a
 * clean slate; a handler of the parent must not run here.  All are blocked
 * since before the clone, until SIGMASK. */
static long do_signals(void)
{
	struct {
		void *handler;
		unsigned long flags;
		void *restorer;
		uint64_t mask;
	} dfl;
	uint64_t changed = changed_signals();

	dfl.handler = NULL;
	dfl.flags = 0;
	dfl.restorer = NULL;
	dfl.mask = 0;
	for (int sig = 1; sig <= NSIG_KERNEL; sig++)
		if (changed >> (sig - 1) & 1)
			nb_sys5(__NR_rt_sigaction, sig, &dfl, NULL, SIGSET_SIZE,
				0);
	return 0;
}

static long do_sigmask(void)
{
	uint64_t none = 0;

	return nb_sys5(__NR_rt_sigprocmask, 2 /* SIG_SETMASK */, &none, NULL,
		       SIGSET_SIZE, 0);
}

/* By prctl, which valgrind knows, too.  Never with TSYNC, which only seccomp(2)
 * has: threads of the host are none of ours. */
static long do_seccomp(void *insns, uint64_t n)
{
	struct sock_fprog prog;

	prog.len = (unsigned short)n;
	prog.filter = insns;
	return nb_sys5(__NR_prctl, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog,
		       0, 0);
}

/* as execvp(3) does it, but never by way of a shell */
static long do_exec(struct nb_plan *plan)
{
	char **argv = vector(plan, plan->argv);
	char **env = vector(plan, plan->env);
	const char *dir = nb_textinplan(plan, plan->path);
	size_t len = nb_length(argv[0]);
	char file[BUFFER];
	long r, found = -ENOENT;

	for (size_t i = 0; i < len; i++)
		if (argv[0][i] == '/')
			dir = NULL;
	/* an empty name would find the directories themselves */
	if (!dir || len == 0)
		return nb_sys(__NR_execve, argv[0], argv, env);
	while (*dir) {
		size_t n = 0, k = 0;

		while (*dir && *dir != ':' && n + len + 2 < sizeof(file))
			file[n++] = *dir++;
		while (*dir && *dir++ != ':')
			n = 0;
		if (n == 0)
			continue;
		file[n++] = '/';
		while (k <= len)
			file[n++] = argv[0][k++];
		r = nb_sys(__NR_execve, file, argv, env);
		if (r == -EACCES)
			found = r;
		else if (r != -ENOENT && r != -ENOTDIR)
			return r;
	}
	return found;
}

#ifdef NB_INIT
long nb_supervise(struct nb_plan *plan, uint32_t step); /* init.c */
long nb_idle(struct nb_plan *plan, bool serves);
#endif

static long run(struct nb_plan *plan, struct nb_step *s, uint32_t i)
{
	if (s->flags & NB_OUTSIDE) { /* a failure is the parent's to tell */
		report(plan, NB_WANTSTEP, i, 0, 0);
		return nb_await(plan);
	}
	switch ((enum nb_stepop)s->op) {
	case NB_STEP_HOLD:
		return nb_sys(__NR_close, plan->parent_ctl, 0, 0);
	case NB_STEP_PDEATHSIG:
		return do_pdeathsig(plan, (int)s->x);
	case NB_STEP_SIGNALS:
		return do_signals();
	case NB_STEP_RELEASE:
		return nb_await(plan);
	case NB_STEP_IDMAP:
		return 0;
	case NB_STEP_INIT:
		return do_init(plan, s);
	case NB_STEP_HARD:
	case NB_STEP_OOM:
	case NB_STEP_NICE:
	case NB_STEP_AFFINITY:
	case NB_STEP_RLIMIT:
		return nb_limitstep(plan, s);
	case NB_STEP_DUMPABLE:
		return nb_sys(__NR_prctl, PR_SET_DUMPABLE, s->x, 0);
	case NB_STEP_JOIN:
		return do_join(plan, s);
	case NB_STEP_UNSHARE:
		return nb_sys(__NR_unshare, s->x, 0, 0);
	case NB_STEP_NEEDMAPS:
		report(plan, NB_WANTMAPS, i, 0, 0);
		return nb_await(plan);
	case NB_STEP_FORK:
		return do_fork(plan, i, (int)s->x);
	case NB_STEP_UIDMAP:
	case NB_STEP_SETGROUPS:
	case NB_STEP_GIDMAP:
	case NB_STEP_WRITE:
	case NB_STEP_TIME:
		return nb_writefile(nb_inplan(plan, s->a),
				    nb_inplan(plan, s->b));
	case NB_STEP_ENTER:
		return do_enter(nb_inplan(plan, s->a), s->x);
	case NB_STEP_HOSTNAME:
		return nb_sys(__NR_sethostname, nb_inplan(plan, s->a),
			      nb_length(nb_inplan(plan, s->a)), 0);
	case NB_STEP_LO:
		return nb_loup();
	case NB_STEP_MOUNT:
	case NB_STEP_GRAB:
	case NB_STEP_PLACE:
	case NB_STEP_ATTR:
	case NB_STEP_MASK:
	case NB_STEP_UMASK:
	case NB_STEP_LINK:
	case NB_STEP_FILE:
	case NB_STEP_DIRECTORY:
	case NB_STEP_PIVOT:
		return nb_mountstep(plan, s, i);
	case NB_STEP_GROUPS:
		return do_groups(plan, s);
	case NB_STEP_GID:
		return nb_sys(__NR_setresgid, s->x, s->x, s->x);
	case NB_STEP_UID:
		return nb_sys(__NR_setresuid, s->x, s->x, s->x);
	case NB_STEP_BOUNDING:
		return do_bounding(s->x, plan->last_cap);
	case NB_STEP_CAPS:
		return do_caps(plan, s);
	case NB_STEP_AMBIENT:
		return do_ambient(plan, s);
	case NB_STEP_KEEPCAPS:
		return nb_sys(__NR_prctl, PR_SET_KEEPCAPS, s->x, 0);
	case NB_STEP_NNP:
		return nb_sys5(__NR_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	case NB_STEP_CHDIR:
		return do_chdir(nb_inplan(plan, s->a));
	case NB_STEP_STDIO:
		return do_stdio(nb_inplan(plan, s->a));
	case NB_STEP_KEEP:
		return do_keep(plan, s);
	case NB_STEP_GATE:
		report(plan, NB_READY, i, 0, 0);
		return nb_await(plan);
	case NB_STEP_STARTED:
		report(plan, NB_STARTED, i, 0, 0);
		return 0;
	case NB_STEP_SUPERVISE:
#ifdef NB_INIT
		return nb_supervise(plan, i);
#else
		return -ENOSYS;
#endif
	case NB_STEP_IDLE:
#ifdef NB_INIT
		return nb_idle(plan, s->x);
#else
		return -ENOSYS;
#endif
	case NB_STEP_SETSID:
		return nb_sys(__NR_setsid, 0, 0, 0);
	case NB_STEP_SIGMASK:
		return do_sigmask();
	case NB_STEP_SECCOMP:
		return do_seccomp(nb_inplan(plan, s->a), s->x);
	case NB_STEP_EXEC:
		return do_exec(plan);
	}
	return -ENOSYS;
}

/* an injected fault is one, whatever the flags */
static bool may_fail(const struct nb_step *s, long r)
{
	/* a loop of links is nothing that is lacking */
	if (s->flags & NB_TRY && !s->fault &&
	    !(s->op == NB_STEP_PLACE && r == -ELOOP))
		return true;
	return s->flags & NB_MISSING_OK && (r == -ENOENT || r == -ENOTDIR);
}

int nb_plan_run(struct nb_plan *plan, uint32_t from)
{
	struct nb_step *steps = nb_inplan(plan, plan->steps);

	for (uint32_t i = from; i < plan->nsteps; i++) {
		struct nb_step *s = &steps[i];
		long r = s->fault ? -s->fault : run(plan, s, i);

		if (r >= 0 || may_fail(s, r))
			continue;
		report(plan, NB_FAILED, i, (int32_t)-r, s->fd);
		return -1;
	}
	return 0;
}
