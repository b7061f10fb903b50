/* The cluster: making it, and the step that changes it. */
#include "sched/cluster.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"
#include "sched/state.h"

#define TIMERS_PER_TICK 1000u /* the rest is due at once again: a tick never takes long */

static uint32_t or_default(uint32_t value, uint32_t def)
{
	return value ? value : def;
}

static void config_copy(struct cluster_config *c, const struct cluster_config *from)
{
	*c = *from;
	c->cluster_id = xstrdup(from->cluster_id ? from->cluster_id : "temps");
	c->local_name = xstrdup(from->local_name ? from->local_name : "local");
	c->local_architecture = xstrdup(from->local_architecture ? from->local_architecture : "");
	c->local_subnet = xstrdup(from->local_subnet ? from->local_subnet : "172.31.240.0/20");
	c->port_first = from->port_first ? from->port_first : 20000;
	c->port_last = from->port_last ? from->port_last : 29999;
	c->offline_after_ms = or_default(from->offline_after_ms, 90000);
	c->late_turn_ms = or_default(from->late_turn_ms, 5000);
	c->drain_limit_ms = or_default(from->drain_limit_ms, 300000);
	c->health_limit_ms = or_default(from->health_limit_ms, 60000);
	c->image_limit_ms = or_default(from->image_limit_ms, 1800000);
	c->rpc_limit_ms = or_default(from->rpc_limit_ms, 330000);
	c->rollout_limit_ms = or_default(from->rollout_limit_ms, 3600000);
	c->address_rest_ms = or_default(from->address_rest_ms, 600000);
	c->stop_grace_s = or_default(from->stop_grace_s, 10);
	c->brake_ms = or_default(from->brake_ms, 600000);
	c->beat_flush_ms = or_default(from->beat_flush_ms, 10000);
	c->place_slice = or_default(from->place_slice, 100);
}

static void init_lists(struct cluster *c)
{
	struct list *lists[] = {
		&c->nodes,	 &c->removed,	  &c->apps,	      &c->unsettled,
		&c->statics,	 &c->join_tokens, &c->api_keys,	      &c->registries,
		&c->dirty_nodes, &c->dirty_apps,  &c->dirty_releases, &c->dirty_replicas,
		&c->beats,	 &c->touched,	  &c->offlines,	  &c->keepers,
	};
	struct map *maps[] = { &c->nodes_by_id,	     &c->nodes_by_name, &c->apps_by_name,
			       &c->replicas_by_name, &c->hosts,		&c->pools };

	for (size_t i = 0; i < ARRAY_LEN(lists); i++)
		list_init(lists[i]);
	for (size_t i = 0; i < ARRAY_LEN(maps); i++)
		map_init(maps[i], &c->config.hash_key);
	c->pulse.kind = TIMER_PULSE;
	c->beats_timer.kind = TIMER_BEATS;
	c->brake.kind = TIMER_BRAKE;
	c->room.kind = TIMER_ROOM;
}

/* The addresses of local's containers. */
static int init_local(struct cluster *c, struct err *err)
{
	if (c->config.local_publish)
		c->local_pool =
			address_pool_ports("127.0.0.1", c->config.port_first, c->config.port_last);
	else
		c->local_pool = address_pool_network(c->config.local_subnet, err);
	if (!c->local_pool)
		return -EINVAL;
	map_put(&c->pools, slice_str(c->local_pool->key), c->local_pool);
	c->local = node_create(c, NODE_LOCAL_ID, c->config.local_name);
	c->local->pool = c->local_pool;
	c->local->docker_ok = true;
	text_replace(&c->local->role, "control");
	text_replace(&c->local->architecture, c->config.local_architecture);
	pairs_copy(&c->local->labels, &c->config.local_labels);
	c->config.local_labels = (struct pairs){ 0 }; /* borrowed for the call */
	snprintf(c->local->reason, sizeof(c->local->reason), "no Docker engine answers");
	return 0;
}

struct cluster *cluster_create(const struct cluster_config *config, struct err *err)
{
	struct cluster *c = xcalloc(1, sizeof(*c));
	int rc = 0;

