/* The domain's states in the words of the API. */
#ifndef TEMPS_CONTROL_VIEW_H
#define TEMPS_CONTROL_VIEW_H

#include "sched/app.h"

/* placing, image, creating, starting, checking, ready, out, draining, stopping, failed, lost, pre-deploy */
const char *view_replica_state(const struct replica *r);
/* Why it is not as it should be, or ""; <out> may be used for it. */
const char *view_replica_reason(const struct replica *r, char *out, size_t size);
/* deploying, canary, aborted, active, degraded (its containers keep crashing), superseded, failed */
const char *view_release_state(const struct release *r);

struct view_app {
	const char *status;	/* running, deploying, canary, degraded, failed, stopped */
	/* the one that counts: the current one, else the rolling one, else the last; NULL: none */
	const struct release *release;
	uint32_t want, ready;
};
struct view_app view_app(const struct app *a);

/* Where the rollout under way is. */
struct view_rollout {
	const char *phase; /* the earliest that a replica of it is in: placing, image, creating, starting, checking, ready; or pre-deploy */
	uint32_t healthy, want;
	char waits_for[256]; /* "the image on node worker-1"; "": nothing in particular */
};
/* <a> has one. */
void view_rollout(const struct app *a, struct view_rollout *out);

/* "host/path" or "host" as two texts: <host> takes 256 bytes, <path> 4097. */
void view_split_domain(const char *domain, char *host, char *path);

#endif
