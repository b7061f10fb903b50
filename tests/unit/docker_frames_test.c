/* Frames of log streams, at every split. */
#include <errno.h>

#include "agent/docker_frames.h"
#include "base/buf.h"
#include "check.h"

#define STAMP "2026-03-04T12:00:00.123456789Z "
#define HEAD(stream, n) stream "\0\0\0\0\0\0" n

static const struct {
	const char *name;
	struct slice bytes;
	const char *content;	/* NULL: not frames */
	bool whole;		/* ends between two frames */
} cases[] = {
	{ "nothing", { "", 0 }, "", true },
	{ "one", { HEAD("\1", "\5") "hello", 13 }, "hello", true },
	{ "both streams", { HEAD("\1", "\2") "ab" HEAD("\2", "\1") "c", 19 }, "abc", true },
	{ "empty frames", { HEAD("\1", "\0") HEAD("\0", "\0") HEAD("\1", "\1") "x", 25 }, "x", true },
	{ "cut in a head", { HEAD("\1", "\1") "x" "\1\0\0", 12 }, "x", false },
	{ "cut in content", { HEAD("\1", "\5") "wor", 11 }, "wor", false },
	{ "stream three", { HEAD("\3", "\1") "x", 9 }, NULL, false },
	{ "padding", { "\1\0\1\0\0\0\0\1x", 9 }, NULL, false },
	{ "a long line's second timestamp is left out",
	  { HEAD("\1", "\42") STAMP "aaa" HEAD("\1", "\43") STAMP "bbb\n" HEAD("\1", "\41") STAMP "c\n", 126 },
	  STAMP "aaabbb\n" STAMP "c\n", true },
	{ "but not when nobody asked for any",
	  { HEAD("\1", "\3") "aaa" HEAD("\1", "\4") "bbb\n", 23 }, "aaabbb\n", true },
	{ "each stream has lines of its own",
	  { HEAD("\1", "\42") STAMP "aaa" HEAD("\2", "\41") STAMP "c\n" HEAD("\1", "\41") STAMP "b\n", 124 },
	  STAMP "aaa" STAMP "c\n" "b\n", true },
	{ "text", { "2026-03-04 hello", 16 }, NULL, false },
};

/* Content of p[0..n) in two pieces, each taken <bite> bytes at a time. */
static int feed(struct docker_frames *f, const char *p, size_t n, size_t bite, struct buf *out)
{
	struct slice content;
	ssize_t heads;

	while (n) {
		heads = docker_frames_next(f, p, n, &content);
		if (heads < 0)
			return (int)heads;
		content.n = MIN(content.n, bite);
		buf_append_slice(out, content);
		docker_frames_taken(f, content.n);
		p += (size_t)heads + content.n;
		n -= (size_t)heads + content.n;
	}
	return 0;
}

static void test_splits(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		for (size_t at = 0; at <= cases[i].bytes.n; at++) {
			struct docker_frames f;
			struct buf out;
			int rc;

			buf_init(&out, 0);
			buf_append_str(&out, "");
			docker_frames_init(&f);
			f.timed = cases[i].content && slice_starts(slice_str(cases[i].content), SLICE(STAMP));
			rc = feed(&f, cases[i].bytes.p, at, 1 + at, &out);
			if (!rc)
				rc = feed(&f, cases[i].bytes.p + at, cases[i].bytes.n - at, 2, &out);
			CHECK_INT(cases[i].name, rc, cases[i].content ? 0 : -EBADMSG);
			if (cases[i].content) {
				CHECK_SLICE(cases[i].name, buf_slice(&out), cases[i].content);
				CHECK_INT(cases[i].name, docker_frames_at_edge(&f), cases[i].whole);
			}
			buf_fini(&out);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_splits) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
