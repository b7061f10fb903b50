/* App files: whatever is read, each app has a body that is JSON, or each mistake has its line and column in the file. */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "cli/app_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *env(const char *name)
{
	return name[0] == 'S' ? "a: [b\n  c" : NULL;
}

static void check_apps(const struct app_file *f)
{
	struct buf said;

	if (!f->n)
		abort();
	buf_init(&said, 0);
	for (size_t i = 0; i < f->n; i++) {
		struct json *j;
		struct err err;

		if (json_parse(&j, slice_str(f->apps[i].body), &err) || json_type(json_get(j, "replace")) != JSON_BOOL ||
		    json_type(json_get(j, "image")) != JSON_STRING)
			abort();
		json_free(j);
		app_file_say(f, &f->apps[i], 422, "member \"env\": no", &said);
	}
	buf_fini(&said);
}

/* "f:LINE:COLUMN: …" each, and LINE is one of the file's, or the one behind its end. */
static void check_errors(struct buf *errors, const uint8_t *data, size_t size)
{
	unsigned lines = 2, line, column;

	for (size_t i = 0; i < size; i++)
		lines += data[i] == '\n' || data[i] == '\r' || data[i] >= 0x80;
	if (!errors->len || sscanf(errors->data, "f:%u:%u: ", &line, &column) != 2 || !line || !column || line > lines)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct app_file *f = NULL;
	struct buf errors;
	int rc;

	buf_init(&errors, 0);
	rc = app_file_parse(&f, "f", slice_of(data, size), env, &errors);
	if (rc == 0)
		check_apps(f);
	else if (rc == -EINVAL && !f)
		check_errors(&errors, data, size);
	else
		abort();
	app_file_free(f);
	buf_fini(&errors);
	return 0;
}
