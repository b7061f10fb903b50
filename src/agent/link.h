/* What can be done on a node, whichever way it is reached. `local` (agent/engine.c) calls the Docker client in this process,
 * `direct` (control/link_direct.c) speaks HTTPS to the node's agent: same operations, same answers.
 * Contract of every operation: it returns a handle, <done> comes once, later, never from inside the call and never after link_cancel(); strings in
 * results are valid during the callback only. */
#ifndef TEMPS_AGENT_LINK_H
#define TEMPS_AGENT_LINK_H

#include <sys/types.h>

#include "agent/wire.h"
#include "reactor/loop.h"

struct link;
struct link_op;		/* a running operation */

struct link_result {
	int rc;			/* 0; -ENOENT: no such container or image; -EEXIST: name taken; -EADDRINUSE: port or address taken; -EINVAL: the node refused the request; -ECOMM: transport
				 * failed (the node, its agent or engine cannot be reached; counts as a signal); -EIO: the engine failed; -EBUSY: later; -ETIMEDOUT;
				 * -ENOSPC: an image is larger than what is free on its disk */
	const char *error;	/* for people, when rc != 0 */
	bool maybe_done;	/* transport failed after sending: ask before repeating */
};

typedef void link_done_fn(void *arg, const struct link_result *res);
typedef void link_deploy_fn(void *arg, const struct link_result *res, const struct wire_deployed *d);
typedef void link_info_fn(void *arg, const struct link_result *res, const struct wire_container *c);
typedef void link_list_fn(void *arg, const struct link_result *res, const struct wire_container *list, size_t n);

struct link_image {
	const char *id;			/* of its content: "sha256:…" */
	const char *architecture;	/* "amd64", …; "": not told */
	uint64_t bytes;			/* of its layers, unpacked; 0: not told */
	bool from_registry;		/* some registry has it: it was pulled or pushed */
};
/* <image> is NULL unless res->rc is 0; -ENOENT: not there. */
typedef void link_image_fn(void *arg, const struct link_result *res, const struct link_image *image);

struct link_load {		/* an archive with one image, on its way to a node */
	const char *tag;		/* what it shall be called there; copied */
	uint64_t bytes;			/* about how much room it takes: refused with -ENOSPC when there is less; 0: not known */
	ssize_t (*upload)(void *arg, char *p, size_t n);	/* as in rpc_ops; link_resume() after -EAGAIN */
};

typedef void link_kept_fn(void *arg, const struct link_result *res, const struct wire_kept *list, size_t n);

struct link_stream {		/* callbacks of an operation that streams */
	size_t (*data)(void *arg, const char *p, size_t n);	/* taken; less pauses until link_resume() */
	void (*done)(void *arg, const struct link_result *res);
};

struct link_logs {
	bool follow, timestamps;
	uint32_t tail;		/* lines; UINT32_MAX = all */
	uint64_t since_ms;	/* 0 = from the start */
};

struct link_ops {
	/* Is the agent there? It answers by itself, whatever its engine does: only -ECOMM says no, as agents of before know no such
	 * call. NULL where there is no agent (local). */
	struct link_op *(*ping)(struct link *l, link_done_fn *done, void *arg);
	/* Create and start. Same name + same spec hash and running: succeeds with what is there; another spec hash or state: -EEXIST. */
	struct link_op *(*deploy)(struct link *l, const struct wire_deploy *d, link_deploy_fn *done, void *arg);
	struct link_op *(*start)(struct link *l, const char *id, link_done_fn *done, void *arg);
	struct link_op *(*stop)(struct link *l, const char *id, uint32_t grace_s, link_done_fn *done, void *arg);	/* already stopped: 0 */
	struct link_op *(*remove)(struct link *l, const char *id, link_done_fn *done, void *arg);			/* forced */
	struct link_op *(*info)(struct link *l, const char *id, link_info_fn *done, void *arg);
	/* Managed containers of this cluster and node, running or not. */
	struct link_op *(*list)(struct link *l, link_list_fn *done, void *arg);
	/* Plain text lines, stdout and stderr in order of arrival. */
	struct link_op *(*logs)(struct link *l, const char *id, const struct link_logs *opt, const struct link_stream *s, void *arg);
	/* Logs of an app's containers that are gone, the newest first. -ENOENT: the agent is too old to keep any. */
	struct link_op *(*kept)(struct link *l, const char *app, link_kept_fn *done, void *arg);
	/* The last <tail> lines of one of them, or all (UINT32_MAX), with timestamps. -ENOENT: it is not kept any more. */
	struct link_op *(*kept_log)(struct link *l, const char *app, const char *container, uint32_t tail, const struct link_stream *s, void *arg);
	struct link_op *(*image_inspect)(struct link *l, const char *ref, link_image_fn *done, void *arg);
	/* Progress as text lines through s->data; <registry_auth> is {"username","password","serveraddress"} JSON or NULL. Ends -ENOENT: no such image or no access. */
	struct link_op *(*image_pull)(struct link *l, const char *ref, const char *registry_auth, const struct link_stream *s, void *arg);
	/* The image as an archive, piece by piece; NULL where it cannot be had (direct). */
	struct link_op *(*image_save)(struct link *l, const char *ref, const struct link_stream *s, void *arg);
	/* Only the id is told for certain. -EBUSY: another one is on its way. A transfer that breaks off leaves nothing behind. */
	struct link_op *(*image_load)(struct link *l, const struct link_load *load, link_image_fn *done, void *arg);
	/* Container changes of this cluster and node as they happen: wire_event lines, an empty line at least every 5 s. Runs until cancelled or the stream breaks. */
	struct link_op *(*events)(struct link *l, const struct link_stream *s, void *arg);
	void (*resume)(struct link_op *op);
	void (*cancel)(struct link_op *op);	/* an operation with side effects may go on on the node */
	void (*destroy)(struct link *l);
};

struct link {
	const struct link_ops *ops;
};

#endif
