/* Keeps the list of this node's containers. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/inventory.h"
#include "base/log.h"
#include "reactor/crypto.h"
#include "reactor/deadline.h"

#define GATHER_MS 50		/* events come in bursts: one look for all of them */
#define LOOK_AGAIN_MS 60000
#define RETRY_MIN_MS 250
#define RETRY_MAX_MS 5000

struct inventory {
	struct loop *loop;
	struct engine *engine;
	struct link *link;
	struct link_op *events, *list;
	struct deadline look;		/* the next look at all of them */
	struct deadline retry;		/* the next attempt at the event stream */
	uint32_t retry_ms;
	bool stale;			/* something happened while a look was under way */
	bool known;
	struct wire_container *at;	/* sorted by id */
	size_t n;
	uint64_t generation;
	char hash[17];
	void (*changed)(void *arg);
	void *arg;
};

static int by_id(const void *a, const void *b)
{
	return strcmp(((const struct wire_container *)a)->id,
		      ((const struct wire_container *)b)->id);
}

void inventory_hash_of(struct wire_container *list, size_t n, char hex[17])
{
	char whole[65];
	struct buf b;

	buf_init(&b, 0);
	if (n)
		qsort(list, n, sizeof(*list), by_id);
	for (size_t i = 0; i < n; i++)
		buf_printf(&b, "%s %s %llu %u\n", list[i].id, list[i].status,
			   (unsigned long long)list[i].started_at_ms, list[i].restart_count);
	crypto_sha256_hex(buf_slice(&b), whole);
	snprintf(hex, 17, "%.16s", whole);
	buf_fini(&b);
}

static void clear(struct inventory *i)
{
	for (size_t k = 0; k < i->n; k++)
		wire_container_fini(&i->at[k]);
	free(i->at);
	i->at = NULL;
	i->n = 0;
}

static void copy(struct inventory *i, const struct wire_container *list, size_t n)
{
	clear(i);
	i->at = xcalloc(n + 1, sizeof(*i->at));
	i->n = n;
	for (size_t k = 0; k < n; k++) {
		i->at[k] = list[k];
		/* The environment may hold secrets and nobody asks for it here. */
		i->at[k].labels = i->at[k].env = (struct pairs){ 0 };
		pairs_copy(&i->at[k].labels, &list[k].labels);
	}
}

static void look_now(struct inventory *i);

static void on_list(void *arg, const struct link_result *res, const struct wire_container *list,
		    size_t n)
{
	struct inventory *i = arg;
	char before[17];

	i->list = NULL;
	deadline_set(&i->look, i->stale ? GATHER_MS : LOOK_AGAIN_MS);
	if (res->rc) {
		/* The event stream is broken too, and its return brings the next look. */
		log_debug("containers: %s", res->error);
		return;
	}
	memcpy(before, i->hash, sizeof(before));
	copy(i, list, n);
	inventory_hash_of(i->at, i->n, i->hash);
	if (i->known && !strcmp(before, i->hash))
		return;
	i->known = true;
	i->generation++;
	i->changed(i->arg);
}

static void look_now(struct inventory *i)
{
	if (i->list) {
		i->stale = true;
		return;
	}
	i->stale = false;
	i->list = i->link->ops->list(i->link, on_list, i);
}

static void on_look(void *arg)
{
	look_now(arg);
}

static size_t on_event_data(void *arg, const char *p, size_t n)
{
	struct inventory *i = arg;

	i->retry_ms = 0;
	/* A line that is only an end says that the stream lives; any other is news. */
	for (size_t k = 0; k < n; k++) {
		if (p[k] == '\n')
			continue;
		if (i->list)
			i->stale = true;
		else
			deadline_set(&i->look, GATHER_MS);
		break;
	}
	return n;
}

static void on_events_done(void *arg, const struct link_result *res)
{
	struct inventory *i = arg;

	(void)res;
	i->events = NULL;
	i->retry_ms = MIN(MAX(i->retry_ms * 2, RETRY_MIN_MS), RETRY_MAX_MS);
	deadline_set(&i->retry, i->retry_ms);
}

static const struct link_stream watching = { .data = on_event_data, .done = on_events_done };

/* First the stream, then the look: what happens in between is seen by one of them. */
static void on_retry(void *arg)
{
	struct inventory *i = arg;

	i->events = i->link->ops->events(i->link, &watching, i);
	look_now(i);
}

struct inventory *inventory_create(struct loop *l, struct engine *e, void (*changed)(void *arg),
				   void *arg)
{
	struct inventory *i = xcalloc(1, sizeof(*i));

	i->loop = l;
	i->engine = e;
	i->link = engine_link(e);
	i->changed = changed;
	i->arg = arg;
	inventory_hash_of(NULL, 0, i->hash);
	deadline_init(&i->look, l, on_look, i);
	deadline_init(&i->retry, l, on_retry, i);
	on_retry(i);
	return i;
}

void inventory_destroy(struct inventory *i)
{
	if (!i)
		return;
	if (i->events)
		i->link->ops->cancel(i->events);
	if (i->list)
		i->link->ops->cancel(i->list);
	deadline_stop(&i->look);
	deadline_stop(&i->retry);
	clear(i);
	free(i);
}

bool inventory_is_known(const struct inventory *i)
{
	return i->known;
}

uint64_t inventory_generation(const struct inventory *i)
{
	return i->generation;
}

const char *inventory_hash(const struct inventory *i)
{
	return i->hash;
}

uint32_t inventory_running(const struct inventory *i)
{
	uint32_t n = 0;

	for (size_t k = 0; k < i->n; k++)
		n += !strcmp(i->at[k].status, "Running");
	return n;
}

void inventory_put(const struct inventory *i, struct json_out *o)
{
	json_arr(o, "containers");
	for (size_t k = 0; k < i->n; k++)
		wire_container_emit_beat(&i->at[k], o);
	json_arr_end(o);
}
