/* Watches the engine beside us: attached as node 0 once it answers and its network is there, closed
 * when it does not. */
#include "control/local.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/log_store.h"
#include "agent/metrics.h"
#include "base/log.h"
#include "control/control.h"
#include "control/deployer.h"
#include "control/links.h"
#include "control/nodes.h"
#include "reactor/deadline.h"

#define DOCKER_ROOT "/var/lib/docker"
#define NETWORK_RETRY_MS 5000
#define SETTLE_MAX_MS 3000	/* an engine that takes longer to answer is not waited for */

struct local {
	struct control *control;
	struct log_store *logs;		/* NULL: none are kept */
	struct engine *engine;		/* NULL: switched off */
	struct link_op *network;	/* being made or asked about */
	struct deadline retry;
	struct metrics *metrics;
	struct deadline measure;
	bool started, ok;
	bool known;			/* the domain knows which */
	char why[512];			/* not ok */
	struct deadline settle;
	void (*settled)(void *arg);	/* NULL: nobody waits */
	void *settled_arg;
};

static void network_begin(struct local *l);

bool local_publishes(const char *docker_host)
{
	const char *host = docker_host ? docker_host : getenv("DOCKER_HOST");

	if (!host || strcmp(host, "none") == 0)
		return false;
	return !slice_starts(slice_str(host), SLICE("unix://")) || strstr(host, "/run/user/");
}

static void tell_lost(struct local *l, const char *why)
{
	struct cluster_event e = { .type = EVENT_AGENT_LOST, .agent = { NODE_LOCAL_ID, l->why } };

	if (l->ok || strcmp(l->why, why) != 0)
		log_warn("no containers run on this machine: %s", why);
	snprintf(l->why, sizeof(l->why), "%s", why);
	l->ok = false;
	links_close(l->control->links, NODE_LOCAL_ID);
	deployer_step(l->control->deployer, &e);
	local_told(l);
}

/* ---- does the domain know? ---- */

static void on_settled(void *arg)
{
	struct local *l = arg;
	void (*settled)(void *arg) = l->settled;

	deadline_set(&l->settle, 0);
	l->settled = NULL;
	if (settled)
		settled(l->settled_arg);
}

void local_told(struct local *l)
{
	l->known = true;
	if (l->settled)
		deadline_set(&l->settle, 1);
}

void local_when_settled(struct local *l, void (*settled)(void *arg), void *arg)
{
	l->settled = settled;
	l->settled_arg = arg;
	deadline_set(&l->settle, l->known ? 1 : SETTLE_MAX_MS);
}

/* ---- the engine ---- */

static void attach(struct local *l)
{
	const struct engine_state *s = engine_state(l->engine);

	l->ok = true;
	l->why[0] = '\0';
	log_info("docker=%s containers run on this machine", s->version);
	links_attach(l->control->links, NODE_LOCAL_ID, engine_link(l->engine));
}

static void on_network(void *arg, const struct link_result *res, const char *subnet)
{
	struct local *l = arg;
	const char *want = l->control->options->network_subnet;
	char why[512];

	l->network = NULL;
	if (res->rc) {
		snprintf(why, sizeof(why), "network %s: %s", l->control->network_name, res->error);
		tell_lost(l, why);
		deadline_set(&l->retry, NETWORK_RETRY_MS);
	} else if (strcmp(subnet, want) != 0) {
		snprintf(
			why, sizeof(why),
			"Docker network %s has the subnet %s, not %s: remove it, or start with --network-subnet %s",
			l->control->network_name, subnet, want, subnet);
		tell_lost(l, why);
	} else {
		attach(l);
	}
}

static void network_begin(struct local *l)
{
	const struct serve_options *o = l->control->options;

	if (l->network || l->ok)
		return;
	if (local_publishes(o->docker_host)) {
		attach(l);
		return;
	}
	l->network = engine_network(l->engine, l->control->network_name, o->network_subnet,
				    on_network, l);
}

/* ---- what this machine has ---- */

static void on_measure(void *arg)
{
	struct local *l = arg;
	struct cluster_event e = { .type = EVENT_CAPACITY, .capacity.node_id = NODE_LOCAL_ID };
	struct wire_capacity now;

	metrics_read(l->metrics, loop_now_ms(l->control->loop), &now);
	nodes_capacity_from(&e.capacity.capacity, &now);
	deployer_step(l->control->deployer, &e);
	deadline_set(&l->measure, l->control->options->heartbeat_interval_s * 1000);
}

/* An engine elsewhere has what that machine has. */
static bool is_here(const char *docker_host)
{
	const char *host = docker_host ? docker_host : getenv("DOCKER_HOST");

	return !host || slice_starts(slice_str(host), SLICE("unix://"));
}

static void on_engine(void *arg, const struct engine_state *s)
{
	struct local *l = arg;

	if (!l->started)
		return;
	if (s->ok) {
		network_begin(l);
		return;
	}
	deadline_set(&l->retry, 0);
	tell_lost(l, s->error ? s->error : "the Docker Engine does not answer");
}

static void on_retry(void *arg)
{
	struct local *l = arg;

	if (engine_state(l->engine)->ok)
		network_begin(l);
}

/* A machine that cannot keep logs still runs containers. */
static struct log_store *keep_logs(struct control *c)
{
	char *dir = xasprintf("%s/logs", c->options->data_dir);
	struct log_store_config config = { .loop = c->loop, .work = c->work, .dir = dir };
	struct log_store *logs = NULL;
	struct err err;

	if (log_store_open(&logs, &config, &err))
		log_warn("logs of containers that are removed are not kept: %s", err.text);
	free(dir);
	return logs;
}

int local_create(struct local **out, struct control *c, struct err *err)
{
	struct local *l = xcalloc(1, sizeof(*l));
	const char *host = c->options->docker_host;
	struct engine_config config = { .docker_host = host,
					.cluster_id = c->cluster_id,
					.node_name = "local" };
	struct metrics_told told;
	int rc = 0;

	l->control = c;
	deadline_init(&l->retry, c->loop, on_retry, l);
	deadline_init(&l->settle, c->loop, on_settled, l);
	deadline_init(&l->measure, c->loop, on_measure, l);
	l->metrics = metrics_create(DOCKER_ROOT);
	told = node_says_resources(&c->options->node);
	metrics_tell(l->metrics, &told);
	config.logs = l->logs = keep_logs(c);
	if (!host || strcmp(host, "none") != 0)
		rc = engine_create(&l->engine, c->loop, c->rpc, &config, err);
	if (rc) {
		local_destroy(l);
		return rc;
	}
	if (l->engine)
		engine_watch_state(l->engine, on_engine, l);
	*out = l;
	return 0;
}

void local_start(struct local *l)
{
	l->started = true;
	if (l->engine && is_here(l->control->options->docker_host))
		on_measure(l);
	if (!l->engine)
		tell_lost(l, "switched off with --docker-host none");
	else if (engine_state(l->engine)->ok)
		network_begin(l);
}

void local_destroy(struct local *l)
{
	if (!l)
		return;
	deadline_stop(&l->retry);
	deadline_stop(&l->settle);
	deadline_stop(&l->measure);
	metrics_destroy(l->metrics);
	engine_destroy(l->engine);
	log_store_close(l->logs);
	free(l);
}

struct local_view local_view(const struct local *l)
{
	const struct engine_state *s = l->engine ? engine_state(l->engine) : NULL;

	return (struct local_view){
		.ok = l->ok,
		.version = s && s->ok ? s->version : NULL,
		.error = l->ok ? NULL : *l->why ? l->why : "the Docker Engine has not answered yet",
	};
}
