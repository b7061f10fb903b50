/* The life of an HTTP/1 connection: heads, content in, the end of each turn, limits, close. */
#include "http/h1.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>

#include "base/log.h"

#define SKIP_MAX_BYTES 65536	     /* of a request's content, after its response */
#define LINGER_MAX_BYTES (16u << 20) /* who sends on still gets to read why it was refused */
#define LINGER_MS 2000
#define TURN_MAX_REQUESTS \
	16 /* of one connection: pipelined ones wait for the next turn, like others */

#define TO(s) (1u << H1_##s)
static const struct {
	const char *name;
	unsigned next;
} states[H1_STATES] = {
	[H1_IDLE] = { "idle", TO(HEAD) | TO(EXCHANGE) | TO(LINGER) | TO(CLOSED) },
	[H1_HEAD] = { "head", TO(EXCHANGE) | TO(LINGER) | TO(CLOSED) },
	[H1_EXCHANGE] = { "exchange", TO(IDLE) | TO(TUNNEL) | TO(SKIP) | TO(LINGER) | TO(CLOSED) },
	[H1_TUNNEL] = { "tunnel", TO(CLOSED) },
	[H1_SKIP] = { "skip", TO(IDLE) | TO(LINGER) | TO(CLOSED) },
	[H1_LINGER] = { "linger", TO(CLOSED) },
	[H1_CLOSED] = { "closed", 0 },
};

static void set_state(struct h1 *c, enum h1_state next)
{
	const struct server_config *config = &c->shared->config;
	const uint32_t limit_ms[H1_STATES] = {
		[H1_HEAD] = config->head_timeout_ms,
		[H1_IDLE] = config->idle_timeout_ms,
		[H1_SKIP] = config->body_timeout_ms,
		[H1_LINGER] = LINGER_MS,
	};

	assert(states[c->state].next & (1u << next));
	log_debug("conn=%d %s -> %s", stream_fd(&c->conn->stream), states[c->state].name,
		  states[next].name);
	c->shared->stats.idle += (next == H1_IDLE) - (c->state == H1_IDLE);
	c->state = (uint8_t)next;
	if (next == H1_EXCHANGE)
		conn_works(c->conn);
	else if (next == H1_IDLE || next == H1_LINGER)
		conn_waits(c->conn);
	/* An exchange and a tunnel set their own: see h1_watch.c. */
	if (next != H1_CLOSED)
		deadline_set(&c->conn->deadline, limit_ms[next]);
	c->waits_for = H1_WAIT_NOTHING;
}

/* Ends the exchange for its handler; <why> NULL: completed. */
static void close_exchange(struct h1 *c, const char *why)
{
	struct exchange *x = c->x;

	c->x = NULL;
	if (c->counts_as_tunnel)
		conn_tunnel_end(c->conn);
	c->counts_as_tunnel = false;
	if (why)
		c->shared->stats.aborted++;
	if (x->events && x->events->closed)
		x->events->closed(x->arg, why);
	pool_put(&c->shared->exchanges, x);
}

static bool on_owes(const struct conn *conn)
{
	const struct h1 *c = conn->proto;

	return c->x != NULL;
}

static void on_conn_closed(struct conn *conn, const char *why)
{
	struct h1 *c = conn->proto;

	set_state(c, H1_CLOSED);
	if (c->x)
		close_exchange(c, why);
	inbox_fini(&c->in);
	outbox_fini(&c->out);
}

static void on_release(struct conn *conn)
{
	pool_put(&conn->shared->h1s, conn->proto);
}

/* ---- refusing ---- */

static void linger(struct h1 *c)
{
	c->dropped_bytes = 0;
	set_state(c, H1_LINGER);
}

/* Answers what is no request, or ran out of time, and closes. */
static void refuse(struct h1 *c, unsigned status, const char *why)
{
	if (c->x && c->x->responded) {
		conn_close(c->conn, why);
		return;
	}
	log_debug("conn=%d peer=%s refused: %u %s", stream_fd(&c->conn->stream),
		  c->conn->peer.addr.text, status, why);
	if (c->x)
		close_exchange(c, why);
	if (c->conn->broken) { /* the handler's last words */
		conn_close(c->conn, c->conn->broken);
		return;
	}
	inbox_end(&c->in);
	linger(c);
	h1_write_refusal(c, status, why);
}

