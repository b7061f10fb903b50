/* Parsing HTTP/1 heads and chunked framing: pure functions on bytes, resumable at every byte,
 * strict with no lenient mode (RFC 9112). */
#ifndef TEMPS_HTTP_PARSE_H
#define TEMPS_HTTP_PARSE_H

#include <sys/types.h>

#include "http/head.h"

/* Where a resumable scan for the end of the head stands; zero it for each message. */
struct head_scan {
	uint32_t seen; /* bytes already looked at */
};

/* What is wrong, as the status to answer with and a word for counters and the debug log. */
struct parse_fault {
	uint16_t status; /* 400, 413, 414, 431, 501, 505 */
	const char *why; /* static: "bare LF", "two Host fields" */
};

/* Parses a request head at p[0..n). >0: bytes of the head, <h> filled in, its slices point into
 * <p>. 0: incomplete, call again with more (the same bytes first). -EBADMSG: reject and close,
 * <*fault> says how. Leading CRLFs (at most 4) are skipped. */
ssize_t parse_request(struct head_scan *scan, const char *p, size_t n, struct head *h,
		      struct parse_fault *fault);
/* A response head, to a request with <method_id>; 1xx included. */
ssize_t parse_response(struct head_scan *scan, const char *p, size_t n, uint8_t method_id,
		       struct head *h, struct parse_fault *fault);

/* Chunked bodies. Feed it the bytes; it hands out runs of content. */
struct chunk_parser {
	uint8_t state;
	uint64_t left;		/* content bytes left in this chunk */
	uint32_t line_bytes;	/* digits of this chunk's size (at most 15), then bytes of its
				   extension (at most 256) */
	uint32_t excess_bytes;	/* of size lines, less a share for each chunk and its content: at
				   most 16 KiB */
	uint32_t trailer_bytes; /* at most 8 KiB, kept in the caller's buffer until complete */
};

enum chunk_event { CHUNK_MORE, CHUNK_DATA, CHUNK_END, CHUNK_BAD };

void chunk_init(struct chunk_parser *c);
/* Looks at p[0..n). <*used> bytes are done with. CHUNK_DATA: <*data> is content inside the used
 * bytes. CHUNK_END: the body is over, trailers (if any) are in <trailers> pointing into <p> (valid
 * while <p> is). CHUNK_MORE: needs more bytes than these. When a trailer section is incomplete its
 * bytes are not counted as used, so that it stays in one piece. */
enum chunk_event chunk_next(struct chunk_parser *c, const char *p, size_t n, size_t *used,
			    struct slice *data, struct head *trailers, const char **why);

/* Writing. Returns bytes written to out[0..size), or -EMSGSIZE. The framing fields (Connection,
 * Content-Length, Transfer-Encoding, Upgrade) are the writer's: those in the table are skipped and
 * these given instead. A request without a Host field gets one from <authority>. */
struct write_framing {
	uint8_t body; /* enum body_kind */
	uint64_t length;
	bool close;	      /* Connection: close */
	bool te_trailers;     /* Connection: TE and TE: trailers, in a request that goes on */
	bool keep_alive_10;   /* Connection: keep-alive, to an HTTP/1.0 client that asked */
	struct slice upgrade; /* Connection: Upgrade and Upgrade: <this> */
};
ssize_t write_request(char *out, size_t size, const struct head *h, const struct write_framing *f);
ssize_t write_response(char *out, size_t size, const struct head *h, const struct write_framing *f);
/* The last chunk and the trailers (NULL: none) without those that RFC 9110 §6.5.1 bars from there.
 */
ssize_t write_trailers(char *out, size_t size, const struct head *trailers);
#define CHUNK_HEAD_MAX 20
/* "1f4\r\n" for a chunk of n > 0 bytes; returns its length. */
size_t write_chunk_head(char out[CHUNK_HEAD_MAX], uint64_t n);

#endif
