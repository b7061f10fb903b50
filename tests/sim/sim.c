/* Runs the domain through random schedules and checks what must always hold. Usage:
 *   sim [--seeds N] [--first S] [--steps K] [--as-is] [--verbose] [--only N,N,…]
 * A seed that fails is run again and again with fewer commands and troubles; printed is the trace of the smallest run
 * that fails in the same way, and how to repeat it; with --as-is that of the first one. */
#include "sim.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

const char *const sim_apps[APPS] = { "shop", "blog", "api", "mail", "wiki" };

uint64_t sim_random(struct sim *s, uint64_t below)
{
	s->random ^= s->random >> 12;
	s->random ^= s->random << 25;
	s->random ^= s->random >> 27;
	return below ? (s->random * 0x2545f4914f6cdd1dull >> 16) % below : 0;
}

bool sim_chance(struct sim *s, unsigned per_mille)
{
	return sim_random(s, 1000) < per_mille;
}

void sim_log(struct sim *s, const char *fmt, ...)
{
	char line[512];
	va_list ap;
	int n = snprintf(line, sizeof(line), "%10.3f ", (double)s->now_ms / 1000);

	va_start(ap, fmt);
	vsnprintf(line + n, sizeof(line) - (size_t)n - 2, fmt, ap);
	va_end(ap);
	strcat(line, "\n");
	if (s->setup.verbose)
		fputs(line, stdout);
	if (s->trace_n + strlen(line) > SIM_TRACE_BYTES) {
		memmove(s->setup.trace, s->setup.trace + SIM_TRACE_BYTES / 2, s->trace_n - SIM_TRACE_BYTES / 2);
		s->trace_n -= SIM_TRACE_BYTES / 2;
	}
	memcpy(s->setup.trace + s->trace_n, line, strlen(line));
	s->trace_n += strlen(line);
}

void sim_fail(struct sim *s, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (s->setup.failure) {
		s->setup.failure->disturbances = s->disturbances;
		vsnprintf(s->setup.failure->why, sizeof(s->setup.failure->why), fmt, ap);
		_exit(1);
	}
	if (!s->setup.verbose)
		fwrite(s->setup.trace, 1, s->trace_n, stdout);
	printf("seed %" PRIu64 " failed at step %" PRIu64 ", %.3f s: ", s->seed, s->steps,
	       (double)s->now_ms / 1000);
	vprintf(fmt, ap);
	putchar('\n');
	va_end(ap);
	fflush(stdout);
	_exit(1);
}

/* ---- the queue of messages: a heap by instant ---- */

static bool before(const struct message *a, const struct message *b)
{
	return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->seq < b->seq;
}

struct message *sim_send(struct sim *s, enum message_kind kind, uint64_t in_ms)
{
	struct message *m;

	if (s->queue_n == s->queue_cap) {
		s->queue_cap = s->queue_cap ? s->queue_cap * 2 : 256;
		s->queue = xrealloc(s->queue, s->queue_cap * sizeof(*s->queue));
	}
	m = &s->queue[s->queue_n++];
	memset(m, 0, sizeof(*m));
	m->kind = kind;
	m->at_ms = s->now_ms + in_ms;
	m->seq = ++s->message_seq;
	return m;
}

static bool take_first(struct sim *s, struct message *out)
{
	size_t first = 0;

	if (!s->queue_n)
		return false;
	for (size_t i = 1; i < s->queue_n; i++) {
		if (before(&s->queue[i], &s->queue[first]))
			first = i;
	}
	*out = s->queue[first];
	s->queue[first] = s->queue[--s->queue_n];
	return true;
}

/* ---- the run ---- */

static void deliver_beat(struct sim *s, struct message *m)
{
	struct machine *ma = &s->machines[m->machine];
	struct container_info *list = xcalloc(m->list_n + 1, sizeof(*list));
	char boot[16];
	struct cluster_event e = { EVENT_HEARTBEAT,
				   .heartbeat = { .node_id = ma->node_id,
						  .boot_id = boot,
						  .docker_started_at = "then",
						  .docker_ok = m->healthy,
						  .inventory_hash = m->container.id,
						  .containers = list,
						  .containers_n = m->list_n,
						  .has_inventory = m->has_list } };

	snprintf(boot, sizeof(boot), "boot-%u", m->n);
	for (uint32_t i = 0; i < m->list_n; i++)
		machine_info(&m->list[i], &list[i]);
	if (ma->node_id) {
		e.heartbeat.reply = ++s->next_reply;
		plane_heard(s, ma);
		plane_step(s, &e);
	}
	free(list);
}

