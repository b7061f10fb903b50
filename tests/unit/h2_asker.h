/* One request over HTTP/2 with prior knowledge, on a non-blocking socket, and what a client is told. */
#ifndef TEMPS_TESTS_H2_ASKER_H
#define TEMPS_TESTS_H2_ASKER_H

#include <nghttp2/nghttp2.h>

#include "base/base.h"

struct asker {
	int fd;
	nghttp2_session *session;
	size_t content_left; /* of the request */
	/* the answer */
	unsigned status;
	long length; /* Content-Length, or -1 */
	char body[256];
	size_t body_n;
	bool whole; /* it ended as it should */
	bool over;  /* nothing more comes: with !whole it was reset, or the connection ended */
};

/* Begins on <fd>, which is taken; the content is <content> bytes of 'b'. */
void asker_open(struct asker *a, int fd, const char *method, const char *authority, size_t content);
void asker_close(struct asker *a);
/* What to poll for, and what to do then. */
short asker_events(const struct asker *a);
void asker_step(struct asker *a);

#endif
