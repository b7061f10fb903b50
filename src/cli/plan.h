/* Plans as tables. */
#ifndef TEMPS_CLI_PLAN_H
#define TEMPS_CLI_PLAN_H

#include "cli/cli.h"

/* The answer of POST /api/apps/{app}/plan, for people. */
void plan_print(const struct cli *c, const struct json *plan);

#endif
