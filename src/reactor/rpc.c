/* A call's life: resolve, run, report. Whatever curl forbids inside its callbacks waits for the
 * call's own task at the turn's end, so that users may begin, resume and cancel calls from
 * anywhere. */
#include "reactor/rpc.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "reactor/rpc_inner.h"

#define IDLE_TIMEOUT_MS 30000
#define RESPONSE_MAX_BYTES ((size_t)1 << 20)

#define TO(state) (1u << CALL_##state)

static const struct { const char *name; unsigned next; } states[CALL_STATES] = {
	[CALL_RESOLVE]   = { "resolve",   TO(QUEUED) | TO(ENDED) | TO(GONE) },
	[CALL_QUEUED]    = { "queued",    TO(RUNNING) | TO(ENDED) | TO(GONE) },
	[CALL_RUNNING]   = { "running",   TO(ENDED) | TO(GONE) },
	[CALL_ENDED]     = { "ended",     TO(GONE) },
	[CALL_GONE]      = { "gone",      0 },
};

static void set_state(struct rpc_call *c, enum call_state next)
{
	assert(states[c->state].next & (1u << next));
	log_debug("rpc %s: %s -> %s", c->where ? c->where : "?", states[c->state].name,
		  states[next].name);
	c->state = next;
	if (next == CALL_QUEUED || next >= CALL_ENDED)
		loop_later(c->rpc->loop, &c->task);
}

static bool is_over(const struct rpc_call *c)
{
	return c->state >= CALL_ENDED;
}

void call_fail(struct rpc_call *c, int rc, const char *fmt, ...)
{
	va_list ap;

	if (is_over(c))
		return;
	va_start(ap, fmt);
	vsnprintf(c->error, sizeof(c->error), fmt, ap);
	va_end(ap);
	c->rc = rc;
	set_state(c, CALL_ENDED);
}

void call_ended(struct rpc_call *c, CURLcode code)
{
	if (is_over(c))
		return;
	if (code == CURLE_OK)
		set_state(c, CALL_ENDED);
	else
		easy_failed(c, code);
}

/* A pause of our own side is not the other side's silence. */
void call_touch(struct rpc_call *c)
{
	deadline_set(&c->idle, c->body_paused || c->upload_paused ? 0 : c->idle_limit_ms);
}

static void on_idle(void *arg)
{
	struct rpc_call *c = arg;

	call_fail(c, -ETIMEDOUT, "%s: silent for %u ms", c->where, c->idle_limit_ms);
}

static void on_total(void *arg)
{
	struct rpc_call *c = arg;

	call_fail(c, -ETIMEDOUT, "%s: not done in time", c->where);
}

/* ---- the end ---- */

static void call_free(void *arg)
{
	struct rpc_call *c = arg;

	buf_fini(&c->body);
	free(c->where);
	free(c->host);
	free(c);
}

/* Out of everything that may call it; the memory stays until the turn's end. */
static void detach(struct rpc_call *c)
{
	long sent_bytes = 0;

	dns_cancel(c->query);
	c->query = NULL;
	deadline_stop(&c->idle);
	deadline_stop(&c->total);
	multi_remove(c);
	if (c->easy) {
		curl_easy_getinfo(c->easy, CURLINFO_REQUEST_SIZE, &sent_bytes);
		curl_easy_cleanup(c->easy);
		c->easy = NULL;
	}
	c->sent = sent_bytes > 0;
	curl_slist_free_all(c->headers);
	curl_slist_free_all(c->connect_to);
	loop_task_cancel(&c->task);
	list_remove(&c->link);
	c->rpc->stats.active--;
	loop_defer(c->rpc->loop, &c->reap, call_free, c);
}

static void report(struct rpc_call *c)
{
	struct rpc_result res;

	set_state(c, CALL_GONE);	/* so that it may be cancelled from done */
	detach(c);
	c->rpc->stats.failed += c->rc != 0;
	res = (struct rpc_result){
		.rc = c->rc,
		.status = c->status,
		.body = buf_slice(&c->body),
		.error = c->error,
		.sent = c->sent,
	};
	c->ops->done(c->arg, &res);	/* last: it may destroy the rpc */
}

/* ---- running ---- */

