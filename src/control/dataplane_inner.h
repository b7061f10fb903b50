/* Inside of dataplane.h, seen by the dataplane's own files alone. */
#ifndef TEMPS_CONTROL_DATAPLANE_INNER_H
#define TEMPS_CONTROL_DATAPLANE_INNER_H

#include "base/hash.h"
#include "base/list.h"
#include "control/dataplane.h"

struct route_app {
	struct list endpoints;		/* struct place */
	struct upstream *upstream;
	struct pairs policy;		/* what its upstream has */
	char *check_host;		/* and for its health checks */
	uint32_t hold_ms;		/* and how long its requests wait, 0: as ever */
	uint32_t hosts;			/* that lead here */
	bool paused;
	bool pause_named; /* since dataplane_resync_begin() */
	char name[64];			/* the map's key */
};

/* A replica's endpoint. */
struct place {
	struct list link;
	struct route_app *app;
	struct endpoint *endpoint;
	uint32_t replica;
	char *container_id, *started_at;
	bool draining;
	bool told; /* draining was asked for by the domain, which waits for the report */
	bool named;			/* since dataplane_resync_begin() */
	uint64_t recover_seq;		/* of the recovery probe it answers; 0: none */
	struct loop_task recovered;	/* it was in already when the probe was asked for */
	struct dataplane *dataplane;
};

struct route_host {
	struct list link;
	struct route_app *app;		/* NULL: static */
	struct upstream *fixed;		/* of a static route */
	char *targets;			/* of a static route, space-separated */
	struct pairs policy;		/* of a static route: what <fixed> has */
	bool named;
	char *host, *path, *key;	/* <key> is the map's: "host/path" */
};

struct dataplane {
	struct dataplane_config config;
	struct front *front;
	struct map apps, hosts;
	struct list host_list;
};

/* dataplane.c */
/* Gives <u> the policy and keeps it in <*now>. <host>: for health checks, or NULL. */
void dataplane_set_policy(struct upstream *u, struct pairs *now, const struct pairs *policy,
			  const char *host, bool hold, uint32_t hold_ms);
struct route_app *dataplane_app_get(struct dataplane *d, const char *name);
/* An app with neither hosts nor endpoints is forgotten, unless it is paused. */
void dataplane_app_settle(struct dataplane *d, struct route_app *a);

/* dataplane_host.c */
/* Takes the host off the front; its app is settled. */
void dataplane_host_free(struct dataplane *d, struct route_host *h);

#endif
