/* API, the nodes' own calls: registration, heartbeats, certificates. */
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/wire.h"
#include "base/text.h"
#include "control/api.h"
#include "control/container.h"
#include "control/deployer.h"
#include "control/nodes.h"
#include "reactor/crypto.h"
#include "reactor/pki.h"

#define NODE_CERT_DAYS 90
#define TOKEN_MIN 16
#define TOKEN_MAX 256
#define CONTAINERS_MAX 10000
#define BEAT_SMALL_MAX 16384 /* about 1 ms of the loop; more goes to the work thread */

/* -ENOENT is an absent member: the default stays. */
static bool bad(int rc)
{
	return rc && rc != -ENOENT;
}

void api_ca(struct api_request *r)
{
	const struct control *c = r->app;

	reply_json(r, 200, buf_slice(&c->ca_answer));
}

/* ---- certificates of nodes ---- */

/* A certificate for the node's agent: good for its private address only. NULL after 400 was
 * answered. */
static char *sign_for(struct api_request *r, struct slice csr_pem, const char *name,
		      const char *private_address)
{
	const struct control *c = r->app;
	const char *ips[] = { private_address, NULL };
	struct pki_names names = { .common_name = name, .ips = ips, .client_auth = true };
	struct buf cert;
	struct err err;

	buf_init(&cert, 65536);
	if (pki_sign_csr(c->cluster_ca.cert_pem, c->cluster_ca.key_pem, csr_pem, &names,
			 NODE_CERT_DAYS, &cert, &err)) {
		buf_fini(&cert);
		err_prefix(&err, "member \"csr_pem\"");
		api_invalid(r, &err);
		return NULL;
	}
	return buf_steal(&cert);
}

void api_node_certificate(struct api_request *r)
{
	const struct control *c = r->app;
	struct json *j = api_object(r);
	const struct node *n;
	struct slice csr;
	struct api_answer a;
	struct err err;
	uint64_t id;
	char *cert;

	if (!j)
		return;
	if (slice_u64(r->params[0], &id) ||
	    !(n = cluster_node(deployer_cluster(c->deployer), (int64_t)id))) {
		reply_problem(r, 404, "Node Not Found", "no such node");
	} else if (json_want_str(j, "csr_pem", 16384, &csr, &err)) {
		reply_problem(
			r, 400, "Validation Error",
			"member \"csr_pem\": expected a certificate signing request in PEM form");
	} else if ((cert = sign_for(r, csr, n->name, n->private_address))) {
		api_answer_begin(&a);
		json_put_str(&a.o, "cert_pem", cert);
		json_put_slice(&a.o, "ca_cert_pem", c->cluster_ca.cert_pem);
		api_answer_send(&a, r, 200);
		free(cert);
		nodes_called(r->app, (int64_t)id);
	}
	json_free(j);
}

/* ---- registration ---- */

struct registration {
	struct event_register event;
	struct slice token;
	char token_hash[65], join_hash[65], proof_hash[65];
	char private_address[64];
	struct buf sealed;
};

static void on_registered(struct command *cmd, const struct effect_reply *e)
{
	const struct control *c = cmd->control;
	const struct node *n = cluster_node(deployer_cluster(c->deployer), e->node_id);
	struct api_answer a;

	api_answer_begin(&a);
	json_put_int(&a.o, "id", e->node_id);
	json_put_str(&a.o, "name", n ? n->name : NULL);
	json_put_str(&a.o, "status", n ? node_status(n) : "active");
	json_put_str(&a.o, "message", e->text);
	json_put_str(&a.o, "cluster_id", c->cluster_id);
	json_put_int(&a.o, "heartbeat_interval_s", c->options->heartbeat_interval_s);
	if (cmd->text) {
		json_put_str(&a.o, "cert_pem", cmd->text);
		json_put_slice(&a.o, "ca_cert_pem", c->cluster_ca.cert_pem);
	}
	api_answer_send(&a, cmd->r, 201);
}

/* The secret part alone is known by its hash; what stands before the dot is for the node. */
static struct slice join_secret(struct slice token)
{
	const char *dot = memchr(token.p, '.', token.n);

	return dot ? slice_of(dot + 1, token.n - (size_t)(dot + 1 - token.p)) : token;
}

