/* GET /metrics: every counter of the process as Prometheus reads it. The modules count in structs
 * of their own and know nothing of this; metrics_table.c says what each field is called,
 * metrics.c walks the table and writes it in pieces. temps-metrics(7) lists them. */
#ifndef TEMPS_CONTROL_METRICS_H
#define TEMPS_CONTROL_METRICS_H

#include "control/expose.h"
#include "http/reply.h"
#include "sched/app.h"

/* Upstreams and endpoints with series of their own: the first ones, so that the size of an answer
 * has a bound. temps_upstreams and temps_endpoints count all. */
#define METRICS_UPSTREAMS_MAX 10000
#define METRICS_ENDPOINTS_MAX 50000
#define METRICS_SCRAPES_MAX 8 /* long answers at the same time */

struct control;

/* Whose field it is. */
enum metric_of {
	OF_BUILD,
	OF_SERVER,
	OF_STREAM,
	OF_FRONT,
	OF_LOG,
	OF_CLIENT,
	OF_LOOP,
	OF_STORE,
	OF_WORK,
	OF_RPC,
	OF_DEPLOYER,
	OF_CLUSTER,
	OF_CERTS,
	OF_PROCESS,
	/* these have a sample for each of them */
	OF_POOL,
	OF_UPSTREAM,
	OF_ENDPOINT,
	METRIC_OFS
};

/* A row of the table. Rows with the same name follow each other and are one family; the first has
 * the help. */
struct metric {
	const char *name;
	const char *labels; /* `reason="full"`, or NULL */
	const char *help;
	uint8_t type; /* enum expose_type */
	uint8_t of;   /* enum metric_of */
	/* The field in its struct: an unsigned integer of 1, 4 or 8 bytes; a histogram, or a pointer to
	 * one. */
	uint16_t at, size;
	uint8_t decimals; /* it counts units of 10^-decimals */
	struct expose_bounds bounds;
};

/* One more answer as long as the list of endpoints, or 503 when there are too many; scrape_end()
 * then. */
bool scrape_begin(struct api_request *r) MUST_CHECK;
void scrape_end(struct control *c);

extern const struct metric metrics_table[];
extern const size_t metrics_table_n;

/* What nobody keeps and is counted when a scrape begins. */
struct cluster_numbers {
	uint32_t apps, braked, routes;
	uint32_t nodes_ok, nodes_suspect, nodes_offline;
	uint32_t nodes_active, nodes_draining, nodes_drained;
	uint32_t replicas[REPLICA_STATES];
	bool refuses; /* commands are not taken */
};

struct build_numbers {
	uint32_t one;
};

#endif
