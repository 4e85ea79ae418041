/* test_admin_command.c - requests are typed as the table says, and every bad
 * one is refused with its usage line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/json.h"
#include "proto/admin_command.h"

static struct admin_line line;
static struct admin_request req;
static struct why why;

static enum err
parse(const char *text)
{
	why.text[0] = '\0';
	assert_int_equal(admin_line_parse(str_from(text), &line, &why), OK);
	return admin_command_parse(&line, &req, &why);
}

static void
a_flip_with_everything(void **state)
{
	(void)state;
	assert_int_equal(parse("flip shop blue --expect=green@42 --wait=drained --wait-healthy=10 "
			       "--timeout=0.5 --drain=0 --reason=\"deploy 8812\" --force"),
			 OK);
	assert_int_equal(req.command, ADMIN_FLIP);
	assert_int_equal(req.right, ADMIN_RIGHT_FLIP);
	assert_string_equal(req.service.p, "shop");
	assert_string_equal(req.color.p, "blue");
	assert_true(req.has_expect && req.has_expect_epoch);
	assert_string_equal(req.expect_color.p, "green");
	assert_int_equal(req.expect_color.n, 5);
	assert_int_equal(req.expect_epoch, 42);
	assert_int_equal(req.wait, ADMIN_WAIT_DRAINED);
	assert_true(req.has_wait_healthy && req.wait_healthy == 10.0);
	assert_true(req.has_timeout && req.timeout == 0.5);
	assert_true(req.has_drain && req.drain == 0.0);
	assert_string_equal(req.reason.p, "deploy 8812");
	assert_true(req.force);
}

static void
a_flip_with_nothing_has_the_defaults(void **state)
{
	(void)state;
	assert_int_equal(parse("flip shop green"), OK);
	assert_int_equal(req.wait, ADMIN_WAIT_APPLIED);
	assert_false(req.has_expect || req.has_expect_epoch || req.has_wait_healthy || req.has_timeout ||
		     req.has_drain || req.force || req.has_last);
	assert_int_equal(req.reason.n + req.expect_color.n + req.topic.n + req.pool.n, 0);
	/* Nothing is left of the flip before. */
	assert_int_equal(parse("status --brief"), OK);
	assert_true(req.brief && !req.force);
	assert_int_equal(parse("active shop --brief"), E_USAGE);
	assert_int_equal(parse("flip shop green --force --reason=x"), OK);
	assert_true(req.force && !req.brief);
	assert_int_equal(parse("flip shop green"), OK);
	assert_false(req.force);
	assert_int_equal(req.reason.n, 0);
}

static void
a_color_at_an_epoch(void **state)
{
	(void)state;
	assert_int_equal(parse("flip shop blue@41 --wait=drained --no-cut"), OK);
	assert_string_equal(req.color.p, "blue");
	assert_true(req.has_at_epoch && req.at_epoch == 41 && !req.has_expect && req.no_cut);
	assert_int_equal(parse("check shop green@0 --wait-healthy=60"), OK);
	assert_string_equal(req.color.p, "green");
	assert_true(req.has_at_epoch && req.at_epoch == 0 && req.wait_healthy == 60);
	assert_int_equal(parse("flip shop blue"), OK);
	assert_false(req.has_at_epoch || req.no_cut);
	assert_int_equal(parse("idle shop --epoch"), OK);
	assert_true(req.epoch);
	assert_int_equal(parse("idle shop"), OK);
	assert_false(req.epoch);
}

static void
claims(void **state)
{
#define TOKEN "00112233445566778899aabbccddeeff"
	(void)state;
	assert_int_equal(parse("claim shop --ttl=30m --reason=\"deploy 8812\" --wait=1.5h"), OK);
	assert_int_equal(req.right, ADMIN_RIGHT_FLIP);
	assert_true(req.ttl == 1800 && req.claim_wait == 5400 && req.token.n == 0);
	assert_int_equal(req.wait, ADMIN_WAIT_APPLIED);
	assert_int_equal(parse("claim shop --ttl=90 --reason=x --token=" TOKEN), OK);
	assert_string_equal(req.token.p, TOKEN);
	assert_true(req.ttl == 90 && req.claim_wait == 0);
	assert_int_equal(parse("flip shop blue --token=" TOKEN " --keep-claim --wait=drained"), OK);
	assert_true(req.keep_claim && req.wait == ADMIN_WAIT_DRAINED);
	assert_int_equal(parse("release shop --token=" TOKEN), OK);
	assert_int_equal(req.right, ADMIN_RIGHT_FLIP);
	assert_int_equal(parse("release shop --force --reason=stuck"), OK);
	assert_int_equal(req.right, ADMIN_RIGHT_ADMIN);
	assert_true(req.force && req.token.n == 0);
	/* Units are for all that are seconds. */
	assert_int_equal(parse("flip shop blue --timeout=2m --drain=1h --wait-healthy=10s"), OK);
	assert_true(req.timeout == 120 && req.drain == 3600 && req.wait_healthy == 10);
}

