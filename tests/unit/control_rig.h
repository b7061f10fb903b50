/* A control plane without listeners for tests: loop, store in a directory of its own, front door,
 * links, domain. */
#ifndef TEMPS_TESTS_CONTROL_RIG_H
#define TEMPS_TESTS_CONTROL_RIG_H

#include "control/api.h"
#include "control/deployer.h"
#include "reactor/deadline.h"

struct rig {
	struct control c;
	struct serve_options options;
	char dir[64];
	struct deadline limit;
	/* the last answer to rig_command() */
	bool answered, refused;	/* refused: the store could not write */
	enum reply_kind kind;
	int64_t node_id;
	char id[64];
};

void rig_open(struct rig *r);
void rig_close(struct rig *r);
/* Steps the domain and runs the loop until the answer; fails after 10 s. <reply> points into <e>.
 */
void rig_command(struct rig *r, struct cluster_event *e, uint64_t *reply);
/* Runs the loop until <done>(<arg>) holds; fails after 10 s. */
void rig_until(struct rig *r, bool (*done)(void *arg), void *arg);

#endif
