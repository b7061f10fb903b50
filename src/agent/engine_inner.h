/* What the files of the engine share: the engine itself, and how an operation runs. For engine*.c only. */
#ifndef TEMPS_AGENT_ENGINE_INNER_H
#define TEMPS_AGENT_ENGINE_INNER_H

#include "agent/docker.h"
#include "agent/engine.h"
#include "agent/inspect.h"

struct engine_probe;

struct engine {
	struct link base;		/* first: engine_link() */
	struct loop *loop;
	struct docker *docker;
	char *cluster_id, *node_name;
	char *filter;			/* percent-encoded label filters of this cluster and node */
	struct list ops;
	struct log_store *logs;		/* borrowed, or NULL */
	struct engine_probe *probe;	/* keeps <state>; engine_probe.c */
};

/* One operation: some calls to Docker in turn, then one answer. Its kind's struct has it first. */
struct link_op {
	struct engine *engine;
	struct list link;
	const struct op_kind *kind;
	struct docker_call *call;	/* the step that runs */
	struct loop_task refuse;	/* answers what was wrong from the start, later as promised */
	struct loop_reap reap;
	struct link_result failure;	/* of a refused operation */
	char failure_text[256];
	void (*checked)(struct link_op *op, const struct json *inspected);	/* what op_check() goes on with */
	char id[65];			/* the container's full id, from op_check() on */
	bool gone;			/* ended or cancelled: to be asked after a call to the owner that may cancel */
	void *arg;			/* the caller's */
};

struct op_kind {
	size_t size;
	/* Gives the caller the answer; with res->rc == 0 the value too, which is in the kind's struct. */
	void (*answer)(struct link_op *op, const struct link_result *res);
	void (*fini)(struct link_op *op);	/* frees what the kind owns; optional */
	void (*resume)(struct link_op *op);	/* optional: else the running call is resumed */
};

void *op_new(struct engine *e, const struct op_kind *kind, void *arg);
/* The next step. The path is formatted; <ops> get the operation as their argument. */
void op_call(struct link_op *op, const struct docker_ops *ops, const struct docker_request *req, const char *path_fmt, ...)
	PRINTF_LIKE(4, 5);
/* Ends it: answers, frees. */
void op_finish(struct link_op *op, const struct link_result *res);
void op_done(struct link_op *op);	/* rc 0 */
/* Ends it with a failed step's error, and tells the probe when the engine was not reached. */
void op_fail(struct link_op *op, const struct docker_result *res);
/* Ends it at the end of this turn; only before its first step. */
void op_refuse(struct link_op *op, int rc, const char *fmt, ...) PRINTF_LIKE(3, 4);
void op_cancel(struct link_op *op);
void op_resume(struct link_op *op);
/* First step of everything that names a container: it is there, and ours. Else the operation ends with -ENOENT. */
void op_check(struct link_op *op, const char *id, void (*checked)(struct link_op *op, const struct json *inspected));

/* A step whose success ends the operation. */
extern const struct docker_ops op_last_step;

/* Ids and references that may stand in a path as they are. */
bool op_is_container_ref(const char *id);
bool op_is_image_ref(const char *ref);
/* Percent-encodes for a query value; the caller's to free(). */
char *op_escape(const char *s);

struct engine_probe *engine_probe_create(struct engine *e);
void engine_probe_destroy(struct engine_probe *p);
/* A call failed in transport: ask soon. */
void engine_probe_doubt(struct engine_probe *p, const char *why);

/* Operations, by file. */
struct link_op *engine_deploy(struct link *l, const struct wire_deploy *d, link_deploy_fn *done, void *arg);
struct link_op *engine_start(struct link *l, const char *id, link_done_fn *done, void *arg);
struct link_op *engine_stop(struct link *l, const char *id, uint32_t grace_s, link_done_fn *done, void *arg);
struct link_op *engine_remove(struct link *l, const char *id, link_done_fn *done, void *arg);
struct link_op *engine_info(struct link *l, const char *id, link_info_fn *done, void *arg);
struct link_op *engine_list(struct link *l, link_list_fn *done, void *arg);
struct link_op *engine_logs(struct link *l, const char *id, const struct link_logs *opt, const struct link_stream *s, void *arg);
struct link_op *engine_kept(struct link *l, const char *app, link_kept_fn *done, void *arg);
struct link_op *engine_kept_log(struct link *l, const char *app, const char *container, uint32_t tail, const struct link_stream *s,
				void *arg);
struct link_op *engine_image_inspect(struct link *l, const char *ref, link_image_fn *done, void *arg);
struct link_op *engine_image_pull(struct link *l, const char *ref, const char *registry_auth, const struct link_stream *s,
				  void *arg);
struct link_op *engine_image_save(struct link *l, const char *ref, const struct link_stream *s, void *arg);
struct link_op *engine_image_load(struct link *l, const struct link_load *load, link_image_fn *done, void *arg);
/* Image <tag>, "temps/APP:RELEASE", is new here: those of old releases of the app go, in time. */
void engine_sweep_images(struct engine *e, const char *tag);
struct link_op *engine_events(struct link *l, const struct link_stream *s, void *arg);

#endif
