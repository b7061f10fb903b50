/* API, placement before and after the fact: what a deploy or a scale would do, and why replicas are where they are. */
#include <stdio.h>
#include <stdlib.h>

#include "control/api.h"
#include "control/deployer.h"
#include "control/explain.h"
#include "control/pieces.h"
#include "control/spec_diff.h"
#include "sched/plan.h"

#define REPLICAS_PIECE 50u /* looked at in one go; with a thousand nodes to look at about 0.2 ms */
#define NODES_PIECE 100u

static void put_parts(struct json_out *o, const struct score *s)
{
	json_put_int(o, "score", score_sum(s));
	json_obj(o, "parts");
	json_put_int(o, "strategy", s->strategy);
	json_put_int(o, "affinity", s->affinity);
	json_put_int(o, "image", s->image);
	json_obj_end(o);
}

static void put_text(struct json_out *o, const char *name, const char *text)
{
	json_put_str(o, name, *text ? text : NULL);
}

static void put_asked(struct json_out *o, const struct app_spec *s)
{
	json_put_str(o, "strategy", strategy_name(s));
	json_obj(o, "asks");
	json_put_real(o, "cpus", s->cpu_millis / 1000.0);
	json_put_int(o, "memory_bytes", (int64_t)s->memory_bytes);
	json_put_int(o, "disk_bytes", (int64_t)s->disk_bytes);
	json_put_int(o, "gpus", s->gpus);
	json_obj_end(o);
}

/* What would become of one replica more there. */
static void put_verdict(struct json_out *o, const struct placement_ask *ask,
			const struct placement_verdict *v, const struct placement_verdict *best)
{
	char why[PLACEMENT_TEXT_MAX];

	placement_why_not(ask, v, best, why);
	json_obj(o, NULL);
	json_put_str(o, "node", v->node->name);
	json_put_int(o, "node_id", v->node->id);
	json_put_bool(o, "fits", !v->refused);
	put_text(o, "why_not", why);
	json_put_int(o, "replicas", v->own);
	if (!v->refused)
		put_parts(o, &v->score);
	json_obj_end(o);
}

/* ---- plan ---- */

static void put_starts(struct json_out *o, const struct plan *p)
{
	char why[PLACEMENT_TEXT_MAX];

	json_arr(o, "start");
	for (uint32_t i = 0; i < p->placement.n; i++) {
		const struct placement_choice *c = &p->placement.chosen[i];

		placement_reason(&p->ask, c, why);
		json_obj(o, NULL);
		json_put_str(o, "node", c->node->name);
		json_put_int(o, "node_id", c->node->id);
		json_put_str(o, "reason", why);
		put_parts(o, &c->score);
		json_obj_end(o);
	}
	json_arr_end(o);
}

static void put_stops(struct json_out *o, const struct plan *p)
{
	json_arr(o, "stop");
	for (uint32_t i = 0; i < p->stops_n; i++) {
		const struct replica *r = p->stops[i].replica;

		json_obj(o, NULL);
		json_put_str(o, "name", r->name);
		json_put_int(o, "replica", r->n);
		json_put_int(o, "release", r->release_n);
		json_put_str(o, "node", r->node->name);
		json_put_str(o, "reason", p->stops[i].why);
		json_obj_end(o);
	}
	json_arr_end(o);
}

static void put_others(struct json_out *o, const struct plan *p)
{
	const struct placement_verdict *best = placement_best(&p->placement, NULL);

	json_arr(o, "nodes");
	for (uint32_t i = 0; i < MIN(p->placement.verdicts_n, REFUSED_MAX); i++)
		put_verdict(o, &p->ask, &p->placement.verdicts[i], best);
	json_arr_end(o);
}

static void put_refused(struct json_out *o, const void *arg)
{
	const struct plan *p = arg;
	const struct strs *asked = &p->ask.spec->nodes;
	char why[PLACEMENT_TEXT_MAX];
	uint32_t n = 0;

	json_arr(o, "nodes");
	for (size_t i = 0; i < asked->n; i++) {
		if (placement_knows(&p->placement, asked->items[i]))
			continue;
		json_obj(o, NULL);
		json_put_str(o, "node", asked->items[i]);
		json_put_str(o, "reason", "no such node");
		json_obj_end(o);
	}
	for (uint32_t i = 0; i < p->placement.verdicts_n && n < REFUSED_MAX; i++) {
		placement_refusal(&p->ask, &p->placement.verdicts[i], why);
		if (!*why)
			continue;
		json_obj(o, NULL);
		json_put_str(o, "node", p->placement.verdicts[i].node->name);
		json_put_str(o, "reason", why);
		json_obj_end(o);
		n++;
	}
	json_arr_end(o);
}

