/* Placement: filter the nodes, score what is left, break ties by node id. Reads the cluster and changes nothing, so that a
 * plan and an explanation are the same computation as a deploy. Same snapshot, same bytes. */
#ifndef TEMPS_SCHED_PLACEMENT_H
#define TEMPS_SCHED_PLACEMENT_H

#include "sched/app.h"

struct cluster;

enum strategy {
	STRATEGY_ROUND_ROBIN,  /* the next node id after the last one used */
	STRATEGY_SPREAD,       /* where the fewest replicas of the app are */
	STRATEGY_LEAST_LOADED, /* where the most is free */
	STRATEGY_BINPACK,      /* where the least is free that will do */
	STRATEGIES
};

#define STRATEGY_NAMES "round-robin, spread, least-loaded or binpack"

/* NULL is round-robin; -EINVAL: no such strategy. */
int strategy_parse(const char *name, enum strategy *out) MUST_CHECK;
const char *strategy_name(const struct app_spec *s);

enum refusal {
	NOT_REFUSED,
	REFUSED_STATE, /* its intent, liveness or role */
	REFUSED_NAME,  /* other nodes were asked for */
	REFUSED_LABEL,
	REFUSED_ARCHITECTURE,
	REFUSED_VOLUME, /* the app's volume lives elsewhere */
	REFUSED_AFFINITY,
	REFUSED_ANTI_AFFINITY,
	REFUSED_KEPT_AWAY, /* the anti-affinity of an app that runs there */
	REFUSED_CPU,
	REFUSED_MEMORY,
	REFUSED_DISK,
	REFUSED_GPU,
};

/* What speaks for a node; the sum decides. temps-deploy(1) has the points. */
struct score {
	int32_t strategy, affinity, image;
};

static inline int32_t score_sum(const struct score *s)
{
	return s->strategy + s->affinity + s->image;
}

/* One node's verdict: on one replica more than the plan put there. */
struct placement_verdict {
	const struct node *node;  /* borrowed */
	uint32_t index;		  /* among the plan's verdicts */
	uint8_t refused;	  /* enum refusal */
	uint8_t at;		  /* of which label or affinity */
	bool has_image;		  /* the app ran from this image there */
	uint32_t near;		  /* bit i: the app of affinity i runs there */
	const struct app *keeper; /* runs there and keeps away from the app, or NULL */
	uint32_t own;		  /* replicas of the release there, those of the plan included */
	uint32_t planned;	  /* those of the plan */
	struct promised promised; /* there, those of the plan included */
	struct score score;	  /* when not refused */
	uint64_t turn;		  /* breaks ties: the lowest first */
};

struct placement_choice {
	const struct node *node; /* borrowed */
	struct score score;
	uint32_t among; /* so many nodes could have had it */
};

struct placement {
	struct placement_choice *chosen; /* one per replica asked for, owned */
	uint32_t n;
	struct placement_verdict *verdicts; /* by node id, owned */
	uint32_t verdicts_n;
	uint32_t own;	/* replicas of the release, those of the plan included */
	int64_t cursor; /* where round-robin stands after it */
};

/* What several plans promise together before any of it is done: a row per node of the cluster, by id. Good as long as no
 * node comes or goes. */
struct placement_sheet {
	struct promised *rows; /* owned */
	uint32_t n;
};

struct placement_ask {
	const char *app; /* its name; it need not be there yet */
	const struct app_spec *spec;
	const struct release
		*release; /* of the app: its replicas count as the spec's own; NULL: a new one */
	const struct replica *without; /* of the app: taken for not there, or NULL */
	bool alone; /* replicas of the app's other releases are taken for not there: they end before, or meanwhile */
	const struct node *pin;	       /* where the app's volume lives, or NULL */
	struct placement_sheet *sheet; /* read, and written with what was placed; NULL: none */
	uint32_t n;		       /* replicas to place; 0: verdicts alone */
	int64_t cursor;		       /* the last node used; -1: none */
};

/* Fills <*out>, to be released with placement_fini() in either case. -ENOENT when no node may be used; <err> then names
 * each node and why. -ENOSPC when the nodes are used up part of the way. At most about 1 ms for 1,000 replicas over 1,000 nodes. */
int placement_plan(const struct cluster *c, const struct placement_ask *ask, struct placement *out,
		   struct err *err) MUST_CHECK;
void placement_fini(struct placement *p);

void placement_sheet_init(struct placement_sheet *s, const struct cluster *c);
void placement_sheet_fini(struct placement_sheet *s);

/* The verdict on its own node as if <r>, one of the release's, were not there: of a plan for no replicas. -ENOENT: that
 * node is not the cluster's any more. */
int placement_without(const struct cluster *c, const struct placement_ask *ask,
		      const struct placement *p, const struct replica *r,
		      struct placement_verdict *out) MUST_CHECK;
/* Where round-robin stands after the first <n> of a plan. */
int64_t placement_cursor(const struct placement_ask *ask, const struct placement *p, uint32_t n);

/* ---- in words (placement_say.c) ---- */

#define PLACEMENT_TEXT_MAX 160u

/* Why a node was refused; "" when it was not. <out> takes PLACEMENT_TEXT_MAX bytes. */
void placement_refusal(const struct placement_ask *ask, const struct placement_verdict *v,
		       char *out);
/* Why a node was chosen. */
void placement_reason(const struct placement_ask *ask, const struct placement_choice *choice,
		      char *out);
/* Why a node that might have it does not get the next one, as <best> does. */
void placement_why_not(const struct placement_ask *ask, const struct placement_verdict *v,
		       const struct placement_verdict *best, char *out);
/* The one that gets the next replica, or would if <but> (NULL is fine) did not; NULL: nobody. */
const struct placement_verdict *placement_best(const struct placement *p, const struct node *but);
/* Whether it is the name of one of the nodes that were looked at, which are all. */
bool placement_knows(const struct placement *p, const char *name);
/* Nodes and why they were refused, at most REFUSED_MAX; in memory of <b>. */
void placement_refused(struct batch *b, const struct placement_ask *ask, const struct placement *p,
		       struct pairs *out);
/* The sentence for a plan that failed with <rc>. */
int placement_short(const struct cluster *c, const struct placement_ask *ask,
		    const struct placement *p, struct err *err);

#endif
