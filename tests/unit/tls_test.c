/* TLS streams against OpenSSL's own client: names, protocols, tickets, records, ends, and what a
 * request costs. */
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "check.h"
#include "mallocs.h"
#include "pump.h"
#include "reactor/pki.h"
#include "reactor/stream.h"
#include "reactor/tls.h"
#include "reactor/tls_inner.h"

#define SOCKET_BYTES 65536
#define GOODBYE_BYTES (2 + TLS_RECORD_EXTRA)

#define ROUNDS 1000

/* What the server side does when it is told of something. */
enum mode { IDLE, ECHO, EAT };

static struct fixture {
	struct loop *loop;
	struct tls_server *server;
	struct tls_cert *cert_a, *cert_b;
	struct buf ca;
	char asked[256];	/* the name given to on_pick() */

	struct stream s;
	enum mode mode;
	int handshake;		/* 1 while it is under way, else its result */
	ssize_t end;		/* result of the read that ended the stream; 1 before */
	size_t eaten;
	unsigned calls, reads;

	SSL_CTX *client_ctx;
	SSL *client;
	int peer;
} f;

/* ---- the server side ---- */

static const struct tls_cert *on_pick(void *arg, struct slice sni)
{
	(void)arg;
	snprintf(f.asked, sizeof(f.asked), "%.*s", SLICE_ARG(sni));
	if (slice_eq(sni, SLICE("b.example.test")))
		return f.cert_b;
	return slice_eq(sni, SLICE("unknown.example.test")) ? NULL : f.cert_a;
}

static void serve(void)
{
	static char b[16384];
	struct iovec iov = { b, 0 };
	ssize_t n;

	f.reads++;
	n = stream_read(&f.s, b, f.mode == EAT ? 1000 : sizeof(b));
	if (n == -EAGAIN)
		return;
	if (n <= 0) {
		f.end = n;
		return;
	}
	iov.iov_len = (size_t)n;
	if (f.mode == ECHO)
		assert_int_equal(stream_write(&f.s, &iov, 1), n);
	else
		f.eaten += (size_t)n;
}

static void on_ready(void *arg, int events)
{
	int want = STREAM_READ;

	(void)arg;
	(void)events;
	f.calls++;
	if (f.handshake == 1) {
		int rc = stream_handshake(&f.s, &want);

		if (rc == -EAGAIN) {
			stream_wait(&f.s, want);
			return;
		}
		f.handshake = rc;
		if (rc)
			return;
		want = STREAM_READ;
	}
	if (f.mode != IDLE)
		serve();
	stream_wait(&f.s, f.end == 1 ? want : 0);
}

/* ---- the client side ---- */

static void connect_pair(const char *sni, SSL_SESSION *resume)
{
	int fds[2], size = SOCKET_BYTES;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	f.peer = fds[1];
	f.handshake = 1;
	f.end = 1;
	f.eaten = f.calls = f.reads = 0;
	assert_int_equal(stream_init_tls(&f.s, f.loop, fds[0], f.server, on_ready, NULL), 0);
	stream_wait(&f.s, STREAM_READ);

	f.client = SSL_new(f.client_ctx);
	SSL_set_fd(f.client, f.peer);
	if (sni)
		SSL_set_tlsext_host_name(f.client, sni);
	if (resume)
		SSL_set_session(f.client, resume);
	SSL_set_connect_state(f.client);
}

