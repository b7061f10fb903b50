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

int hold_add(struct hold *h, struct relay *r)
{
	struct front *f = h->upstream->front;
	uint64_t now_ms = loop_now_ms(f->loop);
	uint32_t bytes = bytes_of(r);

	if (h->n >= f->config.hold_max || h->bytes + bytes > f->config.hold_max_bytes) {
		f->stats.hold_refused++;
		return -ENOSPC;
	}
	if (r->hold_until_ms == 0) {
		r->hold_until_ms = now_ms + h->upstream->policy.hold_ms;
		f->stats.held++;
	}
	r->hold_bytes = bytes;
	list_push_back(&h->queue, &r->hold_link);
	h->n++;
	h->bytes += bytes;
	f->stats.holding++;
	/* Nearly always in order, since all wait equally long; who came back for a second time
	 * is found by the walk in on_limit(). */
	if (!deadline_is_set(&h->limit))
		deadline_set(&h->limit,
			     (uint32_t)MAX(r->hold_until_ms - MIN(r->hold_until_ms, now_ms), 1));
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
}

static void on_limit(void *arg)
{
	struct hold *h = arg;
	struct front *f = h->upstream->front;
	uint64_t now_ms = loop_now_ms(f->loop), next_ms = UINT64_MAX;

	LIST_FOR_EACH_SAFE(r, &h->queue, struct relay, hold_link) {
		if (r->hold_until_ms > now_ms) {
			next_ms = MIN(next_ms, r->hold_until_ms);
			continue;
		}
		f->stats.hold_timeouts++;
		relay_give_up(r, "Nothing that serves this came up while the request waited.");
	}
	if (next_ms != UINT64_MAX)
		deadline_set(&h->limit, (uint32_t)(next_ms - now_ms));
}

void hold_release(struct hold *h)
{
	if (h->n)
		loop_later(h->upstream->front->loop, &h->release);
}

static void on_release(void *arg)
{
	struct hold *h = arg;

	for (unsigned i = 0; i < RELEASED_PER_TURN && h->n && h->upstream->nin; i++) {
		struct relay *r = LIST_FIRST(&h->queue, struct relay, hold_link);

		hold_remove(h, r);
		relay_release(r);
	}
	if (h->n && h->upstream->nin)
		deadline_set(&h->pace, 1);
}

void hold_refuse_all(struct hold *h)
{
	LIST_FOR_EACH_SAFE(r, &h->queue, struct relay, hold_link)
		relay_give_up(r, "What served this was removed.");
}
