/* Header blocks against RFC 9113, section 8: every row is a sentence of it. */
#include "check.h"

#include <errno.h>

#include "http/h2_head.h"

/* A block as text: each name ends with \1, each value with \2. */
#define P(name, value) name "\1" value "\2"
#define GET_ P(":method", "GET") P(":scheme", "https") P(":path", "/")
#define GET GET_ P(":authority", "a.test")
#define POST P(":method", "POST") P(":scheme", "https") P(":path", "/") P(":authority", "a.test")
#define CONNECT P(":method", "CONNECT")
#define WEBSOCKET CONNECT P(":protocol", "websocket") P(":scheme", "https") P(":path", "/chat")
#define ROW(name, text, last, why)                      \
	{                                               \
		name, text, sizeof(text) - 1, last, why \
	}

struct row {
	const char *name, *text;
	size_t n;
	bool last;
	const char *why; /* NULL: accepted */
};

static const struct row requests[] = {
	ROW("a plain request", GET, true, NULL),
	ROW("pseudo-header fields in any order",
	    P(":path", "/") P(":authority", "a.test") P(":scheme", "https") P(":method", "GET"), true,
	    NULL),
	ROW("Host instead of :authority", GET_ P("host", "a.test"), true, NULL),
	ROW("Host beside the same :authority", GET P("host", "A.test"), true, NULL),
	ROW("an unknown method", P(":method", "FOO") P(":scheme", "https") P(":path", "/") P(":authority", "a.test"), true, NULL),
	ROW("OPTIONS *", P(":method", "OPTIONS") P(":scheme", "https") P(":path", "*") P(":authority", "a.test"), true, NULL),
	ROW("TE: trailers", GET P("te", "trailers"), true, NULL),
	ROW("an empty value", GET P("x", ""), true, NULL),
	ROW("obs-text in a value", GET P("x", "\xe4"), true, NULL),
	ROW("a tab inside a value", GET P("x", "a\tb"), true, NULL),
	ROW("content of unknown length", POST, false, NULL),
	ROW("content of known length", POST P("content-length", "3"), false, NULL),
	ROW("no content said by its length", POST P("content-length", "0"), true, NULL),
	ROW("CONNECT", CONNECT P(":authority", "a.test:443"), false, NULL),
	ROW("extended CONNECT", WEBSOCKET P(":authority", "a.test"), false, NULL),
	ROW("a port", GET_ P(":authority", "a.test:8443"), true, NULL),
	ROW("an IPv6 literal", GET_ P(":authority", "[::1]:8443"), true, NULL),

	ROW("no fields at all", "", true, "malformed :method"),
	ROW("no :method", P(":scheme", "https") P(":path", "/") P(":authority", "a.test"), true, "malformed :method"),
	ROW("an empty :method", P(":method", "") P(":scheme", "https") P(":path", "/") P(":authority", "a.test"), true, "malformed :method"),
	ROW("a space in :method", P(":method", "GET /x") P(":scheme", "https") P(":path", "/") P(":authority", "a.test"), true, "malformed :method"),
	ROW("no :scheme", P(":method", "GET") P(":path", "/") P(":authority", "a.test"), true, "no :scheme or no :path"),
	ROW("no :path", P(":method", "GET") P(":scheme", "https") P(":authority", "a.test"), true, "no :scheme or no :path"),
	ROW("an empty :path", P(":method", "GET") P(":scheme", "https") P(":path", "") P(":authority", "a.test"), true, "malformed :path"),
	ROW("a relative :path", P(":method", "GET") P(":scheme", "https") P(":path", "x") P(":authority", "a.test"), true, "malformed :path"),
	ROW("an absolute :path", P(":method", "GET") P(":scheme", "https") P(":path", "https://b.test/") P(":authority", "a.test"), true, "malformed :path"),
	ROW("a space in :path", P(":method", "GET") P(":scheme", "https") P(":path", "/ HTTP/1.1") P(":authority", "a.test"), true, "malformed :path"),
	ROW("a fragment in :path", P(":method", "GET") P(":scheme", "https") P(":path", "/#x") P(":authority", "a.test"), true, "malformed :path"),
	ROW("obs-text in :path", P(":method", "GET") P(":scheme", "https") P(":path", "/\xe4") P(":authority", "a.test"), true, "malformed :path"),
	ROW("CR LF in :path", P(":method", "GET") P(":scheme", "https") P(":path", "/\r\nX: y") P(":authority", "a.test"), true, "bad byte in a pseudo-header field"),
	ROW("* without OPTIONS", P(":method", "GET") P(":scheme", "https") P(":path", "*") P(":authority", "a.test"), true, "malformed :path"),
	ROW("a scheme we do not serve", P(":method", "GET") P(":scheme", "ftp") P(":path", "/") P(":authority", "a.test"), true, "scheme other than http and https"),
	ROW("CR LF in :scheme", P(":method", "GET") P(":scheme", "https\r\n") P(":path", "/") P(":authority", "a.test"), true, "bad byte in a pseudo-header field"),
	ROW("neither :authority nor Host", GET_, true, "no :authority"),
	ROW("an empty :authority", GET_ P(":authority", ""), true, "malformed :authority"),
	ROW("user information in :authority", GET_ P(":authority", "u@a.test"), true, "malformed :authority"),
	ROW("a path in :authority", GET_ P(":authority", "a.test/x"), true, "malformed :authority"),
	ROW("Host that differs from :authority", GET P("host", "b.test"), true, "Host is not what :authority says"),
	ROW("Host with a port that :authority lacks", GET P("host", "a.test:443"), true, "Host is not what :authority says"),
	ROW("two Hosts", GET_ P("host", "a.test") P("host", "a.test"), true, "two Host fields"),
	ROW("two :method", P(":method", "GET") GET, true, "the same pseudo-header field twice"),
	ROW("two :path", GET P(":path", "/"), true, "the same pseudo-header field twice"),
	ROW("two :authority", GET P(":authority", "a.test"), true, "the same pseudo-header field twice"),
	ROW("an unknown pseudo-header field", GET P(":x", "y"), true, "pseudo-header field that has no place here"),
	ROW(":status in a request", GET P(":status", "200"), true, "pseudo-header field that has no place here"),
	ROW("a pseudo-header field in upper case", P(":Method", "GET"), true, "pseudo-header field that has no place here"),
	ROW("a pseudo-header field after a field", P(":method", "GET") P(":scheme", "https") P("x", "y") P(":path", "/") P(":authority", "a.test"), true, "pseudo-header field after a field"),
	ROW("an upper case name", GET P("X-Y", "z"), true, "bad byte in a field name"),
	ROW("an empty name", GET P("", "z"), true, "bad byte in a field name"),
	ROW("a space in a name", GET P("x y", "z"), true, "bad byte in a field name"),
	ROW("a colon in a name", GET P("x:y", "z"), true, "bad byte in a field name"),
	ROW("CR LF in a name", GET P("x\r\ny", "z"), true, "bad byte in a field name"),
	ROW("NUL in a name", GET P("x\0y", "z"), true, "bad byte in a field name"),
	ROW("obs-text in a name", GET P("x\xe4", "z"), true, "bad byte in a field name"),
	ROW("CR LF in a value", GET P("x", "y\r\nz: 1"), true, "bad byte in a field value"),
	ROW("a lone LF in a value", GET P("x", "y\nz"), true, "bad byte in a field value"),
	ROW("a lone CR in a value", GET P("x", "y\rz"), true, "bad byte in a field value"),
	ROW("NUL in a value", GET P("x", "y\0z"), true, "bad byte in a field value"),
	ROW("DEL in a value", GET P("x", "y\x7f"), true, "bad byte in a field value"),
	ROW("a space before a value", GET P("x", " y"), true, "bad byte in a field value"),
	ROW("a tab after a value", GET P("x", "y\t"), true, "bad byte in a field value"),
	ROW("Connection", GET P("connection", "close"), true, "connection-specific field"),
	ROW("Keep-Alive", GET P("keep-alive", "timeout=5"), true, "connection-specific field"),
	ROW("Proxy-Connection", GET P("proxy-connection", "close"), true, "connection-specific field"),
	ROW("Transfer-Encoding", POST P("transfer-encoding", "chunked"), false, "connection-specific field"),
	ROW("Upgrade", GET P("upgrade", "websocket"), true, "connection-specific field"),
	ROW("TE other than trailers", GET P("te", "trailers, deflate"), true, "TE other than trailers"),
	ROW("two equal Content-Lengths", POST P("content-length", "3") P("content-length", "3"), false, "two Content-Length fields"),
	ROW("a list as Content-Length", POST P("content-length", "3, 3"), false, "malformed Content-Length"),
	ROW("a sign before Content-Length", POST P("content-length", "+3"), false, "malformed Content-Length"),
	ROW("an empty Content-Length", POST P("content-length", ""), false, "malformed Content-Length"),
	ROW("Content-Length of 2^63", POST P("content-length", "9223372036854775808"), false, "malformed Content-Length"),
	ROW("Content-Length without content", POST P("content-length", "3"), true, "Content-Length without content"),
	ROW("CONNECT with :path", CONNECT P(":path", "/") P(":authority", "a.test:443"), false, "CONNECT with :scheme or :path"),
	ROW("CONNECT with :scheme", CONNECT P(":scheme", "https") P(":authority", "a.test:443"), false, "CONNECT with :scheme or :path"),
	ROW("CONNECT without :authority", CONNECT P("host", "a.test:443"), false, "no :authority"),
	ROW("CONNECT without a port", CONNECT P(":authority", "a.test"), false, "CONNECT without a port"),
	ROW(":protocol without CONNECT", GET P(":protocol", "websocket"), false, "malformed :protocol"),
	ROW("an empty :protocol", CONNECT P(":protocol", "") P(":scheme", "https") P(":path", "/") P(":authority", "a.test"), false, "malformed :protocol"),
	ROW("a list as :protocol", CONNECT P(":protocol", "a, h2c") P(":scheme", "https") P(":path", "/") P(":authority", "a.test"), false, "malformed :protocol"),
	ROW("extended CONNECT without :path", CONNECT P(":protocol", "websocket") P(":scheme", "https") P(":authority", "a.test"), false, "no :scheme or no :path"),
	ROW("extended CONNECT without :authority", WEBSOCKET P("host", "a.test"), false, "no :authority"),
};

