/* The receiving window and the framing of what comes through it. */
#include "http/inbox.h"

#include <errno.h>

#define ROOM_MIN 4096 /* less behind a head: content gets a block of its own */

void inbox_init(struct inbox *in, struct pool *blocks, struct pool *big)
{
	*in = (struct inbox){ .blocks = blocks, .big = big };
}

static void put_block(struct inbox *in, struct iobuf *b)
{
	iobuf_release(b, b->cap > in->blocks->size ? in->big : in->blocks);
}

void inbox_fini(struct inbox *in)
{
	put_block(in, &in->buf);
	put_block(in, &in->held);
}

static void drop_if_empty(struct inbox *in)
{
	if (in->floor == 0 && inbox_len(in) == 0)
		put_block(in, &in->buf);
}

static void move_window(struct iobuf *to, const struct iobuf *from)
{
	to->pos = 0;
	to->last = iobuf_len(from);
	memcpy(to->mem, from->mem + from->pos, to->last);
}

/* The head keeps its block; the window goes on in a fresh one. */
static int split(struct inbox *in, struct pool *blocks)
{
	struct iobuf fresh = { 0 };

	if (iobuf_lease(&fresh, blocks) < 0)
		return -ENOMEM;
	move_window(&fresh, &in->buf);
	in->held = in->buf;
	in->buf = fresh;
	in->floor = 0;
	return 0;
}

/* Much content is on its way when a read leaves no room: one of four times the size costs a
 * quarter of the calls. Without a big block it goes on as it was. */
static int lease(struct inbox *in)
{
	if (in->filled && iobuf_lease(&in->buf, in->big) == 0)
		return 0;
	return iobuf_lease(&in->buf, in->blocks);
}

static int make_room(struct inbox *in)
{
	struct iobuf *b = &in->buf;

	if (!b->mem)
		return lease(in);
	if (b->pos == b->last)
		b->pos = b->last = in->floor;
	if (in->floor && !in->over && in->filled && inbox_len(in) == 0 && split(in, in->big) == 0)
		return 0;
	if (iobuf_room(b) >= ROOM_MIN)
		return 0;
	if (in->floor && !in->over) {
		if (inbox_len(in) > in->blocks->size / 2 && split(in, in->big) == 0)
			return 0;
		/* As little room as the head's is room: nobody's content waits for a big block. Only
		 * what lies in one already, behind a large head, may be too much for another. */
		return inbox_len(in) < in->blocks->size ? split(in, in->blocks) : -ENOMEM;
	}
	if (!in->floor && b->pos) {
		memmove(b->mem, b->mem + b->pos, iobuf_len(b));
		b->last -= b->pos;
		b->pos = 0;
	}
	return iobuf_room(b) ? 0 : -ENOBUFS;
}

bool inbox_has_room(const struct inbox *in)
{
	const struct iobuf *b = &in->buf;

	if (!b->mem || iobuf_room(b) || b->pos == b->last)
		return true;
	return in->floor ? !in->over : b->pos > 0;
}

ssize_t inbox_fill(struct inbox *in, struct stream *s)
{
	ssize_t n = make_room(in);
	uint32_t room = iobuf_room(&in->buf);

	if (n < 0)
		return n;
	n = stream_read(s, in->buf.mem + in->buf.last, room);
	in->filled = n == (ssize_t)room;
	if (n > 0)
		in->buf.last += (uint32_t)n;
	else
		drop_if_empty(in);
	if (n == 0)
		in->eof = true;
	return n;
}

int inbox_put(struct inbox *in, struct slice bytes)
{
	if (iobuf_lease(&in->buf, in->blocks) < 0)
		return -ENOMEM;
	memcpy(in->buf.mem, bytes.p, bytes.n);
	in->buf.last = (uint32_t)bytes.n;
	return 0;
}

int inbox_grow(struct inbox *in)
{
	struct iobuf big = { 0 };

	if (in->buf.cap > in->blocks->size || iobuf_lease(&big, in->big) < 0)
		return -ENOMEM;
	move_window(&big, &in->buf);
	put_block(in, &in->buf);
	in->buf = big;
	return 0;
}

void inbox_begin(struct inbox *in, size_t head_bytes, uint8_t body, uint64_t length)
{
	in->buf.pos += (uint32_t)head_bytes;
	in->floor = in->buf.pos;
	in->body = body;
	in->left = length;
	in->run = 0;
	in->over = false;
	if (body == BODY_CHUNKED)
		chunk_init(&in->chunk);
}

void inbox_begin_raw(struct inbox *in)
{
	in->body = BODY_UNTIL_CLOSE;
	in->run = 0;
	in->over = false;
}

static enum inbox_event end(struct inbox *in)
{
	in->over = true;
	return INBOX_END;
}

static enum inbox_event next_chunked(struct inbox *in, struct slice *data, struct head *trailers,
				     const char **why)
{
	size_t used;
	enum chunk_event e =
		chunk_next(&in->chunk, inbox_data(in), inbox_len(in), &used, data, trailers, why);

	in->buf.pos += (uint32_t)used;
	switch (e) {
	case CHUNK_DATA:
		/* A run ends where the used bytes end: it is put back until it is taken. */
		in->run = (uint32_t)data->n;
		in->buf.pos -= in->run;
		return INBOX_DATA;
	case CHUNK_END: return end(in);
	case CHUNK_MORE: return INBOX_MORE;
	default: return INBOX_BAD;
	}
}

enum inbox_event inbox_next(struct inbox *in, struct slice *data, struct head *trailers,
			    const char **why)
{
	uint32_t len = inbox_len(in);

	trailers->nfields = 0;
	if (in->over)
		return INBOX_MORE;
	if (!in->run) {
		switch (in->body) {
		case BODY_NONE: return end(in);
		case BODY_CHUNKED: return next_chunked(in, data, trailers, why);
		case BODY_LENGTH:
			if (in->left == 0)
				return end(in);
			in->run = (uint32_t)MIN(in->left, len);
			in->left -= in->run;
			break;
		default:
			if (len == 0 && in->eof)
				return end(in);
			in->run = len;
		}
	}
	if (!in->run)
		return INBOX_MORE;
	*data = slice_of(inbox_data(in), in->run);
	return INBOX_DATA;
}

void inbox_take(struct inbox *in, size_t n)
{
	in->buf.pos += (uint32_t)n;
	in->run -= (uint32_t)n;
	if (in->run == 0)
		drop_if_empty(in);
}

void inbox_drop_head(struct inbox *in)
{
	put_block(in, &in->held);
	in->floor = 0;
}

void inbox_end(struct inbox *in)
{
	inbox_drop_head(in);
	in->run = 0;
	in->over = true;
	drop_if_empty(in);
}
