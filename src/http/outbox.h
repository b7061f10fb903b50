/* What a connection has to send: one block in which the small pieces of a turn gather, and the
 * framing of content. Large pieces go straight from the caller's memory, together with what waits.
 * Both sides of HTTP/1 use it. */
#ifndef TEMPS_HTTP_OUTBOX_H
#define TEMPS_HTTP_OUTBOX_H

#include "base/buf.h"
#include "http/parse.h"
#include "reactor/stream.h"

struct outbox {
	struct pool *blocks, *big; /* borrowed */
	struct iobuf buf;	   /* no block while it holds nothing */
	uint64_t left;	 /* BODY_LENGTH: content still owed; BODY_CHUNKED: content still owed to the
			    open chunk */
	uint8_t framing; /* enum body_kind; BODY_UNTIL_CLOSE is raw bytes */
	bool blocked; /* the socket took less than it was offered: wait for STREAM_WRITE, then clear
			 it */
};

typedef ssize_t outbox_head_fn(char *out, size_t size, const struct head *h,
			       const struct write_framing *f);

void outbox_init(struct outbox *o, struct pool *blocks, struct pool *big);
void outbox_fini(struct outbox *o);
/* Appends a head written by <write>. -EMSGSIZE: larger than a big block; -ENOMEM. Nothing is
 * appended then. */
int outbox_head(struct outbox *o, outbox_head_fn *write, const struct head *h,
		const struct write_framing *f) MUST_CHECK;
/* Appends bytes as they are. */
int outbox_bytes(struct outbox *o, const char *p, size_t n) MUST_CHECK;
/* Content follows, framed like this. */
void outbox_frame(struct outbox *o, uint8_t framing, uint64_t length);
/* Content: the bytes taken; what was not taken must be offered again, unchanged. -EPROTO: more than
 * the length promised; -ENOMEM; else the stream's error. */
ssize_t outbox_write(struct outbox *o, struct stream *s, const struct iovec *iov,
		     int iovcnt) MUST_CHECK;
/* The content is complete. -EPROTO: less than promised; -EMSGSIZE, -ENOMEM. */
int outbox_end(struct outbox *o, const struct head *trailers) MUST_CHECK;
/* Writes what waits: 0 when nothing is left, -EAGAIN (blocked is set), else the stream's error. */
int outbox_flush(struct outbox *o, struct stream *s) MUST_CHECK;
/* At the end of a turn: the same, unless more than a turn's share went out since the stream's count
 * was <mark>. Then the rest waits for the next one: -EAGAIN. */
int outbox_settle(struct outbox *o, struct stream *s, uint64_t mark) MUST_CHECK;

static inline uint32_t outbox_len(const struct outbox *o)
{
	return iobuf_len(&o->buf);
}

#endif
