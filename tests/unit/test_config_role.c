/* test_config_role.c - admin.roles: what is understood, what is refused, and
 * what is advised against.  Names are those every Debian has. */
#include <grp.h>
#include <pwd.h>

#include "config_file.h"
#include "proto/admin_command.h"

#define ROLES(roles) TOP("admin: { roles = ( " roles " ); };")

static void
roles_keep_their_order_and_know_their_ids(void **state)
{
	const struct config *c = good(ROLES(
		"{ user = \"daemon\"; services = [\"shop\", \"sh*\"]; allow = [\"read\", \"flip\"]; },\n"
		"{ group = \"games\"; services = \"*\"; allow = [\"read\", \"flip\", \"node\", \"admin\"]; },\n"
		"{ user = \"nobody\"; services = (\"*\"); allow = \"read\"; }"));
	const struct role_config *r = c->admin.roles;

	(void)state;
	assert_int_equal(c->admin.n_roles, 3);
	assert_string_equal(r[0].user, "daemon");
	assert_null(r[0].group);
	assert_int_equal(r[0].uid, getpwnam("daemon")->pw_uid);
	assert_int_equal(r[0].n_services, 2);
	assert_string_equal(r[0].services[0], "shop");
	assert_string_equal(r[0].services[1], "sh*");
	assert_int_equal(r[0].allow, 1u << ADMIN_RIGHT_READ | 1u << ADMIN_RIGHT_FLIP);
	assert_null(r[1].user);
	assert_string_equal(r[1].group, "games");
	assert_int_equal(r[1].gid, getgrnam("games")->gr_gid);
	assert_int_equal(r[1].n_services, 1);
	assert_int_equal(r[1].allow, 1u << ADMIN_RIGHT_READ | 1u << ADMIN_RIGHT_FLIP |
					     1u << ADMIN_RIGHT_NODE | 1u << ADMIN_RIGHT_ADMIN);
	assert_int_equal(r[2].allow, 1u << ADMIN_RIGHT_READ);
	assert_int_equal(t.warnings.n, 0);

	assert_int_equal(good(TOP("admin: { roles = (); };"))->admin.n_roles, 0);
	assert_int_equal(good(TOP("admin: { roles = []; };"))->admin.n_roles, 0);
	assert_int_equal(good(TOP(""))->admin.n_roles, 0);
}

#define READS " services = [\"*\"]; allow = [\"read\"]; "

static const struct broken broken[] = {
	{ ROLES("{ user = \"no-such-user\";" READS "}"),
	  "2: admin.roles.user: there is no user \"no-such-user\"" },
	{ ROLES("{ user = \"daemon\";" READS "},\n{ group = \"no-such-group\";" READS "}"),
	  "3: admin.roles.group: there is no group \"no-such-group\"" },
	{ ROLES("{ user = \"1001\";" READS "}"),
	  "2: admin.roles.user: there is no user \"1001\"" },
	{ ROLES("{ user = 1001;" READS "}"),
	  "2: admin.roles.user: expected a text in double quotes, found the number 1001" },
	{ ROLES("{ user = \"\";" READS "}"),
	  "2: admin.roles.user: the text is empty; remove the key or fill it in" },
	{ ROLES("{ user = \"daemon\"; group = \"games\";" READS "}"),
	  "2: admin.roles: a role is for a user, for a group, or for those whom admin.listen lets in (cn, san, token); "
	  "this one mixes them: make two of it" },
	{ ROLES("\n{" READS "}"),
	  "3: admin.roles: a role is for a user, for a group, or for those whom admin.listen lets in (cn, san, token); "
	  "this one is for none of these" },
	{ ROLES("{ user = \"daemon\"; allow = [\"read\"]; }"),
	  "2: admin.roles: services is missing; services = [\"*\"] is all of them" },
	{ ROLES("{ user = \"daemon\"; services = [\"*\"]; }"),
	  "2: admin.roles: allow is missing; add allow = [\"read\"]; or the like" },
	{ ROLES("{ user = \"daemon\"; services = []; allow = [\"read\"]; }"),
	  "2: admin.roles.services: the list is empty; [\"*\"] is all services" },
	{ ROLES("{ user = \"daemon\"; services = [\"*\"]; allow = []; }"),
	  "2: admin.roles.allow: the list is empty; the rights are read, flip, node and admin" },
	{ ROLES("{ user = \"daemon\"; services = [\"*\"]; allow = [\"read\",\n\"flipp\"]; }"),
	  "3: admin.roles.allow: there is no right \"flipp\"; the rights are read, flip, node and admin; did you mean \"flip\"?" },
	{ ROLES("{ user = \"daemon\"; services = [\"*\"]; allow = [\"none\"]; }"),
	  "2: admin.roles.allow: there is no right \"none\"; the rights are read, flip, node and admin; did you mean \"node\"?" },
	{ ROLES("{ user = \"daemon\"; services = [\"*\"]; allow = [\"*\"]; }"),
	  "2: admin.roles.allow: there is no right \"*\"; the rights are read, flip, node and admin" },
	{ ROLES("{ user = \"daemon\"; services = [\"*\"]; allow = true; }"),
	  "2: admin.roles.allow: expected a right in double quotes, or a list of them, found true" },
	{ ROLES("{ user = \"daemon\"; services = [\"shop, pay\"]; allow = [\"read\"]; }"),
	  "2: admin.roles.services: \"shop, pay\" is neither the name of a service nor a pattern such as \"shop-*\"" },
	{ ROLES("{ user = \"daemon\"; services = [\"sho?\"]; allow = [\"read\"]; }"),
	  "2: admin.roles.services: \"sho?\" is neither the name of a service nor a pattern such as \"shop-*\"" },
	{ ROLES("{ user = \"daemon\"; services = [\"\"]; allow = [\"read\"]; }"),
	  "2: admin.roles.services: \"\" is neither the name of a service nor a pattern such as \"shop-*\"" },
	{ ROLES("{ user = \"daemon\"; services = [1]; allow = [\"read\"]; }"),
	  "2: admin.roles.services: expected a service in double quotes, or a list of them, found the number 1" },
	{ ROLES("{ user = \"daemon\"; service = \"shop\";" READS "}"),
	  "2: unknown key \"admin.roles.service\"; did you mean \"services\"?" },
	{ ROLES("\"daemon\""),
	  "2: admin.roles: expected a group { }, found the text \"daemon\"" },
	{ TOP("admin: { roles = { user = \"daemon\"; }; };"),
	  "2: admin.roles: expected a list of groups ( { } ), found a group { }" },
	{ TOP("admin: { roles = [\"daemon\"]; };"),
	  "2: admin.roles: expected a list of groups ( { } ), found a list [ ]" },
	{ TOP("admin: { user = \"daemon\"; };"),
	  "2: unknown key \"admin.user\"; it belongs in roles: { }" },
};

