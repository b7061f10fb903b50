/* The retry rule, a row each, and its budget. */
#include "check.h"

#include <errno.h>

#include "proxy/retry.h"

static void rule(void **state)
{
	enum { FRESH, REUSED };
	enum { ONCE, IDEMPOTENT };
	enum { LOST, HELD };
	static const struct {
		const char *name;
		int rc;
		enum client_stage stage;
		int reused, idempotent, held;
		enum retry_verdict want;
	} cases[] = {
		{ "a failed connect is free, even for a POST", -ECONNREFUSED, CLIENT_CONNECTING,
		  FRESH, ONCE, HELD, RETRY_FREE },
		{ "a connect that timed out too", -ETIMEDOUT, CLIENT_CONNECTING, FRESH, ONCE, HELD,
		  RETRY_FREE },
		{ "but not without its content", -ECONNREFUSED, CLIENT_CONNECTING, FRESH, ONCE,
		  LOST, RETRY_NEVER },
		{ "nothing sent on a stale connection", -EPIPE, CLIENT_UNSENT, REUSED, ONCE, HELD,
		  RETRY_FREE },
		{ "nothing sent on a new one is paid", -ECONNRESET, CLIENT_UNSENT, FRESH, ONCE,
		  HELD, RETRY_BUDGET },
		{ "a GET on a stale connection", -ECONNRESET, CLIENT_SENT, REUSED, IDEMPOTENT, HELD,
		  RETRY_FREE },
		{ "a GET that a new connection ate", -ECONNRESET, CLIENT_SENT, FRESH, IDEMPOTENT,
		  HELD, RETRY_BUDGET },
		{ "a POST that may have been seen, never", -ECONNRESET, CLIENT_SENT, FRESH, ONCE,
		  HELD, RETRY_NEVER },
		{ "not even on a stale connection", -ECONNRESET, CLIENT_SENT, REUSED, ONCE, HELD,
		  RETRY_NEVER },
		{ "a PUT whose content has passed", -ECONNRESET, CLIENT_SENT, FRESH, IDEMPOTENT,
		  LOST, RETRY_NEVER },
		{ "part of a head is an answer", -ECONNRESET, CLIENT_HEAD, FRESH, IDEMPOTENT, HELD,
		  RETRY_NEVER },
		{ "so is a head", -ECONNRESET, CLIENT_BODY, FRESH, IDEMPOTENT, HELD, RETRY_NEVER },
		{ "and nonsense", -EBADMSG, CLIENT_SENT, FRESH, IDEMPOTENT, HELD, RETRY_NEVER },
		{ "who waited 60 s does not wait again", -ETIME, CLIENT_SENT, FRESH, IDEMPOTENT,
		  HELD, RETRY_NEVER },
		{ "a stream that was refused, even a POST", -EAGAIN, CLIENT_UNSENT, REUSED, ONCE,
		  HELD, RETRY_FREE },
		{ "a stream that was reset is as good as sent", -ECONNABORTED, CLIENT_SENT, FRESH,
		  ONCE, HELD, RETRY_NEVER },
		{ "a GET on one", -ECONNABORTED, CLIENT_SENT, FRESH, IDEMPOTENT, HELD,
		  RETRY_BUDGET },
		{ "a tunnel that is not taken", -EOPNOTSUPP, CLIENT_UNSENT, FRESH, ONCE, HELD,
		  RETRY_NEVER },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const struct client_failure f = { .rc = cases[i].rc,
						  .stage = cases[i].stage,
						  .reused = cases[i].reused };

		CHECK_INT(cases[i].name, retry_verdict(&f, cases[i].idempotent, cases[i].held),
			  cases[i].want);
	}
}

static void faults(void **state)
{
	enum { NONE = -1 };
	static const struct {
		const char *name;
		int rc;
		enum client_stage stage;
		bool reused;
		int want;
	} cases[] = {
		{ "refused", -ECONNREFUSED, CLIENT_CONNECTING, false, FAULT_REFUSED },
		{ "reset while connecting", -ECONNRESET, CLIENT_CONNECTING, false, FAULT_REFUSED },
		{ "connect timed out", -ETIMEDOUT, CLIENT_CONNECTING, false, FAULT_TIMEOUT },
		{ "acknowledgements stopped", -ETIMEDOUT, CLIENT_SENT, true, FAULT_TIMEOUT },
		{ "no route", -EHOSTUNREACH, CLIENT_CONNECTING, false, FAULT_UNREACHABLE },
		{ "closed before an answer", -ECONNRESET, CLIENT_SENT, false, FAULT_EARLY_EOF },
		{ "a stale connection shows nothing", -ECONNRESET, CLIENT_SENT, true, NONE },
		{ "but one that breaks off inside an answer does", -ECONNRESET, CLIENT_BODY, true,
		  FAULT_EARLY_EOF },
		{ "a late answer: somebody is there", -ETIME, CLIENT_SENT, false, NONE },
		{ "nonsense: somebody is there", -EBADMSG, CLIENT_HEAD, false, NONE },
		{ "a stream that was refused", -EAGAIN, CLIENT_UNSENT, true, NONE },
		{ "or reset", -ECONNABORTED, CLIENT_SENT, false, NONE },
		{ "our own descriptors", -EMFILE, CLIENT_CONNECTING, false, NONE },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const struct client_failure f = { .rc = cases[i].rc,
						  .stage = cases[i].stage,
						  .reused = cases[i].reused };
		enum endpoint_fault fault = FAULT_REFUSED;
		bool is = retry_fault(&f, &fault);

		CHECK_INT(cases[i].name, is ? (int)fault : NONE, cases[i].want);
	}

	/* What many requests lost together is told by one of them. */
	assert_false(retry_fault(
		&(struct client_failure){ .rc = -ECONNRESET, .stage = CLIENT_SENT, .shared = true },
		&(enum endpoint_fault){ 0 }));
}

static unsigned take_all(struct retry_budget *b, uint64_t now_ms)
{
	unsigned n = 0;

	while (retry_take(b, now_ms))
		n++;
	return n;
}

static void budget(void **state)
{
	struct retry_budget b = { 0 };

	(void)state;
	assert_int_equal(take_all(&b, 5000), 100); /* the floor: ten a second */
	assert_int_equal(take_all(&b, 14999), 0);
	assert_int_equal(take_all(&b, 15000), 100); /* ten seconds later they are forgotten */
	for (unsigned i = 0; i < 5000; i++)
		retry_count(&b, 30000 + i);
	assert_int_equal(take_all(&b, 35000), 1000); /* a fifth */
	assert_int_equal(take_all(&b, 3600000), 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rule),
		cmocka_unit_test(faults),
		cmocka_unit_test(budget),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
