/* Stands in for libFuzzer: feeds a harness the files named as arguments, or all of its corpus. */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The harness gets a heap copy of exactly the file's size, so that AddressSanitizer sees a read past it. */
static int replay_file(const char *path)
{
	FILE *f = fopen(path, "rb");
	uint8_t *data = NULL;
	long size = -1;

	if (f && fseek(f, 0, SEEK_END) == 0)
		size = ftell(f);
	if (size < 0 || fseek(f, 0, SEEK_SET) < 0) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		if (f)
			fclose(f);
		return -1;
	}
	data = malloc(size ? (size_t)size : 1);
	if (!data || fread(data, 1, (size_t)size, f) != (size_t)size) {
		fprintf(stderr, "%s: cannot read\n", path);
		free(data);
		fclose(f);
		return -1;
	}
	fclose(f);
	/* Named first: when the harness aborts, the log ends with the culprit. */
	printf("%s\n", path);
	fflush(stdout);
	LLVMFuzzerTestOneInput(data, (size_t)size);
	free(data);
	return 0;
}

static int replay_dir(const char *dir)
{
	struct dirent **entries;
	int n = scandir(dir, &entries, NULL, alphasort);
	int rc = 0, files = 0;

	if (n < 0) {
		fprintf(stderr, "%s: %s\n", dir, strerror(errno));
		return -1;
	}
	for (int i = 0; i < n; i++) {
		char *path = NULL;

		if (entries[i]->d_name[0] != '.') {
			if (asprintf(&path, "%s/%s", dir, entries[i]->d_name) < 0 ||
			    replay_file(path) < 0)
				rc = -1;
			files++;
			free(path);
		}
		free(entries[i]);
	}
	free(entries);
	if (files == 0) {
		fprintf(stderr, "%s: no corpus\n", dir);
		return -1;
	}
	return rc;
}

int main(int argc, char **argv)
{
	const char *corpus = getenv("FUZZ_CORPUS_DIR");
	const char *name = strrchr(argv[0], '/');
	char *dir;
	int rc = 0;

	for (int i = 1; i < argc; i++)
		if (replay_file(argv[i]) < 0)
			rc = -1;
	if (argc > 1)
		return rc < 0;

	/* tests/fuzz/json_fuzz replays $FUZZ_CORPUS_DIR/json */
	name = name ? name + 1 : argv[0];
	if (asprintf(&dir, "%s/%.*s", corpus ? corpus : "tests/fuzz/corpus",
		     (int)(strlen(name) - strlen("_fuzz")), name) < 0)
		return 1;
	rc = replay_dir(dir);
	free(dir);
	return rc < 0;
}
