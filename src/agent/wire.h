/* The bodies of the agent API (PROTOCOL §1.5 and our additions) as structs, with their JSON both ways. Used by the agent, by the
 * control plane's direct link, and (without JSON) by the local link. */
#ifndef TEMPS_AGENT_WIRE_H
#define TEMPS_AGENT_WIRE_H

#include "base/pairs.h"

/* Labels of containers that are ours. The node sets the first four itself; the rest come with the deploy request. */
#define WIRE_LABEL_MANAGED "sh.temps.managed"	/* "true" */
#define WIRE_LABEL_CLUSTER "sh.temps.cluster"
#define WIRE_LABEL_NODE "sh.temps.node"
#define WIRE_LABEL_SPEC "sh.temps.spec"
#define WIRE_LABEL_APP "sh.temps.app"
#define WIRE_LABEL_RELEASE "sh.temps.release"
#define WIRE_LABEL_REPLICA "sh.temps.replica"

struct wire_port {
	char host_ip[46];	/* "" = all addresses */
	uint16_t host_port;	/* 0: Docker chooses */
	uint16_t container_port;
	bool udp;
};

struct wire_mount {
	char *type;		/* "volume" or "bind" */
	char *source, *target;
	bool read_only;
};

enum wire_restart { WIRE_RESTART_NEVER, WIRE_RESTART_ALWAYS, WIRE_RESTART_ON_FAILURE, WIRE_RESTART_UNLESS_STOPPED };

/* A command that the engine runs in the container now and then. */
struct wire_health {
	char **command;		/* NULL-terminated; NULL: none */
	uint32_t interval_ms, start_ms, retries;
};

struct wire_deploy {
	char *image_name;	/* reference or id */
	char *container_name;
	struct pairs env, labels, secrets;	/* secrets become environment too, and are never logged or listed */
	struct wire_port *ports;
	size_t nports;
	struct wire_mount *mounts;
	size_t nmounts;
	char *network_name;	/* NULL: Docker's default bridge */
	char *static_ip;	/* with network_name, local link only: the address we assigned; NULL */
	struct wire_health health;	/* ours */
	char **command;		/* NULL-terminated, or NULL for the image's own */
	double cpu_limit;	/* cores; 0 = none */
	uint64_t memory_limit_mb;
	uint64_t disk_limit_mb;	/* accepted, refused by engines without quota support */
	uint64_t gpus;		/* ours: bit i is graphics card i, the container's own */
	enum wire_restart restart_policy;
	char *log_max_size;	/* "10m" or NULL */
	uint32_t log_max_file;
	uint32_t stop_timeout_s;/* 0: Docker's default */
	char *spec_hash;	/* ours; NULL from other clients */
};
/* From a request body: -EINVAL with the member and the reason. Unknown members are ignored. */
int wire_deploy_parse(struct wire_deploy *d, const struct json *j, struct err *err) MUST_CHECK;
void wire_deploy_emit(const struct wire_deploy *d, struct json_out *o);
void wire_deploy_fini(struct wire_deploy *d);

struct wire_deployed {		/* DeployResult */
	char container_id[65], container_name[256], status[16];
	uint16_t container_port, host_port;
	uint64_t started_at_ms;	/* ours: identity with container_id */
};
int wire_deployed_parse(struct wire_deployed *d, const struct json *j, struct err *err) MUST_CHECK;
void wire_deployed_emit(const struct wire_deployed *d, struct json_out *o, const char *name);

struct wire_container {		/* ContainerInfo, and an inventory entry */
	char id[65], name[256], image[256];
	char status[16];	/* Created Running Paused Stopped Exited Dead, and Restarting: ended, the engine will start it again */
	char image_id[80];
	char health[12];	/* what its health command says: starting healthy unhealthy; "" when it has none */
	uint64_t created_at_ms, started_at_ms, finished_at_ms;
	int exit_code;
	bool oom_killed;
	uint32_t restart_count;
	char ip[46];		/* address in its (first) network, "" when none */
	struct wire_port ports[8];
	size_t nports;
	struct pairs labels;
	struct pairs env;	/* info only; values of names that look secret are masked */
};
int wire_container_parse(struct wire_container *c, const struct json *j, struct err *err) MUST_CHECK;
void wire_container_emit(const struct wire_container *c, struct json_out *o, const char *name);	/* ContainerInfo */
void wire_container_emit_beat(const struct wire_container *c, struct json_out *o);			/* heartbeat entry */
int wire_container_parse_beat(struct wire_container *c, const struct json *j, struct err *err) MUST_CHECK;
void wire_container_fini(struct wire_container *c);