static void
expect_without_epoch(void **state)
{
	(void)state;
	assert_int_equal(parse("flip web=blue api=green@7 --expect=green"), OK);
	assert_int_equal(req.n_targets, 2);
	assert_int_equal(req.service.n, 0);
	assert_string_equal(req.targets[0].name, "web");
	assert_string_equal(req.targets[0].color.p, "blue");
	assert_false(req.targets[0].has_at_epoch);
	assert_string_equal(req.targets[1].color.p, "green");
	assert_int_equal(req.targets[1].at_epoch, 7);
	assert_int_equal(parse("rollback web api"), OK);
	assert_int_equal(req.n_targets, 2);
	assert_string_equal(req.targets[1].name, "api");
	assert_int_equal(parse("rollback shop --expect=blue --wait=none"), OK);
	assert_int_equal(req.command, ADMIN_ROLLBACK);
	assert_true(req.has_expect);
	assert_false(req.has_expect_epoch);
	assert_string_equal(req.expect_color.p, "blue");
	assert_int_equal(req.wait, ADMIN_WAIT_NONE);
	assert_int_equal(parse("rollback shop --expect=blue@18446744073709551615"), OK);
	assert_true(req.expect_epoch == UINT64_MAX);
	assert_int_equal(parse("rollback shop --expect=blue@0"), OK);
	assert_true(req.has_expect_epoch);
}

static void
the_other_commands(void **state)
{
	(void)state;
	assert_int_equal(parse("status"), OK);
	assert_int_equal(req.service.n, 0);
	assert_int_equal(parse("status shop"), OK);
	assert_string_equal(req.service.p, "shop");
	assert_int_equal(parse("check shop blue"), OK);
	assert_int_equal(req.right, ADMIN_RIGHT_READ);
	assert_string_equal(req.color.p, "blue");
	assert_int_equal(parse("lock * --reason=x"), OK);
	assert_true(req.all_services);
	assert_int_equal(parse("lock shop --reason=x"), OK);
	assert_false(req.all_services);
	assert_int_equal(parse("unlock *"), OK);
	assert_true(req.all_services);
	assert_int_equal(parse("history shop --last=5"), OK);
	assert_true(req.has_last && req.last == 5);
	assert_int_equal(parse("history shop"), OK);
	assert_false(req.has_last);
	assert_int_equal(parse("log warn"), OK);
	assert_int_equal(req.level, LOG_WARN_LEVEL);
	assert_int_equal(req.right, ADMIN_RIGHT_ADMIN);
	assert_int_equal(parse("maintenance on"), OK);
	assert_true(req.on);
	assert_int_equal(req.right, ADMIN_RIGHT_ADMIN);
	assert_int_equal(parse("maintenance off"), OK);
	assert_false(req.on);
	assert_int_equal(parse("help flip"), OK);
	assert_string_equal(req.topic.p, "flip");
	assert_int_equal(req.right, ADMIN_RIGHT_NONE);
	assert_int_equal(parse("events"), OK);
	assert_int_equal(parse("events shop"), OK);
	assert_string_equal(req.service.p, "shop");
}

static void
nodes_need_the_right_of_their_verb(void **state)
{
	(void)state;
	assert_int_equal(parse("node list"), OK);
	assert_int_equal(req.right, ADMIN_RIGHT_READ);
	assert_int_equal(parse("node list main"), OK);
	assert_string_equal(req.pool.p, "main");
	assert_int_equal(parse("node drain main 10.0.0.1"), OK);
	assert_int_equal(req.right, ADMIN_RIGHT_NODE);
	assert_string_equal(req.node_verb.p, "drain");
	assert_string_equal(req.host.p, "10.0.0.1");
}

