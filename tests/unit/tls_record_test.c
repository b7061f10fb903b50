/* TLS 1.3 records: what RFC 8448 says they look like, and everything that must not be opened. */
#include <openssl/crypto.h>

#include "base/text.h"
#include "check.h"
#include "reactor/tls_record.h"

static struct tls_suite suites[3];

static int set_up(void **state)
{
	(void)state;
	return !tls_suite_init(&suites[0], 0x1301, "AES-128-GCM", "SHA256", 32) ||
	       !tls_suite_init(&suites[1], 0x1302, "AES-256-GCM", "SHA384", 48) ||
	       !tls_suite_init(&suites[2], 0x1303, "ChaCha20-Poly1305", "SHA256", 32);
}

static int tear_down(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(suites); i++)
		tls_suite_fini(&suites[i]);
	return 0;
}

static size_t unhex(const char *hex, uint8_t *out)
{
	size_t n = strlen(hex) / 2;

	assert_int_equal(text_unhex(slice_str(hex), out, n), 0);
	return n;
}

/* RFC 8448 §3: the server's application traffic secret, its ticket's record comes first, then 50
 * bytes of content and the alert. */
static void is_as_the_rfc_traces_it(void **state)
{
	struct tls_keys k = { 0 };
	uint8_t content[50], want[128], got[128];
	size_t n;

	(void)state;
	unhex("a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643", k.secret);
	assert_true(tls_keys_init(&k, &suites[0], true));
	k.sequence = 1;
	for (size_t i = 0; i < sizeof(content); i++)
		content[i] = (uint8_t)i;
	n = unhex(
		"17030300432e937e11ef4ac740e538ad36005fc4a46932fc3225d05f82aa1b36e30efaf97d90e6dffc602d"
		"cb501a59a8fcc49c4bf2e5f0a21c0047c2abf332540dd032e167c2955d",
		want);
	assert_int_equal(tls_record_seal(&k, TLS_DATA, content, sizeof(content), got), n);
	assert_memory_equal(got, want, n);
	n = unhex("1703030013b58fd67166ebf599d24720cfbe7efa7a8864a9", want);
	assert_int_equal(tls_record_seal(&k, TLS_ALERT, (const uint8_t *)"\x01\x00", 2, got), n);
	assert_memory_equal(got, want, n);
	tls_keys_fini(&k);
}

struct pair {
	struct tls_keys tx, rx;
};

static void pair_init(struct pair *p, const struct tls_suite *suite)
{
	memset(p, 0, sizeof(*p));
	memset(p->tx.secret, 0x5a, suite->hash_bytes);
	memset(p->rx.secret, 0x5a, suite->hash_bytes);
	assert_true(tls_keys_init(&p->tx, suite, true));
	assert_true(tls_keys_init(&p->rx, suite, false));
}

static void pair_fini(struct pair *p)
{
	tls_keys_fini(&p->tx);
	tls_keys_fini(&p->rx);
}

static const size_t sizes[] = { 0, 1, 15, 16, 17, 1000, TLS_RECORD_BYTES };

static void comes_back(void **state)
{
	static uint8_t content[TLS_RECORD_BYTES], record[TLS_RECORD_MAX], out[TLS_RECORD_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(content); i++)
		content[i] = (uint8_t)(i * 7);
	for (size_t i = 0; i < ARRAY_LEN(suites); i++) {
		struct pair p;

		pair_init(&p, &suites[i]);
		for (size_t round = 0; round < 4 * ARRAY_LEN(sizes); round++) {
			size_t n = sizes[round % ARRAY_LEN(sizes)], whole, got = 77;
			bool in_place = round & 1;
			uint8_t type = 0, alert;

			if (in_place)
				memcpy(record + 5, content, n);
			whole = tls_record_seal(&p.tx, TLS_DATA, in_place ? record + 5 : content, n,
						record);
			assert_int_equal(whole, n + TLS_RECORD_EXTRA);
			assert_int_equal(tls_record_length(record, &alert), whole);
			assert_int_equal(tls_record_open(&p.rx, record, whole,
							 in_place ? record + 5 : out, &got, &type),
					 0);
			assert_int_equal(type, TLS_DATA);
			assert_int_equal(got, n);
			assert_memory_equal(in_place ? record + 5 : out, content, n);
			if (round == 10)
				assert_true(tls_keys_next(&p.tx) && tls_keys_next(&p.rx));
		}
		pair_fini(&p);
	}
}

