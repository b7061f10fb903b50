/* Placement in clusters that a seed makes: the same snapshot gives the same bytes in whatever order it was loaded, nobody gets
 * what they were refused, and no sum of promises exceeds what a node has. */
#include <stdio.h>
#include <stdlib.h>

#include "check.h"
#include "sched/cluster.h"
#include "sched/placement.h"

#define ROUNDS 300
#define NODES 12u
#define APPS 6u

struct maker {
	uint64_t seed;
	struct made {
		const char *kind;
		char key[80];
		char *value;
	} records[1000];
	size_t n;
	uint32_t gpus[NODES], cpu[NODES];
	bool active[NODES];
	uint64_t memory[NODES];
};

static uint32_t pick(struct maker *m, uint32_t below)
{
	m->seed = m->seed * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(m->seed >> 33) % below;
}

static void add(struct maker *m, const char *kind, const char *key, char *value)
{
	struct made *r = &m->records[m->n++];

	assert_true(m->n < ARRAY_LEN(m->records));
	r->kind = kind;
	snprintf(r->key, sizeof(r->key), "%s", key);
	r->value = value;
}

static const char *const regions[] = { "eu", "us", "asia" };
static const char *const strategies[] = { "round-robin", "spread", "least-loaded", "binpack" };
static const char *const affinities[] = { "app=app-1",	     "soft:app=app-2",
					  "label:region=eu", "soft:label:region=us",
					  "app=app-0",	     "soft:app=app-0" };

static void make_node(struct maker *m, unsigned i)
{
	char key[16];

	m->cpu[i] = pick(m, 4) ? (1 + pick(m, 16)) * 1000 : 0;
	m->memory[i] = pick(m, 4) ? (uint64_t)(1 + pick(m, 32)) << 30 : 0;
	m->gpus[i] = pick(m, 3) ? 0 : pick(m, 5);
	m->active[i] = !i || pick(m, 8);
	if (!i)
		return;
	snprintf(key, sizeof(key), "%010u", i);
	add(m, "node", key,
	    xasprintf(
		    "{\"v\":1,\"id\":%u,\"name\":\"worker-%u\",\"address\":\"\",\"private_address\":\"10.0.0.%u\","
		    "\"role\":\"worker\",\"architecture\":\"%s\",\"intent\":\"%s\",\"labels\":{\"region\":\"%s\"}}",
		    i, i, i, pick(m, 5) ? "amd64" : "arm64", m->active[i] ? "active" : "draining",
		    regions[pick(m, 3)]));
}

static void make_replica(struct maker *m, unsigned app, unsigned n)
{
	unsigned node = pick(m, NODES);
	char key[80];

	snprintf(key, sizeof(key), "app-%u/%010u", app, n);
	add(m, "replica", key,
	    xasprintf(
		    "{\"v\":1,\"app\":\"app-%u\",\"replica\":%u,\"release\":1,\"node_id\":%u,\"phase\":\"ready\","
		    "\"container_id\":\"c\",\"cpu_millis\":%u,\"memory_bytes\":%u}",
		    app, n, m->active[node] ? node : 0, pick(m, 3) * 50, pick(m, 2) * 1000000));
}

static void make_app(struct maker *m, unsigned i)
{
	char key[80];
	unsigned replicas = 1 + pick(m, 12);

	snprintf(key, sizeof(key), "app-%u", i);
	add(m, "app", key,
	    xasprintf("{\"v\":1,\"name\":\"app-%u\",\"next_release\":2,\"next_replica\":100}", i));
	snprintf(key, sizeof(key), "app-%u/%010u", i, 1u);
	add(m, "release", key,
	    xasprintf(
		    "{\"v\":1,\"app\":\"app-%u\",\"release\":1,\"state\":\"active\",\"spec\":{\"image\":\"hello:1\",\"replicas\":%u,\"anti_affinity\":[%s]}}",
		    i, replicas, i && pick(m, 20) == 0 ? "\"app=app-0\"" : ""));
	for (unsigned k = 1; k <= replicas; k++)
		make_replica(m, i, k);
}

static void make(struct maker *m, uint64_t seed)
{
	memset(m, 0, sizeof(*m));
	m->seed = seed;
	for (unsigned i = 0; i < NODES; i++)
		make_node(m, i);
	/* As many replicas as wanted: nothing is placed but by the test. */
	for (unsigned i = 0; i < APPS; i++)
		make_app(m, i);
}

static void unmake(struct maker *m)
{
	for (size_t i = 0; i < m->n; i++)
		free(m->records[i].value);
}

static void tell(struct cluster *c, struct cluster_event e)
{
	batch_free(cluster_step(c, &e, (struct cluster_now){ 1000, 1700000000000 }));
}

