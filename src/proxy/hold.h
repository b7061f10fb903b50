/* The queue in which requests wait for an endpoint: first in, first out, bounded in number,
 * bytes and time. They are held while none is in, and queue while all that are in have as many
 * requests as they may: the same queue, other bounds and counters. */
#ifndef TEMPS_PROXY_HOLD_H
#define TEMPS_PROXY_HOLD_H

#include "reactor/deadline.h"

struct relay;
struct upstream;

struct hold {
	struct upstream *upstream;
	struct list queue;   /* relays */
	uint32_t n, nqueued; /* the latter came while all were at their limit */
	uint64_t bytes;
	uint64_t queued, queue_timeouts, queue_refused;
	struct deadline limit; /* when the next one has waited long enough */
	uint64_t limit_ms;     /* that instant */
	struct deadline pace;  /* releasing goes on after this: a long queue takes several turns */
	struct loop_task release;
};

void hold_init(struct hold *h, struct upstream *u);
void hold_fini(struct hold *h);
/* Lets <r> wait. -ENOSPC: the queue is full, nothing was changed. */
int hold_add(struct hold *h, struct relay *r) MUST_CHECK;
/* It waits no longer. Fine when it did not. */
void hold_remove(struct hold *h, struct relay *r);
/* An endpoint takes requests (again), or none ever will: lets them go, at the end of the turn. */
void hold_release(struct hold *h);
/* Answers everyone who waits with 503. */
void hold_refuse_all(struct hold *h);

#endif
