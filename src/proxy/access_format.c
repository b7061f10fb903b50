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

/* "00" to "99": numbers are written two digits at a time. */
static const char pairs[] = "00010203040506070809101112131415161718192021222324"
			    "25262728293031323334353637383940414243444546474849"
			    "50515253545556575859606162636465666768697071727374"
			    "75767778798081828384858687888990919293949596979899";

static void put_number(struct line *l, uint64_t v)
{
	char digits[20];
	unsigned at = sizeof(digits);

	for (; v >= 100; v /= 100) {
		at -= 2;
		memcpy(digits + at, pairs + v % 100 * 2, 2);
	}
	at -= 2;
	memcpy(digits + at, pairs + v * 2, 2);
	at += v < 10;
	put(l, digits + at, sizeof(digits) - at);
}

/* A key as it stands in either form; the first has nothing in front. */
#define KEY(name) SLICE(",\"" name "\":"), SLICE(" " name "=")

static void put_key(struct line *l, struct slice json, struct slice text)
{
	struct slice key = l->json ? json : text;

	put(l, key.p + l->first, key.n - l->first);
	l->first = false;
}

static void put_escape(struct line *l, unsigned char c)
{
	static const char hex[] = "0123456789abcdef";

	if (c == '"' || c == '\\') {
		put(l, (char[]){ '\\', (char)c }, 2);
	} else {
		put(l, l->json ? "\\u00" : "\\x", l->json ? 4 : 2);
		put(l, (char[]){ hex[c >> 4], hex[c & 15] }, 2);
	}
}

/* Bytes that could end the value or the line, and those that are not ASCII (a path may hold
 * them), go out as \u00xx or \xxx. */
static void put_escaped(struct line *l, struct slice s)
{
	size_t done = 0;

	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c >= 0x20 && c < 0x7f && c != '"' && c != '\\')
			continue;
		put(l, s.p + done, i - done);
		put_escape(l, c);
		done = i + 1;
	}
	put(l, s.p + done, s.n - done);
}

static void put_str(struct line *l, struct slice json, struct slice text, struct slice value)
{
	put_key(l, json, text);
	put(l, "\"", 1);
	put_escaped(l, value);
	put(l, "\"", 1);
}

/* A value of ours without anything to escape: bare in text. */
static void put_word(struct line *l, struct slice json, struct slice text, struct slice value)
{
	put_key(l, json, text);
	put(l, "\"", l->json);
	put(l, value.p, value.n);
	put(l, "\"", l->json);
}

/* An app's name is a word; a static route's is as its owner wrote it. */
static void put_name(struct line *l, struct slice json, struct slice text, struct slice name)
{
	struct slice shown = slice_of(name.p, MIN(name.n, NAME_SHOWN));

	for (size_t i = 0; i < name.n; i++) {
		if (name.p[i] <= ' ' || name.p[i] == '"' || name.p[i] == '\\' || name.p[i] > '~') {
			put_str(l, json, text, shown);
			return;
		}
	}
	put_word(l, json, text, shown);
}

static void put_int(struct line *l, struct slice json, struct slice text, uint64_t v)
{
	put_key(l, json, text);
	put_number(l, v);
}

static void put_ms(struct line *l, struct slice json, struct slice text, uint64_t us)
{
	unsigned part = us % 1000;

	put_key(l, json, text);
	put_number(l, us / 1000);
	put(l,
	    (char[]){ '.', (char)('0' + part / 100), pairs[part % 100 * 2],
		      pairs[part % 100 * 2 + 1] },
	    4);
}

/* RFC 3339 in UTC, from days since 1970 by the civil calendar's 400-year cycle: no gmtime(),
 * which takes a lock. */
static void put_time(struct line *l, uint64_t wall_ms)
{
	uint32_t days = (uint32_t)(wall_ms / 86400000), left = (uint32_t)(wall_ms % 86400000);
	uint32_t z = days + 719468, era = z / 146097, doe = z % 146097;
	uint32_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	uint32_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;
	uint32_t month = mp < 10 ? mp + 3 : mp - 9, year = yoe + era * 400 + (month <= 2);
	const uint32_t two[] = { year / 100 % 100,
				 year % 100,
				 month,
				 doy - (153 * mp + 2) / 5 + 1,
				 left / 3600000,
				 left / 60000 % 60,
				 left / 1000 % 60,
				 left % 1000 / 10 };
	char text[] = "yyyy-mm-ddThh:mm:ss.000Z";
	static const uint8_t at[] = { 0, 2, 5, 8, 11, 14, 17, 20 };

	for (size_t i = 0; i < ARRAY_LEN(two); i++)
		memcpy(text + at[i], pairs + two[i] * 2, 2);
	text[22] = (char)('0' + left % 10);
	put_word(l, KEY("time"), slice_of(text, sizeof(text) - 1));
}

static void put_field(struct line *l, struct slice json, struct slice text,
		      const struct exchange *x, struct slice name, size_t max)
{
	const struct field *f = head_find(&x->req, name);

	if (f)
		put_str(l, json, text, slice_of(f->value.p, MIN(f->value.n, max)));
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
	put_word(&l, KEY("client"), forward_client(x));
	put_word(&l, KEY("scheme"), x->peer->tls ? SLICE("https") : SLICE("http"));
	put_word(&l, KEY("protocol"), protocol(x));
	if (x->peer->tls_version)
		put_word(&l, KEY("tls"), slice_str(x->peer->tls_version));
	put_int(&l, KEY("status"), x->status ? x->status : STATUS_CLIENT_GONE);
	put_ms(&l, KEY("ms"), line->took_us);
	if (line->sent_us)
		put_ms(&l, KEY("sent_ms"), since(x, line->sent_us));
	if (line->connect_us)
		put_ms(&l, KEY("connect_ms"), line->connect_us);
	if (line->head_us)
		put_ms(&l, KEY("head_ms"), since(x, line->head_us));
	put_int(&l, KEY("in"), x->body_in_bytes);
	put_int(&l, KEY("out"), x->body_out_bytes);
	put_int(&l, KEY("attempts"), line->attempts);
	put_word(&l, KEY("id"), slice_str(x->request_id));
	if (line->upstream)
		put_name(&l, KEY("upstream"), slice_str(line->upstream));
	if (line->endpoint)
		put_word(&l, KEY("endpoint"), slice_str(line->endpoint));
	if (line->why)
		put_str(&l, KEY("cut"), slice_str(line->why));
	put_str(&l, KEY("method"), slice_of(x->req.method.p, MIN(x->req.method.n, METHOD_SHOWN)));
	put_str(&l, KEY("host"), slice_of(x->req.authority.p, MIN(x->req.authority.n, HOST_SHOWN)));
	put_str(&l, KEY("path"), slice_of(x->req.path.p, MIN(x->req.path.n, PATH_SHOWN)));
	put_field(&l, KEY("agent"), x, SLICE("user-agent"), AGENT_SHOWN);
	put_field(&l, KEY("referer"), x, SLICE("referer"), REFERER_SHOWN);
	l.end += 2;
	if (json)
		put(&l, "}", 1);
	put(&l, "\n", 1);
	return (size_t)(l.p - out);
}
