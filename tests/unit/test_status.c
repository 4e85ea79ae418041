/* test_status.c - the JSON of status, read back as its users read it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "world.h"

#include "app/teald/status.h"
#include "control/flip.h"

static int
set_up(void **state)
{
	*state = world_new();
	return 0;
}

static int
tear_down(void **state)
{
	world_free(*state);
	return 0;
}

/* The caller's reference. */
static json_t *
status_of(struct world *w, const struct service_ctl *only)
{
	struct buf text;
	struct json j;
	json_error_t error;
	json_t *o;

	buf_init(&text, 1 << 20);
	json_init(&j, &text);
	json_object(&j, NULL);
	status_json(&j, &w->control, only, NULL, &(struct status_wish){ .form = only != NULL ? STATUS_BRIEF : STATUS_FULL });
	json_object_end(&j);
	assert_false(text.failed);
	o = json_loadb(buf_str(&text).p, buf_len(&text), JSON_REJECT_DUPLICATES, &error);
	if (o == NULL)
		fail_msg("%s at byte %d", error.text, error.position);
	buf_free(&text);
	return o;
}

/* "services.0.colors.blue.total"; NULL when there is none. */
static json_t *
at(json_t *o, const char *path)
{
	char part[64];
	size_t n;

	for (; *path != '\0' && o != NULL; path += n + (path[n] == '.')) {
		n = strcspn(path, ".");
		snprintf(part, sizeof(part), "%.*s", (int)n, path);
		o = json_is_array(o) ? json_array_get(o, (size_t)atoi(part)) : json_object_get(o, part);
	}
	return o;
}

#define TEXT_AT(o, path) json_string_value(at((o), (path)))
#define NUMBER_AT(o, path) json_integer_value(at((o), (path)))

static void
says_what_is_active_and_where(void **state)
{
	struct world *w = *state;
	json_t *o = status_of(w, NULL);

	assert_int_equal(json_array_size(at(o, "services")), WORLD_SERVICES);
	assert_string_equal(TEXT_AT(o, "services.0.name"), "shop");
	assert_string_equal(TEXT_AT(o, "services.0.mode"), "tcp");
	assert_string_equal(TEXT_AT(o, "services.0.active"), "green");
	assert_string_equal(TEXT_AT(o, "services.0.idle"), "blue");
	assert_int_equal(NUMBER_AT(o, "services.0.epoch"), 1);
	assert_true(json_is_null(at(o, "services.0.locked")));
	assert_true(json_is_null(at(o, "services.0.drain")));
	assert_true(json_is_null(at(o, "services.0.changed_by")));
	assert_string_equal(TEXT_AT(o, "services.0.listen.0"), "127.0.0.1:80");
	assert_int_equal(json_array_size(at(o, "services.0.preview")), 0);
	assert_string_equal(TEXT_AT(o, "services.1.preview.0"), "127.0.0.1:8080");
	assert_int_equal(NUMBER_AT(o, "services.0.max_connections"), 1000);
	assert_string_equal(TEXT_AT(o, "store.type"), "file");
	assert_true(json_is_true(at(o, "store.up")));
	assert_true(json_real_value(at(o, "store.age")) == 0.25);
	assert_true(json_is_true(at(o, "ready")));
	assert_int_equal(NUMBER_AT(o, "pid"), getpid());
	assert_int_equal(NUMBER_AT(o, "workers"), 2);
	assert_non_null(TEXT_AT(o, "version"));
	json_decref(o);
}

static void
says_for_whom_a_service_listens(void **state)
{
	char *hosts[] = { "shop.example", "*.shop.example" }, *sni[] = { "pay.example" };
	struct world *w = *state;
	struct service_config *shop = &w->services[0], *pay = &w->services[1];
	json_t *o;

	shop->mode = MODE_HTTP;
	shop->names = hosts;
	shop->n_names = 2;
	shop->listen_tls = true;
	shop->plain_listen = &w->preview;
	shop->n_plain_listen = 1;
	pay->names = sni;
	pay->n_names = 1;
	pay->is_default = true;
	o = status_of(w, NULL);
	assert_string_equal(TEXT_AT(o, "services.0.mode"), "http");
	assert_string_equal(TEXT_AT(o, "services.0.hosts.0"), "shop.example");
	assert_string_equal(TEXT_AT(o, "services.0.hosts.1"), "*.shop.example");
	assert_string_equal(TEXT_AT(o, "services.0.plain_listen.0"), "127.0.0.1:8080");
	assert_true(json_is_true(at(o, "services.0.tls")) && json_is_false(at(o, "services.0.default")));
	assert_null(json_object_get(at(o, "services.0"), "sni"));
	assert_string_equal(TEXT_AT(o, "services.1.sni.0"), "pay.example");
	assert_true(json_is_false(at(o, "services.1.tls")) && json_is_true(at(o, "services.1.default")));
	assert_null(json_object_get(at(o, "services.1"), "hosts"));
	json_decref(o);
}

