/* zlib and brotli behind one set of functions. */
#include "proxy/encode.h"

#include <errno.h>
#include <stdlib.h>
#include <zlib.h>
#ifdef HAVE_BROTLI
#include <brotli/encode.h>
#endif

/* A window of 16 KiB instead of 32, and half the memory for matches: 2 % more output for half the
 * memory. Level 4 costs 12 ns a byte; 6 takes twice as long for another 4 %. */
#define GZIP_LEVEL 4
#define GZIP_WINDOW_BITS 14
#define GZIP_MEM_LEVEL 7
/* As fast as gzip's level 4 with its output; from quality 4 on it needs twice the memory. */
#define BROTLI_QUALITY_FAST 3
#define BROTLI_WINDOW_BITS 16
/* What one may come to need, before it is opened. */
#define GZIP_BYTES (160u << 10)
#define BROTLI_BYTES (1200u << 10)
#define IDLE_MAX 16u

struct encoder {
	struct list link; /* pool->idle */
	struct encode_pool *pool;
	enum coding coding;
	z_stream z;
#ifdef HAVE_BROTLI
	BrotliEncoderState *brotli;
#endif
	uint32_t pos, last; /* output is block[pos..last) */
	uint8_t block[ENCODE_BLOCK_BYTES];
};

struct slice coding_name(enum coding c)
{
	return c == CODING_BROTLI ? SLICE("br") : c == CODING_GZIP ? SLICE("gzip") : SLICE("");
}

bool coding_is_built(enum coding c)
{
#ifdef HAVE_BROTLI
	return c == CODING_GZIP || c == CODING_BROTLI;
#else
	return c == CODING_GZIP;
#endif
}

/* ---- memory, counted ---- */

/* The size stands in front, aligned as malloc() would. */
#define SIZE_BYTES 16u

static void *take(void *arg, size_t n)
{
	struct encode_pool *p = arg;
	uint8_t *mem = malloc(n + SIZE_BYTES);

	if (!mem)
		return NULL;
	memcpy(mem, &n, sizeof(n));
	p->bytes += n;
	return mem + SIZE_BYTES;
}

static void give(void *arg, void *mem)
{
	struct encode_pool *p = arg;
	size_t n;

	if (!mem)
		return;
	mem = (uint8_t *)mem - SIZE_BYTES;
	memcpy(&n, mem, sizeof(n));
	p->bytes -= n;
	free(mem);
}

static void *z_take(void *arg, unsigned items, unsigned size)
{
	return take(arg, (size_t)items * size);
}

void encode_pool_init(struct encode_pool *p, uint64_t max_bytes)
{
	*p = (struct encode_pool){ .max_bytes = max_bytes };
	list_init(&p->idle);
}

/* ---- life ---- */

static void destroy(struct encoder *e)
{
	struct encode_pool *p = e->pool;

	deflateEnd(&e->z);
#ifdef HAVE_BROTLI
	BrotliEncoderDestroyInstance(e->brotli);
#endif
	give(p, e);
}

void encode_pool_fini(struct encode_pool *p)
{
	LIST_FOR_EACH_SAFE(e, &p->idle, struct encoder, link) {
		list_remove(&e->link);
		destroy(e);
	}
}

static int begin_gzip(struct encoder *e)
{
	e->z.zalloc = z_take;
	e->z.zfree = give;
	e->z.opaque = e->pool;
	/* 16 more window bits: a gzip header, not zlib's. */
	return deflateInit2(&e->z, GZIP_LEVEL, Z_DEFLATED, GZIP_WINDOW_BITS + 16, GZIP_MEM_LEVEL,
			    Z_DEFAULT_STRATEGY) == Z_OK
		       ? 0
		       : -ENOMEM;
}

static int begin_brotli(struct encoder *e)
{
#ifdef HAVE_BROTLI
	e->brotli = BrotliEncoderCreateInstance(take, give, e->pool);
	if (!e->brotli)
		return -ENOMEM;
	BrotliEncoderSetParameter(e->brotli, BROTLI_PARAM_QUALITY, BROTLI_QUALITY_FAST);
	BrotliEncoderSetParameter(e->brotli, BROTLI_PARAM_LGWIN, BROTLI_WINDOW_BITS);
	return 0;
#else
	(void)e;
	return -ENOTSUP;
#endif
}

