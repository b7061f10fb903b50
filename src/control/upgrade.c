#include "control/upgrade.h"

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "control/control.h"
#include "control/deployer.h"
#include "control/events.h"
#include "control/links.h"
#include "control/local.h"
#include "control/logs.h"
#include "control/predecessors.h"
#include "control/routing.h"
#include "control/takeover.h"
#include "reactor/channel.h"
#include "reactor/crypto.h"
#include "reactor/deadline.h"
#include "reactor/notify.h"

#define CHILD_FD 3
#define REOPEN_RETRY_MS 1000
#define REPORT_EVERY_MS 1000
#define REPORT_ENDPOINTS_MAX 200 /* a message has room for them */
#define UNDER_WAY "an upgrade is under way; try again in a moment"

enum upgrade_state {
	UPGRADE_IDLE,
	UPGRADE_STARTED,   /* the new process is to say hello */
	UPGRADE_SETTLING,  /* nothing new is decided; what was is stored and carried out */
	UPGRADE_HANDED,	   /* the new process has the store, and is to say that it can serve */
	UPGRADE_RETURNING, /* it failed, and the store cannot be opened again yet */
	UPGRADE_OVER,	   /* it serves, we drain */
	UPGRADE_STATES
};

#define TO(s) (1u << UPGRADE_##s)
static const struct {
	const char *name;
	unsigned next;
} states[UPGRADE_STATES] = {
	[UPGRADE_IDLE] = { "idle", TO(STARTED) },
	[UPGRADE_STARTED] = { "started", TO(SETTLING) | TO(IDLE) },
	[UPGRADE_SETTLING] = { "settling", TO(HANDED) | TO(IDLE) },
	[UPGRADE_HANDED] = { "handed", TO(OVER) | TO(RETURNING) | TO(IDLE) },
	[UPGRADE_RETURNING] = { "returning", TO(IDLE) },
	[UPGRADE_OVER] = { "over", 0 },
};

struct upgrade {
	struct control *control;
	enum upgrade_state state; /* set_state() writes it */
	struct channel *channel;  /* to the new process; NULL: there is none */
	pid_t pid;		  /* its id while it is ours to end; 0 */
	char version[32];
	struct deadline limit, reopen, report;
	struct deployer_wait settled;
	struct loop_task hand_over;
	uint64_t store_failures; /* of the deployer, when it was stopped */
	upgrade_done_fn *done;	 /* NULL: nobody waits */
	void *arg;
};

static void set_state(struct upgrade *u, enum upgrade_state next)
{
	if (!(states[u->state].next & (1u << next))) {
		log_error("upgrade: %s -> %s", states[u->state].name, states[next].name);
		abort();
	}
	log_debug("upgrade: %s -> %s", states[u->state].name, states[next].name);
	u->state = next;
}

static void tell(struct upgrade *u, const char *error)
{
	struct upgrade_result r = { error, u->version, u->pid };
	upgrade_done_fn *done = u->done;

	u->done = NULL;
	if (done)
		done(u->arg, &r);
}

/* ---- events of it ---- */

struct told {
	struct events *events;
	uint64_t id, wall_ms;
	const char *type;
	char *text;
};

static void on_event_stored(void *arg, int rc, uint64_t revision)
{
	struct told *t = arg;

	(void)revision;
	if (!rc)
		events_publish(t->events, t->id, t->wall_ms, t->type, "control", t->text);
	free(t->text);
	free(t);
}

void upgrade_record(struct control *c, const char *type, const char *text)
{
	struct store_txn *txn = store_txn_new();
	struct told *t = xcalloc(1, sizeof(*t));

	*t = (struct told){ c->events, 0, loop_wall_ms(), type, xstrdup(text) };
	t->id = events_record(c->events, txn, t->wall_ms, type, "control", text);
	if (store_commit(c->store, txn, on_event_stored, t))
		on_event_stored(t, -ECANCELED, 0);
}

/* ---- it fails: all as before ---- */

/* How a process ended, for people. */
static void say_end(int status, char *out, size_t size)
{
	if (WIFSIGNALED(status))
		snprintf(out, size, "the new process was killed by signal %d (%s)",
			 WTERMSIG(status), strsignal(WTERMSIG(status)));
	else
		snprintf(out, size, "the new process ended with status %d; its log says why",
			 WEXITSTATUS(status));
}

