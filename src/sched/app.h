/* Apps, their releases and their replicas. Structs are read by everybody and changed by src/sched alone. */
#ifndef TEMPS_SCHED_APP_H
#define TEMPS_SCHED_APP_H

#include "base/list.h"
#include "sched/batch.h"
#include "sched/node.h"

#define APP_NAME_MAX 50u
#define APP_RELEASES_KEPT 10u  /* that carried traffic before the current one, and as many that did not */
#define CANARY_MAX 99u	       /* percent */
#define RELEASE_FAILURES_KEPT 10u /* containers whose last lines are kept with a release */
#define FAILURE_TEXT_MAX 16384u	  /* bytes of them */

enum release_state {
	RELEASE_ROLLING,    /* its replicas are being started */
	RELEASE_ACTIVE,	    /* carries the app's traffic */
	RELEASE_RETIRED,    /* carried it once */
	RELEASE_FAILED,	    /* never did; the reason and the last log lines are kept */
	RELEASE_SUPERSEDED, /* a newer deploy came before it was done */
	RELEASE_ABORTED,    /* somebody ended its rollout */
};

/* A container that failed, and what it said last. */
struct failure {
	struct list link; /* of its release, by time */
	uint32_t replica;
	uint64_t at_wall_ms;
	int exit_code;
	bool oom_killed;
	char *reason, *text;
	struct json *extra;
};

struct release {
	struct list link;	/* of its app, by number */
	struct list dirty_link; /* to be written in this step */
	struct list keep_link;	/* of the cluster, when it keeps away from other apps */
	struct app *app;
	uint32_t n; /* 1, 2, 3 … within the app, never used again */
	enum release_state state;
	struct app_spec spec;
	char spec_hash[SPEC_HASH_LEN + 1];
	char *image_id; /* "" until resolved */
	char *reason;	/* "" unless it failed */
	char *cause;	/* "" for a deploy, else "restart of release 3" and the like */
	char *by;	/* who asked for it; "" when that was not told */
	struct list failures; /* struct failure; of one replica the last one */
	uint32_t failures_n;
	int64_t cursor; /* round-robin: the last node used; -1: none */
	uint64_t created_wall_ms, ended_wall_ms; /* ended: became active, or failed */
	uint32_t canary; /* percent of the requests that it gets until it is promoted; 0: it takes over */
	bool old_ends;	 /* stop-first: the release before goes, and is not kept at strength any more */
	bool hook_done;	 /* its pre-deploy command ended well, or it has none */
	struct replica *resolver;		 /* whose image call will tell image_id, or NULL */
	uint32_t
		replaced_n; /* replicas placed again because their node failed during the rollout */
	struct json *extra;
};

/* What its life looks like; replica.c has the table of legal successors. */
enum replica_state {
	REPLICA_PLACED,	  /* node, name and address are stored; waits for the image */
	REPLICA_STARTING, /* create and start were sent */
	REPLICA_PROBING,  /* runs; the health gate is open */
	REPLICA_HEALTHY,  /* through the gate; waits for the others of its rollout */
	REPLICA_READY,	  /* carries traffic whenever its endpoint is in */
	REPLICA_DRAINING, /* routed out; requests in flight end */
	REPLICA_TAILING,  /* failed: its last log lines are fetched */
	REPLICA_STOPPING,
	REPLICA_REMOVING,
	REPLICA_GONE, /* no container; its address rests for 10 minutes */
	REPLICA_STATES
};

struct replica {
	struct list link;	/* of its app, by number */
	struct list node_link;	/* of its node */
	struct list dirty_link; /* to be written in this step */
	struct app *app;
	struct release *release; /* NULL once that was forgotten */
	struct node *node;
	uint32_t n; /* within the app, never used again */
	uint32_t release_n;
	enum replica_state state;
	char *name;  /* of the container, also its key in the cluster */
	char ip[64]; /* where its port is reached; "" when it has none */
	uint16_t port;
	bool published;		   /* a host port of the node's; else a static address */
	struct address_pool *pool; /* where <slot> was taken, or NULL */
	uint32_t slot;
	char spec_hash[SPEC_HASH_LEN + 1]; /* of the container */
	char *container_id, *started_at;   /* "" until known */
	uint64_t created_wall_ms, ended_wall_ms;
	char *reason; /* why it failed, restarts or goes; "" when fine */

