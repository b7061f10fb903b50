/* `temps join`: from arguments to an agent.json, by way of the control plane. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/join.h"
#include "agent/plane.h"
#include "agent/register.h"
#include "agent/settings.h"
#include "base/text.h"
#include "reactor/crypto.h"
#include "reactor/pki.h"

#define HEX_BYTES 32	/* of the fingerprint, and of the secret, in the token */

enum { JOIN_OK = 0, JOIN_FAILED = 1, JOIN_USAGE = 2 };

struct join {
	const struct join_options *o;
	struct loop *loop;
	struct rpc *rpc;
	struct plane plane;
	struct settings settings;	/* what agent.json will say */
	char *previous_token;		/* of an earlier join under the same name */
	char *path;
	char fingerprint[2 * HEX_BYTES +
			 1]; /* of the cluster's CA; "" when the token does not have it */
	const char *secret;		/* the rest of the token */
	bool use_tls;
	struct err err;
	bool over;
	int code;
};

static int parse_token(struct join *j, struct err *err)
{
	const char *dot = strchr(j->o->token, '.');
	uint8_t raw[HEX_BYTES];

	if (!dot) {
		j->secret = j->o->token;
	} else {
		if (text_unhex(slice_of(j->o->token, (size_t)(dot - j->o->token)), raw,
			       sizeof(raw)))
			return err_say(err, -EINVAL,
				       "the token: before its dot 64 hex digits are expected");
		text_hex(raw, sizeof(raw), j->fingerprint);
		j->secret = dot + 1;
	}
	/* Anything else was cut or mistyped; the control plane would say no and count it against us. */
	if (text_unhex(slice_str(j->secret), raw, sizeof(raw)))
		return err_say(err, -EINVAL, "the token: 64 hex digits are expected%s",
			       dot ? " behind its dot" : "");
	return 0;
}

static int parse_name(struct join *j, struct err *err)
{
	char host[256] = "";

	if (!j->o->name && gethostname(host, sizeof(host) - 1))
		host[0] = '\0';
	settings_set(&j->settings.node_name, j->o->name ? j->o->name : *host ? host : "worker");
	if (text_is_name(slice_str(j->settings.node_name)))
		return 0;
	return err_say(
		err, -EINVAL,
		"%s \"%s\" cannot name a node: 1 to 64 letters, digits, '.', '_' and '-'; give --name",
		j->o->name ? "--name" : "the host name", j->settings.node_name);
}

static int parse_addresses(struct join *j, struct err *err)
{
	struct settings *s = &j->settings;
	struct addr at;

	if (!j->o->private_address)
		return err_say(
			err, -EINVAL,
			"--private-address is needed: the address by which the control plane reaches this machine's containers");
	if (addr_make(&at, slice_str(j->o->private_address), 1, NULL))
		return err_say(err, -EINVAL,
			       "--private-address \"%s\": a literal address is expected",
			       j->o->private_address);
	settings_set(&s->private_address, j->o->private_address);
	settings_set(&s->listen_address,
		     j->o->agent_address ? j->o->agent_address : "0.0.0.0:3100");
	if (addr_parse(&at, slice_str(s->listen_address), err))
		return err_prefix(err, "--agent-address \"%s\"", s->listen_address);
	s->address = register_address(s->listen_address, s->private_address);
	return 0;
}

static int parse_options(struct join *j, struct err *err)
{
	int rc = plane_check_url(j->o->url, err);

	if (!rc)
		rc = parse_token(j, err);
	if (!rc)
		rc = parse_name(j, err);
	if (!rc)
		rc = parse_addresses(j, err);
	if (!rc)
		rc = node_says_labels(&j->o->node, &j->settings.labels, err);
	j->settings.resources = node_says_resources(&j->o->node);
	settings_set(&j->settings.control_plane_url, j->o->url);
	j->use_tls = !strncmp(j->o->url, "https:", 6);
	return rc;
}

/* A file from an earlier join: its token proves that a node of the same name is this machine. */
static int read_previous(struct join *j, struct err *err)
{
	struct settings old;
	int rc = settings_read(&old, j->path, err);

	if (rc == -ENOENT)
		return 0;
	if (rc)
		return rc;
	if (old.node_name && !strcmp(old.node_name, j->settings.node_name) && old.token)
		settings_set(&j->previous_token, old.token);
	settings_fini(&old);
	return 0;
}

static int make_identity(struct join *j, struct buf *csr, struct err *err)
{
	char token[2 * HEX_BYTES + 1];
	struct buf key;
	int rc;

	crypto_random_hex(token, HEX_BYTES);
	settings_set(&j->settings.token, token);
	buf_init(&key, 0);
	rc = pki_make_key(&key, err);
	if (!rc)
		rc = pki_make_csr(buf_slice(&key), j->settings.node_name, csr, err);
	if (!rc)
		settings_set(&j->settings.key_pem, key.data);
	crypto_wipe(token, sizeof(token));
	crypto_wipe(key.data, key.len);
	buf_fini(&key);
	return rc;
}

static void stop(struct join *j, int code)
{
	j->code = code;
	j->over = true;
	loop_stop(j->loop);
}

