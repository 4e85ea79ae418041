/* test_redis_record.c - records as Redis keeps them: what is written is read
 * back, what others write is understood, and rubbish is named, never obeyed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "store/redis_record.h"

/* The answer of HMGET, from texts; NULL is nil. */
static redisReply cells[REDIS_RECORD_FIELDS], *pointers[REDIS_RECORD_FIELDS];
static redisReply answer;

static const redisReply *
reply(const char *const *texts)
{
	for (size_t i = 0; i < REDIS_RECORD_FIELDS; i++) {
		cells[i] = (redisReply){ .type = texts[i] != NULL ? REDIS_REPLY_STRING : REDIS_REPLY_NIL,
					 .str = (char *)texts[i],
					 .len = texts[i] != NULL ? strlen(texts[i]) : 0 };
		pointers[i] = &cells[i];
	}
	answer = (redisReply){ .type = REDIS_REPLY_ARRAY, .elements = REDIS_RECORD_FIELDS, .element = pointers };
	return &answer;
}

static struct record record;
static bool exists;
static struct why why;

static enum err
parse(const char *const *texts)
{
	return redis_record_parse(reply(texts), &record, &exists, &why);
}

enum { COLOR, EPOCH, PREVIOUS, CHANGE, BY, AT, REASON, LOCKED, FORCED, CLAIMED, REVISION, SHARE, HELD };

static const char *const good[REDIS_RECORD_FIELDS] = {
	"blue", "42", "green", "flip", "ci-shop", "2026-11-22T14:02:11.123456Z", "deploy 8812", "", "", "", "", "", "",
};

#define HASH "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

/* The good one with another text in one place. */
static enum err
parse_with(int field, const char *text)
{
	const char *texts[REDIS_RECORD_FIELDS];

	memcpy(texts, good, sizeof(texts));
	texts[field] = text;
	return parse(texts);
}

/* The longest as text. */
static struct share
some_share(void)
{
	return (struct share){ .idle = 2500, .low = GREEN, .since = UINT64_MAX, .key = { { UINT64_MAX, 1 } } };
}

static void
what_is_written_is_read_back(void **state)
{
	struct record r = { .color = BLUE, .epoch = 7, .change = CHANGE_ROLLBACK, .at_us = 1795356131123456,
			    .by = "anna", .reason = "\"quotes\" and \xc3\xbc \n" };
	struct redis_record_text t;

	(void)state;
	for (int k = 0; k < 16; k++) {
		r.share = k & 8 ? some_share() : (struct share){ 0 };
		memset(&r.claim, 0, sizeof(r.claim));
		if (k & 4) {
			r.claim.on = true;
			r.claim.epoch = 7;
			r.claim.at_us = 1795356131000002;
			r.claim.until_us = 1795356131000003;
			snprintf(r.claim.token, sizeof(r.claim.token), HASH);
			memset(r.claim.by, '"', sizeof(r.claim.by) - 1);
			memset(r.claim.reason, 1, sizeof(r.claim.reason) - 1);	/* the longest as JSON */
		}
		memset(&r.hold, 0, sizeof(r.hold));
		if (k & 1) {
			r.hold.on = true;
			r.hold.epoch = 7;
			r.hold.at_us = 1795356131000004;
			r.hold.until_us = 1795356131000005;
			memset(r.hold.by, '"', sizeof(r.hold.by) - 1);
			memset(r.hold.reason, 1, sizeof(r.hold.reason) - 1);	/* the longest as JSON */
		}
		r.lock.on = k & 1;
		r.change = k & 2 ? CHANGE_FLIP : CHANGE_ROLLBACK;
		if (r.lock.on) {
			r.lock.at_us = 1795356131000001;
			snprintf(r.lock.by, sizeof(r.lock.by), "root");
			memset(r.lock.reason, '"', sizeof(r.lock.reason) - 1);	/* the longest as JSON */
		}
		r.forced = k & 2;
		snprintf(r.revision, sizeof(r.revision), "%s", k & 1 ? "0123abcd" : "");
		redis_record_format(&r, &t);
		assert_int_equal(parse((const char *const[]){ t.color, t.epoch, t.previous, t.change, t.by, t.at,
							      t.reason, t.locked, t.forced, t.claimed,
							      t.revision, t.share, t.held }), OK);
		assert_true(exists);
		assert_true(record_same(&record, &r));
		assert_int_equal(record.color, r.color);
		assert_int_equal(record.epoch, r.epoch);
		assert_int_equal(record.change, r.change);
		assert_int_equal(record.at_us, r.at_us);
		assert_string_equal(record.by, r.by);
		assert_string_equal(record.reason, r.reason);
		assert_int_equal(record.lock.on, r.lock.on);
		if (r.lock.on) {
			assert_int_equal(record.lock.at_us, r.lock.at_us);
			assert_string_equal(record.lock.by, r.lock.by);
			assert_string_equal(record.lock.reason, r.lock.reason);
		}
		assert_string_equal(t.previous, k & 2 ? "green" : "");
		memset(&r.lock, 0, sizeof(r.lock));
	}
}

