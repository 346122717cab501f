/*
 * stat.c - what a path or descriptor is; a part of nsbox.sys.fd
 *
 * Knows nothing but the result of one call.  stat(2), inode(7)
 */
#include <errno.h>
#include <sys/stat.h>

#include "nb.h"

static const struct nb_word types[] = {
    {"file", S_IFREG},	  {"directory", S_IFDIR},
    {"link", S_IFLNK},	  {"char", S_IFCHR},
    {"block", S_IFBLK},	  {"fifo", S_IFIFO},
    {"socket", S_IFSOCK}, {NULL, 0},
};

static void setinteger(lua_State *L, const char *name, lua_Integer value)
{
	lua_pushinteger(L, value);
	lua_setfield(L, -2, name);
}

/***
What a path or a descriptor is.

@submodule nsbox.sys.fd
*/

/***
 * What a path or an open descriptor is; symbolic links are followed.
 * @function stat
 * @tparam string|nsbox.fd|file|integer x
 * @treturn table `type` (`file` `directory` `link` `char` `block` `fifo`
 *   `socket`), `mode` (the permission bits, an integer), `uid`, `gid`, `dev`,
 *   `ino`, `size`
 * @return[2] nil, message, errno
 * @see stat(2)
 */
static int fd_stat(lua_State *L)
{
	struct stat st;
	int rc;

	if (lua_type(L, 1) == LUA_TSTRING) {
		const char *path = nb_checkpath(L, 1);

		rc = stat(path, &st);
		if (rc < 0)
			return nb_fail(L, errno, path);
	} else {
		int fd = nb_checkfd(L, 1);

		rc = fstat(fd, &st);
		if (rc < 0)
			return nb_fail(L, errno,
				       lua_pushfstring(L, "descriptor %d", fd));
	}
	lua_createtable(L, 0, 7);
	lua_pushstring(L, nb_wordof(types, st.st_mode & S_IFMT));
	lua_setfield(L, -2, "type");
	setinteger(L, "mode", st.st_mode & 07777);
	setinteger(L, "uid", st.st_uid);
	setinteger(L, "gid", st.st_gid);
	setinteger(L, "dev", (lua_Integer)st.st_dev);
	setinteger(L, "ino", (lua_Integer)st.st_ino);
	setinteger(L, "size", st.st_size);
	return 1;
}

const luaL_Reg nb_statfuncs[] = {{"stat", fd_stat}, {NULL, NULL}};
