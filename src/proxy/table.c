/* Hosts in open addressing (linear probing, keyed hash), paths in a small array per host,
 * longest first. */
#include "proxy/table.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#define FIRST_SLOTS 64
/* More than the 4/3 that growing in time needs: the old slots are gone long before the next growth.
 */
#define MOVES_PER_CHANGE 64

/* One block a host. A host with one route, as nearly all have, keeps it inside: a lookup then
 * touches a slot and this. */
struct host {
	struct route *routes; /* longest path first; &only while there is one */
	struct route only;
	uint16_t nroutes;
	uint8_t name_n;
	char name[];
};

static const struct host
	moved; /* a slot of <old> whose host went: not empty, so that probing goes on past it */
#define MOVED ((struct host *)&moved)

void table_init(struct table *t, const struct hash_key *key)
{
	*t = (struct table){ .key = *key };
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

static void host_free(struct host *h)
{
	if (h->routes != &h->only)
		free(h->routes);
	free(h);
}

static void free_slots(struct table *t, struct host_slots *s)
{
	for (uint32_t i = 0; s->slot && i <= s->mask; i++) {
		struct host *h = s->slot[i].host;

		if (!h || h == MOVED)
			continue;
		for (unsigned j = 0; j < h->nroutes; j++)
			drop_route(t, &h->routes[j]);
		host_free(h);
	}
	free(s->slot);
	*s = (struct host_slots){ 0 };
}

void table_fini(struct table *t)
{
	free_slots(t, &t->now);
	free_slots(t, &t->old);
}

static struct host_slot *find_in(const struct host_slots *s, uint64_t hash, struct slice name)
{
	if (!s->slot)
		return NULL;
	for (uint32_t i = (uint32_t)hash & s->mask; s->slot[i].host; i = (i + 1) & s->mask) {
		struct host_slot *at = &s->slot[i];

		if (at->hash == hash && at->host != MOVED && at->host->name_n == name.n &&
		    memcmp(at->host->name, name.p, name.n) == 0)
			return at;
	}
	return NULL;
}

static struct host_slot *find(const struct table *t, struct slice name)
{
	uint64_t hash = hash_bytes(&t->key, name.p, name.n);
	struct host_slot *at = find_in(&t->now, hash, name);

	return at ? at : find_in(&t->old, hash, name);
}

static void insert(struct host_slots *s, uint64_t hash, struct host *h)
{
	uint32_t i = (uint32_t)hash & s->mask;

	while (s->slot[i].host)
		i = (i + 1) & s->mask;
	s->slot[i] = (struct host_slot){ hash, h };
	s->count++;
}

static void move_some(struct table *t)
{
	if (!t->old.slot)
		return;
	for (unsigned n = 0; n < MOVES_PER_CHANGE; n++, t->old_at++) {
		struct host_slot *at = &t->old.slot[t->old_at];

		if (t->old_at > t->old.mask) {
			assert(t->old.count == 0);
			free(t->old.slot);
			t->old = (struct host_slots){ 0 };
			return;
		}
		if (!at->host || at->host == MOVED)
			continue;
		insert(&t->now, at->hash, at->host);
		at->host = MOVED;
		t->old.count--;
	}
}

/* Room for one more at a load of at most three quarters. */
static void grow(struct table *t)
{
	uint32_t size = t->now.slot ? t->now.mask + 1 : 0;

	if (t->now.count + t->old.count + 1 <= size / 4 * 3)
		return;
	while (t->old.slot)
		move_some(t);
	t->old = t->now;
	t->old_at = 0;
	size = size ? size * 2 : FIRST_SLOTS;
	t->now = (struct host_slots){ .slot = xcalloc(size, sizeof(struct host_slot)),
				      .mask = size - 1 };
}

/* Takes a slot out of <now> by moving the rest of its run up: no tombstones there. */
static void close_gap(struct host_slots *s, uint32_t gap)
{
	for (uint32_t i = (gap + 1) & s->mask; s->slot[i].host; i = (i + 1) & s->mask) {
		uint32_t home = (uint32_t)s->slot[i].hash & s->mask;

		if (((i - home) & s->mask) < ((i - gap) & s->mask))
			continue;
		s->slot[gap] = s->slot[i];
		gap = i;
	}
	s->slot[gap].host = NULL;
	s->count--;
}

static void remove_host(struct table *t, struct host_slot *at)
{
	struct host *h = at->host;

	if (h->name[0] == '*')
		t->wildcards--;
	if (at >= t->now.slot && at <= t->now.slot + t->now.mask) {
		close_gap(&t->now, (uint32_t)(at - t->now.slot));
	} else {
		at->host = MOVED;
		t->old.count--;
	}
	host_free(h);
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
static void remove_route(struct table *t, struct host_slot *slot, unsigned at)
{
	struct host *h = slot->host;

	drop_route(t, &h->routes[at]);
	h->nroutes--;
	memmove(&h->routes[at], &h->routes[at + 1], (h->nroutes - at) * sizeof(*h->routes));
	if (h->nroutes == 0) {
		remove_host(t, slot);
	} else if (h->nroutes == 1 && h->routes != &h->only) {
		h->only = h->routes[0];
		free(h->routes);
		h->routes = &h->only;
	}
}

static struct host *add_host(struct table *t, struct slice name)
{
	struct host *h;

	grow(t);
	h = xcalloc(1, sizeof(*h) + name.n);
	h->routes = &h->only;
	h->name_n = (uint8_t)name.n;
	memcpy(h->name, name.p, name.n);
	insert(&t->now, hash_bytes(&t->key, name.p, name.n), h);
	if (name.p[0] == '*')
		t->wildcards++;
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
	struct host_slot *slot;
	struct host *h;
	unsigned at = 0;

	if (host.n == 0 || host.n > TABLE_HOST_MAX)
		return -EINVAL;
	if (path.n == 0 || path.n > TABLE_PATH_MAX || path.p[0] != '/')
		return -EINVAL;
	move_some(t);
	slot = find(t, host);
	if (slot && path_at(slot->host, path, &at)) {
		if (!slot->host->routes[at].target->dead)
			return -EEXIST;
		remove_route(t, slot, at);
		slot = find(t, host);
	}
	h = slot ? slot->host : add_host(t, host);
	if (h->nroutes == UINT16_MAX)
		return -ENOSPC;
	path_at(h, path, &at);
	add_route(t, h, at, path, target);
	return 0;
}

int table_remove(struct table *t, struct slice host, struct slice path)
{
	struct host_slot *slot = find(t, host);
	unsigned at;
	bool lived;

	if (!slot || !path_at(slot->host, path, &at))
		return -ENOENT;
	lived = !slot->host->routes[at].target->dead;
	remove_route(t, slot, at);
	move_some(t);
	return lived ? 0 : -ENOENT;
}

struct route *table_entry(const struct table *t, struct slice host, struct slice path)
{
	struct host_slot *slot = find(t, host);
	unsigned at;

	if (!slot || !path_at(slot->host, path, &at) || slot->host->routes[at].target->dead)
		return NULL;
	return &slot->host->routes[at];
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
	const struct host_slot *slot = find(t, name);

	for (unsigned i = 0; slot && i < slot->host->nroutes; i++) {
		struct route *r = &slot->host->routes[i];

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
	const struct host_slot *slot = name.n ? find(t, name) : NULL;

	for (unsigned i = 0; slot && i < slot->host->nroutes; i++)
		if (!slot->host->routes[i].target->dead)
			return true;
	return false;
}

bool table_has_host(const struct table *t, char *host, size_t host_n)
{
	return host_lives(t, slice_of(host, host_n)) ||
	       (t->wildcards && host_lives(t, to_wildcard(host, host_n)));
}

/* Runs for every request. */
static void fold_case(char *p, size_t n)
{
	uint64_t w;

	for (; n >= sizeof(w); p += sizeof(w), n -= sizeof(w)) {
		memcpy(&w, p, sizeof(w));
		w = slice_fold_word(w);
		memcpy(p, &w, sizeof(w));
	}
	w = 0;
	memcpy(&w, p, n);
	w = slice_fold_word(w);
	memcpy(p, &w, n);
}

size_t host_fold(struct slice authority, char *out)
{
	size_t n = authority.n;
	const char *colon;

	/* A literal address never has a route: "[::1]:80" may end up as anything that is no host
	 * name. */
	colon = n ? memchr(authority.p, ':', n) : NULL;
	if (colon)
		n = (size_t)(colon - authority.p);
	if (n && authority.p[n - 1] == '.')
		n--;
	if (n == 0 || n > TABLE_HOST_MAX || authority.p[0] == '*')
		return 0;
	memcpy(out, authority.p, n);
	fold_case(out, n);
	return n;
}
