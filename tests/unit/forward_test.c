/* Which fields pass, which are dropped, which are ours to write. */
#include "check.h"

#include <errno.h>

#include "http/parse.h"
#include "proxy/errors.h"
#include "proxy/forward.h"

static struct forward fw;

static void set_up(struct exchange *x, struct exchange_peer *peer, const char *from, bool tls,
		   const char *text)
{
	struct head_scan scan = { 0 };
	struct parse_fault fault;
	char at[80];

	memset(x, 0, sizeof(*x));
	memset(peer, 0, sizeof(*peer));
	snprintf(at, sizeof(at), strchr(from, ':') ? "[%s]:4711" : "%s:4711", from);
	assert_int_equal(addr_parse(&peer->addr, slice_str(at), NULL), 0);
	peer->tls = tls;
	x->peer = peer;
	strcpy(x->request_id, "id-1");
	if (parse_request(&scan, text, strlen(text), &x->req, &fault) <= 0)
		fail_msg("%s: %s", text, fault.why);
}

/* "Name: value\n" for each field of <h> that the test may care about. */
static void show(const struct head *h, char *out, size_t size)
{
	size_t at = 0;

	out[0] = '\0';
	for (unsigned i = 0; h && i < h->nfields; i++)
		at += (size_t)snprintf(out + at, size - at, "%.*s: %.*s\n",
				       SLICE_ARG(h->fields[i].name),
				       h->fields[i].id == FIELD_DATE ? 3 : (int)h->fields[i].value.n,
				       h->fields[i].id == FIELD_DATE ? "now" : h->fields[i].value.p);
}

#define OURS(ip, proto, host, port)                                                      \
	"X-Forwarded-For: " ip "\nX-Forwarded-Proto: " proto "\nX-Forwarded-Host: " host \
	"\nX-Forwarded-Port: " port "\nX-Real-IP: " ip "\nX-Request-ID: id-1\n"
#define PLAIN OURS("192.0.2.7", "http", "a.test", "80")

