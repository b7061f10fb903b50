/* Error pages. */
#include "proxy/errors.h"

#include <stdio.h>

/* Where <type> stands in the Accept fields, counted in list members over all of them; -1:
 * nowhere, or refused by q=0. */
static int accept_rank(const struct head *req, struct slice type)
{
	const struct field *f = head_field(req, FIELD_ACCEPT);
	int rank = 0;

	for (; f && f < req->fields + req->nfields; f++) {
		struct slice rest = f->value;

		if (f->id != FIELD_ACCEPT)
			continue;
		for (; rest.p; rank++) {
			struct slice params, member = slice_split(rest, ',', &rest);

			if (slice_eq_nocase(slice_trim(slice_split(member, ';', &params)), type))
				return slice_eq(slice_trim(params), SLICE("q=0")) ? -1 : rank;
		}
	}
	return -1;
}

bool errors_want_html(const struct head *req)
{
	int html = accept_rank(req, SLICE("text/html"));
	int json = accept_rank(req, SLICE("application/json"));
	int problem = accept_rank(req, SLICE("application/problem+json"));

	return html >= 0 && (json < 0 || html < json) && (problem < 0 || html < problem);
}

struct slice errors_content_type(bool html)
{
	return html ? SLICE("text/html; charset=utf-8") : SLICE("application/problem+json");
}

size_t errors_body(char out[ERRORS_BODY_MAX], unsigned status, const char *detail,
		   const char *request_id, bool html)
{
	struct slice title = status_reason(status);
	int n;

	if (html)
		n = snprintf(
			out, ERRORS_BODY_MAX,
			"<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>%u %.*s</title>\n"
			"<style>body{font:16px/1.5 system-ui,sans-serif;max-width:36em;margin:15vh auto;padding:0 1em;"
			"color-scheme:light dark}small{opacity:.6}</style></head>\n"
			"<body><h1>%u %.*s</h1><p>%s</p><p><small>Request %s</small></p></body></html>\n",
			status, SLICE_ARG(title), status, SLICE_ARG(title), detail, request_id);
	else
		n = snprintf(
			out, ERRORS_BODY_MAX,
			"{\"type\":\"about:blank\",\"title\":\"%.*s\",\"status\":%u,\"detail\":\"%s\",\"instance\":\"%s\"}\n",
			SLICE_ARG(title), status, detail, request_id);
	return n < 0 ? 0 : MIN((size_t)n, ERRORS_BODY_MAX - 1);
}
