/*
 * identity.c - what tells a process from all others since the machine started
 *
 * pidfd_open(2), proc_pid_stat(5)
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "process.h"

#define PIDFS 0x50494446 /* PID_FS_MAGIC, newer than most headers */

/* field 22 of the stat file, counted from the end of the command's name,
 * which may contain anything; 0 or -errno */
static int starttime(pid_t pid, unsigned long long *ticks)
{
	char path[40], text[1024];
	const char *at;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	n = read(fd, text, sizeof(text) - 1);
	nb_close(fd);
	if (n <= 0)
		return -ESRCH;
	text[n] = '\0';
	at = strrchr(text, ')');
	for (int i = 0; at && i < 20; i++)
		at = strchr(at + 1, ' ');
	return at && sscanf(at, " %llu", ticks) == 1 ? 0 : -EIO;
}

int nb_identity(int pidfd, pid_t pid, char *text, size_t size)
{
	unsigned long long ticks;
	struct statfs fs;
	struct stat st;
	int err;

	if (fstatfs(pidfd, &fs) == 0 && fs.f_type == PIDFS &&
	    fstat(pidfd, &st) == 0) {
		snprintf(text, size, "pidfd:%llu",
			 (unsigned long long)st.st_ino);
		return 0;
	}
	err = starttime(pid, &ticks);
	/* the number may have meant another process by now */
	if (err == 0 && syscall(SYS_pidfd_send_signal, pidfd, 0, NULL, 0) < 0 &&
	    errno == ESRCH)
		err = -ESRCH;
	if (err == 0)
		snprintf(text, size, "start:%llu", ticks);
	return err;
}
