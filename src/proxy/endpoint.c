/* Endpoints: state, pool of idle connections, what is in flight, draining. */
#include "proxy/endpoint.h"

#include <assert.h>
#include <stdlib.h>

#include "base/log.h"
#include "proxy/front_inner.h"
#include "proxy/relay.h"

#define TO(s) (1u << ENDPOINT_##s)
static const struct {
	const char *name;
	unsigned next;
} states[] = {
	[ENDPOINT_IN] = { "in", TO(OUT) | TO(DRAINING) },
	[ENDPOINT_OUT] = { "out", TO(IN) | TO(TRIAL) | TO(DRAINING) },
	[ENDPOINT_TRIAL] = { "trial", TO(IN) | TO(OUT) | TO(DRAINING) },
	[ENDPOINT_DRAINING] = { "draining", 0 },
};

const char *endpoint_state_name(enum endpoint_state state)
{
	return states[state].name;
}

static void on_report(void *arg);
static void on_idle_limit(void *arg);
static void on_requests_limit(void *arg);
static void on_tunnels_limit(void *arg);

static struct front *front_of(const struct endpoint *e)
{
	return e->upstream->front;
}

static void close_idle(struct endpoint *e)
{
	if (e->group)
		client_group_keep(e->group, false);
	while (!list_empty(&e->idle)) {
		struct list *link = e->idle.next;

		list_remove(link);
		client_close(client_of_link(link));
	}
}

void endpoint_set_limit(struct endpoint *e)
{
	const struct upstream_policy *p = &e->upstream->policy;

	e->limit = p->max_in_flight ? p->max_in_flight : UINT32_MAX;
	/* What outlived its being out, tunnels say, is no trial. */
	if (e->state == ENDPOINT_TRIAL)
		e->limit = MIN(e->limit, e->in_flight + 1);
	e->tracked = e->limit < UINT32_MAX || p->balance == BALANCE_LEAST_CONNECTIONS;
	upstream_review(e->upstream, e);
}

void endpoint_set_state(struct endpoint *e, enum endpoint_state next)
{
	struct upstream *u = e->upstream;
	bool was_in = endpoint_is_in(e);

	if (e->state == next)
		return;
	assert(states[e->state].next & (1u << next));
	log_debug("upstream=%s endpoint=%s %s -> %s", e->upstream->name, e->at.text,
		  states[e->state].name, states[next].name);
	e->state = next;
	if (was_in != endpoint_is_in(e))
		upstream_count_in(u, e, was_in ? -1 : 1);
	if (!endpoint_is_in(e)) {
		endpoint_stop_probe(e);
		close_idle(e);
	} else if (!was_in) {
		e->in_since_ms = loop_now_ms(front_of(e)->loop);
		if (e->group)
			client_group_keep(e->group, true);
		endpoint_watch(e);
	}
	endpoint_set_limit(e);
}

void endpoint_report(struct endpoint *e, unsigned what)
{
	if (e->orphan)
		return;
	/* Only where it is now counts. */
	if (what & (REPORT_FAILED | REPORT_RECOVERED))
		e->reports &= ~(unsigned)(REPORT_FAILED | REPORT_RECOVERED);
	e->reports |= what;
	loop_later(front_of(e)->loop, &e->report);
}

static void on_report(void *arg)
{
	struct endpoint *e = arg;
	struct front *f = front_of(e);
	unsigned due = e->reports;

	e->reports = 0;
	/* Each report may remove <e>, which clears what is still due through e->orphan. Its
	 * memory stays until the turn's end. */
	if (due & REPORT_FAILED && f->reports.failed && !e->orphan)
		f->reports.failed(f->arg, e, e->fault, e->why);
	if (due & REPORT_RECOVERED && f->reports.recovered && !e->orphan)
		f->reports.recovered(f->arg, e);
	if (due & REPORT_DRAINED && f->reports.drained && !e->orphan)
		f->reports.drained(f->arg, e, e->cut);
}

/* A container that restarted has the address of the one before, which drains meanwhile, and a
 * static route may name one twice: listings tell them apart by a number. */
static uint32_t count_twins(const struct upstream *u, const struct addr *at)
{
	uint32_t n = 0;

	LIST_FOR_EACH(e, &u->endpoints, struct endpoint, link)
		if (strcmp(e->at.text, at->text) == 0)
			n = e->twin + 1;
	return n;
}

