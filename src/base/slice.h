/* A borrowed run of bytes, not terminated. Whoever owns the bytes says how long they live. */
#ifndef TEMPS_BASE_SLICE_H
#define TEMPS_BASE_SLICE_H

#include <string.h>

#include "base/base.h"

struct slice {
	const char *p;
	size_t n;
};

/* For printf: "%.*s", SLICE_ARG(s) */
#define SLICE_ARG(s) (int)(s).n, (s).p
/* From a string literal */
#define SLICE(lit) ((struct slice){ (lit), sizeof(lit) - 1 })

static inline struct slice slice_of(const void *p, size_t n)
{
	return (struct slice){ p, n };
}

/* From a C string; NULL gives the empty slice. */
static inline struct slice slice_str(const char *s)
{
	return (struct slice){ s, s ? strlen(s) : 0 };
}

static inline bool slice_eq(struct slice a, struct slice b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

/* Eight bytes in ASCII lower case; all others stay. In each byte, adding what is missing to 0x80
 * carries into the high bit from 'A' on, and from after 'Z' on. */
static inline uint64_t slice_fold_word(uint64_t w)
{
	const uint64_t each = 0x0101010101010101u;
	uint64_t low = w & each * 0x7f;
	uint64_t upper =
		(low + each * (0x80 - 'A')) & ~(low + each * (0x7f - 'Z')) & ~w & each * 0x80;

	return w | upper >> 2;
}

/* ASCII case folded; nothing else is. */
bool slice_eq_nocase(struct slice a, struct slice b);
bool slice_starts(struct slice s, struct slice prefix);
bool slice_ends(struct slice s, struct slice suffix);
/* Without SP and HTAB at both ends (RFC 9110 OWS). */
struct slice slice_trim(struct slice s);
/* The part before the first <sep>; <*rest> is what follows it, or empty with p == NULL when there
 * was none. */
struct slice slice_split(struct slice s, char sep, struct slice *rest);
/* All of <s> is decimal digits and fits: 0. Else -EINVAL, or -ERANGE, and <*out> is left alone. */
int slice_u64(struct slice s, uint64_t *out) MUST_CHECK;
/* Copies into <dst> with a NUL; -ENAMETOOLONG when it does not fit in <size>, -EINVAL when <s>
 * holds a NUL. */
int slice_copy(struct slice s, char *dst, size_t size) MUST_CHECK;
/* A terminated heap copy, the caller's to free(). */
char *slice_dup(struct slice s);

#endif
