/* Content codings that responses get on their way: gzip, and brotli where it was built in. An
 * encoder takes bytes and gives them encoded, a block at a time; no loop, no sockets. */
#ifndef TEMPS_PROXY_ENCODE_H
#define TEMPS_PROXY_ENCODE_H

#include <sys/types.h>

#include "base/list.h"
#include "base/slice.h"

#define ENCODE_BLOCK_BYTES 16384u

enum coding { CODING_NONE, CODING_GZIP, CODING_BROTLI };
/* "gzip", "br". */
struct slice coding_name(enum coding c);
bool coding_is_built(enum coding c);

/* Memory for encoders, bounded: one for a front door. */
struct encode_pool {
	uint64_t max_bytes, bytes;
	struct list idle; /* gzip encoders, to be used again */
	uint32_t nidle, open;
	uint64_t refused; /* encoder_open() calls answered NULL */
};
void encode_pool_init(struct encode_pool *p, uint64_t max_bytes);
void encode_pool_fini(struct encode_pool *p); /* every encoder is closed */

struct encoder;
/* NULL: there is no memory for another one, or the coding is not built in. */
struct encoder *encoder_open(struct encode_pool *p, enum coding c);
void encoder_close(struct encoder *e); /* NULL is fine */

enum encode_op {
	ENCODE_TAKE,  /* take input, give what comes of it when it likes */
	ENCODE_FLUSH, /* give everything that was taken */
	ENCODE_END,   /* and end the content */
};
/* One step: takes up to <n> bytes (ENCODE_TAKE only) and fills the encoder's block, which must have
 * been emptied. Returns the bytes taken, or -EIO: it is broken. <*done>: of FLUSH and END, that
 * nothing is left inside; else the same call must follow, and no other. */
ssize_t encoder_step(struct encoder *e, enum encode_op op, const char *p, size_t n, bool *done);
/* What the block holds, and that <n> bytes of it were used. */
struct slice encoder_output(const struct encoder *e);
void encoder_used(struct encoder *e, size_t n);

#endif
