/* Authorities, percent-encoding and queries: what is accepted stays within its bounds. */

#include "fuzz.h"
#include "http/head.h"
#include "http/url.h"

static void try_authority(struct slice s)
{
	struct slice host;
	char text[300];
	uint16_t port;

	if (head_split_authority(s, &host, &port) < 0)
		return;
	MUST(host.n > 0 && host.n <= 255 && host.p == s.p);
	for (size_t i = 0; i < host.n; i++)
		MUST(host.p[i] > ' ' && host.p[i] != '@' && host.p[i] != '/' && host.p[i] != '%' &&
		     host.p[i] < 0x7f);
	if (port == 0) {
		MUST(host.n == s.n);
	} else {
		size_t zeros = host.n + 1;

		while (s.p[zeros] == '0')
			zeros++;
		snprintf(text, sizeof(text), "%u", port);
		MUST(s.p[host.n] == ':' &&
		     slice_eq(slice_of(s.p + zeros, s.n - zeros), slice_str(text)));
	}
}

static void try_decode(struct slice s)
{
	char *out = malloc(s.n + 1), *tight;
	size_t n, m;

	if (url_decode(s, out, s.n + 1, &n) == 0) {
		MUST(n <= s.n && strlen(out) == n);
		tight = malloc(n + 1);
		MUST(url_decode(s, tight, n + 1, &m) == 0 && m == n && memcmp(tight, out, n) == 0);
		MUST(n == 0 || url_decode(s, tight, n, &m) < 0);
		free(tight);
	}
	free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice all = slice_of(data, size), path, query, value;

	try_authority(all);
	try_decode(all);
	url_split(all, &path, &query);
	MUST(path.n + query.n + (query.p != NULL) == size);
	if (url_query(query, SLICE("name"), &value) == 0) {
		MUST(value.n <= query.n);
		try_decode(value);
	}
	try_authority(path);
	return 0;
}
