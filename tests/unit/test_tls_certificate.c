/* test_tls_certificate.c - what can be served, what it says of itself, and why
 * something cannot. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "certificates.h"
#include "net/tls_certificate.h"

static struct {
	char dir[64];
	char cert[128], key[128];
	struct certificate root, middle, leaf;
} t;

static int
begin(void **state)
{
	(void)state;
	memset(&t, 0, sizeof(t));
	strcpy(t.dir, "/tmp/test_tls_certificate.XXXXXX");
	assert_non_null(mkdtemp(t.dir));
	snprintf(t.cert, sizeof(t.cert), "%s/cert.pem", t.dir);
	snprintf(t.key, sizeof(t.key), "%s/key.pem", t.dir);
	t.root = certificate_new(NULL, NULL, 100);
	t.middle = certificate_new(&t.root, "DNS:middle.test", 100);
	t.leaf = certificate_new(&t.root,
				 "DNS:Shop.Test,DNS:*.shop.test,IP:192.0.2.7,IP:2001:db8::1,email:x@y.z", 10);
	certificate_write(&t.leaf, t.cert, t.key);
	assert_int_equal(chmod(t.key, 0640), 0);
	return 0;
}

static int
end(void **state)
{
	char command[128];

	(void)state;
	certificate_free(&t.root);
	certificate_free(&t.middle);
	certificate_free(&t.leaf);
	snprintf(command, sizeof(command), "rm -rf '%s'", t.dir);
	return system(command);
}

static void
append(const char *path, const struct certificate *c, bool with_key)
{
	FILE *f = fopen(path, "a");

	assert_non_null(f);
	assert_int_equal(PEM_write_X509(f, c->x), 1);
	if (with_key)
		assert_int_equal(PEM_write_PrivateKey(f, c->key, NULL, NULL, 0, NULL, NULL), 1);
	assert_int_equal(fclose(f), 0);
}

static void
put(const char *path, const char *text, mode_t mode)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(chmod(path, mode), 0);
}

static struct tls_certificate *
load(void)
{
	struct tls_certificate *c;
	struct why why;

	if (tls_certificate_load(&(struct tls_certificate_files){ .cert = t.cert, .key = t.key }, &c, &why) !=
	    OK)
		fail_msg("%s", why.text);
	return c;
}

static void
assert_refused(const char *cert, const char *key, const char *reason)
{
	struct tls_certificate *c;
	struct why why;

	assert_int_equal(
		tls_certificate_load(&(struct tls_certificate_files){ .cert = cert, .key = key }, &c, &why),
		E_USAGE);
	assert_null(c);
	if (strstr(why.text, reason) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", why.text, reason);
	/* OpenSSL's queue is left empty for whoever is next. */
	assert_int_equal(ERR_peek_error(), 0);
}

static void
test_what_it_says(void **state)
{
	struct tls_certificate *c = load();
	const struct tls_certificate_facts *f = tls_certificate_facts(c);
	time_t now = time(NULL);
	struct why why;

	(void)state;
	assert_int_equal(f->n_names, 4);
	assert_string_equal(f->names[0], "shop.test");
	assert_string_equal(f->names[1], "*.shop.test");
	assert_string_equal(f->names[2], "192.0.2.7");
	assert_string_equal(f->names[3], "2001:db8:0:0:0:0:0:1");
	assert_string_equal(f->subject, "CN=server");
	assert_string_equal(f->issuer, "CN=authority");
	assert_string_equal(f->type, "EC");
	assert_int_equal(f->bits, 256);
	assert_int_equal(strlen(f->fingerprint), 64);
	assert_int_equal(f->staple_until, 0);
	assert_in_range(f->not_after - now, 10 * 86400 - 60, 10 * 86400);
	assert_int_equal(tls_certificate_is_valid(c, now, &why), OK);
	assert_int_equal(tls_certificate_is_valid(c, now + 11 * 86400, &why), E_USAGE);
	assert_non_null(strstr(why.text, "the certificate of shop.test expired at 2"));
	assert_int_equal(tls_certificate_is_valid(c, now - 11 * 86400, &why), E_USAGE);
	assert_non_null(strstr(why.text, "the certificate of shop.test is not valid before 2"));
	tls_certificate_unref(&c);
}

static void
test_a_name_with_a_nul_is_no_name(void **state)
{
	static const char evil[] = "bank.test\0.evil.test";
	struct certificate c = certificate_new(&t.root, NULL, 10);
	GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
	GENERAL_NAME *g = GENERAL_NAME_new();
	ASN1_IA5STRING *s = ASN1_IA5STRING_new();
	struct tls_certificate *out;

	(void)state;
	ASN1_STRING_set(s, evil, sizeof(evil) - 1);
	GENERAL_NAME_set0_value(g, GEN_DNS, s);
	sk_GENERAL_NAME_push(names, g);
	assert_int_equal(X509_add1_ext_i2d(c.x, NID_subject_alt_name, names, 0, 0), 1);
	assert_true(X509_sign(c.x, t.root.key, EVP_sha256()) > 0);
	GENERAL_NAMES_free(names);
	certificate_write(&c, t.cert, t.key);
	out = load();
	/* What is left is the common name. */
	assert_int_equal(tls_certificate_facts(out)->n_names, 1);
	assert_string_equal(tls_certificate_facts(out)->names[0], "server");
	tls_certificate_unref(&out);
	certificate_free(&c);
}

