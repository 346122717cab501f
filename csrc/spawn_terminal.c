/*
 * spawn_terminal.c - the terminal that a program is given, ttyname(3)
 *
 * A tree can be taken only from where the child's mounts are: by the name of
 * the terminal, and not by the stream, which is open in the caller's mounts. So
 * the child gets the name, and what has to be there.
 */
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "builder.h"

/* the first of the standard streams that is one, or -1 */
static int stream(struct nb_builder *b)
{
	static const char *const names[] = {"stdin", "stdout", "stderr"};

	for (int i = 0; i < 3; i++) {
		int fd = i;

		if (lua_getfield(b->L, b->table, names[i]) != LUA_TNIL)
			fd = nb_checkfd(b->L, -1);
		lua_pop(b->L, 1);
		if (isatty(fd))
			return fd;
	}
	return -1;
}

/* of a descriptor; false: it has no name */
static bool named(int fd, char *name, size_t size, struct nb_file *file)
{
	struct stat st;
	char link[32];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, name, size - 1);
	if (n <= 0 || fstat(fd, &st) < 0)
		return false;
	name[n] = '\0';
	file->dev = (uint64_t)major(st.st_dev) << 32 | minor(st.st_dev);
	file->ino = st.st_ino;
	return true;
}

/* tells the step that takes it */
void nb_findterminal(struct nb_builder *b, uint32_t step)
{
	int fd = stream(b);
	struct nb_file file;
	uint32_t name, at;
	char path[256];

	if (fd < 0 || !named(fd, path, sizeof(path), &file))
		return;
	name = nb_putstring(b, path);
	at = nb_put(b, &file, sizeof(file));

	struct nb_step *s =
	    (struct nb_step *)nb_at(b, nb_plan(b)->steps) + step;

	s->a = name;
	s->b = at;
}
