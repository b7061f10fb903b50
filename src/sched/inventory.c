/* What nodes say they run, against what is stored. A report may be older than what we know, so it never decides by itself:
 * where it differs, the container is inspected. Only what takes an endpoint out is believed at once. */
#include <stdlib.h>

#include "sched/state.h"

static void quarantined_free(struct node *n, struct quarantined *q)
{
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

static struct quarantined *find_quarantined(struct node *n, const char *container_id)
{
	LIST_FOR_EACH(q, &n->quarantine, struct quarantined, link) {
		if (strcmp(q->container_id, container_id) == 0)
			return q;
	}
	return NULL;
}

/* No stored record explains it: left alone, and people are told once. */
static void quarantine(struct cluster *c, struct node *n, const struct container_info *info)
{
	struct quarantined *q = find_quarantined(n, info->container_id);

	if (info->state == CONTAINER_REMOVED) {
		if (q)
			quarantined_free(n, q);
		return;
	}
	if (q || n->quarantine_n >= QUARANTINE_MAX)
		return;
	q = xcalloc(1, sizeof(*q));
	q->container_id = xstrdup(info->container_id);
	q->name = xstrdup(info->name);
	list_push_back(&n->quarantine, &q->link);
	n->quarantine_n++;
	cluster_tell(
		c, "ContainerUnknown", n->name,
		"container %s on node %s is managed but not known here: it is left alone, `temps node gc` removes it",
		info->name, n->name);
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

	if (same && has_ended(info->state))
		result_exited(c, r, info);
	else if (!same || info->state != CONTAINER_RUNNING ||
		 strcmp(r->started_at, info->started_at) != 0)
		replica_verify(c, r);
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
	else if (replica_is_starting(r) && has_ended(info->state))
		result_exited(c, r, info);
}

static void sweep_quarantine(struct node *n, const struct container_info *containers, size_t count)
{
	LIST_FOR_EACH_SAFE(q, &n->quarantine, struct quarantined, link) {
		size_t i = 0;

		while (i < count && strcmp(containers[i].container_id, q->container_id) != 0)
			i++;
		if (i == count)
			quarantined_free(n, q);
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
	sweep_quarantine(n, containers, count);
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
