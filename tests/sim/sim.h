/* A simulated world around the real domain code: machines with containers, an unreliable network, a data path, a store. */
#ifndef TEMPS_TESTS_SIM_H
#define TEMPS_TESTS_SIM_H

#include "sched/cluster.h"
#include "sched/move.h"

#define MACHINES 7u /* machine 0 runs the control plane */
#define APPS 5u
#define CONTAINERS_MAX 512u /* on one machine, at once */
#define ENDPOINTS_MAX 2048u
#define PROBES_MAX 1024u
#define SIM_TRACE_BYTES 65536u
#define DISTURBANCES_MAX 4096u /* of a run that can be made small */
#define QUARANTINED_MAX 8u /* removed by one command */

struct container {
	char id[65], name[80], app[51], image[64], image_id[96], started_at[40], spec_hash[33], ip[64];
	uint16_t port;
	enum container_state state;
	bool sick; /* refuses connections */
	bool told_to_stop;
	bool once, fails; /* a pre-deploy command, which ends by itself: well or not */
	bool has_volume;
	uint32_t release;
};

struct machine {
	int64_t node_id; /* 0: machine 0, or not joined */
	uint32_t index;
	char name[16], private_address[32], token_hash[65], token[8];
	bool up, agent_up, engine_ok;
	bool calls_pass, data_pass; /* network between it and the control plane */
	bool streaming;		    /* an event stream is open to the running control plane */
	bool joined, inventory_due, linking;
	bool to_drain; /* when trouble ends: it is to be drained then */
	uint32_t boot, stream_n, beat_n;
	struct container containers[CONTAINERS_MAX];
	uint32_t n;
	uint64_t heard_ms;   /* by the domain, monotonic */
	uint64_t stalled_ms; /* by then, total */
	uint64_t stood_ms, stands; /* the same of standing still alone */
	char last_inventory[20];
};

/* What the proxy knows. */
struct route {
	struct endpoint_at at;
	char app[51], container_id[65], started_at[40], ip[64];
	bool in, used;
	uint32_t weight;
};

struct probe {
	char app[51], container_id[65], ip[64];
	uint32_t replica;
	int64_t node_id;
	uint16_t port;
	uint64_t seq, deadline_ms, wait_ms;
	bool used, recover;
	uint32_t passed;
};

enum message_kind {
	MESSAGE_TICK,
	MESSAGE_COMMIT,
	MESSAGE_RESTART, /* the control plane starts again */
	MESSAGE_CALL,	 /* arrives at a machine */
	MESSAGE_RESULT,	 /* arrives at the control plane */
	MESSAGE_BEAT_SEND,
	MESSAGE_BEAT,
	MESSAGE_CHANGE, /* one container changed */
	MESSAGE_LINK,	/* the control plane tries to open an event stream */
	MESSAGE_LINK_LOST,
	MESSAGE_KEEPALIVE,
	MESSAGE_JOIN,
	MESSAGE_PROBE,
	MESSAGE_DRAINED,
	MESSAGE_REVIVE, /* the engine restarts a container */
	MESSAGE_END,	/* a command is over */
	MESSAGE_HEAL,
	MESSAGE_TRAFFIC,
	MESSAGE_TROUBLE,
	MESSAGE_COMMAND,
};

struct message {
	uint64_t at_ms, seq;
	uint64_t epoch; /* of the control plane it belongs to; 0: any */
	enum message_kind kind;
	enum effect_type effect;
	enum event_type event;
	uint32_t machine, n;
	char app[51];
	uint32_t replica;
	uint64_t op_seq;
	enum rpc_outcome outcome;
	struct container container;
	struct container *list; /* owned: an inventory */
	uint32_t list_n;
	bool healthy, mute, has_list;
};

struct stored {
	char kind[16], key[96];
	char *value;
};

/* What ends a run, where the process that started it can read it. */
struct breach {
	uint64_t seed, disturbances; /* that the run had by then */
	char why[512];
};

/* What one run leaves to the next. */
struct setup {
	bool verbose;
	const bool *without; /* disturbances that are left out, or NULL */
	uint64_t without_n;
	struct breach *failure; /* NULL: print the trace */
	uint64_t events[EVENT_TYPES], effects[EFFECT_TYPES];
	char *trace; /* the last lines */
};

