/* What nodes say they run, against what is stored. A report may be older than what we know, so it never decides by itself:
 * where it differs, the container is inspected. Only what takes an endpoint out is believed at once. */
#include <stdlib.h>

#include "sched/state.h"

#define QUARANTINE_TOLD 20u /* of a node's, one by one */

static void quarantined_free(struct node *n, struct quarantined *q)
{
	map_del(&n->quarantine_by_id, slice_str(q->container_id));
	list_remove(&q->link);
	n->quarantine_n--;
	free(q->container_id);
	free(q->name);
	free(q);
}

void inventory_forget(struct node *n)
{
	LIST_FOR_EACH_SAFE(q, &n->quarantine, struct quarantined, link)
		quarantined_free(n, q);
}

static struct quarantined *find_quarantined(const struct node *n, const char *container_id)
{
	return map_get(&n->quarantine_by_id, slice_str(container_id));
}

/* It is not there any more. */
static void ended(struct cluster *c, struct node *n, struct quarantined *q)
{
	if (q->seq)
		cluster_tell(c, "ContainerRemoved", n->name,
			     "container %s on node %s, not known here, was removed", q->name, n->name);
	quarantined_free(n, q);
}

/* One node must not fill the store of events. */
static void tell_unknown(struct cluster *c, const struct node *n, const char *name)
{
	if (n->quarantine_n < QUARANTINE_TOLD)
		cluster_tell(
			c, "ContainerUnknown", n->name,
			"container %s on node %s is managed but not known here: it is left alone, `temps node gc` removes it",
			name, n->name);
	else if (n->quarantine_n == QUARANTINE_TOLD)
		cluster_tell(c, "ContainerUnknown", n->name,
			     "container %s on node %s and others are not known here: `temps node show` lists them",
			     name, n->name);
}

/* No stored record explains it: left alone, and people are told once. */
static void quarantine(struct cluster *c, struct node *n, const struct container_info *info)
{
	struct quarantined *q = find_quarantined(n, info->container_id);

	if (info->state == CONTAINER_REMOVED) {
		if (q)
			ended(c, n, q);
		return;
	}
	if (q)
		q->mark = c->inventory_mark;
	if (q || n->quarantine_n >= QUARANTINE_MAX)
		return;
	q = xcalloc(1, sizeof(*q));
	q->mark = c->inventory_mark;
	q->container_id = xstrdup(info->container_id);
	q->name = xstrdup(info->name);
	list_push_back(&n->quarantine, &q->link);
	map_put(&n->quarantine_by_id, slice_str(q->container_id), q);
	n->quarantine_n++;
	tell_unknown(c, n, q->name);
}

/* Still there, or there again although its record retires it. */
static void haunt(struct cluster *c, struct replica *r, const struct container_info *info)
{
	if (r->foreign || info->state == CONTAINER_REMOVED)
		return;
	if (*info->spec_hash && *r->spec_hash && strcmp(info->spec_hash, r->spec_hash) != 0)
		return;
	text_replace(&r->container_id, info->container_id);
	replica_forget_call(c, r);
	r->maybe_created = true;
	replica_set_state(c, r, REPLICA_STOPPING);
	replica_drive(c, r);
}

static bool has_ended(enum container_state state)
{
	return state == CONTAINER_EXITED || state == CONTAINER_DEAD || state == CONTAINER_REMOVED ||
	       state == CONTAINER_RESTARTING;
}

static void check_ready(struct cluster *c, struct replica *r, const struct container_info *info)
{
	bool same = strcmp(r->container_id, info->container_id) == 0;

	if (same && has_ended(info->state)) {
		result_exited(c, r, info);
	} else if (!same || info->state != CONTAINER_RUNNING ||
		   strcmp(r->started_at, info->started_at) != 0) {
		/* This may be what a pause was for: Docker started it again. */
		if (r->await == AWAIT_RETRY)
			replica_forget_call(c, r);
		replica_verify(c, r);
	}
}

/* It may have crashed and run again before anybody looked: then it is inspected once it carries traffic, and what its
 * creation is answered with is compared with what was seen here. */
static void check_starting(struct cluster *c, struct replica *r, const struct container_info *info)
{
	if (has_ended(info->state))
		result_exited(c, r, info);
	else if (info->state != CONTAINER_RUNNING)
		return;
	else if (r->state == REPLICA_STARTING)
		text_replace(&r->started_at, info->started_at);
	else if (strcmp(r->container_id, info->container_id) == 0)
		r->verify = strcmp(r->started_at, info->started_at) != 0;
}

