/* Small text forms: hex, base64, times, durations, sizes, names. Socket addresses are in addr.c. */
#include "base/text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define TEXT_BYTES 32 /* what the callers' <out> takes */

void text_hex(const void *p, size_t n, char *hex)
{
	static const char digits[] = "0123456789abcdef";
	const uint8_t *bytes = p;

	for (size_t i = 0; i < n; i++) {
		*hex++ = digits[bytes[i] >> 4];
		*hex++ = digits[bytes[i] & 15];
	}
	*hex = '\0';
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int text_unhex(struct slice hex, void *out, size_t n)
{
	uint8_t *bytes = out;

	if (hex.n % 2 || hex.n / 2 != n)
		return -EINVAL;
	for (size_t i = 0; i < n; i++) {
		int high = hex_value(hex.p[2 * i]), low = hex_value(hex.p[2 * i + 1]);

		if (high < 0 || low < 0)
			return -EINVAL;
		bytes[i] = (uint8_t)(high << 4 | low);
	}
	return 0;
}

void text_base64(struct buf *out, const void *p, size_t n, bool url)
{
	const char *tail = url ? "-_" : "+/";
	const uint8_t *at = p;
	char group[4];

	while (n) {
		uint32_t take = (uint32_t)MIN(n, (size_t)3);
		uint32_t bits = (uint32_t)at[0] << 16 | (uint32_t)(take > 1 ? at[1] : 0) << 8 |
				(take > 2 ? at[2] : 0);

		for (unsigned i = 0; i < 4; i++) {
			unsigned v = bits >> (18 - 6 * i) & 63;

			if (i > take)
				group[i] = '=';
			else if (v < 26)
				group[i] = (char)('A' + v);
			else if (v < 52)
				group[i] = (char)('a' + v - 26);
			else if (v < 62)
				group[i] = (char)('0' + v - 52);
			else
				group[i] = tail[v - 62];
		}
		buf_append(out, group, url ? take + 1 : 4);
		at += take;
		n -= take;
	}
}

static int base64_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '+' || c == '-')
		return 62;
	if (c == '/' || c == '_')
		return 63;
	return -1;
}

int text_unbase64(struct buf *out, struct slice s)
{
	size_t data = s.n, was = out->len;
	uint32_t bits = 0;
	unsigned held = 0;
	int rc = 0;

	while (data && s.n - data < 2 && s.p[data - 1] == '=')
		data--;
	/* Padding, when there is any, completes a group of four; one character alone holds no byte.
	 */
	if (data % 4 == 1 || (data < s.n && s.n % 4))
		return -EINVAL;
	for (size_t i = 0; i < data && rc == 0; i++) {
		int v = base64_value(s.p[i]);

		if (v < 0) {
			rc = -EINVAL;
			break;
		}
		bits = bits << 6 | (uint32_t)v;
		held += 6;
		if (held >= 8) {
			uint8_t byte = (uint8_t)(bits >> (held - 8));

			held -= 8;
			bits &= (1u << held) - 1;
			rc = buf_append(out, &byte, 1);
		}
	}
	/* Bits that no byte took must be 0: one text for one value. */
	if (rc == 0 && bits)
		rc = -EINVAL;
	if (rc < 0 && out->data) {
		out->len = was;
		out->data[was] = '\0';
	}
	return rc;
}

