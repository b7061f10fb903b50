/* Pairs of a header block into the table, checked; the table into pairs. */
#include "http/h2_head.h"

#include <errno.h>

#include "http/fields.h"

#define FIELD_OVERHEAD 32 /* RFC 9113 §6.5.2 */

enum { METHOD = 1, SCHEME = 2, AUTHORITY = 4, PATH = 8, PROTOCOL = 16, STATUS = 32 };

static const struct {
	struct slice name;
	uint8_t bit;
	uint8_t block;
} pseudos[] = {
	{ { ":method", 7 }, METHOD, H2_REQUEST },	 { { ":scheme", 7 }, SCHEME, H2_REQUEST },
	{ { ":authority", 10 }, AUTHORITY, H2_REQUEST }, { { ":path", 5 }, PATH, H2_REQUEST },
	{ { ":protocol", 9 }, PROTOCOL, H2_REQUEST },	 { { ":status", 7 }, STATUS, H2_RESPONSE },
};

static void reject(struct h2_head_in *in, uint16_t status, const char *why)
{
	if (!in->fault.why)
		in->fault = (struct parse_fault){ .status = status, .why = why };
}

static void malformed(struct h2_head_in *in, const char *why)
{
	reject(in, 0, why);
}

/* ---- in: bytes ---- */

void h2_head_begin(struct h2_head_in *in, enum h2_block block, struct head *h, char *text,
		   size_t size)
{
	*in = (struct h2_head_in){ .h = h, .text = text, .size = (uint32_t)size, .block = block };
	head_init(h);
	h->keep_alive = true;
}

static void move_slice(struct slice *s, const struct h2_head_in *in, char *text)
{
	if (s->p >= in->text && s->p < in->text + in->size)
		s->p = text + (s->p - in->text);
}

void h2_head_move(struct h2_head_in *in, char *text, size_t size)
{
	struct head *h = in->h;

	memcpy(text, in->text, in->used);
	move_slice(&h->method, in, text);
	move_slice(&h->scheme, in, text);
	move_slice(&h->authority, in, text);
	move_slice(&h->path, in, text);
	move_slice(&h->protocol, in, text);
	for (unsigned i = 0; i < h->nfields; i++) {
		move_slice(&h->fields[i].name, in, text);
		move_slice(&h->fields[i].value, in, text);
	}
	in->text = text;
	in->size = (uint32_t)size;
}

static bool has_room(const struct h2_head_in *in, size_t n)
{
	return in->size - in->used >= n;
}

static struct slice keep(struct h2_head_in *in, struct slice s)
{
	char *p = in->text + in->used;

	if (s.n)
		memcpy(p, s.p, s.n);
	in->used += (uint32_t)s.n;
	return slice_of(p, s.n);
}

static bool all_of(struct slice s, uint8_t class)
{
	for (size_t i = 0; i < s.n; i++)
		if (!byte_is(s.p[i], class))
			return false;
	return true;
}

/* RFC 9113 §8.2.1, and as narrow as HTTP/1 is here: a token in lower case. */
static bool is_name(struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!byte_is(s.p[i], CLASS_TOKEN) || (s.p[i] >= 'A' && s.p[i] <= 'Z'))
			return false;
	return s.n > 0;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static bool is_value(struct slice s)
{
	if (s.n && (is_blank(s.p[0]) || is_blank(s.p[s.n - 1])))
		return false;
	return all_of(s, CLASS_VALUE);
}

/* ---- in: pseudo-header fields ---- */

static void set_status(struct h2_head_in *in, struct slice value)
{
	uint64_t status = 0;

	if (value.n != 3 || slice_u64(value, &status) < 0 || status < 100 || status > 599)
		malformed(in, "malformed :status");
	else if (status == 101)
		malformed(in, "101 in HTTP/2");
	in->h->status = (uint16_t)status;
}

