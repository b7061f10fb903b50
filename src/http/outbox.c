/* Gathering, framing and writing what goes out. */
#include "http/outbox.h"

#include <errno.h>

#include "http/inbox.h"

#define DIRECT_MIN 8192 /* pieces from this size on are not copied */
/* Sent in one turn, then others get theirs. What one turn reads passes whole, with its framing. */
#define TURN_MAX_BYTES (INBOX_TURN_BYTES + 16384)
#define PIECES_MAX 16	/* iovecs looked at in one call */
#define CHUNK_OVERHEAD (CHUNK_HEAD_MAX + 2)

void outbox_init(struct outbox *o, struct pool *blocks, struct pool *big)
{
	*o = (struct outbox){ .blocks = blocks, .big = big };
}

static void put_block(struct outbox *o)
{
	iobuf_release(&o->buf, o->buf.cap > o->blocks->size ? o->big : o->blocks);
}

void outbox_fini(struct outbox *o)
{
	put_block(o);
}

static void compact(struct iobuf *b)
{
	if (b->pos == 0)
		return;
	memmove(b->mem, b->mem + b->pos, iobuf_len(b));
	b->last -= b->pos;
	b->pos = 0;
}

/* Room for <want> bytes in one piece, in a big block if need be. */
static int make_room(struct outbox *o, size_t want)
{
	struct iobuf big = { 0 };

	if (iobuf_lease(&o->buf, o->blocks) < 0)
		return -ENOMEM;
	if (iobuf_room(&o->buf) < want)
		compact(&o->buf);
	if (iobuf_room(&o->buf) >= want)
		return 0;
	if (o->buf.cap > o->blocks->size || iobuf_len(&o->buf) + want > o->big->size)
		return -EMSGSIZE;
	if (iobuf_lease(&big, o->big) < 0)
		return -ENOMEM;
	big.last = iobuf_len(&o->buf);
	memcpy(big.mem, o->buf.mem + o->buf.pos, big.last);
	put_block(o);
	o->buf = big;
	return 0;
}

static char *tail(struct outbox *o)
{
	return (char *)o->buf.mem + o->buf.last;
}

int outbox_head(struct outbox *o, outbox_head_fn *write, const struct head *h,
		const struct write_framing *f)
{
	ssize_t n;
	int rc = make_room(o, 1);

	if (rc < 0)
		return rc;
	n = write(tail(o), iobuf_room(&o->buf), h, f);
	if (n == -EMSGSIZE && o->buf.cap <= o->blocks->size) {
		rc = make_room(o, o->big->size - iobuf_len(&o->buf));
		if (rc < 0)
			return rc;
		n = write(tail(o), iobuf_room(&o->buf), h, f);
	}
	if (n < 0)
		return (int)n;
	o->buf.last += (uint32_t)n;
	return 0;
}

int outbox_bytes(struct outbox *o, const char *p, size_t n)
{
	int rc = make_room(o, n);

	if (rc < 0)
		return rc;
	memcpy(tail(o), p, n);
	o->buf.last += (uint32_t)n;
	return 0;
}

void outbox_frame(struct outbox *o, uint8_t framing, uint64_t length)
{
	o->framing = framing;
	o->left = framing == BODY_LENGTH ? length : 0;
}

/* The part of <iov> from <skip> on, at most <max> bytes, as pieces. Returns how many; <*bytes> is
 * their sum. */
static int select_pieces(struct iovec *out, const struct iovec *iov, int iovcnt, size_t skip,
			 size_t max, size_t *bytes)
{
	int n = 0;

	*bytes = 0;
	for (int i = 0; i < iovcnt && n < PIECES_MAX && *bytes < max; i++) {
		size_t len = iov[i].iov_len;

		if (skip >= len) {
			skip -= len;
			continue;
		}
		len = MIN(len - skip, max - *bytes);
		out[n++] = (struct iovec){ (char *)iov[i].iov_base + skip, len };
		*bytes += len;
		skip = 0;
	}
	return n;
}

