--- The built-in seccomp filter, as data: which system calls a program in a box may make.
--
-- Docker's default profile in spirit: a list of what is allowed, and for the rest an error,
-- not a signal. What the list does not know, because it came later, fails with ENOSYS, as on
-- a kernel that does not have it, and libc does without it. What is known and refused fails
-- with EPERM. Where a capability is what makes a call dangerous, a box that keeps the
-- capability may make the call.
--
-- Where it differs from Docker's: io_uring, AF_ALG, and TIOCSTI and TIOCLINUX are refused;
-- unshare is not, as long as it makes no namespace; pivot_root is for those who may mount;
-- a few old calls of 32-bit programs are allowed. ptrace and process_vm_readv are allowed
-- in both: since Linux 4.8 a tracer cannot get around a filter by them, and they reach only
-- what is in the box.
--
-- The build makes the filter from this file, see `nsbox.filter`.
--
-- seccomp(2), syscalls(2), capabilities(7)
--
-- @internal nsbox.policy

-- CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET
local NAMESPACES <const> = 0x7e020000
local NEWTIME <const> = 0x80 -- unshare only: of clone it is part of a signal's number

local TIOCSTI <const>, TIOCLINUX <const> = 0x5412, 0x541c
local AF_ALG <const>, AF_VSOCK <const> = 38, 40
local SYS_SOCKET <const> = 1

local M = {}

--- native architecture → all that its kernel runs, itself first. x32 is not among them: its
-- numbers are above all of x86_64's, and so its calls do not exist.
M.arches = {
  x86_64 = { "x86_64", "x86" },
  aarch64 = { "aarch64", "arm" },
}

--- The capabilities that `unless` names, and their numbers.
M.caps = {
  dac_read_search = 2, sys_module = 16, sys_rawio = 17, sys_chroot = 18, sys_ptrace = 19,
  sys_pacct = 20, sys_admin = 21, sys_boot = 22, sys_nice = 23, sys_time = 25,
  sys_tty_config = 26, syslog = 34, perfmon = 38, bpf = 39,
}

--- Allowed, with any arguments.
M.allow = [[
accept accept4 access adjtimex alarm arch_prctl arm_fadvise64_64 arm_sync_file_range bind
breakpoint brk cachestat cacheflush capget capset chdir chmod chown chown32 clock_adjtime
clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64
clock_nanosleep clock_nanosleep_time64 close close_range connect copy_file_range creat dup
dup2 dup3 epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2
epoll_wait epoll_wait_old eventfd eventfd2 execve execveat exit exit_group faccessat
faccessat2 fadvise64 fadvise64_64 fallocate fanotify_mark fchdir fchmod fchmodat fchmodat2
fchown fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr flistxattr flock fork
fremovexattr fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate
ftruncate64 futex futex_requeue futex_time64 futex_wait futex_waitv futex_wake futimesat
getcpu getcwd getdents getdents64 getegid getegid32 geteuid geteuid32 getgid getgid32
getgroups getgroups32 getitimer getpeername getpgid getpgrp getpid getppid getpriority
getrandom getresgid getresgid32 getresuid getresuid32 getrlimit get_robust_list getrusage
getsid getsockname getsockopt get_thread_area get_tls gettid gettimeofday getuid getuid32
getxattr getxattrat inotify_add_watch inotify_init inotify_init1 inotify_rm_watch io_cancel
io_destroy io_getevents io_pgetevents io_pgetevents_time64 ioprio_get ioprio_set io_setup
io_submit ipc kill landlock_add_rule landlock_create_ruleset landlock_restrict_self lchown
lchown32 lgetxattr link linkat listen listxattr listxattrat llistxattr _llseek lremovexattr
lseek lsetxattr lstat lstat64 madvise map_shadow_stack membarrier memfd_create memfd_secret
mincore mkdir mkdirat mknod mknodat mlock mlock2 mlockall mmap mmap2 modify_ldt mprotect
mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend
mq_timedsend_time64 mq_unlink mremap mseal msgctl msgget msgrcv msgsnd msync munlock
munlockall munmap name_to_handle_at nanosleep newfstatat _newselect nice oldfstat oldlstat
oldolduname oldstat olduname open openat openat2 pause pidfd_open pidfd_send_signal pipe
pipe2 pkey_alloc pkey_free pkey_mprotect poll ppoll ppoll_time64 prctl pread64 preadv
preadv2 prlimit64 process_mrelease process_vm_readv process_vm_writev pselect6
pselect6_time64 ptrace pwrite64 pwritev pwritev2 read readahead readdir readlink readlinkat
readv recv recvfrom recvmmsg recvmmsg_time64 recvmsg remap_file_pages removexattr
removexattrat rename renameat renameat2 restart_syscall rmdir rseq rt_sigaction
rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait
rt_sigtimedwait_time64 rt_tgsigqueueinfo sched_getaffinity sched_getattr sched_getparam
sched_get_priority_max sched_get_priority_min sched_getscheduler sched_rr_get_interval
sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam
sched_setscheduler sched_yield seccomp select semctl semget semop semtimedop
semtimedop_time64 send sendfile sendfile64 sendmmsg sendmsg sendto setfsgid setfsgid32
setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 setitimer setpgid setpriority
setregid setregid32 setresgid setresgid32 setresuid setresuid32 setreuid setreuid32
setrlimit set_robust_list setsid setsockopt set_thread_area set_tid_address set_tls setuid
setuid32 setxattr setxattrat sgetmask shmat shmctl shmdt shmget shutdown sigaction
sigaltstack signal signalfd signalfd4 sigpending sigprocmask sigreturn sigsuspend socketpair
splice ssetmask stat stat64 statfs statfs64 statx symlink symlinkat sync sync_file_range
sync_file_range2 syncfs sysinfo tee tgkill time timer_create timer_delete timer_getoverrun
timer_gettime timer_gettime64 timer_settime timer_settime64 timerfd_create timerfd_gettime
timerfd_gettime64 timerfd_settime timerfd_settime64 times tkill truncate truncate64
ugetrlimit umask uname unlink unlinkat utime utimensat utimensat_time64 utimes vfork
vmsplice wait4 waitid waitpid write writev
]]

