/* Runs the domain's slow effects and turns their ends into events. A job that is cancelled says
 * nothing; every other one says one thing. */
#include "control/effects.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "control/container.h"
#include "control/control.h"
#include "control/dataplane.h"
#include "control/deployer.h"
#include "control/images.h"
#include "control/links.h"
#include "control/registry.h"
#include "proxy/policy.h"
#include "proxy/probe.h"
#include "reactor/deadline.h"

#define LOG_TAIL_MAX_BYTES 16384
#define PROBE_INTERVAL_MS 250
#define PROBE_INTERVAL_MAX_MS 5000
#define GATE_INTERVAL_MAX_MS 1000
#define SWEEP_MS 1000 /* images that nobody waits for any more are looked for */

struct job {
	struct list link;
	struct effects *fx;
	enum effect_type type;
	int64_t node_id;
	char app[64];
	uint32_t replica;
	uint64_t seq;			/* the map's key */
	struct link_op *op;		/* one of these runs */
	struct link *via;		/* what <op> belongs to */
	struct image_ensure *image;
	struct probe *probe;
	struct loop_task late; /* or the answer is known, and given at the end of the turn */
	enum rpc_outcome outcome;	/* of <late> */
	const char *error;
	struct buf text;		/* of a log tail */
};

struct effects {
	struct control *control;
	struct list jobs;
	struct map by_seq;
	uint32_t running;
	struct images *images;
	struct deadline sweep;	/* while images are on their way */
};

static void on_sweep(void *arg);

struct effects *effects_create(struct control *c)
{
	struct effects *fx = xcalloc(1, sizeof(*fx));
	struct hash_key key;

	fx->control = c;
	list_init(&fx->jobs);
	hash_key_random(&key);
	map_init(&fx->by_seq, &key);
	fx->images = images_create(c->loop);
	deadline_init(&fx->sweep, c->loop, on_sweep, fx);
	return fx;
}

uint32_t effects_running(const struct effects *fx)
{
	return fx->running;
}

/* ---- the life of a job ---- */

static struct slice seq_key(const uint64_t *seq)
{
	return slice_of(seq, sizeof(*seq));
}

static void job_free(struct job *j)
{
	struct effects *fx = j->fx;

	list_remove(&j->link);
	map_del(&fx->by_seq, seq_key(&j->seq));
	fx->running--;
	loop_task_cancel(&j->late);
	buf_fini(&j->text);
	free(j);
}

static void job_stop(struct job *j)
{
	if (j->op)
		j->via->ops->cancel(j->op);
	if (j->image)
		image_ensure_cancel(j->image);
	if (j->probe)
		probe_cancel(j->probe);
	j->op = NULL;
	j->image = NULL;
	j->probe = NULL;
}

static struct event_result job_result(const struct job *j, enum rpc_outcome outcome,
				      const char *error)
{
	struct event_result r = {
		.op = { j->app, j->replica, j->seq },
		.outcome = outcome,
		.error = outcome == RPC_OK ? NULL : error ? error : "no reason was given",
	};

	return r;
}

/* Tells the domain and frees the job; <e> may borrow from both the job and the caller. */
static void job_end(struct job *j, const struct cluster_event *e)
{
	struct control *c = j->fx->control;

	j->op = NULL;
	j->image = NULL;
	j->probe = NULL;
	list_remove(&j->link);
	map_del(&j->fx->by_seq, seq_key(&j->seq));
	deployer_step(c->deployer, e);
	job_free(j);
}

static enum rpc_outcome outcome_of(const struct link_result *res)
{
	switch (res->rc) {
	case 0:
		return RPC_OK;
	case -ENOENT:
		return RPC_NOT_FOUND;
	case -EEXIST:
		return RPC_CONFLICT;
	case -EBUSY:
		return RPC_BUSY;
	case -EADDRINUSE:
		return RPC_ADDRESS_TAKEN;
	case -ECOMM:
	case -ETIMEDOUT:
		return RPC_TRANSPORT;
	default:
		return RPC_ERROR;
	}
}

static enum event_type event_of(enum effect_type type)
{
	switch (type) {
	case EFFECT_IMAGE_ENSURE:
		return EVENT_IMAGE_DONE;
	case EFFECT_CREATE:
		return EVENT_CREATE_DONE;
	case EFFECT_INSPECT:
		return EVENT_INSPECT_DONE;
	case EFFECT_LOG_TAIL:
		return EVENT_LOG_TAIL_DONE;
	case EFFECT_STOP:
		return EVENT_STOP_DONE;
	default:
		return EVENT_REMOVE_DONE;
	}
}

