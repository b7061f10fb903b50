/* API, what is done with nodes: drained and back, unknown containers removed, replicas moved, a mass failure believed. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control/api.h"
#include "control/deployer.h"
#include "sched/move.h"

#define MOVES_ASKED_MAX 1000u

static bool is_there(const struct replica *r)
{
	return r->state != REPLICA_GONE;
}

static int64_t count_there(const struct node *n)
{
	int64_t count = 0;

	LIST_FOR_EACH(r, &n->replicas, struct replica, node_link)
		count += is_there(r);
	return count;
}

static bool is_drained(const struct node *n)
{
	return n->intent == NODE_DRAINED;
}

/* ---- drain ---- */

/* Apps with replicas on <n>, each once. */
static int64_t count_apps(const struct cluster *c, const struct node *n)
{
	int64_t count = 0;

	LIST_FOR_EACH(a, cluster_apps(c), struct app, link) {
		bool there = false;

		LIST_FOR_EACH(r, &a->replicas, struct replica, link)
			there |= r->node == n && is_there(r);
		count += there;
	}
	return count;
}

static void on_drain(struct command *cmd, const struct effect_reply *e)
{
	const struct cluster *c = deployer_cluster(cmd->control->deployer);
	const struct node *n = cluster_node(c, cmd->number);
	struct api_answer a;

	api_answer_begin(&a);
	json_put_int(&a.o, "id", cmd->number);
	json_put_str(&a.o, "name", n ? n->name : NULL);
	json_put_str(&a.o, "status", n ? node_status(n) : NULL);
	json_put_int(&a.o, "affected_environments", n ? count_apps(c, n) : 0);
	json_put_str(&a.o, "message", e->text);
	api_answer_send(&a, cmd->r, 200);
}

static void command_drain(struct api_request *r, enum event_type type)
{
	const struct node *n = api_find_node(r);
	struct cluster_event e = { .type = type };
	struct command *cmd;

	if (!n || !(cmd = command_begin(r, on_drain)))
		return;
	cmd->number = n->id;
	e.node_drain = (struct event_node_drain){ cmd->handle, n->id };
	deployer_step(cmd->control->deployer, &e);
}

void api_node_drain(struct api_request *r)
{
	command_drain(r, EVENT_NODE_DRAIN);
}

void api_node_undrain(struct api_request *r)
{
	command_drain(r, EVENT_NODE_UNDRAIN);
}

static const char *say_progress(const struct node *n, int64_t left)
{
	if (n->intent == NODE_ACTIVE)
		return "The node is not being drained";
	if (is_drained(n))
		return "The node runs nothing and may be removed";
	if (n->offline)
		return "The node is offline: what it ran is elsewhere; `temps node rm --force` removes it";
	return left ? "Its replicas are moving to other nodes" : "The last one has gone";
}

/* Replicas that carry traffic here still, and why if nowhere else takes them. */
static void put_waiting(struct json_out *o, const struct cluster *c, const struct node *n)
{
	json_arr(o, "waiting");
	LIST_FOR_EACH(r, &n->replicas, struct replica, node_link) {
		struct err err = { 0 };

		if (r->state != REPLICA_READY || n->intent != NODE_DRAINING)
			continue;
		json_obj(o, NULL);
		json_put_str(o, "app", r->app->name);
		json_put_int(o, "replica", r->n);
		json_put_str(o, "container_name", r->name);
		json_put_bool(o, "bound", move_is_bound(r));
		json_put_str(o, "reason",
			     move_is_bound(r)		? "its volumes are there and do not move"
			     : move_blocked(c, r, &err) ? err.text
							: "its successor does not carry traffic yet");
		json_obj_end(o);
	}
	json_arr_end(o);
}

void api_node_drain_status(struct api_request *r)
{
	const struct control *c = r->app;
	const struct node *n = api_find_node(r);
	struct api_answer a;
	int64_t left;

	if (!n)
		return;
	left = count_there(n);
	api_answer_begin(&a);
	json_put_int(&a.o, "node_id", n->id);
	json_put_str(&a.o, "node_name", n->name);
	json_put_str(&a.o, "status", node_status(n));
	json_put_int(&a.o, "remaining_containers", left);
	json_put_bool(&a.o, "drain_complete", is_drained(n));
	json_put_bool(&a.o, "can_remove", !left && n->id != NODE_LOCAL_ID);
	json_put_str(&a.o, "message", say_progress(n, left));
	put_waiting(&a.o, deployer_cluster(c->deployer), n);
	api_answer_send(&a, r, 200);
}

/* ---- containers that nobody knows ---- */

