/* test_config_tls.c - the keys of tls and backend_tls: what is read, what is
 * refused and why, and how a service does without what the defaults say. */
#include <sys/stat.h>

#include "config_file.h"

#define CERT "certificates = ( { cert = \"a.pem\"; key = \"/k/a.key\"; } ); "
#define DEFAULTS(defaults, keys) "state_dir = \"/s\"; defaults: { " defaults " };\n" SERVICE(keys)

static void
test_off_by_default(void **state)
{
	const struct service_config *s = &good(SHOP(""))->services[0];

	(void)state;
	assert_false(s->listen_tls);
	assert_false(s->backend_tls.on);
	assert_true(s->backend_tls.verify);
}

static void
test_keys_are_read(void **state)
{
	const struct service_config *s =
		&good(SHOP("mode = \"http\"; tls: { certificates = ( { cert = \"a.pem\"; key = \"/k/a.key\"; ocsp = \"a.der\"; },"
			   " { cert = \"b.pem\"; } ); client_ca = \"ca.pem\"; client_verify = \"optional\"; min_version = \"1.3\";"
			   " profile = \"modern\"; alpn = [\"http/1.1\", \"http/1.0\"]; ciphersuites = \"TLS_AES_256_GCM_SHA384\";"
			   " curves = \"P-256\"; handshake_timeout = 2.5; };"
			   " backend_tls: { verify = false; server_name = \"in.example\"; cert = \"c.pem\"; key = \"c.key\"; };"))
			 ->services[0];

	(void)state;
	assert_true(s->listen_tls);
	assert_int_equal(s->tls.n_certificates, 2);
	/* Names begin at the configuration's folder, here the current one. */
	assert_string_equal(s->tls.certificates[0].cert, "a.pem");
	assert_string_equal(s->tls.certificates[0].key, "/k/a.key");
	assert_string_equal(s->tls.certificates[0].ocsp, "a.der");
	assert_null(s->tls.certificates[1].key);
	assert_string_equal(s->tls.client_ca, "ca.pem");
	assert_int_equal(s->tls.client_verify, VERIFY_OPTIONAL);
	assert_int_equal(s->tls.min_version, TLS_1_3);
	assert_int_equal(s->tls.profile, TLS_MODERN);
	assert_int_equal(s->tls.n_alpn, 2);
	assert_string_equal(s->tls.ciphersuites, "TLS_AES_256_GCM_SHA384");
	assert_true(s->tls.handshake_timeout == 2.5);
	assert_true(s->backend_tls.on && !s->backend_tls.verify);
	assert_string_equal(s->backend_tls.server_name, "in.example");
}

static void
test_files_lie_beside_the_configuration(void **state)
{
	(void)state;
	assert_int_equal(mkdir("etc", 0700), 0);
	write_file("etc/teal.conf", SHOP("tls: { " CERT "};"));
	assert_int_equal(load_file("etc/teal.conf"), OK);
	assert_string_equal(t.config->services[0].tls.certificates[0].cert, "etc/a.pem");
	assert_string_equal(t.config->services[0].tls.certificates[0].key, "/k/a.key");
}

static void
test_a_service_does_without_the_defaults(void **state)
{
	const struct service_config *s;

	(void)state;
	s = &good(DEFAULTS("tls: { " CERT "}; backend_tls: { };", ""))->services[0];
	assert_true(s->listen_tls && s->backend_tls.on);
	s = &good(DEFAULTS("tls: { " CERT "}; backend_tls: { };", "tls = false; backend_tls = false;"))
		     ->services[0];
	assert_false(s->listen_tls);
	assert_false(s->backend_tls.on);
	/* Nothing of what it does without is complained about. */
	s = &good(DEFAULTS(
			  "tls: { " CERT
			  "profile = \"modern\"; min_version = \"1.2\"; ciphers = \"HIGH\"; alpn = \"h2\"; };"
			  " backend_tls: { verify = false; };",
			  "tls = false; backend_tls = false; mode = \"http\";"))
		     ->services[0];
	assert_false(s->listen_tls);
	assert_int_equal(t.warnings.n, 0);
	/* The other way round, and a group that says nothing new. */
	s = &good(DEFAULTS("tls = false;", "tls: { " CERT "};"))->services[0];
	assert_true(s->listen_tls);
	s = &good(DEFAULTS("tls: { " CERT "};", "tls: { profile = \"modern\"; };"))->services[0];
	assert_true(s->listen_tls);
	assert_int_equal(s->tls.n_certificates, 1);
}

