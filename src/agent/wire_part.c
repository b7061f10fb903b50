/* Pieces that several of the agent API's bodies share: texts, times, ports. */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "agent/wire_part.h"
#include "base/text.h"

int wire_may_text(const struct json *obj, const char *name, char *out, size_t size, struct err *err)
{
	struct slice s;
	int rc = json_want_str(obj, name, size - 1, &s, err);

	out[0] = '\0';
	if (rc == -ENOENT)
		return 0;
	if (rc)
		return rc;
	if (slice_copy(s, out, size))
		return err_say(err, -EINVAL, "member \"%s\": holds a NUL or is too long", name);
	return 0;
}

int wire_need_text(const struct json *obj, const char *name, char *out, size_t size,
		   struct err *err)
{
	int rc = wire_may_text(obj, name, out, size, err);

	if (!rc && !out[0])
		return err_say(err, -EINVAL, "member \"%s\" is missing", name);
	return rc;
}

int wire_may_uint(const struct json *obj, const char *name, uint64_t max, uint64_t *out,
		  struct err *err)
{
	int64_t v = 0;
	int rc = json_want_int(obj, name, 0, (int64_t)max, &v, err);

	if (rc && rc != -ENOENT)
		return rc;
	*out = (uint64_t)v;
	return 0;
}

int wire_may_time(const struct json *obj, const char *name, uint64_t *wall_ms, struct err *err)
{
	char text[40];
	int rc = wire_may_text(obj, name, text, sizeof(text), err);

	*wall_ms = 0;
	if (rc || !text[0])
		return rc;
	if (text_parse_time(slice_str(text), wall_ms))
		return err_say(err, -EINVAL, "member \"%s\": \"%s\" is not a time", name, text);
	return 0;
}

void wire_put_time(struct json_out *o, const char *name, uint64_t wall_ms)
{
	char text[32];

	if (!wall_ms) {
		json_put_null(o, name);
		return;
	}
	text_time(wall_ms, true, text);
	json_put_str(o, name, text);
}

bool wire_is_docker_name(const char *s)
{
	if (!isalnum((unsigned char)*s) || strlen(s) > 255)
		return false;
	for (; *s; s++)
		if (!isalnum((unsigned char)*s) && !strchr("_.-", *s))
			return false;
	return true;
}

int wire_get_container(const struct json *obj, char *id, char *name, struct err *err)
{
	int rc = wire_need_text(obj, "container_id", id, 65, err);
	size_t n;

	if (!rc)
		rc = wire_may_text(obj, "container_name", name, 256, err);
	if (rc)
		return rc;
	n = strspn(id, "0123456789abcdef");
	if (n < 12 || id[n])
		return err_say(err, -EINVAL,
			       "member \"container_id\": expected 12 to 64 hex digits");
	if (*name && !wire_is_docker_name(name))
		return err_say(err, -EINVAL, "member \"container_name\": not a container's name");
	return 0;
}

static bool is_address(const char *text)
{
	uint8_t raw[16];

	return inet_pton(AF_INET, text, raw) == 1 || inet_pton(AF_INET6, text, raw) == 1;
}

int wire_get_port(const struct json *j, struct wire_port *p, struct err *err)
{
	char protocol[8];
	uint64_t host;
	int64_t container = 0;
	int rc;

	if (json_type(j) != JSON_OBJECT)
		return err_say(err, -EINVAL, "a port must be an object");
	rc = json_want_int(j, "container_port", 1, UINT16_MAX, &container, err);
	if (rc == -ENOENT)
		return err_say(err, -EINVAL, "member \"container_port\" is missing");
	if (!rc)
		rc = wire_may_uint(j, "host_port", UINT16_MAX, &host, err);
	if (!rc)
		rc = wire_may_text(j, "protocol", protocol, sizeof(protocol), err);
	if (!rc)
		rc = wire_may_text(j, "host_ip", p->host_ip, sizeof(p->host_ip), err);
	if (rc)
		return rc;
	if (protocol[0] && strcmp(protocol, "Tcp") && strcmp(protocol, "Udp"))
		return err_say(err, -EINVAL,
			       "member \"protocol\": expected \"Tcp\" or \"Udp\", got \"%s\"",
			       protocol);
	if (p->host_ip[0] && !is_address(p->host_ip))
		return err_say(err, -EINVAL, "member \"host_ip\": \"%s\" is not an address",
			       p->host_ip);
	p->container_port = (uint16_t)container;
	p->host_port = (uint16_t)host;
	p->udp = protocol[0] == 'U';
	return 0;
}

void wire_put_port(struct json_out *o, const struct wire_port *p)
{
	json_obj(o, NULL);
	if (p->host_ip[0])
		json_put_str(o, "host_ip", p->host_ip);
	json_put_int(o, "host_port", p->host_port);
	json_put_int(o, "container_port", p->container_port);
	json_put_str(o, "protocol", p->udp ? "Udp" : "Tcp");
	json_obj_end(o);
}
