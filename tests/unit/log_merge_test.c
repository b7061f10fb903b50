/* Logs in the order of their time. */
#include "check.h"

#include "control/log_merge.h"

#define S1 "2026-03-04T12:00:00.100000000Z "
#define S2 "2026-03-04T12:00:00.200000000Z "
#define S3 "2026-03-04T12:00:01.000000000Z "

/* <out>: the texts in order, then what is said when there are no more. */
static const struct {
	const char *name, *a, *b;
	bool a_ended, b_ended, a_excused, b_excused;
	const char *out;
} cases[] = {
	{ "by time", S1 "1\n" S3 "3\n", S2 "2\n", true, true, false, false, "1 2 3 none" },
	{ "the first of two at once", S1 "1\n", S1 "2\n", true, true, false, false, "1 2 none" },
	{ "nothing before all have something", S1 "1\n", "", false, false, false, false, "wait" },
	{ "but for those that have had their time", S1 "1\n", "", false, false, false, true,
	  "1 wait" },
	{ "and those that have ended", S1 "1\n", "", false, true, false, false, "1 wait" },
	{ "nobody is waited for", S1 "1\n", "", false, true, true, false, "1 none" },
	{ "half a line is none", S1 "1\n" S2 "2", "", false, true, false, false, "1 wait" },
	{ "unless it is the last", S1 "1\n" S2 "2", "", true, true, false, false, "1 2 none" },
	{ "a line without a time follows its own", S1 "1\nx\n", S2 "2\n", true, true, false, false,
	  "1 x 2 none" },
	{ "empty lines are lines", S1 "\n" S2 "2\n", "", true, true, false, false, " 2 none" },
};

static void drain(const struct list *feeds, struct buf *out)
{
	struct log_line line;
	enum log_merge next;

	while ((next = log_merge_next(feeds, &line)) == LOG_MERGE_LINE) {
		buf_append_slice(out, line.text);
		buf_append_str(out, " ");
	}
	buf_append_str(out, next == LOG_MERGE_WAIT ? "wait" : "none");
}

static void put_all(struct log_feed *f, const char *text)
{
	CHECK_INT("all of it", log_feed_put(f, text, strlen(text)), strlen(text));
}

static void test_order(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct log_feed a, b;
		struct list feeds;
		struct buf out;

		list_init(&feeds);
		log_feed_init(&a);
		log_feed_init(&b);
		list_push_back(&feeds, &a.link);
		list_push_back(&feeds, &b.link);
		put_all(&a, cases[i].a);
		put_all(&b, cases[i].b);
		a.ended = cases[i].a_ended;
		b.ended = cases[i].b_ended;
		a.excused = cases[i].a_excused;
		b.excused = cases[i].b_excused;
		buf_init(&out, 0);
		drain(&feeds, &out);
		CHECK_STR(cases[i].name, out.data, cases[i].out);
		buf_fini(&out);
		log_feed_fini(&a);
		log_feed_fini(&b);
	}
}

/* A line longer than the buffer comes in pieces, and what was given out makes room. */
static void test_bounds(void **state)
{
	static char block[LOG_FEED_MAX_BYTES];
	struct log_line line;
	struct log_feed f;
	struct list feeds;

	(void)state;
	memset(block, 'x', sizeof(block));
	list_init(&feeds);
	log_feed_init(&f);
	list_push_back(&feeds, &f.link);
	put_all(&f, S1 "1\n");
	CHECK_INT("no more than that", log_feed_put(&f, block, sizeof(block)), sizeof(block) - 33);
	CHECK_INT("one", log_merge_next(&feeds, &line), LOG_MERGE_LINE);
	CHECK_SLICE("its time", line.stamp, "2026-03-04T12:00:00.100000000Z");
	CHECK_INT("room again", log_feed_put(&f, block, sizeof(block)), 33);
	CHECK_INT("cut", log_merge_next(&feeds, &line), LOG_MERGE_LINE);
	CHECK_INT("cut", line.text.n, sizeof(block));
	CHECK_INT("without a time", line.stamp.n, 0);
	CHECK_INT("the rest", log_merge_next(&feeds, &line), LOG_MERGE_WAIT);
	log_feed_fini(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_order), cmocka_unit_test(test_bounds) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
