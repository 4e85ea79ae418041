/* test_rights.c - who may do what: every right on every kind of target, for
 * root, teald's own user, users and groups with roles, and strangers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "app/teald/rights.h"

#define BIT(right) (1u << ADMIN_RIGHT_##right)

enum { ROOT = 0, OWN = 900, CI = 1001, OPS = 1002, NOBODY = 65534 };
enum { G_DEV = 2001, G_SRE = 2002, G_NONE = 2003 };

static char *shop_globs[] = { "shop", "shop-*" }, *all_glob[] = { "*" }, *pay_glob[] = { "pay" };
static struct role_config roles[] = {
	{ .user = "ci", .uid = CI, .services = shop_globs, .n_services = 2, .allow = BIT(READ) | BIT(FLIP) },
	{ .group = "dev", .gid = G_DEV, .services = all_glob, .n_services = 1, .allow = BIT(READ) },
	{ .group = "dev", .gid = G_DEV, .services = pay_glob, .n_services = 1, .allow = BIT(FLIP) | BIT(ADMIN) },
	{ .group = "sre", .gid = G_SRE, .services = all_glob, .n_services = 1,
	  .allow = BIT(READ) | BIT(FLIP) | BIT(NODE) | BIT(ADMIN) },
};
static struct service_config services[] = { { .name = "shop" }, { .name = "shop-eu" }, { .name = "pay" } };
static struct config config = {
	.refs = 1,
	.admin = { .roles = roles, .n_roles = ARRAY_LEN(roles) },
	.services = services,
	.n_services = ARRAY_LEN(services),
};
static struct config without_roles = { .refs = 1, .services = services, .n_services = ARRAY_LEN(services) };

static struct rights *
rights_for(uid_t uid, gid_t gid, gid_t group)
{
	struct rights *r = rights_new(&config, uid, gid, &group, group != 0, OWN);

	assert_non_null(r);
	return r;
}

/* OK or E_DENIED, and the sentence. */
static enum err
ask(const struct rights *r, const char *text, struct why *why, const char **missing)
{
	static struct admin_line line;
	struct admin_request request;

	assert_int_equal(admin_line_parse(str_from(text), &line, why), OK);
	assert_int_equal(admin_command_parse(&line, &request, why), OK);
	why->text[0] = '\0';
	return rights_check(r, &request, "ci", missing, why);
}

static bool
may(const struct rights *r, const char *text)
{
	struct why why;

	return ask(r, text, &why, NULL) == OK;
}

static void
root_and_our_own_user_need_no_role(void **state)
{
	static const uid_t users[] = { ROOT, OWN };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(users); i++) {
		struct rights *r = rights_new(&without_roles, users[i], G_NONE, NULL, 0, OWN);

		assert_non_null(r->because);
		assert_true(may(r, "flip pay blue"));
		assert_true(may(r, "lock * --reason=x"));
		assert_true(may(r, "stop"));
		assert_true(may(r, "node add main 10.0.0.1"));
		assert_true(may(r, "status"));
		assert_true(may(r, "status what-is-not-there"));
		rights_unref(&r);
		assert_null(r);
	}
}