/* A teald that knows no revisions raises the epoch, and leaves the field. */
static void
a_revision_is_of_its_epoch(void **state)
{
	static const char *const others[] = { "0123abcd@41", "0123abcd", "0123ABCD@42", "0123abcde@42", "@42", "0123abcd@", NULL };

	(void)state;
	assert_int_equal(parse_with(REVISION, "0123abcd@42"), OK);
	assert_string_equal(record.revision, "0123abcd");
	for (size_t i = 0; i < ARRAY_LEN(others); i++) {
		assert_int_equal(parse_with(REVISION, others[i]), OK);
		assert_true(exists);
		assert_string_equal(record.revision, "");
	}
}

static void
no_such_hash_is_no_error(void **state)
{
	const char *const nothing[REDIS_RECORD_FIELDS] = { NULL };

	(void)state;
	assert_int_equal(parse(nothing), OK);
	assert_false(exists);
}

/* Somebody with redis-cli: HSET teal:prod:service:shop color blue epoch 43 */
static void
two_fields_are_enough(void **state)
{
	const char *const least[REDIS_RECORD_FIELDS] = { [COLOR] = "blue", [EPOCH] = "43" };

	(void)state;
	assert_int_equal(parse(least), OK);
	assert_true(exists);
	assert_int_equal(record.color, BLUE);
	assert_int_equal(record.epoch, 43);
	assert_string_equal(record.by, "");
	assert_false(record.lock.on);
	assert_false(record.forced);
	/* What a rollback would do follows from previous. */
	assert_int_equal(record.change, CHANGE_ROLLBACK);
	assert_int_equal(parse_with(CHANGE, NULL), OK);
	assert_int_equal(record.change, CHANGE_FLIP);
	assert_int_equal(parse_with(CHANGE, "lock"), OK);	/* is none of the color */
	assert_int_equal(record.change, CHANGE_FLIP);
}

