/*
 * nl_qkinds.c - what a kind of queueing discipline has of its own: TCA_OPTIONS
 *
 * Owns the units.  Rates are bits per second outside and bytes inside, times
 * are microseconds outside and ticks of 64 ns or nanoseconds inside, shares are
 * numbers from 0 to 1.  Rate tables of 256 entries, which tc still computes,
 * are not needed since Linux 3.13 where the link layer is given.
 * See tc(8), linux/pkt_sched.h.
 */
#include <linux/pkt_sched.h>
#include <string.h>

#include "nl.h"

#define TICK 64	 /* nanoseconds: PSCHED_SHIFT of the kernel */
#define MTU 1600 /* the burst of a class when there is none, as in tc */
#define SECOND 1e9

/* --- values --- */

/* a number from 0 to max; false: absent */
static bool amount(lua_State *L, int t, const char *name, const char *what,
		   double max, double *value)
{
	if (!nbl_field(L, t, name, LUA_TNUMBER, what))
		return false;
	*value = lua_tonumber(L, -1);
	lua_pop(L, 1);
	/* the way round that is false for NaN */
	if (!(*value >= 0 && *value <= max))
		nbl_badfield(L, what, name,
			     lua_pushfstring(L, "a number from 0 to %f", max));
	return true;
}

static bool u32(lua_State *L, int t, const char *name, const char *what,
		uint32_t *value)
{
	const struct nbl_attr a = {.name = name, 0, NBL_U32};
	uint64_t n;

	if (!nbl_number(L, t, &a, what, &n))
		return false;
	*value = (uint32_t)n;
	return true;
}

/* bits per second -> bytes per second; 0: absent */
static uint64_t rate(lua_State *L, int t, const char *name, const char *what)
{
	double bits;

	if (!amount(L, t, name, what, 1e18, &bits))
		return 0;
	if (bits < 8)
		nbl_badfield(L, what, name, "at least 8 bits per second");
	return (uint64_t)(bits / 8);
}

static uint64_t needrate(lua_State *L, int t, const char *name,
			 const char *what)
{
	uint64_t bytes = rate(L, t, name, what);

	if (!bytes)
		nbl_badfield(L, what, name, "bits per second");
	return bytes;
}

static struct tc_ratespec ratespec(uint64_t bytes)
{
	return (struct tc_ratespec){
	    .linklayer = TC_LINKLAYER_ETHERNET,
	    .rate = bytes < UINT32_MAX ? (uint32_t)bytes : UINT32_MAX,
	};
}

static void putrate64(lua_State *L, struct nbl *h, int number, uint64_t bytes)
{
	if (bytes >= UINT32_MAX)
		nbl_put(L, h, number, &bytes, sizeof(bytes));
}

/* the ticks that so many bytes take */
static uint32_t ticks(double bytes, uint64_t persecond)
{
	double n = bytes * SECOND / (double)persecond / TICK;

	return n < UINT32_MAX ? (uint32_t)n + 1 : UINT32_MAX;
}

static uint32_t share(lua_State *L, int t, const char *name, const char *what)
{
	double part = 0;

	amount(L, t, name, what, 1, &part);
	return (uint32_t)(part * UINT32_MAX + 0.5);
}

static void setshare(lua_State *L, const char *name, uint32_t value)
{
	if (!value)
		return;
	lua_pushnumber(L, (double)value / UINT32_MAX);
	lua_setfield(L, -2, name);
}

static uint64_t setrate(lua_State *L, const char *name,
			const struct tc_ratespec *spec, struct nlattr *wide)
{
	uint64_t bytes = wide ? nla_get_u64(wide) : spec->rate;

	if (bytes)
		nbl_setint(L, name,
			   bytes < LUA_MAXINTEGER / 8 ? (lua_Integer)bytes * 8
						      : LUA_MAXINTEGER);
	return bytes;
}

/* to the nearest byte: ticks are coarser at high rates; at most what can be
 * written */
static void setburst(lua_State *L, const char *name, uint32_t n, uint64_t bytes)
{
	double burst = (double)n * TICK * (double)bytes / SECOND + 0.5;

	nbl_setint(L, name,
		   burst < UINT32_MAX ? (lua_Integer)burst : UINT32_MAX);
}

static bool enough(const struct nlattr *nla, size_t size)
{
	return nla && (size_t)nla_len(nla) >= size;
}

/* --- tbf --- */

