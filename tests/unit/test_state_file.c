/* test_state_file.c - the text of the embedded store: what was written comes
 * back, and whatever teald did not write is refused with a reason. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "store/state_file.h"

static const struct record flipped = {
	.color = BLUE, .epoch = 43, .change = CHANGE_FLIP, .at_us = 1763820131123456,
	.by = "ci-shop", .reason = "deploy \"8812\"\n\t\x01 \xc3\xa9",
};
static const struct record locked = {
	.color = GREEN, .epoch = 1, .change = CHANGE_INITIAL, .at_us = 1, .by = "teald",
	.lock = { true, 2, "anna", "freeze" },
};

static struct link nothing = { &nothing, &nothing };

static void
add(struct state *s, const char *name, const struct record *r)
{
	struct state_service *v = state_add(s, name);

	v->known = true;
	v->record = v->next = *r;
	assert_true(state_accept_record(&v->record));
	assert_true(state_accept_record(&v->next));
}

static struct audit_entry
line(const char *service, unsigned number)
{
	struct audit_entry a = { .at_us = 1000 + number, .change = CHANGE_FLIP, .epoch = number, .to = BLUE,
				 .by = "ci", .uid = 4294967295u, .pid = -1, .reason = "r",
				 .expect = "green@41", .result = "ok" };

	str_copy(a.service, sizeof(a.service), str_from(service));
	return a;
}

static void
remember(struct state *s, const char *service, unsigned number)
{
	struct audit_entry a = line(service, number);
	struct state_entry *e = state_entry_new(s, &a);

	state_remember(s, &e);
	assert_null(e);
}

/* The payload with a fitting first line in front. */
static void
seal(struct str payload, struct buf *out)
{
	char header[STATE_HEADER];
	size_t n = state_header(payload, header);

	buf_init(out, STATE_MAX);
	assert_true(buf_append(out, header, n));
	assert_true(buf_append(out, payload.p, payload.n));
}

static void
write_state(const struct state *s, struct buf *out)
{
	struct buf payload;

	buf_init(&payload, STATE_MAX);
	assert_true(state_encode(s, &nothing, &payload));
	seal(buf_str(&payload), out);
	buf_free(&payload);
}

static void
example(struct buf *file)
{
	struct state s;

	state_init(&s);
	add(&s, "shop", &flipped);
	add(&s, "api", &locked);
	remember(&s, "shop", 42);
	remember(&s, "gone", 7);
	write_state(&s, file);
	state_free(&s);
}

static void
test_what_was_written_comes_back(void **state)
{
	struct buf file, again;
	struct state s;
	struct why why;
	const struct state_service *shop, *api;
	const struct state_entry *e;

	(void)state;
	example(&file);
	state_init(&s);
	assert_int_equal(state_decode(buf_str(&file), &s, &why), OK);
	shop = state_find(&s, "shop");
	api = state_find(&s, "api");
	assert_memory_equal(&shop->record, &flipped, sizeof(flipped));
	assert_memory_equal(&api->record, &locked, sizeof(locked));
	assert_memory_equal(&api->next, &locked, sizeof(locked));
	assert_true(shop->known);
	assert_false(state_find(&s, "gone")->known);	/* a history, but no color */
	assert_null(state_find(&s, "sho"));
	assert_int_equal(s.n_history, 2);
	e = list_entry(list_first(&s.history), struct state_entry, link);
	assert_string_equal(e->entry.service, "shop");
	assert_int_equal(e->entry.epoch, 42);
	assert_int_equal(e->entry.uid, 4294967295u);
	assert_int_equal(e->entry.pid, -1);
	assert_int_equal(e->entry.to, BLUE);
	assert_string_equal(e->entry.expect, "green@41");
	assert_string_equal(e->entry.result, "ok");
	write_state(&s, &again);
	assert_int_equal(buf_len(&again), buf_len(&file));
	assert_memory_equal(buf_str(&again).p, buf_str(&file).p, buf_len(&file));
	state_free(&s);
	buf_free(&file);
	buf_free(&again);
}

