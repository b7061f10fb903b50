/* Field lines: strict, one pass, table-driven. */
#include "http/fields.h"

#include <errno.h>

#define T CLASS_TOKEN | CLASS_VALUE | CLASS_TARGET
#define H CLASS_TOKEN | CLASS_VALUE | CLASS_TARGET | CLASS_HOST
#define V CLASS_VALUE | CLASS_TARGET
const uint8_t byte_class[256] = {
	['\t'] = CLASS_VALUE,
	[' '] = CLASS_VALUE,
	['!'] = T,
	['"'] = V,
	['#'] = CLASS_TOKEN | CLASS_VALUE,
	['$'] = T,
	['%'] = T,
	['&'] = T,
	['\''] = T,
	['('] = V,
	[')'] = V,
	['*'] = T,
	['+'] = T,
	[','] = V,
	['-'] = H,
	['.'] = H,
	['/'] = V,
	['0' ... '9'] = H,
	[':'] = V,
	[';'] = V,
	['<'] = V,
	['='] = V,
	['>'] = V,
	['?'] = V,
	['@'] = V,
	['A' ... 'Z'] = H,
	['['] = V,
	['\\'] = V,
	[']'] = V,
	['^'] = T,
	['_'] = H,
	['`'] = T,
	['a' ... 'z'] = H,
	['{'] = V,
	['|'] = T,
	['}'] = V,
	['~'] = H,
	[0x80 ... 0xff] = CLASS_VALUE, /* obs-text: opaque, passed on */
};
#undef T
#undef H
#undef V

int parse_reject(struct parse_fault *fault, uint16_t status, const char *why)
{
	*fault = (struct parse_fault){ .status = status, .why = why };
	return -EBADMSG;
}

ssize_t fields_end(uint32_t *seen, const char *p, size_t n, size_t max)
{
	size_t stop = MIN(n, max);
	size_t at = *seen;

	while (at < stop) {
		const char *lf = memchr(p + at, '\n', stop - at);

		if (!lf) {
			at = stop;
			break;
		}
		at = (size_t)(lf - p) + 1;
		if (at < 2 || p[at - 2] != '\r')
			return -EBADMSG;
		if (at == 2 || p[at - 3] == '\n')
			return (ssize_t)at;
	}
	*seen = (uint32_t)at;
	return n >= max ? -EMSGSIZE : 0;
}

static int bad_name(const char *p, const char *name, struct parse_fault *fault)
{
	if (p > name)
		return parse_reject(fault, 400,
				    *p == ' ' || *p == '\t' ? "space before the colon of a field"
							    : "bad byte in a field name");
	if (*p == ' ' || *p == '\t')
		return parse_reject(fault, 400, "folded field line");
	return parse_reject(fault, 400,
			    *p == ':' ? "empty field name" : "bad byte in a field name");
}

/* Skips what a value may hold, eight bytes at a time while <end> is not near: a byte is none of it
 * below SP (HTAB, which is, goes the slow way) or as DEL. */
static const char *skip_value(const char *p, const char *end)
{
	const uint64_t each = 0x0101010101010101u, high = each * 0x80;

	for (; end - p >= 8; p += 8) {
		uint64_t w, del;

		memcpy(&w, p, sizeof(w));
		del = w ^ each * 0x7f;
		if (((w - each * 0x20) & ~w & high) | ((del - each) & ~del & high))
			break;
	}
	while (byte_is(*p, CLASS_VALUE))
		p++;
	return p;
}

int fields_parse(const char *p, const char *end, struct head *h, uint64_t *twice,
		 struct parse_fault *fault)
{
	*twice = 0;
	/* Every scan stops at the CR of its line at the latest, so <end> needs no look inside the
	 * loop. */
	while (p < end) {
		const char *name = p, *value, *value_end;
		enum field_id id;
		size_t name_len;

		while (byte_is(*p, CLASS_TOKEN))
			p++;
		if (p == name || *p != ':')
			return bad_name(p, name, fault);
		name_len = (size_t)(p - name);
		p++;
		while (*p == ' ' || *p == '\t')
			p++;
		value = p;
		p = skip_value(p, end);
		if (p[0] != '\r' || p[1] != '\n')
			return parse_reject(fault, 400, "control byte in a field value");
		value_end = p;
		while (value_end > value && (value_end[-1] == ' ' || value_end[-1] == '\t'))
			value_end--;
		p += 2;

		if (h->nfields == HEAD_MAX_FIELDS)
			return parse_reject(fault, 431, "too many fields");
		id = field_lookup(slice_of(name, name_len));
		h->fields[h->nfields++] = (struct field){
			.name = { name, name_len },
			.value = { value, (size_t)(value_end - value) },
			.id = id,
		};
		if (!h->first[id])
			h->first[id] = h->nfields;
		else
			*twice |= 1ull << id;
	}
	return 0;
}
