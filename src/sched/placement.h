/* Placement: filter the nodes, then choose. Reads the cluster and changes nothing, so that a plan and an explanation are
 * the same computation as a deploy. Same snapshot, same bytes. */
#ifndef TEMPS_SCHED_PLACEMENT_H
#define TEMPS_SCHED_PLACEMENT_H

#include "sched/app.h"

struct cluster;

/* One node's verdict. */
struct placement_verdict {
	const struct node *node; /* borrowed */
	char refused[96];	 /* why not; "" when it may be used */
};

struct placement {
	const struct node **chosen; /* one per replica asked for; owned array of borrowed nodes */
	uint32_t n;
	struct placement_verdict *verdicts; /* by node id, owned */
	uint32_t verdicts_n;
	int64_t cursor; /* where round-robin stands after it */
};

struct placement_ask {
	const struct app_spec *spec;
	uint32_t n;		  /* replicas to place */
	int64_t cursor;		  /* the last node used; -1: none */
	const struct node *avoid; /* not this one, or NULL */
};

/* Fills <*out>, to be released with placement_fini() in either case. -ENOENT when no node may be used; <err> then names
 * each node and why. -ENOSPC when the requested resources run out part of the way. */
int placement_plan(const struct cluster *c, const struct placement_ask *ask, struct placement *out,
		   struct err *err) MUST_CHECK;
void placement_fini(struct placement *p);

#endif
