/* The life of a client connection below its protocol: handshake, choice of protocol, close. */
#include "http/conn.h"

#include <assert.h>
#include <errno.h>
#include <unistd.h>

#include "base/log.h"
#include "http/proxy_header.h"

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
_Static_assert(sizeof(preface) - 1 == CONN_PREFACE_BYTES, "RFC 9113, section 3.4");

#define TO(s) (1u << CONN_##s)
static const struct {
	const char *name;
	unsigned next;
} states[CONN_STATES] = {
	[CONN_PROXY] = { "proxy header", TO(HANDSHAKE) | TO(CLOSED) },
	[CONN_HANDSHAKE] = { "handshake", TO(FIRST) | TO(OPEN) | TO(CLOSED) },
	[CONN_FIRST] = { "first bytes", TO(OPEN) | TO(CLOSED) },
	[CONN_OPEN] = { "open", TO(CLOSED) },
	[CONN_CLOSED] = { "closed", 0 },
};

static void set_state(struct conn *c, enum conn_state next)
{
	assert(states[c->state].next & (1u << next));
	log_debug("conn=%d %s -> %s", stream_fd(&c->stream), states[c->state].name,
		  states[next].name);
	c->shared->stats.opening += (next < CONN_OPEN) - (c->state < CONN_OPEN);
	c->state = (uint8_t)next;
}

/* ---- the end ---- */

static void on_free(void *arg)
{
	struct conn *c = arg;

	if (c->proto)
		c->kind->release(c);
	pool_put(&c->shared->proxy_headers, c->proxy_header);
	pool_put(&c->shared->conns, c);
}

void conn_close(struct conn *c, const char *why)
{
	bool reset = why && c->proto && c->kind->owes(c);

	if (c->state == CONN_CLOSED)
		return;
	if (why)
		log_debug("conn=%d peer=%s closed: %s", stream_fd(&c->stream), c->peer.addr.text,
			  why);
	set_state(c, CONN_CLOSED);
	c->shared->stats.h2_open -= c->peer.h2;
	stream_close(&c->stream, reset);
	deadline_stop(&c->deadline);
	loop_task_cancel(&c->turn);
	list_remove(&c->waiting_link);
	if (c->proto)
		c->kind->closed(c, why);
	c->shared->gone(c);
	loop_task_cancel(&c->turn); /* the handler's last words do not wake a closed connection */
	loop_defer(c->shared->loop, &c->reap, on_free, c);
}

void conn_break(struct conn *c, const char *why)
{
	if (!c->broken)
		c->broken = why;
	conn_wake(c);
}

/* ---- which protocol ---- */

/* Last in its callers: the kind has the connection then. */
static void become(struct conn *c, const struct conn_kind *kind)
{
	c->kind = kind;
	c->peer.h2 = kind == &h2_kind;
	c->shared->stats.h2_open += c->peer.h2;
	c->peer.tls_version = stream_tls_version(&c->stream);
	conn_works(c);
	set_state(c, CONN_OPEN);
	if (kind->begin(c, slice_of(c->first, c->nfirst)) < 0)
		conn_close(c, "no room for another connection");
}

static void do_handshake(struct conn *c)
{
	int events = 0;
	int rc = stream_handshake(&c->stream, &events);

	if (rc == -EAGAIN)
		stream_wait(&c->stream, events);
	else if (rc < 0)
		conn_close(c, "TLS handshake failed");
	else
		become(c, slice_eq(stream_alpn(&c->stream), SLICE("h2")) ? &h2_kind : &h1_kind);
}

/* Reads as far as it may be HTTP/2's preface, so that nothing of either protocol is passed over. */
static void do_first(struct conn *c)
{
	ssize_t n = stream_read(&c->stream, c->first + c->nfirst, sizeof(c->first) - c->nfirst);

	if (n == -EAGAIN)
		return;
	if (n <= 0) {
		conn_close(c, NULL);
		return;
	}
	c->nfirst += (uint8_t)n;
	if (memcmp(c->first, preface, c->nfirst) != 0)
		become(c, &h1_kind);
	else if (c->nfirst == CONN_PREFACE_BYTES)
		become(c, &h2_kind);
}

/* The first thing after accept(), and after whatever comes before the handshake. */
static void begin_handshake(struct conn *c)
{
	if (c->peer.tls) {
		stream_wait(&c->stream, STREAM_READ);
	} else if (c->shared->config.h2c) {
		set_state(c, CONN_FIRST);
		stream_wait(&c->stream, STREAM_READ);
	} else {
		become(c, &h1_kind);
	}
}

/* ---- whose connection it is, if a proxy says so ---- */

int conn_expect_proxy_header(struct conn *c)
{
	c->proxy_header = pool_get(&c->shared->proxy_headers);
	if (!c->proxy_header)
		return -ENOMEM;
	*c->proxy_header = (struct proxy_header){ 0 };
	c->state = CONN_PROXY;
	return 0;
}

static void refuse_proxy_header(struct conn *c, const char *why)
{
	c->shared->stats.bad_proxy_headers++;
	conn_close(c, why);
}

