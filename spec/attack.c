/*
 * attack.c - makes one system call that the filter of a box refuses
 *
 * usage: attack NAME…, or attack for a list of names
 *
 * Prints "NAME ERRNO" for each, "NAME ok" where the call succeeds.  The
 * arguments are such that the kernel, without a filter, says something else
 * than EPERM, also to a program without capabilities: else a row would prove
 * nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#define NOWHERE "/nonexistent"
#define BAD ((long)-1)

/* what a child of clone has to do: nothing */
static long do_clone(long flags)
{
	long pid = syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0);

	if (pid == 0)
		_exit(0);
	if (pid > 0)
		waitpid((pid_t)pid, NULL, 0);
	return pid;
}

/* whether it could make pid 1 do as it likes */
static long trace_init(void)
{
	long r = ptrace(PTRACE_ATTACH, 1, 0, 0);

	if (r == 0) {
		waitpid(1, NULL, __WALL);
		ptrace(PTRACE_DETACH, 1, 0, 0);
	}
	return r;
}

#ifdef __x86_64__
/* pid 1 makes this system call: it waits in another, which is made to be this
 * one and is made again then */
static long by_init(long nr, long a, long b)
{
	struct user_regs_struct before, regs;
	long r;

	if (ptrace(PTRACE_ATTACH, 1, 0, 0) < 0)
		return -1;
	waitpid(1, NULL, __WALL);
	ptrace(PTRACE_GETREGS, 1, 0, &before);
	regs = before;
	regs.rip -= 2;
	regs.orig_rax = (unsigned long)-1;
	regs.rax = (unsigned long)nr;
	regs.rdi = (unsigned long)a;
	regs.rsi = (unsigned long)b;
	regs.rdx = regs.r10 = 0;
	ptrace(PTRACE_SETREGS, 1, 0, &regs);
	ptrace(PTRACE_SINGLESTEP, 1, 0, 0);
	waitpid(1, NULL, __WALL);
	ptrace(PTRACE_GETREGS, 1, 0, &regs);
	r = (long)regs.rax;
	ptrace(PTRACE_SETREGS, 1, 0, &before);
	ptrace(PTRACE_DETACH, 1, 0, 0);
	if (r < 0 && r > -4096) {
		errno = (int)-r;
		return -1;
	}
	return r;
}

/* as a program of the i386 makes it */
static long int80(long nr, long a, long b, long c)
{
	long r;

	__asm__ volatile("int $0x80"
			 : "=a"(r)
			 : "a"(nr), "b"(a), "c"(b), "d"(c)
			 : "memory", "r8", "r9", "r10", "r11");
	if (r < 0 && r > -4096) {
		errno = (int)-r;
		return -1;
	}
	return r;
}
#endif

#define ROWS(X)                                                                \
	X(unshare_user, syscall(SYS_unshare, CLONE_NEWUSER))                   \
	X(unshare_all,                                                         \
	  syscall(SYS_unshare, CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET))    \
	X(clone_user, do_clone(CLONE_NEWUSER))                                 \
	X(clone_user_net, do_clone(CLONE_NEWUSER | CLONE_NEWNET))              \
	X(clone3, syscall(SYS_clone3, NULL, 0))                                \
	X(setns, syscall(SYS_setns, BAD, 0))                                   \
	X(tiocsti, syscall(SYS_ioctl, BAD, 0x5412L, "x"))                      \
	X(tiocsti_high, syscall(SYS_ioctl, BAD, 0xf00005412L, "x"))            \
	X(tioclinux, syscall(SYS_ioctl, BAD, 0x541cL, "x"))                    \
	X(add_key, syscall(SYS_add_key, NULL, NULL, NULL, 0, 0))               \
	X(request_key, syscall(SYS_request_key, NULL, NULL, NULL, 0))          \
	X(keyctl, syscall(SYS_keyctl, BAD))                                    \
	X(io_uring_setup, syscall(SYS_io_uring_setup, 0, NULL))                \
	X(io_uring_enter, syscall(SYS_io_uring_enter, BAD, 0, 0, 0, 0, 0))     \
	X(io_uring_register, syscall(SYS_io_uring_register, BAD, 0, 0, 0))     \
	X(userfaultfd, syscall(SYS_userfaultfd, 1))                            \
	X(bpf, syscall(SYS_bpf, BAD, NULL, 1L << 20))                          \
	X(perf_event_open, syscall(SYS_perf_event_open, NULL, 0, 0, 0, BAD))   \
	X(mount, syscall(SYS_mount, NULL, NOWHERE, NULL, 0, NULL))             \
	X(umount, syscall(SYS_umount2, NOWHERE, 0))                            \
	X(open_tree, syscall(SYS_open_tree, AT_FDCWD, "/", 0))                 \
	X(mount_setattr, syscall(SYS_mount_setattr, BAD, "", BAD, NULL, 0))    \
	X(fsconfig, syscall(SYS_fsconfig, BAD, 0, NULL, NULL, 0))              \
	X(quotactl, syscall(SYS_quotactl, BAD, NULL, 0, NULL))                 \
	X(personality, syscall(SYS_personality, 0x0040000L))                   \
	X(af_vsock, socket(AF_VSOCK, SOCK_STREAM, 77))                         \
	X(af_alg, socket(AF_ALG, SOCK_SEQPACKET, 77))                          \
	X(af_alg_high, syscall(SYS_socket, 1L << 32 | AF_ALG, SOCK_RDM, 77))   \
	X(kcmp, syscall(SYS_kcmp, getpid(), getpid(), 2, 0, 0))                \
	X(pidfd_getfd, syscall(SYS_pidfd_getfd, BAD, 0, 0))                    \
	X(process_madvise, syscall(SYS_process_madvise, BAD, NULL, 0, 0, 0))   \
	X(settimeofday, syscall(SYS_settimeofday, BAD, NULL))                  \
	X(clock_settime, syscall(SYS_clock_settime, BAD, NULL))                \
	X(set_mempolicy, syscall(SYS_set_mempolicy, 0, NULL, 0))               \
	X(move_pages, syscall(SYS_move_pages, 0, 0, NULL, NULL, NULL, 0))
