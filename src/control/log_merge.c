/* A step looks at the first line of each feed. */
#include "control/log_merge.h"

#include <string.h>

void log_feed_init(struct log_feed *f)
{
	*f = (struct log_feed){ 0 };
	buf_init(&f->text, 0);
	list_init(&f->link);
}

void log_feed_fini(struct log_feed *f)
{
	list_remove(&f->link);
	buf_fini(&f->text);
}

bool log_feed_is_empty(const struct log_feed *f)
{
	return f->at == f->text.len;
}

size_t log_feed_put(struct log_feed *f, const char *p, size_t n)
{
	if (f->at)
		buf_consume(&f->text, f->at);
	f->at = 0;
	n = MIN(n, LOG_FEED_MAX_BYTES - f->text.len);
	if (n)
		buf_append(&f->text, p, n);
	return n;
}

/* A line that fills the buffer is cut; the last one may have no end. */
static bool first_line(const struct log_feed *f, struct slice *line, size_t *used)
{
	struct slice rest;
	const char *end;

	if (f->at == f->text.len)
		return false;
	rest = slice_of(f->text.data + f->at, f->text.len - f->at);
	end = memchr(rest.p, '\n', rest.n);
	if (!end && !f->ended && f->text.len < LOG_FEED_MAX_BYTES)
		return false;
	*line = slice_of(rest.p, end ? (size_t)(end - rest.p) : rest.n);
	*used = line->n + (end != NULL);
	return true;
}

static bool has_stamp(struct slice line)
{
	return line.n > LOG_STAMP_BYTES && line.p[4] == '-' && line.p[10] == 'T' &&
	       line.p[19] == '.' && line.p[29] == 'Z' && line.p[30] == ' ';
}

enum log_merge log_merge_next(const struct list *feeds, struct log_line *out)
{
	struct log_feed *best = NULL;
	struct slice line, best_line = { 0 };
	const char *stamp, *best_stamp = NULL;
	size_t used, best_used = 0;

	LIST_FOR_EACH(f, feeds, struct log_feed, link) {
		if (!first_line(f, &line, &used)) {
			if (!f->ended && !f->excused)
				return LOG_MERGE_WAIT;
			continue;
		}
		stamp = has_stamp(line) ? line.p : f->stamp;
		if (best && strncmp(stamp, best_stamp, LOG_STAMP_BYTES) >= 0)
			continue;
		best = f;
		best_line = line;
		best_stamp = stamp;
		best_used = used;
	}
	if (!best)
		return LOG_MERGE_NONE;
	*out = (struct log_line){ .feed = best, .text = best_line };
	if (has_stamp(best_line)) {
		memcpy(best->stamp, best_line.p, LOG_STAMP_BYTES);
		out->stamp = slice_of(best_line.p, LOG_STAMP_BYTES);
		out->text = slice_of(best_line.p + LOG_STAMP_BYTES + 1,
				     best_line.n - LOG_STAMP_BYTES - 1);
	}
	best->at += best_used;
	return LOG_MERGE_LINE;
}
