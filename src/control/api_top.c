/* API: what passes through the front door right now, for `temps top`. Counters only ever grow: who
 * asks twice has the rates. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control/api.h"
#include "control/metrics.h"
#include "control/pieces.h"
#include "proxy/walk.h"

#define NAME_MAX_BYTES 1400 /* a host and a path */

struct top {
	struct pieces pieces; /* first */
	struct control *control;
	struct json_out o;
	void (*part)(struct top *t); /* what comes next; NULL: nothing */
	bool walking;
	struct walk walk;
	char only[NAME_MAX_BYTES]; /* this upstream alone; "": all */
};

static void put_status(struct json_out *o, const uint64_t by_status[6])
{
	json_arr(o, "by_status");
	for (int i = 1; i <= 5; i++)
		json_put_int(o, NULL, (int64_t)by_status[i]);
	json_arr_end(o);
}

/* Without the empty buckets at the end. */
static void put_histogram(struct json_out *o, const char *name, const struct histogram *h)
{
	unsigned n = HISTOGRAM_BUCKETS;

	while (n && !h->count[n - 1])
		n--;
	json_arr(o, name);
	for (unsigned i = 0; i < n; i++)
		json_put_int(o, NULL, (int64_t)h->count[i]);
	json_arr_end(o);
}

static void put_bounds(struct json_out *o)
{
	json_arr(o, "bounds_us");
	for (unsigned i = 0; i < HISTOGRAM_BOUNDS; i++)
		json_put_real(o, NULL, (double)histogram_bound_ns(i) / 1000);
	json_arr_end(o);
}

static void put_front(struct json_out *o, const struct control *c)
{
	const struct front_stats *f = front_stats(c->front);

	json_obj(o, "front");
	json_put_int(o, "requests", (int64_t)f->requests);
	put_status(o, f->by_status);
	json_put_int(o, "in_flight", f->active);
	json_put_int(o, "waiting", f->holding);
	json_put_int(o, "retries", (int64_t)f->retries);
	json_put_int(o, "no_route", (int64_t)f->no_route);
	json_put_int(o, "bytes_in", (int64_t)f->bytes_in);
	json_put_int(o, "bytes_out", (int64_t)f->bytes_out);
	json_put_int(o, "connections", server_stats(c->server)->open);
	put_histogram(o, "duration", &f->duration);
	json_obj_end(o);
}

static void put_endpoint(struct json_out *o, const struct endpoint *e)
{
	struct endpoint_view v;

	endpoint_view(e, &v);
	json_obj(o, NULL);
	json_put_str(o, "upstream", upstream_name(endpoint_upstream(e)));
	json_put_str(o, "endpoint", v.at->text);
	if (v.twin)
		json_put_int(o, "twin", v.twin);
	json_put_str(o, "state", endpoint_state_name(v.state));
	json_put_int(o, "requests", (int64_t)v.requests);
	put_status(o, v.by_status);
	json_put_int(o, "in_flight", v.in_flight);
	json_put_int(o, "failures", (int64_t)v.failures);
	json_put_int(o, "retries_away", (int64_t)v.retries_away);
	put_histogram(o, "response_time", v.response_time);
	json_obj_end(o);
}

static void put_upstream(struct json_out *o, const struct upstream *u)
{
	struct upstream_stats s;

	upstream_stats(u, &s);
	json_obj(o, NULL);
	json_put_str(o, "upstream", upstream_name(u));
	json_put_int(o, "requests", (int64_t)s.requests);
	put_status(o, s.by_status);
	json_put_int(o, "in_flight", s.active);
	json_put_int(o, "waiting", s.holding);
	json_put_int(o, "retries", (int64_t)s.retries);
	json_put_int(o, "bytes_in", (int64_t)s.bytes_in);
	json_put_int(o, "bytes_out", (int64_t)s.bytes_out);
	json_put_int(o, "endpoints", s.endpoints);
	json_put_int(o, "in", s.in);
	put_histogram(o, "duration", s.duration);
	json_obj_end(o);
}

static bool wanted(const struct top *t, const struct upstream *u)
{
	return !*t->only || strcmp(t->only, upstream_name(u)) == 0;
}

static void begin_list(struct top *t, const char *name)
{
	json_arr(&t->o, name);
	walk_begin(&t->walk, t->control->front);
	t->walking = true;
}

static void end_list(struct top *t)
{
	walk_end(&t->walk);
	t->walking = false;
	json_arr_end(&t->o);
}

static void put_endpoints(struct top *t)
{
	const struct endpoint *e = walk_endpoint(&t->walk);

	if (e) {
		if (wanted(t, endpoint_upstream(e)))
			put_endpoint(&t->o, e);
		return;
	}
	end_list(t);
	json_obj_end(&t->o);
	t->part = NULL;
}

static void put_upstreams(struct top *t)
{
	const struct upstream *u = walk_upstream(&t->walk);

	if (u) {
		if (wanted(t, u))
			put_upstream(&t->o, u);
		return;
	}
	end_list(t);
	begin_list(t, "endpoints");
	t->part = put_endpoints;
}

static void put_head(struct top *t)
{
	json_obj(&t->o, NULL);
	json_put_int(&t->o, "now_us", (int64_t)loop_clock_us());
	put_bounds(&t->o);
	put_front(&t->o, t->control);
	begin_list(t, "upstreams");
	t->part = put_upstreams;
}

static bool more(void *arg)
{
	struct top *t = arg;

	if (!t->part)
		return false;
	t->part(t);
	return true;
}

static void on_closed(void *state)
{
	struct top *t = state;

	if (t->walking)
		walk_end(&t->walk);
	pieces_fini(&t->pieces);
	scrape_end(t->control);
	free(t);
}

void api_top(struct api_request *r)
{
	struct control *c = r->app;
	struct top *t;
	char only[NAME_MAX_BYTES] = "";
	int rc = api_query(r, "upstream", only, sizeof(only));

	if (rc && rc != -ENOENT) {
		reply_problem(r, 400, "Bad Request", "upstream: not well encoded, or too long");
		return;
	}
	if (!scrape_begin(r))
		return;
	t = xcalloc(1, sizeof(*t));
	t->control = c;
	t->part = put_head;
	memcpy(t->only, only, sizeof(only));
	pieces_init(&t->pieces, r, more, t);
	json_out_init(&t->o, &t->pieces.out);
	r->state = t;
	r->closed = on_closed;
	pieces_answer(&t->pieces, "application/json");
}
