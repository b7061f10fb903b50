/* Text forms: no input reads past its end, and what is accepted comes back from its own text. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_base64(struct slice s)
{
	struct buf bytes, text, again;

	buf_init(&bytes, 0);
	buf_init(&text, 0);
	buf_init(&again, 0);
	if (text_unbase64(&bytes, s) < 0) {
		if (bytes.len)
			abort();
		buf_append_slice(&bytes, s);
	}
	text_base64(&text, bytes.data, bytes.len, s.n & 1);
	if (text_unbase64(&again, buf_slice(&text)) < 0 || !slice_eq(buf_slice(&again), buf_slice(&bytes)))
		abort();
	buf_fini(&bytes);
	buf_fini(&text);
	buf_fini(&again);
}

static void check_addr(struct slice s)
{
	struct addr a, again;

	if (addr_parse(&a, s, NULL) < 0)
		return;
	if (addr_parse(&again, slice_str(a.text), NULL) < 0 || memcmp(&a, &again, sizeof(a)) != 0)
		abort();
}

static void check_time(struct slice s)
{
	uint64_t ms, again;
	char text[32];

	if (text_parse_time(s, &ms) < 0)
		return;
	/* An offset can carry the last day of the year 9999 out of what text_time() shows. */
	ms = MIN(ms, (uint64_t)253402300799999);
	text_time(ms, true, text);
	if (text_parse_time(slice_str(text), &again) < 0 || again != ms)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice s = slice_of(data, size);
	uint64_t number;

	check_base64(s);
	check_addr(s);
	check_time(s);
	if (text_parse_duration(s, &number) == -ERANGE && s.n < 12)
		abort();
	if (text_parse_size(s, &number) == -ERANGE && s.n < 9)
		abort();
	if (text_is_app_name(s) && !text_is_name(s))
		abort();
	if (text_is_host(s) && addr_make(&(struct addr){ 0 }, s, 0, NULL) == 0)
		abort();
	return 0;
}
