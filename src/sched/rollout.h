/* Rollouts: an app moves from one release to the next, or back to what it had. Also what keeps a settled app at its
 * number of replicas. For the domain's own files. */
#ifndef TEMPS_SCHED_ROLLOUT_H
#define TEMPS_SCHED_ROLLOUT_H

#include "sched/placement.h"

struct cluster;

/* A release's replicas, without what runs its hook. */
struct tally {
	uint32_t starting;   /* PLACED to HEALTHY */
	uint32_t with_image; /* of them, on a node that has it */
	uint32_t healthy;    /* of them, through the gate */
	uint32_t ready;	     /* and to stay where they are */
	uint32_t up;	     /* of the latter, in routing */
	uint32_t leaving;    /* READY, and to leave their nodes */
};

/* A new release that is asked for. */
struct rollout_ask {
	uint64_t reply;		     /* 0: nobody waits */
	const char *app;	     /* its name; may be new */
	const struct app_spec *spec; /* checked; copied */
	const char *image_id;	     /* known already, of an earlier release; NULL, "": what the reference means */
	const char *cause, *by;	     /* for people; NULL: none */
	uint32_t canary;	     /* percent; 0: it takes over */
	bool no_hook;		     /* its pre-deploy command does not run: it did, in an earlier release */
};

/* rollout_deploy.c */
/* Places it, claims its domains and starts its rollout, to which one under way gives way; answers in either case. NULL: it was
 * refused and nothing changed. */
struct release *rollout_begin(struct cluster *c, const struct rollout_ask *ask);
/* A user's deploy, and the end of an app. Both answer. */
void rollout_deploy(struct cluster *c, const struct event_deploy *e);
void app_promote(struct cluster *c, const struct event_app *e);
void app_abort(struct cluster *c, const struct event_app *e);
void rollout_app_delete(struct cluster *c, const struct event_app_delete *e);

/* rollout.c */
/* <rel>, placed and new, is the rollout of its app from now on. */
void rollout_start(struct cluster *c, struct release *rel);
/* Ends the rollout under way, which there is: somebody wants it to. */
void rollout_abort(struct cluster *c, struct app *a);
/* A container of a replica that carries traffic ended for good, or restarts: the end of a rollout that is under way. */
void rollout_replica_ended(struct cluster *c, struct replica *r, const char *reason);
void rollout_replica_restarted(struct cluster *c, struct replica *r);
/* READY, and requests are sent there. */
bool rollout_is_up(const struct replica *r);
/* The number of a release's replicas that are READY. */
uint32_t rollout_ready(const struct app *a, const struct release *rel);
/* How many replicas of releases before the rolling one are to carry traffic now. Needs a current release. */
uint32_t rollout_old_kept(const struct app *a);
/* Whether replicas of <s> come in wave by wave, and how many more may be started now. <a> may be NULL. */
bool rollout_goes_in_waves(const struct app *a, const struct app_spec *s);
uint32_t rollout_room(const struct app *a, const struct app_spec *s);
/* Every endpoint gets the share that its release is to have. */
void rollout_weigh(struct cluster *c, struct app *a);
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
 * until one can take more. Returns whether any was placed, or will be in a step to come. */
bool rollout_place_missing(struct cluster *c, struct release *rel, uint32_t missing, bool moving);
/* One replica of <rel> more, on <n>. -ENOENT, -ENOSPC: not there. */
int rollout_place_on(struct cluster *c, struct release *rel, const struct node *n,
		     struct err *err) MUST_CHECK;
/* Plans the first replicas of a release that is to have <want>; what comes in waves must find room for all of them in the end,
 * those before them gone, or the plan is that one's. As placement_plan(). */
int rollout_placement(const struct cluster *c, const struct app *a, struct placement_ask *ask, uint32_t want,
		      struct placement *out, struct err *err) MUST_CHECK;
/* Where it may be, on account of its app: near a volume, in the place of what ends. -ENOENT when a volume's node is gone. */
int rollout_place_ask(const struct cluster *c, const struct app *a, struct placement_ask *ask, struct err *err) MUST_CHECK;
/* The container that runs a release's hook, on the node of <near>. */
struct replica *rollout_place_hook(struct cluster *c, const struct replica *near);
/* Whether the container of a replica that has its image may be created now. */
bool rollout_may_start(const struct replica *r);
/* Looks again when some node can take more, or can be relied on again. */
void rollout_wait_for_nodes(struct cluster *c, struct app *a);

/* rollout_hook.c */
/* Whether replicas of the rolling release may start as far as its hook goes, which is started and followed. */
bool rollout_hook_advance(struct cluster *c, struct release *rel);
bool rollout_hook_is_due(const struct release *rel);
/* What became of its container. */
void rollout_hook_inspected(struct cluster *c, struct replica *r, const struct event_container_done *e);
/* Its container ended, or so it is said. */
void rollout_hook_exited(struct cluster *c, struct replica *r);
/* Its creation was not answered, or not well. */
void rollout_hook_created(struct cluster *c, struct replica *r, const struct event_container_done *e);

/* rollout_settle.c */
/* Compares what the current release should run with what there is; starts or retires the difference. */
void app_reconcile(struct cluster *c, struct app *a);

/* Of replicas that are too many the lowest rank goes first, and of one rank the newest. */
uint32_t app_surplus_rank(const struct replica *r);

#endif
