/* Calls over libcurl: kept connections, unix sockets, cancelling from everywhere, trust. */
#include <errno.h>
#include <unistd.h>

#include "reactor/pki.h"
#include "rpc_fixture.h"

/* ---- kept connections ---- */

static void test_kept_connections(void **state)
{
	struct fixture *f = *state;
	struct rpc_request post = { .method = "POST", .url = peer_url(f, "/ok") };
	struct call k = { 0 };

	call_get(f, &k, "/ok");
	call_finish(&k);
	call_get(f, &k, "/ok");
	call_finish(&k);
	assert_int_equal(f->peer.accepted, 1);
	k = (struct call){ 0 };
	call_run(f, &k, NULL, &post, &plain_ops);
	call_finish(&k);
	CHECK_INT("a POST opens its own", f->peer.accepted, 2);
	k = (struct call){ 0 };
	post.repeatable = true;
	call_run(f, &k, NULL, &post, &plain_ops);
	CHECK_INT("unless it may be repeated", f->peer.accepted, 2);
	call_finish(&k);
}

static void test_kept_connection_that_died(void **state)
{
	struct fixture *f = *state;
	struct rpc_request post = { .method = "POST", .url = peer_url(f, "/once") };
	struct call k;

	call_get(f, &k, "/once");
	call_finish(&k);
	call_get(f, &k, "/once");
	CHECK_INT("tried again", k.rc, 0);
	CHECK_INT("on a new one", f->peer.accepted, 2);
	CHECK_INT("all three came", f->peer.requests, 3);
	call_finish(&k);
	k = (struct call){ 0 };
	call_run(f, &k, NULL, &post, &plain_ops);
	CHECK_INT("sent once", f->peer.requests, 4);
	call_finish(&k);
}

static void test_unix_socket(void **state)
{
	struct fixture *f = *state;
	char path[64], want[128];
	struct rpc_target to = { .unix_socket = path };
	struct rpc_request req = { .method = "GET", .url = "http://docker/ok" };
	struct call k = { 0 };

	snprintf(path, sizeof(path), "./rpc-test-%ld.sock", (long)getpid());
	snprintf(want, sizeof(want), "connect to %s: No such file or directory", path);
	peer_close(&f->peer);
	call_run(f, &k, &to, &req, &plain_ops);
	assert_int_equal(k.rc, -ENOENT);
	assert_string_equal(k.error, want);
	assert_false(k.sent);
	peer_open_unix(&f->peer, f->loop, path);
	k = (struct call){ 0 };
	call_run(f, &k, &to, &req, &plain_ops);
	CHECK_INT(k.error, k.rc, 0);
	CHECK_SLICE("body", buf_slice(&k.body), "hello");
	call_finish(&k);
}

/* ---- cancelling ---- */

static const struct { const char *name; enum act head, body, upload, done; } cancels[] = {
	{ "from head",               CANCEL, NOTHING, NOTHING, NOTHING },
	{ "from body",               NOTHING, CANCEL, NOTHING, NOTHING },
	{ "from upload",             NOTHING, NOTHING, CANCEL, NOTHING },
	{ "from done",               NOTHING, NOTHING, NOTHING, CANCEL },
	{ "from head, with another", CANCEL_AND_BEGIN, NOTHING, NOTHING, NOTHING },
	{ "from body, with another", NOTHING, CANCEL_AND_BEGIN, NOTHING, NOTHING },
	{ "from done, with another", NOTHING, NOTHING, NOTHING, CANCEL_AND_BEGIN },
};

static void test_cancel(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_LEN(cancels); i++) {
		bool up = cancels[i].upload != NOTHING;
		struct rpc_request req = { .method = up ? "POST" : "GET",
					   .url = peer_url(f, up ? "/echo" : "/big") };
		struct call k = { .in_head = cancels[i].head, .in_body = cancels[i].body,
				  .in_upload = cancels[i].upload, .in_done = cancels[i].done };

		call_run(f, &k, NULL, &req, up ? &upload_ops : &stream_ops);
		for (int turn = 0; turn < 10; turn++)
			ev_run(loop_ev(f->loop), EVRUN_NOWAIT);
		CHECK_INT(cancels[i].name, rpc_stats(f->rpc).active, 0);
		call_finish(&k);
	}
}

static void test_cancel_at_any_turn(void **state)
{
	struct fixture *f = *state;
	struct call k;

	for (int turns = 0; turns < 12; turns++) {
		struct rpc_request req = { .method = "GET", .url = peer_url(f, "/stall") };

		k = (struct call){ 0 };
		call_begin(f, &k, NULL, &req, &plain_ops);
		for (int i = 0; i < turns; i++)
			ev_run(loop_ev(f->loop), EVRUN_NOWAIT);
		rpc_cancel(k.handle);
		rpc_resume(k.handle);
		rpc_cancel(k.handle);
		k.ended = true;
		for (int i = 0; i < 3; i++)
			ev_run(loop_ev(f->loop), EVRUN_NOWAIT);
		assert_int_equal(rpc_stats(f->rpc).active, 0);
	}
	rpc_cancel(NULL);
	call_get(f, &k, "/ok");
	CHECK_INT(k.error, k.rc, 0);
	call_finish(&k);
}

