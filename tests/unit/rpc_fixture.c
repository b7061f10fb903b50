/* The shared part of the rpc tests. */
#include "rpc_fixture.h"

#include <errno.h>
#include <ev.h>

#define LIMIT_MS 60000 /* under valgrind reading the system's authorities alone takes seconds */

static void on_limit(void *arg)
{
	fail_msg("not within %d ms", LIMIT_MS);
	loop_stop(arg);
}

int rpc_setup(void **state)
{
	struct fixture *f = xcalloc(1, sizeof(*f));

	assert_int_equal(loop_create(&f->loop, &f->err), 0);
	assert_int_equal(rpc_create(&f->rpc, f->loop, &f->err), 0);
	deadline_init(&f->limit, f->loop, on_limit, f->loop);
	deadline_set(&f->limit, LIMIT_MS);
	peer_open(&f->peer, f->loop, "127.0.0.1", NULL);
	*state = f;
	return 0;
}

int rpc_teardown(void **state)
{
	struct fixture *f = *state;

	deadline_stop(&f->limit);
	peer_close(&f->peer);
	rpc_destroy(f->rpc);
	loop_destroy(f->loop);
	free(f);
	return 0;
}

const char *peer_url(struct fixture *f, const char *path)
{
	snprintf(f->url, sizeof(f->url), "http://127.0.0.1:%u%s", peer_port(&f->peer), path);
	return f->url;
}

/* ---- a call's callbacks ---- */

static void act(struct call *k, enum act what)
{
	const struct rpc_target to = { 0 };
	struct rpc_request req = { .method = "GET" };

	if (what == NOTHING)
		return;
	req.url = peer_url(k->f, "/ok");
	if (what == CANCEL_AND_BEGIN)
		k->other = rpc_begin(k->f->rpc, &to, &req, &plain_ops, &(struct call){ 0 });
	rpc_cancel(k->handle);
	rpc_cancel(k->other);
	k->ended = true;
	loop_stop(k->f->loop);
}

static void on_head(void *arg, int status)
{
	struct call *k = arg;

	assert_false(k->ended);
	k->heads++;
	k->status = status;
	act(k, k->in_head);
}

static size_t on_body(void *arg, const char *p, size_t n)
{
	struct call *k = arg;
	size_t took = k->bite ? MIN(k->bite, n) : n;

	assert_false(k->ended);
	assert_int_equal(k->heads, 1);
	assert_true(n > 0);
	act(k, k->in_body);
	if (k->ended)
		return n;
	buf_append(&k->body, p, took);
	if (took < n) {
		k->pauses++;
		if (k->pauses % 2)
			deadline_set(&k->later, 1);
		else
			rpc_resume(k->handle);
	}
	return took;
}

static ssize_t on_upload(void *arg, char *p, size_t n)
{
	struct call *k = arg;
	size_t len;

	assert_false(k->ended);
	act(k, k->in_upload);
	if (k->ended)
		return 0;
	if (k->upload_rc)
		return k->upload_rc;
	if (!k->pieces[k->piece])
		return 0;
	/* Each piece comes late. */
	if (k->waits == k->piece) {
		k->waits++;
		deadline_set(&k->later, 1);
		return -EAGAIN;
	}
	len = strlen(k->pieces[k->piece]);
	assert_true(len <= n);
	memcpy(p, k->pieces[k->piece++], len);
	return (ssize_t)len;
}

static void on_later(void *arg)
{
	struct call *k = arg;

	rpc_resume(k->handle);
}

static void on_done(void *arg, const struct rpc_result *res)
{
	struct call *k = arg;

	assert_false(k->ended);
	assert_non_null(res->error);
	k->rc = res->rc;
	k->status = res->status;
	k->sent = res->sent;
	snprintf(k->error, sizeof(k->error), "%s", res->error);
	if (res->body.n)
		buf_append_slice(&k->body, res->body);
	act(k, k->in_done);
	k->ended = true;
	loop_stop(k->f->loop);
}

const struct rpc_ops plain_ops = { .head = on_head, .done = on_done };
const struct rpc_ops stream_ops = { .head = on_head, .body = on_body, .done = on_done };
const struct rpc_ops upload_ops = { .head = on_head, .upload = on_upload, .done = on_done };

void call_begin(struct fixture *f, struct call *k, const struct rpc_target *to,
		  const struct rpc_request *req, const struct rpc_ops *ops)
{
	static const struct rpc_target plain;

	k->f = f;
	deadline_init(&k->later, f->loop, on_later, k);
	k->handle = rpc_begin(f->rpc, to ? to : &plain, req, ops, k);
	assert_non_null(k->handle);
	assert_false(k->ended);
}

void call_finish(struct call *k)
{
	deadline_stop(&k->later);
	buf_fini(&k->body);
}

void call_run(struct fixture *f, struct call *k, const struct rpc_target *to,
		 const struct rpc_request *req, const struct rpc_ops *ops)
{
	call_begin(f, k, to, req, ops);
	while (!k->ended)
		loop_run(f->loop);
	assert_int_equal(rpc_stats(f->rpc).active, 0);
}

void call_get(struct fixture *f, struct call *k, const char *path)
{
	struct rpc_request req = { .method = "GET", .url = peer_url(f, path) };

	*k = (struct call){ 0 };
	call_run(f, k, NULL, &req, &plain_ops);
}
