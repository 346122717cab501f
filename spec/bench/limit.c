/*
 * limit.c - what the kernel itself takes for a launch
 *
 * Clones a child into new namespaces, writes the maps, sets the host name,
 * mounts /proc, execs and waits, N times in one process; with -d also what a
 * default box does, by the same system calls, one after another.
 *
 *   limit [-n N] [-m vfork|vm|fork] [-k KIND,...] [-d] [-R DIRECTORY] [-s FILE]
 *         [-r] [-b MB] [-i] [-x FILE] PROGRAM
 *
 *   -m  vfork: the child shares our memory and writes its own map; vm: the
 *       same, but we go on; fork: it has a copy, and we write the maps
 *   -d  the defences of a default box
 *   -R  of one whose root this directory is, which has dev, proc, sys,
 *       etc/hosts and etc/hostname; with -r it is shown by an idmapped mount
 *   -s  and this seccomp filter
 *   -r  root's range of ids instead of our own, and become root in there
 *   -b  with so many MB resident
 *   -x  by way of this program, which is a sealed copy of a file and execs what
 *       its arguments say: what /proc/self/exe is before the program is one
 *   -i  waits for none of them: when all run, prints a line, waits for the end
 *       of its input, and kills them
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
#include <sys/stat.h>
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
static char **program, *stack, map[64], *root;
static int gate[2], tree, ids, sealed = -1;
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

struct attr {
	uint64_t set, clr, propagation, userns_fd;
};

static int setattr(const char *path, uint64_t set)
{
	struct attr attr = {set, 0, 0, 0};

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

/* below the working directory when that is the root to be */
static void hide(void)
{
	int skip = root ? 1 : 0;

	for (int i = 0; masked_files[i]; i++)
		over("/dev/null" + skip, masked_files[i] + skip, NULL, MS_BIND,
		     NULL);
	for (int i = 0; masked_directories[i]; i++)
		over("tmpfs", masked_directories[i] + skip, "tmpfs",
		     MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC,
		     "size=0,nr_inodes=2");
	for (int i = 0; readonly_paths[i]; i++) {
		const char *path = readonly_paths[i] + skip;

		over(path, path, NULL, MS_BIND | MS_REC, NULL);
		if (setattr(path, LOCKED_DOWN) < 0 && errno != ENOENT)
			give_up(path);
	}
}

static void must(int result, const char *step)
{
	if (result < 0)
		give_up(step);
}

