/* Which responses are encoded, by what, and that what comes out is what went in. */
#include "check.h"

#include <zlib.h>

#include "http/parse.h"
#include "proxy/compress.h"

static void read_head(bool response, const char *text, struct head *h)
{
	struct head_scan scan = { 0 };
	struct parse_fault fault;
	ssize_t n = response ? parse_response(&scan, text, strlen(text), METHOD_GET, h, &fault)
			     : parse_request(&scan, text, strlen(text), h, &fault);

	if (n <= 0)
		fail_msg("%s: %s", text, fault.why);
}

static const struct {
	const char *accept;
	enum coding want;
} choices[] = {
	{ "", CODING_NONE },
	{ "Accept-Encoding: gzip\r\n", CODING_GZIP },
	{ "Accept-Encoding: x-gzip\r\n", CODING_GZIP },
	{ "Accept-Encoding: GZIP\r\n", CODING_GZIP },
	{ "Accept-Encoding: deflate\r\n", CODING_NONE },
	{ "Accept-Encoding: \r\n", CODING_NONE },
	{ "Accept-Encoding: gzip, br\r\n", CODING_BROTLI },
	{ "Accept-Encoding: gzip;q=1.0, br;q=0.5\r\n", CODING_GZIP },
	{ "Accept-Encoding: gzip;q=0.5, br;q=0.500\r\n", CODING_BROTLI },
	{ "Accept-Encoding: gzip;q=0.501, br;q=0.5\r\n", CODING_GZIP },
	{ "Accept-Encoding: gzip;q=0, br;q=0\r\n", CODING_NONE },
	{ "Accept-Encoding: gzip;q=0\r\n", CODING_NONE },
	{ "Accept-Encoding: gzip;q=0.000\r\n", CODING_NONE },
	{ "Accept-Encoding: gzip ; Q=0.1\r\n", CODING_GZIP },
	{ "Accept-Encoding: *\r\n", CODING_BROTLI },
	{ "Accept-Encoding: *;q=0.1, br;q=0\r\n", CODING_GZIP },
	{ "Accept-Encoding: *;q=0\r\n", CODING_NONE },
	{ "Accept-Encoding: gzip, *;q=0\r\n", CODING_GZIP },
	{ "Accept-Encoding: br;q=0\r\nAccept-Encoding: gzip\r\n", CODING_GZIP },
	{ "Accept-Encoding: gzipped, brotli\r\n", CODING_NONE },
	{ "Accept-Encoding: identity;q=1, gzip;q=0.1\r\n", CODING_GZIP },
};

static void test_choices(void **state)
{
	char text[256];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(choices); i++) {
		enum coding want = choices[i].want;
		struct head h;

		snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: a\r\n%s\r\n",
			 choices[i].accept);
		read_head(false, text, &h);
		if (want == CODING_BROTLI && !coding_is_built(CODING_BROTLI))
			want = CODING_GZIP;
		CHECK_INT(choices[i].accept, compress_choose(&h), want);
	}
}

#define HTML "Content-Type: text/html\r\n"

static const struct {
	const char *name, *method, *asks;
	unsigned status;
	const char *fields;
	bool want;
} responses[] = {
	{ "text", "GET", "", 200, HTML, true },
	{ "an error page", "GET", "", 404, HTML, true },
	{ "an answer to POST", "POST", "", 201, HTML, true },
	{ "parameters and case", "GET", "", 200, "Content-Type: Text/Plain; charset=utf-8\r\n",
	  true },
	{ "JSON", "GET", "", 200, "Content-Type: application/json\r\n", true },
	{ "a suffix", "GET", "", 200, "Content-Type: application/problem+json\r\n", true },
	{ "SVG", "GET", "", 200, "Content-Type: image/svg+xml\r\n", true },
	{ "a picture", "GET", "", 200, "Content-Type: image/png\r\n", false },
	{ "who knows", "GET", "", 200, "Content-Type: application/octet-stream\r\n", false },
	{ "no type", "GET", "", 200, "", false },
	{ "an event stream", "GET", "", 200, "Content-Type: text/event-stream\r\n", false },
	{ "gRPC", "POST", "", 200, "Content-Type: application/grpc+json\r\n", false },
	{ "HEAD", "HEAD", "", 200, HTML, false },
	{ "nothing", "GET", "", 204, HTML, false },
	{ "a part", "GET", "", 206, HTML "Content-Range: bytes 0-9/100\r\n", false },
	{ "not modified", "GET", "", 304, HTML, false },
	{ "large enough", "GET", "", 200, HTML "Content-Length: 256\r\n", true },
	{ "too small", "GET", "", 200, HTML "Content-Length: 255\r\n", false },
	{ "encoded already", "GET", "", 200, HTML "Content-Encoding: gzip\r\n", false },
	{ "not to be transformed", "GET", "", 200,
	  HTML "Cache-Control: max-age=1, No-Transform\r\n", false },
	{ "as the client asks", "GET", "Cache-Control: no-transform\r\n", 200, HTML, false },
	{ "other cache control", "GET", "", 200, HTML "Cache-Control: private\r\n", true },
	{ "a digest", "GET", "", 200, HTML "Content-Digest: sha-256=:x:\r\n", false },
	{ "trailers", "GET", "", 200, HTML "Trailer: X-Sum\r\nTransfer-Encoding: chunked\r\n",
	  false },
};

