/* Responses encoded on their way. */
#include "proxy/compress.h"

#include <stdlib.h>

#include "proxy/front_inner.h"
#include "proxy/grpc.h"
#include "proxy/relay.h"

struct packer {
	struct compress *compress;
	struct relay *relay;
	struct encoder *encoder;
	struct list link;	/* compress->waiting */
	struct loop_task flush; /* at the end of each turn that took something: a slow response is
				   not held back */
	enum encode_op op;	/* in progress; ENCODE_TAKE: none */
	bool ended;		/* ENCODE_END is done */
};

/* ---- the decision ---- */

/* The rank of a member's q (RFC 9110 §12.4.2), 0 to 1000; what is no q counts as 1. */
static unsigned weight_of(struct slice params)
{
	unsigned q = 0, unit = 100;

	params = slice_trim(params);
	if (params.n < 3 || (params.p[0] | 0x20) != 'q' || params.p[1] != '=')
		return 1000;
	if (params.p[2] == '1')
		return 1000;
	for (size_t i = 4; i < params.n && i < 7 && params.p[i] >= '0' && params.p[i] <= '9'; i++) {
		q += unit * (unsigned)(params.p[i] - '0');
		unit /= 10;
	}
	return q;
}

enum coding compress_choose(const struct head *req)
{
	const struct field *f = head_field(req, FIELD_ACCEPT_ENCODING);
	/* -1: not named; then "*" speaks for it. */
	int gzip = -1, brotli = -1, any = 0;

	for (; f && f < req->fields + req->nfields; f++) {
		struct slice rest = f->value, params;

		if (f->id != FIELD_ACCEPT_ENCODING)
			continue;
		while (rest.p) {
			struct slice name = slice_trim(
				slice_split(slice_split(rest, ',', &rest), ';', &params));
			int q = (int)weight_of(params);

			if (slice_eq_nocase(name, SLICE("gzip")) ||
			    slice_eq_nocase(name, SLICE("x-gzip")))
				gzip = q;
			else if (slice_eq_nocase(name, SLICE("br")))
				brotli = q;
			else if (slice_eq(name, SLICE("*")))
				any = q;
		}
	}
	gzip = gzip < 0 ? any : gzip;
	brotli = brotli < 0 ? any : brotli;
	if (brotli > 0 && brotli >= gzip && coding_is_built(CODING_BROTLI))
		return CODING_BROTLI;
	return gzip > 0 ? CODING_GZIP : CODING_NONE;
}

static bool is_type(struct slice type, const char *const *names, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (slice_eq_nocase(type, slice_str(names[i])))
			return true;
	return false;
}

/* Text, and what is text under another name. Pictures, films and archives are packed already. */
static bool is_compressible(const struct head *h)
{
	static const char *const others[] = {
		"application/javascript",
		"application/json",
		"application/manifest+json",
		"application/wasm",
		"application/xml",
		"application/x-javascript",
		"application/x-ndjson",
		"application/graphql",
		"application/rtf",
		"font/otf",
		"font/ttf",
		"image/bmp",
		"image/svg+xml",
		"image/x-icon",
		"image/vnd.microsoft.icon",
		"application/vnd.ms-fontobject",
	};
	const struct field *f = head_field(h, FIELD_CONTENT_TYPE);
	struct slice params, type;

	if (!f)
		return false;
	type = slice_trim(slice_split(f->value, ';', &params));
	/* Whatever its messages are written in, gRPC frames and compresses them itself. */
	if (head_is_type(h, SLICE("text/event-stream")) || grpc_is(h))
		return false;
	return (type.n > 5 && slice_eq_nocase(slice_of(type.p, 5), SLICE("text/"))) ||
	       (type.n > 5 && slice_eq_nocase(slice_of(type.p + type.n - 5, 5), SLICE("+json"))) ||
	       (type.n > 4 && slice_eq_nocase(slice_of(type.p + type.n - 4, 4), SLICE("+xml"))) ||
	       is_type(type, others, ARRAY_LEN(others));
}

/* Cache-Control: no-transform forbids it to everybody on the way (RFC 9111 §5.2.2.6). */
static bool is_frozen(const struct head *h)
{
	for (unsigned i = 0; i < h->nfields; i++) {
		struct slice rest = h->fields[i].value;

		if (!slice_eq_nocase(h->fields[i].name, SLICE("cache-control")))
			continue;
		while (rest.p)
			if (slice_eq_nocase(slice_trim(slice_split(rest, ',', &rest)),
					    SLICE("no-transform")))
				return true;
	}
	return false;
}

