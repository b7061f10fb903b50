/* Targets of static routes: what is one, and what is not. */
#include "check.h"

#include "base/target.h"

static void targets(void **state)
{
	static const struct {
		const char *text, *at; /* NULL: refused */
		uint32_t weight;
	} cases[] = {
		{ "http://10.0.0.7:3000", "10.0.0.7:3000", 1 },
		{ "http://[fd00::1]:80", "[fd00::1]:80", 1 },
		{ "http://10.0.0.7:3000,weight=3", "10.0.0.7:3000", 3 },
		{ "http://10.0.0.7:3000,weight=0", "10.0.0.7:3000", 0 },
		{ "http://10.0.0.7:3000,weight=1000", "10.0.0.7:3000", 1000 },
		{ "http://10.0.0.7:3000,weight=1001", NULL, 0 },
		{ "http://10.0.0.7:3000,weight=-1", NULL, 0 },
		{ "http://10.0.0.7:3000,weight=", NULL, 0 },
		{ "http://10.0.0.7:3000,weight=1,weight=2", NULL, 0 },
		{ "http://10.0.0.7:3000,weigh=1", NULL, 0 },
		{ "http://10.0.0.7:3000,", NULL, 0 },
		{ "http://10.0.0.7:3000/", NULL, 0 },
		{ "http://10.0.0.7:0", NULL, 0 },
		{ "http://10.0.0.7", NULL, 0 },
		{ "http://name:80", NULL, 0 },
		{ "https://10.0.0.7:3000", NULL, 0 },
		{ "10.0.0.7:3000", NULL, 0 },
		{ "", NULL, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct target t;
		struct err err = { .text = "" };
		int rc = target_parse(&t, slice_str(cases[i].text), &err);

		CHECK_INT(cases[i].text, rc == 0, cases[i].at != NULL);
		if (rc < 0) {
			assert_non_null(strstr(err.text, "expected http://"));
			continue;
		}
		CHECK_STR(cases[i].text, t.at.text, cases[i].at);
		CHECK_INT(cases[i].text, t.weight, cases[i].weight);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(targets) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
