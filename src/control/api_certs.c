/* API: the certificates of the front door, and those that are given to it. */
#include <errno.h>
#include <stdlib.h>

#include "base/text.h"
#include "control/api.h"
#include "control/cert_store.h"
#include "control/deployer.h"

void api_certs(struct api_request *r)
{
	const struct control *c = r->app;
	struct api_answer a;
	size_t n;

	api_answer_begin(&a);
	json_arr(&a.o, "items");
	n = certs_emit(c->certs, &a.o);
	json_arr_end(&a.o);
	json_put_int(&a.o, "total", (int64_t)n);
	api_answer_send(&a, r, 200);
}

/* A change on its way to the store. It outlives a client that leaves. */
struct change {
	struct control *control;
	struct api_request *r;	    /* NULL: nobody waits for the answer any more */
	struct cert_record *record; /* to be added; NULL: <name> goes */
	char *name;		    /* owned; NULL for an addition */
};

static void on_gone(void *state)
{
	struct change *ch = state;

	ch->r = NULL;
}

static void change_free(struct change *ch)
{
	cert_record_free(ch->record);
	free(ch->name);
	free(ch);
}

static void refuse(struct api_request *r)
{
	reply_field(r, "Retry-After", "5");
	reply_problem(r, 503, "Store Unavailable", "the store takes no writes now");
}

static void on_stored(void *arg, int rc, uint64_t revision)
{
	struct change *ch = arg;
	struct cert_store *cs = ch->control->cert_store;

	(void)revision;
	if (!rc && ch->record) {
		cert_store_add(cs, ch->record);
		ch->record = NULL;
	} else if (!rc) {
		cert_store_remove(cs, slice_str(ch->name));
	}
	if (ch->r) {
		ch->r->closed = NULL;
		ch->r->state = NULL;
		if (rc)
			refuse(ch->r);
		else
			reply_empty(ch->r, 204);
	}
	change_free(ch);
}

static void commit(struct api_request *r, struct change *take_ch, struct store_txn *take_t)
{
	struct control *c = r->app;

	take_ch->control = c;
	take_ch->r = r;
	r->state = take_ch;
	r->closed = on_gone;
	if (store_commit(c->store, take_t, on_stored, take_ch) == 0)
		return;
	r->state = NULL;
	r->closed = NULL;
	change_free(take_ch);
	refuse(r);
}

static bool takes_writes(struct api_request *r)
{
	const struct control *c = r->app;

	if (!deployer_refuses(c->deployer))
		return true;
	refuse(r);
	return false;
}

static void set(struct api_request *r, const struct json *j)
{
	struct control *c = r->app;
	struct slice chain, key;
	struct store_txn *t;
	struct change *ch;
	struct err err;
	int rc;

	if (json_want_str(j, "cert", API_BODY_MAX, &chain, &err) ||
	    json_want_str(j, "key", API_BODY_MAX, &key, &err)) {
		reply_problem(r, 400, "Validation Error",
			      "expected the PEM texts \"cert\" and \"key\"");
		return;
	}
	ch = xcalloc(1, sizeof(*ch));
	rc = cert_record_make(&ch->record, c->cert_store, r->params[0], chain, key, &err);
	if (rc) {
		change_free(ch);
		if (rc == -ENOSPC)
			reply_problem(r, 507, "Limit Reached", err.text);
		else
			api_invalid(r, &err);
		return;
	}
	t = store_txn_new();
	cert_record_put(ch->record, t);
	commit(r, ch, t);
}

void api_cert_set(struct api_request *r)
{
	struct json *j;

	if (!text_is_name(r->params[0])) {
		reply_problem(
			r, 400, "Validation Error",
			"a certificate's name has 1 to 64 letters, digits, \".\", \"_\" or \"-\"");
		return;
	}
	if (!takes_writes(r))
		return;
	j = api_object(r);
	if (j)
		set(r, j);
	json_free(j);
}

void api_cert_remove(struct api_request *r)
{
	struct control *c = r->app;
	struct store_txn *t;
	struct change *ch;

	if (!takes_writes(r))
		return;
	if (!cert_store_find(c->cert_store, r->params[0])) {
		reply_problem(r, 404, "Certificate Not Found",
			      "no certificate is stored under this name; `temps cert ls` lists them");
		return;
	}
	ch = xcalloc(1, sizeof(*ch));
	ch->name = slice_dup(r->params[0]);
	t = store_txn_new();
	cert_record_del(r->params[0], t);
	commit(r, ch, t);
}
