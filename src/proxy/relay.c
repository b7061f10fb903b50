/* The life of a request. Read from top to bottom: it begins, gets an endpoint, passes through,
 * fails and tries again, ends.
 *
 * Nothing is copied on the way but what a second attempt would need: each side offers bytes, the
 * other takes what it can, and what is not taken is offered again when there is room. So a slow
 * client stops its own upstream, and no one else's. */
#include "proxy/relay.h"

#include <assert.h>
#include <errno.h>

#include "base/log.h"
#include "proxy/answer.h"
#include "proxy/basic_auth.h"
#include "proxy/endpoint.h"
#include "proxy/filter.h"
#include "proxy/front_inner.h"
#include "proxy/grpc.h"
#include "proxy/sticky.h"

#define TUNNEL_IDLE_MS (60 * 60 * 1000)

#define TO(s) (1u << RELAY_##s)
static const struct {
	const char *name;
	unsigned next;
} states[RELAY_STATES] = {
	[RELAY_NEW] = { "new", TO(CHECK) | TO(HELD) | TO(WAIT) | TO(ANSWER) | TO(DONE) },
	[RELAY_CHECK] = { "check", TO(NEW) | TO(ANSWER) | TO(DONE) },
	[RELAY_HELD] = { "held", TO(HELD) | TO(WAIT) | TO(ANSWER) | TO(DONE) },
	[RELAY_WAIT] = { "wait",
			 TO(HELD) | TO(WAIT) | TO(RESPOND) | TO(TUNNEL) | TO(ANSWER) | TO(DONE) },
	[RELAY_RESPOND] = { "respond", TO(ANSWER) | TO(DONE) },
	[RELAY_TUNNEL] = { "tunnel", TO(ANSWER) | TO(DONE) },
	[RELAY_ANSWER] = { "answer", TO(DONE) },
	[RELAY_DONE] = { "done", 0 },
};

static const struct client_events upstream_events;
static const struct exchange_events client_events;

static void choose(struct relay *r);
static void pump(struct relay *r);
static void answer(struct relay *r, unsigned status, const char *detail);
static void after_answer(struct relay *r, int rc);

/* The only writer of r->state. */
void relay_set_state(struct relay *r, enum relay_state next)
{
	assert(states[r->state].next & (1u << next));
	log_debug("request=%s %s -> %s", r->x->request_id, states[r->state].name,
		  states[next].name);
	r->state = (uint8_t)next;
}

/* ---- beginning ---- */

static struct relay *create(struct front *f, struct exchange *x, struct upstream *u)
{
	struct relay *r = pool_get(&f->relays);

	f->stats.requests++;
	if (!r) {
		answer_shed(x);
		f->stats.by_status[5]++;
		return NULL;
	}
	*r = (struct relay){ .x = x, .front = f, .upstream = u };
	list_init(&r->hold_link);
	list_init(&r->endpoint_link);
	list_init(&r->check_link);
	x->events = &client_events;
	x->arg = r;
	f->stats.active++;
	if (u) {
		u->requests++;
		u->active++;
	}
	return r;
}

void relay_begin(struct front *f, struct exchange *x, struct upstream *u)
{
	struct relay *r = create(f, x, u);

	if (!r)
		return;
	if (u->policy.filters)
		filter_admit(r);
	else
		relay_go(r);
}

void relay_go(struct relay *r)
{
	const struct upstream_policy *policy = &r->upstream->policy;

	r->grpc = policy->protocol == PROTOCOL_H2C && grpc_is(&r->x->req);
	retry_count(&r->upstream->budget, loop_now_ms(r->front->loop));
	choose(r);
}

/* ---- getting an endpoint ---- */

static bool is_idempotent(const struct relay *r)
{
	return method_is_idempotent(r->x->req.method_id);
}

static bool is_at(const struct endpoint *e, const char *address)
{
	const char *port = strrchr(address, ':');
	size_t n = port ? (size_t)(port - address) : 0;

	return port && strncmp(e->at.text, address, n) == 0 &&
	       strrchr(e->at.text, ':') == e->at.text + n;
}

/* Not at the address of the last attempt: what else is there may be as silent, its machine gone. NULL: look there, too. */
static struct endpoint *pick_elsewhere(struct relay *r)
{
	uint64_t tried[2 * RELAY_TRIED];
	struct endpoint *e;
	unsigned n = r->ntried;

