/* A named set of endpoints that serve the same thing: an app's replicas, or the addresses of a
 * static route. It owns the endpoints and the queue of requests that wait while none is in. */
#ifndef TEMPS_PROXY_UPSTREAM_H
#define TEMPS_PROXY_UPSTREAM_H

#include "base/target.h"
#include "proxy/front.h"
#include "proxy/policy.h"

struct upstream;

/* <take_policy>: NULL for the defaults. */
struct upstream *upstream_create(struct front *f, const char *name,
				 const struct upstream_policy *take_policy);
/* In force from the next decision on; connections and requests in flight stay as they are. */
void upstream_set_policy(struct upstream *u, const struct upstream_policy *take_policy);
/* While paused no endpoint gets a new request: requests wait as if none were in. What is in flight
 * goes on. */
void upstream_pause(struct upstream *u, bool paused);
/* Its endpoints are these from now on, all of a static route's. Who stays keeps its connections and
 * requests, who is new takes some at once, who is not named any more takes nothing new and goes, at
 * the limits (as endpoint_drain()) whatever it has; nobody is told of it. */
void upstream_set_targets(struct upstream *u, const struct target *targets, size_t n,
			  uint32_t requests_ms, uint32_t tunnels_ms);
/* Takes its routes and endpoints away; requests in flight go on, waiting ones get 503. Freed when
 * the last one is gone. */
void upstream_destroy(struct upstream *u);
const char *upstream_name(const struct upstream *u);

enum endpoint_state {
	ENDPOINT_IN,  /* takes requests */
	ENDPOINT_OUT, /* failed on the data path; probed at 250 ms doubling to 5 s */
	ENDPOINT_TRIAL, /* half-open: the probe succeeded; takes one request at a time until one is
			   answered, or did not fail for 2 s */
	ENDPOINT_DRAINING, /* takes nothing new; reported when nothing is in flight */
};

const char *endpoint_state_name(enum endpoint_state state);

/* Adds an address that takes requests at once. <identity> is the container's id and start time (""
 * for static routes): a container that restarted is a new endpoint. <tag> is the caller's, given
 * back by endpoint_tag(). Waiting requests are released. */
struct endpoint *endpoint_add(struct upstream *u, const struct addr *at, const char *identity,
			      uint64_t tag);
/* No new requests, idle connections closed now; when nothing is in flight, or cut at the limits (0
 * = now), reports drained() (always later). */
void endpoint_drain(struct endpoint *e, uint32_t requests_ms, uint32_t tunnels_ms);
/* Out at once, as if the data path had seen it: its container died according to the engine, its
 * node does not answer. Requests that still wait for an answer and may be retried go elsewhere at
 * once, also when it is out already. It is probed unless <gone>. */
void endpoint_set_out(struct endpoint *e, bool gone);
/* Its share among the others, 1 to TARGET_WEIGHT_MAX; 1 at first. 0: it takes nothing new, but what
 * sticks to it. */
void endpoint_set_weight(struct endpoint *e, uint32_t weight);
/* Frees it; in flight must be 0 (drained) or is cut. No report follows. */
void endpoint_remove(struct endpoint *e);
uint64_t endpoint_tag(const struct endpoint *e);
const struct upstream *endpoint_upstream(const struct endpoint *e);

struct endpoint_view {
	const struct addr *at;
	const char *identity;
	enum endpoint_state state;
	uint32_t weight, in_flight, tunnels, idle_connections;
	uint64_t requests, failures, retries_away;
	uint64_t ejections, half_open, recoveries; /* went out, came back on trial, passed it */
	uint64_t checks_passed, checks_failed;	   /* of its health and for coming back */
	uint64_t by_status[6];			   /* of its responses */
	/* From giving it a request to its response head. Borrowed. */
	const struct histogram *response_time;
	uint32_t twin; /* 0, unless others of its upstream had its address when it came: 1, 2 … */
};
void endpoint_view(const struct endpoint *e, struct endpoint_view *out);
/* The one after <e>, NULL: the first; returns NULL after the last. */
const struct endpoint *upstream_next(const struct upstream *u, const struct endpoint *e);

struct upstream_stats {
	uint64_t requests, by_status[6], bytes_in, bytes_out, retries;
	uint64_t ejections, half_open, recoveries;
	uint64_t sticky_hits, sticky_misses;
	uint64_t queued, queue_timeouts, queue_refused; /* while all were at their limit */
	uint32_t endpoints, in, holding, queueing; /* holding: all who wait; queueing: of them,
						      because of limits */
	uint32_t active; /* requests: all that came and did not end */
	/* From the complete request head to the response's end; of tunnels and event streams, which
	 * last as long as they like, to the response's head. Borrowed. */
	const struct histogram *duration;
};
void upstream_stats(const struct upstream *u, struct upstream_stats *out);

#endif
