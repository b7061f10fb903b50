/* A stream to an upstream as its caller sees it: request, write, end, resume, close; content that
 * waits for its taker; limits; how it ends. */
#include <errno.h>

#include "http/client_h2.h"

static const struct client_ops ops;

static struct client_h2 *h2_of(struct client *client)
{
	return CONTAINER_OF(client, struct client_h2, client);
}

static void on_turn(void *arg);
static void on_deadline(void *arg);

int client_h2_open(struct client_h2 **out, struct client_h2_conn *conn)
{
	struct client_pool *p = conn->pool;
	struct client_h2 *c = pool_get(&p->streams);

	if (!c)
		return -ENOMEM;
	*c = (struct client_h2){ .client.ops = &ops, .pool = p, .conn = conn };
	/* An idle connection may have gone while the request was on its way, as everywhere. */
	c->reused = conn->served && conn->nstreams == 0;
	c->in_mark = conn->stream.bytes_in;
	if (conn->served)
		p->stats.reused++;
	list_init(&c->waiting_link);
	list_push_back(&conn->streams, &c->link);
	conn->nstreams++;
	p->stats.streams++;
	list_remove(&conn->idle.link);
	loop_task_init(&c->turn, on_turn, c);
	deadline_init(&c->deadline, p->loop, on_deadline, c);
	*out = c;
	return 0;
}

void client_h2_detach(struct client_h2 *c)
{
	struct client_h2_conn *conn = c->conn;

	if (!conn)
		return;
	list_remove(&c->link);
	list_remove(&c->waiting_link);
	c->conn = NULL;
	/* Who waits for room waits no more: what comes now is dropped. A tunnel whose upstream is
	 * done would not see its client go otherwise. */
	if (c->want_writable) {
		c->writable = true;
		client_h2_wake(c);
	}
	conn->nstreams--;
	client_h2_conn_wake(conn);
}

static void on_free(void *arg)
{
	struct client_h2 *c = arg;

	pool_put(&c->pool->streams, c);
}

static void h2_close(struct client *client)
{
	struct client_h2 *c = h2_of(client);

	if (c->closed)
		return;
	c->closed = true;
	if (c->conn && c->id) {
		(void)nghttp2_session_set_stream_user_data(c->conn->session, c->id, NULL);
		if (!c->over || !c->request_done)
			(void)nghttp2_submit_rst_stream(c->conn->session, 0, c->id, NGHTTP2_CANCEL);
	}
	client_h2_detach(c);
	deadline_stop(&c->deadline);
	loop_task_cancel(&c->turn);
	iobuf_release(&c->held, &c->pool->h2_blocks);
	client_h2_section_drop(c->pool, &c->trailers);
	c->pool->stats.streams--;
	loop_defer(c->pool->loop, &c->reap, on_free, c);
}

enum client_stage client_h2_stage(const struct client_h2 *c)
{
	if (c->broken)
		return c->failure.stage;
	if (c->head_done)
		return CLIENT_BODY;
	if (c->informs)
		return CLIENT_HEAD;
	if (c->conn && c->conn->state == H2_CONNECTING)
		return CLIENT_CONNECTING;
	if (!c->begun || (c->conn && c->conn->stream.bytes_out <= c->out_mark))
		return CLIENT_UNSENT;
	return CLIENT_SENT;
}

bool client_h2_fail(struct client_h2 *c, int rc, enum client_stage stage, bool reused,
		    const char *why)
{
	if (c->broken || c->over || c->closed)
		return false;
	c->broken = true;
	c->failure =
		(struct client_failure){ .rc = rc, .stage = stage, .reused = reused, .why = why };
	client_h2_wake(c);
	return true;
}

/* ---- the request ---- */