static void
refuse(struct str file, const char *because)
{
	struct state s;
	struct why why = { "" };

	state_init(&s);
	if (state_decode(file, &s, &why) != E_STORE)
		fail_msg("not refused: %.*s", (int)file.n, file.p);
	if (strstr(why.text, because) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", why.text, because);
	state_free(&s);
}

/* A block of its own for each: a sanitizer sees one byte too far. */
static void
refuse_copy(const char *p, size_t n, const char *because)
{
	char *copy = malloc(n > 0 ? n : 1);

	memcpy(copy, p, n);
	refuse((struct str){ copy, n }, because);
	free(copy);
}

static void
test_torn_anywhere_is_refused(void **state)
{
	struct buf file;

	(void)state;
	example(&file);
	for (size_t n = 0; n < buf_len(&file); n++)
		refuse_copy(buf_str(&file).p, n,
			    n == 0 ? "is empty" :
			    memchr(buf_str(&file).p, '\n', n) == NULL ? "not a state file" : "cut short");
	assert_true(buf_append(&file, "x", 1));
	refuse(buf_str(&file), "longer than it should be");
	buf_free(&file);
}

static void
test_one_wrong_byte_anywhere_is_refused(void **state)
{
	struct buf file;

	(void)state;
	example(&file);
	for (size_t i = 0; i < buf_len(&file); i++)
		for (int bit = 0; bit < 8; bit++) {
			file.data[file.start + i] ^= (char)(1 << bit);
			refuse(buf_str(&file), "");
			file.data[file.start + i] ^= (char)(1 << bit);
		}
	buf_free(&file);
}

static void
test_foreign_and_newer_files_are_refused(void **state)
{
	(void)state;
	refuse(STR("hello\n"), "is not a state file of teald");
	refuse(STR("{}\n"), "is not a state file of teald");
	refuse(STR("[]\n"), "is not a state file of teald");
	refuse(STR("{\"format\":\"else\",\"version\":1}\n"), "is not a state file of teald");
	refuse(STR("{\"format\":\"teal-state\",\"version\":\"1\"}\n"), "is not a state file of teald");
	refuse(STR("{\"format\":\"teal-state\",\"version\":2,\"bytes\":0}\n"), "version 2");
	refuse(STR("{\"format\":\"teal-state\",\"version\":1}\n"), "damaged first line");
	refuse(STR("{\"format\":\"teal-state\",\"version\":1,\"bytes\":-1,\"hash\":\"\"}\n"), "cut short");
	refuse(STR("{\"format\":\"teal-state\",\"version\":1,\"bytes\":0,\"hash\":\"\"}\n"), "checksum");
	refuse((struct str){ "\0\0\0\0", 4 }, "is not a state file of teald");
}

/* Its checksum fits, its contents do not: an editor with too much skill. */
#define SERVICE(name, color, epoch, change, at, by, lock) \
	"{\"name\":" name ",\"color\":" color ",\"epoch\":" epoch ",\"change\":" change ",\"at_us\":" at \
	",\"by\":" by ",\"reason\":\"\",\"lock\":" lock "}"
#define SERVICES(list) "{\"services\":[" list "],\"history\":[]}"
#define GOOD SERVICE("\"shop\"", "\"green\"", "1", "\"flip\"", "1", "\"ci\"", "null")
#define LINE(service, epoch, uid, from) \
	"{\"services\":[],\"history\":[{\"service\":" service ",\"at_us\":1,\"change\":\"flip\",\"epoch\":" epoch \
	",\"from\":" from ",\"to\":\"blue\",\"by\":\"ci\",\"uid\":" uid ",\"pid\":1,\"reason\":\"\"," \
	"\"expect\":\"\",\"result\":\"ok\"}]}"
#define X16 "xxxxxxxxxxxxxxxx"
#define X64 X16 X16 X16 X16

static const struct {
	const char *payload, *because;
} wrong[] = {
	{ "", "is not JSON" },
	{ "{\"services\":[],\"history\":[]", "is not JSON" },
	{ "{\"services\":[],\"services\":[],\"history\":[]}", "duplicate" },
	{ "[]", "is not as teald writes it" },
	{ "{\"services\":[]}", "history" },
	{ "{\"services\":{},\"history\":[]}", "are lists" },
	{ "{\"services\":[],\"history\":[],\"more\":1}", "more" },
	{ SERVICES("7"), "service 1 is not as teald writes it" },
	{ SERVICES("{\"name\":\"shop\"}"), "color" },
	{ SERVICES(GOOD "," GOOD), "service \"shop\" is there twice" },
	{ SERVICES(SERVICE("7", "\"green\"", "1", "\"flip\"", "1", "\"\"", "null")), "Expected string" },
	{ SERVICES(SERVICE("\"\"", "\"green\"", "1", "\"flip\"", "1", "\"\"", "null")), "no name" },
	{ SERVICES(SERVICE("\"" X64 "\"", "\"green\"", "1", "\"flip\"", "1", "\"\"", "null")), "no name" },
	{ SERVICES(SERVICE("\"a\"", "\"red\"", "1", "\"flip\"", "1", "\"\"", "null")), "color \"red\"" },
	{ SERVICES(SERVICE("\"a\"", "\"green\"", "0", "\"flip\"", "1", "\"\"", "null")), "epoch 0" },
	{ SERVICES(SERVICE("\"a\"", "\"green\"", "-3", "\"flip\"", "1", "\"\"", "null")), "epoch -3" },
	{ SERVICES(SERVICE("\"a\"", "\"green\"", "1.5", "\"flip\"", "1", "\"\"", "null")), "Expected integer" },
	{ SERVICES(SERVICE("\"a\"", "\"green\"", "99999999999999999999", "\"flip\"", "1", "\"\"", "null")), "too big" },
	{ SERVICES(SERVICE("\"a\"", "\"green\"", "1", "\"lock\"", "1", "\"\"", "null")), "cannot be" },
	{ SERVICES(SERVICE("\"a\"", "\"green\"", "1", "\"flip\"", "-1", "\"\"", "null")), "cannot be" },
	{ SERVICES(SERVICE("\"a\"", "\"green\"", "1", "\"flip\"", "1", "\"" X64 "\"", "null")), "cannot be" },
	{ SERVICES(SERVICE("\"a\"", "\"green\"", "1", "\"flip\"", "1", "\"\"", "true")), "lock of service 1" },
	{ SERVICES(SERVICE("\"a\"", "\"green\"", "1", "\"flip\"", "1", "\"\"",
			   "{\"at_us\":1,\"by\":\"" X64 "\",\"reason\":\"\"}")), "lock of service 1" },
	{ LINE("7", "1", "0", "\"green\""), "line of history 1" },
	{ LINE("\"" X64 "\"", "1", "0", "\"green\""), "line of history 1" },
	{ LINE("\"a\"", "-1", "0", "\"green\""), "line of history 1" },
	{ LINE("\"a\"", "1", "4294967296", "\"green\""), "line of history 1" },
	{ LINE("\"a\"", "1", "0", "\"\""), "line of history 1" },
};

static void
test_contents_that_cannot_be_are_refused(void **state)
{
	struct buf file;
	struct state s;
	struct why why;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		seal(str_from(wrong[i].payload), &file);
		refuse(buf_str(&file), wrong[i].because);
		buf_free(&file);
	}
	/* The good ones of the same make, or the table would prove nothing. */
	seal(str_from(SERVICES(GOOD)), &file);
	state_init(&s);
	assert_int_equal(state_decode(buf_str(&file), &s, &why), OK);
	state_free(&s);
	buf_free(&file);
	seal(str_from(LINE("\"a\"", "1", "0", "\"green\"")), &file);
	state_init(&s);
	assert_int_equal(state_decode(buf_str(&file), &s, &why), OK);
	state_free(&s);
	buf_free(&file);
}