#define ROWS_X86(X)                                                            \
	X(iopl, syscall(SYS_iopl, 4))                                          \
	X(ioperm, syscall(SYS_ioperm, BAD, BAD, 1))                            \
	X(i386_unshare, int80(310, CLONE_NEWUSER, 0, 0))                       \
	X(i386_keyctl, int80(288, BAD, 0, 0))                                  \
	X(i386_socketcall, int80(102, 1, 0, 0))                                \
	X(i386_tiocsti, int80(54, BAD, 0x5412, 0))                             \
	X(i386_mount, int80(21, 0, 0, 0))
/* refused by what nsbox-init may do, not by the program's filter */
#define ROWS_TRACE(X) X(trace_init, trace_init())
/* what pid 1 can be made to do: only when named, for it may be a shell */
#ifdef __x86_64__
#define ROWS_INIT(X)                                                           \
	X(init_keyctl, by_init(SYS_keyctl, BAD, 0))                            \
	X(init_unshare, by_init(SYS_unshare, CLONE_NEWNET, 0))                 \
	X(init_chroot, by_init(SYS_chroot, 0, 0))                              \
	X(init_kill, by_init(SYS_kill, 1, 0))
#else
#define ROWS_INIT(X)
#endif

#define FUNCTION(name, call)                                                   \
	static long attack_##name(void)                                        \
	{                                                                      \
		return call;                                                   \
	}
ROWS(FUNCTION)
#ifdef __x86_64__
ROWS_X86(FUNCTION)
#endif
ROWS_TRACE(FUNCTION)
ROWS_INIT(FUNCTION)

#define ENTRY(name, call) {#name, attack_##name},
static const struct {
	const char *name;
	long (*run)(void);
} attacks[] = {ROWS(ENTRY)
#ifdef __x86_64__
		   ROWS_X86(ENTRY)
#endif
		       ROWS_TRACE(ENTRY) ROWS_INIT(ENTRY)};

/* each in a child of its own: what succeeds changes it */
static void attack(size_t i)
{
	pid_t pid = fork();
	int status = 0;

	if (pid == 0) {
		long r = attacks[i].run();

		printf("%s %s\n", attacks[i].name,
		       r < 0 ? strerrorname_np(errno) : "ok");
		exit(0);
	}
	waitpid(pid, &status, 0);
	/* a kernel that runs no i386 programs answers so */
	if (WIFSIGNALED(status))
		printf("%s signal %d\n", attacks[i].name, WTERMSIG(status));
}

int main(int argc, char **argv)
{
	size_t count = sizeof(attacks) / sizeof(attacks[0]);

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (size_t i = 0; i < count && argc < 2; i++)
		if (strncmp(attacks[i].name, "init_", 5) != 0)
			puts(attacks[i].name);
	for (int k = 1; k < argc; k++)
		for (size_t i = 0; i < count; i++)
			if (strcmp(argv[k], attacks[i].name) == 0)
				attack(i);
	return 0;
}
