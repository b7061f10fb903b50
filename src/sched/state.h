/* The inside of the cluster, for the files of src/sched alone: the root struct and what the files offer each other. */
#ifndef TEMPS_SCHED_STATE_H
#define TEMPS_SCHED_STATE_H

#include "sched/address.h"
#include "sched/cluster.h"
#include "sched/move.h"
#include "sched/placement.h"
#include "sched/rollout.h"

#define NODES_MAX 10000u
#define APPS_MAX 100000u
#define REPLICAS_MAX 200000u
#define JOIN_TOKENS_MAX 1000u
#define API_KEYS_MAX 1000u
#define REGISTRIES_MAX 1000u
#define STATICS_MAX 1100000u
#define LABELS_MAX 64u	     /* of a node */

enum timer_kind {
	TIMER_NODE,
	TIMER_REPLICA,
	TIMER_CALM, /* a replica has not restarted for a while */
	TIMER_APP,
	TIMER_ROLLOUT,
	TIMER_PLACE, /* an app's next slice of replicas */
	TIMER_PULSE, /* every second while there are workers: tells a late turn */
	TIMER_BEATS,
	TIMER_BRAKE,
	TIMER_ROOM, /* the next of the apps that wait for nodes */
};

/* Which result a replica waits for. */
enum await {
	AWAIT_NONE,
	AWAIT_IMAGE,
	AWAIT_CREATE,
	AWAIT_GATE,
	AWAIT_INSPECT,
	AWAIT_TAIL,
	AWAIT_STOP,
	AWAIT_REMOVE,
	AWAIT_DRAIN,
	AWAIT_RETRY, /* the pause after a failed call */
	AWAIT_REST,  /* the address rests */
};

struct cluster {
	struct cluster_config config; /* strings owned */
	struct cluster_now now;	      /* of the step under way */
	struct batch *batch;	      /* of the step under way */
	bool started;

	struct list nodes;   /* by id */
	struct list removed; /* nodes kept until the addresses of their replicas have rested */
	struct map nodes_by_id, nodes_by_name;
	struct node *local;
	struct list apps, unsettled;
	struct list keepers; /* struct release.keep_link: keep away from other apps */
	struct map apps_by_name, replicas_by_name;
	struct map hosts;
	struct list statics, join_tokens, api_keys, registries;
	uint32_t statics_n, join_tokens_n, api_keys_n, registries_n, apps_n, replicas_n;
	struct map pools; /* struct address_pool, by IP address or network */
	struct address_pool *local_pool;

	int64_t next_node_id;
	int64_t cursor; /* round-robin, of the last release that became active */
	uint64_t op_seq;
	bool meta_dirty;
	struct json *meta_extra;

	struct timers timers;
	struct timer pulse, beats_timer, brake, room;
	uint32_t room_sweep; /* how often there was more room: which of the unsettled have looked since */
	uint64_t last_step_ms;
	uint64_t late_ms;     /* what late turns took from the liveness clock */
	struct list offlines; /* nodes, by the instant they went offline */
	uint32_t inventory_mark;

	struct list dirty_nodes, dirty_apps, dirty_releases, dirty_replicas, beats, touched;
	struct cluster_counts counts;
};

/* cluster.c */
/* Settle <a> at the end of this step. */
void cluster_touch(struct cluster *c, struct app *a);
void cluster_tell(struct cluster *c, const char *type, const char *subject, const char *fmt, ...)
	PRINTF_LIKE(4, 5);
/* Answers a command. Zero <reply>: nobody waits. The effect may be completed by the caller, or is NULL. */
struct effect_reply *cluster_reply(struct cluster *c, uint64_t reply, enum reply_kind kind,
				   const char *title, const char *fmt, ...) PRINTF_LIKE(5, 6);
uint64_t cluster_op(struct cluster *c);
struct node *cluster_find_node(struct cluster *c, int64_t id);
struct app *cluster_find_app(struct cluster *c, const char *name); /* deleted ones too */

/* record.c: what loading and saving have in common */
void record_open(struct json_out *o, struct buf *buf);
/* Closes the object, adds the unknown members of <extra>, stores and empties <buf>. */
void record_close(struct cluster *c, struct json_out *o, const char *kind, const char *key,
		  const struct json *extra, const char *const *known);
/* Keeps <*doc> in <*extra> when it has members that are not <known>. */
void record_keep(struct json **extra, struct json **doc, const char *const *known);
/* A heap copy of the member, "" when absent. -EINVAL for another type or a longer text. */
int record_str(char **out, const struct json *obj, const char *name, size_t max,
	       struct err *err) MUST_CHECK;