	memcpy(tried, r->tried, sizeof(r->tried));
	while (n < ARRAY_LEN(tried) && (e = upstream_pick(r->upstream, tried, n))) {
		if (!is_at(e, r->endpoint_text))
			return e;
		tried[n++] = e->id;
	}
	return NULL;
}

/* One that did not get this request yet. The second exception of the retry rule: who only had a
 * stale connection may get it again. */
static struct endpoint *pick(struct relay *r)
{
	struct endpoint *e = r->upstream->policy.sticky ? sticky_pick(r) : NULL;
	uint64_t stale_id = r->stale_id;

	if (!e && r->elsewhere)
		e = pick_elsewhere(r);
	if (!e)
		e = upstream_pick(r->upstream, r->tried, r->ntried);
	if (e || !stale_id)
		return e;
	r->stale_id = 0;
	return upstream_endpoint(r->upstream, stale_id);
}

static void remember(struct relay *r, const struct endpoint *e)
{
	/* When there is no room any is forgotten: it left routing when it failed, or there would
	 * not have been this many attempts. */
	if (r->ntried < RELAY_TRIED)
		r->tried[r->ntried++] = e->id;
	else
		r->tried[r->attempts % RELAY_TRIED] = e->id;
	r->attempts++;
	memcpy(r->endpoint_text, e->at.text, sizeof(r->endpoint_text));
}

/* Gives the request to <e>. 0, or why not. */
static int attempt(struct relay *r, struct endpoint *e)
{
	struct front *f = r->front;
	const struct policy_headers *changes = &r->upstream->policy.request_headers;
	const struct head *h = forward_request(&f->forward, r->x);
	struct client *c;
	uint32_t max_idle_ms;
	int rc;

	if (!h || (changes->n && !forward_edit(&f->forward, changes)))
		return -EMSGSIZE;
	remember(r, e);
	max_idle_ms = is_idempotent(r) ? UINT32_MAX : f->config.fresh_idle_ms;
	rc = endpoint_open(e, r->fresh ? 0 : max_idle_ms, &c);
	if (rc < 0)
		return rc;
	r->upgrade = h->protocol.n > 0;
	rc = client_request(c, h, r->x->req.body, r->x->req.content_length,
			    r->grpc ? &r->upstream->call_limits : &r->upstream->limits,
			    &upstream_events, r);
	if (rc < 0) {
		client_close(c);
		return rc;
	}
	r->client = c;
	r->endpoint = e;
	r->replayed = 0;
	r->sent_us = loop_turn_us(f->loop);
	r->request_ended = r->x->req.body == BODY_NONE;
	endpoint_enter(e, r);
	return 0;
}

/* Nobody to give it to: it waits if nobody may have acted on it, and either its upstream lets
 * requests wait or there are endpoints, all busy. Else it ends here. */
static void go_without(struct relay *r)
{
	struct upstream *u = r->upstream;
	bool in_time = r->hold_until_ms == 0 || r->hold_until_ms > loop_now_ms(r->front->loop);
	bool busy = upstream_is_open(u);
	/* Who waits is let go when an endpoint takes requests; so nobody joins while one does, but
	 * those behind a queue that is being let go. */
	bool may_wait = (u->policy.hold || busy) && !u->target.dead && in_time &&
			r->attempts < RELAY_ATTEMPTS &&
			(u->choice.n == 0 || (u->hold.n && r->state == RELAY_NEW));

	if (may_wait && hold_add(&u->hold, r) == 0) {
		relay_set_state(r, RELAY_HELD);
		/* Whoever comes back into routing has proved itself meanwhile. */
		r->ntried = 0;
		r->stale_id = 0;
		return;
	}
	if (busy && (u->choice.n == 0 || r->attempts == 0))
		answer(r, 503, "What serves this has as many requests as it may.");
	else if (r->attempts && u->nendpoints)
		answer(r, 502, "No instance of what serves this could be reached.");
	else
		answer(r, 503, "Nothing serves this at the moment.");
}

/* Another attempt, after the one at <e>. */
static void count_retry(struct relay *r, struct endpoint *e)
{
	e->retries_away++;
	r->upstream->retries++;
	r->front->stats.retries++;
}

static void no_tunnel(struct relay *r)
{
	answer(r, 501, "What serves this takes no tunnels of this kind.");
}

