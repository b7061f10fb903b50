/* Keeps a usable certificate for the agent's listener. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "agent/credential.h"
#include "base/log.h"
#include "reactor/crypto.h"
#include "reactor/deadline.h"
#include "reactor/pki.h"

#define LOOK_MS (6 * 3600 * 1000u)	/* how often its age is looked at */
#define RETRY_MIN_MS 2000
#define RETRY_MAX_MS 60000

struct credential {
	struct loop *loop;
	struct plane *plane;
	struct settings *settings;
	struct tls_cert *cert;
	struct buf key, csr;		/* of the request under way */
	struct rpc_call *call;
	struct deadline timer;
	struct loop_task announce;
	uint32_t retry_ms;
	void (*changed)(void *arg);
	void *arg;
};

uint64_t credential_due_ms(uint64_t not_before_ms, uint64_t not_after_ms)
{
	return not_before_ms + (not_after_ms - not_before_ms) / 3 * 2;
}

static void on_announce(void *arg)
{
	struct credential *c = arg;

	c->changed(c->arg);
}

/* Makes the settings' pair the one in use, unless it cannot be used. */
static int adopt(struct credential *c, struct err *err)
{
	struct tls_cert *cert;
	int rc;

	if (!c->settings->cert_pem || !c->settings->key_pem)
		return err_say(err, -ENOENT, "no certificate yet");
	rc = tls_cert_load(&cert, slice_str(c->settings->cert_pem), slice_str(c->settings->key_pem),
			   err);
	if (rc)
		return rc;
	if (tls_cert_not_after(cert) <= loop_wall_ms()) {
		tls_cert_free(cert);
		return err_say(err, -EKEYEXPIRED, "the certificate has expired");
	}
	tls_cert_free(c->cert);
	c->cert = cert;
	loop_later(c->loop, &c->announce);
	return 0;
}

static void renew(struct credential *c);

static void look(struct credential *c)
{
	if (!c->cert || credential_due_ms(tls_cert_not_before(c->cert),
					  tls_cert_not_after(c->cert)) <= loop_wall_ms())
		renew(c);
	else
		deadline_set(&c->timer, LOOK_MS);
}

static void retry(struct credential *c, const char *why)
{
	c->retry_ms = MIN(MAX(c->retry_ms * 2, RETRY_MIN_MS), RETRY_MAX_MS);
	log_warn("certificate: %s; next attempt in %u s", why, c->retry_ms / 1000);
	deadline_set(&c->timer, c->retry_ms);
}

static void on_answer(void *arg, const struct rpc_result *res)
{
	struct credential *c = arg;
	const char *cert, *ca;
	struct err err = { 0 };
	struct json *j;

	c->call = NULL;
	if (plane_answer(res, &j, &err)) {
		retry(c, err.text);
		return;
	}
	cert = json_cstr(json_get(j, "cert_pem"), "");
	ca = json_cstr(json_get(j, "ca_cert_pem"), NULL);
	settings_set(&c->settings->cert_pem, cert);
	settings_set(&c->settings->key_pem, c->key.data);
	if (ca)
		settings_set(&c->settings->ca_cert_pem, ca);
	json_free(j);
	if (adopt(c, &err)) {
		retry(c, err.text);
		return;
	}
	c->retry_ms = 0;
	log_info("certificate: a new one came");
	look(c);
}

static int make_request(struct credential *c, struct buf *body, struct err *err)
{
	struct json_out o;
	int rc;

	buf_clear(&c->key);
	buf_clear(&c->csr);
	rc = pki_make_key(&c->key, err);
	if (!rc)
		rc = pki_make_csr(buf_slice(&c->key), c->settings->node_name, &c->csr, err);
	json_out_init(&o, body);
	json_obj(&o, NULL);
	json_put_slice(&o, "csr_pem", buf_slice(&c->csr));
	json_obj_end(&o);
	return rc;
}

static void renew(struct credential *c)
{
	static const struct rpc_ops ops = { .done = on_answer };
	struct err err = { 0 };
	struct buf body;
	char path[64];

	if (c->call)
		return;
	buf_init(&body, 0);
	snprintf(path, sizeof(path), "/api/internal/nodes/%" PRIu64 "/certificate",
		 c->settings->node_id);
	deadline_set(&c->timer, 0);
	if (make_request(c, &body, &err))
		retry(c, err.text);
	else if (!(c->call = plane_begin(c->plane, "POST", path, buf_slice(&body), &ops, c)))
		retry(c, "too many calls at once");
	buf_fini(&body);
}

static void on_timer(void *arg)
{
	look(arg);
}

struct credential *credential_create(struct loop *l, struct plane *p, struct settings *settings,
				     void (*changed)(void *arg), void *arg)
{
	struct credential *c = xcalloc(1, sizeof(*c));
	struct err err = { 0 };

	c->loop = l;
	c->plane = p;
	c->settings = settings;
	c->changed = changed;
	c->arg = arg;
	buf_init(&c->key, 0);
	buf_init(&c->csr, 0);
	loop_task_init(&c->announce, on_announce, c);
	deadline_init(&c->timer, l, on_timer, c);
	if (adopt(c, &err))
		log_info("certificate: %s; asking the control plane for one", err.text);
	look(c);
	return c;
}

void credential_destroy(struct credential *c)
{
	if (!c)
		return;
	rpc_cancel(c->call);
	deadline_stop(&c->timer);
	loop_task_cancel(&c->announce);
	tls_cert_free(c->cert);
	if (c->key.data)
		crypto_wipe(c->key.data, c->key.len);
	buf_fini(&c->key);
	buf_fini(&c->csr);
	free(c);
}

const struct tls_cert *credential_cert(const struct credential *c)
{
	return c->cert;
}
