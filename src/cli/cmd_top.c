/* temps top: what passes through the front door, as rates between two looks at GET /api/top. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/histogram.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/screen.h"

/* An upstream, one of its endpoints, or the whole front door, between the two looks. */
struct line {
	const char *name, *state; /* borrowed from the later look; NULL: has none */
	const char *upstream;	  /* of an endpoint */
	int64_t twin;
	double requests, errors, retries; /* a second */
	int64_t in_flight, waiting, endpoints, in;
	uint64_t p50_us, p99_us; /* 0: nothing ended */
	size_t first, n;	 /* of an upstream: its endpoints */
};

struct lines {
	struct line *at;
	size_t n;
};

struct top {
	struct cli *cli;
	const char *only; /* an upstream; NULL: all */
	char *path;
	struct json *look; /* the later one */
	struct line front;
	struct lines upstreams, endpoints;
	double seconds; /* between the looks */
	struct err err; /* of the last call; "" when it was answered */
	struct screen *screen;
	bool quit;
};

/* ---- from two looks to lines ---- */

/* A control plane that was restarted counts from the start. */
static double grown(const struct json *before, const struct json *now)
{
	int64_t was = json_int(before, 0), is = json_int(now, 0);

	return (double)(is >= was ? is - was : is);
}

static void take_times(struct line *l, const struct json *before, const struct json *now)
{
	uint64_t count[HISTOGRAM_BUCKETS];

	for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++)
		count[i] = (uint64_t)grown(json_at(before, i), json_at(now, i));
	l->p50_us = histogram_quantile_us(count, 0.50);
	l->p99_us = histogram_quantile_us(count, 0.99);
}

static void take_line(struct line *l, const struct json *before, const struct json *now, const char *times,
		      const char *retries, double seconds)
{
	*l = (struct line){
		.state = json_cstr(json_get(now, "state"), NULL),
		.twin = json_int(json_get(now, "twin"), 0),
		.requests = grown(json_get(before, "requests"), json_get(now, "requests")) / seconds,
		.errors = grown(json_at(json_get(before, "by_status"), 4), json_at(json_get(now, "by_status"), 4)) / seconds,
		.retries = grown(json_get(before, retries), json_get(now, retries)) / seconds,
		.in_flight = json_int(json_get(now, "in_flight"), 0),
		.waiting = json_int(json_get(now, "waiting"), 0),
		.endpoints = json_int(json_get(now, "endpoints"), 0),
		.in = json_int(json_get(now, "in"), 0),
	};
	take_times(l, json_get(before, times), json_get(now, times));
}

static bool same(const struct json *a, const struct json *b, const char *name)
{
	return slice_eq(json_str(json_get(a, name), ""), json_str(json_get(b, name), ""));
}

/* The element of the earlier list that is <now>. Both are in the order in which things came, so that it is found where the last
 * search, at <*at>, ended, but for what went meanwhile. */
static const struct json *find_before(const struct json *list, const struct json *now, size_t *at)
{
	for (size_t i = *at; i < json_len(list); i++) {
		const struct json *item = json_at(list, i);

		if (same(item, now, "upstream") && same(item, now, "endpoint") &&
		    json_int(json_get(item, "twin"), 0) == json_int(json_get(now, "twin"), 0)) {
			*at = i + 1;
			return item;
		}
	}
	return NULL;
}

static void take_list(struct lines *out, const struct json *before, const struct json *now, const char *times,
		      const char *retries, double seconds)
{
	size_t at = 0;

	free(out->at);
	out->n = json_len(now);
	out->at = xcalloc(MAX(out->n, 1), sizeof(*out->at));
	for (size_t i = 0; i < out->n; i++) {
		const struct json *item = json_at(now, i);

		take_line(&out->at[i], find_before(before, item, &at), item, times, retries, seconds);
		out->at[i].upstream = json_cstr(json_get(item, "upstream"), "");
		out->at[i].name = json_cstr(json_get(item, "endpoint"), out->at[i].upstream);
	}
}

/* Each upstream's endpoints follow each other, in the order of the upstreams; one that came between the two lists may have none. */
static void give_endpoints(struct top *t)
{
	size_t at = 0;

	for (size_t i = 0; i < t->upstreams.n; i++) {
		struct line *u = &t->upstreams.at[i];
		size_t first = at;

		if (!u->endpoints)
			continue;
		while (first < t->endpoints.n && strcmp(t->endpoints.at[first].upstream, u->name))
			first++;
		if (first == t->endpoints.n)
			continue;
		u->first = first;
		for (at = first; at < t->endpoints.n && !strcmp(t->endpoints.at[at].upstream, u->name); at++)
			u->n++;
	}
}

static int by_requests(const void *a, const void *b)
{
	const struct line *x = a, *y = b;

	if (x->requests != y->requests)
		return x->requests < y->requests ? 1 : -1;
	return strcmp(x->name, y->name);
}

