/* What API handlers (the control plane's and the agent's) need on top of an exchange: a router over
 * one table, the whole body collected up to a limit, JSON and problem answers, and streamed
 * answers. */
#ifndef TEMPS_HTTP_REPLY_H
#define TEMPS_HTTP_REPLY_H

#include "base/json.h"
#include "http/exchange.h"

#define REPLY_MAX_PARAMS 4

struct api_request;

/* One row: "GET", "/api/internal/nodes/{id}", what authorisation it needs, its handler. A parameter
 * matches one segment, percent-decoded. */
struct api_route {
	const char *method;
	const char *pattern;
	unsigned scope;	 /* the caller's word for what authorisation is needed; never interpreted
			    here */
	size_t max_body; /* 0: the route takes no body (one that comes is read and dropped up to 64
			    KiB, else 413); API_BODY_STREAM: on_body below */
	void (*handle)(struct api_request *r);
};
#define API_BODY_STREAM ((size_t)-1)

/* A request being answered. Lives until the exchange is closed; a handler may keep it meanwhile if
 * it sets <closed>. */
struct api_request {
	struct exchange *x;
	void *app; /* api_config.app: the handler's world */
	const struct api_route *route;
	struct slice params[REPLY_MAX_PARAMS]; /* in pattern order, decoded */
	unsigned nparams;
	struct slice query; /* raw, without '?' */
	struct slice body;  /* collected */
	void *identity;	    /* what authorise() found, see there */
	/* For answers that come later: called once when the exchange is gone (client left or answer
	 * finished); optional. After it nothing may be sent. */
	void (*closed)(void *state);
	void (*writable)(
		void *state); /* streamed answers: room again after a short reply_stream_write() */
	size_t (*on_body)(void *state, const char *p,
			  size_t n); /* API_BODY_STREAM routes: set by the handler */
	void (*on_body_end)(void *state);
	void *state;
};

struct api_config {
	const struct api_route *routes;
	size_t nroutes;
	void *app;
	/* The one choke point: 0 lets it through (may set r->identity); else it must have answered
	 * with reply_… . Called before any body is read. */
	int (*authorise)(struct api_request *r);
	/* Calls r->route->handle(r), now or later, but not once the exchange is gone (r->closed).
	 * NULL: now. */
	void (*run)(struct api_request *r);
	/* How errors look; the control plane answers problem+json, the agent its envelope. */
	void (*error)(struct api_request *r, unsigned status, const char *title,
		      const char *detail);
	size_t max_query; /* longer: 414 */
};

struct api;
int api_create(struct api **out, const struct api_config *c,
	       struct err *err) MUST_CHECK; /* checks the table: no two rows match alike */
void api_destroy(struct api *a);
/* An exchange_handler's request function; arg is the struct api. 404 unknown path, 405 with Allow
 * for a known path with another method. */
void api_handle(void *api, struct exchange *x);

/* Query parameter, percent-decoded into <out>; -ENOENT, -EINVAL (bad encoding), -ENAMETOOLONG. */
int api_query(const struct api_request *r, const char *name, char *out, size_t size) MUST_CHECK;

/* Each gives the whole answer, once. <body> bytes are copied. */
void reply_json(struct api_request *r, unsigned status, struct slice body);
void reply_text(struct api_request *r, unsigned status, const char *content_type,
		struct slice body);
void reply_empty(struct api_request *r, unsigned status);
/* application/problem+json (RFC 9457): type about:blank, title, status, detail, instance = the
 * request id. */
void reply_problem(struct api_request *r, unsigned status, const char *title, const char *detail);
/* The same with more members, which <more> puts; NULL: none. */
void reply_problem_with(struct api_request *r, unsigned status, const char *title, const char *detail,
			void (*more)(struct json_out *o, const void *arg), const void *arg);
/* An extra response field, before one of the above. Copied; at most 8. */
void reply_field(struct api_request *r, const char *name, const char *value);

/* The next whole answer stays here until reply_release(), which sends it as it was then; a stream
 * begins at once. */
void reply_hold(struct api_request *r);
bool reply_is_held(const struct api_request *r); /* it has been given */
void reply_release(struct api_request *r);
/* Instead of releasing it: as if no answer had been given. */
void reply_drop(struct api_request *r);

/* A streamed answer: begin, write as often as needed (returns bytes taken; fewer than n: wait for
 * r->writable), end. */
void reply_stream_begin(struct api_request *r, unsigned status, const char *content_type);
size_t reply_stream_write(struct api_request *r, const char *p, size_t n);
void reply_stream_end(struct api_request *r);
/* The stream broke: the client must not take it for complete. */
void reply_stream_abort(struct api_request *r, const char *why);
/* API_BODY_STREAM: ready for more after on_body took less. */
void reply_body_resume(struct api_request *r);

#endif