static void
test_one_file_for_both(void **state)
{
	struct tls_certificate *c;
	struct why why;

	(void)state;
	unlink(t.cert);
	append(t.cert, &t.leaf, true);
	assert_int_equal(chmod(t.cert, 0600), 0);
	assert_int_equal(tls_certificate_load(&(struct tls_certificate_files){ .cert = t.cert }, &c, &why),
			 OK);
	tls_certificate_unref(&c);
	assert_int_equal(chmod(t.cert, 0644), 0);
	assert_refused(t.cert, NULL, "is open to everyone on this machine; mend it with: chmod o= ");
}

static void
test_a_chain_is_checked(void **state)
{
	struct tls_certificate *c;

	(void)state;
	append(t.cert, &t.root, false);
	c = load();
	tls_certificate_unref(&c);
	/* One more, that signed nobody. */
	append(t.cert, &t.middle, false);
	assert_refused(t.cert, t.key, "certificate 3 did not sign certificate 2; the order is");
	certificate_write(&t.leaf, t.cert, NULL);
	append(t.cert, &t.middle, false);
	assert_refused(t.cert, t.key, "certificate 2 did not sign certificate 1");
	/* The wrong way round: the key is the other's. */
	certificate_write(&t.root, t.cert, NULL);
	append(t.cert, &t.leaf, false);
	assert_refused(t.cert, t.key, "does not belong to the certificate");
	certificate_write(&t.root, t.cert, NULL);
	for (int i = 0; i < 17; i++)
		append(t.cert, &t.root, false);
	assert_refused(t.cert, t.key, "more than 17 certificates in one chain");
}

static void
test_what_cannot_be_served(void **state)
{
	char path[160], half[4096];
	struct certificate other = certificate_new(&t.root, "DNS:x.test", 10);
	FILE *f;
	size_t n;

	(void)state;
	assert_refused("/nowhere.pem", t.key, "cannot read /nowhere.pem: No such file");
	assert_refused(t.cert, "/nowhere.key", "cannot read /nowhere.key: No such file");
	assert_refused(t.dir, t.key, "it is not a plain file");
	snprintf(path, sizeof(path), "%s/other", t.dir);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_refused(path, t.key, "it is not a plain file");
	unlink(path);
	put(path, "", 0600);
	assert_refused(path, t.key, "there is no certificate in PEM form");
	assert_refused(t.cert, path, "there is no private key in PEM form");
	assert_int_equal(truncate(path, 5 << 20), 0);
	assert_refused(path, t.key, "it is too large");
	certificate_write(&other, NULL, path);
	assert_int_equal(chmod(path, 0600), 0);
	assert_refused(t.cert, path, "does not belong to the certificate");
	assert_int_equal(chmod(path, 0604), 0);
	assert_refused(t.cert, path, "is open to everyone");
	certificate_free(&other);
	/* Half of each, as when a tool is still writing. */
	assert_non_null(f = fopen(t.cert, "r"));
	n = fread(half, 1, sizeof(half) - 1, f);
	fclose(f);
	half[n / 2] = '\0';
	put(path, half, 0600);
	assert_refused(path, t.key, "there is no certificate in PEM form");
	half[n / 2] = '-';
	append(path, &t.root, false);
	assert_refused(path, t.key, "PEM");
	assert_int_equal(truncate(t.key, 100), 0);
	assert_refused(t.cert, t.key, "there is no private key in PEM form");
	/* Locked, and nobody is here to be asked. */
	assert_non_null(f = fopen(t.key, "w"));
	assert_int_equal(PEM_write_PrivateKey(f, t.leaf.key, EVP_aes_128_cbc(), NULL, 0, NULL,
					      (void *)(uintptr_t) "secret"),
			 1);
	fclose(f);
	assert_refused(t.cert, t.key, "the key is encrypted with a passphrase");
}

static void
test_alike(void **state)
{
	struct tls_certificate *a = load(), *b = load(), *longer, *other;

	(void)state;
	assert_true(tls_certificate_equal(a, b));
	append(t.cert, &t.root, false);
	longer = load();
	assert_false(tls_certificate_equal(a, longer));
	certificate_write(&t.middle, t.cert, t.key);
	other = load();
	assert_false(tls_certificate_equal(a, other));
	tls_certificate_unref(&a);
	tls_certificate_unref(&b);
	tls_certificate_unref(&longer);
	tls_certificate_unref(&other);
}

static void
test_a_staple_that_is_none(void **state)
{
	struct tls_certificate *c;
	char staple[160];
	struct why why;
	size_t n;

	(void)state;
	snprintf(staple, sizeof(staple), "%s/staple.der", t.dir);
	/* Served all the same, and said why without. */
	for (int i = 0; i < 2; i++) {
		assert_int_equal(tls_certificate_load(
					 &(struct tls_certificate_files){ .cert = t.cert, .key = t.key, .ocsp = staple }, &c, &why),
				 OK);
		assert_non_null(
			strstr(tls_certificate_facts(c)->staple_problem,
			       i == 0 ? "No such file" : "is no answer of an OCSP server in DER form"));
		assert_null(tls_certificate_staple(c, time(NULL), &n));
		tls_certificate_unref(&c);
		put(staple, "0\x82rubbish", 0644);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_what_it_says, begin, end),
		cmocka_unit_test_setup_teardown(test_a_name_with_a_nul_is_no_name, begin, end),
		cmocka_unit_test_setup_teardown(test_one_file_for_both, begin, end),
		cmocka_unit_test_setup_teardown(test_a_chain_is_checked, begin, end),
		cmocka_unit_test_setup_teardown(test_what_cannot_be_served, begin, end),
		cmocka_unit_test_setup_teardown(test_alike, begin, end),
		cmocka_unit_test_setup_teardown(test_a_staple_that_is_none, begin, end),
	};

	return cmocka_run_group_tests_name("tls_certificate", tests, NULL, NULL);
}
