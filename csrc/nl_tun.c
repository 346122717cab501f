/*
 * nl_tun.c - tun and tap devices that stay
 *
 * They are made by a file, not by a message: it belongs to the namespace in
 * which it is opened, so it is opened there, as the handle's socket was.
 * See tun in the kernel's networking documentation, ip-tuntap(8).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>

#include "nl.h"

/***
@submodule nsbox.sys.netlink
*/

/***
A handle.
@type nsbox.netlink
*/

struct tun {
	struct ifreq ifr;
	int64_t user, group; /* -1: anybody with the privilege */
	bool persist;
};

static int withdevice(const struct tun *t, int fd)
{
	struct ifreq ifr = t->ifr;

	if (ioctl(fd, TUNSETIFF, &ifr) < 0 ||
	    (t->user >= 0 && ioctl(fd, TUNSETOWNER, t->user) < 0) ||
	    (t->group >= 0 && ioctl(fd, TUNSETGROUP, t->group) < 0) ||
	    (t->persist && ioctl(fd, TUNSETPERSIST, 1) < 0))
		return -errno;
	return 0;
}

/* the descriptor of the new device, in its namespace */
static int maketun(void *arg)
{
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	int err;

	if (fd < 0)
		return -errno;
	err = withdevice(arg, fd);
	if (!err)
		return fd;
	close(fd);
	return err;
}

/* the descriptor; its name is then in t */
static int tuntap(const struct nbl *h, struct tun *t)
{
	int err = nb_fault(h->verb), nsfd, fd;

	if (err)
		return -err;
	nsfd = ioctl(h->h.fd, SIOCGSKNS);
	if (nsfd < 0)
		return -errno;
	fd = nb_within(nsfd, maketun, t);
	nb_close(nsfd);
	if (fd < 0)
		return fd;
	if (ioctl(fd, TUNGETIFF, &t->ifr) < 0) {
		err = -errno;
		nb_close(fd);
		return err;
	}
	return fd;
}

static const struct nb_word modes[] = {
    {"tun", IFF_TUN}, {"tap", IFF_TAP}, {NULL, 0}};

/***
Make a tun or tap device that stays when nobody has it open.
@function tuntap_add
@tparam table device the name (absent: the kernel's choice), and `mode`, `"tun"`
  or `"tap"`; `user`, `group`: ids that may open it; `multi_queue`, `pi`,
  `vnet_hdr`; `persist`: false for one that goes with its file
@treturn string the name
@treturn ?userdata the file, unless it stays without
@return[2] nil, message, errno: EBUSY when there is one; ENOENT without
  `/dev/net/tun`
@see ip-tuntap(8)
*/
static int tuntap_add(lua_State *L)
{
	static const char *const known[] = {
	    "1",	"mode",	       "user",	  "group", "pi",
	    "vnet_hdr", "multi_queue", "persist", NULL};
	struct nbl *h = nbl_check(L, 1);
	struct nb_fd *file;
	struct tun t;
	int flags, fd;

	luaL_checktype(L, 2, LUA_TTABLE);
	memset(&t, 0, sizeof(t));
	nb_checkfields(L, 2, known, "tuntap");
	lua_rawgeti(L, 2, 1);
	if (!lua_isnil(L, -1))
		memccpy(t.ifr.ifr_name,
			nbl_checkname(L, lua_gettop(L), "tuntap", "1"), 0,
			IFNAMSIZ);
	lua_getfield(L, 2, "mode");
	flags = (int)nb_checkword(L, -1, modes, "mode");
	/* or it would be the one that is there */
	flags |= IFF_TUN_EXCL;
	flags |= nb_fieldbool(L, 2, "pi", false) ? 0 : IFF_NO_PI;
	flags |= nb_fieldbool(L, 2, "vnet_hdr", false) ? IFF_VNET_HDR : 0;
	flags |= nb_fieldbool(L, 2, "multi_queue", false) ? IFF_MULTI_QUEUE : 0;
	t.ifr.ifr_flags = (short)flags;
	t.user = nb_fieldint(L, 2, "user", 0, UINT32_MAX, -1);
	t.group = nb_fieldint(L, 2, "group", 0, UINT32_MAX, -1);
	t.persist = nb_fieldbool(L, 2, "persist", true);
	nbl_begin(h, "tuntap_add", t.ifr.ifr_name);
	file = nb_newfd(L);

	fd = tuntap(h, &t);

	if (fd < 0)
		return nb_fail(L, -fd, h->subject);
	file->fd = fd;
	lua_pushstring(L, t.ifr.ifr_name);
	if (!t.persist) {
		lua_insert(L, -2);
		return 2;
	}
	file->fd = -1;
	nb_close(fd);
	return 1;
}

/***
Let a device stay that was made with `persist = false`.
@function tuntap_keep
@tparam userdata|integer file as @{tuntap_add} returned it
@treturn boolean true
@return[2] nil, message, errno
@see ip-tuntap(8)
*/
static int tuntap_keep(lua_State *L)
{
	struct nbl *h = nbl_check(L, 1);
	int fd = nb_checkfd(L, 2), err;

	err = nb_fault("tuntap_keep");
	if (!err && ioctl(fd, TUNSETPERSIST, 1) < 0)
		err = errno;

	if (err) {
		nbl_begin(h, "tuntap_keep", NULL);
		return nb_fail(L, err, h->subject);
	}
	lua_pushboolean(L, 1);
	return 1;
}

const luaL_Reg nbl_tunfuncs[] = {
    {"tuntap_add", tuntap_add},
    {"tuntap_keep", tuntap_keep},
    {NULL, NULL},
};
