/* The domain's routing decisions as calls into the proxy, and what the proxy sees as events for the
 * domain. An app is one upstream; a replica's endpoint is named by app, number, container and start
 * time on the domain's side. */
#ifndef TEMPS_CONTROL_DATAPLANE_H
#define TEMPS_CONTROL_DATAPLANE_H

#include "proxy/upstream.h"
#include "proxy/route.h"
#include "sched/batch.h"

struct dataplane;

/* Called from the loop; <arg> is the configuration's. */
struct dataplane_reports {
	void (*failed)(void *arg, const struct endpoint_ref *ref, enum upstream_failure failure);
	void (*recovered)(void *arg, const struct op *op);	/* answers dataplane_recover() */
	/* Answers dataplane_route_out(). */
	void (*drained)(void *arg, const struct endpoint_ref *ref);
};

struct dataplane_config {
	struct loop *loop;
	/* a routed-out endpoint's requests and tunnels are cut after these */
	uint32_t request_drain_ms, tunnel_drain_ms;
	const struct dataplane_reports *reports;
	void *arg;
};

struct dataplane *dataplane_create(const struct dataplane_config *c);
void dataplane_destroy(struct dataplane *d);	/* before the front */
/* What front_create() takes, with the struct dataplane as argument; then dataplane_start() before
 * anything below. */
extern const struct front_reports dataplane_front_reports;
void dataplane_start(struct dataplane *d, struct front *f);

/* The effects. Each may be repeated. */
void dataplane_route_in(struct dataplane *d, const struct effect_route *r);
void dataplane_route_out(struct dataplane *d,
			 const struct effect_route *r); /* an unknown endpoint is drained at once */
bool dataplane_failed(struct dataplane *d,
		      const struct effect_route *r); /* false: no such endpoint */
void dataplane_app_policy(struct dataplane *d, const struct effect_policy *p);
void dataplane_app_pause(struct dataplane *d, const struct effect_pause *e);
void dataplane_host_set(struct dataplane *d, const struct effect_host *h);
void dataplane_host_static(struct dataplane *d, const struct effect_host *h);
void dataplane_host_del(struct dataplane *d, const char *host, const char *path);
/* The endpoint's own probing answers a recovery probe. False: there is no such endpoint, so
 * somebody else has to probe. */
bool dataplane_recover(struct dataplane *d, const struct effect_probe *p);
void dataplane_recover_cancel(struct dataplane *d, const struct op *op);

/* The domain was loaded anew: between these two calls it says all that it wants; what was there
 * before and was not named goes. */
void dataplane_resync_begin(struct dataplane *d);
void dataplane_resync_end(struct dataplane *d);

/* For listings. NULL, false: not there. */
struct upstream *dataplane_upstream(const struct dataplane *d, const char *app);
struct upstream *dataplane_static(const struct dataplane *d, const char *host, const char *path);
/* Calls <each> for every replica's endpoint that has requests, those that drain included. */
void dataplane_each_busy(const struct dataplane *d,
			 void (*each)(void *arg, const struct endpoint_ref *ref, uint32_t in_flight),
			 void *arg);
bool dataplane_view(const struct dataplane *d, const char *app, uint32_t replica,
		    struct endpoint_view *out);

#endif
