/* Start lines and what the fields of a head mean together: target, Host, framing, connection
 * options. */
#include "http/fields.h"

#include <errno.h>

#define MAX_BLANK_BYTES 8 /* four CRLFs before a request line (RFC 9112 §2.2) */

static struct slice slice_span(const char *p, const char *end)
{
	return slice_of(p, (size_t)(end - p));
}

uint8_t method_lookup(struct slice m)
{
	static const struct {
		struct slice name;
		uint8_t id;
	} known[] = {
		{ { "GET", 3 }, METHOD_GET },	      { { "POST", 4 }, METHOD_POST },
		{ { "HEAD", 4 }, METHOD_HEAD },	      { { "PUT", 3 }, METHOD_PUT },
		{ { "DELETE", 6 }, METHOD_DELETE },   { { "PATCH", 5 }, METHOD_PATCH },
		{ { "OPTIONS", 7 }, METHOD_OPTIONS }, { { "TRACE", 5 }, METHOD_TRACE },
		{ { "CONNECT", 7 }, METHOD_CONNECT },
	};

	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		if (slice_eq(m, known[i].name))
			return known[i].id;
	return METHOD_OTHER;
}

/* "HTTP/1.1" at p[0..8): only 1.0 and 1.1 are spoken here. */
static int parse_version(const char *p, size_t n, struct head *h, struct parse_fault *fault)
{
	if (n != 8 || memcmp(p, "HTTP/", 5) != 0 || p[5] < '0' || p[5] > '9' || p[6] != '.' ||
	    p[7] < '0' || p[7] > '9')
		return parse_reject(fault, 400, "malformed HTTP version");
	if (p[5] != '1' || p[7] > '1')
		return parse_reject(fault, 505, "HTTP version not supported");
	h->minor = (uint8_t)(p[7] - '0');
	return 0;
}

/* "http://host[:port]/path": the authority replaces Host (RFC 9112 §3.2.2). */
static int parse_absolute(struct slice target, size_t scheme_len, struct head *h,
			  struct parse_fault *fault)
{
	const char *p = target.p + scheme_len + strlen("://");
	const char *end = target.p + target.n;
	const char *host = p;

	while (p < end && *p != '/' && *p != '?')
		p++;
	h->scheme = slice_of(target.p, scheme_len);
	h->authority = slice_span(host, p);
	if (p == end)
		h->path = h->method_id == METHOD_OPTIONS ? SLICE("*") : SLICE("/");
	else if (*p == '/')
		h->path = slice_span(p, end);
	else
		return parse_reject(fault, 400, "absolute target without a path");
	return 0;
}

static int parse_target(struct slice target, struct head *h, struct parse_fault *fault)
{
	if (target.n == 0)
		return parse_reject(fault, 400, "no request target");
	if (h->method_id == METHOD_CONNECT) {
		h->authority = target;
		return 0;
	}
	if (target.p[0] == '/') {
		h->path = target;
		return 0;
	}
	if (target.n == 1 && target.p[0] == '*') {
		h->path = target;
		if (h->method_id != METHOD_OPTIONS)
			return parse_reject(fault, 400, "asterisk target without OPTIONS");
		return 0;
	}
	if (target.n > 7 && slice_eq_nocase(slice_of(target.p, 7), SLICE("http://")))
		return parse_absolute(target, 4, h, fault);
	if (target.n > 8 && slice_eq_nocase(slice_of(target.p, 8), SLICE("https://")))
		return parse_absolute(target, 5, h, fault);
	return parse_reject(fault, 400, "malformed request target");
}

/* The request line, [p, end) without its CRLF. */
static int parse_request_line(const char *p, const char *end, struct head *h,
			      struct parse_fault *fault)
{
	const char *word = p;
	struct slice target;
	int rc;

	while (byte_is(*p, CLASS_TOKEN))
		p++;
	h->method = slice_span(word, p);
	if (p == word || *p != ' ')
		return parse_reject(fault, 400, "malformed method");
	if (h->method.n > METHOD_MAX_BYTES)
		return parse_reject(fault, 501, "method too long");
	h->method_id = method_lookup(h->method);

