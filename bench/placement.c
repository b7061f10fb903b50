/* Placement by itself, in CPU time: one replica and a full plan, with reasons and without, against the number of nodes and of
 * replicas; the longest step of a deploy; memory a node and a replica. Prints key=value lines. placement [NODES REPLICAS]... */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "sched/cluster.h"
#include "sched/placement.h"

#define APP_REPLICAS 100u
#define ONES 200u /* single placements that are timed */
#define DEPLOY 1000u

static double cpu_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static double heap_bytes(void)
{
	struct mallinfo2 m = mallinfo2();

	return (double)m.uordblks + (double)m.hblkhd;
}

static void must(int rc, const struct err *err)
{
	if (!rc)
		return;
	fprintf(stderr, "placement: %s\n", err->text);
	exit(1);
}

static void load(struct cluster *c, const char *kind, const char *key, char *value)
{
	struct err err = { 0 };

	must(cluster_load(c, kind, slice_str(key), slice_str(value), &err), &err);
	free(value);
}

static void load_nodes(struct cluster *c, unsigned nodes)
{
	static const char *const regions[] = { "eu", "us", "asia" };
	char key[16];

	for (unsigned i = 1; i < nodes; i++) {
		snprintf(key, sizeof(key), "%010u", i);
		load(c, "node", key,
		     xasprintf(
			     "{\"v\":1,\"id\":%u,\"name\":\"worker-%u\",\"address\":\"https://10.%u.%u.%u:3100\","
			     "\"private_address\":\"10.%u.%u.%u\",\"role\":\"worker\",\"architecture\":\"amd64\","
			     "\"intent\":\"active\",\"labels\":{\"tier\":\"gold\",\"region\":\"%s\",\"ssd\":\"true\"}}",
			     i, i, i >> 16, i >> 8 & 255, i & 255, i >> 16, i >> 8 & 255, i & 255,
			     regions[i % 3]));
	}
}

static void load_replicas(struct cluster *c, unsigned nodes, unsigned replicas)
{
	char app[32], key[64];

	for (unsigned i = 0; i < replicas; i++) {
		unsigned a = i / APP_REPLICAS, n = i % APP_REPLICAS + 1;

		snprintf(app, sizeof(app), "app-%u", a);
		if (n == 1) {
			load(c, "app", app,
			     xasprintf("{\"v\":1,\"name\":\"%s\",\"next_release\":2}", app));
			snprintf(key, sizeof(key), "%s/%010u", app, 1u);
			load(c, "release", key,
			     xasprintf(
				     "{\"v\":1,\"app\":\"%s\",\"release\":1,\"state\":\"active\",\"spec\":{\"image\":"
				     "\"hello:1\",\"replicas\":%u,\"port\":8080,\"cpu_millis\":1}}",
				     app, MIN(APP_REPLICAS, replicas - i)));
		}
		snprintf(key, sizeof(key), "%s/%010u", app, n);
		load(c, "replica", key,
		     xasprintf(
			     "{\"v\":1,\"app\":\"%s\",\"replica\":%u,\"release\":1,\"node_id\":%u,\"phase\":\"ready\","
			     "\"ip\":\"10.9.9.9\",\"port\":8080,\"cpu_millis\":1,\"memory_bytes\":1048576,"
			     "\"container_id\":\"%064u\",\"started_at\":\"2026-11-25T00:00:00Z\","
			     "\"placed\":\"next in turn of %u nodes that fit\"}",
			     app, n, i % nodes, i, nodes));
	}
}

static double step(struct cluster *c, struct cluster_event e)
{
	double from = cpu_us();

	batch_free(cluster_step(c, &e, (struct cluster_now){ 1000, 1700000000000 }));
	return cpu_us() - from;
}

static void wake(struct cluster *c, unsigned nodes)
{
	struct node_capacity has = { .cpu_millis = 64000,
				     .memory_total_bytes = 256ull << 30,
				     .disk_total_bytes = 1ull << 40,
				     .cpu_percent = 30,
				     .memory_used_bytes = 99ull << 30 };

	step(c, (struct cluster_event){ .type = EVENT_START });
	for (unsigned i = 0; i < nodes; i++) {
		step(c, (struct cluster_event){ EVENT_CAPACITY, .capacity = { i, has } });
		step(c, (struct cluster_event){ EVENT_AGENT_REACHABLE, .agent = { i, NULL } });
	}
}

/* Every node's reason, as an explanation has it. */
static size_t say_all(const struct placement_ask *ask, const struct placement *p)
{
	const struct placement_verdict *best = placement_best(p, NULL);
	char text[PLACEMENT_TEXT_MAX];
	size_t n = 0;

	for (uint32_t i = 0; i < p->verdicts_n; i++) {
		placement_why_not(ask, &p->verdicts[i], best, text);
		n += strlen(text);
	}
	return n;
}

