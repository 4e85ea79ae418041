/* test_tls_site.c - which certificate a client is shown, who may come back by a
 * ticket, and for how long. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "certificates.h"
#include "net/io.h"
#include "net/tls_site.h"
#include "wait.h"

static struct {
	char dir[64], ca[128];
	struct certificate authority;
	SSL_CTX *context;	/* the client's */
	struct tls_tickets tickets;
	unsigned files;
} t;

static int
begin(void **state)
{
	(void)state;
	memset(&t, 0, sizeof(t));
	signal(SIGPIPE, SIG_IGN);
	strcpy(t.dir, "/tmp/test_tls_site.XXXXXX");
	assert_non_null(mkdtemp(t.dir));
	snprintf(t.ca, sizeof(t.ca), "%s/ca.pem", t.dir);
	t.authority = certificate_new(NULL, NULL, 10);
	certificate_write(&t.authority, t.ca, NULL);
	t.context = SSL_CTX_new(TLS_client_method());
	SSL_CTX_set_session_cache_mode(t.context, SSL_SESS_CACHE_CLIENT);
	tls_tickets_rotate(&t.tickets);
	return 0;
}

static int
end(void **state)
{
	char command[128];

	(void)state;
	SSL_CTX_free(t.context);
	certificate_free(&t.authority);
	snprintf(command, sizeof(command), "rm -rf '%s'", t.dir);
	return system(command);
}

/* As teald has it: loaded from files. */
static struct tls_certificate *
loaded(const struct certificate *c)
{
	char cert[128], key[128];
	const struct tls_certificate_files files = { .cert = cert, .key = key };
	struct tls_certificate *out;
	struct why why;

	snprintf(cert, sizeof(cert), "%s/%u.pem", t.dir, t.files);
	snprintf(key, sizeof(key), "%s/%u.key", t.dir, t.files++);
	certificate_write(c, cert, key);
	assert_int_equal(chmod(key, 0600), 0);
	if (tls_certificate_load(&files, &out, &why) != OK)
		fail_msg("%s", why.text);
	return out;
}

static struct tls_certificate *
issue(const char *names)
{
	struct certificate c = certificate_new(&t.authority, names, 10);
	struct tls_certificate *out = loaded(&c);

	certificate_free(&c);
	return out;
}

static struct tls_site *
site_of(const struct tls_terms *terms, struct tls_certificate *const *list, size_t n)
{
	struct tls_site *s;
	struct why why;

	if (tls_site_new(terms, list, n, &s, &why) != OK)
		fail_msg("%s", why.text);
	return s;
}

/* One of one certificate for a.test and b.test. */
static struct tls_site *
simple(const struct tls_terms *terms)
{
	struct tls_certificate *c = issue("DNS:a.test,DNS:b.test");
	struct tls_site *s = site_of(terms, &c, 1);

	tls_certificate_unref(&c);
	return s;
}

/* What a handshake came to, for the client. */
struct outcome {
	bool up, reused;
	char fingerprint[65];
	SSL_SESSION *session;	/* owned: to come back with */
	unsigned tickets;	/* that came in this connection */
};

static unsigned tickets_seen;

static int
on_session(SSL *ssl, SSL_SESSION *session)
{
	(void)ssl, (void)session;
	tickets_seen++;
	return 0;
}

static void
remember(SSL *ssl, struct outcome *o)
{
	X509 *x = SSL_get0_peer_certificate(ssl);
	unsigned char digest[32];

	o->reused = SSL_session_reused(ssl);
	o->session = SSL_get1_session(ssl);
	o->tickets = tickets_seen;
	assert_int_equal(X509_digest(x, EVP_sha256(), digest, NULL), 1);
	for (unsigned i = 0; i < 32; i++)
		snprintf(o->fingerprint + 2 * i, 3, "%02x", digest[i]);
}

