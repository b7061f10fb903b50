/* What a connection has received: one window of bytes over a leased block, the head of the message
 * in progress kept in front of it, and the framing of the content that follows. Both sides of
 * HTTP/1 use it. */
#ifndef TEMPS_HTTP_INBOX_H
#define TEMPS_HTTP_INBOX_H

#include "base/buf.h"
#include "http/parse.h"
#include "reactor/stream.h"

#define INBOX_BLOCK_BYTES 16384
/* Read for one connection before others get their turn: what is on its way through is warm in the
 * cache, so that going on costs less than coming back (a quarter of the CPU time of large bodies).
 * It takes about a quarter of a millisecond, TLS included. */
#define INBOX_TURN_BYTES (8 * 3 * INBOX_BLOCK_BYTES)

struct inbox {
	struct pool *blocks, *big; /* borrowed */
	struct iobuf buf;	   /* the window; no block while it holds nothing */
	struct iobuf held; /* the block with the head, once content moved to a block of its own */
	uint32_t floor;	   /* mem[0..floor) of <buf> holds the head and stays */
	uint32_t run;	   /* bytes at pos that are content and not yet taken */
	uint64_t left;	   /* BODY_LENGTH: content not yet seen */
	struct chunk_parser chunk;
	uint8_t body; /* enum body_kind */
	bool over;    /* the content is complete */
	bool eof;     /* the sender closed its half */
	bool filled;  /* the last read left no room: more is waiting */
};

enum inbox_event { INBOX_MORE, INBOX_DATA, INBOX_END, INBOX_BAD };

void inbox_init(struct inbox *in, struct pool *blocks, struct pool *big);
/* Gives every block back. */
void inbox_fini(struct inbox *in);
/* One read: >0 bytes; 0 end of file (also noted in <eof>); -EAGAIN; -ENOBUFS: the window is full;
 * -ENOMEM: no block; else the stream's error. */
ssize_t inbox_fill(struct inbox *in, struct stream *s);
/* Bytes that were read before there was a window, at most a block. -ENOMEM. */
int inbox_put(struct inbox *in, struct slice bytes) MUST_CHECK;
/* Would inbox_fill() find room? */
bool inbox_has_room(const struct inbox *in);
/* The head at pos fills its block: go on in a big one. -ENOMEM. */
int inbox_grow(struct inbox *in) MUST_CHECK;

static inline const char *inbox_data(const struct inbox *in)
{
	return in->buf.mem ? (const char *)in->buf.mem + in->buf.pos : NULL;
}

static inline uint32_t inbox_len(const struct inbox *in)
{
	return iobuf_len(&in->buf);
}

/* The <head_bytes> at pos are a message's head, to be kept; its content follows. */
void inbox_begin(struct inbox *in, size_t head_bytes, uint8_t body, uint64_t length);
/* From here on everything is content until the end of file. */
void inbox_begin_raw(struct inbox *in);
/* What comes next of the content? INBOX_DATA: <*data>, to be taken in whole or part with
 * inbox_take(); INBOX_END comes once, <trailers> then points into the window (no fields when there
 * were none) until the next fill. INBOX_BAD: <*why>. */
enum inbox_event inbox_next(struct inbox *in, struct slice *data, struct head *trailers,
			    const char **why);
void inbox_take(struct inbox *in, size_t n);
/* Nobody looks at the head any more: its place is for content. */
void inbox_drop_head(struct inbox *in);
/* The message is over or given up: its head may go; unread bytes stay for the next one. */
void inbox_end(struct inbox *in);

#endif