static void requests(void **state)
{
	static const struct {
		const char *name, *from;
		bool tls;
		const char *fields, *want;
	} cases[] = {
		{ "ours are added", "192.0.2.7", false, "Host: a.test\r\n", PLAIN },
		{ "over TLS, with a port", "192.0.2.7", true, "Host: a.test:8443\r\n",
		  OURS("192.0.2.7", "https", "a.test:8443", "8443") },
		{ "a v6 client", "2001:db8::1", true, "Host: a.test\r\n",
		  OURS("2001:db8::1", "https", "a.test", "443") },
		{ "others pass in order", "192.0.2.7", false,
		  "A: 1\r\nHost: a.test\r\nCookie: x\r\ntraceparent: t\r\nB: 2\r\nA: 3\r\n",
		  "A: 1\nCookie: x\ntraceparent: t\nB: 2\nA: 3\n" PLAIN },
		{ "hop-by-hop does not", "192.0.2.7", false,
		  "Host: a.test\r\nConnection: keep-alive\r\nKeep-Alive: 3\r\nProxy-Connection: x\r\nTE: trailers\r\n"
		  "Proxy-Authorization: p\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n",
		  PLAIN },
		{ "nor what Connection names", "192.0.2.7", false,
		  "Host: a.test\r\nX-Hop: 1\r\nX-Stay: 2\r\nConnection: close, x-hop\r\n",
		  "X-Stay: 2\n" PLAIN },
		{ "naming ours does not remove them", "192.0.2.7", false,
		  "Host: a.test\r\nConnection: X-Forwarded-For, x-real-ip, Host\r\n", PLAIN },
		{ "who is not trusted cannot speak for others", "192.0.2.7", false,
		  "Host: a.test\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil.test\r\n"
		  "X-Forwarded-Port: 1\r\nX-Real-IP: 1.1.1.1\r\nForwarded: for=1.1.1.1\r\nX-Request-ID: mine\r\n"
		  "True-Client-IP: 1.1.1.1\r\nX-Forwarded-Prefix: /x\r\nCF-Connecting-IP: 1.1.1.1\r\n",
		  PLAIN },
		{ "by no name that some program believes", "192.0.2.7", false,
		  "Host: a.test\r\nProxy: http://evil.test\r\nX-Forwarded: for=1.1.1.1\r\nX-ProxyUser-Ip: 1.1.1.1\r\n"
		  "WL-Proxy-Client-IP: 1.1.1.1\r\nProxied: no\r\n",
		  "Proxied: no\n" PLAIN },
		{ "not with underscores either", "192.0.2.7", false,
		  "Host: a.test\r\nX_Forwarded_For: 1.1.1.1\r\nX_REAL_IP: 1.1.1.1\r\nx_forwarded-proto: https\r\nX_Ok: 1\r\n",
		  "X_Ok: 1\n" PLAIN },
		{ "nor a second opinion on framing", "192.0.2.7", false,
		  "Host: a.test\r\nContent_Length: 9\r\nTransfer_Encoding: chunked\r\nClient-IP: 1.1.1.1\r\n"
		  "X-Original-URL: /admin\r\nContent-Language: de\r\n",
		  "Content-Language: de\n" PLAIN },
		{ "Connection may name what is not ours", "192.0.2.7", false,
		  "Host: a.test\r\nCookie: 1\r\nA: 1\r\nConnection: cookie,,\r\nConnection: ,a\r\n", PLAIN },
		{ "a trusted proxy is believed and appended to", "10.1.2.3", false,
		  "Host: a.test\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 2.2.2.2\r\nX-Forwarded-Proto: https\r\n"
		  "X-Forwarded-Host: b.test\r\nX-Forwarded-Port: 443\r\nX-Real-IP: 1.1.1.1\r\nForwarded: for=1.1.1.1\r\n"
		  "True-Client-IP: 1.1.1.1\r\n",
		  "True-Client-IP: 1.1.1.1\nX-Forwarded-For: 1.1.1.1, 2.2.2.2, 10.1.2.3\nX-Forwarded-Proto: https\n"
		  "X-Forwarded-Host: b.test\nX-Forwarded-Port: 443\nX-Real-IP: 1.1.1.1\nX-Request-ID: id-1\n"
		  "Forwarded: for=1.1.1.1, for=10.1.2.3\n" },
		{ "nor can Connection take what it said", "10.1.2.3", false,
		  "Host: a.test\r\nX-Forwarded-For: 1.1.1.1\r\nTrue-Client-IP: 1.1.1.1\r\n"
		  "Connection: X-Forwarded-For, True-Client-IP\r\n",
		  "True-Client-IP: 1.1.1.1\nX-Forwarded-For: 1.1.1.1, 10.1.2.3\nX-Forwarded-Proto: http\nX-Forwarded-Host: a.test\n"
		  "X-Forwarded-Port: 80\nX-Real-IP: 10.1.2.3\nX-Request-ID: id-1\n" },
		{ "a trusted v6 range", "fd00::9", false, "Host: a.test\r\nX-Real-IP: 1.1.1.1\r\n",
		  "X-Forwarded-For: fd00::9\nX-Forwarded-Proto: http\nX-Forwarded-Host: a.test\nX-Forwarded-Port: 80\n"
		  "X-Real-IP: 1.1.1.1\nX-Request-ID: id-1\n" },
	};
	static const char *const trusted[] = { "10.0.0.0/8", "fd00::/8", NULL };
	static struct exchange x;
	struct exchange_peer peer;
	char text[2048], got[4096];

	(void)state;
	assert_int_equal(forward_init(&fw, trusted, NULL), 0);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		snprintf(text, sizeof(text), "POST /p HTTP/1.1\r\n%s\r\n", cases[i].fields);
		set_up(&x, &peer, cases[i].from, cases[i].tls, text);
		show(forward_request(&fw, &x), got, sizeof(got));
		CHECK_STR(cases[i].name, got, cases[i].want);
	}
	forward_fini(&fw);
}

static void upgrades(void **state)
{
	static const struct {
		const char *name, *fields, *want;
	} cases[] = {
		{ "websocket", "Connection: Upgrade\r\nUpgrade: websocket\r\n", "websocket" },
		{ "not asked for", "Upgrade: websocket\r\n", "" },
		{ "never h2c",
		  "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA\r\n",
		  "" },
		{ "not hidden in a list either",
		  "Connection: upgrade\r\nUpgrade: websocket, H2C\r\n", "" },
		{ "nor as a draft", "Connection: upgrade\r\nUpgrade: h2c-17\r\n", "" },
		{ "nor by its other name", "Connection: upgrade\r\nUpgrade: HTTP/2.0\r\n", "" },
		{ "nor in a second field",
		  "Connection: upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n", "websocket" },
		{ "not to HTTP/1.0", "Connection: \r\nUpgrade: websocket\r\n", "" },
	};
	static struct exchange x;
	struct exchange_peer peer;
	char text[512], got[2048];

	(void)state;
	assert_int_equal(forward_init(&fw, NULL, NULL), 0);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const struct head *h;

		snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: a.test\r\n%s\r\n",
			 cases[i].fields);
		set_up(&x, &peer, "192.0.2.7", false, text);
		h = forward_request(&fw, &x);
		CHECK_SLICE(cases[i].name, h->protocol, cases[i].want);
		show(h, got, sizeof(got));
		CHECK_STR(cases[i].name, got, PLAIN);
	}
	forward_fini(&fw);
}

