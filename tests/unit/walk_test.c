/* Walks over upstreams and endpoints that change meanwhile. */
#include "check.h"

#include "proxy/walk.h"

static struct {
	struct loop *loop;
	struct work *work;
	struct front *front;
	struct upstream *up[4];
	struct walk walk;
} t;

static struct endpoint *add(unsigned up, const char *at)
{
	struct addr a;

	assert_int_equal(addr_parse(&a, slice_str(at), NULL), 0);
	return endpoint_add(t.up[up], &a, "", 0);
}

static int start(void **state)
{
	static const char *const names[] = { "a", "b", "c", "d" };
	struct front_config config;

	(void)state;
	front_config_default(&config);
	if (loop_create(&t.loop, NULL) || work_create(&t.work, t.loop, "work", 8, NULL) ||
	    front_create(&t.front, t.loop, t.work, &config, NULL, NULL, NULL))
		return -1;
	for (size_t i = 0; i < ARRAY_LEN(t.up); i++)
		t.up[i] = upstream_create(t.front, names[i], NULL);
	return 0;
}

static int stop(void **state)
{
	(void)state;
	front_destroy(t.front);
	work_destroy(t.work);
	loop_destroy(t.loop);
	return 0;
}

static const char *next_upstream(struct walk *w)
{
	struct upstream *u = walk_upstream(w);

	return u ? upstream_name(u) : "";
}

/* "b 127.0.0.1:1" or "". */
static const char *next_endpoint(struct walk *w)
{
	static char text[128];
	struct endpoint *e = walk_endpoint(w);
	struct endpoint_view v;

	text[0] = '\0';
	if (e) {
		endpoint_view(e, &v);
		snprintf(text, sizeof(text), "%s %s", upstream_name(endpoint_upstream(e)),
			 v.at->text);
	}
	return text;
}

static void upstreams(void **state)
{
	struct walk *w = &t.walk;

	(void)state;
	walk_begin(w, t.front);
	assert_string_equal(next_upstream(w), "a");
	upstream_destroy(t.up[0]); /* the one before */
	upstream_destroy(t.up[1]); /* the next */
	assert_string_equal(next_upstream(w), "c");
	upstream_create(t.front, "e", NULL);
	assert_string_equal(next_upstream(w), "d");
	assert_string_equal(next_upstream(w), "e");
	assert_string_equal(next_upstream(w), "");
	assert_string_equal(next_upstream(w), "");
	walk_end(w);
}

static void endpoints(void **state)
{
	struct endpoint *first = add(1, "127.0.0.1:1"), *second = add(1, "127.0.0.1:2");
	struct walk *w = &t.walk;

	(void)state;
	add(3, "127.0.0.1:3");
	walk_begin(w, t.front);
	assert_string_equal(next_endpoint(w), "b 127.0.0.1:1");
	endpoint_remove(first);
	endpoint_remove(second); /* the next, and the last of its upstream */
	assert_string_equal(next_endpoint(w), "d 127.0.0.1:3");
	assert_string_equal(next_endpoint(w), "");
	walk_end(w);
	add(0, "127.0.0.1:4");
	walk_begin(w, t.front);
	assert_string_equal(next_endpoint(w), "a 127.0.0.1:4");
	upstream_destroy(t.up[0]); /* the one being walked */
	add(2, "127.0.0.1:5");
	add(2, "127.0.0.1:6");
	assert_string_equal(next_endpoint(w), "c 127.0.0.1:5");
	assert_string_equal(next_endpoint(w), "c 127.0.0.1:6");
	assert_string_equal(next_endpoint(w), "d 127.0.0.1:3");
	assert_string_equal(next_endpoint(w), "");
	walk_end(w);
}

static void twins(void **state)
{
	struct endpoint_view v;

	(void)state;
	endpoint_view(add(0, "127.0.0.1:1"), &v);
	assert_int_equal(v.twin, 0);
	endpoint_view(add(0, "127.0.0.1:2"), &v);
	assert_int_equal(v.twin, 0);
	endpoint_view(add(0, "127.0.0.1:1"), &v);
	assert_int_equal(v.twin, 1);
	endpoint_view(add(0, "127.0.0.1:1"), &v);
	assert_int_equal(v.twin, 2);
	endpoint_view(add(1, "127.0.0.1:1"), &v);
	assert_int_equal(v.twin, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(upstreams, start, stop),
		cmocka_unit_test_setup_teardown(endpoints, start, stop),
		cmocka_unit_test_setup_teardown(twins, start, stop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
