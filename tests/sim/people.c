/* What people ask of the cluster: deploys, commands to apps and nodes, credentials. */
#include "sim.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const images[] = { "good:1",	 "good:2", "good:3", "bad:1",
				      "exits:1", "sick:1", "slow:1" };

static const char *const strategies[] = { NULL, "spread", "least-loaded", "binpack" };

/* Waves, one release at a time with a volume or without, a command before, a canary. */
static void vary_rollout(struct sim *s, struct app_spec *spec, struct event_deploy *e)
{
	static const char *const ok = "ok", *const fail = "fail";
	static struct pair data = { "data", "/data" };

	static const char *const check = "check";

	if (!spec->health_path && sim_chance(s, 300))
		spec->health_command = (struct strs){ (const char **)&check, 1 };
	spec->max_surge = (uint32_t)sim_random(s, 3);
	spec->stop_first = sim_chance(s, 150);
	if (sim_chance(s, 150)) {
		spec->volumes = (struct pairs){ &data, 1 };
		spec->replicas = 1;
	}
	if (sim_chance(s, 200))
		spec->pre_deploy = (struct strs){ (const char **)(sim_chance(s, 700) ? &ok : &fail), 1 };
	if (sim_chance(s, 200))
		e->canary = 1 + (uint32_t)sim_random(s, CANARY_MAX);
}

static void command_rollout(struct sim *s)
{
	struct cluster_event e = { sim_chance(s, 600) ? EVENT_PROMOTE : EVENT_ABORT,
				   .app = { .reply = ++s->next_reply, .app = sim_apps[sim_random(s, APPS)] } };

	sim_log(s, "people: %s %s", event_name(e.type), e.app.app);
	plane_step(s, &e);
}

static void command_deploy(struct sim *s)
{
	uint64_t which = sim_random(s, APPS);
	const char *app = sim_apps[which];
	const char *image = images[sim_random(s, sim_chance(s, 600) ? 3 : ARRAY_LEN(images))];
	const char *label = sim_chance(s, 500) ? "eu" : "us";
	struct constraint region = { "region", { &label, 1 } };
	/* Now and then somebody wants what is another's. */
	char *host = xasprintf("%s.example.test", sim_chance(s, 50) ? sim_apps[sim_random(s, APPS)] : app);
	const char *domain = host, *wish = "soft:app=shop";
	struct pair rate = { "rate", "100" };
	struct app_spec spec = { .image = image,
				 .replicas = 1 + (uint32_t)sim_random(s, 4),
				 .port = 8080,
				 .domains = { &domain, 1 },
				 .health_path = sim_chance(s, 500) ? "/health" : NULL,
				 .policy = { &rate, sim_random(s, 2) } };
	struct cluster_event e = {
		EVENT_DEPLOY, .deploy = { .reply = ++s->next_reply, .app = app, .spec = &spec }
	};

	spec.strategy = strategies[sim_random(s, ARRAY_LEN(strategies))];
	spec.affinity = (struct strs){ &wish, sim_random(s, 2) };
	spec.cpu_millis = (uint32_t)sim_random(s, 3) * 100;
	spec.gpus = sim_chance(s, 50);
	vary_rollout(s, &spec, &e.deploy);
	if (sim_chance(s, 150)) {
		spec.labels = &region;
		spec.labels_n = 1;
	}
	if (sim_chance(s, 50)) {
		spec.port = 0;
		spec.domains.n = 0;
		spec.health_path = NULL;
	}
	s->tags_moved += sim_chance(s, 300);
	s->asked[s->next_reply % 4096] = (uint8_t)(which + 1);
	sim_log(s, "people: deploy %s %s x%u", app, image, spec.replicas);
	plane_step(s, &e);
	free(host);
}

