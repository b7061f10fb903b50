/* The registration of a node: what is sent, and what comes back into the settings. */
#ifndef TEMPS_AGENT_REGISTER_H
#define TEMPS_AGENT_REGISTER_H

#include "agent/settings.h"

/* Appends the body of POST /api/internal/nodes/register: <s> with its name, token, addresses and labels. <join_token> is NULL when a node that is
 * known proves itself by <previous_token>; <csr_pem> NULL asks for no certificate. */
void register_body(const struct settings *s, const char *join_token, const char *previous_token, const char *csr_pem, struct buf *out);
/* Node id, cluster id, interval and certificates of the reply. -EPROTO: it lacks one; <s> may be changed in part. */
int register_take(struct settings *s, const struct json *reply, struct err *err) MUST_CHECK;
/* Where the control plane calls the agent that listens on <listen>, "https://10.0.0.5:3100": a wildcard address stands for <private_address>.
 * The caller's to free(); NULL when neither is an address to call. */
char *register_address(const char *listen, const char *private_address);

#endif
