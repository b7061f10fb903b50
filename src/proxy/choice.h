/* Which endpoint gets the next request, among those that may take one now. Pure: no loop, no
 * sockets. */
#ifndef TEMPS_PROXY_CHOICE_H
#define TEMPS_PROXY_CHOICE_H

#include "proxy/upstream.h"

#define CHOICE_NOWHERE UINT32_MAX

/* While all weigh 1 they take turns in a ring, at O(1). Else the slots are a heap, at O(log n): an
 * endpoint's turn comes sooner the more it weighs, and the earliest is on top; by least
 * connections, the one with the fewest requests for its weight is, and turns decide among equals. */
struct choice_slot {
	uint64_t turn;
	struct endpoint *endpoint;
};

struct choice {
	enum balance balance;
	struct list ring;
	uint32_t nweighted; /* of them, with a weight other than 1 */
	uint64_t turn;	    /* the last one given */
	uint64_t random;    /* xorshift64*: this needs spread, not secrecy */
	struct choice_slot *slots;
	uint32_t n, cap;
};

/* <seed> is not 0. */
void choice_init(struct choice *c, enum balance balance, uint64_t seed);
void choice_fini(struct choice *c);
/* <e> has a weight and is not there yet; its turn is next, or when it would have been. */
void choice_put(struct choice *c, struct endpoint *e);
void choice_take(struct choice *c, struct endpoint *e);
/* Its requests in flight changed. */
void choice_moved(struct choice *c, struct endpoint *e);
/* One whose id is not in <tried>, at most a few. NULL: none. */
struct endpoint *choice_pick(struct choice *c, const uint64_t *tried, unsigned ntried);

#endif