	config_copy(&c->config, config);
	init_lists(c);
	c->next_node_id = 1;
	c->cursor = -1;
	if (!text_is_app_name(slice_str(c->config.cluster_id)))
		rc = err_say(err, -EINVAL,
			     "cluster id \"%.100s\": expected lower-case letters, digits and \"-\"",
			     c->config.cluster_id);
	else if (!text_is_name(slice_str(c->config.local_name)))
		rc = err_say(err, -EINVAL, "name of the local node \"%.100s\": not a name",
			     c->config.local_name);
	else if (c->config.port_last < c->config.port_first)
		rc = err_say(err, -EINVAL, "host ports %u-%u: the last is below the first",
			     c->config.port_first, c->config.port_last);
	else
		rc = init_local(c, err);
	if (rc) {
		cluster_destroy(c);
		return NULL;
	}
	return c;
}

static void free_maps(struct cluster *c)
{
	struct address_pool *p;
	uint32_t at = 0;

	while ((p = map_next(&c->pools, &at)))
		address_pool_destroy(p);
	map_fini(&c->pools);
	map_fini(&c->nodes_by_id);
	map_fini(&c->nodes_by_name);
	map_fini(&c->apps_by_name);
	map_fini(&c->replicas_by_name);
	map_fini(&c->hosts);
}

void cluster_destroy(struct cluster *c)
{
	if (!c)
		return;
	host_free_all(c);
	LIST_FOR_EACH_SAFE(a, &c->apps, struct app, link)
		app_destroy(c, a);
	LIST_FOR_EACH_SAFE(n, &c->nodes, struct node, link)
		node_destroy(c, n);
	LIST_FOR_EACH_SAFE(n, &c->removed, struct node, link)
		node_destroy(c, n);
	token_free_all(c);
	timer_clear(&c->timers, &c->pulse);
	timer_clear(&c->timers, &c->beats_timer);
	timer_clear(&c->timers, &c->brake);
	timer_clear(&c->timers, &c->room);
	timers_fini(&c->timers);
	free_maps(c);
	json_free(c->meta_extra);
	free((char *)c->config.cluster_id);
	free((char *)c->config.local_name);
	free((char *)c->config.local_architecture);
	free((char *)c->config.local_subnet);
	free(c);
}

/* ---- what the other files use ---- */

void cluster_touch(struct cluster *c, struct app *a)
{
	if (list_empty(&a->touched_link))
		list_push_back(&c->touched, &a->touched_link);
}

void cluster_tell(struct cluster *c, const char *type, const char *subject, const char *fmt, ...)
{
	struct effect *e = batch_effect(c->batch, EFFECT_EVENT);
	struct buf text;
	va_list ap;

	buf_init(&text, 4096);
	va_start(ap, fmt);
	buf_vprintf(&text, fmt, ap);
	va_end(ap);
	e->event.type = type;
	e->event.subject = batch_str(c->batch, subject);
	e->event.text = batch_str(c->batch, text.data ? text.data : "");
	e->event.wall_ms = c->now.wall_ms;
	buf_fini(&text);
}

static int reply_status(enum reply_kind kind)
{
	switch (kind) {
	case REPLY_OK:
	case REPLY_CREATED: return 0;
	case REPLY_INVALID: return -EINVAL;
	case REPLY_FORBIDDEN: return -EACCES;
	case REPLY_NOT_FOUND: return -ENOENT;
	case REPLY_CONFLICT: return -EEXIST;
	case REPLY_UNPLACEABLE: return -EHOSTUNREACH;
	case REPLY_LIMIT: return -ENOSPC;
	}
	return -EINVAL;
}

struct effect_reply *cluster_reply(struct cluster *c, uint64_t reply, enum reply_kind kind,
				   const char *title, const char *fmt, ...)
{
	struct effect *e;
	struct buf text;
	va_list ap;

	if (!reply)
		return NULL;
	buf_init(&text, 16384);
	va_start(ap, fmt);
	buf_vprintf(&text, fmt, ap);
	va_end(ap);
	e = batch_effect(c->batch, EFFECT_REPLY);
	e->reply.reply = reply;
	e->reply.kind = kind;
	e->reply.status = reply_status(kind);
	e->reply.title = batch_str(c->batch, title);
	e->reply.text = batch_str(c->batch, text.data ? text.data : "");
	e->reply.node_id = -1;
	e->reply.id = "";
	buf_fini(&text);
	return &e->reply;
}

