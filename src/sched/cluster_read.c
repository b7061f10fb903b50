/* Reading the cluster. */
#include "sched/cluster.h"

#include <errno.h>

#include "sched/state.h"

const struct list *cluster_nodes(const struct cluster *c)
{
	return &c->nodes;
}

const struct node *cluster_node(const struct cluster *c, int64_t id)
{
	return map_get(&c->nodes_by_id, slice_of(&id, sizeof(id)));
}

const struct node *cluster_node_named(const struct cluster *c, const char *name)
{
	return map_get(&c->nodes_by_name, slice_str(name));
}

const struct list *cluster_apps(const struct cluster *c)
{
	return &c->apps;
}

const struct app *cluster_app(const struct cluster *c, const char *name)
{
	const struct app *a = map_get(&c->apps_by_name, slice_str(name));

	return a && !a->deleted ? a : NULL;
}

const struct replica *cluster_replica_named(const struct cluster *c, const char *name)
{
	return map_get(&c->replicas_by_name, slice_str(name));
}

const struct list *cluster_join_tokens(const struct cluster *c)
{
	return &c->join_tokens;
}

const struct list *cluster_api_keys(const struct cluster *c)
{
	return &c->api_keys;
}

const struct list *cluster_registries(const struct cluster *c)
{
	return &c->registries;
}

const struct list *cluster_statics(const struct cluster *c)
{
	return &c->statics;
}

const char *cluster_id(const struct cluster *c)
{
	return c->config.cluster_id;
}

bool cluster_braked(const struct cluster *c)
{
	return timer_is_set(&c->brake);
}

uint32_t cluster_brake_ms(const struct cluster *c, uint64_t mono_ms)
{
	return cluster_braked(c) && c->brake.due_ms > mono_ms ?
		       (uint32_t)(c->brake.due_ms - mono_ms) :
		       0;
}

int cluster_node_auth(const struct cluster *c, int64_t id, const char *token_hash)
{
	const struct node *n = cluster_node(c, id);

	if (!n || node_is_local(n))
		return -ENOENT;
	return token_hash_eq(n->token_hash, token_hash) ? 0 : -EACCES;
}

const struct api_key *cluster_api_key(const struct cluster *c, const char *hash)
{
	const struct api_key *found = NULL;

	LIST_FOR_EACH(k, &c->api_keys, struct api_key, link) {
		if (token_hash_eq(k->hash, hash))
			found = k;
	}
	return found;
}

struct cluster_counts cluster_counts(const struct cluster *c)
{
	struct cluster_counts counts = c->counts;

	counts.nodes = map_count(&c->nodes_by_id);
	counts.apps = c->apps_n;
	counts.replicas = c->replicas_n;
	counts.timers = c->timers.n;
	return counts;
}