/* Whatever a client put into a reason, the next start can read the file. */
static void
test_any_bytes_in_a_reason_come_back_as_kept(void **state)
{
	struct record r = flipped, kept;
	struct buf file;
	struct state s;
	struct why why;

	(void)state;
	for (size_t i = 0; i < sizeof(r.reason) - 1; i++)
		r.reason[i] = (char)(i % 255 + 1);	/* full to the brim */
	memcpy(r.reason + sizeof(r.reason) - 3, "\xe2\x82", 2);	/* a character cut in half */
	state_init(&s);
	add(&s, "shop", &r);
	kept = state_find(&s, "shop")->record;
	assert_int_equal(strlen(kept.reason), sizeof(r.reason) - 1);
	write_state(&s, &file);
	state_free(&s);
	state_init(&s);
	assert_int_equal(state_decode(buf_str(&file), &s, &why), OK);
	assert_memory_equal(&state_find(&s, "shop")->record, &kept, sizeof(kept));
	state_free(&s);
	buf_free(&file);
}

/* What a teald that knows no claims would refuse is not in the file; read again it is what it was. */
static void
test_claims_are_told_as_locks(void **state)
{
	struct audit_entry a = { .service = "shop", .at_us = 5, .epoch = 42, .by = "anna", .result = "ok" };
	struct state_entry *e;
	struct buf file;
	struct state s;
	struct why why;

	(void)state;
	state_init(&s);
	add(&s, "shop", &flipped);
	for (enum change c = CHANGE_LOCK; c <= CHANGE_RELEASE; c++) {
		a.change = c;
		e = state_entry_new(&s, &a);
		state_remember(&s, &e);
	}
	s.services[0]->next.claim.on = true;
	write_state(&s, &file);
	state_free(&s);
	assert_null(memmem(buf_str(&file).p, buf_len(&file), "\"change\":\"claim\"", 16));
	assert_null(memmem(buf_str(&file).p, buf_len(&file), "\"change\":\"release\"", 18));
	state_init(&s);
	assert_int_equal(state_decode(buf_str(&file), &s, &why), OK);
	assert_false(state_find(&s, "shop")->record.claim.on);
	for (enum change c = CHANGE_LOCK; c <= CHANGE_RELEASE; c++) {
		e = list_entry(list_first(&s.history), struct state_entry, link);
		assert_int_equal(e->entry.change, c);
		assert_string_equal(e->entry.expect, "");
		list_remove(&e->link);
		state_entry_free(&e);
	}
	state_free(&s);
	buf_free(&file);
}

