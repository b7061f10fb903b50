/* The ring of events and its listeners. A listener is a place in the ring, not a queue: a slow one
 * costs nothing and is told how much it missed. */
#include "control/events.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "reactor/deadline.h"

#define KEEPALIVE_MS 15000
#define LIST_DEFAULT 100
#define LINE_MAX_BYTES 65536

const char events_kind[] = "event";

struct event_row {
	uint64_t id, wall_ms;
	char *type, *subject, *text;
};

/* Which events a reader wants; empty: all. */
struct filter {
	char types[512];	/* "NodeOffline,NodeReturned" */
	char subject[128];
};

struct listener_slot {
	struct list link;
	struct events *events;
	struct api_request *r;
	struct filter filter;
	uint64_t next_id;	/* the next event to tell */
	struct buf out;		/* what the client has not taken yet: at most one event */
};

struct events {
	struct loop *loop;
	struct event_row ring[EVENTS_MAX];	/* by id modulo its size; id 0: empty */
	uint64_t last_id;	/* newest published */
	uint64_t given_id;	/* newest number given out */
	uint64_t first_id;	/* oldest in the ring, 0 when it is empty */
	struct list listeners;
	uint32_t listeners_n;
	struct deadline keepalive;
};

static void on_keepalive(void *arg);

struct events *events_create(struct loop *l)
{
	struct events *e = xcalloc(1, sizeof(*e));

	e->loop = l;
	list_init(&e->listeners);
	deadline_init(&e->keepalive, l, on_keepalive, e);
	return e;
}

static void row_fini(struct event_row *row)
{
	free(row->type);
	free(row->subject);
	free(row->text);
	*row = (struct event_row){ 0 };
}

void events_destroy(struct events *e)
{
	if (!e)
		return;
	deadline_stop(&e->keepalive);
	for (size_t i = 0; i < EVENTS_MAX; i++)
		row_fini(&e->ring[i]);
	free(e);
}

static void keep(struct events *e, uint64_t id, uint64_t wall_ms, char *take_type,
		 char *take_subject, char *take_text)
{
	struct event_row *row = &e->ring[id % EVENTS_MAX];

	row_fini(row);
	*row = (struct event_row){ id, wall_ms, take_type, take_subject, take_text };
	e->last_id = id;
	if (!e->first_id)
		e->first_id = id;
	if (id - e->first_id >= EVENTS_MAX)
		e->first_id = id - EVENTS_MAX + 1;
}

static void row_key(uint64_t id, char out[24])
{
	snprintf(out, 24, "%016" PRIu64, id);
}

int events_load(void *arg, struct slice key, struct slice value, struct err *err)
{
	struct events *e = arg;
	struct json *j;
	uint64_t id;
	int rc;

	if (slice_u64(key, &id) || id <= e->last_id)
		return err_say(err, -EINVAL, "stored event with key \"%.*s\"", SLICE_ARG(key));
	rc = json_parse(&j, value, err);
	if (rc)
		return rc;
	keep(e, id, (uint64_t)json_int(json_get(j, "wall_ms"), 0),
	     slice_dup(json_str(json_get(j, "type"), "")),
	     slice_dup(json_str(json_get(j, "subject"), "")),
	     slice_dup(json_str(json_get(j, "text"), "")));
	e->given_id = id;
	json_free(j);
	return 0;
}

int events_catch_up(void *arg, struct slice key, struct slice value, struct err *err)
{
	const struct events *e = arg;
	uint64_t id;

	if (slice_u64(key, &id) == 0 && id <= e->last_id)
		return 0;
	return events_load(arg, key, value, err);
}

uint64_t events_record(struct events *e, struct store_txn *t, uint64_t wall_ms, const char *type,
		       const char *subject, const char *text)
{
	struct json_out o;
	struct buf b;
	char key[24];

	e->given_id++;
	buf_init(&b, LINE_MAX_BYTES);
	json_out_init(&o, &b);
	json_obj(&o, NULL);
	json_put_int(&o, "v", 1);
	json_put_int(&o, "wall_ms", (int64_t)wall_ms);
	json_put_str(&o, "type", type);
	json_put_str(&o, "subject", subject);
	json_put_str(&o, "text", text);
	json_obj_end(&o);
	row_key(e->given_id, key);
	store_txn_put(t, events_kind, slice_str(key), buf_slice(&b));
	if (e->given_id > EVENTS_MAX) {
		row_key(e->given_id - EVENTS_MAX, key);
		store_txn_del(t, events_kind, slice_str(key));
	}
	buf_fini(&b);
	return e->given_id;
}

