/* A client without a connection, for tests of the data path in one process: an exchange that takes
 * whatever it is given. */
#ifndef TEMPS_TESTS_ASKER_H
#define TEMPS_TESTS_ASKER_H

#include "proxy/front.h"

struct asker {
	struct exchange x;
	bool over; /* answered, or cut; whoever sees it calls asker_close() */
	void (*on_head)(struct asker *a, const struct head *h); /* or NULL */
};

static inline struct asker *asker_of(struct exchange *x)
{
	return CONTAINER_OF(x, struct asker, x);
}

static inline void asker_inform(struct exchange *x, const struct head *h)
{
	(void)x;
	(void)h;
}

static inline int asker_respond(struct exchange *x, const struct head *h, bool end)
{
	struct asker *a = asker_of(x);

	assert_false(x->responded);
	x->responded = true;
	x->status = h->status;
	x->ended = a->over = end;
	if (a->on_head)
		a->on_head(a, h);
	return 0;
}

static inline size_t asker_write(struct exchange *x, const struct iovec *iov, int n)
{
	size_t total = 0;

	(void)x;
	for (int i = 0; i < n; i++)
		total += iov[i].iov_len;
	return total;
}

static inline void asker_end(struct exchange *x, const struct head *trailers)
{
	(void)trailers;
	assert_true(x->responded);
	x->ended = asker_of(x)->over = true;
}

static inline void asker_resume(struct exchange *x)
{
	(void)x;
}

static inline void asker_abort(struct exchange *x, const char *why)
{
	(void)why;
	asker_of(x)->over = true;
}

/* Prepares a request without content; <host> and <path> are borrowed until it is closed. */
static inline void asker_init(struct asker *a, struct loop *l, const char *host, const char *path)
{
	static const struct exchange_ops ops = { .inform = asker_inform,
						 .respond = asker_respond,
						 .write = asker_write,
						 .end = asker_end,
						 .resume = asker_resume,
						 .abort = asker_abort };
	static const struct exchange_peer peer = { .addr = { .text = "127.0.0.1:1" } };

	*a = (struct asker){ .x = { .ops = &ops, .loop = l, .peer = &peer } };
	head_init(&a->x.req);
	a->x.req.method = SLICE("GET");
	a->x.req.method_id = METHOD_GET;
	a->x.req.scheme = SLICE("http");
	a->x.req.authority = slice_str(host);
	a->x.req.path = slice_str(path);
	a->x.req.minor = 1;
}

static inline void asker_ask(struct asker *a, struct front *f)
{
	front_request(f, &a->x);
	a->x.events->body_end(a->x.arg, NULL);
}

static inline void asker_close(struct asker *a, const char *why)
{
	a->x.events->closed(a->x.arg, why);
}

#endif
