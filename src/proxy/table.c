/* Routes: paths in a small array per host, longest first. */
#include "proxy/table.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <stdlib.h>

void table_init(struct table *t, const struct hash_key *key)
{
	*t = (struct table){ 0 };
	hosts_init(&t->hosts, key);
}

static void drop_route(struct table *t, struct route *r)
{
	struct route_target *target = r->target;

	free(r->path);
	if (!target->dead)
		t->routes--;
	assert(target->routes > 0);
	if (--target->routes == 0 && target->dead && target->unused)
		target->unused(target);
}

void table_fini(struct table *t)
{
	uint32_t at = 0;
	struct host *h;

	while ((h = hosts_next(&t->hosts, &at))) {
		for (unsigned i = 0; i < h->nroutes; i++)
			drop_route(t, &h->routes[i]);
		if (h->routes != &h->only)
			free(h->routes);
	}
	hosts_fini(&t->hosts);
}

static struct slice route_path(const struct route *r)
{
	return r->path ? slice_of(r->path, r->path_n) : SLICE("/");
}

/* Index of the route with exactly this path, or of the place where it belongs. */
static bool path_at(const struct host *h, struct slice path, unsigned *at)
{
	unsigned i;

	for (i = 0; i < h->nroutes; i++) {
		struct slice have = route_path(&h->routes[i]);

		if (slice_eq(have, path)) {
			*at = i;
			return true;
		}
		if (have.n < path.n)
			break;
	}
	*at = i;
	return false;
}

/* Takes routes[at] away, and the host with the last one. */
static void remove_route(struct table *t, struct host *h, unsigned at)
{
	drop_route(t, &h->routes[at]);
	h->nroutes--;
	memmove(&h->routes[at], &h->routes[at + 1], (h->nroutes - at) * sizeof(*h->routes));
	if (h->nroutes == 0) {
		t->wildcards -= host_name(h).p[0] == '*';
		hosts_remove(&t->hosts, h);
	} else if (h->nroutes == 1 && h->routes != &h->only) {
		h->only = h->routes[0];
		free(h->routes);
		h->routes = &h->only;
	}
}

static struct host *add_host(struct table *t, struct slice name)
{
	struct host *h = hosts_add(&t->hosts, name);

	if (!h)
		return NULL;
	h->routes = &h->only;
	t->wildcards += name.p[0] == '*';
	return h;
}

static void add_route(struct table *t, struct host *h, unsigned at, struct slice path,
		      struct route_target *target)
{
	struct route r = { .target = target };

	if (path.n > 1) {
		r.path = slice_dup(path);
		r.path_n = (uint32_t)path.n;
	}
	if (h->nroutes == 1) {
		h->routes = xcalloc(2, sizeof(r));
		h->routes[0] = h->only;
	} else if (h->nroutes > 1) {
		h->routes = xrealloc(h->routes, (h->nroutes + 1u) * sizeof(r));
	}
	memmove(&h->routes[at + 1], &h->routes[at], (h->nroutes - at) * sizeof(r));
	h->routes[at] = r;
	h->nroutes++;
	target->routes++;
	t->routes++;
}

void table_kill(struct table *t, struct route_target *target)
{
	assert(!target->dead);
	target->dead = true;
	t->routes -= target->routes;
}

int table_add(struct table *t, struct slice host, struct slice path, struct route_target *target)
{
	struct host *h;
	unsigned at = 0;

	if (host.n == 0 || host.n > TABLE_HOST_MAX)
		return -EINVAL;
	if (path.n == 0 || path.n > TABLE_PATH_MAX || path.p[0] != '/')
		return -EINVAL;
	h = hosts_find(&t->hosts, host);
	if (h && path_at(h, path, &at)) {
		if (!h->routes[at].target->dead)
			return -EEXIST;
		remove_route(t, h, at);
		h = hosts_find(&t->hosts, host);
	}
	if (!h)
		h = add_host(t, host);
	if (!h || h->nroutes == UINT16_MAX)
		return -ENOSPC;
	path_at(h, path, &at);
	add_route(t, h, at, path, target);
	return 0;
}

int table_remove(struct table *t, struct slice host, struct slice path)
{
	struct host *h = hosts_find(&t->hosts, host);
	unsigned at;
	bool lived;

	if (!h || !path_at(h, path, &at))
		return -ENOENT;
	lived = !h->routes[at].target->dead;
	remove_route(t, h, at);
	return lived ? 0 : -ENOENT;
}