/* The answer but its end; false when it was a refusal. */
static bool begin_plan(struct api_request *r, const char *app, const struct plan *p, struct api_answer *a)
{
	bool unplaceable = p->kind == REPLY_UNPLACEABLE;

	if (p->kind != REPLY_OK && p->kind != REPLY_CREATED) {
		reply_problem_with(r, api_refusal_status(p->kind), api_refusal_title(p->kind), p->err.text,
				   unplaceable ? put_refused : NULL, p);
		return false;
	}
	api_answer_begin(a);
	json_put_str(&a->o, "app", app);
	json_put_int(&a->o, "release", p->release);
	json_put_bool(&a->o, "unchanged", p->kind == REPLY_OK);
	if (p->ask.spec)
		put_asked(&a->o, p->ask.spec);
	put_starts(&a->o, p);
	put_stops(&a->o, p);
	put_others(&a->o, p);
	return true;
}

/* Against the release under way, or else the current one. */
static void put_changes(struct json_out *o, const struct app *a, const struct app_spec *spec, const char *image_id)
{
	const struct release *rel = a ? a->rolling ? a->rolling : a->current : NULL;

	json_put_bool(o, "new", !a);
	json_put_bool(o, "image_moved", rel && release_has_moved(rel, image_id));
	spec_diff_put(rel ? &rel->spec : NULL, spec, o);
}

void explain_deploy(struct api_request *r, const char *app, const struct app_spec *spec, const char *image_id)
{
	const struct control *c = r->app;
	const struct cluster *cluster = deployer_cluster(c->deployer);
	struct api_answer a;
	struct plan p;

	plan_deploy(cluster, app, spec, image_id, &p);
	if (begin_plan(r, app, &p, &a)) {
		put_changes(&a.o, cluster_app(cluster, app), spec, image_id);
		api_answer_send(&a, r, 200);
	}
	plan_fini(&p);
}

void explain_scale(struct api_request *r, const struct app *app, uint32_t replicas)
{
	const struct control *c = r->app;
	struct api_answer a;
	struct plan p;

	plan_scale(deployer_cluster(c->deployer), app, replicas, &p);
	if (begin_plan(r, app->name, &p, &a))
		api_answer_send(&a, r, 200);
	plan_fini(&p);
}

/* ---- explain ---- */

/* An answer under way. The cluster may change between its pieces: each is true when it is made. */
struct explain {
	struct pieces pieces; /* first */
	struct json_out o;
	const struct control *control;
	char app[APP_NAME_MAX + 1];
	uint32_t release;
	uint32_t after_replica;
	int64_t after_node;
	void (*part)(struct explain *e); /* NULL: all is said */
};

/* The release that is spoken of; NULL: it has gone meanwhile. */
static const struct release *find_release(const struct explain *e)
{
	const struct app *a = cluster_app(deployer_cluster(e->control->deployer), e->app);

	return a ? app_release(a, e->release) : NULL;
}

/* Every node's verdict; the caller's to placement_fini(). */
static void look(const struct explain *e, const struct release *rel, struct placement_ask *ask,
		 struct placement *p)
{
	plan_more(deployer_cluster(e->control->deployer), rel, ask);
	/* Nothing is placed, so nothing can be short. */
	(void)!placement_plan(deployer_cluster(e->control->deployer), ask, p, NULL);
}

static void put_nodes(struct explain *e)
{
	const struct release *rel = find_release(e);
	const struct placement_verdict *best;
	struct placement_ask ask;
	struct placement p;
	uint32_t n = 0;

	if (rel) {
		look(e, rel, &ask, &p);
		best = placement_best(&p, NULL);
		for (uint32_t i = 0; i < p.verdicts_n && n < NODES_PIECE; i++) {
			if (p.verdicts[i].node->id <= e->after_node)
				continue;
			put_verdict(&e->o, &ask, &p.verdicts[i], best);
			e->after_node = p.verdicts[i].node->id;
			n++;
		}
		placement_fini(&p);
	}
	if (n == NODES_PIECE)
		return;
	json_arr_end(&e->o);
	json_obj_end(&e->o);
	e->part = NULL;
}

