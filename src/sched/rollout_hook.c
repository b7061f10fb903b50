/* A release's pre-deploy command: one container of its image and environment, on one of its nodes, that runs to its end before
 * any replica starts. It runs once: as soon as it may have been created, the next thing is always to look what became of it. */
#include <inttypes.h>
#include <stdio.h>

#include "sched/state.h"

#define LOOK_AGAIN_MS 2000u /* while it runs; that it ended is usually told before */
#define RETRY_MS 250u
#define RETRY_MAX_MS 30000u

bool rollout_hook_is_due(const struct release *rel)
{
	return rel->spec.pre_deploy.n && !rel->hook_done;
}

static void fail(struct cluster *c, struct replica *r, bool has_lines, const char *reason)
{
	struct app *a = r->app;
	char why[512];

	snprintf(why, sizeof(why), "its pre-deploy command on node %s %.400s", r->node->name, reason);
	r->failed = has_lines;
	text_replace(&r->reason, why);
	if (a->rolling == r->release)
		rollout_fail(c, a, why);
	else
		replica_retire(c, r, why);
}

bool rollout_hook_advance(struct cluster *c, struct release *rel)
{
	struct replica *near = NULL;

	if (!rollout_hook_is_due(rel))
		return true;
	LIST_FOR_EACH(r, &rel->app->replicas, struct replica, link) {
		if (r->release != rel)
			continue;
		if (r->hook && replica_is_live(r))
			return false;
		if (r->hook && r->maybe_created) {
			fail(c, r, false, *r->reason ? r->reason : "was lost");
			return false;
		}
		if (!r->hook && r->state == REPLICA_PLACED && r->has_image && !near)
			near = r;
	}
	if (near)
		replica_drive(c, rollout_place_hook(c, near));
	return false;
}

static void look_later(struct cluster *c, struct replica *r, uint64_t ms)
{
	r->verify = r->state <= REPLICA_STARTING;
	replica_pause(c, r, ms);
}

static void retry(struct cluster *c, struct replica *r)
{
	r->attempts++;
	look_later(c, r, MIN(RETRY_MS << MIN(r->attempts, 7u), RETRY_MAX_MS));
}

void rollout_hook_created(struct cluster *c, struct replica *r, const struct event_container_done *e)
{
	char why[400];

	if (e->result.outcome == RPC_OK || e->result.outcome == RPC_CONFLICT) {
		/* Whether it runs still, and how it ended if not, is looked up. */
		look_later(c, r, 1);
	} else if (e->result.outcome == RPC_ERROR) {
		snprintf(why, sizeof(why), "could not start: %s",
			 e->result.error ? e->result.error : "no reason given");
		fail(c, r, false, why);
	} else {
		retry(c, r);
	}
}

static void ended(struct cluster *c, struct replica *r, const struct container_info *info)
{
	char why[96];

	if (info->exit_code || info->oom_killed) {
		r->exit_code = info->exit_code;
		r->oom_killed = info->oom_killed;
		snprintf(why, sizeof(why), "ended with exit code %d%s", info->exit_code,
			 info->oom_killed ? ", out of memory" : "");
		fail(c, r, true, why);
		return;
	}
	r->release->hook_done = true;
	release_dirty(c, r->release);
	replica_retire(c, r, "its command is done");
}

static void found(struct cluster *c, struct replica *r, const struct container_info *info)
{
	if (*info->spec_hash && strcmp(info->spec_hash, r->spec_hash) != 0) {
		r->foreign = true;
		fail(c, r, false, "did not start: another container has its name");
		return;
	}
	if (info->state == CONTAINER_CREATED) {
		/* It never started. */
		cluster_touch(c, r->app);
		replica_drive(c, r);
		return;
	}
	text_replace(&r->container_id, info->container_id);
	text_replace(&r->started_at, info->started_at);
	replica_dirty(c, r);
	if (r->state == REPLICA_PLACED)
		replica_set_state(c, r, REPLICA_STARTING);
	if (r->state == REPLICA_STARTING)
		replica_set_state(c, r, REPLICA_PROBING);
	if (info->state == CONTAINER_EXITED || info->state == CONTAINER_DEAD)
		ended(c, r, info);
	else
		look_later(c, r, LOOK_AGAIN_MS);
}

void rollout_hook_inspected(struct cluster *c, struct replica *r, const struct event_container_done *e)
{
	switch (e->result.outcome) {
	case RPC_OK: found(c, r, &e->info); break;
	case RPC_NOT_FOUND:
		if (*r->container_id) {
			fail(c, r, false, "ended nobody knows how: its container was removed");
		} else {
			cluster_touch(c, r->app);
			replica_drive(c, r);
		}
		break;
	default: retry(c, r); break;
	}
}

void rollout_hook_exited(struct cluster *c, struct replica *r)
{
	if (r->state != REPLICA_PROBING || r->await != AWAIT_RETRY)
		return;
	replica_forget_call(c, r);
	replica_drive(c, r);
}
