/* Choosing among endpoints: by turn, by load, or the better of two. */
#include "proxy/choice.h"

#include <stdlib.h>

#include "proxy/endpoint.h"

#define STRIDE (1u << 20) /* between two turns of one that weighs 1 */

void choice_init(struct choice *c, enum balance balance, uint64_t seed)
{
	*c = (struct choice){ .balance = balance, .random = seed };
	list_init(&c->ring);
}

void choice_fini(struct choice *c)
{
	free(c->slots);
	c->slots = NULL;
}

/* 0 to n - 1. */
static uint32_t random_slot(struct choice *c)
{
	uint64_t x = c->random;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	c->random = x;
	return (uint32_t)((x * 0x2545f4914f6cdd1d >> 32) * c->n >> 32);
}

/* ---- the heap ---- */

static bool is_heap(const struct choice *c)
{
	return c->nweighted || c->balance == BALANCE_LEAST_CONNECTIONS;
}

/* a's load less b's, each for its weight. */
static int64_t load_diff(const struct endpoint *a, const struct endpoint *b)
{
	return (int64_t)a->in_flight * b->weight - (int64_t)b->in_flight * a->weight;
}

static bool is_before(const struct choice *c, const struct choice_slot *a,
		      const struct choice_slot *b)
{
	if (c->balance == BALANCE_LEAST_CONNECTIONS) {
		int64_t diff = load_diff(a->endpoint, b->endpoint);

		if (diff)
			return diff < 0;
	}
	if (a->turn != b->turn)
		return a->turn < b->turn;
	return a->endpoint->id < b->endpoint->id;
}

static void set_slot(struct choice *c, uint32_t at, struct choice_slot s)
{
	c->slots[at] = s;
	s.endpoint->choice_at = at;
}

static void sift_up(struct choice *c, uint32_t at)
{
	struct choice_slot s = c->slots[at];

	while (at) {
		uint32_t parent = (at - 1) / 2;

		if (!is_before(c, &s, &c->slots[parent]))
			break;
		set_slot(c, at, c->slots[parent]);
		at = parent;
	}
	set_slot(c, at, s);
}

static void sift_down(struct choice *c, uint32_t at)
{
	struct choice_slot s = c->slots[at];
	uint32_t child;

	while ((child = 2 * at + 1) < c->n) {
		if (child + 1 < c->n && is_before(c, &c->slots[child + 1], &c->slots[child]))
			child++;
		if (!is_before(c, &c->slots[child], &s))
			break;
		set_slot(c, at, c->slots[child]);
		at = child;
	}
	set_slot(c, at, s);
}

void choice_moved(struct choice *c, struct endpoint *e)
{
	if (!is_heap(c))
		return;
	sift_up(c, e->choice_at);
	sift_down(c, e->choice_at);
}

/* They do not weigh the same any more: turns begin anew. */
static void make_heap(struct choice *c)
{
	for (uint32_t i = 0; i < c->n; i++)
		c->slots[i].turn = c->turn;
	for (uint32_t i = c->n / 2; i-- > 0;)
		sift_down(c, i);
}

static void count_weight(struct choice *c, const struct endpoint *e, int by)
{
	bool was_heap = is_heap(c);

	if (e->weight != 1)
		c->nweighted += (uint32_t)by;
	if (!was_heap && is_heap(c))
		make_heap(c);
}

void choice_put(struct choice *c, struct endpoint *e)
{
	if (c->n == c->cap) {
		c->cap = c->cap ? c->cap * 2 : 4;
		c->slots = xrealloc(c->slots, c->cap * sizeof(*c->slots));
	}
	/* Who was away does not make up for what it missed. */
	set_slot(c, c->n++, (struct choice_slot){ MAX(e->turn, c->turn), e });
	list_push_back(&c->ring, &e->ring_link);
	count_weight(c, e, 1);
	choice_moved(c, e);
}

void choice_take(struct choice *c, struct endpoint *e)
{
	uint32_t at = e->choice_at;
	struct choice_slot last = c->slots[--c->n];

	e->turn = c->slots[at].turn;
	e->choice_at = CHOICE_NOWHERE;
	list_remove(&e->ring_link);
	if (last.endpoint != e) {
		set_slot(c, at, last);
		choice_moved(c, last.endpoint);
	}
	count_weight(c, e, -1);
}

/* ---- the choice ---- */

static bool is_among(uint64_t id, const uint64_t *ids, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (ids[i] == id)
			return true;
	return false;
}

/* The first of those at <at> and below that was not tried: no more slots are looked at than twice
 * as many as were. c->n or more: none. */
static uint32_t first_untried(const struct choice *c, uint32_t at, const uint64_t *tried,
			      unsigned ntried)
{
	uint32_t left, right;

	if (at >= c->n || !is_among(c->slots[at].endpoint->id, tried, ntried))
		return at;
	left = first_untried(c, 2 * at + 1, tried, ntried);
	right = first_untried(c, 2 * at + 2, tried, ntried);
	if (left >= c->n || right >= c->n)
		return MIN(left, right);
	return is_before(c, &c->slots[left], &c->slots[right]) ? left : right;
}

/* Whose turn it is; it is over then, whether it gets the request or not. */
static struct endpoint *next_of_heap(struct choice *c, const uint64_t *tried, unsigned ntried)
{
	uint32_t at = first_untried(c, 0, tried, ntried);
	struct endpoint *e;

	if (at >= c->n)
		return NULL;
	e = c->slots[at].endpoint;
	c->turn = MAX(c->turn, c->slots[at].turn);
	c->slots[at].turn += STRIDE / e->weight;
	sift_down(c, at);
	return e;
}

static struct endpoint *next_of_ring(struct choice *c, const uint64_t *tried, unsigned ntried)
{
	LIST_FOR_EACH(e, &c->ring, struct endpoint, ring_link) {
		if (is_among(e->id, tried, ntried))
			continue;
		list_remove(&e->ring_link);
		list_push_back(&c->ring, &e->ring_link);
		return e;
	}
	return NULL;
}

struct endpoint *choice_pick(struct choice *c, const uint64_t *tried, unsigned ntried)
{
	struct endpoint *own, *other;

	if (c->n == 1 && ntried == 0)
		return c->slots[0].endpoint;
	own = is_heap(c) ? next_of_heap(c, tried, ntried) : next_of_ring(c, tried, ntried);
	if (!own || c->balance != BALANCE_P2C)
		return own;
	/* Another takes over when it would carry no more than this one does now: so equal loads
	 * stay in turn, and one that weighs little is not filled up because it is idle. */
	other = c->slots[random_slot(c)].endpoint;
	if (((uint64_t)other->in_flight + 1) * own->weight <=
		    (uint64_t)own->in_flight * other->weight &&
	    !is_among(other->id, tried, ntried))
		return other;
	return own;
}
