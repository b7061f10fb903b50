/* Endpoints that fail and come back: out, probed, on trial, in again; and the health of those that
 * are in. */
#include "proxy/endpoint.h"
#include "proxy/front_inner.h"
#include "proxy/relay.h"

#define PROBE_FIRST_MS 250
#define PROBE_MAX_MS 5000
#define SETTLED_MS 10000 /* who fails sooner after coming in is probed later than the last time */
#define TRIAL_MS 2000	 /* more than a connection attempt has */
#define HEALTH_TRY_MS 2000
#define REROUTED_PER_TURN 32 /* each may open a connection: 20 us apiece */

static void on_reroute(void *arg);
static void on_trial(void *arg);
static void on_probed(void *arg, int rc, const char *why);
static void on_unhealthy(void *arg, int rc, const char *why);

static struct front *front_of(const struct endpoint *e)
{
	return e->upstream->front;
}

void endpoint_recovery_init(struct endpoint *e)
{
	deadline_init(&e->reroute, front_of(e)->loop, on_reroute, e);
	deadline_init(&e->trial, front_of(e)->loop, on_trial, e);
}

void endpoint_recovery_fini(struct endpoint *e)
{
	endpoint_stop_probe(e);
	deadline_stop(&e->reroute);
	deadline_stop(&e->trial);
}

/* ---- probes ---- */

void endpoint_stop_probe(struct endpoint *e)
{
	probe_cancel(e->probe);
	e->probe = NULL;
}

/* Until it serves, each wait longer than the one before. */
static void start_probe(struct endpoint *e)
{
	const struct upstream_policy *policy = &e->upstream->policy;
	const struct probe_config c = {
		.at = e->at,
		.path = policy->health_path,
		.host = policy->health_host,
		.h2c = policy->protocol == PROTOCOL_H2C,
		.delay_ms = e->back_off_ms,
		.interval_ms = PROBE_FIRST_MS,
		.interval_max_ms = PROBE_MAX_MS,
		.need = policy->health_path ? policy->health_rise : 1,
		.counts = &e->checks,
	};

	if (!e->probe && !e->gone)
		e->probe = probe_begin(front_of(e), &c, on_probed, e);
}

/* Of the health of one that is in. The first check comes at any time within the interval, so that
 * those of many spread. */
void endpoint_watch(struct endpoint *e)
{
	const struct upstream_policy *policy = &e->upstream->policy;
	const struct probe_config c = {
		.at = e->at,
		.path = policy->health_path,
		.host = policy->health_host,
		.h2c = policy->protocol == PROTOCOL_H2C,
		.delay_ms = 1 + (uint32_t)(front_random(front_of(e)) % policy->health_interval_ms),
		.interval_ms = policy->health_interval_ms,
		.fall = policy->health_fall,
		.try_ms = MIN(policy->health_interval_ms, HEALTH_TRY_MS),
		.counts = &e->checks,
	};

	if (policy->health_path)
		e->probe = probe_begin(front_of(e), &c, on_unhealthy, e);
}

/* ---- failing and coming back ---- */

/* Out of routing, and probed. Twice as late as the last time when it failed its trial or soon after,
 * but for the last one: nobody gains while nothing serves. */
static void eject(struct endpoint *e)
{
	struct upstream *u = e->upstream;
	bool soon = e->state == ENDPOINT_TRIAL ||
		    loop_now_ms(front_of(e)->loop) - e->in_since_ms < SETTLED_MS;

	if (endpoint_is_in(e)) {
		deadline_set(&e->trial, 0);
		endpoint_set_state(e, ENDPOINT_OUT);
		e->ejections++;
		u->ejections++;
		front_of(e)->stats.ejections++;
		e->back_off_ms = soon && u->nin && e->back_off_ms
					 ? MIN(e->back_off_ms * 2, PROBE_MAX_MS)
					 : PROBE_FIRST_MS;
	}
	start_probe(e);
}

void endpoint_fault(struct endpoint *e, enum endpoint_fault fault, const char *why)
{
	e->failures++;
	/* Who has nobody to take over and does not let requests wait loses more by being out for
	 * a while than by one cut answer. */
	if (fault == FAULT_EARLY_EOF && e->upstream->nin <= 1 && !e->upstream->policy.hold)
		return;
	if (e->state == ENDPOINT_DRAINING)
		return;
	if (endpoint_is_in(e)) {
		e->fault = fault;
		e->why = why;
		endpoint_report(e, REPORT_FAILED);
	}
	eject(e);
}

static void on_probed(void *arg, int rc, const char *why)
{
	struct endpoint *e = arg;

	(void)why;
	(void)rc; /* without a limit a probe ends by success alone */
	e->probe = NULL;
	if (e->state != ENDPOINT_OUT)
		return;
	e->half_open++;
	e->upstream->half_open++;
	front_of(e)->stats.half_open++;
	endpoint_set_state(e, ENDPOINT_TRIAL);
	endpoint_report(e, REPORT_RECOVERED);
}

static void on_unhealthy(void *arg, int rc, const char *why)
{
	struct endpoint *e = arg;

	(void)rc;
	e->probe = NULL;
	endpoint_fault(e, FAULT_UNHEALTHY, why);
}

void endpoint_new_policy(struct endpoint *e)
{
	endpoint_set_limit(e);
	endpoint_stop_probe(e);
	if (endpoint_is_in(e))
		endpoint_watch(e);
	else if (e->state == ENDPOINT_OUT)
		start_probe(e);
}

/* ---- on trial ---- */

void endpoint_try(struct endpoint *e)
{
	deadline_set(&e->trial, TRIAL_MS);
}

void endpoint_prove(struct endpoint *e)
{
	deadline_set(&e->trial, 0);
	e->recoveries++;
	e->upstream->recoveries++;
	front_of(e)->stats.recoveries++;
	endpoint_set_state(e, ENDPOINT_IN);
}

/* A slow answer is no failure: nobody waits for it to end the trial. */
static void on_trial(void *arg)
{
	struct endpoint *e = arg;

	if (e->state == ENDPOINT_TRIAL && e->in_flight >= e->limit)
		endpoint_prove(e);
}

/* ---- moving what waits there ---- */

/* Those who wait for an answer may get it elsewhere. One that moves takes itself off the list, one
 * that stays goes to its end. */
static void on_reroute(void *arg)
{
	struct endpoint *e = arg;

	for (unsigned i = 0; i < REROUTED_PER_TURN && e->to_reroute; i++) {
		struct relay *r = LIST_FIRST(&e->relays, struct relay, endpoint_link);

		if (!r || e->state != ENDPOINT_OUT) {
			e->to_reroute = 0;
			return;
		}
		e->to_reroute--;
		list_remove(&r->endpoint_link);
		list_push_back(&e->relays, &r->endpoint_link);
		relay_reroute(r);
	}
	if (e->to_reroute)
		deadline_set(&e->reroute, 1);
}

void endpoint_set_out(struct endpoint *e, bool gone)
{
	if (e->state == ENDPOINT_DRAINING)
		return;
	e->gone = gone;
	if (gone)
		endpoint_stop_probe(e);
	eject(e);
	e->to_reroute = e->in_flight;
	on_reroute(e);
}
