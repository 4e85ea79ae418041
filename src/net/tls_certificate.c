/* tls_certificate.c - reads a certificate, its chain and its key, and checks
 * that they belong together.  Any thread. */
#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "base/str.h"
#include "net/tls_certificate.h"
#include "net/tls_file.h"
#include "net/tls_private.h"

#define MAGIC 0x63657274u
#define CHAIN_MAX 16

struct tls_certificate {
	uint32_t magic;
	_Atomic uint32_t refs;
	X509 *leaf;
	STACK_OF(X509) * chain;	/* who signed it, and so on; may be empty */
	EVP_PKEY *key;
	unsigned char *staple;	/* DER, or NULL */
	size_t n_staple;
	struct tls_certificate_facts facts;
};

static const char *
first_error(void)
{
	unsigned long code = ERR_get_error();
	const char *reason = code != 0 ? ERR_reason_error_string(code) : NULL;

	ERR_clear_error();
	return reason != NULL ? reason : "no reason given";
}

struct tls_certificate *
tls_certificate_ref(struct tls_certificate *c)
{
	atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
	return c;
}

void
tls_certificate_unref(struct tls_certificate **cp)
{
	struct tls_certificate *c = *cp;

	*cp = NULL;
	if (c == NULL || atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) > 1)
		return;
	CHECK(c->magic == MAGIC);
	c->magic = 0;
	X509_free(c->leaf);
	sk_X509_pop_free(c->chain, X509_free);
	EVP_PKEY_free(c->key);
	OPENSSL_free(c->staple);
	for (unsigned i = 0; i < c->facts.n_names; i++)
		free(c->facts.names[i]);
	free(c->facts.names);
	free(c->facts.subject);
	free(c->facts.issuer);
	free(c->facts.staple_problem);
	free(c);
}

const struct tls_certificate_facts *
tls_certificate_facts(const struct tls_certificate *c)
{
	return &c->facts;
}

/* -- what it says ----------------------------------------------------------- */

