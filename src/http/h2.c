/* The life of an HTTP/2 connection: its session, what comes in, the end of each turn, limits, how it
 * is left. */
#include "http/h2.h"

#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "http/h2_inner.h"

#define LINGER_MS 1000 /* after the last word, for the client to read it */
#define LINGER_MAX_BYTES (1u << 20)
#define DRAIN_NOTICE_MS 1000 /* for requests that crossed the first GOAWAY, if no PING comes back */
#define QUEUE_MAX 1000	     /* frames that wait because the client reads nothing */
#define SWEEP_MAX_MS 5000
#define IDLE_OBJECTS_MAX 256

static void close_conn(struct h2 *h2, const char *why)
{
	conn_close(h2->conn, why);
}

void h2_terminate(struct h2 *h2, uint32_t code, const char *why)
{
	if (h2->terminated)
		return;
	log_debug("conn=%d peer=%s refused: %s", stream_fd(&h2->conn->stream),
		  h2->conn->peer.addr.text, why);
	h2->terminated = true;
	nghttp2_session_terminate_session(h2->session, code);
	conn_wake(h2->conn);
}

/* ---- in ---- */

static void fail(struct h2 *h2, ssize_t rc)
{
	switch (rc) {
	case NGHTTP2_ERR_NOMEM: conn_break(h2->conn, "out of memory"); break;
	case NGHTTP2_ERR_BAD_CLIENT_MAGIC:
		h2->shared->stats.bad_requests++;
		h2_terminate(h2, NGHTTP2_PROTOCOL_ERROR, "not HTTP/2");
		break;
	case NGHTTP2_ERR_CALLBACK_FAILURE: break; /* h2_terminate() was called */
	default:
		h2->shared->stats.h2_frame_floods++;
		h2_terminate(h2, NGHTTP2_ENHANCE_YOUR_CALM, nghttp2_strerror((int)rc));
	}
}

static void take(struct h2 *h2, const uint8_t *p, size_t n)
{
	ssize_t rc;

	if (h2->terminated)
		return;
	h2->busy = true;
	rc = h2_gate_pass(h2, p, n);
	h2->busy = false;
	if (rc < 0)
		fail(h2, rc);
	else if (h2->blocked && nghttp2_session_get_outbound_queue_size(h2->session) > QUEUE_MAX)
		conn_break(h2->conn, "client reads nothing");
}

/* Who does not read the last word, but sends on, has had the time for it. */
static void drop(struct h2 *h2, size_t n)
{
	h2->dropped_bytes += (uint32_t)n;
	if (h2->dropped_bytes > LINGER_MAX_BYTES)
		close_conn(h2, NULL);
}

static void receive(struct h2 *h2)
{
	ssize_t n = stream_read(&h2->conn->stream, h2->own->in, sizeof(h2->own->in));

	if (n > 0 && h2->bye)
		drop(h2, (size_t)n);
	else if (n > 0)
		take(h2, h2->own->in, (size_t)n);
	else if (n == 0)
		close_conn(h2, h2->nstreams ? "client went away" : NULL);
	else if (n < 0 && n != -EAGAIN)
		close_conn(h2, "client went away");
}

static void on_ready(struct conn *conn, int events)
{
	struct h2 *h2 = conn->proto;

	if (events & STREAM_WRITE)
		h2->blocked = false;
	if (events & STREAM_READ)
		receive(h2);
	if (conn_is_open(conn))
		conn_wake(conn);
}

/* ---- the end of a turn ---- */

static void settle_streams(struct h2 *h2)
{
	struct list now;

	/* Those that come while this goes on have their turn in the next round. */
	list_init(&now);
	while (!list_empty(&h2->todo)) {
		struct h2_stream *s = LIST_FIRST(&h2->todo, struct h2_stream, todo);

		list_remove(&s->todo);
		list_push_back(&now, &s->todo);
	}
	while (!list_empty(&now)) {
		struct h2_stream *s = LIST_FIRST(&now, struct h2_stream, todo);

		list_remove(&s->todo);
		h2_stream_settle(s);
	}
}

/* Two steps, so that no request is lost: first "open no more", then, when everything that was sent
 * before that was read has come, which ones were served (RFC 9113 §6.8). */
static void go_on_draining(struct h2 *h2)
{
	uint64_t now = loop_now_ms(h2->shared->loop);

	if (h2->drain == H2_NOTICED && now - h2->drain_ms >= DRAIN_NOTICE_MS)
		h2->drain = H2_LEAVING;
	if (h2->drain != H2_LEAVING || h2->left)
		return;
	h2->left = true;
	nghttp2_submit_goaway(h2->session, NGHTTP2_FLAG_NONE,
			      nghttp2_session_get_last_proc_stream_id(h2->session),
			      NGHTTP2_NO_ERROR, NULL, 0);
}

