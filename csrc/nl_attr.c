/*
 * nl_attr.c - attributes as fields: words outside, numbers inside
 *
 * One map per object, for both directions.  Must not know any object.  What a
 * field cannot be raises here, before anything is sent.
 * See netlink(7), and libnl's netlink/attr.h.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "nl.h"

void nbl_badfield(lua_State *L, const char *what, const char *name,
		  const char *expected)
{
	luaL_error(L, "%s: field '%s': %s expected", what, name, expected);
	__builtin_unreachable();
}

/* --- values --- */

static uint64_t checkuint(lua_State *L, const struct nbl_attr *a,
			  const char *what, uint64_t max)
{
	lua_Integer n;
	int isint = 0;

	if (a->max)
		max = a->max;
	n = lua_type(L, -1) == LUA_TNUMBER ? lua_tointegerx(L, -1, &isint) : 0;
	if (!isint || n < 0 || (uint64_t)n > max)
		nbl_badfield(L, what, a->name,
			     lua_pushfstring(L, "integer from 0 to %I",
					     (LUAI_UACINT)(max > LUA_MAXINTEGER
							       ? LUA_MAXINTEGER
							       : max)));
	return (uint64_t)n;
}

static int32_t checkint(lua_State *L, const struct nbl_attr *a,
			const char *what)
{
	lua_Integer n;
	int isint = 0;

	n = lua_type(L, -1) == LUA_TNUMBER ? lua_tointegerx(L, -1, &isint) : 0;
	if (!isint || n < INT32_MIN || n > INT32_MAX)
		nbl_badfield(L, what, a->name, "integer of 32 bits");
	return (int32_t)n;
}

static bool checkbool(lua_State *L, const struct nbl_attr *a, const char *what)
{
	if (!lua_isboolean(L, -1))
		nbl_badfield(L, what, a->name, "true or false");
	return lua_toboolean(L, -1);
}

static const char *checkstring(lua_State *L, const char *what, const char *name,
			       size_t max)
{
	const char *s;
	size_t len;

	if (lua_type(L, -1) != LUA_TSTRING)
		nbl_badfield(L, what, name, "string");
	s = lua_tolstring(L, -1, &len);
	if (strlen(s) != len)
		nbl_badfield(L, what, name, "string without zeros");
	if (max && len > max)
		nbl_badfield(L, what, name,
			     lua_pushfstring(L, "at most %d bytes", (int)max));
	return s;
}

/* one of the words, or a number that has none */
static uint64_t checkword(lua_State *L, const struct nbl_attr *a,
			  const char *what, uint64_t max)
{
	const char *list = "";

	if (lua_isinteger(L, -1))
		return checkuint(L, a, what, max);
	if (lua_type(L, -1) == LUA_TSTRING)
		for (const struct nb_word *w = a->words; w->word; w++)
			if (strcmp(w->word, lua_tostring(L, -1)) == 0)
				return w->value;
	for (const struct nb_word *w = a->words; w->word; w++)
		list = lua_pushfstring(L, "%s%s%s", list, *list ? ", " : "",
				       w->word);
	nbl_badfield(L, what, a->name, lua_pushfstring(L, "one of %s", list));
}

