/* A machine that runs containers, as the cluster knows it: what is stored about it, and what its signals say now.
 * Node 0 is `local`, this machine, and always exists. Structs are read by everybody and changed by src/sched alone. */
#ifndef TEMPS_SCHED_NODE_H
#define TEMPS_SCHED_NODE_H

#include "base/hash.h"
#include "base/list.h"
#include "sched/event.h"
#include "sched/promise.h"
#include "sched/timer.h"

#define NODE_LOCAL_ID 0
#define NODE_NAME_MAX 64u
#define QUARANTINE_MAX 1000u /* unknown containers remembered per node */

enum node_intent { NODE_ACTIVE, NODE_DRAINING, NODE_DRAINED, NODE_REMOVED };

/* What is known about the way to the agent, or to the engine of local. A worker is called unless its agent is lost; local only
 * when its engine was said to answer. */
enum node_link { LINK_UNKNOWN, LINK_UP, LINK_LOST };

/* A managed container that no record of ours explains; only `temps node gc` removes it. */
struct quarantined {
	struct list link; /* of its node */
	char *container_id, *name;
	uint64_t seq; /* of the call that ends it; 0: none is under way */
	uint32_t mark; /* inventory sweep */
};

struct node {
	struct list link; /* cluster_nodes(), by id */
	struct list dirty_link,
		beat_link;	  /* records to write: in this step, with the next batch of beats */
	struct list offline_link; /* of the cluster, by offline_since_ms */
	struct list replicas;	  /* struct replica.node_link, in order of placement */
	struct list quarantine;	  /* struct quarantined */
	struct map quarantine_by_id;
	uint32_t replicas_n, quarantine_n;

	/* stored */
	int64_t id;
	char name[NODE_NAME_MAX + 1];
	char *address;		  /* base URL of the agent; "" for local */
	char private_address[64]; /* "" for local */
	char *role;
	char token_hash[HASH_HEX_LEN + 1];
	char key_hash[HASH_HEX_LEN + 1];
	char *token_sealed;
	struct pairs labels;
	struct pairs bound_labels; /* those of them that came with the join token: no beat changes them */
	char *architecture, *version;	   /* "" when not told */
	char *boot_id, *docker_started_at; /* "" when not told */
	uint64_t created_wall_ms;
	enum node_intent intent;

	/* stored now and then */
	uint64_t last_heartbeat_wall_ms; /* 0: never */

	/* derived */
	struct node_capacity capacity;
	bool docker_ok;	      /* as the last beat said */
	char *inventory_hash; /* of the last full inventory, or NULL */
	enum node_link link_state;
	bool stream_lost, call_lost; /* why it is LINK_LOST */
	bool offline, suspect;
	bool has_away;	  /* some of its replicas may be away */
	char reason[128]; /* why it is offline, suspect or without an agent; "" when fine */
	uint64_t last_exchange_ms; /* on the liveness clock, see liveness.c */
	uint64_t offline_since_ms; /* monotonic */
	struct timer timer;	   /* offline deadline */
	uint64_t strike_ms;	   /* liveness instant of the last data path timeout; 0: none */
	char strike_app[64];	   /* whose endpoint it was */
	struct promised promised;  /* to replicas whose container may be there */
	uint64_t cards_taken;	   /* bit i: graphics card i belongs to one of them */
	struct address_pool *pool; /* host ports of its private address; the cluster's */
	struct json *extra;	   /* unknown members of its record, or NULL */
};

/* "active", "offline", "draining", "drained": the specification's status. */
const char *node_status(const struct node *n);
/* "ok", "suspect" (its Docker engine does not answer, too) or "offline"; the reason is n->reason. */
const char *node_health(const struct node *n);
/* Whether new replicas may be placed there; else <why> (NULL is fine) says why not. */
bool node_eligible(const struct node *n, const char **why);

#endif