void api_node_quarantine(struct api_request *r)
{
	const struct node *n = api_find_node(r);
	struct api_answer a;

	if (!n)
		return;
	api_answer_begin(&a);
	json_arr(&a.o, "containers");
	LIST_FOR_EACH(q, &n->quarantine, struct quarantined, link) {
		json_obj(&a.o, NULL);
		json_put_str(&a.o, "container_id", q->container_id);
		json_put_str(&a.o, "container_name", q->name);
		json_put_str(&a.o, "status", q->seq ? "removing" : "unknown");
		json_obj_end(&a.o);
	}
	json_arr_end(&a.o);
	json_put_int(&a.o, "total", n->quarantine_n);
	api_answer_send(&a, r, 200);
}

static void on_said(struct command *cmd, const struct effect_reply *e)
{
	struct api_answer a;

	api_answer_begin(&a);
	json_put_str(&a.o, "message", e->text);
	api_answer_send(&a, cmd->r, 200);
}

void api_node_gc(struct api_request *r)
{
	const struct node *n = api_find_node(r);
	struct cluster_event e = { .type = EVENT_NODE_GC };
	struct strs ids = { 0 };
	struct command *cmd;
	struct json *j;
	struct err err;

	if (!n || !(j = api_object(r)))
		return;
	if (strs_load(&ids, j, "containers", QUARANTINE_MAX, &err)) {
		api_invalid(r, &err);
	} else if ((cmd = command_begin(r, on_said))) {
		e.node_gc = (struct event_node_gc){ cmd->handle, n->id, ids };
		deployer_step(cmd->control->deployer, &e);
	}
	strs_fini(&ids);
	json_free(j);
}

/* ---- moves ---- */

void api_rebalance_plan(struct api_request *r)
{
	const struct control *c = r->app;
	struct move_plan plan;
	struct api_answer a;

	move_plan(deployer_cluster(c->deployer), &plan);
	api_answer_begin(&a);
	json_arr(&a.o, "moves");
	for (uint32_t i = 0; i < plan.n; i++) {
		const struct move *m = &plan.moves[i];

		json_obj(&a.o, NULL);
		json_put_str(&a.o, "app", m->replica->app->name);
		json_put_int(&a.o, "replica", m->replica->n);
		json_put_str(&a.o, "from", m->replica->node->name);
		json_put_str(&a.o, "to", m->to->name);
		json_put_str(&a.o, "reason", m->reason);
		json_obj_end(&a.o);
	}
	json_arr_end(&a.o);
	json_put_int(&a.o, "total", plan.n);
	json_put_bool(&a.o, "more", plan.more);
	api_answer_send(&a, r, 200);
}

/* One move of the body; its texts stay the document's. */
static int want_move(const struct cluster *c, const struct json *j, struct move_order *out,
		     struct err *err)
{
	struct slice app, to;
	const struct node *n;
	int64_t replica;

	if (json_want_str(j, "app", APP_NAME_MAX, &app, err) ||
	    json_want_str(j, "to", NODE_NAME_MAX, &to, err) ||
	    json_want_int(j, "replica", 1, UINT32_MAX, &replica, err))
		return err_say(err, -EINVAL,
			       "member \"moves\": expected objects with \"app\", \"replica\" and \"to\"");
	n = cluster_node_named(c, to.p);
	if (!n)
		return err_say(err, -EINVAL, "member \"to\": there is no node %s", to.p);
	*out = (struct move_order){ app.p, (uint32_t)replica, n->id };
	return 0;
}

static int want_moves(const struct cluster *c, const struct json *doc, struct move_order **out,
		      size_t *n, struct err *err)
{
	const struct json *list = json_get(doc, "moves");

	*n = json_len(list);
	*out = NULL;
	if (json_type(list) != JSON_ARRAY || !*n || *n > MOVES_ASKED_MAX)
		return err_say(err, -EINVAL,
			       "member \"moves\": expected a list of 1 to %u moves, as GET gives them",
			       MOVES_ASKED_MAX);
	*out = xcalloc(*n, sizeof(**out));
	for (size_t i = 0; i < *n; i++) {
		int rc = want_move(c, json_at(list, i), &(*out)[i], err);

		if (rc)
			return rc;
	}
	return 0;
}

void api_rebalance(struct api_request *r)
{
	const struct control *c = r->app;
	struct cluster_event e = { .type = EVENT_REBALANCE };
	struct json *j = api_object(r);
	struct move_order *moves;
	struct command *cmd;
	struct err err;
	size_t n;

	if (!j)
		return;
	if (want_moves(deployer_cluster(c->deployer), j, &moves, &n, &err)) {
		api_invalid(r, &err);
	} else if ((cmd = command_begin(r, on_said))) {
		e.rebalance = (struct event_rebalance){ cmd->handle, moves, n };
		deployer_step(cmd->control->deployer, &e);
	}
	free(moves);
	json_free(j);
}

/* ---- a mass failure is real ---- */

void api_failover(struct api_request *r)
{
	struct cluster_event e = { .type = EVENT_BRAKE_RELEASE };
	struct command *cmd = command_begin(r, on_said);

	if (!cmd)
		return;
	e.command.reply = cmd->handle;
	deployer_step(cmd->control->deployer, &e);
}
