/* test_watched.c - what becomes of nodes that an API tells of: the table, cordons, and a pool that never empties. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/check.h"
#include "model/watched.h"
#include "scaled.h"

static const struct quorum half = { .value = 50, .percent = true };

static struct kube_node
node(const char *name, unsigned signals, uint64_t version)
{
	struct kube_node n = { .signals = signals, .version = version };

	CHECK(str_copy(n.name, sizeof(n.name), str_from(name)));
	snprintf(n.host, sizeof(n.host), "10.0.0.%d", name[0] - 'a' + 1);
	return n;
}

static uint64_t clock_of_api;

/* "a b! c/ d- e~": ! cordoned, / tainted, - deleting, x excluded, ~ not Ready. */
static void
list(struct watched_set *s, const char *text, int64_t now)
{
	struct kube_node nodes[26];
	size_t n = 0;

	clock_of_api++;
	for (; *text != '\0'; text++) {
		if (*text >= 'a' && *text <= 'w')
			nodes[n++] = node((char[]){ *text, '\0' }, 0, clock_of_api);
		else if (*text != ' ')
			nodes[n - 1].signals |= *text == '!' ? KUBE_CORDONED : *text == '/' ? KUBE_TAINTED :
						*text == '-' ? KUBE_DELETING : *text == 'x' ? KUBE_EXCLUDED : KUBE_NOT_READY;
	}
	assert_true(watched_replace(s, nodes, n, now));
	(void)watched_decide(s, &half, now, 0);
}

static void
assert_why(const struct watched_set *s, const char *name, enum watched_why why)
{
	const struct watched *w = watched_find(s, name);

	assert_non_null(w);
	if (w->why != why)
		fail_msg("%s: %s, expected %s", name, watched_why_word(w->why), watched_why_word(why));
	assert_int_equal(w->wish, why == WATCHED_READY || why == WATCHED_CORDON_IGNORED || why == WATCHED_LAST ? NODE_READY : NODE_DRAIN);
}

static void
test_the_table(void **state)
{
	struct watched_set s = { 0 };

	(void)state;
	list(&s, "a b! c/ d- ex f~ g h i/-x!", 1);
	assert_why(&s, "a", WATCHED_READY);
	assert_why(&s, "b", WATCHED_CORDON_IGNORED);	/* a, g and h stay, of nine */
	assert_why(&s, "c", WATCHED_TAINTED);
	assert_why(&s, "d", WATCHED_DELETING);
	assert_why(&s, "e", WATCHED_EXCLUDED);
	assert_why(&s, "f", WATCHED_READY);	/* the checks decide */
	assert_why(&s, "i", WATCHED_TAINTED);
	list(&s, "a b! f g h", 2);
	assert_why(&s, "b", WATCHED_CORDONED);
	assert_why(&s, "c", WATCHED_DELETED);
	list(&s, "a b f g h", 3);
	assert_why(&s, "b", WATCHED_READY);
	watched_free(&s);
}

static void
test_cordoning_all_does_not_stop_all(void **state)
{
	struct watched_set s = { 0 };

	(void)state;
	list(&s, "a b c d", 1);
	list(&s, "a b! c d", 2);
	list(&s, "a! b! c d", 3);
	assert_why(&s, "a", WATCHED_CORDONED);
	assert_why(&s, "b", WATCHED_CORDONED);
	/* Those that drain go on, the others do not begin. */
	list(&s, "a! b! c! d!", 4);
	assert_why(&s, "a", WATCHED_CORDONED);
	assert_why(&s, "b", WATCHED_CORDONED);
	assert_why(&s, "c", WATCHED_CORDON_IGNORED);
	assert_why(&s, "d", WATCHED_CORDON_IGNORED);
	assert_int_equal(watched_find(&s, "b")->since_us, 2);
	assert_int_equal(watched_find(&s, "c")->since_us, 4);
	/* One that stays is about to be taken down: the last that was cordoned comes back. */
	list(&s, "a! b! c!/ d!", 5);
	assert_why(&s, "c", WATCHED_TAINTED);
	assert_why(&s, "b", WATCHED_CORDONED);
	assert_why(&s, "a", WATCHED_CORDON_IGNORED);
	/* One that is not Ready is none that stays. */
	list(&s, "a! b~ c~ d", 6);
	assert_why(&s, "a", WATCHED_CORDON_IGNORED);
	watched_free(&s);
}

static void
test_it_never_empties(void **state)
{
	struct watched_set s = { 0 };

	(void)state;
	list(&s, "a b", 1);
	list(&s, "a/ bx", 2);
	assert_why(&s, "a", WATCHED_LAST);
	assert_why(&s, "b", WATCHED_LAST);
	list(&s, "a/ bx c", 3);
	assert_why(&s, "a", WATCHED_TAINTED);
	assert_why(&s, "c", WATCHED_READY);
	list(&s, "", 4);
	assert_int_equal(watched_count(&s, WATCHED_LAST), 3);
	/* However long that lasts. */
	(void)watched_decide(&s, &half, 100, 99);
	assert_int_equal(s.n, 3);
	list(&s, "d", 101);
	assert_why(&s, "a", WATCHED_DELETED);
	assert_why(&s, "d", WATCHED_READY);
	assert_true(watched_decide(&s, &half, 201, 200));
	assert_int_equal(s.n, 1);
	watched_free(&s);
}