static void set_pseudo(struct h2_head_in *in, uint8_t bit, struct slice value)
{
	struct head *h = in->h;

	switch (bit) {
	case METHOD: h->method = keep(in, value); break;
	case SCHEME: h->scheme = keep(in, value); break;
	case AUTHORITY: h->authority = keep(in, value); break;
	case PATH: h->path = keep(in, value); break;
	case PROTOCOL: h->protocol = keep(in, value); break;
	default: set_status(in, value);
	}
}

static void add_pseudo(struct h2_head_in *in, struct slice name, struct slice value)
{
	for (size_t i = 0; i < ARRAY_LEN(pseudos); i++) {
		if (pseudos[i].block != in->block || !slice_eq(name, pseudos[i].name))
			continue;
		if (in->regular)
			malformed(in, "pseudo-header field after a field");
		else if (in->pseudo & pseudos[i].bit)
			malformed(in, "the same pseudo-header field twice");
		else if (!is_value(value))
			malformed(in, "bad byte in a pseudo-header field");
		else
			set_pseudo(in, pseudos[i].bit, value);
		in->pseudo |= pseudos[i].bit;
		return;
	}
	malformed(in, "pseudo-header field that has no place here");
}

/* ---- in: fields ---- */

/* RFC 9113 §8.2.2 */
static bool is_connection_specific(enum field_id id)
{
	return id == FIELD_CONNECTION || id == FIELD_KEEP_ALIVE || id == FIELD_PROXY_CONNECTION ||
	       id == FIELD_TRANSFER_ENCODING || id == FIELD_UPGRADE;
}

/* Crumbs that follow each other are one value at once; others wait for the end (§8.2.3). */
static bool join_crumb(struct h2_head_in *in, struct slice value)
{
	struct field *last = in->h->nfields ? &in->h->fields[in->h->nfields - 1] : NULL;

	if (!last || last->id != FIELD_COOKIE)
		return false;
	keep(in, SLICE("; "));
	keep(in, value);
	last->value.n += value.n + 2;
	return true;
}

static void add_field(struct h2_head_in *in, enum field_id id, struct slice name,
		      struct slice value)
{
	bool added;

	if (id == FIELD_COOKIE && in->block == H2_REQUEST) {
		if (join_crumb(in, value))
			return;
		in->ncookies++;
	}
	if ((id == FIELD_HOST || id == FIELD_CONTENT_LENGTH) && in->h->first[id])
		malformed(in, id == FIELD_HOST ? "two Host fields" : "two Content-Length fields");
	value = keep(in, value);
	added = id ? head_add(in->h, id, value) : head_add_other(in->h, keep(in, name), value);
	if (!added)
		reject(in, 431, "too many fields");
}

static void check_field(struct h2_head_in *in, enum field_id id, struct slice name,
			struct slice value)
{
	if (!is_name(name))
		malformed(in, "bad byte in a field name");
	else if (!is_value(value))
		malformed(in, "bad byte in a field value");
	else if (is_connection_specific(id))
		malformed(in, "connection-specific field");
	else if (id == FIELD_TE && !slice_eq_nocase(value, SLICE("trailers")))
		malformed(in, "TE other than trailers");
}

int h2_head_add(struct h2_head_in *in, struct slice name, struct slice value)
{
	size_t bytes = name.n + value.n + FIELD_OVERHEAD;
	enum field_id id;

	/* One pair is at most 64 KiB here, and who sums up 4 GiB is gone long before. */
	if (in->list_bytes + bytes > HEAD_MAX_BYTES)
		reject(in, 431, "head too large");
	if (!in->fault.why && !has_room(in, name.n + value.n + 2))
		return -ENOBUFS;
	in->list_bytes += (uint32_t)bytes;
	if (in->fault.why)
		return 0;
	if (name.n && name.p[0] == ':') {
		add_pseudo(in, name, value);
		return 0;
	}
	in->regular = true;
	id = field_lookup(name);
	check_field(in, id, name, value);
	if (!in->fault.why)
		add_field(in, id, name, value);
	return 0;
}

/* ---- in: what the pairs mean together ---- */

static bool is_pseudo_set(const struct h2_head_in *in, uint8_t bits)
{
	return (in->pseudo & bits) == bits;
}

