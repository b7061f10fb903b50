/* The table of a head: known names, lookup, lists inside values, authorities. */
#include "http/head.h"

#include <arpa/inet.h>
#include <errno.h>

#include "http/fields.h"

const struct slice field_names[FIELD_IDS] = {
	[FIELD_ACCEPT] = { "Accept", 6 },
	[FIELD_ACCEPT_ENCODING] = { "Accept-Encoding", 15 },
	[FIELD_AUTHORIZATION] = { "Authorization", 13 },
	[FIELD_CONNECTION] = { "Connection", 10 },
	[FIELD_CONTENT_ENCODING] = { "Content-Encoding", 16 },
	[FIELD_CONTENT_LENGTH] = { "Content-Length", 14 },
	[FIELD_CONTENT_TYPE] = { "Content-Type", 12 },
	[FIELD_COOKIE] = { "Cookie", 6 },
	[FIELD_DATE] = { "Date", 4 },
	[FIELD_EXPECT] = { "Expect", 6 },
	[FIELD_FORWARDED] = { "Forwarded", 9 },
	[FIELD_HOST] = { "Host", 4 },
	[FIELD_KEEP_ALIVE] = { "Keep-Alive", 10 },
	[FIELD_LOCATION] = { "Location", 8 },
	[FIELD_PROXY_AUTHENTICATE] = { "Proxy-Authenticate", 18 },
	[FIELD_PROXY_AUTHORIZATION] = { "Proxy-Authorization", 19 },
	[FIELD_PROXY_CONNECTION] = { "Proxy-Connection", 16 },
	[FIELD_RETRY_AFTER] = { "Retry-After", 11 },
	[FIELD_SERVER] = { "Server", 6 },
	[FIELD_SET_COOKIE] = { "Set-Cookie", 10 },
	[FIELD_TE] = { "TE", 2 },
	[FIELD_TRACEPARENT] = { "traceparent", 11 },
	[FIELD_TRAILER] = { "Trailer", 7 },
	[FIELD_TRANSFER_ENCODING] = { "Transfer-Encoding", 17 },
	[FIELD_UPGRADE] = { "Upgrade", 7 },
	[FIELD_VIA] = { "Via", 3 },
	[FIELD_X_FORWARDED_FOR] = { "X-Forwarded-For", 15 },
	[FIELD_X_FORWARDED_HOST] = { "X-Forwarded-Host", 16 },
	[FIELD_X_FORWARDED_PORT] = { "X-Forwarded-Port", 16 },
	[FIELD_X_FORWARDED_PROTO] = { "X-Forwarded-Proto", 17 },
	[FIELD_X_REAL_IP] = { "X-Real-IP", 9 },
	[FIELD_X_REQUEST_ID] = { "X-Request-ID", 12 },
};

/* Candidates by the name's length, so that most names cost one or two byte compares. A row ends
 * with FIELD_OTHER. */
#define LONGEST_NAME 19
static const uint8_t by_length[LONGEST_NAME + 1][5] = {
	[2] = { FIELD_TE },
	[3] = { FIELD_VIA },
	[4] = { FIELD_HOST, FIELD_DATE },
	[6] = { FIELD_ACCEPT, FIELD_COOKIE, FIELD_SERVER, FIELD_EXPECT },
	[7] = { FIELD_UPGRADE, FIELD_TRAILER },
	[8] = { FIELD_LOCATION },
	[9] = { FIELD_X_REAL_IP, FIELD_FORWARDED },
	[10] = { FIELD_CONNECTION, FIELD_SET_COOKIE, FIELD_KEEP_ALIVE },
	[11] = { FIELD_TRACEPARENT, FIELD_RETRY_AFTER },
	[12] = { FIELD_CONTENT_TYPE, FIELD_X_REQUEST_ID },
	[13] = { FIELD_AUTHORIZATION },
	[14] = { FIELD_CONTENT_LENGTH },
	[15] = { FIELD_ACCEPT_ENCODING, FIELD_X_FORWARDED_FOR },
	[16] = { FIELD_CONTENT_ENCODING, FIELD_X_FORWARDED_HOST, FIELD_X_FORWARDED_PORT,
		 FIELD_PROXY_CONNECTION },
	[17] = { FIELD_TRANSFER_ENCODING, FIELD_X_FORWARDED_PROTO },
	[18] = { FIELD_PROXY_AUTHENTICATE },
	[19] = { FIELD_PROXY_AUTHORIZATION },
};

static inline char fold(char c)
{
	return c | 0x20; /* right for the letters and '-' that known names consist of */
}

enum field_id field_lookup(struct slice name)
{
	if (name.n > LONGEST_NAME || name.n == 0)
		return FIELD_OTHER;
	for (const uint8_t *id = by_length[name.n]; *id != FIELD_OTHER; id++) {
		/* The last byte tells most names of one length apart. */
		if (fold(name.p[name.n - 1]) != fold(field_names[*id].p[name.n - 1]))
			continue;
		if (slice_eq_nocase(name, field_names[*id]))
			return *id;
	}
	return FIELD_OTHER;
}

void head_init(struct head *h)
{
	/* The fields are not cleared: only fields[0..nfields) are ever read. */
	memset(h, 0, offsetof(struct head, fields));
	h->minor = 1;
}

bool head_add_other(struct head *h, struct slice name, struct slice value)
{
	return head_put(h, field_lookup(name), name, value);
}

/* The same name for a program that gets them so. */
static bool reads_as(struct slice a, struct slice b)
{
	for (size_t i = 0; a.n == b.n && i < a.n; i++)
		if (head_fold(a.p[i]) != head_fold(b.p[i]))
			return false;
	return a.n == b.n;
}

