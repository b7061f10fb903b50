/* The parser against the accept/reject table: every row is a sentence of it, whole and cut at every
 * byte. */
#include "check.h"

#include <errno.h>

#include "http/parse.h"

#define ROW(name, text, status)                      \
	{                                            \
		name, text, sizeof(text) - 1, status \
	}
#define HOST "Host: a.test\r\n"

/* 0 = accepted, else the status to refuse with. */
static const struct row {
	const char *name, *text;
	size_t len;
	unsigned status;
} requests[] = {
	ROW("a plain request", "GET / HTTP/1.1\r\n" HOST "\r\n", 0),
	ROW("four empty lines before it", "\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\n" HOST "\r\n", 0),
	ROW("five empty lines", "\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\n" HOST "\r\n", 400),
	ROW("a lone CR before it", "\rGET / HTTP/1.1\r\n" HOST "\r\n", 400),
	ROW("a lone LF before it", "\nGET / HTTP/1.1\r\n" HOST "\r\n", 400),
	ROW("HTTP/1.0 without Host", "GET / HTTP/1.0\r\n\r\n", 0),
	ROW("an unknown method is a token", "FOO / HTTP/1.1\r\n" HOST "\r\n", 0),
	ROW("an empty value", "GET / HTTP/1.1\r\n" HOST "X:\r\n\r\n", 0),
	ROW("obs-text in a value", "GET / HTTP/1.1\r\n" HOST "X: \xe4\xff\r\n\r\n", 0),
	ROW("tabs around a value", "GET / HTTP/1.1\r\n" HOST "X:\t a\tb \t\r\n\r\n", 0),
	ROW("bare LF after the request line", "GET / HTTP/1.1\n" HOST "\r\n", 400),
	ROW("bare LF after a field", "GET / HTTP/1.1\r\nHost: a.test\n\r\n", 400),
	ROW("bare LF as the empty line", "GET / HTTP/1.1\r\n" HOST "\n", 400),
	ROW("bare CR in the request line", "GET /\rx HTTP/1.1\r\n" HOST "\r\n", 400),
	ROW("bare CR in a value", "GET / HTTP/1.1\r\n" HOST "X: a\rb\r\n\r\n", 400),
	ROW("a folded field", "GET / HTTP/1.1\r\n" HOST "X: a\r\n b\r\n\r\n", 400),
	ROW("a folded Transfer-Encoding", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding:\r\n chunked\r\n\r\n", 400),
	ROW("space before the first field", "GET / HTTP/1.1\r\n Host: a.test\r\n\r\n", 400),
	ROW("space before the colon", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding : chunked\r\n\r\n", 400),
	ROW("tab before the colon", "POST / HTTP/1.1\r\n" HOST "Content-Length\t: 1\r\n\r\n", 400),
	ROW("an empty field name", "GET / HTTP/1.1\r\n" HOST ": x\r\n\r\n", 400),
	ROW("a field without colon", "GET / HTTP/1.1\r\n" HOST "X\r\n\r\n", 400),
	ROW("NUL in a value", "GET / HTTP/1.1\r\n" HOST "X: a\0b\r\n\r\n", 400),
	ROW("NUL in a name", "GET / HTTP/1.1\r\n" HOST "X\0: b\r\n\r\n", 400),
	ROW("DEL in a value", "GET / HTTP/1.1\r\n" HOST "X: \x7f\r\n\r\n", 400),
	ROW("escape in a value", "GET / HTTP/1.1\r\n" HOST "X: \x1b[0m\r\n\r\n", 400),
	ROW("obs-text in a name", "GET / HTTP/1.1\r\n" HOST "X\xe4: a\r\n\r\n", 400),
	ROW("a TLS hello", "\x16\x03\x01\x02\x00\x01", 400),

	ROW("CL and TE", "POST / HTTP/1.1\r\n" HOST "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
	ROW("TE and CL", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n", 400),
	ROW("two equal CL", "POST / HTTP/1.1\r\n" HOST "Content-Length: 3\r\nContent-Length: 3\r\n\r\n", 400),
	ROW("two differing CL", "POST / HTTP/1.1\r\n" HOST "Content-Length: 3\r\nContent-Length: 4\r\n\r\n", 400),
	ROW("a list as CL", "POST / HTTP/1.1\r\n" HOST "Content-Length: 3, 3\r\n\r\n", 400),
	ROW("CL with a sign", "POST / HTTP/1.1\r\n" HOST "Content-Length: +3\r\n\r\n", 400),
	ROW("negative CL", "POST / HTTP/1.1\r\n" HOST "Content-Length: -3\r\n\r\n", 400),
	ROW("hexadecimal CL", "POST / HTTP/1.1\r\n" HOST "Content-Length: 0x3\r\n\r\n", 400),
	ROW("empty CL", "POST / HTTP/1.1\r\n" HOST "Content-Length: \r\n\r\n", 400),
	ROW("CL of 2^63", "POST / HTTP/1.1\r\n" HOST "Content-Length: 9223372036854775808\r\n\r\n", 400),
	ROW("CL of 2^64", "POST / HTTP/1.1\r\n" HOST "Content-Length: 18446744073709551616\r\n\r\n", 400),
	ROW("CL of 2^63-1", "POST / HTTP/1.1\r\n" HOST "Content-Length: 9223372036854775807\r\n\r\n", 0),
	ROW("chunked in any case", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: Chunked\r\n\r\n", 0),
	ROW("TE on HTTP/1.0", "POST / HTTP/1.0\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n", 400),
	ROW("two TE", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
	ROW("chunked twice", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked, chunked\r\n\r\n", 501),
	ROW("gzip, chunked", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip, chunked\r\n\r\n", 501),
	ROW("identity", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: identity\r\n\r\n", 501),
	ROW("xchunked", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: xchunked\r\n\r\n", 501),
	ROW("empty TE", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding:\r\n\r\n", 501),
	ROW("chunked with a parameter", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked;a=b\r\n\r\n", 501),
	ROW("chunked, then gzip", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked, gzip\r\n\r\n", 501),
	ROW("chunked and an empty element", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked,\r\n\r\n", 501),
	ROW("chunked in quotes", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: \"chunked\"\r\n\r\n", 501),
	ROW("two TE that differ", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n", 400),
	ROW("CL and TE by no method that has content", "GET / HTTP/1.1\r\n" HOST "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
	ROW("CL with a space inside", "POST / HTTP/1.1\r\n" HOST "Content-Length: 1 0\r\n\r\n", 400),
	ROW("CL with a point", "POST / HTTP/1.1\r\n" HOST "Content-Length: 1.0\r\n\r\n", 400),
	ROW("vertical tab before chunked", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: \x0b" "chunked\r\n\r\n", 400),

	ROW("no Host", "GET / HTTP/1.1\r\n\r\n", 400),
	ROW("two Hosts", "GET / HTTP/1.1\r\n" HOST HOST "\r\n", 400),
	ROW("two Hosts on 1.0", "GET / HTTP/1.0\r\n" HOST HOST "\r\n", 400),
	ROW("empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", 400),
	ROW("Host with a path", "GET / HTTP/1.1\r\nHost: a.test/x\r\n\r\n", 400),
	ROW("Host with userinfo", "GET / HTTP/1.1\r\nHost: u@a.test\r\n\r\n", 400),
	ROW("Host with a space", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
	ROW("a list of Hosts", "GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", 400),
	ROW("Host with a port", "GET / HTTP/1.1\r\nHost: a.test:8080\r\n\r\n", 0),
	ROW("Host with port 0", "GET / HTTP/1.1\r\nHost: a.test:0\r\n\r\n", 400),
	ROW("Host with port 65536", "GET / HTTP/1.1\r\nHost: a.test:65536\r\n\r\n", 400),
	ROW("Host with an empty port", "GET / HTTP/1.1\r\nHost: a.test:\r\n\r\n", 400),
	ROW("Host with two ports", "GET / HTTP/1.1\r\nHost: a.test:80:80\r\n\r\n", 400),
	ROW("Host is a v6 literal", "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", 0),
	ROW("v6 literal without brackets", "GET / HTTP/1.1\r\nHost: ::1\r\n\r\n", 400),
	ROW("broken v6 literal", "GET / HTTP/1.1\r\nHost: [::g]\r\n\r\n", 400),
	ROW("open v6 literal", "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", 400),
	ROW("junk after a v6 literal", "GET / HTTP/1.1\r\nHost: [::1]x:80\r\n\r\n", 400),

	ROW("Host with a percent", "GET / HTTP/1.1\r\nHost: a%2etest\r\n\r\n", 400),
	ROW("Host with a backslash", "GET / HTTP/1.1\r\nHost: a\\test\r\n\r\n", 400),
	ROW("Host with obs-text", "GET / HTTP/1.1\r\nHost: \xe4.test\r\n\r\n", 400),
	ROW("a signed port", "GET / HTTP/1.1\r\nHost: a.test:+80\r\n\r\n", 400),
	ROW("malformed Host on 1.0", "GET / HTTP/1.0\r\nHost: a b\r\n\r\n", 400),

	ROW("HTTP/2.7", "GET / HTTP/2.7\r\n" HOST "\r\n", 505),
	ROW("HTTP/1.2", "GET / HTTP/1.2\r\n" HOST "\r\n", 505),
	ROW("HTTP/0.9 has no version", "GET /\r\n" HOST "\r\n", 400),
	ROW("the HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\n", 505),
	ROW("lower-case version", "GET / http/1.1\r\n" HOST "\r\n", 400),
	ROW("HTTP/11.1", "GET / HTTP/11.1\r\n" HOST "\r\n", 400),
	ROW("space after the version", "GET / HTTP/1.1 \r\n" HOST "\r\n", 400),
	ROW("two spaces before the target", "GET  / HTTP/1.1\r\n" HOST "\r\n", 400),
	ROW("two spaces before the version", "GET /  HTTP/1.1\r\n" HOST "\r\n", 400),
	ROW("a tab for a space", "GET\t/ HTTP/1.1\r\n" HOST "\r\n", 400),
	ROW("no method", " / HTTP/1.1\r\n" HOST "\r\n", 400),
	ROW("brackets in the method", "G(T / HTTP/1.1\r\n" HOST "\r\n", 400),
	ROW("a method of 33 bytes", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA / HTTP/1.1\r\n" HOST "\r\n", 501),

	ROW("absolute http target", "GET http://b.test/x?y HTTP/1.1\r\n" HOST "\r\n", 0),
	ROW("absolute https target", "GET HTTPS://b.test:443/x HTTP/1.1\r\n" HOST "\r\n", 0),
	ROW("absolute target with userinfo", "GET http://u:p@b.test/ HTTP/1.1\r\n" HOST "\r\n", 400),
	ROW("absolute target without host", "GET http:///x HTTP/1.1\r\n" HOST "\r\n", 400),
	ROW("absolute target, query without path", "GET http://b.test?x HTTP/1.1\r\n" HOST "\r\n", 400),
	ROW("absolute target, other scheme", "GET ftp://b.test/ HTTP/1.1\r\n" HOST "\r\n", 400),
	ROW("absolute target, malformed Host", "GET http://b.test/ HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
	ROW("absolute target, two Hosts", "GET http://b.test/ HTTP/1.1\r\n" HOST HOST "\r\n", 400),
	ROW("absolute target, malformed authority", "GET http://b.test:x/ HTTP/1.1\r\n" HOST "\r\n", 400),
	ROW("absolute target on 1.0", "GET http://b.test/ HTTP/1.0\r\n\r\n", 0),
	ROW("absolute target, one slash", "GET http:/b.test/ HTTP/1.1\r\n" HOST "\r\n", 400),
	ROW("absolute target without Host", "GET http://b.test/ HTTP/1.1\r\n\r\n", 400),
	ROW("CONNECT with an authority", "CONNECT b.test:443 HTTP/1.1\r\n" HOST "\r\n", 0),
	ROW("CONNECT without a port", "CONNECT b.test HTTP/1.1\r\n" HOST "\r\n", 400),
	ROW("CONNECT with a path", "CONNECT / HTTP/1.1\r\n" HOST "\r\n", 400),
	ROW("authority without CONNECT", "GET b.test:443 HTTP/1.1\r\n" HOST "\r\n", 400),
	ROW("CONNECT with an absolute target", "CONNECT http://b.test:443/ HTTP/1.1\r\n" HOST "\r\n", 400),
	ROW("CONNECT *", "CONNECT * HTTP/1.1\r\n" HOST "\r\n", 400),
	ROW("OPTIONS * with more", "OPTIONS *x HTTP/1.1\r\n" HOST "\r\n", 400),
	ROW("OPTIONS *", "OPTIONS * HTTP/1.1\r\n" HOST "\r\n", 0),
	ROW("GET *", "GET * HTTP/1.1\r\n" HOST "\r\n", 400),
	ROW("a fragment", "GET /a#b HTTP/1.1\r\n" HOST "\r\n", 400),
	ROW("raw UTF-8 in the target", "GET /\xc3\xa4 HTTP/1.1\r\n" HOST "\r\n", 400),
	ROW("NUL in the target", "GET /a\0b HTTP/1.1\r\n" HOST "\r\n", 400),
	ROW("a relative target", "GET x HTTP/1.1\r\n" HOST "\r\n", 400),
}, responses[] = {
	ROW("a plain response", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 0),
	ROW("an empty reason", "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", 0),
	ROW("no reason and no space", "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", 0),
	ROW("HTTP/1.0", "HTTP/1.0 200 OK\r\n\r\n", 0),
	ROW("HTTP/2", "HTTP/2.0 200 OK\r\n\r\n", 505),
	ROW("four digits", "HTTP/1.1 2000 OK\r\n\r\n", 400),
	ROW("two digits", "HTTP/1.1 20 OK\r\n\r\n", 400),
	ROW("status 099", "HTTP/1.1 099 OK\r\n\r\n", 400),
	ROW("status 600", "HTTP/1.1 600 OK\r\n\r\n", 400),
	ROW("an empty line first", "\r\nHTTP/1.1 200 OK\r\n\r\n", 400),
	ROW("bare LF", "HTTP/1.1 200 OK\nContent-Length: 0\n\n", 400),
	ROW("a folded field", "HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n", 400),
	ROW("CL and TE", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
	ROW("two CL", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", 400),
	ROW("two CL that differ", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
	ROW("a list as CL", "HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\n", 400),
	ROW("CL with a sign", "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\n", 400),
	ROW("empty CL", "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n", 400),
	ROW("bad CL of a 304", "HTTP/1.1 304 Not Modified\r\nContent-Length: x\r\n\r\n", 400),
	ROW("CL and TE of a 204", "HTTP/1.1 204 No Content\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
	ROW("an unknown coding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
	ROW("identity", "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\n", 501),
	ROW("two TE", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
	ROW("space before the colon", "HTTP/1.1 200 OK\r\nContent-Length : 1\r\n\r\n", 400),
	ROW("NUL in a value", "HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n", 400),
	ROW("bare CR in a value", "HTTP/1.1 200 OK\r\nX: a\rContent-Length: 1\r\n\r\n", 400),
	ROW("no status", "HTTP/1.1 OK\r\n\r\n", 400),
	ROW("two spaces before the status", "HTTP/1.1  200 OK\r\n\r\n", 400),
	ROW("a signed status", "HTTP/1.1 +20 OK\r\n\r\n", 400),
	ROW("HTTP/0.9", "HTTP/0.9 200 OK\r\n\r\n", 505),
	ROW("HTTP/1.2", "HTTP/1.2 200 OK\r\n\r\n", 505),
	ROW("lower case", "http/1.1 200 OK\r\n\r\n", 400),
	ROW("TE on HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
	ROW("control byte in the reason", "HTTP/1.1 200 O\x01K\r\n\r\n", 400),
};

static ssize_t parse(bool response, struct head_scan *scan, const char *p, size_t n, struct head *h,
		     struct parse_fault *fault)
{
	return response ? parse_response(scan, p, n, METHOD_GET, h, fault)
			: parse_request(scan, p, n, h, fault);
}

/* Fed one byte more at a time, from memory of exactly that size: same verdict, and never before it
 * is due. */
static void check_cut(const struct row *r, bool response)
{
	struct head_scan scan = { 0 };
	struct parse_fault fault = { 0 };
	struct head h;
	ssize_t rc = 0;

	for (size_t n = 0; n <= r->len && rc == 0; n++) {
		char *exact = malloc(n ? n : 1);

		memcpy(exact, r->text, n);
		rc = parse(response, &scan, exact, n, &h, &fault);
		free(exact);
		if (rc > 0 && (size_t)rc != r->len)
			fail_msg("%s: accepted %zd of %zu bytes", r->name, rc, r->len);
	}
	if (r->status ? rc != -EBADMSG || fault.status != r->status : rc <= 0)
		fail_msg("%s, byte by byte: got %zd, %u %s, want %u", r->name, rc, fault.status,
			 fault.why, r->status);
}

static void check_rows(const struct row *rows, size_t n, bool response)
{
	for (const struct row *r = rows; r < rows + n; r++) {
		struct head_scan scan = { 0 };
		struct parse_fault fault = { 0 };
		struct head h;
		ssize_t rc = parse(response, &scan, r->text, r->len, &h, &fault);

		if (r->status ? rc != -EBADMSG || fault.status != r->status : rc != (ssize_t)r->len)
			fail_msg("%s: got %zd, %u %s, want %u", r->name, rc, fault.status,
				 fault.why, r->status);
		check_cut(r, response);
	}
}

static void test_requests(void **state)
{
	(void)state;
	check_rows(requests, ARRAY_LEN(requests), false);
}

static void test_responses(void **state)
{
	(void)state;
	check_rows(responses, ARRAY_LEN(responses), true);
}

static void request_ok(struct head *h, const char *text)
{
	struct head_scan scan = { 0 };
	struct parse_fault fault;
	ssize_t rc = parse_request(&scan, text, strlen(text), h, &fault);

	if (rc <= 0)
		fail_msg("%s: %s", text, fault.why);
}

#define assert_slice(s, text)                                                        \
	do {                                                                         \
		struct slice got = (s);                                              \
		if (!slice_eq(got, slice_str(text)))                                 \
			fail_msg("got \"%.*s\", want \"%s\"", SLICE_ARG(got), text); \
	} while (0)

static void test_tables(void **state)
{
	struct head h;

	(void)state;
	request_ok(
		&h,
		"GET /a/b?c=d HTTP/1.1\r\nHOST: A.test:81\r\ncookie: a\r\nX-Own:  v w \r\nCookie: b\r\n\r\n");
	assert_slice(h.method, "GET");
	assert_int_equal(h.method_id, METHOD_GET);
	assert_slice(h.path, "/a/b?c=d");
	assert_slice(h.authority, "A.test:81");
	assert_int_equal(h.minor, 1);
	assert_true(h.keep_alive);
	assert_int_equal(h.body, BODY_NONE);
	assert_int_equal(h.nfields, 4);
	assert_slice(head_field(&h, FIELD_COOKIE)->value, "a");
	assert_slice(head_find(&h, SLICE("x-own"))->value, "v w");
	assert_null(head_find(&h, SLICE("x-other")));
	assert_null(head_field(&h, FIELD_UPGRADE));

	request_ok(&h, "OPTIONS http://b.test:82 HTTP/1.1\r\nHost: a.test\r\n\r\n");
	assert_slice(h.path, "*");
	assert_slice(h.authority, "b.test:82");
	assert_slice(head_field(&h, FIELD_HOST)->value, "b.test:82");
	request_ok(&h, "GET http://b.test HTTP/1.1\r\nHost: a.test\r\n\r\n");
	assert_slice(h.path, "/");
	request_ok(&h, "CONNECT b.test:443 HTTP/1.1\r\nHost: a.test\r\n\r\n");
	assert_slice(h.authority, "b.test:443");
	assert_int_equal(h.path.n, 0);

	request_ok(
		&h,
		"GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n");
	assert_slice(h.protocol, "websocket");
	request_ok(&h, "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n");
	assert_int_equal(h.protocol.n, 0);
	request_ok(
		&h,
		"POST / HTTP/1.1\r\nHost: a\r\nConnection: close, TE\r\nTE: trailers;q=1, trailers\r\n"
		"Expect: 100-Continue\r\nContent-Length: 007\r\n\r\n");
	assert_false(h.keep_alive);
	assert_true(h.te_trailers);
	assert_true(h.expect_continue);
	assert_int_equal(h.body, BODY_LENGTH);
	assert_int_equal(h.content_length, 7);
	request_ok(&h, "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n");
	assert_true(h.keep_alive);
	request_ok(&h, "GET / HTTP/1.0\r\n\r\n");
	assert_false(h.keep_alive);
}

static void test_known_names(void **state)
{
	struct head h;

	(void)state;
	head_init(&h);
	for (int id = FIELD_OTHER + 1; id < FIELD_IDS; id++) {
		struct slice name = field_names[id];
		char folded[32];

		assert_true(name.n > 0 && name.n < sizeof(folded));
		for (size_t i = 0; i < name.n; i++)
			folded[i] = (char)(i % 2 ? name.p[i] & ~0x20 : name.p[i] | 0x20);
		for (size_t i = 0; i < name.n; i++)
			if (name.p[i] == '-')
				folded[i] = '-';
		assert_true(head_add_other(&h, slice_of(folded, name.n), SLICE("v")));
		assert_int_equal(h.fields[h.nfields - 1].id, id);
	}
	assert_true(head_add_other(&h, SLICE("Hosts"), SLICE("v")));
	assert_int_equal(h.fields[h.nfields - 1].id, FIELD_OTHER);
	while (h.nfields < HEAD_MAX_FIELDS)
		assert_true(head_add(&h, FIELD_VIA, SLICE("v")));
	assert_false(head_add(&h, FIELD_VIA, SLICE("v")));
}

/* Status, method of the request, fields → framing of the response (RFC 9112 §6.3). */
static const struct {
	const char *name, *text;
	uint8_t method_id, body;
	bool keep_alive;
} framings[] = {
	{ "length", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", METHOD_GET, BODY_LENGTH, true },
	{ "chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", METHOD_GET,
	  BODY_CHUNKED, true },
	{ "neither", "HTTP/1.1 200 OK\r\n\r\n", METHOD_GET, BODY_UNTIL_CLOSE, false },
	{ "neither but keep-alive", "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n\r\n", METHOD_GET,
	  BODY_UNTIL_CLOSE, false },
	{ "HEAD with length", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", METHOD_HEAD,
	  BODY_NONE, true },
	{ "HEAD with chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", METHOD_HEAD,
	  BODY_NONE, true },
	{ "204", "HTTP/1.1 204 No Content\r\n\r\n", METHOD_GET, BODY_NONE, true },
	{ "304 with length", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", METHOD_GET,
	  BODY_NONE, true },
	{ "100", "HTTP/1.1 100 Continue\r\n\r\n", METHOD_POST, BODY_NONE, true },
	{ "said close", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n",
	  METHOD_GET, BODY_LENGTH, false },
	{ "1.0 with length", "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", METHOD_GET,
	  BODY_LENGTH, false },
	{ "1.0 keep-alive",
	  "HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\n", METHOD_GET,
	  BODY_LENGTH, true },
};

static void test_response_framing(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(framings); i++) {
		struct head_scan scan = { 0 };
		struct parse_fault fault;
		struct head h;
		ssize_t rc = parse_response(&scan, framings[i].text, strlen(framings[i].text),
					    framings[i].method_id, &h, &fault);

		if (rc <= 0 || h.body != framings[i].body || h.keep_alive != framings[i].keep_alive)
			fail_msg("%s: rc %zd body %d keep_alive %d", framings[i].name, rc, h.body,
				 h.keep_alive);
	}
}

/* A request of exactly <total> bytes: one filler field, or a filler target. */
static unsigned sized_request(size_t target_bytes, size_t total, unsigned fields)
{
	struct head_scan scan = { 0 };
	struct parse_fault fault = { 0 };
	char *p = malloc(total + 65536), *at = p;
	struct head h;
	ssize_t rc;

	at += sprintf(at, "GET /");
	memset(at, 'a', target_bytes - 1);
	at += target_bytes - 1;
	at += sprintf(at, " HTTP/1.1\r\nHost: a\r\n");
	for (unsigned i = 0; i < fields; i++)
		at += sprintf(at, "F: v\r\n");
	if (total > (size_t)(at - p) + 7) {
		size_t n = total - (size_t)(at - p) - 7;

		at += sprintf(at, "X: ");
		memset(at, 'x', n);
		at += n;
		at += sprintf(at, "\r\n");
	}
	at += sprintf(at, "\r\n");
	rc = parse_request(&scan, p, (size_t)(at - p), &h, &fault);
	free(p);
	return rc > 0 ? 0 : fault.status;
}

static void test_limits(void **state)
{
	(void)state;
	assert_int_equal(sized_request(HEAD_MAX_TARGET, 0, 0), 0);
	assert_int_equal(sized_request(HEAD_MAX_TARGET + 1, 0, 0), 414);
	assert_int_equal(sized_request(HEAD_MAX_BYTES, 0, 0), 414);
	assert_int_equal(sized_request(1, HEAD_MAX_BYTES, 0), 0);
	assert_int_equal(sized_request(1, HEAD_MAX_BYTES + 1, 0), 431);
	assert_int_equal(sized_request(1, 0, HEAD_MAX_FIELDS - 1), 0);
	assert_int_equal(sized_request(1, 0, HEAD_MAX_FIELDS), 431);
}

static void test_written_heads(void **state)
{
	struct write_framing f = { .body = BODY_LENGTH, .length = 12, .close = true };
	char out[512];
	struct head h;
	ssize_t n;

	(void)state;
	request_ok(
		&h,
		"POST http://b.test/x?y HTTP/1.1\r\nX-A: 1\r\nConnection: X-A, upgrade\r\nContent-Length: 99\r\n"
		"Host: a.test\r\nUpgrade: h2c\r\nset-cookie: q\r\n\r\n");
	n = write_request(out, sizeof(out), &h, &f);
	assert_slice(slice_of(out, (size_t)n),
		     "POST /x?y HTTP/1.1\r\nX-A: 1\r\nHost: b.test\r\nset-cookie: q\r\n"
		     "Content-Length: 12\r\nConnection: close\r\n\r\n");
	for (size_t size = 0; size < (size_t)n; size++)
		assert_int_equal(write_request(out, size, &h, &f), -EMSGSIZE);

	head_init(&h);
	h.status = 101;
	f = (struct write_framing){ .upgrade = SLICE("websocket") };
	n = write_response(out, sizeof(out), &h, &f);
	assert_slice(
		slice_of(out, (size_t)n),
		"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
	f = (struct write_framing){ .te_trailers = true };
	h.method = SLICE("GET");
	h.path = SLICE("/");
	h.authority = SLICE("a");
	n = write_request(out, sizeof(out), &h, &f);
	assert_slice(slice_of(out, (size_t)n),
		     "GET / HTTP/1.1\r\nHost: a\r\nConnection: TE\r\nTE: trailers\r\n\r\n");
	h.status = 299;
	f = (struct write_framing){ .body = BODY_CHUNKED, .keep_alive_10 = true };
	n = write_response(out, sizeof(out), &h, &f);
	assert_slice(
		slice_of(out, (size_t)n),
		"HTTP/1.1 299 Status\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n");

	head_init(&h);
	head_add_other(&h, SLICE("X-Sum"), SLICE("1"));
	head_add(&h, FIELD_CONTENT_LENGTH, SLICE("1"));
	head_add(&h, FIELD_HOST, SLICE("x"));
	n = write_trailers(out, sizeof(out), &h);
	assert_slice(slice_of(out, (size_t)n), "0\r\nX-Sum: 1\r\n\r\n");
}

static void test_chunk_heads(void **state)
{
	static const uint64_t sizes[] = { 1, 9, 10, 15, 16, 255, 256, 65536, UINT64_MAX };
	char out[CHUNK_HEAD_MAX], want[32];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		size_t n = write_chunk_head(out, sizes[i]);

		snprintf(want, sizeof(want), "%llx\r\n", (unsigned long long)sizes[i]);
		assert_slice(slice_of(out, n), want);
	}
}

static const struct {
	const char *name, *text;
	size_t len;
	const char *content; /* NULL: bad */
	unsigned trailers;
} chunked[] = {
#define CHUNKED(name, text, content, trailers)                  \
	{                                                       \
		name, text, sizeof(text) - 1, content, trailers \
	}
	CHUNKED("nothing", "0\r\n\r\n", "", 0),
	CHUNKED("two chunks", "3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n", "abc0123456789", 0),
	CHUNKED("leading zeros", "0003\r\nabc\r\n000\r\n\r\n", "abc", 0),
	CHUNKED("an extension", "3;a=\"b c\";d\r\nabc\r\n0;x\r\n\r\n", "abc", 0),
	CHUNKED("an escape in quotes", "3;a=\"\\\"\\\\;\"\r\nabc\r\n0\r\n\r\n", "abc", 0),
	CHUNKED("an extension without a name", "3;\r\nabc\r\n0\r\n\r\n", NULL, 0),
	CHUNKED("an empty name", "3;=b\r\nabc\r\n0\r\n\r\n", NULL, 0),
	CHUNKED("an empty value", "3;a=\r\nabc\r\n0\r\n\r\n", NULL, 0),
	CHUNKED("open quotes", "3;a=\"b\r\nabc\r\n0\r\n\r\n", NULL, 0),
	CHUNKED("an escaped CR", "3;a=\"\\\r\n\"\r\nabc\r\n0\r\n\r\n", NULL, 0),
	CHUNKED("something behind quotes", "3;a=\"b\"c\r\nabc\r\n0\r\n\r\n", NULL, 0),
	CHUNKED("space before an extension", "3 ;a\r\nabc\r\n0\r\n\r\n", NULL, 0),
	CHUNKED("space in an extension", "3; a\r\nabc\r\n0\r\n\r\n", NULL, 0),
	CHUNKED("obs-text in a name", "3;\xe4\r\nabc\r\n0\r\n\r\n", NULL, 0),
	CHUNKED("a comma for a semicolon", "3,a\r\nabc\r\n0\r\n\r\n", NULL, 0),
	CHUNKED("an empty line before a chunk", "3\r\nabc\r\n\r\n0\r\n\r\n", NULL, 0),
	CHUNKED("a chunk without its end", "3\r\nabc0\r\n\r\n", NULL, 0),
	CHUNKED("NUL in a trailer", "0\r\nX: a\0\r\n\r\n", NULL, 0),
	CHUNKED("a trailer without a colon", "0\r\nX\r\n\r\n", NULL, 0),
	CHUNKED("trailers", "1\r\na\r\n0\r\nX-Sum: 5\r\nY: z\r\n\r\n", "a", 2),
	CHUNKED("no digits", "\r\n", NULL, 0),
	CHUNKED("a sign", "+3\r\nabc\r\n0\r\n\r\n", NULL, 0),
	CHUNKED("0x", "0x3\r\nabc\r\n0\r\n\r\n", NULL, 0),
	CHUNKED("space before the size", " 3\r\nabc\r\n0\r\n\r\n", NULL, 0),
	CHUNKED("space after the size", "3 \r\nabc\r\n0\r\n\r\n", NULL, 0),
	CHUNKED("bare LF after the size", "3\nabc\r\n0\r\n\r\n", NULL, 0),
	CHUNKED("CR without LF after the size", "3\rabc\r\n0\r\n\r\n", NULL, 0),
	CHUNKED("LF in an extension", "3;a\nb\r\nabc\r\n0\r\n\r\n", NULL, 0),
	CHUNKED("CR in an extension", "3;a\rb\r\nabc\r\n0\r\n\r\n", NULL, 0),
	CHUNKED("NUL in an extension", "3;a\0b\r\nabc\r\n0\r\n\r\n", NULL, 0),
	CHUNKED("data longer than its size", "3\r\nabcd\r\n0\r\n\r\n", NULL, 0),
	CHUNKED("data ended by LF", "3\r\nabc\n0\r\n\r\n", NULL, 0),
	CHUNKED("data ended by CR x", "3\r\nabc\rx0\r\n\r\n", NULL, 0),
	CHUNKED("sixteen digits", "1000000000000000\r\n", NULL, 0),
	CHUNKED("a length in trailers", "0\r\nContent-Length: 3\r\n\r\n", NULL, 0),
	CHUNKED("a coding in trailers", "0\r\nX: y\r\nTransfer-Encoding: chunked\r\n\r\n", NULL, 0),
	CHUNKED("a connection option in trailers", "0\r\nConnection: close\r\n\r\n", NULL, 0),
	CHUNKED("bare LF in trailers", "0\r\nX: y\n\r\n", NULL, 0),
	CHUNKED("a folded trailer", "0\r\nX: y\r\n z\r\n\r\n", NULL, 0),
	CHUNKED("space before a trailer's colon", "0\r\nX : y\r\n\r\n", NULL, 0),
};

/* Decodes with <step> more bytes at a time; the bytes not used stay in front, as an inbox keeps
 * them. */
static void check_chunked(size_t i, size_t step)
{
	size_t at = 0, end = 0, content_len = 0, used;
	enum chunk_event e = CHUNK_MORE;
	struct chunk_parser c;
	struct head trailers;
	char content[64];
	struct slice data;
	const char *why = NULL;

	chunk_init(&c);
	while (e != CHUNK_END && e != CHUNK_BAD) {
		e = chunk_next(&c, chunked[i].text + at, end - at, &used, &data, &trailers, &why);
		at += used;
		if (e == CHUNK_DATA) {
			memcpy(content + content_len, data.p, data.n);
			content_len += data.n;
		}
		if (e == CHUNK_MORE && end == chunked[i].len)
			break;
		if (e == CHUNK_MORE)
			end = MIN(end + step, chunked[i].len);
	}
	if (!chunked[i].content) {
		if (e != CHUNK_BAD)
			fail_msg("%s, %zu at a time: event %d", chunked[i].name, step, e);
		return;
	}
	if (e != CHUNK_END || at != chunked[i].len || trailers.nfields != chunked[i].trailers)
		fail_msg("%s, %zu at a time: event %d %s at %zu", chunked[i].name, step, e,
			 why ? why : "", at);
	assert_slice(slice_of(content, content_len), chunked[i].content);
}

static void test_chunked(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(chunked); i++)
		for (size_t step = 1; step <= chunked[i].len; step++)
			check_chunked(i, step);
}

static void test_chunk_limits(void **state)
{
	struct chunk_parser c;
	struct head trailers;
	struct slice data;
	const char *why;
	char text[9000];
	size_t used;

	(void)state;
	memset(text, 'x', sizeof(text));
	memcpy(text, "1;", 2);
	chunk_init(&c);
	assert_int_equal(chunk_next(&c, text, 258, &used, &data, &trailers, &why), CHUNK_MORE);
	assert_int_equal(chunk_next(&c, text + used, 1, &used, &data, &trailers, &why), CHUNK_BAD);

	memcpy(text, "0\r\nX: ", 6);
	chunk_init(&c);
	assert_int_equal(chunk_next(&c, text, 8000, &used, &data, &trailers, &why), CHUNK_MORE);
	assert_int_equal(used, 3);
	assert_int_equal(chunk_next(&c, text + used, 8192, &used, &data, &trailers, &why),
			 CHUNK_BAD);
}

/* How much content of chunks of <size> with an extension of <ext> bytes gets through before it is
 * enough; <max> when all of it does. */
static size_t framed(size_t size, size_t ext, size_t max)
{
	struct chunk_parser c;
	struct head trailers;
	struct slice data;
	const char *why;
	char text[1024];
	size_t total = 0, used, n = (size_t)sprintf(text, "%zx", size);

	if (ext) {
		text[n] = ';';
		memset(text + n + 1, 'x', ext - 1);
		n += ext;
	}
	n += (size_t)sprintf(text + n, "\r\n");
	memset(text + n, 'c', size);
	n += size;
	n += (size_t)sprintf(text + n, "\r\n");
	chunk_init(&c);
	while (total < max) {
		for (size_t at = 0; at < n; at += used) {
			enum chunk_event e = chunk_next(&c, text + at, n - at, &used, &data,
							&trailers, &why);

			if (e == CHUNK_BAD) {
				assert_string_equal(why, "more chunk framing than content");
				return total;
			}
			total += e == CHUNK_DATA ? data.n : 0;
		}
	}
	return max;
}

static void test_chunk_framing(void **state)
{
	(void)state;
	/* Small chunks are what event streams consist of. */
	assert_int_equal(framed(1, 0, 200000), 200000);
	assert_int_equal(framed(1, 14, 200000), 200000);
	assert_int_equal(framed(200, 250, 200000), 200000);
	assert_true(framed(1, 250, 200000) < 80);
	assert_true(framed(1, 40, 200000) < 1000);
}

static void test_authorities(void **state)
{
	static const struct {
		const char *text, *host;
		int rc, port;
	} rows[] = {
		{ NULL, "", -EINVAL, 0 }, /* HTTP/1.0 without Host */
		{ "", "", -EINVAL, 0 },
		{ "a.test", "a.test", 0, 0 },
		{ "a.test:80", "a.test", 0, 80 },
		{ "[::1]", "[::1]", 0, 0 },
		{ "[::1]:8080", "[::1]", 0, 8080 },
		{ "a.test:", "", -EINVAL, 0 },
		{ "a.test:0", "", -EINVAL, 0 },
		{ "a.test:65536", "", -EINVAL, 0 },
		{ "a.test:x", "", -EINVAL, 0 },
		{ ":80", "", -EINVAL, 0 },
		{ "u@a.test", "", -EINVAL, 0 },
		{ "[::1", "", -EINVAL, 0 },
		{ "::1", "", -EINVAL, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const char *name = rows[i].text ? rows[i].text : "none";
		struct slice host;
		uint16_t port = 0;

		CHECK_INT(name, head_split_authority(slice_str(rows[i].text), &host, &port),
			  rows[i].rc);
		if (rows[i].rc)
			continue;
		CHECK_SLICE(name, host, rows[i].host);
		CHECK_INT(name, port, rows[i].port);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_requests),	 cmocka_unit_test(test_responses),
		cmocka_unit_test(test_tables),		 cmocka_unit_test(test_known_names),
		cmocka_unit_test(test_response_framing), cmocka_unit_test(test_limits),
		cmocka_unit_test(test_written_heads),	 cmocka_unit_test(test_chunk_heads),
		cmocka_unit_test(test_chunked),		 cmocka_unit_test(test_chunk_limits),
		cmocka_unit_test(test_chunk_framing),
		cmocka_unit_test(test_authorities),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