static int64_t
seconds_of(const ASN1_TIME *t)
{
	struct tm tm;

	return t != NULL && ASN1_TIME_to_tm(t, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

char *
tls_name_text(const X509_NAME *name)
{
	BIO *memory = BIO_new(BIO_s_mem());
	char *text = NULL;
	BUF_MEM *b;

	if (memory != NULL &&
	    X509_NAME_print_ex(memory, name, 0, XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB) >= 0 &&
	    BIO_get_mem_ptr(memory, &b) > 0)
		text = str_dup((struct str){ b->data, b->length });
	BIO_free(memory);
	return text;
}

static char *
name_text_or_none(const X509_NAME *name)
{
	char *text = tls_name_text(name);

	return text != NULL ? text : must_strdup("");
}

static void
add_name(struct tls_certificate_facts *f, const char *text, size_t n)
{
	char *name = must_alloc(n + 1);

	for (size_t i = 0; i < n; i++)
		name[i] = text[i] >= 'A' && text[i] <= 'Z' ? (char)(text[i] + 32) : text[i];
	if (n == 0 || strlen(name) != n) {
		free(name);
		return;
	}
	f->names = must_grow(f->names, f->n_names + 1, sizeof(*f->names));
	f->names[f->n_names++] = name;
}

static void
add_address_name(struct tls_certificate_facts *f, const ASN1_OCTET_STRING *ip)
{
	const unsigned char *p = ASN1_STRING_get0_data(ip);
	char text[64];
	int n = 0;

	if (ASN1_STRING_length(ip) == 4)
		n = snprintf(text, sizeof(text), "%u.%u.%u.%u", p[0], p[1], p[2], p[3]);
	else if (ASN1_STRING_length(ip) == 16)
		for (int i = 0; i < 16; i += 2)
			n += snprintf(text + n, sizeof(text) - (size_t)n, "%s%x", i > 0 ? ":" : "",
				      p[i] << 8 | p[i + 1]);
	add_name(f, text, (size_t)n);
}

/* The alternative names; where there are none, the common name (clients no longer
 * accept it, but it says what was meant). */
static void
collect_names(struct tls_certificate_facts *f, X509 *x)
{
	GENERAL_NAMES *all = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
	char cn[256];
	int n;

	for (int i = 0; i < sk_GENERAL_NAME_num(all); i++) {
		const GENERAL_NAME *g = sk_GENERAL_NAME_value(all, i);

		if (g->type == GEN_DNS)
			add_name(f, (const char *)ASN1_STRING_get0_data(g->d.dNSName),
				 (size_t)ASN1_STRING_length(g->d.dNSName));
		else if (g->type == GEN_IPADD)
			add_address_name(f, g->d.iPAddress);
	}
	GENERAL_NAMES_free(all);
	if (f->n_names == 0 &&
	    (n = X509_NAME_get_text_by_NID(X509_get_subject_name(x), NID_commonName, cn, sizeof(cn))) > 0)
		add_name(f, cn, (size_t)n);
	if (f->n_names == 0)
		add_name(f, "-", 1);
}

static void
collect_facts(struct tls_certificate *c)
{
	struct tls_certificate_facts *f = &c->facts;
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned n = 0;

	collect_names(f, c->leaf);
	f->subject = name_text_or_none(X509_get_subject_name(c->leaf));
	f->issuer = name_text_or_none(X509_get_issuer_name(c->leaf));
	f->type = OBJ_nid2sn(EVP_PKEY_get_base_id(c->key));
	f->type = strcmp(f->type, "rsaEncryption") == 0  ? "RSA" :
		  strcmp(f->type, "id-ecPublicKey") == 0 ? "EC" :
							   f->type;
	f->bits = EVP_PKEY_get_bits(c->key);
	if (X509_digest(c->leaf, EVP_sha256(), digest, &n) == 1)
		for (unsigned i = 0; i < n && 2 * i + 2 < sizeof(f->fingerprint); i++)
			snprintf(f->fingerprint + 2 * i, 3, "%02x", digest[i]);
	f->not_before = seconds_of(X509_get0_notBefore(c->leaf));
	f->not_after = seconds_of(X509_get0_notAfter(c->leaf));
}

/* -- reading ---------------------------------------------------------------- */

/* There is no terminal to ask for a passphrase. */
static int
no_passphrase(char *out, int size, int writing, void *asked)
{
	(void)out, (void)size, (void)writing;
	*(bool *)asked = true;
	return -1;
}

static enum err
parse_key(struct tls_certificate *c, const char *path, const struct tls_file *f, struct why *why)
{
	BIO *memory = BIO_new_mem_buf(f->data, (int)f->n);
	bool asked = false;

	c->key = PEM_read_bio_PrivateKey(memory, NULL, no_passphrase, &asked);
	BIO_free(memory);
	if (c->key != NULL)
		return OK;
	/* What OpenSSL says of it could be about its content. */
	ERR_clear_error();
	return why_set(why, E_USAGE, "%.256s: %s", path,
		       asked ? "the key is encrypted with a passphrase; give teald one without" :
			       "there is no private key in PEM form in it");
}

static enum err
parse_certificates(struct tls_certificate *c, const char *path, const struct tls_file *f, struct why *why)
{
	BIO *memory = BIO_new_mem_buf(f->data, (int)f->n);
	unsigned long code;
	X509 *x;

	c->chain = sk_X509_new_null();
	while ((x = PEM_read_bio_X509(memory, NULL, NULL, NULL)) != NULL) {
		if (c->leaf == NULL) {
			c->leaf = x;
		} else if (sk_X509_num(c->chain) >= CHAIN_MAX || sk_X509_push(c->chain, x) <= 0) {
			X509_free(x);
			BIO_free(memory);
			return why_set(why, E_USAGE, "%.256s: more than %d certificates in one chain", path,
				       CHAIN_MAX + 1);
		}
	}
	BIO_free(memory);
	code = ERR_peek_last_error();
	if (c->leaf == NULL) {
		ERR_clear_error();
		return why_set(why, E_USAGE, "%.256s: there is no certificate in PEM form in it", path);
	}
	if (ERR_GET_LIB(code) != ERR_LIB_PEM || ERR_GET_REASON(code) != PEM_R_NO_START_LINE)
		return why_set(why, E_USAGE, "%.256s: certificate %d cannot be read: %s", path,
			       sk_X509_num(c->chain) + 2, first_error());
	ERR_clear_error();
	return OK;
}

static enum err
check_chain(const struct tls_certificate *c, const char *path, struct why *why)
{
	X509 *signed_one = c->leaf;

	for (int i = 0; i < sk_X509_num(c->chain); i++) {
		X509 *signer = sk_X509_value(c->chain, i);
		EVP_PKEY *key = X509_get0_pubkey(signer);

		if (X509_check_issued(signer, signed_one) != X509_V_OK || key == NULL ||
		    X509_verify(signed_one, key) != 1) {
			ERR_clear_error();
			return why_set(
				why, E_USAGE,
				"%.256s: certificate %d did not sign certificate %d; the order is ours first, then "
				"who signed it, and so on",
				path, i + 2, i + 1);
		}
		signed_one = signer;
	}
	return OK;
}

/* -- the staple ------------------------------------------------------------- */

PRINTF_LIKE(2, 3)
static void
no_staple(struct tls_certificate *c, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	ERR_clear_error();
	c->facts.staple_problem = must_strdup(text);
}

/* The part of the response that is about this certificate. */
static OCSP_SINGLERESP *
find_single(const struct tls_certificate *c, OCSP_BASICRESP *basic)
{
	for (int i = 0; i < OCSP_resp_count(basic); i++) {
		OCSP_SINGLERESP *single = OCSP_resp_get0(basic, i);
		ASN1_INTEGER *serial = NULL;

		OCSP_id_get0_info(NULL, NULL, NULL, &serial,
				  (OCSP_CERTID *)(uintptr_t)OCSP_SINGLERESP_get0_id(single));
		if (serial != NULL && ASN1_INTEGER_cmp(serial, X509_get0_serialNumber(c->leaf)) == 0)
			return single;
	}
	return NULL;
}

/* Signed by our authority, or by whom that has named for it; where the chain
 * does not have the authority's certificate, clients are to judge. */
static bool
is_signed_well(const struct tls_certificate *c, OCSP_BASICRESP *basic)
{
	X509_STORE *store;
	bool well;

	if (sk_X509_num(c->chain) == 0)
		return true;
	store = X509_STORE_new();
	well = store != NULL && X509_STORE_add_cert(store, sk_X509_value(c->chain, 0)) == 1 &&
	       X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN) == 1 &&
	       OCSP_basic_verify(basic, c->chain, store, 0) == 1;
	X509_STORE_free(store);
	return well;
}

static void
read_staple(struct tls_certificate *c, const char *path)
{
	ASN1_GENERALIZEDTIME *until = NULL;
	OCSP_SINGLERESP *single = NULL;
	OCSP_BASICRESP *basic = NULL;
	OCSP_RESPONSE *response;
	const unsigned char *p;
	struct tls_file f;
	struct why why;

	if (tls_file_read(path, false, &f, &why) != OK) {
		no_staple(c, "%.400s", why.text);
		return;
	}
	p = (const unsigned char *)f.data;
	response = d2i_OCSP_RESPONSE(NULL, &p, (long)f.n);
	if (response != NULL && OCSP_response_status(response) == OCSP_RESPONSE_STATUS_SUCCESSFUL)
		basic = OCSP_response_get1_basic(response);
	if (basic != NULL)
		single = find_single(c, basic);
	if (basic == NULL)
		no_staple(c, "%.256s is no answer of an OCSP server in DER form", path);
	else if (single == NULL)
		no_staple(c, "%.256s is about another certificate", path);
	else if (OCSP_single_get0_status(single, NULL, NULL, NULL, &until) != V_OCSP_CERTSTATUS_GOOD)
		no_staple(c, "%.256s says that the certificate is revoked or unknown", path);
	else if (until != NULL && X509_cmp_current_time(until) <= 0)
		no_staple(c, "%.256s was good for a time that is over", path);
	else if (!is_signed_well(c, basic))
		no_staple(c, "%.256s is not signed by the certificate's authority", path);
	else if ((c->staple = OPENSSL_memdup(f.data, f.n)) != NULL)
		c->n_staple = f.n;
	if (c->staple != NULL)
		c->facts.staple_until = until != NULL ? seconds_of(until) : INT64_MAX;
	OCSP_BASICRESP_free(basic);
	OCSP_RESPONSE_free(response);
	tls_file_free(&f);
	ERR_clear_error();
}

/* -- as a whole ------------------------------------------------------------- */

static enum err
take_pem(const char *path, const char *pem, bool secret, struct tls_file *out, struct why *why)
{
	if (pem == NULL)
		return tls_file_read(path, secret, out, why);
	*out = (struct tls_file){ .data = must_strdup(pem), .n = strlen(pem) };
	return OK;
}

static enum err
load_files(struct tls_certificate *c, const struct tls_certificate_files *files, struct why *why)
{
	const char *key_path = files->key != NULL ? files->key : files->cert;
	struct tls_file cert, key = { 0 };
	enum err e;

	if ((e = take_pem(files->cert, files->cert_pem, files->key == NULL, &cert, why)) != OK)
		return e;
	e = parse_certificates(c, files->cert, &cert, why);
	if (e == OK && files->key != NULL)
		e = take_pem(files->key, files->key_pem, true, &key, why);
	if (e == OK)
		e = parse_key(c, key_path, files->key != NULL ? &key : &cert, why);
	tls_file_free(&cert);
	tls_file_free(&key);
	if (e != OK)
		return e;
	if (X509_check_private_key(c->leaf, c->key) != 1) {
		ERR_clear_error();
		return why_set(why, E_USAGE, "the key in %.256s does not belong to the certificate in %.256s",
			       key_path, files->cert);
	}
	return check_chain(c, files->cert, why);
}

enum err
tls_certificate_load(const struct tls_certificate_files *files, struct tls_certificate **out, struct why *why)
{
	struct tls_certificate *c = must_alloc(sizeof(*c));
	enum err e;

	*out = NULL;
	c->magic = MAGIC;
	c->refs = 1;
	ERR_clear_error();
	if ((e = load_files(c, files, why)) != OK) {
		tls_certificate_unref(&c);
		return e;
	}
	collect_facts(c);
	if (files->ocsp != NULL)
		read_staple(c, files->ocsp);
	*out = c;
	return OK;
}

enum err
tls_certificate_is_valid(const struct tls_certificate *c, int64_t now, struct why *why)
{
	const struct tls_certificate_facts *f = &c->facts;
	bool early = now < f->not_before;
	time_t when = (time_t)(early ? f->not_before : f->not_after);
	char text[32];
	struct tm tm;

	if (!early && now <= f->not_after)
		return OK;
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&when, &tm));
	return why_set(why, E_USAGE, "the certificate of %.128s %s %s", f->names[0],
		       early ? "is not valid before" : "expired at", text);
}