/* The same snapshot, its records loaded in an order that <order> shuffles within each kind. */
static struct cluster *load(struct maker *m, uint64_t order)
{
	struct cluster_config config = { .cluster_id = "t",
					 .hash_key = { order, ~order },
					 .local_architecture = "amd64" };
	struct maker shuffle = { .seed = order };
	struct err err = { 0 };
	struct cluster *c = cluster_create(&config, &err);
	size_t at[ARRAY_LEN(m->records)];

	assert_non_null(c);
	for (size_t i = 0; i < m->n; i++) {
		size_t k = order ? pick(&shuffle, (uint32_t)i + 1) : i;

		at[i] = at[k];
		at[k] = i;
	}
	for (const char *const *kind = cluster_kinds; *kind; kind++) {
		for (size_t i = 0; i < m->n; i++) {
			struct made *r = &m->records[at[i]];

			if (!strcmp(r->kind, *kind) &&
			    cluster_load(c, r->kind, slice_str(r->key), slice_str(r->value), &err))
				fail_msg("%s", err.text);
		}
	}
	tell(c, (struct cluster_event){ .type = EVENT_START });
	for (unsigned i = 0; i < NODES; i++) {
		struct node_capacity has = { .cpu_millis = m->cpu[i],
					     .memory_total_bytes = m->memory[i],
					     .gpus = m->gpus[i] };

		tell(c, (struct cluster_event){ EVENT_CAPACITY, .capacity = { i, has } });
		tell(c, (struct cluster_event){ (m->seed >> i & 7) ? EVENT_AGENT_REACHABLE
								   : EVENT_AGENT_LOST,
						.agent = { i, NULL } });
	}
	return c;
}

/* Everything that a plan says. */
static void say(const struct cluster *c, const struct placement_ask *ask, struct buf *out)
{
	char text[PLACEMENT_TEXT_MAX];
	struct placement p;
	struct err err = { 0 };
	int rc = placement_plan(c, ask, &p, &err);

	buf_printf(out, "%d %s\n", rc, err.text);
	for (uint32_t i = 0; i < p.n; i++) {
		placement_reason(ask, &p.chosen[i], text);
		buf_printf(out, "%d %d %s\n", (int)p.chosen[i].node->id,
			   score_sum(&p.chosen[i].score), text);
	}
	for (uint32_t i = 0; i < p.verdicts_n; i++) {
		placement_why_not(ask, &p.verdicts[i], placement_best(&p, NULL), text);
		buf_printf(out, "%s: %s\n", p.verdicts[i].node->name, text);
	}
	placement_fini(&p);
}

static bool is_over(uint64_t promised, uint64_t want, uint64_t has)
{
	return want && has && promised > has;
}

static bool runs_there(const struct cluster *c, const char *app, const struct node *n)
{
	LIST_FOR_EACH(r, &cluster_app(c, app)->replicas, struct replica, link) {
		if (r->node == n && r->state <= REPLICA_READY)
			return true;
	}
	return false;
}

/* What the hard affinities of this test's kinds mean, said once more in other words. */
static bool is_met(const struct cluster *c, const char *text, const struct node *n, bool own_there)
{
	if (!strncmp(text, "label:region=", 13))
		return pairs_get(&n->labels, "region") &&
		       !strcmp(pairs_get(&n->labels, "region"), text + 13);
	return strcmp(text, "app=app-0") ? runs_there(c, text + 4, n) : own_there;
}

static bool is_hard(const struct strs *rules)
{
	return rules->n && strncmp(rules->items[0], "soft:", 5);
}

/* Nobody is chosen who may not be, and no sum of promises exceeds what there is. */
static bool is_kept_away(const struct cluster *c, const struct node *n)
{
	LIST_FOR_EACH(a, cluster_apps(c), struct app, link) {
		if (a->current->spec.anti_affinity.n && runs_there(c, a->name, n))
			return true;
	}
	return false;
}

/* What a node has promised; those that go first do not count. */
static struct promised promised_by(const struct cluster *c, const struct placement_ask *ask,
				   const struct node *n)
{
	struct promised sum = n->promised;

	LIST_FOR_EACH(r, &cluster_app(c, "app-0")->replicas, struct replica, link) {
		if (ask->alone && !ask->release && r->node == n)
			promised_remove(&sum, &r->promised);
	}
	return sum;
}