/* A whole connection, to its goodbye: the ticket comes behind the handshake. */
static struct outcome
visit(struct tls_site *site, const char *name, const struct tls_tickets *tickets, SSL_SESSION *session)
{
	struct outcome o = { 0 };
	struct tls *server;
	int fds[2], rc = 0;
	SSL *ssl = SSL_new(t.context);
	char c;

	assert_return_code(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), errno);
	SSL_set_fd(ssl, fds[1]);
	SSL_set_connect_state(ssl);
	/* OpenSSL itself uses a ticket of 1.3 but once; others are not as good. */
	if (session != NULL) {
		session = SSL_SESSION_dup(session);
		assert_int_equal(SSL_set_session(ssl, session), 1);
		SSL_SESSION_free(session);
	}
	tickets_seen = 0;
	SSL_CTX_sess_set_new_cb(t.context, on_session);
	server = tls_accept(site, fds[0], name, tickets);
	assert_non_null(server);
	while (rc == 0) {
		(void)SSL_do_handshake(ssl);
		ERR_clear_error();
		rc = tls_handshake(server);
	}
	if (rc == 1) {
		assert_int_equal(SSL_do_handshake(ssl), 1);
		assert_int_equal(tls_write(server, "x", 1, false), 1);
		assert_int_equal(SSL_read(ssl, &c, 1), 1);
		o.up = true;
		remember(ssl, &o);
		assert_int_equal(tls_is_resumed(server), o.reused);
		(void)SSL_shutdown(ssl);
	}
	tls_free(&server);
	SSL_free(ssl);
	ERR_clear_error();
	close(fds[0]);
	close(fds[1]);
	return o;
}

static bool
comes_back(struct tls_site *site, const char *name, const struct tls_tickets *tickets, SSL_SESSION *session)
{
	struct outcome o = visit(site, name, tickets, session);

	SSL_SESSION_free(o.session);
	assert_true(o.up);
	return o.reused;
}

static void
assert_shown(struct tls_site *s, const char *name, const struct tls_certificate *c)
{
	struct outcome o = visit(s, name, &t.tickets, NULL);

	assert_true(o.up);
	assert_string_equal(o.fingerprint, tls_certificate_facts(c)->fingerprint);
	SSL_SESSION_free(o.session);
}

static void
test_the_name_chooses(void **state)
{
	struct tls_certificate *list[] = { issue("DNS:first.test,IP:192.0.2.1"), issue("DNS:*.wild.test"),
					   issue("DNS:exact.wild.test,DNS:first.test") };
	struct tls_site *s = site_of(&(struct tls_terms){ .service = "s" }, list, 3);

	(void)state;
	assert_shown(s, "", list[0]);
	assert_shown(s, "unknown.test", list[0]);
	/* Of two with one name and one kind of key the first counts. */
	assert_shown(s, "first.test", list[0]);
	assert_shown(s, "192.0.2.1", list[0]);
	assert_shown(s, "a.wild.test", list[1]);
	assert_shown(s, "exact.wild.test", list[2]);
	/* One label, and not none. */
	assert_shown(s, "a.b.wild.test", list[0]);
	assert_shown(s, ".wild.test", list[0]);
	assert_true(tls_site_has(s, "x.wild.test") && !tls_site_has(s, "wild.test") && !tls_site_has(s, ""));
	/* A name of which nobody could write the pattern. */
	{
		char long_name[600];

		memset(long_name, 'a', sizeof(long_name));
		long_name[1] = '.';
		long_name[sizeof(long_name) - 1] = '\0';
		assert_false(tls_site_has(s, long_name));
	}
	tls_site_unref(&s);
	for (int i = 0; i < 3; i++)
		tls_certificate_unref(&list[i]);
}

static void
limit_to(int version)
{
	SSL_CTX_set_min_proto_version(t.context, version);
	SSL_CTX_set_max_proto_version(t.context, version);
}

static const int versions[] = { TLS1_2_VERSION, TLS1_3_VERSION };

static void
test_clients_come_back(void **state)
{
	struct tls_site *s = simple(&(struct tls_terms){ .service = "s" });
	struct tls_tickets other_worker = t.tickets, stranger = { 0 }, none = { 0 };

	(void)state;
	tls_tickets_rotate(&stranger);
	for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
		struct outcome o, again;

		limit_to(versions[i]);
		o = visit(s, "a.test", &t.tickets, NULL);
		assert_false(o.reused);
		assert_int_equal(o.tickets, 1);
		assert_true(comes_back(s, "a.test", &t.tickets, o.session));
		assert_true(comes_back(s, "a.test", &other_worker, o.session));
		assert_false(comes_back(s, "a.test", &stranger, o.session));
		assert_false(comes_back(s, "a.test", &none, o.session));
		/* By 1.3 each return is given another ticket, by 1.2 the old will do. */
		again = visit(s, "a.test", &t.tickets, o.session);
		assert_true(again.reused);
		assert_int_equal(again.tickets, versions[i] == TLS1_3_VERSION);
		SSL_SESSION_free(again.session);
		SSL_SESSION_free(o.session);
	}
	tls_site_unref(&s);
}

static void
test_without_tickets_nobody_comes_back(void **state)
{
	struct tls_site *s = simple(&(struct tls_terms){ .service = "s" });

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
		struct outcome o;

		limit_to(versions[i]);
		o = visit(s, "a.test", NULL, NULL);
		assert_int_equal(o.up && versions[i] == TLS1_3_VERSION ? o.tickets : 0, 0);
		assert_false(comes_back(s, "a.test", NULL, o.session));
		assert_false(comes_back(s, "a.test", &t.tickets, o.session));
		SSL_SESSION_free(o.session);
	}
	tls_site_unref(&s);
}

