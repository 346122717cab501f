/*
 * init.c - nsbox-init: the process that stays
 *
 * A static program without libc, embedded in nsbox.so and run from a sealed
 * memfd.  It takes over from the child that shared the parent's memory when
 * something must happen that may not happen there: ids change, namespaces
 * are joined, a gate is open for as long as Lua likes, pid 1 has to reap.
 * It knows a plan and nothing of Lua.
 *
 * argv: nsbox-init PLAN-DESCRIPTOR SIZE FIRST-STEP
 *
 * pid_namespaces(7), signalfd(2), memfd_create(2)
 */
#include <asm/signal.h>
#include <errno.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/fcntl.h>
#include <linux/close_range.h>
#include <linux/filter.h>
#include <linux/mman.h>
#include <linux/poll.h>
#include <linux/prctl.h>
#include <linux/seccomp.h>
#include <linux/signalfd.h>
#include <linux/wait.h>
#include <stdbool.h>
#include <stddef.h>

#include "ask.h"
#include "plan.h"
#include "sys.h"

#define SI_KERNEL_CODE 0x80 /* the terminal: the program got it as well */

long nb_supervise(struct nb_plan *plan, uint32_t step);
long nb_idle(struct nb_plan *plan, bool serves);
void nb_init_main(long *sp);

/* gcc emits calls to these even in a freestanding program */
void *memset(void *s, int c, size_t n);
void *memcpy(void *to, const void *from, size_t n);

__attribute__((used)) void *memset(void *s, int c, size_t n)
{
	volatile char *p = s;

	while (n--)
		*p++ = (char)c;
	return s;
}

__attribute__((used)) void *memcpy(void *to, const void *from, size_t n)
{
	volatile char *p = to;
	const char *q = from;

	while (n--)
		*p++ = *q++;
	return to;
}

static void say(int fd, enum nb_said said, int32_t value)
{
	struct nb_report r = {.said = said, .value = value};

	nb_sys(__NR_write, fd, &r, sizeof(r));
}

static int exitcode(int status)
{
	return status & 0x7f ? 128 + (status & 0x7f) : status >> 8 & 0xff;
}

/* all that ended; leaves when the program did */
static void reap(int ctl, long program)
{
	int status;
	long pid;

	while ((pid = nb_sys5(__NR_wait4, -1, &status, WNOHANG, NULL, 0)) > 0)
		if (pid == program) {
			say(ctl, NB_ENDED, status);
			nb_quit(exitcode(status));
		}
}

/* without a program to ask, what would end one ends us */
static void end_idle(uint32_t signal)
{
	if (signal == SIGTERM || signal == SIGINT || signal == SIGHUP ||
	    signal == SIGQUIT)
		nb_quit(128 + (int)signal);
}

static void forward(int signals, int ctl, long program)
{
	struct signalfd_siginfo si;

	while (nb_sys(__NR_read, signals, &si, sizeof(si)) == sizeof(si)) {
		if (si.ssi_signo == SIGCHLD)
			reap(ctl, program);
		else if (program < 0)
			end_idle(si.ssi_signo);
		else if (si.ssi_code != SI_KERNEL_CODE)
			nb_sys(__NR_kill, program, si.ssi_signo, 0);
	}
}

/* --- what it keeps for itself --- */

#ifdef __x86_64__
#define ARCH AUDIT_ARCH_X86_64
#else
#define ARCH AUDIT_ARCH_AARCH64
#endif
#define WATCHES (UINT64_C(1) << CAP_KILL | UINT64_C(1) << CAP_SYS_PTRACE)
#define CALL(name, left)                                                       \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_##name, left, 0)

/* all that watch() needs; with the program's own filter it could not be sure
 * of that */
static const struct sock_filter watching[] = {
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 0, 11),
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
    CALL(read, 10),
    CALL(write, 9),
    CALL(close, 8),
    CALL(munmap, 7),
    CALL(ppoll, 6),
    CALL(wait4, 5),
    CALL(kill, 4),
    CALL(restart_syscall, 3),
    CALL(exit_group, 2),
    CALL(exit, 1),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
};

