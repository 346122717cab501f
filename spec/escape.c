/*
 * escape.c - tries one way out of a box that a filter of system calls does not
 * close; attack.c has those that it does
 *
 * usage: escape NAME[:ARGUMENT]…, or escape for a list of names
 *
 * Prints "NAME:ARGUMENT ERRNO" for each, "… ok" where it is possible.  None
 * does harm where nothing hinders it: a switch is opened or gets the value
 * that it has, a signal is 0, a count is absurd.
 *
 *        escape host SOCKET
 *
 * is the victim outside: it listens at SOCKET, at an abstract address, and on
 * a port, has shared memory, prints "PID ABSTRACT PORT KEY", and waits for the
 * end of its input.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define NOWHERE "/nonexistent"
#define BAD ((long)-1)

static int fail(int error)
{
	errno = error;
	return -1;
}

/* a path of pieces */
static const char *path(const char *format, ...)
{
	static char text[4][4096];
	static int next;
	va_list ap;

	next = (next + 1) % 4;
	va_start(ap, format);
	vsnprintf(text[next], sizeof(text[next]), format, ap);
	va_end(ap);
	return text[next];
}

/* --- files --- */

static long can_open(const char *name, int flags)
{
	return open(name, flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

/* a switch gets the value that it has; what tells none is opened */
static long rewrite(const char *name)
{
	char text[4096];
	long in = open(name, O_RDONLY | O_CLOEXEC), out, n = 0;

	if (in >= 0)
		n = read((int)in, text, sizeof(text));
	out = open(name, O_WRONLY | O_CLOEXEC);
	if (out < 0 || n <= 0)
		return out;
	return write((int)out, text, (size_t)n);
}

/* whether there is anything to read */
static long reads(const char *name)
{
	char byte;
	long fd = can_open(name, O_RDONLY);
	long n = fd < 0 ? fd : read((int)fd, &byte, 1);

	return n == 0 ? fail(ENODATA) : n;
}

static long creates(const char *name)
{
	return open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600) < 0
		   ? -1
		   : unlink(name);
}

static long make_dir(const char *name)
{
	return mkdir(name, 0700) < 0 ? -1 : rmdir(name);
}

/* there and back */
static long move(const char *name)
{
	return rename(name, path("%s.moved", name)) < 0
		   ? -1
		   : rename(path("%s.moved", name), name);
}

static long link_in(const char *dir)
{
	return symlink("x", path("%s/link", dir)) < 0
		   ? -1
		   : unlink(path("%s/link", dir));
}

static long set_mode(const char *name)
{
	struct stat st;

	return stat(name, &st) < 0 ? -1 : chmod(name, st.st_mode & 07777);
}

static long touch_times(const char *name)
{
	return utimensat(AT_FDCWD, name, NULL, 0);
}

/* in /mnt, which may be written to */
static long node(mode_t type, unsigned major, unsigned minor)
{
	long r = mknod("/mnt/node", type | 0600, makedev(major, minor));

	if (r == 0)
		unlink("/mnt/node");
	return r;
}

static long by_handle(void)
{
	struct {
		struct file_handle h;
		unsigned char bytes[MAX_HANDLE_SZ];
	} handle = {.h = {.handle_bytes = MAX_HANDLE_SZ}};
	int id, dir = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (name_to_handle_at(AT_FDCWD, "/", &handle.h, &id, 0) < 0)
		return -1;
	return open_by_handle_at(dir, &handle.h, O_RDONLY);
}

/* --- descriptors and roots --- */

/* any that is not one of the three, in here or of pid 1 */
static long leaked(void)
{
	for (int fd = 3; fd < 4096; fd++)
		if (fcntl(fd, F_GETFD) >= 0)
			return fd;
	return fail(EBADF);
}

static long init_descriptors(const char *name)
{
	for (int fd = 0; fd < 1024; fd++)
		if (can_open(path("/proc/1/fd/%d/%s", fd, name), O_RDONLY) >= 0)
			return fd;
	return fail(ENOENT);
}

static long up_from_here(const char *name)
{
	for (int i = 0; i < 64; i++)
		if (chdir("..") < 0)
			return -1;
	return can_open(name + 1, O_RDONLY);
}

/* out of a chroot, and up from there */
static long chroot_out(const char *name)
{
	int old = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	mkdir("/mnt/jail", 0700);
	if (chroot("/mnt/jail") < 0 && chroot("/bin") < 0)
		return -1;
	if (fchdir(old) < 0)
		return -1;
	return up_from_here(name);
}

static long up(const char *name)
{
	return chdir("/") < 0 ? -1 : up_from_here(name);
}

/* --- processes --- */

static pid_t pid_of(const char *text)
{
	return (pid_t)atoi(text);
}

static long trace(const char *pid)
{
	long r = ptrace(PTRACE_SEIZE, pid_of(pid), 0, 0);

	if (r == 0)
		ptrace(PTRACE_DETACH, pid_of(pid), 0, 0);
	return r;
}

static long peek(const char *pid)
{
	static char byte;
	struct iovec to = {&byte, 1}, from = {&byte, 1};
	long r = process_vm_readv(pid_of(pid), &to, 1, &from, 1, 0);

	/* it may look, and there is nothing at this address */
	return r < 0 && errno == EFAULT ? 0 : r;
}

static long schedule(pid_t pid, int policy, int priority)
{
	struct sched_param p = {priority};

	return sched_setscheduler(pid, policy, &p);
}

static long limit(const char *pid)
{
	struct rlimit r;

	return prlimit(pid_of(pid), RLIMIT_CORE, NULL, &r);
}

static long affinity(const char *pid)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(0, &set);
	return sched_setaffinity(pid_of(pid), sizeof(set), &set);
}