static void unpause(struct rpc_call *c)
{
	CURLcode code;

	c->resume = false;
	if (!c->body_paused && !c->upload_paused)
		return;
	c->body_paused = c->upload_paused = false;
	call_touch(c);
	/* Offers the held bytes from inside this call, and may so pause or end it again. */
	code = curl_easy_pause(c->easy, CURLPAUSE_CONT);
	if (code != CURLE_OK)
		call_ended(c, code);
}

static void on_task(void *arg)
{
	struct rpc_call *c = arg;

	switch (c->state) {
	case CALL_QUEUED:
		set_state(c, CALL_RUNNING);
		multi_add(c);
		break;
	case CALL_RUNNING:
		if (c->resume)
			unpause(c);
		break;
	case CALL_ENDED:
		report(c);
		break;
	case CALL_GONE:
		detach(c);
		break;
	default:
		break;
	}
}

static void on_resolved(void *arg, int rc, const char *ip)
{
	struct rpc_call *c = arg;

	c->query = NULL;
	if (rc) {
		call_fail(c, rc, "resolve %s: %s", c->host,
			  rc == -ENOENT ? "no such host" :
			  rc == -ETIMEDOUT ? "no name server answered" :
			  rc == -EIO ? "the name servers failed" : strerror(-rc));
		return;
	}
	easy_connect_to(c, ip);
	set_state(c, CALL_QUEUED);
}

static void find_address(struct rpc_call *c, const struct rpc_target *to)
{
	if (is_over(c))
		return;
	if (to->resolve_ip && !to->unix_socket)
		easy_connect_to(c, to->resolve_ip);
	if (to->resolve_ip || to->unix_socket) {
		set_state(c, CALL_QUEUED);
		return;
	}
	c->query = dns_resolve(c->rpc->dns, c->host, on_resolved, c);
	if (!c->query)
		call_fail(c, -EBUSY, "resolve %s: too many lookups at once", c->host);
}

struct rpc_call *rpc_begin(struct rpc *r, const struct rpc_target *to,
			   const struct rpc_request *req, const struct rpc_ops *ops, void *arg)
{
	struct rpc_call *c;

	if (r->stats.active >= RPC_CALLS_MAX) {
		r->stats.refused++;
		return NULL;
	}
	c = xcalloc(1, sizeof(*c));
	c->rpc = r;
	c->ops = ops;
	c->arg = arg;
	c->idle_limit_ms = req->idle_timeout_ms ? req->idle_timeout_ms : IDLE_TIMEOUT_MS;
	buf_init(&c->body, req->max_response ? req->max_response : RESPONSE_MAX_BYTES);
	loop_task_init(&c->task, on_task, c);
	deadline_init(&c->idle, r->loop, on_idle, c);
	deadline_init(&c->total, r->loop, on_total, c);
	list_push_back(&r->calls, &c->link);
	r->stats.begun++;
	r->stats.active++;
	easy_setup(c, to, req);
	find_address(c, to);
	deadline_set(&c->total, req->total_timeout_ms);
	return c;
}

void rpc_resume(struct rpc_call *c)
{
	if (is_over(c))
		return;
	c->resume = true;
	loop_later(c->rpc->loop, &c->task);
}

void rpc_cancel(struct rpc_call *c)
{
	if (!c || c->state == CALL_GONE)
		return;
	dns_cancel(c->query);
	c->query = NULL;
	set_state(c, CALL_GONE);
}

int rpc_create(struct rpc **out, struct loop *l, struct err *err)
{
	struct rpc *r = xcalloc(1, sizeof(*r));
	int rc;

	r->loop = l;
	list_init(&r->calls);
	rc = multi_open(r, err);
	if (rc == 0)
		rc = dns_create(&r->dns, l, err);
	if (rc) {
		rpc_destroy(r);
		return rc;
	}
	*out = r;
	return 0;
}

void rpc_destroy(struct rpc *r)
{
	if (!r)
		return;
	LIST_FOR_EACH_SAFE(c, &r->calls, struct rpc_call, link)
		detach(c);
	multi_close(r);
	dns_destroy(r->dns);
	free(r);
}

struct rpc_stats rpc_stats(const struct rpc *r)
{
	return r->stats;
}