/* What a 101 may switch to. */
static void switches(void **state)
{
	static const struct {
		const char *asked, *upgrade;
		bool want;
	} cases[] = {
		{ "websocket", "websocket", true },  { "websocket", "WebSocket", true },
		{ "a, websocket", "websocket", true }, { "websocket", "h2c", false },
		{ "websocket", NULL, false },	       { "websocket", "websocket, h2c", false },
	};
	static struct head h;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		head_init(&h);
		if (cases[i].upgrade)
			head_add(&h, FIELD_UPGRADE, slice_str(cases[i].upgrade));
		CHECK_INT(cases[i].asked, forward_upgrade_fits(slice_str(cases[i].asked), &h),
			  cases[i].want);
	}
}

/* OPTIONS with a number of hops (RFC 9110 §7.6.2); elsewhere it is a field like any other. */
static void hops(void **state)
{
	static const struct {
		const char *name, *method, *value, *want;
		bool ends;
	} cases[] = {
		{ "one less", "OPTIONS", "5", "4", false },
		{ "the last one", "OPTIONS", "0", NULL, true },
		{ "no number", "OPTIONS", "x", NULL, false },
		{ "not OPTIONS", "GET", "0", "0", false },
	};
	static struct exchange x;
	struct exchange_peer peer;
	char text[256];

	(void)state;
	assert_int_equal(forward_init(&fw, NULL, NULL), 0);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const struct field *f;

		snprintf(text, sizeof(text), "%s / HTTP/1.1\r\nHost: a\r\nMax-Forwards: %s\r\n\r\n",
			 cases[i].method, cases[i].value);
		set_up(&x, &peer, "192.0.2.7", false, text);
		CHECK_INT(cases[i].name, forward_ends_here(&x.req), cases[i].ends);
		if (cases[i].ends)
			continue;
		f = head_find(forward_request(&fw, &x), SLICE("Max-Forwards"));
		CHECK_INT(cases[i].name, f != NULL, cases[i].want != NULL);
		if (f)
			CHECK_SLICE(cases[i].name, f->value, cases[i].want);
	}
	forward_fini(&fw);
}

static void responses(void **state)
{
	static const struct {
		const char *name, *text, *want;
	} cases[] = {
		{ "what the application says passes",
		  "HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nSet-Cookie: 1\r\nSet-Cookie: 2\r\nContent-Length: 3\r\nServer: s\r\n\r\n",
		  "Content-Type: a/b\nSet-Cookie: 1\nSet-Cookie: 2\nContent-Length: 3\nServer: s\nDate: now\n" },
		{ "and the date it gives",
		  "HTTP/1.1 200 OK\r\nDate: now\r\nA: 1\r\n\r\n", "Date: now\nA: 1\n" },
		{ "an interim response needs none", "HTTP/1.1 103 x\r\nLink: a\r\n\r\n", "Link: a\n" },
		{ "what is between it and us does not",
		  "HTTP/1.1 200 OK\r\nConnection: close, x-hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nTransfer-Encoding: chunked\r\nA: 1\r\n\r\n",
		  "A: 1\nDate: now\n" },
		{ "Upgrade in its 101 only",
		  "HTTP/1.1 101 x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nA: 1\r\n\r\n",
		  "Upgrade: websocket\nA: 1\n" },
		{ "not elsewhere",
		  "HTTP/1.1 426 x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n",
		  "Content-Length: 0\nDate: now\n" },
	};
	static struct head h;
	char got[2048];

	(void)state;
	assert_int_equal(forward_init(&fw, NULL, NULL), 0);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct head_scan scan = { 0 };
		struct parse_fault fault;

		if (parse_response(&scan, cases[i].text, strlen(cases[i].text), METHOD_GET, &h,
				   &fault) <= 0)
			fail_msg("%s: %s", cases[i].name, fault.why);
		show(forward_response(&fw, &h), got, sizeof(got));
		CHECK_STR(cases[i].name, got, cases[i].want);
	}
	forward_fini(&fw);
}

