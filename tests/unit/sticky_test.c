/* Cookies that keep a client at its endpoint: what of a hostile header counts, and the ways of a
 * request that has one. */
#include "check.h"

#include <poll.h>
#include <unistd.h>

#include "door_talk.h"
#include "proxy/sticky.h"

static void reading(void **state)
{
	static const struct {
		const char *name, *cookies[3];
		uint64_t want; /* 0: none */
	} cases[] = {
		{ "alone", { "at=00000000000000ff" }, 0xff },
		{ "among others", { "a=1; at=0123456789abcdef; b=2" }, 0x0123456789abcdef },
		{ "without the space", { "a=1;at=0123456789abcdef;b=2" }, 0x0123456789abcdef },
		{ "in the second field", { "a=1", "at=00000000000000aa" }, 0xaa },
		{ "the first that can be ours",
		  { "at=x; at=00000000000000aa", "at=00000000000000bb" },
		  0xaa },
		{ "no cookie", { NULL }, 0 },
		{ "another name",
		  { "ta=00000000000000ff; xat=00000000000000ff; at2=00000000000000ff" },
		  0 },
		{ "names keep their case", { "AT=00000000000000ff" }, 0 },
		{ "upper-case digits are not ours", { "at=00000000000000FF" }, 0 },
		{ "too short", { "at=0000000000000ff" }, 0 },
		{ "too long", { "at=000000000000000ff" }, 0 },
		{ "quoted", { "at=\"00000000000000ff\"" }, 0 },
		{ "a value with more", { "at=00000000000000ff=" }, 0 },
		{ "a space before the sign", { "at =00000000000000ff" }, 0 },
		{ "not hexadecimal", { "at=000000000000000g" }, 0 },
		{ "no value", { "at=; at" }, 0 },
		{ "nothing but separators", { ";;;; ; =;==;" }, 0 },
		{ "inside another value", { "x=at=00000000000000ff" }, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		uint64_t id = 0;
		struct head h;
		bool found;

		head_init(&h);
		head_add_other(&h, SLICE("X-Other"), SLICE("at=00000000000000ee"));
		for (size_t j = 0; j < 3 && cases[i].cookies[j]; j++)
			head_add(&h, FIELD_COOKIE, slice_str(cases[i].cookies[j]));
		head_add_other(&h, SLICE("X-More"), SLICE("at=00000000000000ee"));
		found = sticky_read(&h, SLICE("at"), &id);
		CHECK_INT(cases[i].name, found, cases[i].want != 0);
		if (found)
			CHECK_INT(cases[i].name, id, cases[i].want);
	}
}

#define PEERS 2

struct world {
	struct door d;
	struct door_config c;
	int listeners[PEERS];
};

static void start(struct world *w, struct upstream_policy policy)
{
	memset(w, 0, sizeof(*w));
	w->c.policy = policy;
	w->c.policy.sticky = strdup("at");
	w->c.nendpoints = PEERS;
	for (unsigned i = 0; i < PEERS; i++)
		w->listeners[i] = tcp_listen(&w->c.endpoints[i]);
	door_start(&w->d, &w->c);
}

static void stop(struct world *w)
{
	for (unsigned i = 0; i < PEERS; i++)
		if (w->listeners[i] >= 0)
			close(w->listeners[i]);
	door_stop(&w->d);
	free(w->c.policy.sticky);
}

static int ask(struct world *w, const char *cookie)
{
	char request[512];
	int client = tcp_connect(w->d.port);

	snprintf(request, sizeof(request),
		 "GET /x HTTP/1.1\r\nHost: " DOOR_HOST "\r\nConnection: close\r\n%s%s\r\n\r\n",
		 *cookie ? "Cookie: x=y; at=" : "X: y", cookie);
	tcp_send(client, request);
	return client;
}

/* Which of the listeners has a connection. */
static unsigned who(struct world *w)
{
	struct pollfd p[PEERS];

	for (unsigned i = 0; i < PEERS; i++)
		p[i] = (struct pollfd){ .fd = w->listeners[i], .events = POLLIN };
	assert_int_equal(poll(p, PEERS, 5000), 1);
	for (unsigned i = 0; i < PEERS; i++)
		if (p[i].revents)
			return i;
	fail();
	return 0;
}

/* A whole request; the cookie it was given goes to <given>, "" when none. Which endpoint served. */
static unsigned visit(struct world *w, const char *cookie, char given[17])
{
	int client = ask(w, cookie), conn;
	unsigned at = who(w);
	const char *set;

	conn = tcp_accept(w->listeners[at]);
	expect(conn, "\r\n\r\n");
	if (*cookie)
		assert_non_null(strstr(text, cookie)); /* passed on like any other */
	tcp_send(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
	tcp_read_until(client, text, sizeof(text), NULL);
	given[0] = '\0';
	set = strcasestr(text, "\r\nSet-Cookie: at=");
	if (set) {
		memcpy(given, set + 17, 16);
		given[16] = '\0';
		assert_int_equal(strncmp(set + 33, "; Path=/; HttpOnly; SameSite=Lax\r\n", 34), 0);
	}
	close(conn);
	close(client);
	return at;
}

static void stays(void **state)
{
	char cookie[17], other[17], none[17];
	struct world w;
	unsigned home, away;

	(void)state;
	start(&w, (struct upstream_policy){ 0 });
	home = visit(&w, "", cookie);
	assert_int_equal(strlen(cookie), 16);
	away = visit(&w, "", other);
	assert_int_not_equal(away, home);
	assert_string_not_equal(cookie, other);
	for (unsigned i = 0; i < 5; i++) {
		assert_int_equal(visit(&w, cookie, none), home);
		assert_string_equal(none, "");
	}
	/* One that names nobody is replaced. */
	visit(&w, "0123456789abcdef", none);
	assert_true(strcmp(none, cookie) == 0 || strcmp(none, other) == 0);
	/* Without weight it takes nothing but those. */
	w.d.shared->weight = 0;
	door_command(&w.d, DOOR_WEIGHT, home);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(visit(&w, cookie, none), home);
		assert_int_equal(visit(&w, "", none), away);
	}
	door_command(&w.d, DOOR_SNAPSHOT, 0);
	assert_int_equal(w.d.shared->upstream.sticky_hits, 8);
	assert_int_equal(w.d.shared->upstream.sticky_misses, 1);
	stop(&w);
}

/* It goes away: the client goes elsewhere, in the same request, and stays there. */
static void moves(void **state)
{
	char cookie[17], other[17], none[17];
	struct world w;
	unsigned home;

	(void)state;
	start(&w, (struct upstream_policy){ 0 });
	home = visit(&w, "", cookie);
	close(w.listeners[home]);
	w.listeners[home] = -1;
	assert_int_equal(visit(&w, cookie, other), 1 - home);
	assert_int_equal(strlen(other), 16);
	assert_string_not_equal(cookie, other);
	assert_int_equal(visit(&w, other, none), 1 - home);
	assert_string_equal(none, "");
	stop(&w);
}

/* At its limit it takes nothing: another one helps out, and the cookie stays. */
static void visits(void **state)
{
	char cookie[17], none[17];
	struct world w;
	int client, conn;
	unsigned home;

	(void)state;
	start(&w, (struct upstream_policy){ .max_in_flight = 1 });
	home = visit(&w, "", cookie);
	client = ask(&w, cookie);
	conn = tcp_accept(w.listeners[home]);
	expect(conn, "\r\n\r\n");
	assert_int_equal(visit(&w, cookie, none), 1 - home);
	assert_string_equal(none, "");
	tcp_send(conn, OK);
	expect(client, "ok");
	close(conn);
	close(client);
	assert_int_equal(visit(&w, cookie, none), home);
	stop(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reading),
		cmocka_unit_test(stays),
		cmocka_unit_test(moves),
		cmocka_unit_test(visits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
