/*
 * launch.c - the parent's side of a launch: clone, maps, handshake
 *
 * The child shares our memory and runs plan.c on a stack inside our frame,
 * so a launch costs the same from a large process as from a small one.  We
 * are not suspended (no CLONE_VFORK): somebody has to write the maps.  The
 * frame is left only when the child has exec'd or is dead.
 *
 * NSBOX_LAUNCH=fork gives the child a copy of the memory instead, which is
 * what valgrind can follow.
 *
 * clone(2), pidfd_open(2), user_namespaces(7), memfd_create(2)
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ask.h"
#include "launch.h"
#include "nb.h"

#ifndef MFD_EXEC
#define MFD_EXEC 0x10U
#endif

/* plan_path.c has five paths of 4 kB at once */
#define STACK_SIZE (48 * 1024)
#define LOOK_MS 100 /* between two looks at what should have told us */

extern const char nb_init_image[], nb_init_image_end[];

static const char *const stepwords[] = {
#define X(name, word) [NB_STEP_##name] = word,
    NB_STEPS(X)
#undef X
};

const char *nb_stepword(int op)
{
	return stepwords[op];
}

static int fail(struct nb_launch *l, int err, const char *where)
{
	l->err = err;
	l->where = where;
	return -1;
}

/* --- what nsbox-init needs: its image and its plan, as files --- */

static int write_all(int fd, const void *data, size_t size)
{
	const char *p = data;

	while (size > 0) {
		ssize_t n = write(fd, p, size);

		if (n < 0 && errno != EINTR)
			return -1;
		if (n > 0) {
			p += n;
			size -= (size_t)n;
		}
	}
	return 0;
}

static int memory_file(const char *name, unsigned flags, const void *data,
		       size_t size)
{
	int fd = memfd_create(name, MFD_CLOEXEC | flags);

	if (fd >= 0)
		fd = nb_above_stdio(fd);
	if (fd >= 0 && write_all(fd, data, size) < 0) {
		nb_close(fd);
		fd = -1;
	}
	return fd;
}

/* sealed: nobody inside can change what the next box would run */
static int image_file(void)
{
	size_t size = (size_t)(nb_init_image_end - nb_init_image);
	int fd = memory_file("nsbox-init", MFD_ALLOW_SEALING | MFD_EXEC,
			     nb_init_image, size);

	if (fd < 0 && errno == EINVAL) /* before Linux 6.3 */
		fd = memory_file("nsbox-init", MFD_ALLOW_SEALING, nb_init_image,
				 size);
	if (fd >= 0 && fcntl(fd, F_ADD_SEALS,
			     F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW |
				 F_SEAL_WRITE) < 0) {
		nb_close(fd);
		fd = -1;
	}
	return fd;
}

static void digits(char *to, int value)
{
	char reverse[12];
	int n = 0;

	do
		reverse[n++] = (char)('0' + value % 10);
	while ((value /= 10) > 0);
	while (n > 0)
		*to++ = reverse[--n];
	*to = '\0';
}

/* the plan goes into a file of its own; its descriptor and size into the
 * places that spawn.c left in nsbox-init's argv */
static int init_files(struct nb_plan *plan)
{
	uint64_t *argv = (uint64_t *)((char *)plan + plan->init_argv);

	plan->init_fd = image_file();
	if (plan->init_fd < 0)
		return -1;
	plan->memory_fd = memory_file("nsbox-plan", 0, plan, plan->size);
	if (plan->memory_fd < 0)
		return -1;
	digits((char *)plan + argv[1], plan->memory_fd);
	digits((char *)plan + argv[2], (int)plan->size);
	return 0;
}

/* --- the child --- */

static int child(void *arg)
{
	nb_plan_run(arg, 0);
	return 126;
}

static bool by_fork(void)
{
	const char *how = getenv("NSBOX_LAUNCH");

	return how && strcmp(how, "fork") == 0;
}

