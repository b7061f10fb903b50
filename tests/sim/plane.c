/* The control plane around the domain: its store and its links. Commits take time; whatever is not committed when it
 * crashes never happened. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "sim.h"

/* ---- store ---- */

static struct stored *find_stored(struct sim *s, const struct record *r)
{
	for (size_t i = 0; i < s->store_n; i++) {
		if (strcmp(s->store[i].kind, r->kind) == 0 &&
		    slice_eq(slice_str(s->store[i].key), r->key))
			return &s->store[i];
	}
	return NULL;
}

static void store_apply(struct sim *s, const struct record *r)
{
	struct stored *at = find_stored(s, r);

	if (!r->value.p) {
		if (at) {
			free(at->value);
			*at = s->store[--s->store_n];
		}
		return;
	}
	if (!at) {
		if (s->store_n == s->store_cap) {
			s->store_cap = s->store_cap ? s->store_cap * 2 : 64;
			s->store = xrealloc(s->store, s->store_cap * sizeof(*s->store));
		}
		at = &s->store[s->store_n++];
		memset(at, 0, sizeof(*at));
		snprintf(at->kind, sizeof(at->kind), "%s", r->kind);
		if (slice_copy(r->key, at->key, sizeof(at->key)))
			sim_fail(s, "a key is too long");
	}
	free(at->value);
	at->value = slice_dup(r->value);
}

static int by_key(const void *a, const void *b)
{
	return strcmp(((const struct stored *)a)->key, ((const struct stored *)b)->key);
}

static void load_all(struct sim *s)
{
	struct err err;

	if (s->store_n)
		qsort(s->store, s->store_n, sizeof(*s->store), by_key);
	for (const char *const *kind = cluster_kinds; *kind; kind++) {
		for (size_t i = 0; i < s->store_n; i++) {
			struct stored *at = &s->store[i];

			if (strcmp(at->kind, *kind) == 0 &&
			    cluster_load(s->cluster, at->kind, slice_str(at->key),
					 slice_str(at->value), &err))
				sim_fail(s, "load: %s: %s", err.text, at->value);
		}
	}
}

/* ---- links ---- */

struct machine *plane_machine(struct sim *s, int64_t node_id)
{
	for (uint32_t i = 0; i < MACHINES; i++) {
		if (s->machines[i].node_id == node_id && (node_id || !i))
			return &s->machines[i];
	}
	return NULL;
}

static void note_heard(struct sim *s, struct machine *m)
{
	m->heard_ms = s->now_ms;
	m->stalled_ms = s->stalled_ms;
	m->stood_ms = s->stood_ms;
	m->stands = s->stands;
}

void plane_heard(struct sim *s, struct machine *m)
{
	/* Who was removed and does not know it yet is nobody: its name may be another node's by now. */
	if (cluster_node(s->cluster, m->node_id))
		note_heard(s, m);
}

void plane_link_later(struct sim *s, struct machine *m, uint64_t in_ms)
{
	struct message *next;

	if (m->linking)
		return;
	m->linking = true;
	next = sim_send(s, MESSAGE_LINK, in_ms);
	next->epoch = s->epoch;
	next->machine = m->index;
}

void plane_link(struct sim *s, struct machine *m)
{
	struct cluster_event e = { EVENT_AGENT_REACHABLE,
				   .agent = { m->node_id, "connection refused" } };
	struct message *next;

	m->linking = false;
	if (m->index && !m->node_id)
		return;
	if (!machine_reachable(m)) {
		m->streaming = false;
		m->stream_n++;
		e.type = EVENT_AGENT_LOST;
		plane_step(s, &e);
		plane_link_later(s, m, 5000);
		return;
	}
	plane_heard(s, m);
	plane_step(s, &e);
	if (m->streaming)
		return;
	m->streaming = true;
	m->stream_n++;
	next = sim_send(s, MESSAGE_KEEPALIVE, 5000);
	next->machine = m->index;
	next->n = m->stream_n;
	next->epoch = s->epoch;
}

