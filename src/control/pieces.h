/* An answer too long for one turn: made and written a piece at a time, as fast as the client reads
 * and the other requests of the turn allow. */
#ifndef TEMPS_CONTROL_PIECES_H
#define TEMPS_CONTROL_PIECES_H

#include "base/buf.h"
#include "http/reply.h"
#include "reactor/deadline.h"

struct pieces {
	struct api_request *r;
	struct buf out; /* what <more> appends to */
	/* Appends some bytes, at most a few KiB; false: that was all, nothing was appended. */
	bool (*more)(void *arg);
	void *arg;
	struct deadline pace;
};

void pieces_init(struct pieces *p, struct api_request *r, bool (*more)(void *arg), void *arg);
/* Begins the answer. r->writable is taken and gets r->state, which must be <p>'s owner with <p> as
 * its first member. */
void pieces_answer(struct pieces *p, const char *content_type);
/* When the request is closed. */
void pieces_fini(struct pieces *p);

#endif
