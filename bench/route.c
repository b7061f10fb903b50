/* The route table by itself: look-ups in random order, memory a host, the cost of a change,
 * beside uthash where its header is there. Prints key=value lines. route [HOSTS...] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "proxy/table.h"

#if __has_include(<uthash.h>)
#define HAVE_UTHASH 1
#include <uthash.h>
#pragma GCC diagnostic ignored \
	"-Wimplicit-fallthrough" /* its hash is a macro with a falling switch */

struct entry {
	UT_hash_handle hh;
	struct route_target *target;
	char name[];
};
#endif

#define LOOKUPS 2000000u
#define NAME_BYTES 48
#define ROUNDS 5 /* of the two in turn; medians are printed */

static double now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* A full-period walk in an order the prefetcher does not guess. */
static unsigned next_of(unsigned at, unsigned n)
{
	return (unsigned)((at * 2654435761ull + 40503) % n);
}

static size_t name_of(unsigned i, char *out)
{
	return (size_t)snprintf(out, NAME_BYTES, "app-%u.customer-%u.example.test", i, i % 977);
}

/* What one build of a table and its look-ups took. */
struct result {
	double lookup_ns, worst_add_us, bytes_a_host;
};

static double resident_bytes(void)
{
	unsigned long pages = 0, all;
	FILE *f = fopen("/proc/self/statm", "r");

	if (!f || fscanf(f, "%lu %lu", &all, &pages) != 2)
		abort();
	fclose(f);
	return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

/* The names to look up, made before: only the look-up is timed. */
static char *make_names(unsigned hosts)
{
	char *names = calloc(LOOKUPS, NAME_BYTES);
	unsigned at = 0;

	if (!names)
		abort();
	for (unsigned i = 0; i < LOOKUPS; i++, at = next_of(at + i, hosts))
		name_of(at, names + (size_t)i * NAME_BYTES);
	return names;
}

static struct result run_table(unsigned hosts, const char *names)
{
	struct result r = { 0 };
	static const struct hash_key key = { 11, 13 };
	struct route_target target = { 0 };
	double start, took, before = resident_bytes();
	char name[NAME_BYTES];
	unsigned found = 0;
	struct table t;

	table_init(&t, &key);
	for (unsigned i = 0; i < hosts; i++) {
		size_t n = name_of(i, name);

		start = now_ns();
		if (table_add(&t, slice_of(name, n), SLICE("/"), &target) < 0)
			abort();
		took = now_ns() - start;
		r.worst_add_us = took / 1e3 > r.worst_add_us ? took / 1e3 : r.worst_add_us;
	}
	r.bytes_a_host = (resident_bytes() - before) / hosts;
	start = now_ns();
	for (unsigned i = 0; i < LOOKUPS; i++) {
		char folded[TABLE_HOST_MAX + 1];
		size_t n = host_fold(slice_str(names + (size_t)i * NAME_BYTES), folded);

		found += table_find(&t, folded, n, SLICE("/index.html")) != NULL;
	}
	r.lookup_ns = (now_ns() - start) / LOOKUPS;
	if (found != LOOKUPS)
		abort();
	table_fini(&t);
	return r;
}

#ifdef HAVE_UTHASH
static struct result run_uthash(unsigned hosts, const char *names)
{
	struct result r = { 0 };
	struct route_target target = { 0 };
	double start, took, before = resident_bytes();
	struct entry *all = NULL, *e;
	char name[NAME_BYTES];
	unsigned found = 0;

	for (unsigned i = 0; i < hosts; i++) {
		size_t n = name_of(i, name);

		start = now_ns();
		e = malloc(sizeof(*e) + n + 1);
		if (!e)
			abort();
		memcpy(e->name, name, n + 1);
		e->target = &target;
		HASH_ADD_STR(all, name, e);
		took = now_ns() - start;
		r.worst_add_us = took / 1e3 > r.worst_add_us ? took / 1e3 : r.worst_add_us;
	}
	r.bytes_a_host = (resident_bytes() - before) / hosts;
	start = now_ns();
	for (unsigned i = 0; i < LOOKUPS; i++) {
		HASH_FIND_STR(all, names + (size_t)i * NAME_BYTES, e);
		found += e != NULL;
	}
	r.lookup_ns = (now_ns() - start) / LOOKUPS;
	if (found != LOOKUPS)
		abort();
	return r; /* the process ends here */
}
#endif

/* Each in a process of its own: no table inherits the other's heap. */
static struct result apart(struct result (*run)(unsigned hosts, const char *names), unsigned hosts,
			   const char *names)
{
	struct result r;
	int pipes[2], status;
	pid_t pid;

	if (pipe(pipes) < 0 || (pid = fork()) < 0)
		abort();
	if (pid == 0) {
		r = run(hosts, names);
		_exit(write(pipes[1], &r, sizeof(r)) != sizeof(r));
	}
	if (read(pipes[0], &r, sizeof(r)) != sizeof(r) || waitpid(pid, &status, 0) < 0 || status)
		abort();
	close(pipes[0]);
	close(pipes[1]);
	return r;
}

static int by_lookup(const void *a, const void *b)
{
	double x = ((const struct result *)a)->lookup_ns, y = ((const struct result *)b)->lookup_ns;

	return (x > y) - (x < y);
}

static double print(const char *what, unsigned hosts, struct result *r)
{
	qsort(r, ROUNDS, sizeof(*r), by_lookup);
	printf("table=%s hosts=%u lookup_ns=%.1f min_ns=%.1f max_ns=%.1f bytes_a_host=%.0f "
	       "worst_add_us=%.1f\n",
	       what, hosts, r[ROUNDS / 2].lookup_ns, r[0].lookup_ns, r[ROUNDS - 1].lookup_ns,
	       r[ROUNDS / 2].bytes_a_host, r[ROUNDS / 2].worst_add_us);
	return r[ROUNDS / 2].lookup_ns;
}

static void run(unsigned hosts)
{
	char *names = make_names(hosts);
	struct result ours[ROUNDS], theirs[ROUNDS];
	double ns;

	for (int i = 0; i < ROUNDS; i++) {
		ours[i] = apart(run_table, hosts, names);
#ifdef HAVE_UTHASH
		theirs[i] = apart(run_uthash, hosts, names);
#endif
	}
	ns = print("temps", hosts, ours);
#ifdef HAVE_UTHASH
	ns /= print("uthash", hosts, theirs);
	printf("table_ratio hosts=%u lookup=%.2f\n", hosts, ns);
#endif
	free(names);
}

int main(int argc, char **argv)
{
	if (argc < 2) {
		run(10);
		run(10000);
		run(1000000);
	}
	for (int i = 1; i < argc; i++)
		run((unsigned)atoi(argv[i]));
	return 0;
}
