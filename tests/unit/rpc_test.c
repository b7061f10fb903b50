/* Calls over libcurl: what comes back, what failures say, streams with pauses. */
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "rpc_fixture.h"

/* ---- whole answers ---- */

static const struct {
	const char *name, *method, *path, *body;
	int status;
	const char *answer;
} answers[] = {
	{ "a body", "GET", "/ok", "", 200, "hello" },
	{ "an error is a result", "GET", "/status/503", "", 503, "" },
	{ "no body to a HEAD", "HEAD", "/status/200", "", 200, "" },
	{ "no content", "DELETE", "/status/204", "", 204, "" },
	{ "100 is skipped", "POST", "/continue", "data", 200, "hello" },
};

static void test_answers(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
		struct rpc_request req = { .method = answers[i].method,
					   .url = peer_url(f, answers[i].path),
					   .body = slice_str(answers[i].body) };
		struct call k = { 0 };

		call_run(f, &k, NULL, &req, &plain_ops);
		if (k.rc)
			fail_msg("%s: %s", answers[i].name, k.error);
		CHECK_INT(answers[i].name, k.status, answers[i].status);
		CHECK_INT(answers[i].name, k.heads, 1);
		CHECK_INT(answers[i].name, k.sent, true);
		CHECK_SLICE(answers[i].name, buf_slice(&k.body), answers[i].answer);
		call_finish(&k);
	}
}

static void test_request_head(void **state)
{
	struct fixture *f = *state;
	const char *const headers[] = { "Authorization: Bearer abc", "X-Own: 1", NULL };
	struct rpc_request req = {
		.method = "POST", .url = peer_url(f, "/echo"), .headers = headers, .body = SLICE("{}")
	};
	char host[64];
	struct call k = { 0 };

	setenv("http_proxy", "http://127.0.0.1:1", 1);
	call_run(f, &k, NULL, &req, &plain_ops);
	unsetenv("http_proxy");
	CHECK_INT(k.error, k.rc, 0);
	snprintf(host, sizeof(host), "\r\nHost: 127.0.0.1:%u\r\n", peer_port(&f->peer));
	assert_memory_equal(k.body.data, "POST /echo HTTP/1.1\r\n", 21);
	assert_non_null(strstr(k.body.data, host));
	assert_non_null(strstr(k.body.data, "\r\nAuthorization: Bearer abc\r\n"));
	assert_non_null(strstr(k.body.data, "\r\nContent-Length: 2\r\n"));
	assert_non_null(strstr(k.body.data, "\r\n\r\n{}"));
	assert_null(strcasestr(k.body.data, "expect"));
	assert_null(strcasestr(k.body.data, "content-type"));
	call_finish(&k);
}

static void test_named_address(void **state)
{
	struct fixture *f = *state;
	const struct rpc_target to = { .resolve_ip = "127.0.0.1" };
	struct rpc_request req = { .method = "GET" };
	char *at = xasprintf("http://app.example.test:%u/echo", peer_port(&f->peer));
	struct call k = { 0 };

	req.url = at;
	call_run(f, &k, &to, &req, &plain_ops);
	CHECK_INT(k.error, k.rc, 0);
	assert_non_null(strstr(k.body.data, "\r\nHost: app.example.test:"));
	call_finish(&k);
	free(at);
	at = xasprintf("http://localhost:%u/ok", peer_port(&f->peer));
	req.url = at;
	k = (struct call){ 0 };
	call_run(f, &k, NULL, &req, &plain_ops);
	CHECK_INT(k.error, k.rc, 0);
	call_finish(&k);
	free(at);
}

static void test_collect_limit(void **state)
{
	struct fixture *f = *state;
	struct rpc_request req = { .method = "GET",
				   .url = peer_url(f, "/big"),
				   .max_response = PEER_BIG_BYTES };
	struct call k = { 0 };

	call_run(f, &k, NULL, &req, &plain_ops);
	CHECK_INT(k.error, k.rc, 0);
	assert_int_equal(k.body.len, PEER_BIG_BYTES);
	call_finish(&k);
	k = (struct call){ 0 };
	req.max_response--;
	call_run(f, &k, NULL, &req, &plain_ops);
	assert_int_equal(k.rc, -EMSGSIZE);
	assert_non_null(strstr(k.error, "larger than 399999 bytes"));
	call_finish(&k);
}

/* ---- streams ---- */

static const struct { const char *name; size_t bite; } bites[] = {
	{ "all of it", 0 }, { "large ones", 60000 }, { "odd ones", 777 }, { "most of a block", 16383 },
};

