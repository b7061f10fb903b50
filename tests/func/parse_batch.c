/* For test_differential.py: reads cases from standard input, parses each as the messages of one
 * connection and says what it found, a line of JSON a case.
 *
 * A case is a byte that says what it is ('q' requests, 'r' responses to GET, 'h' to HEAD), four bytes
 * of length, the most significant first, and as many bytes of input, behind which the sender closed.
 * The answer is {"messages":[[start line's first word, content in hex],…],"state":…,"why":…} with the
 * messages that are complete. The state is where it ended: "end" between messages, "head", "body",
 * "trailers", "tunnel", "closed" after a last message, or "rejected". */
#include <stdio.h>
#include <stdlib.h>

#include "../fuzz/walk.h"

#define MAX_CASE (1u << 20)

static const char *const states[] = {
	[WALK_END] = "end",	      [WALK_HEAD] = "head",	    [WALK_BODY] = "body",
	[WALK_TRAILERS] = "trailers", [WALK_BAD_HEAD] = "rejected", [WALK_BAD_BODY] = "rejected",
};

static void report(const struct walk *w, bool first)
{
	printf("%s[\"", first ? "" : ",");
	if (w->responses)
		printf("%u", w->h.status);
	else
		printf("%.*s", SLICE_ARG(w->h.method));
	printf("\",\"");
	for (size_t i = 0; i < w->content_n; i++)
		printf("%02x", (uint8_t)w->content[i]);
	printf("\"]");
}

/* Where it ends. */
static const char *read_all(struct walk *w)
{
	for (bool first = true;; first = false) {
		enum walk_event e = walk_next(w);
		bool interim = w->responses && w->h.status < 200;

		if (e != WALK_MESSAGE)
			return states[e];
		if (interim && w->h.status == 101) {
			w->why = "nobody asked for an upgrade";
			return "rejected";
		}
		report(w, first);
		if (!w->responses && (w->h.method_id == METHOD_CONNECT || w->h.protocol.n))
			return "tunnel";
		if (!w->h.keep_alive && !interim)
			return "closed";
	}
}

int main(void)
{
	char *text = malloc(MAX_CASE);
	uint8_t prefix[5];

	while (fread(prefix, 1, sizeof(prefix), stdin) == sizeof(prefix)) {
		size_t n = (size_t)prefix[1] << 24 | (size_t)prefix[2] << 16 |
			   (size_t)prefix[3] << 8 | prefix[4];
		const char *state;
		struct walk w;

		if (n > MAX_CASE || fread(text, 1, n, stdin) != n) {
			fprintf(stderr, "a cut case\n");
			return 1;
		}
		walk_init(&w, text, n, prefix[0] != 'q');
		w.method_id = prefix[0] == 'h' ? METHOD_HEAD : METHOD_GET;
		printf("{\"messages\":[");
		state = read_all(&w);
		printf("],\"state\":\"%s\",\"why\":\"%s\"}\n", state, w.why ? w.why : "");
		walk_fini(&w);
	}
	free(text);
	return 0;
}