static void get_caps(struct __user_cap_data_struct d[2])
{
	if (nb_getcaps(d) < 0)
		nb_quit(1);
}

/* Whether a program may have what it takes to trace us: sys_ptrace, or no less
 * than we.  Where nobody can, nobody is kept from anything by a filter. */
static bool is_traceable(void)
{
	struct __user_cap_data_struct d[2];

	get_caps(d);
	return !(d[0].permitted >> CAP_SYS_PTRACE & 1) ||
	       d[0].inheritable >> CAP_SYS_PTRACE & 1 ||
	       nb_sys(__NR_prctl, PR_CAPBSET_READ, CAP_SYS_PTRACE, 0) != 0;
}

/*
 * A program with sys_ptrace can make us do what it likes: so that is nothing
 * which it could not do to others by tracing them.  kill reaches a program
 * that changed its ids; sys_ptrace is for the kernel, which lets nobody trace
 * us who has not as much.  A kernel without filters has none for the program,
 * either.
 */
static void seal(bool traceable)
{
	struct __user_cap_header_struct h;
	struct __user_cap_data_struct d[2];
	struct sock_fprog prog;
	uint32_t mask = (uint32_t)WATCHES;

	get_caps(d);
	d[0].permitted &= mask;
	d[0].effective = d[0].permitted & ~(UINT32_C(1) << CAP_SYS_PTRACE);
	d[1].permitted = d[1].effective = 0;
	d[0].inheritable = d[1].inheritable = 0;
	h.version = _LINUX_CAPABILITY_VERSION_3;
	h.pid = 0;
	if (nb_sys(__NR_capset, &h, d, 0) < 0)
		nb_quit(1);
	/* it takes a tenth of the time to start */
	if (!traceable)
		return;
	prog.len = sizeof(watching) / sizeof(watching[0]);
	prog.filter = (struct sock_filter *)(uintptr_t)watching;
	nb_sys5(__NR_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	nb_sys5(__NR_prctl, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog, 0, 0);
}

/* --- what it does --- */

enum { CTL, SIGNALS, PROGRAM }; /* our descriptors */

/* watches over the program until it ends or nobody is left to report to */
static void watch(struct nb_plan *plan, long program, bool serves)
{
	struct pollfd fds[2] = {{.fd = CTL, .events = POLLIN},
				{.fd = SIGNALS, .events = POLLIN}};
	char byte;

	say(CTL, NB_STARTED, 0);
	/* some pages, for as long as we stay; nobody waits for that any more */
	nb_sys(__NR_munmap, plan, plan->size, 0);
	/* it may have ended before the signalfd was there */
	reap(CTL, program);
	for (;;) {
		if (nb_sys5(__NR_ppoll, fds, 2, NULL, NULL, 8) < 0)
			continue;
		if (fds[SIGNALS].revents)
			forward(SIGNALS, CTL, program);
		if (!fds[CTL].revents)
			continue;
		if (serves ? nb_serve(CTL) < 0
			   : nb_sys(__NR_read, CTL, &byte, 1) <= 0) {
			/* its session, where it has one of its own */
			if (program > 0) {
				nb_sys(__NR_kill, -program, SIGKILL, 0);
				nb_sys(__NR_kill, program, SIGKILL, 0);
			}
			nb_quit(128 + SIGKILL);
		}
	}
}

/* nothing of the caller stays open in us: its streams must be able to end,
 * its directory to be unmounted.  What the program says is on fd, or -1. */
static void settle(int ctl, int fd)
{
	uint64_t all = ~UINT64_C(0);

	/* our end is above, see nb_above_stdio(); this may not be */
	if (fd >= 0 && fd <= PROGRAM)
		fd = (int)nb_sys(__NR_fcntl, fd, F_DUPFD_CLOEXEC, PROGRAM + 1);
	nb_sys(__NR_dup3, ctl, CTL, O_CLOEXEC);
	nb_sys(__NR_close, SIGNALS, 0, 0);
	nb_sys5(__NR_signalfd4, -1, &all, 8, O_CLOEXEC | O_NONBLOCK, 0);
	if (fd >= 0)
		nb_sys(__NR_dup3, fd, PROGRAM, O_CLOEXEC);
	nb_sys(__NR_close_range, fd >= 0 ? PROGRAM + 1 : PROGRAM, ~0U, 0);
	nb_sys(__NR_chdir, "/", 0, 0);
}

/*
 * The program becomes our child and runs the rest of the plan; it reports to
 * us, on a socket that its exec closes, and we to the parent.  Where it might
 * trace us it does not go on before we are what we stay.
 */
long nb_supervise(struct nb_plan *plan, uint32_t step)
{
	struct nb_report r;
	int pair[2], ctl = plan->ctl; /* the plan is the child's, too */
	bool traceable = is_traceable();
	long pid, n = nb_sys5(__NR_socketpair, 1 /* AF_UNIX */,
			      5 /* SOCK_SEQPACKET */ | O_CLOEXEC, 0, pair, 0);

	(void)step;
	if (n < 0)
		return n;
	nb_sys(__NR_prctl, PR_SET_CHILD_SUBREAPER, 1, 0);
	pid = nb_sys5(__NR_clone, SIGCHLD, 0, 0, 0, 0);
	if (pid < 0)
		return pid;
	if (pid == 0) {
		nb_sys(__NR_close, pair[0], 0, 0);
		nb_sys(__NR_close, plan->ctl, 0, 0);
		plan->ctl = pair[1];
		return traceable ? nb_await(plan) : 0;
	}
	settle(ctl, pair[0]);
	seal(traceable);
	if (traceable)
		nb_sys(__NR_write, PROGRAM, "", 1);
	n = nb_sys(__NR_read, PROGRAM, &r, sizeof(r));
	/* where it may not write, what it wrote to the plan is the same */
	if (n != sizeof(r))
		r = plan->failure;
	if (r.said == NB_FAILED) {
		nb_sys(__NR_write, CTL, &r, sizeof(r));
		nb_quit(1);
	}
	nb_sys(__NR_close, PROGRAM, 0, 0);
	watch(plan, pid, false);
	return 0;
}

/* no program: we hold the namespaces, reap, and serve */
long nb_idle(struct nb_plan *plan, bool serves)
{
	nb_sys(__NR_prctl, PR_SET_CHILD_SUBREAPER, 1, 0);
	nb_sys(__NR_setsid, 0, 0, 0);
	settle(plan->ctl, -1);
	if (!serves)
		seal(is_traceable());
	watch(plan, -1, serves);
	return 0;
}

static uint32_t number(const char *s)
{
	uint32_t n = 0;

	while (*s)
		n = n * 10 + (uint32_t)(*s++ - '0');
	return n;
}

__attribute__((used)) void nb_init_main(long *sp)
{
	char **argv = (char **)(sp + 1);
	struct nb_plan *plan;
	long fd, size;

	if (*sp != 4)
		nb_quit(2);
	fd = number(argv[1]);
	size = number(argv[2]);
	/* all of it is read and written: a page fault each would cost more;
	 * shared with the parent, who looks for `failure` */
	plan = (struct nb_plan *)nb_sys6(__NR_mmap, 0, size,
					 PROT_READ | PROT_WRITE,
					 MAP_SHARED | MAP_POPULATE, fd, 0);
	if ((unsigned long)plan > -4096UL)
		nb_quit(2);
	nb_sys(__NR_close, fd, 0, 0);
	nb_sys(__NR_fcntl, plan->ctl, F_SETFD, FD_CLOEXEC);
	nb_sys(__NR_prctl, PR_SET_NAME, "nsbox-init", 0);
	nb_plan_run(plan, number(argv[3]));
	nb_quit(126);
}

#if defined(__x86_64__)
__asm__(".globl _start\n_start:\n\txor %ebp, %ebp\n\tmov %rsp, %rdi\n\t"
	"and $-16, %rsp\n\tcall nb_init_main\n");
#elif defined(__aarch64__)
__asm__(".globl _start\n_start:\n\tmov x29, #0\n\tmov x0, sp\n\t"
	"bl nb_init_main\n");
#endif
