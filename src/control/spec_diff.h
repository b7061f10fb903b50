/* What differs between two specifications, in the words of the API. */
#ifndef TEMPS_CONTROL_SPEC_DIFF_H
#define TEMPS_CONTROL_SPEC_DIFF_H

#include "base/json.h"
#include "sched/spec.h"

/* Member "changes" of the open object: for each member that differs, "member" ("env.LEVEL"), "change" (added, changed or
 * removed), "from" and "to" as texts; null for what nobody is shown: secrets, and variables that
 * there are. <from> NULL: there was none. Returns how many. */
size_t spec_diff_put(const struct app_spec *from, const struct app_spec *to, struct json_out *o);

#endif
