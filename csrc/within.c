/*
 * within.c - a descriptor from another network namespace
 *
 * A socket stays in the namespace in which it was made, so the caller only
 * has to be there for a moment: setns, socket, setns back, in one function
 * that calls no Lua and takes no signal.  Where setns is refused, because the
 * namespace belongs to a user namespace that is the caller's but not the one
 * it is in, a child goes there and passes the socket back.
 * See setns(2), unix(7), ioctl_ns(2), network_namespaces(7).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/nsfs.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "nb.h"

/* --- a child that goes there --- */

union control {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(sizeof(int))];
};

/* what f returned, and the descriptor if it is one */
static void pass(int to, int fd)
{
	union control control;
	struct iovec iov = {&fd, sizeof(fd)};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
	struct cmsghdr *c;

	if (fd >= 0) {
		memset(&control, 0, sizeof(control));
		m.msg_control = control.bytes;
		m.msg_controllen = sizeof(control.bytes);
		c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(fd));
		memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	}
	sendmsg(to, &m, MSG_NOSIGNAL);
}

static int take(int from)
{
	union control control;
	int fd = -EIO; /* the child was killed */
	struct iovec iov = {&fd, sizeof(fd)};
	struct msghdr m = {.msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = control.bytes,
			   .msg_controllen = sizeof(control.bytes)};
	const struct cmsghdr *c;
	ssize_t n;

	do
		n = recvmsg(from, &m, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	if (n == 0 || fd < 0)
		return fd;

	c = CMSG_FIRSTHDR(&m);
	if (!c || c->cmsg_type != SCM_RIGHTS)
		return -EIO;
	memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	return fd;
}

/* it has a copy of our memory and more power in there than others should
 * lend themselves: not dumpable, before it is reachable from inside */
_Noreturn static void child(int userfd, int nsfd, int to, nb_inside f,
			    void *arg)
{
	int fd;

	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	/* EINVAL: we are in that user namespace */
	if (setns(userfd, CLONE_NEWUSER) < 0 && errno != EINVAL)
		fd = -errno;
	else if (setns(nsfd, CLONE_NEWNET) < 0)
		fd = -errno;
	else
		fd = f(arg);
	pass(to, fd);
	_exit(0);
}

static int fetch(int nsfd, nb_inside f, void *arg)
{
	int userfd = ioctl(nsfd, NS_GET_USERNS);
	sigset_t all, old;
	int ends[2], fd;
	pid_t pid;

	if (userfd < 0)
		return -errno;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0) {
		nb_close(userfd);
		return -errno;
	}

	/* without an exit signal: the host hears and reaps nothing.  No
	 * handler of the host's may run in the child */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	pid = (pid_t)syscall(SYS_clone, 0, 0, 0, 0, 0);
	if (pid == 0)
		child(userfd, nsfd, ends[1], f, arg);
	fd = -errno;
	pthread_sigmask(SIG_SETMASK, &old, NULL);

	close(ends[1]);
	close(userfd);
	if (pid > 0) {
		fd = take(ends[0]);
		while (waitpid(pid, NULL, __WALL) < 0 && errno == EINTR)
			;
	}
	close(ends[0]);
	return fd;
}

/* --- or the calling thread itself --- */

static bool same(int a, int b)
{
	struct stat sa, sb;

	return fstat(a, &sa) == 0 && fstat(b, &sb) == 0 &&
	       sa.st_dev == sb.st_dev && sa.st_ino == sb.st_ino;
}

/* there and back; -EPERM when the way there is refused */
static int visit(int home, int nsfd, nb_inside f, void *arg)
{
	sigset_t all, old;
	int fd;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	if (setns(nsfd, CLONE_NEWNET) < 0) {
		fd = -errno;
	} else {
		fd = f(arg);
		/* a host that goes on in a namespace that it does not know
		 * of would change the wrong network */
		if (setns(home, CLONE_NEWNET) < 0)
			abort();
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return fd;
}

int nb_within(int nsfd, nb_inside f, void *arg)
{
	/* the thread's own: in a host with threads they may differ */
	int home = nb_openns("/proc/thread-self/ns/net");
	int fd;

	if (home < 0)
		return nb_above_stdio(fetch(nsfd, f, arg));
	/* to go where one is takes as long as to go elsewhere */
	fd = same(home, nsfd) ? f(arg) : visit(home, nsfd, f, arg);
	nb_close(home);
	if (fd == -EPERM)
		fd = fetch(nsfd, f, arg);
	return fd < 0 ? fd : nb_above_stdio(fd);
}