static int want_text(const struct json *j, const char *name, size_t max, const char **out,
		     struct err *err)
{
	struct slice s;
	int rc = json_want_str(j, name, max, &s, err);

	if (!rc)
		*out = s.p;
	return rc;
}

/* A text without spaces and control characters: it ends up in logs and on terminals. */
static int want_word(const struct json *j, const char *name, size_t max, const char **out,
		     struct err *err)
{
	const char *text = NULL;
	int rc = want_text(j, name, max, &text, err);

	for (const char *p = text; !rc && *p; p++) {
		if (*p <= ' ' || *p > '~')
			return err_say(err, -EINVAL, "member \"%s\": has a character that none has",
				       name);
	}
	if (!rc)
		*out = text;
	return rc;
}

/* "https://ADDRESS:PORT" and nothing else, at the node's private address: whatever a join token
 * lets in must not make us call somebody else. Port 0: not known before the agent has started. */
static bool is_agent_url(const char *url, const char *private_address)
{
	struct slice s = slice_str(url), prefix = SLICE("https://");
	struct addr at;
	char ip[64];

	if (!slice_starts(s, prefix) ||
	    addr_parse(&at, slice_of(s.p + prefix.n, s.n - prefix.n), NULL))
		return false;
	addr_ip(&at, ip);
	return strcmp(ip, private_address) == 0;
}

/* The number before the first dot must be ours: another one may mean what we do not understand. */
static bool same_major(const char *version)
{
	size_t n = strcspn(PACKAGE_VERSION, ".");

	return strncmp(version, PACKAGE_VERSION, n) == 0 &&
	       (version[n] == '.' || version[n] == '\0');
}

static int parse_registration(struct api_request *r, const struct json *j, struct registration *reg,
			      struct err *err)
{
	struct event_register *e = &reg->event;
	struct slice join = { 0 }, previous = auth_bearer(r);
	const char *private_address = NULL;
	struct addr at;
	int rc;

	if (want_text(j, "name", NODE_NAME_MAX, &e->name, err) || !text_is_name(slice_str(e->name)))
		return err_say(
			err, -EINVAL,
			"member \"name\": expected 1 to 64 letters, digits, \".\", \"_\" or \"-\"");
	rc = json_want_str(j, "token", TOKEN_MAX, &reg->token, err);
	if (rc || reg->token.n < TOKEN_MIN)
		return err_say(err, -EINVAL,
			       "member \"token\": expected a string of %d to %d characters",
			       TOKEN_MIN, TOKEN_MAX);
	if (want_text(j, "private_address", 63, &private_address, err) ||
	    addr_make(&at, slice_str(private_address), 1, NULL))
		return err_say(err, -EINVAL, "member \"private_address\": expected an IP address");
	addr_ip(&at, reg->private_address);	/* one spelling for each address */
	e->private_address = reg->private_address;
	if (want_text(j, "address", 256, &e->address, err) ||
	    !is_agent_url(e->address, e->private_address))
		return err_say(
			err, -EINVAL,
			"member \"address\": expected the agent's URL at the private address, "
			"https://%s:PORT",
			e->private_address);
	if (bad(json_want_str(j, "join_token", 256, &join, err)) ||
	    bad(json_want_str(j, "previous_token", TOKEN_MAX, &previous, err)) ||
	    bad(want_word(j, "role", 32, &e->role, err)) ||
	    bad(want_word(j, "architecture", 32, &e->architecture, err)) ||
	    bad(want_word(j, "version", 63, &e->version, err)))
		return -EINVAL;
	if (e->role && strcmp(e->role, "worker") != 0)
		return err_say(err, -EINVAL, "member \"role\": only \"worker\" may join");
	if (e->version && !same_major(e->version))
		return err_say(
			err, -EPROTO,
			"the agent is version %s and this is %s: install the same version on both",
			e->version, PACKAGE_VERSION);
	crypto_sha256_hex(reg->token, reg->token_hash);
	e->token_hash = reg->token_hash;
	if (join.n) {
		crypto_sha256_hex(join_secret(join), reg->join_hash);
		e->join_token_hash = reg->join_hash;
	}
	if (previous.n) {
		crypto_sha256_hex(previous, reg->proof_hash);
		e->proof_hash = reg->proof_hash;
	}
	return api_labels(&e->labels, j, err);
}

