/*
 * nl.h - what the files of nsbox/sys/netlink.so share
 *
 * A handle (struct nbl) is a socket in one network namespace, a scratch
 * message and a buffer for replies.  A request is built in the scratch
 * message, which belongs to the handle: so a builder may raise in the middle.
 * It moves when it grows: pointers into it are good until more is put there.
 * libnl lays out messages and attributes; sending and receiving is our own
 * (nl_talk.c), because libnl folds errno, drops the kernel's sentence, and
 * copies each reply into memory of its own.
 *
 * To add a type of object (addresses, routes, ...), write nl_OBJECT.c:
 *
 *  1. A map, struct nbl_attr[]: each attribute's name, number and type, used
 *     for writing (nbl_putfields) and for reading (nbl_pushfields).  A field
 *     that the builder itself looks at has the type NBL_OWN.
 *  2. A builder per request: nbl_message(), then nbl_putfields() or the
 *     nbl_put functions.  It returns 0, or what a failure pushed
 *     (nbl_fail: a device that is not there).  The binding is one line,
 *
 *	static int addr_add(lua_State *L)
 *	{
 *		return nbl_request(L, "addr_add", build_add);
 *	}
 *
 *     and works on a handle (sent at once) and on a batch (queued).  List it
 *     in a luaL_Reg nbl_OBJECTrequests[].
 *  3. A function that pushes the record of one message (nbl_push), and for
 *     each read a binding that builds its message and ends in nbl_get() or
 *     nbl_dump().  List them in a luaL_Reg nbl_OBJECTreads[].
 *  4. Name both lists in netlink.c (requests, reads), and the record in
 *     nl_monitor.c (objects), from which monitors read.
 */
#ifndef NB_NL_H
#define NB_NL_H

#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>

#include "nb.h"

#define NB_NETLINK "nsbox.netlink"
#define NB_BATCH "nsbox.netlink.batch"
#define NB_MONITOR "nsbox.netlink.monitor"

struct nbl {
	struct nb_fd h;	    /* first: a handle is taken where a descriptor is */
	uint32_t seq;	    /* of the last request */
	struct nl_msg *msg; /* the request being built */
	const char *verb;   /* "link_add" */
	char subject[64];   /* "link_add eth0", for its failure */
	char *buf;	    /* replies */
	size_t room, len;   /* of buf */
	size_t datagram;    /* the largest to expect */
	const char *text;   /* in buf: the kernel's sentence, or NULL */
};

/* --- sockets (nl_within.c): a descriptor or -errno --- */

/* where a socket is to live: an argument, checked */
struct nbl_where {
	int fd;		  /* borrowed, or -1 */
	bool process;	  /* fd is a pidfd */
	const char *path; /* of a namespace, or NULL */
	char pid[32];	  /* the path for a pid */
	int ctl; /* of an nsbox-init that is asked to go there, or -1 */
};
/* nil: here; an integer: a process; a string: a path; else a handle */
void nbl_checkwhere(lua_State *L, int idx, struct nbl_where *w);
/* the namespace there: a descriptor, w->fd itself when that is one; -ENODATA:
 * the caller's own; or -errno */
int nbl_opennet(const struct nbl_where *w);
/* a netlink socket there, NETLINK_ROUTE or another one */
int nbl_socket(const struct nbl_where *w, int protocol);
/* pushes the failure of nbl_socket */
int nbl_failwhere(lua_State *L, const struct nbl_where *w, int err);

/* --- handles and building (nl_build.c) --- */

struct nbl *nbl_check(lua_State *L, int idx);
/* the scratch message of a new handle: 0 or -errno */
int nbl_newmessage(struct nbl *h);
/* a new handle, on top; *err: 0 or an errno */
struct nbl *nbl_new(lua_State *L, const struct nbl_where *w, int protocol,
		    int *err);
/* closes; twice is harmless */
void nbl_release(struct nbl *h);
/* starts a request; thing (NULL: none) is what its failure names */
void nbl_begin(struct nbl *h, const char *verb, const char *thing);
/* goes on with it: " dev " and the string or number at idx */
void nbl_name(lua_State *L, struct nbl *h, const char *before, int idx);
void nbl_message(lua_State *L, struct nbl *h, int type, int flags,
		 const void *header, size_t len);
