/* `temps serve` from start to end: open, say so, run, drain, close. */
#include "control/serve.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/config.h"
#include "base/log.h"
#include "control/api.h"
#include "control/boot.h"
#include "control/deployer.h"
#include "control/events.h"
#include "control/local.h"
#include "control/logs.h"
#include "control/predecessors.h"
#include "control/takeover.h"
#include "control/upgrade.h"
#include "reactor/crypto.h"
#include "reactor/notify.h"

void serve_options_default(struct serve_options *o)
{
	*o = (struct serve_options){
		.heartbeat_interval_s = 30,
		.offline_after_s = 90,
		.node.gpus = -1,
		.network_subnet = "10.213.0.0/16",
		.drain_limit_s = 30,
		.request_drain_s = 300,
		.tunnel_drain_s = 30,
	};
	server_config_default(&o->connections);
	o->connections.max_connections = 10000;
}

struct serve {
	struct control control;
	struct loop_task begin;		/* the loop's first turn */
	struct deployer_wait settled;	/* before we say that we can take over */
	char *first_key;		/* until it is printed; then NULL */
	bool failed;			/* in that turn */
};

/* ---- ready ---- */

static void put_addresses(struct json_out *o, const char *name, const struct addr *list, size_t n)
{
	json_arr(o, name);
	for (size_t i = 0; i < n; i++)
		json_put_str(o, NULL, list[i].text);
	json_arr_end(o);
}

static int write_ready_file(const struct control *c, struct err *err)
{
	struct json_out o;
	struct buf b;
	int rc;

	buf_init(&b, 0);
	json_out_init(&o, &b);
	json_obj(&o, NULL);
	put_addresses(&o, "http", c->http, c->http_n);
	put_addresses(&o, "https", c->https, c->https_n);
	json_put_int(&o, "pid", getpid());
	json_obj_end(&o);
	buf_append_str(&b, "\n");
	rc = file_write(c->options->ready_file, b.data, b.len, 0644, err);
	buf_fini(&b);
	return rc;
}

static void die(struct serve *s, const char *why)
{
	fprintf(stderr, "temps serve: %s\n", why);
	if (s->control.takeover)
		server_disown(s->control.server);
	s->failed = true;
	loop_stop(s->control.loop);
}

static void on_settled(void *arg)
{
	struct serve *s = arg;
	struct control *c = &s->control;
	struct err err;

	if (c->stopping)
		return;
	if (c->options->ready_file && write_ready_file(c, &err)) {
		die(s, err.text);
		return;
	}
	c->ready = true;
	for (size_t i = 0; i < c->http_n; i++)
		log_info("listening http=%s", c->http[i].text);
	for (size_t i = 0; i < c->https_n; i++)
		log_info("listening https=%s", c->https[i].text);
	log_info("ready cluster=%s data=%s", c->cluster_id, c->options->data_dir);
	notify_systemd("READY=1");
}

/* Routes of the store are served already; ready is who can deploy here too, if that is possible. */
static void become_ready(struct serve *s)
{
	local_when_settled(s->control.local, on_settled, s);
}

/* ---- the first administrator's key ---- */

static void on_first_key(void *arg, const struct effect_reply *e)
{
	struct serve *s = arg;
	struct control *c = &s->control;
	struct err err;

	if (!e || e->status) {
		die(s, e ? e->text : "the first admin key could not be stored");
		return;
	}
	printf("admin key: %s\n", s->first_key);
	fflush(stdout);
	crypto_wipe(s->first_key, strlen(s->first_key));
	free(s->first_key);
	s->first_key = NULL;
	c->keyed = true;
	if (boot_store_cluster(c, &err))
		log_warn("%s", err.text);
	become_ready(s);
}

/* ---- taking over ---- */

static void on_taken_over(void *arg)
{
	struct serve *s = arg;
	struct control *c = &s->control;

	char text[120];

	snprintf(text, sizeof(text), "from temps %s to %s, process %ld",
		 takeover_version(c->takeover), PACKAGE_VERSION, (long)getpid());
	takeover_free(c->takeover);
	c->takeover = NULL;
	server_resume(c->server);
	upgrade_record(c, "Upgraded", text);
	become_ready(s);
}