static void disconnect(void)
{
	stream_close(&f.s, false);
	if (f.client)	/* else OpenSSL spoils its session */
		SSL_set_shutdown(f.client, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
	SSL_free(f.client);
	f.client = NULL;
	if (f.peer >= 0)
		close(f.peer);
	f.peer = -1;
	pump_idle(f.loop);
}

/* 1: done, 0: not yet, -1: failed. */
static int client_step(void)
{
	int rc = SSL_do_handshake(f.client), why = SSL_get_error(f.client, rc);

	if (rc == 1)
		return 1;
	return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? 0 : -1;
}

static void handshake(void)
{
	PUMP_UNTIL(f.loop, client_step() == 1 && f.handshake != 1);
	assert_int_equal(f.handshake, 0);
}

static void client_says(const void *p, size_t n)
{
	assert_int_equal(SSL_write(f.client, p, (int)n), n);
}

/* Bytes read, 0 at close_notify, -1 when there is nothing yet, -2 for an error. */
static int client_hears(void *p, size_t n)
{
	int rc = SSL_read(f.client, p, (int)n);

	if (rc > 0)
		return rc;
	switch (SSL_get_error(f.client, rc)) {
	case SSL_ERROR_WANT_READ:
		return -1;
	case SSL_ERROR_ZERO_RETURN:
		return 0;
	default:
		ERR_clear_error();
		return -2;
	}
}

/* ---- fixtures ---- */

static struct tls_cert *make_cert(const char *name, struct slice ca, struct slice ca_key)
{
	const char *dns[] = { name, NULL };
	struct pki_names names = { .common_name = name, .dns = dns };
	struct buf cert, key;
	struct tls_cert *c = NULL;
	struct err err;

	buf_init(&cert, 0);
	buf_init(&key, 0);
	if (pki_issue(ca, ca_key, &names, 30, &cert, &key, &err) ||
	    tls_cert_load(&c, buf_slice(&cert), buf_slice(&key), &err))
		print_error("%s\n", err.text);
	buf_fini(&cert);
	buf_fini(&key);
	return c;
}

static void trust(SSL_CTX *ctx, struct slice ca_pem)
{
	BIO *b = BIO_new_mem_buf(ca_pem.p, (int)ca_pem.n);
	X509 *ca = PEM_read_bio_X509(b, NULL, NULL, NULL);

	X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), ca);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	X509_free(ca);
	BIO_free(b);
}

static int setup(void **state)
{
	static const char *const alpn[] = { "h2", "http/1.1", NULL };
	struct buf ca_key;
	struct err err;

	(void)state;
	memset(&f, 0, sizeof(f));
	f.peer = -1;
	buf_init(&f.ca, 0);
	buf_init(&ca_key, 0);
	if (loop_create(&f.loop, &err) ||
	    tls_server_create(&f.server, f.loop, alpn, on_pick, NULL, &err) ||
	    pki_make_ca("test CA", 30, &f.ca, &ca_key, &err)) {
		print_error("%s\n", err.text);
		return -1;
	}
	f.cert_a = make_cert("a.example.test", buf_slice(&f.ca), buf_slice(&ca_key));
	f.cert_b = make_cert("b.example.test", buf_slice(&f.ca), buf_slice(&ca_key));
	f.client_ctx = SSL_CTX_new(TLS_client_method());
	trust(f.client_ctx, buf_slice(&f.ca));
	buf_fini(&ca_key);
	return f.cert_a && f.cert_b ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	disconnect();
	SSL_CTX_free(f.client_ctx);
	tls_cert_free(f.cert_a);
	tls_cert_free(f.cert_b);
	tls_server_destroy(f.server);
	loop_destroy(f.loop);
	buf_fini(&f.ca);
	return 0;
}

/* ---- handshakes ---- */

static const struct {
	const char *sni, *asked, *common_name;
} name_cases[] = {
	{ "a.example.test", "a.example.test", "a.example.test" },
	{ "B.Example.TEST", "b.example.test", "b.example.test" },
	{ NULL,             "",               "a.example.test" },
};

static void certificate_by_name(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(name_cases); i++) {
		const char *row = name_cases[i].sni ? name_cases[i].sni : "no name";
		X509 *cert;
		char cn[64];

		connect_pair(name_cases[i].sni, NULL);
		handshake();
		cert = SSL_get1_peer_certificate(f.client);
		X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, cn,
					  sizeof(cn));
		X509_free(cert);
		CHECK_STR(row, f.asked, name_cases[i].asked);
		CHECK_STR(row, cn, name_cases[i].common_name);
		disconnect();
	}
	assert_int_equal(stream_counters(f.loop)->tls_handshakes, ARRAY_LEN(name_cases));
}

static void unknown_name_is_refused(void **state)
{
	(void)state;
	connect_pair("unknown.example.test", NULL);
	PUMP_UNTIL(f.loop, client_step() == -1 && f.handshake != 1);
	assert_int_equal(ERR_GET_REASON(ERR_peek_last_error()), SSL_R_TLSV1_UNRECOGNIZED_NAME);
	ERR_clear_error();
	assert_int_equal(f.handshake, -EPROTO);
	assert_int_equal(stream_counters(f.loop)->tls_failed, 1);
	assert_int_equal(stream_counters(f.loop)->tls_handshakes, 0);
}

static const struct {
	const char *name, *offered, *chosen;	/* chosen NULL: refused */
} alpn_cases[] = {
	{ "ours decides", "\x08http/1.1\x02h2", "h2" },
	{ "the second", "\x08http/1.0\x08http/1.1", "http/1.1" },
	{ "none offered", "", "" },
	{ "none in common", "\x04spdy", NULL },
};

