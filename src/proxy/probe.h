/* Is somebody serving at this address? The data path's own question: for the health gate of a new
 * replica, for bringing endpoints back, and for watching those that are in. */
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
	bool h2c;	  /* with <path>: by HTTP/2 */
	uint32_t delay_ms;	  /* before the first try; 0: at once */
	uint32_t interval_ms;	  /* between tries: 250 ms */
	uint32_t interval_max_ms; /* doubling up to this: 5 s; equal to interval_ms = no doubling */
	uint32_t need;		  /* successes in a row: 2 with a path, 1 without */
	uint32_t fall; /* 0; or a watch: goes on while it is healthy, ends by this many failures in
			  a row alone */
	uint32_t limit_ms; /* give up after: 60 s; 0 = never */
	uint32_t patience; /* 0; or give up after so many failures in a row, those of the first
			    * <start_ms> not counted */
	uint32_t start_ms;
	uint32_t try_ms;   /* one try's limit: 2 s */
	struct probe_counts {
		uint64_t passed, failed; /* tries */
	} * counts;			 /* or NULL; outlives the probe */
};

/* Waits are a tenth longer or shorter, so that many never come together. Of those without
 * <limit_ms> at most this many try at once in a front door; the others wait for their turn. */
#define PROBES_AT_ONCE 512

/* rc 0: healthy; -ETIMEDOUT: it is not within the limit; -EIO: a watched one failed, or patience ended. <why> is the
 * last try's reason ("GET /health answered 503", "connection refused"), valid until the turn ends.
 * Once, later; not after probe_cancel(). */
typedef void probe_done_fn(void *arg, int rc, const char *why);
struct probe *probe_begin(struct front *f, const struct probe_config *c, probe_done_fn *done,
			  void *arg);
void probe_cancel(struct probe *p);

#endif