static struct app_spec spec_of(const char *strategy)
{
	return (struct app_spec){ .image = "hello:1",
				  .replicas = 1,
				  .port = 8080,
				  .cpu_millis = 1,
				  .memory_bytes = 1 << 20,
				  .strategy = strategy };
}

static double time_one(struct cluster *c, const char *strategy, bool explain)
{
	struct app_spec spec = spec_of(strategy);
	const struct app *a = cluster_app(c, "app-0");
	struct placement_ask ask = { .app = "app-0",
				     .spec = &spec,
				     .release = a ? a->current : NULL,
				     .n = 1,
				     .cursor = -1 };
	double from = cpu_us();
	struct err err = { 0 };

	for (unsigned i = 0; i < ONES; i++) {
		struct placement p;

		must(placement_plan(c, &ask, &p, &err), &err);
		ask.cursor = p.cursor;
		if (explain && !say_all(&ask, &p))
			abort();
		placement_fini(&p);
	}
	return (cpu_us() - from) / ONES;
}

/* All of <replicas> once more, app by app, as if nothing was placed since: what a plan for the whole cluster costs. */
static void time_full(struct cluster *c, unsigned nodes, unsigned replicas, unsigned of_app,
		      const char *strategy)
{
	struct app_spec spec = spec_of(strategy);
	struct placement_ask ask = { .spec = &spec, .n = of_app, .cursor = -1 };
	struct placement_sheet sheet;
	double from = cpu_us(), longest = 0, all;
	struct err err = { 0 };

	placement_sheet_init(&sheet, c);
	ask.sheet = &sheet;
	for (unsigned i = 0; i < replicas / of_app; i++) {
		double began = cpu_us();
		struct placement p;
		char app[32];

		snprintf(app, sizeof(app), "new-%u", i);
		ask.app = app;
		must(placement_plan(c, &ask, &p, &err), &err);
		ask.cursor = p.cursor;
		placement_fini(&p);
		longest = MAX(longest, cpu_us() - began);
	}
	all = cpu_us() - from;
	placement_sheet_fini(&sheet);
	printf("full_plan strategy=%s nodes=%u replicas=%u of_an_app=%u cpu_ms=%.2f us_a_replica=%.2f longest_slice_us=%.0f\n",
	       strategy, nodes, replicas, of_app, all / 1000, all / replicas, longest);
}

/* ---- a whole rollout, with nodes that answer at once ---- */

#define ANSWERS (16u * DEPLOY)

struct answers {
	struct cluster_event events[ANSWERS];
	unsigned first, n;
	struct batch *batches[ANSWERS]; /* what the events borrow from */
	unsigned batches_n;
};

static void answer(struct answers *a, const struct effect *e)
{
	static const struct container_info runs = { .container_id = "c",
						    .name = "",
						    .state = CONTAINER_RUNNING,
						    .started_at = "then",
						    .spec_hash = "" };
	struct cluster_event *out = &a->events[a->n];

	switch (e->type) {
	case EFFECT_IMAGE_ENSURE:
		out->type = EVENT_IMAGE_DONE;
		out->image.result.op = e->image.op;
		out->image.image_id = "sha256:1";
		break;
	case EFFECT_CREATE:
		out->type = EVENT_CREATE_DONE;
		out->container_done.result.op = e->create.op;
		out->container_done.info = runs;
		break;
	case EFFECT_PROBE_START:
		out->type = EVENT_PROBE_DONE;
		out->probe = (struct event_probe_done){ .op = e->probe.op, .healthy = true };
		break;
	default: return;
	}
	if (++a->n == ANSWERS)
		abort();
}

/* One step, and what it asks for is answered later; returns its CPU time in µs. */
static double step_answered(struct cluster *c, struct answers *a, const struct cluster_event *e)
{
	double from = cpu_us(), us;
	struct batch *b = cluster_step(c, e, (struct cluster_now){ 1000, 1700000000000 });

	us = cpu_us() - from;
	a->batches[a->batches_n++] = b;
	if (a->batches_n == ANSWERS)
		abort();
	for (size_t i = 0; i < b->effects_n; i++)
		answer(a, &b->effects[i]);
	return us;
}