static const struct row responses[] = {
	ROW("a plain response", P(":status", "200"), false, NULL),
	ROW("100", P(":status", "100"), false, NULL),
	ROW("a length that is not followed, to HEAD", P(":status", "200") P("content-length", "5"), true, NULL),
	ROW("no :status", P("x", "y"), true, "no :status"),
	ROW("two :status", P(":status", "200") P(":status", "200"), true, "the same pseudo-header field twice"),
	ROW("two digits", P(":status", "20"), true, "malformed :status"),
	ROW("a status with a word", P(":status", "200 OK"), true, "malformed :status"),
	ROW("a status out of range", P(":status", "600"), true, "malformed :status"),
	ROW("101", P(":status", "101"), false, "101 in HTTP/2"),
	ROW(":method in a response", P(":status", "200") P(":method", "GET"), true, "pseudo-header field that has no place here"),
	ROW("Connection", P(":status", "200") P("connection", "close"), true, "connection-specific field"),
};

static const struct row trailers[] = {
	ROW("a trailer", P("grpc-status", "0"), true, NULL),
	ROW("none", "", true, NULL),
	ROW("a pseudo-header field", P(":status", "200"), true, "pseudo-header field that has no place here"),
	ROW("an upper case name", P("X", "0"), true, "bad byte in a field name"),
	ROW("Transfer-Encoding", P("transfer-encoding", "chunked"), true, "connection-specific field"),
	ROW("more content after them", P("x", "0"), false, "trailers that do not end the stream"),
};