/* The client holds us with content that trickles. */
static void give_up(struct h1 *c, const char *why)
{
	c->shared->stats.too_slow++;
	c->shared->stats.timeouts++;
	refuse(c, 408, why);
	if (c->state != H1_CLOSED)
		conn_wake(c->conn);
}

static void refuse_bad(struct h1 *c, unsigned status, const char *why)
{
	c->shared->stats.bad_requests++;
	refuse(c, status, why);
}

/* ---- heads ---- */

static void begin_exchange(struct h1 *c, struct exchange *x, size_t head_bytes)
{
	conn_begin_exchange(c->conn, x, &h1_ops);
	x->req.scheme = c->conn->peer.tls ? SLICE("https") : SLICE("http");

	c->x = x;
	c->refused_more = c->want_writable = c->continued = c->last = false;
	c->counts_as_tunnel = x->req.protocol.n > 0;
	c->waited_ms = 0;
	c->came_mark = c->conn->stream.bytes_in;
	c->turn_requests++;
	c->scan = (struct head_scan){ 0 };
	inbox_begin(&c->in, head_bytes, x->req.body, x->req.content_length);
	outbox_frame(&c->out, BODY_NONE, 0);
	set_state(c, H1_EXCHANGE);
	c->shared->handler.request(c->shared->handler.arg, x);
	assert(c->conn->broken || x->events);
	if (x->req.expect_continue && !x->responded && !c->conn->broken && !c->continued &&
	    x->events->body) {
		if (inbox_len(&c->in) == 0)
			h1_write_continue(c);
		c->continued = true;
	}
}

/* true: a step further, look again. */
static bool do_head(struct h1 *c)
{
	struct parse_fault fault;
	struct exchange *x;
	ssize_t len;

	if (inbox_len(&c->in) == 0 || c->turn_requests == TURN_MAX_REQUESTS)
		return false;
	x = pool_get(&c->shared->exchanges);
	if (!x) {
		refuse(c, 503, "too many requests at once");
		return false;
	}
	len = parse_request(&c->scan, inbox_data(&c->in), inbox_len(&c->in), &x->req, &fault);
	if (len > 0 && (!x->req.protocol.n || conn_tunnel_begin(c->conn))) {
		begin_exchange(c, x, (size_t)len);
		return true;
	}
	pool_put(&c->shared->exchanges, x);
	if (len > 0) {
		refuse(c, 429, "too many tunnels from this address");
		return true;
	}
	if (len < 0) {
		refuse_bad(c, fault.status, fault.why);
		return true;
	}
	if (!inbox_has_room(&c->in) && inbox_grow(&c->in) < 0) {
		refuse(c, 503, "no room for a request this large");
		return true;
	}
	if (c->state == H1_IDLE)
		set_state(c, H1_HEAD);
	return false;
}

/* ---- content ---- */

static void offer(struct h1 *c, struct slice data)
{
	struct exchange *x = c->x;
	size_t taken = x->events->body ? x->events->body(x->arg, data.p, data.n) : data.n;

	assert(taken <= data.n);
	inbox_take(&c->in, taken);
	x->body_in_bytes += taken;
	if (taken < data.n)
		c->refused_more = true;
	c->continued = true;
}

static void do_content(struct h1 *c)
{
	struct exchange *x = c->x;
	struct head *trailers = &c->shared->trailers;
	struct slice data;
	const char *why;

	/* An upgrade that waits for its answer: whatever came early belongs to the tunnel. */
	if (x->req.protocol.n && !x->tunnel)
		return;
	while (!c->conn->broken && !c->refused_more && !x->body_done && (x->tunnel || !x->ended)) {
		switch (inbox_next(&c->in, &data, trailers, &why)) {
		case INBOX_DATA: offer(c, data); break;
		case INBOX_END:
			x->body_done = true;
			if (x->events->body_end)
				x->events->body_end(x->arg, trailers->nfields ? trailers : NULL);
			return;
		case INBOX_BAD: refuse_bad(c, 400, why); return;
		default: return;
		}
	}
}