static void take_look(struct top *t, struct json *take_now)
{
	const struct json *now = take_now, *before = t->look ? t->look : now;
	int64_t us = json_int(json_get(now, "now_us"), 0) - json_int(json_get(before, "now_us"), 0);

	t->seconds = us > 0 ? (double)us / 1e6 : 1;
	take_line(&t->front, json_get(before, "front"), json_get(now, "front"), "duration", "retries", t->seconds);
	take_list(&t->upstreams, json_get(before, "upstreams"), json_get(now, "upstreams"), "duration", "retries", t->seconds);
	take_list(&t->endpoints, json_get(before, "endpoints"), json_get(now, "endpoints"), "response_time", "retries_away",
		  t->seconds);
	give_endpoints(t);
	qsort(t->upstreams.at, t->upstreams.n, sizeof(*t->upstreams.at), by_requests);
	json_free(t->look);
	t->look = take_now;
}

/* What was there is shown on when the control plane does not answer. */
static int look(struct top *t)
{
	struct json *now = NULL;
	unsigned status;
	int code = cli_try(t->cli, "GET", t->path, NULL, &now, &status, &t->err);

	if (code == EXIT_DONE)
		take_look(t, now);
	return code;
}

/* The first one: who is asked about must be there. Later it may go, and come again. */
static int first_look(struct top *t)
{
	int code = look(t);

	if (code != EXIT_DONE || !t->only || json_len(json_get(t->look, "upstreams")))
		return code;
	err_say(&t->err, -ENOENT, "no app or static route \"%s\": `temps top` lists all, a route as HOST/PATH", t->only);
	return EXIT_FAILED;
}

/* ---- for people ---- */

static void put_rate(struct table *t, double rate)
{
	table_cellf(t, rate < 100 ? "%.1f" : "%.0f", rate);
}

static const char *time_text(char out[32], uint64_t us)
{
	if (!us)
		return "";
	if (us < 10000)
		snprintf(out, 32, "%.1f ms", (double)us / 1000);
	else if (us < 1000000)
		snprintf(out, 32, "%.0f ms", (double)us / 1000);
	else
		snprintf(out, 32, "%.1f s", (double)us / 1e6);
	return out;
}

static void put_line(struct table *t, const struct line *l)
{
	char text[32];

	if (l->state && l->twin)
		table_cellf(t, "  %s#%lld", l->name, (long long)l->twin);
	else
		table_cellf(t, "%s%s", l->state ? "  " : "", l->name);
	if (l->state)
		table_cell(t, l->state);
	else
		table_cellf(t, "%lld/%lld in", (long long)l->in, (long long)l->endpoints);
	put_rate(t, l->requests);
	table_cell(t, time_text(text, l->p50_us));
	table_cell(t, time_text(text, l->p99_us));
	table_cellf(t, "%lld", (long long)l->in_flight);
	if (l->state)
		table_cell(t, "");
	else
		table_cellf(t, "%lld", (long long)l->waiting);
	put_rate(t, l->errors);
	put_rate(t, l->retries);
}

/* At most <rows> of them: whoever has the most requests comes first. */
static struct table *make_table(const struct top *t, size_t rows)
{
	static const char *const columns[] = { "UPSTREAM", "STATE", ">REQUESTS/S", ">P50", ">P99", ">IN FLIGHT",
					       ">WAITING", ">ERRORS/S", ">RETRIES/S", NULL };
	struct table *table = table_new(columns);
	size_t row = 0;

	for (size_t i = 0; i < t->upstreams.n && row < rows; i++) {
		const struct line *u = &t->upstreams.at[i];

		put_line(table, u);
		row++;
		for (size_t k = 0; k < u->n && row < rows; k++, row++)
			put_line(table, &t->endpoints.at[u->first + k]);
	}
	return table;
}

static void print_front(const struct top *t, FILE *to)
{
	char p50[32], p99[32];

	fprintf(to, "%.1f requests/s, p50 %s, p99 %s, %lld in flight, %lld waiting, %.1f errors/s, %.1f retries/s\n", t->front.requests,
		t->front.p50_us ? time_text(p50, t->front.p50_us) : "-", t->front.p99_us ? time_text(p99, t->front.p99_us) : "-",
		(long long)t->front.in_flight, (long long)t->front.waiting, t->front.errors, t->front.retries);
}

static void draw(struct top *t)
{
	struct screen_size size = screen_size(t->screen);
	FILE *to = screen_begin(t->screen);

	if (!to)
		return;
	if (t->err.text[0])
		fprintf(to, "%s\n", t->err.text);
	else
		print_front(t, to);
	putc('\n', to);
	table_write(make_table(t, size.rows > 3 ? size.rows - 3 : 0), to, size.columns);
	screen_end(t->screen);
}

/* ---- for programs ---- */