void head_remove(struct head *h, struct slice name)
{
	unsigned kept = 0;

	memset(h->first, 0, sizeof(h->first));
	for (unsigned i = 0; i < h->nfields; i++) {
		struct field f = h->fields[i];

		if (reads_as(f.name, name))
			continue;
		h->fields[kept++] = f;
		if (!h->first[f.id])
			h->first[f.id] = (uint8_t)kept;
	}
	h->nfields = (uint8_t)kept;
}

const struct field *head_find(const struct head *h, struct slice name)
{
	enum field_id id = field_lookup(name);

	if (id != FIELD_OTHER)
		return head_field(h, id);
	for (unsigned i = 0; i < h->nfields; i++)
		if (h->fields[i].id == FIELD_OTHER && slice_eq_nocase(h->fields[i].name, name))
			return &h->fields[i];
	return NULL;
}

bool head_is_type(const struct head *h, struct slice type)
{
	const struct field *f = head_field(h, FIELD_CONTENT_TYPE);

	if (!f || f->value.n < type.n || !slice_eq_nocase(slice_of(f->value.p, type.n), type))
		return false;
	return f->value.n == type.n || strchr("; \t", f->value.p[type.n]);
}

static bool list_has(struct slice list, struct slice token)
{
	while (list.p) {
		struct slice item = slice_split(list, ',', &list);

		if (slice_eq_nocase(slice_trim(item), token))
			return true;
	}
	return false;
}

bool head_has_token(const struct head *h, enum field_id id, struct slice token)
{
	if (!h->first[id])
		return false;
	for (unsigned i = h->first[id] - 1; i < h->nfields; i++)
		if (h->fields[i].id == id && list_has(h->fields[i].value, token))
			return true;
	return false;
}

bool method_is_idempotent(uint8_t method_id)
{
	switch (method_id) {
	case METHOD_GET:
	case METHOD_HEAD:
	case METHOD_PUT:
	case METHOD_DELETE:
	case METHOD_OPTIONS:
	case METHOD_TRACE: return true;
	default: return false;
	}
}

struct slice status_reason(unsigned status)
{
	switch (status) {
	case 100: return SLICE("Continue");
	case 101: return SLICE("Switching Protocols");
	case 103: return SLICE("Early Hints");
	case 200: return SLICE("OK");
	case 201: return SLICE("Created");
	case 202: return SLICE("Accepted");
	case 204: return SLICE("No Content");
	case 206: return SLICE("Partial Content");
	case 301: return SLICE("Moved Permanently");
	case 302: return SLICE("Found");
	case 303: return SLICE("See Other");
	case 304: return SLICE("Not Modified");
	case 307: return SLICE("Temporary Redirect");
	case 308: return SLICE("Permanent Redirect");
	case 400: return SLICE("Bad Request");
	case 401: return SLICE("Unauthorized");
	case 403: return SLICE("Forbidden");
	case 404: return SLICE("Not Found");
	case 405: return SLICE("Method Not Allowed");
	case 406: return SLICE("Not Acceptable");
	case 408: return SLICE("Request Timeout");
	case 409: return SLICE("Conflict");
	case 410: return SLICE("Gone");
	case 411: return SLICE("Length Required");
	case 412: return SLICE("Precondition Failed");
	case 413: return SLICE("Content Too Large");
	case 414: return SLICE("URI Too Long");
	case 415: return SLICE("Unsupported Media Type");
	case 416: return SLICE("Range Not Satisfiable");
	case 417: return SLICE("Expectation Failed");
	case 421: return SLICE("Misdirected Request");
	case 422: return SLICE("Unprocessable Content");
	case 426: return SLICE("Upgrade Required");
	case 429: return SLICE("Too Many Requests");
	case 431: return SLICE("Request Header Fields Too Large");
	case 500: return SLICE("Internal Server Error");
	case 501: return SLICE("Not Implemented");
	case 502: return SLICE("Bad Gateway");
	case 503: return SLICE("Service Unavailable");
	case 504: return SLICE("Gateway Timeout");
	case 505: return SLICE("HTTP Version Not Supported");
	case 507: return SLICE("Insufficient Storage");
	default: return SLICE("Status");
	}
}

/* "[::1]" */
static bool is_v6_literal(struct slice host)
{
	char text[INET6_ADDRSTRLEN];
	struct in6_addr in6;

	return host.n > 2 &&
	       slice_copy(slice_of(host.p + 1, host.n - 2), text, sizeof(text)) == 0 &&
	       inet_pton(AF_INET6, text, &in6) == 1;
}

static bool is_host(struct slice host)
{
	if (host.n == 0 || host.n > 255)
		return false;
	if (host.p[0] == '[')
		return is_v6_literal(host);
	for (size_t i = 0; i < host.n; i++)
		if (!byte_is(host.p[i], CLASS_HOST))
			return false;
	return true;
}

int head_split_authority(struct slice authority, struct slice *host, uint16_t *port)
{
	const char *colon, *bracket;
	uint64_t number = 0;

	*host = authority;
	if (authority.n == 0) /* HTTP/1.0 without Host */
		return -EINVAL;
	colon = memrchr(authority.p, ':', authority.n);
	bracket = memrchr(authority.p, ']', authority.n);
	if (colon && (!bracket || bracket < colon)) {
		size_t at = (size_t)(colon - authority.p);
		struct slice digits = slice_of(colon + 1, authority.n - at - 1);

		host->n = at;
		if (digits.n > 5 || slice_u64(digits, &number) < 0 || number == 0 ||
		    number > UINT16_MAX)
			return -EINVAL;
	}
	if (!is_host(*host) || (host->p[0] == '[' && host->p[host->n - 1] != ']'))
		return -EINVAL;
	*port = (uint16_t)number;
	return 0;
}
