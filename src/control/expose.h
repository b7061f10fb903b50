/* The text that Prometheus reads (exposition format 0.0.4): families of samples. Pure. */
#ifndef TEMPS_CONTROL_EXPOSE_H
#define TEMPS_CONTROL_EXPOSE_H

#include "base/buf.h"
#include "base/histogram.h"

#define EXPOSE_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

enum expose_type { EXPOSE_COUNTER, EXPOSE_GAUGE, EXPOSE_HISTOGRAM };

/* Which bounds of a histogram are written: every <step>-th from <first> to <last>. Buckets are
 * cumulative there, so that leaving bounds out loses resolution and nothing else. */
struct expose_bounds {
	uint8_t first, last, step;
};

/* Begins a family: its help and type. */
void expose_family(struct buf *b, const char *name, enum expose_type type, const char *help);
/* Labels of a sample, as they stand between its braces: appends name="value", escaped. <value> is
 * UTF-8. */
void expose_label(struct buf *labels, const char *name, struct slice value);
/* <value> stands for value / 10^<decimals>. <labels> may be empty. */
void expose_sample(struct buf *b, const char *name, struct slice labels, uint64_t value,
		   unsigned decimals);
/* The samples of one histogram: buckets, sum and count. */
void expose_histogram(struct buf *b, const char *name, struct slice labels,
		      const struct histogram *h, struct expose_bounds which);

#endif
