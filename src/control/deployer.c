/* Steps, commits and effects in their order; and what happens when a commit fails. */
#include "control/deployer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "control/control.h"
#include "control/effects.h"
#include "control/events.h"
#include "control/links.h"
#include "control/nodes.h"
#include "control/predecessors.h"
#include "control/routing.h"
#include "control/upgrade.h"
#include "reactor/deadline.h"

#define WAITING_MAX 5000 /* batches; half of what the store queues. More: commands are refused */
#define RECOVER_MIN_MS 1000
#define RECOVER_MAX_MS 10000

/* A batch on its way: waits for its commit, then for those before it. */
struct pending {
	struct list link;
	struct deployer *deployer;
	struct batch *batch;
	uint64_t seq;
	bool ready, dropped;
	bool *done;		/* per effect: carried out before its turn; NULL: none was */
	uint64_t first_event;	/* number of its first EFFECT_EVENT */
};

struct waiter {
	uint64_t handle;	/* the map's key */
	deployer_reply_fn *reply;
	void *arg;
};

struct deployer {
	struct control *control;
	struct cluster *cluster;
	struct cluster_config config;
	struct effects *effects;
	struct list queue;	/* struct pending */
	uint32_t queued;
	uint64_t last_seq;	/* of the newest batch */
	struct list waits;	/* struct deployer_wait, in the order of what they wait for */
	bool carrying, failed;
	const char *stopped;	/* why nothing is decided here; NULL: it is */
	struct deadline tick, recover;
	uint32_t recover_pause_ms;
	struct map waiters;
	uint64_t last_handle;
	struct deployer_stats stats;
	char why[160];		/* it refuses commands */
};

static void on_recover(void *arg);

static void on_tick(void *arg)
{
	struct cluster_event e = { .type = EVENT_TICK };

	deployer_step(arg, &e);
}

struct load {
	struct cluster *cluster;
	const char *kind;
};

static int on_row(void *arg, struct slice key, struct slice value, struct err *err)
{
	const struct load *l = arg;
	int rc = cluster_load(l->cluster, l->kind, key, value, err);

	if (rc)
		err_prefix(err, "stored %s \"%.*s\"", l->kind, SLICE_ARG(key));
	return rc;
}

static int load(struct deployer *d, struct err *err)
{
	int rc = 0;

	d->cluster = cluster_create(&d->config, err);
	if (!d->cluster)
		return -EINVAL;
	for (const char *const *kind = cluster_kinds; !rc && *kind; kind++) {
		struct load l = { d->cluster, *kind };

		rc = store_range(d->control->store, *kind, on_row, &l, err);
	}
	return rc;
}

int deployer_create(struct deployer **out, struct control *c, const struct cluster_config *cluster,
		    struct err *err)
{
	struct deployer *d = xcalloc(1, sizeof(*d));
	int rc;

	d->control = c;
	d->config = *cluster;
	list_init(&d->queue);
	list_init(&d->waits);
	map_init(&d->waiters, &cluster->hash_key);
	deadline_init(&d->tick, c->loop, on_tick, d);
	deadline_init(&d->recover, c->loop, on_recover, d);
	d->effects = effects_create(c);
	rc = load(d, err);
	if (rc) {
		deployer_destroy(d);
		return rc;
	}
	*out = d;
	return 0;
}

static void pending_free(struct pending *p)
{
	batch_free(p->batch);
	free(p->done);
	free(p);
}

/* Those whose commit is still under way are freed when it reports. */
static void drop_queue(struct deployer *d)
{
	LIST_FOR_EACH_SAFE(p, &d->queue, struct pending, link) {
		list_remove(&p->link);
		if (p->ready)
			pending_free(p);
		else
			p->dropped = true;
	}
	d->queued = 0;
}

static void answer_all_waiters(struct deployer *d)
{
	struct waiter *w;
	uint32_t at = 0;

	while ((w = map_next(&d->waiters, &at))) {
		map_del(&d->waiters, slice_of(&w->handle, sizeof(w->handle)));
		w->reply(w->arg, NULL);
		free(w);
		at = 0;
	}
}

/* Of a command that came before and is decided now. Those whose batches are under way have their
 * answers yet to come. */
static void refuse_waiters(struct deployer *d)
{
	if (list_empty(&d->queue) && !d->carrying)
		answer_all_waiters(d);
}