/* Into an array of <size> bytes. */
int record_text(char *out, size_t size, const struct json *obj, const char *name,
		struct err *err) MUST_CHECK;
int record_u64(uint64_t *out, const struct json *obj, const char *name, uint64_t max,
	       struct err *err) MUST_CHECK;
int record_u32(uint32_t *out, const struct json *obj, const char *name, uint32_t max,
	       struct err *err) MUST_CHECK;
int record_bool(bool *out, const struct json *obj, const char *name, struct err *err) MUST_CHECK;
/* Times are stored as integers of milliseconds. */
void text_replace(char **text, const char *with);

/* node.c */
struct node *node_create(struct cluster *c, int64_t id, const char *name);
void node_destroy(struct cluster *c, struct node *n);
void node_dirty(struct cluster *c, struct node *n);
/* Out of sight; the struct stays for its replicas. */
void node_hide(struct cluster *c, struct node *n);
void node_register(struct cluster *c, const struct event_register *e);
void node_heartbeat(struct cluster *c, const struct event_heartbeat *e);
void node_delete(struct cluster *c, const struct event_node_delete *e);
/* What it has and uses now; with more than before, apps that are short try again. */
void node_measured(struct cluster *c, struct node *n, const struct node_capacity *now);
/* The pool of the node's private address. */
void node_find_pool(struct cluster *c, struct node *n);
/* A removed node whose last replica is forgotten goes too. */
void node_reap(struct cluster *c, struct node *n);
bool node_is_local(const struct node *n);
/* Whether calls are worth making; whether they are known not to be. */
bool node_callable(const struct node *n);
bool node_lost(const struct node *n);

/* node_record.c */
const char *node_intent_name(enum node_intent intent);
/* Its key in the store. */
void node_key(const struct node *n, char *key, size_t size);
void node_save(struct cluster *c, struct node *n);
void node_save_beat(struct cluster *c, struct node *n);
int node_load(struct cluster *c, struct json **doc, struct err *err) MUST_CHECK;
int node_load_beat(struct cluster *c, struct slice key, struct json **doc,
		   struct err *err) MUST_CHECK;

/* liveness.c */
void liveness_start(struct cluster *c);
void liveness_watch(struct cluster *c, struct node *n); /* a worker is new */
/* First thing in every step: a turn that came late moves every deadline. */
void liveness_turn(struct cluster *c);
void liveness_exchange(struct cluster *c, struct node *n, bool outbound);
void liveness_reachable(struct cluster *c, struct node *n);
void liveness_lost(struct cluster *c, struct node *n, bool stream, const char *reason);
void liveness_upstream(struct cluster *c, const struct event_upstream_failed *e);
/* An endpoint of the node answered. */
void liveness_answered(struct cluster *c, struct node *n);
void liveness_expired(struct cluster *c, struct node *n);
void liveness_pulse(struct cluster *c);
/* Some node can take more than before: apps that are short try again, a few in a step. */
void liveness_room(struct cluster *c);
/* The next few. */
void liveness_look_again(struct cluster *c);
void liveness_release_brake(struct cluster *c);
/* The same as a person's command. */
void liveness_override_brake(struct cluster *c, const struct event_command *e);

/* token.c */
int token_load(struct cluster *c, const char *kind, struct json **doc, struct err *err) MUST_CHECK;
void token_create(struct cluster *c, const struct event_join_token_create *e);
void token_revoke(struct cluster *c, const struct event_revoke *e);
void token_key_create(struct cluster *c, const struct event_api_key_create *e);
void token_key_revoke(struct cluster *c, const struct event_revoke *e);
void token_registry_add(struct cluster *c, const struct event_registry *e);
void token_registry_remove(struct cluster *c, const struct event_registry *e);
/* The token that lets <name> join now, or NULL with the reason for the answer. */
struct join_token *token_admit(struct cluster *c, const char *hash, const char *name,
			       const char **title, const char **why);
void token_use(struct cluster *c, struct join_token *t);
bool token_hash_eq(const char *a, const char *b); /* constant time */
bool token_hash_ok(const char *hash);		  /* 64 lower-case hex digits */
void token_free_all(struct cluster *c);

/* host.c */
/* Whether <app> may have what <s> names; -EEXIST with the owner. */
int host_check(const struct cluster *c, const char *app, const struct app_spec *s,
	       struct err *err) MUST_CHECK;
/* Claims what <s> names for <a>. -EEXIST with the owner in <err>; then nothing was claimed. */
int host_claim(struct cluster *c, struct app *a, const struct app_spec *s,
	       struct err *err) MUST_CHECK;
