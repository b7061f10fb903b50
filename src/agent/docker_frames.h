/* The framing of log and attach streams of containers without a terminal: [stream, 0, 0, 0, length as 4 bytes big endian], content. */
#ifndef TEMPS_AGENT_DOCKER_FRAMES_H
#define TEMPS_AGENT_DOCKER_FRAMES_H

#include <sys/types.h>

#include "base/slice.h"

struct docker_frames {
	uint8_t head[8];
	uint8_t have;	/* bytes of head so far */
	uint32_t left;	/* content bytes of this frame still to come */
	bool timed;	/* to be set before the first byte: lines have timestamps. An engine gives one to each 16 KiB of a long
			 * line; those inside a line are left out */
	uint8_t skip;	/* bytes of such a timestamp still to come */
	bool open[3];	/* each stream's last frame did not end its line */
};

void docker_frames_init(struct docker_frames *f);
/* Looks at p[0..n), which follows what was looked at before. Returns how many bytes of frame heads are done with; <*content> is the run of content
 * behind them, inside p[0..n), empty when there is none yet: say with docker_frames_taken() how much of it is done with before the next call.
 * -EBADMSG: not a frame (another stream number than 0..2, padding not 0). Any split of the bytes gives the same content. */
ssize_t docker_frames_next(struct docker_frames *f, const char *p, size_t n, struct slice *content);
void docker_frames_taken(struct docker_frames *f, size_t n);
/* Is the stream between two frames? At its end anything else means it was cut. */
bool docker_frames_at_edge(const struct docker_frames *f);

#endif
