/* The router and the answers, through a real server: what reaches a handler, and what a client
 * gets. */
#include "h1_rig.h"

#include <errno.h>
#include <unistd.h>

#include "http/reply.h"
#include "http/url.h"

static struct rig rig;
static struct api *api;
static struct {
	const char *handler;
	char params[2][64];
	unsigned nparams;
	char body[64];
	char wanted[64];
	int wanted_rc;
	unsigned scope;
	struct api_request *kept;
	unsigned closed;
	size_t streamed;
	bool stream_ended, pause;
	char *large;
} seen;

static void note(struct api_request *r, const char *handler)
{
	seen.handler = handler;
	seen.nparams = r->nparams;
	for (unsigned i = 0; i < r->nparams && i < 2; i++)
		assert_int_equal(slice_copy(r->params[i], seen.params[i], sizeof(seen.params[i])),
				 0);
	assert_int_equal(slice_copy(r->body, seen.body, sizeof(seen.body)), 0);
	seen.wanted_rc = api_query(r, "want", seen.wanted, sizeof(seen.wanted));
	assert_ptr_equal(r->app, &seen);
}

static void do_node(struct api_request *r)
{
	note(r, "node");
	reply_json(r, 200, SLICE("{}"));
}

static void do_register(struct api_request *r)
{
	note(r, "register");
	reply_field(r, "Location", "/nodes/7");
	reply_field(r, "X-Evil", "a\r\nb");
	reply_json(r, 201, SLICE("{\"id\":7}"));
}

static void do_image(struct api_request *r)
{
	note(r, "image");
	reply_empty(r, 204);
}

static void on_closed(void *state)
{
	assert_ptr_equal(state, &seen);
	seen.closed++;
	seen.kept = NULL;
}

static void do_later(struct api_request *r)
{
	note(r, "later");
	seen.kept = r;
	r->state = &seen;
	r->closed = on_closed;
}

static size_t on_piece(void *state, const char *p, size_t n)
{
	(void)state;
	(void)p;
	if (seen.pause)
		return 0;
	seen.streamed += n;
	return n;
}

static void on_piece_end(void *state)
{
	(void)state;
	seen.stream_ended = true;
	reply_text(seen.kept, 200, "text/plain", SLICE("done"));
}

static void do_upload(struct api_request *r)
{
	do_later(r);
	r->on_body = on_piece;
	r->on_body_end = on_piece_end;
}

static void do_stream(struct api_request *r)
{
	do_later(r);
	reply_stream_begin(r, 200, "text/event-stream");
	assert_int_equal(reply_stream_write(r, "data: 1\n\n", 9), 9);
}

static void do_large(struct api_request *r)
{
	note(r, "large");
	reply_text(r, 200, "application/octet-stream", slice_of(seen.large, RIG_BODY_MAX));
}

static const struct api_route routes[] = {
	{ "GET", "/nodes/{id}", 1, 0, do_node },
	{ "POST", "/nodes/register", 2, 32, do_register },
	{ "DELETE", "/nodes/{id}", 1, 0, do_image },
	{ "GET", "/nodes/local", 1, 0, do_later },
	{ "GET", "/images/{name}/tags/{tag}", 1, 0, do_image },
	{ "PUT", "/upload", 1, API_BODY_STREAM, do_upload },
	{ "GET", "/stream", 1, 0, do_stream },
	{ "GET", "/large", 1, 0, do_large },
	{ "GET", "/secret", 9, 0, do_node },
	{ "POST", "/secret", 9, 32, do_node },
};

static int authorise(struct api_request *r)
{
	seen.scope = r->route->scope;
	if (r->route->scope != 9)
		return 0;
	reply_problem(r, 403, "Forbidden", "not \"you\"");
	return -EACCES;
}

