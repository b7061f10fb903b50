/* Comparing, cutting and converting borrowed bytes. */
#include "base/slice.h"

#include <errno.h>

static uint64_t load(const char *p)
{
	uint64_t w;

	memcpy(&w, p, sizeof(w));
	return w;
}

/* Fewer than eight bytes, some of them twice: each is in it. */
static uint64_t load_short(const char *p, size_t n)
{
	uint32_t head, tail;

	if (n >= 4) {
		memcpy(&head, p, sizeof(head));
		memcpy(&tail, p + n - sizeof(tail), sizeof(tail));
		return head | (uint64_t)tail << 32;
	}
	return n ? (uint8_t)p[0] | (uint32_t)(uint8_t)p[n / 2] << 8 |
			   (uint32_t)(uint8_t)p[n - 1] << 16
		 : 0;
}

static bool word_eq_nocase(uint64_t a, uint64_t b)
{
	return a == b || slice_fold_word(a) == slice_fold_word(b);
}

/* Runs for every field of a head: eight bytes at a time, the last eight as they come. */
bool slice_eq_nocase(struct slice a, struct slice b)
{
	size_t n = a.n;

	if (n != b.n)
		return false;
	if (n < 8)
		return word_eq_nocase(load_short(a.p, n), load_short(b.p, n));
	for (size_t i = 0; i + 8 < n; i += 8)
		if (!word_eq_nocase(load(a.p + i), load(b.p + i)))
			return false;
	return word_eq_nocase(load(a.p + n - 8), load(b.p + n - 8));
}

bool slice_starts(struct slice s, struct slice prefix)
{
	return s.n >= prefix.n && slice_eq(slice_of(s.p, prefix.n), prefix);
}

bool slice_ends(struct slice s, struct slice suffix)
{
	/* An empty suffix first: s.p may be NULL, and arithmetic on that is undefined. */
	if (suffix.n == 0)
		return true;
	return s.n >= suffix.n && slice_eq(slice_of(s.p + s.n - suffix.n, suffix.n), suffix);
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

struct slice slice_trim(struct slice s)
{
	while (s.n && is_blank(s.p[0])) {
		s.p++;
		s.n--;
	}
	while (s.n && is_blank(s.p[s.n - 1]))
		s.n--;
	return s;
}

struct slice slice_split(struct slice s, char sep, struct slice *rest)
{
	const char *at = s.n ? memchr(s.p, sep, s.n) : NULL;
	size_t n;

	if (!at) {
		*rest = slice_of(NULL, 0);
		return s;
	}
	n = (size_t)(at - s.p);
	*rest = slice_of(at + 1, s.n - n - 1);
	return slice_of(s.p, n);
}

int slice_u64(struct slice s, uint64_t *out)
{
	uint64_t v = 0;
	int rc = s.n ? 0 : -EINVAL;

	/* To the end even when it no longer fits: "99999999999999999999x" is not a number. */
	for (size_t i = 0; i < s.n; i++) {
		unsigned digit = (unsigned char)s.p[i] - (unsigned)'0';

		if (digit > 9)
			return -EINVAL;
		if (v > (UINT64_MAX - digit) / 10)
			rc = -ERANGE;
		else
			v = v * 10 + digit;
	}
	if (rc == 0)
		*out = v;
	return rc;
}

int slice_copy(struct slice s, char *dst, size_t size)
{
	if (s.n >= size)
		return -ENAMETOOLONG;
	if (s.n && memchr(s.p, '\0', s.n))
		return -EINVAL;
	if (s.n)
		memcpy(dst, s.p, s.n);
	dst[s.n] = '\0';
	return 0;
}

char *slice_dup(struct slice s)
{
	char *copy = xcalloc(s.n + 1, 1);

	if (s.n)
		memcpy(copy, s.p, s.n);
	return copy;
}
