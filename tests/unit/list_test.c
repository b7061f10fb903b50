/* The intrusive list. */
#include "base/list.h"
#include "check.h"

struct item {
	int n;
	struct list link;
};

static void expect(struct list *l, const char *want)
{
	char got[16] = "";
	size_t n = 0;

	LIST_FOR_EACH(i, l, struct item, link)
		got[n++] = (char)('0' + i->n);
	got[n] = '\0';
	assert_string_equal(got, want);
}

static void test_order(void **state)
{
	struct item items[4];
	struct list l;

	(void)state;
	list_init(&l);
	assert_true(list_empty(&l));
	assert_null(LIST_FIRST(&l, struct item, link));
	assert_null(LIST_LAST(&l, struct item, link));
	for (int i = 0; i < 4; i++) {
		items[i].n = i;
		list_init(&items[i].link);
	}
	list_push_back(&l, &items[1].link);
	list_push_back(&l, &items[3].link);
	list_push_front(&l, &items[0].link);
	list_insert_before(&items[3].link, &items[2].link);
	expect(&l, "0123");
	assert_int_equal(LIST_FIRST(&l, struct item, link)->n, 0);
	assert_int_equal(LIST_LAST(&l, struct item, link)->n, 3);
	list_remove(&items[1].link);
	list_remove(&items[1].link);
	expect(&l, "023");
}

static void test_remove_while_walking(void **state)
{
	struct item items[5];
	struct list l;

	(void)state;
	list_init(&l);
	for (int i = 0; i < 5; i++) {
		items[i].n = i;
		list_push_back(&l, &items[i].link);
	}
	LIST_FOR_EACH_SAFE(i, &l, struct item, link)
		if (i->n % 2 == 0)
			list_remove(&i->link);
	expect(&l, "13");
	LIST_FOR_EACH_SAFE(i, &l, struct item, link)
		list_remove(&i->link);
	assert_true(list_empty(&l));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_remove_while_walking),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