void deployer_destroy(struct deployer *d)
{
	struct waiter *w;
	uint32_t at = 0;

	if (!d)
		return;
	deadline_stop(&d->tick);
	deadline_stop(&d->recover);
	LIST_FOR_EACH_SAFE(waits, &d->waits, struct deployer_wait, link)
		list_remove(&waits->link);
	effects_destroy(d->effects);
	drop_queue(d); /* the store has yet to end */
	while ((w = map_next(&d->waiters, &at)))
		free(w);
	map_fini(&d->waiters);
	cluster_destroy(d->cluster);
	free(d);
}

const struct cluster *deployer_cluster(const struct deployer *d)
{
	return d->cluster;
}

const char *deployer_refuses(const struct deployer *d)
{
	if (d->stopped)
		return d->stopped;
	if (d->failed)
		return d->why;
	if (d->queued >= WAITING_MAX)
		return "too many changes wait for the disk; try again in a moment";
	return NULL;
}

uint64_t deployer_expect(struct deployer *d, deployer_reply_fn *reply, void *arg)
{
	struct waiter *w = xcalloc(1, sizeof(*w));

	w->handle = ++d->last_handle;
	w->reply = reply;
	w->arg = arg;
	map_put(&d->waiters, slice_of(&w->handle, sizeof(w->handle)), w);
	return w->handle;
}

void deployer_forget(struct deployer *d, uint64_t handle)
{
	free(map_del(&d->waiters, slice_of(&handle, sizeof(handle))));
}

struct deployer_stats deployer_stats(const struct deployer *d)
{
	struct deployer_stats s = d->stats;

	s.waiting = d->queued;
	s.running = effects_running(d->effects);
	return s;
}

bool deployer_image(const struct deployer *d, const struct replica *r, struct image_progress *out)
{
	return r->op_seq && effects_image(d->effects, r->op_seq, out);
}

void deployer_drop_node(struct deployer *d, int64_t node_id)
{
	effects_drop_node(d->effects, node_id);
}

/* ---- carrying out ---- */

static void give_reply(struct deployer *d, const struct effect_reply *r)
{
	struct waiter *w = map_del(&d->waiters, slice_of(&r->reply, sizeof(r->reply)));

	if (!w)
		return;		/* nobody waits any more */
	w->reply(w->arg, r);
	free(w);
}

/* Routing is everybody's who serves; the rest runs here. */
static void run_effect(struct deployer *d, const struct effect *e)
{
	predecessors_tell(d->control->predecessors, e);
	if (!routing_apply(d->control->dataplane, e))
		effects_run(d->effects, e);
}

static void carry_out(struct deployer *d, const struct effect *e, uint64_t *event_id)
{
	struct control *c = d->control;

	switch (e->type) {
	case EFFECT_NODE_SET:
		nodes_set(c, cluster_node(d->cluster, e->node.node_id));
		break;
	case EFFECT_NODE_GONE:
		links_close(c->links, e->node.node_id);
		break;
	case EFFECT_NODE_PROBE:
		links_probe(c->links, e->node.node_id);
		break;
	case EFFECT_LIST:
		links_list(c->links, e->node.node_id);
		break;
	case EFFECT_EVENT:
		events_publish(c->events, (*event_id)++, e->event.wall_ms, e->event.type,
			       e->event.subject, e->event.text);
		break;
	case EFFECT_REPLY:
		give_reply(d, &e->reply);
		break;
	default:
		run_effect(d, e);
		break;
	}
}

static void carry(struct deployer *d, struct pending *p)
{
	uint64_t event_id = p->first_event;

	for (size_t i = 0; i < p->batch->effects_n; i++)
		if (!p->done || !p->done[i])
			carry_out(d, &p->batch->effects[i], &event_id);
}

/* ---- waiting for that ---- */

void deployer_when_settled(struct deployer *d, struct deployer_wait *w, void (*run)(void *arg),
			   void *arg)
{
	*w = (struct deployer_wait){ .after = d->last_seq, .run = run, .arg = arg };
	list_init(&w->link);
	if (list_empty(&d->queue) && !d->carrying)
		run(arg);
	else
		list_push_back(&d->waits, &w->link);
}

void deployer_wait_cancel(struct deployer_wait *w)
{
	list_remove(&w->link);
}

/* Everything up to <seq> has happened. */
static void run_waits(struct deployer *d, uint64_t seq)
{
	struct deployer_wait *w;

	while ((w = LIST_FIRST(&d->waits, struct deployer_wait, link)) && w->after <= seq) {
		list_remove(&w->link);
		w->run(w->arg);	/* last: it may free <w> */
	}
}