uint64_t cluster_op(struct cluster *c)
{
	return ++c->op_seq;
}

struct node *cluster_find_node(struct cluster *c, int64_t id)
{
	return map_get(&c->nodes_by_id, slice_of(&id, sizeof(id)));
}

struct app *cluster_find_app(struct cluster *c, const char *name)
{
	return map_get(&c->apps_by_name, slice_str(name));
}

/* ---- the step ---- */

static void do_start(struct cluster *c)
{
	c->started = true;
	app_start_paused(c);
	host_start(c);
	LIST_FOR_EACH(a, &c->apps, struct app, link) {
		LIST_FOR_EACH(r, &a->replicas, struct replica, link) {
			if (r->state == REPLICA_READY)
				replica_ready(c, r);
		}
	}
	liveness_start(c);
	LIST_FOR_EACH(n, &c->nodes, struct node, link)
		drain_settle(c, n);
	LIST_FOR_EACH(a, &c->apps, struct app, link) {
		LIST_FOR_EACH(r, &a->replicas, struct replica, link) {
			if (r->restarts)
				result_expect_calm(c, r);
			if (r->state == REPLICA_GONE)
				replica_rest(c, r);
			else if (r->state == REPLICA_DRAINING)
				replica_drain(c, r);
			else if (!replica_is_live(r))
				replica_drive(c, r);
		}
		cluster_touch(c, a);
	}
}

static void fire(struct cluster *c, struct timer *t)
{
	switch ((enum timer_kind)t->kind) {
	case TIMER_NODE: liveness_expired(c, CONTAINER_OF(t, struct node, timer)); break;
	case TIMER_REPLICA: replica_expired(c, CONTAINER_OF(t, struct replica, timer)); break;
	case TIMER_CALM: result_calm(c, CONTAINER_OF(t, struct replica, calm)); break;
	case TIMER_APP: cluster_touch(c, CONTAINER_OF(t, struct app, timer)); break;
	case TIMER_ROLLOUT:
		rollout_fail(c, CONTAINER_OF(t, struct app, rollout_timer),
			     "the deploy took too long");
		break;
	case TIMER_PLACE: cluster_touch(c, CONTAINER_OF(t, struct app, place_timer)); break;
	case TIMER_PULSE: liveness_pulse(c); break;
	case TIMER_BEATS:
		LIST_FOR_EACH_SAFE(n, &c->beats, struct node, beat_link) {
			list_remove(&n->beat_link);
			node_save_beat(c, n);
		}
		break;
	case TIMER_BRAKE: liveness_release_brake(c); break;
	case TIMER_ROOM: liveness_look_again(c); break;
	}
}

static void do_tick(struct cluster *c)
{
	for (uint32_t i = 0; i < TIMERS_PER_TICK; i++) {
		struct timer *t = timers_first(&c->timers);

		if (!t || t->due_ms > c->now.mono_ms)
			return;
		timer_clear(&c->timers, t);
		fire(c, t);
	}
}

static void do_node_event(struct cluster *c, const struct cluster_event *e)
{
	struct node *n;

	switch (e->type) {
	case EVENT_EXCHANGE:
		n = cluster_find_node(c, e->exchange.node_id);
		if (n)
			liveness_exchange(c, n, e->exchange.outbound);
		break;
	case EVENT_AGENT_REACHABLE:
		n = cluster_find_node(c, e->agent.node_id);
		if (n)
			liveness_reachable(c, n);
		break;
	case EVENT_AGENT_LOST:
		n = cluster_find_node(c, e->agent.node_id);
		if (n)
			liveness_lost(c, n, true, e->agent.reason);
		break;
	case EVENT_CAPACITY:
		n = cluster_find_node(c, e->capacity.node_id);
		if (n)
			node_measured(c, n, &e->capacity.capacity);
		break;
	case EVENT_INVENTORY:
		n = cluster_find_node(c, e->inventory.node_id);
		if (!n)
			break;
		liveness_exchange(c, n, true);
		inventory_full(c, n, e->inventory.containers, e->inventory.containers_n);
		break;
	case EVENT_CONTAINER:
		n = cluster_find_node(c, e->container.node_id);
		if (!n)
			break;
		liveness_exchange(c, n, true);
		inventory_one(c, n, &e->container.info);
		break;
	default: break;
	}
}

