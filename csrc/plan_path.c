/*
 * plan_path.c - finding a place inside a root that is not ours
 *
 * What lies in such a root was put there by somebody else, who may change it
 * while we look: a symbolic link must not lead out of it, nor through a link
 * of /proc, and what is found is a descriptor, which does not change.
 *
 * Compiled twice, like plan.c, and without libc for the same reason.
 *
 * openat2(2), path_resolution(7), symlink(7)
 */
#include <errno.h>
#include <linux/fcntl.h>
#include <linux/openat2.h>
#include <linux/stat.h>
#include <stdbool.h>

#include "bare.h"
#include "plan.h"
#include "sys.h"

#define BUFFER 4096
#define MAX_NAME 255
#define MAX_LINKS 40 /* as the kernel */

#define DIRECTORY_MODE 0755
#define FILE_MODE 0644

long nb_status(int fd, struct nb_status *to)
{
	struct statx st;
	long r = nb_sys5(__NR_statx, fd, "", AT_EMPTY_PATH,
			 STATX_BASIC_STATS | STATX_MNT_ID, &st);

	if (r < 0)
		return r;
	to->type = st.stx_mode & 0170000;
	to->ino = st.stx_ino;
	to->dev = (uint64_t)st.stx_dev_major << 32 | st.stx_dev_minor;
	to->rdev = (uint64_t)st.stx_rdev_major << 32 | st.stx_rdev_minor;
	to->mnt = st.stx_mnt_id;
	to->mounted = st.stx_attributes & STATX_ATTR_MOUNT_ROOT;
	return 0;
}

/* one name, never followed */
static long enter(int dir, const char *name, int flags)
{
	return nb_sys5(__NR_openat, dir, name,
		       O_PATH | O_NOFOLLOW | O_CLOEXEC | flags, 0, 0);
}

struct walk {
	int root, cur;
	int links;
	char done[BUFFER]; /* where cur is: no links, no dots */
	char rest[BUFFER]; /* what is left to walk */
};

static void leave(struct walk *w)
{
	if (w->cur >= 0)
		nb_sys(__NR_close, w->cur, 0, 0);
	w->cur = -1;
}

static long move_to(struct walk *w, long fd)
{
	leave(w);
	w->cur = (int)fd;
	return fd < 0 ? fd : 0;
}

/* cuts the first name off a path, puts an end to it, and returns it */
static char *cut(char **path)
{
	char *name;

	while (**path == '/')
		++*path;
	name = *path;
	while (**path && **path != '/')
		++*path;
	if (**path)
		*(*path)++ = '\0';
	return name;
}

/* to w->done again, from the root: ".." of a directory that was moved
 * meanwhile could be anywhere */
static long walk_again(struct walk *w)
{
	char copy[BUFFER], *path = copy, *name;
	long r = move_to(w, enter(w->root, ".", O_DIRECTORY));

	for (size_t i = 0; i == 0 || copy[i - 1]; i++)
		copy[i] = w->done[i];
	while (r == 0 && *(name = cut(&path)))
		r = move_to(w, enter(w->cur, name, O_DIRECTORY));
	return r;
}

static long go_up(struct walk *w)
{
	size_t n = nb_length(w->done);

	while (n > 0 && w->done[--n] != '/')
		;
	w->done[n] = '\0';
	return walk_again(w);
}

/* goes on at the target of a link; fd is the link */
static long follow(struct walk *w, int fd, const char *rest)
{
	char target[BUFFER];
	long n = nb_sys5(__NR_readlinkat, fd, "", target, sizeof(target), 0);
	size_t left = nb_length(rest);

	if (n < 0)
		return n;
	if (++w->links > MAX_LINKS)
		return -ELOOP;
	if ((size_t)n + left + 2 > BUFFER)
		return -ENAMETOOLONG;
	/* rest lies in w->rest, perhaps before where it goes */
	for (size_t i = left + 1; i-- > 0;)
		target[(size_t)n + 1 + i] = rest[i];
	target[n] = '/';
	for (size_t i = 0; i <= (size_t)n + 1 + left; i++)
		w->rest[i] = target[i];
	if (target[0] != '/')
		return 0;
	w->done[0] = '\0';
	return walk_again(w);
}

static long advance(struct walk *w, const char *name, long fd)
{
	size_t n = nb_length(w->done), len = nb_length(name);

	if (n + len + 2 > BUFFER) {
		nb_sys(__NR_close, fd, 0, 0);
		return -ENAMETOOLONG;
	}
	w->done[n++] = '/';
	for (size_t i = 0; i <= len; i++)
		w->done[n + i] = name[i];
	return move_to(w, fd);
}