static void test_responses(void **state)
{
	char text[512], asked[256];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(responses); i++) {
		struct head req, res;

		snprintf(asked, sizeof(asked), "%s / HTTP/1.1\r\nHost: a\r\n%s\r\n",
			 responses[i].method, responses[i].asks);
		read_head(false, asked, &req);
		snprintf(text, sizeof(text), "HTTP/1.1 %u X\r\n%s\r\n", responses[i].status,
			 responses[i].fields);
		read_head(true, text, &res);
		CHECK_INT(responses[i].name, compress_may(&req, &res), responses[i].want);
	}
}

/* What has no room for the words that an encoding takes passes as it is, and is no error. */
static void test_no_room_to_announce(void **state)
{
	static const struct {
		const char *name;
		unsigned fields, tag_bytes;
		bool want;
	} cases[] = {
		{ "room for two fields", 97, 0, true },
		{ "for one", 98, 0, false },
		{ "for none", 99, 0, false },
		{ "a long tag", 0, 510, true },
		{ "too long a tag", 0, 511, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct head req, res;
		char tag[512];

		read_head(false, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", &req);
		read_head(true, "HTTP/1.1 200 X\r\n" HTML "\r\n", &res);
		memset(tag, 'x', sizeof(tag));
		if (cases[i].tag_bytes)
			head_add_other(&res, SLICE("ETag"), slice_of(tag, cases[i].tag_bytes));
		for (unsigned j = 0; j < cases[i].fields; j++)
			assert_true(head_add_other(&res, SLICE("X-Test"), SLICE("y")));
		CHECK_INT(cases[i].name, compress_may(&req, &res), cases[i].want);
	}
}

/* ---- the encoder ---- */

#define CONTENT_BYTES 200000u

static void fill(char *p, size_t n, uint32_t seed)
{
	for (size_t i = 0; i < n; i++) {
		seed = seed * 1664525 + 1013904223;
		/* Runs, words and noise. */
		p[i] = seed >> 28 < 9 ? 'a' : (char)(seed >> 24);
	}
}

struct sink {
	z_stream z;
	char got[CONTENT_BYTES + 1];
	bool ended;
};

static void pour(struct sink *s, struct encoder *e)
{
	struct slice out = encoder_output(e);
	int rc;

	if (out.n == 0)
		return;
	assert_false(s->ended);
	s->z.next_in = (Bytef *)out.p;
	s->z.avail_in = (uInt)out.n;
	rc = inflate(&s->z, Z_SYNC_FLUSH);
	assert_true(rc == Z_OK || rc == Z_STREAM_END);
	assert_int_equal(s->z.avail_in, 0);
	s->ended = rc == Z_STREAM_END;
	encoder_used(e, out.n);
}

static void finish(struct sink *s, struct encoder *e, enum encode_op op)
{
	bool done = false;

	while (!done) {
		assert_int_equal(encoder_step(e, op, NULL, 0, &done), 0);
		pour(s, e);
	}
}

/* Content in random pieces, flushed now and then: each flush makes all of it readable. */
static void round_trip(struct encode_pool *pool, uint32_t seed)
{
	static char content[CONTENT_BYTES];
	static struct sink s;
	struct encoder *e = encoder_open(pool, CODING_GZIP);
	size_t at = 0, n = seed % 5 ? seed * 2654435761u % CONTENT_BYTES : 0;
	bool done;

	assert_non_null(e);
	fill(content, n, seed);
	memset(&s.z, 0, sizeof(s.z));
	s.ended = false;
	inflateInit2(&s.z, 15 + 16);
	s.z.next_out = (Bytef *)s.got;
	s.z.avail_out = sizeof(s.got);
	while (at < n) {
		size_t piece;
		ssize_t taken;

		seed = seed * 1664525 + 1013904223;
		piece = MIN(n - at, 1 + (seed >> 8) % 30000);
		taken = encoder_step(e, ENCODE_TAKE, content + at, piece, &done);
		assert_true(taken >= 0);
		at += (size_t)taken;
		pour(&s, e);
		if (seed >> 30 == 0) {
			finish(&s, e, ENCODE_FLUSH);
			assert_int_equal(s.z.total_out, at);
		}
	}
	finish(&s, e, ENCODE_END);
	assert_true(s.ended);
	assert_int_equal(s.z.total_out, n);
	assert_memory_equal(s.got, content, n);
	inflateEnd(&s.z);
	encoder_close(e);
}

static void test_round_trips(void **state)
{
	struct encode_pool pool;

	(void)state;
	encode_pool_init(&pool, 1u << 20);
	for (uint32_t seed = 1; seed < 60; seed++)
		round_trip(&pool, seed);
	CHECK_INT("one encoder was enough", pool.nidle, 1);
	encode_pool_fini(&pool);
	CHECK_INT("everything was given back", pool.bytes, 0);
}

static void test_memory_is_bounded(void **state)
{
	enum coding other = coding_is_built(CODING_BROTLI) ? CODING_BROTLI : CODING_GZIP;
	struct encoder *all[64];
	struct encode_pool pool;
	size_t n = 0;

	(void)state;
	encode_pool_init(&pool, 3u << 20);
	while (n < ARRAY_LEN(all) && (all[n] = encoder_open(&pool, n % 4 ? CODING_GZIP : other)))
		n++;
	assert_true(n > 4 && n < ARRAY_LEN(all));
	assert_true(pool.bytes <= pool.max_bytes);
	CHECK_INT("refused", pool.refused, 1);
	CHECK_INT("open", pool.open, n);
	while (n)
		encoder_close(all[--n]);
	encode_pool_fini(&pool);
	CHECK_INT("everything was given back", pool.bytes, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_choices),
		cmocka_unit_test(test_responses),
		cmocka_unit_test(test_no_room_to_announce),
		cmocka_unit_test(test_round_trips),
		cmocka_unit_test(test_memory_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
