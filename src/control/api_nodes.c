/* API, nodes as people see them: list, one, its containers, removal. */
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "control/api.h"
#include "control/deployer.h"
#include "control/local.h"
#include "control/view.h"

static uint32_t containers_of(const struct node *n)
{
	uint32_t count = 0;

	LIST_FOR_EACH(r, &n->replicas, struct replica, node_link)
		count += *r->container_id && r->state != REPLICA_GONE;
	return count;
}

static void put_capacity(struct json_out *o, const struct node_capacity *c)
{
	json_obj(o, "capacity");
	if (c->memory_total_bytes) {
		json_put_real(o, "cpu_percent", c->cpu_percent);
		json_put_int(o, "cpu_cores", c->cpu_millis / 1000);
		json_put_int(o, "memory_used_bytes", (int64_t)c->memory_used_bytes);
		json_put_int(o, "memory_total_bytes", (int64_t)c->memory_total_bytes);
		json_put_int(o, "disk_used_bytes", (int64_t)c->disk_used_bytes);
		json_put_int(o, "disk_total_bytes", (int64_t)c->disk_total_bytes);
	}
	json_obj_end(o);
}

/* What the specification calls them; GB are GiB. */
static void put_resources(struct json_out *o, const struct node *n)
{
	const struct node_capacity *c = &n->capacity;
	const struct resources *sum = &n->promised.sum;

	json_obj(o, "resources");
	json_put_int(o, "cpu_cores", c->cpu_millis / 1000);
	json_put_int(o, "memory_gb", (int64_t)(c->memory_total_bytes >> 30));
	json_put_int(o, "disk_gb", (int64_t)(c->disk_total_bytes >> 30));
	json_put_bool(o, "gpu", c->gpus > 0);
	json_put_int(o, "gpu_count", c->gpus);
	json_obj_end(o);
	json_obj(o, "promised");
	json_put_int(o, "replicas", n->promised.replicas);
	json_put_real(o, "cpus", (double)sum->cpu_millis / 1000);
	json_put_int(o, "memory_bytes", (int64_t)sum->memory_bytes);
	json_put_int(o, "disk_bytes", (int64_t)sum->disk_bytes);
	json_put_int(o, "gpus", sum->gpus);
	json_obj_end(o);
	json_arr(o, "tags");
	for (size_t i = 0; i < n->labels.n; i++)
		if (strcmp(n->labels.items[i].value, "true") == 0)
			json_put_str(o, NULL, n->labels.items[i].key);
	json_arr_end(o);
	json_put_str(o, "region", pairs_get(&n->labels, "region"));
}

static void put_node(struct json_out *o, const struct control *c, const struct node *n,
		     const char *name)
{
	bool local = n->id == NODE_LOCAL_ID;
	struct local_view here = local_view(c->local);
	const char *reason = local ? here.error : *n->reason ? n->reason : NULL;

	json_obj(o, name);
	json_put_int(o, "id", n->id);
	json_put_str(o, "name", n->name);
	json_put_str(o, "address", local ? NULL : n->address);
	json_put_str(o, "private_address", local ? NULL : n->private_address);
	json_put_str(o, "role", n->role);
	json_put_str(o, "status", node_status(n));
	pairs_put(&n->labels, o, "labels");
	json_put_time(o, "last_heartbeat", n->last_heartbeat_wall_ms);
	json_put_time(o, "created_at", n->created_wall_ms);
	put_capacity(o, &n->capacity);
	put_resources(o, n);
	json_put_str(o, "health", node_health(n));
	json_put_str(o, "health_reason", reason);
	json_put_str(o, "architecture", n->architecture);
	json_put_str(o, "version", local ? PACKAGE_VERSION : n->version);
	json_put_bool(o, "agent_ok", n->link_state == LINK_UP);
	json_put_bool(o, "docker_ok", local ? here.ok : n->docker_ok);
	json_put_int(o, "containers", containers_of(n));
	json_put_int(o, "quarantined", n->quarantine_n);
	json_obj_end(o);
}

