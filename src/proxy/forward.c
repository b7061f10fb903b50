/* Builds the heads that go on, from the heads that came. */
#include "proxy/forward.h"

#include <errno.h>
#include <stdio.h>

#include "http/fields.h"

/* What a field id means on the way through. */
enum { HOP = 1, CLIENT_SAYS = 2, OURS = 4, NO_TRAILER = 8 };

static const uint8_t kind_of[FIELD_IDS] = {
	[FIELD_CONNECTION] = HOP,
	[FIELD_KEEP_ALIVE] = HOP,
	[FIELD_PROXY_AUTHENTICATE] = HOP,
	[FIELD_PROXY_AUTHORIZATION] = HOP,
	[FIELD_PROXY_CONNECTION] = HOP,
	[FIELD_TE] = HOP,
	[FIELD_TRANSFER_ENCODING] = HOP,
	[FIELD_UPGRADE] = HOP,
	[FIELD_EXPECT] = NO_TRAILER,
	[FIELD_HOST] = NO_TRAILER,
	[FIELD_CONTENT_LENGTH] = NO_TRAILER,
	[FIELD_CONTENT_TYPE] = NO_TRAILER,
	[FIELD_CONTENT_ENCODING] = NO_TRAILER,
	[FIELD_AUTHORIZATION] = NO_TRAILER,
	[FIELD_COOKIE] = NO_TRAILER,
	[FIELD_SET_COOKIE] = NO_TRAILER,
	[FIELD_LOCATION] = NO_TRAILER,
	[FIELD_TRAILER] = NO_TRAILER,
	[FIELD_FORWARDED] = CLIENT_SAYS,
	[FIELD_X_FORWARDED_FOR] = CLIENT_SAYS,
	[FIELD_X_FORWARDED_HOST] = CLIENT_SAYS,
	[FIELD_X_FORWARDED_PORT] = CLIENT_SAYS,
	[FIELD_X_FORWARDED_PROTO] = CLIENT_SAYS,
	[FIELD_X_REAL_IP] = CLIENT_SAYS,
	[FIELD_X_REQUEST_ID] = OURS,
};

/* Others that applications take a client's address or scheme from; nobody but a trusted proxy
 * may send them. CGI turns '_' and '-' into the same variable, so that either spelling counts. */
static const struct slice spoofable[] = {
	SLICE("true-client-ip"),
	SLICE("x-client-ip"),
	SLICE("x-cluster-client-ip"),
	SLICE("x-original-forwarded-for"),
	SLICE("x-original-host"),
	SLICE("x-real-ip"),
	SLICE("x-request-id"),
	SLICE("cf-connecting-ip"),
	SLICE("fastly-client-ip"),
	SLICE("x-url-scheme"),
	SLICE("forwarded-for"),
	SLICE("forwarded"),
	SLICE("front-end-https"),
	SLICE("x-forwarded"),
	SLICE("x-proxyuser-ip"),
	SLICE("wl-proxy-client-ip"),
	SLICE("client-ip"),
	SLICE("x-remote-ip"),
	SLICE("x-remote-addr"),
	SLICE("x-originating-ip"),
	SLICE("x-envoy-external-address"),
	SLICE("fly-client-ip"),
	SLICE("x-original-url"),
	SLICE("x-rewrite-url"),
	/* The same for what frames and routes: a program behind must not see a second opinion. */
	SLICE("content-length"),
	SLICE("transfer-encoding"),
	SLICE("x-scheme"),
	SLICE("x-host"),
	/* CGI makes HTTP_PROXY of it, and libraries send their own requests there. */
	SLICE("proxy"),
};

static bool folds_to(struct slice name, struct slice want)
{
	for (size_t i = 0; i < want.n; i++)
		if (head_fold(name.p[i]) != want.p[i])
			return false;
	return true;
}

static bool is_spoofable(struct slice name)
{
	static const struct slice family = SLICE("x-forwarded-");
	char first = name.n ? head_fold(name.p[0]) : '\0';

	if (!first || !strchr("xtcfpw", first))
		return false;
	if (name.n >= family.n && folds_to(name, family))
		return true;
	for (size_t i = 0; i < ARRAY_LEN(spoofable); i++)
		if (name.n == spoofable[i].n && folds_to(name, spoofable[i]))
			return true;
	return false;
}

bool forward_owns(struct slice name)
{
	enum field_id id = field_lookup(name);

	return kind_of[id] & (HOP | CLIENT_SAYS | OURS) || id == FIELD_HOST ||
	       id == FIELD_CONTENT_LENGTH || id == FIELD_CONTENT_ENCODING || id == FIELD_EXPECT ||
	       id == FIELD_TRAILER || (id == FIELD_OTHER && is_spoofable(name)) ||
	       slice_eq_nocase(name, SLICE("http2-settings"));
}