/* From the command until all of it serves: the longest step of each kind. */
static void time_rollout(struct cluster *c, unsigned nodes)
{
	struct answers *a = xcalloc(1, sizeof(*a));
	struct app_spec spec = spec_of(NULL);
	double longest[EVENT_TYPES] = { 0 }, us;

	spec.replicas = DEPLOY;
	a->events[a->n++] =
		(struct cluster_event){ EVENT_DEPLOY, .deploy = { .app = "whole", .spec = &spec } };
	for (;;) {
		struct cluster_event tick = { .type = EVENT_TICK }, *e = &tick;

		if (a->first < a->n)
			e = &a->events[a->first++];
		else if (cluster_next_ms(c) > 1000)
			break;
		us = step_answered(c, a, e);
		longest[e->type] = MAX(longest[e->type], us);
	}
	printf("rollout nodes=%u replicas=%u active=%d longest_us", nodes, DEPLOY,
	       cluster_app(c, "whole")->current != NULL);
	for (unsigned i = 0; i < EVENT_TYPES; i++)
		if (longest[i] > 0)
			printf(" %s=%.0f", event_name(i), longest[i]);
	putchar('\n');
	for (unsigned i = 0; i < a->batches_n; i++)
		batch_free(a->batches[i]);
	free(a);
}

/* The steps of a deploy of 1,000 replicas, up to where nodes have to answer. */
static void time_deploy(struct cluster *c, unsigned nodes)
{
	struct app_spec spec = spec_of(NULL);
	double longest, sum, us;
	unsigned steps = 1;

	spec.replicas = DEPLOY;
	longest = sum = step(c, (struct cluster_event){
					EVENT_DEPLOY, .deploy = { .app = "big", .spec = &spec } });
	printf("deploy_first_step nodes=%u replicas=%u cpu_us=%.0f\n", nodes, DEPLOY, longest);
	while (cluster_next_ms(c) <= 1000) {
		us = step(c, (struct cluster_event){ .type = EVENT_TICK });
		longest = MAX(longest, us);
		sum += us;
		steps++;
	}
	printf("deploy nodes=%u replicas=%u steps=%u cpu_us=%.0f longest_step_us=%.0f\n", nodes,
	       DEPLOY, steps, sum, longest);
}

static void run(unsigned nodes, unsigned replicas)
{
	static const char *const strategies[] = { "round-robin", "spread", "least-loaded",
						  "binpack" };
	struct cluster_config config = { .cluster_id = "b", .local_subnet = "172.31.0.0/16" };
	struct err err = { 0 };
	struct cluster *c = cluster_create(&config, &err);
	double before = heap_bytes(), with_nodes, with_all;

	must(c ? 0 : -1, &err);
	load_nodes(c, nodes);
	with_nodes = heap_bytes();
	load_replicas(c, nodes, replicas);
	with_all = heap_bytes();
	printf("memory nodes=%u replicas=%u bytes_a_node=%.0f bytes_a_replica=%.0f\n", nodes,
	       replicas, (with_nodes - before) / nodes, (with_all - with_nodes) / replicas);
	wake(c, nodes);
	for (size_t i = 0; i < ARRAY_LEN(strategies); i++)
		printf("one_replica strategy=%s nodes=%u replicas=%u cpu_us=%.1f explained_us=%.1f\n",
		       strategies[i], nodes, replicas, time_one(c, strategies[i], false),
		       time_one(c, strategies[i], true));
	for (size_t i = 0; i < ARRAY_LEN(strategies); i++)
		time_full(c, nodes, replicas, APP_REPLICAS, strategies[i]);
	/* Small apps: each looks at every node for itself. */
	if (nodes <= 1000 && replicas <= 10000) {
		time_full(c, nodes, replicas, 10, strategies[0]);
		time_full(c, nodes, replicas, 1, strategies[0]);
	}
	time_deploy(c, nodes);
	time_rollout(c, nodes);
	cluster_destroy(c);
}

/* Each in a process of its own: what the last one left in the heap is no part of it. */
static void apart(unsigned nodes, unsigned replicas)
{
	pid_t pid;
	int status;

	fflush(stdout);
	pid = fork();
	if (pid < 0)
		abort();
	if (pid == 0) {
		run(nodes, replicas);
		fflush(stdout);
		_exit(0);
	}
	if (waitpid(pid, &status, 0) < 0 || status)
		exit(1);
}

int main(int argc, char **argv)
{
	static const unsigned sizes[][2] = { { 10, 10000 },    { 100, 10000 }, { 1000, 10000 },
					     { 10000, 10000 }, { 1000, 100 },  { 1000, 1000 },
					     { 1000, 100000 } };

	for (size_t i = 0; argc < 3 && i < ARRAY_LEN(sizes); i++)
		apart(sizes[i][0], sizes[i][1]);
	for (int i = 1; i + 1 < argc; i += 2)
		apart((unsigned)atoi(argv[i]), (unsigned)atoi(argv[i + 1]));
	return 0;
}