static const struct nbl_attr tbf_map[] = {
    {.name = "rate"},	  {.name = "burst"}, {.name = "limit"},
    {.name = "latency"},  {.name = "mpu"},   {.name = "overhead"},
    {.name = "peakrate"}, {.name = "mtu"},   {NULL}};

static int puttbf(lua_State *L, struct nbl *h, int t)
{
	uint64_t bytes = needrate(L, t, "rate", "tbf");
	uint64_t peak = rate(L, t, "peakrate", "tbf");
	struct tc_tbf_qopt opt = {.rate = ratespec(bytes)};
	uint32_t burst = 0, mtu = 0, mpu = 0, overhead = 0;
	double latency = 0, limit;
	bool limited = u32(L, t, "limit", "tbf", &opt.limit);

	if (!u32(L, t, "burst", "tbf", &burst) || !burst)
		nbl_badfield(L, "tbf", "burst", "bytes, at least one packet,");
	if (amount(L, t, "latency", "tbf", 1e12, &latency) == limited)
		nbl_badfield(L, "tbf", "limit",
			     "in bytes, or latency in microseconds,");
	if (!limited) {
		limit = (double)bytes * latency / 1e6 + burst;
		opt.limit = limit < UINT32_MAX ? (uint32_t)limit : UINT32_MAX;
	}
	if (u32(L, t, "mtu", "tbf", &mtu) != (peak > 0) || (peak && !mtu))
		nbl_badfield(L, "tbf", "mtu", "with peakrate, bytes");
	u32(L, t, "mpu", "tbf", &mpu);
	u32(L, t, "overhead", "tbf", &overhead);
	opt.rate.mpu = (uint16_t)mpu;
	opt.rate.overhead = (uint16_t)overhead;
	opt.buffer = ticks(burst, bytes);
	if (peak) {
		opt.peakrate = ratespec(peak);
		opt.peakrate.mpu = opt.rate.mpu;
		opt.peakrate.overhead = opt.rate.overhead;
		opt.mtu = ticks(mtu, peak);
	}
	nbl_put(L, h, TCA_TBF_PARMS, &opt, sizeof(opt));
	nbl_putu32(L, h, TCA_TBF_BURST, burst);
	putrate64(L, h, TCA_TBF_RATE64, bytes);
	if (peak) {
		putrate64(L, h, TCA_TBF_PRATE64, peak);
		nbl_putu32(L, h, TCA_TBF_PBURST, mtu);
	}
	return nbl_putfields(L, h, t, tbf_map, "tbf");
}

static void settbf(lua_State *L, struct nlattr *options)
{
	struct nlattr *tb[NBL_TB];
	const struct tc_tbf_qopt *opt;
	uint64_t bytes;

	nbl_parsenested(tb, options);
	if (!enough(tb[TCA_TBF_PARMS], sizeof(*opt)))
		return;
	opt = nla_data(tb[TCA_TBF_PARMS]);
	bytes = setrate(L, "rate", &opt->rate, tb[TCA_TBF_RATE64]);
	setburst(L, "burst", opt->buffer, bytes);
	nbl_setint(L, "limit", opt->limit);
	if (opt->rate.mpu)
		nbl_setint(L, "mpu", opt->rate.mpu);
	if (opt->rate.overhead)
		nbl_setint(L, "overhead", opt->rate.overhead);
	bytes = setrate(L, "peakrate", &opt->peakrate, tb[TCA_TBF_PRATE64]);
	if (bytes)
		setburst(L, "mtu", opt->mtu, bytes);
}

/* --- htb, and its classes --- */

static const struct nbl_attr htb_map[] = {
    {.name = "default"},
    {.name = "r2q"},
    {.name = "direct_qlen", TCA_HTB_DIRECT_QLEN, NBL_U32},
    {NULL}};

static int puthtb(lua_State *L, struct nbl *h, int t)
{
	struct tc_htb_glob opt = {.version = 3, .rate2quantum = 10};

	u32(L, t, "default", "htb", &opt.defcls);
	u32(L, t, "r2q", "htb", &opt.rate2quantum);
	nbl_put(L, h, TCA_HTB_INIT, &opt, sizeof(opt));
	return nbl_putfields(L, h, t, htb_map, "htb");
}