static void protocol_by_alpn(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(alpn_cases); i++) {
		const char *offered = alpn_cases[i].offered;

		connect_pair("a.example.test", NULL);
		if (*offered)
			SSL_set_alpn_protos(f.client, (const unsigned char *)offered,
					    (unsigned)strlen(offered));
		PUMP_UNTIL(f.loop, client_step() != 0 && f.handshake != 1);
		ERR_clear_error();
		CHECK_INT(alpn_cases[i].name, f.handshake, alpn_cases[i].chosen ? 0 : -EPROTO);
		CHECK_SLICE(alpn_cases[i].name, stream_alpn(&f.s), alpn_cases[i].chosen);
		disconnect();
	}
}

static void old_protocols_and_noise_are_refused(void **state)
{
	(void)state;
	connect_pair("a.example.test", NULL);
	SSL_set_security_level(f.client, 0);
	SSL_set_min_proto_version(f.client, TLS1_VERSION);
	SSL_set_max_proto_version(f.client, TLS1_1_VERSION);
	PUMP_UNTIL(f.loop, client_step() == -1 && f.handshake != 1);
	ERR_clear_error();
	assert_int_equal(f.handshake, -EPROTO);
	disconnect();

	connect_pair(NULL, NULL);
	assert_int_equal(write(f.peer, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 28), 28);
	PUMP_UNTIL(f.loop, f.handshake != 1);
	assert_int_equal(f.handshake, -EPROTO);
	disconnect();

	connect_pair(NULL, NULL);
	close(f.peer);
	f.peer = -1;
	PUMP_UNTIL(f.loop, f.handshake != 1);
	assert_int_equal(f.handshake, -ECONNRESET);
}

#define MANY 10

static struct many {
	struct stream s;
	SSL *client;
	int fd, rc;
} many[MANY];

static void on_one_ready(void *arg, int events)
{
	struct many *m = arg;
	int want = 0;

	(void)events;
	m->rc = stream_handshake(&m->s, &want);
	stream_wait(&m->s, m->rc == -EAGAIN ? want : 0);
}

static unsigned answered(void)
{
	unsigned n = 0;

	for (int i = 0; i < MANY; i++)
		n += many[i].rc == 0 || many[i].s.tls->answered;
	return n;
}

/* More hellos at once than one turn may answer: each turn takes a few, and all get theirs. */
static void hellos_are_spread_over_turns(void **state)
{
	unsigned before = 0, turns = 0, done = 0;

	(void)state;
	for (int i = 0; i < MANY; i++) {
		struct many *m = &many[i];
		int fds[2];

		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
		m->fd = fds[1];
		m->rc = -EAGAIN;
		m->client = SSL_new(f.client_ctx);
		SSL_set_fd(m->client, m->fd);
		SSL_set_connect_state(m->client);
		assert_int_equal(SSL_do_handshake(m->client), -1);
		assert_int_equal(
			stream_init_tls(&m->s, f.loop, fds[0], f.server, on_one_ready, m), 0);
		stream_wait(&m->s, STREAM_READ);
	}
	for (; answered() < MANY; turns++) {
		ev_run(loop_ev(f.loop), EVRUN_ONCE);
		assert_in_range(answered() - before, 0, 3);
		before = answered();
		assert_true(turns < 100);
	}
	assert_true(turns >= 4);
	while (done < MANY) {
		done = 0;
		for (int i = 0; i < MANY; i++)
			done += SSL_do_handshake(many[i].client) == 1 && many[i].rc == 0;
		ev_run(loop_ev(f.loop), EVRUN_NOWAIT);
	}
	for (int i = 0; i < MANY; i++) {
		stream_close(&many[i].s, false);
		SSL_free(many[i].client);
		close(many[i].fd);
	}
	ERR_clear_error();
}

static SSL_SESSION *kept;

static int on_session(SSL *ssl, SSL_SESSION *session)
{
	(void)ssl;
	SSL_SESSION_free(kept);
	kept = session;
	return 1;
}

/* One connection with the ticket of the one before; a ticket serves once. */
static bool reuses(void)
{
	char b[8];
	bool reused;

	connect_pair("a.example.test", kept);
	f.mode = ECHO;
	handshake();
	reused = SSL_session_reused(f.client);
	client_says("x", 1);
	PUMP_UNTIL(f.loop, client_hears(b, sizeof(b)) == 1);
	disconnect();
	return reused;
}

