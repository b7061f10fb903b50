/* A plan under way, for the files of placement alone. */
#ifndef TEMPS_SCHED_PLACEMENT_INNER_H
#define TEMPS_SCHED_PLACEMENT_INNER_H

#include "sched/affinity.h"
#include "sched/placement.h"

/* An affinity of the spec. */
struct rule {
	struct affinity to;
	bool away; /* anti-affinity */
	bool self; /* to the app itself: replicas of the same release count */
};

#define RULES_MAX (2 * SPEC_AFFINITIES_MAX) /* bits of placement_verdict.near */

struct planner {
	const struct cluster *c;
	const struct placement_ask *ask;
	struct placement *p;
	enum strategy strategy;
	struct resources want; /* of one replica */
	struct rule rules[RULES_MAX];
	uint32_t rules_n;
	uint32_t own;	/* replicas of the release, the plan's included */
	bool together;	/* all of them on one node */
	uint32_t *heap; /* verdicts that are not refused, the next one first */
	uint32_t heap_n;
};

/* Whether rule <i> is met by <v>'s node, whatever that means for it. */
bool rule_met(const struct planner *pl, uint32_t i, const struct placement_verdict *v);

/* score.c: points and turn of one more replica on <v>'s node. */
void score_set(const struct planner *pl, struct placement_verdict *v);
/* Who comes first: more points, then the lower turn. */
static inline bool score_before(const struct placement_verdict *a,
				const struct placement_verdict *b)
{
	int32_t x = score_sum(&a->score), y = score_sum(&b->score);

	return x != y ? x > y : a->turn < b->turn;
}

#endif
