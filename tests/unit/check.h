/* What every unit test includes: cmocka, and checks for table rows that name the row that failed. */
#ifndef TEMPS_TESTS_CHECK_H
#define TEMPS_TESTS_CHECK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/slice.h"

#define CHECK_INT(name, got, want)                                                                  \
	do {                                                                                        \
		long long check_got = (long long)(got), check_want = (long long)(want);             \
		if (check_got != check_want)                                                        \
			fail_msg("%s: %s is %lld, not %lld", name, #got, check_got, check_want);    \
	} while (0)

#define CHECK_STR(name, got, want)                                                                  \
	do {                                                                                        \
		const char *check_got = (got), *check_want = (want);                                \
		if (strcmp(check_got, check_want) != 0)                                             \
			fail_msg("%s: %s is \"%s\", not \"%s\"", name, #got, check_got, check_want); \
	} while (0)

/* A slice against a C string. */
#define CHECK_SLICE(name, got, want)                                                                \
	do {                                                                                        \
		struct slice check_got = (got);                                                     \
		const char *check_want = (want);                                                    \
		if (!slice_eq(check_got, slice_str(check_want)))                                    \
			fail_msg("%s: %s is \"%.*s\", not \"%s\"", name, #got, SLICE_ARG(check_got), \
				 check_want);                                                       \
	} while (0)

#endif