static bool do_skip(struct h1 *c)
{
	struct slice data;
	const char *why;

	for (;;) {
		switch (inbox_next(&c->in, &data, &c->shared->trailers, &why)) {
		case INBOX_DATA:
			inbox_take(&c->in, data.n);
			c->dropped_bytes += (uint32_t)data.n;
			if (c->dropped_bytes > SKIP_MAX_BYTES) {
				linger(c);
				return true;
			}
			break;
		case INBOX_END:
			inbox_end(&c->in);
			if (c->last) /* since it was answered */
				linger(c);
			else
				set_state(c, H1_IDLE);
			return true;
		case INBOX_BAD: conn_close(c->conn, why); return false;
		default: return false;
		}
	}
}

static void do_linger(struct h1 *c)
{
	c->dropped_bytes += inbox_len(&c->in);
	c->in.buf.pos = c->in.buf.last;
	inbox_end(&c->in);
	if (c->dropped_bytes > LINGER_MAX_BYTES)
		conn_close(c->conn, NULL);
}

/* Lets what has come take effect. */
static void step(struct h1 *c)
{
	bool again = true;

	while (again && !c->conn->broken) {
		switch (c->state) {
		case H1_IDLE:
		case H1_HEAD: again = do_head(c); break;
		case H1_EXCHANGE:
		case H1_TUNNEL:
			do_content(c);
			again = false;
			break;
		case H1_SKIP: again = do_skip(c); break;
		case H1_LINGER:
			do_linger(c);
			again = false;
			break;
		default: return;
		}
	}
}

/* ---- the end of a turn ---- */

/* The response is out: on to the next request, or to the end. */
static void finish_exchange(struct h1 *c)
{
	bool whole = c->x->body_done || c->x->req.body == BODY_NONE;
	bool last = c->last || c->in.eof;

	close_exchange(c, NULL);
	/* Nothing more is on its way to us: no reset can overtake the response. */
	if (c->in.eof || (last && whole && inbox_len(&c->in) == 0)) {
		conn_close(c->conn, NULL);
	} else if (last) {
		inbox_end(&c->in);
		linger(c);
	} else if (whole) {
		inbox_end(&c->in);
		set_state(c, H1_IDLE);
	} else {
		c->dropped_bytes = 0;
		set_state(c, H1_SKIP);
	}
}

static void settle_tunnel(struct h1 *c)
{
	if (!c->shut) {
		stream_shutdown(&c->conn->stream);
		c->shut = true;
	}
	if (c->x->body_done)
		conn_close(c->conn, NULL);
}

static void settle_linger(struct h1 *c)
{
	if (c->shut)
		return;
	stream_shutdown(&c->conn->stream);
	c->shut = true;
	if (c->in.eof)
		conn_close(c->conn, NULL);
}

/* Sends what the turn gathered and draws the consequences. true: something changed, step again. */
static bool settle(struct h1 *c)
{
	struct exchange *x = c->x;
	int rc;

	if (c->conn->broken) {
		conn_close(c->conn, c->conn->broken);
		return false;
	}
	if (x && x->ended && !x->tunnel && (c->last || c->in.eof))
		stream_last(&c->conn->stream);
	rc = outbox_settle(&c->out, &c->conn->stream, c->turn_bytes_out);
	if (rc < 0) {
		if (rc != -EAGAIN)
			conn_close(c->conn, "client went away");
		return false;
	}
	if (c->state == H1_LINGER) {
		settle_linger(c);
		return false;
	}
	if (!x)
		return false;
	if (c->want_writable && !x->ended) {
		c->want_writable = false;
		if (x->events->writable)
			x->events->writable(x->arg);
		return true;
	}
	if (!x->ended)
		return false;
	if (x->tunnel) {
		settle_tunnel(c);
		return false;
	}
	finish_exchange(c);
	return true;
}

static void watch(struct h1 *c)
{
	/* The socket says at once that it is writable, in the next turn. */
	bool more = c->turn_requests == TURN_MAX_REQUESTS;
	int events = c->out.blocked || more ? STREAM_WRITE : 0;

	c->turn_bytes_out = c->conn->stream.bytes_out;
	if (!c->in.eof && inbox_has_room(&c->in))
		events |= STREAM_READ;
	if (c->x && !h1_watch_exchange(c)) {
		give_up(c, "the request's content comes too slowly");
		return;
	}
	stream_wait(&c->conn->stream, events);
}

