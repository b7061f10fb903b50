/* Reports of links become events of the domain; the domain's nodes become links. */
#include "control/nodes.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "control/container.h"
#include "control/control.h"
#include "control/deployer.h"
#include "control/local.h"
#include "control/logs.h"
#include "reactor/crypto.h"
#include "reactor/seal.h"

int nodes_seal_token(const struct control *c, struct slice token, struct buf *sealed)
{
	return seal_close(c->seal_key, token, sealed);
}

void nodes_set(struct control *c, const struct node *n)
{
	struct buf token;

	if (!n || n->id == NODE_LOCAL_ID)
		return;
	buf_init(&token, 4096);
	if (seal_open(c->seal_key, slice_str(n->token_sealed), &token)) {
		log_error(
			"the token of node %s cannot be opened: was secret.key replaced? Join the node again.",
			n->name);
		links_close(c->links, n->id);
	} else {
		links_open(c->links, n->id, n->address, token.data);
		crypto_wipe(token.data, token.len);
	}
	buf_fini(&token);
}

void nodes_capacity_from(struct node_capacity *out, const struct wire_capacity *w)
{
	*out = (struct node_capacity){
		.cpu_percent = w->cpu_percent,
		.cpu_millis = w->cpu_cores * 1000,
		.memory_used_bytes = w->memory_used_bytes,
		.memory_total_bytes = w->memory_total_bytes,
		.disk_used_bytes = w->disk_used_bytes,
		.disk_total_bytes = w->disk_total_bytes,
		.gpus = w->gpu_count,
	};
}

static void tell_exchange(struct control *c, int64_t node_id, bool outbound)
{
	struct cluster_event e = { .type = EVENT_EXCHANGE, .exchange = { node_id, outbound } };

	deployer_step(c->deployer, &e);
}

void nodes_called(struct control *c, int64_t node_id)
{
	tell_exchange(c, node_id, false);
}

static void on_exchange(void *arg, int64_t node_id)
{
	tell_exchange(arg, node_id, true);
}

static void on_reachable(void *arg, int64_t node_id)
{
	struct control *c = arg;
	struct cluster_event e = { .type = EVENT_AGENT_REACHABLE, .agent = { node_id, NULL } };

	deployer_step(c->deployer, &e);
	if (node_id == NODE_LOCAL_ID)
		local_told(c->local);
}

static void on_lost(void *arg, int64_t node_id, const char *why)
{
	struct control *c = arg;
	struct cluster_event e = { .type = EVENT_AGENT_LOST, .agent = { node_id, why } };

	deployer_step(c->deployer, &e);
	if (node_id == NODE_LOCAL_ID)
		local_told(c->local);
}

static void on_inventory(void *arg, int64_t node_id, const struct wire_container *list, size_t n)
{
	struct control *c = arg;
	struct container_info *infos = xcalloc(n + 1, sizeof(*infos));
	char (*started)[32] = xcalloc(n + 1, sizeof(*started));
	struct cluster_event e = { .type = EVENT_INVENTORY, .inventory = { node_id, infos, n } };

	for (size_t i = 0; i < n; i++)
		container_info_from(&infos[i], &list[i], started[i]);
	deployer_step(c->deployer, &e);
	free(started);
	free(infos);
}

static void on_container(void *arg, int64_t node_id, const struct wire_container *w)
{
	struct control *c = arg;
	struct cluster_event e = { .type = EVENT_CONTAINER, .container.node_id = node_id };
	char started[32];

	container_info_from(&e.container.info, w, started);
	deployer_step(c->deployer, &e);
}

static void on_died(void *arg, int64_t node_id, const struct wire_event *w, bool oom)
{
	struct control *c = arg;
	const char *spec = pairs_get(&w->labels, WIRE_LABEL_SPEC);
	struct cluster_event e = {
		.type = EVENT_CONTAINER,
		.container = {
			.node_id = node_id,
			.info = {
				.container_id = w->container_id,
				.name = w->container_name,
				.state = strcmp(w->action, "destroy") == 0 ? CONTAINER_REMOVED : CONTAINER_EXITED,
				.started_at = "",
				.exit_code = w->exit_code,
				.oom_killed = oom,
				.spec_hash = spec ? spec : "",
			},
		},
	};

	deployer_step(c->deployer, &e);
}

static void on_closing(void *arg, int64_t node_id)
{
	struct control *c = arg;

	deployer_drop_node(c->deployer, node_id);
	logs_drop_node(c->logs, node_id);
}

const struct links_reports nodes_reports = {
	.reachable = on_reachable,
	.lost = on_lost,
	.exchange = on_exchange,
	.inventory = on_inventory,
	.died = on_died,
	.container = on_container,
	.closing = on_closing,
};
