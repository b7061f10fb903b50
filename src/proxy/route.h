/* The route table: host (exact, then a one-label wildcard) → longest path prefix → upstream. Open
 * addressing with a keyed hash; a change touches only its entry. A million hosts must be fine. */
#ifndef TEMPS_PROXY_ROUTE_H
#define TEMPS_PROXY_ROUTE_H

#include "proxy/upstream.h"

struct route_stats {
	uint64_t requests, errors;
};

/* Sends <host><path>* to <u>. <host> is lower case, maybe "*.example.test"; <path> starts with '/'
 * and matches whole segments
 * ("/api" matches "/api" and "/api/x", not "/apix"). -EEXIST: taken. */
int route_add(struct front *f, const char *host, const char *path, struct upstream *u) MUST_CHECK;
/* -ENOENT. */
int route_remove(struct front *f, const char *host, const char *path);
int route_stats(struct front *f, const char *host, const char *path, struct route_stats *out);
uint32_t route_count(const struct front *f);

#endif