static void
a_stranger_may_ask_who_he_is(void **state)
{
	struct rights *r = rights_for(NOBODY, G_NONE, 0);
	static const char *const all[] = {
		"status", "status shop", "active shop", "idle shop", "check shop blue", "flip shop blue",
		"rollback shop", "lock shop --reason=x", "unlock shop", "lock * --reason=x", "unlock *",
		"drain shop", "history shop", "node list", "node list main", "node add main 10.0.0.1", "fleet",
		"events", "events shop", "maintenance on", "reload", "stop",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		if (may(r, all[i]))
			fail_msg("may: %s", all[i]);
	assert_true(may(r, "whoami"));
	assert_true(may(r, "help"));
	assert_true(may(r, "help flip"));
	assert_true(may(r, "version"));
	rights_unref(&r);
}

static void
a_user_has_what_his_role_says_where_it_says(void **state)
{
	struct rights *r = rights_for(CI, G_NONE, 0);
	static const char *const yes[] = {
		"status", "fleet", "events", "node list",	/* shown as far as he may see */
		"status shop", "active shop-eu", "check shop blue", "history shop", "drain shop", "events shop",
		"flip shop blue", "rollback shop-eu", "lock shop --reason=x", "unlock shop-eu",
		"status shop-that-never-was",	/* it will be unknown, not denied */
	};
	static const char *const no[] = {
		"status pay", "flip pay blue", "check pay blue", "lock pay --reason=x", "events pay", "history pay",
		"lock * --reason=x", "unlock *", "maintenance off", "stop", "reload", "node add main 10.0.0.1",
		"status shopping", "status *",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(yes); i++)
		if (!may(r, yes[i]))
			fail_msg("may not: %s", yes[i]);
	for (size_t i = 0; i < ARRAY_LEN(no); i++)
		if (may(r, no[i]))
			fail_msg("may: %s", no[i]);
	rights_unref(&r);
}

static void
groups_count_first_or_further_ones(void **state)
{
	gid_t many[300];
	struct rights *r = rights_for(OPS, G_SRE, 0);

	(void)state;
	assert_true(may(r, "stop"));
	assert_true(may(r, "node add main 10.0.0.1"));
	rights_unref(&r);
	r = rights_for(OPS, G_NONE, G_SRE);
	assert_true(may(r, "maintenance on"));
	assert_true(may(r, "lock * --reason=x"));
	rights_unref(&r);
	for (size_t i = 0; i < ARRAY_LEN(many); i++)
		many[i] = 5000 + (gid_t)i;
	many[299] = G_SRE;
	r = rights_new(&config, OPS, G_NONE, many, 299, OWN);
	assert_false(may(r, "status"));
	rights_unref(&r);
	r = rights_new(&config, OPS, G_NONE, many, 300, OWN);
	assert_true(may(r, "status"));
	rights_unref(&r);
	/* A user's number is no group's, nor the other way round. */
	r = rights_for(G_SRE, CI, CI);
	assert_false(may(r, "status"));
	rights_unref(&r);
}

/* The first role that is his says nothing of flips; the next one does. */
static void
the_first_role_that_allows_wins(void **state)
{
	struct rights *r = rights_for(OPS, G_NONE, G_DEV);

	(void)state;
	assert_true(may(r, "status shop"));
	assert_false(may(r, "flip shop blue"));
	assert_true(may(r, "flip pay blue"));
	/* admin on one service is not admin on teald. */
	assert_false(may(r, "stop"));
	assert_false(may(r, "lock * --reason=x"));
	rights_unref(&r);
	/* Both a user with a role and a member of a group with others. */
	r = rights_for(CI, G_DEV, 0);
	assert_true(may(r, "flip shop blue"));
	assert_true(may(r, "flip pay blue"));
	assert_true(may(r, "lock * --reason=x"));	/* every service, by three roles */
	assert_false(may(r, "maintenance on"));
	rights_unref(&r);
}

struct denial {
	const char *line, *sentence, *missing;
};

static void
a_denial_says_which_right_is_missing_where(void **state)
{
	static const struct denial ci[] = {
		{ "flip pay blue", "ci (uid 1001) may not flip \"pay\": no role grants \"flip\" on it", "pay" },
		{ "rollback pay", "ci (uid 1001) may not rollback \"pay\": no role grants \"flip\" on it", "pay" },
		{ "history pay", "ci (uid 1001) may not read \"pay\": no role grants \"read\" on it", "pay" },
		{ "unlock *", "ci (uid 1001) may not unlock \"*\": no role grants \"flip\" on \"pay\"", "pay" },
		{ "stop", "ci (uid 1001) may not stop teald: no role grants \"admin\" on \"*\"", "*" },
		{ "maintenance on",
		  "ci (uid 1001) may not switch the maintenance of teald: no role grants \"admin\" on \"*\"", "*" },
		{ "reload", "ci (uid 1001) may not reload teald: no role grants \"admin\" on \"*\"", "*" },
		{ "node drain main h",
		  "ci (uid 1001) may not change the nodes of teald: no role grants \"node\" on \"*\"", "*" },
	};
	struct rights *r = rights_for(CI, G_NONE, 0);
	const char *missing;
	struct why why;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(ci); i++) {
		assert_int_equal(ask(r, ci[i].line, &why, &missing), E_DENIED);
		assert_string_equal(why.text, ci[i].sentence);
		assert_string_equal(missing, ci[i].missing);
	}
	rights_unref(&r);
	r = rights_for(NOBODY, G_NONE, 0);
	assert_int_equal(ask(r, "events", &why, &missing), E_DENIED);
	assert_string_equal(why.text, "ci (uid 65534) may not read any service: no role grants \"read\"");
	assert_string_equal(missing, "");
	rights_unref(&r);
	r = rights_new(&without_roles, CI, G_NONE, NULL, 0, OWN);
	assert_int_equal(ask(r, "status shop", &why, &missing), E_DENIED);
	assert_string_equal(why.text, "ci (uid 1001) may not read \"shop\": no role grants \"read\" on it "
				      "(admin.roles is empty)");
	rights_unref(&r);
}

