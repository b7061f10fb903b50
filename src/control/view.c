/* Translates states of the domain for people. */
#include "control/view.h"

#include <stdio.h>
#include <string.h>

const char *view_replica_state(const struct replica *r)
{
	if (r->hook && r->state <= REPLICA_HEALTHY)
		return "pre-deploy";
	switch (r->state) {
	case REPLICA_PLACED:
		return r->op_seq ? "image" : "placing";
	case REPLICA_STARTING:
		return *r->container_id ? "starting" : "creating";
	case REPLICA_PROBING:
	case REPLICA_HEALTHY:
		return "checking";
	case REPLICA_READY:
		if (r->away)
			return "lost";
		return r->routed || !r->port ? "ready" : "out";
	case REPLICA_DRAINING:
		return "draining";
	case REPLICA_TAILING:
		return "failed";
	default:
		return r->failed ? "failed" : "stopping";
	}
}

static uint32_t ready_of(const struct app *a, const struct release *rel)
{
	uint32_t n = 0;

	LIST_FOR_EACH(r, &a->replicas, struct replica, link)
		n += r->release == rel && r->state == REPLICA_READY && !r->away &&
		     (r->routed || !r->port);
	return n;
}

/* It serves its share, until somebody decides. */
static bool is_canary_out(const struct release *r)
{
	return r->canary && ready_of(r->app, r) >= release_goal(&r->spec, r->canary);
}

const char *view_release_state(const struct release *r)
{
	switch (r->state) {
	case RELEASE_ROLLING:
		return is_canary_out(r) ? "canary" : "deploying";
	case RELEASE_ACTIVE:
		return release_degraded(r) ? "degraded" : "active";
	case RELEASE_FAILED:
		return "failed";
	case RELEASE_ABORTED:
		return "aborted";
	default:
		return "superseded";
	}
}

const char *view_replica_reason(const struct replica *r, char *out, size_t size)
{
	if (!r->degraded || r->state != REPLICA_READY)
		return r->reason;
	snprintf(out, size, "keeps crashing: %u restarts, the last after exit code %d%s", r->restarts,
		 r->exit_code, r->oom_killed ? ", out of memory" : "");
	return out;
}

struct view_app view_app(const struct app *a)
{
	struct view_app v = { .status = "stopped" };
	const struct release *last = LIST_LAST(&a->releases, struct release, link);

	v.release = a->current ? a->current : a->rolling ? a->rolling : last;
	if (v.release) {
		v.want = v.release->spec.replicas;
		v.ready = ready_of(a, v.release);
	}
	if (a->rolling)
		v.status = view_release_state(a->rolling);
	else if (a->current)
		v.status = v.ready < v.want || release_degraded(a->current) ? "degraded" : "running";
	else if (last && last->state == RELEASE_FAILED)
		v.status = "failed";
	return v;
}

static const char *const phases[] = { "placing", "image", "creating", "starting", "checking" };

/* Its place in a rollout's course; one past the last: it is through. */
static size_t phase_of(const struct replica *r)
{
	const char *state = view_replica_state(r);
	size_t i = 0;

	if (r->state == REPLICA_HEALTHY)
		return ARRAY_LEN(phases);
	while (i < ARRAY_LEN(phases) && strcmp(phases[i], state) != 0)
		i++;
	return i;
}

static void say_wait(const struct replica *r, size_t phase, char *out, size_t size)
{
	const char *node = r->node->name;

	switch (phase) {
	case 0: snprintf(out, size, "%s to have its turn on node %s", r->name, node); break;
	case 1: snprintf(out, size, "the image on node %s", node); break;
	case 2:
	case 3: snprintf(out, size, "container %s on node %s to start", r->name, node); break;
	default: snprintf(out, size, "container %s on node %s to be healthy", r->name, node); break;
	}
}

void view_rollout(const struct app *a, struct view_rollout *out)
{
	const struct release *rel = a->rolling;
	const struct replica *last = NULL;
	size_t first = ARRAY_LEN(phases);

	*out = (struct view_rollout){ .phase = "ready", .want = release_goal(&rel->spec, rel->canary) };
	LIST_FOR_EACH(r, &a->replicas, struct replica, link) {
		size_t phase = r->release == rel && r->state <= REPLICA_READY ? phase_of(r) : SIZE_MAX;

		if (r->hook && phase != SIZE_MAX) {
			out->phase = "pre-deploy";
			snprintf(out->waits_for, sizeof(out->waits_for), "the pre-deploy command, %s on node %s",
				 r->name, r->node->name);
			return;
		}
		out->healthy += phase == ARRAY_LEN(phases);
		if (phase >= first)
			continue;
		first = phase;
		last = r;
	}
	if (last) {
		out->phase = phases[first];
		say_wait(last, first, out->waits_for, sizeof(out->waits_for));
	} else if (out->healthy < out->want) {
		out->phase = "placing";
		snprintf(out->waits_for, sizeof(out->waits_for), "a node that can take the next replica");
	} else if (rel->canary) {
		snprintf(out->waits_for, sizeof(out->waits_for), "somebody to promote or abort the canary");
	}
}

void view_split_domain(const char *domain, char *host, char *path)
{
	size_t n = strcspn(domain, "/");

	snprintf(host, 256, "%.*s", (int)n, domain);
	snprintf(path, 4097, "%s", domain[n] ? domain + n : "/");
}
