/* Which certificate a TLS client gets: one the administrator gave in a file or to the API, else one
 * that the front CA issues for a routed host, else the console's own. Files are read again when they
 * change. Lives on the loop thread. */
#ifndef TEMPS_CONTROL_CERTS_H
#define TEMPS_CONTROL_CERTS_H

#include "base/json.h"
#include "control/authority.h"
#include "control/cert_store.h"
#include "control/serve.h"
#include "reactor/tls.h"

struct certs;

struct certs_config {
	struct loop *loop;
	struct cert_store *stored;		/* borrowed for ever; NULL: none */
	const struct serve_cert *given;		/* borrowed for ever */
	size_t ngiven;
	const struct authority *front_ca;	/* borrowed for ever */
	const char *console_host;		/* NULL: none */
	/* NULL-terminated addresses the console's certificate names beside the loopback ones;
	 * copied */
	const char *const *ips;
	/* Does the front door serve this host (also asked with "*." in front)? */
	bool (*routed)(void *arg, struct slice host);
	void *arg;
};

/* Reads every given certificate and issues the console's. Blocks: before the loop runs. */
int certs_create(struct certs **out, const struct certs_config *c, struct err *err) MUST_CHECK;
void certs_destroy(struct certs *c);
/* Reads the given files again: all of them or, with an error, none. Happens by itself within
 * CERTS_WATCH_MS of a change. */
int certs_reload(struct certs *c, struct err *err) MUST_CHECK;
/* A tls_pick_fn: <arg> is the struct certs. A host without a certificate of its own gets one on the
 * spot (about 0.3 ms), kept among the CERTS_CACHE_MAX latest; an unknown name gets the console's
 * certificate, and then 404. */
const struct tls_cert *certs_pick(void *arg, struct slice sni);
#define CERTS_CACHE_MAX 4096
#define CERTS_WATCH_MS 5000
#define CERTS_SOON_DAYS 14	/* before its end a given certificate is spoken of in the log, daily */
/* The items of GET /api/certs; returns how many. */
size_t certs_emit(const struct certs *c, struct json_out *o);

struct certs_stats {
	uint32_t given, stored, issued;
	uint64_t end_ms;	/* when the first of the given and stored ones ends, since 1970; 0: there is none */
};
struct certs_stats certs_stats(const struct certs *c);

#endif