/* Finds an endpoint that takes the request. */
static void choose(struct relay *r)
{
	struct upstream *u = r->upstream;
	struct endpoint *e;

	/* Those who wait go first. */
	if (u->hold.n && r->state == RELAY_NEW) {
		go_without(r);
		return;
	}
	while (r->attempts < RELAY_ATTEMPTS && (e = pick(r))) {
		struct client_failure failure = { .rc = attempt(r, e), .stage = CLIENT_CONNECTING };
		enum endpoint_fault fault;

		if (failure.rc == 0) {
			relay_set_state(r, RELAY_WAIT);
			pump(r);
			return;
		}
		if (failure.rc == -EMSGSIZE) {
			answer(r, 431, "The request's header is too large to pass on.");
			return;
		}
		if (failure.rc == -EOPNOTSUPP) {
			no_tunnel(r);
			return;
		}
		if (!retry_fault(&failure, &fault)) {
			log_debug("request=%s: connect to %s: %s", r->x->request_id, e->at.text,
				  strerror(-failure.rc));
			answer(r, 503, "No more connections can be opened at the moment.");
			return;
		}
		endpoint_fault(e, fault, strerror(-failure.rc));
		count_retry(r, e);
	}
	go_without(r);
}

void relay_release(struct relay *r)
{
	choose(r);
}

/* ---- the request's content, client → upstream ---- */

static void end_request(struct relay *r, const struct head *trailers)
{
	r->request_ended = true;
	client_end(r->client, forward_trailers(&r->front->forward, trailers));
}

static size_t on_client_body(void *arg, const char *p, size_t n)
{
	struct relay *r = arg;
	struct front *f = r->front;
	struct iovec iov = { .iov_base = (void *)p, .iov_len = n };
	size_t taken = 0;

	if (r->state == RELAY_ANSWER || r->state == RELAY_DONE)
		return n;
	if (r->upstream->policy.max_body_bytes && !filter_takes(r, n))
		return n;
	/* What an earlier attempt got goes first. */
	if (r->client && r->replayed == r->replay.n)
		taken = client_write(r->client, &iov, 1);
	/* Kept whatever the method: as long as nothing was sent even a POST may go elsewhere. */
	if (taken && r->state == RELAY_WAIT) {
		replay_keep(&r->replay, &f->replay_blocks, f->config.retry_body_bytes, p, taken);
		r->replayed = r->replay.n;
	}
	r->client_waits = taken < n;
	return taken;
}

static void on_client_body_end(void *arg, const struct head *trailers)
{
	struct relay *r = arg;

	r->client_done = true;
	if (r->client && !r->request_ended && r->replayed == r->replay.n)
		end_request(r, trailers);
}

/* There will be no other attempt: the copy goes once this one has all of it. */
static void let_copy_go(struct relay *r)
{
	if (r->state == RELAY_WAIT || r->replayed < r->replay.n)
		return;
	replay_drop(&r->replay, &r->front->replay_blocks);
	r->replayed = 0;
}

/* Goes on with the content: first what an earlier attempt got, then what the client still has.
 * Last in its callers. */
static void pump(struct relay *r)
{
	while (r->replayed < r->replay.n) {
		size_t n, taken;
		const uint8_t *p = replay_run(&r->replay, r->replayed, &n);
		struct iovec iov = { .iov_base = (void *)p, .iov_len = n };

		taken = client_write(r->client, &iov, 1);
		r->replayed += (uint32_t)taken;
		if (taken < n)
			return;
	}
	let_copy_go(r);
	if (r->client_done && !r->request_ended) {
		end_request(r, NULL);
	} else if (r->client_waits) {
		r->client_waits = false;
		exchange_resume(r->x);
	}
}

static void on_upstream_writable(void *arg)
{
	pump(arg);
}

/* ---- the response, upstream → client ---- */

/* Takes the connection back from the request; it is not used again unless the exchange on it was
 * complete. */
static void detach(struct relay *r, bool complete)
{
	struct client *c = r->client;
	struct endpoint *e = r->endpoint;

	if (!c)
		return;
	r->client = NULL;
	r->endpoint = NULL;
	r->upstream_waits = false;
	if (complete && r->request_ended)
		endpoint_give(e, c);
	else
		client_close(c);
	endpoint_leave(e, r);
}

static void on_upstream_inform(void *arg, const struct head *h)
{
	struct relay *r = arg;
	const struct head *out;

	/* 100 answers our own Expect, which is never sent. */
	if (h->status == 100 || r->state != RELAY_WAIT)
		return;
	out = forward_response(&r->front->forward, h);
	if (out)
		exchange_inform(r->x, out);
}