/* It is gone for sure when this returns: nobody has the store but us. */
static int end_child(struct upgrade *u)
{
	int status = 0;

	channel_close(u->channel);
	u->channel = NULL;
	if (u->pid) {
		kill(u->pid, SIGKILL);
		while (waitpid(u->pid, &status, 0) < 0 && errno == EINTR)
			;
	}
	u->pid = 0;
	return status;
}

static void be_as_before(struct upgrade *u)
{
	struct control *c = u->control;

	set_state(u, UPGRADE_IDLE);
	predecessors_resume(c->predecessors);
	server_resume(c->server);
	notify_systemd("READY=1");
}

/* The store first: what the new process wrote is what there is to go on from. */
static void take_back(void *arg)
{
	struct upgrade *u = arg;
	struct control *c = u->control;
	struct err err;
	int rc = store_reopen(c->store, &err);

	if (!rc)
		rc = store_range(c->store, events_kind, events_catch_up, c->events, &err);
	if (rc) {
		log_error("after a failed upgrade: %s; commands are refused until it can be opened",
			  err.text);
		if (u->state != UPGRADE_RETURNING)
			set_state(u, UPGRADE_RETURNING);
		deadline_set(&u->reopen, REOPEN_RETRY_MS);
		return;
	}
	deployer_resume(c->deployer);
	be_as_before(u);
}

static void fail(struct upgrade *u, const char *why)
{
	struct control *c = u->control;
	enum upgrade_state state = u->state;

	deadline_set(&u->limit, 0);
	deployer_wait_cancel(&u->settled);
	loop_task_cancel(&u->hand_over);
	end_child(u);
	if (state == UPGRADE_HANDED) {
		take_back(u);
	} else {
		if (state == UPGRADE_SETTLING)
			deployer_resume(c->deployer);
		be_as_before(u);
	}
	log_error("upgrade failed, this process goes on: %s", why);
	upgrade_record(c, "UpgradeFailed", why);
	tell(u, why);
}

static void on_limit(void *arg)
{
	struct upgrade *u = arg;

	fail(u,
	     u->state == UPGRADE_STARTED
		     ? "the new process did not say hello within 10 s: is it a temps that can be upgraded to?"
		     : "the new process was not able to serve within 30 s");
}

static void on_gone(void *arg)
{
	struct upgrade *u = arg;
	char why[160];

	if (u->state == UPGRADE_OVER) {
		log_info("the process that took over is gone");
		channel_close(u->channel);
		u->channel = NULL;
		return;
	}
	say_end(end_child(u), why, sizeof(why));
	fail(u, why);
}

/* ---- the way there ---- */

static void on_settled(void *arg)
{
	struct upgrade *u = arg;

	/* The store is not to be closed from inside of a call of its own. */
	loop_later(u->control->loop, &u->hand_over);
}

static void stop_deciding(struct upgrade *u)
{
	struct control *c = u->control;

	set_state(u, UPGRADE_SETTLING);
	deadline_set(&u->limit, UPGRADE_READY_MS);
	u->store_failures = deployer_stats(c->deployer).failures;
	/* Whoever has something to say to us says it to the next one. */
	server_pause(c->server, true);
	deployer_stop(c->deployer, UNDER_WAY);
	deployer_when_settled(c->deployer, &u->settled, on_settled, u);
}

static void on_hand_over(void *arg)
{
	struct upgrade *u = arg;
	struct control *c = u->control;
	int fds[CHANNEL_FDS_MAX], rc;
	struct buf text;
	size_t n;

	if (deployer_stats(c->deployer).failures != u->store_failures) {
		fail(u, "the store cannot write");
		return;
	}
	deployer_let_go(c->deployer);
	store_release(c->store);
	set_state(u, UPGRADE_HANDED);
	deadline_set(&u->limit, UPGRADE_READY_MS);
	buf_init(&text, CHANNEL_MESSAGE_MAX);
	takeover_put(&text, c, fds, &n);
	rc = channel_send(u->channel, buf_slice(&text), fds, n);
	crypto_wipe(text.data, text.len);
	buf_fini(&text);
	if (rc)
		fail(u, strerror(-rc));
}

/* ---- what is left, for whoever wants to know why we are still here ---- */

struct report {
	struct json_out o;
	uint32_t endpoints;
};

static void report_endpoint(void *arg, const struct endpoint_ref *ref, uint32_t in_flight)
{
	struct report *r = arg;

	if (r->endpoints++ >= REPORT_ENDPOINTS_MAX)
		return;
	json_obj(&r->o, NULL);
	routing_put_ref(&r->o, ref);
	json_put_int(&r->o, "in_flight", in_flight);
	json_obj_end(&r->o);
}

