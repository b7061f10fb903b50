/* What the answers to a replica's calls mean. Whether the node could be reached is told to liveness first; a result that is
 * not awaited any more changes nothing else. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "sched/state.h"

#define RETRY_MS 250u /* doubling */
#define RETRY_MAX_MS 30000u
#define STOP_ATTEMPTS 5u   /* then it is removed by force */
#define UNSETTLED_MS 5000u /* a container between two states is looked at again */
#define COMMAND_LOOK_MS 500u /* between two looks at what a health command says */
#define PORTLESS_MS 2000u  /* a container without a port is healthy when it still runs after it */
#define CRASH_WINDOW_MS 600000u
#define TAIL_EVERY_MS 10000u /* the last lines of one that keeps crashing are fetched */
#define CRASHES 5u /* restarts within the window that make a crash loop */

static uint64_t backoff_ms(const struct replica *r)
{
	return MIN(RETRY_MS << MIN(r->attempts, 7u), RETRY_MAX_MS);
}

/* The replica that awaits this result, which it no longer does, or NULL. */
static struct replica *take(struct cluster *c, const struct event_result *res, enum await what)
{
	struct replica *r = replica_find(c, res->op.app, res->op.replica);
	uint64_t seq = res->op.seq;

	if (!r || r->node->intent == NODE_REMOVED)
		return NULL;
	if (res->outcome != RPC_TRANSPORT)
		liveness_exchange(c, r->node, true);
	else if (r->await == what && r->op_seq == seq)
		liveness_lost(c, r->node, false, res->error);
	if (r->await != what || r->op_seq != seq)
		return NULL;
	replica_forget_call(c, r);
	return r;
}

static void retry(struct cluster *c, struct replica *r)
{
	r->attempts++;
	replica_pause(c, r, backoff_ms(r));
}

static const char *text_of(const struct event_result *res)
{
	return res->error && *res->error ? res->error : "no reason given";
}

/* ---- image ---- */

/* The node has the image: those of the release that wait there can start. */
static void image_there(struct cluster *c, struct replica *first)
{
	LIST_FOR_EACH(r, &first->node->replicas, struct replica, node_link) {
		if (r->release != first->release || r->state != REPLICA_PLACED)
			continue;
		r->has_image = true;
		replica_drive(c, r);
	}
}

void result_image(struct cluster *c, const struct event_image_done *e)
{
	struct replica *r = take(c, &e->result, AWAIT_IMAGE);
	struct buf why;

	if (!r)
		return;
	if (e->result.outcome == RPC_OK && e->image_id && *e->image_id) {
		if (!*r->release->image_id) {
			text_replace(&r->release->image_id, e->image_id);
			release_dirty(c, r->release);
		}
		cluster_touch(c, r->app);
		image_there(c, r);
		return;
	}
	cluster_touch(c, r->app);
	buf_init(&why, 1024);
	buf_printf(&why, "image %.300s on node %s: %.500s", r->release->spec.image, r->node->name,
		   text_of(&e->result));
	rollout_replica_failed(c, r, e->result.outcome == RPC_TRANSPORT, why.data);
	buf_fini(&why);
}

/* ---- create ---- */

/* Its replica was given up meanwhile: what was created goes. */
static void created_too_late(struct cluster *c, struct replica *r,
			     const struct event_container_done *e)
{
	if (e->result.outcome == RPC_OK)
		text_replace(&r->container_id, e->info.container_id);
	replica_drive(c, r);
}

/* The engine runs the command; it is asked what came of it. */
static void begin_command_gate(struct cluster *c, struct replica *r)
{
	uint32_t limit_ms = r->release->spec.health_limit_ms;

	r->gate_end_ms = c->now.mono_ms + (limit_ms ? limit_ms : c->config.health_limit_ms);
	replica_pause(c, r, COMMAND_LOOK_MS);
}