/* Those of <s> that neither the current nor the rolling release of <a> wants are given up. */
void host_settle(struct cluster *c, struct app *a, const struct app_spec *s);
/* The current release's policies hold for the app's traffic: before anything leads there. */
void host_policy(struct cluster *c, const struct app *a);
/* The current release's hosts lead to the app. */
void host_publish(struct cluster *c, struct app *a, bool all);
void host_start(struct cluster *c);
void host_static_add(struct cluster *c, const struct event_static *e);
void host_static_set(struct cluster *c, const struct event_static *e);
void host_static_remove(struct cluster *c, const struct event_static *e);
int host_load_static(struct cluster *c, struct json **doc, struct err *err) MUST_CHECK;
void host_free_all(struct cluster *c);

/* app.c */
struct app *app_create(struct cluster *c, const char *name);
void app_destroy(struct cluster *c, struct app *a);
void app_dirty(struct cluster *c, struct app *a);
void app_save(struct cluster *c, struct app *a);
int app_load(struct cluster *c, struct json **doc, struct err *err) MUST_CHECK;
void app_note_set(struct cluster *c, struct app_note *n, const char *by, const char *reason);
void app_note_clear(struct app_note *n);
struct release *release_create(struct cluster *c, struct app *a, uint32_t n);
void release_destroy(struct cluster *c, struct release *rel);
/* Its specification is there: what it says to others holds while its replicas live. */
void release_speak(struct cluster *c, struct release *rel);
/* Forgets it, its record too. */
void release_forget(struct cluster *c, struct release *rel);
void release_dirty(struct cluster *c, struct release *rel);
void release_save(struct cluster *c, struct release *rel);
int release_load(struct cluster *c, struct json **doc, struct err *err) MUST_CHECK;

/* failure.c */
/* Keeps <text> and how <r> failed with its release. */
void failure_keep(struct cluster *c, const struct replica *r, const char *text);
void failure_forget_all(struct cluster *c, struct release *rel);
void failure_free_all(struct release *rel);
int failure_load(struct cluster *c, struct json **doc, struct err *err) MUST_CHECK;

/* replica.c */
struct replica *replica_create(struct cluster *c, struct app *a, struct release *rel,
			       struct node *n, uint32_t number);
void replica_destroy(struct cluster *c, struct replica *r);
void replica_dirty(struct cluster *c, struct replica *r);
void replica_set_state(struct cluster *c, struct replica *r, enum replica_state next);
/* Its address rests, then it is forgotten. */
void replica_rest(struct cluster *c, struct replica *r);
/* NULL when there is none of that number. */
struct replica *replica_find(struct cluster *c, const char *app, uint32_t n);
/* Sends what its state calls for, unless something is awaited already or its node cannot be called. */
void replica_drive(struct cluster *c, struct replica *r);
/* Out of routing, until nobody has requests there; after a restart again. */
void replica_drain(struct cluster *c, struct replica *r);
/* It is to go, by the way that its state asks for: out of routing, drained, stopped, removed. <reason> NULL: the one it has. */
void replica_retire(struct cluster *c, struct replica *r, const char *reason);
/* Its container is not there any more. */
void replica_vanished(struct cluster *c, struct replica *r, const char *reason);
/* Carries traffic from now on. */
void replica_ready(struct cluster *c, struct replica *r);
/* Its share of the requests. */
void replica_weigh(struct cluster *c, struct replica *r, uint32_t weight);
/* Its endpoint fails: out at once, probed until it answers. */
void replica_out(struct cluster *c, struct replica *r, const char *reason);
/* The same of its node's account; also when it is out already, what waits for it goes elsewhere. */
void replica_suspect(struct cluster *c, struct replica *r);
/* Its container runs since another instant: the endpoint it was is gone. The new one is not probed yet. */
void replica_restarted(struct cluster *c, struct replica *r, const char *started_at);
/* Find out what its container does. */
void replica_verify(struct cluster *c, struct replica *r);
/* Asks for the last lines of its container. */
void replica_fetch_tail(struct cluster *c, struct replica *r);
/* What a gone or new way to its agent means for what is awaited. */
void replica_expired(struct cluster *c, struct replica *r);
void replica_drained(struct cluster *c, const struct event_drained *e);
bool replica_is_live(const struct replica *r);	   /* PLACED to READY */
bool replica_is_starting(const struct replica *r); /* PLACED to HEALTHY */
/* The call it waits for, if any, is forgotten; its result will be ignored. */
void replica_forget_call(struct cluster *c, struct replica *r);
/* Waits <ms> before the next try of what its state calls for. */
void replica_pause(struct cluster *c, struct replica *r, uint64_t ms);
void replica_await(struct cluster *c, struct replica *r, enum await what, uint64_t limit_ms);
void replica_probe(struct cluster *c, struct replica *r, enum probe_mode mode);
void replica_cancel_probe(struct cluster *c, struct replica *r);

