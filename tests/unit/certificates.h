/* certificates.h - keys and certificates made by a test for itself. */
#ifndef TESTS_UNIT_CERTIFICATES_H
#define TESTS_UNIT_CERTIFICATES_H

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>

struct certificate {
	X509 *x;
	EVP_PKEY *key;
};

static inline void
certificate_extend(X509 *x, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX context;
	X509_EXTENSION *e;

	X509V3_set_ctx(&context, issuer, x, NULL, NULL, 0);
	e = X509V3_EXT_conf_nid(NULL, &context, nid, value);
	assert_non_null(e);
	assert_int_equal(X509_add_ext(x, e, -1), 1);
	X509_EXTENSION_free(e);
}

/* issuer NULL: an authority, signed by itself.  names: "DNS:a,IP:127.0.0.1".
 * days: how long it is good from now on; below 0: how long it is not any more. */
static inline struct certificate
certificate_new(const struct certificate *issuer, const char *names, int days)
{
	struct certificate c = { X509_new(), EVP_EC_gen("P-256") };
	static long serial;
	X509_NAME *name;

	assert_non_null(c.x);
	assert_non_null(c.key);
	X509_set_version(c.x, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(c.x), ++serial);
	X509_gmtime_adj(X509_getm_notBefore(c.x), -10 * 86400);
	X509_gmtime_adj(X509_getm_notAfter(c.x), days * 86400);
	X509_set_pubkey(c.x, c.key);
	name = X509_get_subject_name(c.x);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
				   (const unsigned char *)(issuer != NULL ? "server" : "authority"), -1, -1,
				   0);
	X509_set_issuer_name(c.x, issuer != NULL ? X509_get_subject_name(issuer->x) : name);
	if (issuer == NULL)
		certificate_extend(c.x, c.x, NID_basic_constraints, "critical,CA:TRUE");
	if (names != NULL)
		certificate_extend(c.x, issuer != NULL ? issuer->x : c.x, NID_subject_alt_name, names);
	assert_true(X509_sign(c.x, issuer != NULL ? issuer->key : c.key, EVP_sha256()) > 0);
	return c;
}

static inline void
certificate_free(struct certificate *c)
{
	X509_free(c->x);
	EVP_PKEY_free(c->key);
}

/* As PEM; either path may be NULL. */
static inline void
certificate_write(const struct certificate *c, const char *path, const char *key_path)
{
	FILE *f;

	if (path != NULL) {
		assert_non_null(f = fopen(path, "w"));
		assert_int_equal(PEM_write_X509(f, c->x), 1);
		assert_int_equal(fclose(f), 0);
	}
	if (key_path != NULL) {
		assert_non_null(f = fopen(key_path, "w"));
		assert_int_equal(PEM_write_PrivateKey(f, c->key, NULL, NULL, 0, NULL, NULL), 1);
		assert_int_equal(fclose(f), 0);
	}
}

#endif
