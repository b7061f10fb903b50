/* Changes and look-ups of the route table in any order, against a plain array that knows the
 * rules by heart. Input lines: "+HOST PATH", "-HOST PATH", "!" (the target of the last route
 * dies), "?AUTHORITY PATH". */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

#include "proxy/table.h"

#define MAX_ROUTES 256

struct known {
	struct slice host, path;
	struct route_target *target; /* NULL: free */
};

struct model {
	struct known known[MAX_ROUTES];
	struct route_target targets[MAX_ROUTES];
	unsigned used;
};

static struct known *find_known(struct model *m, struct slice host, struct slice path)
{
	for (unsigned i = 0; i < m->used; i++)
		if (m->known[i].target && slice_eq(m->known[i].host, host) &&
		    slice_eq(m->known[i].path, path))
			return &m->known[i];
	return NULL;
}

static void add(struct model *m, struct table *t, struct slice host, struct slice path)
{
	struct known *k = find_known(m, host, path);
	struct route_target *target = &m->targets[m->used];
	int rc;

	if (m->used == MAX_ROUTES)
		return;
	rc = table_add(t, host, path, target);
	if (rc == 0) {
		assert(!k || k->target->dead);
		if (k)
			k->target = NULL;
		m->known[m->used++] = (struct known){ host, path, target };
	} else {
		assert(rc == (k ? -17 : -22)); /* -EEXIST, -EINVAL */
	}
}

static void take_away(struct model *m, struct table *t, struct slice host, struct slice path)
{
	struct known *k = find_known(m, host, path);
	int rc = table_remove(t, host, path);

	assert(rc == (k && !k->target->dead ? 0 : -2)); /* -ENOENT */
	if (k)
		k->target = NULL;
}

static bool prefixes(struct slice prefix, struct slice path)
{
	if (slice_eq(prefix, SLICE("/")))
		return true;
	if (!slice_starts(path, prefix))
		return false;
	return path.n == prefix.n || prefix.p[prefix.n - 1] == '/' || path.p[prefix.n] == '/' ||
	       path.p[prefix.n] == '?';
}

static struct route_target *longest(struct model *m, struct slice host, struct slice path)
{
	struct known *best = NULL;

	for (unsigned i = 0; i < m->used; i++) {
		struct known *k = &m->known[i];

		if (k->target && !k->target->dead && slice_eq(k->host, host) &&
		    prefixes(k->path, path) && (!best || k->path.n > best->path.n))
			best = k;
	}
	return best ? best->target : NULL;
}

static void look_up(struct model *m, struct table *t, struct slice authority, struct slice path)
{
	char host[TABLE_HOST_MAX + 1], wild[TABLE_HOST_MAX + 1];
	size_t n = host_fold(authority, host);
	struct route_target *want;
	const char *dot;
	struct route *r;

	if (n == 0)
		return;
	want = longest(m, slice_of(host, n), path);
	dot = memchr(host, '.', n);
	if (!want && dot && dot > host) {
		size_t rest = n - (size_t)(dot - host);

		wild[0] = '*';
		memcpy(wild + 1, dot, rest);
		want = longest(m, slice_of(wild, rest + 1), path);
	}
	r = table_find(t, host, n, path);
	assert((r ? r->target : NULL) == want);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct hash_key key = { 3, 4 };
	struct slice rest = slice_of(data, size);
	struct model *m = calloc(1, sizeof(*m));
	struct table t;

	if (!m)
		return 0;
	table_init(&t, &key);
	while (rest.n) {
		struct slice line = slice_split(rest, '\n', &rest), path, host;

		if (line.n == 0)
			continue;
		host = slice_split(slice_of(line.p + 1, line.n - 1), ' ', &path);
		if (line.p[0] == '+')
			add(m, &t, host, path);
		else if (line.p[0] == '-')
			take_away(m, &t, host, path);
		else if (line.p[0] == '?')
			look_up(m, &t, host, path);
		else if (line.p[0] == '!' && m->used && !m->targets[m->used - 1].dead)
			table_kill(&t, &m->targets[m->used - 1]);
	}
	table_fini(&t);
	for (unsigned i = 0; i < m->used; i++)
		assert(m->targets[i].routes == 0);
	free(m);
	return 0;
}
