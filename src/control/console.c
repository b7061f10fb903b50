/* Tells requests for the control plane from requests for the apps behind it. */
#include "control/console.h"

#include <stdio.h>

#include "control/control.h"

/* Four numbers and three dots: a name that a browser takes for an address. */
static bool is_ipv4(struct slice s)
{
	uint64_t number;
	int parts = 0;

	while (s.p) {
		struct slice part = slice_split(s, '.', &s);

		if (part.n > 3 || slice_u64(part, &number) || number > 255)
			return false;
		parts++;
	}
	return parts == 4;
}

bool console_is_host(struct slice host, const char *console_host)
{
	if (host.n && host.p[host.n - 1] == '.')
		host.n--;
	if (!host.n)
		return false;
	if (host.p[0] == '[')
		return true;
	if (host.p[0] >= '0' && host.p[0] <= '9' && is_ipv4(host))
		return true;
	return slice_eq_nocase(host, SLICE("localhost")) ||
	       (console_host && slice_eq_nocase(host, slice_str(console_host)));
}

bool console_owns(struct slice domain, const char *console_host)
{
	struct slice path;

	return console_is_host(slice_split(domain, '/', &path), console_host);
}

/* The API over plain HTTP from elsewhere would carry keys in the clear. */
static void refuse_plain(const struct control *c, struct exchange *x, struct slice host)
{
	static const struct exchange_events events = { 0 };
	struct head h;
	char location[HEAD_MAX_TARGET + 300];

	x->events = &events;
	head_init(&h);
	h.status = 403;
	if (c->https_port) {
		int n = snprintf(location, sizeof(location), "https://%.*s:%u%.*s", SLICE_ARG(host),
				 c->https_port, SLICE_ARG(x->req.path));

		if (n > 0 && (size_t)n < sizeof(location)) {
			h.status = 308;
			head_add(&h, FIELD_LOCATION, slice_of(location, (size_t)n));
		}
	}
	head_add(&h, FIELD_CONTENT_LENGTH, SLICE("0"));
	if (exchange_respond(x, &h, true))
		exchange_abort(x, "the answer does not fit");
}

void console_request(void *arg, struct exchange *x)
{
	struct control *c = arg;
	struct slice host = { 0 };
	uint16_t port;

	if (x->peer->local_user) {
		api_handle(c->api, x);
		return;
	}
	if (head_split_authority(x->req.authority, &host, &port) ||
	    !console_is_host(host, c->options->console_host))
		front_request(c->front, x);
	else if (x->peer->tls || addr_is_loopback(&x->peer->addr))
		api_handle(c->api, x);
	else
		refuse_plain(c, x, host);
}
