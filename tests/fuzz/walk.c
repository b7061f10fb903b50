/* Messages of a connection, read in one go. */
#include "walk.h"

#include <stdlib.h>

void walk_init(struct walk *w, const char *p, size_t n, bool responses)
{
	*w = (struct walk){ .p = p,
			    .end = p + n,
			    .responses = responses,
			    .method_id = METHOD_GET,
			    .content = malloc(n + 1) };
}

void walk_fini(struct walk *w)
{
	free(w->content);
}

static enum walk_event chunked(struct walk *w)
{
	struct chunk_parser c;
	struct head trailers;
	struct slice data;
	size_t used;

	chunk_init(&c);
	for (;;) {
		switch (chunk_next(&c, w->p, (size_t)(w->end - w->p), &used, &data, &trailers,
				   &w->why)) {
		case CHUNK_DATA:
			memcpy(w->content + w->content_n, data.p, data.n);
			w->content_n += data.n;
			break;
		case CHUNK_END:
			w->p += used;
			w->trailers = trailers.nfields;
			return WALK_MESSAGE;
		case CHUNK_MORE: return c.trailer_bytes ? WALK_TRAILERS : WALK_BODY;
		default: return WALK_BAD_BODY;
		}
		w->p += used;
	}
}

static enum walk_event plain(struct walk *w)
{
	size_t left = (size_t)(w->end - w->p);

	if (w->h.body == BODY_LENGTH)
		w->content_n = MIN(left, w->h.content_length);
	else if (w->h.body == BODY_UNTIL_CLOSE)
		w->content_n = left;
	memcpy(w->content, w->p, w->content_n);
	w->p += w->content_n;
	return w->h.body == BODY_LENGTH && w->content_n < w->h.content_length ? WALK_BODY
									      : WALK_MESSAGE;
}

enum walk_event walk_next(struct walk *w)
{
	struct head_scan scan = { 0 };
	struct parse_fault fault;
	size_t n = (size_t)(w->end - w->p);
	ssize_t len;

	w->content_n = w->trailers = 0;
	if (n == 0)
		return WALK_END;
	len = w->responses ? parse_response(&scan, w->p, n, w->method_id, &w->h, &fault)
			   : parse_request(&scan, w->p, n, &w->h, &fault);
	if (len < 0) {
		w->why = fault.why;
		return WALK_BAD_HEAD;
	}
	if (len == 0)
		return WALK_HEAD;
	w->p += len;
	return w->h.body == BODY_CHUNKED ? chunked(w) : plain(w);
}
