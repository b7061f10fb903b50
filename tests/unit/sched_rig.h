/* A cluster for unit tests with a world that does as it is told: calls are answered at once, unless the test says how they fail. */
#ifndef TEMPS_TESTS_SCHED_RIG_H
#define TEMPS_TESTS_SCHED_RIG_H

#include "sched/cluster.h"

struct rig {
	struct cluster_config config;
	struct cluster *c;
	struct cluster_now now;
	struct batch *pending[4096];
	size_t pending_n;
	struct rig_record {
		char kind[16], key[96];
		char *value;
	} store[4096];
	size_t store_n;
	uint64_t replies;
	/* what the last reply said */
	struct effect_reply reply;
	char title[64], text[2048], id[16];
	/* how the world behaves */
	bool gate_fails, create_fails, image_fails, hold_drains, hold_gates;
	bool hook_runs;	     /* a pre-deploy command goes on and on */
	int hook_exit;	     /* else it ends like this */
	uint32_t hooks, hook; /* so many were started; the last one's replica */
	bool volume_busy;
	enum container_health health; /* what health commands say */
	uint32_t hold_ms; /* of the last policy */
	uint32_t weights[64]; /* by replica, of the last route in; 0: it is out */
	uint32_t addresses_taken; /* so many containers find their address taken */
	char started_at[16]; /* what containers that are looked at say of themselves */
	int64_t mute_node;	  /* its calls fail in transport; -1: none */
	int64_t frozen_node;	  /* its calls are never answered; -1: none */
	uint64_t effects[EFFECT_TYPES];
	uint64_t suspected; /* endpoints of suspect nodes among those that failed */
	char events[16384]; /* types of people's events, each followed by a space */
};

void rig_init(struct rig *r);
void rig_fini(struct rig *r);
/* One step; its effects are carried out, and what follows from them, until nothing is left to answer. */
void rig_do(struct rig *r, struct cluster_event e);
/* Time goes on; what is due is done. Workers are heard from every 10 s when <alive>. */
void rig_pass(struct rig *r, uint64_t ms, bool alive);
/* A new control plane on the same store. */
void rig_restart(struct rig *r);
/* A worker joins, beats and can be called. */
int64_t rig_join(struct rig *r, const char *name, const char *region);
void rig_deploy(struct rig *r, const char *app, const struct app_spec *spec);
struct app_spec rig_spec(uint32_t replicas);
/* "0 1 0 2": the nodes of an app's live replicas, by number. */
const char *rig_nodes(struct rig *r, const char *app);
const struct replica *rig_replica(struct rig *r, const char *app, uint32_t n);
/* A hash of 64 times this digit. */
const char *rig_hash(char digit);

#endif