struct route *table_entry(const struct table *t, struct slice host, struct slice path)
{
	struct host *h = hosts_find(&t->hosts, host);
	unsigned at;

	if (!h || !path_at(h, path, &at) || h->routes[at].target->dead)
		return NULL;
	return &h->routes[at];
}

/* "/api" is a prefix of "/api", "/api/x" and "/api?x", not of "/apix"; "/" of everything, "*"
 * too. */
static bool path_matches(const struct route *r, struct slice path)
{
	if (!r->path)
		return true;
	if (path.n < r->path_n || memcmp(path.p, r->path, r->path_n) != 0)
		return false;
	return path.n == r->path_n || r->path[r->path_n - 1] == '/' || path.p[r->path_n] == '/' ||
	       path.p[r->path_n] == '?';
}

static struct route *find_route(const struct table *t, struct slice name, struct slice path)
{
	struct host *h = hosts_find(&t->hosts, name);

	for (unsigned i = 0; h && i < h->nroutes; i++) {
		struct route *r = &h->routes[i];

		if (!r->target->dead && path_matches(r, path))
			return r;
	}
	return NULL;
}

/* "a.example.test" becomes "*.example.test", in place; empty when there is no label to give up. */
static struct slice to_wildcard(char *host, size_t n)
{
	char *dot = memchr(host, '.', n);

	if (!dot || dot == host)
		return slice_of(host, 0);
	dot[-1] = '*';
	return slice_of(dot - 1, n - (size_t)(dot - 1 - host));
}

struct route *table_find(const struct table *t, char *host, size_t host_n, struct slice path)
{
	struct route *r = find_route(t, slice_of(host, host_n), path);
	struct slice wildcard;

	if (r || t->wildcards == 0)
		return r;
	wildcard = to_wildcard(host, host_n);
	return wildcard.n ? find_route(t, wildcard, path) : NULL;
}

static bool host_lives(const struct table *t, struct slice name)
{
	const struct host *h = name.n ? hosts_find(&t->hosts, name) : NULL;

	for (unsigned i = 0; h && i < h->nroutes; i++)
		if (!h->routes[i].target->dead)
			return true;
	return false;
}

bool table_has_host(const struct table *t, char *host, size_t host_n)
{
	return host_lives(t, slice_of(host, host_n)) ||
	       (t->wildcards && host_lives(t, to_wildcard(host, host_n)));
}

/* The first ':' among eight bytes, or 8. */
static unsigned colon_in(uint64_t w)
{
	const uint64_t each = 0x0101010101010101u;
	uint64_t x = w ^ each * ':', hit = (x - each) & ~x & each * 0x80;

	return hit ? (unsigned)__builtin_ctzll(hit) / 8 : 8;
}

/* Eight bytes at once, up to the port. The last eight overlap those before them. */
static size_t fold_words(const char *p, size_t n, char *out)
{
	uint64_t w;

	for (size_t i = 0;; i = MIN(i + 8, n - 8)) {
		unsigned colon;

		memcpy(&w, p + i, sizeof(w));
		colon = colon_in(le64toh(w));
		w = slice_fold_word(w);
		memcpy(out + i, &w, sizeof(w));
		if (colon < 8)
			return i + colon;
		if (i + 8 == n)
			return n;
	}
}

static size_t fold_bytes(const char *p, size_t n, char *out)
{
	for (size_t i = 0; i < n; i++) {
		if (p[i] == ':')
			return i;
		out[i] = p[i] >= 'A' && p[i] <= 'Z' ? (char)(p[i] | 0x20) : p[i];
	}
	return n;
}

/* Runs for every request. */
size_t host_fold(struct slice authority, char *out)
{
	const char *p = authority.p;
	size_t n = authority.n;

	if (n > TABLE_HOST_MAX) { /* with its port, or its last dot, it may be as long as that */
		const char *colon = memchr(p, ':', n);

		n = colon ? (size_t)(colon - p) : n;
		n -= n && p[n - 1] == '.';
		if (n > TABLE_HOST_MAX)
			return 0;
	}
	if (n == 0 || p[0] == '*')
		return 0;
	/* A literal address never has a route: "[::1]:80" may end up as anything that is no host
	 * name. */
	n = n < 8 ? fold_bytes(p, n, out) : fold_words(p, n, out);
	if (n && out[n - 1] == '.')
		n--;
	return n;
}
