/* JSON out: a streaming emitter. Whatever is put, what comes out is a document that json_parse()
 * takes. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/text.h"

void json_out_init(struct json_out *o, struct buf *buf)
{
	*o = (struct json_out){ .buf = buf };
}

/* Length of the UTF-8 sequence at <p>, 0 when it is none (RFC 3629 section 4). */
static size_t utf8_len(const uint8_t *p, size_t n)
{
	uint8_t low = 0x80, high = 0xbf;
	size_t len;

	if (p[0] >= 0xc2 && p[0] <= 0xdf)
		len = 2;
	else if (p[0] >= 0xe0 && p[0] <= 0xef)
		len = 3;
	else if (p[0] >= 0xf0 && p[0] <= 0xf4)
		len = 4;
	else
		return p[0] < 0x80;
	if (n < len)
		return 0;
	/* The second byte alone tells overlong forms, surrogates and what lies beyond U+10FFFF. */
	if (p[0] == 0xe0)
		low = 0xa0;
	else if (p[0] == 0xed)
		high = 0x9f;
	else if (p[0] == 0xf0)
		low = 0x90;
	else if (p[0] == 0xf4)
		high = 0x8f;
	if (p[1] < low || p[1] > high)
		return 0;
	for (size_t i = 2; i < len; i++)
		if (p[i] < 0x80 || p[i] > 0xbf)
			return 0;
	return len;
}

/* Replaces the one character at <p> that cannot stand in a string as it is. */
static void put_escape(struct buf *b, uint8_t c)
{
	static const char named[][3] = {
		['"'] = "\\\"", ['\\'] = "\\\\", ['\n'] = "\\n", ['\r'] = "\\r", ['\t'] = "\\t",
	};

	/* A NUL has a form in JSON, but json_parse() refuses it. */
	if (c == '\0' || c >= 0x80)
		buf_append_str(b, "\xef\xbf\xbd");
	else if (c < sizeof(named) / sizeof(named[0]) && named[c][0])
		buf_append(b, named[c], 2);
	else
		buf_printf(b, "\\u%04x", c);
}

static void put_string(struct buf *b, struct slice s)
{
	const uint8_t *p = (const uint8_t *)s.p;
	size_t plain = 0; /* start of the run not yet appended */

	buf_append(b, "\"", 1);
	for (size_t i = 0; i < s.n;) {
		size_t len = utf8_len(p + i, s.n - i);

		if (len && p[i] >= 0x20 && p[i] != '"' && p[i] != '\\') {
			i += len;
			continue;
		}
		buf_append(b, p + plain, i - plain);
		put_escape(b, p[i]);
		plain = ++i;
	}
	if (s.n > plain)
		buf_append(b, p + plain, s.n - plain);
	buf_append(b, "\"", 1);
}

/* What comes before a value. */
static void begin(struct json_out *o, const char *name)
{
	if (o->comma)
		buf_append(o->buf, ",", 1);
	o->comma = true;
	if (name) {
		put_string(o->buf, slice_str(name));
		buf_append(o->buf, ":", 1);
	}
}

void json_obj(struct json_out *o, const char *name)
{
	begin(o, name);
	buf_append(o->buf, "{", 1);
	o->comma = false;
}

void json_obj_end(struct json_out *o)
{
	buf_append(o->buf, "}", 1);
	o->comma = true;
}

void json_arr(struct json_out *o, const char *name)
{
	begin(o, name);
	buf_append(o->buf, "[", 1);
	o->comma = false;
}

void json_arr_end(struct json_out *o)
{
	buf_append(o->buf, "]", 1);
	o->comma = true;
}

void json_put_slice(struct json_out *o, const char *name, struct slice s)
{
	begin(o, name);
	put_string(o->buf, s);
}

void json_put_str(struct json_out *o, const char *name, const char *s)
{
	if (s)
		json_put_slice(o, name, slice_str(s));
	else
		json_put_null(o, name);
}

void json_put_int(struct json_out *o, const char *name, int64_t v)
{
	begin(o, name);
	buf_printf(o->buf, "%lld", (long long)v);
}

void json_put_real(struct json_out *o, const char *name, double v)
{
	char text[32];

	if (!isfinite(v)) {
		json_put_null(o, name);
		return;
	}
	/* The shortest form that reads back as the same number: 0.1, not 0.10000000000000001. */
	for (int digits = 15; digits <= 17; digits++) {
		snprintf(text, sizeof(text), "%.*g", digits, v);
		if (strtod(text, NULL) == v)
			break;
	}
	begin(o, name);
	buf_append_str(o->buf, text);
}

void json_put_bool(struct json_out *o, const char *name, bool v)
{
	begin(o, name);
	buf_append_str(o->buf, v ? "true" : "false");
}

void json_put_null(struct json_out *o, const char *name)
{
	begin(o, name);
	buf_append_str(o->buf, "null");
}

void json_put_time(struct json_out *o, const char *name, uint64_t wall_ms)
{
	char text[32];

	if (wall_ms == 0) {
		json_put_null(o, name);
		return;
	}
	text_time(wall_ms, false, text);
	json_put_str(o, name, text);
}

void json_put_json(struct json_out *o, const char *name, const struct json *j)
{
	begin(o, name);
	json_dump(j, false, o->buf);
}