static void node_register(struct api_request *r, const struct json *j, struct registration *reg)
{
	struct control *c = r->app;
	struct cluster_event e = { .type = EVENT_REGISTER };
	struct slice csr = { 0 };
	struct command *cmd;
	struct err err;
	char *cert = NULL;
	int rc = parse_registration(r, j, reg, &err);

	if (!rc && bad(json_want_str(j, "csr_pem", 16384, &csr, &err)))
		rc = -EINVAL;
	if (!rc && nodes_seal_token(c, reg->token, &reg->sealed))
		rc = err_say(&err, -EIO, "the node's token could not be sealed");
	if (rc == -EPROTO) {
		reply_problem(r, 409, "Version Mismatch", err.text);
		return;
	}
	if (rc) {
		api_invalid(r, &err);
		return;
	}
	if (csr.n && !(cert = sign_for(r, csr, reg->event.name, reg->event.private_address)))
		return;
	cmd = command_begin(r, on_registered);
	if (!cmd) {
		free(cert);
		return;
	}
	cmd->text = cert;
	e.reg = reg->event;
	e.reg.reply = cmd->handle;
	e.reg.token_sealed = reg->sealed.data;
	deployer_step(c->deployer, &e);
}

void api_node_register(struct api_request *r)
{
	struct json *j = api_object(r);
	struct registration reg = { 0 };

	if (!j)
		return;
	buf_init(&reg.sealed, 4096);
	node_register(r, j, &reg);
	pairs_fini(&reg.event.labels);
	buf_fini(&reg.sealed);
	json_free(j);
}

/* ---- heartbeats ---- */

struct beat {
	struct event_heartbeat event;
	struct json *doc;	/* what <event> borrows from */
	struct pairs labels;
	struct wire_container *wire;
	struct container_info *infos;
	char (*started)[32];
	size_t n;
};

static void beat_fini(struct beat *b)
{
	for (size_t i = 0; i < b->n; i++)
		wire_container_fini(&b->wire[i]);
	pairs_fini(&b->labels);
	free(b->started);
	free(b->infos);
	free(b->wire);
	json_free(b->doc);
}

static int parse_containers(const struct json *j, struct beat *b, struct err *err)
{
	const struct json *list = json_get(j, "containers");
	size_t n = json_len(list);

	if (json_type(list) == JSON_ABSENT || json_type(list) == JSON_NULL)
		return 0;
	if (json_type(list) != JSON_ARRAY || n > CONTAINERS_MAX)
		return err_say(err, -EINVAL, "member \"containers\": expected a list of at most %d",
			       CONTAINERS_MAX);
	b->wire = xcalloc(n + 1, sizeof(*b->wire));
	b->infos = xcalloc(n + 1, sizeof(*b->infos));
	b->started = xcalloc(n + 1, sizeof(*b->started));
	for (; b->n < n; b->n++) {
		int rc = wire_container_parse_beat(&b->wire[b->n], json_at(list, b->n), err);

		if (rc)
			return rc;
		container_info_from(&b->infos[b->n], &b->wire[b->n], b->started[b->n]);
	}
	b->event.has_inventory = true;
	b->event.containers = b->infos;
	b->event.containers_n = b->n;
	return 0;
}

static int parse_capacity(const struct json *j, struct beat *b, struct err *err)
{
	const struct json *capacity = json_get(j, "capacity");
	struct wire_capacity w = { 0 };
	int rc = json_len(capacity) ? wire_capacity_parse(&w, capacity, err) : 0;

	nodes_capacity_from(&b->event.capacity, &w);
	return rc;
}

/* Touches nothing but its arguments. <b> is the caller's to beat_fini() in either case. */
static int parse_beat(struct beat *b, struct slice body, struct err *err)
{
	struct event_heartbeat *e = &b->event;
	const struct json *j;
	enum json_type labels;

	if (json_parse(&b->doc, body.n ? body : SLICE("{}"), err)) {
		b->doc = NULL;
		return -EINVAL;
	}
	j = b->doc;
	if (json_type(j) != JSON_OBJECT)
		return err_say(err, -EINVAL, "expected an object");
	labels = json_type(json_get(j, "labels"));
	/* an agent that does not know the member reports only while its engine answers */
	e->docker_ok = true;
	if (bad(want_word(j, "boot_id", 63, &e->boot_id, err)) ||
	    bad(want_word(j, "docker_started_at", 63, &e->docker_started_at, err)) ||
	    bad(want_word(j, "architecture", 32, &e->architecture, err)) ||
	    bad(want_word(j, "version", 63, &e->version, err)) ||
	    bad(want_word(j, "inventory_hash", 128, &e->inventory_hash, err)) ||
	    bad(json_want_bool(j, "docker_ok", &e->docker_ok, err)) || parse_capacity(j, b, err))
		return -EINVAL;
	if (labels != JSON_ABSENT && labels != JSON_NULL) {
		if (api_labels(&b->labels, j, err))
			return -EINVAL;
		e->labels = &b->labels;
	}
	return parse_containers(j, b, err);
}

