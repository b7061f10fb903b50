/* Nothing that is counted goes without a name: every byte of the stats structs has a row. */
#include "check.h"

#include "control/certs.h"
#include "control/deployer.h"
#include "control/metrics.h"
#include "control/process.h"
#include "http/server.h"
#include "proxy/access.h"
#include "proxy/upstream.h"
#include "reactor/rpc.h"
#include "reactor/stream.h"
#include "store/store.h"

#define WHOLE(of, tag) { of, #tag, sizeof(struct tag) }
#define EXCEPT(of, tag, field) { of, #tag "." #field, offsetof(struct tag, field), sizeof(((struct tag *)0)->field) }

static const struct {
	enum metric_of of;
	const char *name;
	size_t size;
} structs[] = {
	WHOLE(OF_SERVER, server_stats),	    WHOLE(OF_STREAM, stream_counters),
	WHOLE(OF_FRONT, front_stats),	    WHOLE(OF_LOG, access_stats),
	WHOLE(OF_CLIENT, client_stats),	    WHOLE(OF_LOOP, loop_stats),
	WHOLE(OF_STORE, store_stats),	    WHOLE(OF_WORK, work_stats),
	WHOLE(OF_RPC, rpc_stats),	    WHOLE(OF_DEPLOYER, deployer_stats),
	WHOLE(OF_CLUSTER, cluster_numbers), WHOLE(OF_PROCESS, process_stats),
	WHOLE(OF_CERTS, certs_stats),
	WHOLE(OF_UPSTREAM, upstream_stats), WHOLE(OF_ENDPOINT, endpoint_view),
};

/* Fields that are no numbers, and the first of each by_status, which nothing counts in. */
static const struct {
	enum metric_of of;
	const char *name;
	size_t at, size;
} exceptions[] = {
	EXCEPT(OF_FRONT, front_stats, by_status[0]),
	EXCEPT(OF_UPSTREAM, upstream_stats, by_status[0]),
	EXCEPT(OF_ENDPOINT, endpoint_view, by_status[0]),
	EXCEPT(OF_ENDPOINT, endpoint_view, at),
	EXCEPT(OF_ENDPOINT, endpoint_view, identity),
	EXCEPT(OF_ENDPOINT, endpoint_view, twin),
	EXCEPT(OF_CLUSTER, cluster_numbers, replicas[REPLICA_GONE]),
};

#define STRUCT_MAX 2048

static void mark(bool *covered, size_t at, size_t size)
{
	assert_true(at + size <= STRUCT_MAX);
	for (size_t i = at; i < at + size; i++)
		covered[i] = true;
}

/* Padding is less than eight bytes, behind a smaller field. */
static bool is_padding(const bool *covered, size_t at, size_t size)
{
	size_t end = (at + 7) / 8 * 8;

	if (at % 8 == 0)
		return false;
	for (size_t i = at; i < MIN(end, size); i++)
		if (covered[i])
			return false;
	return true;
}

static void every_field_has_a_row(void **state)
{
	(void)state;
	for (size_t s = 0; s < ARRAY_LEN(structs); s++) {
		bool covered[STRUCT_MAX] = { false };

		assert_true(structs[s].size <= STRUCT_MAX);
		for (size_t i = 0; i < metrics_table_n; i++)
			if (metrics_table[i].of == structs[s].of)
				mark(covered, metrics_table[i].at, metrics_table[i].size);
		for (size_t i = 0; i < ARRAY_LEN(exceptions); i++)
			if (exceptions[i].of == structs[s].of)
				mark(covered, exceptions[i].at, exceptions[i].size);
		for (size_t i = 0; i < structs[s].size; i++)
			if (!covered[i] && !is_padding(covered, i, structs[s].size))
				fail_msg("struct %s: the field at byte %zu has no row in src/control/metrics_table.c",
					 structs[s].name, i);
	}
}

/* One name, one place, one help, one type; as Prometheus wants names to be. */
static void families(void **state)
{
	(void)state;
	for (size_t i = 0; i < metrics_table_n; i++) {
		const struct metric *m = &metrics_table[i];
		const struct metric *before = i ? m - 1 : NULL;
		bool goes_on = before && strcmp(before->name, m->name) == 0;
		size_t n = strlen(m->name);

		if (goes_on != !m->help)
			fail_msg("%s: the first row of a family has its help, and no other", m->name);
		if (goes_on && (before->type != m->type || before->of != m->of || !before->labels || !m->labels))
			fail_msg("%s: rows of a family differ by their labels alone", m->name);
		if ((m->type == EXPOSE_COUNTER) != (n > 6 && strcmp(m->name + n - 6, "_total") == 0))
			fail_msg("%s: counters end with _total, and nothing else does", m->name);
		for (size_t k = i + 1; !goes_on && k < metrics_table_n; k++)
			if (strcmp(metrics_table[k].name, m->name) == 0 && strcmp(metrics_table[k - 1].name, m->name) != 0)
				fail_msg("%s: its rows are not in one place", m->name);
		if (m->type != EXPOSE_HISTOGRAM && m->size != 1 && m->size != 4 && m->size != 8)
			fail_msg("%s: a number of %u bytes", m->name, m->size);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_field_has_a_row),
		cmocka_unit_test(families),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
