/* Writing heads, chunk lines and trailers from their tables. */
#include "http/fields.h"

#include <errno.h>

struct out {
	char *p, *end;
	bool full;
};

/* Names and values are short: in blocks of a fixed size, the last one overlapping, they cost half
 * of a call. */
static inline char *copy(char *to, const char *p, size_t n)
{
	char *end = to + n;

	if (n >= 16) {
		const char *last = p + n - 16;

		for (; p < last; p += 16, to += 16)
			memcpy(to, p, 16);
		memcpy(end - 16, last, 16);
	} else if (n >= 8) {
		memcpy(to, p, 8);
		memcpy(end - 8, p + n - 8, 8);
	} else if (n >= 4) {
		memcpy(to, p, 4);
		memcpy(end - 4, p + n - 4, 4);
	} else if (n) {
		to[0] = p[0];
		to[n / 2] = p[n / 2];
		end[-1] = p[n - 1];
	}
	return end;
}

static inline void put(struct out *o, const char *p, size_t n)
{
	if ((size_t)(o->end - o->p) < n)
		o->full = true;
	else
		o->p = copy(o->p, p, n);
}

#define PUT_LIT(o, lit) put(o, lit, sizeof(lit) - 1)

static inline void put_field(struct out *o, struct slice name, struct slice value)
{
	size_t n = name.n + value.n + 4;
	char *p = o->p;

	if ((size_t)(o->end - p) < n) {
		o->full = true;
		return;
	}
	p = copy(p, name.p, name.n);
	*p++ = ':';
	*p++ = ' ';
	p = copy(p, value.p, value.n);
	*p++ = '\r';
	*p++ = '\n';
	o->p = p;
}

static void put_u64(struct out *o, uint64_t v)
{
	char digits[20];
	size_t at = sizeof(digits);

	do
		digits[--at] = (char)('0' + v % 10);
	while (v /= 10);
	put(o, digits + at, sizeof(digits) - at);
}

static bool is_framing(uint8_t id)
{
	return id == FIELD_CONNECTION || id == FIELD_CONTENT_LENGTH ||
	       id == FIELD_TRANSFER_ENCODING || id == FIELD_UPGRADE;
}

static void put_fields(struct out *o, const struct head *h)
{
	for (unsigned i = 0; i < h->nfields; i++)
		if (!is_framing(h->fields[i].id))
			put_field(o, h->fields[i].name, h->fields[i].value);
}

static ssize_t finish(struct out *o, const char *start, const struct write_framing *f)
{
	if (f->body == BODY_LENGTH) {
		PUT_LIT(o, "Content-Length: ");
		put_u64(o, f->length);
		PUT_LIT(o, "\r\n");
	} else if (f->body == BODY_CHUNKED) {
		PUT_LIT(o, "Transfer-Encoding: chunked\r\n");
	}
	if (f->upgrade.n) {
		put_field(o, SLICE("Connection"),
			  f->close ? SLICE("Upgrade, close") : SLICE("Upgrade"));
		put_field(o, SLICE("Upgrade"), f->upgrade);
	} else if (f->te_trailers) {
		PUT_LIT(o, "Connection: TE\r\nTE: trailers\r\n");
	} else if (f->close) {
		PUT_LIT(o, "Connection: close\r\n");
	} else if (f->keep_alive_10) {
		PUT_LIT(o, "Connection: keep-alive\r\n");
	}
	PUT_LIT(o, "\r\n");
	return o->full ? -EMSGSIZE : o->p - start;
}

ssize_t write_request(char *out, size_t size, const struct head *h, const struct write_framing *f)
{
	struct out o = { .p = out, .end = out + size };

	put(&o, h->method.p, h->method.n);
	PUT_LIT(&o, " ");
	if (h->method_id == METHOD_CONNECT)
		put(&o, h->authority.p, h->authority.n);
	else
		put(&o, h->path.p, h->path.n);
	PUT_LIT(&o, " HTTP/1.1\r\n");
	if (!h->first[FIELD_HOST])
		put_field(&o, SLICE("Host"), h->authority);
	put_fields(&o, h);
	return finish(&o, out, f);
}

ssize_t write_response(char *out, size_t size, const struct head *h, const struct write_framing *f)
{
	struct out o = { .p = out, .end = out + size };
	struct slice reason = status_reason(h->status);

	PUT_LIT(&o, "HTTP/1.1 ");
	put_u64(&o, h->status);
	PUT_LIT(&o, " ");
	put(&o, reason.p, reason.n);
	PUT_LIT(&o, "\r\n");
	put_fields(&o, h);
	return finish(&o, out, f);
}

/* Fields that would change what the message means after it was acted on (RFC 9110 §6.5.1). */
bool field_barred_from_trailers(uint8_t id)
{
	return is_framing(id) || id == FIELD_HOST || id == FIELD_TE || id == FIELD_TRAILER ||
	       id == FIELD_EXPECT || id == FIELD_AUTHORIZATION || id == FIELD_COOKIE ||
	       id == FIELD_SET_COOKIE || id == FIELD_CONTENT_TYPE || id == FIELD_CONTENT_ENCODING ||
	       id == FIELD_KEEP_ALIVE || id == FIELD_PROXY_CONNECTION;
}

ssize_t write_trailers(char *out, size_t size, const struct head *trailers)
{
	struct out o = { .p = out, .end = out + size };

	PUT_LIT(&o, "0\r\n");
	for (unsigned i = 0; trailers && i < trailers->nfields; i++)
		if (!field_barred_from_trailers(trailers->fields[i].id))
			put_field(&o, trailers->fields[i].name, trailers->fields[i].value);
	PUT_LIT(&o, "\r\n");
	return o.full ? -EMSGSIZE : o.p - out;
}

size_t write_chunk_head(char out[CHUNK_HEAD_MAX], uint64_t n)
{
	unsigned digits = (67u - (unsigned)__builtin_clzll(n | 1)) / 4;

	for (unsigned i = digits; i > 0; i--, n >>= 4)
		out[i - 1] = "0123456789abcdef"[n & 15];
	out[digits] = '\r';
	out[digits + 1] = '\n';
	return digits + 2;
}