/* The same choice again, without the replica itself in the way. */
static void put_now(struct explain *e, const struct placement_ask *ask, const struct placement *p,
		    const struct replica *r)
{
	const struct placement_verdict *other = placement_best(p, r->node);
	char why[PLACEMENT_TEXT_MAX] = "its node was removed";
	struct placement_verdict v;
	bool fits = false, better = false;

	if (!placement_without(deployer_cluster(e->control->deployer), ask, p, r, &v)) {
		placement_refusal(ask, &v, why);
		fits = !v.refused;
		better = other && (v.refused || score_sum(&other->score) > score_sum(&v.score));
	}
	json_obj(&e->o, "now");
	json_put_bool(&e->o, "fits", fits);
	put_text(&e->o, "why_not", why);
	if (fits)
		put_parts(&e->o, &v.score);
	json_put_str(&e->o, "better", better ? other->node->name : NULL);
	json_obj_end(&e->o);
}

static void put_replica(struct explain *e, const struct placement_ask *ask,
			const struct placement *p, const struct replica *r)
{
	json_obj(&e->o, NULL);
	json_put_str(&e->o, "name", r->name);
	json_put_int(&e->o, "replica", r->n);
	json_put_str(&e->o, "node", r->node->name);
	json_put_int(&e->o, "node_id", r->node->id);
	json_put_int(&e->o, "score", r->score);
	put_text(&e->o, "reason", r->placed);
	put_now(e, ask, p, r);
	json_obj_end(&e->o);
}

static void put_replicas(struct explain *e)
{
	const struct release *rel = find_release(e);
	struct placement_ask ask;
	struct placement p;
	uint32_t n = 0;

	if (rel) {
		look(e, rel, &ask, &p);
		LIST_FOR_EACH(r, &rel->app->replicas, struct replica, link) {
			if (r->n <= e->after_replica || r->release != rel ||
			    r->state > REPLICA_READY || r->hook)
				continue;
			if (n++ == REPLICAS_PIECE)
				break;
			put_replica(e, &ask, &p, r);
			e->after_replica = r->n;
		}
		placement_fini(&p);
	}
	if (n > REPLICAS_PIECE)
		return;
	json_arr_end(&e->o);
	json_arr(&e->o, "nodes");
	e->part = put_nodes;
}

static void put_head(struct explain *e)
{
	const struct release *rel = find_release(e);

	json_obj(&e->o, NULL);
	json_put_str(&e->o, "app", e->app);
	json_put_int(&e->o, "release", e->release);
	if (rel) {
		json_put_int(&e->o, "want", rel->spec.replicas);
		put_asked(&e->o, &rel->spec);
		strs_put(&rel->spec.affinity, &e->o, "affinity");
		strs_put(&rel->spec.anti_affinity, &e->o, "anti_affinity");
	}
	json_arr(&e->o, "replicas");
	e->part = put_replicas;
}

static bool more(void *arg)
{
	struct explain *e = arg;

	if (!e->part)
		return false;
	e->part(e);
	return true;
}

static void on_closed(void *state)
{
	struct explain *e = state;

	pieces_fini(&e->pieces);
	free(e);
}

void explain_app(struct api_request *r, const struct app *app)
{
	const struct release *rel = app->rolling ? app->rolling : app->current;
	struct explain *e;

	if (!rel) {
		reply_problem(
			r, 409, "Nothing Placed",
			"the app has no release that runs or is being rolled out; `temps releases` says why");
		return;
	}
	e = xcalloc(1, sizeof(*e));
	e->control = r->app;
	e->release = rel->n;
	e->after_node = -1;
	e->part = put_head;
	snprintf(e->app, sizeof(e->app), "%s", app->name);
	pieces_init(&e->pieces, r, more, e);
	json_out_init(&e->o, &e->pieces.out);
	r->state = e;
	r->closed = on_closed;
	pieces_answer(&e->pieces, "application/json");
}
