/* Chunked content: cut anywhere it decodes to the same bytes and the same verdict, and survives
 * being written again. Byte 0 says where to cut. */

#include "fuzz.h"
#include "http/parse.h"

struct outcome {
	enum chunk_event last;
	char *content;
	size_t len, used;
	unsigned trailers;
	const char *why;
};

/* Feeds <p> in pieces of 1 to <most> bytes behind what was not used, as an inbox does. */
static void decode(const char *p, size_t n, uint32_t seed, uint32_t most, struct outcome *o)
{
	struct chunk_parser c;
	static struct head trailers;
	struct slice data;
	size_t end = most ? 0 : n, used;

	*o = (struct outcome){ .last = CHUNK_MORE, .content = malloc(n + 1) };
	chunk_init(&c);
	for (;;) {
		char *exact = malloc(end - o->used + 1);

		memcpy(exact, p + o->used, end - o->used);
		trailers.nfields = 0;
		o->last = chunk_next(&c, exact, end - o->used, &used, &data, &trailers, &o->why);
		MUST(used <= end - o->used);
		if (o->last == CHUNK_DATA) {
			MUST(data.n > 0 && data.p + data.n == exact + used);
			memcpy(o->content + o->len, data.p, data.n);
			o->len += data.n;
		}
		free(exact);
		o->used += used;
		if (o->last == CHUNK_END || o->last == CHUNK_BAD ||
		    (o->last == CHUNK_MORE && end == n))
			break;
		if (o->last == CHUNK_MORE) {
			seed = seed * 1664525 + 1013904223;
			end = MIN(n, end + 1 + (seed >> 16) % most);
		}
	}
	o->trailers = trailers.nfields;
}

static void write_again(const struct outcome *o, uint32_t seed)
{
	char *text = malloc(o->len * (CHUNK_HEAD_MAX + 3) + 16), *at = text;
	struct outcome again;

	for (size_t i = 0; i < o->len;) {
		size_t n;

		seed = seed * 1664525 + 1013904223;
		n = MIN(o->len - i, 1 + seed % 300);
		at += write_chunk_head(at, n);
		memcpy(at, o->content + i, n);
		at += n;
		memcpy(at, "\r\n", 2);
		at += 2;
		i += n;
	}
	at += write_trailers(at, 16, NULL);
	decode(text, (size_t)(at - text), seed, 50, &again);
	MUST(again.last == CHUNK_END && again.len == o->len &&
	     memcmp(again.content, o->content, o->len) == 0);
	free(again.content);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct outcome whole, cut;

	if (size < 1)
		return 0;
	decode((const char *)data + 1, size - 1, 0, 0, &whole);
	decode((const char *)data + 1, size - 1, data[0], 1 + data[0] % 40, &cut);
	MUST(whole.last == cut.last && whole.len == cut.len && whole.trailers == cut.trailers);
	MUST(memcmp(whole.content, cut.content, whole.len) == 0);
	MUST(whole.last != CHUNK_BAD || whole.why == cut.why);
	if (whole.last == CHUNK_END) {
		MUST(whole.used == cut.used);
		write_again(&whole, data[0]);
	}
	free(whole.content);
	free(cut.content);
	return 0;
}