static long create_file(int dir, const char *name)
{
	return nb_sys5(__NR_openat, dir, name,
		       O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, FILE_MODE, 0);
}

static long create(int dir, const char *name, bool directory)
{
	long r = directory ? nb_sys(__NR_mkdirat, dir, name, DIRECTORY_MODE)
			   : create_file(dir, name);

	if (!directory && r >= 0) {
		nb_sys(__NR_close, r, 0, 0);
		r = 0;
	}
	/* somebody else made it: it is looked at like any other */
	return r == -EEXIST ? 0 : r;
}

static long one_name(struct walk *w, char *name, char *rest, unsigned how)
{
	struct nb_status st;
	bool last;
	long r, fd;

	for (r = 0; rest[r] == '/'; r++)
		;
	last = rest[r] == '\0';
	if (name[0] == '.' && name[1] == '\0')
		return 0;
	if (name[0] == '.' && name[1] == '.' && name[2] == '\0')
		return go_up(w);
	fd = enter(w->cur, name, 0);
	if (fd == -ENOENT && how & (NB_MAKEDIR | NB_MAKEFILE)) {
		r = create(w->cur, name, !last || how & NB_MAKEDIR);
		fd = r < 0 ? r : enter(w->cur, name, 0);
	}
	if (fd < 0)
		return fd;
	r = nb_status((int)fd, &st);
	if (r == 0 && st.type != NB_IS_LINK)
		return advance(w, name, fd);
	if (r == 0)
		r = how & NB_NOFOLLOW ? -ELOOP : follow(w, (int)fd, rest);
	nb_sys(__NR_close, fd, 0, 0);
	return r;
}

/* name by name, as the kernel would do it in that root; links of /proc are
 * read, not jumped through */
static long walk(int root, const char *path, unsigned how)
{
	struct walk w;
	char *rest, *name;
	size_t n = nb_length(path);
	long r;

	if (n + 1 > BUFFER)
		return -ENAMETOOLONG;
	w.root = root;
	w.cur = -1;
	w.links = 0;
	w.done[0] = '\0';
	for (size_t i = 0; i <= n; i++)
		w.rest[i] = path[i];
	r = walk_again(&w);
	while (r == 0) {
		rest = w.rest;
		name = cut(&rest);
		if (!*name)
			return w.cur;
		n = (size_t)w.links;
		r = nb_length(name) > MAX_NAME ? -ENAMETOOLONG
					       : one_name(&w, name, rest, how);
		/* not a link: what was walked is done with */
		if (r == 0 && n == (size_t)w.links)
			for (n = 0; n == 0 || w.rest[n - 1]; n++)
				w.rest[n] = rest[n];
	}
	leave(&w);
	return r;
}

static bool is_name(const char *path)
{
	if (*path == '.' || !*path)
		return false;
	while (*path && *path != '/')
		path++;
	return !*path;
}

long nb_find(int root, const char *path, unsigned how)
{
	struct open_how o;
	bool make = how & (NB_MAKEDIR | NB_MAKEFILE);
	long r;

	o.flags = O_PATH | O_CLOEXEC;
	o.mode = 0;
	o.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS |
		    (how & NB_NOFOLLOW ? RESOLVE_NO_SYMLINKS : 0);
	r = nb_sys5(__NR_openat2, root, path, &o, sizeof(o), 0);
	/* most of what is made is a name in a directory of ours */
	if (r == -ENOENT && make && is_name(path) &&
	    create(root, path, how & NB_MAKEDIR) == 0)
		r = nb_sys5(__NR_openat2, root, path, &o, sizeof(o), 0);
	/* EAGAIN: something was renamed just then; EPERM: an old filter */
	if (r >= 0 || (r != -ENOSYS && r != -EPERM && r != -EAGAIN &&
		       !(r == -ENOENT && make)))
		return r;
	return walk(root, path, how);
}

long nb_make(int dir, const char *name, unsigned how)
{
	long r = -EEXIST;

	if (is_name(name))
		r = how & NB_MAKEDIR
			? nb_sys(__NR_mkdirat, dir, name, DIRECTORY_MODE)
			: create_file(dir, name);
	if (r == -EEXIST)
		return nb_find(dir, name, how);
	return r == 0 && how & NB_MAKEDIR ? enter(dir, name, O_DIRECTORY) : r;
}
