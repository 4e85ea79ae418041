/* test_flip_reply.c - what clients of the admin socket read of a flip, a check and
 * a lock, to the byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "app/teald/flip_reply.h"
#include "control/gate.h"

static struct service_config config = { .name = "web" };
static struct service service = { .config = &config, .record = { .color = BLUE, .epoch = 7 } };
static struct service_ctl ctl = { .service = &service };
static struct backend up = { .text = "10.0.0.11:80", .state = BACKEND_UP };
static struct backend down = { .text = "10.0.0.12:80", .state = BACKEND_DOWN };
static struct gate_backend backends[] = {
	{ .backend = &up, .ok = true },
	{ .backend = &down, .error = "connection refused" },
};
static struct gate gate = {
	.ctl = &ctl, .color = GREEN, .backends = backends, .n = 2, .healthy = 1, .needed = 2
};

static void
assert_text(struct buf *text, const char *expected)
{
	assert_int_equal(buf_len(text), strlen(expected));
	assert_memory_equal(buf_str(text).p, expected, strlen(expected));
	buf_free(text);
}

static void
assert_event(struct flip_event e, const char *expected)
{
	struct buf text;

	buf_init(&text, 4096);
	flip_reply_event(&text, &e);
	assert_text(&text, expected);
}

static void
assert_outcome(struct flip_outcome o, bool with_lock, const char *expected)
{
	struct buf text;

	buf_init(&text, 4096);
	o.service = &service;
	flip_reply_outcome(&text, &o, with_lock);
	assert_text(&text, expected);
}

static void
the_steps_of_a_flip(void **state)
{
	(void)state;
	assert_event(
		(struct flip_event){ .kind = FLIP_EVENT_CHECKED, .gate = &gate },
		"{\"event\":\"checked\",\"service\":\"web\",\"to\":\"green\",\"healthy\":1,\"total\":2,\"needed\":2,"
		"\"backends\":[{\"address\":\"10.0.0.11:80\",\"ok\":true,\"state\":\"up\",\"error\":null},"
		"{\"address\":\"10.0.0.12:80\",\"ok\":false,\"state\":\"down\",\"error\":\"connection refused\"}]}\n");
	assert_event((struct flip_event){ .kind = FLIP_EVENT_COMMITTED, .epoch = 7 },
		     "{\"event\":\"committed\",\"epoch\":7}\n");
	assert_event((struct flip_event){ .kind = FLIP_EVENT_APPLIED, .epoch = 7, .seconds = 0.0012509 },
		     "{\"event\":\"applied\",\"epoch\":7,\"ms\":1.25}\n");
	assert_event((struct flip_event){ .kind = FLIP_EVENT_DRAINING, .remaining = 3 },
		     "{\"event\":\"draining\",\"remaining\":3}\n");
	assert_event((struct flip_event){ .kind = FLIP_EVENT_DRAINED, .epoch = 7, .seconds = 1.5, .cut = 2 },
		     "{\"event\":\"drained\",\"epoch\":7,\"seconds\":1.5,\"cut\":2}\n");
}

static void
the_outcome_of_a_flip(void **state)
{
	(void)state;
	assert_outcome(
		(struct flip_outcome){ .changed = CHANGED_YES }, false,
		"{\"ok\":true,\"service\":\"web\",\"active\":\"blue\",\"epoch\":7,\"changed\":true}\n");
	assert_outcome(
		(struct flip_outcome){ .error = E_CONFLICT, .message = "no", .changed = CHANGED_NO }, false,
		"{\"ok\":false,\"error\":\"conflict\",\"message\":\"no\",\"service\":\"web\",\"active\":\"blue\","
		"\"epoch\":7,\"changed\":false}\n");
	assert_outcome(
		(struct flip_outcome){ .error = E_UNKNOWN, .message = "?", .changed = CHANGED_UNKNOWN },
		false,
		"{\"ok\":false,\"error\":\"unknown\",\"message\":\"?\",\"service\":\"web\",\"active\":\"blue\","
		"\"epoch\":7,\"changed\":null}\n");
}

static void
the_outcome_of_a_check(void **state)
{
	(void)state;
	assert_outcome(
		(struct flip_outcome){ .gate = &gate }, false,
		"{\"ok\":true,\"service\":\"web\",\"to\":\"green\",\"healthy\":1,\"total\":2,\"needed\":2}\n");
}

static void
the_outcome_of_a_lock(void **state)
{
	(void)state;
	assert_outcome((struct flip_outcome){ .changed = CHANGED_YES }, true,
		       "{\"ok\":true,\"service\":\"web\",\"active\":\"blue\",\"epoch\":7,\"locked\":null,"
		       "\"changed\":true}\n");
	service.record.lock.on = true;
	strcpy(service.record.lock.by, "bob");
	strcpy(service.record.lock.reason, "migration");
	assert_outcome(
		(struct flip_outcome){ .changed = CHANGED_NO }, true,
		"{\"ok\":true,\"service\":\"web\",\"active\":\"blue\",\"epoch\":7,\"locked\":{\"by\":\"bob\","
		"\"reason\":\"migration\",\"at\":\"1970-01-01T00:00:00.000Z\"},\"changed\":false}\n");
	assert_outcome((struct flip_outcome){ .error = E_STORE, .message = "no", .changed = CHANGED_NO },
		       true,
		       "{\"ok\":false,\"error\":\"store_unavailable\",\"message\":\"no\",\"service\":\"web\","
		       "\"active\":\"blue\",\"epoch\":7,\"changed\":false}\n");
	service.record.lock.on = false;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_steps_of_a_flip),
		cmocka_unit_test(the_outcome_of_a_flip),
		cmocka_unit_test(the_outcome_of_a_check),
		cmocka_unit_test(the_outcome_of_a_lock),
	};

	return cmocka_run_group_tests_name("flip_reply", tests, NULL, NULL);
}
