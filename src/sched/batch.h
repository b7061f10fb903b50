/* What a step decided: records to store and effects to carry out. A batch owns everything it points to and does not
 * refer to the cluster, so it may wait for its commit while the cluster goes on.
 *
 * The contract of whoever carries batches out:
 * - Batches are committed and carried out in the order in which the steps gave them, one after the other.
 * - A batch's effects run after its records are committed, in their order. Effects of a batch without records wait for
 *   the batches before it all the same.
 * - The one exception: EFFECT_ENDPOINT_FAILED is carried out at once, and again at its place in the order, because an
 *   EFFECT_ROUTE_IN of the same endpoint may still be waiting for its commit. It is idempotent.
 * - Every effect that carries an op is answered by exactly one event with that op (a cancelled probe by none), also when
 *   it could not be tried. */
#ifndef TEMPS_SCHED_BATCH_H
#define TEMPS_SCHED_BATCH_H

#include "sched/event.h"

#define ENDPOINT_WEIGHT_MAX 1000u

struct record {
	const char *kind; /* static */
	struct slice key;
	struct slice value; /* JSON; p == NULL: delete */
};

enum effect_type {
	EFFECT_NODE_SET,  /* a node is new or changed: open or renew its link */
	EFFECT_NODE_GONE, /* close its link and forget its certificate */
	EFFECT_NODE_PROBE, /* find out now whether its agent answers: EVENT_AGENT_REACHABLE or EVENT_AGENT_LOST */
	EFFECT_LIST, /* ask for all managed containers: EVENT_INVENTORY, or EVENT_AGENT_LOST */
	EFFECT_IMAGE_ENSURE,
	EFFECT_CREATE, /* create and start; a no-op when the name runs with that spec hash */
	EFFECT_INSPECT,
	EFFECT_LOG_TAIL,
	EFFECT_STOP,
	EFFECT_REMOVE,
	EFFECT_PROBE_START,
	EFFECT_PROBE_CANCEL,
	EFFECT_ROUTE_IN,  /* the endpoint may be chosen from now on */
	EFFECT_ROUTE_OUT, /* no new request; EVENT_DRAINED when idle, at once if it is not known */
	EFFECT_ENDPOINT_FAILED, /* out at once: idle connections are closed, requests in flight may end */
	EFFECT_APP_POLICY, /* the policies of the release that carries an app's traffic */
	EFFECT_APP_PAUSE,  /* its requests are held from now on, or let go */
	EFFECT_HOST_SET,	/* host and path now lead to an app */
	EFFECT_HOST_STATIC, /* host and path now lead to literal addresses */
	EFFECT_HOST_DEL,
	EFFECT_EVENT, /* something people want to know */
	EFFECT_REPLY, /* the answer to a command or request; exactly one for each reply handle */
	EFFECT_TYPES
};

/* Where a replica's container can be reached. */
struct endpoint_at {
	const char *app;
	uint32_t replica, release;
	int64_t node_id;
	const char *container_id, *started_at;
	const char *ip;
	uint16_t port;
};

struct effect_node {
	int64_t node_id;
};

struct effect_image {
	struct op op;
	int64_t node_id;
	uint32_t release;
	const char *image;    /* reference to pull */
	const char *image_id; /* "" when not resolved yet: the answer fixes it for the release */
};

struct effect_create {
	struct op op;
	int64_t node_id;
	uint32_t release;
	const char *name; /* of the container: "<cluster>-<app>-<n>" */
	const char *image, *image_id;
	const char *spec_hash; /* SPEC_HASH_LEN hex */
	struct pairs env, labels; /* the node adds its own: cluster, node, spec hash */
	struct pairs secrets;	  /* of the environment, too, as the spec has them */
	struct strs command;
	uint16_t container_port; /* 0: none */
	const char *host_ip;	 /* published there, or NULL */
	uint16_t host_port;
	const char *static_ip; /* in the cluster's bridge network, or NULL */
	uint32_t cpu_millis;   /* 0: no limit */
	uint64_t memory_bytes; /* 0: no limit */
	uint64_t cards;	       /* bit i: graphics card i of the node */
	uint32_t stop_grace_s;
	struct pairs volumes; /* of the app: name → path */
	struct strs health_command; /* the engine runs it in the container now and then; empty: none */
	struct pairs policy;	    /* of its release, with a health command: how often */
	uint32_t health_start_ms;   /* failures do not count so long */
	bool once;	      /* it is not started again when it ends */
};

/* EFFECT_INSPECT, EFFECT_LOG_TAIL, EFFECT_STOP, EFFECT_REMOVE */
struct effect_container {
	struct op op;
	int64_t node_id;
	const char *container_id; /* "" when only the name is known: EFFECT_INSPECT alone */
	const char *name;
	uint32_t grace_s; /* EFFECT_STOP */
	uint32_t lines;	  /* EFFECT_LOG_TAIL */
};

