/* The router: one table of method and pattern, one choke point for authorisation, the body
 * collected up to the route's limit. */
#include <errno.h>
#include <stdlib.h>

#include "http/api_inner.h"
#include "http/url.h"

#define MAX_SEGMENTS 12
#define DROP_MAX_BYTES 65536 /* of a body that the route does not take */

struct segment {
	struct slice text;
	bool is_param;
};

struct row {
	const struct api_route *route;
	struct segment segments[MAX_SEGMENTS];
	unsigned count;
	unsigned params;
};

struct api {
	struct api_config config;
	struct row *rows; /* config.nroutes of them */
};

/* ---- the table ---- */

/* "/a/{b}" → "a", "{b}". The number of segments, or -EINVAL. */
static int split_path(struct slice path, struct slice *segments)
{
	unsigned n = 0;

	if (path.n == 0 || path.p[0] != '/')
		return -EINVAL;
	for (struct slice rest = slice_of(path.p + 1, path.n - 1); rest.p; n++) {
		if (n == MAX_SEGMENTS)
			return -EINVAL;
		segments[n] = slice_split(rest, '/', &rest);
	}
	return (int)n;
}

static int row_init(struct row *row, const struct api_route *route, struct err *err)
{
	struct slice segments[MAX_SEGMENTS];
	int n = split_path(slice_str(route->pattern), segments);

	if (n < 0)
		return err_say(err, -EINVAL,
			       "route %s %s: a pattern is /a/{b}/c with at most %d segments",
			       route->method, route->pattern, MAX_SEGMENTS);
	row->route = route;
	row->count = (unsigned)n;
	for (unsigned i = 0; i < row->count; i++) {
		struct slice s = segments[i];

		row->segments[i].text = s;
		row->segments[i].is_param = s.n > 2 && s.p[0] == '{' && s.p[s.n - 1] == '}';
		row->params += row->segments[i].is_param;
	}
	if (row->params > REPLY_MAX_PARAMS)
		return err_say(err, -EINVAL, "route %s %s: more than %d parameters", route->method,
			       route->pattern, REPLY_MAX_PARAMS);
	return 0;
}

static bool rows_alike(const struct row *a, const struct row *b)
{
	if (a->count != b->count || strcmp(a->route->method, b->route->method) != 0)
		return false;
	for (unsigned i = 0; i < a->count; i++) {
		if (a->segments[i].is_param != b->segments[i].is_param)
			return false;
		if (!a->segments[i].is_param && !slice_eq(a->segments[i].text, b->segments[i].text))
			return false;
	}
	return true;
}

static int build(struct api *a, struct err *err)
{
	for (size_t i = 0; i < a->config.nroutes; i++) {
		int rc = row_init(&a->rows[i], &a->config.routes[i], err);

		if (rc < 0)
			return rc;
		for (size_t j = 0; j < i; j++)
			if (rows_alike(&a->rows[i], &a->rows[j]))
				return err_say(err, -EEXIST, "route %s %s: matches what %s matches",
					       a->rows[i].route->method, a->rows[i].route->pattern,
					       a->rows[j].route->pattern);
	}
	return 0;
}

int api_create(struct api **out, const struct api_config *c, struct err *err)
{
	struct api *a = xcalloc(1, sizeof(*a));
	int rc;

	a->config = *c;
	a->rows = xcalloc(MAX(c->nroutes, 1), sizeof(*a->rows));
	rc = build(a, err);
	if (rc < 0) {
		api_destroy(a);
		return rc;
	}
	*out = a;
	return 0;
}

void api_destroy(struct api *a)
{
	if (!a)
		return;
	free(a->rows);
	free(a);
}

/* ---- matching ---- */

static bool row_matches(const struct row *row, const struct slice *segments, unsigned count)
{
	if (row->count != count)
		return false;
	for (unsigned i = 0; i < count; i++) {
		const struct segment *s = &row->segments[i];

		if (s->is_param ? segments[i].n == 0 : !slice_eq(s->text, segments[i]))
			return false;
	}
	return true;
}

/* Where two patterns match, the one whose text comes first wins: /nodes/register over /nodes/{id}.
 */
static bool more_special(const struct row *a, const struct row *b)
{
	for (unsigned i = 0; b && i < a->count; i++)
		if (a->segments[i].is_param != b->segments[i].is_param)
			return !a->segments[i].is_param;
	return true;
}

static bool takes_method(const struct row *row, const struct exchange *x)
{
	struct slice method = slice_str(row->route->method);

	/* HEAD is a GET whose content the transport leaves out. */
	return slice_eq(method, x->req.method) ||
	       (x->req.method_id == METHOD_HEAD && slice_eq(method, SLICE("GET")));
}

/* The best row for path and method; else NULL, and <allow> names the methods that the path knows.
 */
static const struct row *find_row(const struct api *a, const struct exchange *x,
				  const struct slice *segments, unsigned count, struct buf *allow)
{
	const struct row *best = NULL;

	for (size_t i = 0; i < a->config.nroutes; i++) {
		const struct row *row = &a->rows[i];

		if (!row_matches(row, segments, count))
			continue;
		if (!takes_method(row, x))
			buf_printf(allow, "%s%s", allow->len ? ", " : "", row->route->method);
		else if (more_special(row, best))
			best = row;
	}
	return best;
}

/* ---- the life of a request ---- */

static void fail(struct api_call *call, unsigned status, const char *title, const char *detail)
{
	struct api_config *config = &call->api->config;

	call->handled = true;
	if (config->error)
		config->error(&call->r, status, title, detail);
	else
		reply_problem(&call->r, status, title, detail);
}

