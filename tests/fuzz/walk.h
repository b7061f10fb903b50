/* Reads a whole connection's bytes at once, a message after the other: what a connection that gets
 * them in pieces must come to as well. For harnesses, and for tests/func/parse_batch.c. */
#ifndef TEMPS_TESTS_WALK_H
#define TEMPS_TESTS_WALK_H

#include "http/parse.h"

enum walk_event {
	WALK_MESSAGE,  /* <h> and <content> are a whole one */
	WALK_END,      /* nothing is left */
	WALK_HEAD,     /* the bytes end inside a head, */
	WALK_BODY,     /* inside content, of which <content> has come, */
	WALK_TRAILERS, /* or behind it */
	WALK_BAD_HEAD,
	WALK_BAD_BODY, /* <content> came before it went wrong */
};

struct walk {
	const char *p, *end; /* what is left */
	bool responses;
	uint8_t method_id; /* of the request that the response is to */
	struct head h;	   /* its slices point into the bytes */
	char *content;	   /* decoded; owned */
	size_t content_n;
	unsigned trailers;
	const char *why;
};

void walk_init(struct walk *w, const char *p, size_t n, bool responses);
void walk_fini(struct walk *w);
/* The next one. Behind the bytes the sender has closed: that ends what ends so. */
enum walk_event walk_next(struct walk *w);

#endif
