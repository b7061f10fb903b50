/* What a client reads when the front door itself answers: problem+json (RFC 9457), or a small
 * HTML page for a browser. */
#ifndef TEMPS_PROXY_ERRORS_H
#define TEMPS_PROXY_ERRORS_H

#include "http/head.h"

#define ERRORS_BODY_MAX 1024

/* Would whoever sent <req> rather read HTML? Only when Accept names text/html, and no JSON type
 * before it. */
bool errors_want_html(const struct head *req);
/* The page's bytes: the same for the same arguments. <detail> is a static sentence of ours,
 * without characters to escape. */
size_t errors_body(char out[ERRORS_BODY_MAX], unsigned status, const char *detail,
		   const char *request_id, bool html);
struct slice errors_content_type(bool html);

#endif