/* replica_call.c */
void replica_fill_op(struct cluster *c, struct op *op, const struct replica *r, uint64_t seq);
/* EFFECT_INSPECT, EFFECT_LOG_TAIL, EFFECT_STOP or EFFECT_REMOVE; its result is awaited as <what>. */
void replica_call(struct cluster *c, struct replica *r, enum effect_type type, enum await what,
		  uint64_t limit_ms);
void replica_call_image(struct cluster *c, struct replica *r);
void replica_call_create(struct cluster *c, struct replica *r);

/* replica_record.c */
enum phase { PHASE_PLACED, PHASE_READY, PHASE_RETIRING, PHASE_GONE };
/* What of a state is stored. */
enum phase replica_phase(enum replica_state state);
void replica_save(struct cluster *c, struct replica *r);
void replica_delete_record(struct cluster *c, struct replica *r);
int replica_load(struct cluster *c, struct json **doc, struct err *err) MUST_CHECK;

/* result.c: what the answers to a replica's calls mean */
void result_image(struct cluster *c, const struct event_image_done *e);
void result_create(struct cluster *c, const struct event_container_done *e);
void result_inspect(struct cluster *c, const struct event_container_done *e);
void result_tail(struct cluster *c, const struct event_log_tail_done *e);
void result_stop(struct cluster *c, const struct event_result *e);
void result_remove(struct cluster *c, const struct event_result *e);
void result_probe(struct cluster *c, const struct event_probe_done *e);
/* It has restarted before: looks whether that is over. */
void result_expect_calm(struct cluster *c, struct replica *r);
void result_calm(struct cluster *c, struct replica *r);
/* A container of a live replica ended. */
void result_exited(struct cluster *c, struct replica *r, const struct container_info *info);

/* inventory.c */
void inventory_full(struct cluster *c, struct node *n, const struct container_info *containers,
		    size_t count);
void inventory_one(struct cluster *c, struct node *n, const struct container_info *info);
void inventory_forget(struct node *n);
/* A person wants these quarantined containers gone. */
void inventory_gc(struct cluster *c, const struct event_node_gc *e);
/* The answer to a call about a quarantined container; op.app is "". */
void inventory_gc_done(struct cluster *c, const struct event_result *e, bool removed);
/* The node's engine or machine restarted: nothing known about its endpoints holds. */
void inventory_doubt(struct cluster *c, struct node *n, const char *reason);

/* drain.c */
void drain_begin(struct cluster *c, const struct event_node_drain *e);
void drain_end(struct cluster *c, const struct event_node_drain *e);
/* A draining node that runs nothing any more is drained. */
void drain_settle(struct cluster *c, struct node *n);

/* move.c, besides move.h */
/* It is to go as soon as others carry its traffic: its node drains, or a move is under way. */
bool move_leaves(const struct replica *r);
/* Carries traffic, and nothing speaks against its node. */
bool move_is_solid(const struct replica *r);
/* Up to <n> replicas of <a> that leave because a move was ordered stay after all: what was to take their place is not
 * there. Returns how many. */
uint32_t move_cancel(struct cluster *c, struct app *a, uint32_t n);
/* Those that leave go, as far as <solid> replicas are more than <want>: never fewer than before carry traffic. */
void move_on(struct cluster *c, struct app *a, uint32_t solid, uint32_t want);
void move_ordered(struct cluster *c, const struct event_rebalance *e);

/* command.c */
void app_scale(struct cluster *c, const struct event_app *e);
void app_restart(struct cluster *c, const struct event_app *e);
void app_rollback(struct cluster *c, const struct event_app *e);
void app_pause(struct cluster *c, const struct event_app *e);
void app_resume(struct cluster *c, const struct event_app *e);
void app_lock(struct cluster *c, const struct event_app *e);
void app_unlock(struct cluster *c, const struct event_app *e);
/* Whether no release of it may begin: 409 was answered then. */
bool app_is_locked(struct cluster *c, const struct app *a, uint64_t reply);
/* The front door learns which apps are paused, before any route. */
void app_start_paused(struct cluster *c);
/* An app that is removed is neither paused nor locked. */
void app_forget_notes(struct cluster *c, struct app *a);

/* rollout_settle.c, besides rollout.h */
/* Everything that an app needs after something moved. */
void app_settle(struct cluster *c, struct app *a);

#endif
