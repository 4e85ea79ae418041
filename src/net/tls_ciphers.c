/* tls_ciphers.c - can clients of TLS 1.2 be shown a certificate by the ciphers
 * that there are?  Any thread. */
#include <string.h>

#include "net/tls_private.h"

/* What ciphers of TLS 1.2 call a key of that type; those of Edwards curves are
 * ECDSA's to them (RFC 8422 section 5.10), and one for RSA-PSS alone is RSA's,
 * but signs only. */
static int
auth_of(const struct tls_certificate *c, bool *signs_only)
{
	const char *type = tls_certificate_facts(c)->type;

	*signs_only = strcmp(type, "RSA") != 0;
	return strncmp(type, "RSA", 3) == 0 ? NID_auth_rsa :
	       strcmp(type, "DSA") == 0     ? NID_auth_dss :
					      NID_auth_ecdsa;
}

/* In TLS 1.2; 1.3 leaves the key to the certificate. */
static bool
cipher_fits(const SSL_CIPHER *cipher, const struct tls_certificate *c)
{
	int exchange = SSL_CIPHER_get_kx_nid(cipher), auth = SSL_CIPHER_get_auth_nid(cipher);
	bool signs_only;

	/* Without certificates at all, which OpenSSL has to be asked for. */
	if (auth == NID_auth_null)
		return true;
	return auth == auth_of(c, &signs_only) && (exchange == NID_kx_ecdhe || exchange == NID_kx_dhe ||
						   (exchange == NID_kx_rsa && !signs_only));
}

static bool
any_fits(const STACK_OF(SSL_CIPHER) * ciphers, struct tls_certificate *const *certificates, unsigned n)
{
	for (int i = 0; i < sk_SSL_CIPHER_num(ciphers); i++)
		for (unsigned k = 0; k < n; k++)
			if (certificates[k] != NULL &&
			    cipher_fits(sk_SSL_CIPHER_value(ciphers, i), certificates[k]))
				return true;
	return false;
}

bool
tls_ciphers_fit(SSL_CTX *c, struct tls_certificate *const *certificates, unsigned n)
{
	STACK_OF(SSL_CIPHER) * usable;
	SSL *ssl;
	bool fit;

	if (SSL_CTX_get_min_proto_version(c) > TLS1_2_VERSION)
		return true;
	if ((ssl = SSL_new(c)) == NULL)
		return true;
	/* Those that the security level leaves. */
	usable = SSL_get1_supported_ciphers(ssl);
	fit = any_fits(usable, certificates, n);
	sk_SSL_CIPHER_free(usable);
	SSL_free(ssl);
	return fit;
}