/* ---- carrying effects out ---- */

static struct message *call(struct sim *s, const struct effect *e, const struct op *op,
			    int64_t node_id, uint64_t in_ms)
{
	struct machine *ma = plane_machine(s, node_id);
	struct message *m;

	if (!ma)
		return NULL;
	m = sim_send(s, MESSAGE_CALL, in_ms);
	m->machine = ma->index;
	m->effect = e->type;
	m->n = (uint32_t)s->epoch;
	if (op) {
		snprintf(m->app, sizeof(m->app), "%s", op->app);
		m->replica = op->replica;
		m->op_seq = op->seq;
	}
	if (e->type == EFFECT_IMAGE_ENSURE) {
		snprintf(m->container.image, sizeof(m->container.image), "%s", e->image.image);
		snprintf(m->container.image_id, sizeof(m->container.image_id), "%s", e->image.image_id);
	} else if (e->type == EFFECT_CREATE) {
		snprintf(m->container.image, sizeof(m->container.image), "%s", e->create.image);
		snprintf(m->container.name, sizeof(m->container.name), "%s", e->create.name);
		snprintf(m->container.spec_hash, sizeof(m->container.spec_hash), "%s",
			 e->create.spec_hash);
		snprintf(m->container.ip, sizeof(m->container.ip), "%s",
			 e->create.host_ip     ? e->create.host_ip
			 : e->create.static_ip ? e->create.static_ip
					       : "");
		m->container.release = e->create.release;
		m->container.once = e->create.once;
		m->container.fails = e->create.once && strcmp(e->create.command.items[0], "fail") == 0;
		m->container.has_volume = e->create.volumes.n > 0;
		m->container.port = e->create.host_ip	  ? e->create.host_port
				    : e->create.static_ip ? e->create.container_port
							  : 0;
	} else if (e->type != EFFECT_LIST) {
		snprintf(m->container.id, sizeof(m->container.id), "%s", e->container.container_id);
		snprintf(m->container.name, sizeof(m->container.name), "%s", e->container.name);
	}
	return m;
}

static uint64_t travel_ms(struct sim *s)
{
	return !s->quiet_world && sim_chance(s, 30) ? sim_random(s, 20000) : 1 + sim_random(s, 100);
}

/* A call that is lost, answered in vain, doubled, or carried out long after it was given up. */
static void call_unreliably(struct sim *s, const struct effect *e, const struct op *op,
			    int64_t node_id)
{
	unsigned dice = s->quiet_world ? 1000 : (unsigned)sim_random(s, 1000);
	struct message *m = NULL, *lost;
	/* A command runs at most once as long as no call arrives when its container is removed already: its answer may be lost,
	 * it may not be late. */
	bool once = e->type == EFFECT_CREATE && e->create.once;

	if (once && dice >= 20 && dice < 70)
		dice = 30 + dice % 20;
	if (dice >= 20)
		m = call(s, e, op, node_id,
			 once	     ? 1 + sim_random(s, 10)
			 : dice < 30 ? 11000 + sim_random(s, 60000)
				     : travel_ms(s));
	if (m)
		m->mute = dice < 50;
	if (dice >= 50 && dice < 70)
		call(s, e, op, node_id, travel_ms(s) + travel_ms(s));
	if (m && !m->mute)
		return;
	lost = sim_send(s, MESSAGE_RESULT, 10000);
	lost->epoch = s->epoch;
	lost->effect = e->type;
	lost->outcome = RPC_TRANSPORT;
	snprintf(lost->app, sizeof(lost->app), "%s", op->app);
	lost->replica = op->replica;
	lost->op_seq = op->seq;
}

static void forget_machine(struct sim *s, struct machine *m)
{
	m->node_id = 0;
	m->joined = m->streaming = false;
	m->stream_n++;
	m->n = 0; /* whoever takes a machine out of one cluster clears it before it joins again */
	sim_send(s, MESSAGE_JOIN, 60000)->machine = m->index;
}