static void
test_what_is_older_changes_nothing(void **state)
{
	struct watched_set s = { 0 };
	struct kube_node n = node("a", KUBE_TAINTED, 10);

	(void)state;
	assert_true(watched_put(&s, &n, 1));
	n = node("a", 0, 9);
	assert_true(watched_put(&s, &n, 2));
	assert_int_equal(s.list[0].node.signals, KUBE_TAINTED);
	assert_true(watched_replace(&s, &n, 1, 3));
	assert_int_equal(s.list[0].node.signals, KUBE_TAINTED);
	/* One of that name that is another: its versions are its own. */
	watched_delete(&s, "a");
	assert_true(watched_put(&s, &n, 4));
	assert_int_equal(s.list[0].node.signals, 0);
	assert_false(s.list[0].deleted);
	watched_free(&s);
}

/* What is told on: nodes that come, go or move. */
static void
test_what_is_news(void **state)
{
	struct watched_set s = { 0 };
	struct kube_node n = node("a", 0, 1);

	(void)state;
	assert_true(watched_put(&s, &n, 1));
	assert_true(watched_decide(&s, &half, 1, 0));
	assert_false(watched_decide(&s, &half, 1, 0));
	n.version = 2;
	assert_true(watched_put(&s, &n, 2));
	assert_false(watched_decide(&s, &half, 2, 0));
	n.version = 3;
	str_copy(n.host, sizeof(n.host), STR("10.0.0.77"));
	assert_true(watched_put(&s, &n, 3));
	assert_true(watched_decide(&s, &half, 3, 0));
	watched_free(&s);
}

static void
test_by_address(void **state)
{
	struct watched_set s = { 0 }, at = { 0 };
	struct kube_node n = node("a", 0, 1);

	(void)state;
	/* A node that was replaced by another one with its address, and one without any. */
	assert_true(watched_put(&s, &n, 1));
	watched_delete(&s, "a");
	str_copy(n.name, sizeof(n.name), STR("b"));
	assert_true(watched_put(&s, &n, 1));
	n = node("c", 0, 1);
	str_copy(n.host, sizeof(n.host), STR("fd00::1"));
	assert_true(watched_put(&s, &n, 1));
	n = node("d", 0, 1);
	n.host[0] = '\0';
	assert_true(watched_put(&s, &n, 1));
	watched_by_host(&at, &s);
	assert_int_equal(at.n, 2);
	assert_string_equal(watched_at_host(&at, "10.0.0.1")->node.name, "b");
	assert_string_equal(watched_at_host(&at, "FD00:0::0001")->node.name, "c");
	assert_null(watched_at_host(&at, "10.0.0.2"));
	assert_null(watched_at_host(&at, "no host"));
	watched_free(&at);
	watched_free(&s);
}

static void
test_the_limit(void **state)
{
	struct kube_node *nodes = must_array(WATCHED_MAX + 1, sizeof(*nodes));
	struct watched_set s = { 0 };

	(void)state;
	for (size_t i = 0; i <= WATCHED_MAX; i++) {
		nodes[i] = node("a", 0, 1);
		snprintf(nodes[i].name, sizeof(nodes[i].name), "node-%zu", i);
	}
	assert_false(watched_replace(&s, nodes, WATCHED_MAX + 1, 1));
	assert_int_equal(s.n, 0);
	assert_true(watched_replace(&s, nodes, WATCHED_MAX, 1));
	assert_false(watched_put(&s, &nodes[WATCHED_MAX], 1));
	assert_true(watched_put(&s, &nodes[17], 1));
	assert_int_equal(s.n, WATCHED_MAX);
	watched_free(&s);
	free(nodes);
}

/* Whatever comes: while the API has a node, one is ready; the order of names holds; and what is decided is settled. */
static void
test_any_history(void **state)
{
	unsigned seed = 7;

	(void)state;
	for (unsigned round = 0; round < scaled(200, 20000); round++) {
		struct watched_set s = { 0 };
		char text[64];

		for (int step = 0; step < 20; step++) {
			size_t n = 0, ready = 0;

			for (char name = 'a'; name < 'g'; name++) {
				unsigned dice = (unsigned)rand_r(&seed);

				if (dice % 5 == 0)
					continue;
				text[n++] = name;
				for (int k = 0; k < 5; k++)
					if (dice >> (4 + 2 * k) % 28 & 1 && dice >> (5 + 2 * k) & 1)
						text[n++] = "!/-x~"[k];
			}
			text[n] = '\0';
			list(&s, text, step + 1);
			for (size_t i = 0; i < s.n; i++) {
				ready += s.list[i].wish == NODE_READY;
				assert_true(i == 0 || strcmp(s.list[i - 1].node.name, s.list[i].node.name) < 0);
			}
			if (s.n > 0 && ready == 0)
				fail_msg("\"%s\" leaves none", text);
			assert_false(watched_decide(&s, &half, step + 1, 0));
		}
		watched_free(&s);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_table),
		cmocka_unit_test(test_cordoning_all_does_not_stop_all),
		cmocka_unit_test(test_it_never_empties),
		cmocka_unit_test(test_what_is_older_changes_nothing),
		cmocka_unit_test(test_by_address),
		cmocka_unit_test(test_what_is_news),
		cmocka_unit_test(test_the_limit),
		cmocka_unit_test(test_any_history),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
