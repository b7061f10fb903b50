/* Without printf(): a scrape of ten thousand endpoints writes a million numbers. */
#include "control/expose.h"

#define NANO 9

void expose_family(struct buf *b, const char *name, enum expose_type type, const char *help)
{
	static const char *const types[] = {
		[EXPOSE_COUNTER] = "counter",
		[EXPOSE_GAUGE] = "gauge",
		[EXPOSE_HISTOGRAM] = "histogram",
	};

	buf_append_str(b, "# HELP ");
	buf_append_str(b, name);
	buf_append_str(b, " ");
	buf_append_str(b, help);
	buf_append_str(b, "\n# TYPE ");
	buf_append_str(b, name);
	buf_append_str(b, " ");
	buf_append_str(b, types[type]);
	buf_append_str(b, "\n");
}

void expose_label(struct buf *labels, const char *name, struct slice value)
{
	if (labels->len)
		buf_append_str(labels, ",");
	buf_append_str(labels, name);
	buf_append_str(labels, "=\"");
	for (size_t i = 0; i < value.n; i++) {
		if (value.p[i] == '\n')
			buf_append_str(labels, "\\n");
		else if (value.p[i] == '"' || value.p[i] == '\\')
			buf_append(labels, (char[]){ '\\', value.p[i] }, 2);
		else
			buf_append(labels, value.p + i, 1);
	}
	buf_append_str(labels, "\"");
}

/* 1500 with 3 decimals is "1.5". */
static void put_decimal(struct buf *b, uint64_t v, unsigned decimals)
{
	char digits[40];
	unsigned at = sizeof(digits), left = decimals;

	for (; left && v % 10 == 0; left--)
		v /= 10;
	if (left) {
		for (; left; left--, v /= 10)
			digits[--at] = (char)('0' + v % 10);
		digits[--at] = '.';
	}
	do
		digits[--at] = (char)('0' + v % 10);
	while (v /= 10);
	buf_append(b, digits + at, sizeof(digits) - at);
}

static void put_labels(struct buf *b, struct slice labels)
{
	if (!labels.n)
		return;
	buf_append_str(b, "{");
	buf_append_slice(b, labels);
	buf_append_str(b, "}");
}

void expose_sample(struct buf *b, const char *name, struct slice labels, uint64_t value,
		   unsigned decimals)
{
	buf_append_str(b, name);
	put_labels(b, labels);
	buf_append_str(b, " ");
	put_decimal(b, value, decimals);
	buf_append_str(b, "\n");
}

static void begin_bucket(struct buf *b, const char *name, struct slice labels)
{
	buf_append_str(b, name);
	buf_append_str(b, "_bucket{");
	buf_append_slice(b, labels);
	buf_append_str(b, labels.n ? ",le=\"" : "le=\"");
}

static void end_bucket(struct buf *b, uint64_t count)
{
	buf_append_str(b, "\"} ");
	put_decimal(b, count, 0);
	buf_append_str(b, "\n");
}

void expose_histogram(struct buf *b, const char *name, struct slice labels,
		      const struct histogram *h, struct expose_bounds which)
{
	uint64_t below = 0;

	for (unsigned i = 0; i < HISTOGRAM_BOUNDS; i++) {
		below += h->count[i];
		if (i < which.first || i > which.last || (i - which.first) % which.step)
			continue;
		begin_bucket(b, name, labels);
		put_decimal(b, histogram_bound_ns(i), NANO);
		end_bucket(b, below);
	}
	below += h->count[HISTOGRAM_BOUNDS];
	begin_bucket(b, name, labels);
	buf_append_str(b, "+Inf");
	end_bucket(b, below);
	buf_append_str(b, name);
	buf_append_str(b, "_sum");
	put_labels(b, labels);
	buf_append_str(b, " ");
	put_decimal(b, h->sum_us, 6);
	buf_append_str(b, "\n");
	buf_append_str(b, name);
	buf_append_str(b, "_count");
	put_labels(b, labels);
	buf_append_str(b, " ");
	put_decimal(b, below, 0);
	buf_append_str(b, "\n");
}
