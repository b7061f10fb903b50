/* The agent API's bodies, and the engine's answers: parsing survives anything, and what was accepted comes back the same from what we emit. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "agent/inspect.h"
#include "agent/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct json *parse(const struct buf *b)
{
	struct json *j;

	if (b->full || json_parse(&j, buf_slice(b), NULL)) {
		fprintf(stderr, "emitted what does not parse: %.*s\n", (int)b->len, b->data);
		abort();
	}
	return j;
}

static void must_equal(const struct buf *first, const struct buf *second)
{
	if (slice_eq(buf_slice(first), buf_slice(second)))
		return;
	fprintf(stderr, "%.*s\nbecame\n%.*s\n", (int)first->len, first->data, (int)second->len, second->data);
	abort();
}

static void emit_deploy(const struct wire_deploy *d, struct buf *b)
{
	struct json_out o;

	buf_init(b, 0);
	json_out_init(&o, b);
	wire_deploy_emit(d, &o);
}

static void deploy(const struct json *j)
{
	struct buf first, second;
	struct wire_deploy d;
	struct json *again;

	if (wire_deploy_parse(&d, j, NULL))
		return;
	emit_deploy(&d, &first);
	wire_deploy_fini(&d);
	again = parse(&first);
	if (wire_deploy_parse(&d, again, NULL))
		abort();
	json_free(again);
	emit_deploy(&d, &second);
	wire_deploy_fini(&d);
	must_equal(&first, &second);
	buf_fini(&first);
	buf_fini(&second);
}

static void emit_container(const struct wire_container *c, bool beat, struct buf *b)
{
	struct json_out o;

	buf_init(b, 0);
	json_out_init(&o, b);
	if (beat)
		wire_container_emit_beat(c, &o);
	else
		wire_container_emit(c, &o, NULL);
}

static void container(const struct json *j, bool beat)
{
	int (*parser)(struct wire_container *, const struct json *, struct err *) = beat ? wire_container_parse_beat : wire_container_parse;
	struct wire_container c;
	struct buf first, second;
	struct json *again;

	if (parser(&c, j, NULL))
		return;
	emit_container(&c, beat, &first);
	wire_container_fini(&c);
	again = parse(&first);
	if (parser(&c, again, NULL))
		abort();
	json_free(again);
	emit_container(&c, beat, &second);
	wire_container_fini(&c);
	must_equal(&first, &second);
	buf_fini(&first);
	buf_fini(&second);
}

static void line(struct slice text)
{
	struct wire_event e, e2;
	struct wire_pull p, p2;
	struct buf b;

	buf_init(&b, 0);
	if (!wire_event_parse(&e, text, NULL)) {
		wire_event_emit(&e, &b);
		if (wire_event_parse(&e2, slice_of(b.data, b.len - 1), NULL) || e2.time_ms != e.time_ms || e2.exit_code != e.exit_code ||
		    e2.labels.n != e.labels.n)
			abort();
		wire_event_fini(&e);
		wire_event_fini(&e2);
	}
	buf_clear(&b);
	if (!wire_pull_parse(&p, text, NULL)) {
		wire_pull_emit(&p, &b);
		if (wire_pull_parse(&p2, slice_of(b.data, b.len - 1), NULL) || p2.done != p.done || p2.rc != p.rc)
			abort();
	}
	buf_fini(&b);
}

/* The engine is trusted more than a peer, yet what it says is only bytes too. */
static void engine(const struct json *j)
{
	struct wire_container c;
	struct wire_stats s;
	struct wire_event e;
	char text[512];
	struct buf b;
	bool moving;

	if (!inspect_container(&c, j)) {
		emit_container(&c, false, &b);
		json_free(parse(&b));
		buf_fini(&b);
		wire_container_fini(&c);
	}
	inspect_stats(&s, j);
	inspect_progress(j, text, sizeof(text), &moving);
	if (!inspect_event(&e, j))
		wire_event_fini(&e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice text = slice_of(data, size);
	struct wire_capacity capacity;
	struct wire_deployed deployed;
	struct wire_image image;
	const struct json *inner;
	struct json *j;

	if (!wire_envelope_parse(&j, &inner, text, NULL))
		json_free(j);
	line(text);
	if (json_parse(&j, text, NULL))
		return 0;
	deploy(j);
	container(j, false);
	container(j, true);
	engine(j);
	if (wire_capacity_parse(&capacity, j, NULL) + wire_deployed_parse(&deployed, j, NULL) +
		    wire_image_parse(&image, j, NULL) > 0)
		abort();
	json_free(j);
	return 0;
}
