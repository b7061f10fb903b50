/* A heap of timers, embedded in what they belong to. Ties fire in the order in which they were set. */
#ifndef TEMPS_SCHED_TIMER_H
#define TEMPS_SCHED_TIMER_H

#include "base/base.h"

struct timer {
	uint64_t due_ms; /* monotonic */
	uint64_t seq;	 /* breaks ties */
	uint32_t at;	 /* place in the heap + 1; 0: not set */
	uint8_t kind;	 /* the owner's: says what it is embedded in */
};

struct timers {
	struct timer **heap; /* owned array of borrowed timers */
	uint32_t n, cap;
	uint64_t seq;
};

void timers_fini(struct timers *t);
/* Sets or moves. */
void timer_set(struct timers *t, struct timer *timer, uint64_t due_ms);
/* Safe on one that is not set. */
void timer_clear(struct timers *t, struct timer *timer);
/* The first one due, or NULL. */
struct timer *timers_first(const struct timers *t);

static inline bool timer_is_set(const struct timer *timer)
{
	return timer->at != 0;
}

#endif