static void resumes(int version)
{
	SSL_CTX_set_max_proto_version(f.client_ctx, version);
	SSL_SESSION_free(kept);
	kept = NULL;
	assert_false(reuses());
	assert_true(reuses());
	/* The key before the current one still opens; the one before that does not. */
	tls_rotate_tickets(f.server);
	assert_true(reuses());
	tls_rotate_tickets(f.server);
	tls_rotate_tickets(f.server);
	assert_false(reuses());
	assert_true(reuses());
}

static void resumes_by_ticket(void **state)
{
	(void)state;
	SSL_CTX_set_session_cache_mode(f.client_ctx, SSL_SESS_CACHE_CLIENT);
	SSL_CTX_sess_set_new_cb(f.client_ctx, on_session);
	resumes(TLS1_3_VERSION);
	assert_int_equal(stream_counters(f.loop)->tls_resumed, 3);
	resumes(TLS1_2_VERSION);
	assert_int_equal(stream_counters(f.loop)->tls_resumed, 6);
	SSL_SESSION_free(kept);
	kept = NULL;
}

/* ---- bytes ---- */

/* One record, read in small pieces: epoll sees nothing of the rest. */
static void bytes_inside_tls_wake_the_owner(void **state)
{
	char b[5000];

	(void)state;
	memset(b, 'x', sizeof(b));
	connect_pair("a.example.test", NULL);
	f.mode = EAT;
	handshake();
	f.calls = 0;
	client_says(b, sizeof(b));
	PUMP_UNTIL(f.loop, f.eaten == sizeof(b));
	pump_idle(f.loop);
	assert_int_equal(f.calls, 5);	/* 1,000 at a time, and none in vain */
}

/* Half a record: pending for OpenSSL, yet nothing the owner could read. */
static void half_a_record_does_not_spin(void **state)
{
	char b[3000] = "x", wire[4096];
	BIO *pipe = BIO_new(BIO_s_mem());
	int n;

	(void)state;
	connect_pair("a.example.test", NULL);
	f.mode = EAT;
	handshake();
	SSL_set0_wbio(f.client, pipe);
	client_says(b, sizeof(b));
	n = BIO_read(pipe, wire, sizeof(wire));
	assert_int_equal(write(f.peer, wire, 100), 100);
	f.calls = 0;
	PUMP_UNTIL(f.loop, f.calls == 1);
	pump_idle(f.loop);
	assert_int_equal(f.calls, 1);
	assert_int_equal(write(f.peer, wire + 100, (size_t)n - 100), n - 100);
	PUMP_UNTIL(f.loop, f.eaten == sizeof(b));
}

static void partial_writes_go_on(void **state)
{
	static uint8_t out[100000], in[65536];
	size_t sent = 0, received = 0, total = 4u << 20;
	unsigned stops = 0;

	(void)state;
	connect_pair("a.example.test", NULL);
	handshake();
	while (received < total) {
		size_t n = MIN(sizeof(out), total - sent);
		struct iovec iov[3] = { { out, MIN(n, 10) },
					{ out + 10, n > 10 ? MIN(n - 10, 500) : 0 },
					{ out + 510, n > 510 ? n - 510 : 0 } };
		ssize_t put;
		int got;

		for (size_t i = 0; i < n; i++)
			out[i] = (uint8_t)((sent + i) * 31 >> 3);
		put = n ? stream_write(&f.s, iov, 3) : 0;
		assert_true(put >= 0 || put == -EAGAIN);
		if (put > 0) {
			sent += (size_t)put;
			continue;
		}
		if (put == -EAGAIN)
			stops++;
		while ((got = client_hears(in, sizeof(in))) > 0) {
			for (int i = 0; i < got; i++, received++)
				assert_int_equal(in[i], (uint8_t)(received * 31 >> 3));
		}
		assert_int_equal(got, -1);
	}
	assert_int_equal(sent, total);
	assert_true(stops > 10);
	assert_int_equal(f.s.bytes_out, total);
}

static void update_client_keys(unsigned times, int type)
{
	for (unsigned i = 0; i < times; i++) {
		assert_int_equal(SSL_key_update(f.client, type), 1);
		assert_int_equal(SSL_do_handshake(f.client), 1);
	}
}