int forward_init(struct forward *fw, const char *const *trusted, struct err *err)
{
	fw->trusted = (struct ranges){ 0 };
	for (; trusted && *trusted; trusted++)
		if (ranges_add(&fw->trusted, slice_str(*trusted)) < 0)
			return err_say(
				err, -EINVAL,
				"trusted proxy \"%s\": expected an address range like 10.0.0.0/8",
				*trusted);
	return 0;
}

void forward_fini(struct forward *fw)
{
	ranges_fini(&fw->trusted);
}

static bool is_trusted(const struct forward *fw, const struct addr *peer)
{
	uint8_t ip[RANGE_IP_BYTES];

	return fw->trusted.n && range_ip(peer, ip) && ranges_have(&fw->trusted, ip);
}

struct slice forward_client(const struct exchange *x)
{
	const char *text = x->peer->addr.text;
	const char *colon = strrchr(text, ':');

	if (text[0] == '[' && colon && colon > text + 2)
		return slice_of(text + 1, (size_t)(colon - text) - 2);
	if (!colon || x->peer->addr.sa.ss_family == AF_UNIX)
		return SLICE("127.0.0.1");
	return slice_of(text, (size_t)(colon - text));
}

/* "192.0.2.1", "192.0.2.1:4711", "2001:db8::1" or "[2001:db8::1]:4711". */
static bool parse_client(struct slice text, uint8_t ip[RANGE_IP_BYTES])
{
	struct slice rest;

	if (text.n && text.p[0] == '[')
		text = slice_split(slice_of(text.p + 1, text.n - 1), ']', &rest);
	else if (text.n && memchr(text.p, '.', text.n))
		text = slice_split(text, ':', &rest);
	return range_ip_parse(text, ip);
}

void forward_client_ip(const struct forward *fw, const struct exchange *x,
		       uint8_t ip[RANGE_IP_BYTES])
{
	const struct head *in = &x->req;
	uint8_t said[RANGE_IP_BYTES];

	if (!range_ip(&x->peer->addr, ip)) {
		(void)!range_ip_parse(SLICE("127.0.0.1"), ip);
		return;
	}
	if (!is_trusted(fw, &x->peer->addr))
		return;
	for (unsigned i = in->nfields; i-- > 0;) {
		struct slice rest = in->fields[i].value;

		if (in->fields[i].id != FIELD_X_FORWARDED_FOR)
			continue;
		for (;;) {
			const char *comma = rest.n ? memrchr(rest.p, ',', rest.n) : NULL;
			size_t at = comma ? (size_t)(comma - rest.p) + 1 : 0;

			/* Nothing in front of what cannot be read is believed. */
			if (!parse_client(slice_trim(slice_of(rest.p + at, rest.n - at)), said))
				return;
			memcpy(ip, said, RANGE_IP_BYTES);
			if (!ranges_have(&fw->trusted, said))
				return;
			if (!comma)
				break;
			rest.n = at - 1;
		}
	}
}

bool forward_is_https(const struct forward *fw, const struct exchange *x)
{
	const struct field *said;

	if (x->peer->tls)
		return true;
	said = head_field(&x->req, FIELD_X_FORWARDED_PROTO);
	return said && slice_eq_nocase(said->value, SLICE("https")) &&
	       is_trusted(fw, &x->peer->addr);
}

/* ---- composing ---- */

/* Joins up to four pieces in the scratch; empty when they do not fit. */
static struct slice compose(struct forward *fw, const struct slice *piece, size_t npieces)
{
	size_t start = fw->text_n;

	for (size_t i = 0; i < npieces; i++) {
		if (piece[i].n > sizeof(fw->text) - fw->text_n)
			return slice_of(NULL, 0);
		if (piece[i].n)
			memcpy(fw->text + fw->text_n, piece[i].p, piece[i].n);
		fw->text_n += piece[i].n;
	}
	return slice_of(fw->text + start, fw->text_n - start);
}

/* Does Connection name anything but what stands there every day? */
static bool nominates(const struct head *in)
{
	const struct field *f = head_field(in, FIELD_CONNECTION);

	for (; f && f < in->fields + in->nfields; f++) {
		struct slice rest = f->value;

		if (f->id != FIELD_CONNECTION)
			continue;
		while (rest.p) {
			struct slice token = slice_trim(slice_split(rest, ',', &rest));

			if (token.n && !slice_eq_nocase(token, SLICE("keep-alive")) &&
			    !slice_eq_nocase(token, SLICE("close")) &&
			    !slice_eq_nocase(token, SLICE("upgrade")))
				return true;
		}
	}
	return false;
}

/* What a trusted proxy in front of us said, with the peer it came from added: one list, whatever
 * number of fields it came in. */
