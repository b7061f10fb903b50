/* Placement: a verdict per node, then one choice per replica. */
#include "sched/placement.h"

#include <errno.h>
#include <stdlib.h>

#include "sched/placement_inner.h"
#include "sched/state.h"

/* ---- what is there ---- */

static struct placement_verdict *find(const struct placement *p, int64_t node_id)
{
	uint32_t low = 0, high = p->verdicts_n;

	while (low < high) {
		uint32_t mid = (low + high) / 2;

		if (p->verdicts[mid].node->id < node_id)
			low = mid + 1;
		else
			high = mid;
	}
	return low < p->verdicts_n && p->verdicts[low].node->id == node_id ? &p->verdicts[low]
									   : NULL;
}

static bool counts(const struct replica *r)
{
	return replica_is_live(r) && !r->away && !r->hook;
}

static void add_rules(struct planner *pl, const struct strs *texts, bool away)
{
	for (size_t i = 0; i < texts->n && pl->rules_n < RULES_MAX; i++) {
		struct rule *rule = &pl->rules[pl->rules_n];

		/* spec_check() took it. */
		if (affinity_parse(&rule->to, texts->items[i], NULL))
			continue;
		rule->away = away;
		rule->self =
			!rule->to.of_label && slice_eq(rule->to.value, slice_str(pl->ask->app));
		pl->together |= rule->self && !away && !rule->to.soft;
		pl->rules_n++;
	}
}

/* Where the app of a rule runs. */
static void find_others(struct planner *pl, uint32_t i)
{
	const struct rule *rule = &pl->rules[i];
	const struct app *other;

	if (rule->to.of_label || rule->self)
		return;
	other = map_get(&pl->c->apps_by_name, rule->to.value);
	if (!other)
		return;
	LIST_FOR_EACH(r, &other->replicas, struct replica, link) {
		struct placement_verdict *v = counts(r) ? find(pl->p, r->node->id) : NULL;

		if (v)
			v->near |= 1u << i;
	}
}

/* Anti-affinity holds both ways: who wants to be apart from the app is not joined by it either. */
static void find_keepers(struct planner *pl)
{
	struct affinity a;

	LIST_FOR_EACH(rel, &pl->c->keepers, struct release, keep_link) {
		const struct strs *rules = &rel->spec.anti_affinity;
		bool keeps = false;

		for (size_t i = 0; i < rules->n && !keeps; i++)
			keeps = !affinity_parse(&a, rules->items[i], NULL) && !a.soft &&
				!a.of_label && slice_eq(a.value, slice_str(pl->ask->app));
		if (!keeps || strcmp(rel->app->name, pl->ask->app) == 0)
			continue;
		LIST_FOR_EACH(r, &rel->app->replicas, struct replica, link) {
			struct placement_verdict *v =
				r->release == rel && counts(r) ? find(pl->p, r->node->id) : NULL;

			/* Of several the first by name, whatever order they came in. */
			if (v && (!v->keeper || strcmp(rel->app->name, v->keeper->name) < 0))
				v->keeper = rel->app;
		}
	}
}

static bool ran_from(const struct replica *r, const char *image)
{
	return r->release && *r->container_id && strcmp(r->release->spec.image, image) == 0;
}

/* The app's own replicas. */
static void find_own(struct planner *pl)
{
	const struct placement_ask *ask = pl->ask;
	const struct app *a = map_get(&pl->c->apps_by_name, slice_str(ask->app));

	if (!a)
		return;
	LIST_FOR_EACH(r, &a->replicas, struct replica, link) {
		struct placement_verdict *v = find(pl->p, r->node->id);

		if (!v)
			continue;
		v->has_image |= ran_from(r, ask->spec->image);
		if (r == ask->without || (ask->alone && r->release != ask->release)) {
			if (r->has_promise)
				promised_remove(&v->promised, &r->promised);
		} else if (ask->release && r->release == ask->release && counts(r)) {
			v->own++;
			pl->own++;
		}
	}
}

static void look_round(struct planner *pl)
{
	struct placement *p = pl->p;

	LIST_FOR_EACH(node, &pl->c->nodes, struct node, link) {
		struct placement_verdict *v = &p->verdicts[p->verdicts_n];

		v->node = node;
		v->index = p->verdicts_n;
		v->promised = node->promised;
		if (pl->ask->sheet)
			promised_join(&v->promised, &pl->ask->sheet->rows[p->verdicts_n]);
		p->verdicts_n++;
	}
	find_own(pl);
	find_keepers(pl);
	for (uint32_t i = 0; i < pl->rules_n; i++)
		find_others(pl, i);
}

