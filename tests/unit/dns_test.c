/* Name lookups against a name server on the same loop, which answers by the name asked for. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pump.h"
#include "reactor/dns.h"

#define TYPE_A 1
#define TYPE_AAAA 28

struct fixture {
	struct loop *loop;
	struct dns *dns;
	int fd;
	ev_io io;
	unsigned packets;
	struct err err;
};

struct answer {
	unsigned calls;
	int rc;
	char ip[64];
};

/* What the server knows: names it does not are refused with NXDOMAIN, "silent" ones get no
 * answer. */
static const struct zone { const char *name, *a, *aaaa; int rcode; bool silent; } zone[] = {
	{ "four.example.test",   "192.0.2.4", NULL,          0, false },
	{ "six.example.test",    NULL,        "2001:db8::6", 0, false },
	{ "both.example.test",   "192.0.2.5", "2001:db8::5", 0, false },
	{ "empty.example.test",  NULL,        NULL,          0, false },
	{ "broken.example.test", NULL,        NULL,          2, false },
	{ "silent.example.test", NULL,        NULL,          0, true },
};

static const struct zone *find_zone(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(zone); i++)
		if (strcmp(zone[i].name, name) == 0)
			return &zone[i];
	return NULL;
}

/* RFC 1035, 4.1.2: labels with their lengths, a zero, type, class. Returns the bytes of the
 * question. */
static size_t read_question(const uint8_t *q, size_t n, char name[256], int *type)
{
	size_t at = 0, out = 0;

	while (at < n && q[at]) {
		if (out)
			name[out++] = '.';
		assert_true(at + 1 + q[at] < n && out + q[at] < 255);
		memcpy(name + out, q + at + 1, q[at]);
		out += q[at];
		at += 1u + q[at];
	}
	name[out] = '\0';
	assert_true(at + 5 <= n);
	*type = q[at + 1] << 8 | q[at + 2];
	return at + 5;
}

static size_t add_record(uint8_t *p, int type, const char *ip)
{
	uint8_t head[12] = { 0xc0, 12, 0, (uint8_t)type, 0, 1, 0, 0, 0, 60, 0, 0 };

	head[11] = type == TYPE_A ? 4 : 16;
	memcpy(p, head, 12);
	assert_int_equal(inet_pton(type == TYPE_A ? AF_INET : AF_INET6, ip, p + 12), 1);
	return 12u + head[11];
}

static void on_packet(struct ev_loop *ev, ev_io *w, int revents)
{
	struct fixture *f = w->data;
	struct sockaddr_in from;
	socklen_t len = sizeof(from);
	uint8_t packet[512 + 64];
	char name[256];
	int type;
	ssize_t n = recvfrom(f->fd, packet, 512, 0, (struct sockaddr *)&from, &len);
	const struct zone *z;
	const char *ip;
	size_t out;

	(void)ev;
	(void)revents;
	assert_true(n > 12);
	f->packets++;
	out = 12 + read_question(packet + 12, (size_t)n - 12, name, &type);
	z = find_zone(name);
	if (z && z->silent)
		return;
	ip = !z ? NULL : type == TYPE_A ? z->a : z->aaaa;
	packet[2] = 0x84;
	packet[3] = (uint8_t)(0x80 | (z ? z->rcode : 3));
	memset(packet + 6, 0, 6);
	packet[7] = ip != NULL;
	if (ip)
		out += add_record(packet + out, type, ip);
	assert_int_equal(sendto(f->fd, packet, out, 0, (struct sockaddr *)&from, len), out);
}

static int setup(void **state)
{
	struct fixture *f = xcalloc(1, sizeof(*f));
	struct sockaddr_in sa = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(sa);
	char address[32];

	assert_int_equal(loop_create(&f->loop, &f->err), 0);
	assert_int_equal(dns_create(&f->dns, f->loop, &f->err), 0);
	f->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(f->fd, (struct sockaddr *)&sa, len), 0);
	assert_int_equal(getsockname(f->fd, (struct sockaddr *)&sa, &len), 0);
	snprintf(address, sizeof(address), "127.0.0.1:%u", ntohs(sa.sin_port));
	assert_int_equal(dns_set_server(f->dns, address, &f->err), 0);
	ev_io_init(&f->io, on_packet, f->fd, EV_READ);
	f->io.data = f;
	ev_io_start(loop_ev(f->loop), &f->io);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	dns_destroy(f->dns);
	ev_io_stop(loop_ev(f->loop), &f->io);
	close(f->fd);
	loop_destroy(f->loop);
	free(f);
	return 0;
}