	word = ++p;
	while (byte_is(*p, CLASS_TARGET))
		p++;
	target = slice_span(word, p);
	if (target.n > HEAD_MAX_TARGET)
		return parse_reject(fault, 414, "request target too long");
	if (*p != ' ')
		return parse_reject(fault, 400,
				    p == end ? "no HTTP version"
					     : "bad byte in the request target");
	p++;
	rc = parse_version(p, (size_t)(end - p), h, fault);
	if (rc == 0)
		rc = parse_target(target, h, fault);
	return rc;
}

/* Host: exactly one on HTTP/1.1, host[:port]; an authority in the target wins over it (RFC 9112
 * §3.2). */
static int settle_host(struct head *h, bool host_twice, struct parse_fault *fault)
{
	struct field *f = h->first[FIELD_HOST] ? &h->fields[h->first[FIELD_HOST] - 1] : NULL;
	struct slice host;
	uint16_t port;

	if (host_twice)
		return parse_reject(fault, 400, "two Host fields");
	if (!f && h->minor >= 1)
		return parse_reject(fault, 400, "no Host field");
	if (f && head_split_authority(f->value, &host, &port) < 0)
		return parse_reject(fault, 400, "malformed Host");
	if (!h->authority.p) {
		if (f)
			h->authority = f->value;
		return 0;
	}
	if (head_split_authority(h->authority, &host, &port) < 0 ||
	    (h->method_id == METHOD_CONNECT && port == 0))
		return parse_reject(fault, 400, "malformed authority in the target");
	if (f)
		f->value = h->authority;
	return 0;
}

/* Where the body ends, or that there is none: RFC 9112 §6.3 without its tolerated cases. <status>
 * is 0 for a request; <method_id> is that of the request. */
static int decide_body(struct head *h, unsigned status, uint8_t method_id, uint64_t twice,
		       struct parse_fault *fault)
{
	const struct field *te = head_field(h, FIELD_TRANSFER_ENCODING);
	const struct field *cl = head_field(h, FIELD_CONTENT_LENGTH);

	if (te && cl)
		return parse_reject(fault, 400, "both Transfer-Encoding and Content-Length");
	if (te && h->minor == 0)
		return parse_reject(fault, 400, "Transfer-Encoding on HTTP/1.0");
	if (te && (twice & 1ull << FIELD_TRANSFER_ENCODING))
		return parse_reject(fault, 400, "two Transfer-Encoding fields");
	if (te && !slice_eq_nocase(te->value, SLICE("chunked")))
		return parse_reject(fault, 501, "transfer coding other than chunked");
	if (cl && (twice & 1ull << FIELD_CONTENT_LENGTH))
		return parse_reject(fault, 400, "two Content-Length fields");
	if (cl && (slice_u64(cl->value, &h->content_length) < 0 || h->content_length > INT64_MAX))
		return parse_reject(fault, 400, "malformed Content-Length");
	h->has_length = cl;

	if (status && (status < 200 || status == 204 || status == 304 || method_id == METHOD_HEAD))
		h->body = BODY_NONE;
	else if (te)
		h->body = BODY_CHUNKED;
	else if (cl)
		h->body = BODY_LENGTH;
	else
		h->body = status ? BODY_UNTIL_CLOSE : BODY_NONE;
	return 0;
}

/* Connection, TE, Expect, Upgrade: what they ask of this hop. */
static void settle_options(struct head *h)
{
	const struct field *upgrade = head_field(h, FIELD_UPGRADE);
	const struct field *expect = head_field(h, FIELD_EXPECT);

	h->keep_alive = h->minor >= 1;
	if (h->first[FIELD_CONNECTION]) {
		if (head_has_token(h, FIELD_CONNECTION, SLICE("close")))
			h->keep_alive = false;
		else if (h->minor == 0)
			h->keep_alive = head_has_token(h, FIELD_CONNECTION, SLICE("keep-alive"));
		/* An upgrade offered with content is ignored, which RFC 9110 §7.8 always allows. */
		if (upgrade && h->minor >= 1 && h->body == BODY_NONE &&
		    head_has_token(h, FIELD_CONNECTION, SLICE("upgrade")))
			h->protocol = upgrade->value;
	}
	if (h->body == BODY_UNTIL_CLOSE)
		h->keep_alive = false;
	if (h->first[FIELD_TE])
		h->te_trailers = head_has_token(h, FIELD_TE, SLICE("trailers"));
	h->expect_continue = expect && h->minor >= 1 && h->body != BODY_NONE &&
			     slice_eq_nocase(expect->value, SLICE("100-continue"));
}