static pid_t start_program(struct nb_plan *plan, char *stack, int *pidfd)
{
	unsigned long flags = plan->cloneflags | CLONE_PIDFD | SIGCHLD;
	sigset_t all, old;
	pid_t pid;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	if (by_fork()) {
		pid = (pid_t)syscall(SYS_clone, flags, NULL, pidfd, NULL, NULL);
		if (pid == 0) {
			nb_plan_run(plan, 0);
			_exit(126);
		}
	} else {
		plan->shares = 1;
		pid = clone(child, stack + STACK_SIZE,
			    (int)(flags | CLONE_VM | CLONE_CHILD_CLEARTID),
			    plan, pidfd, NULL, &plan->shares);
	}
	err = errno;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	errno = err;
	return pid;
}

/* libc's fork: its locks, and those of malloc and stdio, are right in the
 * child even when the host has threads; the kinds are unshared by the plan */
static pid_t start_function(struct nb_plan *plan, int *pidfd)
{
	pid_t pid;

	/* valgrind knows no pidfd_open */
	if (by_fork())
		pid = (pid_t)syscall(SYS_clone, CLONE_PIDFD | SIGCHLD, NULL,
				     pidfd, NULL, NULL);
	else
		pid = fork();
	if (pid == 0 && nb_plan_run(plan, 0) < 0)
		_exit(126);
	if (pid > 0 && *pidfd < 0) {
		*pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
		if (*pidfd < 0) {
			int err = errno;

			kill(pid, SIGKILL);
			waitpid(pid, NULL, __WALL);
			errno = err;
			return -1;
		}
	}
	return pid;
}

/* --- maps --- */

/* the parent of its user namespace is another one than ours: only from there
 * can the file be opened */
static int map_via(struct nb_launch *l, const char *file, const char *text)
{
	char path[64];
	const char *s[4] = {path};
	int fd, err = 0;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)l->pid, file);
	fd = nb_askctl(l->via, NB_ASK_OPEN, O_WRONLY, s, -1, NULL);
	if (fd <= 0)
		return fd < 0 ? fd : -EIO;
	if (write(fd, text, strlen(text)) < 0)
		err = -errno;
	nb_close(fd);
	return err;
}

static int one_map(struct nb_launch *l, const char *file, const char *helper,
		   const char *text)
{
	const char *where = helper ? strrchr(helper, '/') + 1 : file;
	int r;

	if (!text)
		return 0;
	r = -nb_fault(where);
	if (r == 0)
		r = helper	  ? nb_maphelper(helper, l->pid, text, l->said,
						 sizeof(l->said))
		    : l->via >= 0 ? map_via(l, file, text)
				  : nb_writeproc(l->pid, file, text);
	return r < 0 ? fail(l, -r, where) : 0;
}

/* newuidmap and newgidmap at the same time: each takes as long as the rest of
 * a launch */
static int both_helpers(struct nb_launch *l)
{
	struct nb_maphelper u, g;
	char said[sizeof(l->said)] = "";
	int ru = -nb_fault("newuidmap"), rg = -nb_fault("newgidmap");

	if (ru == 0)
		ru = nb_startmaphelper(&u, l->newuidmap, l->pid, l->uid_map);
	if (ru < 0)
		return fail(l, -ru, "newuidmap");
	if (rg == 0)
		rg = nb_startmaphelper(&g, l->newgidmap, l->pid, l->gid_map);
	ru = nb_endmaphelper(&u, l->said, sizeof(l->said));
	if (rg == 0)
		rg = nb_endmaphelper(&g, said, sizeof(said));
	if (ru < 0)
		return fail(l, -ru, "newuidmap");
	if (rg < 0)
		memcpy(l->said, said, sizeof(said));
	return rg < 0 ? fail(l, -rg, "newgidmap") : 0;
}

static int write_maps(struct nb_launch *l)
{
	if (l->newuidmap && l->newgidmap && !l->setgroups)
		return both_helpers(l);
	if (one_map(l, "uid_map", l->newuidmap, l->uid_map) < 0 ||
	    one_map(l, "setgroups", NULL, l->setgroups) < 0 ||
	    one_map(l, "gid_map", l->newgidmap, l->gid_map) < 0)
		return -1;
	return 0;
}