/* The keys change: the last ones are still taken, those before not. */
static void
test_rotation(void **state)
{
	struct tls_site *s = simple(&(struct tls_terms){ .service = "s" });

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
		struct outcome o, renewed;

		limit_to(versions[i]);
		o = visit(s, "a.test", &t.tickets, NULL);
		tls_tickets_rotate(&t.tickets);
		assert_int_equal(t.tickets.n, 2);
		/* It comes with one of today's. */
		renewed = visit(s, "a.test", &t.tickets, o.session);
		assert_true(renewed.reused);
		/* Of a new one by 1.2 OpenSSL does not tell; what follows does. */
		assert_int_equal(renewed.tickets, versions[i] == TLS1_3_VERSION);
		tls_tickets_rotate(&t.tickets);
		assert_int_equal(t.tickets.n, 2);
		assert_false(comes_back(s, "a.test", &t.tickets, o.session));
		assert_true(comes_back(s, "a.test", &t.tickets, renewed.session));
		SSL_SESSION_free(o.session);
		SSL_SESSION_free(renewed.session);
	}
	tls_tickets_wipe(&t.tickets);
	assert_int_equal(t.tickets.n, 0);
	tls_site_unref(&s);
}

/* A ticket opens the door it was given at, and no other. */
static void
test_tickets_are_bound(void **state)
{
	char other_ca[160];
	struct certificate other = certificate_new(NULL, NULL, 10);
	const struct tls_terms terms[] = {
		{ .service = "s", .verify = TLS_VERIFY_OPTIONAL, .client_ca = t.ca },
		{ .service = "other", .verify = TLS_VERIFY_OPTIONAL, .client_ca = t.ca },
		{ .service = "s", .verify = TLS_VERIFY_OPTIONAL, .client_ca = other_ca },
		{ .service = "s" },
	};
	struct tls_site *sites[ARRAY_LEN(terms)], *same, *strict;

	(void)state;
	snprintf(other_ca, sizeof(other_ca), "%s/other.pem", t.dir);
	certificate_write(&other, other_ca, NULL);
	certificate_free(&other);
	for (size_t i = 0; i < ARRAY_LEN(terms); i++)
		sites[i] = simple(&terms[i]);
	same = simple(&terms[0]);
	strict = simple(
		&(struct tls_terms){ .service = "s", .verify = TLS_VERIFY_REQUIRE, .client_ca = t.ca });
	for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
		struct outcome o, refused;

		limit_to(versions[i]);
		o = visit(sites[0], "a.test", &t.tickets, NULL);
		assert_true(comes_back(sites[0], "a.test", &t.tickets, o.session));
		/* Loaded again from files that say the same. */
		assert_true(comes_back(same, "a.test", &t.tickets, o.session));
		assert_false(comes_back(sites[0], "b.test", &t.tickets, o.session));
		assert_false(comes_back(sites[0], "", &t.tickets, o.session));
		for (size_t k = 1; k < ARRAY_LEN(terms); k++)
			assert_false(comes_back(sites[k], "a.test", &t.tickets, o.session));
		/* Who showed nothing there shows something here. */
		refused = visit(strict, "a.test", &t.tickets, o.session);
		assert_false(refused.up);
		SSL_SESSION_free(o.session);
	}
	for (size_t i = 0; i < ARRAY_LEN(terms); i++)
		tls_site_unref(&sites[i]);
	tls_site_unref(&same);
	tls_site_unref(&strict);
}

/* A ticket is no longer good than the certificate it stands for. */
static void
test_a_ticket_ends_with_the_certificate(void **state)
{
	struct tls_site *s = simple(
		&(struct tls_terms){ .service = "s", .verify = TLS_VERIFY_REQUIRE, .client_ca = t.ca });
	struct certificate own = certificate_new(&t.authority, "DNS:jane.test", 1);

	(void)state;
	X509_gmtime_adj(X509_getm_notAfter(own.x), 3600);
	assert_true(X509_sign(own.x, t.authority.key, EVP_sha256()) > 0);
	SSL_CTX_use_certificate(t.context, own.x);
	SSL_CTX_use_PrivateKey(t.context, own.key);
	for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
		struct outcome o;

		limit_to(versions[i]);
		o = visit(s, "a.test", &t.tickets, NULL);
		assert_true(o.up);
		assert_true(comes_back(s, "a.test", &t.tickets, o.session));
		clock_move(3601);
		assert_false(visit(s, "a.test", &t.tickets, o.session).up);
		clock_move(-3601);
		SSL_SESSION_free(o.session);
	}
	certificate_free(&own);
	tls_site_unref(&s);
}

