/* API, what people ask of an app that runs: scale, restart, rollback, promote, abort, pause, resume, lock,
 * unlock. */
#include <errno.h>

#include "base/text.h"
#include "control/api.h"
#include "control/deployer.h"

static void on_done(struct command *cmd, const struct effect_reply *e)
{
	struct api_answer a;

	api_answer_begin(&a);
	json_put_str(&a.o, "app", cmd->text);
	if (e->release)
		json_put_int(&a.o, "release", e->release);
	json_put_bool(&a.o, "unchanged", e->kind == REPLY_OK);
	json_put_str(&a.o, "message", e->text);
	api_answer_send(&a, cmd->r, e->release ? 202 : 200);
}

/* Runs it with what the body said in <e>, whose app and reply are filled in here. */
static void run(struct api_request *r, enum event_type type, struct event_app app)
{
	struct cluster_event e = { .type = type, .app = app };
	char name[APP_NAME_MAX + 1], who[AUTH_WHO_SIZE];
	struct command *cmd;

	if (slice_copy(r->params[0], name, sizeof(name))) {
		api_no_app(r);
		return;
	}
	cmd = command_begin(r, on_done);
	if (!cmd)
		return;
	cmd->text = xstrdup(name);
	auth_who(r, who);
	e.app.app = name;
	e.app.by = who;
	e.app.reply = cmd->handle;
	deployer_step(cmd->control->deployer, &e);
}

/* The body's one member, a number. */
static void run_number(struct api_request *r, enum event_type type, const char *member, bool needed)
{
	const char *const known[] = { member, NULL };
	struct json *j = api_object(r);
	struct err err;
	int64_t n = 0;
	int rc;

	if (!j)
		return;
	rc = api_members(j, known, &err);
	if (!rc)
		rc = json_want_int(j, member, needed ? 0 : 1, UINT32_MAX, &n, &err);
	if (rc == -ENOENT && needed)
		rc = err_say(&err, -EINVAL, "member \"%s\": missing", member);
	if (rc && rc != -ENOENT)
		api_invalid(r, &err);
	else
		run(r, type, (struct event_app){ .n = (uint32_t)n });
	json_free(j);
}

static void run_bare(struct api_request *r, enum event_type type)
{
	static const char *const known[] = { NULL };
	struct json *j = api_object(r);
	struct err err;

	if (j && api_members(j, known, &err))
		api_invalid(r, &err);
	else if (j)
		run(r, type, (struct event_app){ 0 });
	json_free(j);
}

void api_app_scale(struct api_request *r)
{
	run_number(r, EVENT_SCALE, "replicas", true);
}

void api_app_rollback(struct api_request *r)
{
	run_number(r, EVENT_ROLLBACK, "release", false);
}

void api_app_restart(struct api_request *r)
{
	run_bare(r, EVENT_RESTART);
}

void api_app_promote(struct api_request *r)
{
	run_bare(r, EVENT_PROMOTE);
}

void api_app_abort(struct api_request *r)
{
	run_bare(r, EVENT_ABORT);
}

void api_app_pause(struct api_request *r)
{
	run_bare(r, EVENT_PAUSE);
}

void api_app_resume(struct api_request *r)
{
	run_bare(r, EVENT_RESUME);
}

void api_app_unlock(struct api_request *r)
{
	run_bare(r, EVENT_UNLOCK);
}

void api_app_lock(struct api_request *r)
{
	static const char *const known[] = { "reason", NULL };
	struct json *j = api_object(r);
	struct slice reason;
	struct err err;

	if (!j)
		return;
	if (api_members(j, known, &err)) {
		api_invalid(r, &err);
	} else if (json_want_str(j, "reason", 4096, &reason, &err) || !api_is_printable(reason.p)) {
		reply_problem(r, 400, "Validation Error",
			      "member \"reason\": expected a line of text that says why");
	} else {
		run(r, EVENT_LOCK, (struct event_app){ .reason = reason.p });
	}
	json_free(j);
}