static void
times_are_of_many_kinds(void **state)
{
	static const struct {
		const char *text;
		int64_t us;
	} times[] = {
		{ "2026-11-22T14:02:11Z", 1795356131000000 },
		{ "2026-11-22T14:02:11.1Z", 1795356131100000 },
		{ "2026-11-22T14:02:11.123456789Z", 1795356131123456 },
		{ "1795356131123456", 1795356131123456 },
		/* A time that is none is no reason to disobey. */
		{ "yesterday", 0 },
		{ "2026-11-22T14:02:11+01:00", 0 },
		{ "1969-01-01T00:00:00Z", 0 },
		{ "", 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(times); i++) {
		assert_int_equal(parse_with(AT, times[i].text), OK);
		if (record.at_us != times[i].us && times[i].us == 0)
			fail_msg("%s", times[i].text);
		assert_int_equal(record.at_us, times[i].us);
	}
}

static void
rubbish_is_named(void **state)
{
	static const struct {
		int field;
		const char *text, *says;
	} bad[] = {
		{ COLOR, "purple", "purple" },
		{ COLOR, "", "color" },
		{ COLOR, NULL, "color" },
		{ COLOR, "GREEN", "GREEN" },
		{ COLOR, "blue ", "blue " },
		{ EPOCH, "abc", "abc" },
		{ EPOCH, "", "epoch" },
		{ EPOCH, NULL, "epoch" },
		{ EPOCH, "0", "epoch" },
		{ EPOCH, "-1", "-1" },
		{ EPOCH, "1.5", "1.5" },
		{ EPOCH, " 7", " 7" },
		{ EPOCH, "9007199253692417", "DEL the key" },	/* nothing could follow */
		{ EPOCH, "18446744073709551615", "DEL the key" },
		{ EPOCH, "18446744073709551616", "1844674407" },
		{ EPOCH, "99999999999999999999999999", "9999" },
		{ LOCKED, "yes", "locked" },
		{ SHARE, "yes", "share" },
		{ SHARE, "epoch=42 idle=10001 low=blue", "share" },
		{ CLAIMED, "yes", "claimed" },
		{ CLAIMED, "{}", "claimed" },
		{ CLAIMED, "{\"by\":\"a\",\"reason\":\"x\",\"at\":\"1\",\"epoch\":0,\"until_us\":9,\"token\":\"" HASH "\"}",
		  "claimed" },
		{ CLAIMED, "{\"by\":\"a\",\"reason\":\"x\",\"at\":\"1\",\"epoch\":7,\"until_us\":-9,\"token\":\"" HASH "\"}",
		  "claimed" },
		{ CLAIMED, "{\"by\":\"a\",\"reason\":\"x\",\"at\":\"1\",\"epoch\":7,\"until_us\":9,\"token\":\"\"}", "claimed" },
		{ HELD, "yes", "held" },
		{ HELD, "{}", "held" },
		{ HELD, "{\"by\":\"a\",\"reason\":\"x\",\"at\":\"1\",\"epoch\":0,\"until_us\":9}", "held" },
		{ HELD, "{\"by\":\"a\",\"reason\":\"x\",\"at\":\"1\",\"epoch\":7,\"until_us\":-9}", "held" },
		{ HELD, "{\"by\":\"a\",\"reason\":\"x\",\"at\":\"soon\",\"epoch\":7,\"until_us\":9}", "held" },
		{ LOCKED, "{}", "locked" },
		{ LOCKED, "{\"by\":1,\"reason\":\"x\",\"at\":\"1\"}", "locked" },
		{ LOCKED, "{\"by\":\"a\",\"reason\":\"x\",\"at\":\"soon\"}", "locked" },
		{ LOCKED, "{\"by\":\"a\",\"by\":\"b\",\"reason\":\"x\",\"at\":\"1\"}", "locked" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		assert_int_equal(parse_with(bad[i].field, bad[i].text), E_STORE);
		assert_false(exists);
		if (strstr(why.text, bad[i].says) == NULL)
			fail_msg("\"%s\" does not say \"%s\"", why.text, bad[i].says);
	}
	assert_int_equal(parse_with(EPOCH, "9007199253692416"), OK);
}

static void
a_long_text_is_cut_and_zeros_are_no_text(void **state)
{
	char lots[3000];

	(void)state;
	memset(lots, 'x', sizeof(lots) - 1);
	lots[sizeof(lots) - 1] = '\0';
	assert_int_equal(parse_with(REASON, lots), OK);
	assert_int_equal(strlen(record.reason), RECORD_REASON - 1);
	assert_int_equal(parse_with(BY, lots), OK);
	assert_int_equal(strlen(record.by), RECORD_NAME - 1);
	assert_int_equal(parse_with(COLOR, lots), E_STORE);
	/* "green\0blue" is not green. */
	reply(good);
	cells[COLOR].str = (char *)"green\0blue";
	cells[COLOR].len = 10;
	assert_int_equal(redis_record_parse(&answer, &record, &exists, &why), E_STORE);
}

static void
another_kind_of_answer_is_refused(void **state)
{
	redisReply error = { .type = REDIS_REPLY_ERROR, .str = (char *)"WRONGTYPE Operation against a key", .len = 33 };
	redisReply number = { .type = REDIS_REPLY_INTEGER, .integer = 7 };

	(void)state;
	assert_int_equal(redis_record_parse(&error, &record, &exists, &why), E_STORE);
	assert_non_null(strstr(why.text, "WRONGTYPE"));
	assert_int_equal(redis_record_parse(&number, &record, &exists, &why), E_STORE);
	reply(good);
	answer.elements--;
	assert_int_equal(redis_record_parse(&answer, &record, &exists, &why), E_STORE);
	reply(good);
	pointers[COLOR] = &number;
	assert_int_equal(redis_record_parse(&answer, &record, &exists, &why), E_STORE);
}

static void
history_lines_are_read_back(void **state)
{
	struct audit_entry a = { .service = "shop", .at_us = 1795356131123456, .change = CHANGE_LOCK, .epoch = 41,
				 .from = GREEN, .to = BLUE, .by = "anna", .uid = 4294967294u, .pid = 4711,
				 .reason = "\"q\"\n\xc3\xbc", .expect = "green@40", .result = "conflict" };
	struct audit_entry b;
	struct buf text;

	(void)state;
	buf_init(&text, 65536);
	redis_entry_format(&a, &text);
	assert_true(redis_entry_parse(buf_str(&text), &b));
	assert_memory_equal(&a, &b, sizeof(a));
	/* Whatever is cut off it is no line. */
	for (size_t n = 0; n < buf_len(&text); n++)
		assert_false(redis_entry_parse((struct str){ buf_str(&text).p, n }, &b));
	buf_free(&text);
	assert_false(redis_entry_parse(STR("{\"service\":\"shop\"}"), &b));
	assert_false(redis_entry_parse(STR("[]"), &b));
	assert_false(redis_entry_parse(STR("7"), &b));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_written_is_read_back),
		cmocka_unit_test(a_revision_is_of_its_epoch),
		cmocka_unit_test(no_such_hash_is_no_error),
		cmocka_unit_test(two_fields_are_enough),
		cmocka_unit_test(times_are_of_many_kinds),
		cmocka_unit_test(rubbish_is_named),
		cmocka_unit_test(a_long_text_is_cut_and_zeros_are_no_text),
		cmocka_unit_test(another_kind_of_answer_is_refused),
		cmocka_unit_test(history_lines_are_read_back),
	};

	return cmocka_run_group_tests_name("redis_record", tests, NULL, NULL);
}
