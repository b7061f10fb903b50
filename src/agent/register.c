/* The registration of a node. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "agent/register.h"
#include "agent/wire_part.h"
#include "base/text.h"

/* As Docker spells it. */
static const char *architecture(struct utsname *u)
{
	static const struct {
		const char *machine, *docker;
	} names[] = {
		{ "x86_64", "amd64" },
		{ "aarch64", "arm64" },
		{ "i686", "386" },
		{ "armv7l", "arm" },
	};

	if (uname(u))
		return "unknown";
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (!strcmp(u->machine, names[i].machine))
			return names[i].docker;
	return u->machine;
}

void register_body(const struct settings *s, const char *join_token, const char *previous_token,
		   const char *csr_pem, struct buf *out)
{
	struct utsname u;
	struct json_out o;

	json_out_init(&o, out);
	json_obj(&o, NULL);
	json_put_str(&o, "name", s->node_name);
	json_put_str(&o, "token", s->token);
	if (join_token)
		json_put_str(&o, "join_token", join_token);
	if (previous_token)
		json_put_str(&o, "previous_token", previous_token);
	json_put_str(&o, "address", s->address);
	json_put_str(&o, "private_address", s->private_address);
	json_put_str(&o, "role", "worker");
	pairs_put(&s->labels, &o, "labels");
	if (csr_pem)
		json_put_str(&o, "csr_pem", csr_pem);
	json_put_str(&o, "version", PACKAGE_VERSION);
	json_put_str(&o, "architecture", architecture(&u));
	json_obj_end(&o);
}

static int take_text(char **out, const struct json *reply, const char *name, bool needed,
		     struct err *err)
{
	struct slice text;
	int rc = json_want_str(reply, name, 65536, &text, err);

	if (rc == -ENOENT)
		return needed ? err_say(err, -EPROTO, "the control plane's reply has no \"%s\"",
					name)
			      : 0;
	if (rc || (text.n && memchr(text.p, '\0', text.n)))
		return err_say(err, -EPROTO, "the control plane's reply: \"%s\" is wrong", name);
	free(*out);
	*out = slice_dup(text);
	return 0;
}

int register_take(struct settings *s, const struct json *reply, struct err *err)
{
	int64_t id, interval_s = 0;
	int rc = json_want_int(reply, "id", 0, INT64_MAX, &id, err);

	if (rc)
		return err_say(err, -EPROTO, "the control plane's reply has no \"id\"");
	s->node_id = (uint64_t)id;
	s->has_node_id = true;
	rc = take_text(&s->cluster_id, reply, "cluster_id", true, err);
	if (!rc)
		rc = take_text(&s->cert_pem, reply, "cert_pem", false, err);
	if (!rc)
		rc = take_text(&s->ca_cert_pem, reply, "ca_cert_pem", false, err);
	if (rc)
		return rc;
	rc = json_want_int(reply, "heartbeat_interval_s", 1, 86400, &interval_s, err);
	if (!rc)
		s->heartbeat_interval_s = (uint32_t)interval_s;
	return rc == -ENOENT ? 0 : rc;
}

static bool is_wildcard(const char *ip)
{
	return !strcmp(ip, "0.0.0.0") || !strcmp(ip, "::");
}

char *register_address(const char *listen, const char *private_address)
{
	struct addr at, called;
	char ip[64];

	if (addr_parse(&at, slice_str(listen), NULL))
		return NULL;
	addr_ip(&at, ip);
	if (is_wildcard(ip)) {
		if (!private_address ||
		    addr_make(&called, slice_str(private_address), addr_port(&at), NULL))
			return NULL;
		at = called;
	}
	return xasprintf("https://%s", at.text);
}
