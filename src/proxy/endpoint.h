/* Inside of upstream.h: what the files of this folder see of upstreams and endpoints. */
#ifndef TEMPS_PROXY_ENDPOINT_H
#define TEMPS_PROXY_ENDPOINT_H

#include "proxy/hold.h"
#include "proxy/probe.h"
#include "proxy/retry.h"
#include "proxy/table.h"
#include "proxy/upstream.h"
#include "reactor/deadline.h"

struct relay;

struct upstream {
	struct route_target target;
	struct front *front;
	struct list link; /* front->upstreams */
	char *name;
	struct upstream_policy policy;
	struct client_limits limits;
	struct list endpoints;
	uint32_t nendpoints;
	struct endpoint **in; /* those that take requests, in no order: choosing is O(1) */
	uint32_t nin, in_cap;
	uint32_t turn; /* whose turn it is among equals */
	struct hold hold;
	struct retry_budget budget;
	uint32_t active; /* requests that still point here */
	uint64_t requests, by_status[6], bytes_in, bytes_out, retries;
	struct loop_reap reap;
	bool reaped;
};

/* What is still to be told; a bit each, so that a burst is one report. */
enum { REPORT_FAILED = 1, REPORT_RECOVERED = 2, REPORT_DRAINED = 4 };

struct endpoint {
	struct upstream *upstream;
	bool orphan; /* nobody is told of it any more; freed when nothing is in flight */
	bool reaped;
	struct list link; /* upstream->endpoints */
	struct addr at;
	char *identity;
	uint64_t tag;
	uint64_t id; /* never used twice: what a request remembers of where it was */
	enum endpoint_state state;
	bool failed;	/* its own data path did: where a lifted suspicion leads back to */
	bool gone;	/* no probing: nobody is there any more */
	uint32_t in_at; /* index in upstream->in, while ENDPOINT_IN */

	struct list idle;	    /* connections, the last used in front */
	struct deadline idle_limit; /* set while any idles */

	struct list relays;	     /* requests in flight here */
	uint32_t in_flight, tunnels; /* tunnels and event streams are counted in both */
	uint32_t to_reroute;	     /* of them, as it may not be there any more */
	struct deadline reroute;
	struct probe *probe;
	struct deadline requests_limit, tunnels_limit; /* of a drain */
	bool tunnels_over; /* the latter has passed: what becomes a tunnel now is cut */
	unsigned cut;

	struct loop_task
		report; /* reports leave at the end of the turn, never from inside a call */
	unsigned reports;
	enum endpoint_fault fault;
	const char *why;
	uint64_t requests, failures, retries_away;
	struct loop_reap reap;
};

/* The better of two: the one whose turn it is and a random other, by requests in flight. Not one
 * whose id is in <tried>. NULL: none. */
struct endpoint *upstream_pick(struct upstream *u, const uint64_t *tried, unsigned ntried);
struct endpoint *upstream_endpoint(const struct upstream *u, uint64_t id); /* still in; NULL: no */
/* A relay stops pointing here. */
void upstream_leave(struct upstream *u);
/* Bookkeeping of the endpoints: into and out of the choice, and freed. */
void upstream_put_in(struct upstream *u, struct endpoint *e);
void upstream_take_out(struct upstream *u, struct endpoint *e);
void upstream_endpoint_gone(struct upstream *u);

/* A connection from the idle pool that idled less than <max_idle_ms>, or NULL. */
struct client *endpoint_take(struct endpoint *e, uint32_t max_idle_ms);
/* Gives one back after a complete exchange; closes it when it cannot be used again or the
 * endpoint takes nothing. */
void endpoint_give(struct endpoint *e, struct client *c);
/* A request begins or ends here. */
void endpoint_enter(struct endpoint *e, struct relay *r);
void endpoint_leave(struct endpoint *e, struct relay *r);
/* The request became a tunnel or an event stream: drains treat it as such. */
void endpoint_count_tunnel(struct endpoint *e, struct relay *r);
/* The data path saw it fail: out at once, reported, probed. */
void endpoint_fault(struct endpoint *e, enum endpoint_fault fault, const char *why);
/* Its upstream is destroyed: takes nothing new, goes when nothing is in flight, and nobody is
 * told. */
void endpoint_orphan(struct endpoint *e);

#endif