/* The Host field says the same as :authority, or stands in for it (§8.3.1). */
static void settle_authority(struct h2_head_in *in)
{
	struct head *h = in->h;
	const struct field *host = head_field(h, FIELD_HOST);
	struct slice name;
	uint16_t port;

	if (!is_pseudo_set(in, AUTHORITY)) {
		if (!host || h->method_id == METHOD_CONNECT) {
			malformed(in, "no :authority");
			return;
		}
		h->authority = host->value;
	} else if (host && !slice_eq_nocase(host->value, h->authority)) {
		malformed(in, "Host is not what :authority says");
	}
	if (head_split_authority(h->authority, &name, &port) < 0)
		malformed(in, "malformed :authority");
	else if (h->method_id == METHOD_CONNECT && !h->protocol.p && port == 0)
		malformed(in, "CONNECT without a port");
}

static void settle_path(struct h2_head_in *in)
{
	struct head *h = in->h;
	bool asterisk = h->method_id == METHOD_OPTIONS && slice_eq(h->path, SLICE("*"));

	if (h->path.n == 0 || (h->path.p[0] != '/' && !asterisk) || !all_of(h->path, CLASS_TARGET))
		malformed(in, "malformed :path");
	else if (h->path.n > HEAD_MAX_TARGET)
		reject(in, 414, "request target too long");
	if (!slice_eq(h->scheme, SLICE("https")) && !slice_eq(h->scheme, SLICE("http")))
		malformed(in, "scheme other than http and https");
}

static void settle_request(struct h2_head_in *in)
{
	struct head *h = in->h;
	const struct field *expect = head_field(h, FIELD_EXPECT);

	if (!is_pseudo_set(in, METHOD) || h->method.n == 0 || !all_of(h->method, CLASS_TOKEN)) {
		malformed(in, "malformed :method");
		return;
	}
	if (h->method.n > METHOD_MAX_BYTES)
		reject(in, 501, "method too long");
	h->method_id = method_lookup(h->method);
	if (is_pseudo_set(in, PROTOCOL) && (h->method_id != METHOD_CONNECT || h->protocol.n == 0 ||
					    !all_of(h->protocol, CLASS_TOKEN)))
		malformed(in, "malformed :protocol");
	if (h->method_id == METHOD_CONNECT && !is_pseudo_set(in, PROTOCOL)) {
		if (in->pseudo & (SCHEME | PATH))
			malformed(in, "CONNECT with :scheme or :path");
	} else if (!is_pseudo_set(in, SCHEME | PATH)) {
		malformed(in, "no :scheme or no :path");
	} else {
		settle_path(in);
	}
	settle_authority(in);
	h->te_trailers = h->first[FIELD_TE];
	h->expect_continue = expect && slice_eq_nocase(expect->value, SLICE("100-continue"));
}

static void settle_body(struct h2_head_in *in, bool last, uint8_t method_id)
{
	struct head *h = in->h;
	const struct field *cl = head_field(h, FIELD_CONTENT_LENGTH);
	bool without = in->block == H2_RESPONSE && (h->status < 200 || h->status == 204 ||
						    h->status == 304 || method_id == METHOD_HEAD);

	if (cl && (slice_u64(cl->value, &h->content_length) < 0 || h->content_length > INT64_MAX))
		malformed(in, "malformed Content-Length");
	else if (cl && last && h->content_length && !without)
		malformed(in, "Content-Length without content");
	h->has_length = cl;
	if (last || without)
		h->body = BODY_NONE;
	else
		h->body = cl ? BODY_LENGTH : BODY_CHUNKED;
	if (last)
		h->expect_continue = false;
}

