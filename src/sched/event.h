/* What the domain is told. One tagged union; every pointer in it is borrowed for the call of cluster_step().
 * Whoever builds an event has checked its bytes: texts are valid UTF-8, terminated and within the bounds named here. */
#ifndef TEMPS_SCHED_EVENT_H
#define TEMPS_SCHED_EVENT_H

#include "sched/spec.h"

enum event_type {
	EVENT_START, /* once, first, after every record was loaded: gives the routes, then the work left open */
	EVENT_TICK, /* cluster_next_ms() is due */
	/* nodes */
	EVENT_REGISTER,
	EVENT_HEARTBEAT,
	EVENT_EXCHANGE, /* an authenticated exchange with a node, in either direction, not told by another event */
	EVENT_AGENT_REACHABLE, /* the agent's event stream is open; for local: the engine answers. One of the two follows
				 * EVENT_START for local, and EFFECT_NODE_SET for a worker */
	EVENT_AGENT_LOST, /* the stream is gone, or the agent (local: the engine) cannot be reached */
	EVENT_CAPACITY,	  /* what local has and uses; workers tell it in their heartbeats */
	EVENT_INVENTORY, /* all managed containers of a node, as EFFECT_LIST asked */
	EVENT_CONTAINER, /* one container of a node changed */
	EVENT_NODE_DELETE,
	EVENT_NODE_DRAIN, /* it is to be empty: what it runs moves, and nothing new goes there */
	EVENT_NODE_UNDRAIN,
	EVENT_NODE_GC,	 /* quarantined containers of a node are to be stopped and removed */
	EVENT_REBALANCE, /* the moves of a plan are to be made */
	EVENT_BRAKE_RELEASE, /* a person says that the mass failure is real: re-place now */
	/* apps */
	EVENT_DEPLOY,
	EVENT_PROMOTE, /* the canary takes over */
	EVENT_ABORT,   /* the rollout under way ends, a canary or not */
	EVENT_APP_DELETE,
	EVENT_SCALE, /* another number of replicas, in place */
	EVENT_RESTART,	/* the current release once more, in new containers */
	EVENT_ROLLBACK, /* a kept release once more */
	EVENT_PAUSE,	/* the front door holds the app's requests */
	EVENT_RESUME,
	EVENT_LOCK, /* no release is begun */
	EVENT_UNLOCK,
	/* results of effects */
	EVENT_IMAGE_DONE,
	EVENT_CREATE_DONE,
	EVENT_INSPECT_DONE,
	EVENT_LOG_TAIL_DONE,
	EVENT_STOP_DONE,
	EVENT_REMOVE_DONE,
	EVENT_PROBE_DONE,
	/* the data path */
	EVENT_UPSTREAM_FAILED,
	EVENT_DRAINED, /* after EFFECT_ROUTE_OUT: in-flight reached zero, or the drain limit cut what was left */
	/* credentials and static routes */
	EVENT_JOIN_TOKEN_CREATE,
	EVENT_JOIN_TOKEN_REVOKE,
	EVENT_API_KEY_CREATE,
	EVENT_API_KEY_REVOKE,
	EVENT_STATIC_ADD,
	EVENT_STATIC_SET, /* other policies for a static route, and other targets if any are given */
	EVENT_STATIC_REMOVE,
	EVENT_REGISTRY_ADD,
	EVENT_REGISTRY_REMOVE,
	EVENT_TYPES
};

#define HASH_HEX_LEN \
	64u /* SHA-256 as lower-case hex: the only form in which a secret reaches the domain */

/* Whose result it is. Copied from the effect; a result whose <seq> is no longer awaited is ignored, so doubled and late
 * ones do no harm. */
struct op {
	const char *app;
	uint32_t replica;
	uint64_t seq;
};

enum rpc_outcome {
	RPC_OK,
	RPC_TRANSPORT, /* no answer, or none that is certain (502, 503, 504 too): a signal about the node */
	RPC_ERROR, /* the agent or its engine answered with an error: a signal about the request */
	RPC_NOT_FOUND,	   /* the container or image is not there */
	RPC_CONFLICT,	   /* the name exists with another spec hash */
	RPC_ADDRESS_TAKEN, /* somebody else on the node has the port or address */
	RPC_BUSY,	   /* nothing was done: another container has the volume still. Later */
};

