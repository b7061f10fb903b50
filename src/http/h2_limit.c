/* What a client may not do too much of. Everything here is legal once, and costs us more than the
 * client when it is done without end. Counted in windows of time, each measured by what useful work
 * went on in it; over the bound the connection is told to be calm and ends (RFC 9113 §10.5). */
#include "http/h2_inner.h"

#define WINDOW_MS 10000
#define NOISE_MAX 1000 /* frames a window that move nothing; a large one counts for several */
#define NOISE_EACH_REQUEST 8
#define NOISE_BYTES 512 /* content that is worth one of them: window updates come with it */
#define RESETS_MAX 200	/* a window, beyond what was completed in it */
#define SHARE_OF_SPARE 8
#define CONNECTIONS_EACH_EXCHANGE 2 /* in memory: what one keeps that does nothing */
#define HEAD_LIST_MAX (4u * HEAD_MAX_BYTES)

/* There are as many exchanges as connections, each of which may need one to an upstream. While there
 * is plenty a connection may have all its streams; as it runs short, each gets less, so that many
 * greedy ones leave room for those that come, and everybody may have one. */
bool h2_limit_share(const struct h2 *h2)
{
	const struct conn_shared *shared = h2->shared;
	uint32_t max = shared->config.max_connections;
	uint32_t active = shared->exchanges.used + h2->own->streams.used +
			  shared->stats.open / CONNECTIONS_EACH_EXCHANGE;
	uint32_t spare = active < max ? max - active : 0;

	return h2->nstreams < MAX(spare / SHARE_OF_SPARE, 1);
}

static uint64_t moved(const struct h2 *h2)
{
	return h2->content_bytes + h2->conn->stream.bytes_out;
}

static void turn_window(struct h2 *h2)
{
	uint64_t now = loop_now_ms(h2->shared->loop);

	if (now - h2->window_ms < WINDOW_MS)
		return;
	h2->window_ms = now;
	h2->window_bytes = moved(h2);
	h2->noise = h2->resets = h2->requests = h2->completed = 0;
}

void h2_limit_noise(struct h2 *h2, uint32_t length)
{
	turn_window(h2);
	h2->noise += 1 + length / NOISE_BYTES;
	if (h2->terminated || h2->noise <= NOISE_MAX ||
	    h2->noise <= NOISE_MAX + h2->requests * NOISE_EACH_REQUEST +
				 (moved(h2) - h2->window_bytes) / NOISE_BYTES)
		return;
	h2->shared->stats.h2_frame_floods++;
	h2_terminate(h2, NGHTTP2_ENHANCE_YOUR_CALM, "too many frames that move nothing");
}

void h2_limit_request(struct h2 *h2)
{
	turn_window(h2);
	h2->requests++;
}

void h2_limit_reset(struct h2 *h2)
{
	turn_window(h2);
	h2->shared->stats.h2_resets++;
	if (++h2->resets <= RESETS_MAX + h2->completed || h2->terminated)
		return;
	h2->shared->stats.h2_reset_floods++;
	h2_terminate(h2, NGHTTP2_ENHANCE_YOUR_CALM, "too many requests taken back");
}

static void end_head_flood(struct h2 *h2, const char *why)
{
	if (h2->terminated)
		return;
	h2->shared->stats.h2_head_floods++;
	h2_terminate(h2, NGHTTP2_ENHANCE_YOUR_CALM, why);
}

void h2_limit_head(struct h2 *h2)
{
	if (h2->head.list_bytes > HEAD_LIST_MAX)
		end_head_flood(h2, "a header list without end");
}

void h2_limit_continuations(struct h2 *h2)
{
	end_head_flood(h2, "a header block in too many frames");
}