static void dispatch_result(struct cluster *c, const struct cluster_event *e)
{
	switch (e->type) {
	case EVENT_IMAGE_DONE: result_image(c, &e->image); break;
	case EVENT_CREATE_DONE: result_create(c, &e->container_done); break;
	case EVENT_INSPECT_DONE: result_inspect(c, &e->container_done); break;
	case EVENT_LOG_TAIL_DONE: result_tail(c, &e->log_tail); break;
	case EVENT_STOP_DONE: result_stop(c, &e->result); break;
	case EVENT_REMOVE_DONE: result_remove(c, &e->result); break;
	case EVENT_PROBE_DONE: result_probe(c, &e->probe); break;
	case EVENT_UPSTREAM_FAILED: liveness_upstream(c, &e->upstream); break;
	case EVENT_DRAINED: replica_drained(c, &e->drained); break;
	default: do_node_event(c, e); break;
	}
}

static void dispatch(struct cluster *c, const struct cluster_event *e)
{
	switch (e->type) {
	case EVENT_START: do_start(c); break;
	case EVENT_TICK: do_tick(c); break;
	case EVENT_REGISTER: node_register(c, &e->reg); break;
	case EVENT_HEARTBEAT: node_heartbeat(c, &e->heartbeat); break;
	case EVENT_NODE_DELETE: node_delete(c, &e->node_delete); break;
	case EVENT_NODE_DRAIN: drain_begin(c, &e->node_drain); break;
	case EVENT_NODE_UNDRAIN: drain_end(c, &e->node_drain); break;
	case EVENT_NODE_GC: inventory_gc(c, &e->node_gc); break;
	case EVENT_REBALANCE: move_ordered(c, &e->rebalance); break;
	case EVENT_BRAKE_RELEASE: liveness_override_brake(c, &e->command); break;
	case EVENT_DEPLOY: rollout_deploy(c, &e->deploy); break;
	case EVENT_PROMOTE: app_promote(c, &e->app); break;
	case EVENT_ABORT: app_abort(c, &e->app); break;
	case EVENT_APP_DELETE: rollout_app_delete(c, &e->app_delete); break;
	case EVENT_SCALE: app_scale(c, &e->app); break;
	case EVENT_RESTART: app_restart(c, &e->app); break;
	case EVENT_ROLLBACK: app_rollback(c, &e->app); break;
	case EVENT_PAUSE: app_pause(c, &e->app); break;
	case EVENT_RESUME: app_resume(c, &e->app); break;
	case EVENT_LOCK: app_lock(c, &e->app); break;
	case EVENT_UNLOCK: app_unlock(c, &e->app); break;
	case EVENT_JOIN_TOKEN_CREATE: token_create(c, &e->join_token_create); break;
	case EVENT_JOIN_TOKEN_REVOKE: token_revoke(c, &e->revoke); break;
	case EVENT_API_KEY_CREATE: token_key_create(c, &e->api_key_create); break;
	case EVENT_API_KEY_REVOKE: token_key_revoke(c, &e->revoke); break;
	case EVENT_STATIC_ADD: host_static_add(c, &e->route); break;
	case EVENT_STATIC_SET: host_static_set(c, &e->route); break;
	case EVENT_STATIC_REMOVE: host_static_remove(c, &e->route); break;
	case EVENT_REGISTRY_ADD: token_registry_add(c, &e->registry); break;
	case EVENT_REGISTRY_REMOVE: token_registry_remove(c, &e->registry); break;
	default: dispatch_result(c, e); break;
	}
}

static const char *const meta_members[] = { "next_node_id", "cursor", NULL };

static void meta_save(struct cluster *c)
{
	struct json_out o;
	struct buf buf;

	record_open(&o, &buf);
	json_put_int(&o, "next_node_id", c->next_node_id);
	json_put_int(&o, "cursor", c->cursor);
	record_close(c, &o, "meta", "cluster", c->meta_extra, meta_members);
}

