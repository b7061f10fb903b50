/* The world of the domain's unit tests. */
#include "sched_rig.h"

#include <stdio.h>
#include <stdlib.h>

#include "check.h"

const char *rig_hash(char digit)
{
	static char hashes[128][65];

	memset(hashes[(unsigned char)digit], digit, 64);
	return hashes[(unsigned char)digit];
}

static void keep(struct rig *r, const struct record *rec)
{
	char key[96];
	size_t i = 0;

	assert_int_equal(slice_copy(rec->key, key, sizeof(key)), 0);
	while (i < r->store_n &&
	       (strcmp(r->store[i].kind, rec->kind) != 0 || strcmp(r->store[i].key, key) != 0))
		i++;
	if (i < r->store_n) {
		free(r->store[i].value);
		r->store[i] = r->store[--r->store_n];
	}
	if (!rec->value.p)
		return;
	assert_true(r->store_n < ARRAY_LEN(r->store));
	i = r->store_n++;
	snprintf(r->store[i].kind, sizeof(r->store[i].kind), "%s", rec->kind);
	memcpy(r->store[i].key, key, sizeof(key));
	r->store[i].value = slice_dup(rec->value);
}

static void step(struct rig *r, const struct cluster_event *e)
{
	struct batch *b = cluster_step(r->c, e, r->now);

	for (size_t i = 0; i < b->records_n; i++)
		keep(r, &b->records[i]);
	assert_true(r->pending_n < ARRAY_LEN(r->pending));
	r->pending[r->pending_n++] = b;
}

/* ---- the world ---- */

static struct event_result result_of(struct rig *r, const struct op *op, int64_t node_id,
				     bool fails)
{
	struct event_result res = { *op, fails ? RPC_ERROR : RPC_OK,
				    fails ? "no such thing" : NULL };

	if (node_id == r->mute_node) {
		res.outcome = RPC_TRANSPORT;
		res.error = "no answer";
	}
	return res;
}

static void answer_container(struct rig *r, enum event_type type, const struct op *op,
			     int64_t node_id, bool fails)
{
	char *id = xasprintf("%s-container-%u", op->app, op->replica);
	struct cluster_event e = { type, .container_done = { result_of(r, op, node_id, fails),
							     { .container_id = id,
							       .name = "",
							       .state = CONTAINER_RUNNING,
							       .started_at = r->started_at,
							       .spec_hash = "" } } };

	if (type == EVENT_CREATE_DONE && r->volume_busy) {
		e.container_done.result.outcome = RPC_BUSY;
		e.container_done.result.error = "a volume is in use";
	}
	e.container_done.info.health = r->health;
	if (type == EVENT_INSPECT_DONE && op->replica == r->hook && !r->hook_runs) {
		e.container_done.info.state = CONTAINER_EXITED;
		e.container_done.info.exit_code = r->hook_exit;
	}
	if (type == EVENT_CREATE_DONE && r->addresses_taken) {
		r->addresses_taken--;
		e.container_done.result.outcome = RPC_ADDRESS_TAKEN;
		e.container_done.result.error = "port is already allocated";
	}
	step(r, &e);
	free(id);
}

static void answer_probe(struct rig *r, const struct effect_probe *p)
{
	struct cluster_event e = { EVENT_PROBE_DONE,
				   .probe = { p->op, !r->gate_fails, "status 500" } };

	if (!r->hold_gates && (p->mode == PROBE_GATE || !r->gate_fails))
		step(r, &e);
}

static void take_reply(struct rig *r, const struct effect_reply *reply)
{
	r->reply = *reply;
	snprintf(r->title, sizeof(r->title), "%s", reply->title);
	snprintf(r->text, sizeof(r->text), "%s", reply->text);
	snprintf(r->id, sizeof(r->id), "%s", reply->id);
}

static bool is_frozen(const struct rig *r, const struct effect *e)
{
	switch (e->type) {
	case EFFECT_IMAGE_ENSURE: return e->image.node_id == r->frozen_node;
	case EFFECT_CREATE: return e->create.node_id == r->frozen_node;
	case EFFECT_INSPECT:
	case EFFECT_LOG_TAIL:
	case EFFECT_STOP:
	case EFFECT_REMOVE: return e->container.node_id == r->frozen_node;
	default: return false;
	}
}