void inventory_one(struct cluster *c, struct node *n, const struct container_info *info)
{
	struct replica *r = map_get(&c->replicas_by_name, slice_str(info->name));

	if (!r || r->node != n) {
		quarantine(c, n, info);
		return;
	}
	r->mark = c->inventory_mark;
	if (r->state == REPLICA_GONE)
		haunt(c, r, info);
	else if (r->state == REPLICA_READY)
		check_ready(c, r, info);
	else if (replica_is_starting(r))
		check_starting(c, r, info);
}

/* After a full inventory: what it did not name is gone. */
static void sweep_quarantine(struct cluster *c, struct node *n)
{
	LIST_FOR_EACH_SAFE(q, &n->quarantine, struct quarantined, link) {
		if (q->mark != c->inventory_mark)
			ended(c, n, q);
	}
}

/* ---- what a person wants gone ---- */

static void end_call(struct cluster *c, const struct node *n, struct quarantined *q,
		     enum effect_type type)
{
	struct effect_container *e = &batch_effect(c->batch, type)->container;

	q->seq = cluster_op(c);
	e->op = (struct op){ "", 0, q->seq };
	e->node_id = n->id;
	e->container_id = batch_str(c->batch, q->container_id);
	e->name = batch_str(c->batch, q->name);
	e->grace_s = c->config.stop_grace_s;
}

/* A replica that was placed since has that very container. */
static bool is_ours(const struct node *n, const char *container_id)
{
	LIST_FOR_EACH(r, &n->replicas, struct replica, node_link) {
		if (strcmp(r->container_id, container_id) == 0)
			return true;
	}
	return false;
}

void inventory_gc(struct cluster *c, const struct event_node_gc *e)
{
	struct node *n = cluster_find_node(c, e->node_id);
	size_t begun = 0;

	if (!n) {
		cluster_reply(c, e->reply, REPLY_NOT_FOUND, "Node Not Found",
			      "there is no node %lld", (long long)e->node_id);
		return;
	}
	if (!node_callable(n)) {
		cluster_reply(c, e->reply, REPLY_CONFLICT, "Node Unreachable",
			      "node %s does not answer: try again when it does", n->name);
		return;
	}
	for (size_t i = 0; i < e->containers.n; i++) {
		struct quarantined *q = find_quarantined(n, e->containers.items[i]);

		if (!q || is_ours(n, q->container_id))
			continue;
		if (!q->seq)
			end_call(c, n, q, EFFECT_STOP);
		begun++;
	}
	if (begun)
		cluster_reply(c, e->reply, REPLY_OK, "", "%zu container%s of node %s being removed",
			      begun, begun == 1 ? " is" : "s are", n->name);
	else
		cluster_reply(c, e->reply, REPLY_NOT_FOUND, "Container Not Found",
			      "none of them is in quarantine on node %s", n->name);
}

void inventory_gc_done(struct cluster *c, const struct event_result *e, bool removed)
{
	LIST_FOR_EACH(n, &c->nodes, struct node, link) {
		LIST_FOR_EACH_SAFE(q, &n->quarantine, struct quarantined, link) {
			bool there = e->outcome != RPC_NOT_FOUND;

			if (q->seq != e->op.seq)
				continue;
			if (e->outcome == RPC_TRANSPORT || (removed && e->outcome == RPC_ERROR)) {
				q->seq = 0;
				cluster_tell(c, "ContainerStays", n->name,
					     "container %s on node %s could not be removed: %s",
					     q->name, n->name, e->error ? e->error : "no reason given");
			} else if (removed || !there) {
				ended(c, n, q);
			} else {
				end_call(c, n, q, EFFECT_REMOVE);
			}
			return;
		}
	}
}

void inventory_full(struct cluster *c, struct node *n, const struct container_info *containers,
		    size_t count)
{
	c->inventory_mark++;
	for (size_t i = 0; i < count; i++)
		inventory_one(c, n, &containers[i]);
	LIST_FOR_EACH_SAFE(r, &n->replicas, struct replica, node_link) {
		if (r->mark != c->inventory_mark && r->state == REPLICA_READY)
			replica_verify(c, r);
	}
	sweep_quarantine(c, n);
}

void inventory_doubt(struct cluster *c, struct node *n, const char *reason)
{
	LIST_FOR_EACH_SAFE(r, &n->replicas, struct replica, node_link) {
		if (r->state != REPLICA_READY)
			continue;
		replica_out(c, r, reason);
		replica_cancel_probe(c, r);
		replica_verify(c, r);
	}
}
