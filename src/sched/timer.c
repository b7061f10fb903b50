/* A binary heap of embedded timers. */
#include "sched/timer.h"

#include <assert.h>
#include <stdlib.h>

static bool before(const struct timer *a, const struct timer *b)
{
	return a->due_ms != b->due_ms ? a->due_ms < b->due_ms : a->seq < b->seq;
}

static void put(struct timers *t, uint32_t i, struct timer *timer)
{
	t->heap[i] = timer;
	timer->at = i + 1;
}

static void sift_up(struct timers *t, uint32_t i)
{
	struct timer *timer = t->heap[i];

	for (; i > 0 && before(timer, t->heap[(i - 1) / 2]); i = (i - 1) / 2)
		put(t, i, t->heap[(i - 1) / 2]);
	put(t, i, timer);
}

static void sift_down(struct timers *t, uint32_t i)
{
	struct timer *timer = t->heap[i];

	for (;;) {
		uint32_t child = 2 * i + 1;

		if (child >= t->n)
			break;
		if (child + 1 < t->n && before(t->heap[child + 1], t->heap[child]))
			child++;
		if (!before(t->heap[child], timer))
			break;
		put(t, i, t->heap[child]);
		i = child;
	}
	put(t, i, timer);
}

void timers_fini(struct timers *t)
{
	assert(t->n == 0);
	free(t->heap);
	t->heap = NULL;
	t->cap = 0;
}

void timer_set(struct timers *t, struct timer *timer, uint64_t due_ms)
{
	timer_clear(t, timer);
	timer->due_ms = due_ms;
	timer->seq = ++t->seq;
	if (t->n == t->cap) {
		t->cap = t->cap ? t->cap * 2 : 64;
		t->heap = xrealloc(t->heap, t->cap * sizeof(*t->heap));
	}
	put(t, t->n++, timer);
	sift_up(t, timer->at - 1);
}

void timer_clear(struct timers *t, struct timer *timer)
{
	uint32_t i = timer->at;
	struct timer *last;

	if (!i)
		return;
	i--;
	timer->at = 0;
	last = t->heap[--t->n];
	if (last == timer)
		return;
	put(t, i, last);
	sift_up(t, i);
	sift_down(t, last->at - 1);
}

struct timer *timers_first(const struct timers *t)
{
	return t->n ? t->heap[0] : NULL;
}