static int open_userns(pid_t pid)
{
	char path[32];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/ns/user", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/*
 * The trees that are to be shown with the ids of the box: that takes privilege
 * over their file system, which the child has not, and its user namespace,
 * which we had not before.  Private: the copy of a shared mount is a peer of
 * it, and what a box mounts would appear there.
 */
static int show_ids(struct nb_launch *l)
{
	const struct nb_step *steps =
	    (struct nb_step *)((char *)l->plan + l->plan->steps);
	int userns = -1;
	long r = 0;

	for (uint32_t i = 0; i < l->plan->nsteps && r == 0; i++) {
		if (steps[i].op != NB_STEP_IDMAP)
			continue;
		if (nb_fault("idmap"))
			r = -nb_fault("idmap");
		else if (userns < 0)
			r = userns = open_userns(l->pid);
		if (r >= 0)
			r = nb_rawsetattr(steps[steps[i].y].fd, "",
					  MOUNT_ATTR_IDMAP, 0, MS_PRIVATE,
					  userns, true);
		if (r < 0) {
			l->step = (int)i;
			l->detail = -1;
			fail(l, (int)-r, NULL);
		}
	}
	if (userns >= 0)
		nb_close(userns);
	return r < 0 ? -1 : 0;
}

/* all that takes a user namespace that is new */
static int give_ids(struct nb_launch *l)
{
	return write_maps(l) < 0 || show_ids(l) < 0 ? -1 : 0;
}

/* --- the handshake --- */

static int let_go(struct nb_launch *l)
{
	ssize_t n;

	if (nb_fault("release"))
		return fail(l, nb_fault("release"), "release");
	do
		n = send(l->ctl, "", 1, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	/* EPIPE: it is gone; its report says why */
	if (n < 0 && errno != EPIPE)
		return fail(l, errno, "release");
	return 0;
}

static void reap(int pidfd)
{
	siginfo_t si;

	while (waitid(P_PIDFD, (id_t)pidfd, &si, WEXITED | __WALL) < 0 &&
	       errno == EINTR)
		;
}

/* the first process made way for its sibling in the joined pid namespace */
static int follow(struct nb_launch *l, pid_t pid)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, 0), first = l->pidfd, r;

	if (fd < 0) {
		int err = errno;

		kill(pid, SIGKILL);
		waitpid(pid, NULL, __WALL);
		return fail(l, err, "pidfd_open");
	}
	l->pid = pid;
	l->pidfd = fd;
	/* it goes on while the first one takes its time to end */
	r = let_go(l);
	reap(first);
	close(first);
	return r;
}

/* what the child has not the privilege for */
static int do_outside(struct nb_launch *l, uint32_t number)
{
	const struct nb_step *s =
	    (struct nb_step *)((char *)l->plan + l->plan->steps) + number;
	int r = number < l->plan->nsteps ? nb_outside(l->pid, s) : -EPROTO;

	if (r == 0)
		return let_go(l);
	l->step = (int)number;
	l->detail = -1;
	return fail(l, -r, NULL);
}

/*
 * Whether the program was exec'd, or has ended, when its end of the socket does
 * not say so: another thread of the host may have forked a process that holds a
 * copy.
 */
static bool has_execd(const struct nb_launch *l)
{
	static const char image[] = "/memfd:nsbox-init";
	struct pollfd ended = {.fd = l->pidfd, .events = POLLIN};
	char link[32], exe[sizeof(image)];
	ssize_t n;

	if (poll(&ended, 1, 0) > 0)
		return true;
	if (l->supervise || l->function || by_fork() ||
	    __atomic_load_n(&l->plan->shares, __ATOMIC_ACQUIRE))
		return false;
	if (!l->init)
		return true;
	snprintf(link, sizeof(link), "/proc/%d/exe", (int)l->pid);
	n = readlink(link, exe, sizeof(exe));
	return n > 0 && strncmp(exe, image, sizeof(image) - 1) != 0;
}

