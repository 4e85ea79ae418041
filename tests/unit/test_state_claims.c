/* test_state_claims.c - claims beside the state: what is written comes back, what cannot
 * be a claim does not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "store/state_claims.h"

#define HASH "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

static void
add(struct state *s, const char *name, uint64_t epoch)
{
	struct state_service *v = state_add(s, name);

	v->known = true;
	v->record = v->next = (struct record){ .color = BLUE, .epoch = epoch };
}

static void
claim(struct state *s, const char *name, uint64_t epoch)
{
	struct record *r = &state_find(s, name)->next;

	r->claim.on = true;
	r->claim.epoch = epoch;
	r->claim.at_us = 5;
	r->claim.until_us = 7;
	strcpy(r->claim.by, "ci-shop");
	strcpy(r->claim.reason, "deploy \"8812\"");
	strcpy(r->claim.token, HASH);
}

static void
decode(const char *text, struct state *s, enum err wanted)
{
	struct why why = { "" };

	assert_int_equal(state_claims_decode(str_from(text), s, &why), wanted);
	assert_int_equal(why.text[0] == '\0', wanted == OK);
}

static void
what_was_written_comes_back(void **state)
{
	struct state s, again;
	struct buf text;
	struct why why;

	(void)state;
	state_init(&s);
	add(&s, "shop", 42);
	add(&s, "over", 42);
	add(&s, "free", 1);
	claim(&s, "shop", 42);
	claim(&s, "over", 41);	/* its service was flipped since */
	buf_init(&text, STATE_MAX);
	assert_true(state_claims_encode(&s, &text));
	state_init(&again);
	add(&again, "shop", 42);
	add(&again, "over", 42);
	add(&again, "free", 1);
	assert_int_equal(state_claims_decode(buf_str(&text), &again, &why), OK);
	assert_true(record_same(&state_find(&again, "shop")->record, &state_find(&s, "shop")->next));
	assert_true(record_same(&state_find(&again, "shop")->next, &state_find(&s, "shop")->next));
	assert_false(state_find(&again, "over")->record.claim.on);
	assert_false(state_find(&again, "free")->record.claim.on);
	state_free(&again);
	/* Whatever is cut off it is no file of claims; a service that has gone has none. */
	for (size_t n = 0; n + 2 < buf_len(&text); n++) {
		state_init(&again);
		add(&again, "shop", 42);
		assert_int_equal(state_claims_decode((struct str){ buf_str(&text).p, n }, &again, &why), E_STORE);
		assert_false(state_find(&again, "shop")->record.claim.on);
		state_free(&again);
	}
	state_init(&again);
	assert_int_equal(state_claims_decode(buf_str(&text), &again, &why), OK);
	assert_int_equal(again.n, 0);
	state_free(&again);
	state_free(&s);
	buf_free(&text);
}

/* A teald that knows no claims has flipped in between. */
static void
a_claim_is_of_its_epoch_and_until_its_time(void **state)
{
	struct record r = { .epoch = 42 };

	(void)state;
	assert_false(record_claimed(&r, 0));
	r.claim.on = true;
	r.claim.epoch = 42;
	r.claim.until_us = 7;
	assert_true(record_claimed(&r, 6));
	assert_false(record_claimed(&r, 7));
	r.epoch = 43;
	assert_false(record_claimed(&r, 6));
}

static void
rubbish_is_no_claim(void **state)
{
#define CLAIM(more) "{\"service\":\"shop\",\"at_us\":1,\"by\":\"a\",\"reason\":\"x\"," more "}"
#define FILE_OF(claims) "{\"format\":\"teal-claims\",\"version\":1,\"claims\":[" claims "]}\n"
	static const char *const bad[] = {
		"",
		"{}",
		"[]",
		"{\"format\":\"teal-state\",\"version\":1,\"claims\":[]}",
		"{\"format\":\"teal-claims\",\"version\":2,\"claims\":[]}",
		"{\"format\":\"teal-claims\",\"version\":1,\"claims\":{}}",
		FILE_OF("7"),
		FILE_OF(CLAIM("\"epoch\":0,\"until_us\":9,\"token\":\"" HASH "\"")),
		FILE_OF(CLAIM("\"epoch\":42,\"until_us\":-1,\"token\":\"" HASH "\"")),
		FILE_OF(CLAIM("\"epoch\":42,\"until_us\":9,\"token\":\"x\"")),
		FILE_OF(CLAIM("\"epoch\":42,\"token\":\"" HASH "\"")),
	};
	struct state s;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		state_init(&s);
		add(&s, "shop", 42);
		decode(bad[i], &s, E_STORE);
		assert_false(state_find(&s, "shop")->record.claim.on);
		state_free(&s);
	}
	/* One that is odd costs no other, and what a newer one adds is skipped. */
	state_init(&s);
	add(&s, "shop", 42);
	decode(FILE_OF("7," CLAIM("\"more\":[],\"epoch\":42,\"until_us\":9,\"token\":\"" HASH "\"")), &s, E_STORE);
	assert_true(state_find(&s, "shop")->record.claim.on);
	state_free(&s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_written_comes_back),
		cmocka_unit_test(a_claim_is_of_its_epoch_and_until_its_time),
		cmocka_unit_test(rubbish_is_no_claim),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
