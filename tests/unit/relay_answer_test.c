/* What a client gets when the upstream answers badly, more than it was asked or without content, and
 * what the front door answers by itself. */
#include "check.h"

#include <sys/socket.h>
#include <unistd.h>

#include "door_talk.h"

/* What an upstream says that is no answer is 502; what breaks off is cut so that it shows. */
static void bad_answers(void **state)
{
#define CHUNKED "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	static const struct {
		const char *name, *answer;
		bool cut; /* by a reset, else a 502 */
	} cases[] = {
		{ "no status line", "hello\r\n\r\n", false },
		{ "half a head", "HTTP/1.1 200 OK\r\nContent-Le", false },
		{ "a length that is none", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nok",
		  false },
		{ "two lengths",
		  "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok", false },
		{ "length and coding",
		  "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nok",
		  false },
		{ "an unknown coding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok",
		  false },
		{ "two codings",
		  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
		  false },
		{ "only 100", "HTTP/1.1 100 Continue\r\n\r\n", false },
		{ "an upgrade to something else",
		  "HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", false },
		{ "less than its length", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok", true },
		{ "no last chunk", CHUNKED "2\r\nok\r\n", true },
		{ "half a last chunk", CHUNKED "2\r\nok\r\n0\r\n", true },
		{ "a bad chunk", CHUNKED "2\r\nok\r\nx\r\n", true },
	};
	struct door_config c = { .nendpoints = 1, .hold = true };
	int listener = tcp_listen(&c.endpoints[0]);
	struct door d;

	(void)state;
	door_start(&d, &c);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		int client = tcp_connect(d.port), conn;

		tcp_send(client, "POST / HTTP/1.1\r\nHost: " DOOR_HOST
				 "\r\nConnection: close, Upgrade\r\nUpgrade: websocket\r\n\r\n");
		conn = tcp_accept(listener);
		/* The first may be a probe that looks whether it is there again. */
		while (tcp_read_until(conn, text, sizeof(text), "\r\n\r\n") == 0) {
			close(conn);
			conn = tcp_accept(listener);
		}
		tcp_send(conn, cases[i].answer);
		shutdown(conn, SHUT_WR);
		if (cases[i].cut) {
			CHECK_INT(cases[i].name, tcp_read_until(client, text, sizeof(text), NULL),
				  -1);
			assert_null(strstr(text, "\r\n0\r\n"));
		} else {
			tcp_read_until(client, text, sizeof(text), NULL);
			if (strncmp(text, "HTTP/1.1 502 ", 13) != 0)
				fail_msg("%s: %s", cases[i].name, text);
		}
		close(client);
		close(conn);
	}
	close(listener);
	door_stop(&d);
}

/* What comes behind a complete answer is nobody's: its connection is not used again. */
static void leftovers(void **state)
{
	static const char *const answers[] = {
		OK "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
		"HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\nevil",
		"HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\nevil",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nevil",
	};
	struct door_config c = { .nendpoints = 1 };
	int listener = tcp_listen(&c.endpoints[0]);
	struct door d;

	(void)state;
	door_start(&d, &c);
	for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
		int client = tcp_connect(d.port), conn;

		tcp_send(client, GET);
		conn = tcp_accept(listener);
		expect(conn, "\r\n\r\n");
		tcp_send(conn, answers[i]);
		expect(client, "\r\n\r\n");
		assert_null(strstr(text, "evil"));
		assert_true(tcp_read_until(conn, text, sizeof(text), NULL) <= 0);
		close(conn);
		tcp_send(client, GET_CLOSE);
		conn = tcp_accept(listener);
		serve(conn);
		assert_true(tcp_read_until(client, text, sizeof(text), NULL) > 0);
		assert_non_null(strstr(text, "\r\n\r\nok"));
		assert_null(strstr(text, "evil"));
		close(client);
		close(conn);
	}
	close(listener);
	door_stop(&d);
}