/* waits for a word of the child; false: there will be none */
static bool await_word(const struct nb_launch *l)
{
	struct pollfd pfd = {.fd = l->ctl, .events = POLLIN};

	for (;;) {
		if (poll(&pfd, 1, LOOK_MS) > 0)
			return true;
		if (has_execd(l))
			return poll(&pfd, 1, 0) > 0;
	}
}

/* whether the child, gone without a word, failed: see struct nb_plan */
static bool failed_silently(struct nb_launch *l)
{
	struct nb_report r = l->plan->failure;

	if (l->memory >= 0 &&
	    pread(l->memory, &r, sizeof(r),
		  offsetof(struct nb_plan, failure)) != sizeof(r))
		return false;
	if (r.said != NB_FAILED || r.step >= l->plan->nsteps)
		return false;
	l->step = (int)r.step;
	l->detail = r.detail;
	fail(l, r.value, NULL);
	return true;
}

static void forget_memory(struct nb_launch *l)
{
	if (l->memory >= 0)
		close(l->memory);
	l->memory = -1;
}

/* until the program was exec'd (its end of the socket closes), the gate, the
 * supervisor's word, or a failure */
static int listen_to(struct nb_launch *l)
{
	struct nb_report r;
	ssize_t n;

	for (;;) {
		n = await_word(l) ? read(l->ctl, &r, sizeof(r)) : 0;
		/* a child that ended before it read our word resets the
		 * connection; its report comes behind that */
		if (n < 0 && (errno == EINTR || errno == ECONNRESET))
			continue;
		if (n < 0)
			return fail(l, errno, "handshake");
		if (n != sizeof(r)) {
			/* killed before it could report */
			if (l->supervise)
				return fail(l, ECHILD, "init");
			if (l->gate || l->function)
				return fail(l, ESRCH,
					    l->gate ? "gate" : "started");
			if (failed_silently(l))
				return -1;
			forget_memory(l);
			nb_close(l->ctl);
			l->ctl = -1;
			return 0;
		}
		switch ((enum nb_said)r.said) {
		case NB_WANTMAPS:
			if (give_ids(l) < 0 || let_go(l) < 0)
				return -1;
			break;
		case NB_WANTSTEP:
			if (do_outside(l, r.step) < 0)
				return -1;
			break;
		case NB_FORKED:
			if (follow(l, r.value) < 0)
				return -1;
			break;
		case NB_READY:
			l->gate = false;
			l->gated = true;
			return 0;
		case NB_STARTED:
			return 0;
		case NB_FAILED:
			l->step = (int)r.step;
			l->detail = r.detail;
			return fail(l, r.value, NULL);
		case NB_ENDED:
			break;
		}
	}
}

/* when the maps of a child cannot be written because it has ended, it is the
 * child that knows why */
static int blame(struct nb_launch *l)
{
	struct nb_report r;
	ssize_t n;

	do
		n = recv(l->ctl, &r, sizeof(r), MSG_DONTWAIT);
	while (n < 0 && (errno == EINTR || errno == ECONNRESET));
	if (n == sizeof(r) && r.said == NB_FAILED) {
		l->step = (int)r.step;
		l->detail = r.detail;
		l->said[0] = '\0';
		fail(l, r.value, NULL);
	}
	return -1;
}

int nb_pidfdkill(int pidfd, pid_t pid, int sig)
{
	int rc = (int)syscall(SYS_pidfd_send_signal, pidfd, sig, NULL, 0);

	/* every kernel with pidfds has the call, but valgrind does not */
	return rc < 0 && errno == ENOSYS ? kill(pid, sig) : rc;
}

/* a failed launch leaves nothing: no process, no descriptor */
static int undo(struct nb_launch *l)
{
	if (l->pidfd >= 0) {
		nb_pidfdkill(l->pidfd, l->pid, SIGKILL);
		reap(l->pidfd);
		close(l->pidfd);
		l->pidfd = -1;
	}
	if (l->ctl >= 0) {
		close(l->ctl);
		l->ctl = -1;
	}
	forget_memory(l);
	return -1;
}

