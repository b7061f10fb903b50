/* HTTP/1 over TLS against OpenSSL's own client: whole bodies through records and refusals, what a
 * request costs, ends. */
#include "h1_rig.h"

#include <errno.h>
#include <openssl/ssl.h>
#include <unistd.h>

#include "http/parse.h"
#include "reactor/pki.h"
#include "reactor/tls.h"

#define GET "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
#define ROUNDS 200

static struct rig rig;
static struct tls_server *tls;
static struct tls_cert *cert;
static SSL_CTX *ctx;
static SSL *ssl;
static int fd;

static const struct tls_cert *on_pick(void *arg, struct slice sni)
{
	(void)arg;
	(void)sni;
	return cert;
}

static void make_cert(void)
{
	static const char *const dns[] = { "a.test", NULL };
	const struct pki_names names = { .common_name = "a.test", .dns = dns };
	struct buf ca, ca_key, pem, key;
	struct err err;

	buf_init(&ca, 0);
	buf_init(&ca_key, 0);
	buf_init(&pem, 0);
	buf_init(&key, 0);
	assert_int_equal(pki_make_ca("test", 1, &ca, &ca_key, &err), 0);
	assert_int_equal(pki_issue(buf_slice(&ca), buf_slice(&ca_key), &names, 1, &pem, &key, &err),
			 0);
	assert_int_equal(tls_cert_load(&cert, buf_slice(&pem), buf_slice(&key), &err), 0);
	buf_fini(&ca);
	buf_fini(&ca_key);
	buf_fini(&pem);
	buf_fini(&key);
}

static int setup(void **state)
{
	static const char *const alpn[] = { "http/1.1", NULL };
	struct addr at;
	struct err err;

	(void)state;
	rig_start(&rig, NULL);
	make_cert();
	assert_int_equal(tls_server_create(&tls, rig.loop, alpn, on_pick, NULL, &err), 0);
	assert_int_equal(addr_parse(&at, SLICE("127.0.0.1:0"), &err), 0);
	assert_int_equal(server_listen(rig.server, &at, tls, NULL, &rig.at, &err), 0);
	ctx = SSL_CTX_new(TLS_client_method());
	ssl = SSL_new(ctx);
	SSL_set_mode(ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	fd = rig_connect(&rig);
	SSL_set_fd(ssl, fd);
	SSL_set_connect_state(ssl);
	PUMP_UNTIL(rig.loop, SSL_do_handshake(ssl) == 1);
	return 0;
}

static int teardown(void **state)
{
	struct loop *loop = rig.loop;

	(void)state;
	SSL_free(ssl);
	SSL_CTX_free(ctx);
	close(fd);
	PUMP_UNTIL(loop, server_stats(rig.server)->open == 0);
	tls_server_destroy(tls);
	tls_cert_free(cert);
	rig_stop(&rig);
	return 0;
}

static void say(const char *p, size_t n)
{
	size_t sent = 0;

	PUMP_UNTIL(rig.loop, ({
			   size_t k = 0;

			   SSL_write_ex(ssl, p + sent, n - sent, &k);
			   sent += k;
			   sent == n;
		   }));
}

/* Some bytes: 0 when none are there now. */
static size_t hear(char *p, size_t max)
{
	size_t k = 0;

	SSL_read_ex(ssl, p, max, &k);
	return k;
}

static void expect(const char *text)
{
	char got[4096];
	size_t len = 0, n = strlen(text);

	PUMP_UNTIL(rig.loop, (len += hear(got + len, n - len)) == n);
	assert_memory_equal(got, text, n);
}

static void test_costs(void **state)
{
	struct stream_counters before = { 0 };

	(void)state;
	rig.script = RIG_OK;
	for (int i = 0; i < ROUNDS + 10; i++) {
		if (i == 10)
			before = *stream_counters(rig.loop);
		say(GET, strlen(GET));
		expect("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
	}
	assert_int_equal(stream_counters(rig.loop)->writes - before.writes, ROUNDS);
	assert_int_equal(stream_counters(rig.loop)->interest_changes - before.interest_changes, 0);
	print_message("TLS: %.2f reads a request\n",
		      (double)(stream_counters(rig.loop)->reads - before.reads) / ROUNDS);
}

static void test_upload(void **state)
{
	const size_t total = 500000;
	char *body = malloc(total), head[128];

	(void)state;
	for (size_t i = 0; i < total; i++)
		body[i] = rig_pattern(i);
	rig.script = RIG_COUNT;
	say(head,
	    (size_t)sprintf(head, "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: %zu\r\n\r\n",
			    total));
	say(body, total);
	expect("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
	assert_memory_equal(rig.body, body, total);
	free(body);
}

/* Nobody reads for a while, then slowly: sealed records, refusals, cut chunks. */
static void take_big(bool chunked)
{
	struct chunk_parser c;
	struct head trailers;
	static char got[30000];
	size_t have = 0, at = 0, used;
	struct slice data;
	const char *why;
	enum chunk_event e = CHUNK_MORE;

	say(GET, strlen(GET));
	pump_idle(rig.loop);
	assert_true(rig.big_sent < rig.big_bytes);
	expect(chunked ? "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
		       : "HTTP/1.1 200 OK\r\nContent-Length: 9437184\r\n\r\n");
	chunk_init(&c);
	PUMP_UNTIL(rig.loop, ({
			   have += hear(got + have, sizeof(got) - have);
			   do {
				   if (chunked) {
					   e = chunk_next(&c, got, have, &used, &data, &trailers,
							  &why);
				   } else {
					   data = slice_of(got, used = have);
					   e = have ? CHUNK_DATA : CHUNK_MORE;
				   }
				   if (e == CHUNK_BAD)
					   fail_msg("after %zu bytes: %s", at, why);
				   for (size_t i = 0; e == CHUNK_DATA && i < data.n; i++, at++)
					   if (data.p[i] != rig_pattern(at))
						   fail_msg("byte %zu is wrong", at);
				   have -= used;
				   memmove(got, got + used, have);
			   } while (e == CHUNK_DATA);
			   chunked ? e == CHUNK_END : at == rig.big_bytes;
		   }));
	assert_int_equal(at, rig.big_bytes);
	PUMP_UNTIL(rig.loop, rig.x == NULL);
}

static void test_big(void **state)
{
	(void)state;
	rig.script = RIG_BIG;
	rig.big_bytes = 9u << 20;
	take_big(true);
	rig.big_length = true;
	take_big(false);
	rig.script = RIG_OK;
	say(GET, strlen(GET));
	expect("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
}

static void test_ends(void **state)
{
	char byte;

	(void)state;
	rig.script = RIG_WAIT;
	say(GET, strlen(GET));
	PUMP_UNTIL(rig.loop, rig.x);
	assert_true(rig.x->peer->tls);
	assert_true(slice_eq(rig.x->req.scheme, SLICE("https")));
	SSL_shutdown(ssl);
	PUMP_UNTIL(rig.loop, !rig.x);
	assert_string_equal(rig.why, "client went away");
	while (hear(&byte, 1))
		;
}

/* HTTP where TLS is spoken: refused by the handshake, counted nowhere as a request. */
static void test_plain_to_tls(void **state)
{
	int plain = rig_connect(&rig);

	(void)state;
	rig_say(&rig, plain, GET);
	rig_expect_end(&rig, plain);
	assert_int_equal(rig.requests, 0);
	close(plain);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_costs), TEST(test_upload),	   TEST(test_big),
		TEST(test_ends),  TEST(test_plain_to_tls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