static void command_app(struct sim *s)
{
	static const enum event_type types[] = { EVENT_SCALE,  EVENT_SCALE,  EVENT_RESTART,
						 EVENT_ROLLBACK, EVENT_PAUSE,  EVENT_RESUME,
						 EVENT_LOCK,	 EVENT_UNLOCK, EVENT_UNLOCK };
	uint64_t which = sim_random(s, APPS);
	struct cluster_event e = { .type = types[sim_random(s, ARRAY_LEN(types))] };

	e.app = (struct event_app){ .reply = ++s->next_reply,
				    .app = sim_apps[which],
				    .by = "key sim",
				    .reason = "trouble" };
	if (e.type == EVENT_SCALE)
		e.app.n = 1 + (uint32_t)sim_random(s, 4);
	if (e.type == EVENT_ROLLBACK)
		e.app.n = (uint32_t)sim_random(s, 6);
	if (e.type == EVENT_RESTART && cluster_app(s->cluster, e.app.app))
		s->asked[s->next_reply % 4096] = (uint8_t)(which + 1);
	sim_log(s, "people: %s %s %u", event_name(e.type), e.app.app, e.app.n);
	plane_step(s, &e);
}

static void command_credentials(struct sim *s)
{
	char hash[65];
	struct cluster_event e = { 0 };
	const char *target = "http://10.9.9.9:80";
	struct pair rate = { "rate", hash };

	snprintf(hash, sizeof(hash), "%064" PRIx64,
		 sim_random(s, 1u << 30) << 32 | sim_random(s, 1u << 30));
	memcpy(hash, hash + 48, 12);
	switch (sim_random(s, 9)) {
	case 0:
		e = (struct cluster_event){ EVENT_JOIN_TOKEN_CREATE,
					    .join_token_create = {
						    .reply = 1, .hash = hash, .once = true } };
		break;
	case 1:
		e = (struct cluster_event){ EVENT_JOIN_TOKEN_REVOKE,
					    .revoke = { 1, "000000000000" } };
		break;
	case 2:
		e = (struct cluster_event){ EVENT_API_KEY_CREATE,
					    .api_key_create = { 1, hash, "ci", "admin" } };
		break;
	case 3:
		e = (struct cluster_event){ EVENT_API_KEY_REVOKE, .revoke = { 1, "000000000000" } };
		break;
	case 4:
		e = (struct cluster_event){
			EVENT_STATIC_ADD,
			.route = { 1, "static.example.test", { &target, 1 }, { 0 } }
		};
		break;
	case 5:
		e = (struct cluster_event){ EVENT_STATIC_REMOVE,
					    .route = { 1, "static.example.test", { 0 }, { 0 } } };
		break;
	case 6:
		e = (struct cluster_event){
			EVENT_STATIC_SET, .route = { 1, "static.example.test", { 0 }, { &rate, 1 } }
		};
		break;
	case 7:
		e = (struct cluster_event){ EVENT_REGISTRY_ADD,
					    .registry = { 1, "registry.example.test", "sealed" } };
		break;
	default:
		e = (struct cluster_event){ EVENT_REGISTRY_REMOVE,
					    .registry = { 1, "registry.example.test", NULL } };
		break;
	}
	e.command.reply = ++s->next_reply;
	plane_step(s, &e);
}

static void command_node_delete(struct sim *s)
{
	struct machine *m = &s->machines[1 + sim_random(s, MACHINES - 1)];
	struct cluster_event e = { EVENT_NODE_DELETE,
				   .node_delete = { 0, m->node_id, sim_chance(s, 500) } };

	if (!m->node_id)
		return;
	e.node_delete.reply = ++s->next_reply;
	sim_log(s, "people: remove node %s", m->name);
	plane_step(s, &e);
}

void people_drain(struct sim *s, struct machine *m, bool drain)
{
	struct cluster_event e = { drain ? EVENT_NODE_DRAIN : EVENT_NODE_UNDRAIN,
				   .node_drain = { 0, m->node_id } };

	if (m->index && !m->node_id)
		return;
	e.node_drain.reply = ++s->next_reply;
	sim_log(s, "people: %s node %s", drain ? "drain" : "undrain", m->name);
	plane_step(s, &e);
}