static void on_upstream_head(void *arg, const struct head *h)
{
	struct relay *r = arg;
	const struct policy_headers *changes = &r->upstream->policy.response_headers;
	struct head *out = forward_response(&r->front->forward, h);
	bool tunnel = h->status == 101;
	bool empty = h->body == BODY_NONE || (h->body == BODY_LENGTH && h->content_length == 0);

	if (!out || (changes->n && !tunnel && !forward_edit(&r->front->forward, changes)) ||
	    (tunnel && !(r->upgrade && forward_upgrade_fits(r->x->req.protocol, h)))) {
		answer(r, 502, "What serves this sent an answer that cannot be passed on.");
		return;
	}
	relay_set_state(r, tunnel ? RELAY_TUNNEL : RELAY_RESPOND);
	r->head_us = loop_turn_us(r->front->loop);
	r->connect_us = r->client->connect_us;
	/* A call's messages come when there are some, as events do. */
	r->endless = tunnel || head_is_type(h, SLICE("text/event-stream")) || (r->grpc && grpc_is(h));
	endpoint_answered(r->endpoint, h->status, r->head_us - r->sent_us);
	if (r->upstream->policy.sticky)
		sticky_answer(r, out);
	let_copy_go(r);
	if (tunnel) {
		r->front->stats.tunnels++;
		r->request_ended = false; /* that was the request; the client's bytes begin */
		client_idle_limit(r->client, TUNNEL_IDLE_MS);
		endpoint_count_tunnel(r->endpoint, r);
	} else if (r->endless) {
		client_idle_limit(r->client, 0);
		endpoint_count_tunnel(r->endpoint, r);
	}
	if (r->upstream->policy.compress && !empty && !tunnel)
		r->packer = compress_begin(r, out);
	if (exchange_respond(r->x, out, empty && !tunnel) < 0)
		answer(r, 502, "What serves this sent an answer that cannot be passed on.");
}

static size_t on_upstream_body(void *arg, const char *p, size_t n)
{
	struct relay *r = arg;
	struct iovec iov = { .iov_base = (void *)p, .iov_len = n };
	size_t taken = r->packer ? compress_take(r->packer, p, n) : exchange_write(r->x, &iov, 1);

	r->upstream_waits = taken < n;
	return taken;
}

static void on_upstream_end(void *arg, const struct head *trailers)
{
	struct relay *r = arg;

	/* A tunnel ends when both ways have: with closed(). */
	if (r->state == RELAY_TUNNEL) {
		exchange_end(r->x, NULL);
		return;
	}
	relay_set_state(r, RELAY_DONE);
	if (r->packer)
		compress_end(r->packer);
	else if (!r->x->ended)
		exchange_end(r->x, forward_trailers(&r->front->forward, trailers));
	detach(r, true);
}

void relay_go_on(struct relay *r)
{
	if (!r->upstream_waits)
		return;
	r->upstream_waits = false;
	client_resume(r->client);
}

static void on_client_writable(void *arg)
{
	struct relay *r = arg;

	if (r->state == RELAY_ANSWER) {
		after_answer(r, answer_go_on(r));
	} else if (!r->packer || compress_go_on(r->packer)) {
		relay_go_on(r);
	}
}

/* ---- failing, and another attempt ---- */

/* The last attempt failed in a way that allows another one. */
static void again(struct relay *r, struct endpoint *e, const struct client_failure *f)
{
	/* Once: who refuses it again may be full, or going. */
	if (f->reused && f->stage <= CLIENT_SENT && !r->fresh) {
		r->fresh = true;
		r->stale_id = e->id;
	}
	count_retry(r, e);
	choose(r);
}

static enum retry_verdict verdict_on(struct relay *r, const struct client_failure *f)
{
	enum retry_verdict v = retry_verdict(f, is_idempotent(r), !r->replay.lost);

	if (v != RETRY_BUDGET || retry_take(&r->upstream->budget, loop_now_ms(r->front->loop)))
		return v;
	r->front->stats.retries_refused++;
	return RETRY_NEVER;
}

/* The response cannot be finished. A call ends with a status, which its client takes for what it is;
 * everything else noticeably. */
static void break_off(struct relay *r, const char *why)
{
	struct head trailers;

	relay_set_state(r, RELAY_DONE);
	if (!r->grpc || !r->x->req.te_trailers) {
		exchange_abort(r->x, why);
		return;
	}
	head_init(&trailers);
	grpc_put_status(&trailers, 502, why);
	exchange_end(r->x, &trailers);
}