/* Crumbs that other fields came between become one value, in the place of the first. */
static int join_cookies(struct h2_head_in *in)
{
	struct head *h = in->h;
	struct field *first = &h->fields[h->first[FIELD_COOKIE] - 1];
	size_t want = 0;
	struct slice all;
	unsigned to = 0;

	for (unsigned i = 0; i < h->nfields; i++)
		want += h->fields[i].id == FIELD_COOKIE ? h->fields[i].value.n + 2 : 0;
	if (!has_room(in, want))
		return -ENOBUFS;
	all = keep(in, first->value);
	for (unsigned i = 0; i < h->nfields; i++) {
		struct field *f = &h->fields[i];

		if (f->id == FIELD_COOKIE && f != first) {
			all.n += keep(in, SLICE("; ")).n + keep(in, f->value).n;
			continue;
		}
		if (h->first[f->id] == i + 1)
			h->first[f->id] = (uint8_t)(to + 1);
		h->fields[to++] = *f;
	}
	h->nfields = (uint8_t)to;
	first->value = all;
	in->ncookies = 1;
	return 0;
}

int h2_head_end(struct h2_head_in *in, bool last, uint8_t method_id)
{
	if (!in->fault.why && in->ncookies > 1 && join_cookies(in) < 0)
		return -ENOBUFS;
	if (!in->fault.why && in->block == H2_REQUEST)
		settle_request(in);
	else if (in->block == H2_RESPONSE && !is_pseudo_set(in, STATUS))
		malformed(in, "no :status");
	if (in->block == H2_TRAILERS && !last)
		malformed(in, "trailers that do not end the stream");
	if (!in->fault.why && in->block != H2_TRAILERS)
		settle_body(in, last, method_id);
	return in->fault.why ? -EBADMSG : 0;
}

/* ---- out ---- */

static void put(struct h2_head_out *out, struct slice name, struct slice value)
{
	out->nv[out->n++] = (nghttp2_nv){
		.name = (uint8_t *)name.p,
		.value = (uint8_t *)value.p,
		.namelen = name.n,
		.valuelen = value.n,
	};
}

static void put_length(struct h2_head_out *out, uint64_t length)
{
	size_t at = sizeof(out->digits);

	do
		out->digits[--at] = (char)('0' + length % 10);
	while (length /= 10);
	put(out, SLICE("content-length"), slice_of(out->digits + at, sizeof(out->digits) - at));
}

static void put_fields(struct h2_head_out *out, const struct head *h, const struct write_framing *f)
{
	for (unsigned i = 0; i < h->nfields; i++) {
		enum field_id id = h->fields[i].id;

		if (!is_connection_specific(id) && id != FIELD_CONTENT_LENGTH && id != FIELD_TE &&
		    id != FIELD_HOST)
			put(out, h->fields[i].name, h->fields[i].value);
	}
	if (f->body == BODY_LENGTH)
		put_length(out, f->length);
}

void h2_head_request(struct h2_head_out *out, const struct head *h, const struct write_framing *f)
{
	out->n = 0;
	put(out, SLICE(":method"), h->protocol.n ? SLICE("CONNECT") : h->method);
	if (h->method_id != METHOD_CONNECT || h->protocol.n) {
		/* Of this hop, in clear text: servers compare. What the client used is in
		 * X-Forwarded-Proto. */
		put(out, SLICE(":scheme"), SLICE("http"));
		put(out, SLICE(":path"), h->path);
	}
	put(out, SLICE(":authority"), h->authority);
	if (h->protocol.n)
		put(out, SLICE(":protocol"), h->protocol);
	put_fields(out, h, f);
	if (h->te_trailers)
		put(out, SLICE("te"), SLICE("trailers"));
}

void h2_head_response(struct h2_head_out *out, const struct head *h, const struct write_framing *f)
{
	out->n = 0;
	for (unsigned i = 0, v = h->status; i < 3; i++, v /= 10)
		out->status[2 - i] = (char)('0' + v % 10);
	put(out, SLICE(":status"), slice_of(out->status, 3));
	put_fields(out, h, f);
}

void h2_head_trailers(struct h2_head_out *out, const struct head *trailers)
{
	out->n = 0;
	for (unsigned i = 0; trailers && i < trailers->nfields; i++)
		if (!field_barred_from_trailers(trailers->fields[i].id))
			put(out, trailers->fields[i].name, trailers->fields[i].value);
}
