/* The control plane's HTTP API: one table of method, path, scope and handler, and what the handlers
 * share. temps-api(7) describes it. */
#ifndef TEMPS_CONTROL_API_H
#define TEMPS_CONTROL_API_H

#include "control/auth.h"
#include "control/control.h"

#define API_BODY_MAX (256u << 10)
#define API_JOIN_MAX (32u << 10) /* read before anybody has proved anything: a request, a name, labels */
#define API_BEAT_MAX (4u << 20)

extern const struct api_route api_routes[];
extern const size_t api_routes_n;

/* Makes control->api from the table. */
int api_open(struct control *c, struct err *err) MUST_CHECK;

/* ---- a command: an event of the domain whose answer comes after its commit ---- */

struct command;
/* <e> is the domain's answer, of kind REPLY_OK or REPLY_CREATED. Gives the whole response. */
typedef void command_ok_fn(struct command *cmd, const struct effect_reply *e);

struct command {
	struct api_request *r;
	struct control *control;
	uint64_t handle;	/* goes into the event's <reply> */
	command_ok_fn *ok;
	char *secret;		/* for <ok>: owned, wiped; NULL */
	char *text;		/* for <ok>: owned; NULL */
	int64_t number;		/* for <ok> */
	void *state;		/* of a handler that asks others first: freed with the command */
	void (*state_free)(void *state);
};

/* Begins a command, or returns NULL after it answered 503: no write can be taken now. It lives
 * until the exchange is closed; refusals are answered from the domain's words. */
struct command *command_begin(struct api_request *r, command_ok_fn *ok);
/* Ends one that needs no answer of the domain's after all: the handler has answered. */
void command_drop(struct command *cmd);

/* How a refusal of the domain's is answered. */
unsigned api_refusal_status(enum reply_kind kind);
const char *api_refusal_title(enum reply_kind kind);

/* ---- bodies and answers ---- */

/* The body as a JSON object, the caller's to json_free(); NULL after 400 was answered. */
struct json *api_object(struct api_request *r);
/* 400 "Validation Error" with the text of <err>. */
void api_invalid(struct api_request *r, const struct err *err);

struct api_answer {
	struct buf buf;
	struct json_out o;
};
void api_answer_begin(struct api_answer *a);	/* with an open object */
void api_answer_send(struct api_answer *a, struct api_request *r, unsigned status); /* closes it */

/* -EINVAL with a text for a member that is not among <known>, which ends with NULL. */
int api_members(const struct json *j, const char *const *known, struct err *err) MUST_CHECK;
/* Member "labels" of a node or token: an object of texts without control characters. */
int api_labels(struct pairs *labels, const struct json *j, struct err *err) MUST_CHECK;
bool api_is_printable(const char *s); /* no control character in it */
/* Lower-cases <s> into <out>; -ENAMETOOLONG. */
int api_lower(struct slice s, char *out, size_t size) MUST_CHECK;

/* A new API key, the caller's to free(), and the hash that is kept of it. */
char *api_key_make(char hash[65]);

/* ---- handlers, by file ---- */

void api_health(struct api_request *r);
void api_health_live(struct api_request *r);
void api_health_ready(struct api_request *r);
void api_status(struct api_request *r);
void api_metrics(struct api_request *r);
void api_upgrade(struct api_request *r);
void api_top(struct api_request *r);
void api_events(struct api_request *r);

void api_ca(struct api_request *r);
void api_node_register(struct api_request *r);
void api_node_heartbeat(struct api_request *r);
void api_node_certificate(struct api_request *r);
void api_nodes(struct api_request *r);
void api_node(struct api_request *r);
void api_node_containers(struct api_request *r);
void api_node_delete(struct api_request *r);
/* The node that the path names, by number or name; NULL after 404 was answered. */
const struct node *api_find_node(struct api_request *r);

void api_node_drain(struct api_request *r);
void api_node_drain_status(struct api_request *r);
void api_node_undrain(struct api_request *r);
void api_node_quarantine(struct api_request *r);
void api_node_gc(struct api_request *r);
void api_rebalance_plan(struct api_request *r);
void api_rebalance(struct api_request *r);
void api_failover(struct api_request *r);

void api_apps(struct api_request *r);
void api_app(struct api_request *r);
void api_app_delete(struct api_request *r);
void api_app_deploy(struct api_request *r);
void api_app_plan(struct api_request *r);
void api_app_explain(struct api_request *r);
void api_app_scale(struct api_request *r);
void api_app_restart(struct api_request *r);
void api_app_rollback(struct api_request *r);
void api_app_promote(struct api_request *r);
void api_app_abort(struct api_request *r);
void api_app_pause(struct api_request *r);
void api_app_resume(struct api_request *r);
void api_app_lock(struct api_request *r);
void api_app_unlock(struct api_request *r);
void api_app_releases(struct api_request *r);
void api_app_release(struct api_request *r);
void api_app_replicas(struct api_request *r);
void api_app_logs(struct api_request *r);
void api_no_app(struct api_request *r); /* 404, naming it */

void api_routes_list(struct api_request *r);
void api_routes_add(struct api_request *r);
void api_routes_set(struct api_request *r);
void api_routes_remove(struct api_request *r);

void api_certs(struct api_request *r);
void api_cert_set(struct api_request *r);
void api_cert_remove(struct api_request *r);

void api_settings_token(struct api_request *r);
void api_settings_token_revoke(struct api_request *r);
void api_settings_token_status(struct api_request *r);
void api_join_tokens(struct api_request *r);
void api_join_token_create(struct api_request *r);
void api_join_token_revoke(struct api_request *r);
void api_keys(struct api_request *r);
void api_key_create(struct api_request *r);
void api_key_revoke(struct api_request *r);
void api_registries(struct api_request *r);
void api_registry_set(struct api_request *r);
void api_registry_remove(struct api_request *r);

#endif