static void on_done(void *arg, int rc, const char *ip)
{
	struct answer *a = arg;

	a->calls++;
	a->rc = rc;
	assert_int_equal(rc == 0, ip != NULL);
	snprintf(a->ip, sizeof(a->ip), "%s", ip ? ip : "");
}

static const struct { const char *name; int rc; const char *ip; bool asks; } names[] = {
	{ "192.0.2.9",            0,          "192.0.2.9",   false },
	{ "2001:DB8::9",          0,          "2001:db8::9", false },
	{ "localhost",            0,          "127.0.0.1",   false },
	{ "app.LOCALHOST",        0,          "127.0.0.1",   false },
	{ "four.example.test",    0,          "192.0.2.4",   true },
	{ "six.example.test",     0,          "2001:db8::6", true },
	{ "both.example.test",    0,          "192.0.2.5",   true },
	{ "empty.example.test",   -ENOENT,    "",            true },
	{ "unknown.example.test", -ENOENT,    "",            true },
	{ "broken.example.test",  -EIO,       "",            true },
	{ "silent.example.test",  -ETIMEDOUT, "",            true },
	{ "two..dots",            -EINVAL,    "",            false },
};

static void test_names(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		struct answer a = { 0 };

		f->packets = 0;
		assert_non_null(dns_resolve(f->dns, names[i].name, on_done, &a));
		CHECK_INT(names[i].name, a.calls, 0);
		PUMP_UNTIL(f->loop, a.calls);
		pump_idle(f->loop);
		CHECK_INT(names[i].name, a.calls, 1);
		CHECK_INT(names[i].name, a.rc, names[i].rc);
		CHECK_STR(names[i].name, a.ip, names[i].ip);
		CHECK_INT(names[i].name, f->packets > 0, names[i].asks);
	}
}

static void test_silence_ends_within_a_second(void **state)
{
	struct fixture *f = *state;
	struct answer a = { 0 };
	uint64_t began_us = loop_clock_us(), took_ms;

	dns_resolve(f->dns, "silent.example.test", on_done, &a);
	PUMP_UNTIL(f->loop, a.calls);
	took_ms = (loop_clock_us() - began_us) / 1000;
	assert_in_range(took_ms, 500, 1500);
}

static void test_cancel(void **state)
{
	static const char *const kinds[] = { "four.example.test", "silent.example.test", "127.0.0.1" };
	struct fixture *f = *state;
	struct answer a = { 0 }, b = { 0 };

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		dns_cancel(dns_resolve(f->dns, kinds[i], on_done, &a));
	dns_cancel(NULL);
	dns_resolve(f->dns, "both.example.test", on_done, &b);
	PUMP_UNTIL(f->loop, b.calls);
	pump_idle(f->loop);
	assert_int_equal(a.calls, 0);
}

static void test_cap(void **state)
{
	struct fixture *f = *state;
	struct answer a = { 0 };

	for (int i = 0; i < DNS_QUERIES_MAX; i++)
		assert_non_null(dns_resolve(f->dns, "four.example.test", on_done, &a));
	assert_null(dns_resolve(f->dns, "four.example.test", on_done, &a));
	assert_null(dns_resolve(f->dns, "127.0.0.1", on_done, &a));
	PUMP_UNTIL(f->loop, a.calls == DNS_QUERIES_MAX);
	assert_non_null(dns_resolve(f->dns, "127.0.0.1", on_done, &a));
	PUMP_UNTIL(f->loop, a.calls == DNS_QUERIES_MAX + 1);
}

struct killer {
	struct fixture *f;
	unsigned calls;
};

static void on_done_destroy(void *arg, int rc, const char *ip)
{
	struct killer *k = arg;

	(void)rc;
	(void)ip;
	k->calls++;
	dns_destroy(k->f->dns);
	k->f->dns = NULL;
}

static void test_destroy_from_done(void **state)
{
	struct fixture *f = *state;
	struct killer k = { f, 0 };
	struct answer a = { 0 };

	dns_resolve(f->dns, "silent.example.test", on_done, &a);
	dns_resolve(f->dns, "192.0.2.1", on_done_destroy, &k);
	dns_resolve(f->dns, "192.0.2.2", on_done, &a);
	PUMP_UNTIL(f->loop, k.calls);
	pump_idle(f->loop);
	assert_int_equal(a.calls, 0);
}

#define DNS_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		DNS_TEST(test_names),
		DNS_TEST(test_silence_ends_within_a_second),
		DNS_TEST(test_cancel),
		DNS_TEST(test_cap),
		DNS_TEST(test_destroy_from_done),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
