/* What an HTTP/1 connection waits for while a request is answered, for how long, and how slow a client
 * may be meanwhile. */
#include "http/h1.h"

/* Content that trickles in. Only the time in which we waited for the client counts, not that in
 * which whoever takes the content had enough of it; and it ends with the response's begin, since
 * what goes both ways at once may pause. Costs no timer: each byte that comes is a turn, and for
 * none at all there is the deadline. */
static bool content_is_too_slow(struct h1 *c, bool waits)
{
	uint64_t now_ms = loop_now_ms(c->shared->loop), bytes = c->conn->stream.bytes_in;
	bool slow;

	if (c->waits_for == H1_WAIT_CONTENT)
		c->waited_ms += (uint32_t)(now_ms - c->waited_until_ms);
	c->waited_until_ms = now_ms;
	if (!waits || c->x->responded || c->waited_ms < c->shared->config.body_timeout_ms)
		return false;
	slow = conn_is_too_slow(c->shared, bytes - c->came_mark, c->waited_ms);
	c->waited_ms = 0;
	c->came_mark = bytes;
	return slow;
}

/* A response that trickles out, when the deadline of its wait is there. What left us says nothing:
 * the kernel takes megabytes before anybody has read them. Its first window has nothing to compare
 * with. */
bool h1_response_is_too_slow(struct h1 *c)
{
	uint64_t acked = stream_acked(&c->conn->stream);
	uint64_t taken = acked > c->acked_mark ? acked - c->acked_mark : 0;
	bool slow = c->acked_known &&
		    conn_is_too_slow(c->shared, taken, c->shared->config.write_timeout_ms);

	c->acked_known = true;
	c->acked_mark = acked;
	return slow;
}

/* What an exchange waits for, and for how long. Progress pushes the limit back, but for a response:
 * there the time is a window in which enough must be taken. false: the client is too slow. */
bool h1_watch_exchange(struct h1 *c)
{
	const struct server_config *config = &c->shared->config;
	uint64_t moved = c->conn->stream.bytes_in + c->conn->stream.bytes_out;
	enum h1_wait wait = H1_WAIT_NOTHING;
	uint32_t limit_ms = 0;

	if (c->state == H1_TUNNEL) {
		wait = H1_WAIT_TUNNEL;
		limit_ms = config->tunnel_idle_ms;
	} else if (outbox_len(&c->out)) {
		wait = H1_WAIT_WRITE;
		limit_ms = config->write_timeout_ms;
	} else if (!c->x->body_done && c->x->req.body != BODY_NONE && !c->refused_more) {
		wait = H1_WAIT_CONTENT;
		limit_ms = config->body_timeout_ms;
	}
	if ((wait == H1_WAIT_CONTENT || c->waits_for == H1_WAIT_CONTENT) &&
	    content_is_too_slow(c, wait == H1_WAIT_CONTENT))
		return false;
	if (wait != c->waits_for || (moved != c->progress_bytes && wait != H1_WAIT_WRITE))
		deadline_set(&c->conn->deadline, limit_ms);
	if (wait != c->waits_for)
		c->acked_known = false;
	c->waits_for = (uint8_t)wait;
	c->progress_bytes = moved;
	return true;
}