static const struct {
	const char *name;
	size_t at; /* the byte that is changed, from the end when it is large */
} changes[] = { { "type", 0 },	  { "version", 1 },	{ "length", 4 },
		{ "content", 5 }, { "inner type", 25 }, { "tag", 41 } };

static void changed_bytes_are_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(changes); i++) {
		uint8_t record[64], out[64], type;
		struct pair p;
		size_t n, got;

		pair_init(&p, &suites[i % ARRAY_LEN(suites)]);
		n = tls_record_seal(&p.tx, TLS_DATA, (const uint8_t *)"twenty bytes of it..", 20,
				    record);
		assert_int_equal(n, 42);
		record[changes[i].at] ^= 1;
		CHECK_INT(changes[i].name, tls_record_open(&p.rx, record, n, out, &got, &type),
			  TLS_BAD_RECORD_MAC);
		/* And one that comes twice. */
		record[changes[i].at] ^= 1;
		CHECK_INT(changes[i].name, tls_record_open(&p.rx, record, n, out, &got, &type), 0);
		CHECK_INT(changes[i].name, tls_record_open(&p.rx, record, n, out, &got, &type),
			  TLS_BAD_RECORD_MAC);
		pair_fini(&p);
	}
}

static const struct {
	const char *name;
	const uint8_t head[5];
	uint8_t alert;
	size_t n;
} heads[] = {
	{ "data", { 23, 3, 3, 0, 100 }, 0, 105 },
	{ "any version", { 23, 9, 9, 0, 17 }, 0, 22 },
	{ "the largest", { 23, 3, 3, 0x41, 0 }, 0, TLS_RECORD_MAX },
	{ "too large", { 23, 3, 3, 0x41, 1 }, TLS_RECORD_OVERFLOW, 0 },
	{ "no room for a type", { 23, 3, 3, 0, 16 }, TLS_BAD_RECORD_MAC, 0 },
	{ "an open alert", { 21, 3, 3, 0, 2 }, TLS_UNEXPECTED_MESSAGE, 0 },
	{ "change_cipher_spec", { 20, 3, 3, 0, 1 }, TLS_UNEXPECTED_MESSAGE, 0 },
	{ "HTTP", { 'G', 'E', 'T', ' ', '/' }, TLS_UNEXPECTED_MESSAGE, 0 },
};

static void heads_are_checked(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(heads); i++) {
		uint8_t alert = 77;

		CHECK_INT(heads[i].name, tls_record_length(heads[i].head, &alert), heads[i].n);
		CHECK_INT(heads[i].name, alert, heads[i].alert);
	}
}

/* Padding is taken off; nothing but padding is an error, and so is more than a record holds. */
static void padding(void **state)
{
	static uint8_t record[TLS_RECORD_MAX + 64], out[TLS_RECORD_MAX],
		content[TLS_RECORD_BYTES + 64];
	struct pair p;
	uint8_t type;
	size_t n, got;

	(void)state;
	pair_init(&p, &suites[0]);
	memset(content, 0, sizeof(content));
	memcpy(content, "abc\x17", 4);
	n = tls_record_seal(&p.tx, 0, content, 200, record);
	assert_int_equal(tls_record_open(&p.rx, record, n, out, &got, &type), 0);
	assert_int_equal(type, TLS_DATA);
	assert_int_equal(got, 3);
	n = tls_record_seal(&p.tx, 0, content + 4, 200, record);
	assert_int_equal(tls_record_open(&p.rx, record, n, out, &got, &type),
			 TLS_UNEXPECTED_MESSAGE);
	n = tls_record_seal(&p.tx, TLS_DATA, content, TLS_RECORD_BYTES + 1, record);
	assert_int_equal(tls_record_open(&p.rx, record, n, out, &got, &type), TLS_RECORD_OVERFLOW);
	pair_fini(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(is_as_the_rfc_traces_it),
		cmocka_unit_test(comes_back),
		cmocka_unit_test(changed_bytes_are_refused),
		cmocka_unit_test(heads_are_checked),
		cmocka_unit_test(padding),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
