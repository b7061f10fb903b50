/* Takes the frames off a log stream, resumable at every byte. */
#include <assert.h>
#include <errno.h>

#include "agent/docker_frames.h"

#define TIMESTAMP_BYTES 31 /* "2026-03-04T12:00:00.000000000Z " */

void docker_frames_init(struct docker_frames *f)
{
	*f = (struct docker_frames){ 0 };
}

ssize_t docker_frames_next(struct docker_frames *f, const char *p, size_t n, struct slice *content)
{
	size_t used = 0;

	while ((!f->left || f->skip) && used < n) {
		size_t skip = MIN(n - used, f->skip);

		if (skip) {
			f->skip -= (uint8_t)skip;
			f->left -= (uint32_t)skip;
			used += skip;
			continue;
		}
		f->head[f->have++] = (uint8_t)p[used++];
		if (f->have < sizeof(f->head))
			continue;
		if (f->head[0] > 2 || f->head[1] || f->head[2] || f->head[3])
			return -EBADMSG;
		f->left = (uint32_t)f->head[4] << 24 | (uint32_t)f->head[5] << 16 |
			  (uint32_t)f->head[6] << 8 | f->head[7];
		f->have = 0;
		if (f->timed && f->open[f->head[0]])
			f->skip = (uint8_t)MIN(f->left, TIMESTAMP_BYTES);
	}
	*content = slice_of(p + used, MIN(n - used, f->left));
	if (content->n && content->n == f->left)
		f->open[f->head[0]] = content->p[content->n - 1] != '\n';
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