/* The end of the head that starts at p[0]; also refuses early what can never become one. */
static ssize_t find_end(struct head_scan *scan, const char *p, size_t n, struct parse_fault *fault)
{
	ssize_t len;

	if (n > 0 && !byte_is(p[0], CLASS_TOKEN))
		return parse_reject(fault, 400, "not HTTP");
	len = fields_end(&scan->seen, p, n, HEAD_MAX_BYTES);
	if (len == -EBADMSG)
		return parse_reject(fault, 400, "bare LF");
	if (len == -EMSGSIZE)
		return memchr(p, '\n', HEAD_MAX_BYTES)
			       ? parse_reject(fault, 431, "head too large")
			       : parse_reject(fault, 414, "start line too long");
	return len;
}

ssize_t parse_request(struct head_scan *scan, const char *p, size_t n, struct head *h,
		      struct parse_fault *fault)
{
	size_t blank = 0;
	const char *line_end;
	uint64_t twice;
	ssize_t len;
	int rc;

	while (blank < MAX_BLANK_BYTES && blank + 1 < n && p[blank] == '\r' && p[blank + 1] == '\n')
		blank += 2;
	if (n == blank || (n == blank + 1 && p[blank] == '\r' && blank < MAX_BLANK_BYTES))
		return 0;
	p += blank;
	len = find_end(scan, p, n - blank, fault);
	if (len <= 0)
		return len;

	head_init(h);
	line_end = memchr(p, '\r', (size_t)len);
	if (line_end[1] != '\n')
		return parse_reject(fault, 400, "bare CR");
	rc = parse_request_line(p, line_end, h, fault);
	if (rc == 0)
		rc = fields_parse(line_end + 2, p + len - 2, h, &twice, fault);
	if (rc == 0)
		rc = decide_body(h, 0, h->method_id, twice, fault);
	if (rc == 0)
		rc = settle_host(h, twice & 1ull << FIELD_HOST, fault);
	if (rc < 0)
		return rc;
	settle_options(h);
	return len + (ssize_t)blank;
}

/* "HTTP/1.1 200 OK" without its CRLF; the reason is not kept. */
static int parse_status_line(const char *p, const char *end, struct head *h,
			     struct parse_fault *fault)
{
	unsigned status = 0;
	int rc;

	if (end - p < 12 || p[8] != ' ')
		return parse_reject(fault, 400, "malformed status line");
	rc = parse_version(p, 8, h, fault);
	if (rc < 0)
		return rc;
	p += 9;
	for (int i = 0; i < 3; i++, p++) {
		if (*p < '0' || *p > '9')
			return parse_reject(fault, 400, "malformed status");
		status = status * 10 + (unsigned)(*p - '0');
	}
	if (status < 100 || status > 599)
		return parse_reject(fault, 400, "status out of range");
	h->status = (uint16_t)status;
	/* A missing space before an empty reason is common and harmless. */
	if (p < end && *p != ' ')
		return parse_reject(fault, 400, "malformed status");
	for (; p < end; p++)
		if (!byte_is(*p, CLASS_VALUE))
			return parse_reject(fault, 400, "control byte in the reason");
	return 0;
}

ssize_t parse_response(struct head_scan *scan, const char *p, size_t n, uint8_t method_id,
		       struct head *h, struct parse_fault *fault)
{
	ssize_t len = find_end(scan, p, n, fault);
	const char *line_end;
	uint64_t twice;
	int rc;

	if (len <= 0)
		return len;
	head_init(h);
	line_end = memchr(p, '\r', (size_t)len);
	if (line_end[1] != '\n')
		return parse_reject(fault, 400, "bare CR");
	rc = parse_status_line(p, line_end, h, fault);
	if (rc == 0)
		rc = fields_parse(line_end + 2, p + len - 2, h, &twice, fault);
	if (rc == 0)
		rc = decide_body(h, h->status, method_id, twice, fault);
	if (rc < 0)
		return rc;
	settle_options(h);
	return len;
}