/* ---- filters ---- */

bool rule_met(const struct planner *pl, uint32_t i, const struct placement_verdict *v)
{
	const struct rule *rule = &pl->rules[i];
	const struct pairs *labels = &v->node->labels;

	if (rule->self)
		return v->own > 0;
	if (!rule->to.of_label)
		return v->near >> i & 1;
	for (size_t k = 0; k < labels->n; k++) {
		if (slice_eq(slice_str(labels->items[k].key), rule->to.key))
			return slice_eq(slice_str(labels->items[k].value), rule->to.value);
	}
	return false;
}

static uint8_t refuse_labels(const struct app_spec *s, struct placement_verdict *v)
{
	for (size_t i = 0; i < s->labels_n; i++) {
		const char *value = pairs_get(&v->node->labels, s->labels[i].key);

		if (value && strs_has(&s->labels[i].values, value))
			continue;
		v->at = (uint8_t)i;
		return REFUSED_LABEL;
	}
	return NOT_REFUSED;
}

static uint8_t refuse_rules(const struct planner *pl, struct placement_verdict *v)
{
	for (uint32_t i = 0; i < pl->rules_n; i++) {
		const struct rule *rule = &pl->rules[i];

		/* The first of them may be anywhere. */
		if (rule->to.soft || rule_met(pl, i, v) != rule->away ||
		    (rule->self && !rule->away && !pl->own))
			continue;
		v->at = (uint8_t)i;
		return rule->away ? REFUSED_ANTI_AFFINITY : REFUSED_AFFINITY;
	}
	return NOT_REFUSED;
}

static bool is_over(uint64_t promised, uint64_t want, uint64_t has)
{
	return want && has && promised + want > has;
}

/* Room for one more. What a node has not told is no reason against it, but for cards: few machines have any. */
static uint8_t refuse_room(const struct planner *pl, const struct placement_verdict *v)
{
	const struct node_capacity *has = &v->node->capacity;
	const struct resources *sum = &v->promised.sum, *want = &pl->want;

	if (is_over(sum->cpu_millis, want->cpu_millis, has->cpu_millis))
		return REFUSED_CPU;
	if (is_over(sum->memory_bytes, want->memory_bytes, has->memory_total_bytes))
		return REFUSED_MEMORY;
	if (is_over(sum->disk_bytes, want->disk_bytes, has->disk_total_bytes))
		return REFUSED_DISK;
	if (want->gpus && sum->gpus + want->gpus > has->gpus)
		return REFUSED_GPU;
	return NOT_REFUSED;
}

static uint8_t refuse(const struct planner *pl, struct placement_verdict *v)
{
	const struct app_spec *s = pl->ask->spec;
	const struct node *n = v->node;
	uint8_t why;

	if (!node_eligible(n, NULL))
		return REFUSED_STATE;
	if (s->nodes.n && !strs_has(&s->nodes, n->name))
		return REFUSED_NAME;
	if ((why = refuse_labels(s, v)))
		return why;
	if (s->architecture && *n->architecture && strcmp(s->architecture, n->architecture) != 0)
		return REFUSED_ARCHITECTURE;
	if (pl->ask->pin && pl->ask->pin != n)
		return REFUSED_VOLUME;
	if ((why = refuse_rules(pl, v)))
		return why;
	if (v->keeper)
		return REFUSED_KEPT_AWAY;
	return refuse_room(pl, v);
}

static void judge(const struct planner *pl, struct placement_verdict *v)
{
	v->refused = refuse(pl, v);
	if (!v->refused)
		score_set(pl, v);
}

/* ---- choosing ---- */

static bool before(const struct planner *pl, uint32_t a, uint32_t b)
{
	return score_before(&pl->p->verdicts[a], &pl->p->verdicts[b]);
}

static void sift_down(struct planner *pl, uint32_t i)
{
	uint32_t *heap = pl->heap, moved = heap[i];

	for (;;) {
		uint32_t child = 2 * i + 1;

		if (child >= pl->heap_n)
			break;
		if (child + 1 < pl->heap_n && before(pl, heap[child + 1], heap[child]))
			child++;
		if (!before(pl, heap[child], moved))
			break;
		heap[i] = heap[child];
		i = child;
	}
	heap[i] = moved;
}