static void
a_role_that_cannot_be_meant_is_refused(void **state)
{
	(void)state;
	assert_broken(broken, ARRAY_LEN(broken));
}

static void
assert_warning(const char *text, const char *warning)
{
	good(text);
	assert_int_equal(t.warnings.n, 1);
	assert_string_equal(t.warnings.lines[0], warning);
}

static void
a_role_that_changes_nothing_is_advised_against(void **state)
{
	(void)state;
	assert_warning(
		ROLES("{ user = \"daemon\"; services = [\"*\",\n\"shpo\"]; allow = [\"read\"]; }"),
		"teal.conf:3: admin.roles.services: \"shpo\" matches no service; did you mean \"shop\"?");
	assert_warning(ROLES("{ user = \"daemon\"; services = [\"pay-*\"]; allow = [\"read\"]; }"),
		       "teal.conf:2: admin.roles.services: \"pay-*\" matches no service");
	assert_warning(ROLES("{ user = \"root\";" READS "}"),
		       "teal.conf:2: admin.roles.user: \"root\" may do everything without a role");
	assert_warning(TOP("user = \"daemon\"; admin: { roles = ( { user = \"daemon\";" READS "} ); };"),
		       "teal.conf:2: admin.roles.user: \"daemon\" may do everything without a role");
	assert_warning(ROLES("{ user = \"daemon\"; services = [\"shop\"];\nallow = [\"read\", \"admin\"]; }"),
		       "teal.conf:3: admin.roles.allow: \"admin\" is good for release --force and config of these services "
		       "here: the rest of it counts with services = [\"*\"] only");
	assert_warning(ROLES("{ user = \"daemon\"; services = [\"shop\"];\nallow = [\"read\", \"node\"]; }"),
		       "teal.conf:3: admin.roles.allow: \"node\" changes nothing here: it counts with "
		       "services = [\"*\"] only");
}

#define HASH "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define NET(roles) \
	TOP("admin: { listen = \"127.0.0.1:9443\"; tls: { cert = \"c.pem\"; }; token_file = \"tokens\";\n" \
	    "roles = ( " roles " ); };")

static void
a_listener_whose_clients_may_do_nothing_is_advised_against(void **state)
{
	(void)state;
	write_file("tokens", "ci sha256:" HASH "a until=2020-01-31\n"
			     "app sha256:" HASH "b until=2020-01-31\napp sha256:" HASH "c\n");
	assert_warning(NET("{ user = \"daemon\";" READS "}"),
		       "teal.conf:2: admin.listen: its clients may do nothing: no role in admin.roles has cn, san or token");
	good(NET("{ token = [\"app\",\n\"ci\"];" READS "}"));
	assert_int_equal(t.warnings.n, 1);
	assert_begins(t.warnings.lines[0], "teal.conf:4: admin.roles.token: \"ci\" has expired, says ");
	good(NET("{ token = \"app\";" READS "}"));
	assert_int_equal(t.warnings.n, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(roles_keep_their_order_and_know_their_ids),
		cmocka_unit_test(a_role_that_cannot_be_meant_is_refused),
		cmocka_unit_test(a_role_that_changes_nothing_is_advised_against),
		cmocka_unit_test(a_listener_whose_clients_may_do_nothing_is_advised_against),
	};

	return cmocka_run_group_tests(tests, enter, leave);
}