static char text[65536], more[65536];

/* Adds <row>, in a text of <size> bytes that moves to a larger one when it is full. */
static int feed(struct h2_head_in *in, enum h2_block block, struct head *h, const struct row *row,
		size_t size, uint8_t method_id)
{
	struct slice rest = slice_of(row->text, row->n);
	bool moved = false;
	int rc;

	h2_head_begin(in, block, h, text, size);
	while (rest.n) {
		struct slice name = slice_split(rest, '\1', &rest);
		struct slice value = slice_split(rest, '\2', &rest);

		while (h2_head_add(in, name, value) == -ENOBUFS) {
			CHECK_INT(row->name, moved, false);
			moved = true;
			h2_head_move(in, more, sizeof(more));
			memset(text, '#', sizeof(text));
		}
	}
	while ((rc = h2_head_end(in, row->last, method_id)) == -ENOBUFS) {
		CHECK_INT(row->name, moved, false);
		moved = true;
		h2_head_move(in, more, sizeof(more));
		memset(text, '#', sizeof(text));
	}
	return rc;
}

static void check_rows(enum h2_block block, const struct row *rows, size_t n, uint8_t method_id)
{
	struct h2_head_in in;
	struct head h;

	for (size_t i = 0; i < n; i++) {
		for (size_t size = 0; size < 600; size += 37) {
			int rc = feed(&in, block, &h, &rows[i], size, method_id);

			CHECK_INT(rows[i].name, rc, rows[i].why ? -EBADMSG : 0);
			CHECK_STR(rows[i].name, in.fault.why ? in.fault.why : "",
				  rows[i].why ? rows[i].why : "");
			CHECK_INT(rows[i].name, in.fault.status, 0);
		}
	}
}

