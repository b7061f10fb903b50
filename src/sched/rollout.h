/* Rollouts: an app moves from one release to the next, or back to what it had. Also what keeps a settled app at its
 * number of replicas. For the domain's own files. */
#ifndef TEMPS_SCHED_ROLLOUT_H
#define TEMPS_SCHED_ROLLOUT_H

#include "sched/placement.h"

struct cluster;

/* What a tally counts of a release's replicas that are on their way. */
struct tally {
	uint32_t live, healthy;
};

/* A new release that is asked for. */
struct rollout_ask {
	uint64_t reply;		     /* 0: nobody waits */
	const char *app;	     /* its name; may be new */
	const struct app_spec *spec; /* checked; copied */
	const char *image_id;	     /* known already, of an earlier release; NULL, "": what the reference means */
	const char *cause, *by;	     /* for people; NULL: none */
};

/* rollout_deploy.c */
/* Places it, claims its domains and starts its rollout, to which one under way gives way; answers in either case. NULL: it was
 * refused and nothing changed. */
struct release *rollout_begin(struct cluster *c, const struct rollout_ask *ask);
/* A user's deploy, and the end of an app. Both answer. */
void rollout_deploy(struct cluster *c, const struct event_deploy *e);
void rollout_app_delete(struct cluster *c, const struct event_app_delete *e);

/* rollout.c */
/* <rel>, placed and new, is the rollout of its app from now on. */
void rollout_start(struct cluster *c, struct release *rel);
/* Something moved: takes the next step that is possible now. */
void rollout_advance(struct cluster *c, struct app *a);
/* Ends the rollout under way: its replicas go, the old release keeps everything. */
void rollout_fail(struct cluster *c, struct app *a, const char *reason);
/* A replica that was on its way cannot go on. <node_fault>: not its own fault, so another node is tried at once. */
void rollout_replica_failed(struct cluster *c, struct replica *r, bool node_fault,
			    const char *reason);

/* What of <rel> can move on does; counts. */
struct tally rollout_drive(struct cluster *c, struct app *a, struct release *rel);

/* rollout_place.c */
/* Whether all of a plan can be had at once: addresses, and the bound of replicas; else false with the reason. */
bool rollout_can_place(const struct cluster *c, const struct app_spec *s,
		       const struct placement *plan, struct err *err) MUST_CHECK;
/* Makes the replicas of a plan; those beyond a slice are left to the steps that follow, when the app settles. false with the
 * reason: those made so far are there. */
bool rollout_place_plan(struct cluster *c, struct release *rel, const struct placement_ask *ask,
			const struct placement *plan, struct err *err) MUST_CHECK;
/* Places what a release lacks or, when <moving>, successors of replicas that leave their nodes. What finds no node waits
 * until one can take more. */
void rollout_place_missing(struct cluster *c, struct release *rel, uint32_t missing, bool moving);
/* One replica of <rel> more, on <n>. -ENOENT, -ENOSPC: not there. */
int rollout_place_on(struct cluster *c, struct release *rel, const struct node *n,
		     struct err *err) MUST_CHECK;
/* Looks again when some node can take more, or can be relied on again. */
void rollout_wait_for_nodes(struct cluster *c, struct app *a);

/* rollout_settle.c */
/* Compares what the current release should run with what there is; starts or retires the difference. */
void app_reconcile(struct cluster *c, struct app *a);

/* Of replicas that are too many the lowest rank goes first, and of one rank the newest. */
uint32_t app_surplus_rank(const struct replica *r);

#endif
