/* Replicas that leave their nodes: who does, when they may go, and the plan of a rebalance. */
#include "sched/move.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "sched/state.h"

#define LOOKS_MAX 200u /* placements that one plan may ask for: each looks at every node */

bool move_leaves(const struct replica *r)
{
	return r->leaving || r->node->intent == NODE_DRAINING || r->node->intent == NODE_DRAINED;
}

bool move_is_bound(const struct replica *r)
{
	return r->release && r->release->spec.volumes.n;
}

bool move_is_solid(const struct replica *r)
{
	return r->state == REPLICA_READY && (r->routed || !r->port) && !r->node->offline &&
	       !r->node->suspect && r->node->link_state == LINK_UP;
}

uint32_t move_cancel(struct cluster *c, struct app *a, uint32_t n)
{
	uint32_t stay = 0;

	LIST_FOR_EACH(r, &a->replicas, struct replica, link) {
		if (stay == n)
			break;
		if (!r->leaving || r->release != a->current || r->state != REPLICA_READY || r->away)
			continue;
		r->leaving = false;
		replica_dirty(c, r);
		if (move_leaves(r))
			continue;
		stay++;
		cluster_tell(c, "MoveCancelled", r->name,
			     "replica %" PRIu32 " of app %s stays on node %s: its successor is not there",
			     r->n, a->name, r->node->name);
	}
	return stay;
}

void move_on(struct cluster *c, struct app *a, uint32_t solid, uint32_t want)
{
	char why[96];

	LIST_FOR_EACH_SAFE(r, &a->replicas, struct replica, link) {
		bool is_solid = move_is_solid(r);

		if (r->release != a->current || !replica_is_live(r) || r->away || !move_leaves(r))
			continue;
		/* One that carries nothing may yet come back, unless it keeps crashing. */
		if (is_solid ? solid <= want : solid < want && (r->routed || !r->degraded))
			continue;
		solid -= is_solid;
		snprintf(why, sizeof(why), r->leaving ? "moved away from node %s" :
						       "node %s is drained",
			 r->node->name);
		replica_retire(c, r, why);
	}
}

int move_blocked(const struct cluster *c, const struct replica *r, struct err *err)
{
	struct placement_ask ask = { .app = r->app->name,
				     .spec = &r->release->spec,
				     .release = r->release,
				     .without = r,
				     .n = 1,
				     .cursor = r->release->cursor };
	struct placement plan = { 0 };
	int rc = rollout_place_ask(c, r->app, &ask, err);

	if (!rc)
		rc = placement_plan(c, &ask, &plan, err);

	placement_fini(&plan);
	return rc;
}

/* ---- a person's orders ---- */

static bool may_move(const struct replica *r)
{
	return r->state == REPLICA_READY && r->app->current && r->release == r->app->current &&
	       !r->app->rolling && !r->away && !move_leaves(r);
}

static int begin(struct cluster *c, const struct move_order *o, struct err *err)
{
	struct replica *r = replica_find(c, o->app, o->replica);
	struct node *to = cluster_find_node(c, o->to);
	int rc;

	if (!r || !may_move(r))
		return err_say(err, -ENOENT, "replica %" PRIu32 " of %.60s is not there to be moved",
			       o->replica, o->app);
	if (!to || to == r->node)
		return err_say(err, -ENOENT, "node %" PRId64 " is none to move it to", o->to);
	rc = rollout_place_on(c, r->release, to, err);
	if (rc)
		return rc;
	r->leaving = true;
	replica_dirty(c, r);
	cluster_touch(c, r->app);
	cluster_tell(c, "ReplicaMoving", r->name, "replica %" PRIu32 " of app %s moves from %s to %s",
		     r->n, r->app->name, r->node->name, to->name);
	return 0;
}

void move_ordered(struct cluster *c, const struct event_rebalance *e)
{
	struct err err = { 0 }, first = { 0 };
	size_t begun = 0;

	for (size_t i = 0; i < e->moves_n; i++) {
		if (!begin(c, &e->moves[i], &err))
			begun++;
		else if (!first.text[0])
			first = err;
	}
	if (begun || !e->moves_n)
		cluster_reply(c, e->reply, REPLY_OK, "", "%zu of %zu replica%s move%s%.300s", begun,
			      e->moves_n, e->moves_n == 1 ? "" : "s", first.text[0] ? "; " : "",
			      first.text);
	else
		cluster_reply(c, e->reply, REPLY_CONFLICT, "Nothing Moves",
			      "the cluster is not what the plan was made for: %.300s; ask for a new plan",
			      first.text);
}

/* ---- the plan ---- */

struct seat {
	const struct node *node;
	uint32_t load; /* replicas there, the plan's moves made */
	uint32_t own;  /* of the app that is looked at */
	bool takes;    /* one more of it */
};

struct planner {
	const struct cluster *c;
	struct move_plan *out;
	struct seat *seats; /* by node id */
	uint32_t n, looks;
};