enum container_state {
	CONTAINER_CREATED,
	CONTAINER_RUNNING,
	CONTAINER_PAUSED,
	CONTAINER_RESTARTING,
	CONTAINER_EXITED,
	CONTAINER_DEAD,
	CONTAINER_REMOVED, /* in EVENT_CONTAINER only */
};

/* What its health command said, if it has one. */
enum container_health { HEALTH_NONE, HEALTH_STARTING, HEALTH_GOOD, HEALTH_BAD };

/* A managed container as its node sees it. */
struct container_info {
	const char *container_id; /* 64 hex */
	const char *name;
	enum container_state state;
	const char *started_at; /* as the engine prints it; "" when it never started */
	int exit_code;
	bool oom_killed;
	uint32_t restart_count;
	const char *spec_hash; /* its label, or "": tells whether a container of our name is ours */
	enum container_health health; /* EVENT_INSPECT_DONE */
};

struct node_capacity {
	double cpu_percent;
	uint32_t cpu_millis; /* 0: not told */
	uint64_t memory_used_bytes, memory_total_bytes;
	uint64_t disk_used_bytes, disk_total_bytes;
	uint32_t gpus; /* at most NODE_GPUS_MAX */
};

struct event_register {
	uint64_t reply;
	const char *name;
	const char *token_hash; /* of the node token it will use from now on */
	const char *
		token_sealed; /* opaque to the domain: what the caller needs to speak to the agent */
	const char *join_token_hash; /* NULL: none was given */
	const char *proof_hash;	     /* of the previous node token; NULL: none */
	const char *
		key_hash; /* of its public key; pinned at the first registration, proof later; NULL: none */
	const char *address;	     /* "https://10.0.0.5:3100" */
	const char *private_address; /* literal IP address */
	const char *role;	     /* NULL: "worker" */
	struct pairs labels;
	const char *architecture, *version; /* NULL: not told */
};

struct event_heartbeat {
	uint64_t reply;
	int64_t node_id;
	const char *boot_id, *docker_started_at; /* NULL: not told */
	const char *architecture, *version;	 /* NULL: not told */
	bool docker_ok;
	struct node_capacity capacity;
	const struct pairs *labels;		 /* NULL: unchanged */
	const struct container_info *containers; /* full inventory when has_inventory */
	size_t containers_n;
	bool has_inventory;
	const char *inventory_hash; /* NULL: not told */
};

struct event_exchange {
	int64_t node_id;
	bool outbound; /* we called the agent: proves that it can be reached */
};

struct event_agent {
	int64_t node_id;
	const char *reason; /* EVENT_AGENT_LOST */
};

struct event_capacity {
	int64_t node_id;
	struct node_capacity capacity;
};

struct event_inventory {
	int64_t node_id;
	const struct container_info *containers;
	size_t containers_n;
};

struct event_container {
	int64_t node_id;
	struct container_info info;
};

struct event_node_delete {
	uint64_t reply;
	int64_t node_id;
	bool force; /* one that does not answer goes with everything it ran */
};

/* EVENT_NODE_DRAIN and EVENT_NODE_UNDRAIN */
struct event_node_drain {
	uint64_t reply;
	int64_t node_id;
};

struct event_node_gc {
	uint64_t reply;
	int64_t node_id;
	struct strs containers; /* their ids; those that are not in quarantine are left alone */
};

/* A replica is to leave its node for another one. */
struct move_order {
	const char *app;
	uint32_t replica;
	int64_t to;
};

struct event_rebalance {
	uint64_t reply;
	const struct move_order *moves;
	size_t moves_n;
};

struct event_command {
	uint64_t reply;
};

struct event_deploy {
	uint64_t reply;
	const char *app;
	const struct app_spec *spec;
	const char *image_id; /* what the image reference means now; NULL: not known */
	const char *keep_image_id; /* the new release has this image, whatever the reference means; NULL, "": none */
	const char *by;		   /* who asks, for people; NULL: not told */
	uint32_t canary;      /* percent of the requests that it gets until it is promoted; 0: it takes over */
};

