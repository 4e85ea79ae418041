/* test_ruleset.c - marks, whose turn it is, and the texts of the table: nothing
 * here asks the kernel. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kernel/ruleset_private.h"
#include "ruleset_world.h"

static void
test_a_mark_holds_its_parts(void **state)
{
	uint32_t mark = mark_make(255, MARK_SERVICES, BLUE, ENTRANCE_PREVIEW, 5 * MARK_GENERATIONS + 255);

	(void)state;
	assert_int_equal(mark, ~(MARK_LEFT | MARK_OVER));
	assert_false(mark_is_over(mark));
	assert_true(mark_is_over(mark | MARK_LEFT | MARK_OVER));
	assert_false(mark_is_over(mark | MARK_OVER));
	assert_true(mark_is_reused(mark | MARK_OVER));
	assert_false(mark_is_reused(mark | MARK_LEFT | MARK_OVER));
	assert_int_equal(mark_make(1, 1, GREEN, ENTRANCE_MAIN, 1024), 0x01001000);
	assert_int_equal(mark_make(0xa5, 0x123, BLUE, ENTRANCE_MAIN, 7), 0xa5123807);
	mark = mark_make(3, 4000, GREEN, ENTRANCE_PREVIEW, 1025);
	assert_int_equal(mark_tag(mark), 3);
	assert_int_equal(mark_service(mark), 4000);
	assert_int_equal(mark_color(mark), GREEN);
	assert_int_equal(mark_entrance(mark), ENTRANCE_PREVIEW);
	assert_int_equal(mark_generation(mark), 1);
	assert_int_equal(MARK_TAG ^ MARK_SERVICE ^ MARK_COLOR ^ MARK_ENTRANCE ^ MARK_LEFT ^ MARK_OVER ^ MARK_GENERATION,
			 UINT32_MAX);
}

/* -- whose turn it is ------------------------------------------------------------ */

static struct ruleset_slots
slots_of(const char *backends, int family, bool hash)
{
	struct snapshot *s = snapshot_of(1, 1, GREEN, backends, "");
	struct ruleset_slots slots;

	ruleset_slots_make(&slots, &s->colors[GREEN], family, hash);
	snapshot_unref(&s);
	return slots;
}

static unsigned
count(const struct ruleset_slots *s, uint32_t place)
{
	unsigned n = 0;

	for (unsigned i = 0; i < s->n; i++)
		n += s->list[i] == place;
	return n;
}

static void
test_turns_are_smooth_and_few(void **state)
{
	static const uint32_t smooth[] = { 0, 0, 1, 0, 2, 0, 0 };
	struct ruleset_slots s = slots_of("10.0.0.1:80*5 10.0.0.2:80 10.0.0.3:80", AF_INET, false);

	(void)state;
	assert_int_equal(s.n, 7);
	assert_false(s.hash);
	assert_memory_equal(s.list, smooth, sizeof(smooth));
	ruleset_slots_free(&s);
	/* The same weight for all is one slot each. */
	s = slots_of("10.0.0.1:80*200 10.0.0.2:80*200 10.0.0.3:80*200", AF_INET, false);
	assert_int_equal(s.n, 3);
	ruleset_slots_free(&s);
	s = slots_of("10.0.0.1:80 -10.0.0.2:80", AF_INET, false);
	assert_int_equal(s.n, 1);
	ruleset_slots_free(&s);
	s = slots_of("-10.0.0.2:80", AF_INET, false);
	assert_int_equal(s.n, 0);
	ruleset_slots_free(&s);
}

/* Weights without a common measure, as of those that start slowly. */
static void
test_odd_weights_are_nearly_right(void **state)
{
	struct snapshot *snapshot = snapshot_of(1, 1, GREEN, "10.0.0.1:80 10.0.0.2:80 10.0.0.3:80", "");
	struct snapshot_color *sc = &snapshot->colors[GREEN];
	struct ruleset_slots s;

	(void)state;
	sc->weights[0] = 25600;
	sc->weights[1] = 12799;
	sc->weights[2] = 1;
	ruleset_slots_make(&s, sc, AF_INET, false);
	assert_in_range(s.n, 500, 520);
	assert_in_range(count(&s, 0) * 1000 / s.n, 660, 672);
	assert_in_range(count(&s, 1) * 1000 / s.n, 328, 338);
	assert_int_equal(count(&s, 2), 1);
	ruleset_slots_free(&s);
	snapshot_unref(&snapshot);
}