-- Refused, in lists of calls; `err` what they fail with.
--
-- `unless` a capability with which they are allowed. `arg` is the number of an argument, of
-- which the low 32 bits are looked at, as the kernel does: with `any` the call is refused
-- where one of these bits is set, with `is` where it is one of these, with `but` where it is
-- none of them.
M.refuse = {
  -- keys, and what runs or maps more of the kernel than it should; Docker as well
  { "add_key keyctl request_key", err = "EPERM" },
  { "io_uring_enter io_uring_register io_uring_setup userfaultfd", err = "EPERM" },
  { "kexec_file_load kexec_load swapoff swapon", err = "EPERM" },
  { "create_module get_kernel_syms nfsservctl query_module _sysctl sysfs uselib ustat vm86 vm86old",
    err = "EPERM" },

  -- a shell's input, from the program that it runs (CVE-2017-5226, CVE-2019-10063)
  { "ioctl", err = "EPERM", arg = 1, is = { TIOCSTI, TIOCLINUX } },

  -- a new user namespace makes its owner root over much of the kernel (CVE-2022-0492 …).
  -- clone3 keeps its flags where no filter can see them: libc falls back to clone
  { "clone", err = "EPERM", arg = 0, any = NAMESPACES, unless = "sys_admin" },
  { "unshare", err = "EPERM", arg = 0, any = NAMESPACES | NEWTIME, unless = "sys_admin" },
  { "clone3", err = "ENOSYS", unless = "sys_admin" },
  { "setns", err = "EPERM", unless = "sys_admin" },

  -- neither is of a namespace: the hypervisor's socket, and the kernel's ciphers. The old
  -- way of 32-bit programs to a socket says the family where no filter can see it
  { "socket", err = "EPERM", arg = 0, is = { AF_ALG, AF_VSOCK } },
  { "socketcall", err = "EPERM", arg = 0, is = { SYS_SOCKET } },

  -- PER_LINUX, PER_LINUX32, UNAME26 with each, and the question
  { "personality", err = "EPERM", arg = 0, but = { 0, 8, 0x20000, 0x20008, 0xffffffff } },

  { "fsconfig fsmount fsopen fspick mount mount_setattr move_mount open_tree pivot_root umount "
    .. "umount2", err = "EPERM", unless = "sys_admin" },
  { "fanotify_init lookup_dcookie quotactl quotactl_fd setdomainname sethostname", err = "EPERM",
    unless = "sys_admin" },
  { "open_by_handle_at", err = "EPERM", unless = "dac_read_search" },
  { "bpf", err = "EPERM", unless = "bpf" },
  { "perf_event_open", err = "EPERM", unless = "perfmon" },
  { "syslog", err = "EPERM", unless = "syslog" },
  { "chroot", err = "EPERM", unless = "sys_chroot" },
  { "kcmp pidfd_getfd process_madvise", err = "EPERM", unless = "sys_ptrace" },
  { "delete_module finit_module init_module", err = "EPERM", unless = "sys_module" },
  { "acct", err = "EPERM", unless = "sys_pacct" },
  { "reboot", err = "EPERM", unless = "sys_boot" },
  { "ioperm iopl", err = "EPERM", unless = "sys_rawio" },
  { "clock_settime clock_settime64 settimeofday stime", err = "EPERM", unless = "sys_time" },
  { "vhangup", err = "EPERM", unless = "sys_tty_config" },
  { "get_mempolicy mbind migrate_pages move_pages set_mempolicy set_mempolicy_home_node",
    err = "EPERM", unless = "sys_nice" },
}

return M