/* An end without content: a failure of any kind, or a stop or removal that worked. */
static void job_end_plain(struct job *j, enum rpc_outcome outcome, const char *error)
{
	struct cluster_event e = { .type = event_of(j->type) };

	switch (j->type) {
	case EFFECT_IMAGE_ENSURE:
		e.image.result = job_result(j, outcome, error);
		break;
	case EFFECT_CREATE:
	case EFFECT_INSPECT:
		e.container_done.result = job_result(j, outcome, error);
		break;
	case EFFECT_LOG_TAIL:
		e.log_tail.result = job_result(j, outcome, error);
		break;
	case EFFECT_PROBE_START:
		e.type = EVENT_PROBE_DONE;
		e.probe = (struct event_probe_done){ .op = { j->app, j->replica, j->seq },
						     .healthy = outcome == RPC_OK,
						     .reason = error };
		break;
	default:
		e.result = job_result(j, outcome, error);
		break;
	}
	job_end(j, &e);
}

static void on_late(void *arg)
{
	struct job *j = arg;

	job_end_plain(j, j->outcome, j->error);
}

static void job_end_late(struct job *j, enum rpc_outcome outcome, const char *error)
{
	j->outcome = outcome;
	j->error = error;
	loop_later(j->fx->control->loop, &j->late);
}

static struct job *job_new(struct effects *fx, enum effect_type type, const struct op *op,
			   int64_t node_id)
{
	struct job *j = xcalloc(1, sizeof(*j));

	j->fx = fx;
	j->type = type;
	j->node_id = node_id;
	snprintf(j->app, sizeof(j->app), "%s", op->app ? op->app : "");
	j->replica = op->replica;
	j->seq = op->seq;
	buf_init(&j->text, 4 * LOG_TAIL_MAX_BYTES);
	loop_task_init(&j->late, on_late, j);
	list_push_back(&fx->jobs, &j->link);
	map_put(&fx->by_seq, seq_key(&j->seq), j);
	fx->running++;
	return j;
}

void effects_drop_node(struct effects *fx, int64_t node_id)
{
	LIST_FOR_EACH(j, &fx->jobs, struct job, link) {
		if (j->node_id != node_id || (!j->op && !j->image))
			continue;
		job_stop(j);
		job_end_late(j, RPC_TRANSPORT, "the way to the node changed");
	}
}

void effects_cancel_all(struct effects *fx)
{
	LIST_FOR_EACH_SAFE(j, &fx->jobs, struct job, link) {
		job_stop(j);
		job_free(j);
	}
}

void effects_destroy(struct effects *fx)
{
	if (!fx)
		return;
	effects_cancel_all(fx);
	images_destroy(fx->images);
	deadline_stop(&fx->sweep);
	map_fini(&fx->by_seq);
	free(fx);
}

/* ---- calls to nodes ---- */

static void on_container(void *arg, const struct link_result *res, const struct wire_container *w)
{
	struct job *j = arg;
	struct cluster_event e = { .type = event_of(j->type) };
	char started[32];

	if (res->rc) {
		job_end_plain(j, outcome_of(res), res->error);
		return;
	}
	e.container_done.result = job_result(j, RPC_OK, NULL);
	container_info_from(&e.container_done.info, w, started);
	job_end(j, &e);
}

static void on_deployed(void *arg, const struct link_result *res, const struct wire_deployed *d)
{
	struct job *j = arg;
	struct cluster_event e = { .type = EVENT_CREATE_DONE };
	char started[32];

	if (res->rc) {
		job_end_plain(j, outcome_of(res), res->error);
		return;
	}
	e.container_done.result = job_result(j, RPC_OK, NULL);
	container_info_deployed(&e.container_done.info, d, started);
	job_end(j, &e);
}

static void on_plain(void *arg, const struct link_result *res)
{
	job_end_plain(arg, outcome_of(res), res->error);
}

static void on_image(void *arg, const struct link_result *res, const char *image_id)
{
	struct job *j = arg;
	struct cluster_event e = { .type = EVENT_IMAGE_DONE };

	if (res->rc) {
		job_end_plain(j, outcome_of(res), res->error);
		return;
	}
	e.image.result = job_result(j, RPC_OK, NULL);
	e.image.image_id = image_id;
	job_end(j, &e);
}