static void on_done_destroy(void *arg, const struct rpc_result *res)
{
	struct call *k = arg;

	assert_int_equal(res->rc, 0);
	rpc_destroy(k->f->rpc);
	k->f->rpc = NULL;
	k->ended = true;
	loop_stop(k->f->loop);
}

static void test_destroy_from_done(void **state)
{
	static const struct rpc_ops ops = { .done = on_done_destroy };
	struct fixture *f = *state;
	struct rpc_request req = { .method = "GET", .url = peer_url(f, "/stall") };
	struct call k = { 0 }, others[3] = { 0 };

	for (size_t i = 0; i < ARRAY_LEN(others); i++)
		call_begin(f, &others[i], NULL, &req, &plain_ops);
	req.url = peer_url(f, "/ok");
	call_begin(f, &k, NULL, &req, &ops);
	while (!k.ended)
		loop_run(f->loop);
	for (size_t i = 0; i < ARRAY_LEN(others); i++)
		assert_false(others[i].ended);
}

/* ---- trust ---- */

static struct tls_cert *issued;

static const struct tls_cert *on_pick(void *arg, struct slice sni)
{
	(void)arg;
	(void)sni;
	return issued;
}

static void issue(struct buf *ca, struct buf *ca_key)
{
	const char *const ips[] = { "127.0.0.1", NULL };
	const struct pki_names names = { .common_name = "peer", .ips = ips };
	struct buf cert, key;
	struct err err;

	buf_init(&cert, 0);
	buf_init(&key, 0);
	assert_int_equal(pki_issue(buf_slice(ca), buf_slice(ca_key), &names, 1, &cert, &key, &err),
			 0);
	assert_int_equal(tls_cert_load(&issued, buf_slice(&cert), buf_slice(&key), &err), 0);
	buf_fini(&cert);
	buf_fini(&key);
}

static void test_trust(void **state)
{
	static const char *const alpn[] = { "h2", "http/1.1", NULL };
	struct fixture *f = *state;
	struct buf ca, other, key;
	struct tls_server *server;

	buf_init(&ca, 0);
	buf_init(&other, 0);
	buf_init(&key, 0);
	assert_int_equal(pki_make_ca("other", 1, &other, &key, &f->err), 0);
	buf_clear(&key);
	assert_int_equal(pki_make_ca("test", 1, &ca, &key, &f->err), 0);
	issue(&ca, &key);
	assert_int_equal(tls_server_create(&server, f->loop, alpn, on_pick, NULL, &f->err), 0);
	peer_close(&f->peer);
	peer_open(&f->peer, f->loop, "127.0.0.1", server);

	const struct { const char *name, *host; struct rpc_target to; int rc; } trusts[] = {
		{ "no check at all",              "127.0.0.1", { .insecure = true }, 0 },
		{ "not the system's",             "127.0.0.1", { 0 }, -EKEYREJECTED },
		{ "the CA",                       "127.0.0.1", { .ca_pem = ca.data }, 0 },
		{ "the system's after that",      "127.0.0.1", { 0 }, -EKEYREJECTED },
		{ "another CA",                   "127.0.0.1", { .ca_pem = other.data }, -EKEYREJECTED },
		{ "the CA beside the system's",   "127.0.0.1", { .ca_pem = ca.data, .ca_pem_and_system = true }, 0 },
		{ "another beside the system's",  "127.0.0.1", { .ca_pem = other.data, .ca_pem_and_system = true },
		  -EKEYREJECTED },
		{ "another name",                 "localhost", { .ca_pem = ca.data }, -EKEYREJECTED },
		{ "another name, no check",       "localhost", { .insecure = true }, 0 },
		{ "no certificate in the PEM",    "127.0.0.1", { .ca_pem = "nothing" }, -EPROTO },
	};
	for (size_t i = 0; i < ARRAY_LEN(trusts); i++) {
		char *at = xasprintf("https://%s:%u/ok", trusts[i].host, peer_port(&f->peer));
		struct rpc_request req = { .method = "GET", .url = at };
		struct call k = { 0 };

		call_run(f, &k, &trusts[i].to, &req, &plain_ops);
		if (k.rc != trusts[i].rc ||
		    (k.rc && (k.sent || strncmp(k.error, "TLS with ", 9) != 0)))
			fail_msg("%s: %d %s", trusts[i].name, k.rc, k.error);
		call_finish(&k);
		free(at);
	}
	peer_close(&f->peer);
	tls_server_destroy(server);
	tls_cert_free(issued);
	buf_fini(&ca);
	buf_fini(&other);
	buf_fini(&key);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RPC_TEST(test_kept_connections),
		RPC_TEST(test_kept_connection_that_died),
		RPC_TEST(test_unix_socket),
		RPC_TEST(test_cancel),
		RPC_TEST(test_cancel_at_any_turn),
		RPC_TEST(test_destroy_from_done),
		RPC_TEST(test_trust),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
