/* Upstream connections: what those of both HTTP versions share. */
#include <errno.h>
#include <stdlib.h>

#include "http/client_h1.h"
#include "http/client_h2.h"

#define IDLE_BLOCKS_MAX 256 /* 4 MiB kept by a quiet process */
#define IDLE_OBJECTS_MAX 256
#define USER_TIMEOUT_MS 1500 /* from the first retransmission on: 2 s in all */
#define UNHEARD_MAX_BYTES 49152
#define PATIENT_MS 60000
#define SILENCE_S 15	 /* before the first probe */
#define SILENCE_MS 25000 /* on unacknowledged data where silence is usual */
#define STREAMS_MAX (1u << 20) /* each belongs to a request of a client, which is counted there */

/* ---- the pool ---- */

int client_pool_create(struct client_pool **out, struct loop *l, uint32_t max, struct err *err)
{
	struct client_pool *p;
	uint32_t blocks = max < UINT32_MAX / 3 ? 3 * max : max;

	if (max == 0)
		return err_say(err, -EINVAL, "no upstream connection is allowed");
	p = xcalloc(1, sizeof(*p));
	p->loop = l;
	p->user_timeout_ms = USER_TIMEOUT_MS;
	p->max_open = max;
	list_init(&p->idle);
	/* Twice as many: those that are closed live on until their turn ends. */
	pool_init(&p->clients, "upstream connections", sizeof(struct client_h1),
		  max < UINT32_MAX / 2 ? 2 * max : max, MIN(max, IDLE_OBJECTS_MAX));
	pool_init(&p->heads, "response heads", sizeof(struct head), max,
		  MIN(max, IDLE_OBJECTS_MAX));
	pool_init(&p->blocks, "upstream blocks", INBOX_BLOCK_BYTES, blocks,
		  MIN(MIN(blocks, max / 4 + 16), IDLE_BLOCKS_MAX));
	/* Few: they make what flows cheaper, and what stands still, because a client takes nothing,
	 * should not fill memory with them. */
	pool_init(&p->big_blocks, "big upstream blocks", CLIENT_BIG_BLOCK_BYTES, MAX(max / 32, 8),
		  8);
	pool_init(&p->h2_blocks, "HTTP/2 upstream blocks", CLIENT_H2_BLOCK_BYTES, MAX(max / 16, 16),
		  8);
	pool_init(&p->conns, "HTTP/2 upstream connections", sizeof(struct client_h2_conn),
		  max < UINT32_MAX / 2 ? 2 * max : max, MIN(max, IDLE_OBJECTS_MAX));
	pool_init(&p->streams, "upstream streams", sizeof(struct client_h2), STREAMS_MAX,
		  IDLE_OBJECTS_MAX);
	h2_mem_init(&p->h2_memory);
	*out = p;
	return 0;
}

static void pool_free(void *arg)
{
	struct client_pool *p = arg;

	pool_fini(&p->clients);
	pool_fini(&p->heads);
	pool_fini(&p->blocks);
	pool_fini(&p->big_blocks);
	pool_fini(&p->h2_blocks);
	pool_fini(&p->conns);
	pool_fini(&p->streams);
	h2_mem_fini(&p->h2_memory);
	free(p->h2_input);
	free(p);
}

void client_pool_destroy(struct client_pool *p)
{
	/* After the connections' own memory, which was deferred before this. */
	if (p)
		loop_defer(p->loop, &p->reap, pool_free, p);
}

void client_pool_user_timeout(struct client_pool *p, uint32_t ms)
{
	p->user_timeout_ms = ms;
}

const struct client_stats *client_stats(const struct client_pool *p)
{
	return &p->stats;
}

void client_each_pool(const struct client_pool *p, pool_each_fn *each, void *arg)
{
	each(arg, &p->clients);
	each(arg, &p->heads);
	each(arg, &p->blocks);
	each(arg, &p->big_blocks);
	each(arg, &p->h2_blocks);
	each(arg, &p->conns);
	each(arg, &p->streams);
}

/* ---- what both kinds of connection begin with ---- */

/* The connection that idles longest goes; false: none does. */
static bool make_place(struct client_pool *p)
{
	struct client_idle *oldest = LIST_LAST(&p->idle, struct client_idle, link);

	if (oldest)
		oldest->drop(oldest);
	return oldest;
}

uint32_t client_connected(struct client_pool *p, uint64_t opened_us)
{
	uint64_t took_us = loop_turn_us(p->loop) - opened_us;

	histogram_add(&p->stats.connect, took_us);
	return (uint32_t)MIN(MAX(took_us, 1), UINT32_MAX);
}

static uint32_t unacked_limit_ms(const struct client_pool *p, const struct client_patience *patience,
				 uint32_t patient_ms)
{
	uint32_t ms = patience->silence == SILENCE_USUAL && p->user_timeout_ms ? SILENCE_MS
									       : p->user_timeout_ms;

	return patience->on ? MAX(MAX(patient_ms, PATIENT_MS), ms) : ms;
}

void client_expect_silence(struct client_pool *p, struct client_patience *patience, struct stream *s,
			   enum client_silence silence)
{
	enum client_silence was = patience->silence;

	patience->silence = silence;
	if (was == silence || !p->user_timeout_ms)
		return;
	if (was == SILENCE_BRIEF || silence == SILENCE_BRIEF)
		stream_probe_after(s, silence == SILENCE_BRIEF ? 1 : SILENCE_S);
	if (was == SILENCE_USUAL || silence == SILENCE_USUAL)
		stream_user_timeout(s, unacked_limit_ms(p, patience, 0));
}

void client_be_patient(struct client_pool *p, struct client_patience *patience, struct stream *s,
		       uint32_t patient_ms)
{
	bool on;

	if (s->bytes_in != patience->heard_bytes) {
		patience->heard_bytes = s->bytes_in;
		patience->sent_bytes = s->bytes_out;
	}
	on = s->bytes_out - patience->sent_bytes > UNHEARD_MAX_BYTES;
	if (on == patience->on)
		return;
	patience->on = on;
	stream_user_timeout(s, unacked_limit_ms(p, patience, patient_ms));
}

int client_connect(struct client_pool *p, struct stream *s, const struct addr *to,
		   void (*ready)(void *arg, int events), void *arg)
{
	int rc;

	if (p->stats.open >= p->max_open && !make_place(p))
		return -ENOMEM;
	rc = stream_connect(s, p->loop, to, p->user_timeout_ms, ready, arg);
	/* Descriptors are scarcer than our own cap. */
	if ((rc == -EMFILE || rc == -ENFILE) && make_place(p))
		rc = stream_connect(s, p->loop, to, p->user_timeout_ms, ready, arg);
	if (rc < 0) {
		p->stats.failed_connects++;
		return rc;
	}
	p->stats.opened++;
	p->stats.open++;
	return 0;
}