static void on_turn(struct conn *conn)
{
	struct h1 *c = conn->proto;

	do
		step(c);
	while (c->state != H1_CLOSED && settle(c));
	if (c->state == H1_CLOSED)
		return;
	/* Budgets and outages found while stepping are settled before anything is waited for. */
	if (c->conn->broken)
		conn_close(c->conn, c->conn->broken);
	else
		watch(c);
}

/* ---- events ---- */

static void on_eof(struct h1 *c)
{
	switch (c->state) {
	case H1_EXCHANGE:
		/* Half-closed is gone, as long as the response is not complete: who waits would
		 * wait for nobody. */
		if (!c->x->ended)
			conn_close(c->conn, "client went away");
		break;
	case H1_TUNNEL: break;
	case H1_LINGER:
		/* It still gets to read why: settle_linger() closes. */
		if (c->shut)
			conn_close(c->conn, NULL);
		break;
	default: conn_close(c->conn, NULL);
	}
}

static void receive(struct h1 *c)
{
	ssize_t n = inbox_fill(&c->in, &c->conn->stream);

	if (n > 0 || n == -EAGAIN || n == -ENOBUFS)
		return;
	if (n == 0)
		on_eof(c);
	else
		conn_close(c->conn, n == -ENOMEM ? "out of buffers" : "client went away");
}

static void on_ready(struct conn *conn, int events)
{
	struct h1 *c = conn->proto;

	c->turn_requests = 0;
	if (events & STREAM_WRITE)
		c->out.blocked = false;
	if (events & STREAM_READ)
		receive(c);
	step(c);
	if (c->state != H1_CLOSED)
		conn_wake(conn);
}

static void on_expired(struct conn *conn)
{
	struct h1 *c = conn->proto;

	if (c->state == H1_EXCHANGE && c->waits_for == H1_WAIT_WRITE) {
		if (!h1_response_is_too_slow(c)) {
			deadline_set(&conn->deadline, c->shared->config.write_timeout_ms);
			return;
		}
		c->shared->stats.too_slow++;
	}
	if (c->state != H1_IDLE && c->state != H1_LINGER)
		c->shared->stats.timeouts++;
	switch (c->state) {
	case H1_HEAD:
		if (inbox_len(&c->in) == 0)
			conn_close(c->conn, NULL);
		else
			refuse(c, 408, "the request's head took too long");
		break;
	case H1_EXCHANGE:
		if (c->waits_for == H1_WAIT_CONTENT)
			refuse(c, 408, "the request's content took too long");
		else
			conn_close(c->conn, "client takes too little");
		break;
	case H1_TUNNEL: conn_close(c->conn, "tunnel idle"); break;
	default: conn_close(c->conn, NULL);
	}
	if (c->state != H1_CLOSED)
		conn_wake(conn);
}

/* ---- for the connection ---- */

static int on_begin(struct conn *conn, struct slice early)
{
	struct conn_shared *shared = conn->shared;
	struct h1 *c = pool_get(&shared->h1s);

	if (!c)
		return -ENOMEM;
	*c = (struct h1){ .conn = conn, .shared = shared, .state = H1_HEAD };
	conn->proto = c;
	inbox_init(&c->in, &shared->blocks, &shared->big_blocks);
	outbox_init(&c->out, &shared->blocks, &shared->big_blocks);
	if (early.n && inbox_put(&c->in, early) < 0)
		return -ENOMEM;
	if (early.n)
		conn_wake(conn);
	conn_waits(conn);
	deadline_set(&conn->deadline, shared->config.head_timeout_ms);
	watch(c);
	return 0;
}

static void on_drain(struct conn *conn)
{
	struct h1 *c = conn->proto;

	if (c->shared->retiring)
		return;
	if (c->state == H1_IDLE || (c->state == H1_HEAD && inbox_len(&c->in) == 0))
		conn_close(c->conn, NULL);
	else
		c->last = true;
}

const struct conn_kind h1_kind = {
	.name = "http/1.1",
	.begin = on_begin,
	.ready = on_ready,
	.turn = on_turn,
	.expired = on_expired,
	.drain = on_drain,
	.owes = on_owes,
	.closed = on_conn_closed,
	.release = on_release,
};

void h1_enter_tunnel(struct h1 *c)
{
	inbox_begin_raw(&c->in);
	set_state(c, H1_TUNNEL);
}
