/* Strategies: what speaks for a node. All of it whole numbers, so that every machine counts alike. */
#include <errno.h>

#include "sched/placement_inner.h"

#define POINTS_WISH 200	     /* a soft affinity that is met; as much less for an anti-affinity */
#define POINTS_IMAGE 50	     /* the image is there already */
#define POINTS_OWN 100	     /* spread: a replica of the release */
#define POINTS_OTHERS_MAX 99 /* spread: all other replicas together weigh less than that */
#define SHARE_MAX 4000u	     /* thousandths: so far over its bounds a node is taken for */

/* A replica that asks for nothing uses something all the same, and a node that has not told what it has is a small one. */
#define NOMINAL_CPU_MILLIS 100u
#define NOMINAL_MEMORY_BYTES (128ull << 20)
#define UNTOLD_CPU_MILLIS 1000u
#define UNTOLD_MEMORY_BYTES (1ull << 30)

static const char *const names[STRATEGIES] = {
	[STRATEGY_ROUND_ROBIN] = "round-robin",
	[STRATEGY_SPREAD] = "spread",
	[STRATEGY_LEAST_LOADED] = "least-loaded",
	[STRATEGY_BINPACK] = "binpack",
};

int strategy_parse(const char *name, enum strategy *out)
{
	*out = STRATEGY_ROUND_ROBIN;
	if (!name)
		return 0;
	for (unsigned i = 0; i < STRATEGIES; i++) {
		if (strcmp(names[i], name) == 0) {
			*out = (enum strategy)i;
			return 0;
		}
	}
	return -EINVAL;
}

const char *strategy_name(const struct app_spec *s)
{
	return s->strategy ? s->strategy : names[STRATEGY_ROUND_ROBIN];
}

static uint32_t share(uint64_t part, uint64_t whole)
{
	uint64_t thousandths =
		whole >> 20 ? (part >> 10) * 1000 / (whole >> 10) : part * 1000 / whole;

	return (uint32_t)MIN(thousandths, SHARE_MAX);
}

/* What is promised of a node with one more replica there, in thousandths of the scarcer of processor and memory. */
static uint32_t promised_share(const struct planner *pl, const struct placement_verdict *v)
{
	const struct node_capacity *has = &v->node->capacity;
	const struct promised *p = &v->promised;
	uint64_t cpu = p->sum.cpu_millis + pl->want.cpu_millis;
	uint64_t memory = p->sum.memory_bytes + pl->want.memory_bytes;

	cpu += NOMINAL_CPU_MILLIS * (uint64_t)(p->no_cpu + !pl->want.cpu_millis);
	memory += NOMINAL_MEMORY_BYTES * (p->no_memory + !pl->want.memory_bytes);
	return MAX(share(cpu, has->cpu_millis ? has->cpu_millis : UNTOLD_CPU_MILLIS),
		   share(memory,
			 has->memory_total_bytes ? has->memory_total_bytes : UNTOLD_MEMORY_BYTES));
}

/* What its machine uses now, whoever does. */
static uint32_t used_share(const struct node *n)
{
	uint32_t cpu = (uint32_t)(n->capacity.cpu_percent * 10);
	uint32_t memory = n->capacity.memory_total_bytes ? share(n->capacity.memory_used_bytes,
								 n->capacity.memory_total_bytes)
							 : 0;

	return MAX(cpu, memory);
}

/* More is better, up to the brim. */
static int32_t packed(uint32_t thousandths)
{
	return thousandths <= 1000 ? (int32_t)thousandths : 2000 - (int32_t)thousandths;
}

static int32_t by_strategy(const struct planner *pl, const struct placement_verdict *v)
{
	switch (pl->strategy) {
	case STRATEGY_SPREAD:
		return -(int32_t)(POINTS_OWN * v->own +
				  MIN(v->promised.replicas - MIN(v->own, v->promised.replicas),
				      POINTS_OTHERS_MAX));
	case STRATEGY_LEAST_LOADED:
		return 1000 - (int32_t)(promised_share(pl, v) + used_share(v->node)) / 2;
	case STRATEGY_BINPACK: return packed(promised_share(pl, v));
	default: return 0;
	}
}

static int32_t by_wishes(const struct planner *pl, const struct placement_verdict *v)
{
	int32_t points = 0;

	for (uint32_t i = 0; i < pl->rules_n; i++) {
		if (pl->rules[i].to.soft && rule_met(pl, i, v))
			points += pl->rules[i].away ? -POINTS_WISH : POINTS_WISH;
	}
	return points;
}

/* Of two nodes with as many points: in turn, the one that the plan used less, the lower id. */
static uint64_t turn_of(const struct planner *pl, const struct placement_verdict *v)
{
	uint64_t at = v->index, nodes = pl->p->verdicts_n;

	switch (pl->strategy) {
	case STRATEGY_ROUND_ROBIN:
		return at + (v->node->id > pl->ask->cursor ? 0 : nodes) + nodes * v->planned;
	case STRATEGY_LEAST_LOADED: return at + nodes * v->planned;
	default: return at;
	}
}

void score_set(const struct planner *pl, struct placement_verdict *v)
{
	v->score.strategy = by_strategy(pl, v);
	v->score.affinity = by_wishes(pl, v);
	/* In turn means in turn: an image that is there must not draw all of them to it. */
	v->score.image = v->has_image && pl->strategy != STRATEGY_ROUND_ROBIN ? POINTS_IMAGE : 0;
	v->turn = turn_of(pl, v);
}
