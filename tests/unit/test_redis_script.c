/* test_redis_script.c - the lease of who watches a pool's nodes, as a real redis-server decides about it. */
#include "redis_server.h"

#include "base/clock.h"
#include "store/redis_script.h"

#define LIFE_US 3600000000ll

static struct {
	char dir[64];
	struct redis_server server;
	redisContext *c;
} t;

/* What one teald asks, and how it differs from the usual. */
struct wish {
	const char *wish, *id;
	long long token;
	const char *stamp, *set;
	long long deadline_us;	/* from now; 0: an hour */
};

struct told {
	bool late, ours, held, written;
	long long token;
	char host[32], stamp[48], set[32];
};

static struct told
ask(struct wish w)
{
	char deadline[32], token[32], life[32];
	struct told out = { .late = false };
	redisReply *r;

	snprintf(deadline, sizeof(deadline), "%lld", (long long)clock_wall_us() + (w.deadline_us != 0 ? w.deadline_us : LIFE_US));
	snprintf(token, sizeof(token), "%lld", w.token);
	snprintf(life, sizeof(life), "%lld", LIFE_US);
	r = redisCommand(t.c, "EVAL %s 1 pool %s %s %s %s %s %s %s %s %s %s %s %s", redis_script_watch.text, deadline, w.wish, w.id,
			 token, life, w.stamp != NULL ? w.stamp : "", w.set != NULL ? w.set : "", "0", "", w.id, "60000000", "channel");
	assert_non_null(r);
	if (r->type == REDIS_REPLY_ERROR)
		fail_msg("%s", r->str);
	assert_int_equal(r->type, REDIS_REPLY_ARRAY);
	out.late = strcmp(r->element[0]->str, "late") == 0;
	if (!out.late) {
		assert_int_equal(r->elements, 10);
		out.ours = r->element[0]->len > 0;
		out.held = r->element[1]->len > 0;
		out.written = r->element[2]->len > 0;
		out.token = strtoll(r->element[3]->str, NULL, 10);
		snprintf(out.host, sizeof(out.host), "%s", r->element[4]->str);
		snprintf(out.stamp, sizeof(out.stamp), "%s", r->element[6]->str);
		snprintf(out.set, sizeof(out.set), "%s", r->element[9]->str);
	}
	freeReplyObject(r);
	return out;
}

/* The holder is not heard of any more, and its time is over. */
static void
let_lease_end(void)
{
	redis_server_do(&t.server, "HSET pool until 1");
}

static void
test_one_holds_it_and_writes(void **state)
{
	struct told is;

	(void)state;
	is = ask((struct wish){ "look", "lb1", 0, .set = NULL });
	assert_true(!is.ours && !is.held && is.token == 0);
	is = ask((struct wish){ "hold", "lb1", 0, .set = "early" });
	/* With the answer it knows its token; before that it writes nothing. */
	assert_true(is.ours && is.held && !is.written && is.token == 1);
	is = ask((struct wish){ "hold", "lb1", 1, .set = "one" });
	assert_true(is.ours && is.written && is.token == 1);
	assert_string_equal(is.stamp, "1.1");
	is = ask((struct wish){ "hold", "lb1", 1, .stamp = "1.1", .set = "two" });
	assert_string_equal(is.stamp, "1.2");
	/* The others hear it, each set once. */
	is = ask((struct wish){ "hold", "lb2", 0, .stamp = "1.1" });
	assert_true(!is.ours && is.held && is.token == 0);
	assert_string_equal(is.host, "lb1");
	assert_string_equal(is.set, "two");
	is = ask((struct wish){ "look", "lb2", 0, .stamp = "1.2" });
	assert_string_equal(is.set, "");
}