/* The certificate the reply brings must be the one that the token vouches for. */
static int check_fingerprint(const struct join *j, const char *ca_pem, struct err *err)
{
	char hex[65];
	int rc;

	if (!j->fingerprint[0])
		return 0;
	if (!ca_pem)
		return err_say(err, -EPROTO, "the control plane did not show its CA certificate");
	rc = pki_fingerprint(slice_str(ca_pem), hex, err);
	if (rc)
		return rc;
	if (crypto_equal(slice_str(hex), slice_str(j->fingerprint)))
		return 0;
	return err_say(
		err, -EKEYREJECTED,
		"the control plane's CA certificate is not the one in the token: the token is another cluster's, or somebody is in between");
}

static void on_registered(void *arg, const struct rpc_result *res)
{
	struct join *j = arg;
	struct json *reply;
	int rc = plane_answer(res, &reply, &j->err);

	if (rc && !res->rc)
		err_prefix(&j->err, "the control plane refused");
	if (!rc)
		rc = register_take(&j->settings, reply, &j->err);
	json_free(reply);
	if (!rc)
		rc = check_fingerprint(j, j->settings.ca_cert_pem, &j->err);
	if (!rc)
		rc = settings_write(&j->settings, j->path, &j->err);
	stop(j, rc ? JOIN_FAILED : JOIN_OK);
}

static void start_register(struct join *j)
{
	static const struct rpc_ops ops = { .done = on_registered };
	struct buf body, csr;

	buf_init(&body, 0);
	buf_init(&csr, 0);
	if (make_identity(j, &csr, &j->err)) {
		stop(j, JOIN_FAILED);
	} else {
		register_body(&j->settings, j->secret, j->previous_token, csr.data, &body);
		if (!plane_begin(&j->plane, "POST", "/api/internal/nodes/register",
				 buf_slice(&body), &ops, j))
			stop(j, JOIN_FAILED);
	}
	crypto_wipe(body.data, body.len);
	buf_fini(&body);
	buf_fini(&csr);
}

/* {"ca_cert_pem","front_ca_pem","signature"}: came over an unverified connection, so it must prove itself. The token's fingerprint vouches for the
 * cluster's CA, and that CA's signature for the authority that signs what the front door shows. */
static int take_trust(struct join *j, const struct json *reply, struct err *err)
{
	const char *ca = json_cstr(json_get(reply, "ca_cert_pem"), NULL);
	const char *front = json_cstr(json_get(reply, "front_ca_pem"), NULL);
	const char *signature = json_cstr(json_get(reply, "signature"), NULL);
	int rc = check_fingerprint(j, ca, err);

	if (rc)
		return rc;
	if (!front || !signature)
		return err_say(err, -EPROTO, "the control plane did not show its front authority");
	rc = pki_verify(slice_str(ca), slice_str(front), slice_str(signature), err);
	if (rc)
		return err_prefix(err, "the control plane's front authority");
	settings_set(&j->settings.control_plane_ca_pem, front);
	settings_set(&j->plane.ca_pem, front);
	return 0;
}

static void on_authorities(void *arg, const struct rpc_result *res)
{
	struct join *j = arg;
	struct json *reply;
	int rc = plane_answer(res, &reply, &j->err);

	j->plane.insecure = false;
	if (!rc)
		rc = take_trust(j, reply, &j->err);
	else if (!res->rc)
		rc = 0;	/* It does not say: then the system's roots must know its certificate. */
	json_free(reply);
	if (rc)
		stop(j, JOIN_FAILED);
	else
		start_register(j);
}

static void start(struct join *j)
{
	static const struct rpc_ops ops = { .done = on_authorities };

	/* No bearer: the first call goes to somebody unproven, and the second carries the proof in its body. */
	plane_init(&j->plane, j->rpc, j->o->url, NULL, NULL);
	if (!j->use_tls || !j->fingerprint[0]) {
		start_register(j);
		return;
	}
	j->plane.insecure = true;
	if (!plane_begin(&j->plane, "GET", "/api/internal/ca", slice_str(""), &ops, j))
		stop(j, JOIN_FAILED);
}

static void report(const struct join *j)
{
	if (j->code == JOIN_OK)
		printf("Joined %s as node %llu (%s).\nConfiguration saved to %s. Start the agent: temps agent\n",
		       j->o->url, (unsigned long long)j->settings.node_id, j->settings.node_name,
		       j->path);
	else
		fprintf(stderr, "temps: join %s: %s\n", j->o->url,
			j->err.text[0] ? j->err.text : "failed");
}

static void join_fini(struct join *j)
{
	plane_fini(&j->plane);
	rpc_destroy(j->rpc);
	if (j->loop)
		loop_destroy(j->loop);
	settings_fini(&j->settings);
	free(j->previous_token);
	free(j->path);
}

int join_run(const struct join_options *o)
{
	struct join j = { .o = o, .code = JOIN_FAILED };

	if (parse_options(&j, &j.err)) {
		fprintf(stderr, "temps: join: %s\n", j.err.text);
		join_fini(&j);
		return JOIN_USAGE;
	}
	j.path = settings_path();
	if (!read_previous(&j, &j.err) && !loop_create(&j.loop, &j.err) &&
	    !rpc_create(&j.rpc, j.loop, &j.err)) {
		start(&j);
		if (!j.over)
			loop_run(j.loop);
	}
	report(&j);
	join_fini(&j);
	return j.code;
}
