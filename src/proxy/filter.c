/* Rules for requests. */
#include "proxy/filter.h"

#include "proxy/basic_auth.h"
#include "proxy/endpoint.h"
#include "proxy/front_inner.h"
#include "proxy/relay.h"

static const char no_password[] = "This needs a name and a password.";
static const char too_large[] = "The content is larger than this takes.";

/* What is answered instead. */
struct filter_answer {
	unsigned status;
	const char *detail;
	struct slice location; /* of a redirect; the front's, until the next one */
};

enum filter_result { FILTER_PASS, FILTER_ANSWER, FILTER_WAIT };

static enum filter_result say(struct filter_answer *out, unsigned status, const char *detail)
{
	*out = (struct filter_answer){ .status = status, .detail = detail };
	return FILTER_ANSWER;
}

bool filter_lets_in(const struct upstream_policy *p, const uint8_t ip[RANGE_IP_BYTES])
{
	return !ranges_have(&p->deny, ip) && (!p->allow.n || ranges_have(&p->allow, ip));
}

/* A token of the client's bucket for this upstream. Who has an IPv6 address has 2^64 of them. */
static bool take_token(struct front *f, const struct upstream *u, const uint8_t ip[RANGE_IP_BYTES])
{
	static const uint8_t v4[12] = { [10] = 0xff, [11] = 0xff };
	const struct upstream_policy *p = &u->policy;
	struct {
		const struct upstream *u;
		uint8_t ip[RANGE_IP_BYTES];
	} key = { .u = u };

	memcpy(key.ip, ip, memcmp(ip, v4, sizeof(v4)) == 0 ? RANGE_IP_BYTES : 8);
	return rate_take(f->rates, slice_of(&key, sizeof(key)), p->rate,
			 p->burst ? p->burst : p->rate, loop_now_ms(f->loop));
}

size_t filter_location(const char *form, const struct head *req, char *out, size_t size)
{
	static const struct slice path = SLICE("{path}"), host = SLICE("{host}");
	struct slice rest = slice_str(form), colon;
	size_t n = 0;

	while (rest.n) {
		struct slice piece = { rest.p, 1 };
		size_t skip = 1;

		if (slice_starts(rest, path)) {
			piece = req->path;
			/* "*" and nothing at all are no paths. */
			if (piece.n == 0 || piece.p[0] != '/')
				piece = SLICE("/");
			skip = path.n;
		} else if (slice_starts(rest, host)) {
			piece = req->authority;
			if (piece.n && piece.p[0] != '[')
				piece = slice_split(piece, ':', &colon);
			skip = host.n;
		}
		if (piece.n > size - n)
			return 0;
		memcpy(out + n, piece.p, piece.n);
		n += piece.n;
		rest = slice_of(rest.p + skip, rest.n - skip);
	}
	return n;
}

/* ---- the rules, in order ---- */

/* What comes after the password. */
static enum filter_result check_rest(struct front *f, struct relay *r, struct filter_answer *out)
{
	const struct upstream_policy *p = &r->upstream->policy;
	const struct head *req = &r->x->req;
	size_t n;

	if (p->redirect.to) {
		n = filter_location(p->redirect.to, req, f->location, sizeof(f->location));
		if (n == 0)
			return say(out, 414, "The address is too long to redirect.");
		f->stats.redirected++;
		*out = (struct filter_answer){ p->redirect.status, NULL, slice_of(f->location, n) };
		return FILTER_ANSWER;
	}
	if (p->max_body_bytes && req->has_length && req->content_length > p->max_body_bytes) {
		f->stats.body_too_large++;
		return say(out, 413, too_large);
	}
	return FILTER_PASS;
}

static enum filter_result check(struct front *f, struct relay *r, struct filter_answer *out)
{
	const struct upstream_policy *p = &r->upstream->policy;
	uint8_t ip[RANGE_IP_BYTES];

	if (p->broken)
		return say(out, 503, "The rules for this cannot be read.");
	forward_client_ip(&f->forward, r->x, ip);
	if (!filter_lets_in(p, ip)) {
		f->stats.denied++;
		return say(out, 403, "Your address may not use this.");
	}
	if (p->rate && !take_token(f, r->upstream, ip)) {
		f->stats.rate_limited++;
		f->stats.rate_overflow = f->rates->overflow;
		return say(out, 429, "Your address sends more requests than it may.");
	}
	if (!p->users.n)
		return check_rest(f, r, out);
	switch (basic_auth_check(f->auth, p, r)) {
	case BASIC_AUTH_PASS: return check_rest(f, r, out);
	case BASIC_AUTH_WAIT: return FILTER_WAIT;
	case BASIC_AUTH_BUSY: return say(out, 503, "Too many passwords are being checked.");
	default: return say(out, 401, no_password);
	}
}

/* ---- what follows from them ---- */

static void follow(struct relay *r, enum filter_result result, const struct filter_answer *a)
{
	switch (result) {
	case FILTER_PASS: relay_go(r); break;
	case FILTER_WAIT: relay_set_state(r, RELAY_CHECK); break;
	case FILTER_ANSWER: relay_refuse(r, a->status, a->detail, a->location); break;
	}
}

void filter_admit(struct relay *r)
{
	struct filter_answer a;
	enum filter_result result = check(r->front, r, &a);

	follow(r, result, &a);
}

void filter_checked(struct relay *r, bool right)
{
	struct filter_answer a;
	enum filter_result result = right ? check_rest(r->front, r, &a) : say(&a, 401, no_password);

	relay_set_state(r, RELAY_NEW);
	follow(r, result, &a);
}

bool filter_takes(struct relay *r, size_t more)
{
	if (r->state == RELAY_TUNNEL ||
	    r->x->body_in_bytes + more <= r->upstream->policy.max_body_bytes)
		return true;
	r->front->stats.body_too_large++;
	if (r->state == RELAY_RESPOND)
		relay_cut(r, "the content is larger than its policy takes");
	else
		relay_refuse(r, 413, too_large, slice_of(NULL, 0));
	return false;
}
