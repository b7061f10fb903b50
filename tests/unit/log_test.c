/* The log's lines, read back from a pipe in the place of standard error. */
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "base/log.h"
#include "check.h"

static int saved, reader;

static void begin_capture(void)
{
	int ends[2];

	assert_int_equal(pipe(ends), 0);
	saved = dup(STDERR_FILENO);
	dup2(ends[1], STDERR_FILENO);
	close(ends[1]);
	reader = ends[0];
}

/* Everything written since, up to <size>-1 bytes. */
static void end_capture(char *out, size_t size)
{
	size_t n = 0;
	ssize_t got;

	dup2(saved, STDERR_FILENO);
	close(saved);
	while ((got = read(reader, out + n, size - 1 - n)) > 0)
		n += (size_t)got;
	close(reader);
	out[n] = '\0';
}

static void test_text(void **state)
{
	char out[512];

	(void)state;
	unsetenv("JOURNAL_STREAM");
	begin_capture();
	log_init(LOG_INFO, false);
	log_warn("app=%s two\nlines\x1b", "hello");
	log_info("ends itself\n");
	log_debug("not shown");
	end_capture(out, sizeof(out));
	assert_memory_equal(out, "20", 2);
	assert_string_equal(strchr(out, ' '), strstr(out, " warn "));
	assert_non_null(strstr(out, " warn app=hello two\\x0alines\\x1b\n"));
	assert_non_null(strstr(out, " info ends itself\n"));
	assert_null(strstr(out, "not shown"));
	assert_false(log_enabled(LOG_DEBUG));
}

static void test_json(void **state)
{
	char out[512];
	struct json *j;

	(void)state;
	begin_capture();
	log_init(LOG_DEBUG, true);
	log_debug("a \"quoted\" %d\xff", 1);
	end_capture(out, sizeof(out));
	assert_int_equal(json_parse(&j, slice_str(out), NULL), 0);
	assert_string_equal(json_cstr(json_get(j, "level"), ""), "debug");
	assert_string_equal(json_cstr(json_get(j, "msg"), ""), "a \"quoted\" 1\xef\xbf\xbd");
	assert_non_null(json_cstr(json_get(j, "time"), NULL));
	json_free(j);
}

static void test_journal(void **state)
{
	char out[512], named[64];
	struct stat st;

	(void)state;
	begin_capture();
	assert_int_equal(fstat(STDERR_FILENO, &st), 0);
	snprintf(named, sizeof(named), "%llu:%llu", (unsigned long long)st.st_dev,
		 (unsigned long long)st.st_ino);
	setenv("JOURNAL_STREAM", named, 1);
	log_init(LOG_INFO, false);
	log_error("disk full");
	/* The variable of a parent whose standard error was another file. */
	setenv("JOURNAL_STREAM", "1:1", 1);
	log_init(LOG_INFO, false);
	log_info("not journald");
	unsetenv("JOURNAL_STREAM");
	end_capture(out, sizeof(out));
	assert_memory_equal(out, "<3>disk full\n20", 15);
}

static void test_long_line_is_cut(void **state)
{
	char text[8192], out[8192];

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	begin_capture();
	log_init(LOG_INFO, false);
	log_info("%s", text);
	end_capture(out, sizeof(out));
	assert_in_range(strlen(out), 4000, 4200);
	assert_int_equal(out[strlen(out) - 1], '\n');
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_json),
		cmocka_unit_test(test_journal),
		cmocka_unit_test(test_long_line_is_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