static int setup(void **state)
{
	const struct api_config config = {
		.routes = routes,
		.nroutes = ARRAY_LEN(routes),
		.app = &seen,
		.authorise = authorise,
		.max_query = 100,
	};
	struct exchange_handler h = { api_handle, NULL };
	struct server_config c;
	struct addr at;
	struct err err;

	(void)state;
	memset(&seen, 0, sizeof(seen));
	memset(&rig, 0, sizeof(rig));
	server_config_default(&c);
	assert_int_equal(api_create(&api, &config, &err), 0);
	h.arg = api;
	assert_int_equal(loop_create(&rig.loop, &err), 0);
	assert_int_equal(server_create(&rig.server, rig.loop, &c, &h, NULL, NULL, &err), 0);
	assert_int_equal(addr_parse(&at, SLICE("127.0.0.1:0"), &err), 0);
	assert_int_equal(server_listen(rig.server, &at, NULL, NULL, &rig.at, &err), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	server_destroy(rig.server);
	loop_destroy(rig.loop);
	api_destroy(api);
	return 0;
}

/* Request in, whole response out; the connection closes with it. */
static const char *ask(const char *request)
{
	static char got[8192];
	size_t len = 0;
	int fd = rig_connect(&rig);

	rig_say(&rig, fd, request);
	PUMP_UNTIL(rig.loop, ({
			   ssize_t k = read(fd, got + len, sizeof(got) - 1 - len);

			   assert_true(k >= 0 || errno == EAGAIN);
			   len += k > 0 ? (size_t)k : 0;
			   k == 0;
		   }));
	got[len] = '\0';
	close(fd);
	return got;
}

#define END " HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
#define BODY(n) " HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: " n "\r\n\r\n"

static const struct {
	const char *request, *starts, *handler, *param, *wanted;
} rows[] = {
	{ "GET /nodes/7" END, "HTTP/1.1 200 ", "node", "7", NULL },
	{ "GET /nodes/a%2Fb%20c?want=x%26y&want=2" END, "HTTP/1.1 200 ", "node", "a/b c", "x&y" },
	{ "GET /nodes/..?other=1&want" END, "HTTP/1.1 200 ", "node", "..", "" },
	{ "HEAD /nodes/7" END, "HTTP/1.1 200 ", "node", "7", NULL },
	{ "DELETE /nodes/register" END, "HTTP/1.1 204 ", "image", "register", NULL },
	{ "POST /nodes/register" BODY("4") "{  }", "HTTP/1.1 201 ", "register", NULL, NULL },
	{ "GET /images/r.test:5000%2fa%2Fb/tags/v1" END, "HTTP/1.1 204 ", "image",
	  "r.test:5000/a/b", NULL },
	{ "GET /nodes/7" BODY("3") "abc", "HTTP/1.1 200 ", "node", "7", NULL },
	{ "GET /nodes/%00" END, "HTTP/1.1 400 ", NULL, NULL, NULL },
	{ "GET /nodes/%4" END, "HTTP/1.1 400 ", NULL, NULL, NULL },
	{ "GET /nodes/%zz" END, "HTTP/1.1 400 ", NULL, NULL, NULL },
	{ "GET /nodes/" END, "HTTP/1.1 404 ", NULL, NULL, NULL },
	{ "GET /nodes/7/" END, "HTTP/1.1 404 ", NULL, NULL, NULL },
	{ "GET /nodes" END, "HTTP/1.1 404 ", NULL, NULL, NULL },
	{ "GET /" END, "HTTP/1.1 404 ", NULL, NULL, NULL },
	{ "GET /a/b/c/d/e/f/g/h/i/j/k/l/m/n/o" END, "HTTP/1.1 404 ", NULL, NULL, NULL },
	{ "OPTIONS *" END, "HTTP/1.1 404 ", NULL, NULL, NULL },
	{ "CONNECT a.test:443" END, "HTTP/1.1 404 ", NULL, NULL, NULL },
	{ "PUT /nodes/7" END, "HTTP/1.1 405 ", NULL, NULL, NULL },
	{ "POST /nodes/register" BODY("33"), "HTTP/1.1 413 ", NULL, NULL, NULL },
	{ "GET /nodes/7" BODY("70000"), "HTTP/1.1 413 ", NULL, NULL, NULL },
	{ "POST /nodes/register HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
	  "40\r\n0123456789012345678901234567890123456789012345678901234567890123\r\n0\r\n\r\n",
	  "HTTP/1.1 413 ", NULL, NULL, NULL },
	{ "GET /nodes/7?aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" END,
	  "HTTP/1.1 414 ", NULL, NULL, NULL },
	{ "GET /secret" END, "HTTP/1.1 403 ", NULL, NULL, NULL },
	{ "POST /secret" BODY("3") "abc", "HTTP/1.1 403 ", NULL, NULL, NULL },
};

static void test_rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const char *name = rows[i].request, *got;

		memset(&seen, 0, sizeof(seen));
		got = ask(rows[i].request);
		if (!slice_starts(slice_str(got), slice_str(rows[i].starts)))
			fail_msg("%s: %s", name, got);
		CHECK_STR(name, seen.handler ? seen.handler : "none",
			  rows[i].handler ? rows[i].handler : "none");
		if (rows[i].param)
			CHECK_STR(name, seen.params[0], rows[i].param);
		if (rows[i].wanted)
			CHECK_STR(name, seen.wanted, rows[i].wanted);
		else if (seen.handler)
			CHECK_INT(name, seen.wanted_rc, -ENOENT);
	}
}