static void device(const char *path)
{
	close(open(path + 1, O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
	must(mount(path, path + 1, NULL, MS_BIND, NULL), path);
	must(setattr(path + 1, 0xa), path); /* no setuid, programs */
}

/* /etc/NAME is a file of /dev, which goes on without it */
static void file(const char *name, const char *text)
{
	char to[16];
	int fd;

	fd = open("dev/file", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		give_up("dev/file");
	close(fd);
	snprintf(to, sizeof(to), "etc/%s", name);
	must(mount("dev/file", to, NULL, MS_BIND, NULL), to);
	must(setattr(to, LOCKED_DOWN), to);
	unlink("dev/file");
}

static void become_root(void)
{
	must((int)syscall(SYS_setgroups, 0, NULL), "setgroups");
	prctl(PR_SET_KEEPCAPS, 1);
	must((int)syscall(SYS_setresgid, 0, 0, 0), "setresgid");
	must((int)syscall(SYS_setresuid, 0, 0, 0), "setresuid");
	prctl(PR_SET_KEEPCAPS, 0);
}

static void change_root(void)
{
	unsigned long safe = MS_NOSUID | MS_NODEV | MS_NOEXEC;
	const char *const devices[] = {"/dev/null",    "/dev/zero",
				       "/dev/full",    "/dev/random",
				       "/dev/urandom", "/dev/tty"};

	if (tree > 0)
		must((int)syscall(SYS_move_mount, tree, "", AT_FDCWD, root, 4),
		     root);
	else
		must(mount(root, root, NULL, MS_BIND | MS_REC, NULL), root);
	must(mount(NULL, root, NULL, MS_REC | MS_PRIVATE, NULL), root);
	must(setattr(root, 0x6), root); /* no setuid, devices */
	must(chdir(root), root);
	must(mount("proc", "proc", "proc", safe, NULL), "proc");
	must(mount("sysfs", "sys", "sysfs", safe | MS_RDONLY, NULL), "sys");
	must(mount("cgroup2", "sys/fs/cgroup", "cgroup2", safe | MS_RDONLY,
		   NULL),
	     "sys/fs/cgroup");
	must(mount("tmpfs", "dev", "tmpfs", safe, "mode=755,size=64k"), "dev");
	for (size_t i = 0; i < sizeof(devices) / sizeof(*devices); i++)
		device(devices[i]);
	mkdir("dev/pts", 0755);
	mkdir("dev/shm", 0755);
	mkdir("dev/mqueue", 0755);
	must(mount("devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC,
		   "ptmxmode=0666,mode=620"),
	     "devpts");
	must(mount("shm", "dev/shm", "tmpfs", safe, "mode=1777,size=64m"),
	     "shm");
	must(mount("mqueue", "dev/mqueue", "mqueue", safe, NULL), "mqueue");
	must(symlink("/proc/self/fd", "dev/fd"), "dev/fd");
	must(symlink("/proc/self/fd/0", "dev/stdin"), "dev/stdin");
	must(symlink("/proc/self/fd/1", "dev/stdout"), "dev/stdout");
	must(symlink("/proc/self/fd/2", "dev/stderr"), "dev/stderr");
	must(symlink("pts/ptmx", "dev/ptmx"), "dev/ptmx");
	hide();
	file("hosts", "127.0.0.1\tlocalhost\n::1\tlocalhost\n");
	file("hostname", "c1\n");
	must((int)syscall(SYS_pivot_root, ".", "."), "pivot_root");
	must(umount2(".", MNT_DETACH), "umount");
	must(chdir("/"), "/");
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
	if (range && !root)
		become_root();
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
		if (root) {
			if (range) /* files that it makes have an owner */
				become_root();
			change_root();
		} else if (box && setattr("/", RDONLY) < 0) {
			give_up("read-only");
		}
		if (!root && flags & CLONE_NEWPID &&
		    mount("proc", "/proc", "proc",
			  MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
			give_up("proc");
		if (box && !root)
			hide();
	}
	if (box)
		drop();
	if (sealed >= 0)
		syscall(SYS_execveat, sealed, "", program, env, AT_EMPTY_PATH);
	else
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

static void *pages(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		complain("mmap");
	madvise(p, size, MADV_NOHUGEPAGE);
	return p;
}

/* a user namespace with the map of the range, for idmapped mounts */
static int map_of_range(void)
{
	char path[32];
	pid_t pid = (pid_t)syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, NULL,
				   NULL, NULL, NULL);
	int fd;

	if (pid == 0)
		for (;;)
			pause();
	for (const char *const *file =
		 (const char *const[]){"uid_map", "gid_map", NULL};
	     *file; file++) {
		snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, *file);
		if (!put(path, map))
			complain(path);
	}
	snprintf(path, sizeof(path), "/proc/%d/ns/user", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		complain(path);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return fd;
}

/* the root, with the ids of the range */
static int idmapped(void)
{
	struct attr attr = {0x100000, 0, MS_PRIVATE, (uint64_t)ids};
	int fd =
	    (int)syscall(SYS_open_tree, AT_FDCWD, root, 1 | O_CLOEXEC | 0x8000);

	if (fd < 0 ||
	    syscall(SYS_mount_setattr, fd, "", 0x9000, &attr, sizeof(attr)) < 0)
		complain(root);
	return fd;
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

static pid_t set_off(void)
{
	pid_t pid;

	if (how != VFORK && pipe2(gate, O_CLOEXEC) < 0)
		complain("pipe");
	if (ids > 0)
		tree = idmapped();
	pid = start();
	if (pid < 0)
		complain("clone");
	if (tree > 0)
		close(tree);
	if (how != VFORK) {
		write_maps(pid);
		close(gate[0]);
		close(gate[1]);
	}
	return pid;
}

/* with memory that is not shared, or shared by one at a time */
static void idle(int n)
{
	pid_t *pids = pages((size_t)n * sizeof(*pids));
	char byte;

	for (int i = 0; i < n; i++)
		pids[i] = set_off();
	puts("running");
	fflush(stdout);
	while (read(0, &byte, 1) > 0)
		;
	for (int i = 0; i < n; i++)
		kill(pids[i], SIGKILL);
	for (int i = 0; i < n; i++)
		waitpid(pids[i], NULL, 0);
}

static void launch(void)
{
	int status;
	pid_t pid = set_off();

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

static void seal(const char *path)
{
	static char image[1 << 16];
	FILE *f = fopen(path, "rb");
	size_t size;

	if (!f)
		complain(path);
	size = fread(image, 1, sizeof(image), f);
	fclose(f);
	sealed = memfd_create("limit", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (sealed < 0 || write(sealed, image, size) != (ssize_t)size ||
	    fcntl(sealed, F_ADD_SEALS,
		  F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
		complain("memfd_create");
}

int main(int argc, char **argv)
{
	int opt, n = 300;
	double *took, sum = 0;
	bool idles = false;

	while ((opt = getopt(argc, argv, "+n:m:k:dR:s:rb:ix:")) != -1) {
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
		else if (opt == 'R')
			box = (root = optarg) != NULL;
		else if (opt == 'i')
			idles = true;
		else if (opt == 's')
			take_filter(optarg);
		else if (opt == 'x')
			seal(optarg);
		else if (opt == 'r')
			range = true;
		else if (opt == 'b')
			memset(pages((size_t)atol(optarg) << 20), 1,
			       (size_t)atol(optarg) << 20);
	}
	if (optind >= argc || n < 1 || (range && how == VFORK) ||
	    (idles && how == VM)) {
		fprintf(stderr, "limit: see the head of limit.c\n");
		return 2;
	}
	program = argv + optind;
	if (range)
		snprintf(map, sizeof(map), "0 %s 65536", FIRST_ID);
	else
		snprintf(map, sizeof(map), "0 %u 1", (unsigned)geteuid());
	stack = pages(STACK_SIZE);
	if (root && range)
		ids = map_of_range();
	if (idles) {
		idle(n);
		return 0;
	}
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
