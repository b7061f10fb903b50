/* Which fields a message keeps on its way through: hop-by-hop fields go (RFC 9110 §7.6.1), the
 * forwarding family is ours to write. */
#ifndef TEMPS_PROXY_FORWARD_H
#define TEMPS_PROXY_FORWARD_H

#include "base/range.h"
#include "http/date.h"
#include "http/exchange.h"
#include "proxy/policy.h"

#define FORWARD_TEXT_BYTES \
	8192 /* for what is composed: an appended X-Forwarded-For and Forwarded */

/* One for a front door: the ranges, and the scratch that a written head borrows until the next
 * call. */
struct forward {
	struct ranges trusted;
	struct head head;
	char text[FORWARD_TEXT_BYTES];
	size_t text_n;
	struct http_date date;
};

/* <trusted>: "10.0.0.0/8", "fd00::/8" or a single address; NULL-terminated, or NULL. -EINVAL
 * names the bad one. */
int forward_init(struct forward *fw, const char *const *trusted, struct err *err) MUST_CHECK;
void forward_fini(struct forward *fw);

/* The head to send upstream for <x>. Borrows from <x> and <fw>, valid until the next call on
 * <fw>. NULL: does not fit, answer 431. */
const struct head *forward_request(struct forward *fw, const struct exchange *x);
/* The head to give the client for an upstream's <in>, 1xx and 101 included. NULL: does not fit. */
struct head *forward_response(struct forward *fw, const struct head *in);
/* An OPTIONS whose Max-Forwards is 0 is ours to answer (RFC 9110 §7.6.2). */
bool forward_ends_here(const struct head *in);
/* Does the 101 in <h> switch to something that <asked>, the value of a request's Upgrade, offers? */
bool forward_upgrade_fits(struct slice asked, const struct head *h);
/* Trailers without what must not come in them (RFC 9110 §6.5.1). NULL stays NULL. */
const struct head *forward_trailers(struct forward *fw, const struct head *in);
/* Is that field ours to write, or the transport's: hop-by-hop, framing, or of the forwarding
 * family? */
bool forward_owns(struct slice name);
/* Did the client use https: with us, or with a proxy we trust? */
bool forward_is_https(const struct forward *fw, const struct exchange *x);
/* The client's address for rules about it: the peer's, or, when that is a proxy we trust, the last
 * one in X-Forwarded-For that is none. Who comes over a unix socket is 127.0.0.1. */
void forward_client_ip(const struct forward *fw, const struct exchange *x,
		       uint8_t ip[RANGE_IP_BYTES]);
/* Makes a policy's changes on the head that forward_request() or forward_response() gave last; the
 * same pointer stays valid. False: it does not fit. */
bool forward_edit(struct forward *fw, const struct policy_headers *changes);
/* The client's address without its port. */
struct slice forward_client(const struct exchange *x);

#endif