static void created(struct cluster *c, struct replica *r, const struct container_info *info)
{
	r->verify = *r->started_at && strcmp(r->started_at, info->started_at) != 0;
	text_replace(&r->container_id, info->container_id);
	text_replace(&r->started_at, info->started_at);
	replica_set_state(c, r, REPLICA_PROBING);
	if (r->exited || info->state == CONTAINER_EXITED || info->state == CONTAINER_DEAD) {
		struct container_info ended = *info;

		ended.state = CONTAINER_EXITED;
		ended.exit_code = r->exited ? r->exit_code : info->exit_code;
		ended.oom_killed = r->exited ? r->oom_killed : info->oom_killed;
		result_exited(c, r, &ended);
	} else if (r->release->spec.health_command.n) {
		begin_command_gate(c, r);
	} else if (r->port) {
		replica_probe(c, r, PROBE_GATE);
	} else {
		replica_pause(c, r, PORTLESS_MS);
	}
}

void result_create(struct cluster *c, const struct event_container_done *e)
{
	struct replica *r = take(c, &e->result, AWAIT_CREATE);
	bool again = e->result.outcome != RPC_ERROR;
	struct buf why;

	if (!r)
		return;
	if (r->state == REPLICA_STOPPING) {
		created_too_late(c, r, e);
		return;
	}
	if (r->hook) {
		rollout_hook_created(c, r, e);
		return;
	}
	if (e->result.outcome == RPC_OK) {
		created(c, r, &e->info);
		return;
	}
	if (e->result.outcome == RPC_BUSY) {
		retry(c, r);
		return;
	}
	buf_init(&why, 1024);
	buf_printf(&why, "container %s on node %s: %.500s", r->name, r->node->name,
		   text_of(&e->result));
	/* An address that is taken rests like a used one, and another is tried: at once while a rollout's patience lasts,
	 * after a pause otherwise. */
	if (e->result.outcome == RPC_ADDRESS_TAKEN)
		again = r->release == r->app->rolling;
	/* A name that is taken: perhaps from before a restored backup. Another number is tried; whether the container is
	 * ours to remove shows when it is inspected. */
	if (e->result.outcome == RPC_CONFLICT)
		cluster_tell(c, "ContainerNameTaken", r->name, "%s", why.data);
	rollout_replica_failed(c, r, again, why.data);
	buf_fini(&why);
}

/* ---- exits and restarts ---- */

static void note_exit(struct replica *r, const struct container_info *info)
{
	r->exit_code = info->exit_code;
	r->oom_killed = info->oom_killed;
}

static void want_tail(struct cluster *c, struct replica *r)
{
	if (!r->tail_ms || c->now.mono_ms - r->tail_ms >= TAIL_EVERY_MS)
		r->tail = true;
}

void result_exited(struct cluster *c, struct replica *r, const struct container_info *info)
{
	char why[96];

	if (r->hook) {
		rollout_hook_exited(c, r);
		return;
	}
	note_exit(r, info);
	snprintf(why, sizeof(why), "its container ended with exit code %d%s", info->exit_code,
		 info->oom_killed ? ", out of memory" : "");
	if (r->state == REPLICA_STARTING || r->state == REPLICA_PLACED) {
		r->exited = true;
	} else if (replica_is_starting(r)) {
		rollout_replica_failed(c, r, false, why);
	} else if (r->state == REPLICA_READY) {
		replica_out(c, r, why);
		want_tail(c, r);
		replica_verify(c, r);
	}
}

void result_expect_calm(struct cluster *c, struct replica *r)
{
	timer_set(&c->timers, &r->calm, c->now.mono_ms + CRASH_WINDOW_MS);
}

void result_calm(struct cluster *c, struct replica *r)
{
	if (r->degraded)
		cluster_tell(c, "CrashLoopOver", r->name,
			     "container %s of app %s has not restarted for %u min", r->name,
			     r->app->name, CRASH_WINDOW_MS / 60000);
	r->degraded = false;
	r->restarts = 0;
	r->restart_window_ms = 0;
	replica_dirty(c, r);
}

