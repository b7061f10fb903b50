/* A PROXY protocol header: however the bytes are split, the result is the same, and nothing behind it
 * is taken. */
#include <string.h>

#include "fuzz.h"
#include "http/proxy_header.h"

static enum proxy_header_result feed(const uint8_t *p, size_t n, size_t step, size_t *taken,
				     struct addr *from, const char **why)
{
	enum proxy_header_result result = PROXY_HEADER_MORE;
	struct proxy_header h = { 0 };
	size_t used;

	for (*taken = 0; *taken < n && result == PROXY_HEADER_MORE; *taken += used)
		result = proxy_header_feed(&h, p + *taken, MIN(step, n - *taken), &used, from, why);
	MUST(*taken <= n && *taken <= 16 + PROXY_HEADER_V2_MAX);
	return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct addr whole = { 0 }, split = { 0 };
	const char *why = NULL, *why_split = NULL;
	size_t taken, taken_split, step;
	enum proxy_header_result result;

	if (size < 1)
		return 0;
	step = 1 + data[0] % 64;
	result = feed(data + 1, size - 1, size, &taken, &whole, &why);
	MUST(feed(data + 1, size - 1, step, &taken_split, &split, &why_split) == result);
	MUST(taken == taken_split);
	MUST(why == why_split);
	MUST(strcmp(whole.text, split.text) == 0);
	MUST((result == PROXY_HEADER_BAD) == (why != NULL));
	return 0;
}