static json_t *
told(const struct rights *r)
{
	struct json j;
	struct buf b;
	json_t *o;

	buf_init(&b, 65536);
	json_init(&j, &b);
	jsonw_object(&j, NULL);
	rights_json(&j, r);
	json_object_end(&j);
	o = json_loadb(buf_str(&b).p, buf_len(&b), 0, NULL);
	assert_non_null(o);
	buf_free(&b);
	return o;
}

static void
assert_member(json_t *o, const char *key, const char *expected)
{
	char *text = json_dumps(json_object_get(o, key), JSON_ENCODE_ANY | JSON_COMPACT);

	assert_non_null(text);
	assert_string_equal(text, expected);
	free(text);
}

static void
whoami_tells_what_one_may_and_no_more(void **state)
{
	struct rights *r = rights_for(CI, G_NONE, G_DEV);
	json_t *o = told(r);

	(void)state;
	assert_member(o, "gid", "2003");
	assert_member(o, "groups", "[2001]");
	assert_member(o, "because", "null");
	assert_member(o, "rights", "[\"read\",\"flip\",\"admin\"]");
	assert_member(o, "everywhere", "[\"read\"]");
	assert_member(o, "services",
		      "{\"shop\":[\"read\",\"flip\"],\"shop-eu\":[\"read\",\"flip\"],"
		      "\"pay\":[\"read\",\"flip\",\"admin\"]}");
	assert_int_equal(json_array_size(json_object_get(o, "roles")), 3);
	json_decref(o);
	rights_unref(&r);
	r = rights_for(CI, G_NONE, 0);
	o = told(r);
	assert_member(o, "services", "{\"shop\":[\"read\",\"flip\"],\"shop-eu\":[\"read\",\"flip\"]}");
	assert_member(o, "everywhere", "[]");
	assert_member(o, "roles",
		      "[{\"user\":\"ci\",\"services\":[\"shop\",\"shop-*\"],\"allow\":[\"read\",\"flip\"]}]");
	json_decref(o);
	rights_unref(&r);
	r = rights_for(ROOT, 0, 0);
	o = told(r);
	assert_member(o, "because", "\"is root\"");
	assert_member(o, "everywhere", "[\"read\",\"flip\",\"node\",\"admin\"]");
	json_decref(o);
	rights_unref(&r);
	r = rights_for(NOBODY, G_NONE, 0);
	o = told(r);
	assert_member(o, "rights", "[]");
	assert_member(o, "services", "{}");
	json_decref(o);
	rights_unref(&r);
}

