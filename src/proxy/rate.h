/* How often somebody may do something: a token bucket for each key, in a table of fixed size. Pure:
 * no loop, no sockets. */
#ifndef TEMPS_PROXY_RATE_H
#define TEMPS_PROXY_RATE_H

#include "base/hash.h"

#define RATE_SETS 8192u
#define RATE_WAYS 8u /* buckets of one set: 65,536 in all, 1 MiB */

struct rate_bucket {
	uint64_t key;	/* a keyed hash of it; 0: free */
	uint32_t used;	/* thousandths of a token, as of <at_ms> */
	uint32_t at_ms; /* wraps around: what is older than it can say is full again */
};

struct rate_table {
	struct hash_key key;
	uint64_t overflow; /* a bucket that was still in use made room for another key */
	struct rate_bucket buckets[RATE_SETS][RATE_WAYS];
};

/* Never NULL; free() it. */
struct rate_table *rate_table_create(void);
/* Takes a token from <key>'s bucket, which holds <burst> and gets <rate> a second; false: it is
 * empty. A full bucket is no bucket: the table remembers only who lately took some, and when too
 * many did, the one that took least is forgotten. */
bool rate_take(struct rate_table *t, struct slice key, uint32_t rate, uint32_t burst,
	       uint64_t now_ms);

#endif
