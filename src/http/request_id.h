/* Request ids: unique, not secret. */
#ifndef TEMPS_HTTP_REQUEST_ID_H
#define TEMPS_HTTP_REQUEST_ID_H

#include "base/slice.h"

#define REQUEST_ID_MAX 36 /* of those that are taken from a client */

/* Where a server's ids come from; <seed> is random, drawn once. No system call an id. */
struct request_ids {
	uint64_t seed[2], count;
};

/* 32 hex digits and a NUL. */
void request_id_make(struct request_ids *ids, char id[REQUEST_ID_MAX + 1]);
/* 1 to 36 of [A-Za-z0-9._-]: fit to be taken over. */
bool request_id_valid(struct slice s);

#endif