static void
test_records_that_could_not_be_read_again_are_not_accepted(void **state)
{
	struct record r = flipped;

	(void)state;
	r.epoch = STATE_EPOCH_MAX;
	assert_true(state_accept_record(&r));
	r.epoch = STATE_EPOCH_MAX + 1;
	assert_false(state_accept_record(&r));
	r.epoch = 0;
	assert_false(state_accept_record(&r));
	r = flipped;
	r.change = CHANGE_LOCK;
	assert_false(state_accept_record(&r));
	r = flipped;
	r.at_us = -1;
	assert_false(state_accept_record(&r));
}

static unsigned
count(const struct state *s, const char *service, uint64_t *first)
{
	unsigned n = 0;

	for (const struct link *l = s->history.next; l != &s->history; l = l->next) {
		const struct state_entry *e = container_of(l, const struct state_entry, link);

		if (strcmp(e->entry.service, service) == 0 && n++ == 0)
			*first = e->entry.epoch;
	}
	return n;
}

static void
test_a_quiet_service_keeps_its_last_twenty(void **state)
{
	struct state s;
	uint64_t first = 0;

	(void)state;
	state_init(&s);
	for (unsigned i = 0; i < 30; i++)
		remember(&s, "quiet", i);
	assert_int_equal(count(&s, "quiet", &first), 30);	/* there is room */
	for (unsigned i = 0; i < 5000; i++)
		remember(&s, "busy", i);
	assert_int_equal(count(&s, "quiet", &first), STATE_HISTORY_EACH);
	assert_int_equal(first, 10);
	assert_int_equal(count(&s, "busy", &first), STATE_HISTORY);
	assert_int_equal(first, 4000);
	assert_int_equal(s.n_history, STATE_HISTORY + STATE_HISTORY_EACH);
	assert_int_equal(state_find(&s, "quiet")->entries, STATE_HISTORY_EACH);
	/* Among the last thousand again, it keeps more. */
	for (unsigned i = 100; i < 130; i++)
		remember(&s, "quiet", i);
	assert_int_equal(count(&s, "quiet", &first), 30);
	assert_int_equal(first, 100);
	assert_int_equal(count(&s, "busy", &first), STATE_HISTORY - 30);
	state_free(&s);
}