/* The former holder slept: its token is of a lease that is over, and changes nothing. */
static void
test_who_held_it_before_writes_no_more(void **state)
{
	struct told is;

	(void)state;
	ask((struct wish){ "hold", "lb1", 0, .set = NULL });
	ask((struct wish){ "hold", "lb1", 1, .set = "old" });
	let_lease_end();
	is = ask((struct wish){ "hold", "lb2", 0, .stamp = "1.1" });
	assert_true(is.ours && is.token == 2);
	is = ask((struct wish){ "hold", "lb1", 1, .stamp = "1.1", .set = "fenced" });
	assert_true(!is.ours && is.held && !is.written && is.token == 0);
	assert_string_equal(is.host, "lb2");
	is = ask((struct wish){ "leave", "lb1", 1, .set = NULL });
	assert_true(is.held);
	is = ask((struct wish){ "hold", "lb2", 2, .set = "new" });
	assert_true(is.written);
	assert_string_equal(is.stamp, "2.2");
	/* Also after that one has gone: it takes the lease anew, with a token that no write of before had. */
	let_lease_end();
	is = ask((struct wish){ "hold", "lb1", 1, .stamp = "1.1", .set = "fenced" });
	assert_true(is.ours && !is.written && is.token == 3);
	assert_string_equal(is.set, "new");
}

static void
test_one_that_was_started_anew_has_another_token(void **state)
{
	struct told is;

	(void)state;
	ask((struct wish){ "hold", "lb1", 0, .set = NULL });
	is = ask((struct wish){ "hold", "lb1", 0, .set = "early" });
	assert_true(is.ours && !is.written && is.token == 2);
	is = ask((struct wish){ "hold", "lb1", 1, .set = "of before" });
	assert_true(is.ours && !is.written && is.token == 3);
}

static void
test_what_is_given_back_is_free_at_once(void **state)
{
	struct told is;

	(void)state;
	ask((struct wish){ "hold", "lb1", 0, .set = NULL });
	is = ask((struct wish){ "leave", "lb1", 1, .set = NULL });
	assert_true(!is.ours && !is.held);
	is = ask((struct wish){ "hold", "lb2", 0, .set = NULL });
	assert_true(is.ours && is.token == 2);
}

/* By Redis's own clock: what comes late changes nothing, and a lease that ends later than any does is none. */
static void
test_clocks(void **state)
{
	struct told is;

	(void)state;
	is = ask((struct wish){ "hold", "lb1", 0, .deadline_us = -1000000 });
	assert_true(is.late);
	assert_true(!ask((struct wish){ "look", "lb2", 0, .set = NULL }).held);
	ask((struct wish){ "hold", "lb1", 0, .set = NULL });
	redis_server_do(&t.server, "HSET pool until 99999999999999999");
	is = ask((struct wish){ "hold", "lb2", 0, .set = NULL });
	assert_true(is.ours && is.token == 2);
	/* What is no number is no lease. */
	redis_server_do(&t.server, "HSET pool until never token many");
	is = ask((struct wish){ "hold", "lb3", 0, .set = NULL });
	assert_true(is.ours && is.token == 1);
}

static int
begin_server(void **state)
{
	(void)state;
	strcpy(t.dir, "/tmp/test_redis_script.XXXXXX");
	assert_non_null(mkdtemp(t.dir));
	redis_server_start(&t.server, t.dir, "redis", "");
	assert_non_null(t.c = redisConnectUnix(t.server.path));
	return 0;
}

static int
end_server(void **state)
{
	char *command = must_printf("rm -rf %s", t.dir);
	int rc;

	(void)state;
	redisFree(t.c);
	redis_server_stop(&t.server);
	rc = system(command);
	free(command);
	return rc;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_one_holds_it_and_writes, begin_server, end_server),
		cmocka_unit_test_setup_teardown(test_who_held_it_before_writes_no_more, begin_server, end_server),
		cmocka_unit_test_setup_teardown(test_one_that_was_started_anew_has_another_token, begin_server, end_server),
		cmocka_unit_test_setup_teardown(test_what_is_given_back_is_free_at_once, begin_server, end_server),
		cmocka_unit_test_setup_teardown(test_clocks, begin_server, end_server),
	};

	return cmocka_run_group_tests_name("redis_script", tests, NULL, NULL);
}
