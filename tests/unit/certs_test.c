/* The choice of certificates: given ones, those of the front CA, the console's; and what a reload
 * may not break. */
#include "check.h"

#include <errno.h>
#include <unistd.h>

#include "base/config.h"
#include "control/certs.h"
#include "reactor/pki.h"

struct rig {
	char dir[64], cert[96], key[96];
	struct authority ca;
	struct serve_cert given;
	const char *routed[8];
	struct certs *certs;
};

static bool routed(void *arg, struct slice host)
{
	struct rig *r = arg;

	for (const char *const *p = r->routed; *p; p++)
		if (slice_eq(host, slice_str(*p)))
			return true;
	return false;
}

static void give(struct rig *r, const char *name, const char *wildcard)
{
	const char *dns[] = { name, wildcard, NULL };
	struct pki_names names = { .common_name = name, .dns = dns };
	struct buf cert, key;
	struct err err;

	buf_init(&cert, 0);
	buf_init(&key, 0);
	assert_int_equal(pki_issue(r->ca.cert_pem, r->ca.key_pem, &names, 1, &cert, &key, &err), 0);
	assert_int_equal(file_write(r->cert, cert.data, cert.len, 0600, &err), 0);
	assert_int_equal(file_write(r->key, key.data, key.len, 0600, &err), 0);
	buf_fini(&cert);
	buf_fini(&key);
}

static int set_up(void **state)
{
	static const char *const ips[] = { "192.0.2.7", "127.0.0.1", NULL };
	struct rig *r = xcalloc(1, sizeof(*r));
	struct certs_config c = { .given = &r->given,
				  .ngiven = 1,
				  .front_ca = &r->ca,
				  .console_host = "console.example.test",
				  .ips = ips,
				  .routed = routed,
				  .arg = r };
	struct err err;

	snprintf(r->dir, sizeof(r->dir), "/tmp/certs_test.XXXXXX");
	assert_non_null(mkdtemp(r->dir));
	assert_int_equal(authority_load(&r->ca, r->dir, "front-ca", "test", true, &err), 0);
	snprintf(r->cert, sizeof(r->cert), "%s/given.pem", r->dir);
	snprintf(r->key, sizeof(r->key), "%s/given.key", r->dir);
	r->given = (struct serve_cert){ r->cert, r->key };
	give(r, "given.example.test", "*.wild.example.test");
	r->routed[0] = "app.example.test";
	r->routed[1] = "*.many.example.test";
	assert_int_equal(certs_create(&r->certs, &c, &err), 0);
	*state = r;
	return 0;
}

static int tear_down(void **state)
{
	struct rig *r = *state;
	static const char *const files[] = { "given.pem", "given.key", "front-ca.pem",
					     "front-ca.key" };
	char path[128];

	certs_destroy(r->certs);
	authority_fini(&r->ca);
	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		snprintf(path, sizeof(path), "%s/%s", r->dir, files[i]);
		(void)unlink(path);
	}
	(void)rmdir(r->dir);
	free(r);
	return 0;
}

static const struct {
	const char *sni, *name;	/* first name of the certificate that is picked */
} picks[] = {
	{ "given.example.test", "given.example.test" },
	{ "a.wild.example.test", "given.example.test" },
	{ "a.b.wild.example.test", "localhost" },
	{ "app.example.test", "app.example.test" },
	{ "x.many.example.test", "*.many.example.test" },
	{ "y.many.example.test", "*.many.example.test" },
	{ "console.example.test", "localhost" },
	{ "", "localhost" },
	{ "stranger.example.test", "localhost" },
};

static void check_picks(struct rig *r)
{
	for (size_t i = 0; i < ARRAY_LEN(picks); i++)
		CHECK_SLICE(picks[i].sni,
			    tls_cert_name(certs_pick(r->certs, slice_str(picks[i].sni)), 0),
			    picks[i].name);
}

static void test_picks(void **state)
{
	struct rig *r = *state;
	const struct tls_cert *first = certs_pick(r->certs, SLICE("app.example.test"));

	check_picks(r);
	assert_ptr_equal(first, certs_pick(r->certs, SLICE("app.example.test")));
}

static void test_console_names(void **state)
{
	static const char *const want[] = { "localhost", "console.example.test", "127.0.0.1", "::1",
					    "192.0.2.7" };
	struct rig *r = *state;
	const struct tls_cert *c = certs_pick(r->certs, SLICE(""));

	for (size_t i = 0; i < ARRAY_LEN(want); i++)
		CHECK_SLICE(want[i], tls_cert_name(c, i), want[i]);
	assert_int_equal(tls_cert_name(c, ARRAY_LEN(want)).n, 0);
}

static void test_reload(void **state)
{
	struct rig *r = *state;
	struct err err;

	give(r, "other.example.test", NULL);
	assert_int_equal(certs_reload(r->certs, &err), 0);
	CHECK_SLICE("new", tls_cert_name(certs_pick(r->certs, SLICE("other.example.test")), 0),
		    "other.example.test");
	CHECK_SLICE("old", tls_cert_name(certs_pick(r->certs, SLICE("given.example.test")), 0),
		    "localhost");
	assert_int_equal(file_write(r->cert, "nonsense", 8, 0600, &err), 0);
	assert_true(certs_reload(r->certs, &err) < 0);
	assert_non_null(strstr(err.text, r->cert));
	CHECK_SLICE("kept", tls_cert_name(certs_pick(r->certs, SLICE("other.example.test")), 0),
		    "other.example.test");
}

static void test_missing_key(void **state)
{
	struct rig *r = *state;
	struct authority a;
	char path[128];
	struct err err;

	snprintf(path, sizeof(path), "%s/front-ca.key", r->dir);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(authority_load(&a, r->dir, "front-ca", "test", true, &err), -ENOENT);
	assert_non_null(strstr(err.text, "front-ca.key"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_picks, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_console_names, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_reload, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_missing_key, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
