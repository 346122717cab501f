/*
 * nl_link.h - what is in the requests and in the record of a link
 */
#ifndef NB_NL_LINK_H
#define NB_NL_LINK_H

#include "nl.h"

/* parts of maps: what the kernel takes when a link is made, for it, its peer,
 * and later; and what it takes only then */
#define NBL_BORN                                                               \
	{.name = "mac", IFLA_ADDRESS, NBL_MAC},                                \
	    {.name = "mtu", IFLA_MTU, NBL_U32, .max = INT32_MAX},              \
	    {.name = "txqueuelen", IFLA_TXQLEN, NBL_U32},                      \
	    {.name = "group", IFLA_GROUP, NBL_U32},                            \
	    {.name = "gso_max_size", IFLA_GSO_MAX_SIZE, NBL_U32},              \
	{                                                                      \
		.name = "gso_max_segs", IFLA_GSO_MAX_SEGS, NBL_U32             \
	}

#define NBL_QUEUES                                                             \
	{.name = "numtxqueues", IFLA_NUM_TX_QUEUES, NBL_U32, .max = 4096},     \
	{                                                                      \
		.name = "numrxqueues", IFLA_NUM_RX_QUEUES, NBL_U32,            \
		.max = 4096                                                    \
	}

/* IFLA_IFNAME; NULL: nothing */
void nbl_putlinkname(lua_State *L, struct nbl *h, const char *name);

#endif
