/* Inside of link_direct.h, seen by the link's own files alone. */
#ifndef TEMPS_CONTROL_LINK_DIRECT_INNER_H
#define TEMPS_CONTROL_LINK_DIRECT_INNER_H

#include "base/json.h"
#include "base/list.h"
#include "control/link_direct.h"

struct direct {
	struct link link;	/* first: what others hold */
	struct direct_config config;
	char *address, *authorization;
	struct list ops;
};

enum kind { KIND_PLAIN, KIND_DEPLOY, KIND_INFO, KIND_LIST, KIND_KEPT, KIND_IMAGE, KIND_STREAM, KIND_PULL };

struct link_op {
	struct list link;
	struct direct *direct;		/* not to be used once <ended> */
	struct loop *loop;
	struct rpc_call *call;
	enum kind kind;
	union {
		link_done_fn *plain;
		link_deploy_fn *deploy;
		link_info_fn *info;
		link_list_fn *list;
		link_kept_fn *kept;
		link_image_fn *image;
	} done;
	struct link_stream stream;	/* KIND_STREAM, KIND_PULL */
	ssize_t (*upload)(void *arg, char *p, size_t n); /* of an image; else NULL */
	char *tag_line, *bytes_line;	/* its header lines; the second may be NULL */
	void *arg;
	bool ended;			/* cancelled, or about to give its last callback */
	int status;			/* of a stream's head */
	struct buf text;		/* a stream's error body; a pull's unfinished line */
	struct wire_pull last;		/* of a pull: its last line, once done */
	struct loop_task refused;	/* the call could not be begun */
	struct loop_reap reap;
};

/* link_direct_answer.c */
/* Both give the operation's last callback: a failure, or the content of the agent's envelope. */
void direct_give_error(struct link_op *op, const struct link_result *res);
void direct_give_data(struct link_op *op, const struct json *data);
/* The agent's own words for a status that is not 2xx. */
struct link_result direct_refusal(int status, struct slice body, struct err *err);

#endif