enum probe_mode {
	PROBE_GATE,    /* a new container: healthy within the limit, or not */
	PROBE_RECOVER, /* one that failed: 250 ms doubling to 5 s, until one success or a cancel */
};

struct effect_probe {
	struct op op;
	struct endpoint_at endpoint;
	enum probe_mode mode;
	const char *path;  /* NULL: a TCP connection that stays open */
	const char *host;  /* for the Host header, or NULL */
	struct pairs policy; /* of its release: what it speaks, say */
	uint32_t limit_ms; /* PROBE_GATE */
	uint32_t start_ms; /* PROBE_GATE: failures do not count so long; 0: all count for the limit alone */
};

/* What is in the next four goes to processes that drain after an upgrade, too: control/routing.c. */
struct effect_route {
	struct endpoint_at endpoint;
	const char *reason; /* why it goes out, or NULL */
	uint32_t request_drain_ms, tunnel_drain_ms; /* EFFECT_ROUTE_OUT: cut after; 0: as ever */
	uint32_t weight;    /* EFFECT_ROUTE_IN: its share among the app's endpoints, 1 to
			     * ENDPOINT_WEIGHT_MAX; another one changes the share of one that is in */
	bool suspect; /* EFFECT_ENDPOINT_FAILED: its node does not answer either, so that requests
		       * that wait for it go elsewhere if they may; also when it is out already */
};

struct effect_host {
	const char *host;    /* "host" or "*.host" */
	const char *path;    /* "/" or a prefix */
	const char *app;     /* EFFECT_HOST_SET */
	struct strs targets; /* EFFECT_HOST_STATIC */
	struct pairs policy; /* EFFECT_HOST_STATIC */
};

struct effect_policy {
	const char *app;
	const char *host; /* a name that leads there, for the Host field of health checks */
	struct pairs policy;
	uint32_t hold_ms; /* how long a request waits when no endpoint is in; 0: as ever */
};

struct effect_pause {
	const char *app;
	bool paused;
};

struct effect_event {
	const char *type;    /* "NodeOffline": static */
	const char *subject; /* "node/worker-1", "app/hello", "app/hello/3" */
	const char *text;
	uint64_t wall_ms;
};

#define REFUSED_MAX 1000u

enum reply_kind {
	REPLY_OK,
	REPLY_CREATED,
	REPLY_INVALID,	   /* 400 */
	REPLY_FORBIDDEN,   /* 403 */
	REPLY_NOT_FOUND,   /* 404 */
	REPLY_CONFLICT,	   /* 409 */
	REPLY_UNPLACEABLE, /* 422: no node may run it; the text says why, node by node */
	REPLY_LIMIT,	   /* 507: a bound of the cluster is reached */
};

struct effect_reply {
	uint64_t reply;
	int status; /* 0 or a negative errno */
	enum reply_kind kind;
	const char *title; /* "Invalid Join Token" */
	const char *text;  /* a sentence for people */
	int64_t node_id;   /* -1: none */
	uint32_t release;  /* 0: none */
	const char *id;	   /* of a token or key, or "" */
	struct pairs refused; /* REPLY_UNPLACEABLE: nodes and why, at most REFUSED_MAX of them */
	bool resync;	   /* heartbeat: send the full inventory in the next beat */
};

struct effect {
	enum effect_type type;
	union {
		struct effect_node node;
		struct effect_image image;
		struct effect_create create;
		struct effect_container container;
		struct effect_probe probe; /* EFFECT_PROBE_CANCEL: op alone */
		struct effect_route route;
		struct effect_host host;
		struct effect_policy policy;
		struct effect_pause pause;
		struct effect_event event;
		struct effect_reply reply;
	};
};

struct batch {
	struct record *records;
	size_t records_n, records_cap;
	struct effect *effects;
	size_t effects_n, effects_cap;
	struct chunk *chunks; /* private: where the strings live */
};

/* NULL is fine. */
void batch_free(struct batch *b);
const char *effect_name(enum effect_type type);

/* For the domain's own files. */
struct batch *batch_new(void);
void *batch_alloc(struct batch *b, size_t n);
const char *batch_str(struct batch *b, const char *s); /* NULL stays NULL */
const char *batch_printf(struct batch *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
void batch_strs(struct batch *b, struct strs *dst, const struct strs *src);
void batch_pairs(struct batch *b, struct pairs *dst, const struct pairs *src);
/* The new last effect, zeroed but for its type; valid until the next one is added. */
struct effect *batch_effect(struct batch *b, enum effect_type type);
/* Records apply in their order: of two with the same kind and key the later one counts. */
void batch_put(struct batch *b, const char *kind, const char *key, struct slice value);
void batch_del(struct batch *b, const char *kind, const char *key);

#endif
