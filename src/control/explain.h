/* Answers about placement, for the handlers that know whom they are about. Each gives the whole response. */
#ifndef TEMPS_CONTROL_EXPLAIN_H
#define TEMPS_CONTROL_EXPLAIN_H

#include "http/reply.h"
#include "sched/app.h"

/* What a deploy of <spec> would do. <image_id>: what its image means now, or NULL. */
void explain_deploy(struct api_request *r, const char *app, const struct app_spec *spec,
		    const char *image_id);
/* What another number of replicas would do. */
void explain_scale(struct api_request *r, const struct app *app, uint32_t replicas);
/* Why its replicas are where they are. */
void explain_app(struct api_request *r, const struct app *app);

#endif