static bool is_finished(const struct h2 *h2)
{
	return !h2->bye && iobuf_len(&h2->rest) == 0 && !nghttp2_session_want_read(h2->session) &&
	       !nghttp2_session_want_write(h2->session);
}

static void say_bye(struct h2 *h2)
{
	h2->bye = true;
	stream_shutdown(&h2->conn->stream);
	deadline_set(&h2->conn->deadline, LINGER_MS);
}

static uint32_t sweep_ms(const struct h2 *h2)
{
	const struct server_config *c = &h2->shared->config;
	uint32_t shortest = MIN(MIN(c->head_timeout_ms, c->body_timeout_ms), c->write_timeout_ms);

	if (h2->drain == H2_NOTICED)
		return DRAIN_NOTICE_MS / 4;
	return MAX(MIN(shortest / 4, SWEEP_MAX_MS), 10);
}

static void watch(struct h2 *h2)
{
	const struct server_config *c = &h2->shared->config;
	struct conn *conn = h2->conn;
	bool sweeps = h2->nstreams || h2->blocked || h2->head_ms || h2->drain == H2_NOTICED;

	h2->turn_bytes_out = conn->stream.bytes_out;
	if (h2->bye) {
		/* The deadline is set. */
	} else if (!sweeps) {
		/* Whatever comes meanwhile that is no request, it is idle. */
		if (h2->sweeping || h2->idling != h2->greeted)
			deadline_set(&conn->deadline,
				     h2->greeted ? c->idle_timeout_ms : c->head_timeout_ms);
		h2->sweeping = false;
		h2->idling = h2->greeted;
	} else if (!h2->sweeping) {
		h2->sweeping = true;
		deadline_set(&conn->deadline, sweep_ms(h2));
	}
	stream_wait(&conn->stream, STREAM_READ | (h2->blocked ? STREAM_WRITE : 0));
}

static void on_turn(struct conn *conn)
{
	struct h2 *h2 = conn->proto;
	int rc = 0;

	do {
		settle_streams(h2);
		go_on_draining(h2);
		if (conn->broken) {
			close_conn(h2, conn->broken);
			return;
		}
		if (!h2->bye)
			rc = h2_send(h2);
		if (rc < 0 && rc != -EAGAIN) {
			close_conn(h2, rc == -ENOMEM ? "out of buffers" : "client went away");
			return;
		}
	} while (!list_empty(&h2->todo) || conn->broken);
	if (is_finished(h2))
		say_bye(h2);
	watch(h2);
}

/* ---- limits ---- */

static bool is_late(uint64_t now, uint64_t since, uint32_t limit_ms)
{
	return limit_ms && now - since >= limit_ms;
}

static bool waits_for_content(const struct h2_stream *s)
{
	return !s->in_end && !s->refused_more && !s->x.responded && s->in.bytes == 0 &&
	       s->x.req.body != BODY_NONE;
}

/* Content that trickles in, in the windows of time in which we wait for it. */
static bool content_is_too_slow(struct h2_stream *s, uint64_t now)
{
	uint32_t limit_ms = s->h2->shared->config.body_timeout_ms;
	uint64_t mark = s->in_mark;

	if (waits_for_content(s) && !is_late(now, s->in_ms, limit_ms))
		return false;
	s->in_mark = s->x.body_in_bytes;
	if (!waits_for_content(s)) {
		s->in_ms = now;
		return false;
	}
	mark = s->in_mark - mark;
	limit_ms = (uint32_t)(now - s->in_ms);
	s->in_ms = now;
	return conn_is_too_slow(s->h2->shared, mark, limit_ms);
}

static bool has_waiting(const struct h2_stream *s)
{
	return iobuf_len(&s->out) || s->want_writable;
}

/* Content that waits for this stream's window, which the client keeps shut or nearly so. */
static bool window_is_too_slow(struct h2_stream *s, uint64_t now, bool stalled)
{
	uint32_t limit_ms = s->h2->shared->config.write_timeout_ms;
	uint64_t bytes = s->sent_bytes - s->out_mark, ms = now - s->out_ms;

	if (stalled && !is_late(now, s->out_ms, limit_ms))
		return false;
	s->out_mark = s->sent_bytes;
	s->out_ms = now;
	return stalled && conn_is_too_slow(s->h2->shared, bytes, ms);
}

static void cut_slow(struct h2_stream *s, uint32_t code, const char *why)
{
	struct server_stats *stats = &s->h2->shared->stats;

	stats->timeouts++;
	stats->too_slow++;
	if (code == NGHTTP2_NO_ERROR)
		h2_refuse(s, 408, why);
	else
		h2_reset(s, code, why);
}

