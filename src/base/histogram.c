/* Reading a histogram; counting is in the header. */
#include "base/histogram.h"

uint64_t histogram_quantile_us(const uint64_t count[HISTOGRAM_BUCKETS], double q)
{
	double total = 0, want, before = 0, low, high;
	unsigned i = 0;

	for (unsigned k = 0; k < HISTOGRAM_BUCKETS; k++)
		total += (double)count[k];
	if (total == 0)
		return 0;
	want = q * total;
	while (i < HISTOGRAM_BOUNDS && (before + (double)count[i] < want || count[i] == 0))
		before += (double)count[i++];
	if (i == HISTOGRAM_BOUNDS)
		return histogram_bound_ns(HISTOGRAM_BOUNDS - 1) / 1000;
	low = i ? (double)histogram_bound_ns(i - 1) : 0;
	high = (double)histogram_bound_ns(i);
	return (uint64_t)((low + (high - low) * (want - before) / (double)count[i]) / 1000);
}
