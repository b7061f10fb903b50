/* The heartbeat's state machine. */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/heartbeat.h"
#include "base/log.h"
#include "reactor/crypto.h"
#include "reactor/deadline.h"

#define DEFAULT_INTERVAL_S 30
#define EARLY_MS 1000		/* between two beats at least, when changes ask for them */
#define FIRST_WAIT_MS 1000	/* the most the first beat waits for the containers */
#define RETRIES 3		/* after 2, 4 and 8 s */
#define MISSES_TOLD 3
#define MAX_BEAT_BYTES (4u << 20)

enum beat_state { BEAT_OFF, BEAT_FIRST, BEAT_WAIT, BEAT_SENT, BEAT_RETRY, BEAT_STATES };

#define TO(s) (1u << BEAT_##s)
static const struct {
	const char *name;
	unsigned next;
} states[BEAT_STATES] = {
	[BEAT_OFF] = { "off", TO(FIRST) },
	[BEAT_FIRST] = { "first", TO(SENT) },
	[BEAT_WAIT] = { "wait", TO(SENT) },
	[BEAT_SENT] = { "sent", TO(WAIT) | TO(RETRY) },
	[BEAT_RETRY] = { "retry", TO(SENT) },
};

struct heartbeat {
	struct heartbeat_config c;
	enum beat_state state;
	struct deadline timer;		/* ends FIRST, WAIT and RETRY */
	struct rpc_call *call;
	char boot_id[37];
	uint64_t sent_ms;
	unsigned tries;			/* of this beat so far */
	unsigned misses;		/* beats in a row that nobody took */
	bool full_due;			/* the containers go along */
	bool early;			/* something changed while a beat was under way */
	uint64_t sent_generation;	/* of the containers in the beat under way */
	char last_error[256];
};

static void set_state(struct heartbeat *h, enum beat_state next)
{
	assert(states[h->state].next & (1u << next));
	log_debug("heartbeat %s -> %s", states[h->state].name, states[next].name);
	h->state = next;
}

uint32_t heartbeat_wait_ms(uint32_t interval_s, uint32_t random)
{
	uint32_t ms = interval_s * 1000, tenth = ms / 10;

	return ms - (tenth ? random % (tenth + 1) : 0);
}

static void wait_for_next(struct heartbeat *h)
{
	uint32_t interval_s = h->c.settings->heartbeat_interval_s, random;

	crypto_random(&random, sizeof(random));
	set_state(h, BEAT_WAIT);
	deadline_set(&h->timer,
		     heartbeat_wait_ms(interval_s ? interval_s : DEFAULT_INTERVAL_S, random));
	if (h->early) {
		h->early = false;
		heartbeat_nudge(h);
	}
}

static void make_beat(struct heartbeat *h, struct buf *body)
{
	const struct engine_state *docker = engine_state(h->c.engine);
	struct wire_capacity capacity;
	struct json_out o;

	metrics_read(h->c.metrics, loop_now_ms(h->c.loop), &capacity);
	capacity.running_containers = inventory_running(h->c.inventory);
	json_out_init(&o, body);
	json_obj(&o, NULL);
	wire_capacity_emit(&capacity, &o, "capacity");
	json_obj(&o, "labels");
	for (size_t i = 0; i < h->c.settings->labels.n; i++)
		json_put_str(&o, h->c.settings->labels.items[i].key,
			     h->c.settings->labels.items[i].value);
	json_obj_end(&o);
	json_put_str(&o, "boot_id", h->boot_id);
	json_put_bool(&o, "docker_ok", docker->ok);
	json_put_time(&o, "docker_started_at", docker->started_at_ms);
	json_put_str(&o, "version", PACKAGE_VERSION);
	if (docker->architecture[0])
		json_put_str(&o, "architecture", docker->architecture);
	json_put_str(&o, "inventory_hash", inventory_hash(h->c.inventory));
	h->sent_generation = 0;
	if (h->full_due && inventory_is_known(h->c.inventory)) {
		h->sent_generation = inventory_generation(h->c.inventory);
		inventory_put(h->c.inventory, &o);
	}
	json_obj_end(&o);
}

static void on_answer(void *arg, const struct rpc_result *res);
static const struct rpc_ops answer_ops = { .done = on_answer };

static void missed(struct heartbeat *h, const char *why)
{
	h->misses++;
	if (h->misses == MISSES_TOLD)
		log_error(
			"heartbeat: %u missed in a row, the control plane may take this node for offline: %s",
			h->misses, why);
	else if (strcmp(h->last_error, why))
		log_warn("heartbeat: %s", why);
	snprintf(h->last_error, sizeof(h->last_error), "%s", why);
	wait_for_next(h);
}