static void check_choices(const struct cluster *c, const struct placement_ask *ask,
			  const struct placement *p)
{
	struct resources want = spec_resources(ask->spec);
	struct promised sums[NODES] = { 0 };
	uint32_t own[NODES] = { 0 }, owns = 0;

	LIST_FOR_EACH(r, &cluster_app(c, "app-0")->replicas, struct replica, link) {
		own[r->node->id] += ask->release != NULL;
		owns += ask->release != NULL;
	}
	for (uint32_t i = 0; i < p->n; i++) {
		const struct node *n = p->chosen[i].node;
		struct promised *sum = &sums[n->id];

		if (!sum->replicas)
			*sum = promised_by(c, ask, n);
		promised_add(sum, &want);
		assert_false(is_kept_away(c, n));
		assert_true(n->intent == NODE_ACTIVE && n->link_state != LINK_LOST);
		assert_false(is_over(sum->sum.cpu_millis, want.cpu_millis, n->capacity.cpu_millis));
		assert_false(is_over(sum->sum.memory_bytes, want.memory_bytes,
				     n->capacity.memory_total_bytes));
		assert_true(!want.gpus || sum->sum.gpus <= n->capacity.gpus);
		if (is_hard(&ask->spec->affinity))
			assert_true(
				is_met(c, ask->spec->affinity.items[0], n, !owns || own[n->id]));
		if (is_hard(&ask->spec->anti_affinity))
			assert_false(is_met(c, ask->spec->anti_affinity.items[0], n, own[n->id]));
		own[n->id]++;
		owns++;
	}
}

/* Where nothing depends on how many of the app are there, one after the other is the same as all at once. */
static void check_one_by_one(const struct cluster *c, struct placement_ask ask,
			     const struct placement *all)
{
	struct placement_sheet sheet;
	struct placement p;
	struct err err = { 0 };

	if (ask.spec->affinity.n || ask.spec->anti_affinity.n ||
	    !strcmp(ask.spec->strategy, "spread") || !strcmp(ask.spec->strategy, "least-loaded"))
		return;
	placement_sheet_init(&sheet, c);
	ask.sheet = &sheet;
	ask.n = 1;
	for (uint32_t i = 0; i < all->n; i++) {
		assert_int_equal(placement_plan(c, &ask, &p, &err), 0);
		assert_ptr_equal(p.chosen[0].node, all->chosen[i].node);
		ask.cursor = p.cursor;
		placement_fini(&p);
	}
	placement_sheet_fini(&sheet);
}

static void check_rules(const struct cluster *c, const struct placement_ask *ask)
{
	struct placement p;
	struct err err = { 0 };
	int rc = placement_plan(c, ask, &p, &err);

	assert_true(rc ? p.n < ask->n : p.n == ask->n);
	check_choices(c, ask, &p);
	check_one_by_one(c, *ask, &p);
	placement_fini(&p);
}

static void test_snapshots(void **state)
{
	static struct maker m;
	unsigned placed = 0, refused = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= ROUNDS; seed++) {
		const char *rule, *away;
		struct app_spec spec = { .image = "hello:1" };
		struct placement_ask ask = { .app = "app-0", .spec = &spec };
		struct buf first, again, shuffled;
		struct cluster *c, *other;

		make(&m, seed);
		spec.strategy = strategies[pick(&m, 4)];
		spec.replicas = 1 + pick(&m, 40);
		spec.cpu_millis = pick(&m, 2) * 500;
		spec.memory_bytes = pick(&m, 2) * (300ull << 20);
		spec.gpus = pick(&m, 6) == 0;
		rule = affinities[pick(&m, 6)];
		away = affinities[pick(&m, 6)];
		spec.affinity = (struct strs){ &rule, pick(&m, 3) == 0 };
		spec.anti_affinity = (struct strs){ &away, pick(&m, 3) == 0 };
		ask.n = spec.replicas;
		ask.cursor = (int64_t)pick(&m, NODES) - 1;
		c = load(&m, 0);
		other = load(&m, seed + 17);
		ask.alone = pick(&m, 2);
		ask.release = pick(&m, 2) ? app_release(cluster_app(c, "app-0"), 1) : NULL;
		buf_init(&first, 0);
		buf_init(&again, 0);
		buf_init(&shuffled, 0);
		say(c, &ask, &first);
		say(c, &ask, &again);
		CHECK_STR("the same again", again.data, first.data);
		check_rules(c, &ask);
		placed += first.data[0] == '0';
		refused += first.data[0] != '0';
		if (ask.release)
			ask.release = app_release(cluster_app(other, "app-0"), 1);
		say(other, &ask, &shuffled);
		CHECK_STR("in another order", shuffled.data, first.data);
		buf_fini(&first);
		buf_fini(&again);
		buf_fini(&shuffled);
		cluster_destroy(c);
		cluster_destroy(other);
		unmake(&m);
	}
	/* The seeds have to cover both. */
	assert_true(placed > ROUNDS / 4 && refused > ROUNDS / 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_snapshots) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
