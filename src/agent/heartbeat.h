/* Tells the control plane that this node lives, what it has and what runs on it: at once, then every interval, and early when something changed. */
#ifndef TEMPS_AGENT_HEARTBEAT_H
#define TEMPS_AGENT_HEARTBEAT_H

#include "agent/inventory.h"
#include "agent/metrics.h"
#include "agent/plane.h"
#include "agent/settings.h"

struct heartbeat;

struct heartbeat_config {	/* all borrowed, outlive it */
	struct loop *loop;
	struct plane *plane;
	const struct settings *settings;	/* read at each beat */
	struct engine *engine;
	struct inventory *inventory;
	struct metrics *metrics;
};

struct heartbeat *heartbeat_create(const struct heartbeat_config *c);
void heartbeat_destroy(struct heartbeat *h);
/* The first beat goes out now, or as soon as the containers are known, within a second. */
void heartbeat_start(struct heartbeat *h);
/* Something changed: a beat within a second of the last one. */
void heartbeat_nudge(struct heartbeat *h);

/* Of an interval, up to a tenth less, so that many nodes spread and none is ever late. <random> is any number. Pure. */
uint32_t heartbeat_wait_ms(uint32_t interval_s, uint32_t random);

#endif