static void sethtb(lua_State *L, struct nlattr *options)
{
	struct nlattr *tb[NBL_TB];
	const struct tc_htb_glob *opt;

	nbl_parsenested(tb, options);
	nbl_setfields(L, tb, htb_map);
	if (!enough(tb[TCA_HTB_INIT], sizeof(*opt)))
		return;
	opt = nla_data(tb[TCA_HTB_INIT]);
	nbl_setint(L, "default", opt->defcls);
	nbl_setint(L, "r2q", opt->rate2quantum);
}

static const struct nbl_attr htbclass_map[] = {
    {.name = "rate"},	{.name = "ceil"},     {.name = "burst"},
    {.name = "cburst"}, {.name = "prio"},     {.name = "quantum"},
    {.name = "mpu"},	{.name = "overhead"}, {NULL}};

static int puthtbclass(lua_State *L, struct nbl *h, int t)
{
	uint64_t bytes = needrate(L, t, "rate", "htb");
	uint64_t top = rate(L, t, "ceil", "htb");
	uint32_t burst = MTU, cburst = MTU, mpu = 0, overhead = 0;
	struct tc_htb_opt opt = {.rate = ratespec(bytes)};

	if (!top)
		top = bytes;
	opt.ceil = ratespec(top);
	u32(L, t, "burst", "htb", &burst);
	u32(L, t, "cburst", "htb", &cburst);
	u32(L, t, "prio", "htb", &opt.prio);
	u32(L, t, "quantum", "htb", &opt.quantum);
	u32(L, t, "mpu", "htb", &mpu);
	u32(L, t, "overhead", "htb", &overhead);
	opt.rate.mpu = opt.ceil.mpu = (uint16_t)mpu;
	opt.rate.overhead = opt.ceil.overhead = (uint16_t)overhead;
	opt.buffer = ticks(burst, bytes);
	opt.cbuffer = ticks(cburst, top);
	putrate64(L, h, TCA_HTB_RATE64, bytes);
	putrate64(L, h, TCA_HTB_CEIL64, top);
	nbl_put(L, h, TCA_HTB_PARMS, &opt, sizeof(opt));
	return nbl_putfields(L, h, t, htbclass_map, "htb");
}

static void sethtbclass(lua_State *L, struct nlattr *options)
{
	struct nlattr *tb[NBL_TB];
	const struct tc_htb_opt *opt;

	nbl_parsenested(tb, options);
	if (!enough(tb[TCA_HTB_PARMS], sizeof(*opt)))
		return;
	opt = nla_data(tb[TCA_HTB_PARMS]);
	setburst(L, "burst", opt->buffer,
		 setrate(L, "rate", &opt->rate, tb[TCA_HTB_RATE64]));
	setburst(L, "cburst", opt->cbuffer,
		 setrate(L, "ceil", &opt->ceil, tb[TCA_HTB_CEIL64]));
	nbl_setint(L, "prio", opt->prio);
	nbl_setint(L, "quantum", opt->quantum);
}

/* --- netem: a struct, and attributes behind it --- */

static const struct nbl_attr netem_map[] = {
    {.name = "delay"},
    {.name = "jitter"},
    {.name = "delay_corr"},
    {.name = "loss"},
    {.name = "loss_corr"},
    {.name = "duplicate"},
    {.name = "duplicate_corr"},
    {.name = "reorder"},
    {.name = "reorder_corr"},
    {.name = "corrupt"},
    {.name = "corrupt_corr"},
    {.name = "limit"},
    {.name = "gap"},
    {.name = "rate"},
    {.name = "ecn", TCA_NETEM_ECN, NBL_BOOL32, NBL_READ},
    {.name = "ecn"},
    {NULL}};

/* microseconds -> nanoseconds, in an attribute of its own: the field of the
 * struct ends at 274 s, and is of ticks */
static bool putns(lua_State *L, struct nbl *h, int t, const char *name,
		  int number)
{
	double us = 0;
	int64_t ns;

	amount(L, t, name, "netem", 9e15, &us);
	ns = (int64_t)(us * 1000 + 0.5);
	nbl_put(L, h, number, &ns, sizeof(ns));
	return us > 0;
}