static long enter(const char *ns, int kind)
{
	long fd = can_open(ns, O_RDONLY);

	return fd < 0 ? fd : setns((int)fd, kind);
}

/* --- mounts --- */

static long mount_new(const char *type, const char *options)
{
	mkdir("/mnt/mnt", 0700);
	return mount(type, "/mnt/mnt", type, 0, options);
}

/* CVE-2022-0492: a program that the machine's root would run */
static long release_agent(void)
{
	static const char *const controllers[] = {
	    "rdma", "misc", "hugetlb", "net_cls", "pids", "memory", "freezer"};
	long r = -1;

	for (size_t i = 0; i < sizeof(controllers) / sizeof(*controllers);
	     i++) {
		r = mount_new("cgroup", controllers[i]);
		if (r == 0 || errno == EPERM)
			break;
	}
	return r < 0 ? r : can_open("/mnt/mnt/release_agent", O_WRONLY);
}

static long remount(const char *name)
{
	return mount(NULL, name, NULL, MS_REMOUNT | MS_BIND, NULL);
}

static long put_over(const char *from, const char *to)
{
	return mount(from, to, NULL, MS_BIND, NULL);
}

static long new_root(void)
{
	if (mount("tmpfs", "/mnt", "tmpfs", 0, NULL) < 0)
		return -1;
	mkdir("/mnt/old", 0700);
	return syscall(SYS_pivot_root, "/mnt", "/mnt/old");
}

/* --- sockets and memory --- */

static socklen_t address(struct sockaddr_un *a, const char *name, int abstract)
{
	size_t n = strlen(name);

	memset(a, 0, sizeof(*a));
	a->sun_family = AF_UNIX;
	if (n + 1 >= sizeof(a->sun_path))
		n = sizeof(a->sun_path) - 2;
	memcpy(a->sun_path + abstract, name, n);
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n +
			   (size_t)(abstract || n));
}

static long to_unix(const char *name, int abstract)
{
	struct sockaddr_un a;
	socklen_t n = address(&a, name, abstract);
	int s = socket(AF_UNIX, SOCK_STREAM, 0);

	return connect(s, (struct sockaddr *)&a, n);
}