static int hexdigit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* six pairs of digits and five colons, nothing else */
static bool macof(const char *s, uint8_t mac[6])
{
	for (int i = 0; i < 6; i++, s += 3) {
		int high = hexdigit(s[0]);
		int low = high < 0 ? -1 : hexdigit(s[1]);

		if (low < 0 || s[2] != (i < 5 ? ':' : '\0'))
			return false;
		mac[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

void nbl_pushmac(lua_State *L, const uint8_t *bytes, size_t len)
{
	static const char digits[] = "0123456789abcdef";
	char text[3 * 32];
	size_t n = 0;

	for (size_t i = 0; i < len && i < 32; i++) {
		if (i)
			text[n++] = ':';
		text[n++] = digits[bytes[i] >> 4];
		text[n++] = digits[bytes[i] & 15];
	}
	lua_pushlstring(L, text, n);
}

int nbl_address(const char *text, void *bytes)
{
	if (inet_pton(AF_INET, text, bytes) == 1)
		return AF_INET;
	return inet_pton(AF_INET6, text, bytes) == 1 ? AF_INET6 : 0;
}

/* --- devices --- */

const char *nbl_checkname(lua_State *L, int idx, const char *what,
			  const char *field)
{
	const char *s;
	size_t len;

	/* the value may be anywhere, checkstring looks at the top */
	lua_pushvalue(L, idx);
	s = checkstring(L, what, field, IFNAMSIZ - 1);
	lua_pop(L, 1);
	len = strlen(s);
	if (!len || strcmp(s, ".") == 0 || strcmp(s, "..") == 0 ||
	    strcspn(s, "/: \t\n\v\f\r") != len)
		nbl_badfield(L, what, field,
			     "a device name, without blanks, / and :,");
	return s;
}

int nbl_index(lua_State *L, struct nbl *h, int idx, const char *what,
	      const char *field, int *index)
{
	struct ifreq ifr;
	lua_Integer n;

	if (lua_isinteger(L, idx)) {
		n = lua_tointeger(L, idx);
		if (n < 1 || n > INT32_MAX)
			nbl_badfield(L, what, field, "an index from 1 on");
		*index = (int)n;
		return 0;
	}
	memset(&ifr, 0, sizeof(ifr));
	if (lua_type(L, idx) != LUA_TSTRING)
		nbl_badfield(L, what, field, "a device, by name or index,");
	memccpy(ifr.ifr_name, nbl_checkname(L, idx, what, field), 0, IFNAMSIZ);
	/* any socket can, and it is a quarter of an RTM_GETLINK */
	if (ioctl(h->h.fd, SIOCGIFINDEX, &ifr) < 0) {
		int err = errno;

		/* the subject names what the request is about */
		return nb_fail(L, err,
			       strcmp(field, "1") == 0
				   ? h->subject
				   : lua_pushfstring(L, "%s: %s %s", h->subject,
						     field, ifr.ifr_name));
	}
	*index = ifr.ifr_ifindex;
	return 0;
}

/* --- writing --- */

/* the value on top; false: it is of another kind than this attribute, which
 * a second one of the same name may be of */
static bool putaddress(lua_State *L, struct nbl *h, const struct nbl_attr *a,
		       const char *what)
{
	uint8_t bytes[16];
	int family = nbl_address(checkstring(L, what, a->name, 0), bytes);

	if (!family)
		nbl_badfield(L, what, a->name, "an address, without prefix,");
	if ((a->type == NBL_IP4 && family != AF_INET) ||
	    (a->type == NBL_IP6 && family != AF_INET6))
		return false;
	nbl_put(L, h, a->number, bytes, family == AF_INET ? 4 : 16);
	return true;
}

static void putuint(lua_State *L, struct nbl *h, const struct nbl_attr *a,
		    uint64_t value)
{
	uint8_t u8 = (uint8_t)value;
	uint16_t u16 = (uint16_t)value;

	switch (a->type) {
	case NBL_U8:
	case NBL_WORD8:
	case NBL_BOOL8:
		nbl_put(L, h, a->number, &u8, sizeof(u8));
		break;
	case NBL_BE16:
	case NBL_WORDBE16:
		u16 = htons(u16);
		/* fall through */
	case NBL_U16:
	case NBL_WORD16:
		nbl_put(L, h, a->number, &u16, sizeof(u16));
		break;
	case NBL_U64:
		nbl_put(L, h, a->number, &value, sizeof(value));
		break;
	case NBL_BE32:
		value = htonl((uint32_t)value);
		/* fall through */
	default:
		nbl_putu32(L, h, a->number, (uint32_t)value);
	}
}

static void putmac(lua_State *L, struct nbl *h, const struct nbl_attr *a,
		   const char *what)
{
	uint8_t mac[6];

	if (!macof(checkstring(L, what, a->name, 0), mac))
		nbl_badfield(L, what, a->name, "aa:bb:cc:dd:ee:ff");
	nbl_put(L, h, a->number, mac, sizeof(mac));
}

static const uint64_t limits[] = {
    [NBL_U8] = UINT8_MAX,      [NBL_U16] = UINT16_MAX,
    [NBL_BE16] = UINT16_MAX,   [NBL_U32] = UINT32_MAX,
    [NBL_BE32] = UINT32_MAX,   [NBL_U64] = LUA_MAXINTEGER,
    [NBL_WORD8] = UINT8_MAX,   [NBL_WORD16] = UINT16_MAX,
    [NBL_WORD32] = UINT32_MAX, [NBL_WORDBE16] = UINT16_MAX,
};

enum { DONE = -1, OTHER = -2 };

/* the value on top: DONE, OTHER, or the results of a failure */
static int putvalue(lua_State *L, struct nbl *h, const struct nbl_attr *a,
		    const char *what)
{
	const char *s;
	int index = 0, failed = 0;

	switch (a->type) {
	case NBL_OWN:
		break;
	case NBL_BOOL8:
	case NBL_BOOL32:
		putuint(L, h, a, checkbool(L, a, what));
		break;
	case NBL_FLAG:
		if (checkbool(L, a, what))
			nbl_put(L, h, a->number, NULL, 0);
		break;
	case NBL_S32:
		nbl_putu32(L, h, a->number, (uint32_t)checkint(L, a, what));
		break;
	case NBL_STRING:
		s = checkstring(L, what, a->name, a->max);
		nbl_put(L, h, a->number, s, strlen(s) + 1);
		break;
	case NBL_TEXT:
		s = checkstring(L, what, a->name, a->max);
		nbl_put(L, h, a->number, s, strlen(s));
		break;
	case NBL_MAC:
		putmac(L, h, a, what);
		break;
	case NBL_IP:
	case NBL_IP4:
	case NBL_IP6:
		return putaddress(L, h, a, what) ? DONE : OTHER;
	case NBL_WORD8:
	case NBL_WORD16:
	case NBL_WORD32:
	case NBL_WORDBE16:
		putuint(L, h, a, checkword(L, a, what, limits[a->type]));
		break;
	case NBL_INDEX:
		if (!lua_isboolean(L, -1) || lua_toboolean(L, -1))
			failed = nbl_index(L, h, lua_gettop(L), what, a->name,
					   &index);
		if (failed)
			return failed;
		nbl_putu32(L, h, a->number, (uint32_t)index);
		break;
	default:
		putuint(L, h, a, checkuint(L, a, what, limits[a->type]));
	}
	return DONE;
}

_Noreturn static void unknownfield(lua_State *L, const char *name,
				   const struct nbl_attr *map, const char *what)
{
	struct nb_nearest best = {NULL, 0};
	const char *hint = "";

	for (; map->name; map++)
		if (map->only != NBL_READ)
			nb_nearest(&best, name, map->name);
	if (best.name)
		hint = lua_pushfstring(L, " (did you mean '%s'?)", best.name);
	luaL_error(L, "%s: unknown field '%s'%s", what, name, hint);
	__builtin_unreachable();
}

int nbl_putfields(lua_State *L, struct nbl *h, int t,
		  const struct nbl_attr *map, const char *what)
{
	luaL_checkstack(L, 8, NULL);
	lua_pushnil(L);
	while (lua_next(L, t)) {
		const char *name;
		int value = lua_gettop(L), how = OTHER;
		bool known = false;

		if (lua_type(L, -2) == LUA_TSTRING) {
			name = lua_tostring(L, -2);
		} else { /* not in place: the key must not change */
			name = luaL_tolstring(L, -2, NULL);
			lua_pushvalue(L, value);
		}
		for (const struct nbl_attr *a = map; a->name && how == OTHER;
		     a++) {
			if (a->only == NBL_READ || strcmp(a->name, name) != 0)
				continue;
			known = true;
			how = putvalue(L, h, a, what);
		}
		if (how > 0)
			return how;
		if (!known)
			unknownfield(L, name, map, what);
		if (how == OTHER)
			nbl_badfield(L, what, name,
				     "an address of the other family");
		lua_settop(L, value - 1);
	}
	return 0;
}

int nbl_putsome(lua_State *L, struct nbl *h, int t, const struct nbl_attr *map,
		const char *what)
{
	luaL_checkstack(L, 8, NULL);
	for (; map->name; map++) {
		int how = DONE;

		lua_pushstring(L, map->name);
		lua_rawget(L, t);
		if (!lua_isnil(L, -1))
			how = putvalue(L, h, map, what);
		if (how > 0)
			return how;
		if (how == OTHER)
			nbl_badfield(L, what, map->name,
				     "an address of the other family");
		lua_pop(L, 1);
	}
	return 0;
}

bool nbl_number(lua_State *L, int t, const struct nbl_attr *a, const char *what,
		uint64_t *value)
{
	lua_pushstring(L, a->name);
	lua_rawget(L, t);
	if (lua_isnil(L, -1)) {
		lua_pop(L, 1);
		return false;
	}
	if (a->words)
		*value = checkword(L, a, what, limits[a->type]);
	else
		*value = checkuint(L, a, what, limits[a->type]);
	lua_pop(L, 1);
	return true;
}

/* --- reading --- */

void nbl_parse(struct nlattr *tb[NBL_TB], struct nlattr *first, size_t len)
{
	nla_parse(tb, NBL_TB - 1, first, (int)len, NULL);
}

void nbl_parsenested(struct nlattr *tb[NBL_TB], struct nlattr *nest)
{
	nbl_parse(tb, nla_data(nest), (size_t)nla_len(nest));
}

const void *nbl_open(const struct nlmsghdr *n, size_t size,
		     struct nlattr *tb[NBL_TB])
{
	if ((size_t)nlmsg_datalen(n) < size)
		return NULL;
	nbl_parse(tb, nlmsg_attrdata(n, (int)size),
		  (size_t)nlmsg_attrlen(n, (int)size));
	return nlmsg_data(n);
}

const void *nbl_data(const struct nlattr *nla, size_t size)
{
	return nla && (size_t)nla_len(nla) >= size ? nla_data(nla) : NULL;
}

const char *nbl_text(const struct nlattr *nla)
{
	const char *text = nbl_data(nla, 1);

	return text && memchr(text, '\0', (size_t)nla_len(nla)) ? text : NULL;
}

uint64_t nbl_uint(const struct nlattr *nla)
{
	switch (nla ? nla_len(nla) : 0) {
	case 1:
		return nla_get_u8(nla);
	case 2:
		return nla_get_u16(nla);
	case 4:
		return nla_get_u32(nla);
	case 8:
		return nla_get_u64(nla);
	default:
		return 0;
	}
}

static bool pushaddress(lua_State *L, const struct nlattr *nla,
			const struct nbl_attr *a)
{
	char text[INET6_ADDRSTRLEN];
	int family = nla_len(nla) == 4	  ? AF_INET
		     : nla_len(nla) == 16 ? AF_INET6
					  : 0;

	if (!family || (a->type == NBL_IP4 && family != AF_INET) ||
	    (a->type == NBL_IP6 && family != AF_INET6))
		return false;
	inet_ntop(family, nla_data(nla), text, sizeof(text));
	lua_pushstring(L, text);
	return true;
}

static void pushword(lua_State *L, const struct nb_word *words, uint64_t value)
{
	const char *word = nb_wordof(words, value);

	if (word)
		lua_pushstring(L, word);
	else
		lua_pushinteger(L, (lua_Integer)value);
}

/* false: there is nothing to show */
static bool pushvalue(lua_State *L, struct nlattr *nla,
		      const struct nbl_attr *a)
{
	uint64_t value;

	switch (a->type) {
	case NBL_OWN:
		return false;
	case NBL_FLAG: /* some are written as flags and shown as numbers */
		lua_pushboolean(L, !nla_len(nla) || nbl_uint(nla));
		return true;
	case NBL_STRING:
		lua_pushlstring(L, nla_data(nla),
				strnlen(nla_data(nla), (size_t)nla_len(nla)));
		return true;
	case NBL_MAC:
		nbl_pushmac(L, nla_data(nla), (size_t)nla_len(nla));
		return true;
	case NBL_IP:
	case NBL_IP4:
	case NBL_IP6:
		return pushaddress(L, nla, a);
	default:
		break;
	}
	value = nbl_uint(nla);
	switch (a->type) {
	case NBL_BOOL8:
	case NBL_BOOL32:
		lua_pushboolean(L, value != 0);
		break;
	case NBL_S32:
		lua_pushinteger(L, (int32_t)value);
		break;
	case NBL_BE16:
		lua_pushinteger(L, ntohs((uint16_t)value));
		break;
	case NBL_BE32:
		lua_pushinteger(L, ntohl((uint32_t)value));
		break;
	case NBL_WORDBE16:
		value = ntohs((uint16_t)value);
		/* fall through */
	case NBL_WORD8:
	case NBL_WORD16:
	case NBL_WORD32:
		pushword(L, a->words, value);
		break;
	case NBL_INDEX:
		if (!value)
			return false;
		/* fall through */
	default:
		lua_pushinteger(L, (lua_Integer)value);
	}
	return true;
}

void nbl_setfields(lua_State *L, struct nlattr *tb[NBL_TB],
		   const struct nbl_attr *map)
{
	for (; map->name; map++) {
		if (map->only == NBL_WRITE || !tb[map->number])
			continue;
		if (pushvalue(L, tb[map->number], map))
			lua_setfield(L, -2, map->name);
	}
}
