/* Inside of front.h: the root of the data path, seen by the files of this folder alone. */
#ifndef TEMPS_PROXY_FRONT_INNER_H
#define TEMPS_PROXY_FRONT_INNER_H

#include "base/pool.h"
#include "proxy/access.h"
#include "proxy/compress.h"
#include "proxy/forward.h"
#include "proxy/front.h"
#include "proxy/rate.h"
#include "proxy/table.h"

struct front {
	struct loop *loop;
	struct front_config config;
	struct front_reports reports;
	void *arg;			/* of reports */
	struct table table;
	struct forward forward;
	struct client_pool *clients;
	struct pool relays;
	struct pool replay_blocks;
	struct list upstreams;
	struct list probes_waiting;
	uint32_t probing;
	struct list walks; /* over the upstreams, under way: see walk.h */
	struct access *access;		/* NULL: none */
	struct compress compress;
	struct rate_table *rates;	/* NULL until a policy has a rate */
	struct basic_auth *auth;	/* NULL until a policy has users */
	struct work *work;
	struct front_stats stats;
	uint64_t last_endpoint_id;
	uint64_t random;		/* xorshift64 */
	struct hash_key sticky_key;
	char cookie[160];		/* being set */
	/* Of the request being routed, when it is not plain. Not on the stack, where the compiler
	 * would clear 16 KiB for every request. */
	char path[HEAD_MAX_TARGET];
	char location[HEAD_MAX_TARGET + 512];	/* of a redirect being written */
	struct loop_reap reap;
};

/* Never 0. For spread, not for secrets. */
uint64_t front_random(struct front *f);
/* <x> ended with a 5xx: the route it took counts it, if it is still there. */
void front_count_error(struct front *f, const struct exchange *x);

#endif