static long to_port(const char *port)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
				.sin_port = htons((uint16_t)atoi(port)),
				.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int s = socket(AF_INET, SOCK_STREAM, 0);

	return connect(s, (struct sockaddr *)&a, sizeof(a));
}

static long shared_memory(const char *key)
{
	return shmget((key_t)strtoul(key, NULL, 0), 0, 0);
}

static long loopback_down(void)
{
	char request[40] = "lo"; /* a struct ifreq: no flag, so not up */
	int s = socket(AF_INET, SOCK_DGRAM, 0);

	return ioctl(s, 0x8914 /* SIOCSIFFLAGS */, request);
}

/* --- privilege --- */

static long more_capabilities(void)
{
	struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct d[2];

	if (syscall(SYS_capget, &h, d) < 0)
		return -1;
	d[0].permitted |= 1u << CAP_SYS_ADMIN | 1u << CAP_NET_ADMIN;
	d[0].effective = d[0].permitted;
	return syscall(SYS_capset, &h, d);
}

static long more_inheritable(void)
{
	struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct d[2];

	if (syscall(SYS_capget, &h, d) < 0)
		return -1;
	d[0].inheritable |= 1u << CAP_SYS_ADMIN;
	return syscall(SYS_capset, &h, d);
}

/* its own program, once more, from a file that would give it something */
static long becomes(const char *name, const char *what)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		execl(name, "escape", what, (char *)NULL);
		_exit(errno);
	}
	waitpid(pid, &status, 0);
	return WIFEXITED(status) && WEXITSTATUS(status) == 0
		   ? 0
		   : fail(WEXITSTATUS(status));
}

/* the answers of the program that becomes() starts are statuses */
static int asked(const char *what)
{
	struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct d[2] = {{0}};

	if (strcmp(what, "am-root") == 0)
		return geteuid() == 0 ? 0 : EPERM;
	syscall(SYS_capget, &h, d);
	return d[0].effective & 1u << CAP_CHOWN ? 0 : EPERM;
}

static long write_map(void)
{
	long fd = open("/proc/self/uid_map", O_WRONLY | O_CLOEXEC);

	return fd < 0 ? fd : write((int)fd, "0 0 4294967295\n", 15);
}

static long push_input(const char *name)
{
	long fd = open(name, O_RDWR | O_CLOEXEC | O_NOCTTY);

	return fd < 0 ? fd : ioctl((int)fd, TIOCSTI, "\n");
}

