/* What replicas are promised of their nodes: processor, memory, disk, graphics cards. Sums of them are what placement
 * compares with what a node has. */
#ifndef TEMPS_SCHED_PROMISE_H
#define TEMPS_SCHED_PROMISE_H

#include "base/base.h"

#define NODE_GPUS_MAX 64u /* cards of one node that can be told apart */

struct resources {
	uint64_t cpu_millis, memory_bytes, disk_bytes;
	uint32_t gpus;
};

/* A sum of promises. */
struct promised {
	struct resources sum;
	uint32_t replicas; /* that have one, if only of nothing */
	uint32_t no_cpu,
		no_memory; /* those of them that asked for none: they use some all the same */
};

struct replica;

/* A replica's more, or less. */
void promised_add(struct promised *p, const struct resources *r);
void promised_remove(struct promised *p, const struct resources *r);
/* Another sum more. */
void promised_join(struct promised *p, const struct promised *other);
/* <r> is promised <want> of its node, cards of its own included, until promise_break(). */
void promise_make(struct replica *r, const struct resources *want);
/* What it lacks of its cards: where it takes the place of one that ends before, they are not free until then. */
void promise_cards(struct replica *r);
/* Safe on one that has none. */
void promise_break(struct replica *r);

#endif