static void
test_each_family_has_its_own(void **state)
{
	static const char both[] = "10.0.0.1:80 [fd00::1]:80 10.0.0.2:80";
	struct ruleset_slots s = slots_of(both, AF_INET, false);

	(void)state;
	assert_int_equal(s.n, 2);
	assert_int_equal(s.list[0], 0);
	assert_int_equal(s.list[1], 2);
	ruleset_slots_free(&s);
	for (int hash = 0; hash < 2; hash++) {
		s = slots_of(both, AF_INET6, hash);
		for (unsigned i = 0; i < s.n; i++)
			assert_int_equal(s.list[i], 1);
		assert_true(s.n > 0);
		ruleset_slots_free(&s);
	}
}

static void
test_who_loses_a_backend_is_the_only_one_who_moves(void **state)
{
	static const char all[] = "10.0.0.1:80 10.0.0.2:80 10.0.0.3:80*2 10.0.0.4:80 10.0.0.5:80";
	static const char less[] = "10.0.0.1:80 -10.0.0.2:80 10.0.0.3:80*2 10.0.0.4:80 10.0.0.5:80";
	/* Of usable ones: what was 2 and more is one less. */
	struct ruleset_slots a = slots_of(all, AF_INET, true), b = slots_of(less, AF_INET, true);
	unsigned heirs[4] = { 0 };

	(void)state;
	assert_true(a.hash && b.hash);
	assert_int_equal(a.n, b.n);
	for (unsigned i = 0; i < a.n; i++) {
		if (a.list[i] == 1)
			heirs[b.list[i]]++;
		else
			assert_int_equal(b.list[i], a.list[i] > 1 ? a.list[i] - 1 : a.list[i]);
	}
	for (int i = 0; i < 4; i++)
		assert_true(heirs[i] > 0);
	/* Shares are those of the weights. */
	assert_in_range(count(&a, 0) * 100 / a.n, 16, 17);
	assert_in_range(count(&a, 2) * 100 / a.n, 32, 34);
	ruleset_slots_free(&a);
	ruleset_slots_free(&b);
}

static void
test_no_backend_is_too_light_for_sources(void **state)
{
	char all[40 * 24] = "";
	struct ruleset_slots a;
	size_t n = 0;

	(void)state;
	for (int i = 0; i < 39; i++)
		n += (size_t)snprintf(all + n, sizeof(all) - n, "10.0.0.%d:80*256 ", i + 1);
	snprintf(all + n, sizeof(all) - n, "10.0.1.1:80");
	a = slots_of(all, AF_INET, true);
	assert_in_range(count(&a, 39), 1, 4);
	ruleset_slots_free(&a);
}

/* Main changes them while the rules are made: one that gets nothing more has no share to divide by. */
static void
test_sources_go_by_the_weights_of_their_table(void **state)
{
	struct snapshot *s = snapshot_of(1, 1, GREEN, "10.0.0.1:80 10.0.0.2:80", "");
	struct ruleset_slots a, b;

	(void)state;
	ruleset_slots_make(&a, &s->colors[GREEN], AF_INET, true);
	s->colors[GREEN].usable[1]->share = 0;
	ruleset_slots_make(&b, &s->colors[GREEN], AF_INET, true);
	assert_int_equal(a.n, b.n);
	assert_memory_equal(a.list, b.list, a.n * sizeof(*a.list));
	ruleset_slots_free(&a);
	ruleset_slots_free(&b);
	snapshot_unref(&s);
}

static void
test_the_order_of_backends_does_not_matter_to_sources(void **state)
{
	struct ruleset_slots a = slots_of("10.0.0.1:80 10.0.0.2:80 10.0.0.3:80", AF_INET, true);
	struct ruleset_slots b = slots_of("10.0.0.3:80 10.0.0.2:80 10.0.0.1:80", AF_INET, true);

	(void)state;
	assert_int_equal(a.n, b.n);
	for (unsigned i = 0; i < a.n; i++)
		assert_int_equal(a.list[i], 2 - b.list[i]);
	ruleset_slots_free(&a);
	ruleset_slots_free(&b);
}

/* -- texts ------------------------------------------------------------------------- */

static char *
print(const struct design *d, struct snapshot *const *snapshots)
{
	char *text = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&text, &n);

	assert_non_null(f);
	ruleset_print(&d->config, snapshots, f);
	fclose(f);
	return text;
}