/* a plain name, one that takes an argument */
#define ROWS(X)                                                                \
	X(rewrite, rewrite(arg))                                               \
	X(open_write, can_open(arg, O_WRONLY))                                 \
	X(open_read, can_open(arg, O_RDONLY))                                  \
	X(reads, reads(arg))                                                   \
	X(append, can_open(arg, O_WRONLY | O_APPEND))                          \
	X(create_in, creates(path("%s/new", arg)))                             \
	X(mkdir_in, make_dir(path("%s/dir", arg)))                             \
	X(link_in, link_in(arg))                                               \
	X(unlink, unlink(arg))                                                 \
	X(rename, move(arg))                                                   \
	X(truncate, truncate(arg, 0))                                          \
	X(chmod, set_mode(arg))                                                \
	X(chown, chown(arg, geteuid(), (gid_t)-1))                             \
	X(utimes, touch_times(arg))                                            \
	X(setxattr, syscall(SYS_setxattr, arg, "user.nsbox", "x", 1L, 0L))     \
	X(mknod_memory, node(S_IFCHR, 1, 1))                                   \
	X(mknod_kmsg, node(S_IFCHR, 1, 11))                                    \
	X(mknod_disk, node(S_IFBLK, 254, 0))                                   \
	X(by_handle, by_handle())                                              \
	X(leaked, leaked())                                                    \
	X(init_root, can_open(path("/proc/1/root%s", arg), O_RDONLY))          \
	X(init_cwd,                                                            \
	  can_open(path("/proc/1/cwd/%s%s", "../../../../../../../..", arg),   \
		   O_RDONLY))                                                  \
	X(init_write, can_open(path("/proc/1/root%s", arg), O_WRONLY))         \
	X(init_descriptors, init_descriptors(arg))                             \
	X(init_program, can_open("/proc/1/exe", O_RDWR))                       \
	X(own_program, can_open("/proc/self/exe", O_RDWR))                     \
	X(chroot_out, chroot_out(arg))                                         \
	X(up, up(arg))                                                         \
	X(kill, kill(pid_of(arg), 0))                                          \
	X(trace, trace(arg))                                                   \
	X(peek, peek(arg))                                                     \
	X(pidfd, syscall(SYS_pidfd_open, pid_of(arg), 0))                      \
	X(schedule, schedule(pid_of(arg), SCHED_OTHER, 0))                     \
	X(priority, setpriority(PRIO_PROCESS, (id_t)pid_of(arg), 19))          \
	X(limits, limit(arg))                                                  \
	X(affinity, affinity(arg))                                             \
	X(environment, reads(path("/proc/%s/environ", arg)))                   \
	X(command, reads(path("/proc/%s/cmdline", arg)))                       \
	X(its_root, can_open(path("/proc/%s/root/", arg), O_RDONLY))           \
	X(its_memory, can_open(path("/proc/%s/mem", arg), O_RDWR))             \
	X(realtime, schedule(0, SCHED_FIFO, 1))                                \
	X(faster, setpriority(PRIO_PROCESS, 0, -20))                           \
	X(enter_user, enter(path("/proc/%s/ns/user", arg), CLONE_NEWUSER))     \
	X(enter_net, enter(path("/proc/%s/ns/net", arg), CLONE_NEWNET))        \
	X(enter_pid, enter(path("/proc/%s/ns/pid", arg), CLONE_NEWPID))        \
	X(enter_mnt, enter(path("/proc/%s/ns/mnt", arg), CLONE_NEWNS))         \
	X(enter_uts, enter(path("/proc/%s/ns/uts", arg), CLONE_NEWUTS))        \
	X(mount_proc, mount_new("proc", NULL))                                 \
	X(mount_sysfs, mount_new("sysfs", NULL))                               \
	X(mount_tmpfs, mount_new("tmpfs", NULL))                               \
	X(mount_devtmpfs, mount_new("devtmpfs", NULL))                         \
	X(mount_debugfs, mount_new("debugfs", NULL))                           \
	X(mount_cgroup2, mount_new("cgroup2", NULL))                           \
	X(release_agent, release_agent())                                      \
	X(remount, remount(arg))                                               \
	X(unmount, umount2(arg, MNT_DETACH))                                   \
	X(bind_over, put_over("/mnt", arg))                                    \
	X(share, mount(NULL, arg, NULL, MS_SHARED | MS_REC, NULL))             \
	X(new_root, new_root())                                                \
	X(abstract, to_unix(arg, 1))                                           \
	X(socket, to_unix(arg, 0))                                             \
	X(port, to_port(arg))                                                  \
	X(shared_memory, shared_memory(arg))                                   \
	X(raw, socket(AF_INET, SOCK_RAW, 1))                                   \
	X(raw6, socket(AF_INET6, SOCK_RAW, 58))                                \
	X(packet, socket(AF_PACKET, SOCK_RAW, 0))                              \
	X(packet_cooked, socket(AF_PACKET, SOCK_DGRAM, 0))                     \
	X(loopback_down, loopback_down())                                      \
	X(set_hostname, syscall(SYS_sethostname, "box", BAD))                  \
	X(set_domainname, syscall(SYS_setdomainname, "box", BAD))              \
	X(load_module, syscall(SYS_init_module, NULL, 0L, ""))                 \
	X(load_module_file, syscall(SYS_finit_module, BAD, "", 0L))            \
	X(unload_module, syscall(SYS_delete_module, NULL, 0L))                 \
	X(kexec, syscall(SYS_kexec_load, 0L, 1000L, NULL, 0L))                 \
	X(reboot, syscall(SYS_reboot, 0L, 0L, 0L, NULL))                       \
	X(swapon, syscall(SYS_swapon, NOWHERE, 0L))                            \
	X(acct, syscall(SYS_acct, NOWHERE))                                    \
	X(console_level, syscall(SYS_syslog, 8L, NULL, 99L))                   \
	X(more_capabilities, more_capabilities())                              \
	X(more_inheritable, more_inheritable())                                \
	X(becomes_root, becomes(arg, "am-root"))                               \
	X(becomes_capable, becomes(arg, "am-capable"))                         \
	X(set_groups, syscall(SYS_setgroups, 0L, NULL))                        \
	X(write_map, write_map())                                              \
	X(terminal, can_open("/dev/tty", O_RDWR))                              \
	X(push_input, push_input(arg))

