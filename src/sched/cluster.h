/* The cluster as a value in memory, and the one function that changes it. No I/O, no clock, no chance: the same events
 * at the same instants give the same batches. event.h says what it is told, batch.h what it answers. */
#ifndef TEMPS_SCHED_CLUSTER_H
#define TEMPS_SCHED_CLUSTER_H

#include "base/hash.h"
#include "sched/app.h"
#include "sched/batch.h"
#include "sched/event.h"
#include "sched/node.h"
#include "sched/token.h"

/* The version of every stored value; a record of another one is refused. */
#define CLUSTER_RECORD_VERSION 1

struct cluster_now {
	uint64_t mono_ms; /* for every limit */
	uint64_t wall_ms; /* for display and expiry of tokens */
};

/* Zero means the default. Strings are copied. */
struct cluster_config {
	const char *cluster_id;	  /* first part of container names; text_is_app_name() */
	struct hash_key hash_key; /* for maps; no influence on any result */
	bool loopback_nodes; /* private addresses of nodes may be loopback: the control plane itself listens there only */
	const char *local_name;		/* "local" */
	const char *local_architecture; /* "amd64" */
	struct pairs local_labels;
	bool local_publish; /* containers on local are reached through ports on 127.0.0.1 (rootless, remote engine) */
	const char *
		local_subnet; /* else static addresses in this IPv4 network: "172.31.240.0/20"; its .1 is the gateway */
	uint16_t port_first, port_last; /* 20000, 29999 */
	uint32_t offline_after_ms;	/* 90,000 */
	uint32_t late_turn_ms;		/* 5,000 */
	uint32_t
		drain_limit_ms; /* 300,000, the longer of requests and tunnels: when the proxy has said nothing 15 s after it, the drain is over */
	uint32_t health_limit_ms;  /* 60,000 */
	uint32_t image_limit_ms;   /* 1,800,000 */
	uint32_t rpc_limit_ms;	   /* 330,000: a result that never comes */
	uint32_t rollout_limit_ms; /* 3,600,000: nothing takes longer */
	uint32_t address_rest_ms;  /* 600,000 */
	uint32_t stop_grace_s;	   /* 10 */
	uint32_t brake_ms;	   /* 600,000 */
	uint32_t beat_flush_ms;	   /* 10,000 */
	uint32_t place_slice;	   /* 100 replicas of an app in one step: about half a millisecond */
};

struct cluster;

/* Returns NULL with <err> filled in when the configuration makes no sense. */
struct cluster *cluster_create(const struct cluster_config *config, struct err *err);
void cluster_destroy(struct cluster *c); /* NULL is fine */

/* The kinds of records, in the order in which they are to be loaded. Ends with NULL. */
extern const char *const cluster_kinds[];

/* One stored record, before the first step. -EPROTO: an unknown kind or schema version; -EINVAL: it makes no sense. */
int cluster_load(struct cluster *c, const char *kind, struct slice key, struct slice value,
		 struct err *err) MUST_CHECK;

/* Takes one event. Never NULL; the batch is the caller's to batch_free(). Not to be called from within itself. */
struct batch *cluster_step(struct cluster *c, const struct cluster_event *e,
			   struct cluster_now now) MUST_CHECK;

/* When EVENT_TICK is due, monotonic; UINT64_MAX: never. Changes with each step only. */
uint64_t cluster_next_ms(const struct cluster *c);

/* Reading. Lists are walked with LIST_FOR_EACH; nothing read stays valid over a step. */
const struct list *cluster_nodes(const struct cluster *c); /* struct node, by id, local first */
const struct node *cluster_node(const struct cluster *c, int64_t id);
const struct node *cluster_node_named(const struct cluster *c, const char *name);
const struct list *cluster_apps(const struct cluster *c); /* struct app; skip the deleted */
const struct app *cluster_app(const struct cluster *c,
			      const char *name); /* NULL for a deleted one too */
/* By container name; also those that are gone but whose address rests. */
const struct replica *cluster_replica_named(const struct cluster *c, const char *name);
const struct list *cluster_join_tokens(const struct cluster *c); /* struct join_token */
const struct list *cluster_api_keys(const struct cluster *c);	 /* struct api_key */
const struct list *cluster_registries(const struct cluster *c);	 /* struct registry */
const struct list *cluster_statics(const struct cluster *c);	 /* struct host */
/* Who owns "host" or "host/path", or NULL. */
const struct host *cluster_host(const struct cluster *c, const char *host);
const char *cluster_id(const struct cluster *c);
/* Whether a mass failure keeps the cluster from re-placing. */
bool cluster_braked(const struct cluster *c);
/* For how much longer, if nobody releases it. */
uint32_t cluster_brake_ms(const struct cluster *c, uint64_t mono_ms);

/* A node's bearer token: 0; -ENOENT no such node; -EACCES another token. Constant time in the hash. */
int cluster_node_auth(const struct cluster *c, int64_t id, const char *token_hash) MUST_CHECK;
/* NULL when there is no such key. */
const struct api_key *cluster_api_key(const struct cluster *c, const char *hash);

struct cluster_counts {
	uint64_t steps, records, effects;
	uint32_t nodes, apps, replicas, timers;
};
struct cluster_counts cluster_counts(const struct cluster *c);

#endif
