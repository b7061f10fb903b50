/* PROXY protocol headers: what is one, whose connection it says, at every split. */
#include "check.h"

#include "http/proxy_header.h"

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define V4 "\xc0\x00\x02\x01\xc6\x33\x64\x01\x12\x67\x01\xbb" /* 192.0.2.1:4711, 198.51.100.1:443 */
#define V6                                                                                  \
	"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02" \
	"\x12\x67\x01\xbb"
#define U16 "0123456789abcdef"
#define U108 U16 U16 U16 U16 U16 U16 "0123456789ab"

static const struct row {
	const char *name, *bytes;
	size_t n;
	enum proxy_header_result want;
	const char *from; /* or why not */
} rows[] = {
#define ROW(name, bytes, want, from) { name, bytes, sizeof(bytes) - 1, PROXY_HEADER_##want, from }
	ROW("v1", "PROXY TCP4 192.0.2.1 198.51.100.1 4711 443\r\n", FROM, "192.0.2.1:4711"),
	ROW("v1, v6", "PROXY TCP6 2001:db8::1 2001:db8::2 4711 443\r\n", FROM, "[2001:db8::1]:4711"),
	ROW("v1, the longest v6",
	    "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
	    FROM, "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"),
	ROW("v1, unknown", "PROXY UNKNOWN\r\n", NONE, NULL),
	ROW("v1, unknown with more", "PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", NONE, NULL),
	ROW("v1, port 0", "PROXY TCP4 192.0.2.1 198.51.100.1 0 443\r\n", FROM, "192.0.2.1:0"),
	ROW("HTTP", "GET / HTTP/1.1\r\n", BAD, "no PROXY header"),
	ROW("HTTP that begins alike", "PUT / HTTP/1.1\r\n", BAD, "no PROXY header"),
	ROW("TLS", "\x16\x03\x01\x02", BAD, "no PROXY header"),
	ROW("lower case", "proxy TCP4 192.0.2.1 198.51.100.1 1 2\r\n", BAD, "no PROXY header"),
	ROW("v1, another protocol", "PROXY UDP4 192.0.2.1 198.51.100.1 1 2\r\n", BAD, "neither TCP4"),
	ROW("v1, two spaces", "PROXY TCP4  192.0.2.1 198.51.100.1 1 2\r\n", BAD, "an address"),
	ROW("v1, a v6 address as TCP4", "PROXY TCP4 2001:db8::1 198.51.100.1 1 2\r\n", BAD,
	    "an address"),
	ROW("v1, a v4 address as TCP6", "PROXY TCP6 192.0.2.1 198.51.100.1 1 2\r\n", BAD,
	    "an address"),
	ROW("v1, a name", "PROXY TCP4 localhost 198.51.100.1 1 2\r\n", BAD, "an address"),
	ROW("v1, short", "PROXY TCP4 192.0.2.1 198.51.100.1 1\r\n", BAD, "ports"),
	ROW("v1, something more", "PROXY TCP4 192.0.2.1 198.51.100.1 1 2 3\r\n", BAD, "ports"),
	ROW("v1, a space at the end", "PROXY TCP4 192.0.2.1 198.51.100.1 1 2 \r\n", BAD, "ports"),
	ROW("v1, a port too large", "PROXY TCP4 192.0.2.1 198.51.100.1 65536 2\r\n", BAD, "ports"),
	ROW("v1, a zero in front", "PROXY TCP4 192.0.2.1 198.51.100.1 01 2\r\n", BAD, "ports"),
	ROW("v1, a sign", "PROXY TCP4 192.0.2.1 198.51.100.1 +1 2\r\n", BAD, "ports"),
	ROW("v1, LF alone", "PROXY TCP4 192.0.2.1 198.51.100.1 1 2\n", BAD, "a bare LF"),
	ROW("v1, CR alone", "PROXY UNKNOWN\rx", BAD, "a bare CR"),
	ROW("v1, endless", "PROXY UNKNOWN " U108, BAD, "no end within 107"),
	ROW("v1, NUL", "PROXY TCP4 192.0.2.1\0 198.51.100.1 1 2\r\n", BAD, "an address"),
	ROW("v2", SIGNATURE "\x21\x11\0\x0c" V4, FROM, "192.0.2.1:4711"),
	ROW("v2, v6", SIGNATURE "\x21\x21\0\x24" V6, FROM, "[2001:db8::1]:4711"),
	ROW("v2, TLVs", SIGNATURE "\x21\x11\0\x16" V4 "\x01\0\x02h2\x04\0\x02\0\0", FROM,
	    "192.0.2.1:4711"),
	ROW("v2, an empty TLV", SIGNATURE "\x21\x11\0\x0f" V4 "\xe0\0\0", FROM, "192.0.2.1:4711"),
	ROW("v2, local", SIGNATURE "\x20\0\0\0", NONE, NULL),
	ROW("v2, local with something", SIGNATURE "\x20\x11\0\x03" "abc", NONE, NULL),
	ROW("v2, unspecified", SIGNATURE "\x21\0\0\x05" "abcde", NONE, NULL),
	ROW("v2, unix", SIGNATURE "\x21\x31\0\xd8" U108 U108, NONE, NULL),
	ROW("v2, unix and a TLV", SIGNATURE "\x21\x31\0\xdc" U108 U108 "\x01\0\x01x", NONE, NULL),
	ROW("v2, datagrams", SIGNATURE "\x21\x12\0\x0c" V4, BAD, "not of a stream"),
	ROW("v2, an unknown family", SIGNATURE "\x21\x41\0\x0c" V4, BAD, "unknown family"),
	ROW("v2, version 1", SIGNATURE "\x11\x11\0\x0c" V4, BAD, "unknown version"),
	ROW("v2, an unknown command", SIGNATURE "\x22\x11\0\x0c" V4, BAD, "unknown version"),
	ROW("v2, too short", SIGNATURE "\x21\x11\0\x0b" V4, BAD, "shorter than its addresses"),
	ROW("v2, too short for v6", SIGNATURE "\x21\x21\0\x0c" V4, BAD, "shorter"),
	ROW("v2, too long", SIGNATURE "\x21\x11\x10\x01" V4, BAD, "longer than 4096"),
	ROW("v2, a TLV without a length", SIGNATURE "\x21\x11\0\x0e" V4 "\x01\0", BAD,
	    "without its length"),
	ROW("v2, a TLV beyond the end", SIGNATURE "\x21\x11\0\x0f" V4 "\x01\0\x01x", BAD,
	    "longer than it"),
	ROW("v2, a broken signature", "\r\n\r\n\0\r\nQUIX\n", BAD, "no PROXY header"),
	ROW("v1, not all of it", "PROXY TCP4 192.0.2.1 198.51.100.1 1 2\r", MORE, NULL),
	ROW("v2, not all of it", SIGNATURE "\x21\x11\0\x0c" "\xc0\x00\x02", MORE, NULL),
	ROW("nothing", "", MORE, NULL),
};

