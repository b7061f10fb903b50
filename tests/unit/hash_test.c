/* SipHash against an independent computation, and the map against a plain array. */
#include "base/hash.h"
#include "check.h"

/* SipHash-1-3 of 00 01 02 … under the key 00 01 … 0f. */
static const struct {
	const char *name;
	size_t n;
	uint64_t want;
} vectors[] = {
	{ "0 bytes", 0, 0xabac0158050fc4dc },
	{ "1 bytes", 1, 0xc9f49bf37d57ca93 },
	{ "7 bytes", 7, 0xd3927d989bb11140 },
	{ "8 bytes", 8, 0x369095118d299a8e },
	{ "9 bytes", 9, 0x25a48eb36c063de4 },
	{ "15 bytes", 15, 0xd320d86d2a519956 },
	{ "63 bytes", 63, 0x9d199062b7bbb3a8 },
};

static void test_vectors(void **state)
{
	const struct hash_key key = { 0x0706050403020100, 0x0f0e0d0c0b0a0908 };
	uint8_t in[64];

	(void)state;
	for (size_t i = 0; i < sizeof(in); i++)
		in[i] = (uint8_t)i;
	for (size_t i = 0; i < ARRAY_LEN(vectors); i++)
		CHECK_INT(vectors[i].name, hash_bytes(&key, in, vectors[i].n), vectors[i].want);
}

static void test_random_keys_differ(void **state)
{
	struct hash_key a, b;

	(void)state;
	hash_key_random(&a);
	hash_key_random(&b);
	assert_memory_not_equal(&a, &b, sizeof(a));
}

/* Enough to grow several times, and to be looked at while a table is half moved. */
#define ITEMS 3000

struct item {
	char key[8];
	bool in;
};

static void expect_all(struct map *m, struct item *items)
{
	uint32_t count = 0, walked = 0, at = 0;
	struct item *i;

	for (i = items; i < items + ITEMS; i++) {
		assert_ptr_equal(map_get(m, slice_str(i->key)), i->in ? i : NULL);
		count += i->in;
	}
	while ((i = map_next(m, &at))) {
		assert_true(i->in);
		walked++;
	}
	assert_int_equal(map_count(m), count);
	assert_int_equal(walked, count);
}

/* A fixed schedule of puts and deletes, so that a failure repeats. */
static void test_map_follows_array(void **state)
{
	const struct hash_key key = { 1, 2 };
	struct item *items = xcalloc(ITEMS, sizeof(*items));
	uint32_t random = 1;
	struct map m;

	(void)state;
	map_init(&m, &key);
	for (int i = 0; i < ITEMS; i++)
		snprintf(items[i].key, sizeof(items[i].key), "k%d", i);
	expect_all(&m, items);
	for (int step = 0; step < 40000; step++) {
		struct item *i;

		random = random * 1664525 + 1013904223;
		i = &items[(random >> 8) % ITEMS];
		if (random >> 31)
			assert_ptr_equal(map_put(&m, slice_str(i->key), i), i->in ? i : NULL);
		else
			assert_ptr_equal(map_del(&m, slice_str(i->key)), i->in ? i : NULL);
		i->in = random >> 31;
		if (step % 997 == 0)
			expect_all(&m, items);
	}
	expect_all(&m, items);
	map_fini(&m);
	assert_int_equal(map_count(&m), 0);
	assert_null(map_get(&m, SLICE("k1")));
	free(items);
}

static void test_every_size_on_the_way_up(void **state)
{
	const struct hash_key key = { 3, 4 };
	struct item *items = xcalloc(ITEMS, sizeof(*items));
	struct map m;

	(void)state;
	map_init(&m, &key);
	for (int i = 0; i < ITEMS; i++)
		snprintf(items[i].key, sizeof(items[i].key), "k%d", i);
	for (int i = 0; i < 200; i++) {
		assert_null(map_put(&m, slice_str(items[i].key), &items[i]));
		items[i].in = true;
		expect_all(&m, items);
	}
	/* Down again, in another order than they came. */
	for (int i = 0; i < 200; i++) {
		struct item *gone = &items[i * 77 % 200];

		assert_ptr_equal(map_del(&m, slice_str(gone->key)), gone);
		gone->in = false;
		expect_all(&m, items);
	}
	map_fini(&m);
	free(items);
}

static void test_replace_takes_the_new_key(void **state)
{
	const struct hash_key key = { 1, 2 };
	char *first = xstrdup("same"), *second = xstrdup("same");
	struct map m;

	(void)state;
	map_init(&m, &key);
	assert_null(map_del(&m, SLICE("same")));
	assert_null(map_put(&m, slice_str(first), first));
	assert_ptr_equal(map_put(&m, slice_str(second), second), first);
	free(first);
	assert_ptr_equal(map_get(&m, SLICE("same")), second);
	assert_null(map_get(&m, SLICE("")));
	map_put(&m, SLICE(""), second);
	assert_ptr_equal(map_get(&m, SLICE("")), second);
	map_fini(&m);
	free(second);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vectors),
		cmocka_unit_test(test_random_keys_differ),
		cmocka_unit_test(test_map_follows_array),
		cmocka_unit_test(test_every_size_on_the_way_up),
		cmocka_unit_test(test_replace_takes_the_new_key),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
