/*
 * limit.c - what the kernel itself takes for a launch
 *
 * Clones a child into new namespaces, writes the maps, sets the host name,
 * mounts /proc, execs and waits, N times in one process; with -d also what a
 * default box does, by the same system calls, one after another.
 *
 *   limit [-n N] [-m vfork|vm|fork] [-k KIND,...] [-d] [-s FILE] [-r] [-b MB]
 * PROGRAM
 *
 *   -m  vfork: the child shares our memory and writes its own map; vm: the
 *       same, but we go on; fork: it has a copy, and we write the maps
 *   -d  the defences of a default box
 *   -s  and this seccomp filter
 *   -r  root's range of ids instead of our own, and become root in there
 *   -b  with so many MB resident
 *
 * Prints the median and the mean in microseconds.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define STACK_SIZE (64 * 1024)
#define RDONLY 0x1
#define LOCKED_DOWN 0xf /* read-only, no setuid, devices, programs */
#define FIRST_ID "1879048192"

/* chown dac_override fowner fsetid kill setgid setuid setpcap
 * net_bind_service sys_chroot audit_write setfcap */
#define KEPT_CAPS 0xa00405fbU

static const struct {
	const char *word;
	int flag;
} kinds[] = {
    {"user", CLONE_NEWUSER}, {"pid", CLONE_NEWPID}, {"mnt", CLONE_NEWNS},
    {"uts", CLONE_NEWUTS},   {"ipc", CLONE_NEWIPC}, {"net", CLONE_NEWNET},
    {"cgroup", 0x02000000},
};

static const char *const masked_files[] = {
    "/proc/kcore",	   "/proc/keys",
    "/proc/latency_stats", "/proc/timer_list",
    "/proc/timer_stats",   "/proc/sched_debug",
    "/proc/interrupts",	   NULL};
static const char *const masked_directories[] = {
    "/proc/acpi",
    "/proc/asound",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
    NULL};
static const char *const readonly_paths[] = {"/proc/bus",	    "/proc/fs",
					     "/proc/irq",	    "/proc/sys",
					     "/proc/sysrq-trigger", NULL};

static enum { VFORK, VM, FORK } how;
static int flags;
static bool box, range;
static struct sock_fprog filter;
static char **program, *stack, map[64];
static int gate[2];
/* a child that shares our memory says here what went wrong */
static struct {
	const char *step;
	int err;
} failure;

static int give_up(const char *step)
{
	failure.step = step;
	failure.err = errno;
	_exit(126);
}

static bool put(const char *path, const char *text)
{
	ssize_t size = (ssize_t)strlen(text), n;
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return false;
	n = write(fd, text, (size_t)size);
	close(fd);
	return n == size;
}

static int setattr(const char *path, uint64_t set)
{
	struct {
		uint64_t set, clr, propagation, userns_fd;
	} attr = {set, 0, 0, 0};

	return (int)syscall(SYS_mount_setattr, AT_FDCWD, path, 0x8000, &attr,
			    sizeof(attr));
}

/* what is not there needs no mask */
static void over(const char *source, const char *target, const char *type,
		 unsigned long f, const char *data)
{
	if (mount(source, target, type, f, data) < 0 && errno != ENOENT &&
	    errno != ENOTDIR)
		give_up(target);
}

static void hide(void)
{
	for (int i = 0; masked_files[i]; i++)
		over("/dev/null", masked_files[i], NULL, MS_BIND, NULL);
	for (int i = 0; masked_directories[i]; i++)
		over("tmpfs", masked_directories[i], "tmpfs",
		     MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC,
		     "size=0,nr_inodes=2");
	for (int i = 0; readonly_paths[i]; i++) {
		const char *path = readonly_paths[i];

		over(path, path, NULL, MS_BIND | MS_REC, NULL);
		if (setattr(path, LOCKED_DOWN) < 0 && errno != ENOENT)
			give_up(path);
	}
}

static void network(void)
{
	struct ifreq ifr = {.ifr_name = "lo", .ifr_flags = IFF_UP};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &ifr) < 0)
		give_up("lo");
	close(fd);
	put("/proc/sys/net/ipv4/ping_group_range", range ? "0 65535" : "0 0");
}

static void drop(void)
{
	struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct d[2] = {{KEPT_CAPS, KEPT_CAPS, 0},
					      {0, 0, 0}};

	for (int cap = 0; cap < 64; cap++)
		if (cap >= 32 || !(KEPT_CAPS >> cap & 1))
			if (prctl(PR_CAPBSET_DROP, cap) < 0)
				break;
	if (range) {
		if (syscall(SYS_setgroups, 0, NULL) < 0)
			give_up("setgroups");
		prctl(PR_SET_KEEPCAPS, 1);
		if (syscall(SYS_setresgid, 0, 0, 0) < 0 ||
		    syscall(SYS_setresuid, 0, 0, 0) < 0)
			give_up("setresuid");
		prctl(PR_SET_KEEPCAPS, 0);
	}
	if (syscall(SYS_capset, &h, d) < 0)
		give_up("capset");
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	setsid();
	if (filter.len &&
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) < 0)
		give_up("seccomp");
}

