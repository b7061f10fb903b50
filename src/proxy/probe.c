/* Asks an address until it serves: by a connection that stays open, or by GET. */
#include "proxy/probe.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "proxy/front_inner.h"
#include "reactor/deadline.h"
#include "reactor/stream.h"

#define STILL_OPEN_MS \
	100 /* a port proxy accepts before it knows whether anybody is behind it, and closes then */

struct probe {
	struct front *front;
	struct addr at;
	char *path, *host;
	struct probe_config c;	    /* path and host: the copies above */
	uint32_t wait_ms;	    /* before the next try */
	uint32_t good, bad;	    /* in a row */
	uint64_t give_up_ms;	    /* 0: never */
	uint64_t start_until_ms; /* failures do not count before */
	struct stream stream;	    /* a try without path */
	struct client *client;	    /* a try with path */
	struct client_group *group; /* of its connection by HTTP/2 */
	struct deadline next;	    /* the next try, or this one's limit */
	struct list queue;	    /* front->probes_waiting */
	bool counted;		    /* among those that try at once */
	bool trying, connected;
	char why[160];
	probe_done_fn *done;
	void *arg;
	struct loop_reap reap;
};

static void on_deadline(void *arg);

static void probe_free(void *arg)
{
	struct probe *p = arg;

	free(p->path);
	free(p->host);
	free(p);
}

/* ---- taking turns ---- */

/* May it try now? Else its deadline is set once it may. */
static bool take_place(struct probe *p)
{
	struct front *f = p->front;

	if (p->counted || p->c.limit_ms)
		return true;
	if (f->probing >= PROBES_AT_ONCE) {
		list_push_back(&f->probes_waiting, &p->queue);
		return false;
	}
	p->counted = true;
	f->probing++;
	return true;
}

static void give_place(struct probe *p)
{
	struct front *f = p->front;
	struct probe *next = LIST_FIRST(&f->probes_waiting, struct probe, queue);

	list_remove(&p->queue);
	if (!p->counted)
		return;
	p->counted = false;
	f->probing--;
	if (!next || next == p)
		return;
	list_remove(&next->queue);
	next->counted = true;
	f->probing++;
	deadline_set(&next->next, 1); /* never from inside somebody else's call */
}

static void end_try(struct probe *p)
{
	give_place(p);
	p->trying = p->connected = false;
	if (stream_is_open(&p->stream))
		stream_close(&p->stream, false);
	client_close(p->client);
	p->client = NULL;
	client_group_destroy(p->group);
	p->group = NULL;
}

void probe_cancel(struct probe *p)
{
	if (!p)
		return;
	end_try(p);
	deadline_stop(&p->next);
	loop_defer(p->front->loop, &p->reap, probe_free, p);
}

static void finish(struct probe *p, int rc)
{
	probe_done_fn *done = p->done;
	void *arg = p->arg;

	probe_cancel(p);
	done(arg, rc, p->why);
}

/* A tenth more or less. */
static uint32_t jitter(struct probe *p, uint32_t ms)
{
	return ms - ms / 10 + (uint32_t)(front_random(p->front) % (ms / 5 + 1));
}

static void count(struct probe *p, bool good)
{
	p->good = good ? p->good + 1 : 0;
	p->bad = good ? 0 : p->bad + 1;
	if (good)
		p->front->stats.probes_passed++;
	else
		p->front->stats.probes_failed++;
	if (p->c.counts && good)
		p->c.counts->passed++;
	else if (p->c.counts)
		p->c.counts->failed++;
}

/* One try is over. */
static void judge(struct probe *p, bool good)
{
	uint64_t now_ms = loop_now_ms(p->front->loop);

	end_try(p);
	count(p, good);
	if (now_ms < p->start_until_ms)
		p->bad = 0;
	if (p->c.fall && p->bad >= p->c.fall) {
		finish(p, -EIO);
	} else if (!p->c.fall && p->good >= p->c.need) {
		finish(p, 0);
	} else if (p->c.patience && p->bad >= p->c.patience) {
		finish(p, -EIO);
	} else if (p->give_up_ms && now_ms + p->wait_ms >= p->give_up_ms) {
		finish(p, -ETIMEDOUT);
	} else if (good) {
		deadline_set(&p->next, jitter(p, p->c.interval_ms));
	} else {
		deadline_set(&p->next, jitter(p, p->wait_ms));
		p->wait_ms = MIN(p->wait_ms * 2, p->c.interval_max_ms);
	}
}

static void fail(struct probe *p, int rc)
{
	snprintf(p->why, sizeof(p->why), p->connected ? "%s: %s" : "connect to %s: %s", p->at.text,
		 strerror(-rc));
	judge(p, false);
}

/* ---- without a path: a connection that is still open after a while ---- */

