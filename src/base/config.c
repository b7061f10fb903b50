/* Reads `key = value` files. */
#include "base/config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CONFIG_MAX_BYTES ((size_t)1 << 20)

/* '#' at the start or after a blank begins a comment, so that URLs and passwords may hold one. */
static struct slice without_comment(struct slice line)
{
	for (size_t i = 0; i < line.n; i++)
		if (line.p[i] == '#' && (i == 0 || line.p[i - 1] == ' ' || line.p[i - 1] == '\t'))
			return slice_of(line.p, i);
	return line;
}

static bool has_control(struct slice line)
{
	for (size_t i = 0; i < line.n; i++) {
		unsigned char c = (unsigned char)line.p[i];

		if ((c < 0x20 && c != '\t') || c == 0x7f)
			return true;
	}
	return false;
}

static int parse_line(struct slice line, config_pair_fn *pair, void *arg, struct err *err)
{
	struct slice key, value;
	int rc;

	if (slice_ends(line, SLICE("\r")))
		line.n--;
	if (has_control(line))
		return err_say(err, -EINVAL, "a control character");
	line = slice_trim(without_comment(line));
	if (line.n == 0)
		return 0;
	key = slice_trim(slice_split(line, '=', &value));
	if (!value.p)
		return err_say(err, -EINVAL, "expected key = value");
	if (key.n == 0)
		return err_say(err, -EINVAL, "no key before '='");
	rc = pair(arg, key, slice_trim(value), err);
	if (rc == -ENOENT)
		return err_say(err, -EINVAL, "unknown key \"%.*s\"", (int)MIN(key.n, (size_t)64),
			       key.p);
	if (rc < 0 && !err->text[0])
		return err_say(err, -EINVAL, "bad value for \"%.*s\"", (int)MIN(key.n, (size_t)64),
			       key.p);
	return rc < 0 ? -EINVAL : 0;
}

int config_parse(const char *name, struct slice text, config_pair_fn *pair, void *arg,
		 struct err *err)
{
	for (unsigned number = 1; text.p; number++) {
		struct slice line = slice_split(text, '\n', &text);
		struct err why = { 0 };

		if (parse_line(line, pair, arg, &why) < 0)
			return err_say(err, -EINVAL, "%s:%u: %.400s", name, number, why.text);
	}
	return 0;
}

int config_read(const char *path, config_pair_fn *pair, void *arg, struct err *err)
{
	char *text;
	size_t len;
	int rc;

	rc = file_read(path, CONFIG_MAX_BYTES, &text, &len, err);
	if (rc < 0)
		return rc;
	rc = config_parse(path, slice_of(text, len), pair, arg, err);
	free(text);
	return rc;
}