#define FUNCTION(name, call)                                                   \
	static long escape_##name(const char *arg)                             \
	{                                                                      \
		(void)arg;                                                     \
		return call;                                                   \
	}
ROWS(FUNCTION)

#define ENTRY(name, call) {#name, escape_##name},
static const struct {
	const char *name;
	long (*run)(const char *arg);
} escapes[] = {ROWS(ENTRY)};

#define COUNT (sizeof(escapes) / sizeof(escapes[0]))

/* each in a child of its own: what succeeds changes it */
static void escape(const char *row)
{
	size_t n = strcspn(row, ":"), i = 0;
	int status = 0;
	pid_t pid;

	while (i < COUNT &&
	       (strncmp(row, escapes[i].name, n) != 0 || escapes[i].name[n]))
		i++;
	if (i == COUNT) {
		printf("%s unknown\n", row);
		return;
	}
	pid = fork();
	if (pid == 0) {
		long r;

		alarm(30); /* what blocks is no way out */
		r = escapes[i].run(row[n] ? row + n + 1 : "");

		printf("%s %s\n", row, r < 0 ? strerrorname_np(errno) : "ok");
		exit(0);
	}
	waitpid(pid, &status, 0);
	if (WIFSIGNALED(status))
		printf("%s signal %d\n", row, WTERMSIG(status));
}

/* --- the victim --- */

static int listener(int family, void *a, socklen_t n)
{
	int s = socket(family, SOCK_STREAM, 0);

	if (bind(s, a, n) < 0 || listen(s, 64) < 0) {
		perror("listen");
		exit(1);
	}
	return s;
}

static int host(const char *name)
{
	const char *abstract = path("nsbox-escape-%d", (int)getpid());
	struct sockaddr_in in = {.sin_family = AF_INET};
	struct sockaddr_un un;
	socklen_t n = address(&un, name, 0);
	key_t key = 0x6e730000 | ((int)getpid() & 0xffff);
	int port, shm = shmget(key, 4096, IPC_CREAT | IPC_EXCL | 0666);
	char byte;

	listener(AF_UNIX, &un, n);
	chmod(name, 0777);
	n = address(&un, abstract, 1);
	listener(AF_UNIX, &un, n);
	port = listener(AF_INET, &in, sizeof(in));
	n = sizeof(in);
	getsockname(port, (struct sockaddr *)&in, &n);
	printf("%d %s %d %d\n", (int)getpid(), abstract, ntohs(in.sin_port),
	       key);
	fflush(stdout);
	while (read(0, &byte, 1) > 0)
		;
	return shmctl(shm, IPC_RMID, NULL);
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc == 3 && strcmp(argv[1], "host") == 0)
		return host(argv[2]);
	if (argc == 2 && strncmp(argv[1], "am-", 3) == 0)
		return asked(argv[1]);
	for (size_t i = 0; i < COUNT && argc < 2; i++)
		puts(escapes[i].name);
	for (int k = 1; k < argc; k++)
		escape(argv[k]);
	return 0;
}