static void test_body_with_pauses(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_LEN(bites); i++) {
		struct rpc_request req = { .method = "GET", .url = peer_url(f, "/big") };
		struct call k = { .bite = bites[i].bite };

		call_run(f, &k, NULL, &req, &stream_ops);
		CHECK_INT(bites[i].name, k.rc, 0);
		CHECK_INT(bites[i].name, k.body.len, PEER_BIG_BYTES);
		for (size_t at = 0; at < k.body.len; at++)
			if (k.body.data[at] != peer_byte(at))
				fail_msg("%s: wrong byte at %zu", bites[i].name, at);
		call_finish(&k);
	}
}

static void test_own_pause_is_not_silence(void **state)
{
	struct fixture *f = *state;
	struct rpc_request req = { .method = "GET", .url = peer_url(f, "/big"), .idle_timeout_ms = 20 };
	struct call k = { .bite = 1000 };
	uint64_t began_us;

	call_begin(f, &k, NULL, &req, &stream_ops);
	while (!k.pauses)
		ev_run(loop_ev(f->loop), EVRUN_ONCE);
	deadline_stop(&k.later);
	began_us = loop_clock_us();
	deadline_set(&k.later, 100);
	k.bite = 0;
	while (!k.ended)
		loop_run(f->loop);
	assert_true(loop_clock_us() - began_us > 90000);
	CHECK_INT(k.error, k.rc, 0);
	assert_int_equal(k.body.len, PEER_BIG_BYTES);
	call_finish(&k);
}

static void test_upload(void **state)
{
	static const char *const pieces[] = { "one", "two", "three", NULL };
	static const char *const methods[] = { "POST", "PUT" };
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
		struct rpc_request req = { .method = methods[i],
					   .url = peer_url(f, "/echo"),
					   .idle_timeout_ms = 1000 };
		struct call k = { .pieces = pieces };

		call_run(f, &k, NULL, &req, &upload_ops);
		CHECK_INT(k.error, k.rc, 0);
		CHECK_INT(methods[i], k.waits, 3);
		assert_memory_equal(k.body.data, methods[i], strlen(methods[i]));
		assert_non_null(strcasestr(k.body.data, "\r\ntransfer-encoding: chunked\r\n"));
		assert_null(strcasestr(k.body.data, "expect"));
		assert_non_null(strstr(k.body.data,
				       "\r\n\r\n3\r\none\r\n3\r\ntwo\r\n5\r\nthree\r\n0\r\n\r\n"));
		call_finish(&k);
	}
}

static void test_upload_that_fails(void **state)
{
	struct fixture *f = *state;
	struct rpc_request req = { .method = "POST", .url = peer_url(f, "/echo") };
	struct call k = { .upload_rc = -EPIPE };

	call_run(f, &k, NULL, &req, &upload_ops);
	assert_int_equal(k.rc, -EPIPE);
	assert_non_null(strstr(k.error, "upload to 127.0.0.1:"));
	call_finish(&k);
}

/* The other side has had enough while our source has nothing to give. */
static void test_upload_that_is_refused(void **state)
{
	struct fixture *f = *state;
	struct rpc_request req = { .method = "POST", .url = peer_url(f, "/reject") };
	struct call k = { .upload_rc = -EAGAIN };

	call_run(f, &k, NULL, &req, &upload_ops);
	CHECK_INT(k.error, k.rc, 0);
	assert_int_equal(k.status, 413);
	CHECK_SLICE("body", buf_slice(&k.body), "too much");
	call_finish(&k);
}

/* ---- failures ---- */

static const struct {
	const char *name, *path;
	uint32_t idle_ms, total_ms;
	int rc;
	const char *text;
} failures[] = {
	{ "no answer in time", "/stall", 50, 0, -ETIMEDOUT, "silent for 50 ms" },
	{ "silence in the middle", "/dribble", 50, 0, -ETIMEDOUT, "silent for 50 ms" },
	{ "too long in all", "/stall", 0, 50, -ETIMEDOUT, "not done in time" },
	{ "closed at once", "/close", 0, 0, -ECONNRESET,
	  "closed the connection without an answer" },
	{ "closed in the middle", "/half", 0, 0, -ECONNRESET, "lost the connection" },
};

static void test_failures(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_LEN(failures); i++) {
		struct rpc_request req = { .method = "GET", .url = peer_url(f, failures[i].path),
					   .idle_timeout_ms = failures[i].idle_ms,
					   .total_timeout_ms = failures[i].total_ms };
		struct call k = { 0 };

		call_run(f, &k, NULL, &req, &plain_ops);
		CHECK_INT(failures[i].name, k.rc, failures[i].rc);
		CHECK_INT(failures[i].name, k.sent, true);
		if (!strstr(k.error, failures[i].text) || !strstr(k.error, "127.0.0.1:"))
			fail_msg("%s: \"%s\"", failures[i].name, k.error);
		call_finish(&k);
	}
	assert_int_equal(rpc_stats(f->rpc).failed, ARRAY_LEN(failures));
}

