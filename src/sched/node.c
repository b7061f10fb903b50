/* Nodes: how they come, what their beats say, how they go. */
#include "sched/node.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"
#include "sched/state.h"

bool node_is_local(const struct node *n)
{
	return n->id == NODE_LOCAL_ID;
}

bool node_callable(const struct node *n)
{
	if (n->offline || n->intent == NODE_REMOVED)
		return false;
	return n->link_state == LINK_UP || (n->link_state == LINK_UNKNOWN && !node_is_local(n));
}

bool node_lost(const struct node *n)
{
	return n->offline || n->intent == NODE_REMOVED || n->link_state == LINK_LOST;
}

const char *node_status(const struct node *n)
{
	return n->intent == NODE_ACTIVE && n->offline ? "offline" : node_intent_name(n->intent);
}

const char *node_health(const struct node *n)
{
	if (n->offline)
		return "offline";
	return n->suspect || (!n->docker_ok && n->last_heartbeat_wall_ms) ? "suspect" : "ok";
}

bool node_eligible(const struct node *n, const char **why)
{
	const char *unused;

	why = why ? why : &unused;
	*why = NULL;
	if (n->intent != NODE_ACTIVE)
		*why = node_intent_name(n->intent);
	else if (strcmp(n->role, "worker") != 0 && !node_is_local(n))
		*why = "its role runs no containers";
	else if (n->offline)
		*why = "offline";
	else if (n->suspect)
		*why = "suspect";
	else if (node_is_local(n) && n->link_state != LINK_UP)
		*why = "no Docker engine answers";
	else if (n->link_state == LINK_LOST)
		*why = "its agent cannot be reached";
	else if (!n->docker_ok)
		*why = n->last_heartbeat_wall_ms ? "its Docker engine does not answer"
						 : "no heartbeat yet";
	return !*why;
}

/* Nearly always the last. */
static void insert_by_id(struct cluster *c, struct node *n)
{
	struct list *at = c->nodes.prev;

	while (at != &c->nodes && LIST_ENTRY(at, struct node, link)->id > n->id)
		at = at->prev;
	list_insert_before(at->next, &n->link);
}

struct node *node_create(struct cluster *c, int64_t id, const char *name)
{
	struct node *n = xcalloc(1, sizeof(*n));

	n->id = id;
	snprintf(n->name, sizeof(n->name), "%s", name);
	list_init(&n->replicas);
	list_init(&n->quarantine);
	map_init(&n->quarantine_by_id, &c->config.hash_key);
	list_init(&n->dirty_link);
	list_init(&n->beat_link);
	list_init(&n->offline_link);
	n->address = xstrdup("");
	n->role = xstrdup("worker");
	n->token_sealed = xstrdup("");
	n->architecture = xstrdup("");
	n->version = xstrdup("");
	n->boot_id = xstrdup("");
	n->docker_started_at = xstrdup("");
	n->created_wall_ms = c->now.wall_ms;
	n->timer.kind = TIMER_NODE;
	insert_by_id(c, n);
	map_put(&c->nodes_by_id, slice_of(&n->id, sizeof(n->id)), n);
	map_put(&c->nodes_by_name, slice_str(n->name), n);
	return n;
}

void node_hide(struct cluster *c, struct node *n)
{
	if (n->pool && n->pool->owner == n)
		n->pool->owner = NULL;
	if (map_get(&c->nodes_by_id, slice_of(&n->id, sizeof(n->id))) == n) {
		map_del(&c->nodes_by_id, slice_of(&n->id, sizeof(n->id)));
		map_del(&c->nodes_by_name, slice_str(n->name));
	}
}

void node_destroy(struct cluster *c, struct node *n)
{
	node_hide(c, n);
	timer_clear(&c->timers, &n->timer);
	inventory_forget(n);
	map_fini(&n->quarantine_by_id);
	list_remove(&n->link);
	list_remove(&n->dirty_link);
	list_remove(&n->beat_link);
	list_remove(&n->offline_link);
	pairs_fini(&n->labels);
	pairs_fini(&n->bound_labels);
	json_free(n->extra);
	free(n->address);
	free(n->role);
	free(n->token_sealed);
	free(n->architecture);
	free(n->version);
	free(n->boot_id);
	free(n->docker_started_at);
	free(n->inventory_hash);
	free(n);
}