static void
bad_requests_say_what_and_show_the_usage(void **state)
{
	static const struct {
		const char *text;
		enum err e;
		const char *says;
	} bad[] = {
		{ "", E_USAGE, "no command" },
		{ "--force", E_USAGE, "no command" },
		{ "flpi shop blue", E_USAGE, "did you mean flip?" },
		{ "statsu", E_USAGE, "did you mean status?" },
		{ "xyzzy", E_USAGE, "help lists" },
		{ "\"\"", E_USAGE, "unknown command \"\"" },
		{ "FLIP shop blue", E_USAGE, "unknown command" },
		{ "help flpi", E_USAGE, "did you mean flip?" },
		{ "flip", E_USAGE, "missing argument; usage: flip SERVICE COLOR[@EPOCH] | GROUP COLOR | SERVICE=COLOR[@EPOCH]... [--expect=" },
		{ "flip shop", E_USAGE, "missing argument" },
		{ "flip shop blue green", E_USAGE, "surplus argument \"green\"" },
		{ "flip \"\" blue", E_USAGE, "argument 1 is empty" },
		{ "flip web=blue api", E_USAGE, "\"api\" is not SERVICE=COLOR" },
		{ "flip web=blue =blue", E_USAGE, "no name of a service" },
		{ "flip web=blue api=red", E_UNKNOWN_COLOR, "unknown color \"red\"" },
		{ "flip web=blue api=blue@x", E_USAGE, "not a number" },
		{ "flip web=blue web=green", E_USAGE, "web is named twice" },
		{ "flip web=blue api=blue --expect=green@4", E_USAGE, "of several each has its own: web=blue@4" },
		{ "check web=blue api=blue --token=" TOKEN, E_USAGE, "--token is of one service's claim" },
		{ "rollback web api web", E_USAGE, "web is named twice" },
		{ "status a b", E_USAGE, "surplus argument \"b\"; usage: status [SERVICE]" },
		{ "flip shop purple", E_UNKNOWN_COLOR, "unknown color \"purple\"" },
		{ "flip shop Blue", E_UNKNOWN_COLOR, "green or blue" },
		{ "check shop blau", E_UNKNOWN_COLOR, "usage: check SERVICE COLOR" },
		{ "claim shop", E_USAGE, "is needed" },
		{ "claim shop --ttl=30m", E_USAGE, "--reason=TEXT is needed" },
		{ "claim shop --reason=x", E_USAGE, "--ttl=SEC is needed" },
		{ "claim shop --ttl=0 --reason=x", E_USAGE, "from a second to seven days" },
		{ "claim shop --ttl=169h --reason=x", E_USAGE, "from a second to seven days" },
		{ "claim shop --ttl=30d --reason=x", E_USAGE, "such as 5, 0.5 or 30m" },
		{ "claim shop --ttl=m --reason=x", E_USAGE, "such as 5, 0.5 or 30m" },
		{ "claim shop --ttl=30m --reason=x --wait=applied", E_USAGE, "such as 5, 0.5 or 30m" },
		{ "claim shop --ttl=30m --reason=x --token=", E_USAGE, "did the claim fail?" },
		{ "claim shop --ttl=30m --reason=x --force", E_USAGE, "unknown option --force" },
		{ "claim '*' --ttl=30m --reason=x green", E_USAGE, "surplus argument" },
		{ "release shop", E_USAGE, "--token or --force" },
		{ "release shop --force --token=00112233445566778899aabbccddeeff", E_USAGE, "--token or --force" },
		{ "release shop --token=00112233445566778899AABBCCDDEEFF", E_USAGE, "32 hexadecimal digits" },
		{ "flip shop blue --token=00112233445566778899aabbccddeef", E_USAGE, "32 hexadecimal digits" },
		{ "flip shop blue --keep-claim", E_USAGE, "--keep-claim needs --token" },
		{ "flip shop blue@", E_USAGE, "the epoch in blue@ is not a number" },
		{ "flip shop @41", E_UNKNOWN_COLOR, "unknown color \"\"" },
		{ "check shop blue@4x", E_USAGE, "the epoch in blue@4x is not a number" },
		{ "flip shop blue --no-cut", E_USAGE, "--no-cut needs --wait=drained" },
		{ "flip shop blue --no-cut --wait=applied", E_USAGE, "--no-cut needs --wait=drained" },
		{ "check shop blue --no-cut", E_USAGE, "unknown option --no-cut" },
		{ "node drain main h --wait=soon", E_USAGE, "--wait=soon: not a number of seconds" },
		{ "node drain main h --wait=169h", E_USAGE, "at most seven days" },
		{ "node drain main h --spread=5", E_USAGE, "--spread needs --wait" },
		{ "node drain main h --wait=5 --spread=6", E_USAGE, "--spread is longer than --wait" },
		{ "node drain main h --no-cut", E_USAGE, "--no-cut needs --wait:" },
		{ "node drain main h --wait --wait=5", E_USAGE, "--wait is given twice" },
		{ "node ready main h --wait", E_USAGE, "--wait is for node drain" },
		{ "node list main --wait=5", E_USAGE, "--wait is for node drain" },
		{ "status shop --epoch", E_USAGE, "unknown option --epoch" },
		{ "flip shop blue --expect=", E_UNKNOWN_COLOR, "unknown color \"\"" },
		{ "flip shop blue --expect=red@4", E_UNKNOWN_COLOR, "unknown color \"red\"" },
		{ "flip shop blue --expect=green@", E_USAGE, "epoch" },
		{ "flip shop blue --expect=green@x", E_USAGE, "--expect=green@x is not a number" },
		{ "flip shop blue --expect=green@-1", E_USAGE, "not a number" },
		{ "flip shop blue --expect=green@1@2", E_USAGE, "not a number" },
		{ "flip shop blue --expect=green@18446744073709551616", E_USAGE, "not a number" },
		{ "flip shop blue --expect", E_USAGE, "--expect needs a value: --expect=COLOR[@EPOCH]" },
		{ "flip shop blue --wait=forever", E_USAGE, "applied, drained or none" },
		{ "flip shop blue --wait", E_USAGE, "needs a value" },
		{ "flip shop blue --timeout=soon", E_USAGE, "--timeout=soon: not a number of seconds" },
		{ "flip shop blue --timeout=-1", E_USAGE, "not a number" },
		{ "flip shop blue --timeout=1e3", E_USAGE, "not a number" },
		{ "flip shop blue --timeout=", E_USAGE, "not a number" },
		{ "flip shop blue --drain=nan", E_USAGE, "not a number" },
		{ "flip shop blue --wait-healthy=inf", E_USAGE, "not a number" },
		{ "flip shop blue --force=yes", E_USAGE, "--force takes no value" },
		{ "flip shop blue --force --force", E_USAGE, "--force is given twice" },
		{ "flip shop blue --timeout=1 --timeout=1", E_USAGE, "twice" },
		{ "flip shop blue --frce", E_USAGE, "did you mean --force?" },
		{ "flip shop blue --last=3", E_USAGE, "unknown option --last" },
		{ "status --force", E_USAGE, "unknown option --force; usage: status" },
		{ "flip shop blue --reason=\"\"", E_USAGE, "--reason is empty" },
		{ "lock shop", E_USAGE, "--reason=TEXT is needed; usage: lock SERVICE|'*' --reason=TEXT" },
		{ "lock", E_USAGE, "missing argument" },
		{ "history shop --last=0", E_USAGE, "from 1 to" },
		{ "history shop --last=100001", E_USAGE, "from 1 to" },
		{ "history shop --last=1.5", E_USAGE, "from 1 to" },
		{ "log", E_USAGE, "missing argument; usage: log debug|info|warn|error" },
		{ "log loud", E_USAGE, "\"loud\" is no level" },
		{ "log informational", E_USAGE, "is no level" },
		{ "maintenance", E_USAGE, "usage: maintenance on|off" },
		{ "maintenance maybe", E_USAGE, "neither on nor off" },
		{ "node", E_USAGE, "missing argument" },
		{ "node frob main x", E_USAGE, "unknown verb \"frob\"" },
		{ "node add main", E_USAGE, "add needs a pool and a host" },
		{ "node list main x", E_USAGE, "nothing else" },
		{ "stop now", E_USAGE, "surplus argument" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		enum err e = parse(bad[i].text);

		if (e != bad[i].e || strstr(why.text, bad[i].says) == NULL)
			fail_msg("\"%s\" is %s: %s", bad[i].text, err_word(e), why.text);
	}
}

static void
a_drain_of_a_node_waits_with_or_without_a_deadline(void **state)
{
	(void)state;
	assert_int_equal(parse("node drain main h"), OK);
	assert_false(req.node_wait || req.has_node_timeout || req.has_spread);
	assert_int_equal(parse("node drain main h --wait --no-cut --brief --force"), OK);
	assert_true(req.node_wait && !req.has_node_timeout && req.no_cut && req.brief && req.force);
	assert_int_equal(parse("node drain main h --spread=1m --wait=2m"), OK);
	assert_true(req.node_wait && req.has_node_timeout && req.node_timeout == 120 && req.has_spread && req.spread == 60);
	assert_int_equal(parse("node drain main h --wait=0"), OK);
	assert_true(req.has_node_timeout && req.node_timeout == 0);
}

static void
a_reason_has_a_limit(void **state)
{
	char text[ADMIN_REASON_MAX + 100];
	int n = sprintf(text, "lock shop --reason=");

	(void)state;
	memset(text + n, 'x', ADMIN_REASON_MAX + 1);
	text[n + ADMIN_REASON_MAX] = '\0';
	assert_int_equal(parse(text), OK);
	assert_int_equal(req.reason.n, ADMIN_REASON_MAX);
	text[n + ADMIN_REASON_MAX] = 'x';
	text[n + ADMIN_REASON_MAX + 1] = '\0';
	assert_int_equal(parse(text), E_USAGE);
	assert_non_null(strstr(why.text, "longer than 1024"));
}

/* A word of the peer may be 4,000 bytes; the message stays short and whole. */
static void
long_words_are_cut_in_messages(void **state)
{
	char text[4000];

	(void)state;
	memset(text, 'y', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	assert_int_equal(parse(text), E_USAGE);
	assert_true(strlen(why.text) < 200);
	memcpy(text, "flip shop ", 10);
	assert_int_equal(parse(text), E_UNKNOWN_COLOR);
	assert_non_null(strstr(why.text, "usage: flip"));
}

static void
the_table_is_whole(void **state)
{
	(void)state;
	for (int i = 0; i < ADMIN_COMMANDS; i++) {
		const struct admin_command_info *info = admin_command_info(i);

		assert_int_equal(info->command, i);
		assert_ptr_equal(admin_command_find(str_from(info->word)), info);
		assert_true(info->min_args <= info->max_args);
		assert_true(info->max_args < ADMIN_ARGS_MAX);
		assert_true((info->required & ~info->options) == 0);
		assert_true(strlen(info->summary) > 0 && strlen(info->summary) < 64);
		assert_int_equal(info->max_args == 0, *info->args == '\0');
		assert_string_not_equal(admin_right_word(info->right), "");
	}
	for (int i = 0; i < ADMIN_OPTIONS; i++) {
		const struct admin_option_info *o = admin_option_info(i);

		assert_int_equal(o->option, i);
		assert_int_equal(o->kind == ADMIN_KIND_FLAG, o->value == NULL);
	}
	assert_null(admin_command_find(STR("fli")));
	assert_null(admin_command_find(STR("")));
}

static bool
contains(const struct buf *b, const char *text)
{
	return memmem(buf_str(b).p, buf_len(b), text, strlen(text)) != NULL;
}

static void
help_is_made_of_the_table(void **state)
{
	struct buf b;
	struct json j;

	(void)state;
	buf_init(&b, 65536);
	admin_command_usage(&b, admin_command_info(ADMIN_UNLOCK));
	assert_true(str_eq(buf_str(&b), "unlock SERVICE|'*' [--reason=TEXT]"));
	buf_clear(&b);
	admin_command_usage(&b, admin_command_info(ADMIN_STOP));
	assert_true(str_eq(buf_str(&b), "stop"));
	buf_clear(&b);
	admin_command_list(&b);
	for (int i = 0; i < ADMIN_COMMANDS; i++)
		assert_true(contains(&b, admin_command_info(i)->summary));
	buf_clear(&b);
	admin_command_help(&b, admin_command_info(ADMIN_HISTORY), "tealctl");
	assert_true(contains(&b, "Usage: tealctl history SERVICE [--last=N]\n"));
	assert_true(contains(&b, "  --last=N\n      only the newest N\n"));
	assert_true(contains(&b, "right: read"));
	assert_false(contains(&b, "--force"));

	buf_clear(&b);
	json_init(&j, &b);
	json_object(&j, NULL);
	admin_command_json(&j, STR("whoami"));
	json_object_end(&j);
	assert_true(str_eq(
		buf_str(&b),
		"{\"commands\":[{\"command\":\"whoami\",\"usage\":\"whoami\",\"summary\":"
		"\"who teald takes you for, and what you may do\",\"right\":\"none\"}]}"));
	buf_clear(&b);
	json_init(&j, &b);
	json_object(&j, NULL);
	admin_command_json(&j, STR(""));
	json_object_end(&j);
	assert_false(b.failed);
	for (int i = 0; i < ADMIN_COMMANDS; i++)
		assert_true(contains(&b, admin_command_info(i)->word));
	buf_free(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_flip_with_everything),
		cmocka_unit_test(a_flip_with_nothing_has_the_defaults),
		cmocka_unit_test(a_color_at_an_epoch),
		cmocka_unit_test(claims),
		cmocka_unit_test(expect_without_epoch),
		cmocka_unit_test(the_other_commands),
		cmocka_unit_test(nodes_need_the_right_of_their_verb),
		cmocka_unit_test(bad_requests_say_what_and_show_the_usage),
		cmocka_unit_test(a_drain_of_a_node_waits_with_or_without_a_deadline),
		cmocka_unit_test(a_reason_has_a_limit),
		cmocka_unit_test(long_words_are_cut_in_messages),
		cmocka_unit_test(the_table_is_whole),
		cmocka_unit_test(help_is_made_of_the_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
