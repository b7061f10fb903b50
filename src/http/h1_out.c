/* What a handler gives to an exchange, as HTTP/1 bytes. Nothing here calls the handler or closes
 * anything: trouble is noted, and the end of the turn acts on it. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>

#include "http/date.h"
#include "http/h1.h"

#define SKIP_MAX_BYTES 65536

static struct h1 *h1_of(struct exchange *x)
{
	return conn_of(x)->proto;
}

static void wake(struct h1 *c)
{
	conn_wake(c->conn);
}

static int put_head(struct h1 *c, const struct head *h, const struct write_framing *f)
{
	int rc = outbox_head(&c->out, write_response, h, f);

	/* What this turn has said before goes now, if it takes the room. */
	if (rc == -EMSGSIZE && outbox_len(&c->out) && !c->out.blocked &&
	    outbox_flush(&c->out, &c->conn->stream) == 0)
		rc = outbox_head(&c->out, write_response, h, f);
	if (rc == -ENOMEM)
		conn_break(c->conn, "out of buffers");
	wake(c);
	return rc;
}

/* Is the rest of the request's content short enough to be read and dropped, so that the connection
 * can go on? */
static bool can_skip_rest(const struct h1 *c)
{
	const struct exchange *x = c->x;

	if (x->body_done || x->req.body == BODY_NONE)
		return true;
	if (x->req.expect_continue && !c->continued)
		return false;
	return x->req.body == BODY_LENGTH && c->in.left + c->in.run <= SKIP_MAX_BYTES;
}

/* How the response's content is framed in the head and on the wire (RFC 9112 §6). */
static void choose_framing(struct h1 *c, const struct head *h, bool end, struct write_framing *f,
			   uint8_t *wire)
{
	const struct field *cl = head_field(h, FIELD_CONTENT_LENGTH);
	bool has_length = cl && slice_u64(cl->value, &f->length) == 0;

	*wire = BODY_NONE;
	f->body = BODY_NONE;
	if (h->status == 204)
		return;
	if (h->status == 304 || c->x->req.method_id == METHOD_HEAD) {
		f->body = has_length ? BODY_LENGTH : BODY_NONE;
		return;
	}
	if (end && !has_length) {
		f->length = 0;
		has_length = true;
	}
	if (has_length)
		f->body = BODY_LENGTH;
	else if (c->x->req.minor >= 1)
		f->body = BODY_CHUNKED;
	else
		f->body = BODY_UNTIL_CLOSE;
	*wire = f->body;
}

static int respond_tunnel(struct h1 *c, const struct head *h)
{
	const struct field *upgrade = head_field(h, FIELD_UPGRADE);
	struct write_framing f = { .upgrade = upgrade ? upgrade->value : c->x->req.protocol };
	int rc = put_head(c, h, &f);

	if (rc < 0)
		return rc;
	c->x->tunnel = c->x->responded = true;
	c->x->status = h->status;
	c->last = true;
	outbox_frame(&c->out, BODY_UNTIL_CLOSE, 0);
	h1_enter_tunnel(c);
	return 0;
}

static int on_respond(struct exchange *x, const struct head *h, bool end)
{
	struct h1 *c = h1_of(x);
	struct write_framing f = { 0 };
	uint8_t wire;
	bool last;
	int rc;

	assert(!x->responded);
	if (c->conn->broken)
		return 0;
	if (h->status == 101 && x->req.protocol.n)
		return respond_tunnel(c, h);
	choose_framing(c, h, end, &f, &wire);
	last = !x->req.keep_alive || c->shared->draining || wire == BODY_UNTIL_CLOSE ||
	       !can_skip_rest(c);
	f.close = last;
	f.keep_alive_10 = !last && x->req.minor == 0;
	rc = put_head(c, h, &f);
	if (rc == -EMSGSIZE)
		return rc;
	c->last = last;
	x->responded = true;
	x->status = h->status;
	outbox_frame(&c->out, wire, f.length);
	if (end)
		x->ops->end(x, NULL);
	return 0;
}