static int h2_request(struct client *client, const struct head *h, uint8_t body, uint64_t length,
		      const struct client_limits *limits, const struct client_events *events,
		      void *arg)
{
	struct client_h2 *c = h2_of(client);
	struct client_h2_conn *conn = c->conn;
	int rc;

	if (c->id || !conn)
		return -ENOTCONN;
	if (h->protocol.n && (!slice_eq_nocase(h->protocol, SLICE("websocket")) ||
			      !client_h2_takes_connect(conn)))
		return -EOPNOTSUPP;
	c->method_id = h->method_id;
	c->body = body;
	c->left = length;
	c->connect = h->protocol.n > 0;
	c->request_done = body == BODY_NONE && !c->connect;
	c->limits = *limits;
	c->events = events;
	c->arg = arg;
	rc = client_h2_submit(c, h, length);
	if (rc < 0)
		return rc;
	c->id = rc;
	if (conn->state == H2_CONNECTING && !deadline_is_set(&conn->deadline))
		deadline_set(&conn->deadline, limits->connect_ms);
	client_h2_watch(c);
	client_h2_conn_wake(conn);
	return 0;
}

static size_t h2_write(struct client *client, const struct iovec *iov, int iovcnt)
{
	struct client_h2 *c = h2_of(client);
	struct client_h2_conn *conn = c->conn;
	size_t offered = 0;

	for (int i = 0; i < iovcnt; i++)
		offered += iov[i].iov_len;
	/* Who has answered wants no more of the request; the other half of a tunnel goes on. */
	if (!conn || c->broken || (c->over && !c->tunnel) || c->request_done)
		return offered;
	if (c->body == BODY_LENGTH && !c->tunnel && offered > c->left) {
		(void)client_h2_fail(c, -EPROTO, client_h2_stage(c), false,
				     "request longer than its Content-Length");
		return offered;
	}
	c->offer = iov;
	c->noffer = iovcnt;
	c->offered = offered;
	c->taken = 0;
	/* Fails when its frame is queued already, which is fine. */
	(void)nghttp2_session_resume_data(conn->session, c->id);
	client_h2_pull(conn);
	c->offer = NULL;
	c->left -= c->taken;
	c->want_writable = c->taken < offered;
	/* Else the peer's window is shut, or its turn did not come yet: on_read() will know. */
	if (c->want_writable && (conn->receiving || !client_h2_out_has_room(conn))) {
		list_remove(&c->waiting_link);
		list_push_back(&conn->waiting, &c->waiting_link);
	}
	client_h2_watch(c);
	client_h2_conn_wake(conn);
	return c->taken;
}

static void h2_end(struct client *client, const struct head *trailers)
{
	struct client_h2 *c = h2_of(client);

	/* What came since the answer was complete is lost: client_close() takes the request back,
	 * where an end would make it look whole. */
	if (!c->conn || c->broken || c->request_done || (c->over && !c->tunnel))
		return;
	if (c->body == BODY_LENGTH && !c->tunnel && c->left) {
		(void)client_h2_fail(c, -EPROTO, client_h2_stage(c), false,
				     "request shorter than its Content-Length");
		return;
	}
	c->request_done = true;
	c->want_writable = false;
	client_h2_submit_end(c, trailers);
	client_h2_watch(c);
	client_h2_conn_wake(c->conn);
}

/* ---- the response ---- */

static void consume(struct client_h2 *c, size_t n)
{
	if (!c->conn || n == 0)
		return;
	(void)nghttp2_session_consume_stream(c->conn->session, c->id, n);
	client_h2_conn_wake(c->conn);
}

/* Keeps what was not taken: never more than the window of the stream. */
static int hold(struct client_h2 *c, const char *p, size_t n)
{
	struct iobuf *b = &c->held;

	if (iobuf_lease(b, &c->pool->h2_blocks) < 0)
		return -ENOMEM;
	if (iobuf_room(b) < n) {
		memmove(b->mem, b->mem + b->pos, iobuf_len(b));
		b->last -= b->pos;
		b->pos = 0;
	}
	if (iobuf_room(b) < n)
		return -ENOMEM;
	memcpy(b->mem + b->last, p, n);
	b->last += (uint32_t)n;
	return 0;
}

int client_h2_content(struct client_h2 *c, const char *p, size_t n)
{
	size_t taken = 0;

	if (iobuf_len(&c->held) == 0 && !c->refused_more) {
		taken = c->events->body(c->arg, p, n);
		if (c->closed)
			return 0;
		c->refused_more = taken < n;
		consume(c, taken);
		client_h2_watch(c);
	}
	return taken < n ? hold(c, p + taken, n - taken) : 0;
}

static void tell_end(struct client_h2 *c)
{
	struct head *trailers = c->trailers.head;

	c->told = true;
	client_h2_watch(c);
	c->events->end(c->arg, trailers); /* last: it may close <c> */
}