/* Fields that speak of the bytes as they are. */
static bool is_signed(const struct head *h)
{
	static const struct slice names[] = { SLICE("content-digest"), SLICE("repr-digest"),
					      SLICE("digest"), SLICE("content-md5"),
					      SLICE("content-range") };

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (head_find(h, names[i]))
			return true;
	return false;
}

/* Vary, Content-Encoding, and "W/" in front of the tag. */
static bool has_room_to_say(const struct head *h)
{
	const struct field *tag = head_find(h, SLICE("etag"));

	return h->nfields + 2 <= HEAD_MAX_FIELDS && (!tag || tag->value.n + 2 <= COMPRESS_TAG_MAX);
}

bool compress_may(const struct head *req, const struct head *response)
{
	/* Trailers that were announced would have to wait for the encoder's last bytes. */
	if (req->method_id == METHOD_HEAD || response->status < 200 || response->status == 204 ||
	    response->status == 206 || response->status == 304 ||
	    (response->has_length && response->content_length < COMPRESS_MIN_BYTES) ||
	    head_field(response, FIELD_CONTENT_ENCODING) || head_field(response, FIELD_TRAILER))
		return false;
	return is_compressible(response) && !is_signed(response) && !is_frozen(response) &&
	       !is_frozen(req) && has_room_to_say(response);
}

/* ---- the announcement ---- */

static bool varies_already(const struct head *h)
{
	for (unsigned i = 0; i < h->nfields; i++) {
		struct slice rest = h->fields[i].value;

		if (!slice_eq_nocase(h->fields[i].name, SLICE("vary")))
			continue;
		while (rest.p) {
			struct slice one = slice_trim(slice_split(rest, ',', &rest));

			if (slice_eq(one, SLICE("*")) ||
			    slice_eq_nocase(one, SLICE("accept-encoding")))
				return true;
		}
	}
	return false;
}

/* The same content in other bytes is not the same octet by octet (RFC 9110 §8.8.1). <text> is
 * where the new tag is. */
static void weaken_tag(struct head *h, char text[COMPRESS_TAG_MAX])
{
	const struct field *tag = head_find(h, SLICE("etag"));
	struct slice value;

	if (!tag || slice_starts(tag->value, SLICE("W/")))
		return;
	value = tag->value;
	memcpy(text, "W/", 2);
	memcpy(text + 2, value.p, value.n);
	head_remove(h, SLICE("etag"));
	head_add_other(h, SLICE("ETag"), slice_of(text, value.n + 2));
}

/* There is room for all of it: has_room_to_say(). */
static void announce(struct compress *c, struct head *h, enum coding coding)
{
	if (!varies_already(h))
		head_add_other(h, SLICE("Vary"), SLICE("Accept-Encoding"));
	if (coding == CODING_NONE)
		return;
	head_remove(h, SLICE("content-length"));
	head_remove(h, SLICE("accept-ranges"));
	h->has_length = false;
	head_add(h, FIELD_CONTENT_ENCODING, coding_name(coding));
	weaken_tag(h, c->etag);
}

/* ---- one response ---- */

static void on_flush(void *arg);
static void on_next_turn(void *arg);

void compress_init(struct compress *c, struct loop *l)
{
	*c = (struct compress){ .loop = l };
	encode_pool_init(&c->encoders, COMPRESS_MAX_BYTES);
	list_init(&c->waiting);
	loop_task_init(&c->next_turn, on_next_turn, c);
}

void compress_fini(struct compress *c)
{
	loop_task_cancel(&c->next_turn);
	encode_pool_fini(&c->encoders);
}

/* The coding that was chosen, or what there is memory for. */
static struct encoder *open_encoder(struct compress *c, enum coding *coding)
{
	struct encoder *e = encoder_open(&c->encoders, *coding);

	if (!e && *coding == CODING_BROTLI) {
		*coding = CODING_GZIP;
		e = encoder_open(&c->encoders, *coding);
	}
	return e;
}

struct packer *compress_begin(struct relay *r, struct head *h)
{
	struct compress *c = &r->front->compress;
	enum coding coding;
	struct encoder *e = NULL;
	struct packer *p;