static struct slice appended(struct forward *fw, const struct head *in, enum field_id id,
			     struct slice own)
{
	const struct field *f = head_field(in, id);
	size_t start = fw->text_n;

	for (; f && f < in->fields + in->nfields; f++) {
		struct slice piece[] = { f->value, SLICE(", ") };

		if (f->id == id && f->value.n && !compose(fw, piece, 2).p)
			return slice_of(NULL, 0);
	}
	if (!compose(fw, &own, 1).p)
		return slice_of(NULL, 0);
	return slice_of(fw->text + start, fw->text_n - start);
}

static struct slice port_of(const struct head *in, bool https)
{
	const char *colon = in->authority.n ? memrchr(in->authority.p, ':', in->authority.n) : NULL;
	const char *end = in->authority.p + in->authority.n;

	if (colon && colon + 1 < end && !memchr(colon, ']', (size_t)(end - colon)))
		return slice_of(colon + 1, (size_t)(end - colon) - 1);
	return https ? SLICE("443") : SLICE("80");
}

/* A value the trusted proxy gave, else ours. */
static struct slice said_or(const struct head *in, bool trusted, enum field_id id, struct slice own)
{
	const struct field *f = trusted ? head_field(in, id) : NULL;

	return f && f->value.n ? f->value : own;
}

static bool add_forwarded(struct forward *fw, const struct exchange *x, bool trusted)
{
	struct slice client = forward_client(x);
	bool v6 = memchr(client.p, ':', client.n) != NULL;
	const struct slice element[] = { v6 ? SLICE("for=\"[") : SLICE("for="), client,
					 v6 ? SLICE("]\"") : SLICE("") };
	struct slice own, list;

	/* RFC 7239: only carried on. Who did not send it gets the X-Forwarded fields alone, as
	 * everywhere. */
	if (!trusted || !head_field(&x->req, FIELD_FORWARDED))
		return true;
	own = compose(fw, element, 3);
	if (!own.p)
		return false;
	list = appended(fw, &x->req, FIELD_FORWARDED, own);
	return list.p && head_add(&fw->head, FIELD_FORWARDED, list);
}

static bool add_forwarding(struct forward *fw, const struct exchange *x, bool trusted)
{
	struct head *out = &fw->head;
	struct slice client = forward_client(x), list = client;
	bool https = x->peer->tls;

	if (trusted)
		list = appended(fw, &x->req, FIELD_X_FORWARDED_FOR, client);
	if (!list.p)
		return false;
	return head_add(out, FIELD_X_FORWARDED_FOR, list) &&
	       head_add(out, FIELD_X_FORWARDED_PROTO,
			said_or(&x->req, trusted, FIELD_X_FORWARDED_PROTO,
				https ? SLICE("https") : SLICE("http"))) &&
	       head_add(out, FIELD_X_FORWARDED_HOST,
			said_or(&x->req, trusted, FIELD_X_FORWARDED_HOST, x->req.authority)) &&
	       head_add(out, FIELD_X_FORWARDED_PORT,
			said_or(&x->req, trusted, FIELD_X_FORWARDED_PORT,
				port_of(&x->req, https))) &&
	       head_add(out, FIELD_X_REAL_IP, said_or(&x->req, trusted, FIELD_X_REAL_IP, client)) &&
	       head_add(out, FIELD_X_REQUEST_ID, slice_str(x->request_id)) &&
	       add_forwarded(fw, x, trusted);
}

/* Any protocol the client may ask for, except HTTP/2 in clear text: that would be a tunnel past
 * every rule here. */
static struct slice upgrade_of(const struct head *in)
{
	struct slice rest = in->protocol;

	while (rest.p && rest.n) {
		struct slice token = slice_trim(slice_split(rest, ',', &rest));

		/* h2c, its drafts, and any other version of HTTP. */
		if (slice_eq_nocase(slice_of(token.p, MIN(token.n, 2)), SLICE("h2")) ||
		    slice_eq_nocase(slice_of(token.p, MIN(token.n, 4)), SLICE("http")))
			return slice_of(NULL, 0);
	}
	return in->protocol;
}

bool forward_upgrade_fits(struct slice asked, const struct head *h)
{
	const struct field *f = head_field(h, FIELD_UPGRADE);
	struct slice rest = asked;

	while (f && rest.p)
		if (slice_eq_nocase(slice_trim(slice_split(rest, ',', &rest)), f->value))
			return true;
	return false;
}

/* What is left of OPTIONS' Max-Forwards, or -ENOENT. What is no number counts as none. */
static int hops_left(const struct head *in, uint64_t *hops)
{
	const struct field *f =
		in->method_id == METHOD_OPTIONS ? head_find(in, SLICE("max-forwards")) : NULL;

	return f && slice_u64(f->value, hops) == 0 ? 0 : -ENOENT;
}

