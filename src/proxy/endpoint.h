/* Inside of upstream.h: what the files of this folder see of upstreams and endpoints. */
#ifndef TEMPS_PROXY_ENDPOINT_H
#define TEMPS_PROXY_ENDPOINT_H

#include "proxy/choice.h"
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
	/* Of gRPC calls: the head of a response comes with its first message, however long that
	 * takes, and they have deadlines of their own. */
	struct client_limits call_limits;
	struct list endpoints;
	struct map by_sticky_id; /* of them */
	uint32_t nendpoints;
	uint32_t nin;	      /* in routing: in or on trial */
	uint32_t nopen;	      /* of them, with a weight: what is new may go there */
	bool paused;	      /* nothing new goes anywhere */
	struct choice choice; /* of those, the ones below their limit */
	struct hold hold;
	struct retry_budget budget;
	uint32_t active; /* requests that still point here */
	uint64_t requests, by_status[6], bytes_in, bytes_out, retries;
	struct histogram duration;
	uint64_t ejections, half_open, recoveries;
	uint64_t sticky_hits, sticky_misses;
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
	uint64_t sticky_id; /* what a cookie says; the key in upstream->by_sticky_id */
	enum endpoint_state state;
	bool gone; /* no probing: nobody is there any more */
	uint32_t weight;
	uint32_t limit;	    /* of requests in flight, as state and policy say */
	bool tracked;	    /* the number of its requests decides whether it is chosen */
	uint32_t choice_at; /* its slot in upstream->choice, or CHOICE_NOWHERE */
	struct list ring_link; /* upstream->choice.ring */
	uint64_t turn;	    /* while it has no slot */

	struct client_group *group; /* its HTTP/2 connections; NULL: none was needed yet */
	struct list idle;	    /* those of HTTP/1.1, the last used in front */
	struct deadline idle_limit; /* set while any idles */

	struct list relays;	     /* requests in flight here */
	uint32_t in_flight, tunnels; /* tunnels and event streams are counted in both */
	uint32_t to_reroute;	     /* of them, as it may not be there any more */
	struct deadline reroute;
	struct probe *probe; /* for coming back, or of its health while it is in */
	struct probe_counts checks;
	uint32_t back_off_ms;  /* before the first try of the last probe; 0: never failed */
	uint64_t in_since_ms;  /* in routing */
	struct deadline trial; /* of the request in flight, while on trial */
	struct deadline requests_limit, tunnels_limit; /* of a drain */
	bool tunnels_over; /* the latter has passed: what becomes a tunnel now is cut */
	unsigned cut;

	struct loop_task
		report; /* reports leave at the end of the turn, never from inside a call */
	unsigned reports;
	enum endpoint_fault fault;
	const char *why;
	uint64_t requests, failures, retries_away, by_status[6];
	struct histogram response_time;
	uint32_t twin;
	uint64_t ejections, half_open, recoveries;
	struct loop_reap reap;
};

static inline bool endpoint_is_in(const struct endpoint *e)
{
	return e->state == ENDPOINT_IN || e->state == ENDPOINT_TRIAL;
}

/* Somebody may take what is new: now, or when one is less busy. */
static inline bool upstream_is_open(const struct upstream *u)
{
	return u->nopen && !u->paused;
}

/* As the policy says; not one whose id is in <tried>, nor one at its limit. NULL: none. */
struct endpoint *upstream_pick(struct upstream *u, const uint64_t *tried, unsigned ntried);
/* One that may be chosen; NULL: not, or not any more. */
struct endpoint *upstream_endpoint(const struct upstream *u, uint64_t id);
/* A relay stops pointing here. */
void upstream_leave(struct upstream *u);
/* Bookkeeping of the endpoints. State, limit or requests in flight changed: into the choice or out
 * of it, and who waits is let go. */
void upstream_review(struct upstream *u, struct endpoint *e);
/* It comes into routing (1) or leaves it (-1). */
void upstream_count_in(struct upstream *u, const struct endpoint *e, int by);
void upstream_weigh(struct upstream *u, struct endpoint *e, uint32_t weight);
void upstream_endpoint_new(struct upstream *u, struct endpoint *e);
void upstream_endpoint_gone(struct upstream *u, struct endpoint *e);

/* A way there for one request: a connection that idled less than <max_idle_ms> or a new one, or a
 * stream where the policy says HTTP/2. Errors as client_open()'s. */
int endpoint_open(struct endpoint *e, uint32_t max_idle_ms, struct client **out) MUST_CHECK;
/* Gives it back after a complete exchange; it is closed when it cannot be used again or the endpoint
 * takes nothing. */
void endpoint_give(struct endpoint *e, struct client *c);
/* A request begins or ends here. */
void endpoint_enter(struct endpoint *e, struct relay *r);
void endpoint_leave(struct endpoint *e, struct relay *r);
/* One on trial passes it. */
void endpoint_prove(struct endpoint *e);
/* The head of an answer came from it, <took_us> after it was given the request. */
static inline void endpoint_answered(struct endpoint *e, unsigned status, uint64_t took_us)
{
	e->by_status[MIN(status / 100, 5)]++;
	histogram_add(&e->response_time, took_us);
	if (e->state == ENDPOINT_TRIAL)
		endpoint_prove(e);
}
/* The request became a tunnel or an event stream: drains treat it as such. */
void endpoint_count_tunnel(struct endpoint *e, struct relay *r);
/* The data path saw it fail: out at once, reported, probed. */
void endpoint_fault(struct endpoint *e, enum endpoint_fault fault, const char *why);
/* endpoint_drain() without a report: it goes by itself. */
void endpoint_retire(struct endpoint *e, uint32_t requests_ms, uint32_t tunnels_ms);
/* Its upstream is destroyed: takes nothing new, goes when nothing is in flight, and nobody is
 * told. */
void endpoint_orphan(struct endpoint *e);

/* ---- between endpoint.c and endpoint_recovery.c ---- */

/* The only writer of e->state. */
void endpoint_set_state(struct endpoint *e, enum endpoint_state next);
/* As its state and the policy say; it is reviewed then. */
void endpoint_set_limit(struct endpoint *e);
void endpoint_report(struct endpoint *e, unsigned what); /* REPORT_… */
void endpoint_recovery_init(struct endpoint *e);
void endpoint_recovery_fini(struct endpoint *e);
/* It came in: its health is checked if the policy says so. */
void endpoint_watch(struct endpoint *e);
void endpoint_stop_probe(struct endpoint *e);
/* One on trial got its request. */
void endpoint_try(struct endpoint *e);
/* Its upstream has another policy: limit and checks go by that. */
void endpoint_new_policy(struct endpoint *e);

#endif
