/* Turning a loop until something is true, with a limit: tests never sleep. */
#ifndef TEMPS_TESTS_PUMP_H
#define TEMPS_TESTS_PUMP_H

#include <ev.h>

#include "check.h"
#include "reactor/loop.h"

#define PUMP_LIMIT_US 60000000 /* under valgrind on a busy machine a TLS handshake takes seconds */

#define PUMP_UNTIL(loop, condition)                                          \
	do {                                                                 \
		uint64_t pump_began_us = loop_clock_us();                    \
		while (!(condition)) {                                       \
			if (loop_clock_us() - pump_began_us > PUMP_LIMIT_US) \
				fail_msg("%s: not within %d ms", #condition, \
					 PUMP_LIMIT_US / 1000);              \
			ev_run(loop_ev(loop), EVRUN_NOWAIT);                 \
		}                                                            \
	} while (0)

/* Lets what is under way happen; for showing that something does not. */
static inline void pump_idle(struct loop *loop)
{
	for (int i = 0; i < 20; i++)
		ev_run(loop_ev(loop), EVRUN_NOWAIT);
}

#endif
