/* Join tokens, API keys and registry credentials: records that hold hashes or opaque values, never a secret. */
#ifndef TEMPS_SCHED_TOKEN_H
#define TEMPS_SCHED_TOKEN_H

#include "base/list.h"
#include "sched/event.h"

#define TOKEN_ID_LEN 12u /* the first hex digits of the hash */

struct join_token {
	struct list link; /* cluster_join_tokens() */
	char id[TOKEN_ID_LEN + 1];
	char hash[HASH_HEX_LEN + 1];
	uint64_t created_wall_ms, expires_wall_ms; /* expires: 0 never */
	bool once, shared;
	uint32_t used;
	char *name; /* bound to this node name; "" any */
	struct pairs labels;
	struct json *extra;
};

struct api_key {
	struct list link; /* cluster_api_keys() */
	char id[TOKEN_ID_LEN + 1];
	char hash[HASH_HEX_LEN + 1];
	char *name, *scope;
	uint64_t created_wall_ms;
	struct json *extra;
};

struct registry {
	struct list link; /* cluster_registries() */
	char *server, *value;
	uint64_t created_wall_ms;
	struct json *extra;
};

/* A host (and path) that leads to an app, or to literal addresses. */
struct host {
	struct list link;    /* cluster_hosts(): static ones only */
	char *key;	     /* "host/path", the path always there */
	char *name, *path;   /* "host", "/path" */
	struct app *app;     /* NULL: static */
	bool live;	     /* in the route table; else claimed by a rollout */
	struct strs targets; /* static */
	struct pairs policy; /* static */
	uint64_t created_wall_ms;
	struct json *extra;
};

#endif