/* <from> NULL: whom the kernel says. */
static void proxy_header_done(struct conn *c, const struct addr *from)
{
	pool_put(&c->shared->proxy_headers, c->proxy_header);
	c->proxy_header = NULL;
	if (from)
		c->peer.addr = *from;
	set_state(c, CONN_HANDSHAKE);
	if (c->shared->named(c))
		begin_handshake(c);
	else
		conn_close(c, "too many connections from its address");
}

/* Takes no byte behind the header: the handshake is read by TLS. */
static void do_proxy(struct conn *c)
{
	uint8_t bytes[1024];
	ssize_t n = stream_read_bare(&c->stream, bytes, sizeof(bytes), true);
	enum proxy_header_result result;
	const char *why = NULL;
	struct addr from;
	size_t used;

	if (n == -EAGAIN)
		return;
	if (n <= 0) {
		conn_close(c, NULL);
		return;
	}
	result = proxy_header_feed(c->proxy_header, bytes, (size_t)n, &used, &from, &why);
	if (stream_read_bare(&c->stream, bytes, used, false) != (ssize_t)used) {
		conn_close(c, "client went away");
		return;
	}
	switch (result) {
	case PROXY_HEADER_MORE: break;
	case PROXY_HEADER_BAD: refuse_proxy_header(c, why); break;
	case PROXY_HEADER_NONE: proxy_header_done(c, NULL); break;
	case PROXY_HEADER_FROM:
		/* Nobody on this machine came through a proxy on another one. */
		if (addr_is_loopback(&from) && !addr_is_loopback(&c->peer.addr))
			refuse_proxy_header(c, "PROXY header: a loopback address from elsewhere");
		else
			proxy_header_done(c, &from);
		break;
	}
}

void conn_start(struct conn *c)
{
	conn_waits(c);
	if (c->state == CONN_PROXY)
		stream_wait(&c->stream, STREAM_READ);
	else
		begin_handshake(c);
}

/* ---- events ---- */

static void on_ready(void *arg, int events)
{
	struct conn *c = arg;

	switch (c->state) {
	case CONN_OPEN: c->kind->ready(c, events); break;
	case CONN_PROXY: do_proxy(c); break;
	case CONN_HANDSHAKE: do_handshake(c); break;
	case CONN_FIRST: do_first(c); break;
	default: break;
	}
}

static void on_turn(void *arg)
{
	struct conn *c = arg;

	c->kind->turn(c);
}

static void on_deadline(void *arg)
{
	struct conn *c = arg;

	if (c->state == CONN_OPEN) {
		c->kind->expired(c);
		return;
	}
	c->shared->stats.timeouts++;
	conn_close(c, NULL);
}

/* ---- for the server and the kinds ---- */

struct conn *conn_open(struct conn_shared *shared, int take_fd, struct tls_server *tls,
		       const struct exchange_peer *peer)
{
	struct conn *c = pool_get(&shared->conns);

	if (!c) {
		close(take_fd);
		return NULL;
	}
	*c = (struct conn){ .shared = shared, .peer = *peer, .state = CONN_HANDSHAKE };
	if (!tls) {
		stream_init(&c->stream, shared->loop, take_fd, on_ready, c);
	} else if (stream_init_tls(&c->stream, shared->loop, take_fd, tls, on_ready, c) < 0) {
		pool_put(&shared->conns, c);
		return NULL;
	}
	list_init(&c->link);
	list_init(&c->waiting_link);
	loop_task_init(&c->turn, on_turn, c);
	deadline_init(&c->deadline, shared->loop, on_deadline, c);
	deadline_set(&c->deadline, shared->config.head_timeout_ms);
	shared->stats.opening++;
	return c;
}

void conn_drain(struct conn *c)
{
	if (c->state == CONN_OPEN)
		c->kind->drain(c);
}

bool conn_tunnel_begin(struct conn *c)
{
	uint32_t max = c->shared->config.max_tunnels_per_address;

	if (c->account && max && c->account->tunnels >= max) {
		c->shared->stats.refused_tunnels++;
		return false;
	}
	c->shared->stats.tunnels++;
	if (c->account)
		c->account->tunnels++;
	return true;
}

void conn_tunnel_end(struct conn *c)
{
	c->shared->stats.tunnels--;
	if (c->account)
		c->account->tunnels--;
}

static void set_request_id(struct conn *c, struct exchange *x)
{
	const struct field *f = head_field(&x->req, FIELD_X_REQUEST_ID);

	if (c->shared->config.trust_request_id && f && request_id_valid(f->value)) {
		memcpy(x->request_id, f->value.p, f->value.n);
		x->request_id[f->value.n] = '\0';
	} else {
		request_id_make(&c->shared->ids, x->request_id);
	}
}

void conn_begin_exchange(struct conn *c, struct exchange *x, const struct exchange_ops *ops)
{
	x->ops = ops;
	x->events = NULL;
	x->arg = NULL;
	x->loop = c->shared->loop;
	x->peer = &c->peer;
	x->started_us = loop_turn_us(c->shared->loop);
	x->body_in_bytes = x->body_out_bytes = 0;
	x->status = 0;
	x->body_done = x->responded = x->ended = x->tunnel = false;
	set_request_id(c, x);
	c->shared->stats.requests++;
}
