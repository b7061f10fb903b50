#include "control/pieces.h"

#define PIECE_BYTES 4096 /* handed to the transport at once */
#define TURN_BYTES 65536 /* about 0.3 ms */
#define PACE_MS 1	 /* the rest goes on after this */

static void pump(void *arg)
{
	struct pieces *p = arg;
	size_t moved = 0, taken;

	while (moved < TURN_BYTES) {
		while (p->out.len < PIECE_BYTES && p->more(p->arg))
			;
		if (!p->out.len) {
			reply_stream_end(p->r);
			return;
		}
		taken = reply_stream_write(p->r, p->out.data, p->out.len);
		buf_consume(&p->out, taken);
		moved += taken;
		if (p->out.len)
			return; /* on_writable() */
	}
	deadline_set(&p->pace, PACE_MS);
}

static void on_writable(void *state)
{
	struct pieces *p = state;

	if (!deadline_is_set(&p->pace))
		pump(p);
}

void pieces_init(struct pieces *p, struct api_request *r, bool (*more)(void *arg), void *arg)
{
	*p = (struct pieces){ .r = r, .more = more, .arg = arg };
	buf_init(&p->out, 0);
	deadline_init(&p->pace, r->x->loop, pump, p);
}

void pieces_answer(struct pieces *p, const char *content_type)
{
	p->r->writable = on_writable;
	reply_stream_begin(p->r, 200, content_type);
	pump(p);
}

void pieces_fini(struct pieces *p)
{
	deadline_stop(&p->pace);
	buf_fini(&p->out);
}