static void judge_all(struct planner *pl)
{
	pl->heap_n = 0;
	for (uint32_t i = 0; i < pl->p->verdicts_n; i++) {
		judge(pl, &pl->p->verdicts[i]);
		if (!pl->p->verdicts[i].refused)
			pl->heap[pl->heap_n++] = i;
	}
	for (uint32_t i = pl->heap_n / 2; i-- > 0;)
		sift_down(pl, i);
}

static void choose_one(struct planner *pl)
{
	struct placement *p = pl->p;
	struct placement_verdict *v = &p->verdicts[pl->heap[0]];

	p->chosen[p->n++] = (struct placement_choice){ .node = v->node,
						       .score = v->score,
						       .among = pl->heap_n };
	if (pl->strategy == STRATEGY_ROUND_ROBIN)
		p->cursor = v->node->id;
	v->own++;
	v->planned++;
	promised_add(&v->promised, &pl->want);
	if (!pl->own++ && pl->together) {
		judge_all(pl);
		return;
	}
	judge(pl, v);
	if (v->refused)
		pl->heap[0] = pl->heap[--pl->heap_n];
	if (pl->heap_n)
		sift_down(pl, 0);
}

static void note(const struct planner *pl)
{
	for (uint32_t i = 0; i < pl->p->verdicts_n; i++) {
		for (uint32_t k = 0; k < pl->p->verdicts[i].planned; k++)
			promised_add(&pl->ask->sheet->rows[i], &pl->want);
	}
}

static void begin(struct planner *pl, const struct cluster *c, const struct placement_ask *ask,
		  struct placement *p)
{
	*pl = (struct planner){ .c = c, .ask = ask, .p = p, .want = spec_resources(ask->spec) };
	/* spec_check() took the name. */
	(void)!strategy_parse(ask->spec->strategy, &pl->strategy);
	add_rules(pl, &ask->spec->affinity, false);
	add_rules(pl, &ask->spec->anti_affinity, true);
}

int placement_plan(const struct cluster *c, const struct placement_ask *ask, struct placement *out,
		   struct err *err)
{
	uint32_t nodes = map_count(&c->nodes_by_id);
	struct planner pl;

	*out = (struct placement){ .cursor = ask->cursor };
	begin(&pl, c, ask, out);
	out->verdicts = xcalloc(nodes, sizeof(*out->verdicts));
	out->chosen = xcalloc(ask->n + 1, sizeof(*out->chosen));
	pl.heap = xcalloc(nodes, sizeof(*pl.heap));
	look_round(&pl);
	judge_all(&pl);
	while (pl.heap_n && out->n < ask->n)
		choose_one(&pl);
	free(pl.heap);
	out->own = pl.own;
	if (out->n < ask->n)
		return placement_short(c, ask, out, err);
	if (ask->sheet)
		note(&pl);
	return 0;
}

int64_t placement_cursor(const struct placement_ask *ask, const struct placement *p, uint32_t n)
{
	enum strategy strategy;

	(void)!strategy_parse(ask->spec->strategy, &strategy);
	return n && strategy == STRATEGY_ROUND_ROBIN ? p->chosen[n - 1].node->id : ask->cursor;
}

void placement_fini(struct placement *p)
{
	free(p->chosen);
	free(p->verdicts);
	*p = (struct placement){ 0 };
}

const struct placement_verdict *placement_best(const struct placement *p, const struct node *but)
{
	const struct placement_verdict *best = NULL;

	for (uint32_t i = 0; i < p->verdicts_n; i++) {
		const struct placement_verdict *v = &p->verdicts[i];

		if (!v->refused && v->node != but && (!best || score_before(v, best)))
			best = v;
	}
	return best;
}

int placement_without(const struct cluster *c, const struct placement_ask *ask,
		      const struct placement *p, const struct replica *r,
		      struct placement_verdict *out)
{
	struct placement there = *p;
	const struct placement_verdict *v = find(p, r->node->id);
	struct planner pl;

	if (!v)
		return -ENOENT;
	begin(&pl, c, ask, &there);
	*out = *v;
	pl.own = p->own;
	if (counts(r) && out->own) {
		out->own--;
		pl.own--;
	}
	if (r->has_promise)
		promised_remove(&out->promised, &r->promised);
	judge(&pl, out);
	return 0;
}

void placement_sheet_init(struct placement_sheet *s, const struct cluster *c)
{
	s->n = map_count(&c->nodes_by_id);
	s->rows = xcalloc(s->n, sizeof(*s->rows));
}

void placement_sheet_fini(struct placement_sheet *s)
{
	free(s->rows);
	*s = (struct placement_sheet){ 0 };
}
