/* Credentials of image registries: given by the administrator, sealed in the store, sent with each
 * pull. */
#ifndef TEMPS_CONTROL_REGISTRY_H
#define TEMPS_CONTROL_REGISTRY_H

#include "base/buf.h"

struct control;

/* Whether an image reference begins with a registry's name. */
bool registry_is_named(const char *image);
/* The server part of an image reference: "registry.example.test:5000" of
 * "registry.example.test:5000/team/app:1"; "docker.io" when it names none. <out> takes 256 bytes.
 */
void registry_server(const char *image, char *out);
/* {"username","password","serveraddress"} for pulling <image>, to be released with
 * registry_auth_free(); NULL: nothing is known. */
char *registry_auth(const struct control *c, const char *image);
void registry_auth_free(char *auth);	/* wipes it; NULL is fine */
/* What is stored for a server: {"username", "sealed"}. Appended to <value>. */
int registry_value(const struct control *c, struct slice username, struct slice password,
		   struct buf *value) MUST_CHECK;

#endif