void nbl_put(lua_State *L, struct nbl *h, int type, const void *data,
	     size_t len);
void nbl_putu32(lua_State *L, struct nbl *h, int type, uint32_t value);
void nbl_append(lua_State *L, struct nbl *h, const void *data, size_t len);
/* where it begins, for its end */
size_t nbl_nest(lua_State *L, struct nbl *h, int type);
void nbl_nestend(struct nbl *h, size_t nest);
/* the same; without anything in it, there is none */
void nbl_nestfilled(struct nbl *h, size_t nest);
/* the header behind nlmsghdr of the message being built */
void *nbl_header(struct nbl *h);

/* --- talking (nl_talk.c) --- */

/* frees the replies, and what points to them */
void nbl_forget(struct nbl *h);
/* fail, "subject: the kernel's sentence, or strerror", errno */
int nbl_fail(lua_State *L, struct nbl *h, int err);
/* sends len bytes of whole messages, and receives until the reply to the
 * message numbered last; each(arg, seq, err, text) for every answer.
 * 0 or -errno: then no further answer will come */
typedef void (*nbl_answer)(void *arg, uint32_t seq, int err, const char *text);
int nbl_exchange(struct nbl *h, const void *bytes, size_t len, uint32_t last,
		 nbl_answer each, void *arg);
/* true, or true and the kernel's warning, or nbl_fail */
int nbl_send(lua_State *L, struct nbl *h);

/* pushes the record of one message, exactly one value; nil: none */
typedef void (*nbl_push)(lua_State *L, const struct nlmsghdr *n);
/* the record of the only reply, or nbl_fail */
int nbl_get(lua_State *L, struct nbl *h, nbl_push push);
/* a list of records, and "interrupted" when things kept changing under the
 * dump; or nbl_fail */
int nbl_dump(lua_State *L, struct nbl *h, nbl_push push);

/* the sentence in the TLVs of an acknowledgement, or NULL; payload: what is
 * before them */
const char *nbl_sentence(const struct nlmsghdr *n, size_t payload);
/* one datagram of the kernel's to buf + len; the size of the messages in it,
 * or -errno, -EMSGSIZE when it did not fit */
ssize_t nbl_receive(struct nbl *h, int flags);

/* --- requests (nl_batch.c) --- */

/* builds from the table at t; 0, or the results of a failure */
typedef int (*nbl_builder)(lua_State *L, struct nbl *h, int t);
/* the binding of a request: self (handle or batch), table */
int nbl_request(lua_State *L, const char *verb, nbl_builder build);

/* --- attributes (nl_attr.c) --- */

enum nbl_type {
	NBL_OWN, /* looked at by the builder; nothing to read */
	NBL_U8,
	NBL_U16,
	NBL_U32,
	NBL_U64,
	NBL_S32,
	NBL_BE16,
	NBL_BE32,
	NBL_BOOL8, /* true and false */
	NBL_BOOL32,
	NBL_FLAG,   /* true when it is there */
	NBL_STRING, /* max: bytes at most */
	NBL_TEXT,   /* the same, for which the kernel wants no NUL */
	NBL_MAC,
	NBL_IP,	 /* 4 or 16 bytes */
	NBL_IP4, /* only written and read when it is one */
	NBL_IP6,
	NBL_WORD8, /* one of words, or its number */
	NBL_WORD16,
	NBL_WORD32,
	NBL_WORDBE16,
	NBL_INDEX, /* of a device: written by name or index, false is 0 */
};

enum { NBL_READ = 1, NBL_WRITE = 2 }; /* a field of one direction only */

struct nbl_attr {
	const char *name;
	uint16_t number;
	uint8_t type; /* enum nbl_type */
	uint8_t only; /* NBL_READ or NBL_WRITE */
	const struct nb_word *words;
	uint32_t max; /* tighter than the type, 0: not */
};