static void answered(struct sim *s, const struct effect_reply *r)
{
	uint8_t about = s->asked[r->reply % 4096];

	s->asked[r->reply % 4096] = 0;
	if (r->resync && about)
		s->machines[about - 1].inventory_due = true;
	/* The cluster removed it and crashed before it could say so. */
	if (about && r->kind == REPLY_NOT_FOUND && s->machines[about - 1].node_id)
		forget_machine(s, &s->machines[about - 1]);
	if (!about || r->kind != REPLY_CREATED)
		return;
	if (r->release)
		s->acknowledged[about - 1] = MAX(s->acknowledged[about - 1], r->release);
	if (r->node_id > 0) {
		struct machine *m = &s->machines[about - 1];

		sim_log(s, "%s joined as node %" PRId64, m->name, r->node_id);
		m->node_id = r->node_id;
		m->joined = true;
		m->inventory_due = true;
		sim_send(s, MESSAGE_BEAT_SEND, 100)->machine = m->index;
	}
}

static void pause_app(struct sim *s, const struct effect_pause *e)
{
	for (size_t i = 0; i < APPS; i++) {
		if (strcmp(sim_apps[i], e->app) == 0)
			s->paused[i] = e->paused;
	}
}

static void carry_out(struct sim *s, const struct effect *e)
{
	struct machine *m;

	s->setup.effects[e->type]++;
	switch (e->type) {
	case EFFECT_NODE_SET:
	case EFFECT_NODE_PROBE:
		m = plane_machine(s, e->node.node_id);
		if (m)
			plane_link_later(s, m, 1 + sim_random(s, 20));
		break;
	case EFFECT_NODE_GONE:
		m = plane_machine(s, e->node.node_id);
		if (m)
			forget_machine(s, m);
		break;
	case EFFECT_LIST: call(s, e, NULL, e->node.node_id, travel_ms(s)); break;
	case EFFECT_IMAGE_ENSURE: call_unreliably(s, e, &e->image.op, e->image.node_id); break;
	case EFFECT_CREATE:
		check_create(s, &e->create);
		call_unreliably(s, e, &e->create.op, e->create.node_id);
		break;
	case EFFECT_STOP:
		check_stop(s, &e->container);
		check_unknown(s, &e->container);
		call_unreliably(s, e, &e->container.op, e->container.node_id);
		break;
	case EFFECT_REMOVE:
		check_unknown(s, &e->container);
		call_unreliably(s, e, &e->container.op, e->container.node_id);
		break;
	case EFFECT_INSPECT:
	case EFFECT_LOG_TAIL: call_unreliably(s, e, &e->container.op, e->container.node_id); break;
	case EFFECT_PROBE_START: path_probe_start(s, &e->probe); break;
	case EFFECT_PROBE_CANCEL: path_probe_cancel(s, &e->probe.op); break;
	case EFFECT_ROUTE_IN: path_in(s, &e->route.endpoint, e->route.weight); break;
	case EFFECT_ROUTE_OUT: path_out(s, &e->route.endpoint); break;
	case EFFECT_ENDPOINT_FAILED: path_failed(s, &e->route.endpoint); break;
	case EFFECT_HOST_SET:
	case EFFECT_HOST_DEL: check_host(s, e); break;
	case EFFECT_APP_PAUSE: pause_app(s, &e->pause); break;
	case EFFECT_REPLY: answered(s, &e->reply); break;
	default: break;
	}
}

/* ---- results ---- */

