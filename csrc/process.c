/*
 * process.c - spawn, and the handle of a process
 *
 * The handle is a pidfd.  Nothing here waits, but for the handshake of a
 * launch: waiting is a poll on fileno(), in Lua.  No SIGCHLD handler, no
 * waitpid(-1): the host owns its other children.
 *
 * pidfd_open(2), pidfd_send_signal(2), waitid(2)
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "arena.h"
#include "launch.h"
#include "nb.h"
#include "process.h"
#include "spawn.h"

static struct nb_process *check_process(lua_State *L)
{
	struct nb_process *p = luaL_checkudata(L, 1, NB_PROCESS);

	if (p->h.fd < 0)
		luaL_error(L, "attempt to use a closed nsbox.process");
	return p;
}

struct nb_process *nb_newprocess(lua_State *L)
{
	struct nb_process *p = lua_newuserdatauv(L, sizeof(*p), 1);

	memset(p, 0, sizeof(*p));
	p->h.fd = p->l.ctl = p->l.pidfd = p->l.memory = p->l.via = -1;
	luaL_setmetatable(L, NB_PROCESS);
	return p;
}

void nb_adopt(struct nb_process *p)
{
	p->child = true;
	p->pid = p->l.pid;
	p->h.fd = p->l.pidfd;
	p->l.pidfd = -1;
	if (p->l.ctl >= 0 && !p->l.gated && !p->l.supervise) {
		nb_close(p->l.ctl);
		p->l.ctl = -1;
	}
}

/***
Processes: start one in namespaces of its own, watch it, signal it.

@module nsbox.sys.process
*/

/***
Start a program in new or joined namespaces.

Returns when the program was exec'd, or, with `gate`, when it is complete and
waits for @{process:start}.  The maps are written, or newuidmap is run, before
that.  A failed spawn leaves nothing behind.

@function spawn
@tparam table plan
 `argv` list of strings, `argv[1]` is searched along `path`;
 `env` list of `"NAME=value"` (none is inherited);
 `path` directories to search, as in PATH;
 `cwd` directory; `trycwd` the same, but `/` when that fails;
 `stdin`, `stdout`, `stderr` descriptors (absent: inherited);
 `keep` list of further descriptors the program gets, under their numbers;
 `new` kinds of namespace to make; `join` list of namespaces to enter;
 `maps` `{ uid = ranges, gid = ranges, setgroups = "deny", newuidmap = path,
 newgidmap = path, via = process }`, a range being `{ inside, outside, length
}`, `via` a process that serves in the user namespace around the new one;
 `hostname`; `time_offsets` `{ monotonic = seconds, boottime = seconds }`;
 `lo` bring up the loopback; `writes` list of `{ path, text, optional = }`;
 `mounts` list of `{ target =, source =, type =, flags =, data =, optional = }`,
 `{ grab = path, recursive =, slave = }` (take a tree now; `slave`: only as it
 is, by open_tree), `{ terminal = true }` (the same of the first of the three
 streams that is one, where its name leads to it: else `ENOENT`, `ESTALE`),
 `{ place = index of the grab, target =, set =, clear = }`,
 `{ attr = path, set =, clear =, recursive = }`, what @{mounts} made, and those
 of a root of its own, below;
 `uid`, `gid`, `groups` ids inside; `trygroups` the same where setgroups is not
 denied; `caps` `{ bounding =, permitted =,
 effective =, inheritable =, ambient = }`; `no_new_privs`, `setsid`;
 `rlimits` `{ nofile = { soft, hard }, … }`, numbers or `"unlimited"`, of the
 program alone; `oom_score_adj`, `nice`, `affinity` list of cpus: all in the
 place of the caller's, and what takes a privilege with that of the caller;
 `seccomp` a filter, as @{filter} makes it;
 `pdeathsig` signal when the calling thread ends; `dumpable` what it
 joins is the caller's own: who is there may look at it at all times;
 `init` nsbox-init stays as its parent, reaps and forwards signals;
 `slave` the mounts of a new mount namespace get the caller's later ones, else
 they are private;
 `idle` nsbox-init is all there is, no `argv`; with `serves` it does what it is
 asked for, see @{process:newnet}; `gate`

A root of its own is the tree that is placed with `root = true`, or a file
system with `type` and that.  Each later `target` and `attr` is found inside
it, whatever links are there, mounted by descriptor and looked up again
afterwards (`ESTALE` when something else is there then); `{ pivot = true }`
leaves the old root, where every `grab` and `source` is, and comes last.
These elements, or fields of those above, are for it: `{ tree = descriptor }`
a tree of open_tree, with `grab` for its name; `{ idmap = index of that grab }`
shows it with the ids of the box, by the `maps` (of more than the caller's own
ids); `below = index` of an element, in whose mount the path is; `make` what is
missing, with its parents; `nofollow` no link may lead there; `instead = path`
of the caller's own where the kernel gives no new file system (EPERM); `scratch`
a file system that only the next steps see, by `below`; `{ mask = path, below =
}` an empty file or directory over it, when /dev/null is what it should be (else
`ENXIO`);
`{ symlink = text, target =, below = }`; `{ content = text, target =, below =,
mode = "0644" }`; `{ directory = name, below =, mode = "0755" }`;
`{ gid = id }`, `{ uid = id }` from here on; `{ write = path, data = }` what
has to be written by these; `try` a failure is none, but for a loop of links
where a tree is to be placed.
@treturn process
@return[2] nil
@treturn[2] string message
@treturn[2] integer errno
@treturn[2] string the step that failed: `"clone"`, `"mount"`, `"exec"` …
@treturn[2] ?string what it was about: a path, an id
@see clone(2), execve(2), user_namespaces(7)
*/
static int process_spawn(lua_State *L)
{
	struct nb_process *p;

	lua_settop(L, 1);
	p = nb_newprocess(L);
	nb_makeplan(L, 1, &p->l);

	int r = nb_launch(&p->l);

	if (r < 0)
		return nb_launchfailed(L, &p->l);
	nb_adopt(p);
	if (p->l.gated) { /* a failure behind the gate is told by the plan */
		lua_pushvalue(L, 3);
		lua_setiuservalue(L, 2, 1);
	} else {
		nb_sparearena(L, 3);
	}
	lua_settop(L, 2);
	return 1;
}

