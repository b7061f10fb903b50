/* The control plane around the domain: its store, its proxy, its links. Commits take time; whatever is not committed when it
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

/* ---- proxy ---- */

static struct route *find_route(struct sim *s, const char *app, uint32_t replica,
				const char *container_id, const char *started_at)
{
	for (size_t i = 0; i < ENDPOINTS_MAX; i++) {
		struct route *r = &s->routes[i];

		if (r->used && r->at.replica == replica && strcmp(r->app, app) == 0 &&
		    strcmp(r->container_id, container_id) == 0 &&
		    strcmp(r->started_at, started_at) == 0)
			return r;
	}
	return NULL;
}

static void route_in(struct sim *s, const struct endpoint_at *e, uint32_t weight)
{
	struct route *r = find_route(s, e->app, e->replica, e->container_id, e->started_at);

	check_route_in(s, e);
	for (size_t i = 0; !r && i < ENDPOINTS_MAX; i++)
		r = s->routes[i].used ? NULL : &s->routes[i];
	if (!r)
		sim_fail(s, "the proxy has too many endpoints: they are never routed out");
	snprintf(r->app, sizeof(r->app), "%s", e->app);
	snprintf(r->container_id, sizeof(r->container_id), "%s", e->container_id);
	snprintf(r->started_at, sizeof(r->started_at), "%s", e->started_at);
	snprintf(r->ip, sizeof(r->ip), "%s", e->ip);
	r->at = *e;
	r->weight = weight;
	r->in = r->used = true;
}

static void route_failed(struct sim *s, const struct endpoint_at *e)
{
	struct route *r = find_route(s, e->app, e->replica, e->container_id, e->started_at);

	if (r)
		r->in = false;
}

static void route_out(struct sim *s, const struct endpoint_at *e)
{
	struct route *r = find_route(s, e->app, e->replica, e->container_id, e->started_at);
	struct message *m = sim_send(s, MESSAGE_DRAINED, r ? sim_random(s, 3000) : 0);

	if (r)
		r->used = r->in = false;
	m->epoch = s->epoch;
	m->replica = e->replica;
	snprintf(m->app, sizeof(m->app), "%s", e->app);
	snprintf(m->container.id, sizeof(m->container.id), "%s", e->container_id);
	snprintf(m->container.started_at, sizeof(m->container.started_at), "%s", e->started_at);
}

void plane_traffic(struct sim *s)
{
	struct route *r = &s->routes[sim_random(s, 64)];
	struct machine *m = NULL;
	struct container *ct;
	struct cluster_event e = { EVENT_UPSTREAM_FAILED,
				   .upstream = { .endpoint = { r->app, r->at.replica,
							       r->container_id, r->started_at } } };

	if (!r->used || !r->in)
		return;
	ct = machine_listener(s, r->ip, r->at.port, &m);
	if (!m || !m->up || !m->data_pass) {
		e.upstream.failure = sim_chance(s, 500) ? UPSTREAM_TIMEOUT : UPSTREAM_UNREACHABLE;
	} else if (ct && !ct->sick) {
		if (strcmp(ct->app, r->app) != 0)
			sim_fail(s, "a request for %s reached %s", r->app, ct->name);
		return;
	} else {
		e.upstream.failure = sim_chance(s, 500) ? UPSTREAM_REFUSED : UPSTREAM_EARLY_EOF;
	}
	sim_log(s, "traffic: %s/%u fails", r->app, r->at.replica);
	plane_step(s, &e);
}

/* ---- probes ---- */

static void probe_send(struct sim *s, size_t i, uint64_t in_ms)
{
	struct message *m = sim_send(s, MESSAGE_PROBE, in_ms);

	m->epoch = s->epoch;
	m->n = (uint32_t)i;
	m->op_seq = s->probes[i].seq;
}

static void probe_start(struct sim *s, const struct effect_probe *e)
{
	for (size_t i = 0; i < PROBES_MAX; i++) {
		struct probe *p = &s->probes[i];

		if (p->used)
			continue;
		*p = (struct probe){ .replica = e->op.replica,
				     .seq = e->op.seq,
				     .port = e->endpoint.port,
				     .used = true,
				     .recover = e->mode == PROBE_RECOVER,
				     .wait_ms = 250,
				     .deadline_ms = s->now_ms + e->limit_ms,
				     .node_id = e->endpoint.node_id };
		snprintf(p->app, sizeof(p->app), "%s", e->op.app);
		snprintf(p->ip, sizeof(p->ip), "%s", e->endpoint.ip);
		snprintf(p->container_id, sizeof(p->container_id), "%s", e->endpoint.container_id);
		probe_send(s, i, 1 + sim_random(s, 50));
		return;
	}
	sim_fail(s, "too many probes: they are never cancelled");
}

static void probe_cancel(struct sim *s, const struct op *op)
{
	for (size_t i = 0; i < PROBES_MAX; i++) {
		if (s->probes[i].used && s->probes[i].seq == op->seq)
			s->probes[i].used = false;
	}
}

void plane_probe(struct sim *s, struct message *m)
{
	struct probe *p = &s->probes[m->n];
	struct machine *where = NULL;
	struct cluster_event e = { EVENT_PROBE_DONE, .probe = { { p->app, p->replica, p->seq },
								false,
								"connection refused" } };
	struct container *ct;

	if (!p->used || p->seq != m->op_seq)
		return;
	ct = machine_listener(s, p->ip, p->port, &where);
	if (where && where->up && where->data_pass && ct && !ct->sick) {
		if (strcmp(ct->id, p->container_id) != 0)
			sim_fail(s, "a probe of %s/%u reached %s", p->app, p->replica, ct->name);
		e.probe.healthy = ++p->passed >= (p->recover ? 1 : 2);
	}
	if (!e.probe.healthy && (p->recover || s->now_ms < p->deadline_ms)) {
		probe_send(s, m->n, p->wait_ms);
		p->wait_ms = p->recover ? MIN(p->wait_ms * 2, 5000u) : 250;
		return;
	}
	p->used = false;
	plane_step(s, &e);
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

void plane_heard(struct sim *s, struct machine *m)
{
	m->heard_ms = s->now_ms;
	m->stalled_ms = s->stalled_ms;
	m->stood_ms = s->stood_ms;
	m->stands = s->stands;
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

	/* A command runs at most once as long as no call arrives when its container is removed already: half a minute and more
	 * after whoever made it gave it up. */
	if (e->type == EFFECT_CREATE && e->create.once && dice >= 20 && dice < 70)
		dice = 30 + dice % 20;
	if (dice >= 20)
		m = call(s, e, op, node_id,
			 dice < 30 ? 11000 + sim_random(s, 60000) : travel_ms(s));
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
	case EFFECT_PROBE_START: probe_start(s, &e->probe); break;
	case EFFECT_PROBE_CANCEL: probe_cancel(s, &e->probe.op); break;
	case EFFECT_ROUTE_IN: route_in(s, &e->route.endpoint, e->route.weight); break;
	case EFFECT_ROUTE_OUT: route_out(s, &e->route.endpoint); break;
	case EFFECT_ENDPOINT_FAILED: route_failed(s, &e->route.endpoint); break;
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
			route_failed(s, &f->route.endpoint);
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
				plane_heard(s, &s->machines[s->asked[reply % 4096] - 1]);
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
		plane_heard(s, &s->machines[i]);
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