void node_dirty(struct cluster *c, struct node *n)
{
	if (list_empty(&n->dirty_link))
		list_push_back(&c->dirty_nodes, &n->dirty_link);
}

void node_find_pool(struct cluster *c, struct node *n)
{
	if (n->pool && n->pool->owner == n)
		n->pool->owner = NULL;
	n->pool = map_get(&c->pools, slice_str(n->private_address));
	if (!n->pool) {
		n->pool = address_pool_ports(n->private_address, c->config.port_first,
					     c->config.port_last);
		map_put(&c->pools, slice_str(n->pool->key), n->pool);
	}
	if (!n->pool->owner)
		n->pool->owner = n;
}

/* ---- registration ---- */

/* Unicast, and not of this machine unless the configuration allows it. */
static bool private_address_ok(const struct cluster *c, const char *text)
{
	struct in6_addr six;
	struct in_addr four;

	if (inet_pton(AF_INET, text, &four) == 1) {
		uint32_t a = ntohl(four.s_addr);

		if (a >> 24 == 127)
			return c->config.loopback_nodes;
		return a >> 24 != 0 && a >> 28 < 14 && a >> 16 != 0xa9fe;
	}
	if (inet_pton(AF_INET6, text, &six) == 1) {
		if (IN6_IS_ADDR_LOOPBACK(&six))
			return c->config.loopback_nodes;
		return !IN6_IS_ADDR_UNSPECIFIED(&six) && !IN6_IS_ADDR_MULTICAST(&six) &&
		       !IN6_IS_ADDR_LINKLOCAL(&six) && !IN6_IS_ADDR_V4MAPPED(&six);
	}
	return false;
}

static int check_register(const struct cluster *c, const struct event_register *e, struct err *err)
{
	uint64_t number;

	if (!text_is_name(slice_str(e->name)))
		return err_say(err, -EINVAL, "name: expected 1 to %u of A-Z a-z 0-9 . _ -",
			       NODE_NAME_MAX);
	/* Commands take a name or an id. */
	if (slice_u64(slice_str(e->name), &number) != -EINVAL)
		return err_say(err, -EINVAL, "name: %s would be taken for a node's id", e->name);
	if (!e->address || !*e->address || strlen(e->address) > 300)
		return err_say(err, -EINVAL, "address: expected the agent's base URL");
	if (!e->private_address || !private_address_ok(c, e->private_address))
		return err_say(
			err, -EINVAL,
			"private_address \"%.80s\": expected an IP address that this control plane "
			"can reach%s",
			e->private_address ? e->private_address : "",
			c->config.loopback_nodes
				? ""
				: " (loopback only works when it listens on loopback itself)");
	if (!token_hash_ok(e->token_hash))
		return err_say(err, -EINVAL,
			       "token: expected the node token that the agent will use");
	if (e->key_hash && !token_hash_ok(e->key_hash))
		return err_say(err, -EINVAL, "key: its hash is not a SHA-256 in hex");
	if (e->labels.n > LABELS_MAX)
		return err_say(err, -EINVAL, "labels: more than %u", LABELS_MAX);
	if (e->role && strlen(e->role) > 32)
		return err_say(err, -EINVAL, "role: longer than 32 bytes");
	return 0;
}

static void set_text(struct cluster *c, struct node *n, char **field, const char *value, size_t max)
{
	if (!value || strlen(value) > max || strcmp(*field, value) == 0)
		return;
	text_replace(field, value);
	node_dirty(c, n);
}

/* Its containers listen where nobody looks any more. */
static void leave_address(struct cluster *c, struct node *n)
{
	LIST_FOR_EACH(r, &n->replicas, struct replica, node_link) {
		if (replica_is_live(r) && r->published && strcmp(r->ip, n->private_address) != 0)
			replica_retire(c, r, "the private address of its node changed");
	}
}