bool forward_ends_here(const struct head *in)
{
	uint64_t hops;

	return hops_left(in, &hops) == 0 && hops == 0;
}

/* One hop less than came (RFC 9110 §7.6.2). */
static bool add_hops(struct forward *fw, const struct head *in)
{
	char text[24];
	struct slice piece;
	uint64_t hops;

	if (hops_left(in, &hops) < 0)
		return true;
	piece = slice_of(
		text, (size_t)snprintf(text, sizeof(text), "%llu", (unsigned long long)hops - 1));
	piece = compose(fw, &piece, 1);
	return piece.p && head_add_other(&fw->head, SLICE("Max-Forwards"), piece);
}

const struct head *forward_request(struct forward *fw, const struct exchange *x)
{
	const struct head *in = &x->req;
	struct head *out = &fw->head;
	bool trusted = is_trusted(fw, &x->peer->addr), nominated = nominates(in);

	fw->text_n = 0;
	head_init(out);
	out->method = in->method;
	out->method_id = in->method_id;
	out->scheme = in->scheme;
	out->authority = in->authority;
	out->path = in->path;
	out->protocol = upgrade_of(in);
	out->te_trailers = in->te_trailers;
	out->minor = 1;
	for (unsigned i = 0; i < in->nfields; i++) {
		const struct field *f = &in->fields[i];

		/* Host is written from the authority. Expect was answered by the transport.
		 * Content-Length is the writer's. */
		if (kind_of[f->id] & (HOP | CLIENT_SAYS | OURS) || f->id == FIELD_HOST ||
		    f->id == FIELD_EXPECT || f->id == FIELD_CONTENT_LENGTH)
			continue;
		if (f->id == FIELD_OTHER) {
			if (!trusted && is_spoofable(f->name))
				continue;
			if (slice_eq_nocase(f->name, SLICE("http2-settings")))
				continue;
			if (in->method_id == METHOD_OPTIONS &&
			    slice_eq_nocase(f->name, SLICE("max-forwards")))
				continue;
		}
		if (nominated && !(trusted && is_spoofable(f->name)) &&
		    head_has_token(in, FIELD_CONNECTION, f->name))
			continue;
		if (!head_copy(out, f))
			return NULL;
	}
	return add_hops(fw, in) && add_forwarding(fw, x, trusted) ? out : NULL;
}

struct head *forward_response(struct forward *fw, const struct head *in)
{
	struct head *out = &fw->head;
	bool nominated = nominates(in);

	head_init(out);
	out->status = in->status;
	out->protocol = in->protocol;
	out->minor = 1;
	for (unsigned i = 0; i < in->nfields; i++) {
		const struct field *f = &in->fields[i];

		/* Who asked for an upgrade must read what it got. */
		if (kind_of[f->id] & HOP && f->id != FIELD_PROXY_AUTHENTICATE &&
		    !(f->id == FIELD_UPGRADE && in->status == 101))
			continue;
		/* The framing this response came with is the upstream's; the length is worth
		 * keeping when it is known. */
		if (f->id == FIELD_CONTENT_LENGTH && !in->has_length)
			continue;
		if (nominated && f->id != FIELD_CONTENT_LENGTH && f->id != FIELD_UPGRADE &&
		    head_has_token(in, FIELD_CONNECTION, f->name))
			continue;
		if (!head_copy(out, f))
			return NULL;
	}
	out->has_length = in->has_length;
	out->content_length = in->content_length;
	/* Who passes a response on says when it came (RFC 9110 §6.6.1). */
	if (in->status >= 200 && !in->first[FIELD_DATE] &&
	    !head_add(out, FIELD_DATE, http_date_now(&fw->date)))
		return NULL;
	return out;
}

bool forward_edit(struct forward *fw, const struct policy_headers *changes)
{
	struct head *h = &fw->head;

	for (size_t i = 0; i < changes->n; i++) {
		const struct policy_header *c = &changes->items[i];
		struct slice name = slice_str(c->name);

		if (c->edit != EDIT_ADD)
			head_remove(h, name);
		if (c->edit != EDIT_REMOVE && !head_add_other(h, name, slice_str(c->value)))
			return false;
	}
	return true;
}

const struct head *forward_trailers(struct forward *fw, const struct head *in)
{
	struct head *out = &fw->head;

	if (!in)
		return NULL;
	head_init(out);
	for (unsigned i = 0; i < in->nfields; i++) {
		const struct field *f = &in->fields[i];

		if (kind_of[f->id] || (f->id == FIELD_OTHER && is_spoofable(f->name)))
			continue;
		if (!head_copy(out, f))
			return NULL;
	}
	return out->nfields ? out : NULL;
}
