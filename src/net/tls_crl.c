/* tls_crl.c - lists of client certificates that were revoked (RFC 5280 section 5).  Any thread. */
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <time.h>

#include "net/tls_file.h"
#include "net/tls_private.h"

enum err
tls_crl_use(SSL_CTX *c, const char *path, const struct tls_file *pem, struct why *why)
{
	X509_STORE *store = SSL_CTX_get_cert_store(c);
	BIO *memory = BIO_new_mem_buf(pem->data, (int)pem->n);
	unsigned n = 0;
	X509_CRL *x;

	while ((x = PEM_read_bio_X509_CRL(memory, NULL, NULL, NULL)) != NULL) {
		n += X509_STORE_add_crl(store, x) == 1;
		X509_CRL_free(x);
	}
	BIO_free(memory);
	ERR_clear_error();
	if (n == 0)
		return why_set(
			why, E_USAGE,
			"%.256s: there is no revocation list in PEM form in it (openssl crl -inform DER "
			"converts one)",
			path);
	X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
	return OK;
}

/* Is there a list of that authority, and one that is good now? */
static void
find_lists(const STACK_OF(X509_OBJECT) * all, const X509_NAME *authority, bool *found, bool *good)
{
	*found = *good = false;
	for (int i = 0; i < sk_X509_OBJECT_num(all); i++) {
		const X509_CRL *x = X509_OBJECT_get0_X509_CRL(sk_X509_OBJECT_value(all, i));
		const ASN1_TIME *next = x != NULL ? X509_CRL_get0_nextUpdate(x) : NULL;

		if (x == NULL || X509_NAME_cmp(X509_CRL_get_issuer(x), authority) != 0)
			continue;
		*found = true;
		*good |= X509_cmp_current_time(X509_CRL_get0_lastUpdate(x)) < 0 &&
			 (next == NULL || X509_cmp_current_time(next) > 0);
	}
}

bool
tls_crl_lacks(SSL_CTX *c, struct why *why)
{
	X509_STORE *store = SSL_CTX_get_cert_store(c);
	const STACK_OF(X509_OBJECT) * all;
	bool lacks = false, found, good;

	/* Handshakes look into it, too. */
	if (X509_STORE_lock(store) != 1)
		return false;
	all = X509_STORE_get0_objects(store);
	for (int i = 0; i < sk_X509_OBJECT_num(all) && !lacks; i++) {
		const X509 *ca = X509_OBJECT_get0_X509(sk_X509_OBJECT_value(all, i));
		char *name;

		if (ca == NULL)
			continue;
		find_lists(all, X509_get_subject_name(ca), &found, &good);
		lacks = !good;
		if (!lacks)
			continue;
		name = tls_name_text(X509_get_subject_name(ca));
		(void)why_set(
			why, E_USAGE, "crl: %s of \"%.200s\": no client that it vouches for is let in; %s",
			found ? "the list is past its next update, or not valid yet," : "there is no list",
			name != NULL ? name : "", found ? "fetch the new list" : "add it to the file");
		free(name);
	}
	(void)X509_STORE_unlock(store);
	ERR_clear_error();
	return lacks;
}

static int64_t
seconds_since_1970(const ASN1_TIME *t)
{
	struct tm tm;

	return ASN1_TIME_to_tm(t, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

/* The latest next update that a list of that authority names; 0: it has none, INT64_MAX: one names none. */
static int64_t
next_update(const STACK_OF(X509_OBJECT) * all, const X509_NAME *authority)
{
	int64_t latest = 0;

	for (int i = 0; i < sk_X509_OBJECT_num(all); i++) {
		const X509_CRL *x = X509_OBJECT_get0_X509_CRL(sk_X509_OBJECT_value(all, i));
		const ASN1_TIME *next = x != NULL ? X509_CRL_get0_nextUpdate(x) : NULL;
		int64_t at;

		if (x == NULL || X509_NAME_cmp(X509_CRL_get_issuer(x), authority) != 0)
			continue;
		at = next != NULL ? seconds_since_1970(next) : INT64_MAX;
		latest = at > latest ? at : latest;
	}
	return latest;
}

int64_t
tls_crl_until(SSL_CTX *c)
{
	X509_STORE *store = SSL_CTX_get_cert_store(c);
	const STACK_OF(X509_OBJECT) * all;
	int64_t first = INT64_MAX, at;

	if (X509_STORE_lock(store) != 1)
		return INT64_MAX;
	all = X509_STORE_get0_objects(store);
	for (int i = 0; i < sk_X509_OBJECT_num(all); i++) {
		const X509 *ca = X509_OBJECT_get0_X509(sk_X509_OBJECT_value(all, i));

		if (ca != NULL && (at = next_update(all, X509_get_subject_name(ca))) < first)
			first = at;
	}
	(void)X509_STORE_unlock(store);
	ERR_clear_error();
	return first;
}
