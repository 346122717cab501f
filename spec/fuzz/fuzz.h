/*
 * fuzz.h - what a target may have in C, beside NAME.lua
 *
 * A target is NAME.lua, a chunk that returns a function of the input, which
 * raises when something is wrong; host.c runs it.  Where the product asks the
 * kernel, NAME.c stands in for it: it hands out the input instead.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <stddef.h>
#include <stdint.h>

#include <lua.h>

/* once: adds functions to the global table `fuzz`, which is on top */
void fuzz_open(lua_State *L);

#endif
