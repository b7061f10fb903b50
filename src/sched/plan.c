/* Plans of commands. */
#include "sched/plan.h"

#include <errno.h>
#include <stdlib.h>

#include "base/text.h"
#include "sched/state.h"

static void stop(struct plan *p, const struct replica *r, const char *why)
{
	p->stops = xrealloc(p->stops, (p->stops_n + 1) * sizeof(*p->stops));
	p->stops[p->stops_n++] = (struct plan_stop){ r, why };
}

static bool is_present(const struct replica *r, const struct release *rel)
{
	return r->release == rel && replica_is_live(r) && !r->away && !r->hook;
}

static void place(const struct cluster *c, struct plan *p)
{
	const struct app *a = map_get(&c->apps_by_name, slice_str(p->ask.app));

	if (rollout_place_ask(c, a, &p->ask, &p->err) ||
	    placement_plan(c, &p->ask, &p->placement, &p->err))
		p->kind = REPLY_UNPLACEABLE;
	else if (!rollout_can_place(c, p->ask.spec, &p->placement, &p->err))
		p->kind = REPLY_LIMIT;
}

/* The first wave as the deploy places it, beside what is there; then all of it, as if that was gone where it goes meanwhile. */
static void place_deploy(const struct cluster *c, const struct app *a, struct plan *p)
{
	bool waves = rollout_goes_in_waves(a, p->ask.spec);
	uint32_t want = p->ask.n;

	p->ask.n = MIN(want, MAX(rollout_room(a, p->ask.spec), 1u));
	if (rollout_place_ask(c, a, &p->ask, &p->err) ||
	    (waves && rollout_placement(c, a, &p->ask, want, &p->placement, &p->err))) {
		p->kind = REPLY_UNPLACEABLE;
		return;
	}
	placement_fini(&p->placement);
	p->ask.n = want;
	p->ask.alone |= waves;
	place(c, p);
}

/* The containers of the release under way, or else of the last one, would be the same. */
static bool is_there(const struct app *a, const struct app_spec *spec, const char *image_id,
		     uint32_t *release)
{
	const struct release *rel = a ? a->rolling ? a->rolling : a->current : NULL;
	char hash[SPEC_HASH_LEN + 1];

	if (!rel)
		return false;
	spec_hash(spec, hash);
	if (strcmp(hash, rel->spec_hash) != 0 || release_has_moved(rel, image_id))
		return false;
	*release = rel->n;
	return true;
}

static void stop_others(struct plan *p, const struct app *a, const struct app_spec *spec)
{
	const char *when = spec_is_stop_first(spec) ? "before the new release starts"
						    : "when the new release has taken over";

	LIST_FOR_EACH(r, &a->replicas, struct replica, link) {
		if (replica_is_live(r) && !r->hook)
			stop(p, r,
			     r->release == a->rolling ? "the new release takes its place at once"
						      : when);
	}
}

/* Only what carries traffic changes, or nothing at all. */
static bool is_locked(const struct app *a, const struct app_spec *spec, enum reply_kind kind)
{
	const struct release *rel = a->rolling ? a->rolling : a->current;

	return a->locked.set && (kind != REPLY_OK || !pairs_eq(&rel->spec.policy, &spec->policy));
}

void plan_deploy(const struct cluster *c, const char *app, const struct app_spec *spec,
		 const char *image_id, struct plan *out)
{
	const struct app *a = map_get(&c->apps_by_name, slice_str(app));

	*out = (struct plan){
		.kind = REPLY_CREATED,
		.release = a ? a->next_release : 1,
		.ask = { .app = app, .spec = spec, .n = spec->replicas, .cursor = c->cursor }
	};
	if (spec_check(spec, &out->err))
		out->kind = REPLY_INVALID;
	else if (a && !a->deleted && is_there(a, spec, image_id, &out->release))
		out->kind = REPLY_OK;
	else if (host_check(c, app, spec, &out->err))
		out->kind = REPLY_CONFLICT;
	else
		place_deploy(c, a, out);
	if (a && !a->deleted && is_locked(a, spec, out->kind) && out->kind != REPLY_INVALID) {
		app_lock_text(a, &out->err);
		out->kind = REPLY_CONFLICT;
	}
	if (a && out->kind == REPLY_CREATED)
		stop_others(out, a, spec);
}

void plan_more(const struct cluster *c, const struct release *rel, struct placement_ask *out)
{
	*out = (struct placement_ask){
		.app = rel->app->name, .spec = &rel->spec, .release = rel, .cursor = rel->cursor
	};
	/* A volume whose node is gone keeps it from nowhere: it is not placed at all then. */
	(void)!rollout_place_ask(c, rel->app, out, NULL);
}

static int by_surplus(const void *a, const void *b)
{
	const struct replica *x = *(const struct replica *const *)a,
			     *y = *(const struct replica *const *)b;
	uint32_t rank_x = app_surplus_rank(x), rank_y = app_surplus_rank(y);

	if (rank_x != rank_y)
		return rank_x < rank_y ? -1 : 1;
	return x->n > y->n ? -1 : x->n < y->n;
}

/* The <surplus> that go first of the <present> ones. */
static void stop_surplus(struct plan *p, const struct app *a, const struct release *rel,
			 uint32_t present, uint32_t surplus)
{
	const struct replica **list = xcalloc(present + 1, sizeof(struct replica *));
	uint32_t n = 0;

	LIST_FOR_EACH(r, &a->replicas, struct replica, link) {
		if (is_present(r, rel))
			list[n++] = r;
	}
	qsort(list, n, sizeof(*list), by_surplus);
	for (uint32_t i = 0; i < MIN(n, surplus); i++)
		stop(p, list[i], "there are more replicas than asked for");
	free(list);
}

void plan_scale(const struct cluster *c, const struct app *app, uint32_t replicas, struct plan *out)
{
	const struct release *rel = app->current ? app->current : app->rolling;
	uint32_t present = 0;

	*out = (struct plan){ .kind = REPLY_CREATED };
	if (!rel) {
		out->kind = REPLY_CONFLICT;
		err_say(&out->err, -EEXIST, "app %s has no release that runs: deploy one",
			app->name);
		return;
	}
	LIST_FOR_EACH(each, &app->replicas, struct replica, link)
		present += is_present(each, rel);
	out->release = rel->n;
	plan_more(c, rel, &out->ask);
	out->ask.n = replicas > present ? replicas - present : 0;
	place(c, out);
	if (present > replicas)
		stop_surplus(out, app, rel, present, present - replicas);
	if (out->kind == REPLY_CREATED && !out->placement.n && !out->stops_n)
		out->kind = REPLY_OK;
}

void plan_fini(struct plan *p)
{
	placement_fini(&p->placement);
	free(p->stops);
	p->stops = NULL;
}