/***
Open the gate of a process spawned with `gate`.

Returns when its program was exec'd.
@function process:start
@treturn process itself
@return[2] nil, message, errno, step, subject as @{spawn}
*/
static int process_start(lua_State *L)
{
	struct nb_process *p = check_process(L);

	if (!p->l.gated)
		return luaL_error(L, "start: the process waits at no gate");
	lua_settop(L, 1);

	p->l.pidfd = p->h.fd;
	int r = nb_launch_go(&p->l);

	if (r < 0) {
		p->h.fd = -1;
		return nb_launchfailed(L, &p->l);
	}
	nb_adopt(p);
	lua_getiuservalue(L, 1, 1);
	nb_sparearena(L, 2);
	lua_pushnil(L);
	lua_setiuservalue(L, 1, 1);
	lua_settop(L, 1);
	return 1;
}

/* --- the handle --- */

/*
 * The host may have reaped our child, or ignore SIGCHLD; newer kernels keep
 * the status with the pidfd (Linux 6.15).
 */
static int status_of_reaped(int pidfd, int *status)
{
	struct {
		uint64_t mask, cgroupid;
		uint32_t ids[11];
		int32_t exit_code;
	} info;

	memset(&info, 0, sizeof(info));
	info.mask = 1 << 3; /* PIDFD_INFO_EXIT */
	if (ioctl(pidfd, _IOWR(0xFF, 11, info), &info) < 0 ||
	    !(info.mask & 1 << 3))
		return -1;
	*status = info.exit_code;
	return 1;
}

static int wait_status(const siginfo_t *si)
{
	return si->si_code == CLD_EXITED ? si->si_status << 8 : si->si_status;
}

/* 1: ended, 0: runs, -1: errno */
static int update(struct nb_process *p)
{
	struct pollfd pfd = {.fd = p->h.fd, .events = POLLIN};
	struct nb_report r;
	siginfo_t si;
	bool known = true;

	if (p->ended)
		return 1;
	memset(&si, 0, sizeof(si));
	if (p->child && waitid(P_PIDFD, (id_t)p->h.fd, &si,
			       WEXITED | WNOHANG | __WALL) == 0) {
		if (si.si_pid == 0)
			return 0;
		p->status = wait_status(&si);
	} else if (p->child && errno != ECHILD) {
		return -1;
	} else if (poll(&pfd, 1, 0) == 0) { /* not ours, but it runs */
		return 0;
	} else {
		known = p->child && status_of_reaped(p->h.fd, &p->status) > 0;
	}
	/*
	 * nsbox-init's own status cannot tell 137 from KILL, and its report is
	 * there when somebody else reaped it
	 */
	while (p->l.supervise && p->l.ctl >= 0 &&
	       recv(p->l.ctl, &r, sizeof(r), MSG_DONTWAIT) == sizeof(r))
		if (r.said == NB_ENDED) {
			p->status = r.value;
			known = true;
		}
	if (!known) {
		errno = ECHILD;
		return -1;
	}
	p->ended = true;
	return 1;
}

/***
How the process ended, without waiting for it.

@function process:status
@treturn[1] nil it runs
@treturn[2] string `"exit"`
@treturn[2] integer code
@treturn[3] string `"signal"`
@treturn[3] string its name, `"KILL"`
@return[4] nil, message, errno; ECHILD: somebody else reaped it
@see waitid(2)
*/
static int process_status(lua_State *L)
{
	struct nb_process *p = check_process(L);
	int r = update(p);

	if (r < 0)
		return nb_fail(L, errno, "status");
	if (r == 0) {
		lua_pushnil(L);
		return 1;
	}
	if (WIFSIGNALED(p->status)) {
		lua_pushliteral(L, "signal");
		nb_pushsignal(L, WTERMSIG(p->status));
	} else {
		lua_pushliteral(L, "exit");
		lua_pushinteger(L, WEXITSTATUS(p->status));
	}
	return 2;
}