/* writes the fields of the table at t (absolute) that map, ended by a NULL
 * name, knows; another one raises, naming what: "link", "bridge".  0, or the
 * results of a failure */
int nbl_putfields(lua_State *L, struct nbl *h, int t,
		  const struct nbl_attr *map, const char *what);
/* the same for the fields that the table has; others are no concern of it */
int nbl_putsome(lua_State *L, struct nbl *h, int t, const struct nbl_attr *map,
		const char *what);
/* the number that a field of a type of numbers, words or booleans stands for,
 * where the kernel wants it elsewhere than in an attribute; false: absent */
bool nbl_number(lua_State *L, int t, const struct nbl_attr *a, const char *what,
		uint64_t *value);
#define NBL_TB 128
/* sets the fields of the table on top from attributes that nla_parse sorted */
void nbl_setfields(lua_State *L, struct nlattr *tb[NBL_TB],
		   const struct nbl_attr *map);
void nbl_parse(struct nlattr *tb[NBL_TB], struct nlattr *first, size_t len);
/* the header of a message, size bytes, and its attributes sorted; NULL: the
 * message is shorter */
const void *nbl_open(const struct nlmsghdr *n, size_t size,
		     struct nlattr *tb[NBL_TB]);
/* what an attribute holds; NULL: it is absent, or has less than size bytes */
const void *nbl_data(const struct nlattr *nla, size_t size);
/* a number of any size; 0: absent, or none */
uint64_t nbl_uint(const struct nlattr *nla);
/* a string with its end, or NULL */
const char *nbl_text(const struct nlattr *nla);
void nbl_parsenested(struct nlattr *tb[NBL_TB], struct nlattr *nest);

/* values of fields: they raise "what: field 'name': expected" */
_Noreturn void nbl_badfield(lua_State *L, const char *what, const char *name,
			    const char *expected);
/* a device name for a new link; it raises when the kernel would refuse it */
const char *nbl_checkname(lua_State *L, int idx, const char *what,
			  const char *field);
/* a device by name or index -> *index; 0, or the results of a failure */
int nbl_index(lua_State *L, struct nbl *h, int idx, const char *what,
	      const char *field, int *index);
/* "10.0.0.1", "fd00::1" -> bytes and AF_INET or AF_INET6; 0: neither */
int nbl_address(const char *text, void *bytes);
void nbl_pushmac(lua_State *L, const uint8_t *bytes, size_t len);

/* --- fields that a builder looks at itself (nl_field.c) --- */

extern const struct nb_word nbl_families[], nbl_scopes[], nbl_tables[];

/* pushes the field of that type; false: it is absent, and nothing pushed */
bool nbl_field(lua_State *L, int t, const char *name, int type,
	       const char *what);
/* the device of a field; *index stays when it is absent.  0, or the results of
 * a failure */
int nbl_device(lua_State *L, struct nbl *h, int t, const char *what,
	       const char *name, int *index);
/* the same where one must be */
int nbl_needdevice(lua_State *L, struct nbl *h, int t, const char *what,
		   const char *name, int *index);
/* the field netns, a pid or a handle of the namespace, as the attribute pid or
 * fd; false: absent */
bool nbl_putnetns(lua_State *L, struct nbl *h, int t, const char *what, int pid,
		  int fd);
/* boolean fields, one for each word -> the bits of the true ones */
uint32_t nbl_bits(lua_State *L, int t, const struct nb_word *words,
		  const char *what);

struct nbl_prefix {
	int family; /* AF_INET, AF_INET6 */
	uint8_t bytes[16];
	uint8_t size, len; /* in bytes, in bits */
	bool given;	   /* the length was in the text */
};
/* "10.0.0.0/8", "fd00::1"; false: neither */
bool nbl_prefixof(const char *text, struct nbl_prefix *p);
/* the same of a field, which raises when it is none; false: absent */
bool nbl_prefix(lua_State *L, int t, const char *name, const char *what,
		struct nbl_prefix *p);
void nbl_pushprefix(lua_State *L, const void *bytes, size_t size,
		    int len); /* len -1: an address */