void client_h2_over(struct client_h2 *c, struct client_h2_section *take_section)
{
	c->over = true;
	c->trailers = *take_section;
	*take_section = (struct client_h2_section){ 0 };
	if (iobuf_len(&c->held) == 0)
		tell_end(c);
}

static void offer_held(struct client_h2 *c)
{
	struct iobuf *b = &c->held;
	size_t taken = c->events->body(c->arg, (const char *)b->mem + b->pos, iobuf_len(b));

	if (c->closed)
		return;
	b->pos += (uint32_t)taken;
	c->refused_more = iobuf_len(b) > 0;
	consume(c, taken);
	client_h2_watch(c);
	if (c->refused_more)
		return;
	iobuf_release(b, &c->pool->h2_blocks);
	if (c->over)
		tell_end(c);
}

static void h2_resume(struct client *client)
{
	struct client_h2 *c = h2_of(client);

	if (!c->refused_more)
		return;
	c->refused_more = false;
	client_h2_wake(c);
}

/* What was put off to the end of the turn. */
static void on_turn(void *arg)
{
	struct client_h2 *c = arg;

	if (c->broken) {
		if (!c->told) {
			c->told = true;
			client_h2_watch(c);
			c->events->failed(c->arg, &c->failure); /* last: it may close <c> */
		}
		return;
	}
	if (iobuf_len(&c->held) && !c->refused_more)
		offer_held(c);
	else
		client_h2_watch(c);
	if (c->closed || !c->writable)
		return;
	c->writable = false;
	if (!c->want_writable)
		return;
	c->want_writable = false;
	client_h2_watch(c);
	if (c->events->writable)
		c->events->writable(c->arg);
}

/* ---- limits ---- */

static void watch_for(struct client_h2 *c, enum client_h2_wait wait, uint32_t limit_ms, bool moved)
{
	if (wait != c->waits_for || moved)
		deadline_set(&c->deadline, limit_ms);
	c->waits_for = (uint8_t)wait;
}

void client_h2_watch(struct client_h2 *c)
{
	if (c->told || c->broken || c->over)
		watch_for(c, H2_WAIT_NOTHING, 0, false);
	else if (c->want_writable)
		watch_for(c, H2_WAIT_TAKEN, c->head_done ? c->limits.idle_ms : c->limits.head_ms,
			  c->taken > 0);
	else if (!c->head_done && c->request_done)
		watch_for(c, H2_WAIT_HEAD, c->limits.head_ms, false);
	else if (c->head_done && !c->refused_more)
		watch_for(c, H2_WAIT_CONTENT, c->limits.idle_ms, true);
	else
		watch_for(c, H2_WAIT_NOTHING, 0, false);
}

static void on_deadline(void *arg)
{
	static const char *const why[] = {
		[H2_WAIT_TAKEN] = "upstream takes nothing",
		[H2_WAIT_HEAD] = "no response in time",
		[H2_WAIT_CONTENT] = "no content in time",
	};
	struct client_h2 *c = arg;

	(void)client_h2_fail(c, -ETIME, client_h2_stage(c), false, why[c->waits_for]);
	/* Who said nothing at all in this time does not speak HTTP/2. */
	if (c->conn && !c->conn->settled)
		client_h2_conn_retire(c->conn);
}

static void h2_idle_limit(struct client *client, uint32_t idle_ms)
{
	struct client_h2 *c = h2_of(client);

	c->limits.idle_ms = idle_ms;
	if (c->conn)
		client_expect_silence(c->conn->pool, &c->conn->patience, &c->conn->stream, SILENCE_USUAL);
	c->waits_for = H2_WAIT_NOTHING; /* set anew */
	client_h2_watch(c);
}

static enum client_stage h2_stage(struct client *client)
{
	return client_h2_stage(h2_of(client));
}

static bool h2_reusable(struct client *client)
{
	(void)client;
	return false;
}

static const struct client_ops ops = {
	.request = h2_request,
	.write = h2_write,
	.end = h2_end,
	.resume = h2_resume,
	.stage = h2_stage,
	.idle_limit = h2_idle_limit,
	.reusable = h2_reusable,
	.close = h2_close,
};