static void on_stream(void *arg, int events)
{
	struct probe *p = arg;
	char byte;
	ssize_t n;
	int rc;

	if (!p->connected) {
		rc = stream_connected(&p->stream);
		if (rc == -EAGAIN)
			return;
		if (rc < 0) {
			fail(p, rc);
			return;
		}
		p->connected = true;
		stream_wait(&p->stream, STREAM_READ);
		deadline_set(&p->next, STILL_OPEN_MS);
		return;
	}
	if (!(events & STREAM_READ))
		return;
	n = stream_read(&p->stream, &byte, 1);
	if (n > 0) {
		/* Whoever greets first is there. */
		judge(p, true);
	} else if (n == 0) {
		snprintf(p->why, sizeof(p->why), "it accepts connections and closes them at once");
		judge(p, false);
	} else if (n != -EAGAIN) {
		fail(p, (int)n);
	}
}

static void try_connect(struct probe *p)
{
	int rc = stream_connect(&p->stream, p->front->loop, &p->at, 0, on_stream, p);

	if (rc < 0) {
		fail(p, rc);
		return;
	}
	stream_wait(&p->stream, STREAM_WRITE);
	deadline_set(&p->next, p->c.try_ms);
}

/* ---- with a path: GET ---- */

static void on_head(void *arg, const struct head *h)
{
	struct probe *p = arg;

	snprintf(p->why, sizeof(p->why), "GET %.40s answered %u", p->path, h->status);
	judge(p, h->status >= 200 && h->status < 400);
}

static size_t on_body(void *arg, const char *bytes, size_t n)
{
	(void)arg;
	(void)bytes;
	return n;
}

static void on_end(void *arg, const struct head *trailers)
{
	(void)arg;
	(void)trailers;
}

static void on_writable(void *arg)
{
	(void)arg;
}

static void on_failed(void *arg, const struct client_failure *f)
{
	struct probe *p = arg;

	if (f->stage == CLIENT_CONNECTING)
		snprintf(p->why, sizeof(p->why), "connect to %s: %s", p->at.text, strerror(-f->rc));
	else
		snprintf(p->why, sizeof(p->why), "GET %.40s: %s", p->path, f->why);
	judge(p, false);
}

static const struct client_events get_events = {
	.head = on_head,
	.body = on_body,
	.end = on_end,
	.writable = on_writable,
	.failed = on_failed,
};

static void try_get(struct probe *p)
{
	const struct client_limits limits = { .connect_ms = p->c.try_ms, .head_ms = p->c.try_ms };
	struct head h;
	int rc;

	head_init(&h);
	h.method = SLICE("GET");
	h.method_id = METHOD_GET;
	h.scheme = SLICE("http");
	h.authority = slice_str(p->host);
	h.path = slice_str(p->path);
	h.minor = 1;
	head_add_other(&h, SLICE("User-Agent"), SLICE("temps-probe"));
	if (p->c.h2c) {
		p->group = client_group_create(p->front->clients, &p->at, p->c.try_ms);
		rc = client_group_open(p->group, &p->client);
	} else {
		rc = client_open(&p->client, p->front->clients, &p->at);
	}
	if (rc == 0)
		rc = client_request(p->client, &h, BODY_NONE, 0, &limits, &get_events, p);
	if (rc < 0)
		fail(p, rc);
	else
		deadline_set(&p->next, p->c.try_ms);
}

static void on_deadline(void *arg)
{
	struct probe *p = arg;

	if (p->connected) {
		judge(p, true);
	} else if (p->trying) {
		snprintf(p->why, sizeof(p->why), "no answer within %u ms", p->c.try_ms);
		judge(p, false);
	} else if (take_place(p)) {
		p->trying = true;
		if (p->path)
			try_get(p);
		else
			try_connect(p);
	}
}

struct probe *probe_begin(struct front *f, const struct probe_config *c, probe_done_fn *done,
			  void *arg)
{
	struct probe *p = xcalloc(1, sizeof(*p));

	p->front = f;
	p->c = *c;
	list_init(&p->queue);
	p->at = c->at;
	p->path = c->path ? xstrdup(c->path) : NULL;
	p->host = xstrdup(c->host ? c->host : c->at.text);
	p->c.need = c->need ? c->need : c->path ? 2 : 1;
	p->c.try_ms = c->try_ms ? c->try_ms : 2000;
	p->c.interval_ms = c->interval_ms ? c->interval_ms : 250;
	p->c.interval_max_ms = MAX(c->interval_max_ms, p->c.interval_ms);
	p->wait_ms = p->c.interval_ms;
	p->give_up_ms = c->limit_ms ? loop_now_ms(f->loop) + c->limit_ms : 0;
	p->start_until_ms = loop_now_ms(f->loop) + c->start_ms;
	p->done = done;
	p->arg = arg;
	deadline_init(&p->next, f->loop, on_deadline, p);
	/* Never from inside this call, even at once. */
	deadline_set(&p->next, MAX(jitter(p, c->delay_ms), 1));
	return p;
}