static void
test_the_table_reads_like_what_it_does(void **state)
{
	struct design d;
	struct snapshot *s;
	char *text;

	(void)state;
	design_init(&d);
	design_service(&d, "shop", "10.9.0.1:80");
	design_preview(&d, 0, "10.9.0.1:8080");
	s = snapshot_of(1, 3, BLUE, "10.0.0.1:80 10.0.0.2:80", "10.0.1.1:81");
	text = print(&d, &s);
	assert_non_null(strstr(text, "table inet teal_test {\n\tcomment \"teal one\"\n"));
	assert_non_null(strstr(text, "\tchain c1_green_"));
	assert_non_null(strstr(text, "meta nfproto ipv4 meta l4proto tcp dnat ip to numgen inc mod 2 map "
				     "{ 0 : 10.0.0.1 . 80, 1 : 10.0.0.2 . 80 }\n"));
	assert_non_null(strstr(text, "numgen inc mod 1 map { 0 : 10.0.1.1 . 81 }\n"));
	assert_non_null(strstr(text, "\t10.9.0.1 . tcp . 80 : 0xa5001803,\n"));
	assert_non_null(strstr(text, "\t10.9.0.1 . tcp . 8080 : 0xa5001403\n"));
	assert_non_null(strstr(text, "\t10.9.0.1 . tcp . 80 : \"n1/shop/stale\",\n"));
	assert_non_null(strstr(text, "masquerade"));
	/* What no service needs costs no packet anything. */
	assert_null(strstr(text, "nat hook output"));
	assert_null(strstr(text, "@wild"));
	assert_null(strstr(text, "@main6"));
	assert_null(strstr(text, "@doors"));
	assert_null(strstr(text, "timeout 3"));
	free(text);
	d.services[0].transparent = true;
	d.services[0].mode = MODE_UDP;
	d.services[0].local_clients = true;
	d.config.max_age = 30;
	text = print(&d, &s);
	assert_null(strstr(text, "hook postrouting"));
	assert_null(strstr(text, "priority -150"));
	assert_non_null(strstr(text, "nat hook output"));
	assert_non_null(strstr(text, "\t10.9.0.1 . udp . 80 timeout 30000ms : 0xa5001803,\n"));
	free(text);
	snapshot_unref(&s);
	/* Without knowledge of the store: refused. */
	text = print(&d, NULL);
	assert_null(strstr(text, "add element inet teal_test main4"));
	assert_non_null(strstr(text, "add element inet teal_test stale4"));
	free(text);
}

static void
add_network(struct cidr_set *set, const char *text)
{
	struct cidr c;
	struct why why;

	assert_int_equal(cidr_parse(text, &c, NULL, &why), OK);
	cidr_set_add(set, &c);
}

static char *
door_of(struct design *d)
{
	struct ruleset_plan p;
	char *text = NULL, name[RULESET_NAME];
	size_t n = 0;
	FILE *f = open_memstream(&text, &n);

	assert_non_null(f);
	ruleset_plan_init(&p, &d->config);
	ruleset_plan_number(&p, NULL);
	ruleset_door_chain(&p, 0, name, f);
	ruleset_plan_free(&p);
	fclose(f);
	assert_int_equal(name[0] == '\0', text[0] == '\0');
	return text;
}

static void
test_doors_say_who_may_come_in(void **state)
{
	struct design d;
	struct limits_config *l = &d.limits[0];
	char *text;

	(void)state;
	design_init(&d);
	design_service(&d, "shop", "10.9.0.1:80");
	text = door_of(&d);
	assert_string_equal(text, "");
	free(text);
	add_network(&l->deny, "10.0.0.0/8");
	add_network(&l->deny, "::/0");
	add_network(&l->allow, "0.0.0.0/0");
	text = door_of(&d);
	assert_non_null(strstr(
		text,
		"meta nfproto ipv4 ip saddr { 10.0.0.0/8 } counter name \"n1/shop/denied\" goto refuse\n"));
	assert_non_null(strstr(text, "meta nfproto ipv6 counter name \"n1/shop/denied\" goto refuse\n"));
	assert_null(strstr(text, "!="));
	assert_null(strstr(text, "return"));
	free(text);
	cidr_set_clear(&l->deny);
	cidr_set_clear(&l->allow);
	add_network(&l->allow, "192.168.0.0/16");
	l->per_source = 7;
	l->source_prefix6 = 56;
	l->source_rate = (struct source_rate){ .burst = 20, .per_second = 0.5 };
	text = door_of(&d);
	assert_non_null(strstr(text, "meta nfproto ipv4 ip saddr != { 192.168.0.0/16 } counter"));
	assert_non_null(strstr(text, "meta nfproto ipv6 counter name \"n1/shop/denied\" goto refuse\n"));
	assert_non_null(strstr(text, "ct mark & 0x00000400 == 0x00000400 return\n"));
	assert_non_null(strstr(
		text, "{ ip6 saddr & ffff:ffff:ffff:ff00:: limit rate over 30/minute burst 20 packets }"));
	assert_non_null(strstr(
		text,
		"add @r1_count4_7_56 { ip saddr ct count over 7 } counter name \"n1/shop/source_limit\""));
	free(text);
	cidr_set_clear(&l->allow);
}

