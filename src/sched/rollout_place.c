/* Placing what a release lacks: a node, a number and an address for each replica. Many of them come in slices, a step each, so
 * that no step takes long: what is left is planned again then, by what there is then. */
#include <errno.h>
#include <inttypes.h>

#include "sched/state.h"

/* A replica of <rel> on <n> with its address, all of it to be stored before anything is asked of the node. NULL when the node
 * has no address left. */
static struct replica *place_one(struct cluster *c, struct release *rel,
				 const struct placement_ask *ask,
				 const struct placement_choice *choice)
{
	struct node *n = cluster_find_node(c, choice->node->id);
	struct app *a = rel->app;
	struct address_pool *pool = rel->spec.port ? n->pool : NULL;
	struct resources want = spec_resources(&rel->spec);
	char why[PLACEMENT_TEXT_MAX];
	struct replica *r;
	uint32_t slot = 0;

	if (pool && address_take(pool, &slot))
		return NULL;
	r = replica_create(c, a, rel, n, a->next_replica++);
	if (pool) {
		r->pool = pool;
		r->slot = slot;
		r->published = !pool->network;
		r->port = rel->spec.port;
		address_text(pool, slot, r->ip, &r->port);
	}
	promise_make(r, &want);
	r->score = score_sum(&choice->score);
	placement_reason(ask, choice, why);
	text_replace(&r->placed, why);
	replica_dirty(c, r);
	app_dirty(c, a);
	return r;
}

static bool no_address(const struct cluster *c, const struct node *n, struct err *err)
{
	err_say(err, -ENOSPC, "node %s has no free address: they rest %u min after use", n->name,
		c->config.address_rest_ms / 60000);
	return false;
}

bool rollout_can_place(const struct cluster *c, const struct app_spec *s,
		       const struct placement *plan, struct err *err)
{
	if (c->replicas_n + plan->n > REPLICAS_MAX) {
		err_say(err, -ENOSPC, "there are %u replicas already, %u is the most",
			c->replicas_n, REPLICAS_MAX);
		return false;
	}
	for (uint32_t i = 0; s->port && i < plan->verdicts_n; i++) {
		const struct placement_verdict *v = &plan->verdicts[i];
		const struct address_pool *pool = v->planned ? v->node->pool : NULL;

		if (pool && pool->n - pool->taken_n < v->planned)
			return no_address(c, v->node, err);
	}
	return true;
}

bool rollout_place_plan(struct cluster *c, struct release *rel, const struct placement_ask *ask,
			const struct placement *plan, struct err *err)
{
	uint32_t n = MIN(plan->n, c->config.place_slice);

	for (uint32_t i = 0; i < n; i++) {
		if (c->replicas_n >= REPLICAS_MAX) {
			err_say(err, -ENOSPC, "there are %u replicas already", REPLICAS_MAX);
			return false;
		}
		if (!place_one(c, rel, ask, &plan->chosen[i]))
			return no_address(c, plan->chosen[i].node, err);
	}
	if (n)
		rel->cursor = placement_cursor(ask, plan, n);
	if (n < plan->n)
		timer_set(&c->timers, &rel->app->place_timer, c->now.mono_ms);
	return true;
}

void rollout_wait_for_nodes(struct cluster *c, struct app *a)
{
	if (list_empty(&a->unsettled_link))
		list_push_back(&c->unsettled, &a->unsettled_link);
}

/* Apps that wait to be where another one is look again: that one may be there now. */
static void call_followers(struct cluster *c)
{
	LIST_FOR_EACH_SAFE(a, &c->unsettled, struct app, unsettled_link) {
		const struct release *rel = a->rolling ? a->rolling : a->current;

		if (!rel || !rel->spec.affinity.n)
			continue;
		list_remove(&a->unsettled_link);
		cluster_touch(c, a);
	}
}

