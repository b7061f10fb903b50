/* The front door: request → route → upstream → endpoint → relay. One struct front holds it all; the
 * control plane fills the route table and the endpoints and is told what the data path sees. */
#ifndef TEMPS_PROXY_FRONT_H
#define TEMPS_PROXY_FRONT_H

#include "base/hash.h"
#include "http/client.h"
#include "http/exchange.h"
#include "reactor/work.h"

struct access_stats;
struct front;
struct endpoint;

/* What the data path saw of an endpoint (DESIGN §4, first rows of the table). */
enum endpoint_fault {
	FAULT_REFUSED, /* connection refused or reset before an answer: that container is down, its
			  node is up */
	FAULT_EARLY_EOF,   /* closed or reset with a request outstanding */
	FAULT_TIMEOUT,	   /* connect timed out */
	FAULT_UNREACHABLE, /* no route, host or network unreachable */
	FAULT_UNHEALTHY,   /* it fails the health checks of its upstream's policy */
};

/* Reports; called from the loop, never from inside a call into the proxy. The endpoint is already
 * out when failed() comes. */
struct front_reports {
	void (*failed)(void *arg, struct endpoint *e, enum endpoint_fault fault, const char *why);
	void (*recovered)(void *arg,
			  struct endpoint *e); /* its own probe succeeded: it is in again */
	void (*drained)(void *arg, struct endpoint *e,
			unsigned cut); /* after endpoint_drain(): nothing in flight; <cut> were cut
					  at the limit */
};

struct front_config {
	struct client_limits limits;
	/* TCP_USER_TIMEOUT on upstream sockets: 1.5 s. It is counted from the first
	 * retransmission, 0.4 s late. */
	uint32_t user_timeout_ms;
	uint32_t max_upstream_connections;
	uint32_t pool_idle_ms;	/* idle upstream connections: 4 s */
	uint32_t fresh_idle_ms; /* a non-idempotent request takes a pooled connection only if it
				   idled less: 1 s */
	uint32_t hold_max, hold_max_bytes, hold_ms; /* per upstream: 1,000; 8 MiB; 30 s */
	uint32_t retry_body_bytes;		    /* held for a retry per request: 64 KiB */
	uint64_t retry_body_total_bytes;	    /* all together: 64 MiB */
	const char *const *trusted_proxies; /* NULL-terminated "10.0.0.0/8" ranges whose forwarding
					       fields are believed */
	uint16_t https_port;	/* for redirects from plain listeners; 0 = do not redirect */
	const struct hash_key *sticky_key; /* of the sticky policy's cookies, borrowed for the call;
					      NULL: a random one */
	const char *access_log; /* file, "-" for standard output, NULL for none */
	bool access_log_json;
};
void front_config_default(struct front_config *c);

int front_create(struct front **out, struct loop *l, struct work *work,
		 const struct front_config *c, const struct front_reports *reports, void *arg,
		 struct err *err) MUST_CHECK;
/* After the server, so that no exchange is left. Its memory goes at the end of the turn; NULL is
 * fine. */
void front_destroy(struct front *f);
/* An exchange_handler's request function; arg is the struct front. Unknown host: 404. */
void front_request(void *front, struct exchange *x);
/* Does any route serve this host name (exact or wildcard; any path)? For SNI and for redirects. */
bool front_has_host(const struct front *f, struct slice host);
void front_reopen_log(struct front *f);

struct front_stats {
	uint64_t requests, by_status[6]; /* 1xx … 5xx in [1]..[5] */
	uint64_t retries, retries_refused; /* the latter: the budget was spent */
	uint64_t held, hold_timeouts, hold_refused, tunnels, cut, no_route;
	uint64_t queued, queue_timeouts, queue_refused; /* while all were at their limit */
	uint64_t compressed, compressed_in_bytes, compressed_out_bytes; /* responses, content */
	uint64_t compress_refused; /* passed as they were: no memory for another encoder */
	/* What policies refused; rate_overflow: more client addresses at a time than are counted
	 * exactly. */
	uint64_t denied, rate_limited, rate_overflow, body_too_large, redirected;
	/* Hashes of passwords made; of them, wrong ones; requests refused as too many were being
	 * made. */
	uint64_t auth_checked, auth_failed, auth_busy;
	uint64_t ejections, half_open, recoveries; /* endpoints: out, back on trial, in again */
	uint64_t sticky_hits, sticky_misses; /* requests with a cookie: its endpoint took it, or not */
	uint64_t probes_passed, probes_failed;	   /* tries */
	uint64_t bytes_in, bytes_out; /* content of clients' requests, of responses to them */
	uint32_t holding, queueing, active; /* queueing: a part of holding */
	uint32_t upstreams, endpoints;
	struct histogram duration;	    /* as in upstream_stats */
};
const struct front_stats *front_stats(const struct front *f);
/* All zero without an access log. */
const struct access_stats *front_log_stats(const struct front *f);
const struct client_stats *front_client_stats(const struct front *f);
void front_each_pool(const struct front *f, pool_each_fn *each, void *arg);

#endif
