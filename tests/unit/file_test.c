/* Whole files: read with a limit, replaced atomically. Works in a directory of its own under TMPDIR. */
#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/config.h"
#include "check.h"

static int set_up(void **state)
{
	const char *tmp = getenv("TMPDIR");
	char *dir = xasprintf("%s/temps-file-test.XXXXXX", tmp ? tmp : "/tmp");

	*state = dir;
	return mkdtemp(dir) ? 0 : -1;
}

/* The tests leave plain files, and directories of plain files, behind. */
static void remove_tree(const char *dir, int levels)
{
	DIR *d = opendir(dir);
	struct dirent *e;

	while (d && levels && (e = readdir(d))) {
		char *path = xasprintf("%s/%s", dir, e->d_name);

		if (e->d_name[0] != '.' && unlink(path) < 0)
			remove_tree(path, levels - 1);
		free(path);
	}
	if (d)
		closedir(d);
	rmdir(dir);
}

static int tear_down(void **state)
{
	remove_tree(*state, 4);
	free(*state);
	return 0;
}

static unsigned count_entries(const char *dir)
{
	DIR *d = opendir(dir);
	unsigned n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n - 2;
}

static void test_write_and_read(void **state)
{
	char *path = xasprintf("%s/file", (char *)*state);
	struct err err;
	struct stat st;
	char *text;
	size_t len;

	assert_int_equal(file_write(path, "first", 5, 0644, &err), 0);
	assert_int_equal(file_write(path, "a\0b", 3, 0600, &err), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(file_read(path, 3, &text, &len, &err), 0);
	assert_int_equal(len, 3);
	assert_memory_equal(text, "a\0b", 4);
	free(text);
	assert_int_equal(file_read(path, 2, &text, &len, &err), -EFBIG);
	assert_non_null(strstr(err.text, path));
	assert_int_equal(file_write(path, NULL, 0, 0600, &err), 0);
	assert_int_equal(file_read(path, 0, &text, &len, &err), 0);
	assert_string_equal(text, "");
	free(text);
	assert_int_equal(count_entries(*state), 1);
	unlink(path);
	free(path);
}

static void test_failures(void **state)
{
	char *missing = xasprintf("%s/none/file", (char *)*state);
	struct err err;
	char *text;
	size_t len;

	assert_int_equal(file_read(missing, 10, &text, &len, &err), -ENOENT);
	assert_non_null(strstr(err.text, "No such file"));
	assert_int_equal(file_write(missing, "x", 1, 0600, &err), -ENOENT);
	assert_int_equal(file_read(*state, 10, &text, &len, &err), -EISDIR);
	/* A directory is in the way of the rename: nothing is left of the attempt. */
	assert_int_equal(dir_make(missing, 0700, &err), 0);
	assert_int_equal(file_write(missing, "x", 1, 0600, &err), -EISDIR);
	*strrchr(missing, '/') = '\0';
	assert_int_equal(count_entries(missing), 1);
	free(missing);
}

static void test_dir_make(void **state)
{
	char *path = xasprintf("%s/a//b/c/", (char *)*state);
	char *file = xasprintf("%s/f", (char *)*state);
	char *under = xasprintf("%s/f/g", (char *)*state);
	struct err err;
	struct stat st;

	assert_int_equal(dir_make(path, 0700, &err), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_equal(dir_make(path, 0755, &err), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_equal(dir_make("", 0700, &err), -ENOENT);
	assert_int_equal(dir_make("/", 0700, &err), 0);
	assert_int_equal(file_write(file, "x", 1, 0600, &err), 0);
	assert_int_equal(dir_make(file, 0700, &err), -ENOTDIR);
	assert_int_equal(dir_make(under, 0700, &err), -ENOTDIR);
	free(path);
	free(file);
	free(under);
}

static int on_pair(void *arg, struct slice key, struct slice value, struct err *err)
{
	(void)key, (void)value, (void)err;
	++*(int *)arg;
	return 0;
}

static void test_dir_private(void **state)
{
	char *path = xasprintf("%s/private", (char *)*state);
	struct stat st;
	struct err err;

	assert_int_equal(dir_private(path, &err), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	assert_int_equal(chmod(path, 0777), 0);
	assert_int_equal(dir_private(path, &err), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	/* Somebody else's: only root can stage it, and everybody can see it in a system directory. */
	if (geteuid() == 0)
		assert_int_equal(chown(path, 12345, 12345), 0);
	assert_int_equal(dir_private(geteuid() == 0 ? path : "/usr", &err), -EPERM);
	free(path);
}

static void test_config_read(void **state)
{
	char *path = xasprintf("%s/t.conf", (char *)*state);
	char *want = xasprintf("%s:2: expected key = value", path);
	struct err err;
	int pairs = 0;

	assert_int_equal(config_read(path, on_pair, &pairs, &err), -ENOENT);
	assert_int_equal(file_write(path, "a = 1\nb\n", 8, 0600, &err), 0);
	assert_int_equal(config_read(path, on_pair, &pairs, &err), -EINVAL);
	assert_string_equal(err.text, want);
	assert_int_equal(pairs, 1);
	free(path);
	free(want);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_write_and_read, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_failures, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_dir_make, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_dir_private, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_config_read, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
