/* Content kept for a second attempt: all of it or nothing. */
#include "check.h"

#include "proxy/replay.h"

static unsigned read_back(const struct replay *rp, char *out)
{
	uint32_t at = 0;
	const uint8_t *p;
	size_t n;

	while ((p = replay_run(rp, at, &n))) {
		memcpy(out + at, p, n);
		at += (uint32_t)n;
	}
	return at;
}

static void keeps(void **state)
{
	static char data[REPLAY_BLOCKS * REPLAY_BLOCK_BYTES], back[sizeof(data)];
	struct pool pool;
	struct replay rp;

	(void)state;
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (char)(i * 7 + i / 251);
	pool_init(&pool, "replay", REPLAY_BLOCK_BYTES, 100, 0);
	/* In pieces of every kind of size, up to the very limit. */
	for (size_t piece = 1; piece < 20000; piece = piece * 3 + 1) {
		rp = (struct replay){ 0 };
		for (size_t at = 0; at < sizeof(data); at += piece)
			replay_keep(&rp, &pool, sizeof(data), data + at,
				    MIN(piece, sizeof(data) - at));
		assert_false(rp.lost);
		assert_int_equal(read_back(&rp, back), sizeof(data));
		assert_memory_equal(data, back, sizeof(data));
		replay_keep(&rp, &pool, sizeof(data), data, 1);
		assert_true(rp.lost);
		assert_int_equal(read_back(&rp, back), 0);
		assert_int_equal(pool.used, 0);
	}
	pool_fini(&pool);
}

static void runs_short(void **state)
{
	static const char data[3 * REPLAY_BLOCK_BYTES];

	(void)state;
	for (uint32_t cap = 0; cap < 4; cap++) {
		struct pool pool;
		struct replay rp;

		pool_init(&pool, "replay", REPLAY_BLOCK_BYTES, cap, 0);
		rp = (struct replay){ 0 };
		for (unsigned i = 0; i < 3; i++)
			replay_keep(&rp, &pool, 65536, data, REPLAY_BLOCK_BYTES);
		assert_int_equal(rp.lost, cap < 3);
		assert_int_equal(rp.n, cap < 3 ? 0 : sizeof(data));
		replay_drop(&rp, &pool);
		assert_true(rp.lost);
		assert_int_equal(pool.used, 0);
		pool_fini(&pool);
	}
}

static void empty_is_whole(void **state)
{
	struct pool pool;
	struct replay rp;

	(void)state;
	pool_init(&pool, "replay", REPLAY_BLOCK_BYTES, 1, 0);
	rp = (struct replay){ 0 };
	replay_drop(&rp, &pool);
	assert_false(rp.lost);
	pool_fini(&pool);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keeps),
		cmocka_unit_test(runs_short),
		cmocka_unit_test(empty_is_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
