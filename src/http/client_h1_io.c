/* What the loop brings to an HTTP/1.1 connection to an upstream: connected, bytes, room, time; the
 * response to the request in progress. */
#include <assert.h>
#include <errno.h>

#include "http/client_h1.h"

#define INFORMS_MAX 32 /* 1xx before the final head: who sends more will not come to an end */

/* From events of the loop only, never from inside a call of the caller's: see note_failure(). */
static void fail(struct client_h1 *c, int rc, const char *why)
{
	struct client_failure f = {
		.rc = rc, .stage = client_h1_stage(c), .reused = c->served, .why = why
	};
	bool has_request = c->has_request;

	if (c->state == CONNECTING)
		c->pool->stats.failed_connects++;
	c->has_request = false;
	client_h1_set_state(c, SPENT);
	client_h1_let_go(c);
	if (has_request)
		c->events->failed(c->arg, &f); /* last: it may close <c> */
}

/* ---- the response ---- */

/* The response is complete: the connection is ready for another request if nothing speaks against
 * it. */
static void finish(struct client_h1 *c, const struct head *trailers)
{
	struct head *head = c->head;
	bool clean = c->request_done && !c->deaf && outbox_len(&c->out) == 0 &&
		     inbox_len(&c->in) == 0 && !c->in.eof;

	c->head = NULL;
	c->has_request = false;
	c->served = true;
	client_h1_set_state(c, head->keep_alive && clean ? IDLE : SPENT);
	c->events->end(c->arg, trailers);
	pool_put(&c->pool->heads, head);
	if (c->state == CLOSED)
		return;
	if (c->state == SPENT) {
		client_h1_let_go(c);
		return;
	}
	inbox_end(&c->in);
	client_h1_wake(c);
}

static void enter_tunnel(struct client_h1 *c, size_t head_bytes)
{
	inbox_begin(&c->in, head_bytes, BODY_NONE, 0);
	inbox_begin_raw(&c->in);
	outbox_frame(&c->out, BODY_UNTIL_CLOSE, 0);
	c->request_done = false;
	client_h1_set_state(c, TUNNEL);
	c->events->head(c->arg, c->head);
}

static void take_head(struct client_h1 *c, size_t head_bytes)
{
	struct head *h = c->head;

	c->scan = (struct head_scan){ 0 };
	if (h->status == 101) {
		if (c->upgrade && c->request_done)
			enter_tunnel(c, head_bytes);
		else
			fail(c, -EBADMSG, "upgrade that was not asked for");
		return;
	}
	if (h->status < 200 && ++c->informs > INFORMS_MAX) {
		fail(c, -EBADMSG, "too many interim responses");
		return;
	}
	if (h->status < 200) {
		if (c->events->inform)
			c->events->inform(c->arg, h);
		if (c->state == WAITING)
			c->in.buf.pos += (uint32_t)head_bytes;
		return;
	}
	inbox_begin(&c->in, head_bytes, h->body, h->content_length);
	client_h1_set_state(c, CONTENT);
	c->events->head(c->arg, h);
}

/* true: a step further, look again. */
static bool do_head(struct client_h1 *c)
{
	struct parse_fault fault;
	ssize_t len;

	if (inbox_len(&c->in) > 0 && c->stream.bytes_out == c->out_mark) {
		/* It belongs to an exchange that was over, or to none: never to this one. */
		fail(c, -EBADMSG, "upstream spoke before it was asked");
		return false;
	}
	if (inbox_len(&c->in) > 0) {
		len = parse_response(&c->scan, inbox_data(&c->in), inbox_len(&c->in), c->method_id,
				     c->head, &fault);
		if (len > 0) {
			take_head(c, (size_t)len);
			return true;
		}
		if (len < 0) {
			fail(c, -EBADMSG, fault.why);
			return false;
		}
		if (!inbox_has_room(&c->in) && inbox_grow(&c->in) < 0) {
			fail(c, -ENOMEM, "no room for a response head this large");
			return false;
		}
	}
	if (c->in.eof)
		fail(c, -ECONNRESET, "upstream closed the connection before its response");
	return false;
}

static bool do_content(struct client_h1 *c)
{
	struct head *trailers = &c->pool->trailers;
	struct slice data;
	const char *why;
	size_t taken;

	if (c->refused_more)
		return false;
	switch (inbox_next(&c->in, &data, trailers, &why)) {
	case INBOX_DATA:
		taken = c->events->body(c->arg, data.p, data.n);
		if (c->state == CLOSED)
			return false;
		assert(taken <= data.n);
		inbox_drop_head(&c->in);
		inbox_take(&c->in, taken);
		c->refused_more = taken < data.n;
		return true;
	case INBOX_END:
		if (c->state == TUNNEL)
			c->events->end(c->arg, NULL);
		else
			finish(c, trailers->nfields ? trailers : NULL);
		return false;
	case INBOX_BAD: fail(c, -EBADMSG, why); return false;
	default:
		if (c->in.eof && !c->in.over)
			fail(c, -ECONNRESET, "upstream closed the connection inside its response");
		return false;
	}
}

static void step(struct client_h1 *c)
{
	bool again = true;

	while (again && !c->broken) {
		switch (c->state) {
		case WAITING: again = do_head(c); break;
		case CONTENT:
		case TUNNEL: again = do_content(c); break;
		case IDLE:
			/* It closed, or says what nobody asked for. */
			if (inbox_len(&c->in) || c->in.eof)
				client_h1_spend(c);
			return;
		default: return;
		}
	}
}