struct sim {
	struct setup setup;
	uint64_t seed, random;
	bool quiet_world;      /* no more trouble */
	uint64_t disturbances; /* commands and troubles so far */
	uint64_t now_ms, wall_ms, epoch, steps, stall_until_ms, starve_until_ms, stalled_ms;
	uint64_t stood_ms, stands;
	struct cluster *cluster; /* NULL while the control plane is down */
	struct message *queue;	 /* heap */
	size_t queue_n, queue_cap;
	uint64_t message_seq, next_container, next_reply, replies_open;
	struct batch *commits[4096];
	uint32_t commit_first, commit_n;
	bool committing;
	struct stored *store;
	size_t store_n, store_cap;
	struct machine machines[MACHINES];
	struct route routes[ENDPOINTS_MAX];
	struct probe probes[PROBES_MAX];
	uint64_t tick_ms;
	uint8_t asked[4096];	     /* by reply handle: which app or machine it was about, + 1 */
	uint32_t acknowledged[APPS]; /* highest release that a deploy was told */
	uint32_t routed_before[APPS], running_before[APPS], numbers_before[APPS];
	char suspect_told[16];	  /* in this step */
	uint64_t braked_until_ms; /* by the rule of the mass failure */
	uint32_t tags_moved;	  /* what the images' tags mean by now */
	struct meaning {
		char app[51], image_id[96];
		uint32_t release;
	} meanings[1024]; /* of each release, once one of its containers was asked for */
	uint32_t meanings_n;
	struct lead {
		char host[64], app[51];
	} leads[2 * APPS]; /* what the proxy was told */
	uint32_t locked_before[APPS]; /* the next release's number; 0: not locked */
	bool paused[APPS];	      /* the proxy holds its requests */
	struct carrier { /* a replica that carried traffic before the step */
		uint32_t n, floor;
		const struct app *app;
	} carriers[512];
	uint32_t carriers_n;
	bool hook_ran[APPS][4096]; /* by release */
	struct made {
		char name[80], spec_hash[33];
	} made[4096]; /* every container that was ever asked for */
	uint32_t made_n;
	char join_hash[65];
	size_t trace_n;
};

/* sim.c */
extern const char *const sim_apps[APPS];
uint64_t sim_random(struct sim *s, uint64_t below);
bool sim_chance(struct sim *s, unsigned per_mille);
void sim_log(struct sim *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* An invariant does not hold: ends the process, after the trace was printed or the failure noted. */
void sim_fail(struct sim *s, const char *fmt, ...) PRINTF_LIKE(2, 3) __attribute__((noreturn));
struct message *sim_send(struct sim *s, enum message_kind kind, uint64_t in_ms);

/* One run of a seed. Ends the process when an invariant does not hold. */
void sim_run(struct sim *s, uint64_t seed, uint64_t steps);

/* people.c */
/* Somebody asks for something. */
void people_command(struct sim *s);
/* Somebody drains the machine's node, or ends that. */
void people_drain(struct sim *s, struct machine *m, bool drain);

/* minimize.c */
/* Finds few disturbances with which seed and failure of <f> stay what they are, and prints that run's trace. */
void minimize(const struct breach *f, uint64_t steps);

/* plane.c: the control plane around the domain */
void plane_step(struct sim *s, const struct cluster_event *e);
void plane_commit(struct sim *s);
void plane_crash(struct sim *s, const char *why);
void plane_restart(struct sim *s);
void plane_result(struct sim *s, struct message *m);
void plane_link(struct sim *s, struct machine *m);
void plane_link_later(struct sim *s, struct machine *m, uint64_t in_ms);
struct machine *plane_machine(struct sim *s, int64_t node_id);
void plane_heard(struct sim *s, struct machine *m);
void plane_free(struct sim *s);

/* path.c: the proxy's part */
void path_in(struct sim *s, const struct endpoint_at *e, uint32_t weight);
void path_failed(struct sim *s, const struct endpoint_at *e);
void path_out(struct sim *s, const struct endpoint_at *e);
void path_traffic(struct sim *s);
void path_probe_start(struct sim *s, const struct effect_probe *e);
void path_probe_cancel(struct sim *s, const struct op *op);
void path_probe(struct sim *s, struct message *m);

/* machine.c */
void machine_init(struct sim *s);
void machine_call(struct sim *s, struct message *m);
void machine_beat(struct sim *s, struct machine *m);
void machine_trouble(struct sim *s);
void machine_heal(struct sim *s, struct machine *m);
void machine_end(struct sim *s, struct machine *m, const char *container_id);
void machine_revive(struct sim *s, struct machine *m, const char *container_id);
struct container *machine_find(struct machine *m, const char *id_or_name);
struct container *machine_find_anywhere(struct sim *s, const char *container_id);
/* Who answers at that address, or NULL. */
struct container *machine_listener(struct sim *s, const char *ip, uint16_t port,
				   struct machine **where);
void machine_info(const struct container *ct, struct container_info *info);
void machine_end_trouble(struct sim *s);
bool machine_reachable(const struct machine *m);

/* check.c */
void check_route_in(struct sim *s, const struct endpoint_at *e);
void check_stop(struct sim *s, const struct effect_container *e);
void check_create(struct sim *s, const struct effect_create *e);
void check_host(struct sim *s, const struct effect *e);
/* A container with a volume is asked for. */
void check_owner(struct sim *s, const struct effect_create *e);
/* A pre-deploy command starts. */
void check_hook(struct sim *s, const struct container *ct);
/* A container with a volume starts. */
void check_volume(struct sim *s, const struct machine *m, const struct container *ct);
void check_event(struct sim *s, const struct effect_event *e);
/* A container without a replica is stopped or removed. */
void check_unknown(struct sim *s, const struct effect_container *e);
void check_before(struct sim *s, const struct cluster_event *e);
void check_after(struct sim *s, const struct cluster_event *e);
void check_loaded(struct sim *s);

/* settled.c */
void check_settled(struct sim *s);

#endif
