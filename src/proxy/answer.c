/* Writes our own answers through the same exchange that upstream answers take. */
#include "proxy/answer.h"

#include <errno.h>
#include <stdio.h>

#include "proxy/errors.h"
#include "proxy/front_inner.h"
#include "proxy/grpc.h"
#include "proxy/relay.h"

#define RETRY_AFTER_S SLICE("1")

int answer_go_on(struct relay *r)
{
	char body[ERRORS_BODY_MAX];
	/* Made again for each piece, so that nobody keeps it. */
	size_t n = errors_body(body, r->x->status, r->detail, r->x->request_id,
			       errors_want_html(&r->x->req));
	struct iovec iov = { .iov_base = body + r->answered, .iov_len = n - r->answered };

	r->answered += (uint16_t)exchange_write(r->x, &iov, 1);
	if (r->answered < n)
		return -EAGAIN;
	exchange_end(r->x, NULL);
	return 0;
}

/* In the words of gRPC, whose clients follow no redirects. */
static int answer_call(struct relay *r, unsigned status, const char *detail)
{
	struct head h;

	head_init(&h);
	h.status = 200;
	head_add(&h, FIELD_CONTENT_TYPE, SLICE("application/grpc"));
	head_add(&h, FIELD_DATE, http_date_now(&r->front->forward.date));
	head_add(&h, FIELD_X_REQUEST_ID, slice_str(r->x->request_id));
	grpc_put_status(&h, status, detail ? detail : "This is served at another address.");
	return exchange_respond(r->x, &h, true);
}

int answer_begin(struct relay *r, unsigned status, const char *detail, struct slice location)
{
	bool html = errors_want_html(&r->x->req), bare = location.n || status == 204,
	     empty = bare || r->x->req.method_id == METHOD_HEAD;
	char body[ERRORS_BODY_MAX], length[16];
	struct head h;
	int rc;

	r->detail = detail;
	r->own_status = (uint16_t)status;
	if ((status >= 500 || location.n) && grpc_is(&r->x->req))
		return answer_call(r, status, detail);
	head_init(&h);
	h.status = (uint16_t)status;
	h.has_length = true;
	h.content_length = bare ? 0 : errors_body(body, status, detail, r->x->request_id, html);
	snprintf(length, sizeof(length), "%u", (unsigned)h.content_length);
	if (status != 204)
		head_add(&h, FIELD_CONTENT_LENGTH, slice_str(length));
	head_add(&h, FIELD_DATE, http_date_now(&r->front->forward.date));
	head_add(&h, FIELD_X_REQUEST_ID, slice_str(r->x->request_id));
	if (location.n)
		head_add(&h, FIELD_LOCATION, location);
	if (!bare) {
		head_add(&h, FIELD_CONTENT_TYPE, errors_content_type(html));
		head_add_other(&h, SLICE("Cache-Control"), SLICE("no-store"));
	}
	if (status == 401)
		head_add_other(&h, SLICE("WWW-Authenticate"),
			       SLICE("Basic realm=\"restricted\", charset=\"UTF-8\""));
	/* A rate is whole requests a second: there is one more within it. */
	if (status == 503 || status == 429)
		head_add(&h, FIELD_RETRY_AFTER, RETRY_AFTER_S);
	if (status == 405 || status == 204)
		head_add_other(&h, SLICE("Allow"),
			       SLICE("GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS"));
	rc = exchange_respond(r->x, &h, empty);
	return rc < 0 || empty ? rc : answer_go_on(r);
}

/* ---- without a relay ---- */

static size_t on_shed_body(void *arg, const char *p, size_t n)
{
	(void)arg;
	(void)p;
	return n;
}

static void on_shed_body_end(void *arg, const struct head *trailers)
{
	(void)arg;
	(void)trailers;
}

static void on_shed_writable(void *arg)
{
	(void)arg;
}

static void on_shed_closed(void *arg, const char *why)
{
	(void)arg;
	(void)why;
}

static const struct exchange_events shed_events = {
	.body = on_shed_body,
	.body_end = on_shed_body_end,
	.writable = on_shed_writable,
	.closed = on_shed_closed,
};

void answer_shed(struct exchange *x)
{
	struct head h;

	head_init(&h);
	h.status = 503;
	h.has_length = true;
	head_add(&h, FIELD_CONTENT_LENGTH, SLICE("0"));
	head_add(&h, FIELD_RETRY_AFTER, RETRY_AFTER_S);
	x->events = &shed_events;
	x->arg = NULL;
	if (exchange_respond(x, &h, true) < 0)
		exchange_abort(x, "no memory for the request");
}