void plane_result(struct sim *s, struct message *m)
{
	struct event_result result = { { m->app, m->replica, m->op_seq },
				       m->outcome,
				       m->outcome == RPC_OK ? NULL : "failed" };
	char *name = xasprintf("sim-%s-%u", m->app, m->replica);
	const struct replica *r = cluster_replica_named(s->cluster, name);
	struct machine *ma = r ? plane_machine(s, r->node->id) : NULL;
	struct cluster_event e = { 0 };

	free(name);
	switch (m->effect) {
	case EFFECT_LIST:
		ma = &s->machines[m->machine];
		if (!ma->node_id && ma->index)
			return;
		plane_heard(s, ma);
		e.type = EVENT_INVENTORY;
		e.inventory.node_id = ma->node_id;
		e.inventory.containers = xcalloc(m->list_n + 1, sizeof(*e.inventory.containers));
		e.inventory.containers_n = m->list_n;
		for (uint32_t i = 0; i < m->list_n; i++)
			machine_info(&m->list[i],
				     (struct container_info *)&e.inventory.containers[i]);
		plane_step(s, &e);
		free((void *)e.inventory.containers);
		return;
	case EFFECT_IMAGE_ENSURE:
		e = (struct cluster_event){ EVENT_IMAGE_DONE, .image = { result, m->container.image_id } };
		break;
	case EFFECT_CREATE:
	case EFFECT_INSPECT:
		e.type = m->effect == EFFECT_CREATE ? EVENT_CREATE_DONE : EVENT_INSPECT_DONE;
		e.container_done.result = result;
		machine_info(&m->container, &e.container_done.info);
		break;
	case EFFECT_LOG_TAIL:
		e = (struct cluster_event){ EVENT_LOG_TAIL_DONE,
					    .log_tail = { result, "the last line" } };
		break;
	case EFFECT_STOP: e = (struct cluster_event){ EVENT_STOP_DONE, .result = result }; break;
	default: e = (struct cluster_event){ EVENT_REMOVE_DONE, .result = result }; break;
	}
	if (ma && m->outcome != RPC_TRANSPORT)
		plane_heard(s, ma);
	plane_step(s, &e);
}

/* ---- steps, commits, crashes ---- */

static void commit_later(struct sim *s)
{
	const struct batch *b;

	if (s->committing || !s->commit_n)
		return;
	b = s->commits[s->commit_first];
	s->committing = true;
	sim_send(s, MESSAGE_COMMIT, b->records_n ? 1 + sim_random(s, 15) : 0)->epoch = s->epoch;
}

static void look_at(struct sim *s, const struct cluster_event *e, const struct batch *b)
{
	uint64_t reply = 0;

	for (size_t i = 0; i < b->effects_n; i++) {
		const struct effect *f = &b->effects[i];

		if (f->type == EFFECT_ENDPOINT_FAILED)
			path_failed(s, &f->route.endpoint);
		if (f->type == EFFECT_CREATE && f->create.volumes.n)
			check_owner(s, &f->create);
		if (f->type == EFFECT_EVENT)
			check_event(s, &f->event);
		if (f->type == EFFECT_REPLY) {
			if (f->reply.reply != s->next_reply || reply)
				sim_fail(s, "%s: a reply to nobody, or the second one",
					 event_name(e->type));
			reply = f->reply.reply;
			if (e->type == EVENT_REGISTER && f->reply.kind == REPLY_CREATED)
				note_heard(s, &s->machines[s->asked[reply % 4096] - 1]);
			sim_log(s, "  reply: %s", f->reply.text);
		} else {
			sim_log(s, "  -> %s", effect_name(f->type));
		}
	}
	if (s->replies_open < s->next_reply && reply != s->next_reply)
		sim_fail(s, "%s: no reply", event_name(e->type));
	s->replies_open = s->next_reply;
}

void plane_step(struct sim *s, const struct cluster_event *e)
{
	struct cluster_now now = { s->now_ms, s->wall_ms };
	struct batch *b;

	s->steps++;
	s->setup.events[e->type]++;
	if (e->type != EVENT_TICK && e->type != EVENT_EXCHANGE)
		sim_log(s, "%s", event_name(e->type));
	check_before(s, e);
	b = cluster_step(s->cluster, e, now);
	look_at(s, e, b);
	check_after(s, e);
	if (s->commit_n == ARRAY_LEN(s->commits))
		sim_fail(s, "too many commits wait");
	s->commits[(s->commit_first + s->commit_n++) % ARRAY_LEN(s->commits)] = b;
	commit_later(s);
}