static int putnetem(lua_State *L, struct nbl *h, int t)
{
	struct tc_netem_qopt opt = {.limit = 1000};
	struct tc_netem_corr corr;
	struct tc_netem_reorder reorder;
	struct tc_netem_corrupt corrupt;
	struct tc_netem_rate r = {0};
	uint64_t bytes = rate(L, t, "rate", "netem");
	bool delayed, ecn = false;

	u32(L, t, "limit", "netem", &opt.limit);
	u32(L, t, "gap", "netem", &opt.gap);
	opt.loss = share(L, t, "loss", "netem");
	opt.duplicate = share(L, t, "duplicate", "netem");
	corr.delay_corr = share(L, t, "delay_corr", "netem");
	corr.loss_corr = share(L, t, "loss_corr", "netem");
	corr.dup_corr = share(L, t, "duplicate_corr", "netem");
	reorder.probability = share(L, t, "reorder", "netem");
	reorder.correlation = share(L, t, "reorder_corr", "netem");
	corrupt.probability = share(L, t, "corrupt", "netem");
	corrupt.correlation = share(L, t, "corrupt_corr", "netem");
	if (reorder.probability && !opt.gap)
		opt.gap = 1;
	nbl_append(L, h, &opt, sizeof(opt));

	delayed = putns(L, h, t, "delay", TCA_NETEM_LATENCY64);
	if (putns(L, h, t, "jitter", TCA_NETEM_JITTER64) && !delayed)
		nbl_badfield(L, "netem", "delay", "with jitter, a number");
	if (reorder.probability && !delayed)
		nbl_badfield(L, "netem", "delay", "with reorder, a number");
	nbl_put(L, h, TCA_NETEM_CORR, &corr, sizeof(corr));
	/* also zeros: what is not said stays when there is one already */
	nbl_put(L, h, TCA_NETEM_REORDER, &reorder, sizeof(reorder));
	nbl_put(L, h, TCA_NETEM_CORRUPT, &corrupt, sizeof(corrupt));
	r.rate = bytes < UINT32_MAX ? (uint32_t)bytes : UINT32_MAX;
	putrate64(L, h, TCA_NETEM_RATE64, bytes);
	nbl_put(L, h, TCA_NETEM_RATE, &r, sizeof(r));
	if (nbl_field(L, t, "ecn", LUA_TBOOLEAN, "netem"))
		ecn = lua_toboolean(L, -1);
	nbl_putu32(L, h, TCA_NETEM_ECN, ecn);
	lua_settop(L, t);
	return nbl_putfields(L, h, t, netem_map, "netem");
}

static void setns(lua_State *L, const char *name, const struct nlattr *nla)
{
	int64_t ns = nla ? (int64_t)nla_get_u64(nla) : 0;

	if (ns <= 0)
		return;
	if (ns % 1000)
		lua_pushnumber(L, (double)ns / 1000);
	else
		lua_pushinteger(L, ns / 1000);
	lua_setfield(L, -2, name);
}

static void setnetem(lua_State *L, struct nlattr *options)
{
	const struct tc_netem_qopt *opt = nla_data(options);
	const size_t skip = NLA_ALIGN(sizeof(*opt));
	struct nlattr *tb[NBL_TB];

	if (!enough(options, skip))
		return;
	nbl_parse(tb, (struct nlattr *)((char *)nla_data(options) + skip),
		  (size_t)nla_len(options) - skip);
	nbl_setint(L, "limit", opt->limit);
	if (opt->gap)
		nbl_setint(L, "gap", opt->gap);
	setshare(L, "loss", opt->loss);
	setshare(L, "duplicate", opt->duplicate);
	setns(L, "delay", tb[TCA_NETEM_LATENCY64]);
	setns(L, "jitter", tb[TCA_NETEM_JITTER64]);
	if (enough(tb[TCA_NETEM_CORR], sizeof(struct tc_netem_corr))) {
		const struct tc_netem_corr *c = nla_data(tb[TCA_NETEM_CORR]);

		setshare(L, "delay_corr", c->delay_corr);
		setshare(L, "loss_corr", c->loss_corr);
		setshare(L, "duplicate_corr", c->dup_corr);
	}
	if (enough(tb[TCA_NETEM_REORDER], sizeof(struct tc_netem_reorder))) {
		const struct tc_netem_reorder *r =
		    nla_data(tb[TCA_NETEM_REORDER]);

		setshare(L, "reorder", r->probability);
		setshare(L, "reorder_corr", r->correlation);
	}
	if (enough(tb[TCA_NETEM_CORRUPT], sizeof(struct tc_netem_corrupt))) {
		const struct tc_netem_corrupt *c =
		    nla_data(tb[TCA_NETEM_CORRUPT]);

		setshare(L, "corrupt", c->probability);
		setshare(L, "corrupt_corr", c->correlation);
	}
	if (enough(tb[TCA_NETEM_RATE], sizeof(struct tc_netem_rate))) {
		const struct tc_netem_rate *r = nla_data(tb[TCA_NETEM_RATE]);
		const struct tc_ratespec spec = {.rate = r->rate};

		setrate(L, "rate", &spec, tb[TCA_NETEM_RATE64]);
	}
	nbl_setfields(L, tb, netem_map);
}

