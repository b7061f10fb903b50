/* Answers of API handlers: whole ones and streams. */
#include <assert.h>
#include <stdio.h>

#include "http/api_inner.h"
#include "http/date.h"
#include "http/fields.h"

void reply_field(struct api_request *r, const char *name, const char *value)
{
	struct api_call *call = api_call_of(r);

	/* A value made from somebody's input must not end the line. */
	for (const char *p = value; *p; p++)
		if (!byte_is(*p, CLASS_VALUE))
			return;
	assert(call->nfields < REPLY_MAX_FIELDS);
	buf_append(&call->fields, name, strlen(name) + 1);
	buf_append(&call->fields, value, strlen(value) + 1);
	call->nfields++;
}

static void begin(struct api_request *r, unsigned status, const char *content_type,
		  const char *length, bool end)
{
	struct api_call *call = api_call_of(r);
	const char *p = call->fields.data;
	struct head h;
	struct http_date date = { 0 };

	head_init(&h);
	h.status = (uint16_t)status;
	head_add(&h, FIELD_DATE, http_date_now(&date));
	if (content_type)
		head_add(&h, FIELD_CONTENT_TYPE, slice_str(content_type));
	if (length)
		head_add(&h, FIELD_CONTENT_LENGTH, slice_str(length));
	head_add_other(&h, SLICE("Cache-Control"), SLICE("no-store"));
	head_add(&h, FIELD_X_REQUEST_ID, slice_str(r->x->request_id));
	for (unsigned i = 0; i < call->nfields; i++) {
		const char *name = p, *value = p + strlen(p) + 1;

		head_add_other(&h, slice_str(name), slice_str(value));
		p = value + strlen(value) + 1;
	}
	if (exchange_respond(r->x, &h, end) < 0)
		exchange_abort(r->x, "answer's head too large");
}

/* Offers what is left of a whole answer; ends it when all is taken. */
static void pump(struct api_call *call)
{
	struct exchange *x = call->r.x;

	if (call->out.len) {
		struct iovec v = { call->out.data, call->out.len };

		buf_consume(&call->out, exchange_write(x, &v, 1));
	}
	if (call->out.len == 0 && !x->ended)
		exchange_end(x, NULL);
}

void reply_text(struct api_request *r, unsigned status, const char *content_type, struct slice body)
{
	struct api_call *call = api_call_of(r);

	call->handled = true;
	buf_append_slice(&call->out, body);
	call->held_status = status;
	call->held_type = content_type;
	if (!call->hold)
		reply_release(r);
}

void reply_hold(struct api_request *r)
{
	api_call_of(r)->hold = true;
}

bool reply_is_held(const struct api_request *r)
{
	const struct api_call *call = CONTAINER_OF(r, const struct api_call, r);

	return call->held_status != 0;
}

void reply_release(struct api_request *r)
{
	struct api_call *call = api_call_of(r);
	unsigned status = call->held_status;
	char length[24];

	call->hold = false;
	call->held_status = 0;
	if (!status)
		return;
	snprintf(length, sizeof(length), "%zu", call->out.len);
	if (call->out.len == 0) {
		begin(r, status, call->held_type, length, true);
	} else {
		begin(r, status, call->held_type, length, false);
		pump(call);
	}
}

void reply_drop(struct api_request *r)
{
	struct api_call *call = api_call_of(r);

	buf_clear(&call->out);
	buf_clear(&call->fields);
	call->nfields = 0;
	call->held_status = 0;
	call->hold = false;
}

void reply_json(struct api_request *r, unsigned status, struct slice body)
{
	reply_text(r, status, "application/json", body);
}

void reply_empty(struct api_request *r, unsigned status)
{
	api_call_of(r)->handled = true;
	begin(r, status, NULL, NULL, true);
}

void reply_problem(struct api_request *r, unsigned status, const char *title, const char *detail)
{
	reply_problem_with(r, status, title, detail, NULL, NULL);
}

void reply_problem_with(struct api_request *r, unsigned status, const char *title, const char *detail,
			void (*more)(struct json_out *o, const void *arg), const void *arg)
{
	struct buf body;
	struct json_out o;

	buf_init(&body, 0);
	json_out_init(&o, &body);
	json_obj(&o, NULL);
	json_put_str(&o, "type", "about:blank");
	json_put_str(&o, "title", title);
	json_put_int(&o, "status", status);
	if (detail)
		json_put_str(&o, "detail", detail);
	json_put_str(&o, "instance", r->x->request_id);
	if (more)
		more(&o, arg);
	json_obj_end(&o);
	reply_text(r, status, "application/problem+json", buf_slice(&body));
	buf_fini(&body);
}

/* ---- streams ---- */

void reply_stream_begin(struct api_request *r, unsigned status, const char *content_type)
{
	struct api_call *call = api_call_of(r);

	call->handled = call->streaming = true;
	begin(r, status, content_type, NULL, false);
}

size_t reply_stream_write(struct api_request *r, const char *p, size_t n)
{
	struct iovec v = { (void *)p, n };

	return exchange_write(r->x, &v, 1);
}

void reply_stream_end(struct api_request *r)
{
	exchange_end(r->x, NULL);
}

void reply_stream_abort(struct api_request *r, const char *why)
{
	exchange_abort(r->x, why);
}

void reply_on_writable(struct api_call *call)
{
	if (!call->streaming)
		pump(call);
	else if (call->r.writable)
		call->r.writable(call->r.state);
}