static void
shows_each_backend(void **state)
{
	struct world *w = *state;
	struct backend *b = w->running[0]->colors[BLUE].backends[0];
	json_t *o;

	b->state = BACKEND_DOWN;
	strcpy(b->error, "connection refused");
	atomic_store(&b->connections, 7);
	atomic_store(&w->running[0]->tallies[0].colors[ENTRANCE_MAIN][BLUE].active, 3);
	atomic_store(&w->running[0]->tallies[1].colors[ENTRANCE_MAIN][BLUE].active, 4);
	atomic_store(&w->running[0]->tallies[1].colors[ENTRANCE_PREVIEW][BLUE].active, 2);
	o = status_of(w, NULL);
	assert_string_equal(TEXT_AT(o, "services.0.colors.green.backends.0.state"), "up");
	assert_true(json_is_null(at(o, "services.0.colors.green.backends.0.error")));
	assert_string_equal(TEXT_AT(o, "services.0.colors.blue.backends.0.state"), "down");
	assert_string_equal(TEXT_AT(o, "services.0.colors.blue.backends.0.error"), "connection refused");
	assert_string_equal(TEXT_AT(o, "services.0.colors.blue.backends.0.address"), b->text);
	assert_int_equal(NUMBER_AT(o, "services.0.colors.blue.backends.0.connections"), 7);
	assert_int_equal(strlen(TEXT_AT(o, "services.0.colors.blue.backends.0.since")), strlen("2026-11-22T14:02:11.123Z"));
	assert_int_equal(NUMBER_AT(o, "services.0.colors.blue.healthy"), 0);
	assert_int_equal(NUMBER_AT(o, "services.0.colors.blue.total"), 1);
	/* The sum over workers; previews apart. */
	assert_int_equal(NUMBER_AT(o, "services.0.colors.blue.connections"), 7);
	assert_int_equal(NUMBER_AT(o, "services.0.colors.blue.preview_connections"), 2);
	assert_int_equal(NUMBER_AT(o, "services.0.connections"), 7);
	/* What is open has begun. */
	assert_int_equal(NUMBER_AT(o, "services.0.colors.blue.connections_total"), 7);
	assert_int_equal(NUMBER_AT(o, "services.0.colors.blue.bytes_in"), 0);
	assert_int_equal(NUMBER_AT(o, "services.0.failed_total"), 0);
	json_decref(o);
	atomic_store(&b->connections, 0);
}

static void
shows_lock_and_drain(void **state)
{
	struct world *w = *state;
	struct service_ctl *ctl = w->control.services[0];
	struct record *r = &ctl->service->record;
	json_t *o;

	r->lock.on = true;
	r->lock.at_us = 1700000000123456;
	strcpy(r->lock.by, "ci-shop");
	strcpy(r->lock.reason, "a \"bad\" release \x01");
	w->connections[0][BLUE] = 118;
	drain_start(ctl, BLUE, 12.0);
	o = status_of(w, ctl);
	assert_int_equal(json_array_size(at(o, "services")), 1);
	assert_string_equal(TEXT_AT(o, "services.0.locked.by"), "ci-shop");
	assert_string_equal(TEXT_AT(o, "services.0.locked.reason"), "a \"bad\" release \x01");
	assert_string_equal(TEXT_AT(o, "services.0.locked.at"), "2023-11-14T22:13:20.123Z");
	assert_string_equal(TEXT_AT(o, "services.0.drain.color"), "blue");
	assert_int_equal(NUMBER_AT(o, "services.0.drain.remaining"), 118);
	assert_true(json_number_value(at(o, "services.0.drain.deadline_in")) <= 12.0);
	assert_true(json_number_value(at(o, "services.0.drain.deadline_in")) > 11.0);
	assert_true(json_is_true(at(o, "services.0.colors.blue.draining")));
	assert_true(json_is_false(at(o, "services.0.colors.green.draining")));
	assert_null(at(o, "services.0.colors.green.backends"));	/* it was to be brief */
	json_decref(o);
	r->lock.on = false;
}

static void
does_not_guess_a_color_before_the_store_answers(void **state)
{
	struct world *w = *state;
	json_t *o;

	w->running[1]->known = false;
	o = status_of(w, NULL);
	assert_true(json_is_null(at(o, "services.1.active")));
	assert_true(json_is_null(at(o, "services.1.idle")));
	assert_string_equal(TEXT_AT(o, "services.0.active"), "green");
	json_decref(o);
}

static void
says_why_it_is_not_ready(void **state)
{
	struct world *w = *state;
	struct actor by = { .user = "root" };
	json_t *o;

	assert_true(control_maintenance(&w->control, true, &by));
	o = status_of(w, NULL);
	assert_true(json_is_false(at(o, "ready")));
	assert_true(json_is_true(at(o, "maintenance")));
	assert_non_null(strstr(TEXT_AT(o, "not_ready"), "maintenance"));
	json_decref(o);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(says_what_is_active_and_where, set_up, tear_down),
		cmocka_unit_test_setup_teardown(says_for_whom_a_service_listens, set_up, tear_down),
		cmocka_unit_test_setup_teardown(shows_each_backend, set_up, tear_down),
		cmocka_unit_test_setup_teardown(shows_lock_and_drain, set_up, tear_down),
		cmocka_unit_test_setup_teardown(does_not_guess_a_color_before_the_store_answers, set_up, tear_down),
		cmocka_unit_test_setup_teardown(says_why_it_is_not_ready, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
