/* The route table by itself: look-ups in random order, memory a host, the cost of a change,
 * beside uthash where its header is there. Prints key=value lines. route [HOSTS...] */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "proxy/table.h"

#if __has_include(<uthash.h>)
#define HAVE_UTHASH 1
#include <uthash.h>
#pragma GCC diagnostic ignored "-Wimplicit-fallthrough" /* its hash is a macro with a falling switch */

struct entry {
	UT_hash_handle hh;
	struct route_target *target;
	char name[];
};
#endif

#define LOOKUPS 2000000u
#define NAME_BYTES 48

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

static void print(const char *what, unsigned hosts, double lookup_ns, double bytes, double worst_us)
{
	printf("table=%s hosts=%u lookup_ns=%.1f bytes_a_host=%.0f worst_add_us=%.1f\n", what,
	       hosts, lookup_ns, bytes, worst_us);
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

static void run_table(unsigned hosts, const char *names)
{
	static const struct hash_key key = { 11, 13 };
	struct route_target target = { 0 };
	size_t before = mallinfo2().uordblks + mallinfo2().hblkhd, bytes;
	double start, worst = 0, took;
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
		worst = took > worst ? took : worst;
	}
	bytes = mallinfo2().uordblks + mallinfo2().hblkhd - before;
	start = now_ns();
	for (unsigned i = 0; i < LOOKUPS; i++) {
		char folded[TABLE_HOST_MAX + 1];
		size_t n = host_fold(slice_str(names + (size_t)i * NAME_BYTES), folded);

		found += table_find(&t, folded, n, SLICE("/index.html")) != NULL;
	}
	took = (now_ns() - start) / LOOKUPS;
	if (found != LOOKUPS)
		abort();
	print("temps", hosts, took, (double)bytes / hosts, worst / 1e3);
	table_fini(&t);
}

#ifdef HAVE_UTHASH
static void run_uthash(unsigned hosts, const char *names)
{
	struct route_target target = { 0 };
	size_t before = mallinfo2().uordblks + mallinfo2().hblkhd, bytes;
	double start, worst = 0, took;
	struct entry *all = NULL, *e, *tmp;
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
		worst = took > worst ? took : worst;
	}
	bytes = mallinfo2().uordblks + mallinfo2().hblkhd - before;
	start = now_ns();
	for (unsigned i = 0; i < LOOKUPS; i++) {
		HASH_FIND_STR(all, names + (size_t)i * NAME_BYTES, e);
		found += e != NULL;
	}
	took = (now_ns() - start) / LOOKUPS;
	if (found != LOOKUPS)
		abort();
	print("uthash", hosts, took, (double)bytes / hosts, worst / 1e3);
	HASH_ITER(hh, all, e, tmp)
	{
		HASH_DEL(all, e);
		free(e);
	}
}
#endif

static void run(unsigned hosts)
{
	char *names = make_names(hosts);

	run_table(hosts, names);
#ifdef HAVE_UTHASH
	run_uthash(hosts, names);
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