static void
rate_is(double per_second, const char *expected)
{
	struct design d;
	char *text;

	design_init(&d);
	design_service(&d, "shop", "10.9.0.1:80");
	d.limits[0].source_rate = (struct source_rate){ .burst = 1, .per_second = per_second };
	text = door_of(&d);
	if (strstr(text, expected) == NULL)
		fail_msg("%s is not in %s", expected, text);
	free(text);
}

static void
test_rates_are_right_within_a_percent(void **state)
{
	(void)state;
	rate_is(100, "over 100/second burst 1 packets");
	rate_is(2.5, "over 150/minute burst 1 packets");
	rate_is(1000.4, "over 1000/second burst 1 packets");
	rate_is(1.0 / 60, "over 1/minute burst 1 packets");
	rate_is(1.0 / 86400, "over 1/day burst 1 packets");
	rate_is(1e-9, "over 1/day burst 1 packets");
}

static void
test_numbers_are_given_once(void **state)
{
	struct design d;
	struct ruleset_plan p;
	static bool taken[MARK_SERVICES + 1];

	(void)state;
	design_init(&d);
	for (int i = 0; i < 3; i++)
		design_service(&d, "x", "10.9.0.1:80");
	ruleset_plan_init(&p, &d.config);
	p.numbers[1] = 1;
	taken[1] = taken[2] = true;
	ruleset_plan_number(&p, taken);
	assert_int_equal(p.numbers[0], 3);
	assert_int_equal(p.numbers[1], 1);
	assert_int_equal(p.numbers[2], 4);
	ruleset_plan_free(&p);
	/* Where all have been somebody's, those of the gone are given again. */
	ruleset_plan_init(&p, &d.config);
	memset(taken, 1, sizeof(taken));
	taken[MARK_SERVICES] = false;
	p.numbers[2] = 2;
	ruleset_plan_number(&p, taken);
	assert_int_equal(p.numbers[0], MARK_SERVICES);
	assert_int_equal(p.numbers[1], 1);
	ruleset_plan_free(&p);
}

/* Chains are known by their names: another one where anything is different, and only there. */
static void
test_names_of_chains_are_those_of_their_rules(void **state)
{
	static const char *const backends[] = { "10.0.0.1:80 10.0.0.2:80", "10.0.0.1:80 10.0.0.2:81",
						"10.0.0.1:80", "10.0.0.1:80*2 10.0.0.2:80", "-10.0.0.1:80" };
	char names[ARRAY_LEN(backends)][RULESET_NAME], again[RULESET_NAME];
	struct design d;
	struct ruleset_plan p;

	(void)state;
	design_init(&d);
	design_service(&d, "shop", "10.9.0.1:80");
	ruleset_plan_init(&p, &d.config);
	ruleset_plan_number(&p, NULL);
	for (size_t i = 0; i < ARRAY_LEN(backends); i++) {
		struct snapshot *s = snapshot_of(i, i, GREEN, backends[i], "");

		ruleset_color_chain(&p, 0, GREEN, &s->colors[GREEN], 0, names[i], NULL);
		ruleset_color_chain(&p, 0, GREEN, &s->colors[GREEN], 17, again, NULL);
		assert_string_equal(again, names[i]);
		for (size_t k = 0; k < i; k++)
			assert_string_not_equal(names[k], names[i]);
		snapshot_unref(&s);
	}
	ruleset_plan_free(&p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_mark_holds_its_parts),
		cmocka_unit_test(test_turns_are_smooth_and_few),
		cmocka_unit_test(test_odd_weights_are_nearly_right),
		cmocka_unit_test(test_each_family_has_its_own),
		cmocka_unit_test(test_who_loses_a_backend_is_the_only_one_who_moves),
		cmocka_unit_test(test_no_backend_is_too_light_for_sources),
		cmocka_unit_test(test_sources_go_by_the_weights_of_their_table),
		cmocka_unit_test(test_the_order_of_backends_does_not_matter_to_sources),
		cmocka_unit_test(test_the_table_reads_like_what_it_does),
		cmocka_unit_test(test_doors_say_who_may_come_in),
		cmocka_unit_test(test_rates_are_right_within_a_percent),
		cmocka_unit_test(test_numbers_are_given_once),
		cmocka_unit_test(test_names_of_chains_are_those_of_their_rules),
	};

	return cmocka_run_group_tests_name("ruleset", tests, NULL, NULL);
}
