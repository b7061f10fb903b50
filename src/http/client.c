/* Upstream connections: the pool, and what a caller does with one: open, request, write, park,
 * close. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "http/client_inner.h"

#define BIG_BLOCK_BYTES 65536
#define IDLE_BLOCKS_MAX 256 /* 4 MiB kept by a quiet process */
#define IDLE_OBJECTS_MAX 256
#define USER_TIMEOUT_MS 2000

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

/* ---- the pool ---- */

int client_pool_create(struct client_pool **out, struct loop *l, uint32_t max, struct err *err)
{
	struct client_pool *p;
	uint32_t blocks = max < UINT32_MAX / 3 ? 3 * max : max;

	if (max == 0)
		return err_say(err, -EINVAL, "no upstream connection is allowed");
	p = xcalloc(1, sizeof(*p));
	p->loop = l;
	p->user_timeout_ms = USER_TIMEOUT_MS;
	p->max_open = max;
	list_init(&p->parked);
	/* Twice as many: those that are closed live on until their turn ends. */
	pool_init(&p->clients, "upstream connections", sizeof(struct client),
		  max < UINT32_MAX / 2 ? 2 * max : max, MIN(max, IDLE_OBJECTS_MAX));
	pool_init(&p->heads, "response heads", sizeof(struct head), max,
		  MIN(max, IDLE_OBJECTS_MAX));
	pool_init(&p->blocks, "upstream blocks", INBOX_BLOCK_BYTES, blocks,
		  MIN(blocks, IDLE_BLOCKS_MAX));
	pool_init(&p->big_blocks, "big upstream blocks", BIG_BLOCK_BYTES, MAX(max / 4, 16), 8);
	*out = p;
	return 0;
}

static void pool_free(void *arg)
{
	struct client_pool *p = arg;

	pool_fini(&p->clients);
	pool_fini(&p->heads);
	pool_fini(&p->blocks);
	pool_fini(&p->big_blocks);
	free(p);
}

void client_pool_destroy(struct client_pool *p)
{
	/* After the connections' own memory, which was deferred before this. */
	if (p)
		loop_defer(p->loop, &p->reap, pool_free, p);
}

void client_pool_user_timeout(struct client_pool *p, uint32_t ms)
{
	p->user_timeout_ms = ms;
}

const struct client_stats *client_stats(const struct client_pool *p)
{
	return &p->stats;
}

/* ---- state, failure, close ---- */

void client_set_state(struct client *c, enum client_state next)
{
	assert(legal_next[c->state] & TO(next));
	c->state = (uint8_t)next;
}

