/* Formats error texts; every function takes NULL for "nobody wants to read it". */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int err_set(struct err *err, int rc, const char *fmt, ...)
{
	va_list ap;
	size_t n;

	if (!err)
		return rc;
	err->code = rc;
	va_start(ap, fmt);
	vsnprintf(err->text, sizeof(err->text), fmt, ap);
	va_end(ap);
	n = strlen(err->text);
	snprintf(err->text + n, sizeof(err->text) - n, ": %s", strerror(-rc));
	return rc;
}

int err_say(struct err *err, int rc, const char *fmt, ...)
{
	va_list ap;

	if (!err)
		return rc;
	err->code = rc;
	va_start(ap, fmt);
	vsnprintf(err->text, sizeof(err->text), fmt, ap);
	va_end(ap);
	return rc;
}

int err_prefix(struct err *err, const char *fmt, ...)
{
	char cause[sizeof(err->text)];
	va_list ap;
	size_t n;

	if (!err)
		return 0;
	memcpy(cause, err->text, sizeof(cause));
	va_start(ap, fmt);
	vsnprintf(err->text, sizeof(err->text), fmt, ap);
	va_end(ap);
	n = strlen(err->text);
	/* The cut, if any, falls on the end of the cause: the thing's name comes first and stays.
	 */
	if (n < sizeof(err->text) - 1) {
		snprintf(err->text + n, sizeof(err->text) - n, ": %.*s",
			 (int)(sizeof(err->text) - n), cause);
	}
	return err->code;
}
