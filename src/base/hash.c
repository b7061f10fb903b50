/* SipHash-1-3 (Aumasson and Bernstein), and a map with linear probing and no tombstones. */
#include "base/hash.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#define MAP_FIRST_SLOTS 16
#define MOVE_SLOTS 8 /* of the old table, moved by every put and del while the map grows */

void hash_key_random(struct hash_key *key)
{
	ssize_t n;

	do {
		n = getrandom(key, sizeof(*key), 0);
	} while (n < 0 && errno == EINTR);
	if (n != (ssize_t)sizeof(*key)) {
		fputs("temps: getrandom: no random bytes\n", stderr);
		abort();
	}
}

static uint64_t rotl(uint64_t x, unsigned bits)
{
	return x << bits | x >> (64 - bits);
}

/* A struct, and inlined, so that it stays in registers: this runs several times for every request. */
struct sip {
	uint64_t a, b, c, d;
};

static inline __attribute__((always_inline)) void sip_round(struct sip *v)
{
	v->a += v->b;
	v->c += v->d;
	v->b = rotl(v->b, 13) ^ v->a;
	v->d = rotl(v->d, 16) ^ v->c;
	v->a = rotl(v->a, 32);
	v->c += v->b;
	v->a += v->d;
	v->b = rotl(v->b, 17) ^ v->c;
	v->d = rotl(v->d, 21) ^ v->a;
	v->c = rotl(v->c, 32);
}

/* Little-endian, as the function is defined. */
static uint64_t load_le(const uint8_t *p, size_t n)
{
	uint64_t x = 0;

	memcpy(&x, p, n);
	return le64toh(x);
}

/* The last <n> < 8 bytes before <end>. Those of a longer string come with what is before them and
 * lose it again: no branch on the length, which no predictor would guess. */
static uint64_t load_tail(const uint8_t *end, size_t n, bool longer)
{
	if (!longer)
		return load_le(end - n, n);
	return n ? load_le(end - 8, 8) >> (64 - 8 * n) : 0;
}

uint64_t hash_bytes(const struct hash_key *key, const void *p, size_t n)
{
	const uint8_t *at = p;
	struct sip v = {
		key->k0 ^ 0x736f6d6570736575,
		key->k1 ^ 0x646f72616e646f6d,
		key->k0 ^ 0x6c7967656e657261,
		key->k1 ^ 0x7465646279746573,
	};
	uint64_t last = (uint64_t)n << 56;
	bool longer = n >= 8;

	for (; n >= 8; at += 8, n -= 8) {
		uint64_t word = load_le(at, 8);

		v.d ^= word;
		sip_round(&v);
		v.a ^= word;
	}
	last |= load_tail(at + n, n, longer);
	v.d ^= last;
	sip_round(&v);
	v.a ^= last;
	v.c ^= 0xff;
	for (int i = 0; i < 3; i++)
		sip_round(&v);
	return v.a ^ v.b ^ v.c ^ v.d;
}

struct map_slot {
	const char *key; /* borrowed */
	uint32_t key_len;
	uint32_t hash;
	void *value; /* NULL: the slot is free; &gone: it was taken out of an old table */
};

/* Keeps the probes of an old table going past a slot that has been moved out of it. */
static char gone;

void map_init(struct map *m, const struct hash_key *key)
{
	*m = (struct map){ .key = *key };
}

void map_fini(struct map *m)
{
	free(m->slots);
	free(m->old);
	*m = (struct map){ .key = m->key };
}

static uint32_t hash_of(const struct map *m, struct slice key)
{
	return (uint32_t)(hash_bytes(&m->key, key.p, key.n) >> 32);
}

/* The slot that holds <key>, or the free one where it would go. There is always a free one. */
static struct map_slot *find(struct map_slot *slots, uint32_t mask, struct slice key, uint32_t hash)
{
	uint32_t i = hash & mask;

	for (;;) {
		struct map_slot *s = &slots[i];

		if (!s->value)
			return s;
		if (s->hash == hash && s->value != &gone &&
		    slice_eq(slice_of(s->key, s->key_len), key))
			return s;
		i = (i + 1) & mask;
	}
}