/* A file of before nodes, a file with them, and what cannot be one. */
static void
test_nodes_are_kept_and_older_files_are_read(void **state)
{
	static const char *const bad[] = {
		"{\"services\":[],\"history\":[],\"nodes\":{}}\n",
		"{\"services\":[],\"history\":[],\"nodes\":[{\"pool\":\"m\",\"version\":0,\"hosts\":{}}]}\n",
		"{\"services\":[],\"history\":[],\"nodes\":[{\"pool\":\"m\",\"version\":1,\"hosts\":{\"a b\":\"drain\"}}]}\n",
		"{\"services\":[],\"history\":[],\"nodes\":[{\"pool\":\"m\",\"version\":1,\"hosts\":{\"a\":\"gone\"}}]}\n",
	};
	char header[STATE_HEADER];
	struct state s, again;
	struct state_pool *p;
	struct buf payload, file;
	struct why why;
	size_t n;

	(void)state;
	state_init(&s);
	buf_init(&payload, STATE_MAX);
	buf_init(&file, STATE_MAX);
	add(&s, "shop", &flipped);
	(void)state_add_pool(&s, "untouched");
	assert_true(state_encode(&s, &nothing, &payload));
	assert_null(memmem(buf_str(&payload).p, buf_len(&payload), "nodes", 5));
	p = state_add_pool(&s, "main");
	p->next.version = 7;
	assert_true(overlay_set(&p->next, "10.0.0.1", NODE_DRAIN));
	assert_true(overlay_set(&p->next, "node4.example", NODE_READY));
	assert_true(overlay_set(&p->next, "fd00::1", NODE_REMOVED));
	buf_clear(&payload);
	assert_true(state_encode(&s, &nothing, &payload));
	n = state_header(buf_str(&payload), header);
	buf_append(&file, header, n);
	buf_append(&file, buf_str(&payload).p, buf_len(&payload));
	state_init(&again);
	assert_int_equal(state_decode(buf_str(&file), &again, &why), OK);
	assert_int_equal(again.n_pools, 1);
	assert_int_equal(again.pools[0]->now.version, 7);
	assert_true(overlay_same(&again.pools[0]->now, &p->next));
	assert_true(overlay_same(&again.pools[0]->next, &p->next));
	state_free(&again);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		buf_clear(&file);
		n = state_header(str_from(bad[i]), header);
		buf_append(&file, header, n);
		buf_append(&file, bad[i], strlen(bad[i]));
		state_init(&again);
		assert_int_equal(state_decode(buf_str(&file), &again, &why), E_STORE);
		state_free(&again);
	}
	buf_free(&payload);
	buf_free(&file);
	state_free(&s);
}

