/* What the rpc tests share: a loop with an rpc and its peer, and calls that note what became of them. */
#ifndef TEMPS_TESTS_RPC_FIXTURE_H
#define TEMPS_TESTS_RPC_FIXTURE_H

#include "check.h"
#include "reactor/deadline.h"
#include "reactor/rpc.h"
#include "rpc_peer.h"

enum act { NOTHING, CANCEL, CANCEL_AND_BEGIN };

struct fixture {
	struct loop *loop;
	struct rpc *rpc;
	struct peer peer;
	struct err err;
	struct deadline limit;
	char url[96];
};

/* One call and what became of it. */
struct call {
	struct fixture *f;
	struct rpc_call *handle;
	struct rpc_call *other;		/* begun from inside a callback */
	bool ended;
	int rc, status, heads;
	bool sent;
	char error[512];
	struct buf body;

	size_t bite;			/* body: bytes taken before it pauses; 0 = all */
	unsigned pauses;
	enum act in_head, in_body, in_upload, in_done;
	struct deadline later;		/* resumes */
	const char *const *pieces;	/* upload */
	unsigned piece, waits;
	int upload_rc;
};

extern const struct rpc_ops plain_ops, stream_ops, upload_ops;

int rpc_setup(void **state);
int rpc_teardown(void **state);
#define RPC_TEST(test) cmocka_unit_test_setup_teardown(test, rpc_setup, rpc_teardown)

/* "http://127.0.0.1:PORT<path>", valid until the next one. */
const char *peer_url(struct fixture *f, const char *path);
/* Begins a call on the zeroed <k>; <to> may be NULL. */
void call_begin(struct fixture *f, struct call *k, const struct rpc_target *to,
		const struct rpc_request *req, const struct rpc_ops *ops);
/* A whole call, its result in <k>. */
void call_run(struct fixture *f, struct call *k, const struct rpc_target *to,
	      const struct rpc_request *req, const struct rpc_ops *ops);
/* The same for a plain GET; clears <k> first. */
void call_get(struct fixture *f, struct call *k, const char *path);
void call_finish(struct call *k);

#endif