static struct encoder *create(struct encode_pool *p, enum coding c)
{
	struct encoder *e;
	int rc;

	if (p->bytes + (c == CODING_GZIP ? GZIP_BYTES : BROTLI_BYTES) > p->max_bytes)
		return NULL;
	e = take(p, sizeof(*e));
	if (!e)
		return NULL;
	memset(e, 0, sizeof(*e) - sizeof(e->block));
	list_init(&e->link);
	e->pool = p;
	e->coding = c;
	rc = c == CODING_GZIP ? begin_gzip(e) : begin_brotli(e);
	if (rc == 0)
		return e;
	destroy(e);
	return NULL;
}

struct encoder *encoder_open(struct encode_pool *p, enum coding c)
{
	struct encoder *e = NULL;

	if (c == CODING_GZIP && p->nidle) {
		e = LIST_FIRST(&p->idle, struct encoder, link);
		list_remove(&e->link);
		p->nidle--;
		deflateReset(&e->z);
		e->pos = e->last = 0;
	} else if (coding_is_built(c)) {
		e = create(p, c);
	}
	if (e)
		p->open++;
	else
		p->refused++;
	return e;
}

void encoder_close(struct encoder *e)
{
	struct encode_pool *p;

	if (!e)
		return;
	p = e->pool;
	p->open--;
	if (e->coding == CODING_GZIP && p->nidle < IDLE_MAX) {
		list_push_front(&p->idle, &e->link);
		p->nidle++;
	} else {
		destroy(e);
	}
}

/* ---- at work ---- */

static ssize_t step_gzip(struct encoder *e, enum encode_op op, const char *p, size_t n, bool *done)
{
	static const int flush[] = { Z_NO_FLUSH, Z_SYNC_FLUSH, Z_FINISH };
	int rc;

	e->z.next_in = (Bytef *)p;
	e->z.avail_in = (uInt)n;
	e->z.next_out = e->block;
	e->z.avail_out = sizeof(e->block);
	rc = deflate(&e->z, flush[op]);
	/* No progress was possible: a second flush with nothing in between. */
	if (rc != Z_OK && rc != Z_STREAM_END && rc != Z_BUF_ERROR)
		return -EIO;
	e->last = sizeof(e->block) - e->z.avail_out;
	*done = op == ENCODE_END ? rc == Z_STREAM_END : e->z.avail_out > 0;
	return (ssize_t)(n - e->z.avail_in);
}

static ssize_t step_brotli(struct encoder *e, enum encode_op op, const char *p, size_t n,
			   bool *done)
{
#ifdef HAVE_BROTLI
	static const BrotliEncoderOperation operation[] = { BROTLI_OPERATION_PROCESS,
							    BROTLI_OPERATION_FLUSH,
							    BROTLI_OPERATION_FINISH };
	const uint8_t *in = (const uint8_t *)p;
	uint8_t *out = e->block;
	size_t left = n, room = sizeof(e->block);

	if (!BrotliEncoderCompressStream(e->brotli, operation[op], &left, &in, &room, &out, NULL))
		return -EIO;
	e->last = (uint32_t)(sizeof(e->block) - room);
	*done = op == ENCODE_END ? BrotliEncoderIsFinished(e->brotli)
				 : !BrotliEncoderHasMoreOutput(e->brotli);
	return (ssize_t)(n - left);
#else
	(void)e;
	(void)op;
	(void)p;
	(void)n;
	(void)done;
	return -EIO;
#endif
}

ssize_t encoder_step(struct encoder *e, enum encode_op op, const char *p, size_t n, bool *done)
{
	e->pos = e->last = 0;
	return e->coding == CODING_GZIP ? step_gzip(e, op, p, n, done)
					: step_brotli(e, op, p, n, done);
}

struct slice encoder_output(const struct encoder *e)
{
	return slice_of(e->block + e->pos, e->last - e->pos);
}

void encoder_used(struct encoder *e, size_t n)
{
	e->pos += (uint32_t)n;
}