void *map_get(const struct map *m, struct slice key)
{
	uint32_t hash;
	void *value;

	if (!m->slots)
		return NULL;
	hash = hash_of(m, key);
	value = find(m->slots, m->cap_mask, key, hash)->value;
	if (!value && m->old)
		value = find(m->old, m->old_mask, key, hash)->value;
	return value;
}

static void move_some(struct map *m, uint32_t slots)
{
	while (m->old && slots--) {
		struct map_slot *s = &m->old[m->moved];

		if (s->value && s->value != &gone) {
			*find(m->slots, m->cap_mask, slice_of(s->key, s->key_len), s->hash) = *s;
			s->value = &gone;
		}
		if (m->moved++ == m->old_mask) {
			free(m->old);
			m->old = NULL;
		}
	}
}

static void grow(struct map *m)
{
	uint64_t cap = m->slots ? ((uint64_t)m->cap_mask + 1) * 2 : MAP_FIRST_SLOTS;

	assert(cap <= (uint64_t)1 << 31);
	/* MOVE_SLOTS a put have emptied it long before the table is full again. */
	assert(!m->old);
	m->old = m->slots;
	m->old_mask = m->cap_mask;
	m->moved = 0;
	m->slots = xcalloc(cap, sizeof(*m->slots));
	m->cap_mask = (uint32_t)(cap - 1);
}

/* Takes <key> out of the old table: what was there, or NULL. */
static void *take_old(struct map *m, struct slice key, uint32_t hash)
{
	struct map_slot *s;
	void *was;

	if (!m->old)
		return NULL;
	s = find(m->old, m->old_mask, key, hash);
	was = s->value;
	if (was)
		s->value = &gone;
	return was;
}

void *map_put(struct map *m, struct slice key, void *value)
{
	struct map_slot *s;
	uint32_t hash;
	void *was;

	assert(value && key.n <= UINT32_MAX);
	move_some(m, MOVE_SLOTS);
	/* At most three quarters full. */
	if (!m->slots || (uint64_t)m->count + 1 > ((uint64_t)m->cap_mask + 1) / 4 * 3)
		grow(m);
	hash = hash_of(m, key);
	s = find(m->slots, m->cap_mask, key, hash);
	was = s->value ? s->value : take_old(m, key, hash);
	if (!was)
		m->count++;
	/* The key too: the one that was there dies with its value. */
	*s = (struct map_slot){ key.p, (uint32_t)key.n, hash, value };
	return was;
}

/* Frees a slot and moves up whatever had to pass over it, so that no probe ends too early. */
static void close_hole(struct map *m, uint32_t hole)
{
	uint32_t mask = m->cap_mask;

	for (uint32_t i = (hole + 1) & mask; m->slots[i].value; i = (i + 1) & mask) {
		uint32_t home = m->slots[i].hash & mask;

		if (((i - home) & mask) >= ((i - hole) & mask)) {
			m->slots[hole] = m->slots[i];
			hole = i;
		}
	}
	m->slots[hole] = (struct map_slot){ 0 };
}

void *map_del(struct map *m, struct slice key)
{
	struct map_slot *s;
	uint32_t hash;
	void *was;

	if (!m->slots)
		return NULL;
	move_some(m, MOVE_SLOTS);
	hash = hash_of(m, key);
	s = find(m->slots, m->cap_mask, key, hash);
	was = s->value;
	if (was)
		close_hole(m, (uint32_t)(s - m->slots));
	else
		was = take_old(m, key, hash);
	if (was)
		m->count--;
	return was;
}

uint32_t map_count(const struct map *m)
{
	return m->count;
}

void *map_next(const struct map *m, uint32_t *at)
{
	uint32_t cap = m->slots ? m->cap_mask + 1 : 0;
	uint32_t old_cap = m->old ? m->old_mask + 1 : 0;

	while (*at < cap + old_cap) {
		uint32_t i = (*at)++;
		void *value = i < cap ? m->slots[i].value : m->old[i - cap].value;

		if (value && value != &gone)
			return value;
	}
	return NULL;
}
