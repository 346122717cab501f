/*
 * nl_qdisc.c - queueing disciplines and their classes: add, replace, del, list
 *
 * Owns where one is: "root", "ingress", "1:10".  What a kind has of its own is
 * in nl_qkinds.c.  See rtnetlink(7), tc(8).
 */
#include <linux/gen_stats.h>
#include <linux/pkt_sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nl.h"

/***
@submodule nsbox.sys.netlink
*/

/***
A handle.
@type nsbox.netlink
*/

static const struct nb_word places[] = {
    {"root", TC_H_ROOT}, {"ingress", TC_H_INGRESS}, {NULL, 0}};

static const struct nbl_attr qdisc_map[] = {
    {.name = "dev"},	{.name = "kind"}, {.name = "parent"},
    {.name = "handle"}, {.name = "data"}, {NULL}};

static const struct nbl_attr class_map[] = {
    {.name = "dev"},	 {.name = "kind"}, {.name = "parent"},
    {.name = "classid"}, {.name = "data"}, {NULL}};

/* --- places --- */

/* one to four hexadecimal digits, or none */
static const char *half(const char *s, uint32_t *value)
{
	size_t n = strspn(s, "0123456789abcdefABCDEF");

	*value = (uint32_t)strtoul(n ? s : "0", NULL, 16);
	return n <= 4 ? s + n : "?";
}

static bool placeof(const char *s, uint32_t *place)
{
	uint32_t major, minor;

	for (const struct nb_word *w = places; w->word; w++) {
		if (strcmp(s, w->word) == 0) {
			*place = (uint32_t)w->value;
			return true;
		}
	}
	s = half(s, &major);
	if (*s != ':')
		return false;
	s = half(s + 1, &minor);
	*place = major << 16 | minor;
	return !*s;
}

static uint32_t place(lua_State *L, int t, const char *what, const char *name,
		      uint32_t absent)
{
	uint32_t value = absent;

	if (!nbl_field(L, t, name, LUA_TSTRING, what))
		return absent;
	if (!placeof(lua_tostring(L, -1), &value))
		nbl_badfield(L, what, name,
			     "\"root\", \"ingress\", \"1:\" or \"1:10\"");
	lua_pop(L, 1);
	return value;
}

static void setplace(lua_State *L, const char *name, uint32_t value)
{
	char text[16];
	const char *word = nb_wordof(places, value);

	if (!value)
		return;
	if (value & 0xffff)
		snprintf(text, sizeof(text), "%x:%x", value >> 16,
			 value & 0xffff);
	else
		snprintf(text, sizeof(text), "%x:", value >> 16);
	lua_pushstring(L, word ? word : text);
	lua_setfield(L, -2, name);
}

/* --- requests --- */

/* "tbf dev eth0", "1:10 dev eth0": what failures name */
static void begin(lua_State *L, struct nbl *h, int t, const char *kind)
{
	if (nbl_field(L, t, "classid", LUA_TSTRING, "class"))
		kind = lua_tostring(L, -1);
	nbl_begin(h, h->verb, kind);
	lua_getfield(L, t, "dev");
	nbl_name(L, h, " dev ", -1);
	lua_settop(L, t);
}

static int build(lua_State *L, struct nbl *h, int t, int type, int options)
{
	bool class = type == RTM_NEWTCLASS || type == RTM_DELTCLASS;
	bool make = type == RTM_NEWTCLASS || type == RTM_NEWQDISC;
	const char *what = class ? "class" : "qdisc", *kind = NULL;
	struct tcmsg tc = {.tcm_family = AF_UNSPEC};
	bool in = false;
	int failed;

	if (nbl_field(L, t, "kind", LUA_TSTRING, what)) {
		kind = lua_tostring(L, -1);
		lua_pop(L, 1); /* the table keeps it */
		in =
		    strcmp(kind, "ingress") == 0 || strcmp(kind, "clsact") == 0;
	} else if (make) {
		nbl_badfield(L, what, "kind", "string");
	}
	begin(L, h, t, kind);
	failed = nbl_needdevice(L, h, t, what, "dev", &tc.tcm_ifindex);
	if (failed)
		return failed;
	if (class) {
		tc.tcm_handle = place(L, t, what, "classid", 0);
		tc.tcm_parent = place(L, t, what, "parent", 0);
		if (!tc.tcm_handle)
			nbl_badfield(L, what, "classid", "\"1:10\"");
	} else {
		tc.tcm_handle = place(L, t, what, "handle",
				      in ? TC_H_MAKE(TC_H_INGRESS, 0) : 0);
		tc.tcm_parent =
		    place(L, t, what, "parent", in ? TC_H_INGRESS : TC_H_ROOT);
	}
	nbl_message(L, h, type, options, &tc, sizeof(tc));
	if (kind)
		nbl_put(L, h, TCA_KIND, kind, strlen(kind) + 1);
	lua_getfield(L, t, "data");
	if (make && !lua_isnil(L, -1)) {
		failed = nbl_putqkind(L, h, kind, class);
		if (failed)
			return failed;
	}
	lua_pop(L, 1);
	return nbl_putfields(L, h, t, class ? class_map : qdisc_map, what);
}