static void put_json_line(struct json_out *o, const struct line *l)
{
	json_put_real(o, "requests_per_s", l->requests);
	json_put_real(o, "errors_per_s", l->errors);
	json_put_real(o, "retries_per_s", l->retries);
	if (l->p50_us) {
		json_put_real(o, "p50_ms", (double)l->p50_us / 1000);
		json_put_real(o, "p99_ms", (double)l->p99_us / 1000);
	} else {
		json_put_null(o, "p50_ms");
		json_put_null(o, "p99_ms");
	}
	json_put_int(o, "in_flight", l->in_flight);
}

static void put_json_upstream(struct json_out *o, const struct top *t, const struct line *u)
{
	json_obj(o, NULL);
	json_put_str(o, "upstream", u->name);
	put_json_line(o, u);
	json_put_int(o, "waiting", u->waiting);
	json_put_int(o, "in", u->in);
	json_arr(o, "endpoints");
	for (size_t k = 0; k < u->n; k++) {
		const struct line *e = &t->endpoints.at[u->first + k];

		json_obj(o, NULL);
		json_put_str(o, "endpoint", e->name);
		if (e->twin)
			json_put_int(o, "twin", e->twin);
		json_put_str(o, "state", e->state);
		put_json_line(o, e);
		json_obj_end(o);
	}
	json_arr_end(o);
	json_obj_end(o);
}

static void print_json(const struct top *t)
{
	struct json_out o;
	struct buf b;

	buf_init(&b, 0);
	json_out_init(&o, &b);
	json_obj(&o, NULL);
	json_put_real(&o, "interval_s", t->seconds);
	json_obj(&o, "front");
	put_json_line(&o, &t->front);
	json_put_int(&o, "waiting", t->front.waiting);
	json_obj_end(&o);
	json_arr(&o, "upstreams");
	for (size_t i = 0; i < t->upstreams.n; i++)
		put_json_upstream(&o, t, &t->upstreams.at[i]);
	json_arr_end(&o);
	json_obj_end(&o);
	printf("%s\n", b.data);
	buf_fini(&b);
	fflush(stdout);
}

/* ---- the command ---- */

static void on_quit(void *arg, int signo)
{
	struct top *t = arg;

	(void)signo;
	t->quit = true;
	loop_stop(cli_loop(t->cli));
}

static void on_key(void *arg, char key)
{
	if (key == 'q' || key == 'Q')
		on_quit(arg, 0);
}

static void on_resize(void *arg)
{
	draw(arg);
}

static int watch(struct top *t, uint32_t interval_ms)
{
	struct loop *l = cli_loop(t->cli);
	int code = first_look(t);

	if (code != EXIT_DONE)
		return cli_fail("%s", t->err.text);
	t->screen = screen_open(l, on_key, on_resize, t);
	loop_on_signal(l, SIGINT, on_quit, t);
	loop_on_signal(l, SIGTERM, on_quit, t);
	loop_on_signal(l, SIGHUP, on_quit, t);
	while (!t->quit) {
		draw(t);
		cli_wait(t->cli, interval_ms);
		if (!t->quit)
			(void)look(t);
	}
	screen_close(t->screen);
	return EXIT_DONE;
}

static int print(struct top *t, uint32_t interval_ms, bool once)
{
	int code = first_look(t);

	while (code == EXIT_DONE) {
		cli_wait(t->cli, interval_ms);
		code = look(t);
		if (code != EXIT_DONE)
			break;
		if (t->cli->globals.json) {
			print_json(t);
		} else {
			print_front(t, stdout);
			putchar('\n');
			table_print(make_table(t, SIZE_MAX), t->cli);
		}
		if (once)
			return EXIT_DONE;
		if (!cli_flush())
			return EXIT_FAILED;
	}
	return cli_fail("%s", t->err.text);
}

static int top(struct cli *c, int argc, char **argv)
{
	bool once = false;
	uint64_t interval_ms = 1000;
	const struct opt opts[] = {
		{ "once", NULL, OPT_FLAG, &once, "print one interval and leave", 0, 0, false },
		{ "interval", "TIME", OPT_DURATION, &interval_ms, "between two looks (1s)", 0, 0, false },
		{ 0 },
	};
	struct top t = { .cli = c };
	int code = cli_parse(c, argc, argv, opts, 0, 1);
	char *name;

	if (code >= 0)
		return code;
	if (interval_ms < 100 || interval_ms > 3600000)
		return cli_usage(c, "--interval: expected 100ms to 1h");
	if (!cli_loop(c))
		return EXIT_FAILED;
	t.only = argc ? argv[0] : NULL;
	name = t.only ? cli_escape(t.only) : NULL;
	t.path = name ? xasprintf("/api/top?upstream=%s", name) : xstrdup("/api/top");
	free(name);
	if (once || c->globals.json || !c->tty)
		code = print(&t, (uint32_t)interval_ms, once || !c->globals.json);
	else
		code = watch(&t, (uint32_t)interval_ms);
	json_free(t.look);
	free(t.upstreams.at);
	free(t.endpoints.at);
	free(t.path);
	return code;
}

const struct command command_top = { "top", "[UPSTREAM] [options]", "Show what passes through the front door", top };
