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
#include <linux/fcntl.h>
#include <linux/close_range.h>
#include <linux/mman.h>
#include <linux/poll.h>
#include <linux/prctl.h>
#include <linux/signalfd.h>
#include <linux/wait.h>
#include <stddef.h>

#include "ask.h"
#include "plan.h"
#include "sys.h"

#define SI_KERNEL_CODE 0x80 /* the terminal: the program got it as well */

long nb_supervise(struct nb_plan *plan, uint32_t step);
long nb_idle(struct nb_plan *plan);
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

/* watches over the program until it ends or nobody is left to report to */
static void watch(int ctl, long program)
{
	uint64_t all = ~UINT64_C(0);
	struct pollfd fds[2] = {{.events = POLLIN}, {.events = POLLIN}};
	char byte;

	fds[0].fd = (int)nb_sys5(__NR_signalfd4, -1, &all, 8,
				 O_CLOEXEC | O_NONBLOCK, 0);
	fds[1].fd = ctl;
	say(ctl, NB_STARTED, 0);
	/* it may have ended before the signalfd was there */
	reap(ctl, program);
	for (;;) {
		if (nb_sys5(__NR_ppoll, fds, 2, NULL, NULL, 8) < 0)
			continue;
		if (fds[0].revents)
			forward(fds[0].fd, ctl, program);
		if (!fds[1].revents)
			continue;
		if (program < 0 ? nb_serve(ctl) < 0
				: nb_sys(__NR_read, ctl, &byte, 1) <= 0) {
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
 * its directory to be unmounted */
static void settle(struct nb_plan *plan, long program)
{
	nb_sys(__NR_dup3, plan->ctl, 0, O_CLOEXEC);
	nb_sys(__NR_close_range, 1, ~0U, 0);
	nb_sys(__NR_chdir, "/", 0, 0);
	watch(0, program);
}

/*
 * The program becomes our child and runs the rest of the plan; it reports to
 * us, on a pipe that its exec closes, and we to the parent.
 */
long nb_supervise(struct nb_plan *plan, uint32_t step)
{
	struct nb_report r;
	int pipe[2];
	long pid, n = nb_sys(__NR_pipe2, pipe, O_CLOEXEC, 0);

	(void)step;
	if (n < 0)
		return n;
	nb_sys(__NR_prctl, PR_SET_CHILD_SUBREAPER, 1, 0);
	pid = nb_sys5(__NR_clone, SIGCHLD, 0, 0, 0, 0);
	if (pid < 0)
		return pid;
	if (pid == 0) {
		nb_sys(__NR_close, pipe[0], 0, 0);
		nb_sys(__NR_close, plan->ctl, 0, 0);
		plan->ctl = pipe[1];
		return 0;
	}
	nb_sys(__NR_close, pipe[1], 0, 0);
	n = nb_sys(__NR_read, pipe[0], &r, sizeof(r));
	if (n == sizeof(r)) {
		nb_sys(__NR_write, plan->ctl, &r, sizeof(r));
		nb_quit(1);
	}
	settle(plan, pid);
	return 0;
}

/* no program: we hold the namespaces, reap, and serve */
long nb_idle(struct nb_plan *plan)
{
	nb_sys(__NR_prctl, PR_SET_CHILD_SUBREAPER, 1, 0);
	nb_sys(__NR_setsid, 0, 0, 0);
	settle(plan, -1);
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
	/* all of it is read and written: a page fault each would cost more */
	plan = (struct nb_plan *)nb_sys6(__NR_mmap, 0, size,
					 PROT_READ | PROT_WRITE,
					 MAP_PRIVATE | MAP_POPULATE, fd, 0);
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
