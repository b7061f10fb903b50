/* Decoding of paths and queries. */
#include "http/url.h"

#include <errno.h>

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool url_decode_byte(struct slice in, char *c)
{
	int high = in.n > 2 ? hex_digit(in.p[1]) : -1;
	int low = high >= 0 ? hex_digit(in.p[2]) : -1;

	if (low < 0)
		return false;
	*c = (char)(high << 4 | low);
	return true;
}

int url_decode(struct slice in, char *out, size_t size, size_t *n)
{
	size_t len = 0;

	for (size_t i = 0; i < in.n; i++) {
		char c = in.p[i];

		if (c == '%') {
			if (!url_decode_byte(slice_of(in.p + i, in.n - i), &c))
				return -EINVAL;
			i += 2;
		}
		if (c == '\0')
			return -EINVAL;
		if (len + 1 >= size)
			return -ENAMETOOLONG;
		out[len++] = c;
	}
	if (len >= size)
		return -ENAMETOOLONG;
	out[len] = '\0';
	*n = len;
	return 0;
}

int url_query(struct slice query, struct slice name, struct slice *value)
{
	while (query.p) {
		struct slice pair = slice_split(query, '&', &query);
		struct slice key = slice_split(pair, '=', value);

		if (slice_eq(key, name))
			return 0;
	}
	return -ENOENT;
}

void url_split(struct slice target, struct slice *path, struct slice *query)
{
	*path = slice_split(target, '?', query);
}
