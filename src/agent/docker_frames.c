/* Takes the frames off a log stream, resumable at every byte. */
#include <assert.h>
#include <errno.h>

#include "agent/docker_frames.h"

void docker_frames_init(struct docker_frames *f)
{
	*f = (struct docker_frames){ 0 };
}

ssize_t docker_frames_next(struct docker_frames *f, const char *p, size_t n, struct slice *content)
{
	size_t used = 0;

	while (!f->left && used < n) {
		f->head[f->have++] = (uint8_t)p[used++];
		if (f->have < sizeof(f->head))
			continue;
		if (f->head[0] > 2 || f->head[1] || f->head[2] || f->head[3])
			return -EBADMSG;
		f->left = (uint32_t)f->head[4] << 24 | (uint32_t)f->head[5] << 16 |
			  (uint32_t)f->head[6] << 8 | f->head[7];
		f->have = 0;
	}
	*content = slice_of(p + used, MIN(n - used, f->left));
	return (ssize_t)used;
}

void docker_frames_taken(struct docker_frames *f, size_t n)
{
	assert(n <= f->left);
	f->left -= (uint32_t)n;
}

bool docker_frames_at_edge(const struct docker_frames *f)
{
	return !f->left && !f->have;
}
