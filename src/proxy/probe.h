/* Is somebody serving at this address? The data path's own question: for the health gate of a new
 * replica and for bringing endpoints back. */
#ifndef TEMPS_PROXY_PROBE_H
#define TEMPS_PROXY_PROBE_H

#include "base/text.h"
#include "proxy/front.h"

struct probe;

struct probe_config {
	struct addr at;
	const char *path; /* GET this (2xx/3xx is good); NULL: a connection that is still open after
			     100 ms */
	const char *host; /* Host field with <path>; NULL: the address */
	uint32_t delay_ms;	  /* before the first try; 0: at once */
	uint32_t interval_ms;	  /* between tries: 250 ms */
	uint32_t interval_max_ms; /* doubling up to this: 5 s; equal to interval_ms = no doubling */
	uint32_t need;		  /* successes in a row: 2 with a path, 1 without */
	uint32_t limit_ms;	  /* give up after: 60 s; 0 = never */
	uint32_t try_ms;	  /* one try's limit: 2 s */
};

/* rc 0: healthy; -ETIMEDOUT: <why> is the last try's reason ("GET /health answered 503",
 * "connection refused"). Once, later; not after probe_cancel(). */
typedef void probe_done_fn(void *arg, int rc, const char *why);
struct probe *probe_begin(struct front *f, const struct probe_config *c, probe_done_fn *done,
			  void *arg);
void probe_cancel(struct probe *p);

#endif