static void answer(struct rig *r, const struct effect *e)
{
	const struct effect_container *ct = &e->container;
	struct cluster_event out = { 0 };

	r->effects[e->type]++;
	if (is_frozen(r, e))
		return;
	r->suspected += e->type == EFFECT_ENDPOINT_FAILED && e->route.suspect;
	switch (e->type) {
	case EFFECT_IMAGE_ENSURE:
		out = (struct cluster_event){
			EVENT_IMAGE_DONE,
			.image = { result_of(r, &e->image.op, e->image.node_id, r->image_fails),
				   "sha256:1" }
		};
		step(r, &out);
		break;
	case EFFECT_APP_POLICY: r->hold_ms = e->policy.hold_ms; break;
	case EFFECT_ROUTE_IN: r->weights[e->route.endpoint.replica % 64] = e->route.weight; break;
	case EFFECT_CREATE:
		if (e->create.once) {
			r->hooks++;
			r->hook = e->create.op.replica;
		}
		answer_container(r, EVENT_CREATE_DONE, &e->create.op, e->create.node_id,
				 r->create_fails);
		break;
	case EFFECT_INSPECT:
		answer_container(r, EVENT_INSPECT_DONE, &ct->op, ct->node_id, false);
		break;
	case EFFECT_LOG_TAIL:
		out = (struct cluster_event){
			EVENT_LOG_TAIL_DONE,
			.log_tail = { result_of(r, &ct->op, ct->node_id, false), "last words" }
		};
		step(r, &out);
		break;
	case EFFECT_STOP:
	case EFFECT_REMOVE:
		out.type = e->type == EFFECT_STOP ? EVENT_STOP_DONE : EVENT_REMOVE_DONE;
		out.result = result_of(r, &ct->op, ct->node_id, false);
		step(r, &out);
		break;
	case EFFECT_PROBE_START: answer_probe(r, &e->probe); break;
	case EFFECT_ROUTE_OUT:
		r->weights[e->route.endpoint.replica % 64] = 0;
		out = (struct cluster_event){ EVENT_DRAINED,
					      .drained = { { e->route.endpoint.app,
							     e->route.endpoint.replica,
							     e->route.endpoint.container_id,
							     e->route.endpoint.started_at } } };
		if (!r->hold_drains)
			step(r, &out);
		break;
	case EFFECT_EVENT:
		if (strlen(r->events) + strlen(e->event.type) + 2 > sizeof(r->events))
			fail_msg("more events than the rig has room for");
		strcat(r->events, e->event.type);
		strcat(r->events, " ");
		break;
	case EFFECT_REPLY: take_reply(r, &e->reply); break;
	default: break;
	}
}

static void answer_all(struct rig *r)
{
	while (r->pending_n) {
		struct batch *b = r->pending[0];

		memmove(r->pending, r->pending + 1, --r->pending_n * sizeof(*r->pending));
		for (size_t i = 0; i < b->effects_n; i++)
			answer(r, &b->effects[i]);
		batch_free(b);
	}
}

void rig_do(struct rig *r, struct cluster_event e)
{
	step(r, &e);
	answer_all(r);
}

/* ---- tests' side ---- */

static void begin(struct rig *r)
{
	struct err err = { 0 };

	r->c = cluster_create(&r->config, &err);
	if (!r->c)
		fail_msg("%s", err.text);
}

static void start(struct rig *r)
{
	rig_do(r, (struct cluster_event){ .type = EVENT_START });
	rig_do(r,
	       (struct cluster_event){ EVENT_AGENT_REACHABLE, .agent = { NODE_LOCAL_ID, NULL } });
}

void rig_init(struct rig *r)
{
	memset(r, 0, sizeof(*r));
	r->config.cluster_id = "t";
	r->now = (struct cluster_now){ 1000, 1700000000000 };
	r->mute_node = r->frozen_node = -1;
	strcpy(r->started_at, "then");
	begin(r);
	start(r);
}

void rig_fini(struct rig *r)
{
	cluster_destroy(r->c);
	for (size_t i = 0; i < r->store_n; i++)
		free(r->store[i].value);
}

static int by_key(const void *a, const void *b)
{
	return strcmp(((const struct rig_record *)a)->key, ((const struct rig_record *)b)->key);
}