static struct seat *seat_of(struct planner *p, const struct node *n)
{
	for (uint32_t i = 0; i < p->n; i++) {
		if (p->seats[i].node == n)
			return &p->seats[i];
	}
	return NULL;
}

static bool is_settled(const struct app *a)
{
	const char *strategy = a->current ? a->current->spec.strategy : NULL;
	uint32_t solid = 0;

	if (!a->current || a->rolling || a->current->spec.volumes.n ||
	    (strategy && strcmp(strategy, "binpack") == 0))
		return false;
	LIST_FOR_EACH(r, &a->replicas, struct replica, link) {
		if (replica_is_live(r) && (r->away || move_leaves(r)))
			return false;
		solid += r->release == a->current && move_is_solid(r);
	}
	return solid == a->current->spec.replicas;
}

static void count_own(struct planner *p, const struct app *a)
{
	for (uint32_t i = 0; i < p->n; i++) {
		p->seats[i].own = 0;
		p->seats[i].takes = node_eligible(p->seats[i].node, NULL);
	}
	LIST_FOR_EACH(r, &a->replicas, struct replica, link) {
		if (replica_is_live(r))
			seat_of(p, r->node)->own++;
	}
}

/* Which nodes would take one more. */
static void ask(struct planner *p, const struct app *a)
{
	struct placement_ask none = { .app = a->name,
				      .spec = &a->current->spec,
				      .release = a->current,
				      .cursor = -1 };
	struct placement plan;
	struct err err;

	p->looks++;
	(void)!placement_plan(p->c, &none, &plan, &err);
	for (uint32_t i = 0; i < plan.verdicts_n; i++)
		p->seats[i].takes = plan.verdicts[i].refused == NOT_REFUSED;
	placement_fini(&plan);
}

/* The fuller of two seats: by what the app has there, then by all. */
static bool is_fuller(const struct seat *a, const struct seat *b)
{
	return a->own != b->own ? a->own > b->own : a->load > b->load;
}

static bool is_worth_it(const struct seat *from, const struct seat *to)
{
	if (from->own >= to->own + 2)
		return true;
	return from->own > to->own && from->load >= to->load + 2;
}

/* The replica of <a> on <n> that was placed last and is not in the plan yet. */
static const struct replica *pick(const struct planner *p, const struct app *a, const struct node *n)
{
	for (const struct list *l = a->replicas.prev; l != &a->replicas; l = l->prev) {
		const struct replica *r = LIST_ENTRY(l, struct replica, link);
		bool planned = false;

		for (uint32_t i = 0; i < p->out->n; i++)
			planned |= p->out->moves[i].replica == r;
		if (r->node == n && may_move(r) && !planned)
			return r;
	}
	return NULL;
}

static void add(struct planner *p, const struct replica *r, struct seat *from, struct seat *to)
{
	struct move *m = &p->out->moves[p->out->n++];

	m->replica = r;
	m->to = to->node;
	if (from->own >= to->own + 2)
		snprintf(m->reason, sizeof(m->reason), "%u of its replicas are on %.48s, %u on %.48s",
			 from->own, from->node->name, to->own, to->node->name);
	else
		snprintf(m->reason, sizeof(m->reason), "%.48s runs %u replicas, %.48s %u",
			 from->node->name, from->load, to->node->name, to->load);
	from->own--, from->load--;
	to->own++, to->load++;
}

/* Between which two a move evens out most; false: none would. */
static bool is_uneven(const struct planner *p, struct seat **from, struct seat **to)
{
	*from = *to = NULL;
	for (uint32_t i = 0; i < p->n; i++) {
		struct seat *s = &p->seats[i];

		if (s->own && (!*from || is_fuller(s, *from)))
			*from = s;
		if (s->takes && (!*to || is_fuller(*to, s)))
			*to = s;
	}
	return *from && *to && is_worth_it(*from, *to);
}

static void plan_app(struct planner *p, const struct app *a)
{
	const struct replica *r;
	struct seat *from, *to;

	count_own(p, a);
	if (!is_uneven(p, &from, &to))
		return;
	ask(p, a);
	while (p->out->n < MOVES_MAX && is_uneven(p, &from, &to) && (r = pick(p, a, from->node)))
		add(p, r, from, to);
}

void move_plan(const struct cluster *c, struct move_plan *out)
{
	struct planner p = { .c = c, .out = out };

	out->n = 0;
	out->more = false;
	p.seats = xcalloc(map_count(&c->nodes_by_id), sizeof(*p.seats));
	LIST_FOR_EACH(n, &c->nodes, struct node, link) {
		struct seat *s = &p.seats[p.n++];

		s->node = n;
		LIST_FOR_EACH(r, &n->replicas, struct replica, node_link)
			s->load += replica_is_live(r);
	}
	LIST_FOR_EACH(a, &c->apps, struct app, link) {
		if (!is_settled(a))
			continue;
		if (out->n == MOVES_MAX || p.looks == LOOKS_MAX) {
			out->more = true;
			break;
		}
		plan_app(&p, a);
	}
	free(p.seats);
}
