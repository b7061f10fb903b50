/* Finds, seals and opens registry credentials. */
#include "control/registry.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "control/control.h"
#include "control/deployer.h"
#include "reactor/crypto.h"
#include "reactor/seal.h"

bool registry_is_named(const char *image)
{
	const char *slash = strchr(image, '/');
	size_t n = slash ? (size_t)(slash - image) : 0;

	/* Docker's rule: the first part is a server when it looks like one. */
	return n && n < 256 &&
	       (memchr(image, '.', n) || memchr(image, ':', n) ||
		slice_eq(slice_of(image, n), SLICE("localhost")));
}

void registry_server(const char *image, char *out)
{
	if (registry_is_named(image))
		snprintf(out, 256, "%.*s", (int)strcspn(image, "/"), image);
	else
		snprintf(out, 256, "docker.io");
}

static char *open_value(const struct control *c, const struct registry *r)
{
	struct buf password, auth;
	struct json *j;
	struct json_out o;
	int rc;

	if (json_parse(&j, slice_str(r->value), NULL))
		return NULL;
	buf_init(&password, 65536);
	buf_init(&auth, 0);
	rc = seal_open(c->seal_key, json_str(json_get(j, "sealed"), ""), &password);
	if (rc) {
		log_error(
			"credentials of registry %s cannot be opened: was secret.key replaced? Log in again.",
			r->server);
	} else {
		json_out_init(&o, &auth);
		json_obj(&o, NULL);
		json_put_slice(&o, "username", json_str(json_get(j, "username"), ""));
		json_put_slice(&o, "password", buf_slice(&password));
		json_put_str(&o, "serveraddress",
			     strcmp(r->server, "docker.io") == 0 ? "https://index.docker.io/v1/"
								 : r->server);
		json_obj_end(&o);
		crypto_wipe(password.data, password.len);
	}
	buf_fini(&password);
	json_free(j);
	return rc ? NULL : buf_steal(&auth);
}

char *registry_auth(const struct control *c, const char *image)
{
	const struct list *all = cluster_registries(deployer_cluster(c->deployer));
	char server[256];

	registry_server(image, server);
	LIST_FOR_EACH(r, all, struct registry, link)
		if (strcmp(r->server, server) == 0)
			return open_value(c, r);
	return NULL;
}

void registry_auth_free(char *auth)
{
	if (auth)
		crypto_wipe(auth, strlen(auth));
	free(auth);
}

int registry_value(const struct control *c, struct slice username, struct slice password,
		   struct buf *value)
{
	struct json_out o;
	struct buf sealed;
	int rc;

	buf_init(&sealed, 0);
	rc = seal_close(c->seal_key, password, &sealed);
	if (!rc) {
		json_out_init(&o, value);
		json_obj(&o, NULL);
		json_put_slice(&o, "username", username);
		json_put_slice(&o, "sealed", buf_slice(&sealed));
		json_obj_end(&o);
	}
	buf_fini(&sealed);
	return rc;
}
