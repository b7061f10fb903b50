/* HTTP/1.1 connections to upstreams: what a caller does with one: open, request, write, park,
 * close. */
#include <assert.h>
#include <errno.h>

#include "http/client_h1.h"

#define TO(s) (1u << (s))
static const unsigned legal_next[STATES] = {
	[CONNECTING] = TO(IDLE) | TO(WAITING) | TO(SPENT) | TO(CLOSED),
	[IDLE] = TO(WAITING) | TO(SPENT) | TO(CLOSED),
	[WAITING] = TO(CONTENT) | TO(TUNNEL) | TO(SPENT) | TO(CLOSED),
	[CONTENT] = TO(IDLE) | TO(SPENT) | TO(CLOSED),
	[TUNNEL] = TO(SPENT) | TO(CLOSED),
	[SPENT] = TO(CLOSED),
	[CLOSED] = 0,
};

/* ---- state, failure, close ---- */

void client_h1_set_state(struct client_h1 *c, enum client_h1_state next)
{
	assert(legal_next[c->state] & TO(next));
	c->state = (uint8_t)next;
}

void client_h1_let_go(struct client_h1 *c)
{
	list_remove(&c->idle.link);
	stream_close(&c->stream, false);
	deadline_stop(&c->deadline);
	loop_task_cancel(&c->turn);
	inbox_fini(&c->in);
	outbox_fini(&c->out);
	inbox_init(&c->in, &c->pool->blocks, &c->pool->big_blocks);
	outbox_init(&c->out, &c->pool->blocks, &c->pool->big_blocks);
	pool_put(&c->pool->heads, c->head);
	c->head = NULL;
}

static void note_failure(struct client_h1 *c, int rc, const char *why)
{
	if (!c->broken) {
		c->broken = rc;
		c->broken_why = why;
	}
	client_h1_wake(c);
}

void client_h1_spend(struct client_h1 *c)
{
	void (*gone)(void *arg) = c->gone;

	client_h1_set_state(c, SPENT);
	client_h1_let_go(c);
	c->gone = NULL;
	if (gone)
		gone(c->gone_arg); /* last: it closes <c> */
}

static struct client_h1 *h1_of(struct client *client)
{
	return CONTAINER_OF(client, struct client_h1, client);
}

static void on_drop(struct client_idle *idle)
{
	client_h1_spend(CONTAINER_OF(idle, struct client_h1, idle));
}

static void on_free(void *arg)
{
	struct client_h1 *c = arg;

	pool_put(&c->pool->clients, c);
}

static void h1_close(struct client *client)
{
	struct client_h1 *c = h1_of(client);

	if (c->state == CLOSED)
		return;
	client_h1_set_state(c, CLOSED);
	c->has_request = false;
	client_h1_let_go(c);
	list_remove(&c->link);
	c->pool->stats.open--;
	loop_defer(c->pool->loop, &c->reap, on_free, c);
}

/* ---- for the caller ---- */

static const struct client_ops ops;

int client_open(struct client **out, struct client_pool *p, const struct addr *to)
{
	struct client_h1 *c = pool_get(&p->clients);
	int rc;

	if (!c)
		return -ENOMEM;
	*c = (struct client_h1){ .client.ops = &ops, .pool = p, .state = CONNECTING };
	rc = client_connect(p, &c->stream, to, client_h1_on_ready, c);
	if (rc < 0) {
		pool_put(&p->clients, c);
		return rc;
	}
	list_init(&c->link);
	list_init(&c->idle.link);
	c->idle.drop = on_drop;
	loop_task_init(&c->turn, client_h1_on_turn, c);
	deadline_init(&c->deadline, p->loop, client_h1_on_deadline, c);
	inbox_init(&c->in, &p->blocks, &p->big_blocks);
	outbox_init(&c->out, &p->blocks, &p->big_blocks);
	c->out.blocked = true; /* until it is connected */
	c->opened_us = loop_turn_us(p->loop);
	*out = &c->client;
	return 0;
}

