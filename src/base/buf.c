/* The growing buffer and the leased window. */
#include "base/buf.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define BUF_MAX_BYTES ((size_t)1 << 30)
#define BUF_FIRST_BYTES 256

void buf_init(struct buf *b, size_t max)
{
	*b = (struct buf){ .max = max };
}

void buf_fini(struct buf *b)
{
	size_t max = b->max;

	free(b->data);
	buf_init(b, max);
}

void buf_clear(struct buf *b)
{
	b->len = 0;
	b->full = false;
	if (b->data)
		b->data[0] = '\0';
}

/* Room for <n> more bytes and the NUL, or -EMSGSIZE. */
static int reserve(struct buf *b, size_t n)
{
	size_t max = b->max ? b->max : BUF_MAX_BYTES;
	size_t need, cap;

	if (n > max - b->len) {
		b->full = true;
		return -EMSGSIZE;
	}
	need = b->len + n + 1;
	if (need <= b->cap)
		return 0;
	cap = b->cap ? b->cap : BUF_FIRST_BYTES;
	while (cap < need)
		cap *= 2;
	cap = MIN(cap, max + 1);
	b->data = xrealloc(b->data, cap);
	b->cap = cap;
	return 0;
}

int buf_append(struct buf *b, const void *p, size_t n)
{
	int rc = reserve(b, n);

	if (rc < 0)
		return rc;
	if (n)
		memcpy(b->data + b->len, p, n);
	b->len += n;
	b->data[b->len] = '\0';
	return 0;
}

int buf_append_slice(struct buf *b, struct slice s)
{
	return buf_append(b, s.p, s.n);
}

int buf_append_str(struct buf *b, const char *s)
{
	return buf_append(b, s, strlen(s));
}

int buf_vprintf(struct buf *b, const char *fmt, va_list ap)
{
	size_t room = b->cap - b->len;
	va_list again;
	int n, rc;

	va_copy(again, ap);
	n = vsnprintf(room ? b->data + b->len : NULL, room, fmt, ap);
	rc = n < 0 ? -EINVAL : reserve(b, (size_t)n);
	if (rc == 0) {
		/* The first try went into the room there was: again, unless that was enough. */
		if ((size_t)n >= room)
			vsnprintf(b->data + b->len, (size_t)n + 1, fmt, again);
		b->len += (size_t)n;
	} else if (room) {
		b->data[b->len] = '\0';
	}
	va_end(again);
	return rc;
}

int buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	int rc;

	va_start(ap, fmt);
	rc = buf_vprintf(b, fmt, ap);
	va_end(ap);
	return rc;
}

void buf_consume(struct buf *b, size_t n)
{
	if (n >= b->len) {
		b->len = 0;
	} else {
		b->len -= n;
		memmove(b->data, b->data + n, b->len);
	}
	if (b->data)
		b->data[b->len] = '\0';
}

struct slice buf_slice(const struct buf *b)
{
	return slice_of(b->data, b->len);
}

char *buf_steal(struct buf *b)
{
	char *data = b->data ? b->data : xstrdup("");

	b->data = NULL;
	buf_fini(b);
	return data;
}

int iobuf_take(struct iobuf *b, struct pool *pool)
{
	b->mem = pool_get(pool);
	if (!b->mem)
		return -ENOMEM;
	b->pos = b->last = 0;
	b->cap = (uint32_t)pool->size;
	return 0;
}

void iobuf_give(struct iobuf *b, struct pool *pool)
{
	pool_put(pool, b->mem);
	*b = (struct iobuf){ 0 };
}