/* Effects call back into deployer_step(): what that adds is taken up by the loop of the outermost
 * call. */
static void run_ready(struct deployer *d)
{
	struct pending *p;

	if (d->carrying)
		return;
	d->carrying = true;
	while ((p = LIST_FIRST(&d->queue, struct pending, link)) && p->ready) {
		list_remove(&p->link);
		d->queued--;
		carry(d, p);
		run_waits(d, p->seq);
		pending_free(p);
	}
	d->carrying = false;
}

/* ---- failing and coming back ---- */

static void fail(struct deployer *d, int rc)
{
	if (d->failed)
		return;
	d->failed = true;
	d->stats.failures++;
	snprintf(d->why, sizeof(d->why), "the store cannot write (%s); requests are still served",
		 strerror(-rc));
	log_error(
		"store: commit failed: %s; commands are refused until it works again, the proxy goes on",
		strerror(-rc));
	deadline_stop(&d->tick);
	drop_queue(d);
	answer_all_waiters(d);
	run_waits(d, UINT64_MAX);
	d->recover_pause_ms = RECOVER_MIN_MS;
	deadline_set(&d->recover, d->recover_pause_ms);
}

static void on_committed(void *arg, int rc, uint64_t revision)
{
	struct pending *p = arg;
	struct deployer *d = p->deployer;

	(void)revision;
	if (p->dropped) {
		pending_free(p);
		return;
	}
	p->ready = true;
	if (rc)
		fail(d, rc);	/* frees <p> */
	else
		run_ready(d);
}

static void on_events_committed(void *arg, int rc, uint64_t revision)
{
	(void)revision;
	if (rc)
		fail(arg, rc);
}

static void reload(struct deployer *d)
{
	struct control *c = d->control;
	struct err err;

	effects_cancel_all(d->effects);
	cluster_destroy(d->cluster);
	if (load(d, &err)) {
		/* What was read at start cannot be read now: nothing we decide could be trusted. */
		log_error("the store cannot be read again: %s; restart temps after repairing it",
			  err.text);
		abort();
	}
	d->failed = false;
	log_info("the cluster was loaded from the store again");
	dataplane_resync_begin(c->dataplane);
	deployer_start(d);
	dataplane_resync_end(c->dataplane);
	links_repeat(c->links);
}

static void on_recovered(void *arg, int rc, uint64_t revision)
{
	struct deployer *d = arg;

	(void)revision;
	if (!rc) {
		reload(d);
		return;
	}
	d->recover_pause_ms = MIN(d->recover_pause_ms * 2, RECOVER_MAX_MS);
	deadline_set(&d->recover, d->recover_pause_ms);
}

/* Does the store take a write again? */
static void on_recover(void *arg)
{
	static const char kind[] = "control", value[] = "{\"v\":1}";
	struct deployer *d = arg;
	struct store_txn *t = store_txn_new();
	int rc;

	store_reset_failure(d->control->store);
	store_txn_put(t, kind, SLICE("recovery"), slice_str(value));
	rc = store_commit(d->control->store, t, on_recovered, d);
	if (rc)
		on_recovered(d, rc, 0);
}

/* ---- stepping ---- */

/* Taking a failed endpoint out does not wait for the disk; and what a start says about routes was
 * on the disk before. */
static bool is_immediate(enum event_type cause, enum effect_type e)
{
	if (e == EFFECT_ENDPOINT_FAILED)
		return true;
	return cause == EVENT_START &&
	       (e == EFFECT_APP_POLICY || e == EFFECT_APP_PAUSE || e == EFFECT_HOST_SET || e == EFFECT_HOST_STATIC ||
		e == EFFECT_ROUTE_IN);
}

static void carry_immediate(struct deployer *d, struct pending *p, enum event_type cause)
{
	for (size_t i = 0; i < p->batch->effects_n; i++) {
		const struct effect *e = &p->batch->effects[i];

		if (!is_immediate(cause, e->type))
			continue;
		if (!p->done)
			p->done = xcalloc(p->batch->effects_n, sizeof(*p->done));
		/* An endpoint that is not there yet may be on its way in: then it fails again at
		 * its place in the order. */
		if (e->type == EFFECT_ENDPOINT_FAILED) {
			predecessors_tell(d->control->predecessors, e);
			p->done[i] = dataplane_failed(d->control->dataplane, &e->route);
		} else {
			/* A predecessor has the same from the same store. */
			p->done[i] = routing_apply(d->control->dataplane, e);
		}
	}
}