static void test_answer_form(void **state)
{
	const char *got = ask("POST /nodes/register" BODY("2") "{}");

	(void)state;
	assert_string_equal(seen.body, "{}");
	assert_int_equal(seen.scope, 2);
	assert_non_null(strstr(got, "\r\nContent-Type: application/json\r\n"));
	assert_non_null(strstr(got, "\r\nContent-Length: 8\r\n"));
	assert_non_null(strstr(got, "\r\nCache-Control: no-store\r\n"));
	assert_non_null(strstr(got, "\r\nX-Request-ID: "));
	assert_non_null(strstr(got, "\r\nDate: "));
	assert_non_null(strstr(got, " GMT\r\n"));
	assert_non_null(strstr(got, "\r\nLocation: /nodes/7\r\n"));
	assert_null(strstr(got, "X-Evil"));
	assert_non_null(strstr(got, "\r\n\r\n{\"id\":7}"));

	got = ask("PUT /nodes/7" END);
	assert_non_null(strstr(got, "\r\nAllow: GET, DELETE\r\n"));
	assert_non_null(strstr(got, "\r\nContent-Type: application/problem+json\r\n"));
	got = ask("GET /secret" END);
	assert_non_null(strstr(
		got,
		"{\"type\":\"about:blank\",\"title\":\"Forbidden\",\"status\":403,\"detail\":\"not \\\"you\\\"\",\"instance\":\""));
}

static void test_later(void **state)
{
	int fd = rig_connect(&rig);

	(void)state;
	rig_say(&rig, fd, "GET /nodes/local HTTP/1.1\r\nHost: a\r\n\r\n");
	PUMP_UNTIL(rig.loop, seen.kept);
	reply_json(seen.kept, 200, SLICE("{}"));
	PUMP_UNTIL(rig.loop, seen.closed == 1);
	rig_expect_start(&rig, fd, "HTTP/1.1 200 OK\r\n");
	/* The client leaves first. */
	rig_say(&rig, fd, "GET /nodes/local HTTP/1.1\r\nHost: a\r\n\r\n");
	PUMP_UNTIL(rig.loop, seen.kept);
	close(fd);
	PUMP_UNTIL(rig.loop, seen.closed == 2);
}