static void test_requests(void **state)
{
	(void)state;
	check_rows(H2_REQUEST, requests, ARRAY_LEN(requests), 0);
}

static void test_responses(void **state)
{
	(void)state;
	check_rows(H2_RESPONSE, responses, ARRAY_LEN(responses), METHOD_HEAD);
}

static void test_trailers(void **state)
{
	(void)state;
	check_rows(H2_TRAILERS, trailers, ARRAY_LEN(trailers), 0);
}

static const struct {
	const char *name;
	struct row row;
	uint8_t method_id, body;
} bodies[] = {
	{ "a GET", ROW("", GET, true, NULL), 0, BODY_NONE },
	{ "unknown length", ROW("", POST, false, NULL), 0, BODY_CHUNKED },
	{ "known length", ROW("", POST P("content-length", "3"), false, NULL), 0, BODY_LENGTH },
	{ "length 0, the end to come", ROW("", POST P("content-length", "0"), false, NULL), 0, BODY_LENGTH },
};

static void test_bodies(void **state)
{
	struct h2_head_in in;
	struct head h;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
		CHECK_INT(bodies[i].name, feed(&in, H2_REQUEST, &h, &bodies[i].row, 600, 0), 0);
		CHECK_INT(bodies[i].name, h.body, bodies[i].body);
	}
}

static void test_request_table(void **state)
{
	static const struct row row =
		ROW("", P(":method", "PUT") P(":scheme", "https") P(":path", "/x?y")
		    P(":authority", "a.test:1") P("expect", "100-Continue") P("te", "Trailers")
		    P("x-thing", "1") P("content-length", "7"), false, NULL);
	struct h2_head_in in;
	struct head h;

	(void)state;
	for (size_t size = 0; size < 200; size++) {
		assert_int_equal(feed(&in, H2_REQUEST, &h, &row, size, 0), 0);
		assert_int_equal(h.method_id, METHOD_PUT);
		CHECK_SLICE("method", h.method, "PUT");
		CHECK_SLICE("scheme", h.scheme, "https");
		CHECK_SLICE("path", h.path, "/x?y");
		CHECK_SLICE("authority", h.authority, "a.test:1");
		CHECK_SLICE("a field", head_find(&h, SLICE("X-Thing"))->value, "1");
		assert_true(h.expect_continue && h.te_trailers && h.has_length && h.keep_alive);
		assert_int_equal(h.content_length, 7);
		assert_int_equal(h.minor, 1);
		assert_int_equal(h.protocol.n, 0);
	}
}

static const struct {
	const char *name;
	struct row row;
	const char *cookie;
	unsigned nfields;
} cookies[] = {
	{ "one", ROW("", GET P("cookie", "a=1"), true, NULL), "a=1", 1 },
	{ "three in a row", ROW("", GET P("cookie", "a=1") P("cookie", "b=2") P("cookie", "c=3"), true, NULL), "a=1; b=2; c=3", 1 },
	{ "with a field between", ROW("", GET P("cookie", "a=1") P("x", "y") P("cookie", "b=2") P("cookie", "c=3") P("accept", "z"), true, NULL), "a=1; b=2; c=3", 3 },
};

static void test_cookies(void **state)
{
	struct h2_head_in in;
	struct head h;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cookies); i++) {
		for (size_t size = 0; size < 200; size++) {
			CHECK_INT(cookies[i].name, feed(&in, H2_REQUEST, &h, &cookies[i].row, size, 0), 0);
			CHECK_SLICE(cookies[i].name, head_field(&h, FIELD_COOKIE)->value,
				    cookies[i].cookie);
			CHECK_INT(cookies[i].name, h.nfields, cookies[i].nfields);
			if (head_field(&h, FIELD_ACCEPT))
				CHECK_SLICE(cookies[i].name, head_field(&h, FIELD_ACCEPT)->value, "z");
		}
	}
}