bool rollout_place_missing(struct cluster *c, struct release *rel, uint32_t missing, bool moving)
{
	struct placement_ask ask = { .app = rel->app->name,
				     .spec = &rel->spec,
				     .release = rel,
				     .n = missing,
				     .cursor = rel->cursor };
	struct placement plan = { 0 };
	struct err err = { 0 };
	bool more = false;
	int rc;

	if (timer_is_set(&rel->app->place_timer))
		return true;
	rc = rollout_place_ask(c, rel->app, &ask, &err);
	if (!rc)
		rc = placement_plan(c, &ask, &plan, &err);
	if (plan.n) {
		more = rollout_place_plan(c, rel, &ask, &plan, &err);
		if (!more)
			rc = -ENOSPC;
		release_dirty(c, rel);
		call_followers(c);
	}
	if (rc)
		rollout_wait_for_nodes(c, rel->app);
	if (rc && !rel->app->short_told) {
		rel->app->short_told = true;
		cluster_tell(c, moving ? "MoveWaits" : "ReplicasShort", rel->app->name,
			     moving ? "replicas of app %s cannot leave their node: %s"
				    : "app %s lacks replicas: %s",
			     rel->app->name, err.text);
	}
	placement_fini(&plan);
	return more;
}

int rollout_place_ask(const struct cluster *c, const struct app *a, struct placement_ask *ask, struct err *err)
{
	if (!a)
		return 0;
	if (ask->spec->volumes.n && a->volume_node >= 0) {
		ask->pin = cluster_node(c, a->volume_node);
		if (!ask->pin && !a->deleted)
			return err_say(err, -ENOENT,
				       "the node with the volumes of app %s was removed: `temps rm %s` gives them up",
				       a->name, a->name);
	}
	/* What it needs comes from those that end before. */
	ask->alone = spec_is_stop_first(ask->spec) && !a->deleted;
	return 0;
}

int rollout_placement(const struct cluster *c, const struct app *a, struct placement_ask *ask,
		      uint32_t want, struct placement *out, struct err *err)
{
	struct placement_ask whole = *ask;

	if (rollout_goes_in_waves(a, ask->spec)) {
		whole.n = want;
		whole.alone = true;
		if (placement_plan(c, &whole, out, err)) {
			*ask = whole;
			return -ENOENT;
		}
		placement_fini(out);
	}
	return placement_plan(c, ask, out, err);
}

struct replica *rollout_place_hook(struct cluster *c, const struct replica *near)
{
	struct app *a = near->app;
	struct replica *r = replica_create(c, a, near->release, near->node, a->next_replica++);

	r->hook = true;
	r->has_image = true;
	replica_dirty(c, r);
	app_dirty(c, a);
	return r;
}

/* Whether <o>, which is not gone, keeps <r> from starting. */
static bool is_in_the_way(const struct replica *o, const struct replica *r)
{
	if (o == r || o->hook || o->state == REPLICA_GONE || !o->maybe_created)
		return false;
	if (r->release->spec.volumes.n && (!o->release || o->release->spec.volumes.n))
		return true;
	return o->release != r->release && !o->node->offline;
}

bool rollout_may_start(const struct replica *r)
{
	if (r->hook)
		return true;
	if (rollout_hook_is_due(r->release))
		return false;
	if (!spec_is_stop_first(&r->release->spec))
		return true;
	LIST_FOR_EACH(o, &r->app->replicas, struct replica, link) {
		if (is_in_the_way(o, r))
			return false;
	}
	return true;
}

int rollout_place_on(struct cluster *c, struct release *rel, const struct node *n, struct err *err)
{
	struct app_spec spec = rel->spec;
	const char *name = n->name;
	struct placement_ask ask = { .app = rel->app->name,
				     .spec = &spec,
				     .release = rel,
				     .n = 1,
				     .cursor = rel->cursor };
	struct placement plan = { 0 };
	int rc;

	spec.nodes = (struct strs){ &name, 1 };
	rc = rollout_place_ask(c, rel->app, &ask, err);
	if (!rc)
		rc = placement_plan(c, &ask, &plan, err);
	if (!rc && !rollout_place_plan(c, rel, &ask, &plan, err))
		rc = -ENOSPC;
	placement_fini(&plan);
	return rc;
}
