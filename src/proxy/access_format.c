/* The text of an access log line. */
#include "proxy/access.h"

#include "proxy/forward.h"

/* With these limits a line fits in ACCESS_LINE_MAX even when every byte needs an escape. */
#define METHOD_SHOWN 32
#define HOST_SHOWN 256
#define PATH_SHOWN 1024
#define NAME_SHOWN 256
#define AGENT_SHOWN 256
#define REFERER_SHOWN 512
#define STATUS_CLIENT_GONE 499

struct line {
	char *p, *end;
	bool json, first;
};

static void put(struct line *l, const char *p, size_t n)
{
	if ((size_t)(l->end - l->p) < n)
		return;
	memcpy(l->p, p, n);
	l->p += n;
}

static void put_digits(struct line *l, uint64_t v, unsigned width)
{
	char digits[20];
	unsigned at = sizeof(digits);

	do
		digits[--at] = (char)('0' + v % 10);
	while (v /= 10);
	while (sizeof(digits) - at < width)
		digits[--at] = '0';
	put(l, digits + at, sizeof(digits) - at);
}

static void put_key(struct line *l, const char *key)
{
	if (!l->first)
		put(l, l->json ? "," : " ", 1);
	l->first = false;
	if (l->json)
		put(l, "\"", 1);
	put(l, key, strlen(key));
	put(l, l->json ? "\":" : "=", l->json ? 2 : 1);
}

/* Bytes that could end the value or the line, and those that are not ASCII (a path may hold
 * them), go out as \u00xx or \xxx. */
static void put_escaped(struct line *l, struct slice s)
{
	static const char hex[] = "0123456789abcdef";

	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c == '"' || c == '\\') {
			put(l, (char[]){ '\\', (char)c }, 2);
		} else if (c < 0x20 || c >= 0x7f) {
			put(l, l->json ? "\\u00" : "\\x", l->json ? 4 : 2);
			put(l, (char[]){ hex[c >> 4], hex[c & 15] }, 2);
		} else {
			put(l, (const char *)&s.p[i], 1);
		}
	}
}

static void put_str(struct line *l, const char *key, struct slice value)
{
	put_key(l, key);
	put(l, "\"", 1);
	put_escaped(l, value);
	put(l, "\"", 1);
}

/* A value of ours without anything to escape: bare in text. */
static void put_word(struct line *l, const char *key, struct slice value)
{
	put_key(l, key);
	if (l->json)
		put(l, "\"", 1);
	put(l, value.p, value.n);
	if (l->json)
		put(l, "\"", 1);
}

/* An app's name is a word; a static route's is as its owner wrote it. */
static void put_name(struct line *l, const char *key, struct slice name)
{
	for (size_t i = 0; i < name.n; i++) {
		if (name.p[i] <= ' ' || name.p[i] == '"' || name.p[i] == '\\' || name.p[i] > '~') {
			put_str(l, key, slice_of(name.p, MIN(name.n, NAME_SHOWN)));
			return;
		}
	}
	put_word(l, key, slice_of(name.p, MIN(name.n, NAME_SHOWN)));
}

static void put_int(struct line *l, const char *key, uint64_t v)
{
	put_key(l, key);
	put_digits(l, v, 1);
}

static void put_ms(struct line *l, const char *key, uint64_t us)
{
	put_key(l, key);
	put_digits(l, us / 1000, 1);
	put(l, ".", 1);
	put_digits(l, us % 1000, 3);
}

/* RFC 3339 in UTC, from days since 1970 by the civil calendar's 400-year cycle: no gmtime(),
 * which takes a lock. */
static void put_time(struct line *l, uint64_t wall_ms)
{
	uint64_t days = wall_ms / 86400000, left = wall_ms % 86400000;
	uint64_t z = days + 719468, era = z / 146097, doe = z % 146097;
	uint64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	uint64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;
	uint64_t month = mp < 10 ? mp + 3 : mp - 9, year = yoe + era * 400 + (month <= 2);

	put_key(l, "time");
	if (l->json)
		put(l, "\"", 1);
	put_digits(l, year, 4);
	put(l, "-", 1);
	put_digits(l, month, 2);
	put(l, "-", 1);
	put_digits(l, doy - (153 * mp + 2) / 5 + 1, 2);
	put(l, "T", 1);
	put_digits(l, left / 3600000, 2);
	put(l, ":", 1);
	put_digits(l, left / 60000 % 60, 2);
	put(l, ":", 1);
	put_digits(l, left / 1000 % 60, 2);
	put(l, ".", 1);
	put_digits(l, left % 1000, 3);
	put(l, l->json ? "Z\"" : "Z", l->json ? 2 : 1);
}

static void put_field(struct line *l, const char *key, const struct exchange *x, struct slice name,
		      size_t max)
{
	const struct field *f = head_find(&x->req, name);

	if (f)
		put_str(l, key, slice_of(f->value.p, MIN(f->value.n, max)));
}

static struct slice protocol(const struct exchange *x)
{
	if (x->peer->h2)
		return SLICE("HTTP/2");
	return x->req.minor ? SLICE("HTTP/1.1") : SLICE("HTTP/1.0");
}

/* The turn may have begun before the head was complete. */
static uint64_t since(const struct exchange *x, uint64_t us)
{
	return us - MIN(x->started_us, us);
}

size_t access_format(char out[ACCESS_LINE_MAX], const struct access_line *line, bool json)
{
	const struct exchange *x = line->x;
	/* Kept back: the closing brace and the line's end. */
	struct line l = { .p = out, .end = out + ACCESS_LINE_MAX - 2, .json = json, .first = true };

	if (json)
		put(&l, "{", 1);
	put_time(&l, line->wall_ms);
	put_word(&l, "client", forward_client(x));
	put_word(&l, "scheme", x->peer->tls ? SLICE("https") : SLICE("http"));
	put_word(&l, "protocol", protocol(x));
	if (x->peer->tls_version)
		put_word(&l, "tls", slice_str(x->peer->tls_version));
	put_int(&l, "status", x->status ? x->status : STATUS_CLIENT_GONE);
	put_ms(&l, "ms", line->took_us);
	if (line->sent_us)
		put_ms(&l, "sent_ms", since(x, line->sent_us));
	if (line->connect_us)
		put_ms(&l, "connect_ms", line->connect_us);
	if (line->head_us)
		put_ms(&l, "head_ms", since(x, line->head_us));
	put_int(&l, "in", x->body_in_bytes);
	put_int(&l, "out", x->body_out_bytes);
	put_int(&l, "attempts", line->attempts);
	put_word(&l, "id", slice_str(x->request_id));
	if (line->upstream)
		put_name(&l, "upstream", slice_str(line->upstream));
	if (line->endpoint)
		put_word(&l, "endpoint", slice_str(line->endpoint));
	if (line->why)
		put_str(&l, "cut", slice_str(line->why));
	put_str(&l, "method", slice_of(x->req.method.p, MIN(x->req.method.n, METHOD_SHOWN)));
	put_str(&l, "host", slice_of(x->req.authority.p, MIN(x->req.authority.n, HOST_SHOWN)));
	put_str(&l, "path", slice_of(x->req.path.p, MIN(x->req.path.n, PATH_SHOWN)));
	put_field(&l, "agent", x, SLICE("user-agent"), AGENT_SHOWN);
	put_field(&l, "referer", x, SLICE("referer"), REFERER_SHOWN);
	l.end += 2;
	if (json)
		put(&l, "}", 1);
	put(&l, "\n", 1);
	return (size_t)(l.p - out);
}
