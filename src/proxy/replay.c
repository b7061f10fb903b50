/* Keeps request content for a second attempt. */
#include "proxy/replay.h"

#include <string.h>

void replay_drop(struct replay *rp, struct pool *blocks)
{
	unsigned used = (rp->n + REPLAY_BLOCK_BYTES - 1) / REPLAY_BLOCK_BYTES;

	for (unsigned i = 0; i < used; i++)
		pool_put(blocks, rp->block[i]);
	rp->lost = rp->lost || rp->n > 0;
	rp->n = 0;
}

void replay_keep(struct replay *rp, struct pool *blocks, uint32_t max_bytes, const char *p,
		 size_t n)
{
	if (rp->lost || n == 0)
		return;
	if (n > MIN(max_bytes, REPLAY_BLOCKS * REPLAY_BLOCK_BYTES) - rp->n) {
		replay_drop(rp, blocks);
		rp->lost = true;
		return;
	}
	while (n) {
		uint32_t in_block = rp->n % REPLAY_BLOCK_BYTES, at = rp->n / REPLAY_BLOCK_BYTES;
		size_t take = MIN(n, REPLAY_BLOCK_BYTES - in_block);

		if (in_block == 0 && !(rp->block[at] = pool_get(blocks))) {
			replay_drop(rp, blocks);
			rp->lost = true;
			return;
		}
		memcpy(rp->block[at] + in_block, p, take);
		rp->n += (uint32_t)take;
		p += take;
		n -= take;
	}
}

const uint8_t *replay_run(const struct replay *rp, uint32_t at, size_t *n)
{
	uint32_t in_block = at % REPLAY_BLOCK_BYTES;

	*n = at < rp->n ? MIN(rp->n - at, REPLAY_BLOCK_BYTES - in_block) : 0;
	return *n ? rp->block[at / REPLAY_BLOCK_BYTES] + in_block : NULL;
}