/* New keys both ways, and the answer comes before anything else that we say. */
static void keys_are_updated(void **state)
{
	char b[64];

	(void)state;
	connect_pair("a.example.test", NULL);
	f.mode = ECHO;
	handshake();
	for (int round = 0; round < 3; round++) {
		update_client_keys(2, SSL_KEY_UPDATE_REQUESTED);
		client_says("with new keys", 13);
		PUMP_UNTIL(f.loop, client_hears(b, sizeof(b)) == 13);
		assert_memory_equal(b, "with new keys", 13);
	}
	/* After as many records as one key may seal, we change it by ourselves. */
	f.s.tls->tx.sequence = 1u << 24;
	client_says("old", 3);
	pump_idle(f.loop);
	assert_in_range(f.s.tls->tx.sequence, 1, 2);
}

/* Records without content: a few are fine, a stream of them is not, and it never owns the loop. */
static void idle_records_are_bounded(void **state)
{
	uint64_t reads;

	(void)state;
	connect_pair("a.example.test", NULL);
	f.mode = EAT;
	handshake();
	for (int round = 0; round < 4; round++) {
		update_client_keys(32, SSL_KEY_UPDATE_NOT_REQUESTED);
		client_says("x", 1);
	}
	PUMP_UNTIL(f.loop, f.eaten == 4);
	reads = stream_counters(f.loop)->reads;
	update_client_keys(33, SSL_KEY_UPDATE_NOT_REQUESTED);
	PUMP_UNTIL(f.loop, f.end != 1);
	assert_int_equal(f.end, -ECONNRESET);
	assert_in_range(stream_counters(f.loop)->reads - reads, 1, 4);
}

static void small_pieces_share_a_record(void **state)
{
	struct iovec iov[3] = { { (char[]){ "one " }, 4 },
				{ (char[]){ "two " }, 4 },
				{ (char[]){ "three" }, 5 } };
	uint64_t writes;
	char b[64];

	(void)state;
	connect_pair("a.example.test", NULL);
	handshake();
	writes = stream_counters(f.loop)->writes;
	assert_int_equal(stream_write(&f.s, iov, 3), 13);
	assert_int_equal(stream_counters(f.loop)->writes - writes, 1);
	assert_int_equal(client_hears(b, sizeof(b)), 13);	/* one SSL_read() = one record */
	assert_memory_equal(b, "one two three", 13);
}

static void steady_state_is_counted(void **state)
{
	struct stream_counters before, after;
	uint64_t mallocs_before, by_us;
	char b[256] = "ping";

	(void)state;
	connect_pair("a.example.test", NULL);
	f.mode = ECHO;
	handshake();
	/* By hand: the client's own allocations must not count, so it speaks before and listens
	 * after. */
	for (int warm = 0; warm < 3; warm++) {
		client_says(b, 200);
		PUMP_UNTIL(f.loop, client_hears(b, sizeof(b)) == 200);
	}
	before = *stream_counters(f.loop);
	by_us = 0;
	for (int i = 0; i < ROUNDS; i++) {
		unsigned calls = f.calls;

		client_says(b, 200);
		mallocs_before = mallocs;
		PUMP_UNTIL(f.loop, f.calls > calls);
		by_us += mallocs - mallocs_before;
		assert_int_equal(client_hears(b, sizeof(b)), 200);
	}
	after = *stream_counters(f.loop);
	print_message(
		"per TLS request: %.2f reads, %.2f writes, %.2f interest changes, %.2f mallocs\n",
		(double)(after.reads - before.reads) / ROUNDS,
		(double)(after.writes - before.writes) / ROUNDS,
		(double)(after.interest_changes - before.interest_changes) / ROUNDS,
		(double)by_us / ROUNDS);
	assert_int_equal(after.reads - before.reads, ROUNDS);
	assert_int_equal(after.writes - before.writes, ROUNDS);
	assert_int_equal(after.interest_changes, before.interest_changes);
	/* TLS 1.2 is OpenSSL's, which allocates. */
	if (mallocs_counted && SSL_version(f.client) == TLS1_3_VERSION)
		assert_int_equal(by_us, 0);
}

/* ---- ends ---- */

static void close_notify_is_an_end(void **state)
{
	struct iovec iov = { (char[]){ "tail" }, 4 };
	char b[16];

	(void)state;
	connect_pair("a.example.test", NULL);
	f.mode = EAT;
	handshake();
	client_says("last", 4);
	SSL_shutdown(f.client);	/* in the same read as the data */
	PUMP_UNTIL(f.loop, f.end != 1);
	assert_int_equal(f.eaten, 4);
	assert_int_equal(f.end, 0);
	/* Our half is still open. */
	assert_int_equal(stream_write(&f.s, &iov, 1), 4);
	stream_shutdown(&f.s);
	assert_int_equal(client_hears(b, sizeof(b)), 4);
	assert_int_equal(client_hears(b, sizeof(b)), 0);
	assert_int_equal(read(f.peer, b, sizeof(b)), 0);
}