/* What the node says of itself, under what its join token says of it. */
static void set_labels(struct cluster *c, struct node *n, const struct pairs *labels)
{
	struct pairs next;

	pairs_copy(&next, &n->bound_labels);
	for (size_t i = 0; i < labels->n && next.n < LABELS_MAX; i++)
		if (!pairs_get(&n->bound_labels, labels->items[i].key))
			pairs_add(&next, slice_str(labels->items[i].key),
				  slice_str(labels->items[i].value));
	if (pairs_eq(&n->labels, &next)) {
		pairs_fini(&next);
		return;
	}
	pairs_fini(&n->labels);
	n->labels = next;
	node_dirty(c, n);
	liveness_room(c);
}

static void apply_register(struct cluster *c, struct node *n, const struct event_register *e,
			   const struct join_token *token)
{
	bool moved = *n->private_address && strcmp(n->private_address, e->private_address) != 0;

	node_dirty(c, n);
	memcpy(n->token_hash, e->token_hash, sizeof(n->token_hash));
	if (e->key_hash)
		memcpy(n->key_hash, e->key_hash, sizeof(n->key_hash));
	snprintf(n->private_address, sizeof(n->private_address), "%s", e->private_address);
	node_find_pool(c, n);
	text_replace(&n->address, e->address);
	text_replace(&n->token_sealed, e->token_sealed);
	text_replace(&n->role, e->role && *e->role ? e->role : "worker");
	set_text(c, n, &n->architecture, e->architecture, 64);
	set_text(c, n, &n->version, e->version, 64);
	if (token) {
		pairs_fini(&n->bound_labels);
		pairs_copy(&n->bound_labels, &token->labels);
	}
	set_labels(c, n, &e->labels);
	if (moved)
		leave_address(c, n);
	batch_effect(c->batch, EFFECT_NODE_SET)->node.node_id = n->id;
}

/* A new node, or NULL after the refusal was answered. */
static struct node *admit_new(struct cluster *c, const struct event_register *e)
{
	struct node *n;

	if (map_count(&c->nodes_by_id) >= NODES_MAX) {
		cluster_reply(c, e->reply, REPLY_LIMIT, "Too Many Nodes",
			      "there are %u nodes already", NODES_MAX);
		return NULL;
	}
	n = node_create(c, c->next_node_id++, e->name);
	c->meta_dirty = true;
	liveness_watch(c, n);
	return n;
}

static bool proves(const struct node *n, const struct event_register *e)
{
	bool by_token = token_hash_eq(n->token_hash, e->proof_hash);
	bool by_key = *n->key_hash && token_hash_eq(n->key_hash, e->key_hash);

	return by_token || by_key;
}

void node_register(struct cluster *c, const struct event_register *e)
{
	struct node *n = map_get(&c->nodes_by_name, slice_str(e->name));
	const struct address_pool *pool;
	struct join_token *token = NULL;
	struct effect_reply *reply;
	const char *title, *why;
	struct err err = { 0 };
	bool known = n != NULL;

	if (check_register(c, e, &err)) {
		cluster_reply(c, e->reply, REPLY_INVALID, "Validation Error", "%s", err.text);
		return;
	}
	if (!n || !proves(n, e)) {
		token = token_admit(c, e->join_token_hash, e->name, &title, &why);
		if (!token) {
			cluster_reply(c, e->reply, REPLY_FORBIDDEN, title, "%s", why);
			return;
		}
		if (n && (node_is_local(n) || !n->offline)) {
			cluster_reply(
				c, e->reply, REPLY_CONFLICT, "Node Name Taken",
				"a node named %s is active: choose another name, or join again from that node "
				"with its present configuration",
				e->name);
			return;
		}
	}
	pool = map_get(&c->pools, slice_str(e->private_address));
	if (pool && pool->owner && pool->owner != n) {
		cluster_reply(
			c, e->reply, REPLY_CONFLICT, "Address Taken",
			"private address %s is node %s's: its containers and its certificate are "
			"reached there; remove that node first if it is gone",
			e->private_address, pool->owner->name);
		return;
	}
	if (!n)
		n = admit_new(c, e);
	if (!n)
		return;
	if (token)
		token_use(c, token);
	apply_register(c, n, e, token);
	liveness_exchange(c, n, false);
	if (!known)
		cluster_tell(c, "NodeRegistered", n->name, "node %s joined with id %" PRId64,
			     n->name, n->id);
	reply = cluster_reply(c, e->reply, REPLY_CREATED, "",
			      "Node registered successfully. Send heartbeats to stay active.");
	if (reply)
		reply->node_id = n->id;
}