static int build_qdiscadd(lua_State *L, struct nbl *h, int t)
{
	return build(L, h, t, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL);
}

/***
Give a device a queueing discipline.

Rates are bits per second, sizes bytes, times microseconds, shares numbers from
0 to 1.
@function qdisc_add
@tparam table qdisc

  - `dev`: the device, by name or index
  - `kind`: `"tbf"` `"htb"` `"netem"` `"fq_codel"` `"ingress"` …
  - `parent`: `"root"`, if absent, or a class, `"1:10"`; `handle`: `"1:"`
  - `data`: what the kind has of its own, in the words of `tc`, times in
    microseconds. tbf: `rate` `burst` `limit` or `latency`, `peakrate` with
    `mtu`, `mpu` `overhead`; htb: `default` (the minor number of a class) `r2q`
    `direct_qlen`; netem: `delay` `jitter` `loss` `duplicate` `reorder`
`corrupt`, each with a correlation `delay_corr` …, `limit` (packets) `gap`
`rate` `ecn`; fq_codel: `limit` `flows` `quantum` `target` `interval` …; pfifo,
bfifo: `limit`. For kinds not known here the bytes of TCA_OPTIONS
@treturn boolean true
@treturn ?string a warning of the kernel's
@return[2] nil, message, errno: EEXIST "Exclusivity flag on, cannot modify";
  ENOENT "Specified qdisc kind is unknown"
@see tc(8)
*/
static int qdisc_add(lua_State *L)
{
	return nbl_request(L, "qdisc_add", build_qdiscadd);
}

static int build_qdiscreplace(lua_State *L, struct nbl *h, int t)
{
	return build(L, h, t, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE);
}

/***
Give a device a queueing discipline instead of the one that it has there; one
of the same kind and handle is changed.
@function qdisc_replace
@tparam table qdisc as in @{qdisc_add}
@treturn boolean true
@treturn ?string a warning of the kernel's
@return[2] nil, message, errno
@see tc(8)
*/
static int qdisc_replace(lua_State *L)
{
	return nbl_request(L, "qdisc_replace", build_qdiscreplace);
}

static int build_qdiscdel(lua_State *L, struct nbl *h, int t)
{
	return build(L, h, t, RTM_DELQDISC, 0);
}

/***
Take a queueing discipline from a device, which gets its first one back.
@function qdisc_del
@tparam table qdisc `dev`, and `parent`, `handle` or `kind`
@treturn boolean true
@return[2] nil, message, errno: ENOENT "Cannot delete qdisc with handle of zero"
@see tc(8)
*/
static int qdisc_del(lua_State *L)
{
	return nbl_request(L, "qdisc_del", build_qdiscdel);
}

static int build_classadd(lua_State *L, struct nbl *h, int t)
{
	return build(L, h, t, RTM_NEWTCLASS, NLM_F_CREATE | NLM_F_EXCL);
}

/***
Give a queueing discipline a class.
@function class_add
@tparam table class `dev`; `kind`, that of the discipline; `classid`: `"1:10"`;
  `parent`: `"1:"` or a class; `data`, of htb: `rate` `ceil` (bits per second)
  `burst` `cburst` `quantum` `mpu` `overhead` (bytes) `prio`
@treturn boolean true
@treturn ?string a warning of the kernel's
@return[2] nil, message, errno
@see tc(8)
*/
static int class_add(lua_State *L)
{
	return nbl_request(L, "class_add", build_classadd);
}

static int build_classreplace(lua_State *L, struct nbl *h, int t)
{
	return build(L, h, t, RTM_NEWTCLASS, NLM_F_CREATE | NLM_F_REPLACE);
}

/***
Give a queueing discipline a class, or change the one that it has.
@function class_replace
@tparam table class as in @{class_add}
@treturn boolean true
@treturn ?string a warning of the kernel's
@return[2] nil, message, errno
@see tc(8)
*/
static int class_replace(lua_State *L)
{
	return nbl_request(L, "class_replace", build_classreplace);
}

static int build_classdel(lua_State *L, struct nbl *h, int t)
{
	return build(L, h, t, RTM_DELTCLASS, 0);
}

/***
Delete a class.
@function class_del
@tparam table class `dev` `classid`
@treturn boolean true
@return[2] nil, message, errno: ENOENT, EBUSY
@see tc(8)
*/
static int class_del(lua_State *L)
{
	return nbl_request(L, "class_del", build_classdel);
}

/* --- reads --- */