static void cut_without_close_notify_is_an_error(void **state)
{
	(void)state;
	connect_pair("a.example.test", NULL);
	f.mode = EAT;
	handshake();
	client_says("last", 4);
	close(f.peer);
	f.peer = -1;
	PUMP_UNTIL(f.loop, f.end != 1);
	assert_int_equal(f.eaten, 4);
	assert_int_equal(f.end, -ECONNRESET);
}

static void damaged_record_is_an_error(void **state)
{
	char b[16];

	(void)state;
	connect_pair("a.example.test", NULL);
	f.mode = EAT;
	handshake();
	assert_int_equal(write(f.peer,
			       "\x17\x03\x03\x00\x20"
			       "0123456789abcdef0123456789abcdef",
			       37),
			 37);
	PUMP_UNTIL(f.loop, f.end != 1);
	assert_int_equal(f.end, -ECONNRESET);
	assert_int_equal(client_hears(b, sizeof(b)), -2);	/* an alert, not a close_notify */
}

static void closing_says_goodbye_and_resetting_does_not(void **state)
{
	char b[16];

	(void)state;
	connect_pair("a.example.test", NULL);
	handshake();
	stream_close(&f.s, false);
	assert_int_equal(client_hears(b, sizeof(b)), 0);
	disconnect();

	connect_pair("a.example.test", NULL);
	handshake();
	stream_close(&f.s, true);
	assert_int_equal(client_hears(b, sizeof(b)), -2);
}

/* The last words and the goodbye are one packet, whole or in parts. */
static void goodbye_goes_with_the_last_words(void **state)
{
	static uint8_t out[200000], in[65536];
	struct iovec iov = { (char[]){ "that is all" }, 11 };
	uint64_t writes;
	size_t sent = 0, received = 0;
	int got = 0;

	(void)state;
	connect_pair("a.example.test", NULL);
	handshake();
	writes = stream_counters(f.loop)->writes;
	stream_last(&f.s);
	assert_int_equal(stream_write(&f.s, &iov, 1), 11);
	stream_close(&f.s, false);
	assert_int_equal(stream_counters(f.loop)->writes - writes, 1);
	assert_int_equal(client_hears(in, sizeof(in)), 11);
	assert_int_equal(client_hears(in, sizeof(in)), 0);
	disconnect();

	connect_pair("a.example.test", NULL);
	handshake();
	stream_last(&f.s);
	while (sent < sizeof(out)) {
		ssize_t put;

		iov = (struct iovec){ out + sent, sizeof(out) - sent };
		put = stream_write(&f.s, &iov, 1);
		assert_true(put > 0 || put == -EAGAIN);
		sent += put > 0 ? (size_t)put : 0;
		while ((got = client_hears(in, sizeof(in))) > 0)
			received += (size_t)got;
		assert_true(got == -1 || (got == 0 && sent == sizeof(out)));
	}
	stream_shutdown(&f.s);
	while (got) {
		ev_run(loop_ev(f.loop), EVRUN_NOWAIT);
		got = client_hears(in, sizeof(in));
		assert_true(got >= -1);
		received += got > 0 ? (size_t)got : 0;
	}
	assert_int_equal(received, sizeof(out));
	assert_int_equal(read(f.peer, in, sizeof(in)), 0);
}

/* How much of a third write a socket as in connect_pair() takes that has two of <before> bytes in it:
 * the kernel cuts where it begins a new buffer. */
static size_t room_behind(size_t before)
{
	static uint8_t much[400000];
	int fds[2], size = SOCKET_BYTES;
	ssize_t room;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	for (int i = 0; i < 2; i++)
		assert_int_equal(send(fds[0], much, before, 0), before);
	room = send(fds[0], much, sizeof(much), 0);
	close(fds[0]);
	close(fds[1]);
	return room > 0 ? (size_t)room : 0;
}

/* What is sealed, with the goodbye, into <bytes>; 0: nothing is, in one write. */
static size_t content_of(size_t bytes)
{
	for (size_t records = 1; records <= 4; records++) {
		size_t n = bytes - GOODBYE_BYTES - records * TLS_RECORD_EXTRA;

		if (n <= records * TLS_RECORD_BYTES && n > (records - 1) * TLS_RECORD_BYTES)
			return n;
	}
	return 0;
}