static void emit_row(struct json_out *o, const struct event_row *row)
{
	json_obj(o, NULL);
	json_put_int(o, "id", (int64_t)row->id);
	json_put_time(o, "time", row->wall_ms);
	json_put_str(o, "type", row->type);
	json_put_str(o, "subject", row->subject);
	json_put_str(o, "text", row->text);
	json_obj_end(o);
}

static const struct event_row *row_at(const struct events *e, uint64_t id)
{
	const struct event_row *row = &e->ring[id % EVENTS_MAX];

	return row->id == id ? row : NULL;
}

static bool passes(const struct filter *f, const struct event_row *row)
{
	struct slice rest = slice_str(f->types);
	bool wanted = !rest.n;

	while (!wanted && rest.n)
		wanted = slice_eq(slice_split(rest, ',', &rest), slice_str(row->type));
	return wanted && (!f->subject[0] || strcmp(f->subject, row->subject) == 0);
}

/* The next event as server-sent text in <l>->out, or false when there is none. Numbers that a lost
 * commit left out are skipped. */
static bool format_next(struct listener_slot *l)
{
	struct events *e = l->events;
	struct json_out o;

	if (l->next_id < e->first_id) {
		buf_printf(&l->out, ": missed %" PRIu64 " events\n\n", e->first_id - l->next_id);
		l->next_id = e->first_id;
	}
	while (l->next_id && l->next_id <= e->last_id) {
		const struct event_row *row = row_at(e, l->next_id++);

		if (!row || !passes(&l->filter, row))
			continue;
		buf_printf(&l->out, "id: %" PRIu64 "\nevent: %s\ndata: ", row->id, row->type);
		json_out_init(&o, &l->out);
		emit_row(&o, row);
		buf_append_str(&l->out, "\n\n");
		return true;
	}
	return l->out.len > 0;
}

static void pump(struct listener_slot *l)
{
	for (;;) {
		if (l->out.len == 0 && !format_next(l))
			return;
		size_t taken = reply_stream_write(l->r, l->out.data, l->out.len);

		buf_consume(&l->out, taken);
		if (l->out.len)
			return;
	}
}

static void on_writable(void *state)
{
	pump(state);
}

static void on_closed(void *state)
{
	struct listener_slot *l = state;

	list_remove(&l->link);
	l->events->listeners_n--;
	buf_fini(&l->out);
	free(l);
}

static void on_keepalive(void *arg)
{
	struct events *e = arg;

	LIST_FOR_EACH_SAFE(l, &e->listeners, struct listener_slot, link) {
		if (l->out.len == 0)
			buf_append_str(&l->out, ": alive\n\n");
		pump(l);
	}
	if (!list_empty(&e->listeners))
		deadline_set(&e->keepalive, KEEPALIVE_MS);
}

void events_publish(struct events *e, uint64_t id, uint64_t wall_ms, const char *type,
		    const char *subject, const char *text)
{
	log_info("event=%s subject=%s %s", type, subject, text);
	keep(e, id, wall_ms, xstrdup(type), xstrdup(subject), xstrdup(text));
	LIST_FOR_EACH_SAFE(l, &e->listeners, struct listener_slot, link)
		pump(l);
}

void events_end(struct events *e)
{
	LIST_FOR_EACH_SAFE(l, &e->listeners, struct listener_slot, link)
		reply_stream_end(l->r);
}

