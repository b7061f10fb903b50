/* Token buckets. */
#include "proxy/rate.h"

#define TOKEN 1000u /* a rate of N a second is N thousandths a millisecond */

struct rate_table *rate_table_create(void)
{
	struct rate_table *t = xcalloc(1, sizeof(*t));

	hash_key_random(&t->key);
	return t;
}

/* What is missing in a bucket now; 0: it is full. The key's rate may be another than the bucket's
 * was: a bucket of an upstream with a lower rate is thought fuller than it is, and goes first. */
static uint32_t used_now(const struct rate_bucket *b, uint32_t rate, uint32_t now_ms)
{
	uint64_t refilled = (uint64_t)(now_ms - b->at_ms) * rate;

	return b->key && refilled < b->used ? b->used - (uint32_t)refilled : 0;
}

/* <key>'s bucket, or the one it gets. */
static struct rate_bucket *find(struct rate_table *t, uint64_t key, uint32_t rate, uint32_t now_ms)
{
	struct rate_bucket *set = t->buckets[key % RATE_SETS], *least = set;

	for (unsigned i = 0; i < RATE_WAYS; i++) {
		if (set[i].key == key)
			return &set[i];
		if (used_now(&set[i], rate, now_ms) < used_now(least, rate, now_ms))
			least = &set[i];
	}
	if (used_now(least, rate, now_ms))
		t->overflow++;
	*least = (struct rate_bucket){ .key = key, .at_ms = now_ms };
	return least;
}

bool rate_take(struct rate_table *t, struct slice key, uint32_t rate, uint32_t burst,
	       uint64_t now_ms)
{
	uint64_t hash = hash_bytes(&t->key, key.p, key.n);
	uint32_t now = (uint32_t)now_ms;
	struct rate_bucket *b = find(t, hash ? hash : 1, rate, now);

	b->used = used_now(b, rate, now);
	b->at_ms = now;
	if ((uint64_t)b->used + TOKEN > (uint64_t)burst * TOKEN)
		return false;
	b->used += TOKEN;
	return true;
}
