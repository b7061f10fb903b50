/* Rollouts: an app moves from one release to the next, or back to what it had. Also what keeps a settled app at its
 * number of replicas. For the domain's own files. */
#ifndef TEMPS_SCHED_ROLLOUT_H
#define TEMPS_SCHED_ROLLOUT_H

#include "sched/app.h"

struct cluster;

/* A user's deploy, and the end of an app. Both answer. */
void rollout_deploy(struct cluster *c, const struct event_deploy *e);
void rollout_app_delete(struct cluster *c, const struct event_app_delete *e);

/* Something moved: takes the next step that is possible now. */
void rollout_advance(struct cluster *c, struct app *a);
/* Ends the rollout under way: its replicas go, the old release keeps everything. */
void rollout_fail(struct cluster *c, struct app *a, const char *reason);
/* A replica that was on its way cannot go on. <node_fault>: not its own fault, so another node is tried at once. */
void rollout_replica_failed(struct cluster *c, struct replica *r, bool node_fault,
			    const char *reason);

/* Compares what the current release should run with what there is; starts or retires the difference. */
void app_reconcile(struct cluster *c, struct app *a);

#endif
