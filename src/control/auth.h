/* The one place that decides who may call the API. Every route states a scope; nothing is open by
 * default. */
#ifndef TEMPS_CONTROL_AUTH_H
#define TEMPS_CONTROL_AUTH_H

#include "http/reply.h"

/* An API key carries one of READ, WRITE and ADMIN; each includes those before it. */
enum scope {
	SCOPE_NONE,		/* forgotten in a table: refused */
	SCOPE_PUBLIC,		/* anybody */
	SCOPE_JOIN,		/* anybody; the domain checks the token in the body */
	SCOPE_NODE,		/* the node named by the first parameter, with its own token */
	SCOPE_READ,
	SCOPE_WRITE,
	SCOPE_ADMIN,
};

/* api_config.authorise for a table whose app is the struct control. Callers over the unix socket
 * are administrators: the socket has checked that they are root or the server's own user. */
int auth_check(struct api_request *r);
/* The bearer token of a request, empty when there is none. */
struct slice auth_bearer(const struct api_request *r);
/* Who an authorised caller is, for people: "key NAME", or "local" over the unix socket.
 * <out> takes AUTH_WHO_SIZE bytes. */
#define AUTH_WHO_SIZE 160u
void auth_who(const struct api_request *r, char *out);
/* "read", "write", "admin"; SCOPE_NONE for anything else. */
enum scope auth_scope(const char *name);

#endif
