/* test_probe_answer.c - answers to checks, whole, at every cut and byte by byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <string.h>

#include "control/probe_answer.h"

#define OK "HTTP/1.1 200 OK\r\n"
#define BODY "Content-Length: 2\r\n\r\nok"
#define CHUNKS "Transfer-Encoding: chunked\r\n\r\n"

struct outcome {
	bool settled;
	unsigned status;
	const char *error;
};

static void
give(struct probe_answer *a, const char *p, size_t n, struct outcome *o)
{
	for (size_t at = 0; at < n && !o->settled;) {
		size_t room, most = n - at;
		char *to = probe_answer_room(a, &room);

		assert_non_null(to);
		most = most < room ? most : room;
		memcpy(to, p + at, most);
		at += most;
		o->settled = probe_answer_take(a, most, &o->status, &o->error);
	}
}

/* In two pieces, and then the end. */
static struct outcome
cut_at(const struct http_config *http, const char *text, size_t cut)
{
	struct probe_answer *a = probe_answer_new(http, NULL, false, NULL);
	struct outcome o = { .settled = false };

	give(a, text, cut, &o);
	give(a, text + cut, strlen(text) - cut, &o);
	if (!o.settled)
		assert_true(probe_answer_take(a, 0, &o.status, &o.error));
	probe_answer_free(&a);
	assert_null(a);
	return o;
}

static const struct {
	const char *text;
	const char *lenient, *strict;	/* errors; NULL: good */
	unsigned status;
	bool whole;	/* seen only where the bytes come together */
} rows[] = {
	{ OK BODY, NULL, NULL, 200, false },
	{ "HTTP/1.0 503 x\r\n\r\n", NULL, NULL, 503, false },
	{ "HTTP/1.2 200 OK\r\n" BODY, NULL, NULL, 200, false },
	{ "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" OK BODY, NULL, NULL, 200, false },
	{ "HTTP/1.1 101 x\r\nUpgrade: x\r\n\r\n", "101 without having been asked", "101 without having been asked", 0,
	  false },
	{ OK "X-Policy: a;\r\n  b\r\n" BODY, "folded header line", "folded header line", 0, false },
	{ OK "X: \x01\r\n" BODY, "control character in a header value", "control character in a header value", 0,
	  false },
	{ OK "Content-Length: 2\r\n" BODY, NULL, "more than one Content-Length", 200, false },
	{ OK "Content-Length: 3\r\n" BODY, "more than one Content-Length", "more than one Content-Length", 200, false },
	{ OK "X: a\n" BODY, NULL, "LF without CR", 200, false },
	{ "HTTP/1.1 600 x\r\n" BODY, NULL, "did not answer in HTTP", 600, false },
	{ OK CHUNKS "2\r\nok\r\n0\r\n\r\n", NULL, NULL, 200, false },
	{ OK CHUNKS "2 \r\nok\r\n0\r\n\r\n", NULL, "malformed chunk extension", 200, true },
	{ OK CHUNKS "zz\r\n", "malformed chunk size", "malformed chunk size", 200, true },
	{ "SSH-2.0-x\r\n", "did not answer in HTTP", "did not answer in HTTP", 0, false },
	{ "", "closed the connection without an answer", "closed the connection without an answer", 0, false },
	{ OK "X", "closed the connection in the middle of its answer's head",
	  "closed the connection in the middle of its answer's head", 0, false },
};

static void
assert_outcome(struct outcome o, const char *error, size_t row)
{
	if ((o.error == NULL) != (error == NULL) || (error != NULL && strcmp(o.error, error) != 0))
		fail_msg("row %zu: %s instead of %s", row, o.error != NULL ? o.error : "good",
			 error != NULL ? error : "good");
	if (error == NULL)
		assert_int_equal(o.status, rows[row].status);
}

static void
test_answers_are_judged_as_a_clients(void **state)
{
	struct http_config lenient = { .max_header_size = 4096 },
			   strict = { .max_header_size = 4096, .answers = ANSWERS_STRICT };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		for (size_t cut = 0; cut <= strlen(rows[i].text); cut++) {
			if (rows[i].whole && cut > 0)
				break;
			assert_outcome(cut_at(&lenient, rows[i].text, cut), rows[i].lenient, i);
			assert_outcome(cut_at(&strict, rows[i].text, cut), rows[i].strict, i);
		}
}

static void
test_a_head_beyond_the_limit(void **state)
{
	struct http_config http = { .max_header_size = 1024 };
	char text[2048];

	(void)state;
	memset(text, 'x', sizeof(text));
	memcpy(text, OK "X: ", strlen(OK "X: "));
	strcpy(text + sizeof(text) - 5, "\r\n\r\n");
	assert_string_equal(cut_at(&http, text, 0).error, "head too long");
	assert_string_equal(cut_at(&http, text, 1000).error, "head too long");
}

