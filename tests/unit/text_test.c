/* Text forms: every row is one thing accepted or refused. */
#include <errno.h>

#include "base/text.h"
#include "check.h"

static void test_hex(void **state)
{
	uint8_t back[4];
	char hex[9];

	(void)state;
	text_hex("\x00\x7f\x80\xff", 4, hex);
	assert_string_equal(hex, "007f80ff");
	assert_int_equal(text_unhex(SLICE("007F80ff"), back, 4), 0);
	assert_memory_equal(back, "\x00\x7f\x80\xff", 4);
	assert_int_equal(text_unhex(SLICE("007f80f"), back, 4), -EINVAL);
	assert_int_equal(text_unhex(SLICE("007f80ff00"), back, 4), -EINVAL);
	assert_int_equal(text_unhex(SLICE("007f80fg"), back, 4), -EINVAL);
	assert_int_equal(text_unhex(SLICE(""), back, 0), 0);
}

/* RFC 4648 section 10, and what tells the alphabets apart. */
static const struct {
	const char *plain, *standard, *url;
} encodings[] = {
	{ "", "", "" },
	{ "f", "Zg==", "Zg" },
	{ "fo", "Zm8=", "Zm8" },
	{ "foo", "Zm9v", "Zm9v" },
	{ "foob", "Zm9vYg==", "Zm9vYg" },
	{ "fooba", "Zm9vYmE=", "Zm9vYmE" },
	{ "foobar", "Zm9vYmFy", "Zm9vYmFy" },
	{ "\xfb\xff\xfe", "+//+", "-__-" },
};

static void test_base64(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(encodings); i++) {
		const char *plain = encodings[i].plain;
		struct buf b;

		buf_init(&b, 0);
		text_base64(&b, plain, strlen(plain), false);
		CHECK_SLICE(plain, buf_slice(&b), encodings[i].standard);
		buf_clear(&b);
		text_base64(&b, plain, strlen(plain), true);
		CHECK_SLICE(plain, buf_slice(&b), encodings[i].url);
		buf_clear(&b);
		CHECK_INT(plain, text_unbase64(&b, slice_str(encodings[i].standard)), 0);
		CHECK_INT(plain, text_unbase64(&b, slice_str(encodings[i].url)), 0);
		assert_int_equal(b.len, 2 * strlen(plain));
		assert_memory_equal(b.len ? b.data : "", plain, strlen(plain));
		buf_fini(&b);
	}
}

static void test_base64_refused(void **state)
{
	static const char *const bad[] = {
		"Z", "Zg=", "Zg===", "====", "=", "Zm8=Zm8=", "Zm 8", "Zm9v\n", "Zh==", "Zm9=", "Zm9vY",
	};
	struct buf b;

	(void)state;
	buf_init(&b, 0);
	buf_append_str(&b, "before");
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		CHECK_INT(bad[i], text_unbase64(&b, slice_str(bad[i])), -EINVAL);
		CHECK_SLICE(bad[i], buf_slice(&b), "before");
	}
	buf_fini(&b);
}

static const struct {
	const char *text;
	int rc;
	uint64_t ms;
} times[] = {
	{ "1970-01-01T00:00:00Z", 0, 0 },
	{ "2026-03-04T12:00:00Z", 0, 1772625600000 },
	{ "2026-03-04T12:00:00.5Z", 0, 1772625600500 },
	{ "2026-03-04T12:00:00.123456789Z", 0, 1772625600123 },
	{ "2026-03-04T14:30:00.000+02:30", 0, 1772625600000 },
	{ "2026-03-04t10:00:00-02:00", 0, 1772625600000 },
	{ "2024-02-29T23:59:60z", 0, 1709251200000 },
	{ "2000-02-29T00:00:00Z", 0, 951782400000 },
	{ "9999-12-31T23:59:59.999Z", 0, 253402300799999 },
	{ "0001-01-01T00:00:00Z", 0, 0 },
	{ "1970-01-01T00:00:00+01:00", 0, 0 },
	{ "2025-02-29T00:00:00Z", -EINVAL, 0 },
	{ "2100-02-29T00:00:00Z", -EINVAL, 0 },
	{ "2026-13-01T00:00:00Z", -EINVAL, 0 },
	{ "2026-00-01T00:00:00Z", -EINVAL, 0 },
	{ "2026-04-31T00:00:00Z", -EINVAL, 0 },
	{ "2026-03-04T24:00:00Z", -EINVAL, 0 },
	{ "2026-03-04T12:00:00", -EINVAL, 0 },
	{ "2026-03-04T12:00:00.Z", -EINVAL, 0 },
	{ "2026-03-04T12:00:00ZZ", -EINVAL, 0 },
	{ "2026-03-04T12:00:00+0100", -EINVAL, 0 },
	{ "2026-03-04 12:00:00Z", -EINVAL, 0 },
	{ "2026-3-4T12:00:00Z", -EINVAL, 0 },
	{ "2026-03-04", -EINVAL, 0 },
	{ "", -EINVAL, 0 },
};

static void test_parse_time(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(times); i++) {
		uint64_t ms = 42;

		CHECK_INT(times[i].text, text_parse_time(slice_str(times[i].text), &ms), times[i].rc);
		CHECK_INT(times[i].text, ms, times[i].rc ? 42 : times[i].ms);
	}
}

