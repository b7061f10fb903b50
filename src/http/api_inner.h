/* A request at an API, between api.c (routing, the body) and reply.c (the answer). */
#ifndef TEMPS_HTTP_API_INNER_H
#define TEMPS_HTTP_API_INNER_H

#include "base/buf.h"
#include "http/reply.h"

#define REPLY_MAX_FIELDS 8

struct api_call {
	struct api_request r;
	struct api *api;
	struct buf text;	/* decoded parameters, owned */
	struct buf body;	/* collected, owned */
	uint64_t dropped_bytes; /* of a body that the route does not take */
	bool handled;		/* the handler has been called, or an error was answered before */
	bool streaming;		/* the answer comes in pieces */
	bool hold;		/* the answer is not to be sent yet */
	unsigned held_status;	/* of the answer that waits; 0: none does */
	const char *held_type;
	/* the answer */
	struct buf fields; /* "name\0value\0" of reply_field() */
	unsigned nfields;
	struct buf out; /* content not yet taken */
	struct loop_reap reap;
};

static inline struct api_call *api_call_of(struct api_request *r)
{
	return CONTAINER_OF(r, struct api_call, r);
}

/* The transport has room again. */
void reply_on_writable(struct api_call *call);

#endif
