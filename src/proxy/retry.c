/* The retry rule and its budget. */
#include "proxy/retry.h"

#include <errno.h>

#define BUDGET_SHARE 5 /* one in five */
#define BUDGET_FLOOR (10 * RETRY_SECONDS)

enum retry_verdict retry_verdict(const struct client_failure *f, bool idempotent, bool held)
{
	/* It was served for as long as we would wait: another would get the same work and the
	 * client an answer too late. */
	if (!held || f->rc == -ETIME)
		return RETRY_NEVER;
	/* Who takes no tunnels takes none from another of its kind either. */
	if (f->rc == -EOPNOTSUPP)
		return RETRY_NEVER;
	switch (f->stage) {
	case CLIENT_CONNECTING: return RETRY_FREE;
	case CLIENT_UNSENT: return f->reused ? RETRY_FREE : RETRY_BUDGET;
	case CLIENT_SENT:
		/* An answer that cannot be parsed is an answer. */
		if (!idempotent || f->rc == -EBADMSG)
			return RETRY_NEVER;
		return f->reused ? RETRY_FREE : RETRY_BUDGET;
	case CLIENT_HEAD:
	case CLIENT_BODY: return RETRY_NEVER;
	}
	return RETRY_NEVER;
}

bool retry_fault(const struct client_failure *f, enum endpoint_fault *fault)
{
	/* One connection's loss is one fault, however many requests were on it. */
	if (f->shared)
		return false;
	switch (-f->rc) {
	case ECONNREFUSED: *fault = FAULT_REFUSED; return true;
	case ECONNRESET:
	case EPIPE:
		*fault = f->stage == CLIENT_CONNECTING ? FAULT_REFUSED : FAULT_EARLY_EOF;
		return !f->reused || f->stage > CLIENT_SENT;
	case ETIMEDOUT: *fault = FAULT_TIMEOUT; return true;
	case EHOSTUNREACH:
	case ENETUNREACH:
	case EHOSTDOWN:
	case ENETDOWN: *fault = FAULT_UNREACHABLE; return true;
	default: return false;
	}
}

/* Empties the slots of the seconds that went by since the last call. */
static void forward_to(struct retry_budget *b, uint64_t second)
{
	uint64_t gone = second - b->second;

	if (second <= b->second)
		return;
	for (uint64_t i = 1; i <= MIN(gone, RETRY_SECONDS); i++) {
		unsigned slot = (unsigned)((b->second + i) % RETRY_SECONDS);

		b->total_requests -= b->requests[slot];
		b->total_retries -= b->retries[slot];
		b->requests[slot] = b->retries[slot] = 0;
	}
	b->second = second;
}

void retry_count(struct retry_budget *b, uint64_t now_ms)
{
	forward_to(b, now_ms / 1000);
	b->requests[b->second % RETRY_SECONDS]++;
	b->total_requests++;
}

bool retry_take(struct retry_budget *b, uint64_t now_ms)
{
	forward_to(b, now_ms / 1000);
	if (b->total_retries >= MAX(b->total_requests / BUDGET_SHARE, BUDGET_FLOOR))
		return false;
	b->retries[b->second % RETRY_SECONDS]++;
	b->total_retries++;
	return true;
}
