/* Lines with timestamps from several logs, in the order of their time. Pure. */
#ifndef TEMPS_CONTROL_LOG_MERGE_H
#define TEMPS_CONTROL_LOG_MERGE_H

#include "base/buf.h"
#include "base/list.h"

#define LOG_FEED_MAX_BYTES 65536u
#define LOG_STAMP_BYTES 30u	/* "2026-03-04T12:00:00.000000000Z": the same order as text and as time */

/* One log. Its lines are given out in its own order; one without a timestamp has that of the line before. */
struct log_feed {
	struct list link;
	struct buf text;
	size_t at;		/* of <text>: given out */
	bool ended;		/* nothing more comes */
	bool excused;		/* the others do not wait for its next line */
	char stamp[LOG_STAMP_BYTES + 1]; /* of the line before; "" at first */
};

void log_feed_init(struct log_feed *f);
void log_feed_fini(struct log_feed *f);
/* Returns how many bytes were taken. */
size_t log_feed_put(struct log_feed *f, const char *p, size_t n);
bool log_feed_is_empty(const struct log_feed *f);

struct log_line {
	struct log_feed *feed;
	struct slice stamp, text;	/* stamp is empty where there was none; both good until the feed gets more */
};

enum log_merge {
	LOG_MERGE_LINE,
	LOG_MERGE_WAIT,		/* one that is not excused has no line yet */
	LOG_MERGE_NONE,		/* nobody has one, and nobody is waited for */
};
/* The oldest line of all <feeds> (struct log_feed by <link>), taken off its feed. */
enum log_merge log_merge_next(const struct list *feeds, struct log_line *line);

#endif
