/* Routes of the front door: the table, with its keys checked. */
#include "proxy/route.h"

#include <errno.h>

#include "base/text.h"
#include "proxy/endpoint.h"
#include "proxy/front_inner.h"

/* "/api/" and "/api" are the same prefix of whole segments; "/" stays. */
static struct slice normal_path(const char *path)
{
	struct slice s = slice_str(path);

	while (s.n > 1 && s.p[s.n - 1] == '/')
		s.n--;
	return s;
}

int route_add(struct front *f, const char *host, const char *path, struct upstream *u)
{
	if (!text_is_host(slice_str(host)) || u->target.dead)
		return -EINVAL;
	return table_add(&f->table, slice_str(host), normal_path(path), &u->target);
}

int route_remove(struct front *f, const char *host, const char *path)
{
	return table_remove(&f->table, slice_str(host), normal_path(path));
}

int route_stats(struct front *f, const char *host, const char *path, struct route_stats *out)
{
	struct route *r = table_entry(&f->table, slice_str(host), normal_path(path));

	if (!r)
		return -ENOENT;
	*out = (struct route_stats){ .requests = r->requests, .errors = r->errors };
	return 0;
}

uint32_t route_count(const struct front *f)
{
	return f->table.routes;
}