struct event_app_delete {
	uint64_t reply;
	const char *app;
};

/* EVENT_PROMOTE, EVENT_ABORT, EVENT_SCALE to EVENT_UNLOCK */
struct event_app {
	uint64_t reply;
	const char *app;
	const char *by;	    /* who asks, for people; NULL: not told */
	uint32_t n;	    /* EVENT_SCALE: replicas; EVENT_ROLLBACK: the release, 0: the one before */
	const char *reason; /* EVENT_LOCK */
};

/* The common part of every result. */
struct event_result {
	struct op op;
	enum rpc_outcome outcome;
	const char *error; /* for people, when not RPC_OK; else NULL */
};

struct event_image_done {
	struct event_result result;
	const char *image_id; /* "sha256:…" */
};

/* EVENT_CREATE_DONE and EVENT_INSPECT_DONE */
struct event_container_done {
	struct event_result result;
	struct container_info info; /* when RPC_OK */
};

struct event_log_tail_done {
	struct event_result result;
	const char *text; /* the last lines, when RPC_OK */
};

struct event_probe_done {
	struct op op;
	bool healthy;	    /* false ends a gate; a recovery probe only ever reports true */
	const char *reason; /* when not healthy */
};

enum upstream_failure {
	UPSTREAM_REFUSED,     /* the node answered that nobody listens */
	UPSTREAM_EARLY_EOF,   /* the connection ended before a response */
	UPSTREAM_TIMEOUT,     /* nobody answered the connection attempt */
	UPSTREAM_UNREACHABLE, /* the network says that there is no way */
	UPSTREAM_UNHEALTHY,   /* it fails its health checks */
};

/* Names an endpoint: a container that restarted is another one. */
struct endpoint_ref {
	const char *app;
	uint32_t replica;
	const char *container_id, *started_at;
};

struct event_upstream_failed {
	struct endpoint_ref endpoint;
	enum upstream_failure failure;
};

struct event_drained {
	struct endpoint_ref endpoint;
};

struct event_join_token_create {
	uint64_t reply;
	const char *hash;
	uint64_t ttl_ms; /* 0: never expires */
	bool once;
	bool shared;	  /* the one token of the settings page: replaces the earlier shared one */
	const char *name; /* NULL: any node name */
	struct pairs labels; /* given to every node that joins with it */
};

/* <id> is what the record's `id` says; NULL revokes the shared token. */
struct event_revoke {
	uint64_t reply;
	const char *id;
};

struct event_api_key_create {
	uint64_t reply;
	const char *hash;
	const char *name, *scope;
};

struct event_static {
	uint64_t reply;
	const char *host;    /* "host" or "host/path" */
	struct strs targets; /* "http://10.0.0.7:8080"; EVENT_STATIC_ADD */
	struct pairs policy; /* EVENT_STATIC_ADD and _SET */
};

struct event_registry {
	uint64_t reply;
	const char *server;
	const char *value; /* opaque; EVENT_REGISTRY_ADD */
};

struct cluster_event {
	enum event_type type;
	union {
		struct event_register reg;
		struct event_heartbeat heartbeat;
		struct event_exchange exchange;
		struct event_agent agent;
		struct event_capacity capacity;
		struct event_inventory inventory;
		struct event_container container;
		struct event_node_delete node_delete;
		struct event_node_drain node_drain;
		struct event_node_gc node_gc;
		struct event_rebalance rebalance;
		struct event_command command;
		struct event_deploy deploy;
		struct event_app_delete app_delete;
		struct event_app app;
		struct event_result result; /* EVENT_STOP_DONE, EVENT_REMOVE_DONE */
		struct event_image_done image;
		struct event_container_done container_done;
		struct event_log_tail_done log_tail;
		struct event_probe_done probe;
		struct event_upstream_failed upstream;
		struct event_drained drained;
		struct event_join_token_create join_token_create;
		struct event_revoke revoke; /* tokens and keys */
		struct event_api_key_create api_key_create;
		struct event_static route;
		struct event_registry registry;
	};
};

/* "heartbeat", "deploy": for logs and tests. */
const char *event_name(enum event_type type);

#endif
