/* Cookies that name endpoints. */
#include "proxy/sticky.h"

#include <inttypes.h>
#include <stdio.h>

#include "proxy/endpoint.h"
#include "proxy/front_inner.h"
#include "proxy/relay.h"

#define ID_DIGITS 16

uint64_t sticky_id(const struct front *f, const struct endpoint *e)
{
	struct buf b;
	uint64_t id;

	buf_init(&b, 0);
	buf_printf(&b, "%s\n%s\n%s", e->upstream->name, e->at.text, e->identity);
	id = hash_bytes(&f->sticky_key, b.data, b.len);
	buf_fini(&b);
	return id;
}

/* ---- reading: every byte of it is the client's ---- */

static bool read_id(struct slice s, uint64_t *id)
{
	if (s.n != ID_DIGITS)
		return false;
	*id = 0;
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];

		if (c >= '0' && c <= '9')
			*id = *id << 4 | (uint64_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			*id = *id << 4 | (uint64_t)(c - 'a' + 10);
		else
			return false;
	}
	return true;
}

/* "a=1; b=2" (RFC 6265 §4.2); in HTTP/2 perhaps in several fields (RFC 9113 §8.2.3). */
bool sticky_read(const struct head *req, struct slice name, uint64_t *id)
{
	const struct field *f = head_field(req, FIELD_COOKIE);

	for (; f && f < req->fields + req->nfields; f++) {
		struct slice rest = f->value;

		if (f->id != FIELD_COOKIE)
			continue;
		while (rest.p) {
			struct slice pair = slice_trim(slice_split(rest, ';', &rest)), value;

			if (slice_eq(slice_split(pair, '=', &value), name) && value.p &&
			    read_id(value, id))
				return true;
		}
	}
	return false;
}

/* ---- choosing ---- */

/* NULL: none. <said>: the request names one, be it here or not. */
static struct endpoint *named(const struct relay *r, bool *said)
{
	struct upstream *u = r->upstream;
	uint64_t id;

	*said = sticky_read(&r->x->req, slice_str(u->policy.sticky), &id);
	return *said ? map_get(&u->by_sticky_id, slice_of((const char *)&id, sizeof(id))) : NULL;
}

static bool was_tried(const struct relay *r, const struct endpoint *e)
{
	for (unsigned i = 0; i < r->ntried; i++)
		if (r->tried[i] == e->id)
			return r->stale_id != e->id;
	return false;
}

struct endpoint *sticky_pick(struct relay *r)
{
	struct upstream *u = r->upstream;
	bool said;
	struct endpoint *e = named(r, &said);

	if (e && !u->paused && endpoint_is_in(e) && e->in_flight < e->limit && !was_tried(r, e)) {
		if (r->stale_id == e->id)
			r->stale_id = 0; /* once more, on a connection of its own */
		u->sticky_hits++;
		r->front->stats.sticky_hits++;
		return e;
	}
	if (said && r->attempts == 0) {
		u->sticky_misses++;
		r->front->stats.sticky_misses++;
	}
	return NULL;
}

void sticky_answer(struct relay *r, struct head *out)
{
	bool said;
	const struct endpoint *e = named(r, &said);
	struct front *f = r->front;

	if (e == r->endpoint || (e && endpoint_is_in(e)))
		return;
	snprintf(f->cookie, sizeof(f->cookie),
		 "%.64s=%016" PRIx64 "; Path=/; HttpOnly; SameSite=Lax%s",
		 r->upstream->policy.sticky, r->endpoint->sticky_id,
		 forward_is_https(&f->forward, r->x) ? "; Secure" : "");
	/* Without room for it the client is sent anywhere the next time: no reason to fail. */
	(void)head_add(out, FIELD_SET_COOKIE, slice_str(f->cookie));
}