static void on_upstream_failed(void *arg, const struct client_failure *failure)
{
	struct relay *r = arg;
	struct endpoint *e = r->endpoint;
	struct client_failure f = *failure; /* the connection it may be part of goes now */
	enum endpoint_fault fault;

	log_debug("request=%s endpoint=%s: %s", r->x->request_id, e->at.text, f.why);
	detach(r, false);
	if (retry_fault(&f, &fault)) {
		endpoint_fault(e, fault, f.why);
		r->elsewhere = fault == FAULT_TIMEOUT || fault == FAULT_UNREACHABLE;
	}
	if (r->state != RELAY_WAIT) {
		break_off(r, f.why);
	} else if (verdict_on(r, &f) != RETRY_NEVER) {
		again(r, e, &f);
	} else if (f.rc == -EOPNOTSUPP) {
		no_tunnel(r);
	} else if (f.rc == -ETIME || f.rc == -ETIMEDOUT) {
		answer(r, 504, "What serves this did not answer in time.");
	} else {
		answer(r, 502, "What serves this broke off before it answered.");
	}
}

void relay_reroute(struct relay *r)
{
	struct endpoint *e = r->endpoint;
	struct client_failure f = { .rc = -EHOSTUNREACH, .why = "it may not be there any more" };

	/* With nowhere to go it stays: a suspicion may be wrong. */
	if (r->state != RELAY_WAIT || !upstream_is_open(r->upstream))
		return;
	f.stage = client_stage(r->client);
	if (verdict_on(r, &f) == RETRY_NEVER)
		return;
	detach(r, false);
	again(r, e, &f);
}

/* ---- ending ---- */

/* One step of our own answer's way out. */
static void after_answer(struct relay *r, int rc)
{
	if (rc == -EAGAIN)
		return;
	relay_set_state(r, RELAY_DONE);
	if (rc < 0)
		exchange_abort(r->x, "the answer does not fit");
}

/* Answers in the upstream's stead; whatever it still had to say is dropped. */
static void answer(struct relay *r, unsigned status, const char *detail)
{
	relay_refuse(r, status, detail, slice_of(NULL, 0));
}

void relay_answer_only(struct front *f, struct exchange *x, unsigned status, const char *detail,
		       struct slice location)
{
	struct relay *r = create(f, x, NULL);

	if (!r)
		return;
	relay_set_state(r, RELAY_ANSWER);
	after_answer(r, answer_begin(r, status, detail, location));
}

void relay_refuse(struct relay *r, unsigned status, const char *detail, struct slice location)
{
	hold_remove(&r->upstream->hold, r);
	basic_auth_forget(r);
	detach(r, false);
	replay_drop(&r->replay, &r->front->replay_blocks);
	relay_set_state(r, RELAY_ANSWER);
	after_answer(r, answer_begin(r, status, detail, location));
}

void relay_cut(struct relay *r, const char *why)
{
	switch (r->state) {
	case RELAY_WAIT: answer(r, 502, "What serves this was stopped before it answered."); break;
	case RELAY_RESPOND:
	case RELAY_TUNNEL:
		detach(r, false);
		break_off(r, why);
		break;
	default: break;
	}
}

static void relay_free(void *arg)
{
	struct relay *r = arg;

	pool_put(&r->front->relays, r);
}

static void on_client_closed(void *arg, const char *why)
{
	struct relay *r = arg;

	if (r->upstream)
		hold_remove(&r->upstream->hold, r);
	basic_auth_forget(r);
	compress_stop(r->packer);
	r->packer = NULL;
	detach(r, false);
	replay_drop(&r->replay, &r->front->replay_blocks);
	if (r->state != RELAY_DONE)
		relay_set_state(r, RELAY_DONE);
	relay_account(r, why);
	if (r->upstream)
		upstream_leave(r->upstream);
	loop_defer(r->front->loop, &r->reap, relay_free, r);
}

static const struct client_events upstream_events = {
	.inform = on_upstream_inform,
	.head = on_upstream_head,
	.body = on_upstream_body,
	.end = on_upstream_end,
	.writable = on_upstream_writable,
	.failed = on_upstream_failed,
};

static const struct exchange_events client_events = {
	.body = on_client_body,
	.body_end = on_client_body_end,
	.writable = on_client_writable,
	.closed = on_client_closed,
};
