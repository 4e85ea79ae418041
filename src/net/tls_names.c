/* tls_names.c - the names in a peer's certificate.  Any thread. */
#include <arpa/inet.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <time.h>

#include "net/tls_names.h"
#include "net/tls_private.h"

/* A text without what could make it look like another one. */
static bool
copy_name(const unsigned char *p, int n, bool lower, char out[TLS_NAME_TEXT])
{
	if (n <= 0 || n >= TLS_NAME_TEXT)
		return false;
	for (int i = 0; i < n; i++) {
		if (p[i] < 0x20 || p[i] == 0x7f)
			return false;
		out[i] = (char)(lower && p[i] >= 'A' && p[i] <= 'Z' ? p[i] + 32 : p[i]);
	}
	out[n] = '\0';
	return true;
}

static void
take_cn(X509 *x, char out[TLS_NAME_TEXT])
{
	const X509_NAME *subject = X509_get_subject_name(x);
	int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
	unsigned char *utf8 = NULL;
	int n;

	out[0] = '\0';
	if (at < 0 || X509_NAME_get_index_by_NID(subject, NID_commonName, at) >= 0)
		return;
	n = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
	if (!copy_name(utf8, n, false, out))
		out[0] = '\0';
	OPENSSL_free(utf8);
}

static bool
copy_address(const ASN1_OCTET_STRING *ip, char out[TLS_NAME_TEXT])
{
	int n = ASN1_STRING_length(ip);

	return (n == 4 || n == 16) &&
	       inet_ntop(n == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(ip), out, TLS_NAME_TEXT) != NULL;
}

static bool
copy_general(const GENERAL_NAME *g, char out[TLS_NAME_TEXT])
{
	switch (g->type) {
	case GEN_DNS:
	case GEN_EMAIL:
	case GEN_URI:
		return copy_name(ASN1_STRING_get0_data(g->d.ia5), ASN1_STRING_length(g->d.ia5), g->type == GEN_DNS, out);
	case GEN_IPADD:
		return copy_address(g->d.iPAddress, out);
	}
	return false;
}

static void
take_san(X509 *x, struct tls_names *out)
{
	GENERAL_NAMES *all = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);

	for (int i = 0; i < sk_GENERAL_NAME_num(all) && out->n < TLS_NAMES_MAX; i++)
		out->n += copy_general(sk_GENERAL_NAME_value(all, i), out->san[out->n]);
	GENERAL_NAMES_free(all);
}

bool
tls_names(struct tls *t, struct tls_names *out)
{
	X509 *x = SSL_get1_peer_certificate(t->ssl);
	struct tm tm;

	*out = (struct tls_names){ .n = 0 };
	if (x == NULL || SSL_get_verify_result(t->ssl) != X509_V_OK) {
		X509_free(x);
		return false;
	}
	take_cn(x, out->cn);
	take_san(x, out);
	if (ASN1_TIME_to_tm(X509_get0_notAfter(x), &tm) == 1)
		out->not_after = (int64_t)timegm(&tm);
	X509_free(x);
	ERR_clear_error();
	return true;
}

bool
tls_names_still_pass(struct tls *t, const struct tls_site *site)
{
	X509 *x = SSL_get1_peer_certificate(t->ssl);
	X509_STORE_CTX *c = x != NULL ? X509_STORE_CTX_new() : NULL;
	SSL_CTX *context = tls_site_context(site);
	bool good = x == NULL;

	if (c != NULL && SSL_CTX_get_verify_mode(context) != SSL_VERIFY_NONE &&
	    X509_STORE_CTX_init(c, SSL_CTX_get_cert_store(context), x, SSL_get_peer_cert_chain(t->ssl)) == 1 &&
	    X509_STORE_CTX_set_default(c, "ssl_client") == 1) {
		X509_VERIFY_PARAM_set_depth(X509_STORE_CTX_get0_param(c), SSL_CTX_get_verify_depth(context));
		good = X509_verify_cert(c) == 1;
	}
	X509_STORE_CTX_free(c);
	X509_free(x);
	ERR_clear_error();
	return good;
}
