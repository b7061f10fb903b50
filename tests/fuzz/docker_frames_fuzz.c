/* Log frames: any split of the bytes gives the same content and the same verdict. */
#include <stdint.h>
#include <stdlib.h>

#include "agent/docker_frames.h"
#include "base/buf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Feeds p[0..n) in pieces whose lengths <seed> decides; true when the frames are good so far. */
static bool run(const char *p, size_t n, uint32_t seed, bool timed, struct buf *out, bool *at_edge)
{
	struct docker_frames f;
	struct slice content;
	size_t piece, used;
	ssize_t heads;

	docker_frames_init(&f);
	f.timed = timed;
	while (n) {
		seed = seed * 1664525 + 1013904223;
		piece = seed ? MIN(n, 1 + (seed >> 24) % 13) : n;
		for (used = 0; used < piece;) {
			heads = docker_frames_next(&f, p + used, piece - used, &content);
			if (heads < 0)
				return false;
			if ((size_t)heads + content.n > piece - used || (!heads && !content.n))
				abort();
			buf_append_slice(out, content);
			docker_frames_taken(&f, content.n);
			used += (size_t)heads + content.n;
		}
		p += piece;
		n -= piece;
	}
	*at_edge = docker_frames_at_edge(&f);
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf whole, split;
	bool good, edge = false, split_edge = false;

	if (size < 4)
		return 0;
	buf_init(&whole, 0);
	buf_init(&split, 0);
	good = run((const char *)data + 4, size - 4, 0xfffffff0, data[2] & 1, &whole, &edge);
	if (run((const char *)data + 4, size - 4, (uint32_t)data[0] << 16 | data[1], data[2] & 1, &split, &split_edge) != good)
		abort();
	if (good && (edge != split_edge || !slice_eq(buf_slice(&whole), buf_slice(&split))))
		abort();
	buf_fini(&whole);
	buf_fini(&split);
	return 0;
}
