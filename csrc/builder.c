/*
 * builder.c - steps, strings and vectors, put into a plan
 *
 * Reads fields of the plan table and raises on misuse; knows no order of
 * steps and no meaning of a field.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "builder.h"

#define MAX_LIST (1 << 24)
#define STRINGS 5120 /* of most plans, with a filter */

struct nb_plan *nb_plan(struct nb_builder *b)
{
	return (struct nb_plan *)b->a.mem;
}

/* leaves the arena on the stack */
void nb_beginplan(struct nb_builder *b, uint32_t max_steps)
{
	size_t steps = max_steps * sizeof(struct nb_step);
	uint32_t offset;

	b->max_steps = max_steps;
	nb_newarena(b->L, &b->a, sizeof(struct nb_plan) + steps + STRINGS);
	nb_reserve(b, sizeof(struct nb_plan));
	offset = nb_reserve(b, steps);
	nb_plan(b)->steps = offset;
}

uint32_t nb_reserve(struct nb_builder *b, size_t size)
{
	return nb_arenareserve(b->L, &b->a, size);
}

void *nb_at(struct nb_builder *b, uint32_t offset)
{
	return b->a.mem + offset;
}

uint32_t nb_put(struct nb_builder *b, const void *data, size_t size)
{
	return nb_arenaput(b->L, &b->a, data, size);
}

uint32_t nb_putstring(struct nb_builder *b, const char *s)
{
	return s ? nb_put(b, s, strlen(s) + 1) : 0;
}

/* valid until the next nb_reserve() */
struct nb_step *nb_step(struct nb_builder *b, enum nb_stepop op)
{
	struct nb_step *s;

	if (nb_plan(b)->nsteps == b->max_steps)
		luaL_error(b->L, "the plan has too many steps");
	s = (struct nb_step *)nb_at(b, nb_plan(b)->steps) +
	    nb_plan(b)->nsteps++;
	memset(s, 0, sizeof(*s));
	s->op = (uint16_t)op;
	s->fd = -1;
	return s;
}

void nb_stepx(struct nb_builder *b, enum nb_stepop op, uint64_t x)
{
	nb_step(b, op)->x = x;
}

struct nb_step *nb_stepstring(struct nb_builder *b, enum nb_stepop op,
			      const char *string)
{
	uint32_t offset = nb_putstring(b, string);
	struct nb_step *s = nb_step(b, op);

	s->a = offset;
	return s;
}

bool nb_given(struct nb_builder *b, const char *name)
{
	bool yes = lua_getfield(b->L, b->table, name) != LUA_TNIL;

	lua_pop(b->L, 1);
	return yes;
}

lua_Integer nb_count(lua_State *L, int t, const char *name)
{
	lua_Integer n = 0;
	int type = lua_getfield(L, t, name);

	if (type != LUA_TNIL) {
		if (type != LUA_TTABLE)
			luaL_error(L, "%s: expected a list, got %s", name,
				   luaL_typename(L, -1));
		n = luaL_len(L, -1);
		if (n < 0 || n > MAX_LIST)
			luaL_error(L, "%s: too long a list", name);
	}
	lua_pop(L, 1);
	return n;
}

/* a list of strings -> an offset to uint64_t offsets, ended by 0 */
uint32_t nb_putvector(struct nb_builder *b, const char *name)
{
	lua_State *L = b->L;
	lua_Integer n = nb_count(L, b->table, name);
	uint32_t v = nb_reserve(b, ((size_t)n + 1) * sizeof(uint64_t));

	lua_getfield(L, b->table, name);
	for (lua_Integer i = 1; i <= n; i++) {
		size_t len;
		const char *s;
		uint32_t offset;

		lua_geti(L, -1, i);
		s = lua_tolstring(L, -1, &len);
		if (!s)
			return (uint32_t)luaL_error(
			    L, "%s[%d]: expected a string, got %s", name,
			    (int)i, luaL_typename(L, -1));
		if (strlen(s) != len)
			luaL_error(L, "%s[%d]: contains a NUL byte", name,
				   (int)i);
		offset = nb_put(b, s, len + 1);
		((uint64_t *)nb_at(b, v))[i - 1] = offset;
		lua_pop(L, 1);
	}
	lua_pop(L, 1);
	return v;
}

uint64_t nb_fieldwords(struct nb_builder *b, int t, const char *name,
		       const struct nb_word *words, const char *what)
{
	uint64_t value = 0;

	if (lua_getfield(b->L, t, name) != LUA_TNIL)
		value = nb_checkwords(b->L, -1, words, what);
	lua_pop(b->L, 1);
	return value;
}

/* an open one: a number that is free would become the control socket's, and
 * the handshake would wait for a program that holds it */
static int openfd(lua_State *L, const char *name)
{
	int fd = nb_checkfd(L, -1);

	if (fcntl(fd, F_GETFD) < 0)
		luaL_error(L, "%s: descriptor %d is not open", name, fd);
	return fd;
}

int nb_fieldfd(struct nb_builder *b, const char *name)
{
	int fd = -1;

	if (lua_getfield(b->L, b->table, name) != LUA_TNIL)
		fd = openfd(b->L, name);
	lua_pop(b->L, 1);
	return fd;
}

void nb_add_file(struct nb_builder *b, enum nb_stepop op, const char *path,
		 const char *text)
{
	uint32_t o = nb_putstring(b, path), data = nb_putstring(b, text);
	struct nb_step *s = nb_step(b, op);

	s->a = o;
	s->b = data;
}

/* the descriptors of a list field, as int32_t; n gets their number */
uint32_t nb_putfds(struct nb_builder *b, const char *name, uint64_t *n)
{
	lua_State *L = b->L;
	lua_Integer len = nb_count(L, b->table, name);
	uint32_t offset = nb_reserve(b, ((size_t)len + MAX_EXTRA) * 4);

	lua_getfield(L, b->table, name);
	for (lua_Integer i = 1; i <= len; i++) {
		lua_geti(L, -1, i);
		((int32_t *)nb_at(b, offset))[i - 1] = openfd(L, name);
		lua_pop(L, 1);
	}
	lua_pop(L, 1);
	*n = (uint64_t)len;
	return offset;
}

/* an element of nb_each() */
void nb_checktable(struct nb_builder *b, int element, const char *name, int i)
{
	if (!lua_istable(b->L, element))
		luaL_error(b->L, "%s[%d]: expected a table, got %s", name, i,
			   luaL_typename(b->L, element));
}

/* n as counted when room was made for them: __len may say more the next time */
void nb_each(struct nb_builder *b, const char *name, lua_Integer n,
	     void (*add)(struct nb_builder *b, int element, int i))
{
	lua_State *L = b->L;
	int list;

	lua_getfield(L, b->table, name);
	list = lua_gettop(L);
	for (lua_Integer i = 1; i <= n; i++) {
		lua_geti(L, list, i);
		add(b, lua_gettop(L), (int)i);
		lua_settop(L, list);
	}
	lua_pop(L, 1);
}