static int meta_load(struct cluster *c, struct json **doc, struct err *err)
{
	int64_t cursor = -1;
	int rc = json_want_int(*doc, "next_node_id", 1, INT64_MAX, &c->next_node_id, err);

	if (!rc || rc == -ENOENT)
		rc = json_want_int(*doc, "cursor", -1, INT64_MAX, &cursor, err);
	if (rc && rc != -ENOENT)
		return rc;
	c->cursor = cursor;
	record_keep(&c->meta_extra, doc, meta_members);
	return 0;
}

/* What the step changed becomes records, each once. */
static void flush(struct cluster *c)
{
	if (c->meta_dirty)
		meta_save(c);
	c->meta_dirty = false;
	LIST_FOR_EACH_SAFE(n, &c->dirty_nodes, struct node, dirty_link) {
		list_remove(&n->dirty_link);
		node_save(c, n);
	}
	LIST_FOR_EACH_SAFE(a, &c->dirty_apps, struct app, dirty_link) {
		list_remove(&a->dirty_link);
		app_save(c, a);
	}
	LIST_FOR_EACH_SAFE(rel, &c->dirty_releases, struct release, dirty_link) {
		list_remove(&rel->dirty_link);
		release_save(c, rel);
	}
	LIST_FOR_EACH_SAFE(r, &c->dirty_replicas, struct replica, dirty_link) {
		list_remove(&r->dirty_link);
		replica_save(c, r);
	}
}

struct batch *cluster_step(struct cluster *c, const struct cluster_event *e, struct cluster_now now)
{
	struct batch *b = batch_new();
	struct app *a;

	assert(!c->batch);
	c->batch = b;
	c->now = now;
	liveness_turn(c);
	dispatch(c, e);
	while ((a = LIST_FIRST(&c->touched, struct app, touched_link))) {
		list_remove(&a->touched_link);
		app_settle(c, a);
	}
	flush(c);
	c->batch = NULL;
	c->counts.steps++;
	c->counts.records += b->records_n;
	c->counts.effects += b->effects_n;
	return b;
}

uint64_t cluster_next_ms(const struct cluster *c)
{
	const struct timer *t = timers_first(&c->timers);

	return t ? t->due_ms : UINT64_MAX;
}

/* ---- loading ---- */

const char *const cluster_kinds[] = { "meta",	  "node",	  "beat", "join_token", "api_key",
				      "registry", "static_route", "app",  "release",	"failure",
				      "replica",  NULL };

static int load_kind(struct cluster *c, const char *kind, struct slice key, struct json **doc,
		     struct err *err)
{
	if (strcmp(kind, "meta") == 0)
		return meta_load(c, doc, err);
	if (strcmp(kind, "node") == 0)
		return node_load(c, doc, err);
	if (strcmp(kind, "beat") == 0)
		return node_load_beat(c, key, doc, err);
	if (strcmp(kind, "static_route") == 0)
		return host_load_static(c, doc, err);
	if (strcmp(kind, "app") == 0)
		return app_load(c, doc, err);
	if (strcmp(kind, "release") == 0)
		return release_load(c, doc, err);
	if (strcmp(kind, "failure") == 0)
		return failure_load(c, doc, err);
	if (strcmp(kind, "replica") == 0)
		return replica_load(c, doc, err);
	return token_load(c, kind, doc, err);
}

int cluster_load(struct cluster *c, const char *kind, struct slice key, struct slice value,
		 struct err *err)
{
	struct json *doc = NULL;
	int64_t v = 0;
	int rc = json_parse(&doc, value, err);

	assert(!c->started);
	if (!rc)
		rc = json_want_int(doc, "v", 0, INT64_MAX, &v, err);
	if (rc == -ENOENT)
		rc = err_say(err, -EPROTO, "no schema version");
	else if (!rc && v != CLUSTER_RECORD_VERSION)
		rc = err_say(err, -EPROTO, "schema version %lld, this program knows %d",
			     (long long)v, CLUSTER_RECORD_VERSION);
	if (!rc)
		rc = load_kind(c, kind, key, &doc, err);
	json_free(doc);
	if (rc)
		err_prefix(err, "stored %s \"%.*s\"", kind, SLICE_ARG(key));
	return rc;
}