/* What is well-formed but too much gets an answer, and costs no memory. */
static void test_limits(void **state)
{
	static char value[HEAD_MAX_BYTES];
	struct h2_head_in in;
	struct head h;

	(void)state;
	memset(value, 'v', sizeof(value));
	h2_head_begin(&in, H2_REQUEST, &h, text, sizeof(text));
	for (int i = 0; i < 200; i++)
		assert_int_equal(h2_head_add(&in, SLICE("x"), SLICE("y")), 0);
	assert_int_equal(h2_head_end(&in, true, 0), -EBADMSG);
	assert_int_equal(in.fault.status, 431);
	assert_int_equal(in.list_bytes, 200 * 34);

	h2_head_begin(&in, H2_REQUEST, &h, text, 64);
	for (int i = 0; i < 3; i++)
		assert_int_equal(h2_head_add(&in, SLICE("x"), slice_of(value, sizeof(value))), 0);
	assert_int_equal(in.fault.status, 431);
	assert_int_equal(in.used, 0);
	assert_int_equal(in.list_bytes, 3 * (sizeof(value) + 33));

	value[0] = '/';
	h2_head_begin(&in, H2_REQUEST, &h, text, sizeof(text));
	assert_int_equal(h2_head_add(&in, SLICE(":method"), SLICE("GET")), 0);
	assert_int_equal(h2_head_add(&in, SLICE(":scheme"), SLICE("https")), 0);
	assert_int_equal(h2_head_add(&in, SLICE(":authority"), SLICE("a.test")), 0);
	assert_int_equal(h2_head_add(&in, SLICE(":path"), slice_of(value, HEAD_MAX_TARGET + 1)), 0);
	assert_int_equal(h2_head_end(&in, true, 0), -EBADMSG);
	assert_int_equal(in.fault.status, 414);
}

static void check_out(const char *name, const struct h2_head_out *out, const char *want)
{
	char got[2048];
	size_t n = 0;

	for (size_t i = 0; i < out->n; i++)
		n += (size_t)snprintf(got + n, sizeof(got) - n, "%.*s=%.*s|", (int)out->nv[i].namelen,
				      (char *)out->nv[i].name, (int)out->nv[i].valuelen,
				      (char *)out->nv[i].value);
	got[n] = '\0';
	CHECK_STR(name, got, want);
}

static void test_out(void **state)
{
	struct write_framing f = { .body = BODY_LENGTH, .length = 1234567890123 };
	struct h2_head_out out;
	struct head h;

	(void)state;
	head_init(&h);
	h.status = 404;
	head_add(&h, FIELD_CONTENT_TYPE, SLICE("text/plain"));
	head_add(&h, FIELD_CONTENT_LENGTH, SLICE("9"));
	head_add(&h, FIELD_CONNECTION, SLICE("close"));
	head_add(&h, FIELD_TRANSFER_ENCODING, SLICE("chunked"));
	head_add(&h, FIELD_KEEP_ALIVE, SLICE("timeout=1"));
	head_add_other(&h, SLICE("x"), SLICE(""));
	h2_head_response(&out, &h, &f);
	check_out("response", &out,
		  ":status=404|Content-Type=text/plain|x=|content-length=1234567890123|");
	f.body = BODY_NONE;
	h2_head_response(&out, &h, &f);
	check_out("response without length", &out, ":status=404|Content-Type=text/plain|x=|");

	head_init(&h);
	h.method = SLICE("POST");
	h.method_id = METHOD_POST;
	h.path = SLICE("/p");
	h.authority = SLICE("a.test");
	head_add(&h, FIELD_HOST, SLICE("a.test"));
	head_add(&h, FIELD_TE, SLICE("deflate"));
	h.te_trailers = true;
	h2_head_request(&out, &h, &f);
	check_out("request", &out,
		  ":method=POST|:scheme=http|:path=/p|:authority=a.test|te=trailers|");
	h.protocol = SLICE("websocket");
	h.te_trailers = false;
	h2_head_request(&out, &h, &f);
	check_out("extended CONNECT", &out,
		  ":method=CONNECT|:scheme=http|:path=/p|:authority=a.test|:protocol=websocket|");

	head_init(&h);
	head_add_other(&h, SLICE("grpc-status"), SLICE("0"));
	head_add(&h, FIELD_CONTENT_LENGTH, SLICE("3"));
	head_add(&h, FIELD_SET_COOKIE, SLICE("a=1"));
	h2_head_trailers(&out, &h);
	check_out("trailers", &out, "grpc-status=0|");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_requests),      cmocka_unit_test(test_responses),
		cmocka_unit_test(test_trailers),      cmocka_unit_test(test_bodies),
		cmocka_unit_test(test_request_table), cmocka_unit_test(test_cookies),
		cmocka_unit_test(test_limits),	      cmocka_unit_test(test_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
