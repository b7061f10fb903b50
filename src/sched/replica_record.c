/* A replica's stored form. It has four phases only: what happens between them is found out again after a restart. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"
#include "sched/state.h"

static const char *const members[] = {
	"app",	      "replica",    "release",	    "node_id",	    "phase",	  "ip",
	"port",	      "published",  "spec_hash",    "container_id", "started_at", "reason",
	"failed",     "foreign",    "away",	    "created_ms",   "ended_ms",	  "exit_code",
	"oom_killed", "cpu_millis", "memory_bytes", "disk_bytes",	  "gpus",	"cards",
	"score",      "placed",	    "leaving",	    "restarts",
	"degraded",   "hook",	    NULL,
};
static const char *const phases[] = {
	[PHASE_PLACED] = "placed",
	[PHASE_READY] = "ready",
	[PHASE_RETIRING] = "retiring",
	[PHASE_GONE] = "gone",
};

enum phase replica_phase(enum replica_state state)
{
	if (state == REPLICA_GONE)
		return PHASE_GONE;
	if (state == REPLICA_READY)
		return PHASE_READY;
	return state < REPLICA_READY ? PHASE_PLACED : PHASE_RETIRING;
}

static void key_of(const struct replica *r, char *key, size_t size)
{
	snprintf(key, size, "%s/%010" PRIu32, r->app->name, r->n);
}

void replica_save(struct cluster *c, struct replica *r)
{
	char key[APP_NAME_MAX + 16];
	struct json_out o;
	struct buf buf;

	key_of(r, key, sizeof(key));
	record_open(&o, &buf);
	json_put_str(&o, "app", r->app->name);
	json_put_int(&o, "replica", r->n);
	json_put_int(&o, "release", r->release_n);
	json_put_int(&o, "node_id", r->node->id);
	json_put_str(&o, "phase", phases[replica_phase(r->state)]);
	json_put_str(&o, "ip", r->ip);
	json_put_int(&o, "port", r->port);
	json_put_bool(&o, "published", r->published);
	json_put_str(&o, "spec_hash", r->spec_hash);
	json_put_str(&o, "container_id", r->container_id);
	json_put_str(&o, "started_at", r->started_at);
	json_put_str(&o, "reason", r->reason);
	json_put_bool(&o, "failed", r->failed);
	json_put_bool(&o, "foreign", r->foreign);
	json_put_bool(&o, "away", r->away);
	json_put_bool(&o, "leaving", r->leaving);
	json_put_bool(&o, "hook", r->hook);
	json_put_int(&o, "created_ms", (int64_t)r->created_wall_ms);
	json_put_int(&o, "ended_ms", (int64_t)r->ended_wall_ms);
	json_put_int(&o, "exit_code", r->exit_code);
	json_put_bool(&o, "oom_killed", r->oom_killed);
	json_put_int(&o, "restarts", r->restarts);
	json_put_bool(&o, "degraded", r->degraded);
	json_put_int(&o, "cpu_millis", (int64_t)r->promised.cpu_millis);
	json_put_int(&o, "memory_bytes", (int64_t)r->promised.memory_bytes);
	json_put_int(&o, "disk_bytes", (int64_t)r->promised.disk_bytes);
	json_put_int(&o, "gpus", r->promised.gpus);
	json_put_int(&o, "cards", (int64_t)r->cards);
	json_put_int(&o, "score", r->score);
	json_put_str(&o, "placed", r->placed);
	record_close(c, &o, "replica", key, r->extra, members);
}

void replica_delete_record(struct cluster *c, struct replica *r)
{
	char key[APP_NAME_MAX + 16];

	key_of(r, key, sizeof(key));
	batch_del(c->batch, "replica", key);
}

static int load_texts(struct replica *r, const struct json *doc, struct err *err)
{
	int rc = record_text(r->ip, sizeof(r->ip), doc, "ip", err);

	if (!rc)
		rc = record_text(r->spec_hash, sizeof(r->spec_hash), doc, "spec_hash", err);
	if (!rc)
		rc = record_str(&r->container_id, doc, "container_id", 128, err);
	if (!rc)
		rc = record_str(&r->started_at, doc, "started_at", 64, err);
	if (!rc)
		rc = record_str(&r->reason, doc, "reason", SPEC_TEXT_MAX, err);
	if (!rc)
		rc = record_str(&r->placed, doc, "placed", SPEC_TEXT_MAX, err);
	return rc;
}

static int load_numbers(struct replica *r, const struct json *doc, struct err *err)
{
	uint32_t port = 0;
	int rc = record_u32(&port, doc, "port", UINT16_MAX, err);

	r->port = (uint16_t)port;
	r->exit_code = (int)json_int(json_get(doc, "exit_code"), 0);
	if (!rc)
		rc = record_bool(&r->published, doc, "published", err);
	if (!rc)
		rc = record_bool(&r->failed, doc, "failed", err);
	if (!rc)
		rc = record_bool(&r->foreign, doc, "foreign", err);
	if (!rc)
		rc = record_bool(&r->away, doc, "away", err);
	if (!rc)
		rc = record_bool(&r->leaving, doc, "leaving", err);
	if (!rc)
		rc = record_bool(&r->hook, doc, "hook", err);
	if (!rc)
		rc = record_bool(&r->oom_killed, doc, "oom_killed", err);
	if (!rc)
		rc = record_u32(&r->restarts, doc, "restarts", UINT32_MAX, err);
	if (!rc)
		rc = record_bool(&r->degraded, doc, "degraded", err);
	if (!rc)
		rc = record_u64(&r->created_wall_ms, doc, "created_ms", INT64_MAX, err);
	if (!rc)
		rc = record_u64(&r->ended_wall_ms, doc, "ended_ms", INT64_MAX, err);
	return rc;
}

/* While its container may be there. */
static int load_promise(struct replica *r, const struct json *doc, struct err *err)
{
	struct resources want = { 0 };
	int rc = record_u64(&want.cpu_millis, doc, "cpu_millis", UINT32_MAX, err);

	if (!rc)
		rc = record_u64(&want.memory_bytes, doc, "memory_bytes", INT64_MAX, err);
	if (!rc)
		rc = record_u64(&want.disk_bytes, doc, "disk_bytes", INT64_MAX, err);
	if (!rc)
		rc = record_u32(&want.gpus, doc, "gpus", NODE_GPUS_MAX, err);
	if (rc || r->state == REPLICA_GONE)
		return rc;
	/* All 64 bits of it: a mask, no number. */
	r->cards = (uint64_t)json_int(json_get(doc, "cards"), 0);
	r->score = (int32_t)json_int(json_get(doc, "score"), 0);
	promise_make(r, &want);
	return 0;
}