#define OR_FALSE "expected a group { }, or false to do without, found "

static const struct broken broken[] = {
	{ SHOP("tls = true;"), "5: service \"shop\": tls: " OR_FALSE "true" },
	{ SHOP("tls = \"a.pem\";"), "5: service \"shop\": tls: " OR_FALSE "the text \"a.pem\"" },
	{ SHOP("backend_tls = true;"), "5: service \"shop\": backend_tls: " OR_FALSE "true" },
	{ SHOP("tls: { };"),
	  "5: service \"shop\": tls: needs certificates = ( { cert = \"FILE\"; key = \"FILE\"; } )" },
	{ SHOP("tls: { certificates = (); };"), "5: service \"shop\": tls.certificates: at least one is needed" },
	{ SHOP("tls: { certificates = ( { key = \"a\"; } ); };"),
	  "5: service \"shop\": tls.certificates: a certificate needs cert = \"FILE\"" },
	{ SHOP("tls: { certificates = \"a\"; };"),
	  "5: service \"shop\": tls.certificates: expected a list of groups ( { } ), found the text \"a\"" },
	{ SHOP("tls: { " CERT "client_verify = \"require\"; };"),
	  "5: service \"shop\": tls.client_verify: by whose word? add client_ca = \"FILE\"" },
	{ SHOP("tls: { " CERT "min_version = \"1.1\"; };"),
	  "5: service \"shop\": tls.min_version: expected \"1.2\" or \"1.3\", found the text \"1.1\"; did you mean \"1.2\"?" },
	{ SHOP("mode = \"http\"; tls: { " CERT "alpn = \"h3\"; };"),
	  "5: service \"shop\": tls.alpn: mode \"http\" speaks \"h2\" and \"http/1.1\", and no \"h3\"" },
	{ SHOP("backend_tls: { key = \"a\"; };"),
	  "5: service \"shop\": backend_tls.key: whose? add cert = \"FILE\"" },
	{ SHOP("backend_tls: { server_name = \"*.example\"; };"),
	  "5: service \"shop\": backend_tls.server_name: \"*.example\": a server has one name, not all of them" },
	{ SHOP("health: { tls = true; };"), "5: service \"shop\": health.tls: true is as traffic does, and that needs backend_tls; for checks alone write tls = { ca = \"FILE\"; } or tls = { verify = false; }" },
	{ DEFAULTS("tls: { " CERT "};", "tls = false; plain_listen = \":8081\";"),
	  "6: service \"shop\": plain_listen: belongs to tls; without it listen is plain" },
};

static void
test_what_is_wrong(void **state)
{
	(void)state;
	assert_broken(broken, ARRAY_LEN(broken));
}

static void
test_warnings(void **state)
{
	(void)state;
	good(SHOP("backend_tls: { verify = false; };"));
	assert_int_equal(t.warnings.n, 1);
	assert_non_null(strstr(t.warnings.lines[0], "any server is accepted"));
	good(SHOP("tls: { " CERT "profile = \"modern\"; min_version = \"1.2\"; ciphers = \"HIGH\"; };"));
	assert_int_equal(t.warnings.n, 2);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_off_by_default),
		cmocka_unit_test(test_keys_are_read),
		cmocka_unit_test(test_files_lie_beside_the_configuration),
		cmocka_unit_test(test_a_service_does_without_the_defaults),
		cmocka_unit_test(test_what_is_wrong),
		cmocka_unit_test(test_warnings),
	};

	return cmocka_run_group_tests_name("config_tls", tests, enter, leave);
}