static void too_much(void **state)
{
	static struct exchange x;
	struct exchange_peer peer;
	char text[8192];
	size_t n = (size_t)sprintf(text, "GET / HTTP/1.1\r\nHost: a.test\r\n");

	(void)state;
	for (unsigned i = 0; i < HEAD_MAX_FIELDS - 1; i++)
		n += (size_t)sprintf(text + n, "F%u: v\r\n", i);
	strcpy(text + n, "\r\n");
	assert_int_equal(forward_init(&fw, NULL, NULL), 0);
	set_up(&x, &peer, "192.0.2.7", false, text);
	assert_null(forward_request(&fw, &x));
	forward_fini(&fw);
}

/* Whom rules about addresses mean. */
static void clients(void **state)
{
	static const struct {
		const char *name, *from, *said, *want;
	} cases[] = {
		{ "the peer", "192.0.2.7", "", "192.0.2.7" },
		{ "who says so himself", "192.0.2.7", "X-Forwarded-For: 198.51.100.1\r\n",
		  "192.0.2.7" },
		{ "a proxy's client", "10.1.2.3", "X-Forwarded-For: 198.51.100.1\r\n",
		  "198.51.100.1" },
		{ "a proxy that says nothing", "10.1.2.3", "", "10.1.2.3" },
		{ "two proxies", "10.1.2.3", "X-Forwarded-For: 198.51.100.1, 10.9.9.9\r\n",
		  "198.51.100.1" },
		{ "two fields", "10.1.2.3",
		  "X-Forwarded-For: 198.51.100.1\r\nX-Forwarded-For: 10.9.9.9\r\n",
		  "198.51.100.1" },
		{ "what the client put in front", "10.1.2.3",
		  "X-Forwarded-For: 203.0.113.9, 198.51.100.1\r\n", "198.51.100.1" },
		{ "proxies only", "10.1.2.3", "X-Forwarded-For: 10.8.8.8,10.9.9.9\r\n", "10.8.8.8" },
		{ "with a port", "10.1.2.3", "X-Forwarded-For: 198.51.100.1:4711\r\n",
		  "198.51.100.1" },
		{ "v6", "fd00::9", "X-Forwarded-For: 2001:db8::1\r\n", "2001:db8::1" },
		{ "v6 with a port", "fd00::9", "X-Forwarded-For: [2001:db8::1]:4711\r\n",
		  "2001:db8::1" },
		{ "nonsense", "10.1.2.3", "X-Forwarded-For: 203.0.113.9, unknown, 10.9.9.9\r\n",
		  "10.9.9.9" },
		{ "nothing in it", "10.1.2.3", "X-Forwarded-For: \r\n", "10.1.2.3" },
	};
	static const char *const trusted[] = { "10.0.0.0/8", "fd00::/8", NULL };
	static struct exchange x;
	struct exchange_peer peer;
	uint8_t got[RANGE_IP_BYTES], want[RANGE_IP_BYTES];
	char text[512];

	(void)state;
	assert_int_equal(forward_init(&fw, trusted, NULL), 0);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: a\r\n%s\r\n", cases[i].said);
		set_up(&x, &peer, cases[i].from, false, text);
		forward_client_ip(&fw, &x, got);
		assert_true(range_ip_parse(slice_str(cases[i].want), want));
		if (memcmp(got, want, sizeof(got)) != 0)
			fail_msg("%s: not %s", cases[i].name, cases[i].want);
	}
	forward_fini(&fw);
}

static void edits(void **state)
{
	static const char sent[] = "A: 1\r\nCookie: x\r\nB: 2\r\nA: 3\r\n",
			  spelt[] = "Remote_User: 1\r\nremote-user: 2\r\nUser-Remote: 3\r\n";
	static const struct {
		const char *lines, *want, *sent;
	} cases[] = {
		{ "A: new", "Cookie: x\nB: 2\nA: new\n", sent },
		{ "a: new\n+A: more", "Cookie: x\nB: 2\na: new\nA: more\n", sent },
		{ "-cookie", "A: 1\nB: 2\nA: 3\n", sent },
		{ "-A\n-B\n-Cookie\n-D", "", sent },
		{ "Cookie: y", "A: 1\nB: 2\nA: 3\nCookie: y\n", sent },
		/* What an application would take for the field that is set or removed. */
		{ "Remote-User: me", "User-Remote: 3\nRemote-User: me\n", spelt },
		{ "-REMOTE_USER", "User-Remote: 3\n", spelt },
		{ "+Remote-User: me",
		  "Remote_User: 1\nremote-user: 2\nUser-Remote: 3\nRemote-User: me\n", spelt },
	};
	static struct exchange x;
	struct exchange_peer peer;
	char got[1024], text[1024];

	(void)state;
	assert_int_equal(forward_init(&fw, NULL, NULL), 0);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct pair pair = { "request-header", cases[i].lines };
		struct upstream_policy p;
		const struct head *h;

		assert_int_equal(policy_parse(&p, &(struct pairs){ &pair, 1 }, NULL), 0);
		snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: a\r\n%s\r\n", cases[i].sent);
		set_up(&x, &peer, "192.0.2.7", false, text);
		h = forward_request(&fw, &x);
		for (unsigned f = h->nfields; f-- > 0;)
			if (slice_starts(h->fields[f].name, SLICE("X-")))
				head_remove(&fw.head, h->fields[f].name);
		assert_true(forward_edit(&fw, &p.request_headers));
		show(h, got, sizeof(got));
		CHECK_STR(cases[i].lines, got, cases[i].want);
		for (unsigned f = 0; f < h->nfields; f++)
			if (head_find(h, h->fields[f].name) > &h->fields[f])
				fail_msg("%s: the first one is not found", cases[i].lines);
		policy_fini(&p);
	}
	forward_fini(&fw);
}