struct endpoint *endpoint_add(struct upstream *u, const struct addr *at, const char *identity,
			      uint64_t tag)
{
	struct endpoint *e = xcalloc(1, sizeof(*e));

	e->upstream = u;
	e->at = *at;
	e->identity = xstrdup(identity);
	e->tag = tag;
	e->id = ++u->front->last_endpoint_id;
	list_init(&e->idle);
	list_init(&e->relays);
	list_init(&e->ring_link);
	deadline_init(&e->idle_limit, u->front->loop, on_idle_limit, e);
	deadline_init(&e->requests_limit, u->front->loop, on_requests_limit, e);
	deadline_init(&e->tunnels_limit, u->front->loop, on_tunnels_limit, e);
	endpoint_recovery_init(e);
	loop_task_init(&e->report, on_report, e);
	e->twin = count_twins(u, at);
	upstream_endpoint_new(u, e);
	e->weight = 1;
	e->choice_at = CHOICE_NOWHERE;
	e->state = ENDPOINT_OUT;
	endpoint_set_state(e, ENDPOINT_IN);
	return e;
}

static void endpoint_free(void *arg)
{
	struct endpoint *e = arg;

	free(e->identity);
	free(e);
}

static void reap(struct endpoint *e)
{
	if (e->reaped)
		return;
	e->reaped = true;
	endpoint_recovery_fini(e);
	close_idle(e);
	client_group_destroy(e->group);
	e->group = NULL;
	deadline_stop(&e->idle_limit);
	deadline_stop(&e->requests_limit);
	deadline_stop(&e->tunnels_limit);
	loop_task_cancel(&e->report);
	loop_defer(front_of(e)->loop, &e->reap, endpoint_free, e);
	upstream_endpoint_gone(e->upstream, e);
}

void endpoint_orphan(struct endpoint *e)
{
	e->orphan = true;
	endpoint_set_state(e, ENDPOINT_DRAINING);
	if (e->in_flight == 0)
		reap(e);
}

void endpoint_remove(struct endpoint *e)
{
	if (!e || e->reaped)
		return;
	e->orphan = true;
	endpoint_set_state(e, ENDPOINT_DRAINING);
	LIST_FOR_EACH_SAFE(r, &e->relays, struct relay, endpoint_link)
		relay_cut(r, "its endpoint was removed");
	if (e->in_flight == 0)
		reap(e);
}

void endpoint_set_weight(struct endpoint *e, uint32_t weight)
{
	assert(weight <= TARGET_WEIGHT_MAX);
	upstream_weigh(e->upstream, e, weight);
}

/* ---- connections ---- */

static void on_idle_gone(void *arg)
{
	struct client *c = arg;

	list_remove(client_link(c));
	client_close(c);
}

/* One that idled less than <max_idle_ms>, or NULL. */
static struct client *take_idle(struct endpoint *e, uint32_t max_idle_ms)
{
	struct list *link = e->idle.next;
	struct client *c;

	if (list_empty(&e->idle))
		return NULL;
	c = client_of_link(link);
	/* The one in front idled least. */
	if (loop_now_ms(front_of(e)->loop) - client_parked_ms(c) >= max_idle_ms)
		return NULL;
	list_remove(link);
	return c;
}

/* However long it idled: GOAWAY says what was not processed, where HTTP/1.1 leaves one guessing. */
static int open_stream(struct endpoint *e, struct client **out)
{
	struct front *f = front_of(e);

	if (!e->group)
		e->group = client_group_create(f->clients, &e->at, f->config.pool_idle_ms);
	return client_group_open(e->group, out);
}

int endpoint_open(struct endpoint *e, uint32_t max_idle_ms, struct client **out)
{
	if (e->upstream->policy.protocol == PROTOCOL_H2C)
		return open_stream(e, out);
	*out = take_idle(e, max_idle_ms);
	return *out ? 0 : client_open(out, front_of(e)->clients, &e->at);
}

void endpoint_give(struct endpoint *e, struct client *c)
{
	if (!endpoint_is_in(e) || !client_reusable(c)) {
		client_close(c);
		return;
	}
	client_park(c, on_idle_gone, c);
	list_push_front(&e->idle, client_link(c));
	if (!deadline_is_set(&e->idle_limit))
		deadline_set(&e->idle_limit, front_of(e)->config.pool_idle_ms);
}

