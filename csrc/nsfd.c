/*
 * nsfd.c - descriptors of namespaces, by path and by process
 *
 * Owns the words for the kinds of namespace.  Knows neither Lua nor what a
 * namespace is opened for.  See namespaces(7), pidfd_open(2), ioctl_ns(2).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "nb.h"

/* newer than the headers of most distributions; linux 6.11 */
#define PIDFD_IOCTL(n) _IO(0xFF, n)

const struct nb_word nb_kinds[] = {
    {"user", CLONE_NEWUSER},	 {"mnt", CLONE_NEWNS},	  {"pid", CLONE_NEWPID},
    {"net", CLONE_NEWNET},	 {"uts", CLONE_NEWUTS},	  {"ipc", CLONE_NEWIPC},
    {"cgroup", CLONE_NEWCGROUP}, {"time", CLONE_NEWTIME}, {NULL, 0},
};

/* what asks a pidfd for a namespace, PIDFD_GET_*_NAMESPACE */
static const struct {
	int kind;
	unsigned long request;
} pidfd_requests[] = {
    {CLONE_NEWCGROUP, PIDFD_IOCTL(1)}, {CLONE_NEWIPC, PIDFD_IOCTL(2)},
    {CLONE_NEWNS, PIDFD_IOCTL(3)},     {CLONE_NEWNET, PIDFD_IOCTL(4)},
    {CLONE_NEWPID, PIDFD_IOCTL(5)},    {CLONE_NEWTIME, PIDFD_IOCTL(7)},
    {CLONE_NEWUSER, PIDFD_IOCTL(9)},   {CLONE_NEWUTS, PIDFD_IOCTL(10)},
};

int nb_openns(const char *path)
{
	/* not a namespace, it may be a fifo or a tty */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	fd = nb_above_stdio(fd);
	return fd < 0 ? -errno : fd;
}

/* the process behind a pidfd, in this pid namespace; or -errno */
static int pidofpidfd(int pidfd)
{
	char path[40], text[1024];
	const char *line;
	ssize_t n;
	int fd, pid;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", pidfd);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = read(fd, text, sizeof(text) - 1);
	nb_close(fd);
	if (n < 0)
		return -errno;

	text[n] = '\0';
	line = strstr(text, "\nPid:");
	if (!line)
		return -EBADF;
	pid = atoi(line + 5);
	return pid > 0 ? pid : -ESRCH;
}

/* as kernels before 6.11 need it: by number, then a check that the number
 * still meant this process */
static int openbypid(int pidfd, int kind)
{
	char path[40];
	int pid = pidofpidfd(pidfd);
	int fd;

	if (pid < 0)
		return pid;
	snprintf(path, sizeof(path), "/proc/%d/ns/%s", pid,
		 nb_wordof(nb_kinds, (uint64_t)kind));
	fd = nb_openns(path);
	if (syscall(SYS_pidfd_send_signal, pidfd, 0, NULL, 0) < 0 &&
	    errno == ESRCH) {
		if (fd >= 0)
			nb_close(fd);
		return -ESRCH;
	}
	return fd;
}

int nb_opennsof(int pidfd, int kind)
{
	unsigned long request = 0;
	int fd;

	for (size_t i = 0; i < NB_COUNT(pidfd_requests); i++)
		if (pidfd_requests[i].kind == kind)
			request = pidfd_requests[i].request;
	fd = ioctl(pidfd, request, 0);
	if (fd < 0 && (errno == ENOTTY || errno == EINVAL || errno == ENOSYS))
		return openbypid(pidfd, kind);
	fd = nb_above_stdio(fd);
	return fd < 0 ? -errno : fd;
}
