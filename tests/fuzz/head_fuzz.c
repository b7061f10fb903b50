/* Heads: cut anywhere they mean the same as whole, and what is accepted means the same after it was
 * written again. Byte 0: bit 0 response, bit 1 to a HEAD, the rest where to cut. */
#include <errno.h>

#include "fuzz.h"
#include "http/parse.h"

static ssize_t parse(uint8_t mode, struct head_scan *scan, const char *p, size_t n, struct head *h,
		     struct parse_fault *f)
{
	if (mode & 1)
		return parse_response(scan, p, n, mode & 2 ? METHOD_HEAD : METHOD_GET, h, f);
	return parse_request(scan, p, n, h, f);
}

static bool is_framing(const struct field *f)
{
	return f->id == FIELD_CONNECTION || f->id == FIELD_CONTENT_LENGTH ||
	       f->id == FIELD_TRANSFER_ENCODING || f->id == FIELD_UPGRADE || f->id == FIELD_HOST;
}

static const struct field *next_field(const struct head *h, unsigned *at)
{
	while (*at < h->nfields && is_framing(&h->fields[*at]))
		++*at;
	return *at < h->nfields ? &h->fields[(*at)++] : NULL;
}

static void must_match(const struct head *a, const struct head *b)
{
	unsigned i = 0, j = 0;

	MUST(slice_eq(a->method, b->method) && a->method_id == b->method_id);
	MUST(slice_eq(a->path, b->path) && slice_eq(a->authority, b->authority));
	MUST(slice_eq(a->protocol, b->protocol));
	MUST(a->status == b->status && a->body == b->body && a->keep_alive == b->keep_alive);
	MUST(a->te_trailers == b->te_trailers);
	if (a->body == BODY_LENGTH)
		MUST(a->content_length == b->content_length);
	for (;;) {
		const struct field *x = next_field(a, &i), *y = next_field(b, &j);

		MUST(!x == !y);
		if (!x)
			break;
		MUST(x->id == y->id && slice_eq(x->name, y->name) && slice_eq(x->value, y->value));
	}
}

static void write_again(uint8_t mode, const struct head *h)
{
	static char out[3 * HEAD_MAX_BYTES];
	struct write_framing f = { .body = h->body,
				   .length = h->content_length,
				   .close = !h->keep_alive,
				   .upgrade = h->protocol };
	struct head_scan scan = { 0 };
	struct parse_fault fault;
	struct head again;
	ssize_t n, len;

	/* A request of HTTP/1.0 without Host names no server: it is never passed on. */
	if (!(mode & 1) &&
	    (!h->authority.n || (!h->first[FIELD_HOST] && h->nfields == HEAD_MAX_FIELDS)))
		return;
	n = mode & 1 ? write_response(out, sizeof(out), h, &f)
		     : write_request(out, sizeof(out), h, &f);
	MUST(n > 0);
	len = parse(mode, &scan, out, (size_t)n, &again, &fault);
	if (len < 0 && n > HEAD_MAX_BYTES)
		return;
	if (len < 0 && h->nfields >= HEAD_MAX_FIELDS - 2)
		return;
	MUST(len == n);
	must_match(h, &again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct head_scan scan = { 0 };
	struct parse_fault fault = { 0 }, cut_fault = { 0 };
	static struct head h, cut;
	const char *p = (const char *)data + 1;
	uint32_t seed;
	ssize_t len, rc = 0;

	if (size < 1)
		return 0;
	size--;
	len = parse(data[0], &scan, p, size, &h, &fault);

	seed = data[0];
	scan = (struct head_scan){ 0 };
	for (size_t n = 0; rc == 0; n = MIN(n + 1 + (seed >> 16) % 37, size)) {
		char *exact = malloc(n ? n : 1);

		seed = seed * 1664525 + 1013904223;
		memcpy(exact, p, n);
		rc = parse(data[0], &scan, exact, n, &cut, &cut_fault);
		if (rc > 0) {
			MUST(rc == len);
			must_match(&h, &cut);
		}
		free(exact);
		if (n == size)
			break;
	}
	MUST(rc == len);
	MUST(len != -EBADMSG || (fault.status == cut_fault.status && fault.why == cut_fault.why));
	if (len > 0)
		write_again(data[0], &h);
	return 0;
}
