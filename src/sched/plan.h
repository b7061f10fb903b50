/* What a command would do if it were given now, by the same rules that then do it. Reads the cluster and changes nothing. */
#ifndef TEMPS_SCHED_PLAN_H
#define TEMPS_SCHED_PLAN_H

#include "sched/cluster.h"
#include "sched/placement.h"

struct plan_stop {
	const struct replica *replica; /* borrowed */
	const char *why;	       /* static */
};

struct plan {
	enum reply_kind
		kind;	  /* as the command would be answered; REPLY_OK: there is nothing to do */
	struct err err;	  /* why it would be refused */
	uint32_t release; /* whose replicas are placed */
	struct placement_ask ask;
	struct placement placement; /* also of a plan that is refused for want of a node */
	struct plan_stop *stops;    /* owned */
	uint32_t stops_n;
};

/* A deploy of <spec>, which is borrowed until plan_fini(). <image_id>: what its image means now, or NULL. */
void plan_deploy(const struct cluster *c, const char *app, const struct app_spec *spec,
		 const char *image_id, struct plan *out);
/* How one replica more of a release would be asked for, or none: to see what is said of each node. */
void plan_more(const struct cluster *c, const struct release *rel, struct placement_ask *out);
/* Another number of replicas of an app's current release. */
void plan_scale(const struct cluster *c, const struct app *app, uint32_t replicas,
		struct plan *out);
void plan_fini(struct plan *p);

#endif