static void setstats(lua_State *L, struct nlattr *nest)
{
	struct nlattr *tb[NBL_TB];

	nbl_parsenested(tb, nest);
	lua_createtable(L, 0, 7);
	if (tb[TCA_STATS_BASIC]) {
		struct gnet_stats_basic basic = {0};

		nla_memcpy(&basic, tb[TCA_STATS_BASIC], sizeof(basic));
		nbl_setint(L, "bytes", (lua_Integer)basic.bytes);
		nbl_setint(L, "packets", basic.packets);
	}
	if (tb[TCA_STATS_PKT64])
		nbl_setint(L, "packets",
			   (lua_Integer)nla_get_u64(tb[TCA_STATS_PKT64]));
	if (tb[TCA_STATS_QUEUE]) {
		struct gnet_stats_queue queue = {0};

		nla_memcpy(&queue, tb[TCA_STATS_QUEUE], sizeof(queue));
		nbl_setint(L, "qlen", queue.qlen);
		nbl_setint(L, "backlog", queue.backlog);
		nbl_setint(L, "drops", queue.drops);
		nbl_setint(L, "requeues", queue.requeues);
		nbl_setint(L, "overlimits", queue.overlimits);
	}
	lua_setfield(L, -2, "stats");
}

static void push(lua_State *L, const struct nlmsghdr *n, bool class)
{
	struct nlattr *tb[NBL_TB];
	const struct tcmsg *tc = nbl_open(n, sizeof(*tc), tb);
	const char *kind = tc ? nbl_text(tb[TCA_KIND]) : NULL;

	if (!kind) {
		lua_pushnil(L);
		return;
	}
	lua_createtable(L, 0, 6);
	lua_pushstring(L, kind);
	lua_setfield(L, -2, "kind");
	nbl_setint(L, "dev", tc->tcm_ifindex);
	setplace(L, class ? "classid" : "handle", tc->tcm_handle);
	setplace(L, "parent", tc->tcm_parent);
	if (tb[TCA_OPTIONS])
		nbl_setqkind(L, kind, class, tb[TCA_OPTIONS]);
	if (tb[TCA_STATS2])
		setstats(L, tb[TCA_STATS2]);
}

static void pushqdisc(lua_State *L, const struct nlmsghdr *n)
{
	push(L, n, false);
}

static void pushclass(lua_State *L, const struct nlmsghdr *n)
{
	push(L, n, true);
}

/***
The records of the queueing disciplines, of all devices or of one.
@function qdisc_list
@tparam[opt] table filter `dev`
@treturn table list of `{ kind dev handle parent data stats }`, in the words of
  @{qdisc_add}; `burst` is as near as the kernel's clock keeps it; `stats` has
  `bytes` `packets` `drops` `overlimits` `requeues` `backlog` `qlen`
@treturn ?string "interrupted" when they changed, each time it was tried
@return[2] nil, message, errno
@see tc(8)
*/
static int qdisc_list(lua_State *L)
{
	static const struct nbl_attr map[] = {{.name = "dev"}, {NULL}};
	struct nbl *h = nbl_list(L, "qdisc_list");
	struct tcmsg tc = {0};
	int failed, results;

	failed = nbl_device(L, h, 2, "filter", "dev", &tc.tcm_ifindex);
	if (failed)
		return failed;
	nbl_message(L, h, RTM_GETQDISC, 0, &tc, sizeof(tc));
	failed = nbl_putfields(L, h, 2, map, "filter");
	if (failed)
		return failed;
	results = nbl_dump(L, h, pushqdisc);
	/* the kernel shows those of all devices all the same */
	if (tc.tcm_ifindex && results < 3) {
		int list = lua_gettop(L) - results + 1;

		lua_pushinteger(L, tc.tcm_ifindex);
		nbl_keep(L, list, "dev");
	}
	return results;
}

/***
The records of the classes of a device.
@function class_list
@tparam table filter `dev`
@treturn table list of `{ kind dev classid parent data stats }`
@treturn ?string "interrupted" when they changed, each time it was tried
@return[2] nil, message, errno
@see tc(8)
*/
static int class_list(lua_State *L)
{
	static const struct nbl_attr map[] = {{.name = "dev"}, {NULL}};
	struct nbl *h = nbl_list(L, "class_list");
	struct tcmsg tc = {0};
	int failed;

	failed = nbl_needdevice(L, h, 2, "filter", "dev", &tc.tcm_ifindex);
	if (failed)
		return failed;
	nbl_message(L, h, RTM_GETTCLASS, 0, &tc, sizeof(tc));
	failed = nbl_putfields(L, h, 2, map, "filter");
	return failed ? failed : nbl_dump(L, h, pushclass);
}

const luaL_Reg nbl_qdiscrequests[] = {
    {"class_add", class_add},
    {"class_del", class_del},
    {"class_replace", class_replace},
    {"qdisc_add", qdisc_add},
    {"qdisc_del", qdisc_del},
    {"qdisc_replace", qdisc_replace},
    {NULL, NULL},
};

const luaL_Reg nbl_qdiscreads[] = {
    {"class_list", class_list},
    {"qdisc_list", qdisc_list},
    {NULL, NULL},
};
