/* Is there an engine, and which? A ping every 5 s while all is well, sooner after a doubt, the full questions after each silence. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/engine_inner.h"
#include "base/log.h"
#include "base/text.h"
#include "reactor/deadline.h"

#define PING_MS 5000
#define DOUBT_MS 250		/* first question after a failure, doubling up to PING_MS */
#define ANSWER_MS 10000

enum probe_step { STEP_PING, STEP_VERSION, STEP_INFO, STEP_BRIDGE, STEPS };

struct engine_probe {
	struct engine *engine;
	struct engine_state state;
	struct engine_state next;	/* being asked for */
	char error[384];
	struct deadline timer;
	struct docker_call *call;
	enum probe_step step;
	uint32_t wait_ms;
	bool known;			/* <changed> was called once */
	void (*changed)(void *arg, const struct engine_state *s);
	void *arg;
};

static void ask(struct engine_probe *p, enum probe_step step);

static void announce(struct engine_probe *p)
{
	const struct engine_state *s = &p->state;

	p->known = true;
	if (s->ok)
		log_info("docker %s at %s: API %s, %s/%s%s", s->version,
			 docker_host(p->engine->docker), s->api_version, s->os, s->architecture,
			 s->rootless ? ", rootless" : "");
	else
		log_warn("no containers here: %s", s->error);
	if (p->changed)
		p->changed(p->arg, s);
}

static void lost(struct engine_probe *p, const char *why)
{
	bool was_ok = p->state.ok;

	snprintf(p->error, sizeof(p->error), "%s", why ? why : "no answer");
	p->state.ok = false;
	p->state.error = p->error;
	p->wait_ms = MIN(MAX(p->wait_ms * 2, DOUBT_MS), PING_MS);
	deadline_set(&p->timer, p->wait_ms);
	if (was_ok || !p->known)
		announce(p);
}

static void found(struct engine_probe *p)
{
	struct engine_state *s = &p->next;
	bool same;

	s->ok = true;
	snprintf(s->api_version, sizeof(s->api_version), "%s",
		 docker_api_version(p->engine->docker));
	same = p->known && p->state.ok && s->started_at_ms == p->state.started_at_ms &&
	       !strcmp(s->version, p->state.version);
	p->state = *s;
	p->wait_ms = 0;
	deadline_set(&p->timer, PING_MS);
	if (!same)
		announce(p);
}

static void copy(char *out, size_t size, const struct json *j)
{
	if (slice_copy(json_str(j, ""), out, size))
		out[0] = '\0';
}

static void learn(struct engine_probe *p, const struct json *j)
{
	struct engine_state *s = &p->next;
	const struct json *options;

	switch (p->step) {
	case STEP_VERSION:
		copy(s->version, sizeof(s->version), json_get(j, "Version"));
		copy(s->architecture, sizeof(s->architecture), json_get(j, "Arch"));
		copy(s->os, sizeof(s->os), json_get(j, "Os"));
		break;
	case STEP_INFO:
		options = json_get(j, "SecurityOptions");
		for (size_t i = 0; i < json_len(options); i++)
			if (strstr(json_cstr(json_at(options, i), ""), "name=rootless"))
				s->rootless = true;
		break;
	case STEP_BRIDGE:
		/* The default bridge is made anew at each start of the engine, unless it kept its containers running across it. */
		if (text_parse_time(json_str(json_get(j, "Created"), ""), &s->started_at_ms))
			s->started_at_ms = 0;
		break;
	default:
		break;
	}
}

static void on_answer(void *arg, const struct docker_result *res)
{
	struct engine_probe *p = arg;
	struct json *j = NULL;

	p->call = NULL;
	/* An engine without a default bridge answers that it has none. */
	if (res->rc == -ECOMM || res->rc == -ETIMEDOUT || (res->rc && p->step != STEP_BRIDGE)) {
		lost(p, res->error);
		return;
	}
	if (p->step == STEP_PING) {
		if (p->state.ok)
			deadline_set(&p->timer, PING_MS);
		else
			ask(p, STEP_VERSION);
		return;
	}
	if (!res->rc && !json_parse(&j, res->body, NULL))
		learn(p, j);
	json_free(j);
	if (p->step + 1 < STEPS)
		ask(p, p->step + 1);
	else
		found(p);
}

static const struct docker_ops answer_ops = { .done = on_answer };

static void ask(struct engine_probe *p, enum probe_step step)
{
	static const char *const paths[STEPS] = {
		[STEP_PING] = "/_ping",
		[STEP_VERSION] = "/version",
		[STEP_INFO] = "/info",
		[STEP_BRIDGE] = "/networks/bridge",
	};
	struct docker_request req = { .method = "GET",
				      .path = paths[step],
				      .idle_timeout_ms = ANSWER_MS };

	if (step == STEP_VERSION)
		p->next = (struct engine_state){ 0 };
	p->step = step;
	p->call = docker_begin(p->engine->docker, &req, &answer_ops, p);
}

static void on_timer(void *arg)
{
	struct engine_probe *p = arg;

	if (!p->call)
		ask(p, p->state.ok ? STEP_PING : STEP_VERSION);
}

struct engine_probe *engine_probe_create(struct engine *e)
{
	struct engine_probe *p = xcalloc(1, sizeof(*p));

	p->engine = e;
	deadline_init(&p->timer, e->loop, on_timer, p);
	ask(p, STEP_VERSION);
	return p;
}

void engine_probe_destroy(struct engine_probe *p)
{
	if (!p)
		return;
	docker_cancel(p->call);
	deadline_stop(&p->timer);
	free(p);
}

void engine_probe_doubt(struct engine_probe *p, const char *why)
{
	if (p->state.ok)
		lost(p, why);
}

const struct engine_state *engine_state(const struct engine *e)
{
	return &e->probe->state;
}

void engine_watch_state(struct engine *e, void (*changed)(void *arg, const struct engine_state *s),
			void *arg)
{
	e->probe->changed = changed;
	e->probe->arg = arg;
}