static size_t copy_pieces(struct outbox *o, const struct iovec *iov, int iovcnt, size_t max)
{
	size_t copied = 0;

	for (int i = 0; i < iovcnt && copied < max; i++) {
		size_t n = MIN(iov[i].iov_len, max - copied);

		memcpy(tail(o), iov[i].iov_base, n);
		o->buf.last += (uint32_t)n;
		copied += n;
	}
	return copied;
}

/* A piece of content with what frames it: <before> (a chunk's size line, or nothing) and <after>
 * (the CRLF that ends it, or nothing). */
struct piece {
	struct iovec data[PIECES_MAX];
	int count;
	size_t bytes;
	char before[CHUNK_HEAD_MAX];
	size_t before_len;
	size_t after_len;
	bool begun; /* some byte of it is out or in the block: the size line stands */
};

static const char crlf[2] = { '\r', '\n' };

/* Copies as much of the piece as fits. Its size line, once out, promises the whole piece: the rest
 * is owed. */
static ssize_t copy_piece(struct outbox *o, struct piece *p)
{
	size_t n;
	int rc;

	if (iobuf_lease(&o->buf, o->blocks) < 0)
		return -ENOMEM;
	compact(&o->buf);
	if (iobuf_room(&o->buf) <= p->before_len)
		return 0;
	p->begun = true;
	memcpy(tail(o), p->before, p->before_len);
	o->buf.last += (uint32_t)p->before_len;
	n = copy_pieces(o, p->data, p->count, MIN(p->bytes, iobuf_room(&o->buf)));
	if (n == p->bytes && p->after_len) {
		rc = outbox_bytes(o, crlf, p->after_len);
		if (rc < 0)
			return rc;
	}
	return (ssize_t)n;
}

/* Sorts out what the socket took: waiting bytes, size line, data, CRLF. Framing that was cut waits
 * in the block. */
static ssize_t account_direct(struct outbox *o, struct piece *p, size_t written)
{
	size_t n = MIN(written, outbox_len(o));
	int rc = 0;

	o->buf.pos += (uint32_t)n;
	written -= n;
	if (outbox_len(o) == 0)
		put_block(o);
	if (written == 0)
		return 0;
	p->begun = true;
	n = MIN(written, p->before_len);
	written -= n;
	if (n < p->before_len)
		rc = outbox_bytes(o, p->before + n, p->before_len - n);
	n = MIN(written, p->bytes);
	written -= n;
	if (n == p->bytes && written < p->after_len)
		rc = outbox_bytes(o, crlf + written, p->after_len - written);
	return rc < 0 ? rc : (ssize_t)n;
}

/* A plain socket that took less than it was offered is full; TLS takes one record at a time. */
static bool is_full(const struct stream *s)
{
	return s->tls == NULL;
}

/* Straight from the caller's memory, in one call with what waits. */
static ssize_t write_direct(struct outbox *o, struct stream *s, struct piece *p)
{
	struct iovec v[PIECES_MAX + 3];
	size_t total = outbox_len(o) + p->before_len + p->bytes + p->after_len;
	ssize_t written;
	int n = 0;

	if (outbox_len(o))
		v[n++] = (struct iovec){ o->buf.mem + o->buf.pos, outbox_len(o) };
	if (p->before_len)
		v[n++] = (struct iovec){ p->before, p->before_len };
	memcpy(v + n, p->data, (size_t)p->count * sizeof(*v));
	n += p->count;
	if (p->after_len)
		v[n++] = (struct iovec){ (void *)crlf, p->after_len };
	written = stream_write(s, v, n);
	if (written < 0) {
		o->blocked = written == -EAGAIN;
		/* TLS has already sealed the bytes that it was offered: the same ones must come
		 * first next time. They go into the block, which is as large as a record, and
		 * belong to us from here on. */
		return written == -EAGAIN ? copy_piece(o, p) : written;
	}
	if ((size_t)written < total)
		o->blocked = is_full(s);
	return account_direct(o, p, (size_t)written);
}

/* The next piece of what is offered: all of it, what the open chunk still wants, or (to be copied)
 * as large a chunk as fits. */
