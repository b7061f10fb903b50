/* The copy of a request's content that sending it again would need: at most REPLAY_BLOCKS blocks
 * from a pool that all requests share. */
#ifndef TEMPS_PROXY_REPLAY_H
#define TEMPS_PROXY_REPLAY_H

#include "base/pool.h"

#define REPLAY_BLOCK_BYTES 8192
#define REPLAY_BLOCKS 8 /* 64 KiB */

/* Zero is an empty one. */
struct replay {
	uint8_t *block[REPLAY_BLOCKS]; /* leased as needed */
	uint32_t n;		       /* bytes kept */
	bool lost; /* more passed than could be kept: what is here is not all of it */
};

/* Keeps a copy, or forgets everything when the limit <max_bytes> or the pool says no. */
void replay_keep(struct replay *rp, struct pool *blocks, uint32_t max_bytes, const char *p,
		 size_t n);
/* The longest run of kept bytes that starts at <at>; empty at the end. */
const uint8_t *replay_run(const struct replay *rp, uint32_t at, size_t *n);
/* Gives the blocks back; what was in them is lost if there was any. */
void replay_drop(struct replay *rp, struct pool *blocks);

#endif