/* ---- heartbeat ---- */

/* A new boot or a new engine: what was known about its containers is in doubt. */
static void note_restart(struct cluster *c, struct node *n, const struct event_heartbeat *e)
{
	bool machine = e->boot_id && *n->boot_id && strcmp(n->boot_id, e->boot_id) != 0;
	bool engine = e->docker_started_at && *e->docker_started_at && *n->docker_started_at &&
		      strcmp(n->docker_started_at, e->docker_started_at) != 0;

	set_text(c, n, &n->boot_id, e->boot_id, 128);
	if (e->docker_started_at && *e->docker_started_at)
		set_text(c, n, &n->docker_started_at, e->docker_started_at, 64);
	if (machine || engine) {
		cluster_tell(c, "NodeRestarted", n->name, "%s of node %s restarted",
			     machine ? "the machine" : "the engine", n->name);
		inventory_doubt(c, n,
				machine ? "its machine restarted" : "its Docker engine restarted");
	}
}

static void note_docker(struct cluster *c, struct node *n, bool ok)
{
	if (n->docker_ok == ok)
		return;
	n->docker_ok = ok;
	if (ok) {
		if (!n->suspect && !n->offline && n->link_state != LINK_LOST)
			n->reason[0] = '\0';
		liveness_room(c);
		return;
	}
	if (!*n->reason)
		snprintf(n->reason, sizeof(n->reason), "its Docker engine does not answer");
	cluster_tell(c, "NodeUnhealthy", n->name, "the Docker engine of node %s does not answer",
		     n->name);
	/* What needs the engine now might wait for minutes. */
	LIST_FOR_EACH_SAFE(r, &n->replicas, struct replica, node_link) {
		if (r->state == REPLICA_PLACED || r->state == REPLICA_STARTING)
			rollout_replica_failed(c, r, true, "its Docker engine does not answer");
	}
}

static bool has_more(const struct node_capacity *now, const struct node_capacity *before)
{
	return now->cpu_millis > before->cpu_millis || now->gpus > before->gpus ||
	       now->memory_total_bytes > before->memory_total_bytes ||
	       now->disk_total_bytes > before->disk_total_bytes;
}

void node_measured(struct cluster *c, struct node *n, const struct node_capacity *now)
{
	bool more = has_more(now, &n->capacity);

	n->capacity = *now;
	n->capacity.gpus = MIN(now->gpus, NODE_GPUS_MAX);
	if (more)
		liveness_room(c);
}

void node_heartbeat(struct cluster *c, const struct event_heartbeat *e)
{
	struct node *n = cluster_find_node(c, e->node_id);
	struct effect_reply *reply;
	bool resync = false;

	if (!n || node_is_local(n)) {
		cluster_reply(c, e->reply, REPLY_NOT_FOUND, "Node Not Found",
			      "there is no node %" PRId64, e->node_id);
		return;
	}
	n->last_heartbeat_wall_ms = c->now.wall_ms;
	if (list_empty(&n->beat_link))
		list_push_back(&c->beats, &n->beat_link);
	if (!timer_is_set(&c->beats_timer))
		timer_set(&c->timers, &c->beats_timer, c->now.mono_ms + c->config.beat_flush_ms);
	node_measured(c, n, &e->capacity);
	set_text(c, n, &n->architecture, e->architecture, 64);
	set_text(c, n, &n->version, e->version, 64);
	if (e->labels && e->labels->n <= LABELS_MAX)
		set_labels(c, n, e->labels);
	liveness_exchange(c, n, false);
	note_docker(c, n, e->docker_ok);
	note_restart(c, n, e);
	if (n->link_state == LINK_LOST)
		batch_effect(c->batch, EFFECT_NODE_PROBE)->node.node_id = n->id;
	if (e->has_inventory) {
		inventory_full(c, n, e->containers, e->containers_n);
		text_replace(&n->inventory_hash, e->inventory_hash);
	} else if (e->inventory_hash) {
		resync = !n->inventory_hash || strcmp(n->inventory_hash, e->inventory_hash) != 0;
	}
	reply = cluster_reply(c, e->reply, REPLY_OK, "", "Heartbeat received");
	if (reply)
		reply->resync = resync;
}