static void check(const struct row *row, enum proxy_header_result got, const struct addr *from,
		  const char *why)
{
	CHECK_INT(row->name, got, row->want);
	if (got == PROXY_HEADER_FROM)
		CHECK_STR(row->name, from->text, row->from);
	if (got == PROXY_HEADER_BAD && !strstr(why, row->from))
		fail_msg("%s: \"%s\", not \"%s\"", row->name, why, row->from);
}

/* <step> bytes at a time; what follows the header stays. */
static void feed(const struct row *row, size_t step)
{
	enum proxy_header_result got = PROXY_HEADER_MORE;
	uint8_t bytes[512];
	struct proxy_header h = { 0 };
	const char *why = NULL;
	struct addr from;
	size_t used, at = 0, n = row->n;

	memcpy(bytes, row->bytes, n);
	if (row->want == PROXY_HEADER_FROM || row->want == PROXY_HEADER_NONE)
		memcpy(bytes + n, "GET /", 5), n += 5;
	while (at < n && got == PROXY_HEADER_MORE) {
		size_t piece = MIN(step, n - at);

		got = proxy_header_feed(&h, bytes + at, piece, &used, &from, &why);
		if (got == PROXY_HEADER_MORE)
			CHECK_INT(row->name, used, piece);
		at += used;
	}
	check(row, got, &from, why);
	if (got == PROXY_HEADER_FROM || got == PROXY_HEADER_NONE)
		CHECK_INT(row->name, at, row->n);
}

static void test_rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		for (size_t step = 1; step <= sizeof(rows[i].bytes) + 600; step += step < 20 ? 1 : 97)
			feed(&rows[i], step);
}

/* The largest header that is taken: 4096 bytes of addresses and one TLV. */
static void test_largest(void **state)
{
	uint8_t bytes[16 + PROXY_HEADER_V2_MAX] = SIGNATURE "\x21\x11\x10\x00" V4 "\xe0\x0f\xf1";
	struct proxy_header h = { 0 };
	struct addr from;
	const char *why;
	size_t used;

	(void)state;
	CHECK_INT("complete", proxy_header_feed(&h, bytes, sizeof(bytes), &used, &from, &why),
		  PROXY_HEADER_FROM);
	CHECK_INT("all of it", used, sizeof(bytes));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_largest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