static void run_handler(struct api_call *call)
{
	call->handled = true;
	call->r.body = buf_slice(&call->body);
	if (call->api->config.run)
		call->api->config.run(&call->r);
	else
		call->r.route->handle(&call->r);
}

static size_t collect(struct api_call *call, const char *p, size_t n)
{
	size_t max = call->r.route->max_body;

	if (max == 0) {
		call->dropped_bytes += n;
		if (call->dropped_bytes > DROP_MAX_BYTES)
			fail(call, 413, "Content Too Large", "This request takes no body.");
	} else if (call->body.len + n > max || buf_append(&call->body, p, n) < 0) {
		fail(call, 413, "Content Too Large",
		     "The body is larger than this request allows.");
	}
	return n;
}

static size_t on_body(void *arg, const char *p, size_t n)
{
	struct api_call *call = arg;

	if (call->r.route && call->r.route->max_body == API_BODY_STREAM)
		return call->r.on_body ? call->r.on_body(call->r.state, p, n) : n;
	return call->handled ? n : collect(call, p, n);
}

static void on_body_end(void *arg, const struct head *trailers)
{
	struct api_call *call = arg;

	(void)trailers;
	if (call->r.route && call->r.route->max_body == API_BODY_STREAM) {
		if (call->r.on_body_end)
			call->r.on_body_end(call->r.state);
	} else if (!call->handled) {
		run_handler(call);
	}
}

static void on_writable(void *arg)
{
	reply_on_writable(arg);
}

static void on_free(void *arg)
{
	struct api_call *call = arg;

	buf_fini(&call->text);
	buf_fini(&call->body);
	buf_fini(&call->fields);
	buf_fini(&call->out);
	free(call);
}

static void on_closed(void *arg, const char *why)
{
	struct api_call *call = arg;
	struct loop *loop = call->r.x->loop;

	(void)why;
	if (call->r.closed)
		call->r.closed(call->r.state);
	call->r.x = NULL;
	loop_defer(loop, &call->reap, on_free, call);
}

static const struct exchange_events api_events = {
	.body = on_body,
	.body_end = on_body_end,
	.writable = on_writable,
	.closed = on_closed,
};

/* Decodes the path's segments into call->text; the slices point into it. */
static int decode_segments(struct api_call *call, struct slice path, struct slice *segments)
{
	struct slice raw[MAX_SEGMENTS];
	int count = split_path(path, raw);
	char *to;

	if (count < 0)
		return -ENOENT;
	/* Decoding only shrinks; each segment takes a NUL where its '/' was. */
	call->text.data = xcalloc(path.n + 2, 1);
	call->text.cap = path.n + 2;
	to = call->text.data;
	for (int i = 0; i < count; i++) {
		if (url_decode(raw[i], to, raw[i].n + 1, &segments[i].n) < 0)
			return -EINVAL;
		segments[i].p = to;
		to += segments[i].n + 1;
	}
	return count;
}

static void set_params(struct api_call *call, const struct row *row, const struct slice *segments)
{
	for (unsigned i = 0; i < row->count; i++)
		if (row->segments[i].is_param)
			call->r.params[call->r.nparams++] = segments[i];
	call->r.route = row->route;
}

/* false: answered. */
static bool route(struct api_call *call, struct slice path)
{
	struct slice segments[MAX_SEGMENTS];
	const struct row *row;
	struct buf allow;
	int count = decode_segments(call, path, segments);

	if (count == -EINVAL) {
		fail(call, 400, "Bad Request", "The path is not well encoded.");
		return false;
	}
	buf_init(&allow, 0);
	row = count < 0 ? NULL : find_row(call->api, call->r.x, segments, (unsigned)count, &allow);
	if (row) {
		set_params(call, row, segments);
	} else if (allow.len) {
		reply_field(&call->r, "Allow", allow.data);
		fail(call, 405, "Method Not Allowed", NULL);
	} else {
		fail(call, 404, "Not Found", "There is nothing at this path.");
	}
	buf_fini(&allow);
	return row != NULL;
}

void api_handle(void *api, struct exchange *x)
{
	struct api_call *call = xcalloc(1, sizeof(*call));
	struct slice path;
	size_t max_body;

	call->api = api;
	call->r.x = x;
	call->r.app = call->api->config.app;
	x->events = &api_events;
	x->arg = call;
	url_split(x->req.path, &path, &call->r.query);
	if (call->r.query.n > call->api->config.max_query) {
		fail(call, 414, "URI Too Long", "The query is too long.");
		return;
	}
	if (!route(call, path))
		return;
	if (call->api->config.authorise && call->api->config.authorise(&call->r) != 0) {
		call->handled = true;
		return;
	}
	max_body = call->r.route->max_body;
	if (max_body != API_BODY_STREAM && x->req.body == BODY_LENGTH &&
	    x->req.content_length > (max_body ? max_body : DROP_MAX_BYTES))
		fail(call, 413, "Content Too Large",
		     "The body is larger than this request allows.");
	else if (max_body == API_BODY_STREAM || x->req.body == BODY_NONE)
		run_handler(call);
}

int api_query(const struct api_request *r, const char *name, char *out, size_t size)
{
	struct slice value;
	size_t n;
	int rc = url_query(r->query, slice_str(name), &value);

	return rc < 0 ? rc : url_decode(value, out, size, &n);
}

void reply_body_resume(struct api_request *r)
{
	exchange_resume(r->x);
}