/* What the phase means after a restart: whatever was under way is asked for again. */
static int load_phase(struct replica *r, const struct json *doc, struct err *err)
{
	static const enum replica_state resumed[] = {
		[PHASE_PLACED] = REPLICA_PLACED,
		[PHASE_READY] = REPLICA_READY,
		[PHASE_RETIRING] = REPLICA_STOPPING,
		[PHASE_GONE] = REPLICA_GONE,
	};
	const char *phase = json_cstr(json_get(doc, "phase"), "");
	unsigned i = 0;

	while (i < ARRAY_LEN(phases) && strcmp(phases[i], phase) != 0)
		i++;
	if (i == ARRAY_LEN(phases))
		return err_say(err, -EINVAL, "member \"phase\": unknown \"%.40s\"", phase);
	r->state = resumed[i];
	/* A process that was upgraded may still have requests there. */
	if (r->state == REPLICA_STOPPING && r->port && *r->container_id && !r->failed)
		r->state = REPLICA_DRAINING;
	r->maybe_created = true;
	r->verify = r->hook && r->state == REPLICA_PLACED;
	if (replica_is_live(r) && !r->release)
		return err_say(err, -EINVAL, "its release is not there");
	return 0;
}

/* Its address is taken again. A pool that no longer fits the configuration has nothing to take. */
static int load_address(struct replica *r, struct err *err)
{
	struct address_pool *pool = r->node->pool;

	if (!r->port || !pool || address_slot(pool, r->ip, r->port, &r->slot))
		return 0;
	if (address_take_slot(pool, r->slot))
		return err_say(err, -EINVAL, "its address %s:%u is taken", r->ip, r->port);
	r->pool = pool;
	return 0;
}

static struct node *find_node(struct cluster *c, int64_t id)
{
	struct node *n = cluster_find_node(c, id);

	if (n)
		return n;
	LIST_FOR_EACH(removed, &c->removed, struct node, link) {
		if (removed->id == id)
			return removed;
	}
	return NULL;
}

static int load_names(struct cluster *c, const struct json *doc, struct replica **out,
		      struct err *err)
{
	struct app *a = cluster_find_app(c, json_cstr(json_get(doc, "app"), ""));
	struct node *n = find_node(c, json_int(json_get(doc, "node_id"), -1));
	uint32_t number = 0, release = 0;
	int rc = record_u32(&number, doc, "replica", UINT32_MAX - 1, err);

	if (!rc)
		rc = record_u32(&release, doc, "release", UINT32_MAX - 1, err);
	if (rc)
		return rc;
	if (!a || !n || !number || replica_find(c, a->name, number))
		return err_say(err, -EINVAL, "its app or node is not there, or it is there twice");
	*out = replica_create(c, a, app_release(a, release), n, number);
	(*out)->release_n = release;
	a->next_replica = MAX(a->next_replica, number + 1);
	return 0;
}

int replica_load(struct cluster *c, struct json **doc, struct err *err)
{
	struct replica *r = NULL;
	int rc = load_names(c, *doc, &r, err);

	if (rc)
		return rc;
	rc = load_texts(r, *doc, err);
	if (!rc)
		rc = load_numbers(r, *doc, err);
	if (!rc)
		rc = load_phase(r, *doc, err);
	if (!rc)
		rc = load_address(r, err);
	if (!rc)
		rc = load_promise(r, *doc, err);
	if (rc)
		return rc;
	r->node->has_away = r->node->has_away || r->away;
	record_keep(&r->extra, doc, members);
	return 0;
}
