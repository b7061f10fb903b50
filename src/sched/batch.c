/* A batch: its strings live in chunks that go together. */
#include "sched/batch.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define CHUNK_BYTES 4000u

struct chunk {
	struct chunk *next;
	size_t used, size;
	_Alignas(max_align_t) char bytes[];
};

static const char *const names[EFFECT_TYPES] = {
	[EFFECT_NODE_SET] = "node-set",
	[EFFECT_NODE_GONE] = "node-gone",
	[EFFECT_NODE_PROBE] = "node-probe",
	[EFFECT_LIST] = "list",
	[EFFECT_IMAGE_ENSURE] = "image-ensure",
	[EFFECT_CREATE] = "create",
	[EFFECT_INSPECT] = "inspect",
	[EFFECT_LOG_TAIL] = "log-tail",
	[EFFECT_STOP] = "stop",
	[EFFECT_REMOVE] = "remove",
	[EFFECT_PROBE_START] = "probe-start",
	[EFFECT_PROBE_CANCEL] = "probe-cancel",
	[EFFECT_ROUTE_IN] = "route-in",
	[EFFECT_ROUTE_OUT] = "route-out",
	[EFFECT_ENDPOINT_FAILED] = "endpoint-failed",
	[EFFECT_APP_POLICY] = "app-policy",
	[EFFECT_APP_PAUSE] = "app-pause",
	[EFFECT_HOST_SET] = "host-set",
	[EFFECT_HOST_STATIC] = "host-static",
	[EFFECT_HOST_DEL] = "host-del",
	[EFFECT_EVENT] = "event",
	[EFFECT_REPLY] = "reply",
};

const char *effect_name(enum effect_type type)
{
	return (unsigned)type < EFFECT_TYPES ? names[type] : "?";
}

struct batch *batch_new(void)
{
	return xcalloc(1, sizeof(struct batch));
}

void batch_free(struct batch *b)
{
	struct chunk *next;

	if (!b)
		return;
	for (struct chunk *ch = b->chunks; ch; ch = next) {
		next = ch->next;
		free(ch);
	}
	free(b->records);
	free(b->effects);
	free(b);
}

void *batch_alloc(struct batch *b, size_t n)
{
	const size_t align = _Alignof(max_align_t);
	struct chunk *ch = b->chunks;
	void *p;

	n = (n + align - 1) / align * align;
	if (!ch || ch->size - ch->used < n) {
		size_t size = MAX(n, CHUNK_BYTES);

		ch = xcalloc(1, sizeof(*ch) + size);
		ch->size = size;
		ch->next = b->chunks;
		b->chunks = ch;
	}
	p = ch->bytes + ch->used;
	ch->used += n;
	return p;
}

static char *copy(struct batch *b, const char *p, size_t n)
{
	char *s = batch_alloc(b, n + 1);

	memcpy(s, p, n);
	s[n] = '\0';
	return s;
}

const char *batch_str(struct batch *b, const char *s)
{
	return s ? copy(b, s, strlen(s)) : NULL;
}

const char *batch_printf(struct batch *b, const char *fmt, ...)
{
	va_list ap;
	char *s;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0)
		return "";
	s = batch_alloc(b, (size_t)n + 1);
	va_start(ap, fmt);
	vsnprintf(s, (size_t)n + 1, fmt, ap);
	va_end(ap);
	return s;
}

void batch_strs(struct batch *b, struct strs *dst, const struct strs *src)
{
	dst->n = src->n;
	dst->items = src->n ? batch_alloc(b, src->n * sizeof(*dst->items)) : NULL;
	for (size_t i = 0; i < src->n; i++)
		dst->items[i] = batch_str(b, src->items[i]);
}

void batch_pairs(struct batch *b, struct pairs *dst, const struct pairs *src)
{
	dst->n = src->n;
	dst->items = src->n ? batch_alloc(b, src->n * sizeof(*dst->items)) : NULL;
	for (size_t i = 0; i < src->n; i++) {
		dst->items[i].key = batch_str(b, src->items[i].key);
		dst->items[i].value = batch_str(b, src->items[i].value);
	}
}

struct effect *batch_effect(struct batch *b, enum effect_type type)
{
	struct effect *e;

	if (b->effects_n == b->effects_cap) {
		b->effects_cap = b->effects_cap ? b->effects_cap * 2 : 8;
		b->effects = xrealloc(b->effects, b->effects_cap * sizeof(*b->effects));
	}
	e = &b->effects[b->effects_n++];
	memset(e, 0, sizeof(*e));
	e->type = type;
	return e;
}

static struct record *add_record(struct batch *b, const char *kind, const char *key)
{
	struct record *r;

	if (b->records_n == b->records_cap) {
		b->records_cap = b->records_cap ? b->records_cap * 2 : 4;
		b->records = xrealloc(b->records, b->records_cap * sizeof(*b->records));
	}
	r = &b->records[b->records_n++];
	r->kind = kind;
	r->key = slice_of(copy(b, key, strlen(key)), strlen(key));
	r->value = slice_of(NULL, 0);
	return r;
}

void batch_put(struct batch *b, const char *kind, const char *key, struct slice value)
{
	struct record *r = add_record(b, kind, key);

	r->value = slice_of(copy(b, value.p, value.n), value.n);
}

void batch_del(struct batch *b, const char *kind, const char *key)
{
	add_record(b, kind, key);
}
