/* Policy compress: which responses are encoded, how they are announced, and the way through the
 * encoder between an upstream and its client. On the loop, not on the work thread: a turn encodes
 * at most 64 KiB for all responses together, which takes less than a millisecond; a thread would
 * cost each block two copies and two wake-ups, and hold it back behind password hashes and log
 * lines. */
#ifndef TEMPS_PROXY_COMPRESS_H
#define TEMPS_PROXY_COMPRESS_H

#include "http/head.h"
#include "proxy/encode.h"
#include "reactor/loop.h"

#define COMPRESS_TURN_BYTES 65536u
#define COMPRESS_MAX_BYTES (64u << 20) /* of encoders: 380 of gzip, 50 of brotli */
#define COMPRESS_MIN_BYTES 256u	       /* of content: less is not worth it */
#define COMPRESS_TAG_MAX 512u	       /* of an ETag, as it is sent */

struct front;
struct relay;

/* One for a front door. */
struct compress {
	struct loop *loop;
	struct encode_pool encoders;
	struct list waiting; /* struct packer: until the next turn */
	struct loop_task next_turn;
	uint64_t turn; /* <turn_bytes> is of that one */
	uint32_t turn_bytes;
	char etag[COMPRESS_TAG_MAX]; /* of the response being announced */
};
void compress_init(struct compress *c, struct loop *l);
void compress_fini(struct compress *c);

/* May this response be encoded, whatever the client takes? Pure. */
bool compress_may(const struct head *req, const struct head *response);
/* The better of what the client takes (RFC 9110 §12.5.3) and we have; CODING_NONE: as it is. Pure. */
enum coding compress_choose(const struct head *req);

/* The encoder of one response. */
struct packer;

/* Decides about the response <h> to <r>, and announces it there. NULL: it passes as it is. */
struct packer *compress_begin(struct relay *r, struct head *h);
/* Content from the upstream: the bytes taken. Less: client_resume() follows. */
size_t compress_take(struct packer *p, const char *data, size_t n);
/* The upstream's response is complete; exchange_end() follows, now or later. */
void compress_end(struct packer *p);
/* The client takes bytes again. True: the upstream's next bytes may come. */
bool compress_go_on(struct packer *p);
/* NULL is fine. */
void compress_stop(struct packer *p);

#endif
