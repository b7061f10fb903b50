/* Runs the domain: every event goes through deployer_step(), the batch it gives is committed, and
 * its effects are carried out after that, in order. If a commit fails, control stops here: commands
 * are refused until the store takes writes again and the domain has been loaded anew from it; the
 * proxy goes on meanwhile. */
#ifndef TEMPS_CONTROL_DEPLOYER_H
#define TEMPS_CONTROL_DEPLOYER_H

#include "control/dataplane.h"
#include "control/images.h"
#include "sched/cluster.h"

struct control;
struct deployer;

/* Makes the cluster and loads it from the store. Blocks on disk: before the loop runs. <cluster> is
 * copied. */
int deployer_create(struct deployer **out, struct control *c, const struct cluster_config *cluster,
		    struct err *err) MUST_CHECK;
void deployer_destroy(struct deployer *d);
/* The first step: the routes are in when it returns. */
void deployer_start(struct deployer *d);
/* Callable from everywhere on the loop, also from inside what an effect called. */
void deployer_step(struct deployer *d, const struct cluster_event *e);
const struct cluster *deployer_cluster(const struct deployer *d);
/* NULL: commands are taken; else why not, for people. */
const char *deployer_refuses(const struct deployer *d);

/* The answer to a command; NULL: the store refused it, nothing has changed. Called once, later or
 * from inside deployer_step(). */
typedef void deployer_reply_fn(void *arg, const struct effect_reply *r);
/* A handle for the event's <reply>. */
uint64_t deployer_expect(struct deployer *d, deployer_reply_fn *reply, void *arg);
/* Whoever waited is gone; 0 is fine. */
void deployer_forget(struct deployer *d, uint64_t handle);

/* Somebody who waits until what was decided so far is stored and carried out. */
struct deployer_wait {
	struct list link;
	uint64_t after;
	void (*run)(void *arg);
	void *arg;
};
/* Calls <run>: at once when nothing is under way, else later, after a failed commit too. What is read from the
 * cluster before that may still be taken back, or not be in effect yet. */
void deployer_when_settled(struct deployer *d, struct deployer_wait *w, void (*run)(void *arg),
			   void *arg);
void deployer_wait_cancel(struct deployer_wait *w);

/* Decides nothing any more: commands are refused with <why>, a constant; what was decided is stored and
 * carried out, see deployer_when_settled(). */
void deployer_stop(struct deployer *d, const char *why);
/* After that: ends what runs on nodes, without an event, and refuses whoever still waits. */
void deployer_let_go(struct deployer *d);
/* Decides again, from what the store has. Blocks on disk for as long as a start does. */
void deployer_resume(struct deployer *d);

/* The node's link is about to end: what runs over it ends as failed transport. */
void deployer_drop_node(struct deployer *d, int64_t node_id);

/* What the data path sees, for dataplane_create() with the struct control as argument. */
extern const struct dataplane_reports deployer_data_reports;

/* Where the image is that a replica waits for; false: it waits for none. */
bool deployer_image(const struct deployer *d, const struct replica *r, struct image_progress *out);

struct deployer_stats {
	uint64_t steps, batches, failures;
	uint32_t waiting;	/* batches on their way to the store */
	uint32_t running;	/* effects under way */
};
struct deployer_stats deployer_stats(const struct deployer *d);

#endif