/* What the start decided is stored: the store is ours and can be written. */
static void on_can_serve(void *arg)
{
	struct serve *s = arg;
	struct control *c = &s->control;
	const char *refuses = deployer_refuses(c->deployer);

	if (refuses)
		die(s, refuses);
	else
		predecessors_take_over(c->predecessors, on_taken_over, s);
}

static void on_begin(void *arg)
{
	struct serve *s = arg;
	struct control *c = &s->control;
	struct cluster_event e = { .type = EVENT_API_KEY_CREATE };
	char hash[65];

	if (c->takeover) {
		deployer_when_settled(c->deployer, &s->settled, on_can_serve, s);
		return;
	}
	if (c->keyed) {
		become_ready(s);
		return;
	}
	s->first_key = api_key_make(hash);
	e.api_key_create = (struct event_api_key_create){
		.reply = deployer_expect(c->deployer, on_first_key, s),
		.hash = hash,
		.name = "admin",
		.scope = "admin",
	};
	deployer_step(c->deployer, &e);
}

/* ---- signals ---- */

static void on_drained(void *arg)
{
	struct control *c = arg;

	loop_stop(c->loop);
}

static void on_stop(void *arg, int signo)
{
	struct control *c = arg;

	if (c->stopping)
		return;
	c->stopping = true;
	predecessors_stop(c->predecessors);
	if (upgrade_is_over(c->upgrade)) {
		server_drain(c->server, c->options->drain_limit_s * 1000, on_drained, c);
		return;
	}
	log_info("%s: draining for at most %u s", signo == SIGTERM ? "SIGTERM" : "SIGINT",
		 c->options->drain_limit_s);
	notify_systemd("STOPPING=1");
	events_end(c->events);
	logs_end(c->logs);
	server_drain(c->server, c->options->drain_limit_s * 1000, on_drained, c);
}

static void on_upgrade(void *arg, int signo)
{
	struct control *c = arg;
	struct err err;

	(void)signo;
	if (upgrade_begin(c->upgrade, NULL, NULL, &err))
		log_error("SIGUSR2: not upgraded: %s", err.text);
}

static void on_reload(void *arg, int signo)
{
	struct control *c = arg;
	struct err err;

	(void)signo;
	front_reopen_log(c->front);
	if (certs_reload(c->certs, &err))
		log_error("SIGHUP: certificates are left as they were: %s", err.text);
	else
		log_info("SIGHUP: certificates were read again");
}

/* A connection is a descriptor or two: take as many as we may have. */
static void raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	(void)!setrlimit(RLIMIT_NOFILE, &limit);
}

int serve_run(const struct serve_options *o)
{
	struct serve *s = xcalloc(1, sizeof(*s));
	struct control *c = &s->control;
	struct err err = { 0 };
	int status = 1;
	bool taken_over;

	c->options = o;
	list_init(&s->settled.link);
	raise_descriptor_limit();
	signal(SIGXFSZ, SIG_IGN);	/* a limit on file sizes is a failed write, not an end */
	if (takeover_receive(&c->takeover, &err) || boot_open(c, &err)) {
		fprintf(stderr, "temps serve: %s\n", err.text);
		takeover_fail(c->takeover, c, err.text);
	} else {
		loop_on_signal(c->loop, SIGTERM, on_stop, c);
		loop_on_signal(c->loop, SIGINT, on_stop, c);
		loop_on_signal(c->loop, SIGHUP, on_reload, c);
		loop_on_signal(c->loop, SIGUSR2, on_upgrade, c);
		loop_task_init(&s->begin, on_begin, s);
		loop_later(c->loop, &s->begin);
		loop_run(c->loop);
		status = s->failed ? 1 : 0;
	}
	taken_over = upgrade_is_over(c->upgrade);
	deployer_wait_cancel(&s->settled);
	boot_close(c);
	takeover_free(c->takeover);
	if (o->ready_file && !status && !taken_over)
		(void)unlink(o->ready_file);
	free(s->first_key);
	free(s);
	return status;
}
