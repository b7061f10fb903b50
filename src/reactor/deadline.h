/* One-shot limits that are cheap to push back: activity stores a time, only expiry touches the
 * timer heap. */
#ifndef TEMPS_REACTOR_DEADLINE_H
#define TEMPS_REACTOR_DEADLINE_H

#include <ev.h>

#include "reactor/loop.h"

struct deadline {
	ev_timer timer;
	struct loop *loop;
	uint64_t due_ms;	/* monotonic; 0 = off */
	uint64_t armed_ms;	/* when the timer fires, while it is active: never after due_ms */
	void (*expired)(void *arg);
	void *arg;
};

void deadline_init(struct deadline *d, struct loop *l, void (*expired)(void *arg), void *arg);
/* Expire <limit_ms> from now, replacing what was set; 0 switches it off (lazily: no timer call).
 * Pushing back costs a store; only pulling the due time in front of the armed timer touches the
 * heap. The callback runs once, with the deadline off. */
void deadline_set(struct deadline *d, uint32_t limit_ms);
bool deadline_is_set(const struct deadline *d);
/* Off and out of the heap; required before the memory goes. */
void deadline_stop(struct deadline *d);

#endif