/***
Send a signal.
@function process:kill
@tparam string signal `"TERM"`, `"SIGTERM"`, `"RTMIN+3"`
@treturn boolean true
@return[2] nil, message, errno; ESRCH: it has ended
@see pidfd_send_signal(2), signal(7)
*/
static int process_kill(lua_State *L)
{
	struct nb_process *p = check_process(L);
	int sig = nb_checksignal(L, 2);

	return nb_result(L, nb_pidfdkill(p->h.fd, p->pid, sig), "kill");
}

/***
The process's number, in the caller's pid namespace.
@function process:pid
@treturn integer
*/
static int process_pid(lua_State *L)
{
	struct nb_process *p = luaL_checkudata(L, 1, NB_PROCESS);

	lua_pushinteger(L, p->pid);
	return 1;
}

/***
The pidfd: readable when the process has ended.
@function process:fileno
@treturn integer
@see pidfd_open(2)
*/
static int process_fileno(lua_State *L)
{
	lua_pushinteger(L, check_process(L)->h.fd);
	return 1;
}

/***
What tells this process from all others there ever were since this machine
started: the pidfd's inode where the kernel gives each process one (Linux
6.9), else its start time.  Numbers are used again.
@function process:identity
@treturn string `"pidfd:123"` or `"start:123"`
@return[2] nil, message, errno; ESRCH: it has ended, and was reaped
@see pidfd_open(2), proc_pid_stat(5)
*/
static int process_identity(lua_State *L)
{
	struct nb_process *p = check_process(L);
	char text[40];
	int err = nb_identity(p->h.fd, p->pid, text, sizeof(text));

	if (err)
		return nb_fail(L, -err, "identity");
	lua_pushstring(L, text);
	return 1;
}

/***
Close the handle; the process goes on.  Twice is harmless.

Not so a process at its gate, which is killed, and one with `init`, which
ends together with whoever started it.
@function process:close
*/
static int process_close(lua_State *L)
{
	struct nb_process *p = luaL_checkudata(L, 1, NB_PROCESS);

	if (p->h.fd >= 0 && p->l.gated) {
		p->l.pidfd = p->h.fd;
		nb_launch_abandon(&p->l);
		p->h.fd = p->l.pidfd;
	}
	if (p->h.fd >= 0)
		nb_close(p->h.fd);
	if (p->l.ctl >= 0)
		nb_close(p->l.ctl);
	if (p->l.memory >= 0)
		nb_close(p->l.memory);
	p->h.fd = p->l.ctl = p->l.memory = -1;
	return 0;
}

static int process_tostring(lua_State *L)
{
	struct nb_process *p = luaL_checkudata(L, 1, NB_PROCESS);

	if (p->h.fd < 0)
		lua_pushliteral(L, "nsbox.process (closed)");
	else
		lua_pushfstring(L, "nsbox.process (pid %d)", (int)p->pid);
	return 1;
}

/***
A handle of any process.
@function open
@tparam integer pid
@treturn process
@return[2] nil, message, errno
@see pidfd_open(2)
*/
static int process_open(lua_State *L)
{
	lua_Integer pid = luaL_checkinteger(L, 1);
	struct nb_process *p;

	luaL_argcheck(L, pid > 0 && pid <= INT32_MAX, 1, "not a pid");
	p = nb_newprocess(L);
	p->pid = (pid_t)pid;

	int fd = (int)syscall(SYS_pidfd_open, (pid_t)pid, 0);

	if (fd < 0) {
		lua_pushfstring(L, "pid %d", (int)pid);
		return nb_fail(L, errno, lua_tostring(L, -1));
	}
	p->h.fd = nb_above_stdio(fd);
	return p->h.fd < 0 ? nb_fail(L, errno, "pidfd") : 1;
}

static const luaL_Reg process_funcs[] = {
    {"spawn", process_spawn}, {"open", process_open}, {NULL, NULL}};

static const luaL_Reg process_methods[] = {
    {"start", process_start},	{"status", process_status},
    {"kill", process_kill},	{"pid", process_pid},
    {"fileno", process_fileno}, {"identity", process_identity},
    {"close", process_close},	{NULL, NULL}};

static const luaL_Reg process_meta[] = {{"__gc", process_close},
					{"__close", process_close},
					{"__tostring", process_tostring},
					{NULL, NULL}};

int luaopen_nsbox_sys_process(lua_State *L)
{
	luaL_newmetatable(L, NB_PROCESS);
	luaL_setfuncs(L, process_meta, 0);
	lua_newtable(L);
	nb_setfuncs(L, "process", process_methods);
	nb_setfuncs(L, "process", nb_insidemethods);
	lua_setfield(L, -2, "__index");
	lua_pop(L, 1);
	nb_openmounts(L);
	lua_newtable(L);
	nb_setfuncs(L, "process", process_funcs);
	nb_setfuncs(L, "process", nb_mountsfuncs);
	nb_setfuncs(L, "process", nb_clonefuncs);
	nb_setfuncs(L, "process", nb_filterfuncs);
	nb_setfuncs(L, "process", nb_selffuncs);
	return 1;
}
