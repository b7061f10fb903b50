/* Moves: a replica leaves its node when its successor carries traffic, never before. A plan that evens out what nodes
 * run, for people to look at first; EVENT_REBALANCE has it made. Drained nodes use the same way out. */
#ifndef TEMPS_SCHED_MOVE_H
#define TEMPS_SCHED_MOVE_H

#include "sched/app.h"

#define MOVES_MAX 20u /* of one plan */

struct cluster;

struct move {
	const struct replica *replica; /* borrowed, like the node; good until the next step */
	const struct node *to;
	char reason[160];
};

struct move_plan {
	struct move moves[MOVES_MAX];
	uint32_t n;
	bool more; /* what is left uneven may need another plan */
};

/* Which replicas to move where, so that each app's are spread over the nodes that may have them, and nodes run about
 * as many: a move makes a difference of two or more between two nodes smaller. Apps that are being deployed, lack
 * replicas, have volumes or ask to be packed are left alone. Looks at 200 uneven apps at most. */
void move_plan(const struct cluster *c, struct move_plan *out);

/* Its volumes are where it is, and do not move. */
bool move_is_bound(const struct replica *r);

/* Why the successor of <r> can be placed nowhere; 0: it can. -ENOENT, -ENOSPC. */
int move_blocked(const struct cluster *c, const struct replica *r, struct err *err) MUST_CHECK;

#endif
