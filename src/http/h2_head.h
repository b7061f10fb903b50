/* Header blocks of HTTP/2 and the table of a head: a block comes in pair by pair and is checked as
 * RFC 9113 §8 has it; a head goes out as an array of pairs. Requests, responses and trailers, for
 * both sides. Nothing here knows a session, and nothing is repaired: what HTTP/1 would read
 * differently never gets into the table. */
#ifndef TEMPS_HTTP_H2_HEAD_H
#define TEMPS_HTTP_H2_HEAD_H

#include <nghttp2/nghttp2.h>

#include "http/parse.h"

enum h2_block { H2_REQUEST, H2_RESPONSE, H2_TRAILERS };

/* ---- in ---- */

struct h2_head_in {
	struct head *h; /* borrowed: where it goes */
	char *text;	/* borrowed: copies of names and values; the head points there */
	uint32_t size, used;
	uint32_t list_bytes; /* of all pairs as they came, also after a fault (RFC 9113 §6.5.2: 32
				bytes a field on top) */
	uint8_t block;	     /* enum h2_block */
	uint8_t pseudo;	     /* those that came, a bit each */
	bool regular;	     /* a field that is none came */
	uint8_t ncookies;    /* that are not joined yet */
	/* What is wrong, first come: <why> NULL while all is well; status 0: malformed, a stream
	 * error; else what to answer a request with (414, 431, 501). */
	struct parse_fault fault;
};

/* Begins a block: clears <h>; <text> must live as long as what is in it is used. */
void h2_head_begin(struct h2_head_in *in, enum h2_block block, struct head *h, char *text,
		   size_t size);
/* The next pair. 0, also when something is wrong (see fault); -ENOBUFS: the text is full and the
 * pair was not added: h2_head_move(), then the same pair again. */
int h2_head_add(struct h2_head_in *in, struct slice name, struct slice value) MUST_CHECK;
/* Goes on in a larger <text>; the old one is free then. */
void h2_head_move(struct h2_head_in *in, char *text, size_t size);
/* The block is complete; <last>: nothing follows it on the stream. Decides the body (for a
 * response: to a request with <method_id>). 0; -EBADMSG with fault set; -ENOBUFS as above: call it
 * again. */
int h2_head_end(struct h2_head_in *in, bool last, uint8_t method_id) MUST_CHECK;

/* ---- out ---- */

#define H2_PAIRS_MAX (HEAD_MAX_FIELDS + 8)

struct h2_head_out {
	nghttp2_nv nv[H2_PAIRS_MAX]; /* points into the head and <digits>; names in any case:
					nghttp2 folds what it copies */
	size_t n;
	char digits[24], status[3];
};

/* Only body and length of <f> matter: Content-Length with BODY_LENGTH. What HTTP/2 has no place for
 * (RFC 9113 §8.2.2) and framing fields in the table are left out; Host becomes :authority; a
 * request with a protocol becomes an extended CONNECT (RFC 8441), one with te_trailers says so. */
void h2_head_request(struct h2_head_out *out, const struct head *h, const struct write_framing *f);
void h2_head_response(struct h2_head_out *out, const struct head *h, const struct write_framing *f);
/* Without those that RFC 9110 §6.5.1 bars from there. */
void h2_head_trailers(struct h2_head_out *out, const struct head *trailers);

#endif
