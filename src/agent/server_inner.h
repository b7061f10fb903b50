/* What the files of the agent's API share: a call that is being answered. For server*.c only. */
#ifndef TEMPS_AGENT_SERVER_INNER_H
#define TEMPS_AGENT_SERVER_INNER_H

#include "agent/server.h"
#include "http/reply.h"

struct agent_server {
	struct loop *loop;
	struct engine *engine;
	struct link *link;
	struct metrics *metrics;
	struct api *api;
	uint8_t token_hash[32];
	const char *publish_ip;
	char caller_ip[64];	/* of the last call with the right token; "" before */
	bool importing;		/* one at a time: each may fill the disk */
	struct list streams;	/* calls that may run for ever: events, followed logs */
};

/* From the handler until the exchange is gone. Whatever streams embeds it first. */
struct call {
	struct api_request *r;
	struct agent_server *server;
	struct link_op *op;	/* what runs on the engine; NULL before and after */
	struct loop_reap reap;
	void (*release)(struct call *c);	/* optional: frees what the embedding struct owns */
};

/* A call of <size> bytes, bound to <r>: cancelled and freed when the exchange closes. */
void *call_new(struct api_request *r, size_t size);
/* The operation is over: answers with its error when it has one, and says so. */
bool call_failed(struct call *c, const struct link_result *res);
/* {"success":true,"data":"<text>","error":null} */
void call_answer_text(struct api_request *r, const char *text);
void call_error(struct api_request *r, unsigned status, const char *text);

/* {id} or {name} as a string; answers 400 and returns NULL when it cannot be one. The caller's to free(). */
char *call_param(struct api_request *r);
/* The body as JSON; an empty one gives NULL with true. False: answered 400. */
bool call_body(struct api_request *r, struct json **out);

void serve_logs(struct api_request *r);
void serve_kept_log(struct api_request *r);
void serve_events(struct api_request *r);
void serve_pull(struct api_request *r);
void serve_import(struct api_request *r);
/* Ends the streams that would not end by themselves. */
void server_stream_stop(struct agent_server *s);

#endif
