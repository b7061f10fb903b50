/* Requests that wait for an endpoint. */
#include "proxy/hold.h"

#include <errno.h>

#include "proxy/endpoint.h"
#include "proxy/front_inner.h"
#include "proxy/relay.h"

#define RELEASED_PER_TURN 32 /* each may open a connection: 20 us apiece */

static void on_limit(void *arg);
static void on_release(void *arg);

static void on_pace(void *arg)
{
	hold_release(arg);
}

void hold_init(struct hold *h, struct upstream *u)
{
	struct loop *l = u->front->loop;

	*h = (struct hold){ .upstream = u };
	list_init(&h->queue);
	deadline_init(&h->limit, l, on_limit, h);
	deadline_init(&h->pace, l, on_pace, h);
	loop_task_init(&h->release, on_release, h);
}

void hold_fini(struct hold *h)
{
	deadline_stop(&h->limit);
	deadline_stop(&h->pace);
	loop_task_cancel(&h->release);
}

/* What a waiting request keeps alive, roughly: its head, and content kept for a retry. Content
 * not yet read stays with the client. */
static uint32_t bytes_of(const struct relay *r)
{
	const struct head *h = &r->x->req;
	size_t n = sizeof(*r) + sizeof(*r->x) + h->path.n + r->replay.n;

	for (unsigned i = 0; i < h->nfields; i++)
		n += h->fields[i].name.n + h->fields[i].value.n + 4;
	return (uint32_t)n;
}

static bool has_room(const struct hold *h, bool queues, uint32_t bytes)
{
	const struct front_config *c = &h->upstream->front->config;
	uint32_t max = queues ? h->upstream->policy.queue : c->hold_max;

	return (queues ? h->nqueued : h->n - h->nqueued) < max &&
	       h->bytes + bytes <= c->hold_max_bytes;
}

static void count_joined(struct hold *h, struct relay *r)
{
	struct front *f = h->upstream->front;

	if (r->queues) {
		h->nqueued++;
		f->stats.queueing++;
	}
	if (r->hold_until_ms)
		return; /* for a second time: counted, and its time goes on */
	r->hold_until_ms = loop_now_ms(f->loop) +
			   (r->queues ? h->upstream->policy.queue_ms : h->upstream->policy.hold_ms);
	if (r->queues) {
		h->queued++;
		f->stats.queued++;
	} else {
		f->stats.held++;
	}
}

int hold_add(struct hold *h, struct relay *r)
{
	struct front *f = h->upstream->front;
	uint64_t now_ms = loop_now_ms(f->loop);
	uint32_t bytes = bytes_of(r);
	bool queues = upstream_is_open(h->upstream);

	if (!has_room(h, queues, bytes)) {
		if (queues) {
			h->queue_refused++;
			f->stats.queue_refused++;
		} else {
			f->stats.hold_refused++;
		}
		return -ENOSPC;
	}
	r->queues = queues;
	count_joined(h, r);
	r->hold_bytes = bytes;
	list_push_back(&h->queue, &r->hold_link);
	h->n++;
	h->bytes += bytes;
	f->stats.holding++;
	if (!deadline_is_set(&h->limit) || r->hold_until_ms < h->limit_ms) {
		h->limit_ms = MAX(r->hold_until_ms, now_ms + 1);
		deadline_set(&h->limit, (uint32_t)(h->limit_ms - now_ms));
	}
	return 0;
}

void hold_remove(struct hold *h, struct relay *r)
{
	if (list_empty(&r->hold_link))
		return;
	list_remove(&r->hold_link);
	h->n--;
	h->bytes -= r->hold_bytes;
	h->upstream->front->stats.holding--;
	if (r->queues) {
		h->nqueued--;
		h->upstream->front->stats.queueing--;
	}
}

/* It waited for busy endpoints, which are gone by now: from here on it is held. */
static bool becomes_held(struct hold *h, struct relay *r)
{
	const struct upstream *u = h->upstream;

	if (!r->queues || upstream_is_open(u) || !u->policy.hold || !has_room(h, false, 0))
		return false;
	r->queues = false;
	r->hold_until_ms = 0;
	h->nqueued--;
	u->front->stats.queueing--;
	count_joined(h, r);
	return true;
}

static void on_limit(void *arg)
{
	struct hold *h = arg;
	struct front *f = h->upstream->front;
	uint64_t now_ms = loop_now_ms(f->loop), next_ms = UINT64_MAX;

	LIST_FOR_EACH_SAFE(r, &h->queue, struct relay, hold_link) {
		if (r->hold_until_ms > now_ms || becomes_held(h, r)) {
			next_ms = MIN(next_ms, r->hold_until_ms);
			continue;
		}
		if (r->queues) {
			h->queue_timeouts++;
			f->stats.queue_timeouts++;
			relay_refuse(r, 503, "What serves this stayed busy while the request waited.",
				     slice_of(NULL, 0));
		} else {
			f->stats.hold_timeouts++;
			relay_refuse(r, 503,
				     h->upstream->paused ? "This is paused, for longer than the request could wait."
							 : "Nothing that serves this came up while the request waited.",
				     slice_of(NULL, 0));
		}
	}
	if (next_ms != UINT64_MAX) {
		h->limit_ms = next_ms;
		deadline_set(&h->limit, (uint32_t)(next_ms - now_ms));
	}
}

void hold_release(struct hold *h)
{
	/* A long queue goes on when its pace says so. */
	if (h->n && !deadline_is_set(&h->pace))
		loop_later(h->upstream->front->loop, &h->release);
}

/* May the first one go: to an endpoint, or because it waits for one that will not come? */
static bool moves(const struct hold *h)
{
	const struct upstream *u = h->upstream;

	return h->n && (u->choice.n || (!upstream_is_open(u) && !u->policy.hold));
}

static void on_release(void *arg)
{
	struct hold *h = arg;

	for (unsigned i = 0; i < RELEASED_PER_TURN && moves(h); i++) {
		struct relay *r = LIST_FIRST(&h->queue, struct relay, hold_link);

		hold_remove(h, r);
		relay_release(r);
	}
	if (moves(h))
		deadline_set(&h->pace, 1);
}

void hold_refuse_all(struct hold *h)
{
	LIST_FOR_EACH_SAFE(r, &h->queue, struct relay, hold_link)
		relay_refuse(r, 503, "What served this was removed.",
				     slice_of(NULL, 0));
}