static int child(void *unused)
{
	char *env[] = {"PATH=/bin", NULL}, byte;

	(void)unused;
	if (how != VFORK && read(gate[0], &byte, 1) != 1)
		give_up("gate");
	if (flags & CLONE_NEWUSER && how == VFORK)
		if (!put("/proc/self/uid_map", map) ||
		    !put("/proc/self/setgroups", "deny") ||
		    !put("/proc/self/gid_map", map))
			give_up("map");
	if (flags & CLONE_NEWUTS && sethostname("c1", 2) < 0)
		give_up("sethostname");
	if (flags & CLONE_NEWNS) {
		if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
			give_up("private");
		if (box && flags & CLONE_NEWNET)
			network();
		if (box && setattr("/", RDONLY) < 0)
			give_up("read-only");
		if (flags & CLONE_NEWPID &&
		    mount("proc", "/proc", "proc",
			  MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
			give_up("proc");
		if (box)
			hide();
	}
	if (box)
		drop();
	execve(program[0], program, env);
	return give_up("exec");
}

static void complain(const char *what)
{
	perror(what);
	exit(1);
}

static void write_maps(pid_t pid)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d/uid_map", (int)pid);
	if (flags & CLONE_NEWUSER && !put(path, map))
		complain(path);
	snprintf(path, sizeof(path), "/proc/%d/setgroups", (int)pid);
	if (flags & CLONE_NEWUSER && !range && !put(path, "deny"))
		complain(path);
	snprintf(path, sizeof(path), "/proc/%d/gid_map", (int)pid);
	if (flags & CLONE_NEWUSER && !put(path, map))
		complain(path);
	if (write(gate[1], "", 1) != 1)
		complain("gate");
}

static pid_t start(void)
{
	int shared = CLONE_VM | (how == VFORK ? CLONE_VFORK : 0);
	pid_t pid;

	if (how != FORK)
		return clone(child, stack + STACK_SIZE,
			     flags | shared | SIGCHLD, NULL);
	pid =
	    (pid_t)syscall(SYS_clone, flags | SIGCHLD, NULL, NULL, NULL, NULL);
	if (pid == 0)
		child(NULL);
	return pid;
}

static void launch(void)
{
	int status;
	pid_t pid;

	if (how != VFORK && pipe2(gate, O_CLOEXEC) < 0)
		complain("pipe");
	pid = start();
	if (pid < 0)
		complain("clone");
	if (how != VFORK) {
		write_maps(pid);
		close(gate[0]);
		close(gate[1]);
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (status != 0) {
		fprintf(stderr, "limit: status %#x: %s: %s\n", (unsigned)status,
			failure.step ? failure.step : "see the program",
			strerror(failure.err));
		exit(1);
	}
	/* a memory that a child shared when it changed its ids is not dumpable,
	 * and our files in /proc not ours */
	if (how == VM && range)
		prctl(PR_SET_DUMPABLE, 1);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void *pages(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		complain("mmap");
	madvise(p, size, MADV_NOHUGEPAGE);
	return p;
}

static int kinds_of(char *list)
{
	int f = 0;

	for (char *word = strtok(list, ","); word; word = strtok(NULL, ","))
		for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
			if (strcmp(word, kinds[i].word) == 0)
				f |= kinds[i].flag;
	return f;
}

static void take_filter(const char *path)
{
	static struct sock_filter insns[BPF_MAXINSNS];
	FILE *f = fopen(path, "rb");

	if (!f)
		complain(path);
	filter.len =
	    (unsigned short)fread(insns, sizeof(*insns), BPF_MAXINSNS, f);
	filter.filter = insns;
	fclose(f);
}

int main(int argc, char **argv)
{
	int opt, n = 300;
	double *took, sum = 0;

	while ((opt = getopt(argc, argv, "+n:m:k:ds:rb:")) != -1) {
		if (opt == 'n')
			n = atoi(optarg);
		else if (opt == 'm' && strcmp(optarg, "fork") == 0)
			how = FORK;
		else if (opt == 'm' && strcmp(optarg, "vm") == 0)
			how = VM;
		else if (opt == 'k')
			flags = kinds_of(optarg);
		else if (opt == 'd')
			box = true;
		else if (opt == 's')
			take_filter(optarg);
		else if (opt == 'r')
			range = true;
		else if (opt == 'b')
			memset(pages((size_t)atol(optarg) << 20), 1,
			       (size_t)atol(optarg) << 20);
	}
	if (optind >= argc || n < 1 || (range && how == VFORK)) {
		fprintf(stderr, "limit: see the head of limit.c\n");
		return 2;
	}
	program = argv + optind;
	if (range)
		snprintf(map, sizeof(map), "0 %s 65536", FIRST_ID);
	else
		snprintf(map, sizeof(map), "0 %u 1", (unsigned)geteuid());
	stack = pages(STACK_SIZE);
	took = pages((size_t)n * sizeof(*took));
	for (int i = 0; i < n; i++) {
		double start = now();

		launch();
		took[i] = now() - start;
		sum += took[i];
	}
	qsort(took, (size_t)n, sizeof(*took), ascending);
	printf("%.1f %.1f\n", took[n / 2], sum / n);
	return 0;
}
