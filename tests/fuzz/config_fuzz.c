/* The configuration form: pairs are trimmed pieces of the text, errors name a line of it. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_inside(struct slice part, struct slice whole)
{
	return part.p >= whole.p && part.p + part.n <= whole.p + whole.n;
}

static int on_pair(void *arg, struct slice key, struct slice value, struct err *err)
{
	const struct slice *text = arg;

	if (key.n == 0 || !is_inside(key, *text) || !is_inside(value, *text) ||
	    slice_trim(key).n != key.n || slice_trim(value).n != value.n)
		abort();
	if (key.p[0] == 'u')
		return -ENOENT;
	return key.p[0] == 'b' ? err_say(err, -EINVAL, "%.*s", SLICE_ARG(value)) : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice text = slice_of(data, size);
	struct err err = { 0 };
	int rc = config_parse("fuzz", text, on_pair, &text, &err);

	if (rc == 0 ? err.text[0] != '\0' : rc != -EINVAL || strncmp(err.text, "fuzz:", 5) != 0)
		abort();
	return 0;
}