/* The kernel's word for the peer: this very process. */
static void
a_peer_is_whom_the_kernel_says(void **state)
{
	struct rights *r;
	gid_t groups[1024];
	int n = getgroups(ARRAY_LEN(groups), groups), pair[2];
	pid_t pid = 0;

	(void)state;
	assert_true(n >= 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	r = rights_of_peer(&config, pair[0], OWN, &pid);
	assert_non_null(r);
	assert_int_equal(pid, getpid());
	assert_int_equal(r->uid, geteuid());
	assert_int_equal(r->gid, getegid());
	assert_int_equal(r->n_groups, n);
	for (int i = 0; i < n; i++) {
		bool found = false;

		for (size_t k = 0; k < r->n_groups; k++)
			found = found || r->groups[k] == groups[i];
		assert_true(found);
	}
	rights_unref(&r);
	/* What is no socket has no peer. */
	close(pair[0]);
	assert_null(rights_of_peer(&config, pair[0], OWN, &pid));
	close(pair[1]);
}

static void
rights_are_shared(void **state)
{
	struct rights *r = rights_for(CI, G_NONE, G_DEV), *again = rights_ref(r);

	(void)state;
	rights_unref(&r);
	assert_null(r);
	assert_true(may(again, "status shop"));
	rights_unref(&again);
	rights_unref(&again);	/* nobody's: harmless */
}

/* By the admin listener: no user's or group's role is such a caller's, whatever numbers it has. */
static void
callers_have_what_their_certificate_or_token_gives(void **state)
{
	static char *cn[] = { "job-*" }, *san[] = { "*.ci.test" }, *tokens[] = { "ci" };
	static struct role_config by[] = {
		{ .group = "root", .gid = (gid_t)-1, .services = all_glob, .n_services = 1, .allow = BIT(ADMIN) },
		{ .user = "nobody", .uid = (uid_t)-1, .services = all_glob, .n_services = 1, .allow = BIT(ADMIN) },
		{ .cn = cn, .n_cn = 1, .services = shop_globs, .n_services = 2, .allow = BIT(FLIP) },
		{ .san = san, .n_san = 1, .services = pay_glob, .n_services = 1, .allow = BIT(FLIP) },
		{ .tokens = tokens, .n_tokens = 1, .services = all_glob, .n_services = 1, .allow = BIT(READ) },
	};
	static char ca[] = "ca.pem";
	static struct admin_token known = { .name = "ci", .hash = "aa", .until = 1000 };
	static struct config net = {
		.refs = 1,
		.admin = { .roles = by, .n_roles = ARRAY_LEN(by), .net = { .client_ca = ca, .tokens = &known, .n_tokens = 1 } },
		.services = services,
		.n_services = ARRAY_LEN(services),
	};
	struct tls_names names = { .cn = "job-7", .san = { "a.ci.test" }, .n = 1, .not_after = 500 };
	struct admin_caller *c = admin_caller_by_certificate(&names, "CN=job-7", "10.0.0.1:5"), *again;
	struct rights *r = rights_of_caller(&net, c);
	struct buf row;
	struct why why;

	(void)state;
	assert_string_equal(c->name, "cn:job-7");
	assert_int_equal(r->n_roles, 2);
	assert_null(r->because);
	assert_true(may(r, "flip shop blue") && may(r, "flip pay blue"));
	assert_false(may(r, "status") || may(r, "stop"));
	assert_int_equal(ask(r, "stop", &why, NULL), E_DENIED);
	assert_null(strstr(why.text, "uid"));
	assert_null(admin_caller_is_over(c, &net, 499));
	assert_non_null(admin_caller_is_over(c, &net, 500));
	rights_unref(&r);

	/* To another process and back it is the same one. */
	buf_init(&row, 65536);
	admin_caller_put(c, &row);
	again = admin_caller_take(buf_str(&row));
	assert_non_null(again);
	r = rights_of_caller(&net, again);
	assert_int_equal(r->n_roles, 2);
	assert_string_equal(again->subject, "CN=job-7");
	assert_non_null(admin_caller_is_over(again, &net, 500));
	assert_null(admin_caller_take(STR("")));
	/* Nor is it good where none is asked for. */
	net.admin.net.client_ca = NULL;
	assert_non_null(admin_caller_is_over(again, &net, 499));
	net.admin.net.client_ca = ca;
	buf_free(&row);
	rights_unref(&r);
	admin_caller_unref(&again);
	admin_caller_unref(&c);

	c = admin_caller_by_token(&known, "10.0.0.1:5");
	r = rights_of_caller(&net, c);
	assert_int_equal(r->n_roles, 1);
	assert_true(may(r, "status"));
	assert_null(admin_caller_is_over(c, &net, 999));
	assert_non_null(admin_caller_is_over(c, &net, 1000));
	rights_unref(&r);
	/* Once its line is gone it has no role. */
	net.admin.net.n_tokens = 0;
	assert_non_null(admin_caller_is_over(c, &net, 0));
	r = rights_of_caller(&net, c);
	assert_int_equal(r->n_roles, 0);
	rights_unref(&r);
	admin_caller_unref(&c);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(callers_have_what_their_certificate_or_token_gives),
		cmocka_unit_test(root_and_our_own_user_need_no_role),
		cmocka_unit_test(a_stranger_may_ask_who_he_is),
		cmocka_unit_test(a_user_has_what_his_role_says_where_it_says),
		cmocka_unit_test(groups_count_first_or_further_ones),
		cmocka_unit_test(the_first_role_that_allows_wins),
		cmocka_unit_test(a_denial_says_which_right_is_missing_where),
		cmocka_unit_test(whoami_tells_what_one_may_and_no_more),
		cmocka_unit_test(a_peer_is_whom_the_kernel_says),
		cmocka_unit_test(rights_are_shared),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
