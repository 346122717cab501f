/*
 * meanwhile.c - run a program, and exchange two names whenever it mounts
 *
 * usage: meanwhile ONE OTHER COMMAND…
 *
 * Each move_mount(2) and mount(2) of the command, and of all that it starts,
 * waits until ONE and OTHER have changed places: what an attacker gets done
 * by chance between a look and a mount happens there every time.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int listener(void)
{
	struct sock_filter code[] = {
	    BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
		     offsetof(struct seccomp_data, nr)),
	    BPF_JUMP(BPF_JMP | BPF_JEQ, SYS_move_mount, 1, 0),
	    BPF_JUMP(BPF_JMP | BPF_JEQ, SYS_mount, 0, 1),
	    BPF_STMT(BPF_RET, SECCOMP_RET_USER_NOTIF),
	    BPF_STMT(BPF_RET, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = {sizeof(code) / sizeof(code[0]), code};
	long fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
			  SECCOMP_FILTER_FLAG_NEW_LISTENER, &prog);

	/* without it setuid helpers keep working, but that takes a privilege */
	if (fd < 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0)
		fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
			     SECCOMP_FILTER_FLAG_NEW_LISTENER, &prog);
	return (int)fd;
}

/* sends it when `fd` is one, else receives */
static int pass(int to, int fd)
{
	char byte = 0, control[CMSG_SPACE(sizeof(int))] = {0};
	struct iovec iov = {&byte, 1};
	struct msghdr m = {.msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = control,
			   .msg_controllen = sizeof(control)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	if (fd >= 0) {
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(fd));
		return (int)sendmsg(to, &m, 0);
	}
	if (recvmsg(to, &m, MSG_CMSG_CLOEXEC) <= 0 || !CMSG_FIRSTHDR(&m))
		return -1;
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(fd));
	return fd;
}

static void exchange(int fd, const char *one, const char *other)
{
	struct seccomp_notif asked;
	struct seccomp_notif_resp answer;

	memset(&asked, 0, sizeof(asked));
	if (ioctl(fd, SECCOMP_IOCTL_NOTIF_RECV, &asked) < 0)
		return;
	if (renameat2(AT_FDCWD, one, AT_FDCWD, other, RENAME_EXCHANGE) < 0)
		perror("meanwhile: renameat2");
	memset(&answer, 0, sizeof(answer));
	answer.id = asked.id;
	answer.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
	ioctl(fd, SECCOMP_IOCTL_NOTIF_SEND, &answer);
}

int main(int argc, char **argv)
{
	int ends[2], fd, status = 0;
	struct pollfd p;
	pid_t pid;

	if (argc < 4 ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) {
		fprintf(stderr, "usage: meanwhile ONE OTHER COMMAND...\n");
		return 2;
	}
	pid = fork();
	if (pid == 0) {
		fd = listener();
		if (fd < 0 || pass(ends[1], fd) < 0) {
			perror("meanwhile: seccomp");
			_exit(2);
		}
		close(fd);
		execvp(argv[3], argv + 3);
		perror(argv[3]);
		_exit(127);
	}
	close(ends[1]);
	fd = pass(ends[0], -1);
	p.fd = fd;
	p.events = POLLIN;
	/* until nobody is left who has the filter */
	while (fd >= 0 && poll(&p, 1, -1) >= 0 && !(p.revents & POLLHUP))
		if (p.revents & POLLIN)
			exchange(fd, argv[1], argv[2]);
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