static struct store_txn *write_set(struct deployer *d, struct pending *p)
{
	const struct batch *b = p->batch;
	struct store_txn *t = store_txn_new();

	for (size_t i = 0; i < b->records_n; i++) {
		const struct record *r = &b->records[i];

		if (r->value.p)
			store_txn_put(t, r->kind, r->key, r->value);
		else
			store_txn_del(t, r->kind, r->key);
	}
	for (size_t i = 0; i < b->effects_n; i++) {
		const struct effect_event *e = &b->effects[i].event;
		uint64_t id;

		if (b->effects[i].type != EFFECT_EVENT)
			continue;
		id = events_record(d->control->events, t, e->wall_ms, e->type, e->subject, e->text);
		if (!p->first_event)
			p->first_event = id;
	}
	return t;
}

static void submit(struct deployer *d, struct batch *take_batch, enum event_type cause)
{
	struct pending *p = xcalloc(1, sizeof(*p));
	struct store_txn *t;
	int rc = 0;

	p->deployer = d;
	p->batch = take_batch;
	p->seq = ++d->last_seq;
	d->stats.batches++;
	carry_immediate(d, p, cause);
	t = write_set(d, p);
	list_push_back(&d->queue, &p->link);
	d->queued++;
	/* An event alone is not worth waiting for: it says what has happened, it promises nothing.
	 */
	p->ready = take_batch->records_n == 0;
	if (p->ready && store_txn_len(t) == 0)
		store_txn_free(t);
	else if (p->ready)
		rc = store_commit(d->control->store, t, on_events_committed, d);
	else
		rc = store_commit(d->control->store, t, on_committed, p);
	if (rc) {
		p->ready = true;	/* no report will come for it */
		fail(d, rc);
		return;
	}
	run_ready(d);
}

static void arm_tick(struct deployer *d)
{
	uint64_t next_ms = cluster_next_ms(d->cluster), now_ms = loop_now_ms(d->control->loop);

	if (next_ms == UINT64_MAX)
		deadline_set(&d->tick, 0);
	else
		deadline_set(&d->tick, next_ms <= now_ms
					       ? 1
					       : (uint32_t)MIN(next_ms - now_ms, UINT32_MAX / 2));
}

void deployer_step(struct deployer *d, const struct cluster_event *e)
{
	struct cluster_now now = { loop_now_ms(d->control->loop), loop_wall_ms() };
	struct batch *b;

	if (d->failed || d->stopped) {
		refuse_waiters(d);
		return;
	}
	d->stats.steps++;
	log_debug("step %s", event_name(e->type));
	b = cluster_step(d->cluster, e, now);
	if (b->records_n || b->effects_n)
		submit(d, b, e->type);
	else
		batch_free(b);
	if (!d->failed && !d->stopped)
		arm_tick(d);
}

void deployer_stop(struct deployer *d, const char *why)
{
	d->stopped = why;
	deadline_stop(&d->tick);
}

void deployer_let_go(struct deployer *d)
{
	effects_cancel_all(d->effects);
	answer_all_waiters(d);
}

void deployer_resume(struct deployer *d)
{
	d->stopped = NULL;
	if (!d->failed) /* else it comes back by itself */
		reload(d);
}

void deployer_start(struct deployer *d)
{
	struct cluster_event e = { .type = EVENT_START };

	deployer_step(d, &e);
}

/* ---- what the data path sees ---- */

static void on_failed(void *arg, const struct endpoint_ref *ref, enum upstream_failure failure)
{
	struct control *c = arg;
	struct cluster_event e = { .type = EVENT_UPSTREAM_FAILED, .upstream = { *ref, failure } };

	deployer_step(c->deployer, &e);
}

static void on_endpoint_back(void *arg, const struct op *op)
{
	struct control *c = arg;
	struct cluster_event e = { .type = EVENT_PROBE_DONE,
				   .probe = { .op = *op, .healthy = true } };

	deployer_step(c->deployer, &e);
}

static void on_drained(void *arg, const struct endpoint_ref *ref)
{
	struct control *c = arg;
	struct cluster_event e = { .type = EVENT_DRAINED, .drained = { *ref } };

	/* Who decides waits until nobody has requests there. */
	if (!upgrade_tell_drained(c->upgrade, ref) && predecessors_drained(c->predecessors, ref))
		deployer_step(c->deployer, &e);
}

const struct dataplane_reports deployer_data_reports = {
	.failed = on_failed,
	.recovered = on_endpoint_back,
	.drained = on_drained,
};
