/* test_quality.c - the last minute of a service, and the minutes around a flip. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "control/quality.h"

#define WORKERS 2

struct rig {
	struct service_config config;
	struct service *service;
	struct quality *quality;
	double now;
};

static struct rig *
rig_new(enum service_mode mode)
{
	struct rig *r = calloc(1, sizeof(*r));

	assert_non_null(r);
	r->config = (struct service_config){ .name = (char *)(uintptr_t)"web", .mode = mode };
	r->service = service_new(&r->config, 0, WORKERS);
	r->service->record = (struct record){ .color = GREEN, .epoch = 1 };
	r->quality = quality_new(r->service);
	r->now = quality_point(r->quality, 0)->at;
	return r;
}

static void
rig_free(struct rig **rp)
{
	service_free(&(*rp)->service);
	free((*rp)->quality);
	free(*rp);
	*rp = NULL;
}

static struct tally_color *
tally_at(struct rig *r, unsigned worker, enum color color)
{
	return &r->service->tallies[worker].colors[ENTRANCE_MAIN][color];
}

static void
pass(struct rig *r, double seconds)
{
	for (double end = r->now + seconds; r->now < end;) {
		r->now += QUALITY_STEP;
		quality_sample(r->quality, r->service, r->now);
	}
}

static struct quality_figures
recent(struct rig *r, enum color color)
{
	return quality_recent(r->quality, r->service, color, r->now);
}

static void
requests(struct rig *r, enum color color, unsigned n, unsigned status, double seconds)
{
	for (unsigned i = 0; i < n; i++)
		tally_request(tally_at(r, i % WORKERS, color), status, seconds);
}

static void
what_is_older_than_a_minute_is_forgotten(void **state)
{
	struct rig *r = rig_new(MODE_HTTP);
	struct quality_figures f;

	(void)state;
	requests(r, GREEN, 97, 200, 0.002);
	requests(r, GREEN, 2, 404, 0.002);
	requests(r, GREEN, 1, 503, 0.002);
	pass(r, 30);
	f = recent(r, GREEN);
	assert_int_equal(f.sum.count, 100);
	assert_int_equal(f.sum.classes[1], 97);
	assert_int_equal(f.sum.classes[3], 2);
	assert_int_equal(f.sum.classes[4], 1);
	assert_int_equal(f.sum.errors, 1);
	assert_true(f.seconds == 30.0);
	assert_int_equal(recent(r, BLUE).sum.count, 0);
	requests(r, GREEN, 10, 200, 0.002);
	pass(r, 30);
	assert_int_equal(recent(r, GREEN).sum.count, 110);
	pass(r, 5);
	assert_int_equal(recent(r, GREEN).sum.count, 10);
	assert_int_equal(recent(r, GREEN).sum.errors, 0);
	assert_true(recent(r, GREEN).seconds == QUALITY_WINDOW);
	pass(r, 3600);
	assert_int_equal(recent(r, GREEN).sum.count, 0);
	assert_true(recent(r, GREEN).seconds == QUALITY_WINDOW);
	rig_free(&r);
}

static void
a_flip_parts_what_was_before_from_what_came_after(void **state)
{
	struct rig *r = rig_new(MODE_HTTP);
	struct quality_figures f;

	(void)state;
	assert_int_equal(r->quality->flip.epoch, 0);
	requests(r, GREEN, 50, 200, 0.002);
	requests(r, BLUE, 7, 500, 0.002);	/* a rehearsal is not of the flip */
	pass(r, 20);
	r->service->record = (struct record){ .color = BLUE, .epoch = 2, .at_us = 5000000 };
	r->now += 1;
	quality_on_flip(r->quality, r->service, GREEN, r->now);
	requests(r, BLUE, 98, 200, 0.002);
	requests(r, BLUE, 2, 500, 0.002);
	requests(r, GREEN, 3, 502, 0.002);	/* those that were under way */
	r->now += 1;
	f = quality_after(r->quality, r->service, r->now);
	assert_int_equal(f.sum.count, 100);
	assert_int_equal(f.sum.errors, 2);
	assert_true(f.seconds == 1.0);
	assert_int_equal(r->quality->flip.before.sum.count, 50);
	assert_int_equal(r->quality->flip.before.sum.errors, 0);
	assert_true(r->quality->flip.before.seconds == 21.0);
	assert_int_equal(r->quality->flip.from, GREEN);
	assert_int_equal(r->quality->flip.to, BLUE);
	assert_int_equal(r->quality->flip.epoch, 2);
	/* The minute goes on; that before it stays. */
	pass(r, 120);
	requests(r, BLUE, 5, 200, 0.002);
	f = quality_after(r->quality, r->service, r->now);
	assert_int_equal(f.sum.count, 5);
	assert_int_equal(f.sum.errors, 0);
	assert_int_equal(r->quality->flip.before.sum.count, 50);
	rig_free(&r);
}

static void
quantiles_are_guessed_within_their_bucket(void **state)
{
	struct rig *r = rig_new(MODE_HTTP);
	struct quality_figures f = recent(r, GREEN);
	double p;

	(void)state;
	assert_false(quality_quantile(&f, true, 0.5, &p));
	requests(r, GREEN, 98, 200, 0.0009);	/* (0, 1 ms] */
	requests(r, GREEN, 2, 200, 0.3);	/* (250, 500 ms] */
	f = recent(r, GREEN);
	assert_true(quality_quantile(&f, true, 0.5, &p));
	assert_true(p > 0.00051 && p < 0.000511);
	assert_true(quality_quantile(&f, true, 0.99, &p));
	assert_true(p > 0.374 && p < 0.376);
	/* Above the last bound nothing is known but that. */
	requests(r, GREEN, 1000, 200, 100.0);
	f = recent(r, GREEN);
	assert_true(quality_quantile(&f, true, 0.99, &p));
	assert_true(p == 30.0);
	rig_free(&r);
}

static void
sessions_are_judged_by_how_they_ended(void **state)
{
	struct rig *r = rig_new(MODE_TCP);
	struct quality_figures f;
	double p;

	(void)state;
	tally_add(&tally_at(r, 0, GREEN)->ended[END_DONE], 6);
	tally_add(&tally_at(r, 1, GREEN)->ended[END_CONNECT], 2);
	tally_add(&tally_at(r, 0, GREEN)->ended[END_NO_BACKEND], 1);
	tally_add(&tally_at(r, 0, GREEN)->ended[END_DRAINED], 1);
	tally_add(&tally_at(r, 0, GREEN)->ended[END_DENIED], 100);	/* says nothing about green */
	tally_observe(&tally_at(r, 0, GREEN)->connect_seconds, 0.0002);
	f = recent(r, GREEN);
	assert_int_equal(f.sum.count, 10);
	assert_int_equal(f.sum.errors, 3);
	assert_true(quality_quantile(&f, false, 0.99, &p));
	assert_true(p > 0.0002 && p <= 0.00025);
	rig_free(&r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_older_than_a_minute_is_forgotten),
		cmocka_unit_test(a_flip_parts_what_was_before_from_what_came_after),
		cmocka_unit_test(quantiles_are_guessed_within_their_bucket),
		cmocka_unit_test(sessions_are_judged_by_how_they_ended),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