static void deliver_change(struct sim *s, struct message *m)
{
	struct machine *ma = &s->machines[m->machine];
	struct cluster_event e = { EVENT_CONTAINER, .container = { .node_id = ma->node_id } };

	if (m->n != ma->stream_n || !ma->streaming)
		return;
	machine_info(&m->container, &e.container.info);
	plane_heard(s, ma);
	plane_step(s, &e);
}

static void deliver_link_lost(struct sim *s, struct message *m)
{
	struct machine *ma = &s->machines[m->machine];
	struct cluster_event e = { EVENT_AGENT_LOST, .agent = { ma->node_id, "the stream ended" } };

	if (m->n != ma->stream_n)
		return;
	ma->streaming = false;
	if (ma->node_id || !ma->index)
		plane_step(s, &e);
	plane_link_later(s, ma, 2000);
}

static void deliver_keepalive(struct sim *s, struct message *m)
{
	struct machine *ma = &s->machines[m->machine];
	struct cluster_event e = { EVENT_EXCHANGE, .exchange = { ma->node_id, true } };
	struct message *next;
	bool alive = machine_reachable(ma);

	if (m->n != ma->stream_n || !ma->streaming)
		return;
	if (alive && ma->node_id) {
		plane_heard(s, ma);
		plane_step(s, &e);
	}
	/* An agent that died says so; one behind a broken network is missed after a while. */
	next = sim_send(s, alive ? MESSAGE_KEEPALIVE : MESSAGE_LINK_LOST,
			alive			  ? 5000
			: ma->up && !ma->agent_up ? 1
						  : 10000);
	next->machine = m->machine;
	next->n = m->n;
	next->epoch = s->epoch;
}

static void deliver_drained(struct sim *s, struct message *m)
{
	struct cluster_event e = { EVENT_DRAINED,
				   .drained = { { m->app, m->replica, m->container.id,
						  m->container.started_at } } };

	plane_step(s, &e);
}

static void deliver_join(struct sim *s, struct message *m)
{
	struct machine *ma = &s->machines[m->machine];
	struct pair label = { "region", ma->index % 2 ? "eu" : "us" };
	struct cluster_event e = { EVENT_REGISTER,
				   .reg = { .reply = ++s->next_reply,
					    .name = ma->name,
					    .token_hash = ma->token_hash,
					    .token_sealed = "sealed",
					    .join_token_hash = s->join_hash,
					    .proof_hash = ma->joined ? ma->token_hash : NULL,
					    .address = "https://worker:3100",
					    .private_address = ma->private_address,
					    .labels = { &label, 1 },
					    .architecture = "amd64" } };

	s->asked[s->next_reply % 4096] = (uint8_t)(ma->index + 1);
	plane_step(s, &e);
	/* The answer may get lost in a crash: people try again. */
	if (!ma->joined)
		sim_send(s, MESSAGE_JOIN, 100000)->machine = m->machine;
}

static bool is_for_plane(enum message_kind kind)
{
	switch (kind) {
	case MESSAGE_CALL:
	case MESSAGE_BEAT_SEND:
	case MESSAGE_REVIVE:
	case MESSAGE_END:
	case MESSAGE_HEAL:
	case MESSAGE_TROUBLE:
	case MESSAGE_RESTART: return false;
	default: return true;
	}
}

static void again(struct sim *s, enum message_kind kind, uint64_t mean_ms)
{
	sim_send(s, kind, 1 + sim_random(s, 2 * mean_ms));
}

/* Each disturbance draws from a source of its own, so that leaving one out changes little of what the others are. */
static void disturb(struct sim *s, void (*what)(struct sim *s))
{
	uint64_t random = s->random, n = s->disturbances;

	if (s->quiet_world)
		return;
	s->disturbances++;
	if (n < s->setup.without_n && s->setup.without[n])
		return;
	s->random = (s->seed + n * 0x9e3779b97f4a7c15ull) * 0xbf58476d1ce4e5b9ull | 1;
	sim_random(s, 0);
	sim_log(s, "disturbance %" PRIu64, n);
	what(s);
	s->random = random;
}