static const struct { const char *name, *url; } bad_urls[] = {
	{ "no URL",            "nonsense with spaces" },
	{ "another protocol",  "ftp://127.0.0.1/" },
	{ "a password",        "http://user:word@127.0.0.1/" },
	{ "no port like that", "http://127.0.0.1:99999/" },
};

static void test_bad_requests(void **state)
{
	static const char *const split[] = { "X-A: b\r\nX-C: d", NULL };
	struct fixture *f = *state;
	struct rpc_request req = { .method = "GET" };
	struct call k;

	for (size_t i = 0; i < ARRAY_LEN(bad_urls); i++) {
		k = (struct call){ 0 };
		req.url = bad_urls[i].url;
		call_run(f, &k, NULL, &req, &plain_ops);
		CHECK_INT(bad_urls[i].name, k.rc, -EINVAL);
		CHECK_INT(bad_urls[i].name, k.sent, false);
	}
	k = (struct call){ 0 };
	req.url = peer_url(f, "/ok");
	req.headers = split;
	call_run(f, &k, NULL, &req, &plain_ops);
	assert_int_equal(k.rc, -EINVAL);
	assert_int_equal(f->peer.requests, 0);
}

static void test_refused(void **state)
{
	struct fixture *f = *state;
	struct rpc_request req = { .method = "POST", .url = peer_url(f, "/ok") };
	char *want = xasprintf("connect to 127.0.0.1:%u: Connection refused", peer_port(&f->peer));
	struct call k = { 0 };

	peer_close(&f->peer);
	call_run(f, &k, NULL, &req, &plain_ops);
	assert_int_equal(k.rc, -ECONNREFUSED);
	assert_string_equal(k.error, want);
	assert_false(k.sent);
	free(want);
}

/* A listener whose queue is full drops what comes next. */
static void test_connect_limit(void **state)
{
	struct fixture *f = *state;
	struct sockaddr_in sa = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(sa);
	int fd = socket(AF_INET, SOCK_STREAM, 0), full[4];
	char at[64], want[96];
	struct rpc_request req = { .method = "GET", .url = at, .connect_timeout_ms = 100 };
	struct call k = { 0 };

	assert_int_equal(bind(fd, (struct sockaddr *)&sa, len), 0);
	assert_int_equal(listen(fd, 0), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
	for (size_t i = 0; i < ARRAY_LEN(full); i++) {
		full[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		(void)!connect(full[i], (struct sockaddr *)&sa, len);
	}
	snprintf(at, sizeof(at), "http://127.0.0.1:%u/", ntohs(sa.sin_port));
	snprintf(want, sizeof(want), "connect to 127.0.0.1:%u: Connection timed out",
		 ntohs(sa.sin_port));
	call_run(f, &k, NULL, &req, &plain_ops);
	assert_int_equal(k.rc, -ETIMEDOUT);
	assert_string_equal(k.error, want);
	assert_false(k.sent);
	for (size_t i = 0; i < ARRAY_LEN(full); i++)
		close(full[i]);
	close(fd);
}

static void test_cap(void **state)
{
	struct fixture *f = *state;
	const struct rpc_target to = { 0 };
	struct rpc_request req = { .method = "GET", .url = peer_url(f, "/ok") };
	struct call k = { .f = f };

	for (int i = 0; i < RPC_CALLS_MAX; i++)
		assert_non_null(rpc_begin(f->rpc, &to, &req, &plain_ops, &k));
	assert_null(rpc_begin(f->rpc, &to, &req, &plain_ops, &k));
	assert_int_equal(rpc_stats(f->rpc).refused, 1);
	assert_int_equal(rpc_stats(f->rpc).active, RPC_CALLS_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RPC_TEST(test_answers),
		RPC_TEST(test_request_head),
		RPC_TEST(test_named_address),
		RPC_TEST(test_collect_limit),
		RPC_TEST(test_body_with_pauses),
		RPC_TEST(test_own_pause_is_not_silence),
		RPC_TEST(test_upload),
		RPC_TEST(test_upload_that_fails),
		RPC_TEST(test_upload_that_is_refused),
		RPC_TEST(test_failures),
		RPC_TEST(test_bad_requests),
		RPC_TEST(test_refused),
		RPC_TEST(test_connect_limit),
		RPC_TEST(test_cap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
