/*
 * ask.h - what an idle nsbox-init does for who started it
 *
 * It is inside, in namespaces that its owner may not enter as he is: the
 * kernel lets the owner of a user namespace do nearly everything there, but
 * not be in its network or mount namespace.  So he asks, by a message on the
 * control socket, and gets an answer, with a descriptor where there is one.
 * A message at a time; ask.c sends, serve.c does, inside.c is
 * for Lua.
 */
#ifndef NB_ASK_H
#define NB_ASK_H

#include <stddef.h>
#include <stdint.h>

enum nb_asked {
	NB_ASK_SOCKET = 1, /* netlink in the namespace of the descriptor; x: the
			      protocol */
	NB_ASK_NEWNET,	   /* a new one, lo up; s[0]: ping_group_range */
	NB_ASK_OPEN,	   /* s[0] with the flags x */
	NB_ASK_MOUNT,	   /* s[0] (or the descriptor) on s[1], type s[2],
			      data s[3], flags x */
	NB_ASK_UMOUNT,	   /* s[1], flags x */
	NB_ASK_TREE,	   /* open_tree(2) of s[0], flags x */
	NB_ASK_MOVE,	   /* the tree of the descriptor to s[1] */
};

/* s: offsets of strings behind this, from its beginning; 0: none */
struct nb_ask {
	uint32_t op;
	uint32_t size; /* with the strings */
	uint64_t x;
	uint32_t s[4];
};

struct nb_answer {
	int32_t value; /* 0, or -errno */
	uint32_t pad;
	uint64_t cookie; /* NEWNET: of the namespace, or 0 */
};

#define NB_ASK_MOST 16384 /* three paths, and some */

#ifdef NB_INIT
/* does what the next message asks; -1: there will be none any more */
int nb_serve(int ctl);
#else
/* asks by ctl: a descriptor, 0, or -errno; -ESRCH: nobody answers.  fd is
 * sent along (-1: none); s are up to four strings, NULL for none */
int nb_askctl(int ctl, enum nb_asked op, uint64_t x, const char *const s[4],
	      int fd, struct nb_answer *answer);
#endif

#endif