	if (!compress_may(&r->x->req, h))
		return NULL;
	coding = compress_choose(&r->x->req);
	if (coding != CODING_NONE)
		e = open_encoder(c, &coding);
	announce(c, h, e ? coding : CODING_NONE);
	if (!e) {
		r->front->stats.compress_refused += coding != CODING_NONE;
		return NULL;
	}
	p = xcalloc(1, sizeof(*p));
	p->compress = c;
	p->relay = r;
	p->encoder = e;
	list_init(&p->link);
	loop_task_init(&p->flush, on_flush, p);
	r->front->stats.compressed++;
	return p;
}

void compress_stop(struct packer *p)
{
	if (!p)
		return;
	list_remove(&p->link);
	loop_task_cancel(&p->flush);
	encoder_close(p->encoder);
	free(p);
}

static ssize_t step(struct packer *p, const char *data, size_t n, bool *done)
{
	ssize_t taken = encoder_step(p->encoder, p->op, data, n, done);

	if (taken < 0)
		exchange_abort(p->relay->x, "the encoder failed");
	else
		p->relay->front->stats.compressed_in_bytes += (uint64_t)taken;
	return taken;
}

/* Gives the client what the encoder gave. False: it takes no more now. */
static bool drain(struct packer *p)
{
	struct slice out = encoder_output(p->encoder);
	struct iovec iov = { .iov_base = (void *)out.p, .iov_len = out.n };
	size_t taken;

	if (out.n == 0)
		return true;
	taken = exchange_write(p->relay->x, &iov, 1);
	encoder_used(p->encoder, taken);
	p->relay->front->stats.compressed_out_bytes += taken;
	return taken == out.n;
}

bool compress_go_on(struct packer *p)
{
	bool done;

	while (drain(p)) {
		if (p->ended) {
			if (!p->relay->x->ended)
				exchange_end(p->relay->x, NULL);
			return false;
		}
		if (p->op == ENCODE_TAKE)
			return true;
		if (step(p, NULL, 0, &done) < 0)
			return false;
		if (done) {
			p->ended = p->op == ENCODE_END;
			p->op = ENCODE_TAKE;
		}
	}
	return false;
}

static void on_flush(void *arg)
{
	struct packer *p = arg;

	/* What is under way already is a flush, or the end. */
	if (p->op == ENCODE_TAKE && !p->ended)
		p->op = ENCODE_FLUSH;
	if (compress_go_on(p))
		relay_go_on(p->relay);
}

/* How much may still be encoded in this turn; 0: the next one goes on. */
static size_t budget(struct packer *p)
{
	struct compress *c = p->compress;
	uint64_t turn = loop_stats(c->loop)->turns;

	if (c->turn != turn) {
		c->turn = turn;
		c->turn_bytes = 0;
	}
	if (c->turn_bytes < COMPRESS_TURN_BYTES)
		return COMPRESS_TURN_BYTES - c->turn_bytes;
	if (list_empty(&p->link))
		list_push_back(&c->waiting, &p->link);
	loop_next(c->loop, &c->next_turn);
	return 0;
}

static void on_next_turn(void *arg)
{
	struct compress *c = arg;
	struct packer *p;
	struct list now;

	/* Who has no budget again joins the queue behind. */
	list_init(&now);
	while ((p = LIST_FIRST(&c->waiting, struct packer, link))) {
		list_remove(&p->link);
		list_push_back(&now, &p->link);
	}
	while ((p = LIST_FIRST(&now, struct packer, link))) {
		list_remove(&p->link);
		relay_go_on(p->relay);
	}
}

size_t compress_take(struct packer *p, const char *data, size_t n)
{
	size_t taken = 0, most;
	ssize_t step_taken;
	bool done;

	while (taken < n && compress_go_on(p) && (most = budget(p)) > 0) {
		step_taken = step(p, data + taken, MIN(n - taken, most), &done);
		if (step_taken < 0)
			return n;
		taken += (size_t)step_taken;
		p->compress->turn_bytes += (uint32_t)step_taken;
	}
	if (taken)
		loop_later(p->compress->loop, &p->flush);
	return taken;
}

void compress_end(struct packer *p)
{
	/* A flush under way is part of the end. */
	p->op = ENCODE_END;
	(void)compress_go_on(p);
}