/* Nobody there, or not able just now: again after 2, 4 and 8 s, then it is missed. */
static void again(struct heartbeat *h, const char *why)
{
	if (h->tries > RETRIES) {
		missed(h, why);
		return;
	}
	log_debug("heartbeat, attempt %u: %s", h->tries, why);
	set_state(h, BEAT_RETRY);
	deadline_set(&h->timer, 1000u << h->tries);
}

static void send(struct heartbeat *h)
{
	struct buf body;
	char path[64];

	buf_init(&body, MAX_BEAT_BYTES);
	make_beat(h, &body);
	snprintf(path, sizeof(path), "/api/internal/nodes/%" PRIu64 "/heartbeat",
		 h->c.settings->node_id);
	set_state(h, BEAT_SENT);
	deadline_set(&h->timer, 0);
	h->sent_ms = loop_now_ms(h->c.loop);
	h->tries++;
	if (body.full)
		missed(h, "more containers than a heartbeat can hold");
	else
		h->call = plane_begin(h->c.plane, "POST", path, buf_slice(&body), &answer_ops, h);
	if (!body.full && !h->call)
		again(h, "too many calls at once");
	buf_fini(&body);
}

static void accepted(struct heartbeat *h, const struct json *j)
{
	if (h->misses)
		log_info("heartbeat accepted again after %u missed", h->misses);
	h->misses = 0;
	h->last_error[0] = '\0';
	if (h->sent_generation && h->sent_generation == inventory_generation(h->c.inventory))
		h->full_due = false;
	if (json_bool(json_get(j, "resync"), false)) {
		h->full_due = true;
		h->early = true;
	}
	wait_for_next(h);
	/* Each new connection reads all of the system's roots, and a pull or a list leaves holes: an agent has to be small in between. */
	malloc_trim(0);
}

static void refused(struct heartbeat *h, int rc, const char *why)
{
	char text[256];

	if (rc == -EACCES)
		snprintf(
			text, sizeof(text),
			"the control plane refuses this node's token (%.100s): run 'temps join' again",
			why);
	else if (rc == -ENOENT)
		snprintf(text, sizeof(text),
			 "the control plane does not know node %" PRIu64
			 " (%.100s): run 'temps join' again",
			 h->c.settings->node_id, why);
	else
		snprintf(text, sizeof(text), "the control plane refuses it: %.200s", why);
	missed(h, text);
}

static void on_answer(void *arg, const struct rpc_result *res)
{
	struct heartbeat *h = arg;
	struct err err = { 0 };
	struct json *j;
	int rc;

	h->call = NULL;
	rc = plane_answer(res, &j, &err);
	if (!rc)
		accepted(h, j);
	else if (res->rc || res->status >= 500)
		again(h, err.text);
	else
		refused(h, rc, err.text);
	json_free(j);
}

static void on_timer(void *arg)
{
	struct heartbeat *h = arg;

	if (h->state != BEAT_RETRY)
		h->tries = 0;
	send(h);
}

struct heartbeat *heartbeat_create(const struct heartbeat_config *c)
{
	struct heartbeat *h = xcalloc(1, sizeof(*h));

	h->c = *c;
	h->full_due = true;
	metrics_boot_id(h->boot_id);
	deadline_init(&h->timer, c->loop, on_timer, h);
	return h;
}

void heartbeat_destroy(struct heartbeat *h)
{
	if (!h)
		return;
	rpc_cancel(h->call);
	deadline_stop(&h->timer);
	free(h);
}

/* The first beat should say how the engine is, and what it runs. */
static bool knows_all(const struct heartbeat *h)
{
	const struct engine_state *docker = engine_state(h->c.engine);

	return docker->ok ? inventory_is_known(h->c.inventory) : docker->error != NULL;
}

void heartbeat_start(struct heartbeat *h)
{
	set_state(h, BEAT_FIRST);
	deadline_set(&h->timer, knows_all(h) ? 1 : FIRST_WAIT_MS);
}

void heartbeat_nudge(struct heartbeat *h)
{
	uint64_t since_ms = loop_now_ms(h->c.loop) - h->sent_ms;

	h->full_due = true;
	if (h->state == BEAT_SENT || h->state == BEAT_RETRY)
		h->early = true;
	else if (h->state == BEAT_FIRST && knows_all(h))
		deadline_set(&h->timer, 1);
	else if (h->state == BEAT_WAIT)
		deadline_set(&h->timer, since_ms >= EARLY_MS ? 1 : (uint32_t)(EARLY_MS - since_ms));
}