/* The last of the list idled longest. */
static void on_idle_limit(void *arg)
{
	struct endpoint *e = arg;
	uint64_t now_ms = loop_now_ms(front_of(e)->loop),
		 limit_ms = front_of(e)->config.pool_idle_ms;

	while (!list_empty(&e->idle)) {
		struct client *c = client_of_link(e->idle.prev);
		uint64_t due_ms = client_parked_ms(c) + limit_ms;

		if (due_ms > now_ms) {
			deadline_set(&e->idle_limit, (uint32_t)(due_ms - now_ms));
			return;
		}
		list_remove(client_link(c));
		client_close(c);
	}
}

/* ---- in flight, and draining ---- */

void endpoint_enter(struct endpoint *e, struct relay *r)
{
	e->requests++;
	e->in_flight++;
	list_push_back(&e->relays, &r->endpoint_link);
	if (e->state == ENDPOINT_TRIAL)
		endpoint_try(e);
	if (e->tracked)
		upstream_review(e->upstream, e);
}

void endpoint_count_tunnel(struct endpoint *e, struct relay *r)
{
	r->tunnel_counted = true;
	e->tunnels++;
	if (e->tunnels_over)
		deadline_set(&e->tunnels_limit, 1);
}

void endpoint_leave(struct endpoint *e, struct relay *r)
{
	list_remove(&r->endpoint_link);
	if (r->tunnel_counted)
		e->tunnels--;
	r->tunnel_counted = false;
	e->in_flight--;
	if (e->tracked)
		upstream_review(e->upstream, e);
	if (e->in_flight || e->state != ENDPOINT_DRAINING)
		return;
	if (e->orphan)
		reap(e);
	else
		endpoint_report(e, REPORT_DRAINED);
}

static void cut_all(struct endpoint *e, bool tunnels)
{
	LIST_FOR_EACH_SAFE(r, &e->relays, struct relay, endpoint_link) {
		if (r->tunnel_counted != tunnels)
			continue;
		e->cut++;
		front_of(e)->stats.cut++;
		relay_cut(r, "the drain limit was reached");
	}
}

static void on_requests_limit(void *arg)
{
	cut_all(arg, false);
}

static void on_tunnels_limit(void *arg)
{
	struct endpoint *e = arg;

	e->tunnels_over = true;
	cut_all(e, true);
}

void endpoint_drain(struct endpoint *e, uint32_t requests_ms, uint32_t tunnels_ms)
{
	endpoint_set_state(e, ENDPOINT_DRAINING);
	deadline_set(&e->requests_limit, requests_ms);
	deadline_set(&e->tunnels_limit, tunnels_ms);
	if (requests_ms == 0)
		on_requests_limit(e);
	if (tunnels_ms == 0)
		on_tunnels_limit(e);
	if (e->in_flight == 0 && e->orphan)
		reap(e);
	else if (e->in_flight == 0)
		endpoint_report(e, REPORT_DRAINED);
}

const struct upstream *endpoint_upstream(const struct endpoint *e)
{
	return e->upstream;
}

void endpoint_retire(struct endpoint *e, uint32_t requests_ms, uint32_t tunnels_ms)
{
	e->orphan = true;
	endpoint_drain(e, requests_ms, tunnels_ms);
}

uint64_t endpoint_tag(const struct endpoint *e)
{
	return e->tag;
}

static uint32_t count_idle(const struct endpoint *e)
{
	uint32_t n = 0;

	for (const struct list *link = e->idle.next; link != &e->idle; link = link->next)
		n++;
	return n;
}

void endpoint_view(const struct endpoint *e, struct endpoint_view *out)
{
	*out = (struct endpoint_view){
		.at = &e->at,
		.identity = e->identity,
		.state = e->state,
		.weight = e->weight,
		.in_flight = e->in_flight,
		.tunnels = e->tunnels,
		.idle_connections = count_idle(e),
		.requests = e->requests,
		.failures = e->failures,
		.retries_away = e->retries_away,
		.ejections = e->ejections,
		.half_open = e->half_open,
		.recoveries = e->recoveries,
		.checks_passed = e->checks.passed,
		.checks_failed = e->checks.failed,
		.response_time = &e->response_time,
		.twin = e->twin,
	};
	memcpy(out->by_status, e->by_status, sizeof(out->by_status));
}