/* HEAD, 204 and 304 have no content whatever their fields say, and the connections go on. */
static void without_content(void **state)
{
	static const struct {
		const char *request, *answer, *length;
	} cases[] = {
		{ "HEAD /x HTTP/1.1\r\nHost: " DOOR_HOST "\r\n\r\n",
		  "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "Content-Length: 5\r\n" },
		{ "HEAD /x HTTP/1.1\r\nHost: " DOOR_HOST "\r\n\r\n",
		  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", NULL },
		{ GET, "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
		  "Content-Length: 5\r\n" },
		{ GET, "HTTP/1.1 204 No Content\r\n\r\n", NULL },
		{ GET, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", NULL },
	};
	struct door_config c = { .nendpoints = 1 };
	int listener = tcp_listen(&c.endpoints[0]), client, conn = -1;
	struct door d;

	(void)state;
	door_start(&d, &c);
	client = tcp_connect(d.port);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		tcp_send(client, cases[i].request);
		conn = i == 0 ? tcp_accept(listener) : conn;
		expect(conn, "\r\n\r\n");
		tcp_send(conn, cases[i].answer);
		expect(client, "\r\n\r\n");
		if (cases[i].length)
			assert_non_null(strstr(text, cases[i].length));
		else
			assert_null(strcasestr(text, "Content-Length"));
		assert_null(strcasestr(text, "Transfer-Encoding"));
		assert_int_equal(strlen(strstr(text, "\r\n\r\n")), 4);
	}
	tcp_send(client, GET_CLOSE);
	serve(conn);
	expect(client, "\r\n\r\nok");
	close(client);
	close(conn);
	close(listener);
	door_stop(&d);
}

static void own_answers(void **state)
{
	static const struct {
		const char *name, *request, *want, *also;
	} cases[] = {
		{ "unknown host", "GET / HTTP/1.1\r\nHost: other.test\r\n\r\n", "HTTP/1.1 404 ",
		  "application/problem+json" },
		{ "in a browser", "GET / HTTP/1.1\r\nHost: other.test\r\nAccept: text/html\r\n\r\n",
		  "HTTP/1.1 404 ", "<h1>404" },
		{ "HEAD", "HEAD / HTTP/1.1\r\nHost: other.test\r\n\r\n", "HTTP/1.1 404 ",
		  "Content-Length: " },
		{ "no instance", GET, "HTTP/1.1 503 ", "Retry-After: " },
		{ "CONNECT", "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n",
		  "HTTP/1.1 501 ", "" },
		{ "OPTIONS that goes no further",
		  "OPTIONS / HTTP/1.1\r\nHost: " DOOR_HOST "\r\nMax-Forwards: 0\r\n\r\n",
		  "HTTP/1.1 204 ", "Allow: GET" },
		{ "OPTIONS *", "OPTIONS * HTTP/1.1\r\nHost: other.test\r\n\r\n", "HTTP/1.1 404 ",
		  "Date: " },
		{ "TRACE", "TRACE / HTTP/1.1\r\nHost: " DOOR_HOST "\r\n\r\n", "HTTP/1.1 405 ",
		  "Allow: GET" },
	};
	struct door_config c = { .nendpoints = 0 };
	struct door d;

	(void)state;
	door_start(&d, &c);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		int client = tcp_connect(d.port);

		tcp_send(client, cases[i].request);
		/* Pipelined behind it: the connection goes on. */
		tcp_send(client,
			 "GET /last HTTP/1.1\r\nHost: unknown.test\r\nConnection: close\r\n\r\n");
		tcp_read_until(client, text, sizeof(text), NULL);
		if (strncmp(text, cases[i].want, strlen(cases[i].want)) != 0 ||
		    !strstr(text, cases[i].also))
			fail_msg("%s: %s", cases[i].name, text);
		if (strcmp(cases[i].name, "CONNECT") != 0 && !strstr(text + 1, "HTTP/1.1 404 "))
			fail_msg("%s: the second answer is missing: %s", cases[i].name, text);
		close(client);
	}
	door_stop(&d);
}

static void redirected(void **state)
{
	static const struct {
		const char *request, *want;
	} cases[] = {
		{ "GET /a?b=c HTTP/1.1\r\nHost: Door.test:80\r\nConnection: close\r\n\r\n",
		  "HTTP/1.1 308 Permanent Redirect\r\n|\r\nLocation: https://Door.test:8443/a?b=c\r\n" },
		{ "GET / HTTP/1.1\r\nHost: other.test\r\nConnection: close\r\n\r\n",
		  "HTTP/1.1 404 |" },
		{ "GET /.well-known/acme-challenge/t HTTP/1.1\r\nHost: door.test\r\nConnection: close\r\n\r\n",
		  "HTTP/1.1 503 |" },
		{ "GET / HTTP/1.1\r\nHost: door.test\r\nX-Forwarded-Proto: https\r\nConnection: close\r\n\r\n",
		  "HTTP/1.1 308 |" },
	};
	struct door_config c = { .https_port = 8443 };
	struct door d;

	(void)state;
	door_start(&d, &c);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct slice also, first = slice_split(slice_str(cases[i].want), '|', &also);
		int client = tcp_connect(d.port);

		tcp_send(client, cases[i].request);
		tcp_read_until(client, text, sizeof(text), NULL);
		if (!slice_starts(slice_str(text), first) || (also.n && !strstr(text, also.p)))
			fail_msg("%s gave %s", cases[i].request, text);
		close(client);
	}
	door_stop(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bad_answers),	   cmocka_unit_test(leftovers),
		cmocka_unit_test(without_content), cmocka_unit_test(own_answers),
		cmocka_unit_test(redirected),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
