/*
 * builder.h - a plan in the making
 */
#ifndef NB_BUILDER_H
#define NB_BUILDER_H

#include "arena.h"
#include "launch.h"
#include "nb.h"

#define ALL_CAPS ((UINT64_C(1) << 63) - 1)

/* room behind a list of descriptors: for those to join, and for trees */
#define MAX_EXTRA 128

struct nb_builder {
	lua_State *L;
	struct nb_arena a; /* holds the plan; moves as it grows */
	int table;	   /* of the plan table */
	uint32_t max_steps;
	lua_Integer nmounts;  /* elements of `mounts`, counted once */
	uint32_t mount_steps; /* the step of each of them */
	struct nb_launch *l;
	bool denies; /* setgroups, by its maps */
};

struct nb_plan *nb_plan(struct nb_builder *b);
void nb_beginplan(struct nb_builder *b, uint32_t max_steps);
uint32_t nb_reserve(struct nb_builder *b, size_t size);
void *nb_at(struct nb_builder *b, uint32_t offset);
uint32_t nb_put(struct nb_builder *b, const void *data, size_t size);
uint32_t nb_putstring(struct nb_builder *b, const char *s);
struct nb_step *nb_step(struct nb_builder *b, enum nb_stepop op);
void nb_stepx(struct nb_builder *b, enum nb_stepop op, uint64_t x);
struct nb_step *nb_stepstring(struct nb_builder *b, enum nb_stepop op,
			      const char *string);
/* whether the plan has that field */
bool nb_given(struct nb_builder *b, const char *name);
lua_Integer nb_count(lua_State *L, int t, const char *name);
uint32_t nb_putvector(struct nb_builder *b, const char *name);
uint64_t nb_fieldwords(struct nb_builder *b, int t, const char *name,
		       const struct nb_word *words, const char *what);
int nb_fieldfd(struct nb_builder *b, const char *name);
void nb_add_file(struct nb_builder *b, enum nb_stepop op, const char *path,
		 const char *text);
uint32_t nb_putfds(struct nb_builder *b, const char *name, uint64_t *n);
void nb_checktable(struct nb_builder *b, int element, const char *name, int i);
void nb_each(struct nb_builder *b, const char *name, lua_Integer n,
	     void (*add)(struct nb_builder *b, int element, int i));

/* the parts of a plan that have files of their own */
void nb_takemaps(struct nb_builder *b); /* spawn_maps.c */
bool nb_ownmaps(const struct nb_launch *l);
void nb_addownmaps(struct nb_builder *b);
uint32_t nb_countmounts(struct nb_builder *b); /* spawn_mounts.c */
void nb_addmounts(struct nb_builder *b);
bool nb_pivots(struct nb_builder *b);
uint64_t nb_listtrees(struct nb_builder *b, uint32_t to, uint64_t n,
		      uint64_t most);
void nb_findterminal(struct nb_builder *b,
		     uint32_t step);	       /* spawn_terminal.c */
uint32_t nb_countlimits(struct nb_builder *b); /* spawn_limits.c */
bool nb_addlimits(struct nb_builder *b);
void nb_addrlimits(struct nb_builder *b);
void nb_addprivilege(struct nb_builder *b, int pdeathsig); /* spawn_caps.c */
void nb_addlast(struct nb_builder *b);	 /* of that, behind all else */
bool nb_hasfilter(struct nb_builder *b); /* filter.c */
bool nb_filterkills(struct nb_builder *b);
void nb_putfilter(struct nb_builder *b);

#endif
