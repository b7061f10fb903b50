/* What the server keeps for the HTTP/2 connections among its own; how one lives is h2_kind's matter
 * (http/conn.h). */
#ifndef TEMPS_HTTP_H2_H
#define TEMPS_HTTP_H2_H

#include "http/conn.h"

/* Into shared->h2; at boot. */
void h2_shared_create(struct conn_shared *shared);
/* After the last connection; NULL is fine. */
void h2_shared_destroy(struct h2_shared *h);
void h2_each_pool(const struct h2_shared *h, pool_each_fn *each, void *arg);

#endif