void client_let_go(struct client *c)
{
	list_remove(&c->parked_link);
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

static void note_failure(struct client *c, int rc, const char *why)
{
	if (!c->broken) {
		c->broken = rc;
		c->broken_why = why;
	}
	client_wake(c);
}

void client_spend(struct client *c)
{
	void (*gone)(void *arg) = c->gone;

	client_set_state(c, SPENT);
	client_let_go(c);
	c->gone = NULL;
	if (gone)
		gone(c->gone_arg); /* last: it closes <c> */
}

static void on_free(void *arg)
{
	struct client *c = arg;

	pool_put(&c->pool->clients, c);
}

void client_close(struct client *c)
{
	if (!c || c->state == CLOSED)
		return;
	client_set_state(c, CLOSED);
	c->has_request = false;
	client_let_go(c);
	list_remove(&c->link);
	c->pool->stats.open--;
	loop_defer(c->pool->loop, &c->reap, on_free, c);
}

/* ---- for the caller ---- */

/* The connection that is parked longest goes; false: none is. */
static bool make_place(struct client_pool *p)
{
	struct client *oldest = LIST_LAST(&p->parked, struct client, parked_link);

	if (oldest)
		client_spend(oldest);
	return oldest;
}

static int start_connecting(struct client *c, const struct addr *to)
{
	struct client_pool *p = c->pool;

	return stream_connect(&c->stream, p->loop, to, p->user_timeout_ms, client_on_ready, c);
}

int client_open(struct client **out, struct client_pool *p, const struct addr *to)
{
	struct client *c;
	int rc;

	if (p->stats.open >= p->max_open && !make_place(p))
		return -ENOMEM;
	c = pool_get(&p->clients);
	if (!c)
		return -ENOMEM;
	*c = (struct client){ .pool = p, .state = CONNECTING };
	rc = start_connecting(c, to);
	/* Descriptors are scarcer than our own cap. */
	if ((rc == -EMFILE || rc == -ENFILE) && make_place(p))
		rc = start_connecting(c, to);
	if (rc < 0) {
		p->stats.failed_connects++;
		pool_put(&p->clients, c);
		return rc;
	}
	list_init(&c->link);
	list_init(&c->parked_link);
	loop_task_init(&c->turn, client_on_turn, c);
	deadline_init(&c->deadline, p->loop, client_on_deadline, c);
	inbox_init(&c->in, &p->blocks, &p->big_blocks);
	outbox_init(&c->out, &p->blocks, &p->big_blocks);
	c->out.blocked = true; /* until it is connected */
	p->stats.opened++;
	p->stats.open++;
	*out = c;
	return 0;
}

int client_request(struct client *c, const struct head *h, uint8_t body, uint64_t length,
		   const struct client_limits *limits, const struct client_events *events,
		   void *arg)
{
	struct write_framing f = { .body = body, .length = length, .upgrade = h->protocol };
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
	c->upgrade = h->protocol.n > 0;
	c->request_done = body == BODY_NONE;
	c->has_request = true;
	c->refused_more = c->want_writable = false;
	c->scan = (struct head_scan){ 0 };
	c->out_mark = c->stream.bytes_out;
	c->in_mark = c->stream.bytes_in;
	c->limits = *limits;
	c->events = events;
	c->arg = arg;
	c->gone = NULL;
	list_remove(&c->parked_link);
	c->waits_for = WAIT_NOTHING;
	if (c->served)
		c->pool->stats.reused++;
	if (c->state == IDLE)
		client_set_state(c, WAITING);
	client_wake(c);
	return 0;
}

size_t client_write(struct client *c, const struct iovec *iov, int iovcnt)
{
	size_t offered = 0;
	ssize_t taken;

	for (int i = 0; i < iovcnt; i++)
		offered += iov[i].iov_len;
	if (c->broken || c->deaf || !c->has_request || c->request_done)
		return offered;
	taken = outbox_write(&c->out, &c->stream, iov, iovcnt);
	client_wake(c);
	if (taken == -EPROTO || taken == -ENOMEM) {
		note_failure(c, (int)taken,
			     taken == -EPROTO ? "request longer than its Content-Length"
					      : "out of buffers");
		return offered;
	}
	if (taken < 0) {
		client_go_deaf(c);
		return offered;
	}
	if ((size_t)taken < offered)
		c->want_writable = true;
	return (size_t)taken;
}

void client_end(struct client *c, const struct head *trailers)
{
	int rc;

	if (c->broken || !c->has_request || c->request_done)
		return;
	client_wake(c);
	c->request_done = true;
	if (c->deaf)
		return;
	rc = outbox_end(&c->out, trailers);
	if (rc < 0)
		note_failure(c, rc,
			     rc == -EPROTO ? "request shorter than its Content-Length"
					   : "out of buffers");
}

void client_resume(struct client *c)
{
	if (!c->refused_more)
		return;
	c->refused_more = false;
	client_wake(c);
}

void client_idle_limit(struct client *c, uint32_t idle_ms)
{
	c->limits.idle_ms = idle_ms;
	c->waits_for = WAIT_NOTHING; /* the next turn sets the deadline anew */
	client_wake(c);
}

enum client_stage client_stage(const struct client *c)
{
	if (c->state == CONNECTING)
		return CLIENT_CONNECTING;
	if (c->state != WAITING)
		return CLIENT_BODY;
	if (c->stream.bytes_in != c->in_mark)
		return CLIENT_HEAD;
	return c->stream.bytes_out == c->out_mark ? CLIENT_UNSENT : CLIENT_SENT;
}

bool client_reusable(const struct client *c)
{
	return c->state == IDLE;
}

void client_park(struct client *c, void (*gone)(void *arg), void *arg)
{
	assert(c->state == IDLE);
	c->gone = gone;
	c->gone_arg = arg;
	c->parked_ms = loop_now_ms(c->pool->loop);
	list_push_front(&c->pool->parked, &c->parked_link);
}

uint64_t client_parked_ms(const struct client *c)
{
	return c->parked_ms;
}

struct list *client_link(struct client *c)
{
	return &c->link;
}

struct client *client_of_link(struct list *link)
{
	return LIST_ENTRY(link, struct client, link);
}