/* ---- removal ---- */

#define NAMED_MAX 5u /* containers in a refusal */

/* How many it has; the first of them by name. */
static uint32_t containers_of(const struct node *n, struct buf *names)
{
	uint32_t count = 0;

	LIST_FOR_EACH(r, &n->replicas, struct replica, node_link) {
		if (r->state == REPLICA_GONE)
			continue;
		if (count++ < NAMED_MAX)
			buf_printf(names, "%s%s", count > 1 ? ", " : "", r->name);
	}
	if (count > NAMED_MAX)
		buf_printf(names, ", …");
	return count;
}

void node_reap(struct cluster *c, struct node *n)
{
	char key[24];

	if (n->intent != NODE_REMOVED || n->replicas_n)
		return;
	node_key(n, key, sizeof(key));
	batch_del(c->batch, "node", key);
	node_destroy(c, n);
}

static void remove_node(struct cluster *c, struct node *n)
{
	char key[24];

	n->intent = NODE_REMOVED;
	node_dirty(c, n);
	LIST_FOR_EACH_SAFE(r, &n->replicas, struct replica, node_link) {
		if (r->state != REPLICA_GONE)
			replica_vanished(c, r, "its node was removed");
	}
	node_key(n, key, sizeof(key));
	batch_del(c->batch, "beat", key);
	list_remove(&n->beat_link);
	list_remove(&n->offline_link);
	timer_clear(&c->timers, &n->timer);
	node_hide(c, n);
	list_remove(&n->link);
	list_push_back(&c->removed, &n->link);
	batch_effect(c->batch, EFFECT_NODE_GONE)->node.node_id = n->id;
	cluster_tell(c, "NodeRemoved", n->name, "node %s was removed", n->name);
	node_reap(c, n);
}

void node_delete(struct cluster *c, const struct event_node_delete *e)
{
	struct node *n = cluster_find_node(c, e->node_id);
	struct buf names;
	uint32_t busy;
	bool dead;

	if (!n) {
		cluster_reply(c, e->reply, REPLY_NOT_FOUND, "Node Not Found",
			      "there is no node %" PRId64, e->node_id);
		return;
	}
	if (node_is_local(n)) {
		cluster_reply(c, e->reply, REPLY_INVALID, "Validation Error",
			      "the control plane's own node cannot be removed");
		return;
	}
	/* A person knows sooner than silence does. */
	dead = node_lost(n) || n->suspect;
	buf_init(&names, 4096);
	busy = containers_of(n, &names);
	if (busy && !(e->force && dead)) {
		cluster_reply(c, e->reply, REPLY_CONFLICT, "Node Has Active Containers",
			      "node %s has %u container%s (%s): %s", n->name, busy,
			      busy == 1 ? "" : "s", names.data,
			      dead	 ? "it does not answer, so --force removes it with them"
			      : e->force ? "it still answers, so drain it first; if it is dead, it is being asked now, try again in a few seconds"
					 : "drain it first");
		if (e->force)
			batch_effect(c->batch, EFFECT_NODE_PROBE)->node.node_id = n->id;
	} else {
		cluster_reply(c, e->reply, REPLY_OK, "", "Node %s removed", n->name);
		remove_node(c, n);
	}
	buf_fini(&names);
}
