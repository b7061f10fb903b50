/* A message head as a table: what both HTTP versions parse into and are written from. Received
 * bytes of a head are never forwarded; they are parsed here, strictly, and written again from the
 * table (LIBRARIES §2 gives the accept/reject table). */
#ifndef TEMPS_HTTP_HEAD_H
#define TEMPS_HTTP_HEAD_H

#include "base/slice.h"

#define HEAD_MAX_FIELDS 100
#define HEAD_MAX_BYTES 32768  /* start line and fields together */
#define HEAD_MAX_TARGET 16384 /* longer: 414 */

/* Fields the code asks for by number; everything else is FIELD_OTHER and found by name. Order is
 * head.c's table. */
enum field_id {
	FIELD_OTHER,
	FIELD_ACCEPT,
	FIELD_ACCEPT_ENCODING,
	FIELD_AUTHORIZATION,
	FIELD_CONNECTION,
	FIELD_CONTENT_ENCODING,
	FIELD_CONTENT_LENGTH,
	FIELD_CONTENT_TYPE,
	FIELD_COOKIE,
	FIELD_DATE,
	FIELD_EXPECT,
	FIELD_FORWARDED,
	FIELD_HOST,
	FIELD_KEEP_ALIVE,
	FIELD_LOCATION,
	FIELD_PROXY_AUTHENTICATE,
	FIELD_PROXY_AUTHORIZATION,
	FIELD_PROXY_CONNECTION,
	FIELD_RETRY_AFTER,
	FIELD_SERVER,
	FIELD_SET_COOKIE,
	FIELD_TE,
	FIELD_TRACEPARENT,
	FIELD_TRAILER,
	FIELD_TRANSFER_ENCODING,
	FIELD_UPGRADE,
	FIELD_VIA,
	FIELD_X_FORWARDED_FOR,
	FIELD_X_FORWARDED_HOST,
	FIELD_X_FORWARDED_PORT,
	FIELD_X_FORWARDED_PROTO,
	FIELD_X_REAL_IP,
	FIELD_X_REQUEST_ID,
	FIELD_IDS
};

enum method {
	METHOD_OTHER,
	METHOD_GET,
	METHOD_HEAD,
	METHOD_POST,
	METHOD_PUT,
	METHOD_DELETE,
	METHOD_PATCH,
	METHOD_OPTIONS,
	METHOD_TRACE,
	METHOD_CONNECT
};

struct field {
	struct slice name;  /* as received (h1) or lower case (h2); compare without case */
	struct slice value; /* without surrounding white space */
	uint8_t id;	    /* enum field_id */
};

/* How the body's end is found (RFC 9112 §6.3), or that there is none. */
enum body_kind { BODY_NONE, BODY_LENGTH, BODY_CHUNKED, BODY_UNTIL_CLOSE };

struct head {
	/* request */
	struct slice method;
	struct slice scheme;	/* "https" or "http": of the connection (h1), of :scheme (h2) */
	struct slice authority; /* host[:port]: of an absolute target, else of Host (h1), or
				   :authority */
	struct slice path;	/* origin form with query, "*" for OPTIONS, empty for CONNECT */
	struct slice protocol;	/* h1: value of Upgrade when Connection names it; h2: :protocol of
				   extended CONNECT; else empty */
	uint8_t method_id;
	uint8_t minor; /* HTTP/1.<minor>; 1 for h2 */
	/* response */
	uint16_t status;
	/* both */
	bool keep_alive; /* h1: the sender allows another message on this connection */
	bool expect_continue;
	bool te_trailers;
	uint8_t body; /* enum body_kind, decided by the parser; for a request as sent, for a
			 response given the request's method */
	uint64_t content_length; /* with BODY_LENGTH; also of a HEAD or 304 response when it gave
				    one */
	bool has_length;
	uint8_t nfields;
	uint8_t first[FIELD_IDS]; /* index+1 of the first field with that id, 0 = none */
	struct field fields[HEAD_MAX_FIELDS];
};

void head_init(struct head *h);
/* Names of the known fields in their usual spelling ("Content-Length"). */
extern const struct slice field_names[FIELD_IDS];

/* Adds a field to a head that we write; name and value are borrowed until it is sent. False when
 * the table is full. Inline, as all that runs for every field. */
static inline bool head_put(struct head *h, enum field_id id, struct slice name, struct slice value)
{
	if (h->nfields >= HEAD_MAX_FIELDS)
		return false;
	h->fields[h->nfields++] = (struct field){ .name = name, .value = value, .id = id };
	if (!h->first[id])
		h->first[id] = h->nfields;
	return true;
}

static inline bool head_add(struct head *h, enum field_id id, struct slice value)
{
	return head_put(h, id, field_names[id], value);
}

/* One of another head: a known name gets its usual spelling. */
static inline bool head_copy(struct head *h, const struct field *f)
{
	return head_put(h, f->id, f->id == FIELD_OTHER ? f->name : field_names[f->id], f->value);
}

bool head_add_other(struct head *h, struct slice name, struct slice value);

/* Names as CGI and its like have them: in one case, and '_' is '-'. */
static inline char head_fold(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c == '_' ? '-' : c;
}

/* Takes out every field whose name reads as that one; the others keep their order. */
void head_remove(struct head *h, struct slice name);
/* The first value of that field, or NULL. */
static inline const struct field *head_field(const struct head *h, enum field_id id)
{
	return h->first[id] ? &h->fields[h->first[id] - 1] : NULL;
}

const struct field *head_find(const struct head *h, struct slice name);
/* Is the content of this type, whatever its parameters (case folded)? */
bool head_is_type(const struct head *h, struct slice type);
/* Does the comma-separated list in all fields <id> hold <token> (case folded)? */
bool head_has_token(const struct head *h, enum field_id id, struct slice token);
/* Safe methods and idempotent ones (RFC 9110 §9.2). */
bool method_is_idempotent(uint8_t method_id);
struct slice status_reason(unsigned status);
/* authority split: host (a v6 literal keeps its brackets) and port (0 when none). -EINVAL when it
 * is not host[:port]. */
int head_split_authority(struct slice authority, struct slice *host, uint16_t *port) MUST_CHECK;

#endif