static void note_restart(struct cluster *c, struct replica *r)
{
	if (!r->degraded &&
	    (c->now.mono_ms - r->restart_window_ms > CRASH_WINDOW_MS || !r->restart_window_ms)) {
		r->restart_window_ms = MAX(c->now.mono_ms, 1u);
		r->restarts = 0;
	}
	r->restarts++;
	result_expect_calm(c, r);
	if (r->degraded)
		return;
	if (r->restarts < CRASHES) {
		cluster_tell(c, "ContainerRestarted", r->name,
			     "container %s of app %s runs again after exit code %d%s", r->name,
			     r->app->name, r->exit_code,
			     r->oom_killed ? ", out of memory" : "");
		return;
	}
	r->degraded = true;
	cluster_tell(c, "CrashLoop", r->name,
		     "container %s of app %s restarted %u times within %u min, exit code %d%s",
		     r->name, r->app->name, r->restarts, CRASH_WINDOW_MS / 60000, r->exit_code,
		     r->oom_killed ? ", out of memory" : "");
}

/* ---- inspect ---- */

/* The container runs since another instant: another endpoint. */
static void adopt(struct cluster *c, struct replica *r, const struct container_info *info)
{
	replica_restarted(c, r, info->started_at);
	want_tail(c, r);
	note_restart(c, r);
	rollout_replica_restarted(c, r);
}

static void inspected_ready(struct cluster *c, struct replica *r, const struct container_info *info)
{
	bool same = strcmp(r->container_id, info->container_id) == 0;

	if (!same) {
		replica_vanished(c, r, "another container has its name");
		return;
	}
	switch (info->state) {
	case CONTAINER_RUNNING:
		r->attempts = 0;
		if (strcmp(r->started_at, info->started_at) != 0)
			adopt(c, r, info);
		if (r->state != REPLICA_READY)
			break;
		if (!r->routed && r->port && !r->probe_seq)
			replica_probe(c, r, PROBE_RECOVER);
		replica_drive(c, r);
		break;
	case CONTAINER_EXITED:
	case CONTAINER_DEAD:
		note_exit(r, info);
		r->failed = true;
		rollout_replica_ended(c, r, "its container ended and was not started again");
		replica_retire(c, r, "its container ended and was not started again");
		break;
	default:
		if (info->state == CONTAINER_RESTARTING)
			note_exit(r, info);
		replica_out(c, r, "its container does not run");
		r->verify = true;
		if (r->tail)
			replica_fetch_tail(c, r);
		else
			replica_pause(c, r, UNSETTLED_MS);
		break;
	}
}

static void command_failed(struct cluster *c, struct replica *r, const char *what)
{
	char why[256];

	snprintf(why, sizeof(why), "replica %" PRIu32 " on node %.64s did not get healthy: %s", r->n, r->node->name,
		 what);
	rollout_replica_failed(c, r, false, why);
}

static void inspected_command(struct cluster *c, struct replica *r, const struct container_info *info)
{
	switch (info->health) {
	case HEALTH_GOOD:
		replica_set_state(c, r, REPLICA_HEALTHY);
		cluster_touch(c, r->app);
		break;
	case HEALTH_BAD: command_failed(c, r, "its health command fails"); break;
	case HEALTH_NONE:
		command_failed(c, r, "its agent does not know health commands: upgrade it");
		break;
	default:
		if (c->now.mono_ms >= r->gate_end_ms)
			command_failed(c, r, "its health command did not succeed within the limit");
		else
			replica_pause(c, r, COMMAND_LOOK_MS);
		break;
	}
}

/* It has no port to be probed: what counts is that it runs. */
static void inspected_probing(struct cluster *c, struct replica *r,
			      const struct container_info *info)
{
	bool same = info->state == CONTAINER_RUNNING && strcmp(r->started_at, info->started_at) == 0;

	if (same && r->release->spec.health_command.n) {
		inspected_command(c, r, info);
	} else if (same) {
		replica_set_state(c, r, REPLICA_HEALTHY);
		cluster_touch(c, r->app);
	} else {
		result_exited(c, r, info);
	}
}

