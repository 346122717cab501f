/*
 * ask.c - nsbox-init, asked for anything; see csrc/ask.h
 *
 * serve.c with system calls that do nothing but look at their arguments: the
 * strings must end inside of the message.
 */
#include <string.h>

#include "nosys.h"

#define NB_INIT
/* those of plan.c are in the program, too */
#define nb_writefile fuzz_writefile
#define nb_loup fuzz_loup
#include "../../csrc/serve.c"

#include "fuzz.h"

#define FD 100 /* of what is opened */

static const char *input;
static size_t size;
static long received; /* what the kernel says of the input */
static volatile size_t looked;

/* the sanitizer stops a look beyond the message */
static void look(long text)
{
	if (text)
		looked += strlen((const char *)text);
}

static long receive(struct msghdr *m)
{
	size_t n = size < m->msg_iov->iov_len ? size : m->msg_iov->iov_len;

	memcpy(m->msg_iov->iov_base, input, n);
	m->msg_controllen = 0;
	received = (long)n;
	return received;
}

static long nb_sys6(long n, long a, long b, long c, long d, long e, long f)
{
	(void)c;
	(void)d;
	(void)f;
	switch (n) {
	case __NR_recvmsg:
		return receive((struct msghdr *)b);
	case __NR_openat:
	case __NR_open_tree:
		look(b);
		return FD;
	case __NR_mount:
		look(a);
		look(b);
		look(c);
		look(e);
		return 0;
	case __NR_umount2:
		look(a);
		return 0;
	case __NR_move_mount:
		look(d);
		return 0;
	default:
		return 0;
	}
}

long nb_writefile(const char *path, const char *data)
{
	look((long)path);
	look((long)data);
	return 0;
}

long nb_loup(void)
{
	return 0;
}

static int serve_one(lua_State *L)
{
	input = lua_tolstring(L, 1, &size);
	lua_pushboolean(L, nb_serve(0) == 0);
	return 1;
}

void fuzz_open(lua_State *L)
{
	lua_pushcfunction(L, serve_one);
	lua_setfield(L, -2, "serve");
}
