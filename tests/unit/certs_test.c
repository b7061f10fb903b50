/* The choice of certificates: given ones, those of the front CA, the console's; and what a reload
 * may not break. */
#include "check.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/config.h"
#include "control/certs.h"
#include "pump.h"
#include "reactor/pki.h"
#include "store/store.h"

struct rig {
	char dir[64], cert[96], key[96];
	struct authority ca;
	struct serve_cert given;
	const char *routed[8];
	struct loop *loop;
	uint8_t seal_key[32];
	struct cert_store *stored;
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
	assert_int_equal(loop_create(&r->loop, &err), 0);
	memset(r->seal_key, 7, sizeof(r->seal_key));
	r->stored = cert_store_create(r->seal_key);
	c.loop = r->loop;
	c.stored = r->stored;
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
	cert_store_destroy(r->stored);
	loop_destroy(r->loop);
	authority_fini(&r->ca);
	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		snprintf(path, sizeof(path), "%s/%s", r->dir, files[i]);
		(void)unlink(path);
	}
	snprintf(path, sizeof(path), "rm -rf %s", r->dir);
	(void)!system(path);
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

/* A pair whose files are replaced is read again, and only when both fit together. */
static void test_watch(void **state)
{
	struct rig *r = *state;
	struct err err;

	give(r, "fresh.example.test", NULL);
	for (int i = 0; i < 700; i++) {
		if (tls_cert_name(certs_pick(r->certs, SLICE("fresh.example.test")), 0).n ==
		    strlen("fresh.example.test"))
			break;
		ev_run(loop_ev(r->loop), EVRUN_ONCE);
	}
	CHECK_SLICE("new", tls_cert_name(certs_pick(r->certs, SLICE("fresh.example.test")), 0),
		    "fresh.example.test");
	assert_int_equal(certs_reload(r->certs, &err), 0);
}

/* ---- stored ones ---- */

static struct cert_record *stored(struct rig *r, const char *name, const char *dns1, const char *dns2)
{
	const char *dns[] = { dns1, dns2, NULL };
	struct pki_names names = { .common_name = name, .dns = dns };
	struct cert_record *record = NULL;
	struct buf cert, key;
	struct err err;

	buf_init(&cert, 0);
	buf_init(&key, 0);
	assert_int_equal(pki_issue(r->ca.cert_pem, r->ca.key_pem, &names, 9, &cert, &key, &err), 0);
	assert_int_equal(cert_record_make(&record, r->stored, slice_str(name), buf_slice(&cert),
					  buf_slice(&key), &err),
			 0);
	/* The key is nowhere in the clear. */
	assert_null(strstr(record->data, "PRIVATE"));
	buf_fini(&cert);
	buf_fini(&key);
	return record;
}

static const char *owner(struct rig *r, const char *host)
{
	const struct tls_cert *cert = cert_store_pick(r->stored, slice_str(host));

	return cert ? tls_cert_name(cert, 0).p : "nobody";
}

static void test_stored(void **state)
{
	struct rig *r = *state;

	cert_store_add(r->stored, stored(r, "b", "B.example.test", "shared.example.test"));
	cert_store_add(r->stored, stored(r, "c", "*.c.example.test", "shared.example.test"));
	CHECK_SLICE("exact", tls_cert_name(certs_pick(r->certs, SLICE("b.example.test")), 0),
		    "B.example.test");
	CHECK_SLICE("one label", tls_cert_name(certs_pick(r->certs, SLICE("x.c.example.test")), 0),
		    "*.c.example.test");
	CHECK_SLICE("two labels", tls_cert_name(certs_pick(r->certs, SLICE("x.y.c.example.test")), 0),
		    "localhost");
	/* Of two with one name the first by its record's name counts, in whatever order they came. */
	CHECK_STR("shared", owner(r, "shared.example.test"), "B.example.test");
	cert_store_add(r->stored, stored(r, "a", "a.example.test", "shared.example.test"));
	CHECK_STR("shared", owner(r, "shared.example.test"), "a.example.test");
	/* A successor that lost a name, and one that is gone. */
	cert_store_add(r->stored, stored(r, "a", "a2.example.test", NULL));
	CHECK_STR("lost", owner(r, "shared.example.test"), "B.example.test");
	CHECK_STR("lost", owner(r, "a.example.test"), "nobody");
	CHECK_STR("new", owner(r, "a2.example.test"), "a2.example.test");
	cert_store_remove(r->stored, SLICE("b"));
	CHECK_STR("gone", owner(r, "shared.example.test"), "*.c.example.test");
	CHECK_STR("gone", owner(r, "b.example.test"), "nobody");
	cert_store_remove(r->stored, SLICE("c"));
	cert_store_remove(r->stored, SLICE("never"));
	CHECK_STR("gone", owner(r, "shared.example.test"), "nobody");
}

static void on_done(void *arg, int rc, uint64_t revision)
{
	(void)revision;
	*(int *)arg = rc;
}

static void commit(struct rig *r, struct store *store, const struct cert_record *record)
{
	struct store_txn *t = store_txn_new();
	int rc = 1;

	cert_record_put(record, t);
	assert_int_equal(store_commit(store, t, on_done, &rc), 0);
	PUMP_UNTIL(r->loop, rc != 1);
	assert_int_equal(rc, 0);
}

/* As after a restart: nothing is parsed before somebody asks, and no more than the cache holds
 * stays. */
static void test_loaded(void **state)
{
	struct rig *r = *state;
	struct cert_record *record = stored(r, "kept", "kept.example.test", NULL);
	struct cert_store *again = cert_store_create(r->seal_key), *other;
	uint8_t other_key[32] = { 9 };
	struct store *store;
	char dir[128];
	struct err err;

	snprintf(dir, sizeof(dir), "%s/store", r->dir);
	assert_int_equal(store_open(&store, r->loop, dir, &err), 0);
	commit(r, store, record);
	assert_int_equal(cert_store_load(again, store, &err), 0);
	assert_null(cert_store_find(again, SLICE("kept"))->cert);
	assert_int_equal(cert_store_find(again, SLICE("kept"))->not_after_ms, record->not_after_ms);
	CHECK_SLICE("kept", tls_cert_name(cert_store_pick(again, SLICE("kept.example.test")), 0),
		    "kept.example.test");
	assert_non_null(cert_store_find(again, SLICE("kept"))->cert);
	cert_store_destroy(again);
	/* Sealed with another key: said in the log, and the name has no certificate of its own. */
	other = cert_store_create(other_key);
	assert_int_equal(cert_store_load(other, store, &err), 0);
	assert_null(cert_store_pick(other, SLICE("kept.example.test")));
	assert_null(cert_store_pick(other, SLICE("kept.example.test")));
	cert_store_destroy(other);
	store_close(store);
	cert_record_free(record);
}

static void test_refused(void **state)
{
	struct rig *r = *state;
	struct cert_record *record = NULL;
	struct err err;

	assert_int_equal(cert_record_make(&record, r->stored, SLICE("x"), r->ca.cert_pem,
					  SLICE("no key"), &err),
			 -EINVAL);
	assert_int_equal(cert_record_make(&record, r->stored, SLICE("x"), SLICE("nothing"),
					  r->ca.key_pem, &err),
			 -EINVAL);
	/* It names no host. */
	assert_int_equal(cert_record_make(&record, r->stored, SLICE("x"), r->ca.cert_pem,
					  r->ca.key_pem, &err),
			 -EINVAL);
	assert_non_null(strstr(err.text, "subjectAltName"));
	assert_null(record);
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
		cmocka_unit_test_setup_teardown(test_watch, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_stored, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_loaded, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_missing_key, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