/* these set fields of the record on top */
void nbl_setbits(lua_State *L, const struct nb_word *words, uint64_t bits);
void nbl_setword(lua_State *L, const char *name, const struct nb_word *words,
		 uint64_t value);
void nbl_setint(lua_State *L, const char *name, lua_Integer value);

/* the start of a binding nl:x_list([filter]): the filter is at 2 */
struct nbl *nbl_list(lua_State *L, const char *verb);
/* drops the records of the list whose field is not the value on top, which it
 * pops; for what kernels do not filter */
void nbl_keep(lua_State *L, int list, const char *name);

/* --- the types of object --- */

extern const luaL_Reg nbl_batchfuncs[]; /* nl_batch.c: of a handle */
extern const luaL_Reg nbl_batchmethods[];
extern const luaL_Reg nbl_batchmeta[];
/* IFLA_INFO_DATA of a kind from the table at t (nl_kinds.c) */
int nbl_putkind(lua_State *L, struct nbl *h, const char *kind, int t);
/* sets the field data of the record on top, if there is something in it */
void nbl_setkind(lua_State *L, const char *kind, struct nlattr *data);
/* the attribute that the other end of this kind is described in, or 0 */
int nbl_peerattr(const char *kind);
extern const luaL_Reg nbl_linkrequests[]; /* nl_link.c */
extern const luaL_Reg nbl_linkreads[];	  /* nl_linkread.c */
void nbl_pushlink(lua_State *L, const struct nlmsghdr *n);
extern const luaL_Reg nbl_portrequests[]; /* nl_port.c */
extern const luaL_Reg nbl_portreads[];
void nbl_pushport(lua_State *L, const struct nlmsghdr *n);
/* sets the field port of the record on top */
void nbl_setport(lua_State *L, struct nlattr *options);
extern const luaL_Reg nbl_tunfuncs[];	    /* nl_tun.c: of a handle */
extern const luaL_Reg nbl_sysctlfuncs[];    /* nl_sysctl.c: of the module */
extern const luaL_Reg nbl_socketfuncs[];    /* nl_sockets.c: the same */
extern const luaL_Reg nbl_iptablesfuncs[];  /* nl_iptables.c: the same */
extern const luaL_Reg nbl_conntrackfuncs[]; /* nl_conntrack.c: the same */
extern const luaL_Reg nbl_monitorfuncs[];   /* nl_monitor.c: the same */
extern const luaL_Reg nbl_monitormethods[];
extern const luaL_Reg nbl_monitormeta[];
extern const luaL_Reg nbl_addrrequests[]; /* nl_addr.c */
extern const luaL_Reg nbl_addrreads[];
void nbl_pushaddr(lua_State *L, const struct nlmsghdr *n);
extern const luaL_Reg nbl_routerequests[]; /* nl_route.c */
extern const luaL_Reg nbl_routereads[];
void nbl_pushroute(lua_State *L, const struct nlmsghdr *n);
extern const struct nb_word nbl_protocols[]; /* that made a route, a rule */
extern const luaL_Reg nbl_qdiscrequests[];   /* nl_qdisc.c */
extern const luaL_Reg nbl_qdiscreads[];
extern const luaL_Reg nbl_rulerequests[]; /* nl_rule.c */
extern const luaL_Reg nbl_rulereads[];
void nbl_pushrule(lua_State *L, const struct nlmsghdr *n);
extern const luaL_Reg nbl_nsidrequests[]; /* nl_nsid.c */
extern const luaL_Reg nbl_nsidreads[];
extern const luaL_Reg nbl_neighrequests[]; /* nl_neigh.c */
extern const luaL_Reg nbl_neighreads[];
void nbl_pushneigh(lua_State *L, const struct nlmsghdr *n);
void nbl_pushfdb(lua_State *L, const struct nlmsghdr *n);
/* TCA_OPTIONS of a kind, of a class of it, from the value on top, which stays
 * (nl_qkinds.c) */
int nbl_putqkind(lua_State *L, struct nbl *h, const char *kind, bool class);
/* sets the field data of the record on top */
void nbl_setqkind(lua_State *L, const char *kind, bool class,
		  struct nlattr *options);

#endif
