/* The agent's own key and certificate: taken from the settings, got from the control plane when there is none, renewed in time. */
#ifndef TEMPS_AGENT_CREDENTIAL_H
#define TEMPS_AGENT_CREDENTIAL_H

#include "agent/plane.h"
#include "agent/settings.h"
#include "reactor/tls.h"

struct credential;

/* <settings> is read, and its certificate and key replaced when a new one came; <changed> is called then, and once at the first usable certificate:
 * later, never from inside. All borrowed. */
struct credential *credential_create(struct loop *l, struct plane *p, struct settings *settings, void (*changed)(void *arg), void *arg);
void credential_destroy(struct credential *c);
/* NULL while there is none. Valid until the next <changed>. */
const struct tls_cert *credential_cert(const struct credential *c);
/* When a certificate of this validity is to be replaced: after two thirds of it. Pure. */
uint64_t credential_due_ms(uint64_t not_before_ms, uint64_t not_after_ms);

#endif
