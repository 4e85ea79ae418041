/* test_notify_message.c - what receivers of events are sent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <string.h>

#include "control/notify_message.h"

static char labels_json[] = "\"project\":\"shop\",\"tier\":\"1\"";
static char service_name[] = "shop";
static struct service_config service_config = { .name = service_name, .labels_json = labels_json };
static const struct service service = { .config = &service_config };

static struct notify_event_facts
facts_of(const char *event, const struct log_field *fields)
{
	return (struct notify_event_facts){ .id = "00112233445566778899aabbccddeeff",
					    .event = event,
					    .service = &service,
					    .fields = fields,
					    .host = "lb-1",
					    .at_us = 1700000000123456 };
}

/* For json_decref(). */
static json_t *
body_of(const struct notify_config *receiver, const struct notify_event_facts *facts)
{
	json_error_t error;
	struct buf b;
	json_t *body;

	buf_init(&b, NOTIFY_BODY_MAX);
	notify_body(&b, receiver, facts);
	assert_false(b.failed);
	body = json_loadb(buf_str(&b).p, buf_len(&b), JSON_REJECT_DUPLICATES, &error);
	if (body == NULL)
		fail_msg("%s: %.*s", error.text, (int)buf_len(&b), buf_str(&b).p);
	buf_free(&b);
	return body;
}

static const char *
text_at(const json_t *o, const char *key)
{
	return json_string_value(json_object_get(o, key));
}

static const struct log_field committed[] = {
	{ "from", LOG_STR, { .s = { "green", 5 } } },   { "to", LOG_STR, { .s = { "blue", 4 } } },
	{ "epoch", LOG_U64, { .u = 43 } },              { "kind", LOG_STR, { .s = { "flip", 4 } } },
	{ "by", LOG_STR, { .s = { "ci-shop", 7 } } },   { "reason", LOG_STR, { .s = { "say \"hi\"", 8 } } },
	{ NULL, LOG_END, { .u = 0 } },
};

static void
test_an_event_is_one_object(void **state)
{
	const struct notify_config receiver = { .format = NOTIFY_JSON };
	const struct notify_event_facts facts = facts_of("flip.committed", committed);
	json_t *body = body_of(&receiver, &facts);

	(void)state;
	assert_string_equal(text_at(body, "id"), facts.id);
	assert_string_equal(text_at(body, "event"), "flip.committed");
	assert_string_equal(text_at(body, "time"), "2023-11-14T22:13:20.123456Z");
	assert_string_equal(text_at(body, "teal"), "lb-1");
	assert_string_equal(text_at(body, "service"), "shop");
	assert_string_equal(text_at(body, "reason"), "say \"hi\"");
	assert_int_equal(json_integer_value(json_object_get(body, "epoch")), 43);
	assert_string_equal(text_at(json_object_get(body, "labels"), "tier"), "1");
	assert_string_equal(text_at(body, "text"), "shop: green -> blue (epoch 43) by ci-shop: say \"hi\"");
	json_decref(body);
}

static void
test_an_event_of_no_service(void **state)
{
	const struct notify_config receiver = { .format = NOTIFY_JSON };
	const struct log_field fields[] = { LB("changed", true), LU("generation", 7), LF("seconds", 0.25), LS("by", ""),
					    LOG_FIELDS_END };
	struct notify_event_facts facts = facts_of("reload.applied", fields);
	json_t *body;

	(void)state;
	facts.service = NULL;
	body = body_of(&receiver, &facts);
	assert_null(json_object_get(body, "service"));
	assert_null(json_object_get(body, "labels"));
	assert_true(json_is_true(json_object_get(body, "changed")));
	assert_string_equal(text_at(body, "text"), "reload.applied, changed true, generation 7, seconds 0.25");
	json_decref(body);
}

static void
test_an_annotation_of_grafana(void **state)
{
	char first[] = "env:prod", *tags[] = { first };
	const struct notify_config receiver = { .format = NOTIFY_GRAFANA, .tags = tags, .n_tags = 1 };
	const struct notify_event_facts facts = facts_of("flip.committed", committed);
	json_t *body = body_of(&receiver, &facts), *its = json_object_get(body, "tags");
	const char *const wanted[] = { "teal", "flip.committed", "shop", "blue", "env:prod" };

	(void)state;
	assert_int_equal(json_integer_value(json_object_get(body, "time")), 1700000000123);
	assert_int_equal(json_array_size(its), ARRAY_LEN(wanted));
	for (size_t i = 0; i < ARRAY_LEN(wanted); i++)
		assert_string_equal(json_string_value(json_array_get(its, i)), wanted[i]);
	assert_non_null(text_at(body, "text"));
	json_decref(body);
}

static void
test_what_is_too_long_is_told_by_name(void **state)
{
	const struct notify_config receiver = { .format = NOTIFY_JSON };
	static char much[NOTIFY_BODY_MAX];
	struct log_field fields[] = { LT("message", ((struct str){ much, sizeof(much) })), LOG_FIELDS_END };
	const struct notify_event_facts facts = facts_of("reload.failed", fields);
	json_t *body;

	(void)state;
	memset(much, 'x', sizeof(much));
	body = body_of(&receiver, &facts);
	assert_string_equal(text_at(body, "event"), "reload.failed");
	assert_null(json_object_get(body, "message"));
	json_decref(body);
}

/* The signature is that of `printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac secret`. */
static void
test_a_request_is_signed(void **state)
{
	char token[] = "t0ken", secret[] = "secret";
	struct notify_config receiver = { .token = token, .secret = secret };
	static const char want[] =
		"POST /in?x=1 HTTP/1.1\r\nHost: hooks.example:8443\r\n";
	struct buf b;
	struct str s;

	(void)state;
	assert_int_equal(http_url_parse("https://hooks.example:8443/in?x=1", &receiver.url, NULL), OK);
	buf_init(&b, 1 << 16);
	notify_request(&b, &receiver, "abc", "flip.committed", STR("{\"a\":1}"), 1700000000);
	buf_append(&b, "", 1);
	s = buf_str(&b);
	assert_memory_equal(s.p, want, sizeof(want) - 1);
	assert_non_null(strstr(s.p, "\r\nContent-Length: 7\r\n"));
	assert_non_null(strstr(s.p, "\r\nX-Teal-Event: flip.committed\r\nX-Teal-Delivery: abc\r\n"));
	assert_non_null(strstr(s.p, "\r\nAuthorization: Bearer t0ken\r\n"));
	assert_non_null(strstr(s.p, "\r\nX-Teal-Signature: t=1700000000,v1="
				    "49f24e537407743fa4a0242bb63b94b9a47ee99cbbe071ccd8a22550ae411686\r\n"));
	assert_string_equal(strstr(s.p, "\r\n\r\n"), "\r\n\r\n{\"a\":1}");
	buf_free(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_an_event_is_one_object),
		cmocka_unit_test(test_an_event_of_no_service),
		cmocka_unit_test(test_an_annotation_of_grafana),
		cmocka_unit_test(test_what_is_too_long_is_told_by_name),
		cmocka_unit_test(test_a_request_is_signed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