void api_nodes(struct api_request *r)
{
	const struct control *c = r->app;
	struct api_answer a;
	char all[8] = "";
	int64_t n = 0;

	(void)!api_query(r, "all", all, sizeof(all));
	api_answer_begin(&a);
	json_arr(&a.o, "nodes");
	LIST_FOR_EACH(node, cluster_nodes(deployer_cluster(c->deployer)), struct node, link) {
		if (node->id == NODE_LOCAL_ID && strcmp(all, "1") != 0 && strcmp(all, "true") != 0)
			continue;
		put_node(&a.o, c, node, NULL);
		n++;
	}
	json_arr_end(&a.o);
	json_put_int(&a.o, "total", n);
	api_answer_send(&a, r, 200);
}

const struct node *api_find_node(struct api_request *r)
{
	const struct control *c = r->app;
	const struct cluster *cluster = deployer_cluster(c->deployer);
	const struct node *n = NULL;
	char name[NODE_NAME_MAX + 1], text[NODE_NAME_MAX + 64];
	uint64_t id;

	if (!slice_u64(r->params[0], &id) && id <= INT64_MAX)
		n = cluster_node(cluster, (int64_t)id);
	if (!n && !slice_copy(r->params[0], name, sizeof(name)))
		n = cluster_node_named(cluster, name);
	if (!n) {
		snprintf(text, sizeof(text), "there is no node %.*s; `temps node ls` lists them",
			 (int)MIN(r->params[0].n, (size_t)NODE_NAME_MAX), r->params[0].p);
		reply_problem(r, 404, "Node Not Found", text);
	}
	return n;
}

void api_node(struct api_request *r)
{
	const struct node *n = api_find_node(r);
	struct json_out o;
	struct buf b;

	if (!n)
		return;
	buf_init(&b, 0);
	json_out_init(&o, &b);
	put_node(&o, r->app, n, NULL);
	reply_json(r, 200, buf_slice(&b));
	buf_fini(&b);
}

static void put_container(struct json_out *o, const struct replica *r)
{
	json_obj(o, NULL);
	json_put_str(o, "container_id", r->container_id);
	json_put_str(o, "container_name", r->name);
	json_put_str(o, "image_name", r->release ? r->release->spec.image : NULL);
	json_put_str(o, "status", view_replica_state(r));
	json_put_time(o, "created_at", r->created_wall_ms);
	json_put_int(o, "node_id", r->node->id);
	json_put_str(o, "project_name", r->app->name);
	json_put_str(o, "environment_name", "production");
	json_put_str(o, "app", r->app->name);
	json_put_int(o, "release", r->release_n);
	json_put_int(o, "replica", r->n);
	json_obj_end(o);
}

void api_node_containers(struct api_request *r)
{
	const struct node *n = api_find_node(r);
	struct api_answer a;
	int64_t total = 0;

	if (!n)
		return;
	api_answer_begin(&a);
	json_arr(&a.o, "containers");
	LIST_FOR_EACH(rep, &n->replicas, struct replica, node_link) {
		if (!*rep->container_id || rep->state == REPLICA_GONE)
			continue;
		put_container(&a.o, rep);
		total++;
	}
	json_arr_end(&a.o);
	json_put_int(&a.o, "total", total);
	api_answer_send(&a, r, 200);
}

static void on_deleted(struct command *cmd, const struct effect_reply *e)
{
	struct api_answer a;

	api_answer_begin(&a);
	json_put_int(&a.o, "id", cmd->number);
	json_put_str(&a.o, "message", e->text);
	api_answer_send(&a, cmd->r, 200);
}

void api_node_delete(struct api_request *r)
{
	const struct node *n = api_find_node(r);
	struct cluster_event e = { .type = EVENT_NODE_DELETE };
	struct command *cmd;
	char force[8] = "";

	if (!n || !(cmd = command_begin(r, on_deleted)))
		return;
	(void)!api_query(r, "force", force, sizeof(force));
	cmd->number = n->id;
	e.node_delete = (struct event_node_delete){ .reply = cmd->handle,
						    .node_id = n->id,
						    .force = !strcmp(force, "1") ||
							     !strcmp(force, "true") };
	deployer_step(cmd->control->deployer, &e);
}