/* 500 services, and of each as much history as it keeps: it fits, and comes back. */
static void
test_the_largest_state_comes_back(void **state)
{
	enum { SERVICES = 500 };
	struct state s, again;
	struct buf file;
	struct why why;
	char name[32];

	(void)state;
	state_init(&s);
	for (unsigned i = 0; i < SERVICES; i++) {
		snprintf(name, sizeof(name), "service-%u", i);
		add(&s, name, &flipped);
		for (unsigned k = 0; k < STATE_HISTORY_EACH; k++)
			remember(&s, name, k);
	}
	assert_int_equal(s.n_history, SERVICES * STATE_HISTORY_EACH);
	write_state(&s, &file);
	state_init(&again);
	assert_int_equal(state_decode(buf_str(&file), &again, &why), OK);
	assert_int_equal(again.n_history, s.n_history);
	for (unsigned i = 0; i < SERVICES; i++) {
		snprintf(name, sizeof(name), "service-%u", i);
		assert_int_equal(state_find(&again, name)->entries, STATE_HISTORY_EACH);
	}
	buf_free(&file);
	state_free(&again);
	state_free(&s);
}

static void
test_a_renamed_service_keeps_record_and_history(void **state)
{
	struct state s;
	struct state_service *v;
	const struct state_entry *e;
	struct buf file;
	struct why why;

	(void)state;
	state_init(&s);
	add(&s, "shop", &flipped);
	add(&s, "api", &locked);
	remember(&s, "zoo", 7);
	remember(&s, "shop", 42);
	v = state_find(&s, "shop");
	assert_false(state_rename(&s, "shop", "api"));	/* which has a record */
	assert_false(state_rename(&s, "zoo", "new"));	/* has none */
	assert_false(state_rename(&s, "no", "new"));
	assert_true(state_rename(&s, "shop", "zoo"));	/* which has but a history */
	assert_ptr_equal(state_find(&s, "zoo"), v);
	assert_int_equal(v->entries, 2);
	assert_false(state_find(&s, "shop")->known);
	assert_int_equal(s.n, 3);
	assert_true(state_rename(&s, "zoo", "aaa"));
	/* A name that is given up leaves nothing in memory either. */
	assert_int_equal(s.n, 3);
	assert_null(state_find(&s, "zoo"));
	assert_ptr_equal(state_find(&s, "aaa"), v);
	write_state(&s, &file);
	state_free(&s);
	assert_int_equal(state_decode(buf_str(&file), &s, &why), OK);
	assert_memory_equal(&state_find(&s, "aaa")->record, &flipped, sizeof(flipped));
	assert_int_equal(state_find(&s, "aaa")->entries, 2);
	e = list_entry(s.history.prev, struct state_entry, link);
	assert_string_equal(e->entry.service, "aaa");
	assert_int_equal(e->entry.epoch, 42);
	assert_null(state_find(&s, "zoo"));
	assert_int_equal(s.n, 2);
	buf_free(&file);
	state_free(&s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_was_written_comes_back),
		cmocka_unit_test(test_torn_anywhere_is_refused),
		cmocka_unit_test(test_one_wrong_byte_anywhere_is_refused),
		cmocka_unit_test(test_foreign_and_newer_files_are_refused),
		cmocka_unit_test(test_contents_that_cannot_be_are_refused),
		cmocka_unit_test(test_any_bytes_in_a_reason_come_back_as_kept),
		cmocka_unit_test(test_claims_are_told_as_locks),
		cmocka_unit_test(test_records_that_could_not_be_read_again_are_not_accepted),
		cmocka_unit_test(test_nodes_are_kept_and_older_files_are_read),
		cmocka_unit_test(test_a_quiet_service_keeps_its_last_twenty),
		cmocka_unit_test(test_a_renamed_service_keeps_record_and_history),
		cmocka_unit_test(test_the_largest_state_comes_back),
	};

	return cmocka_run_group_tests_name("state_file", tests, NULL, NULL);
}