/* Keeps the end of what comes. */
static size_t on_log_data(void *arg, const char *p, size_t n)
{
	struct job *j = arg;

	if (j->text.len + n > j->text.max)
		buf_consume(&j->text, MIN(j->text.len, n));
	if (buf_append(&j->text, p, n))
		buf_clear(&j->text);
	if (j->text.len > 2 * LOG_TAIL_MAX_BYTES)
		buf_consume(&j->text, j->text.len - LOG_TAIL_MAX_BYTES);
	return n;
}

static void on_log_done(void *arg, const struct link_result *res)
{
	struct job *j = arg;
	struct cluster_event e = { .type = EVENT_LOG_TAIL_DONE };

	if (res->rc) {
		job_end_plain(j, outcome_of(res), res->error);
		return;
	}
	if (j->text.len > LOG_TAIL_MAX_BYTES)
		buf_consume(&j->text, j->text.len - LOG_TAIL_MAX_BYTES);
	e.log_tail.result = job_result(j, RPC_OK, NULL);
	e.log_tail.text = j->text.len ? j->text.data : "";
	job_end(j, &e);
}

static void run_create(struct job *j, const struct effect_create *e)
{
	struct err err;

	if (container_begin(&j->op, j->fx->control, j->via, e, on_deployed, j, &err) == 0)
		return;
	buf_append_str(&j->text, err.text);
	job_end_late(j, RPC_ERROR, j->text.data);
}

/* ---- images ---- */

/* A newer deploy may have come, or the app may be gone: nobody will take the answer. */
static bool is_awaited(const struct job *j)
{
	const struct app *a = cluster_app(deployer_cluster(j->fx->control->deployer), j->app);

	if (!a)
		return false;
	LIST_FOR_EACH(r, &a->replicas, struct replica, link)
		if (r->n == j->replica)
			return r->op_seq == j->seq;
	return false;
}

static void on_sweep(void *arg)
{
	struct effects *fx = arg;

	LIST_FOR_EACH_SAFE(j, &fx->jobs, struct job, link) {
		if (!j->image)
			continue;
		deadline_set(&fx->sweep, SWEEP_MS);
		if (is_awaited(j))
			continue;
		job_stop(j);
		job_free(j);
	}
}

bool effects_image(const struct effects *fx, uint64_t seq, struct image_progress *out)
{
	const struct job *j = map_get(&fx->by_seq, seq_key(&seq));

	if (!j || !j->image)
		return false;
	*out = image_ensure_progress(j->image);
	return true;
}

static void run_image(struct job *j, const struct effect_image *e)
{
	struct control *c = j->fx->control;
	const struct node *n = cluster_node(deployer_cluster(c->deployer), e->node_id);
	struct link *here = links_get(c->links, NODE_LOCAL_ID);
	char *auth = registry_auth(c, e->image);
	char *tag = xasprintf("temps/%s:%u", e->op.app, e->release);
	struct image_ask ask = { .via = j->via,
				 .source = here == j->via ? NULL : here,
				 .image = e->image,
				 .image_id = e->image_id,
				 .registry_auth = auth,
				 .tag = tag,
				 .architecture = n ? n->architecture : "" };

	j->image = image_ensure_begin(j->fx->images, &ask, on_image, j);
	deadline_set(&j->fx->sweep, SWEEP_MS);
	free(tag);
	registry_auth_free(auth);
}

static void run_container(struct job *j, const struct effect_container *e)
{
	static const struct link_stream log_stream = { .data = on_log_data, .done = on_log_done };
	struct link_logs logs = { .tail = e->lines };
	struct link *l = j->via;

	switch (j->type) {
	case EFFECT_INSPECT:
		j->op = l->ops->info(l, *e->container_id ? e->container_id : e->name, on_container,
				     j);
		break;
	case EFFECT_LOG_TAIL:
		j->op = l->ops->logs(l, e->container_id, &logs, &log_stream, j);
		break;
	case EFFECT_STOP:
		j->op = l->ops->stop(l, e->container_id, e->grace_s, on_plain, j);
		break;
	default:
		j->op = l->ops->remove(l, e->container_id, on_plain, j);
		break;
	}
}

/* ---- probes ---- */

