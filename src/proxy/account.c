/* What is counted and logged of a request when it is over. */
#include "proxy/access.h"
#include "proxy/endpoint.h"
#include "proxy/front_inner.h"
#include "proxy/relay.h"

/* By what the client was told; 499 for who left before. */
void relay_account(struct relay *r, const char *why)
{
	struct front *f = r->front;
	struct upstream *u = r->upstream;
	unsigned status = r->own_status ? r->own_status : r->x->status;
	unsigned hundreds = status ? MIN(status / 100u, 5) : 4;
	uint64_t began_us = r->x->started_us, took_us = loop_clock_us() - began_us;
	uint64_t counted_us = r->endless ? r->head_us - MIN(began_us, r->head_us) : took_us;

	f->stats.active--;
	f->stats.by_status[hundreds]++;
	histogram_add(&f->stats.duration, counted_us);
	f->stats.bytes_in += r->x->body_in_bytes;
	f->stats.bytes_out += r->x->body_out_bytes;
	if (u) {
		u->by_status[hundreds]++;
		histogram_add(&u->duration, counted_us);
		u->bytes_in += r->x->body_in_bytes;
		u->bytes_out += r->x->body_out_bytes;
		if (hundreds == 5)
			front_count_error(f, r->x);
	}
	if (f->access) {
		const struct access_line line = {
			.x = r->x,
			.wall_ms = loop_wall_ms(),
			.took_us = took_us,
			.sent_us = r->sent_us,
			.connect_us = r->connect_us,
			.head_us = r->head_us,
			.upstream = u ? u->name : NULL,
			.endpoint = r->attempts ? r->endpoint_text : NULL,
			.attempts = r->attempts,
			.why = why,
		};

		access_write(f->access, &line);
	}
}