static void on_report(void *arg)
{
	struct upgrade *u = arg;
	struct control *c = u->control;
	struct report r = { 0 };
	struct buf text;

	if (!u->channel)
		return;
	buf_init(&text, CHANNEL_MESSAGE_MAX);
	json_out_init(&r.o, &text);
	json_obj(&r.o, NULL);
	json_obj(&r.o, "draining");
	json_put_int(&r.o, "pid", getpid());
	json_put_int(&r.o, "connections", server_stats(c->server)->open);
	json_arr(&r.o, "endpoints");
	dataplane_each_busy(c->dataplane, report_endpoint, &r);
	json_arr_end(&r.o);
	json_obj_end(&r.o);
	json_obj_end(&r.o);
	/* One that is lost is followed by another. */
	if (!text.full && !channel_is_behind(u->channel))
		(void)!channel_send(u->channel, buf_slice(&text), NULL, 0);
	buf_fini(&text);
	deadline_set(&u->report, REPORT_EVERY_MS);
}

static void on_drained(void *arg)
{
	struct control *c = arg;

	log_info("drained, the process that took over serves");
	loop_stop(c->loop);
}

/* Nothing of what decides is needed any more; requests that are under way are. */
static void only_drain(struct upgrade *u)
{
	struct control *c = u->control;

	events_end(c->events);
	logs_end(c->logs);
	links_destroy(c->links);
	c->links = NULL;
	local_destroy(c->local);
	c->local = NULL;
	server_disown(c->server);
	server_retire(c->server, c->options->request_drain_s * 1000, on_drained, c);
	on_report(u);
}

static void on_ready(struct upgrade *u)
{
	struct control *c = u->control;
	char main_pid[64];
	int rc;

	server_pause(c->server, false);
	/* From us, while we are the one that it listens to. */
	snprintf(main_pid, sizeof(main_pid), "MAINPID=%ld", (long)u->pid);
	notify_systemd(main_pid);
	rc = channel_send(u->channel, SLICE("{\"go\":{}}"), NULL, 0);
	if (rc) {
		snprintf(main_pid, sizeof(main_pid), "MAINPID=%ld", (long)getpid());
		notify_systemd(main_pid);
		on_gone(u);
		return;
	}
	set_state(u, UPGRADE_OVER);
	deadline_set(&u->limit, 0);
	log_info("upgraded to %s: process %ld serves, this one drains for at most %u s", u->version,
		 (long)u->pid, c->options->request_drain_s);
	tell(u, NULL);
	u->pid = 0;
	only_drain(u);
}

static void on_hello(struct upgrade *u, const struct json *hello)
{
	char why[160];

	(void)!slice_copy(json_str(json_get(hello, "version"), "?"), u->version,
			  sizeof(u->version));
	if (json_int(json_get(hello, "protocol"), 0) == TAKEOVER_PROTOCOL) {
		stop_deciding(u);
		return;
	}
	snprintf(why, sizeof(why),
		 "version %s takes over in another way than this one: restart instead", u->version);
	fail(u, why);
}

static void hurry(struct control *c)
{
	server_drain(c->server, c->options->drain_limit_s * 1000, on_drained, c);
}

static void on_message(void *arg, struct slice text, const int *take_fds, size_t n)
{
	struct upgrade *u = arg;
	struct control *c = u->control;
	struct json *j;
	int rc;

	while (n) /* it has none for us */
		close(take_fds[--n]);
	if (json_parse(&j, text, NULL))
		return;
	if (json_get(j, "failed")) {
		if (u->state != UPGRADE_OVER)
			fail(u, json_cstr(json_get(j, "failed"), "?"));
	} else if (u->state == UPGRADE_STARTED && json_get(j, "hello")) {
		on_hello(u, json_get(j, "hello"));
	} else if (u->state == UPGRADE_HANDED && json_get(j, "ready")) {
		on_ready(u);
	} else if (u->state == UPGRADE_OVER && json_get(j, "stop")) {
		hurry(c);
	} else if (u->state == UPGRADE_OVER || u->state == UPGRADE_HANDED) {
		rc = routing_take(c->dataplane, j);
		if (rc)
			log_debug("the process that took over says what is not understood: %.*s",
				  SLICE_ARG(text));
	}
	json_free(j);
}

/* ---- starting it ---- */

