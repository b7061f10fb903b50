/* When a request may be sent a second time (DESIGN §7, retry rule), and how often that may
 * happen. Pure. */
#ifndef TEMPS_PROXY_RETRY_H
#define TEMPS_PROXY_RETRY_H

#include "http/client.h"
#include "proxy/front.h"

enum retry_verdict {
	RETRY_NEVER,
	RETRY_BUDGET, /* allowed, and paid for from the budget */
	RETRY_FREE, /* the attempt never reached anybody: a failed connect, a pooled connection that
		       had gone stale */
};

/* An attempt failed as <f> says. <idempotent>: the method is. <held>: all content that was taken
 * from the client can be written again. */
enum retry_verdict retry_verdict(const struct client_failure *f, bool idempotent, bool held);

/* Is the failure the endpoint's doing, and what does it show? Not of a pooled connection that
 * had gone stale, nor of a stream that was refused or reset, nor of what we ran out of ourselves
 * (descriptors, memory, ports), nor of an answer that was late or wrong: somebody is there. Of a
 * connection that many requests lost, one tells. */
bool retry_fault(const struct client_failure *f, enum endpoint_fault *fault);

/* 20 % of the requests of the last ten seconds, at least ten a second. */
#define RETRY_SECONDS 10
struct retry_budget {
	uint64_t second;					  /* the newest slot's, monotonic */
	uint32_t requests[RETRY_SECONDS], retries[RETRY_SECONDS]; /* by second % RETRY_SECONDS */
	uint64_t total_requests, total_retries;
};

void retry_count(struct retry_budget *b, uint64_t now_ms); /* a request came */
bool retry_take(struct retry_budget *b,
		uint64_t now_ms); /* may one be retried? Counts it when yes. */

#endif
