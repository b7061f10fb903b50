/* A node's stored forms: what it is, and when it was last heard of. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/text.h"
#include "sched/state.h"

static const char *const members[] = {
	"id",		"name",	    "address",		 "private_address", "role",
	"token_hash",	"key_hash", "token_sealed",	 "labels",	    "architecture",
	"version",	"boot_id",  "docker_started_at", "created_ms",	    "intent",
	"bound_labels", NULL,
};
static const char *const intents[] = {
	[NODE_ACTIVE] = "active",
	[NODE_DRAINING] = "draining",
	[NODE_DRAINED] = "drained",
	[NODE_REMOVED] = "removed",
};

const char *node_intent_name(enum node_intent intent)
{
	return intents[intent];
}

void node_key(const struct node *n, char *key, size_t size)
{
	snprintf(key, size, "%010" PRId64, n->id);
}

void node_save(struct cluster *c, struct node *n)
{
	struct json_out o;
	struct buf buf;
	char key[24];

	node_key(n, key, sizeof(key));
	record_open(&o, &buf);
	json_put_int(&o, "id", n->id);
	json_put_str(&o, "name", n->name);
	json_put_str(&o, "address", n->address);
	json_put_str(&o, "private_address", n->private_address);
	json_put_str(&o, "role", n->role);
	json_put_str(&o, "token_hash", n->token_hash);
	json_put_str(&o, "key_hash", n->key_hash);
	json_put_str(&o, "token_sealed", n->token_sealed);
	pairs_put(&n->labels, &o, "labels");
	pairs_put(&n->bound_labels, &o, "bound_labels");
	json_put_str(&o, "architecture", n->architecture);
	json_put_str(&o, "version", n->version);
	json_put_str(&o, "boot_id", n->boot_id);
	json_put_str(&o, "docker_started_at", n->docker_started_at);
	json_put_int(&o, "created_ms", (int64_t)n->created_wall_ms);
	json_put_str(&o, "intent", intents[n->intent]);
	record_close(c, &o, "node", key, n->extra, members);
}

void node_save_beat(struct cluster *c, struct node *n)
{
	static const char *const none[] = { NULL };
	struct json_out o;
	struct buf buf;
	char key[24];

	node_key(n, key, sizeof(key));
	record_open(&o, &buf);
	json_put_int(&o, "last_heartbeat_ms", (int64_t)n->last_heartbeat_wall_ms);
	record_close(c, &o, "beat", key, NULL, none);
}

static int load_fields(struct node *n, const struct json *doc, struct err *err)
{
	int rc = record_str(&n->address, doc, "address", 400, err);

	if (!rc)
		rc = record_text(n->private_address, sizeof(n->private_address), doc,
				 "private_address", err);
	if (!rc)
		rc = record_str(&n->role, doc, "role", 32, err);
	if (!rc)
		rc = record_text(n->token_hash, sizeof(n->token_hash), doc, "token_hash", err);
	if (!rc)
		rc = record_text(n->key_hash, sizeof(n->key_hash), doc, "key_hash", err);
	if (!rc)
		rc = record_str(&n->token_sealed, doc, "token_sealed", SPEC_TEXT_MAX, err);
	if (!rc)
		rc = pairs_load(&n->labels, doc, "labels", LABELS_MAX, err);
	if (!rc)
		rc = pairs_load(&n->bound_labels, doc, "bound_labels", LABELS_MAX, err);
	if (!rc)
		rc = record_str(&n->architecture, doc, "architecture", 64, err);
	if (!rc)
		rc = record_str(&n->version, doc, "version", 64, err);
	if (!rc)
		rc = record_str(&n->boot_id, doc, "boot_id", 128, err);
	if (!rc)
		rc = record_str(&n->docker_started_at, doc, "docker_started_at", 64, err);
	if (!rc)
		rc = record_u64(&n->created_wall_ms, doc, "created_ms", INT64_MAX, err);
	return rc;
}

static int load_intent(struct node *n, const struct json *doc, struct err *err)
{
	struct slice text = json_str(json_get(doc, "intent"), "");

	for (unsigned i = 0; i < ARRAY_LEN(intents); i++) {
		if (slice_eq(text, slice_str(intents[i]))) {
			n->intent = i;
			return 0;
		}
	}
	return err_say(err, -EINVAL, "member \"intent\": unknown \"%.*s\"", SLICE_ARG(text));
}

int node_load(struct cluster *c, struct json **doc, struct err *err)
{
	char name[NODE_NAME_MAX + 1];
	struct node *n = NULL;
	int64_t id = 0;
	int rc = json_want_int(*doc, "id", 0, INT64_MAX - 1, &id, err);

	if (!rc && id == NODE_LOCAL_ID)
		return load_intent(c->local, *doc, err);
	if (!rc)
		rc = record_text(name, sizeof(name), *doc, "name", err);
	if (!rc && (cluster_find_node(c, id) || !text_is_name(slice_str(name))))
		rc = err_say(err, -EINVAL, "its id is there twice or its name is none");
	if (rc)
		return rc == -ENOENT ? err_say(err, -EINVAL, "no id") : rc;
	n = node_create(c, id, name);
	rc = load_fields(n, *doc, err);
	if (!rc)
		rc = load_intent(n, *doc, err);
	if (rc)
		return rc;
	c->next_node_id = MAX(c->next_node_id, id + 1);
	n->docker_ok = true; /* until a beat says otherwise */
	node_find_pool(c, n);
	record_keep(&n->extra, doc, members);
	if (n->intent == NODE_REMOVED) {
		node_hide(c, n);
		list_remove(&n->link);
		list_push_back(&c->removed, &n->link);
	}
	return 0;
}

int node_load_beat(struct cluster *c, struct slice key, struct json **doc, struct err *err)
{
	uint64_t id = 0;
	struct node *n;
	int rc = slice_u64(key, &id);

	if (rc)
		return err_say(err, rc, "its key is no node id");
	n = cluster_find_node(c, (int64_t)id);
	return n ? record_u64(&n->last_heartbeat_wall_ms, *doc, "last_heartbeat_ms", INT64_MAX, err)
		 : 0;
}