struct wire_stats {
	char container_id[65], container_name[256];
	double cpu_percent, memory_percent;
	uint64_t memory_bytes, memory_limit_bytes, network_rx_bytes, network_tx_bytes;
	uint64_t timestamp_ms;
};
void wire_stats_emit(const struct wire_stats *s, struct json_out *o, const char *name);

struct wire_capacity {
	double cpu_percent;
	uint32_t cpu_cores;
	uint64_t memory_used_bytes, memory_total_bytes, disk_used_bytes, disk_total_bytes;
	uint32_t gpu_count;
	uint32_t running_containers;	/* health only */
};
int wire_capacity_parse(struct wire_capacity *c, const struct json *j, struct err *err) MUST_CHECK;
void wire_capacity_emit(const struct wire_capacity *c, struct json_out *o, const char *name);

struct wire_kept {		/* the log of a container that is gone */
	char container[256];
	uint32_t release, replica;
	uint64_t ended_ms, bytes;
};
int wire_kept_parse(struct wire_kept *k, const struct json *j, struct err *err) MUST_CHECK;
void wire_kept_emit(const struct wire_kept *k, struct json_out *o);

struct wire_event {		/* a line of GET /agent/events */
	char action[24];	/* start, die, oom, stop, destroy, create, health_status … */
	char container_id[65], container_name[256];
	int exit_code;		/* die; else -1 */
	uint64_t time_ms;
	struct pairs labels;	/* sh.temps.* only */
};
int wire_event_parse(struct wire_event *e, struct slice line, struct err *err) MUST_CHECK;
void wire_event_emit(const struct wire_event *e, struct buf *line);	/* with its newline */
void wire_event_fini(struct wire_event *e);

/* What GET /agent/images/… says of an image. It becomes part of stored releases and of URLs: the id is 1 to 79 letters, digits
 * and ":._-+", the architecture may be "". */
struct wire_image {
	char id[80], architecture[32];
	uint64_t bytes;
	bool from_registry;
};

int wire_image_parse(struct wire_image *i, const struct json *j, struct err *err) MUST_CHECK;

/* A line of POST /agent/images/pull: {"progress":"…"} any number of times, then {"done":true} or {"error":"…","status":404} as the last. A stream
 * that ends without such a last line broke on the way. */
struct wire_pull {
	bool done;		/* the last line; <rc> says how it went, <text> why it failed */
	int rc;			/* as link_result.rc */
	char text[512];		/* progress or error, for people; cut to fit */
};
int wire_pull_parse(struct wire_pull *p, struct slice line, struct err *err) MUST_CHECK;
void wire_pull_emit(const struct wire_pull *p, struct buf *line);	/* with its newline */

/* What surrounds every answer of the agent: {"success":true,"data":…,"error":null}. Between begin and end one value named "data" is put. */
void wire_envelope_begin(struct json_out *o);
void wire_envelope_end(struct json_out *o);
void wire_envelope_error(struct json_out *o, const char *error);
/* 0: a success, <*data> borrows from <*doc>, which is the caller's to free. -EREMOTEIO: the agent said no, its reason is in <err>. -EINVAL: no envelope. */
int wire_envelope_parse(struct json **doc, const struct json **data, struct slice body, struct err *err) MUST_CHECK;

/* The same errors on both ends: link_result.rc as an HTTP status of the agent, and back (200-299 give 0). -ENOENT 404, -EEXIST 409, -EADDRINUSE 423, -EBUSY 429, -EINVAL 400,
 * -ECOMM 503 (its engine cannot be reached), -ETIMEDOUT 504, -ENOSPC 507, -EACCES 401, everything else 500 and -EIO. */
unsigned wire_status(int rc);
int wire_rc(unsigned status);

#endif
