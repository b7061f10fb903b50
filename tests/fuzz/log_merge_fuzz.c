/* Logs of several containers: however their bytes come in, the lines are the same and in the same order. */
#include <stdint.h>
#include <stdlib.h>

#include "control/log_merge.h"
#include "fuzz.h"


/* The first <cut> bytes are one log, the rest the other. Pieces of <piece> bytes, in turn; lines are taken as soon as they may be. */
static void run(const char *p, size_t n, size_t cut, size_t piece, struct buf *out)
{
	struct slice rest[2] = { slice_of(p, cut), slice_of(p + cut, n - cut) };
	struct log_feed feeds[2];
	struct log_line line;
	struct list all;
	enum log_merge next;

	list_init(&all);
	for (size_t i = 0; i < ARRAY_LEN(feeds); i++) {
		log_feed_init(&feeds[i]);
		list_push_back(&all, &feeds[i].link);
	}
	do {
		for (size_t i = 0; i < ARRAY_LEN(feeds); i++) {
			size_t took = log_feed_put(&feeds[i], rest[i].p, MIN(piece, rest[i].n));

			rest[i] = slice_of(rest[i].p + took, rest[i].n - took);
			feeds[i].ended = !rest[i].n;
		}
		while ((next = log_merge_next(&all, &line)) == LOG_MERGE_LINE)
			buf_printf(out, "%d %.*s|%.*s\n", line.feed == &feeds[1],
				   SLICE_ARG(line.stamp), SLICE_ARG(line.text));
	} while (next == LOG_MERGE_WAIT);
	for (size_t i = 0; i < ARRAY_LEN(feeds); i++) {
		MUST(log_feed_is_empty(&feeds[i]) && !rest[i].n);
		log_feed_fini(&feeds[i]);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf whole, split;

	/* Longer lines are cut where the buffer was full. */
	if (size < 3 || size > 60000)
		return 0;
	buf_init(&whole, 0);
	buf_init(&split, 0);
	run((const char *)data + 2, size - 2, data[0] * (size - 2) / 255, size, &whole);
	run((const char *)data + 2, size - 2, data[0] * (size - 2) / 255, 1 + data[1] % 64, &split);
	MUST(slice_eq(buf_slice(&whole), buf_slice(&split)));
	buf_fini(&whole);
	buf_fini(&split);
	return 0;
}