static void test_streams(void **state)
{
	static char zeros[30000];
	int fd = rig_connect(&rig);

	(void)state;
	rig_say(&rig, fd, "GET /stream HTTP/1.1\r\nHost: a\r\n\r\n");
	rig_expect_start(&rig, fd, "HTTP/1.1 200 OK\r\n");
	assert_int_equal(reply_stream_write(seen.kept, "data: 2\n\n", 9), 9);
	reply_stream_end(seen.kept);
	PUMP_UNTIL(rig.loop, seen.closed == 1);
	rig_say(&rig, fd, "GET /stream HTTP/1.1\r\nHost: a\r\n\r\n");
	PUMP_UNTIL(rig.loop, seen.kept);
	reply_stream_abort(seen.kept, "test");
	PUMP_UNTIL(rig.loop, seen.closed == 2);
	assert_int_equal(rig_expect_end(&rig, fd), ECONNRESET);
	close(fd);

	fd = rig_connect(&rig);
	seen.pause = true;
	rig_say(&rig, fd,
		"PUT /upload HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 30000\r\n\r\n");
	rig_say_bytes(&rig, fd, zeros, sizeof(zeros));
	pump_idle(rig.loop);
	assert_int_equal(seen.streamed, 0);
	seen.pause = false;
	reply_body_resume(seen.kept);
	PUMP_UNTIL(rig.loop, seen.stream_ended);
	assert_int_equal(seen.streamed, 30000);
	rig_expect_start(&rig, fd, "HTTP/1.1 200 OK\r\n");
	assert_int_equal(rig_expect_end(&rig, fd), 0);
	close(fd);
}

static void test_large_answer(void **state)
{
	size_t len = 0;
	int fd = rig_connect(&rig);

	(void)state;
	seen.large = calloc(1, RIG_BODY_MAX);
	rig_say(&rig, fd, "GET /large HTTP/1.0\r\n\r\n");
	PUMP_UNTIL(rig.loop, ({
			   static char got[65536];
			   ssize_t k = read(fd, got, sizeof(got));

			   assert_true(k >= 0 || errno == EAGAIN);
			   len += k > 0 ? (size_t)k : 0;
			   k == 0;
		   }));
	assert_true(len > RIG_BODY_MAX && len < RIG_BODY_MAX + 1000);
	free(seen.large);
	close(fd);
}

static void test_tables(void **state)
{
	static const struct api_route alike[] = {
		{ "GET", "/a/{b}", 0, 0, do_node },
		{ "GET", "/a/{c}", 0, 0, do_node },
	}, greedy[] = { { "GET", "/{a}/{b}/{c}/{d}/{e}", 0, 0, do_node } }, odd[] = { { "GET", "a", 0, 0, do_node } };
	struct api_config c = { .routes = alike, .nroutes = 2 };
	struct api *a;
	struct err err;

	(void)state;
	assert_int_equal(api_create(&a, &c, &err), -EEXIST);
	c.nroutes = 1;
	c.routes = greedy;
	assert_int_equal(api_create(&a, &c, &err), -EINVAL);
	c.routes = odd;
	assert_int_equal(api_create(&a, &c, &err), -EINVAL);
}

static void test_decoding(void **state)
{
	char out[8];
	size_t n;

	(void)state;
	assert_int_equal(url_decode(SLICE("a%41+"), out, sizeof(out), &n), 0);
	assert_string_equal(out, "aA+");
	assert_int_equal(n, 3);
	assert_int_equal(url_decode(SLICE("1234567"), out, sizeof(out), &n), 0);
	assert_int_equal(url_decode(SLICE("12345678"), out, sizeof(out), &n), -ENAMETOOLONG);
	assert_int_equal(url_decode(SLICE("%"), out, sizeof(out), &n), -EINVAL);
	assert_int_equal(url_decode(SLICE("%0"), out, sizeof(out), &n), -EINVAL);
	assert_int_equal(url_decode(SLICE(""), out, sizeof(out), &n), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_rows),
		TEST(test_answer_form),
		TEST(test_later),
		TEST(test_streams),
		TEST(test_large_answer),
		cmocka_unit_test(test_tables),
		cmocka_unit_test(test_decoding),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
