/* Policies: what an app or a static route may ask of the front door beyond where it leads. They are
 * key=value texts everywhere (command line, API, store); this is what they become. Each is a row of
 * one table in policy.c; temps-policy(7) has a paragraph for each row. */
#ifndef TEMPS_PROXY_POLICY_H
#define TEMPS_PROXY_POLICY_H

#include "base/pairs.h"
#include "base/range.h"

#define POLICY_KEYS_MAX 64
#define POLICY_VALUE_MAX 32768u /* bytes */

enum balance {
	BALANCE_P2C, /* the better of two by requests in flight, equals in turn */
	BALANCE_ROUND_ROBIN,
	BALANCE_LEAST_CONNECTIONS, /* of all, equals in turn */
};
enum policy_protocol { PROTOCOL_HTTP1, PROTOCOL_H2C };

/* One change of a head. */
enum policy_edit { EDIT_SET, EDIT_ADD, EDIT_REMOVE };
struct policy_header {
	enum policy_edit edit;
	const char *name;
	const char *value; /* not with EDIT_REMOVE */
};

struct policy_headers {
	struct policy_header *items; /* owned, as are the texts */
	size_t n;
};

/* Who may pass: a name and what crypt(3) made of the password. */
struct policy_users {
	struct pair *items; /* owned, as are the texts */
	size_t n;
};

struct policy_redirect {
	char *to; /* owned: a location with {host} and {path}; NULL: none */
	uint16_t status;
};

/* Zero is the default, of every field. What it points to is its own: policy_fini(). */
struct upstream_policy {
	/* given by who creates the upstream, not by a key */
	bool hold; /* requests wait when no endpoint is in (apps); else 503/502 at once (static
		      routes) */
	uint32_t hold_ms;
	char *health_host; /* Host field of health checks; NULL: the endpoint's address */
	bool broken; /* its texts cannot be read: every request gets 503, so that no limit of an
			older or newer version is silently left out */

	/* the choice of an endpoint */
	uint8_t balance; /* enum balance */
	char *sticky;	 /* name of the cookie */
	/* Requests in flight at one endpoint, tunnels and event streams among them; 0 = no limit.
	 * When all have as many, requests wait, first in first out; 503 when <queue> do (0:
	 * front_config.hold_max), or for one that waits <queue_ms> (0: front_config.hold_ms). */
	uint32_t max_in_flight, queue, queue_ms;

	/* Health: endpoints that are in are asked GET <health_path> every <health_interval_ms> (5 s),
	 * 2xx and 3xx are good. Out after <health_fall> (3) failures in a row; on trial after
	 * <health_rise> (2) successes, however it went out. NULL: no checks. */
	char *health_path;
	uint32_t health_interval_ms, health_rise, health_fall;

	/* the upstream's side */
	uint32_t head_ms; /* response head limit */
	uint8_t protocol; /* enum policy_protocol */

	/* what a request must meet: filter.c; <filters> says that there is any */
	bool filters;
	uint32_t rate, burst; /* of one client address: requests a second; at once */
	uint64_t max_body_bytes;
	struct ranges allow, deny;
	struct policy_users users;
	struct policy_redirect redirect;

	/* changes on the way */
	uint8_t compress;
	struct policy_headers request_headers, response_headers;
};

/* A row of the table, for people. */
struct policy_key {
	const char *name;
	const char *form; /* of its values: "N", "p2c|round-robin" */
	const char *help;
	bool secret; /* listings show policy_shown() of it */
};
/* The <i>th row, or NULL after the last. */
const struct policy_key *policy_key(size_t i);

/* Reads <pairs> into <p>, which is overwritten. An empty value is the default. -EINVAL: <err> names
 * the key, the value and what is allowed; <p> is empty then. */
int policy_parse(struct upstream_policy *p, const struct pairs *pairs, struct err *err) MUST_CHECK;
void policy_fini(struct upstream_policy *p);

/* <base> with <changes> on top: an empty value takes a key away. Overwrites <out>, the caller's to
 * pairs_fini(). */
void policy_merge(struct pairs *out, const struct pairs *base, const struct pairs *changes);
/* Its value is shown to nobody. */
bool policy_is_secret(const char *key);
/* Writes <pairs> as member <name> of a listing: of a secret only what is none (the names). */
void policy_put(const struct pairs *pairs, struct json_out *o, const char *name);

/* The next line of a value that holds several, trimmed; an empty slice with p == NULL: no more. */
struct slice policy_line(struct slice *rest);

#endif