/* --- fq_codel, pfifo, bfifo --- */

static const struct nbl_attr fq_codel_map[] = {
    {.name = "limit", TCA_FQ_CODEL_LIMIT, NBL_U32},
    {.name = "flows", TCA_FQ_CODEL_FLOWS, NBL_U32},
    {.name = "quantum", TCA_FQ_CODEL_QUANTUM, NBL_U32},
    {.name = "target", TCA_FQ_CODEL_TARGET, NBL_U32},
    {.name = "interval", TCA_FQ_CODEL_INTERVAL, NBL_U32},
    {.name = "ce_threshold", TCA_FQ_CODEL_CE_THRESHOLD, NBL_U32},
    {.name = "memory_limit", TCA_FQ_CODEL_MEMORY_LIMIT, NBL_U32},
    {.name = "ecn", TCA_FQ_CODEL_ECN, NBL_BOOL32},
    {NULL}};

static int putfqcodel(lua_State *L, struct nbl *h, int t)
{
	return nbl_putfields(L, h, t, fq_codel_map, "fq_codel");
}

static void setfqcodel(lua_State *L, struct nlattr *options)
{
	struct nlattr *tb[NBL_TB];

	nbl_parsenested(tb, options);
	nbl_setfields(L, tb, fq_codel_map);
}

static int putfifo(lua_State *L, struct nbl *h, int t)
{
	static const struct nbl_attr map[] = {{.name = "limit"}, {NULL}};
	struct tc_fifo_qopt opt = {0};

	/* without it the kernel takes the txqueuelen of the device */
	if (u32(L, t, "limit", "fifo", &opt.limit))
		nbl_append(L, h, &opt, sizeof(opt));
	return nbl_putfields(L, h, t, map, "fifo");
}

static void setfifo(lua_State *L, struct nlattr *options)
{
	if (enough(options, sizeof(struct tc_fifo_qopt)))
		nbl_setint(L, "limit", nla_get_u32(options));
}

/* --- the kinds --- */

static const struct kind {
	const char *name;
	int (*put)(lua_State *L, struct nbl *h, int t);
	void (*set)(lua_State *L, struct nlattr *options);
	bool class;
} kinds[] = {
    {"tbf", puttbf, settbf, false},
    {"htb", puthtb, sethtb, false},
    {"htb", puthtbclass, sethtbclass, true},
    {"netem", putnetem, setnetem, false},
    {"fq_codel", putfqcodel, setfqcodel, false},
    {"pfifo", putfifo, setfifo, false},
    {"bfifo", putfifo, setfifo, false},
};

static const struct kind *find(const char *name, bool class)
{
	for (size_t i = 0; i < NB_COUNT(kinds); i++)
		if (kinds[i].class == class && strcmp(kinds[i].name, name) == 0)
			return &kinds[i];
	return NULL;
}

int nbl_putqkind(lua_State *L, struct nbl *h, const char *name, bool class)
{
	const struct kind *k = find(name, class);
	size_t nest = nbl_nest(L, h, TCA_OPTIONS);
	int failed = 0;
	size_t len;

	if (lua_type(L, -1) == LUA_TSTRING) {
		const char *bytes = lua_tolstring(L, -1, &len);

		nbl_append(L, h, bytes, len);
	} else if (k && lua_istable(L, -1)) {
		failed = k->put(L, h, lua_gettop(L));
	} else {
		nbl_badfield(L, name, "data",
			     k ? "a table, or the bytes" : "a string of bytes");
	}
	nbl_nestend(h, nest);
	return failed;
}

void nbl_setqkind(lua_State *L, const char *name, bool class,
		  struct nlattr *options)
{
	const struct kind *k = find(name, class);

	if (k) {
		lua_newtable(L);
		k->set(L, options);
	} else if (nla_len(options)) {
		lua_pushlstring(L, nla_data(options), (size_t)nla_len(options));
	} else {
		return;
	}
	lua_setfield(L, -2, "data");
}