/* true: it has something to send that its own window does not hold back. */
static bool check_stream(struct h2_stream *s, uint64_t now)
{
	struct h2 *h2 = s->h2;
	const struct server_config *c = &h2->shared->config;
	bool waits, stalled;

	if (s->cut || s->gone || !s->begun)
		return false;
	waits = has_waiting(s);
	stalled = waits && nghttp2_session_get_stream_remote_window_size(h2->session, s->id) <= 0;
	if (s->x.tunnel) {
		uint64_t moved = s->sent_bytes + s->x.body_in_bytes;

		if (moved != s->out_mark) {
			s->out_mark = moved;
			s->out_ms = now;
		} else if (is_late(now, s->out_ms, c->tunnel_idle_ms)) {
			h2->shared->stats.timeouts++;
			h2_reset(s, NGHTTP2_CANCEL, "tunnel idle");
		}
	} else if (window_is_too_slow(s, now, stalled)) {
		cut_slow(s, NGHTTP2_CANCEL, "client takes too little");
	} else if (content_is_too_slow(s, now)) {
		cut_slow(s, NGHTTP2_NO_ERROR, "the request's content comes too slowly");
	}
	/* No block was to be had for it. */
	if (s->want_writable && iobuf_len(&s->out) == 0)
		h2_stream_wake(s);
	return waits && !stalled;
}

/* The connection as a whole: what waits for its window or the socket. What left us says nothing: the
 * kernel takes megabytes before anybody has read them. */
static bool client_is_too_slow(struct h2 *h2, uint64_t now, bool waits)
{
	uint32_t limit_ms = h2->shared->config.write_timeout_ms;
	uint64_t acked, taken, ms = now - h2->write_ms;

	if (waits && !is_late(now, h2->write_ms, limit_ms))
		return false;
	acked = stream_acked(&h2->conn->stream);
	taken = acked > h2->write_mark ? acked - h2->write_mark : 0;
	h2->write_ms = now;
	h2->write_mark = acked;
	/* A first window has nothing to compare with. */
	waits = waits && h2->write_known;
	h2->write_known = true;
	return waits && conn_is_too_slow(h2->shared, taken, ms);
}

static void sweep(struct h2 *h2)
{
	const struct server_config *c = &h2->shared->config;
	uint64_t now = loop_now_ms(h2->shared->loop);
	bool waits = h2->blocked;

	h2->sweeping = false;
	if (h2->head_ms && is_late(now, h2->head_ms, c->head_timeout_ms)) {
		h2->shared->stats.timeouts++;
		h2_terminate(h2, NGHTTP2_ENHANCE_YOUR_CALM, "a request's head took too long");
	}
	LIST_FOR_EACH(s, &h2->streams, struct h2_stream, link)
		waits |= check_stream(s, now);
	if (client_is_too_slow(h2, now, waits)) {
		h2->shared->stats.timeouts++;
		h2->shared->stats.too_slow++;
		conn_break(h2->conn, "client takes too little");
	}
	conn_wake(h2->conn);
}

static void on_expired(struct conn *conn)
{
	struct h2 *h2 = conn->proto;

	if (h2->sweeping && !h2->bye) {
		sweep(h2);
	} else if (h2->bye || !h2->greeted) {
		h2->shared->stats.timeouts += !h2->bye;
		close_conn(h2, NULL);
	} else {
		h2_terminate(h2, NGHTTP2_NO_ERROR, "idle");
	}
}

/* ---- for the connection ---- */

static void submit_greeting(struct h2 *h2)
{
	static const nghttp2_settings_entry settings[] = {
		{ NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, H2_STREAMS_MAX },
		{ NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, HEAD_MAX_BYTES },
		{ NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1 },
		{ NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1 },
	};

	nghttp2_submit_settings(h2->session, NGHTTP2_FLAG_NONE, settings, ARRAY_LEN(settings));
	nghttp2_session_set_local_window_size(h2->session, NGHTTP2_FLAG_NONE, 0, H2_CONN_WINDOW);
}

static void on_drain(struct conn *conn)
{
	struct h2 *h2 = conn->proto;

	if (h2->drain != H2_SERVING || h2->bye)
		return;
	h2->drain = H2_NOTICED;
	h2->drain_ms = loop_now_ms(h2->shared->loop);
	nghttp2_submit_shutdown_notice(h2->session);
	nghttp2_submit_ping(h2->session, NGHTTP2_FLAG_NONE, NULL);
	/* The sweep comes sooner now. */
	h2->sweeping = false;
	conn_wake(conn);
}