/* Only its name was known. */
static void inspected_stopping(struct cluster *c, struct replica *r,
			       const struct container_info *info)
{
	if (*info->spec_hash && strcmp(info->spec_hash, r->spec_hash) != 0)
		r->foreign = true;
	else
		text_replace(&r->container_id, info->container_id);
	replica_drive(c, r);
}

void result_inspect(struct cluster *c, const struct event_container_done *e)
{
	struct replica *r = take(c, &e->result, AWAIT_INSPECT);

	if (!r)
		return;
	if (r->hook && replica_is_starting(r)) {
		rollout_hook_inspected(c, r, e);
		return;
	}
	switch (e->result.outcome) {
	case RPC_OK:
		if (r->state == REPLICA_READY)
			inspected_ready(c, r, &e->info);
		else if (r->state == REPLICA_PROBING)
			inspected_probing(c, r, &e->info);
		else
			inspected_stopping(c, r, &e->info);
		break;
	case RPC_NOT_FOUND:
		if (r->state == REPLICA_PROBING)
			rollout_replica_failed(c, r, false, "its container is not there any more");
		else
			replica_vanished(c, r, "its container is not there any more");
		break;
	default:
		r->verify = r->state == REPLICA_READY;
		retry(c, r);
		break;
	}
}

/* ---- the last log lines, stop, remove ---- */

void result_tail(struct cluster *c, const struct event_log_tail_done *e)
{
	struct replica *r = take(c, &e->result, AWAIT_TAIL);

	if (!r)
		return;
	if (e->result.outcome == RPC_OK && e->text && r->release)
		failure_keep(c, r, e->text);
	if (r->state != REPLICA_READY)
		replica_set_state(c, r, REPLICA_STOPPING);
	replica_drive(c, r);
}

void result_stop(struct cluster *c, const struct event_result *e)
{
	struct replica *r = take(c, e, AWAIT_STOP);
	bool stuck;

	if (!*e->op.app)
		inventory_gc_done(c, e, false);
	if (!r)
		return;
	stuck = e->outcome == RPC_ERROR && r->attempts + 1 >= STOP_ATTEMPTS;
	if (e->outcome == RPC_OK || e->outcome == RPC_NOT_FOUND || stuck) {
		replica_set_state(c, r, REPLICA_REMOVING);
		replica_drive(c, r);
	} else {
		retry(c, r);
	}
}

void result_remove(struct cluster *c, const struct event_result *e)
{
	struct replica *r = take(c, e, AWAIT_REMOVE);

	if (!*e->op.app)
		inventory_gc_done(c, e, true);
	if (!r)
		return;
	if (e->outcome == RPC_OK || e->outcome == RPC_NOT_FOUND)
		replica_set_state(c, r, REPLICA_GONE);
	else
		retry(c, r);
}

/* ---- probes ---- */

static void gate_done(struct cluster *c, struct replica *r, const struct event_probe_done *e)
{
	bool node_fault = !node_callable(r->node) || r->node->suspect;
	struct buf why;

	replica_forget_call(c, r);
	if (e->healthy) {
		replica_set_state(c, r, REPLICA_HEALTHY);
		cluster_touch(c, r->app);
		return;
	}
	buf_init(&why, 1024);
	buf_printf(&why, "replica %" PRIu32 " on node %s did not get healthy: %.500s", r->n,
		   r->node->name, e->reason ? e->reason : "no reason given");
	rollout_replica_failed(c, r, node_fault, why.data);
	buf_fini(&why);
}

void result_probe(struct cluster *c, const struct event_probe_done *e)
{
	struct replica *r = replica_find(c, e->op.app, e->op.replica);

	if (!r || !r->probe_seq || r->probe_seq != e->op.seq)
		return;
	if (r->state == REPLICA_PROBING) {
		r->probe_seq = 0;
		if (e->healthy)
			liveness_answered(c, r->node);
		gate_done(c, r, e);
	} else if (r->state == REPLICA_READY && e->healthy) {
		r->probe_seq = 0;
		liveness_answered(c, r->node);
		replica_ready(c, r);
		text_replace(&r->reason, "");
		cluster_touch(c, r->app);
	}
}
