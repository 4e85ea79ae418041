/* test_certs_load.c - which services' files another configuration has read, and which not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "certificates.h"
#include "control/certs_load.h"

static struct {
	char good[32], old[32];	/* files */
	struct tls_certificate_config certificate[3];
	struct service_config from[3], to[3];
	struct config before, after;
	struct certs_prepared prepared;
	struct complaints errors;
} t;

static void
write_pair(char path[32], const struct certificate *issuer, int days)
{
	struct certificate c = certificate_new(issuer, "DNS:shop.example", days);
	FILE *f;
	int fd;

	snprintf(path, 32, "/tmp/teal-certs-XXXXXX");
	fd = mkstemp(path);
	f = fdopen(fd, "w");
	assert_non_null(f);
	PEM_write_X509(f, c.x);
	PEM_write_PrivateKey(f, c.key, NULL, NULL, 0, NULL, NULL);
	fclose(f);
	certificate_free(&c);
}

static int
begin(void **state)
{
	struct certificate authority = certificate_new(NULL, NULL, 30);
	static const char *const names[] = { "shop", "api", "pay" };

	(void)state;
	memset(&t, 0, sizeof(t));
	write_pair(t.good, &authority, 30);
	write_pair(t.old, &authority, -2);
	certificate_free(&authority);
	for (int i = 0; i < 3; i++) {
		t.certificate[i] = (struct tls_certificate_config){ .cert = t.good, .at = { "teal.conf", 7 + i } };
		t.from[i] = (struct service_config){
			.name = (char *)names[i],
			.at = { "conf.d/shop.conf", 5 },
			.listen_tls = true,
			.tls = { .certificates = &t.certificate[i], .n_certificates = 1, .min_version = TLS_1_2 },
		};
		t.to[i] = t.from[i];
	}
	t.before = (struct config){ .path = (char *)"teal.conf", .services = t.from, .n_services = 2 };
	t.after = (struct config){ .path = (char *)"teal.conf", .services = t.to, .n_services = 2 };
	return 0;
}

static int
end(void **state)
{
	(void)state;
	certs_prepared_free(&t.prepared);
	complaints_free(&t.errors);
	unlink(t.good);
	unlink(t.old);
	return 0;
}

static void
test_what_is_as_it_was_is_not_read(void **state)
{
	(void)state;
	t.to[0].connect_timeout = 7;
	/* Nor looked at: this would not do. */
	unlink(t.good);
	assert_int_equal(certs_prepare(&t.before, &t.after, &t.prepared, &t.errors), OK);
	assert_int_equal(t.prepared.n, 0);
}

static void
test_what_is_new_or_other_is(void **state)
{
	(void)state;
	t.after.n_services = 3;
	t.to[1].tls.min_version = TLS_1_3;
	assert_int_equal(certs_prepare(&t.before, &t.after, &t.prepared, &t.errors), OK);
	assert_int_equal(t.prepared.n, 2);
	assert_ptr_equal(t.prepared.list[0].config, &t.to[1]);
	assert_ptr_equal(t.prepared.list[1].config, &t.to[2]);
	assert_non_null(t.prepared.list[1].loaded.site);
	certs_prepared_free(&t.prepared);

	/* No more TLS is another term, too. */
	t.after.n_services = 2;
	t.to[0].listen_tls = false;
	t.to[1] = t.from[1];
	t.to[1].backend_tls = (struct backend_tls_config){ .on = true };
	assert_int_equal(certs_prepare(&t.before, &t.after, &t.prepared, &t.errors), OK);
	assert_int_equal(t.prepared.n, 2);
	assert_null(t.prepared.list[0].loaded.site);
	assert_non_null(t.prepared.list[1].loaded.backend);
}

static void
test_every_service_whose_files_do_not_do_is_named(void **state)
{
	struct tls_certificate_config none = { .cert = (char *)"/nowhere.pem", .at = { "conf.d/shop.conf", 12 } };
	struct tls_certificate_config old = { .cert = t.old, .at = { "conf.d/pay.conf", 17 } };

	(void)state;
	t.after.n_services = 3;
	t.to[0].tls.certificates = &none;
	t.to[2].tls.certificates = &old;
	assert_int_equal(certs_prepare(&t.before, &t.after, &t.prepared, &t.errors), E_USAGE);
	assert_int_equal(t.prepared.n, 0);
	assert_int_equal(t.errors.n, 2);
	assert_non_null(strstr(t.errors.lines[0], "conf.d/shop.conf:12: service \"shop\": "));
	assert_non_null(strstr(t.errors.lines[0], "/nowhere.pem"));
	assert_non_null(strstr(t.errors.lines[1], "conf.d/pay.conf:17: service \"pay\": "));
}

int
main(void)
{
#define TEST(test) cmocka_unit_test_setup_teardown(test, begin, end)
	const struct CMUnitTest tests[] = {
		TEST(test_what_is_as_it_was_is_not_read),
		TEST(test_what_is_new_or_other_is),
		TEST(test_every_service_whose_files_do_not_do_is_named),
	};

	return cmocka_run_group_tests_name("certs_load", tests, NULL, NULL);
}