/* Days since 1970-01-01 of a date of the proleptic Gregorian calendar; months from 1. */
static int64_t days_from_date(int year, int month, int day)
{
	/* Counted in years that begin in March, so that the leap day comes last. */
	int64_t y = year - (month <= 2);
	int64_t era = (y >= 0 ? y : y - 399) / 400;
	int64_t of_era = y - era * 400;
	int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

	return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

struct date {
	unsigned year, month, day;
};

static struct date date_from_days(uint64_t days)
{
	uint64_t z = days + 719468;
	uint64_t era = z / 146097, of_era = z % 146097;
	uint64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	uint64_t of_year = of_era - (365 * year + year / 4 - year / 100);
	uint64_t march = (5 * of_year + 2) / 153;
	uint64_t month = march < 10 ? march + 3 : march - 9;

	return (struct date){
		.year = (unsigned)(year + era * 400 + (month <= 2)),
		.month = (unsigned)month,
		.day = (unsigned)(of_year - (153 * march + 2) / 5 + 1),
	};
}

void text_time(uint64_t wall_ms, bool with_ms, char *out)
{
	const uint64_t last_ms = 253402300799999; /* of the year 9999 */
	uint64_t ms = MIN(wall_ms, last_ms);
	unsigned s = (unsigned)(ms / 1000 % 86400);
	struct date d = date_from_days(ms / 86400000);
	char fraction[8] = "";

	if (with_ms)
		snprintf(fraction, sizeof(fraction), ".%03u", (unsigned)(ms % 1000));
	snprintf(out, TEXT_BYTES, "%04u-%02u-%02uT%02u:%02u:%02u%sZ", d.year % 10000u,
		 d.month % 100u, d.day % 100u, s / 3600, s / 60 % 60, s % 60, fraction);
}

/* Exactly <digits> decimal digits off the front of <s>, from <min> to <max>. */
static int take_number(struct slice *s, size_t digits, unsigned min, unsigned max, int *out)
{
	uint64_t v;

	if (s->n < digits || slice_u64(slice_of(s->p, digits), &v) < 0 || v < min || v > max)
		return -EINVAL;
	s->p += digits;
	s->n -= digits;
	*out = (int)v;
	return 0;
}

static int take_char(struct slice *s, const char *any_of)
{
	/* strchr() would find the terminator for a NUL. */
	if (s->n == 0 || s->p[0] == '\0' || !strchr(any_of, s->p[0]))
		return -EINVAL;
	s->p++;
	s->n--;
	return s->p[-1];
}

/* ".123456789" with any number of digits, or nothing; whole milliseconds. */
static int take_fraction(struct slice *s, int *ms)
{
	int weight = 100, digits = 0;

	*ms = 0;
	if (take_char(s, ".") < 0)
		return 0;
	while (s->n && s->p[0] >= '0' && s->p[0] <= '9') {
		*ms += weight * (s->p[0] - '0');
		weight /= 10;
		digits++;
		s->p++;
		s->n--;
	}
	return digits ? 0 : -EINVAL;
}

/* "Z" or "+01:00"; minutes east of Greenwich. */
static int take_offset(struct slice *s, int *minutes)
{
	int sign = take_char(s, "Zz+-"), hour, minute;

	*minutes = 0;
	if (sign == 'Z' || sign == 'z')
		return 0;
	if (sign < 0 || take_number(s, 2, 0, 23, &hour) < 0 || take_char(s, ":") < 0 ||
	    take_number(s, 2, 0, 59, &minute) < 0)
		return -EINVAL;
	*minutes = (hour * 60 + minute) * (sign == '-' ? -1 : 1);
	return 0;
}

static int days_in_month(int year, int month)
{
	static const uint8_t days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

	return month == 2 && leap ? 29 : days[month - 1];
}

int text_parse_time(struct slice s, uint64_t *wall_ms)
{
	int year, month, day, hour, minute, second, ms, offset;
	int64_t total;

	if (take_number(&s, 4, 0, 9999, &year) < 0 || take_char(&s, "-") < 0 ||
	    take_number(&s, 2, 1, 12, &month) < 0 || take_char(&s, "-") < 0 ||
	    take_number(&s, 2, 1, 31, &day) < 0 || day > days_in_month(year, month) ||
	    take_char(&s, "Tt") < 0 || take_number(&s, 2, 0, 23, &hour) < 0 ||
	    take_char(&s, ":") < 0 || take_number(&s, 2, 0, 59, &minute) < 0 ||
	    take_char(&s, ":") < 0 || take_number(&s, 2, 0, 60, &second) < 0 ||
	    take_fraction(&s, &ms) < 0 || take_offset(&s, &offset) < 0 || s.n)
		return -EINVAL;
	total = days_from_date(year, month, day) * 86400 + hour * 3600 + minute * 60 + second;
	total -= (int64_t)offset * 60;
	*wall_ms = total < 0 ? 0 : (uint64_t)total * 1000 + (uint64_t)ms;
	return 0;
}

struct unit {
	const char *suffix;
	uint64_t factor;
};

/* "<digits><suffix>": the first row whose suffix fits decides, so longer suffixes stand first. */
static int parse_with_unit(struct slice s, const struct unit *units, size_t n, uint64_t *out)
{
	for (size_t i = 0; i < n; i++) {
		struct slice suffix = slice_str(units[i].suffix);
		uint64_t v;
		int rc;

		if (s.n < suffix.n ||
		    (suffix.n &&
		     !slice_eq_nocase(slice_of(s.p + s.n - suffix.n, suffix.n), suffix)))
			continue;
		rc = slice_u64(slice_of(s.p, s.n - suffix.n), &v);
		if (rc < 0)
			return rc;
		if (v > UINT64_MAX / units[i].factor)
			return -ERANGE;
		*out = v * units[i].factor;
		return 0;
	}
	return -EINVAL;
}

int text_parse_duration(struct slice s, uint64_t *ms)
{
	static const struct unit units[] = {
		{ "ms", 1 },	  { "s", 1000 },     { "m", 60000 },
		{ "h", 3600000 }, { "d", 86400000 }, { "", 1000 },
	};

	return parse_with_unit(s, units, ARRAY_LEN(units), ms);
}

int text_parse_size(struct slice s, uint64_t *bytes)
{
	static const struct unit units[] = {
		{ "KiB", 1ull << 10 }, { "MiB", 1ull << 20 }, { "GiB", 1ull << 30 },
		{ "TiB", 1ull << 40 }, { "k", 1ull << 10 },   { "m", 1ull << 20 },
		{ "g", 1ull << 30 },   { "t", 1ull << 40 },   { "", 1 },
	};

	return parse_with_unit(s, units, ARRAY_LEN(units), bytes);
}

void text_age(uint64_t ms, char *out)
{
	uint64_t s = ms / 1000;

	if (s < 60)
		snprintf(out, TEXT_BYTES, "%" PRIu64 " s ago", s);
	else if (s < 3600)
		snprintf(out, TEXT_BYTES, "%" PRIu64 " min ago", s / 60);
	else if (s < 86400)
		snprintf(out, TEXT_BYTES, "%" PRIu64 " h ago", s / 3600);
	else
		snprintf(out, TEXT_BYTES, "%" PRIu64 " d ago", s / 86400);
}

void text_size(uint64_t bytes, char *out)
{
	static const char *const units[] = { "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	double v = (double)bytes / 1024;
	size_t i = 0;

	if (bytes < 1024) {
		snprintf(out, TEXT_BYTES, "%" PRIu64 " B", bytes);
		return;
	}
	/* What would print as 1024.0 belongs to the next unit. */
	while (v >= 1023.95 && i + 1 < ARRAY_LEN(units)) {
		v /= 1024;
		i++;
	}
	snprintf(out, TEXT_BYTES, "%.1f %s", v, units[i]);
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_lower(char c)
{
	return c >= 'a' && c <= 'z';
}

static bool is_alnum(char c)
{
	return is_digit(c) || is_lower(c) || (c >= 'A' && c <= 'Z');
}

bool text_is_name(struct slice s)
{
	if (s.n < 1 || s.n > 64 || s.p[0] == '.' || s.p[0] == '-')
		return false;
	for (size_t i = 0; i < s.n; i++)
		if (!is_alnum(s.p[i]) && s.p[i] != '.' && s.p[i] != '_' && s.p[i] != '-')
			return false;
	return true;
}

/* Letters, digits and hyphens, no hyphen at either end (RFC 1123 2.1). */
static bool is_label(struct slice s, size_t max)
{
	if (s.n < 1 || s.n > max || s.p[0] == '-' || s.p[s.n - 1] == '-')
		return false;
	for (size_t i = 0; i < s.n; i++)
		if (!is_alnum(s.p[i]) && s.p[i] != '-')
			return false;
	return true;
}

bool text_is_app_name(struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!is_digit(s.p[i]) && !is_lower(s.p[i]) && s.p[i] != '-')
			return false;
	return is_label(s, 50);
}

bool text_is_host(struct slice s)
{
	struct slice rest = s, label = { 0 };
	bool numeric = true;

	if (s.n > 253)
		return false;
	if (slice_starts(rest, SLICE("*."))) {
		rest.p += 2;
		rest.n -= 2;
	}
	do {
		label = slice_split(rest, '.', &rest);
		if (!is_label(label, 63))
			return false;
	} while (rest.p);
	/* No top-level domain is all digits: what ends in one is an address, or means to be. */
	for (size_t i = 0; i < label.n; i++)
		numeric = numeric && is_digit(label.p[i]);
	return !numeric;
}
