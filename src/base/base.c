/* Allocation for boot and the cold control path: when memory is out, there is no answer to give. */
#include "base/base.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *must_have(void *p)
{
	if (!p) {
		fputs("temps: out of memory\n", stderr);
		abort();
	}
	return p;
}

void *xcalloc(size_t n, size_t size)
{
	/* calloc(0) may answer NULL, which is not a shortage. */
	return must_have(calloc(n ? n : 1, size ? size : 1));
}

void *xrealloc(void *p, size_t size)
{
	return must_have(realloc(p, size ? size : 1));
}

char *xstrdup(const char *s)
{
	return must_have(strdup(s));
}

char *xstrndup(const char *s, size_t n)
{
	return must_have(strndup(s, n));
}

char *xasprintf(const char *fmt, ...)
{
	char *s = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&s, fmt, ap) < 0)
		s = NULL;
	va_end(ap);
	return must_have(s);
}