static void deliver(struct sim *s, struct message *m)
{
	struct cluster_event tick = { .type = EVENT_TICK };

	switch (m->kind) {
	case MESSAGE_TICK:
		if (m->at_ms >= s->tick_ms)
			s->tick_ms = UINT64_MAX;
		if (cluster_next_ms(s->cluster) <= s->now_ms)
			plane_step(s, &tick);
		break;
	case MESSAGE_COMMIT: plane_commit(s); break;
	case MESSAGE_RESTART: plane_restart(s); break;
	case MESSAGE_CALL: machine_call(s, m); break;
	case MESSAGE_RESULT: plane_result(s, m); break;
	case MESSAGE_BEAT_SEND: machine_beat(s, &s->machines[m->machine]); break;
	case MESSAGE_BEAT: deliver_beat(s, m); break;
	case MESSAGE_CHANGE: deliver_change(s, m); break;
	case MESSAGE_LINK: plane_link(s, &s->machines[m->machine]); break;
	case MESSAGE_LINK_LOST: deliver_link_lost(s, m); break;
	case MESSAGE_KEEPALIVE: deliver_keepalive(s, m); break;
	case MESSAGE_JOIN: deliver_join(s, m); break;
	case MESSAGE_PROBE: path_probe(s, m); break;
	case MESSAGE_DRAINED: deliver_drained(s, m); break;
	case MESSAGE_END: machine_end(s, &s->machines[m->machine], m->container.id); break;
	case MESSAGE_REVIVE: machine_revive(s, &s->machines[m->machine], m->container.id); break;
	case MESSAGE_HEAL: machine_heal(s, &s->machines[m->machine]); break;
	case MESSAGE_TRAFFIC:
		path_traffic(s);
		again(s, MESSAGE_TRAFFIC, s->quiet_world ? 5000 : 300);
		break;
	case MESSAGE_TROUBLE:
		disturb(s, machine_trouble);
		again(s, MESSAGE_TROUBLE, 25000);
		break;
	case MESSAGE_COMMAND:
		disturb(s, people_command);
		again(s, MESSAGE_COMMAND, 20000);
		break;
	}
}

static void tick_later(struct sim *s)
{
	uint64_t due_ms = s->cluster ? cluster_next_ms(s->cluster) : UINT64_MAX;

	due_ms = MAX(due_ms, MAX(s->starve_until_ms, s->now_ms));
	if (due_ms == UINT64_MAX || s->tick_ms <= due_ms)
		return;
	s->tick_ms = due_ms;
	sim_send(s, MESSAGE_TICK, due_ms - s->now_ms)->epoch = s->epoch;
}

static void run_until(struct sim *s, uint64_t end_ms, uint64_t steps)
{
	struct message m;

	while (s->now_ms < end_ms && (!steps || s->steps < steps)) {
		tick_later(s);
		if (!take_first(s, &m))
			return;
		if (is_for_plane(m.kind) && m.at_ms < s->stall_until_ms) {
			m.at_ms = s->stall_until_ms;
			*sim_send(s, m.kind, 0) = m;
			continue;
		}
		if (m.kind == MESSAGE_TICK && m.at_ms < s->starve_until_ms) {
			s->tick_ms = UINT64_MAX;
			continue;
		}
		s->wall_ms += m.at_ms - s->now_ms;
		s->now_ms = m.at_ms;
		if (m.epoch && m.epoch != s->epoch) {
			free(m.list);
			continue;
		}
		if (!is_for_plane(m.kind) || s->cluster)
			deliver(s, &m);
		else if (m.kind >= MESSAGE_TRAFFIC || m.kind == MESSAGE_JOIN)
			*sim_send(s, m.kind, 1000) = (struct message){ .kind = m.kind,
								       .machine = m.machine,
								       .at_ms = s->now_ms + 1000,
								       .seq = ++s->message_seq };
		free(m.list);
	}
}

