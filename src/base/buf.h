/* Two kinds of bytes in motion:
 * struct buf    grows on the heap up to a limit; for building and collecting things off the hot
 * path. struct iobuf  a window over one block leased from a pool: pos <= last <= cap. Linear, so
 * parsers see one piece. */
#ifndef TEMPS_BASE_BUF_H
#define TEMPS_BASE_BUF_H

#include <stdarg.h>

#include "base/pool.h"
#include "base/slice.h"

struct buf {
	char *data; /* owned; NUL after the last byte whenever data != NULL */
	size_t len, cap;
	size_t max; /* bytes it may grow to; 0 = 1 GiB */
	bool full;  /* an append was refused: what is in it is not all that was written */
};

void buf_init(struct buf *b, size_t max);
void buf_fini(struct buf *b);
void buf_clear(struct buf *b); /* empty again, keeps its memory */
/* 0, or -EMSGSIZE with <full> set: so that a builder may check once, at its end. */
int buf_append(struct buf *b, const void *p, size_t n);
int buf_append_slice(struct buf *b, struct slice s);
int buf_append_str(struct buf *b, const char *s);
int buf_printf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
int buf_vprintf(struct buf *b, const char *fmt, va_list ap) PRINTF_LIKE(2, 0);
/* Drops the first <n> bytes. */
void buf_consume(struct buf *b, size_t n);
struct slice buf_slice(const struct buf *b);
/* The terminated string, the caller's to free(); <b> is empty afterwards. Never NULL. */
char *buf_steal(struct buf *b);

struct iobuf {
	uint8_t *mem;	    /* a block of <pool>, or NULL while it holds nothing */
	uint32_t pos, last; /* unread bytes are mem[pos..last) */
	uint32_t cap;
};

int iobuf_take(struct iobuf *b, struct pool *pool) MUST_CHECK; /* for the one below */
void iobuf_give(struct iobuf *b, struct pool *pool);

/* Leases a block if there is none. -ENOMEM: the pool is at its cap (counted there). */
static inline int iobuf_lease(struct iobuf *b, struct pool *pool)
{
	return b->mem ? 0 : iobuf_take(b, pool);
}

/* Gives the block back; anything in it is lost. */
static inline void iobuf_release(struct iobuf *b, struct pool *pool)
{
	if (b->mem)
		iobuf_give(b, pool);
}

static inline uint32_t iobuf_len(const struct iobuf *b)
{
	return b->last - b->pos;
}

static inline uint32_t iobuf_room(const struct iobuf *b)
{
	return b->cap - b->last;
}

#endif