static void on_beat(struct command *cmd, const struct effect_reply *e)
{
	struct api_answer a;

	api_answer_begin(&a);
	json_put_str(&a.o, "status", "ok");
	json_put_str(&a.o, "message", e->text);
	json_put_bool(&a.o, "resync", e->resync);
	json_arr(&a.o, "commands");
	json_arr_end(&a.o);
	api_answer_send(&a, cmd->r, 200);
}

static void take_beat(struct api_request *r, struct beat *b)
{
	struct cluster_event e = { .type = EVENT_HEARTBEAT };
	struct command *cmd;
	uint64_t id = 0;

	if (slice_u64(r->params[0], &id)) {
		reply_problem(r, 404, "Node Not Found", "a node is named by its number here");
	} else if ((cmd = command_begin(r, on_beat))) {
		e.heartbeat = b->event;
		e.heartbeat.reply = cmd->handle;
		e.heartbeat.node_id = (int64_t)id;
		deployer_step(cmd->control->deployer, &e);
	}
}

/* A large body on its way through the work thread: reading 4 MiB takes about 150 ms, and forgetting what was
 * read nearly as long, which the loop has not. */
struct large_beat {
	struct work_job job;
	struct api_request *r;	/* NULL: the node is gone */
	struct work *work;
	struct slice body;	/* owned */
	struct beat beat;
	struct err err;
	int rc;
};

static void run_free(struct work_job *job)
{
	struct large_beat *l = CONTAINER_OF(job, struct large_beat, job);

	beat_fini(&l->beat);
	free((char *)l->body.p);
	malloc_trim(0);	/* some hundred MB after a hostile one: not ours to keep */
}

static void on_freed(struct work_job *job)
{
	free(CONTAINER_OF(job, struct large_beat, job));
}

static void run_parse(struct work_job *job)
{
	struct large_beat *l = CONTAINER_OF(job, struct large_beat, job);

	l->rc = parse_beat(&l->beat, l->body, &l->err);
}

static void on_parsed(struct work_job *job)
{
	struct large_beat *l = CONTAINER_OF(job, struct large_beat, job);
	struct api_request *r = l->r;

	if (r) {
		r->state = NULL;
		r->closed = NULL;
		if (l->rc)
			api_invalid(r, &l->err);
		else
			take_beat(r, &l->beat);
	}
	job->run = run_free;
	job->done = on_freed;
	if (work_submit(l->work, job)) {
		run_free(job);
		on_freed(job);
	}
}

static void on_large_closed(void *state)
{
	struct large_beat *l = state;

	l->r = NULL;
}

static void large_heartbeat(struct api_request *r)
{
	struct control *c = r->app;
	struct large_beat *l = xcalloc(1, sizeof(*l));

	l->job.run = run_parse;
	l->job.done = on_parsed;
	l->r = r;
	l->work = c->work;
	l->body = slice_of(slice_dup(r->body), r->body.n);
	if (work_submit(c->work, &l->job)) {
		free((char *)l->body.p);
		free(l);
		reply_field(r, "Retry-After", "5");
		reply_problem(r, 503, "Busy", "too many large requests are being read");
		return;
	}
	r->state = l;
	r->closed = on_large_closed;
}

void api_node_heartbeat(struct api_request *r)
{
	struct beat b = { 0 };
	struct err err;

	if (r->body.n > BEAT_SMALL_MAX) {
		large_heartbeat(r);
		return;
	}
	if (parse_beat(&b, r->body, &err))
		api_invalid(r, &err);
	else
		take_beat(r, &b);
	beat_fini(&b);
}