/* The socket takes the last words, and of the goodbye all but <left> bytes: FIN waits for those. */
static void goodbye_is_whole(void **state)
{
	enum { BEFORE = 3 * TLS_RECORD_BYTES };
	static uint8_t out[4 * TLS_RECORD_BYTES], in[65536];
	size_t room = room_behind(BEFORE + 3 * TLS_RECORD_EXTRA);

	(void)state;
	for (size_t left = 1; left <= GOODBYE_BYTES; left += GOODBYE_BYTES - 1) {
		struct iovec iov = { out, 1 };
		size_t last = content_of(room + left), received = 0;
		int got = -1;

		assert_int_not_equal(last, 0);
		connect_pair("a.example.test", NULL);
		handshake();
		assert_int_equal(stream_write(&f.s, &iov, 1), 1); /* and the ticket */
		assert_int_equal(client_hears(in, sizeof(in)), 1);
		iov.iov_len = BEFORE;
		for (int i = 0; i < 2; i++)
			assert_int_equal(stream_write(&f.s, &iov, 1), BEFORE);
		iov.iov_len = last;
		stream_last(&f.s);
		assert_int_equal(stream_write(&f.s, &iov, 1), last);
		if (left < GOODBYE_BYTES)
			assert_non_null(f.s.tls->out);
		stream_shutdown(&f.s);
		while (got) {
			ev_run(loop_ev(f.loop), EVRUN_NOWAIT);
			got = client_hears(in, sizeof(in));
			assert_true(got >= -1);
			received += got > 0 ? (size_t)got : 0;
		}
		assert_int_equal(received, 2 * BEFORE + last);
		assert_int_equal(read(f.peer, in, sizeof(in)), 0);
		disconnect();
	}
}

/* After close_notify nothing more may be said, whatever comes. */
static void nothing_follows_the_goodbye(void **state)
{
	struct iovec iov = { (char[]){ "bye" }, 3 };
	char b[64];

	(void)state;
	connect_pair("a.example.test", NULL);
	f.mode = EAT;
	handshake();
	stream_last(&f.s);
	assert_int_equal(stream_write(&f.s, &iov, 1), 3);
	assert_int_equal(write(f.peer, "\x17\x03\x03\x00\x14 not a record at all", 25), 25);
	PUMP_UNTIL(f.loop, f.end != 1);
	assert_int_equal(f.end, -ECONNRESET);
	assert_int_equal(client_hears(b, sizeof(b)), 3);
	assert_int_equal(client_hears(b, sizeof(b)), 0);
	assert_int_equal(read(f.peer, b, sizeof(b)), -1);
	assert_int_equal(errno, EAGAIN);
}

/* The ticket rides with the first response; without one it comes before the end. */
static void ticket_goes_with_the_first_words(void **state)
{
	struct iovec iov = { (char[]){ "hello" }, 5 };
	uint64_t writes;
	char b[64];

	(void)state;
	SSL_CTX_set_session_cache_mode(f.client_ctx, SSL_SESS_CACHE_CLIENT);
	SSL_CTX_sess_set_new_cb(f.client_ctx, on_session);
	for (int round = 0; round < 2; round++) {
		SSL_SESSION_free(kept);
		kept = NULL;
		writes = stream_counters(f.loop)->writes;
		connect_pair("a.example.test", NULL);
		handshake();
		assert_int_equal(stream_counters(f.loop)->writes - writes, 1);
		assert_int_equal(client_hears(b, sizeof(b)), -1);
		assert_null(kept);
		if (round == 0) {
			assert_int_equal(stream_write(&f.s, &iov, 1), 5);
			assert_int_equal(client_hears(b, sizeof(b)), 5);
		} else {
			stream_shutdown(&f.s);
			assert_int_equal(client_hears(b, sizeof(b)), 0);
		}
		assert_int_equal(stream_counters(f.loop)->writes - writes, 2);
		assert_non_null(kept);
		disconnect();
	}
	SSL_SESSION_free(kept);
	kept = NULL;
}

/* ---- certificates ---- */