static void ranges(void **state)
{
	static const char *const bad[] = { "10.0.0.0/33", "10.0.0",	  "x", "", "10.0.0.0/",
					   "::1/129",	  "10.0.0.0/8/8", "/8" };
	static const struct {
		const char *range, *from;
		bool want;
	} cases[] = {
		{ "10.0.0.0/8", "10.255.0.1", true },
		{ "10.0.0.0/8", "11.0.0.1", false },
		{ "192.168.4.0/22", "192.168.7.255", true },
		{ "192.168.4.0/22", "192.168.8.0", false },
		{ "127.0.0.1", "127.0.0.1", true },
		{ "127.0.0.1", "127.0.0.2", false },
		{ "0.0.0.0/0", "8.8.8.8", true },
		{ "0.0.0.0/0", "2001:db8::1", false },
		{ "2001:db8::/33", "2001:db8:7fff::1", true },
		{ "2001:db8::/33", "2001:db8:8000::1", false },
	};
	static struct exchange x;
	struct exchange_peer peer;
	struct err err;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		const char *const list[] = { bad[i], NULL };

		CHECK_INT(bad[i], forward_init(&fw, list, &err), -EINVAL);
		assert_non_null(strstr(err.text, bad[i]));
		forward_fini(&fw);
	}
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const char *const list[] = { cases[i].range, NULL };

		assert_int_equal(forward_init(&fw, list, &err), 0);
		set_up(&x, &peer, cases[i].from, false,
		       "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Proto: HTTPS\r\n\r\n");
		CHECK_INT(cases[i].from, forward_is_https(&fw, &x), cases[i].want);
		forward_fini(&fw);
	}
}

static void pages(void **state)
{
	static const struct {
		const char *name, *accept;
		bool html;
	} cases[] = {
		{ "nothing said", "", false },
		{ "curl", "Accept: */*\r\n", false },
		{ "a browser",
		  "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n",
		  true },
		{ "an application", "Accept: application/json, text/plain, */*\r\n", false },
		{ "JSON first", "Accept: application/json, text/html\r\n", false },
		{ "HTML first, in two fields",
		  "Accept: Text/HTML;q=0.9\r\nAccept: application/problem+json\r\n", true },
		{ "HTML refused", "Accept: text/html;q=0, */*\r\n", false },
	};
	static struct exchange x;
	struct exchange_peer peer;
	char text[512], body[ERRORS_BODY_MAX];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: a\r\n%s\r\n",
			 cases[i].accept);
		set_up(&x, &peer, "192.0.2.7", false, text);
		CHECK_INT(cases[i].name, errors_want_html(&x.req), cases[i].html);
	}
	body[errors_body(body, 503, "Nothing.", "id-1", false)] = '\0';
	assert_string_equal(
		body, "{\"type\":\"about:blank\",\"title\":\"Service Unavailable\",\"status\":503,"
		      "\"detail\":\"Nothing.\",\"instance\":\"id-1\"}\n");
	body[errors_body(body, 502, "Nothing.", "id-1", true)] = '\0';
	assert_non_null(
		strstr(body, "<h1>502 Bad Gateway</h1><p>Nothing.</p><p><small>Request id-1<"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests), cmocka_unit_test(upgrades), cmocka_unit_test(responses),
		cmocka_unit_test(switches), cmocka_unit_test(hops),
		cmocka_unit_test(clients),  cmocka_unit_test(edits),
		cmocka_unit_test(too_much), cmocka_unit_test(ranges),	cmocka_unit_test(pages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