	bool hook;	    /* runs the release's pre-deploy command, once; no replica of the app */
	bool has_image;	    /* its node does */
	uint32_t weight;    /* its share of the requests among the app's endpoints */
	bool routed;	    /* its endpoint is in: requests may be sent there */
	bool away;	    /* its node is offline and it counts as missing */
	bool returned;	    /* was away: first to go when there are too many */
	bool leaving;	    /* a move was ordered: it goes when its successor carries traffic */
	bool failed;	    /* goes because it failed: its log lines are wanted */
	bool foreign;	    /* its name was taken by a container that is not ours to remove */
	bool maybe_created; /* its creation may have been asked for */
	bool exited;	    /* its container ended before its creation was answered */
	bool verify;	    /* something about it changed: inspect it (again) */
	bool degraded;	    /* crash loop */
	uint32_t restarts;  /* seen in the current window */
	uint64_t gate_end_ms; /* of its health command; 0: not begun */
	uint64_t restart_window_ms;
	struct timer calm; /* until then another restart is one of many */
	bool tail;	   /* it failed and runs again: its last lines are wanted */
	uint64_t tail_ms;  /* when they were asked for; 0: never */
	int exit_code;
	bool oom_killed;

	uint8_t await;	    /* which result is awaited, replica.c */
	uint64_t op_seq;    /* its number; 0: none */
	uint64_t probe_seq; /* of a running probe; 0: none */
	uint32_t attempts;  /* failed calls in a row */
	struct resources promised; /* of its node, while <has_promise> */
	bool has_promise;
	uint64_t cards; /* bit i: graphics card i is its own */
	int32_t score;	/* of its node, when it was placed there */
	char *placed;	/* why there */
	uint32_t mark;	    /* inventory sweep */
	struct timer timer; /* limit or retry of what is awaited */
	struct json *extra;
};

/* What somebody said about an app, and who. */
struct app_note {
	bool set;
	char *by, *reason; /* "" when not told */
	uint64_t since_wall_ms;
};

struct app {
	struct list link; /* cluster_apps(), in order of creation */
	struct list
		unsettled_link; /* of apps that wait for nodes: to take what they lack, or to be relied on before a surplus goes */
	uint32_t room_sweep;	  /* of the cluster, when it last looked whether there is room */
	struct list touched_link; /* to be settled at the end of this step */
	struct list dirty_link;	  /* to be written in this step */
	struct list releases;	  /* by number */
	struct list replicas;	  /* by number */
	char name[APP_NAME_MAX + 1];
	bool deleted; /* kept for its counters: numbers are never used again */
	uint32_t next_release, next_replica;
	struct release *current; /* carries the traffic, or NULL */
	struct release *rolling; /* the rollout under way, or NULL */
	uint64_t created_wall_ms;
	struct app_note paused; /* its requests are held */
	struct app_note locked; /* no release is begun */
	int64_t volume_node; /* where its volumes are; -1: it never had one */
	bool short_told;	    /* people know that it lacks replicas */
	uint32_t retries;	    /* failed replacements in a row */
	struct timer timer;	    /* until then no failed replica is replaced */
	struct timer rollout_timer; /* limit of the rollout under way */
	struct timer place_timer;   /* set: more replicas are placed in the next step */
	struct json *extra;
};

/* How many replicas a release is to have: all, or a canary's share of them, at least 1. */
uint32_t release_goal(const struct app_spec *s, uint32_t canary);
/* Whether its image is known to be another than <image_id>; NULL: nobody knows. */
bool release_has_moved(const struct release *rel, const char *image_id);
/* Who locked it, when and why, and what ends that. */
void app_lock_text(const struct app *a, struct err *err);
const char *replica_state_name(enum replica_state state);
/* The number of an app's replicas that are routed in. */
uint32_t app_routed(const struct app *a);
/* NULL when there is no such number. */
struct release *app_release(const struct app *a, uint32_t n);
struct replica *app_replica(const struct app *a, uint32_t n);
/* What the replica's container said when it failed last, or NULL. */
const struct failure *release_failure(const struct release *rel, uint32_t replica);
/* The last lines of the container that failed last, or "". */
const char *release_last_lines(const struct release *rel);
/* Whether a container of it keeps crashing. */
bool release_degraded(const struct release *rel);

#endif