static void
test_terms_that_are_refused(void **state)
{
	static const struct {
		struct tls_terms terms;
		const char *why;
	} wrong[] = {
		{ { .service = "s", .ciphers = "NONSENSE" }, "OpenSSL knows no cipher in \"NONSENSE\"" },
		{ { .service = "s", .ciphersuites = "TLS_NONSENSE" },
		  "OpenSSL does not know \"TLS_NONSENSE\"" },
		{ { .service = "s", .curves = "flat" }, "OpenSSL does not know the curves \"flat\"" },
		{ { .service = "s", .verify = TLS_VERIFY_REQUIRE, .client_ca = "/nowhere" },
		  "cannot read /nowhere: No such file or directory" },
		{ { .service = "s", .verify = TLS_VERIFY_OPTIONAL, .client_ca = "/etc/passwd" },
		  "/etc/passwd: there is no certificate in PEM form in it" },
		{ { .service = "s", .verify = TLS_VERIFY_REQUIRE, .client_ca = t.ca, .crl = "/nowhere" },
		  "cannot read /nowhere: No such file or directory" },
		{ { .service = "s", .verify = TLS_VERIFY_REQUIRE, .client_ca = t.ca, .crl = "/etc/passwd" },
		  "/etc/passwd: there is no revocation list in PEM form in it (openssl crl -inform DER converts one)" },
	};
	struct tls_certificate *c = issue("DNS:a.test");

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		struct tls_site *s;
		struct why why;

		assert_int_equal(tls_site_new(&wrong[i].terms, &c, 1, &s, &why), E_USAGE);
		assert_string_equal(why.text, wrong[i].why);
		assert_null(s);
	}
	tls_certificate_unref(&c);
}

/* Does a client of that version get in? */
static bool
lets_in(struct tls_site *s, int version)
{
	struct outcome o;

	SSL_CTX_set_min_proto_version(t.context, version);
	SSL_CTX_set_max_proto_version(t.context, version);
	o = visit(s, "a.test", NULL, NULL);
	SSL_SESSION_free(o.session);
	return o.up;
}

/* The key is EC's. */
static void
test_ciphers_that_fit_no_key_are_told(void **state)
{
	static const struct {
		struct tls_terms terms;
		bool told, lets_1_2_in;
	} cases[] = {
		{ { .service = "s" }, false, true },
		{ { .service = "s", .ciphers = "ECDHE-RSA-AES128-GCM-SHA256:AES128-SHA" }, true, false },
		{ { .service = "s", .ciphers = "DHE-RSA-AES128-GCM-SHA256" }, true, false },
		{ { .service = "s", .ciphers = "PSK-AES128-GCM-SHA256:ECDHE-PSK-AES128-CBC-SHA256" }, true, false },
		{ { .service = "s", .ciphers = "ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES128-GCM-SHA256" }, false, true },
		{ { .service = "s", .ciphers = "DHE-RSA-AES128-GCM-SHA256", .profile = TLS_MODERN }, false, false },
		{ { .service = "s", .ciphers = "DHE-RSA-AES128-GCM-SHA256", .min_version = TLS_1_3 }, false, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct tls_site *s = simple(&cases[i].terms);
		const char *warning = tls_site_warning(s);

		assert_int_equal(warning != NULL, cases[i].told);
		if (warning != NULL)
			assert_non_null(strstr(warning, "the key (EC) of the certificate of a.test"));
		assert_true(lets_in(s, TLS1_3_VERSION));
		assert_int_equal(lets_in(s, TLS1_2_VERSION), cases[i].lets_1_2_in);
		tls_site_unref(&s);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_the_name_chooses, begin, end),
		cmocka_unit_test_setup_teardown(test_clients_come_back, begin, end),
		cmocka_unit_test_setup_teardown(test_without_tickets_nobody_comes_back, begin, end),
		cmocka_unit_test_setup_teardown(test_rotation, begin, end),
		cmocka_unit_test_setup_teardown(test_ciphers_that_fit_no_key_are_told, begin, end),
		cmocka_unit_test_setup_teardown(test_tickets_are_bound, begin, end),
		cmocka_unit_test_setup_teardown(test_a_ticket_ends_with_the_certificate, begin, end),
		cmocka_unit_test_setup_teardown(test_terms_that_are_refused, begin, end),
	};

	return cmocka_run_group_tests_name("tls_site", tests, NULL, NULL);
}