void rig_restart(struct rig *r)
{
	struct err err = { 0 };

	cluster_destroy(r->c);
	begin(r);
	qsort(r->store, r->store_n, sizeof(*r->store), by_key);
	for (const char *const *kind = cluster_kinds; *kind; kind++) {
		for (size_t i = 0; i < r->store_n; i++) {
			struct rig_record *rec = &r->store[i];

			if (strcmp(rec->kind, *kind) == 0 &&
			    cluster_load(r->c, rec->kind, slice_str(rec->key),
					 slice_str(rec->value), &err))
				fail_msg("%s", err.text);
		}
	}
	start(r);
}

static void beat(struct rig *r, int64_t id)
{
	rig_do(r, (struct cluster_event){ EVENT_HEARTBEAT, .heartbeat = { .reply = ++r->replies,
									  .node_id = id,
									  .docker_ok = true } });
}

void rig_pass(struct rig *r, uint64_t ms, bool alive)
{
	uint64_t end_ms = r->now.mono_ms + ms, beat_ms = r->now.mono_ms + 10000;

	for (;;) {
		uint64_t next_ms =
			MIN(MIN(cluster_next_ms(r->c), alive ? beat_ms : end_ms), end_ms);

		r->now.wall_ms += MAX(next_ms, r->now.mono_ms) - r->now.mono_ms;
		r->now.mono_ms = MAX(next_ms, r->now.mono_ms);
		if (alive && r->now.mono_ms == beat_ms) {
			beat_ms += 10000;
			for (int64_t id = 1; id < 100; id++) {
				if (cluster_node(r->c, id))
					beat(r, id);
			}
		}
		if (cluster_next_ms(r->c) <= r->now.mono_ms)
			rig_do(r, (struct cluster_event){ .type = EVENT_TICK });
		else if (r->now.mono_ms >= end_ms)
			return;
	}
}

int64_t rig_join(struct rig *r, const char *name, const char *region)
{
	struct pair label = { "region", region };
	int64_t id;
	char ip[32];

	if (list_empty(cluster_join_tokens(r->c)))
		rig_do(r, (struct cluster_event){ EVENT_JOIN_TOKEN_CREATE,
						  .join_token_create = { .reply = ++r->replies,
									 .hash = rig_hash('a') } });
	snprintf(ip, sizeof(ip), "10.0.0.%u", cluster_counts(r->c).nodes);
	rig_do(r, (struct cluster_event){ EVENT_REGISTER,
					  .reg = { .reply = ++r->replies,
						   .name = name,
						   .token_hash = rig_hash('b'),
						   .join_token_hash = rig_hash('a'),
						   .address = "https://10.0.0.1:3100",
						   .private_address = ip,
						   .labels = { &label, region ? 1 : 0 } } });
	CHECK_INT(name, r->reply.kind, REPLY_CREATED);
	id = r->reply.node_id;
	beat(r, id);
	rig_do(r, (struct cluster_event){ EVENT_AGENT_REACHABLE, .agent = { id, NULL } });
	return id;
}

struct app_spec rig_spec(uint32_t replicas)
{
	return (struct app_spec){ .image = "hello:1", .replicas = replicas, .port = 8080 };
}

void rig_deploy(struct rig *r, const char *app, const struct app_spec *spec)
{
	rig_do(r, (struct cluster_event){
			  EVENT_DEPLOY,
			  .deploy = { .reply = ++r->replies, .app = app, .spec = spec } });
}

const char *rig_nodes(struct rig *r, const char *app)
{
	static char text[256];
	const struct app *a = cluster_app(r->c, app);
	size_t n = 0;

	text[0] = '\0';
	if (!a)
		return text;
	LIST_FOR_EACH(rep, &a->replicas, struct replica, link) {
		if (rep->state <= REPLICA_READY)
			n += (size_t)snprintf(text + n, sizeof(text) - n, n ? " %d" : "%d",
					      (int)rep->node->id);
	}
	return text;
}

const struct replica *rig_replica(struct rig *r, const char *app, uint32_t n)
{
	const struct app *a = cluster_app(r->c, app);
	const struct replica *rep = a ? app_replica(a, n) : NULL;

	if (!rep)
		fail_msg("there is no replica %u of %s", n, app);
	return rep;
}