bool
tls_certificate_equal(const struct tls_certificate *a, const struct tls_certificate *b)
{
	int n = sk_X509_num(a->chain);

	if (X509_cmp(a->leaf, b->leaf) != 0 || n != sk_X509_num(b->chain) || a->n_staple != b->n_staple ||
	    (a->n_staple > 0 && memcmp(a->staple, b->staple, a->n_staple) != 0))
		return false;
	for (int i = 0; i < n; i++)
		if (X509_cmp(sk_X509_value(a->chain, i), sk_X509_value(b->chain, i)) != 0)
			return false;
	return true;
}

enum err
tls_certificate_use(struct tls_certificate *c, struct ssl_ctx_st *context, struct why *why)
{
	ERR_clear_error();
	if (SSL_CTX_use_cert_and_key(context, c->leaf, c->key, c->chain, 1) == 1)
		return OK;
	return why_set(why, E_USAGE, "the certificate of %.128s cannot be used: %s", c->facts.names[0],
		       first_error());
}

bool
tls_certificate_is(const struct tls_certificate *c, const struct x509_st *leaf)
{
	return c->leaf == leaf;
}

const unsigned char *
tls_certificate_staple(const struct tls_certificate *c, int64_t now, size_t *n)
{
	*n = c->n_staple;
	return c->staple != NULL && now <= c->facts.staple_until ? c->staple : NULL;
}
