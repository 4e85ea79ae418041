/* test_backend_account.c - what backends have served, and goes on when they come and go. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "model/service.h"

#define THREADS 3

static void
each_thread_counts_for_itself(void **state)
{
	struct backend_account *a = backend_account_new(THREADS);
	struct backend_sum s;

	(void)state;
	backend_account_sum(a, &s);
	assert_int_equal(s.bytes_in, 0);
	assert_null(a->tallies[0]);	/* nothing served costs nothing */
	backend_account_request(a, 0, 200, 0.0005);
	backend_account_request(a, 1, 200, 0.003);
	backend_account_request(a, 1, 503, 60.0);
	backend_account_request(a, 1, 499, -1);	/* there was no answer */
	backend_account_request(a, 1, 999, -1);
	backend_account_request(a, 1, 0, -1);
	backend_account_bytes(a, 0, 10, 1000);
	backend_account_bytes(a, 1, 1, 2);
	backend_account_retry(a, 1);
	assert_null(a->tallies[2]);
	backend_account_sum(a, &s);
	assert_int_equal(s.requests[1], 2);
	assert_int_equal(s.requests[3], 1);
	assert_int_equal(s.requests[4], 1);
	assert_int_equal(s.requests[5], 2);
	assert_string_equal(backend_class_word(5), "other");
	assert_int_equal(s.first_bytes[0], 1);
	assert_int_equal(s.first_bytes[1], 1);
	assert_int_equal(s.first_bytes[BACKEND_BUCKETS], 1);
	assert_int_equal(s.first_byte_us, 500 + 3000 + 60000000);
	assert_int_equal(s.bytes_in, 11);
	assert_int_equal(s.bytes_out, 1002);
	assert_int_equal(s.retries, 1);
	backend_account_unref(&a);
	assert_null(a);
	backend_account_request(NULL, 0, 200, 0.1);	/* one that is no service's yet */
	backend_account_sum(NULL, &s);
	assert_int_equal(s.requests[1], 0);
}

static void
what_predecessors_counted_does_not_fall(void **state)
{
	struct backend_account *a = backend_account_new(THREADS);
	struct backend_sum theirs = { .requests = { [1] = 10 }, .bytes_in = 100, .first_bytes = { [2] = 4 } }, s;

	(void)state;
	backend_account_request(a, 0, 200, 0.01);
	backend_account_inherit(a, &theirs);
	backend_account_inherit(a, &theirs);	/* told twice */
	theirs.requests[1] = 12;
	theirs.bytes_in = 50;
	backend_account_inherit(a, &theirs);
	backend_account_sum(a, &s);
	assert_int_equal(s.requests[1], 13);
	assert_int_equal(s.bytes_in, 100);
	assert_int_equal(s.first_bytes[2], 5);
	backend_account_unref(&a);
}

static struct service *
one_service(struct service_config *c, struct backend_config *bc)
{
	for (int i = 0; i < COLORS; i++) {
		assert_true(addr_parse_ip("10.0.0.1", 80 + (unsigned)i, &bc[i].address));
		bc[i].health_address = bc[i].address;
		c->colors[i] = (struct color_config){ .backends = &bc[i], .n_backends = 1 };
	}
	c->name = (char *)(uintptr_t)"web";
	return service_new(c, 0, THREADS - 1);
}

static uint64_t
served_by(const struct backend *b)
{
	struct backend_sum s;

	backend_account_sum(b->account, &s);
	return s.requests[1];
}

static struct backend *
come(struct service *s, const char *ip, enum color color)
{
	struct addr a;
	struct backend *b;

	assert_true(addr_parse_ip(ip, 80, &a));
	b = backend_new(color, &a, &a);
	service_add_backend(s, b);
	return b;
}

static void
a_backend_that_comes_back_goes_on(void **state)
{
	struct backend_config bc[COLORS] = { 0 };
	struct service_config c = { 0 };
	struct service *s = one_service(&c, bc);
	struct backend *b = backend_ref(s->colors[GREEN].backends[0]), *again;

	(void)state;
	backend_account_request(b->account, 0, 200, 0.01);
	service_remove_backend(s, b);
	/* A request that was under way. */
	backend_account_request(b->account, 1, 200, 0.01);
	again = come(s, "10.0.0.1", GREEN);
	assert_int_equal(served_by(again), 2);
	backend_account_request(b->account, 1, 200, 0.01);
	assert_int_equal(served_by(again), 3);
	backend_unref(&b);
	/* Another color or address is another backend. */
	assert_int_equal(served_by(come(s, "10.0.0.1", BLUE)), 0);
	assert_int_equal(served_by(come(s, "10.0.0.2", GREEN)), 0);
	/* One that takes another's place while that is still there. */
	assert_int_equal(served_by(come(s, "10.0.0.1", GREEN)), 3);
	service_free(&s);
}

static void
of_many_that_have_gone_the_oldest_are_forgotten(void **state)
{
	struct backend_config bc[COLORS] = { 0 };
	struct service_config c = { 0 };
	struct service *s = one_service(&c, bc);
	char ip[32];

	(void)state;
	for (int i = 0; i < SERVICE_FORMER_MAX + 2; i++) {
		struct backend *b;

		snprintf(ip, sizeof(ip), "10.1.%d.%d", i / 256, i % 256);
		b = come(s, ip, GREEN);
		backend_account_request(b->account, 0, 200, 0.01);
		service_remove_backend(s, b);
	}
	assert_int_equal(s->n_former, SERVICE_FORMER_MAX);
	assert_int_equal(served_by(come(s, "10.1.0.0", GREEN)), 0);
	assert_int_equal(served_by(come(s, "10.1.0.2", GREEN)), 1);
	assert_int_equal(s->n_former, SERVICE_FORMER_MAX - 1);
	service_free(&s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_thread_counts_for_itself),
		cmocka_unit_test(what_predecessors_counted_does_not_fall),
		cmocka_unit_test(a_backend_that_comes_back_goes_on),
		cmocka_unit_test(of_many_that_have_gone_the_oldest_are_forgotten),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
