#include "control/log_wish.h"

#include <errno.h>
#include <string.h>

#include "base/text.h"
#include "reactor/loop.h"

#define TAIL_DEFAULT 100

static bool is_true(struct api_request *r, const char *name)
{
	char text[16];

	if (api_query(r, name, text, sizeof(text)))
		return false;
	return !strcmp(text, "true") || !strcmp(text, "1") || !*text;
}

static int bad_query(struct api_request *r, const char *text)
{
	reply_problem(r, 400, "Invalid Query", text);
	return -EINVAL;
}

/* -EINVAL has been answered. */
static int want_since(struct api_request *r, struct log_wish *w)
{
	uint64_t ms;
	char text[64];

	if (api_query(r, "since", text, sizeof(text)))
		return 0;
	if (!text_parse_duration(slice_str(text), &ms))
		w->opt.since_ms = loop_wall_ms() - MIN(ms, loop_wall_ms() - 1);
	else if (text_parse_time(slice_str(text), &w->opt.since_ms))
		return bad_query(
			r, "since: expected a time as 2026-03-04T12:00:00Z, or a duration as 10m");
	text_time(w->opt.since_ms, true, w->since);
	w->since[strlen(w->since) - 1] = '\0'; /* lines have more digits before the "Z" */
	return 0;
}

static int want_texts(struct api_request *r, struct log_wish *w)
{
	static const char *const names[] = { "grep", "replica", "node" };
	char *const to[] = { w->grep, w->replica, w->node };
	const size_t sizes[] = { sizeof(w->grep), sizeof(w->replica), sizeof(w->node) };
	uint64_t n;
	char text[64];

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		int rc = api_query(r, names[i], to[i], sizes[i]);

		if (rc && rc != -ENOENT)
			return bad_query(r, "grep, replica, node: too long, or badly encoded");
	}
	if (!api_query(r, "release", text, sizeof(text))) {
		if (slice_u64(slice_str(text), &n) || !n || n > UINT32_MAX)
			return bad_query(r, "release: expected its number");
		w->release = (uint32_t)n;
	}
	return 0;
}

int log_wish_parse(struct log_wish *w, struct api_request *r)
{
	uint64_t tail;
	char text[64];

	w->opt.follow = is_true(r, "follow");
	w->opt.timestamps = is_true(r, "timestamps");
	if (want_since(r, w) || want_texts(r, w))
		return -EINVAL;
	w->opt.tail = w->grep[0] ? UINT32_MAX : TAIL_DEFAULT;
	if (!api_query(r, "tail", text, sizeof(text))) {
		if (strcmp(text, "all") == 0)
			w->opt.tail = UINT32_MAX;
		else if (slice_u64(slice_str(text), &tail) || tail >= UINT32_MAX)
			return bad_query(r, "tail: expected a number of lines, or all");
		else
			w->opt.tail = (uint32_t)tail;
	}
	return 0;
}