/* All that is in quarantine, a container that is not, and one that there never was. */
static void command_gc(struct sim *s)
{
	struct machine *m = &s->machines[sim_random(s, MACHINES)];
	const struct node *n = cluster_node(s->cluster, m->node_id);
	const char *ids[QUARANTINED_MAX + 2] = { "never", m->n ? m->containers[0].id : "none" };
	struct cluster_event e = { EVENT_NODE_GC, .node_gc = { 0, m->node_id, { ids, 2 } } };
	char kept[QUARANTINED_MAX + 2][65];

	if (!n || (m->index && !m->node_id))
		return;
	LIST_FOR_EACH(q, &n->quarantine, struct quarantined, link) {
		if (e.node_gc.containers.n == ARRAY_LEN(ids))
			break;
		ids[e.node_gc.containers.n++] = q->container_id;
	}
	/* The step may free what it was told from. */
	for (size_t i = 0; i < e.node_gc.containers.n; i++) {
		snprintf(kept[i], sizeof(kept[i]), "%s", ids[i]);
		ids[i] = kept[i];
	}
	e.node_gc.reply = ++s->next_reply;
	sim_log(s, "people: remove %zu unknown containers of %s", e.node_gc.containers.n - 2,
		m->name);
	plane_step(s, &e);
}

static void command_rebalance(struct sim *s)
{
	struct move_order orders[MOVES_MAX];
	struct cluster_event e = { EVENT_REBALANCE, .rebalance = { 0, orders, 0 } };
	char apps[MOVES_MAX][51];
	struct move_plan plan;

	move_plan(s->cluster, &plan);
	for (uint32_t i = 0; i < plan.n; i++) {
		const struct replica *r = plan.moves[i].replica;

		if (plan.moves[i].to == r->node)
			sim_fail(s, "a plan moves %s to where it is", r->name);
		snprintf(apps[i], sizeof(apps[i]), "%s", r->app->name);
		orders[e.rebalance.moves_n++] =
			(struct move_order){ apps[i], r->n, plan.moves[i].to->id };
		sim_log(s, "people: move %s to %s", r->name, plan.moves[i].to->name);
	}
	e.rebalance.reply = ++s->next_reply;
	plane_step(s, &e);
}

static void command_nodes(struct sim *s)
{
	uint64_t dice = sim_random(s, 10);

	if (dice < 4)
		people_drain(s, &s->machines[sim_random(s, MACHINES)], true);
	else if (dice < 7)
		people_drain(s, &s->machines[sim_random(s, MACHINES)], false);
	else if (dice < 8)
		command_gc(s);
	else
		command_rebalance(s);
}

void people_command(struct sim *s)
{
	struct cluster_event e = { .type = EVENT_BRAKE_RELEASE };
	uint64_t dice = sim_random(s, 110);

	if (!s->cluster)
		return;
	if (dice >= 100) {
		command_nodes(s);
	} else if (dice < 48) {
		command_deploy(s);
	} else if (dice < 55) {
		command_rollout(s);
	} else if (dice < 61) {
		e = (struct cluster_event){ EVENT_APP_DELETE,
					    .app_delete = { ++s->next_reply,
							    sim_apps[sim_random(s, APPS)] } };
		sim_log(s, "people: remove app %s", e.app_delete.app);
		plane_step(s, &e);
	} else if (dice < 75) {
		command_credentials(s);
	} else if (dice < 82) {
		command_node_delete(s);
	} else if (dice < 84) {
		e.command.reply = ++s->next_reply;
		plane_step(s, &e);
	} else if (dice < 88) {
		e = (struct cluster_event){
			EVENT_CAPACITY, .capacity = { NODE_LOCAL_ID, { .cpu_millis = 64000, .gpus = 64 } }
		};
		plane_step(s, &e);
	} else {
		command_app(s);
	}
}
