/*
 * inside.c - methods of the handle of a process that serves: what it does for
 * its owner, see ask.h
 *
 * unix(7), mount_namespaces(7), network_namespaces(7)
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>

#include "ask.h"
#include "nb.h"
#include "process.h"

#ifndef AT_RECURSIVE
#define AT_RECURSIVE 0x8000
#endif

/***
What a process that serves does for its owner: it is inside, the owner is not,
though it may all be his. Only of a handle that `spawn` gave, with `idle` and
`serves`.

@submodule nsbox.sys.process
*/

static int check_ctl(lua_State *L)
{
	struct nb_process *p = luaL_checkudata(L, 1, NB_PROCESS);

	if (p->l.ctl < 0 || !p->l.serves)
		return luaL_error(L, "the process is none that serves, or its "
				     "handle is closed");
	return p->l.ctl;
}

/***
Makes a network namespace in there, as @{nsbox.sys.ns.newnet} does here: it
belongs to the user namespace of the process.
@function process:newnet
@tparam[opt] string ping the range of groups that may use ping sockets
@treturn nsbox.ns
@return[2] nil, message, errno: ESRCH when the process has ended
@see network_namespaces(7)
*/
static int inside_newnet(lua_State *L)
{
	int ctl = check_ctl(L);
	const char *s[4] = {lua_isnoneornil(L, 2) ? NULL : nb_checkpath(L, 2)};
	struct nb_answer answer = {0};
	struct nb_ns *ns = nb_newns(L);
	int fd;

	fd = nb_askctl(ctl, NB_ASK_NEWNET, 0, s, -1, &answer);

	ns->cookie = answer.cookie;
	return nb_fillns(L, ns,
			 fd > 0	  ? fd
			 : fd < 0 ? fd
				  : -EIO,
			 "unshare net");
}

/* true, or what failed */
static int outcome(lua_State *L, int r, const char *path)
{
	if (r < 0)
		return nb_fail(L, -r, path);
	if (r > 0)
		nb_close(r);
	lua_pushboolean(L, 1);
	return 1;
}

/***
Mounts in there.
@function process:mount
@param source a path there, a name as "tmpfs", or an open namespace, which is
  then mounted on the target
@tparam string target a path there
@tparam[opt] string type
@param[opt] flags a word or a list of them, as for @{nsbox.sys.mount.mount}
@tparam[opt] string data
@treturn boolean true
@return[2] nil, message, errno
@see mount(2)
*/
static int inside_mount(lua_State *L)
{
	int ctl = check_ctl(L);
	bool handle = lua_type(L, 2) == LUA_TUSERDATA;
	int fd = handle ? nb_checkfd(L, 2) : -1;
	const char *s[4] = {handle ? NULL : nb_checkpath(L, 2),
			    nb_checkpath(L, 3),
			    lua_isnoneornil(L, 4) ? NULL : nb_checkpath(L, 4),
			    lua_isnoneornil(L, 6) ? NULL : nb_checkpath(L, 6)};
	uint64_t flags = nb_checkwords(L, 5, nb_mountflags, "mount flag");
	int r;

	if (handle)
		flags |= MS_BIND;

	r = nb_askctl(ctl, NB_ASK_MOUNT, flags, s, fd, NULL);

	return outcome(L, r, s[1]);
}

/***
Unmounts in there, whatever uses it.
@function process:umount
@tparam string target a path there
@treturn boolean true
@return[2] nil, message, errno
@see umount(2)
*/
static int inside_umount(lua_State *L)
{
	int ctl = check_ctl(L);
	const char *s[4] = {NULL, nb_checkpath(L, 2)};
	int r;

	r = nb_askctl(ctl, NB_ASK_UMOUNT, MNT_DETACH | UMOUNT_NOFOLLOW, s, -1,
		      NULL);

	return outcome(L, r, s[1]);
}

/***
Takes a copy of a tree of mounts in there, with all that is mounted below.
@function process:open_tree
@tparam string path there
@treturn nsbox.fd for @{process:move_mount}
@return[2] nil, message, errno: ENOSYS before Linux 5.2
@see open_tree(2)
*/
static int inside_open_tree(lua_State *L)
{
	int ctl = check_ctl(L);
	const char *s[4] = {nb_checkpath(L, 2)};
	struct nb_fd *tree = nb_newfd(L);
	int fd;

	fd = nb_askctl(ctl, NB_ASK_TREE,
		       1 /* OPEN_TREE_CLONE */ | O_CLOEXEC | AT_RECURSIVE, s,
		       -1, NULL);

	if (fd <= 0)
		return nb_fail(L, fd < 0 ? -fd : EIO, s[0]);
	tree->fd = fd;
	return 1;
}

/***
Mounts a tree in there.
@function process:move_mount
@tparam nsbox.fd tree as @{process:open_tree} gave it
@tparam string target a path there
@treturn boolean true
@return[2] nil, message, errno
@see move_mount(2)
*/
static int inside_move_mount(lua_State *L)
{
	int ctl = check_ctl(L);
	int fd = nb_checkfd(L, 2);
	const char *s[4] = {NULL, nb_checkpath(L, 3)};
	int r;

	r = nb_askctl(ctl, NB_ASK_MOVE, 0, s, fd, NULL);

	return outcome(L, r, s[1]);
}

const luaL_Reg nb_insidemethods[] = {
    {"newnet", inside_newnet},	       {"mount", inside_mount},
    {"umount", inside_umount},	       {"open_tree", inside_open_tree},
    {"move_mount", inside_move_mount}, {NULL, NULL}};