void plane_commit(struct sim *s)
{
	struct batch *b = s->commits[s->commit_first];
	size_t carried = b->effects_n;
	bool crash = !s->quiet_world && b->records_n && sim_chance(s, 8);

	s->committing = false;
	s->commit_first = (s->commit_first + 1) % ARRAY_LEN(s->commits);
	s->commit_n--;
	for (size_t i = 0; i < b->records_n; i++)
		store_apply(s, &b->records[i]);
	if (crash)
		carried = sim_random(s, b->effects_n + 1);
	for (size_t i = 0; i < carried; i++)
		carry_out(s, &b->effects[i]);
	batch_free(b);
	if (crash)
		plane_crash(s, "after a commit");
	else
		commit_later(s);
}

void plane_crash(struct sim *s, const char *why)
{
	if (!s->cluster)
		return;
	sim_log(s, "---- the control plane crashes %s", why);
	for (; s->commit_n; s->commit_n--) {
		batch_free(s->commits[s->commit_first]);
		s->commit_first = (s->commit_first + 1) % ARRAY_LEN(s->commits);
	}
	s->committing = false;
	cluster_destroy(s->cluster);
	s->cluster = NULL;
	s->epoch++;
	s->stall_until_ms = s->starve_until_ms = 0;
	s->tick_ms = UINT64_MAX;
	memset(s->routes, 0, sizeof(s->routes));
	memset(s->paused, 0, sizeof(s->paused));
	memset(s->probes, 0, sizeof(s->probes));
	memset(s->leads, 0, sizeof(s->leads));
	s->braked_until_ms = 0;
	for (uint32_t i = 0; i < MACHINES; i++) {
		s->machines[i].streaming = s->machines[i].linking = false;
		s->machines[i].stream_n++;
	}
	sim_send(s, MESSAGE_RESTART, sim_random(s, 20000));
}

static void make_join_token(struct sim *s)
{
	struct cluster_event e = { EVENT_JOIN_TOKEN_CREATE,
				   .join_token_create = { .hash = s->join_hash } };

	LIST_FOR_EACH(t, cluster_join_tokens(s->cluster), struct join_token, link) {
		if (strcmp(t->hash, s->join_hash) == 0)
			return;
	}
	e.join_token_create.reply = ++s->next_reply;
	plane_step(s, &e);
}

void plane_restart(struct sim *s)
{
	struct cluster_config config = { .cluster_id = "sim",
					 .port_last = 20063,
					 .local_subnet = "172.30.0.0/24",
					 .rollout_limit_ms = 1200000,
					 .image_limit_ms = 300000,
					 .rpc_limit_ms = 60000,
					 .place_slice = 2 };
	struct cluster_event start = { .type = EVENT_START };
	struct cluster_event measured = { EVENT_CAPACITY,
					  .capacity = { NODE_LOCAL_ID,
							{ .cpu_millis = 64000, .gpus = 64 } } };
	struct err err;

	if (s->cluster)
		return;
	s->cluster = cluster_create(&config, &err);
	if (!s->cluster)
		sim_fail(s, "%s", err.text);
	load_all(s);
	check_loaded(s);
	for (uint32_t i = 0; i < MACHINES; i++)
		note_heard(s, &s->machines[i]);
	plane_step(s, &start);
	plane_step(s, &measured);
	plane_link_later(s, &s->machines[0], 10);
	make_join_token(s);
}

void plane_free(struct sim *s)
{
	for (; s->commit_n; s->commit_n--) {
		batch_free(s->commits[s->commit_first]);
		s->commit_first = (s->commit_first + 1) % ARRAY_LEN(s->commits);
	}
	cluster_destroy(s->cluster);
	for (size_t i = 0; i < s->store_n; i++)
		free(s->store[i].value);
	free(s->store);
	for (size_t i = 0; i < s->queue_n; i++)
		free(s->queue[i].list);
	free(s->queue);
	s->cluster = NULL;
}