static void test_time_round_trip(void **state)
{
	char text[32];

	(void)state;
	text_time(1772625600123, true, text);
	assert_string_equal(text, "2026-03-04T12:00:00.123Z");
	text_time(0, false, text);
	assert_string_equal(text, "1970-01-01T00:00:00Z");
	text_time(UINT64_MAX, true, text);
	assert_string_equal(text, "9999-12-31T23:59:59.999Z");
	/* A prime number of seconds a step visits every month, weekday and leap year. */
	for (uint64_t ms = 0; ms < 253402300799999; ms += 86028121999) {
		uint64_t back = 0;

		text_time(ms, true, text);
		CHECK_INT(text, text_parse_time(slice_str(text), &back), 0);
		CHECK_INT(text, back, ms);
	}
}

static const struct {
	const char *text;
	int rc;
	uint64_t want;
} durations[] = {
	{ "30s", 0, 30000 },	     { "5m", 0, 300000 },   { "2h", 0, 7200000 }, { "7d", 0, 604800000 },
	{ "250ms", 0, 250 },	     { "90", 0, 90000 },    { "0", 0, 0 },	  { "1.5h", -EINVAL, 0 },
	{ "-1s", -EINVAL, 0 },	     { "s", -EINVAL, 0 },   { "", -EINVAL, 0 },	  { "5 m", -EINVAL, 0 },
	{ "5y", -EINVAL, 0 },	     { "ms", -EINVAL, 0 },  { "1h30m", -EINVAL, 0 },
	{ "999999999999999999d", -ERANGE, 0 },
}, sizes[] = {
	{ "512m", 0, 536870912 },    { "10MiB", 0, 10485760 },    { "2g", 0, 2147483648 }, { "64k", 0, 65536 },
	{ "64K", 0, 65536 },	     { "1t", 0, 1099511627776 }, { "1048576", 0, 1048576 },
	{ "", -EINVAL, 0 },	     { "m", -EINVAL, 0 },   { "1.5g", -EINVAL, 0 },  { "1e3", -EINVAL, 0 },
	{ "-1", -EINVAL, 0 },	     { "99999999999t", -ERANGE, 0 },
};

static void test_units(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(durations); i++) {
		uint64_t v = 42;

		CHECK_INT(durations[i].text, text_parse_duration(slice_str(durations[i].text), &v),
			  durations[i].rc);
		CHECK_INT(durations[i].text, v, durations[i].rc ? 42 : durations[i].want);
	}
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		uint64_t v = 42;

		CHECK_INT(sizes[i].text, text_parse_size(slice_str(sizes[i].text), &v), sizes[i].rc);
		CHECK_INT(sizes[i].text, v, sizes[i].rc ? 42 : sizes[i].want);
	}
}

static const struct {
	uint64_t in;
	const char *age, *size;
} shown[] = {
	{ 0, "0 s ago", "0 B" },
	{ 1023, "1 s ago", "1023 B" },
	{ 1024, "1 s ago", "1.0 KiB" },
	{ 59999, "59 s ago", "58.6 KiB" },
	{ 1048524, "17 min ago", "1023.9 KiB" },
	{ 1048575, "17 min ago", "1.0 MiB" },
	{ 7200000, "2 h ago", "6.9 MiB" },
	{ 1503238554, "17 d ago", "1.4 GiB" },
	{ UINT64_MAX, "213503982334 d ago", "16.0 EiB" },
};

static void test_shown(void **state)
{
	char text[32];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(shown); i++) {
		text_age(shown[i].in, text);
		CHECK_STR("age", text, shown[i].age);
		text_size(shown[i].in, text);
		CHECK_STR("size", text, shown[i].size);
	}
}

#define X10 "xxxxxxxxxx"
#define X50 X10 X10 X10 X10 X10
#define X63 X50 X10 "xxx"

static const struct {
	const char *text;
	bool name, app, host;
} names[] = {
	{ "worker-1", true, true, true },
	{ "a", true, true, true },
	{ "1a", true, true, true },
	{ "Worker_1.eu", true, false, false },
	{ "UPPER", true, false, true },
	{ "a.example.test", true, false, true },
	{ "*.example.test", false, false, true },
	{ "*", false, false, false },
	{ "*.", false, false, false },
	{ "*.*.test", false, false, false },
	{ "a.*.test", false, false, false },
	{ "a..b", true, false, false },
	{ ".a", false, false, false },
	{ "a.", true, false, false },
	{ "-a", false, false, false },
	{ "a-", true, false, false },
	{ "a.-b", true, false, false },
	{ "192.0.2.1", true, false, false },
	{ "192.0.2.example", true, false, true },
	{ "1.a.2", true, false, false },
	{ "42", true, true, false },
	{ "::1", false, false, false },
	{ "a b", false, false, false },
	{ "a/b", false, false, false },
	{ "\xc3\xa4", false, false, false },
	{ "", false, false, false },
	{ X50, true, true, true },
	{ X50 "x", true, false, true },
	{ X63, true, false, true },
	{ X63 "x", true, false, false },
	{ X63 "xx", false, false, false },
	{ X63 "." X63 "." X63 "." X50 X10 "x", false, false, true },
	{ X63 "." X63 "." X63 "." X50 X10 "xx", false, false, false },
};

static void test_names(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		struct slice s = slice_str(names[i].text);

		CHECK_INT(names[i].text, text_is_name(s), names[i].name);
		CHECK_INT(names[i].text, text_is_app_name(s), names[i].app);
		CHECK_INT(names[i].text, text_is_host(s), names[i].host);
	}
	assert_false(text_is_name(SLICE("a\0b")));
	assert_false(text_is_host(SLICE("a\0b")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hex),	   cmocka_unit_test(test_base64),
		cmocka_unit_test(test_base64_refused), cmocka_unit_test(test_parse_time),
		cmocka_unit_test(test_time_round_trip), cmocka_unit_test(test_units),
		cmocka_unit_test(test_shown),	   cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