static void on_probed(void *arg, int rc, const char *why)
{
	job_end_plain(arg, rc ? RPC_ERROR : RPC_OK, rc ? why : NULL);
}

/* The gate of a new replica: as the health checks of its release, but no rarer than once a second. */
static void fill_gate(struct probe_config *p, const struct upstream_policy *policy, const struct effect_probe *e)
{
	if (!p->path)
		p->path = policy->health_path;
	p->interval_ms = policy->health_interval_ms ? MIN(policy->health_interval_ms, GATE_INTERVAL_MAX_MS)
						    : PROBE_INTERVAL_MS;
	p->interval_max_ms = p->interval_ms;
	p->need = policy->health_rise ? policy->health_rise : p->path ? 2 : 1;
	p->limit_ms = e->limit_ms;
	p->start_ms = e->start_ms;
	/* Without a time to start in nobody knows when failures count: the limit ends it. */
	p->patience = e->start_ms ? policy->health_fall ? policy->health_fall : GATE_FALL : 0;
}

static void run_probe(struct effects *fx, const struct effect_probe *e)
{
	struct control *c = fx->control;
	struct probe_config p = {
		.path = e->path,
		.host = e->host,
		.interval_ms = PROBE_INTERVAL_MS,
		.interval_max_ms = PROBE_INTERVAL_MAX_MS,
		.need = 1,
	};
	struct upstream_policy policy;
	struct job *j;
	struct err err;

	if (e->mode == PROBE_RECOVER && dataplane_recover(c->dataplane, e))
		return;
	j = job_new(fx, EFFECT_PROBE_START, &e->op, e->endpoint.node_id);
	if (addr_make(&p.at, slice_str(e->endpoint.ip), e->endpoint.port, &err)) {
		job_end_late(j, RPC_ERROR, "its address is not one");
		return;
	}
	/* The release's own word: the upstream may still have the policies of the one before. One that
	 * cannot be read is empty. */
	if (policy_parse(&policy, &e->policy, &err))
		log_warn("probe of %s: %s", j->app, err.text);
	p.h2c = policy.protocol == PROTOCOL_H2C;
	if (e->mode == PROBE_GATE)
		fill_gate(&p, &policy, e);
	j->probe = probe_begin(c->front, &p, on_probed, j);
	policy_fini(&policy);
	if (!j->probe)
		job_end_late(j, RPC_ERROR, "too many probes are running");
}

static void cancel_probe(struct effects *fx, const struct op *op)
{
	struct job *j = map_get(&fx->by_seq, seq_key(&op->seq));

	dataplane_recover_cancel(fx->control->dataplane, op);
	if (!j || j->type != EFFECT_PROBE_START)
		return;
	job_stop(j);
	job_free(j);
}

/* ---- the way in ---- */

static void run_call(struct effects *fx, const struct effect *e, const struct op *op,
		     int64_t node_id)
{
	struct job *j;

	if (map_get(&fx->by_seq, seq_key(&op->seq)))
		return;
	j = job_new(fx, e->type, op, node_id);
	j->via = links_get(fx->control->links, node_id);
	if (!j->via) {
		job_end_late(j, RPC_TRANSPORT,
			     node_id == NODE_LOCAL_ID ? "no Docker Engine answers on this machine"
						      : "there is no way to the node");
		return;
	}
	if (e->type == EFFECT_IMAGE_ENSURE)
		run_image(j, &e->image);
	else if (e->type == EFFECT_CREATE)
		run_create(j, &e->create);
	else
		run_container(j, &e->container);
}

void effects_run(struct effects *fx, const struct effect *e)
{
	switch (e->type) {
	case EFFECT_IMAGE_ENSURE:
		run_call(fx, e, &e->image.op, e->image.node_id);
		break;
	case EFFECT_CREATE:
		run_call(fx, e, &e->create.op, e->create.node_id);
		break;
	case EFFECT_INSPECT:
	case EFFECT_LOG_TAIL:
	case EFFECT_STOP:
	case EFFECT_REMOVE:
		run_call(fx, e, &e->container.op, e->container.node_id);
		break;
	case EFFECT_PROBE_START:
		if (!map_get(&fx->by_seq, seq_key(&e->probe.op.seq)))
			run_probe(fx, &e->probe);
		break;
	case EFFECT_PROBE_CANCEL:
		cancel_probe(fx, &e->probe.op);
		break;
	default:
		break;
	}
}
