/* For test_differential.py: reads cases from standard input, parses each as the messages of one
 * connection and says what it found, a line of JSON a case.
 *
 * A case is a byte that says what it is ('q' requests, 'r' responses to GET, 'h' to HEAD), four bytes
 * of length, the most significant first, and as many bytes of input, behind which the sender closed.
 * The answer is {"state":…,"why":…,"messages":[[start line's first word, content in hex],…]} with the
 * messages that are complete. The state is where it ended: "end" between messages, "head", "body",
 * "trailers", "tunnel", "closed" after a last message, or "rejected". */
#include <stdio.h>
#include <stdlib.h>

#include "http/parse.h"

#define MAX_CASE (1u << 20)

struct walk {
	const char *p, *end;
	char kind;
	struct head h;
	const char *content; /* of the message in progress, decoded */
	char *decoded;
	size_t content_n;
	const char *why;
	unsigned messages;
};

/* "body", "trailers" or "rejected"; NULL: the content is complete. */
static const char *chunked(struct walk *w)
{
	struct chunk_parser c;
	struct head trailers;
	struct slice data;
	size_t used;

	chunk_init(&c);
	w->content = w->decoded;
	for (;;) {
		switch (chunk_next(&c, w->p, (size_t)(w->end - w->p), &used, &data, &trailers,
				   &w->why)) {
		case CHUNK_DATA:
			memcpy(w->decoded + w->content_n, data.p, data.n);
			w->content_n += data.n;
			break;
		case CHUNK_END: w->p += used; return NULL;
		case CHUNK_MORE: return c.trailer_bytes ? "trailers" : "body";
		default: return "rejected";
		}
		w->p += used;
	}
}

static const char *content(struct walk *w)
{
	size_t left = (size_t)(w->end - w->p);

	w->content_n = 0;
	w->content = w->p;
	switch (w->h.body) {
	case BODY_CHUNKED: return chunked(w);
	case BODY_LENGTH:
		if (left < w->h.content_length)
			return "body";
		w->content_n = (size_t)w->h.content_length;
		break;
	case BODY_UNTIL_CLOSE: w->content_n = left; break;
	default: break;
	}
	w->p += w->content_n;
	return NULL;
}

static ssize_t head(struct walk *w)
{
	struct head_scan scan = { 0 };
	struct parse_fault fault;
	size_t n = (size_t)(w->end - w->p);
	ssize_t len = w->kind == 'q' ? parse_request(&scan, w->p, n, &w->h, &fault)
				     : parse_response(&scan, w->p, n,
						      w->kind == 'h' ? METHOD_HEAD : METHOD_GET,
						      &w->h, &fault);

	if (len < 0)
		w->why = fault.why;
	return len;
}

static void report(struct walk *w)
{
	printf("%s[\"", w->messages++ ? "," : "");
	if (w->kind == 'q')
		printf("%.*s", SLICE_ARG(w->h.method));
	else
		printf("%u", w->h.status);
	printf("\",\"");
	for (size_t i = 0; i < w->content_n; i++)
		printf("%02x", (uint8_t)w->content[i]);
	printf("\"]");
}

static bool is_interim(const struct walk *w)
{
	return w->kind != 'q' && w->h.status < 200;
}

/* Where it ends. */
static const char *walk(struct walk *w)
{
	while (w->p < w->end) {
		ssize_t len = head(w);
		const char *state;

		if (len <= 0)
			return len < 0 ? "rejected" : "head";
		if (w->kind != 'q' && w->h.status == 101) {
			w->why = "nobody asked for an upgrade";
			return "rejected";
		}
		w->p += len;
		state = content(w);
		if (state)
			return state;
		report(w);
		if (w->kind == 'q' && (w->h.method_id == METHOD_CONNECT || w->h.protocol.n))
			return "tunnel";
		if (!w->h.keep_alive && !is_interim(w))
			return "closed";
	}
	return "end";
}

int main(void)
{
	char *text = malloc(MAX_CASE), *decoded = malloc(MAX_CASE);
	uint8_t prefix[5];

	while (fread(prefix, 1, sizeof(prefix), stdin) == sizeof(prefix)) {
		size_t n = (size_t)prefix[1] << 24 | (size_t)prefix[2] << 16 |
			   (size_t)prefix[3] << 8 | prefix[4];
		struct walk w = {
			.p = text, .end = text + n, .kind = (char)prefix[0], .decoded = decoded
		};
		const char *state;

		if (n > MAX_CASE || fread(text, 1, n, stdin) != n) {
			fprintf(stderr, "a cut case\n");
			return 1;
		}
		printf("{\"messages\":[");
		state = walk(&w);
		printf("],\"state\":\"%s\",\"why\":\"%s\"}\n", state, w.why ? w.why : "");
	}
	free(text);
	free(decoded);
	return 0;
}
