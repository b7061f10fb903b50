/* How long things took: counts in fixed buckets, each twice as wide as the one before it, from
 * 62.5 us (a turn of the loop) to 65.536 s. Counting one costs a division by a constant and a count
 * of leading zeroes; nothing is allocated, and what is there is never reset. */
#ifndef TEMPS_BASE_HISTOGRAM_H
#define TEMPS_BASE_HISTOGRAM_H

#include "base/base.h"

#define HISTOGRAM_BOUNDS 21 /* the last bucket, beyond them, takes the rest */
#define HISTOGRAM_BUCKETS (HISTOGRAM_BOUNDS + 1)

struct histogram {
	uint64_t count[HISTOGRAM_BUCKETS]; /* of each bucket alone, not cumulative */
	uint64_t sum_us;
};

/* The bucket of <us>: the first whose bound is not less. */
static inline unsigned histogram_bucket(uint64_t us)
{
	/* In units of the first bound, rounded up, less one; its bits are the power of two. */
	uint64_t units = (us * 2 - (us > 0)) / 125;
	unsigned bits = units ? 64 - (unsigned)__builtin_clzll(units) : 0;

	return MIN(bits, HISTOGRAM_BOUNDS);
}

static inline void histogram_add(struct histogram *h, uint64_t us)
{
	h->count[histogram_bucket(us)]++;
	h->sum_us += us;
}

/* The bound of bucket <i> in nanoseconds: what is in it took at most that. */
static inline uint64_t histogram_bound_ns(unsigned i)
{
	return 62500ull << i;
}

static inline uint64_t histogram_count(const struct histogram *h)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
		n += h->count[i];
	return n;
}

/* The time in microseconds that a share <q> (0 to 1) of the counts did not exceed, taken as evenly
 * spread within their bucket; for what is beyond the bounds, the last of them. 0 when there are
 * none. */
uint64_t histogram_quantile_us(const uint64_t count[HISTOGRAM_BUCKETS], double q);

#endif