static void stream(struct events *e, struct api_request *r, const struct filter *f, uint64_t after)
{
	struct listener_slot *l;

	if (e->listeners_n >= EVENTS_LISTENERS_MAX) {
		reply_problem(r, 503, "Too Many Listeners",
			      "too many event streams are open; close one and try again");
		return;
	}
	l = xcalloc(1, sizeof(*l));
	l->events = e;
	l->r = r;
	l->filter = *f;
	l->next_id = after + 1;
	buf_init(&l->out, LINE_MAX_BYTES);
	list_push_back(&e->listeners, &l->link);
	e->listeners_n++;
	r->state = l;
	r->writable = on_writable;
	r->closed = on_closed;
	reply_stream_begin(r, 200, "text/event-stream");
	if (!deadline_is_set(&e->keepalive))
		deadline_set(&e->keepalive, KEEPALIVE_MS);
	/* A first byte at once, so that the client's library sees an open stream. */
	buf_append_str(&l->out, ": events\n\n");
	pump(l);
}

/* The first to list: the oldest after <after>, or so that no more than <limit> of the latest come. */
static uint64_t first_listed(const struct events *e, const struct filter *f, uint64_t after, uint64_t limit)
{
	uint64_t id = e->last_id + 1;

	if (after)
		return MAX(after + 1, e->first_id);
	while (id > e->first_id && limit) {
		const struct event_row *row = row_at(e, --id);

		limit -= row && passes(f, row);
	}
	return id;
}

static void list_answer(struct events *e, struct api_request *r, const struct filter *f, uint64_t after, uint64_t limit)
{
	struct json_out o;
	struct buf b;
	uint64_t n = 0;

	buf_init(&b, 0);
	json_out_init(&o, &b);
	json_obj(&o, NULL);
	json_arr(&o, "items");
	for (uint64_t id = first_listed(e, f, after, limit); id && id <= e->last_id && n < limit; id++) {
		const struct event_row *row = row_at(e, id);

		if (row && passes(f, row)) {
			emit_row(&o, row);
			n++;
		}
	}
	json_arr_end(&o);
	json_put_int(&o, "total", (int64_t)n);
	json_obj_end(&o);
	reply_json(r, 200, buf_slice(&b));
	buf_fini(&b);
}

/* 0 when absent; -EINVAL has been answered. */
static int number(struct api_request *r, const char *name, uint64_t max, uint64_t *out)
{
	char text[64];
	int rc = api_query(r, name, text, sizeof(text));

	if (rc == -ENOENT)
		return 0;
	if (!rc && !slice_u64(slice_str(text), out) && *out <= max)
		return 0;
	snprintf(text, sizeof(text), "%s: expected a whole number", name);
	reply_problem(r, 400, "Invalid Query", text);
	return -EINVAL;
}

/* "" when absent; -EINVAL has been answered. */
static int text(struct api_request *r, const char *name, char *out, size_t size)
{
	char why[96];
	int rc = api_query(r, name, out, size);

	if (rc == -ENOENT)
		out[0] = '\0';
	if (!rc || rc == -ENOENT)
		return 0;
	snprintf(why, sizeof(why), "%s: longer than %zu bytes, or not well encoded", name, size - 1);
	reply_problem(r, 400, "Invalid Query", why);
	return -EINVAL;
}

void events_answer(struct events *e, struct api_request *r)
{
	const struct field *accept = head_field(&r->x->req, FIELD_ACCEPT);
	const struct field *last = head_find(&r->x->req, SLICE("last-event-id"));
	uint64_t after = 0, limit = LIST_DEFAULT;
	struct filter f;

	if (number(r, "after", UINT64_MAX / 2, &after) || number(r, "limit", EVENTS_MAX, &limit) ||
	    text(r, "type", f.types, sizeof(f.types)) || text(r, "subject", f.subject, sizeof(f.subject)))
		return;
	if (accept && memmem(accept->value.p, accept->value.n, "text/event-stream", 17)) {
		if (last && slice_u64(last->value, &after)) {
			reply_problem(r, 400, "Invalid Last-Event-ID",
				      "Last-Event-ID is not a number");
			return;
		}
		/* Without a place to go on from: only what comes from now on. */
		stream(e, r, &f, after || last ? after : e->last_id);
	} else {
		list_answer(e, r, &f, after, limit);
	}
}
