/*
 * wire.h - Lua values as bytes, between a forked child and its parent
 */
#ifndef NB_WIRE_H
#define NB_WIRE_H

#include <lua.h>

/* pushes the n values below the top as one string, raises when one of them
 * cannot be sent: nil, booleans, numbers, strings, acyclic tables of these */
void nb_encode(lua_State *L, int n);
/* pushes the values in the string at idx and returns their number; -1 and
 * nothing pushed when the bytes are cut or garbled */
int nb_decode(lua_State *L, int idx);

#endif
