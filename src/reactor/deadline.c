/* Lazy one-shot timers: the heap is touched when the due time moves forward past the armed one,
 * or at expiry. */
#include "reactor/deadline.h"

static void arm(struct deadline *d, uint64_t now_ms)
{
	uint64_t left_ms = d->due_ms > now_ms ? d->due_ms - now_ms : 0;

	d->armed_ms = d->due_ms;
	ev_timer_stop(loop_ev(d->loop), &d->timer);
	/* One more: whole milliseconds are cut off, and waking early means arming again for the
	 * last one. */
	ev_timer_set(&d->timer, (double)(left_ms + 1) / 1000, 0.);
	ev_timer_start(loop_ev(d->loop), &d->timer);
}

static void on_timer(struct ev_loop *ev, ev_timer *w, int revents)
{
	struct deadline *d = w->data;
	uint64_t now_ms = loop_now_ms(d->loop);

	(void)ev;
	(void)revents;
	if (d->due_ms == 0)
		return;
	if (d->due_ms > now_ms) {
		arm(d, now_ms);
		return;
	}
	d->due_ms = 0;
	d->expired(d->arg);	/* last: it may stop or set <d> */
}

void deadline_init(struct deadline *d, struct loop *l, void (*expired)(void *arg), void *arg)
{
	ev_timer_init(&d->timer, on_timer, 0., 0.);
	d->timer.data = d;
	d->loop = l;
	d->due_ms = d->armed_ms = 0;
	d->expired = expired;
	d->arg = arg;
}

void deadline_set(struct deadline *d, uint32_t limit_ms)
{
	uint64_t now_ms;

	if (limit_ms == 0) {
		d->due_ms = 0;
		return;
	}
	now_ms = loop_now_ms(d->loop);
	d->due_ms = now_ms + limit_ms;
	if (!ev_is_active(&d->timer) || d->armed_ms > d->due_ms)
		arm(d, now_ms);
}

bool deadline_is_set(const struct deadline *d)
{
	return d->due_ms != 0;
}

void deadline_stop(struct deadline *d)
{
	d->due_ms = 0;
	ev_timer_stop(loop_ev(d->loop), &d->timer);
}