/* ---- the end of a turn ---- */

void client_h1_go_deaf(struct client_h1 *c)
{
	c->deaf = true;
	outbox_fini(&c->out);
	outbox_init(&c->out, &c->pool->blocks, &c->pool->big_blocks);
	c->want_writable = true;
}

/* Sends what the turn gathered. true: something changed, step again. */
static bool settle(struct client_h1 *c)
{
	int rc;

	if (c->broken) {
		fail(c, c->broken, c->broken_why);
		return false;
	}
	rc = outbox_settle(&c->out, &c->stream, c->turn_bytes_out);
	if (rc == -EAGAIN)
		return false;
	if (rc < 0)
		client_h1_go_deaf(c);
	if (c->want_writable && c->has_request) {
		c->want_writable = false;
		if (c->events->writable && !c->request_done)
			c->events->writable(c->arg);
		return true;
	}
	if (c->state == TUNNEL && c->request_done && !c->shut) {
		stream_shutdown(&c->stream);
		c->shut = true;
	}
	return false;
}

static void watch_limits(struct client_h1 *c)
{
	uint64_t moved = c->stream.bytes_in + c->stream.bytes_out;
	enum client_h1_wait wait = WAIT_NOTHING;
	uint32_t limit_ms = 0;

	if (c->state == CONNECTING && c->has_request) {
		wait = WAIT_CONNECT;
		limit_ms = c->limits.connect_ms;
	} else if (outbox_len(&c->out)) {
		wait = WAIT_TAKEN;
		limit_ms = c->state == TUNNEL ? c->limits.idle_ms : c->limits.head_ms;
	} else if (c->state == WAITING && (c->request_done || c->deaf)) {
		wait = WAIT_HEAD;
		limit_ms = c->limits.head_ms;
	} else if ((c->state == CONTENT || c->state == TUNNEL) && !c->refused_more) {
		wait = WAIT_CONTENT;
		limit_ms = c->limits.idle_ms;
	}
	if (wait != c->waits_for || (moved != c->progress_bytes && wait != WAIT_HEAD))
		deadline_set(&c->deadline, limit_ms);
	c->waits_for = (uint8_t)wait;
	c->progress_bytes = moved;
}

static void watch(struct client_h1 *c)
{
	int events = c->out.blocked ? STREAM_WRITE : 0;

	c->turn_bytes_out = c->stream.bytes_out;
	if (c->state == CONNECTING)
		events = STREAM_WRITE;
	else if (!c->in.eof && inbox_has_room(&c->in))
		events |= STREAM_READ;
	watch_limits(c);
	client_be_patient(c->pool, &c->patience, &c->stream, c->limits.head_ms);
	stream_wait(&c->stream, events);
}

void client_h1_on_turn(void *arg)
{
	struct client_h1 *c = arg;

	if (c->state != CONNECTING || c->broken) {
		do
			step(c);
		while (c->state < SPENT && settle(c));
	}
	if (c->state < SPENT)
		watch(c);
}

/* ---- events ---- */

static void do_connect(struct client_h1 *c)
{
	int rc = stream_connected(&c->stream);

	if (rc == -EAGAIN)
		return;
	if (rc < 0) {
		fail(c, rc, strerrordesc_np(-rc));
		return;
	}
	c->client.connect_us = client_connected(c->pool, c->opened_us);
	client_h1_set_state(c, c->has_request ? WAITING : IDLE);
	c->out.blocked = false;
	c->want_writable = true;
}

static void receive(struct client_h1 *c)
{
	ssize_t n = inbox_fill(&c->in, &c->stream);

	if (n >= 0 || n == -EAGAIN || n == -ENOBUFS)
		return;
	if (c->state == IDLE)
		client_h1_spend(c);
	else
		fail(c, (int)n, n == -ENOMEM ? "out of buffers" : "upstream reset the connection");
}

/* Content comes faster than it is read, and goes on as fast. */
static bool is_flowing(const struct client_h1 *c)
{
	return c->state == CONTENT && c->in.filled && !c->refused_more && inbox_len(&c->in) == 0;
}

void client_h1_on_ready(void *arg, int events)
{
	struct client_h1 *c = arg;
	uint64_t mark = c->stream.bytes_in;

	if (c->state == CONNECTING) {
		do_connect(c);
	} else {
		if (events & STREAM_WRITE)
			c->out.blocked = false;
		do {
			if (events & STREAM_READ)
				receive(c);
			step(c);
		} while ((events & STREAM_READ) && is_flowing(c) &&
			 c->stream.bytes_in - mark < INBOX_TURN_BYTES);
	}
	if (c->state < SPENT)
		client_h1_wake(c);
}

void client_h1_on_deadline(void *arg)
{
	struct client_h1 *c = arg;

	switch (c->waits_for) {
	case WAIT_CONNECT: fail(c, -ETIMEDOUT, "connect timed out"); break;
	case WAIT_TAKEN: fail(c, -ETIME, "upstream takes nothing"); break;
	case WAIT_HEAD: fail(c, -ETIME, "no response in time"); break;
	case WAIT_CONTENT: fail(c, -ETIME, "no content in time"); break;
	default: break;
	}
}
