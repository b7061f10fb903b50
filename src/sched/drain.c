/* Nodes that are to be empty. What they run leaves as move.c has it; here is when it begins, and when it is over. */
#include <inttypes.h>

#include "sched/state.h"

static bool runs_nothing(const struct node *n)
{
	LIST_FOR_EACH(r, &n->replicas, struct replica, node_link) {
		if (r->state != REPLICA_GONE)
			return false;
	}
	return true;
}

void drain_settle(struct cluster *c, struct node *n)
{
	if (n->intent != NODE_DRAINING || !runs_nothing(n))
		return;
	n->intent = NODE_DRAINED;
	node_dirty(c, n);
	cluster_tell(c, "NodeDrained", n->name, "node %s runs nothing any more", n->name);
}

/* What is on its way there goes elsewhere at once: it carries nothing yet. */
static void vacate(struct cluster *c, struct node *n)
{
	LIST_FOR_EACH_SAFE(r, &n->replicas, struct replica, node_link) {
		cluster_touch(c, r->app);
		rollout_replica_failed(c, r, true, "its node is to be drained");
	}
}

/* Those that stay: what they keep is on that node. */
static uint32_t count_bound(const struct node *n)
{
	uint32_t count = 0;

	LIST_FOR_EACH(r, &n->replicas, struct replica, node_link)
		count += replica_is_live(r) && move_is_bound(r);
	return count;
}

static struct node *find(struct cluster *c, const struct event_node_drain *e)
{
	struct node *n = cluster_find_node(c, e->node_id);

	if (!n)
		cluster_reply(c, e->reply, REPLY_NOT_FOUND, "Node Not Found",
			      "there is no node %" PRId64, e->node_id);
	return n;
}

void drain_begin(struct cluster *c, const struct event_node_drain *e)
{
	struct node *n = find(c, e);
	uint32_t bound;

	if (!n)
		return;
	if (n->intent != NODE_ACTIVE) {
		cluster_reply(c, e->reply, REPLY_CONFLICT, "Node Already Draining",
			      "node %s is %s", n->name, node_intent_name(n->intent));
		return;
	}
	n->intent = NODE_DRAINING;
	node_dirty(c, n);
	cluster_tell(c, "NodeDraining", n->name, "node %s is to be drained: its replicas move",
		     n->name);
	vacate(c, n);
	drain_settle(c, n);
	bound = count_bound(n);
	if (bound)
		cluster_reply(c, e->reply, REPLY_OK, "",
			      "Its replicas are moving to other nodes, but for %" PRIu32
			      " whose volumes are there: they stay and serve on",
			      bound);
	else
		cluster_reply(c, e->reply, REPLY_OK, "", "%s",
			      n->intent == NODE_DRAINED ? "It runs nothing: drained"
							: "Its replicas are moving to other nodes");
}

void drain_end(struct cluster *c, const struct event_node_drain *e)
{
	struct node *n = find(c, e);

	if (!n)
		return;
	if (n->intent == NODE_ACTIVE) {
		cluster_reply(c, e->reply, REPLY_INVALID, "Node Not Draining",
			      "node %s is neither draining nor drained", n->name);
		return;
	}
	n->intent = NODE_ACTIVE;
	node_dirty(c, n);
	cluster_tell(c, "NodeUndrained", n->name, "node %s takes replicas again", n->name);
	LIST_FOR_EACH(r, &n->replicas, struct replica, node_link)
		cluster_touch(c, r->app);
	liveness_room(c);
	cluster_reply(c, e->reply, REPLY_OK, "", "It takes replicas again");
}
