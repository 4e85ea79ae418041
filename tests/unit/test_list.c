/* test_list.c - the intrusive list. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/list.h"

struct item {
	int value;
	struct link link;
};

static void
assert_items(const struct link *head, const int *values, int n)
{
	const struct link *l = head->next;

	for (int i = 0; i < n; i++, l = l->next) {
		assert_ptr_not_equal(l, head);
		assert_int_equal(list_entry(l, struct item, link)->value, values[i]);
		assert_ptr_equal(l->next->prev, l);
	}
	assert_ptr_equal(l, head);
}

static void
test_append_and_remove(void **state)
{
	struct item a = { .value = 1 }, b = { .value = 2 }, c = { .value = 3 };
	struct link head;

	(void)state;
	list_init(&head);
	assert_true(list_empty(&head));
	assert_null(list_first(&head));
	list_append(&head, &a.link);
	list_append(&head, &b.link);
	list_append(&head, &c.link);
	assert_items(&head, (int[]){ 1, 2, 3 }, 3);
	assert_ptr_equal(list_first(&head), &a.link);
	list_remove(&b.link);
	assert_items(&head, (int[]){ 1, 3 }, 2);
	list_remove(&b.link);	/* twice is harmless */
	assert_items(&head, (int[]){ 1, 3 }, 2);
	list_remove(&a.link);
	list_remove(&c.link);
	assert_true(list_empty(&head));
}

static void
test_each_survives_removal_of_the_current(void **state)
{
	struct item items[5];
	struct link head;
	int sum = 0;

	(void)state;
	list_init(&head);
	for (int i = 0; i < 5; i++) {
		items[i].value = i;
		list_append(&head, &items[i].link);
	}
	LIST_EACH(l, &head) {
		int value = list_entry(l, struct item, link)->value;

		sum += value;
		if (value % 2 == 0)
			list_remove(l);
	}
	assert_int_equal(sum, 0 + 1 + 2 + 3 + 4);
	assert_items(&head, (int[]){ 1, 3 }, 2);
}

static void
test_splice(void **state)
{
	struct item a = { .value = 1 }, b = { .value = 2 }, c = { .value = 3 };
	struct link to, from;

	(void)state;
	list_init(&to);
	list_init(&from);
	list_splice(&to, &from);
	assert_true(list_empty(&to));
	list_append(&from, &b.link);
	list_append(&from, &c.link);
	list_append(&to, &a.link);
	list_splice(&to, &from);
	assert_items(&to, (int[]){ 1, 2, 3 }, 3);
	assert_true(list_empty(&from));
	list_splice(&from, &to);
	assert_items(&from, (int[]){ 1, 2, 3 }, 3);
	assert_true(list_empty(&to));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_append_and_remove),
		cmocka_unit_test(test_each_survives_removal_of_the_current),
		cmocka_unit_test(test_splice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
