/* Open addressing in buckets of a cache line: a name lives in its home bucket or, when that is
 * full, in one of the next. So a bucket that is not full ends the search. */
#include "proxy/hosts.h"

#include <assert.h>
#include <stdlib.h>

#include "base/pages.h"

#define FIRST_BUCKETS 8
/* More than growing in time needs: the old buckets are empty long before the next growth. */
#define MOVES_PER_CHANGE 8
/* Stands in an old bucket for a host that was moved: not free, so that searches go on past it. */
#define MOVED UINT32_MAX

_Static_assert(sizeof(struct host) == PAGES_ALIGN, "one pair of lines, and no pair holds two");
_Static_assert(sizeof(struct host_bucket) * 2 == PAGES_ALIGN, "a line each");

void hosts_init(struct hosts *s, const struct hash_key *key)
{
	*s = (struct hosts){ .key = *key, .used = 1 };
}

static void get_buckets(struct host_buckets *b, uint32_t n)
{
	*b = (struct host_buckets){ .at = pages_alloc(n * sizeof(*b->at)), .mask = n - 1 };
}

static void put_buckets(struct host_buckets *b)
{
	pages_free(b->at, (b->mask + 1ul) * sizeof(*b->at));
	*b = (struct host_buckets){ 0 };
}

struct host *hosts_next(const struct hosts *s, uint32_t *at)
{
	while (++*at < s->used)
		if (s->all[*at].name_n)
			return &s->all[*at];
	return NULL;
}

void hosts_fini(struct hosts *s)
{
	uint32_t at = 0;
	struct host *h;

	while ((h = hosts_next(s, &at)))
		free(h->long_name);
	put_buckets(&s->now);
	put_buckets(&s->old);
	pages_free(s->all, HOSTS_MAX * sizeof(*s->all));
	s->all = NULL;
}

struct slice host_name(const struct host *h)
{
	return slice_of(h->long_name ? h->long_name : h->name, h->name_n);
}

static uint32_t tag_of(const struct hosts *s, struct slice name)
{
	return (uint32_t)hash_bytes(&s->key, name.p, name.n);
}

/* A bit for each that equals <want>; no branch until all are known. */
static unsigned equal(const uint32_t *in, uint32_t want)
{
	unsigned bits = 0;

	for (unsigned i = 0; i < BUCKET_HOSTS; i++)
		bits |= (unsigned)(in[i] == want) << i;
	return bits;
}

static struct host *find_in(const struct hosts *s, const struct host_buckets *b, uint32_t tag,
			    struct slice name)
{
	if (!b->at)
		return NULL;
	for (uint32_t i = tag & b->mask;; i = (i + 1) & b->mask) {
		const struct host_bucket *at = &b->at[i];

		for (unsigned hits = equal(at->tag, tag); hits; hits &= hits - 1) {
			uint32_t n = at->host[__builtin_ctz(hits)];
			if (n && n != MOVED && slice_eq(host_name(&s->all[n]), name))
				return &s->all[n];
		}
		if (equal(at->host, 0))
			return NULL;
	}
}

struct host *hosts_find(const struct hosts *s, struct slice name)
{
	uint32_t tag = tag_of(s, name);
	struct host *h = find_in(s, &s->now, tag, name);

	return h ? h : find_in(s, &s->old, tag, name);
}

static void insert(struct host_buckets *b, uint32_t tag, uint32_t host)
{
	uint32_t i = tag & b->mask;
	unsigned room;

	while (!(room = equal(b->at[i].host, 0)))
		i = (i + 1) & b->mask;
	b->at[i].tag[__builtin_ctz(room)] = tag;
	b->at[i].host[__builtin_ctz(room)] = host;
	b->count++;
}

static void move_some(struct hosts *s)
{
	for (unsigned n = 0; n < MOVES_PER_CHANGE && s->old.at; n++, s->old_at++) {
		struct host_bucket *at = &s->old.at[s->old_at];

		if (s->old_at > s->old.mask) {
			assert(s->old.count == 0);
			put_buckets(&s->old);
			return;
		}
		for (unsigned i = 0; i < BUCKET_HOSTS; i++) {
			if (!at->host[i] || at->host[i] == MOVED)
				continue;
			insert(&s->now, at->tag[i], at->host[i]);
			at->host[i] = MOVED;
			s->old.count--;
		}
	}
}

/* Room for one more at a load of at most three quarters. */
static void grow(struct hosts *s)
{
	uint32_t n = s->now.at ? s->now.mask + 1 : 0;

	if (s->now.count + s->old.count + 1 <= n * BUCKET_HOSTS / 4 * 3)
		return;
	while (s->old.at)
		move_some(s);
	s->old = s->now;
	s->old_at = 0;
	get_buckets(&s->now, n ? n * 2 : FIRST_BUCKETS);
}

static struct host *take_free(struct hosts *s)
{
	struct host *h;

	if (s->free_list) {
		h = &s->all[s->free_list];
		s->free_list = h->next_free;
		return h;
	}
	if (s->used == HOSTS_MAX)
		return NULL;
	if (!s->all)
		s->all = pages_reserve(HOSTS_MAX * sizeof(*s->all));
	return &s->all[s->used++];
}

struct host *hosts_add(struct hosts *s, struct slice name)
{
	struct host *h;

	move_some(s);
	h = take_free(s);
	if (!h)
		return NULL;
	grow(s);
	*h = (struct host){ .name_n = (uint8_t)name.n };
	if (name.n > sizeof(h->name))
		h->long_name = slice_dup(name);
	else
		memcpy(h->name, name.p, name.n);
	insert(&s->now, tag_of(s, name), (uint32_t)(h - s->all));
	return h;
}

/* A place in a full bucket became free: whoever had to go on past it may live there now, or a
 * search would end before it. Its own place becomes free in turn. */
static void fill_gap(struct host_buckets *b, uint32_t gap, unsigned place)
{
	for (uint32_t i = (gap + 1) & b->mask; i != gap; i = (i + 1) & b->mask) {
		struct host_bucket *at = &b->at[i];
		bool full = !equal(at->host, 0);

		for (unsigned j = 0; j < BUCKET_HOSTS; j++) {
			uint32_t past = (i - (at->tag[j] & b->mask)) & b->mask;

			if (!at->host[j] || past < ((i - gap) & b->mask))
				continue;
			b->at[gap].tag[place] = at->tag[j];
			b->at[gap].host[place] = at->host[j];
			at->host[j] = 0;
			gap = i;
			place = j;
			break;
		}
		if (!full)
			return;
	}
}

/* Takes host number <n> out; false: it is not here. */
static bool take_out(struct host_buckets *b, uint32_t tag, uint32_t n, bool old)
{
	if (!b->at)
		return false;
	for (uint32_t i = tag & b->mask;; i = (i + 1) & b->mask) {
		struct host_bucket *at = &b->at[i];
		unsigned hit = equal(at->host, n);
		bool full = !equal(at->host, 0);

		if (hit) {
			unsigned place = (unsigned)__builtin_ctz(hit);

			at->host[place] = old ? MOVED : 0;
			b->count--;
			if (full && !old)
				fill_gap(b, i, place);
			return true;
		}
		if (!full)
			return false;
	}
}

void hosts_remove(struct hosts *s, struct host *h)
{
	uint32_t tag = tag_of(s, host_name(h)), n = (uint32_t)(h - s->all);

	if (!take_out(&s->now, tag, n, false) && !take_out(&s->old, tag, n, true))
		assert(!"a host is in one of the two");
	free(h->long_name);
	*h = (struct host){ .next_free = s->free_list };
	s->free_list = n;
	move_some(s);
}
