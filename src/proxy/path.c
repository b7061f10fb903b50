/* Reading paths. */
#include "proxy/path.h"

#include "http/url.h"

static bool is_plain(struct slice path)
{
	for (size_t i = 0; i < path.n && path.p[i] != '?'; i++) {
		char next = i + 1 < path.n ? path.p[i + 1] : '\0';

		if (path.p[i] == '%' || (path.p[i] == '/' && (next == '/' || next == '.')))
			return false;
	}
	return true;
}

/* out[0..n) ends with a whole segment: what is left once it took effect. */
static size_t resolve(const char *out, size_t n)
{
	size_t start = n;

	while (start > 0 && out[start - 1] != '/')
		start--;
	if (n - start == 1 && out[start] == '.')
		return start;
	if (n - start != 2 || out[start] != '.' || out[start + 1] != '.')
		return n;
	/* The segment before goes too, but never the root. */
	if (start > 1)
		start--;
	while (start > 0 && out[start - 1] != '/')
		start--;
	return MAX(start, 1);
}

struct slice path_plain(struct slice path, char *out)
{
	size_t n = 0;

	if (path.n == 0 || path.n > HEAD_MAX_TARGET || path.p[0] != '/' || is_plain(path))
		return path;
	for (size_t i = 0; i < path.n && path.p[i] != '?'; i++) {
		char c = path.p[i];

		if (c == '%' && url_decode_byte(slice_of(path.p + i, path.n - i), &c))
			i += 2;
		if (c == '/') {
			n = resolve(out, n);
			if (n > 0 && out[n - 1] == '/')
				continue;
		}
		out[n++] = c;
	}
	return slice_of(out, resolve(out, n));
}