static void cut_piece(struct outbox *o, struct piece *p, const struct iovec *iov, int iovcnt,
		      size_t skip, bool direct)
{
	bool chunked = o->framing == BODY_CHUNKED;
	size_t waiting = outbox_len(o) + CHUNK_OVERHEAD, max = SIZE_MAX;

	if (chunked && o->left)
		max = o->left;
	else if (chunked && !direct)
		max = waiting < o->blocks->size ? o->blocks->size - waiting : 0;
	p->begun = false;
	p->before_len = p->after_len = 0;
	p->count = select_pieces(p->data, iov, iovcnt, skip, max, &p->bytes);
	if (chunked && !o->left)
		p->before_len = write_chunk_head(p->before, p->bytes);
	if (chunked && (!o->left || p->bytes == o->left))
		p->after_len = sizeof(crlf);
}

/* One step of outbox_write(): the bytes taken, 0 when it can take none now. */
static ssize_t write_piece(struct outbox *o, struct stream *s, const struct iovec *iov, int iovcnt,
			   size_t skip, size_t offered)
{
	size_t all = outbox_len(o) + offered + CHUNK_OVERHEAD;
	bool direct = !o->blocked && (offered >= DIRECT_MIN || all > o->blocks->size);
	struct piece p;
	ssize_t n;

	cut_piece(o, &p, iov, iovcnt, skip, direct);
	if (p.bytes == 0)
		return 0;
	n = direct ? write_direct(o, s, &p) : copy_piece(o, &p);
	if (n < 0)
		return n;
	if (o->framing == BODY_CHUNKED && p.begun && !o->left)
		o->left = p.bytes;
	if (o->framing == BODY_LENGTH || o->framing == BODY_CHUNKED)
		o->left -= (size_t)n;
	return n;
}

ssize_t outbox_write(struct outbox *o, struct stream *s, const struct iovec *iov, int iovcnt)
{
	size_t offered = 0, taken = 0;

	for (int i = 0; i < iovcnt; i++)
		offered += iov[i].iov_len;
	if (o->framing == BODY_NONE)
		return (ssize_t)offered;
	if (o->framing == BODY_LENGTH && offered > o->left)
		return -EPROTO;
	/* Ends: each round takes something, or is the last. */
	while (taken < offered) {
		ssize_t n = write_piece(o, s, iov, iovcnt, taken, offered - taken);

		if (n < 0)
			return n;
		if (n == 0)
			break;
		taken += (size_t)n;
	}
	return (ssize_t)taken;
}

int outbox_end(struct outbox *o, const struct head *trailers)
{
	ssize_t n;
	int rc;

	if (o->framing == BODY_NONE || o->framing == BODY_UNTIL_CLOSE)
		return 0;
	if (o->left)
		return -EPROTO;
	if (o->framing == BODY_LENGTH)
		return 0;
	if (!trailers || trailers->nfields == 0)
		return outbox_bytes(o, "0\r\n\r\n", 5);
	rc = make_room(o, o->big->size - outbox_len(o));
	if (rc < 0)
		return rc;
	n = write_trailers(tail(o), iobuf_room(&o->buf), trailers);
	if (n < 0)
		return (int)n;
	o->buf.last += (uint32_t)n;
	return 0;
}

int outbox_flush(struct outbox *o, struct stream *s)
{
	while (outbox_len(o)) {
		struct iovec v = { o->buf.mem + o->buf.pos, outbox_len(o) };
		ssize_t n = stream_write(s, &v, 1);

		if (n >= 0)
			o->buf.pos += (uint32_t)n;
		if (n == -EAGAIN || (n >= 0 && outbox_len(o) && is_full(s))) {
			o->blocked = true;
			return -EAGAIN;
		}
		if (n < 0)
			return (int)n;
	}
	put_block(o);
	return 0;
}

int outbox_settle(struct outbox *o, struct stream *s, uint64_t mark)
{
	/* The socket will say at once that it is writable, in the next turn. */
	if (s->bytes_out - mark > TURN_MAX_BYTES)
		o->blocked = true;
	return o->blocked ? -EAGAIN : outbox_flush(o, s);
}