static int h1_request(struct client *client, const struct head *h, uint8_t body, uint64_t length,
		      const struct client_limits *limits, const struct client_events *events,
		      void *arg)
{
	struct client_h1 *c = h1_of(client);
	struct write_framing f = { .body = body,
				   .length = length,
				   .upgrade = h->protocol,
				   .te_trailers = h->te_trailers };
	int rc;

	if (c->has_request || (c->state != CONNECTING && c->state != IDLE))
		return -ENOTCONN;
	c->head = pool_get(&c->pool->heads);
	if (!c->head)
		return -ENOMEM;
	rc = outbox_head(&c->out, write_request, h, &f);
	if (rc < 0) {
		pool_put(&c->pool->heads, c->head);
		c->head = NULL;
		return rc;
	}
	outbox_frame(&c->out, body, length);
	c->method_id = h->method_id;
	client_expect_silence(c->pool, &c->patience, &c->stream,
			      method_is_idempotent(h->method_id) ? SILENCE_BRIEF : SILENCE_LONGER);
	c->upgrade = h->protocol.n > 0;
	c->request_done = body == BODY_NONE;
	c->has_request = true;
	c->refused_more = c->want_writable = false;
	c->informs = 0;
	c->scan = (struct head_scan){ 0 };
	c->out_mark = c->stream.bytes_out;
	c->in_mark = c->stream.bytes_in;
	c->limits = *limits;
	c->events = events;
	c->arg = arg;
	c->gone = NULL;
	list_remove(&c->idle.link);
	c->waits_for = WAIT_NOTHING;
	if (c->served) {
		c->pool->stats.reused++;
		c->client.connect_us = 0;
	}
	if (c->state == IDLE)
		client_h1_set_state(c, WAITING);
	client_h1_wake(c);
	return 0;
}

static size_t h1_write(struct client *client, const struct iovec *iov, int iovcnt)
{
	struct client_h1 *c = h1_of(client);
	size_t offered = 0;
	ssize_t taken;

	for (int i = 0; i < iovcnt; i++)
		offered += iov[i].iov_len;
	if (c->broken || c->deaf || !c->has_request || c->request_done)
		return offered;
	taken = outbox_write(&c->out, &c->stream, iov, iovcnt);
	client_h1_wake(c);
	if (taken == -EPROTO || taken == -ENOMEM) {
		note_failure(c, (int)taken,
			     taken == -EPROTO ? "request longer than its Content-Length"
					      : "out of buffers");
		return offered;
	}
	if (taken < 0) {
		client_h1_go_deaf(c);
		return offered;
	}
	if ((size_t)taken < offered)
		c->want_writable = true;
	return (size_t)taken;
}

static void h1_end(struct client *client, const struct head *trailers)
{
	struct client_h1 *c = h1_of(client);
	int rc;

	if (c->broken || !c->has_request || c->request_done)
		return;
	client_h1_wake(c);
	c->request_done = true;
	if (c->deaf)
		return;
	rc = outbox_end(&c->out, trailers);
	if (rc < 0)
		note_failure(c, rc,
			     rc == -EPROTO ? "request shorter than its Content-Length"
					   : "out of buffers");
}

static void h1_resume(struct client *client)
{
	struct client_h1 *c = h1_of(client);

	if (!c->refused_more)
		return;
	c->refused_more = false;
	client_h1_wake(c);
}

static void h1_idle_limit(struct client *client, uint32_t idle_ms)
{
	struct client_h1 *c = h1_of(client);

	c->limits.idle_ms = idle_ms;
	client_expect_silence(c->pool, &c->patience, &c->stream, SILENCE_USUAL);
	c->waits_for = WAIT_NOTHING; /* the next turn sets the deadline anew */
	client_h1_wake(c);
}

enum client_stage client_h1_stage(const struct client_h1 *c)
{
	if (c->state == CONNECTING)
		return CLIENT_CONNECTING;
	if (c->state != WAITING)
		return CLIENT_BODY;
	if (c->stream.bytes_out == c->out_mark)
		return CLIENT_UNSENT;
	return c->stream.bytes_in == c->in_mark ? CLIENT_SENT : CLIENT_HEAD;
}

static enum client_stage h1_stage(struct client *client)
{
	return client_h1_stage(h1_of(client));
}

static bool h1_reusable(struct client *client)
{
	return h1_of(client)->state == IDLE;
}

static const struct client_ops ops = {
	.request = h1_request,
	.write = h1_write,
	.end = h1_end,
	.resume = h1_resume,
	.stage = h1_stage,
	.idle_limit = h1_idle_limit,
	.reusable = h1_reusable,
	.close = h1_close,
};

/* ---- idle lists ---- */

void client_park(struct client *client, void (*gone)(void *arg), void *arg)
{
	struct client_h1 *c = h1_of(client);

	assert(c->state == IDLE);
	c->gone = gone;
	c->gone_arg = arg;
	c->parked_ms = loop_now_ms(c->pool->loop);
	list_push_front(&c->pool->idle, &c->idle.link);
}

uint64_t client_parked_ms(struct client *c)
{
	return h1_of(c)->parked_ms;
}

struct list *client_link(struct client *c)
{
	return &h1_of(c)->link;
}

struct client *client_of_link(struct list *link)
{
	return &LIST_ENTRY(link, struct client_h1, link)->client;
}