static void on_inform(struct exchange *x, const struct head *h)
{
	struct h1 *c = h1_of(x);
	struct write_framing f = { 0 };

	if (c->conn->broken || x->responded || x->req.minor == 0 || h->status < 100 || h->status > 199 ||
	    h->status == 101)
		return;
	if (h->status == 100) {
		/* One is enough, and only who asked for it gets it. */
		if (c->continued || !x->req.expect_continue)
			return;
		c->continued = true;
	}
	/* To a client that leaves no room for it, it is not said: the answer is what counts. */
	(void)put_head(c, h, &f);
}

static size_t on_write(struct exchange *x, const struct iovec *iov, int iovcnt)
{
	struct h1 *c = h1_of(x);
	size_t offered = 0;
	ssize_t taken;

	if (c->conn->broken || x->ended)
		return 0;
	assert(x->responded);
	for (int i = 0; i < iovcnt; i++)
		offered += iov[i].iov_len;
	taken = outbox_write(&c->out, &c->conn->stream, iov, iovcnt);
	wake(c);
	if (taken < 0) {
		conn_break(c->conn, taken == -EPROTO   ? "response longer than its Content-Length"
			    : taken == -ENOMEM ? "out of buffers"
					       : "client went away");
		return 0;
	}
	x->body_out_bytes += (uint64_t)taken;
	if ((size_t)taken < offered)
		c->want_writable = true;
	return (size_t)taken;
}

static void on_end(struct exchange *x, const struct head *trailers)
{
	struct h1 *c = h1_of(x);
	int rc;

	if (c->conn->broken || x->ended)
		return;
	if (!x->responded) {
		conn_break(c->conn, "no response");
		return;
	}
	/* Only a client that said so can be sure to see trailers (RFC 9110 §6.5.1). */
	rc = outbox_end(&c->out, x->req.te_trailers ? trailers : NULL);
	if (rc < 0) {
		conn_break(c->conn, rc == -EPROTO ? "response shorter than its Content-Length"
					  : "out of buffers");
		return;
	}
	x->ended = true;
	wake(c);
}

static void on_resume(struct exchange *x)
{
	struct h1 *c = h1_of(x);

	c->refused_more = false;
	wake(c);
}

static void on_abort(struct exchange *x, const char *why)
{
	conn_break(conn_of(x), why);
}

const struct exchange_ops h1_ops = {
	.inform = on_inform,
	.respond = on_respond,
	.write = on_write,
	.end = on_end,
	.resume = on_resume,
	.abort = on_abort,
};

void h1_write_continue(struct h1 *c)
{
	static const char line[] = "HTTP/1.1 100 Continue\r\n\r\n";

	c->continued = true;
	if (outbox_bytes(&c->out, line, sizeof(line) - 1) < 0)
		conn_break(c->conn, "out of buffers");
}

void h1_write_refusal(struct h1 *c, unsigned status, const char *why)
{
	struct write_framing f = { .body = BODY_LENGTH, .close = true };
	struct slice reason = status_reason(status);
	struct http_date date = { 0 };
	struct head h;
	char body[256];
	int n;

	n = snprintf(
		body, sizeof(body),
		"{\"type\":\"about:blank\",\"title\":\"%.*s\",\"status\":%u,\"detail\":\"%s\"}\n",
		SLICE_ARG(reason), status, why);
	head_init(&h);
	h.status = (uint16_t)status;
	head_add(&h, FIELD_CONTENT_TYPE, SLICE("application/problem+json"));
	head_add(&h, FIELD_DATE, http_date_now(&date));
	f.length = MIN((size_t)n, sizeof(body) - 1);
	if (outbox_head(&c->out, write_response, &h, &f) < 0 ||
	    outbox_bytes(&c->out, body, f.length) < 0)
		conn_break(c->conn, "out of buffers");
}
