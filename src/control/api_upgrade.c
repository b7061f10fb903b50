/* API: hot upgrade. */
#include <errno.h>

#include "control/api.h"
#include "control/upgrade.h"

static void on_done(void *arg, const struct upgrade_result *result)
{
	struct api_request *r = arg;
	struct control *c = r->app;
	struct api_answer a;

	r->closed = NULL;
	if (result->error) {
		reply_problem(r, 500, "Upgrade Failed", result->error);
		return;
	}
	api_answer_begin(&a);
	json_put_str(&a.o, "version", result->version);
	json_put_str(&a.o, "from_version", PACKAGE_VERSION);
	json_put_int(&a.o, "pid", result->pid);
	json_put_int(&a.o, "drain_limit_s", c->options->request_drain_s);
	api_answer_send(&a, r, 200);
}

static void on_closed(void *state)
{
	struct control *c = state;

	upgrade_forget(c->upgrade);
}

void api_upgrade(struct api_request *r)
{
	struct control *c = r->app;
	struct err err;
	int rc = upgrade_begin(c->upgrade, on_done, r, &err);

	if (rc) {
		reply_problem(r, rc == -EBUSY ? 409 : 500, "Not Upgraded", err.text);
		return;
	}
	r->state = c;
	r->closed = on_closed;
}
