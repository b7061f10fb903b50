/* Containers on this machine's Docker Engine: the operations of link.h on top of docker.h, used by the agent and as the
 * control plane's own `local` link. */
#ifndef TEMPS_AGENT_ENGINE_H
#define TEMPS_AGENT_ENGINE_H

#include "agent/link.h"
#include "reactor/rpc.h"

struct engine;
struct log_store;

struct engine_config {
	const char *docker_host;	/* "unix:///var/run/docker.sock", "tcp://127.0.0.1:2375"; NULL: DOCKER_HOST, else the usual socket */
	const char *cluster_id;		/* label sh.temps.cluster; every filter has it */
	const char *node_name;		/* label sh.temps.node */
	struct log_store *logs;		/* borrowed: keeps the logs of what is removed; NULL: nothing is kept */
};

int engine_create(struct engine **out, struct loop *l, struct rpc *r, const struct engine_config *c, struct err *err) MUST_CHECK;
void engine_destroy(struct engine *e);
struct link *engine_link(struct engine *e);

/* Is there an engine? Kept current by a ping every 5 s and by every operation's outcome; <changed> on each change and once at start. */
struct engine_state {
	bool ok;
	char version[32], api_version[16], architecture[16], os[16];
	uint64_t started_at_ms;		/* changes when the engine restarted; 0 unknown */
	bool rootless;
	const char *error;		/* why not ok: for people */
};
const struct engine_state *engine_state(const struct engine *e);
void engine_watch_state(struct engine *e, void (*changed)(void *arg, const struct engine_state *s), void *arg);

/* The cluster's bridge network with its subnet, made when missing. An existing one with another subnet: its own subnet is reported. */
typedef void engine_network_fn(void *arg, const struct link_result *res, const char *subnet);
struct link_op *engine_network(struct engine *e, const char *name, const char *subnet, engine_network_fn *done, void *arg);

/* More than link.h has, for the agent API. */
typedef void engine_stats_fn(void *arg, const struct link_result *res, const struct wire_stats *s);
struct link_op *engine_stats(struct engine *e, const char *id, engine_stats_fn *done, void *arg);

#endif