/* the child may still share the plan: it is closed by value, not changed */
static void close_child_ends(const int fds[3])
{
	for (int i = 0; i < 3; i++)
		if (fds[i] >= 0)
			nb_close(fds[i]);
}

static int open_plan(struct nb_launch *l)
{
	struct nb_plan *plan = l->plan;
	int pair[2];

	if (nb_fault("pipe"))
		return fail(l, nb_fault("pipe"), "pipe");
	if ((l->two_way
		 ? socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair)
		 : pipe2(pair, O_CLOEXEC)) < 0)
		return fail(l, errno, "pipe");
	l->ctl = nb_above_stdio(pair[0]);
	plan->ctl = nb_above_stdio(pair[1]);
	plan->parent_ctl = l->ctl;
	if (l->ctl < 0 || plan->ctl < 0)
		return fail(l, EMFILE, "pipe");
	if (l->init && nb_fault("image"))
		return fail(l, nb_fault("image"), "init");
	if (l->init && init_files(plan) < 0)
		return fail(l, errno, "init");
	return 0;
}

static int begin(struct nb_launch *l, char *stack)
{
	struct nb_plan *plan = l->plan;
	int pidfd = -1, fds[3];

	if (open_plan(l) < 0)
		l->pid = -1;
	else if (nb_fault("clone"))
		l->pid = fail(l, nb_fault("clone"), "clone");
	else if ((l->pid = l->function
			       ? start_function(plan, &pidfd)
			       : start_program(plan, stack, &pidfd)) < 0)
		fail(l, errno, "clone");
	if (l->function && l->pid == 0)
		return 1;
	fds[0] = plan->ctl;
	fds[1] = plan->init_fd;
	fds[2] = plan->memory_fd;
	if (l->filtered && l->init && !l->supervise) {
		l->memory = fds[2];
		fds[2] = -1;
	}
	close_child_ends(fds);
	if (l->pid < 0)
		return -1;
	l->pidfd = nb_above_stdio(pidfd);
	if (l->pidfd < 0) {
		fail(l, errno, "pidfd");
		kill(l->pid, SIGKILL);
		waitpid(l->pid, NULL, __WALL);
		return -1;
	}
	return 0;
}

int nb_launch(struct nb_launch *l)
{
	char stack[STACK_SIZE] __attribute__((aligned(16)));
	bool ours;
	int r;

	l->pidfd = l->ctl = l->memory = l->step = -1;
	l->plan->ctl = l->plan->init_fd = l->plan->memory_fd = -1;
	r = begin(l, stack);
	if (r > 0)
		return r;
	ours = !l->late_maps && (l->uid_map || l->gid_map);
	/* a function waits until we hold its pidfd: where SIGCHLD is ignored,
	 * a child that ends before leaves nothing to open */
	if (r == 0 && ours && give_ids(l) < 0)
		r = blame(l);
	if (r == 0 && (ours || l->function) && let_go(l) < 0)
		r = blame(l);
	if (r < 0 || listen_to(l) < 0)
		return undo(l);
	return 0;
}

int nb_launch_go(struct nb_launch *l)
{
	struct pollfd pfd = {.fd = l->ctl};

	l->gated = false;
	/* killed at its gate: only it held the other end */
	if (poll(&pfd, 1, 0) > 0)
		fail(l, ESRCH, "gate");
	else if (let_go(l) == 0 && listen_to(l) == 0)
		return 0;
	return undo(l);
}

void nb_launch_abandon(struct nb_launch *l)
{
	siginfo_t si;

	/* a copy of the handle, in a forked child, has no right to */
	if (l->pidfd >= 0 && waitid(P_PIDFD, (id_t)l->pidfd, &si,
				    WEXITED | WNOHANG | WNOWAIT | __WALL) == 0)
		undo(l);
}
