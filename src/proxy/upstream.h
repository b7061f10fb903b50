/* A named set of endpoints that serve the same thing: an app's replicas, or the addresses of a
 * static route. It owns the endpoints and the queue of requests that wait while none is in. */
#ifndef TEMPS_PROXY_UPSTREAM_H
#define TEMPS_PROXY_UPSTREAM_H

#include "proxy/front.h"

struct upstream;

struct upstream_policy { /* zero = default */
	bool hold; /* requests wait when no endpoint is in (apps); else 503/502 at once (static
		      routes) */
	uint32_t hold_ms;
	uint32_t head_ms; /* response head limit for this app */
};

struct upstream *upstream_create(struct front *f, const char *name,
				 const struct upstream_policy *p);
/* Takes its routes and endpoints away; requests in flight go on, waiting ones get 503. Freed when
 * the last one is gone. */
void upstream_destroy(struct upstream *u);
const char *upstream_name(const struct upstream *u);

enum endpoint_state {
	ENDPOINT_IN,  /* takes requests */
	ENDPOINT_OUT, /* failed on the data path; probed at 250 ms doubling to 5 s; in again after
			 one success */
	ENDPOINT_SUSPECT,  /* its node is suspect: takes nothing, probed too */
	ENDPOINT_DRAINING, /* takes nothing new; reported when nothing is in flight */
};

/* Adds an address that takes requests at once. <identity> is the container's id and start time (""
 * for static routes): a container that restarted is a new endpoint. <tag> is the caller's, given
 * back by endpoint_tag(). Waiting requests are released. */
struct endpoint *endpoint_add(struct upstream *u, const struct addr *at, const char *identity,
			      uint64_t tag);
/* No new requests, idle connections closed now; when nothing is in flight, or cut at the limits (0
 * = now), reports drained() (always later). */
void endpoint_drain(struct endpoint *e, uint32_t requests_ms, uint32_t tunnels_ms);
/* In or out because of its node. Requests that still wait for it and may be retried go elsewhere at
 * once. */
void endpoint_set_suspect(struct endpoint *e, bool suspect);
/* Out at once, as if the data path had seen it: its container died according to the engine, its
 * node does not answer. Probing stays on unless <gone>. Requests move as above. */
void endpoint_set_out(struct endpoint *e, bool gone);
/* Frees it; in flight must be 0 (drained) or is cut. No report follows. */
void endpoint_remove(struct endpoint *e);
uint64_t endpoint_tag(const struct endpoint *e);

struct endpoint_view {
	const struct addr *at;
	const char *identity;
	enum endpoint_state state;
	uint32_t in_flight, tunnels, idle_connections;
	uint64_t requests, failures, retries_away;
};
void endpoint_view(const struct endpoint *e, struct endpoint_view *out);

struct upstream_stats {
	uint64_t requests, by_status[6], bytes_in, bytes_out, retries;
	uint32_t endpoints, in, holding;
};
void upstream_stats(const struct upstream *u, struct upstream_stats *out);

#endif