static int on_begin(struct conn *conn, struct slice early)
{
	struct h2_shared *own = conn->shared->h2;
	struct h2 *h2 = pool_get(&own->sessions);

	if (!h2)
		return -ENOMEM;
	*h2 = (struct h2){ .conn = conn, .shared = conn->shared, .own = own };
	list_init(&h2->streams);
	list_init(&h2->todo);
	conn->proto = h2;
	conn_waits(conn);
	conn->shared->stats.h2_connections++;
	conn->shared->stats.idle++;
	if (nghttp2_session_server_new3(&h2->session, own->callbacks, h2, own->option,
					&own->mem.functions) != 0) {
		h2->session = NULL;
		return -ENOMEM;
	}
	h2->write_ms = h2->window_ms = loop_now_ms(conn->shared->loop);
	h2->gate.preface_left = CONN_PREFACE_BYTES;
	submit_greeting(h2);
	deadline_set(&conn->deadline, conn->shared->config.head_timeout_ms);
	if (early.n)
		take(h2, (const uint8_t *)early.p, early.n);
	if (conn->shared->draining)
		on_drain(conn);
	conn_wake(conn);
	return 0;
}

static void on_closed(struct conn *conn, const char *why)
{
	struct h2 *h2 = conn->proto;

	LIST_FOR_EACH(s, &h2->streams, struct h2_stream, link)
		s->gone = true;
	LIST_FOR_EACH_SAFE(s, &h2->streams, struct h2_stream, link)
		h2_stream_close(s, s->why ? s->why : s->out_end ? NULL : why ? why : "closed");
	h2_release_rest(h2);
	conn->shared->stats.idle--;
}

static void on_release(struct conn *conn)
{
	struct h2 *h2 = conn->proto;

	nghttp2_session_del(h2->session);
	pool_put(&h2->own->sessions, h2);
}

/* A frame that is not there never passes for one: no reset is needed. */
static bool on_owes(const struct conn *conn)
{
	(void)conn;
	return false;
}

const struct conn_kind h2_kind = {
	.name = "h2",
	.begin = on_begin,
	.ready = on_ready,
	.turn = on_turn,
	.expired = on_expired,
	.drain = on_drain,
	.owes = on_owes,
	.closed = on_closed,
	.release = on_release,
};

/* ---- for the server ---- */

static void set_options(nghttp2_option *o)
{
	/* Windows open by what handlers take; heads are checked in h2_head.c, all of them. */
	nghttp2_option_set_no_auto_window_update(o, 1);
	nghttp2_option_set_no_http_messaging(o, 1);
	nghttp2_option_set_no_closed_streams(o, 1);
	/* Ours is narrower where there is no use to it, and wider where there is: h2_limit.c. */
#ifdef HAVE_NGHTTP2_OPTION_SET_STREAM_RESET_RATE_LIMIT
	nghttp2_option_set_stream_reset_rate_limit(o, UINT64_MAX, UINT64_MAX);
#endif
}

void h2_shared_create(struct conn_shared *shared)
{
	struct h2_shared *own = xcalloc(1, sizeof(*own));
	uint32_t max = shared->config.max_connections;
	uint32_t streams = max < UINT32_MAX / 2 ? 2 * max : max; /* see h2_limit_share() */

	shared->h2 = own;
	h2_mem_init(&own->mem);
	pool_init(&own->sessions, "HTTP/2 connections", sizeof(struct h2), max,
		  MIN(max, IDLE_OBJECTS_MAX));
	pool_init(&own->streams, "HTTP/2 streams", sizeof(struct h2_stream), streams,
		  IDLE_OBJECTS_MAX);
	pool_init(&own->content, "HTTP/2 content", INBOX_BLOCK_BYTES, streams,
		  MIN(MIN(streams, max / 4 + 16), IDLE_OBJECTS_MAX));
	if (nghttp2_session_callbacks_new(&own->callbacks) != 0 ||
	    nghttp2_option_new(&own->option) != 0)
		abort();
	h2_in_callbacks(own->callbacks);
	h2_out_callbacks(own->callbacks);
	set_options(own->option);
}

void h2_shared_destroy(struct h2_shared *own)
{
	if (!own)
		return;
	nghttp2_session_callbacks_del(own->callbacks);
	nghttp2_option_del(own->option);
	pool_fini(&own->sessions);
	pool_fini(&own->streams);
	pool_fini(&own->content);
	h2_mem_fini(&own->mem);
	free(own);
}

void h2_each_pool(const struct h2_shared *own, pool_each_fn *each, void *arg)
{
	each(arg, &own->sessions);
	each(arg, &own->streams);
	each(arg, &own->content);
}