static char **child_environment(void)
{
	size_t n = 0;
	char **out;

	while (environ[n])
		n++;
	out = xcalloc(n + 2, sizeof(*out));
	memcpy(out, environ, n * sizeof(*out));
	out[n] = xasprintf("%s=%d", TAKEOVER_ENV, CHILD_FD);
	return out;
}

static void free_environment(char **env)
{
	size_t n = 0;

	while (env[n])
		n++;
	free(env[n - 1]);
	free(env);
}

/* What we ignore and what we wait for is not the new one's business. */
static int spawn(struct upgrade *u, int fd, struct err *err)
{
	char *const *argv = u->control->options->argv;
	char **env = child_environment();
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t none, all;
	int rc;

	sigemptyset(&none);
	sigfillset(&all);
	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_init(&attr);
	posix_spawn_file_actions_adddup2(&actions, fd, CHILD_FD);
	posix_spawn_file_actions_addclosefrom_np(&actions, CHILD_FD + 1);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &all);
	rc = -posix_spawnp(&u->pid, argv[0], &actions, &attr, argv, env);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&actions);
	free_environment(env);
	if (rc)
		u->pid = 0;
	return rc ? err_set(err, rc, "start %s", argv[0]) : 0;
}

static const char *cannot_begin(const struct upgrade *u)
{
	const struct control *c = u->control;

	if (u->state == UPGRADE_OVER)
		return "another process has taken over from this one already";
	if (u->state != UPGRADE_IDLE)
		return "an upgrade is under way already";
	if (c->stopping)
		return "the control plane is stopping";
	if (!c->ready)
		return "not all parts have started yet; try again in a moment";
	if (predecessors_count(c->predecessors) >= PREDECESSORS_MAX)
		return "too many processes of earlier upgrades still drain; wait for one of them";
	return deployer_refuses(c->deployer);
}

int upgrade_begin(struct upgrade *u, upgrade_done_fn *done, void *arg, struct err *err)
{
	const char *why = cannot_begin(u);
	int fds[2], rc;

	if (why)
		return err_say(err, -EBUSY, "%s", why);
	rc = channel_pair(fds, err);
	if (rc)
		return rc;
	rc = spawn(u, fds[1], err);
	close(fds[1]);
	if (rc) {
		close(fds[0]);
		upgrade_record(u->control, "UpgradeFailed", err->text);
		return rc;
	}
	log_info("upgrade: started %s as process %ld", u->control->options->argv[0], (long)u->pid);
	notify_systemd("RELOADING=1");
	u->channel = channel_open(u->control->loop, fds[0], on_message, on_gone, u);
	u->done = done;
	u->arg = arg;
	*u->version = '\0';
	set_state(u, UPGRADE_STARTED);
	deadline_set(&u->limit, UPGRADE_HELLO_MS);
	return 0;
}

void upgrade_forget(struct upgrade *u)
{
	u->done = NULL;
}

struct upgrade *upgrade_create(struct control *c)
{
	struct upgrade *u = xcalloc(1, sizeof(*u));

	u->control = c;
	deadline_init(&u->limit, c->loop, on_limit, u);
	deadline_init(&u->reopen, c->loop, take_back, u);
	deadline_init(&u->report, c->loop, on_report, u);
	loop_task_init(&u->hand_over, on_hand_over, u);
	list_init(&u->settled.link);
	return u;
}

void upgrade_destroy(struct upgrade *u)
{
	if (!u)
		return;
	deadline_stop(&u->limit);
	deadline_stop(&u->reopen);
	deadline_stop(&u->report);
	loop_task_cancel(&u->hand_over);
	deployer_wait_cancel(&u->settled);
	end_child(u);
	free(u);
}

const char *upgrade_refuses(const struct upgrade *u)
{
	return u && u->state >= UPGRADE_SETTLING ? UNDER_WAY : NULL;
}

bool upgrade_is_over(const struct upgrade *u)
{
	return u && u->state == UPGRADE_OVER;
}

bool upgrade_tell_drained(struct upgrade *u, const struct endpoint_ref *ref)
{
	struct buf text;

	if (!u || (u->state != UPGRADE_HANDED && u->state != UPGRADE_OVER))
		return false;
	buf_init(&text, 0);
	routing_put_drained(&text, ref);
	/* If it is gone it does not want to know. */
	if (u->channel)
		(void)!channel_send(u->channel, buf_slice(&text), NULL, 0);
	buf_fini(&text);
	return true;
}
