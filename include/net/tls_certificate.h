/* tls_certificate.h - a certificate with its chain and its key, read from files
 * and checked: what is here can be served.
 * Immutable and refcounted: any thread, but for loading, which blocks as file
 * systems do. */
#ifndef NET_TLS_CERTIFICATE_H
#define NET_TLS_CERTIFICATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct ssl_ctx_st;
struct x509_st;	/* X509 */

struct tls_certificate_files {
	const char *cert;	/* PEM: ours, then who signed it, and so on */
	const char *key;	/* PEM; NULL: in the file of the certificate */
	const char *ocsp;	/* DER: what its authority says of it today; NULL: nothing is stapled */
	/* PEM that is here already; NULL: the file is read.  cert and key are what it is called in messages then. */
	const char *cert_pem, *key_pem;
};

/* Public facts: nothing here is secret. */
struct tls_certificate_facts {
	char **names;	/* DNS names, lower case, and addresses; at least 1 */
	unsigned n_names;
	char *subject, *issuer;	/* RFC 4514 */
	const char *type;	/* "RSA", "EC", … */
	int bits;
	char fingerprint[65];	/* SHA-256, hexadecimal */
	int64_t not_before, not_after;	/* seconds since 1970 */
	int64_t staple_until;	/* seconds since 1970 that it is good for; 0: there is none */
	char *staple_problem;	/* why there is none, though it was asked for; or NULL */
};

struct tls_certificate;

/* Reads and checks: the key belongs to the certificate and only its owner and group
 * may read it, each certificate was signed by the next.  Not whether its time has come
 * or gone: see tls_certificate_is_valid().  E_USAGE: why is a sentence with the
 * file's name, and where that helps the command that mends it.  What a key says
 * is never in it. */
MUST_USE enum err
tls_certificate_load(const struct tls_certificate_files *files, struct tls_certificate **out, struct why *why);
struct tls_certificate *tls_certificate_ref(struct tls_certificate *c);
void tls_certificate_unref(struct tls_certificate **cp);

const struct tls_certificate_facts *tls_certificate_facts(const struct tls_certificate *c);
/* E_USAGE with a sentence when it is not good at that time (seconds since 1970). */
MUST_USE enum err tls_certificate_is_valid(const struct tls_certificate *c, int64_t now, struct why *why);
/* The two say the same, to the byte. */
bool tls_certificate_equal(const struct tls_certificate *a, const struct tls_certificate *b);

/* It is the one with that X509. */
bool tls_certificate_is(const struct tls_certificate *c, const struct x509_st *leaf);
/* What its authority says of it, DER; NULL when there is nothing that is good
 * at that time. */
const unsigned char *tls_certificate_staple(const struct tls_certificate *c, int64_t now, size_t *n);
/* Lets the context show it, beside those of other types of key; its staple is
 * the caller's affair.  E_USAGE when OpenSSL refuses (a key too short, say). */
MUST_USE enum err
tls_certificate_use(struct tls_certificate *c, struct ssl_ctx_st *context, struct why *why);

#endif