/* Where a framing tells, it is known when no more is to come. */
static void
test_the_rest_ends_where_its_framing_says(void **state)
{
	static const struct {
		const char *head, *rest;
		bool over;
	} answers[] = {
		{ OK "Content-Length: 0\r\n\r\n", "", true },
		{ "HTTP/1.1 204 x\r\n\r\n", "", true },
		{ OK "Content-Length: 5\r\n\r\n", "hello", true },
		{ OK "Content-Length: 5\r\n\r\nhe", "llo", true },
		{ OK "Content-Length: 5\r\n\r\n", "hell", false },
		{ OK CHUNKS, "2\r\nok\r\n0\r\n\r\n", true },
		{ OK CHUNKS, "2\r\nok\r\n0\r\n", false },
		{ OK CHUNKS "2\r\no", "no chunk", true },
		{ OK "\r\n", "until the end", false },
	};
	struct http_config http = { .max_header_size = 4096 };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
		struct probe_answer *a = probe_answer_new(&http, NULL, false, NULL);
		size_t n = strlen(answers[i].rest);
		struct outcome o = { .settled = false };
		bool over;

		give(a, answers[i].head, strlen(answers[i].head), &o);
		assert_true(o.settled);
		assert_null(o.error);
		over = probe_answer_rest(a, "", 0);
		assert_int_equal(over, n == 0);
		for (size_t at = 0; at < n; at++)
			over = probe_answer_rest(a, answers[i].rest + at, 1);
		assert_int_equal(over, answers[i].over);
		probe_answer_free(&a);
	}
}

/* What must be in a body is found at every cut, without what frames it. */
static void
test_a_body_that_must_hold_something(void **state)
{
	static const struct {
		const char *text;
		unsigned status;
		const char *error;
	} answers[] = {
		{ OK "Content-Length: 8\r\n\r\n{\"ready\"", 200, NULL },
		{ OK CHUNKS "3\r\nrea\r\n2\r\ndy\r\n0\r\n\r\n", 200, NULL },
		{ OK "\r\nuntil the end, ready", 200, NULL },
		{ OK "Content-Length: 4\r\n\r\nread", 200, "its body does not have health.expect_body" },
		{ OK "\r\nuntil the end", 200, "its body does not have health.expect_body" },
		{ "HTTP/1.1 503 x\r\nContent-Length: 3\r\n\r\nbad", 503, "its body does not have health.expect_body" },
		{ "HTTP/1.1 204 x\r\n\r\n", 204, "its body does not have health.expect_body" },
	};
	struct http_config http = { .max_header_size = 4096 };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(answers); i++)
		for (size_t cut = 0; cut <= strlen(answers[i].text); cut++) {
			struct probe_answer *a = probe_answer_new(&http, "ready", false, NULL);
			struct outcome o = { .settled = false };

			give(a, answers[i].text, cut, &o);
			give(a, answers[i].text + cut, strlen(answers[i].text) - cut, &o);
			if (!o.settled)
				assert_true(probe_answer_take(a, 0, &o.status, &o.error));
			assert_int_equal(o.status, answers[i].status);
			if (answers[i].error == NULL)
				assert_null(o.error);
			else
				assert_string_equal(o.error, answers[i].error);
			probe_answer_free(&a);
		}
}

static void
test_a_flood_of_interim_answers(void **state)
{
	static const char hint[] = "HTTP/1.1 103 x\r\nX: yyyyyyyyyy\r\n\r\n";
	struct http_config http = { .max_header_size = 1024 };
	unsigned most = 1024 / (sizeof(hint) - 1);
	char text[2048] = "";

	(void)state;
	for (unsigned i = 0; i < most; i++)
		strcat(text, hint);
	strcat(text, OK BODY);
	assert_null(cut_at(&http, text, 100).error);
	memmove(text + sizeof(hint) - 1, text, strlen(text) + 1);
	memcpy(text, hint, sizeof(hint) - 1);
	assert_string_equal(cut_at(&http, text, 100).error,
			    "interim answers that are longer together than a head may be");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answers_are_judged_as_a_clients),
		cmocka_unit_test(test_a_head_beyond_the_limit),
		cmocka_unit_test(test_the_rest_ends_where_its_framing_says),
		cmocka_unit_test(test_a_body_that_must_hold_something),
		cmocka_unit_test(test_a_flood_of_interim_answers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