static void loads_only_what_fits_together(void **state)
{
	struct buf key;
	struct tls_cert *c = NULL;
	struct err err;

	(void)state;
	buf_init(&key, 0);
	assert_int_equal(pki_make_key(&key, &err), 0);
	assert_int_equal(tls_cert_load(&c, buf_slice(&f.ca), buf_slice(&key), &err), -EINVAL);
	assert_non_null(strstr(err.text, "certificate and key"));
	assert_int_equal(tls_cert_load(&c, buf_slice(&key), buf_slice(&key), &err), -EINVAL);
	assert_int_equal(tls_cert_load(&c, SLICE(""), SLICE(""), &err), -EINVAL);
	assert_int_equal(tls_cert_load(&c, buf_slice(&f.ca), SLICE("no key"), &err), -EINVAL);
	assert_null(c);
	buf_fini(&key);

	CHECK_SLICE("name", tls_cert_name(f.cert_b, 0), "b.example.test");
	assert_int_equal(tls_cert_name(f.cert_b, 1).n, 0);
	assert_true(tls_cert_not_before(f.cert_b) < loop_wall_ms());
	assert_true(tls_cert_not_after(f.cert_b) > loop_wall_ms() + 29ull * 86400 * 1000);
}

/* Two leaves under one authority hold its certificate once; a chain of another stays. */
static void chains_are_shared(void **state)
{
	const char *dns[] = { "c.example.test", NULL };
	struct pki_names names = { .common_name = "c", .dns = dns };
	struct buf ca, ca_key, cert, key, other;
	struct tls_cert *a, *b, *c;
	struct err err;

	(void)state;
	buf_init(&ca, 0);
	buf_init(&ca_key, 0);
	buf_init(&cert, 0);
	buf_init(&key, 0);
	buf_init(&other, 0);
	assert_int_equal(pki_make_ca("another CA", 30, &ca, &ca_key, &err), 0);
	assert_int_equal(pki_issue(buf_slice(&ca), buf_slice(&ca_key), &names, 30, &cert, &key, &err), 0);
	buf_append(&other, cert.data, cert.len);
	buf_append(&other, f.ca.data, f.ca.len);
	buf_append(&cert, ca.data, ca.len);
	assert_int_equal(tls_cert_load(&a, buf_slice(&cert), buf_slice(&key), &err), 0);
	assert_int_equal(tls_cert_load(&b, buf_slice(&cert), buf_slice(&key), &err), 0);
	assert_int_equal(tls_cert_load(&c, buf_slice(&other), buf_slice(&key), &err), 0);
	assert_ptr_not_equal(sk_X509_value(a->chain, 0), sk_X509_value(b->chain, 0));
	tls_cert_share(b, a);
	tls_cert_share(c, a);
	assert_ptr_equal(sk_X509_value(a->chain, 0), sk_X509_value(b->chain, 0));
	assert_ptr_not_equal(sk_X509_value(a->chain, 0), sk_X509_value(c->chain, 0));
	tls_cert_free(a);
	assert_int_equal(X509_check_ca(sk_X509_value(b->chain, 0)), 1);
	tls_cert_free(b);
	tls_cert_free(c);
	buf_fini(&ca);
	buf_fini(&ca_key);
	buf_fini(&cert);
	buf_fini(&key);
	buf_fini(&other);
}

static int setup12(void **state)
{
	int rc = setup(state);

	SSL_CTX_set_max_proto_version(f.client_ctx, TLS1_2_VERSION);
	return rc;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define TEST12(name) { #name " (1.2)", name, setup12, teardown, NULL }
#define TEST_BOTH(name) TEST(name), TEST12(name)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(certificate_by_name),
		TEST(unknown_name_is_refused),
		TEST(protocol_by_alpn),
		TEST(old_protocols_and_noise_are_refused),
		TEST(hellos_are_spread_over_turns),
		TEST(resumes_by_ticket),
		TEST_BOTH(bytes_inside_tls_wake_the_owner),
		TEST_BOTH(half_a_record_does_not_spin),
		TEST_BOTH(partial_writes_go_on),
		TEST(keys_are_updated),
		TEST(idle_records_are_bounded),
		TEST_BOTH(small_pieces_share_a_record),
		TEST_BOTH(steady_state_is_counted),
		TEST_BOTH(close_notify_is_an_end),
		TEST_BOTH(cut_without_close_notify_is_an_error),
		TEST_BOTH(damaged_record_is_an_error),
		TEST_BOTH(closing_says_goodbye_and_resetting_does_not),
		TEST(goodbye_goes_with_the_last_words),
		TEST(goodbye_is_whole),
		TEST(nothing_follows_the_goodbye),
		TEST(ticket_goes_with_the_first_words),
		TEST(loads_only_what_fits_together),
		TEST(chains_are_shared),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