void sim_run(struct sim *s, uint64_t seed, uint64_t steps)
{
	struct setup setup = s->setup;

	memset(s, 0, sizeof(*s));
	s->setup = setup;
	if (setup.failure)
		setup.failure->seed = seed;
	s->seed = seed;
	s->random = seed * 0x9e3779b97f4a7c15ull + 1;
	s->now_ms = 1000;
	s->wall_ms = 1700000000000;
	s->tick_ms = UINT64_MAX;
	s->epoch = 1;
	machine_init(s);
	plane_restart(s);
	again(s, MESSAGE_TRAFFIC, 1000);
	again(s, MESSAGE_TROUBLE, 40000);
	again(s, MESSAGE_COMMAND, 15000);
	run_until(s, UINT64_MAX, steps);
	sim_log(s, "---- trouble ends");
	s->quiet_world = true;
	machine_end_trouble(s);
	/* Longer than the brake, the rest of addresses and any deploy that can still end. */
	run_until(s, s->now_ms + 3000000, 0);
	check_settled(s);
	plane_free(s);
}

static uint64_t number(const char *text, const char *option)
{
	char *end;
	uint64_t n = text ? strtoull(text, &end, 10) : 0;

	if (!text || *end || !n) {
		fprintf(stderr, "sim: %s needs a number above 0\n", option);
		exit(2);
	}
	return n;
}

static int report(const struct setup *s)
{
	int rc = 0;

	for (int i = 0; i < EVENT_TYPES; i++) {
		printf("%-20s %" PRIu64 "\n", event_name(i), s->events[i]);
		rc |= !s->events[i];
	}
	for (int i = 0; i < EFFECT_TYPES; i++)
		printf("  -> %-15s %" PRIu64 "\n", effect_name(i), s->effects[i]);
	if (rc)
		printf("some events never happened: more seeds are needed\n");
	return rc;
}

/* "3,17,20": all but these disturbances are left out. */
static void leave_only(struct setup *setup, const char *list)
{
	static bool without[DISTURBANCES_MAX];

	memset(without, true, sizeof(without));
	for (const char *p = list; p && *p; p += strcspn(p, ",") + (strchr(p, ',') != NULL)) {
		uint64_t n = strtoull(p, NULL, 10);

		if (n < DISTURBANCES_MAX)
			without[n] = false;
	}
	setup->without = without;
	setup->without_n = DISTURBANCES_MAX;
}

static int run_all(struct sim *s, uint64_t first, uint64_t seeds, uint64_t steps)
{
	for (uint64_t i = 0; i < seeds; i++)
		sim_run(s, first + i, steps);
	printf("%" PRIu64 " seeds from %" PRIu64 ", at least %" PRIu64
	       " steps each: all invariants hold\n",
	       seeds, first, steps);
	return seeds >= 20 ? report(&s->setup) : 0;
}

/* In a process of their own, so that a failed assertion of the domain is found and made small like any other failure. */
static int run_apart(struct sim *s, uint64_t first, uint64_t seeds, uint64_t steps)
{
	struct breach *f = mmap(NULL, sizeof(*f), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int status = 0;
	pid_t pid;

	if (f == MAP_FAILED)
		return perror("sim: mmap"), 2;
	s->setup.failure = f;
	pid = fork();
	if (pid == 0) {
		status = run_all(s, first, seeds, steps);
		fflush(stdout);
		_exit(status ? 3 : 0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		return perror("sim: fork"), 2;
	if (WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 3))
		return WEXITSTATUS(status);
	minimize(f, steps);
	return 1;
}

int main(int argc, char **argv)
{
	struct sim *s = xcalloc(1, sizeof(*s));
	uint64_t seeds = 20, first = 1, steps = 3000;
	bool apart = true;
	int rc;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--seeds") == 0 && ++i)
			seeds = number(argv[i], "--seeds");
		else if (strcmp(argv[i], "--first") == 0 && ++i)
			first = number(argv[i], "--first");
		else if (strcmp(argv[i], "--steps") == 0 && ++i)
			steps = number(argv[i], "--steps");
		else if (strcmp(argv[i], "--only") == 0 && ++i)
			leave_only(&s->setup, argv[i]);
		else if (strcmp(argv[i], "--as-is") == 0)
			apart = false;
		else if (strcmp(argv[i], "--verbose") == 0)
			s->setup.verbose = true;
		else
			return fprintf(stderr, "usage: sim [--seeds N] [--first S] [--steps K] [--as-is] [--verbose] [--only N,N,...]\n"), 2;
	}
	apart = apart && !s->setup.verbose && !s->setup.without;
	s->setup.trace = xcalloc(1, SIM_TRACE_BYTES);
	rc = apart ? run_apart(s, first, seeds, steps) : run_all(s, first, seeds, steps);
	free(s->setup.trace);
	free(s);
	return rc;
}
