/* tls_site.c - the server's end: which certificate, on which terms.
 * Any thread. */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "net/tls_file.h"
#include "net/tls_private.h"
#include "net/tls_tickets.h"

#define MAGIC 0x73697465u
/* Kinds of keys that one context can hold side by side. */
#define TYPES 4
/* What a client may come back with, and for how long. */
#define SESSION_SECONDS 7200

/* Certificates between a client's and the authority's: all are checked, at our
 * expense. */
#define CLIENT_CHAIN 16

/* Certificates for one and the same set of names, one of each type of key. */
struct group {
	SSL_CTX *context;
	struct tls_certificate *of_type[TYPES];	/* borrowed; the context has references */
};

struct named {
	char *name;	/* "shop.example" or "*.shop.example" */
	struct tls_certificate *of_type[TYPES];
	unsigned group;
};

struct tls_site {
	uint32_t magic;
	_Atomic uint32_t refs;
	struct group *groups;
	unsigned n_groups;
	struct named *names;	/* sorted */
	unsigned n_names;
	unsigned fallback;	/* the group for names that no certificate carries */
	unsigned char bound[SHA256_DIGEST_LENGTH];	/* what sessions are bound to, besides the name */
	char *warning;	/* or NULL */
	bool has_crl;
};

/* What a context's callbacks look at; the context's. */
struct shown {
	struct tls_certificate *of_type[TYPES];	/* references */
	unsigned char *alpn;	/* in wire form, or NULL */
	unsigned n_alpn;
};

static int shown_index = -1;
static pthread_once_t prepared = PTHREAD_ONCE_INIT;

static void
free_shown(void *parent, void *p, CRYPTO_EX_DATA *data, int index, long argl, void *argp)
{
	struct shown *s = p;

	(void)parent, (void)data, (void)index, (void)argl, (void)argp;
	if (s == NULL)
		return;
	for (int i = 0; i < TYPES; i++)
		tls_certificate_unref(&s->of_type[i]);
	free(s->alpn);
	free(s);
}

static void
prepare(void)
{
	shown_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, free_shown);
	CHECK(shown_index >= 0);
}

/* -- what a context answers ------------------------------------------------- */

static int
on_alpn(SSL *ssl, const unsigned char **out, unsigned char *n_out, const unsigned char *in, unsigned n_in,
	void *arg)
{
	const struct shown *s = arg;

	(void)ssl;
	if (SSL_select_next_proto((unsigned char **)(uintptr_t)out, n_out, s->alpn, s->n_alpn, in, n_in) ==
	    OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_OK;
	return SSL_TLSEXT_ERR_ALERT_FATAL;
}

/* Staples what is good now to the certificate that is shown. */
static int
on_status(SSL *ssl, void *arg)
{
	const struct shown *s = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), shown_index);
	const X509 *leaf = SSL_get_certificate(ssl);
	const unsigned char *staple = NULL;
	unsigned char *copy;
	size_t n = 0;

	(void)arg;
	for (int i = 0; i < TYPES; i++)
		if (s->of_type[i] != NULL && tls_certificate_is(s->of_type[i], leaf))
			staple = tls_certificate_staple(s->of_type[i], (int64_t)time(NULL), &n);
	/* OpenSSL frees what it is given. */
	if (staple == NULL || (copy = OPENSSL_memdup(staple, n)) == NULL)
		return SSL_TLSEXT_ERR_NOACK;
	SSL_set_tlsext_status_ocsp_resp(ssl, copy, (long)n);
	return SSL_TLSEXT_ERR_OK;
}

/* -- the terms -------------------------------------------------------------- */

static const char intermediate_ciphers[] = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
					   "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
					   "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";
static const char all_ciphersuites[] =
	"TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";
static const char all_curves[] = "X25519:prime256v1:secp384r1";

static enum err
set_context_terms(SSL_CTX *c, const struct tls_terms *t, struct why *why)
{
	const char *ciphers = t->ciphers != NULL ? t->ciphers : intermediate_ciphers;
	const char *suites = t->ciphersuites != NULL ? t->ciphersuites : all_ciphersuites;
	const char *curves = t->curves != NULL ? t->curves : all_curves;
	bool modern = t->profile == TLS_MODERN || t->min_version == TLS_1_3;

	SSL_CTX_set_min_proto_version(c, modern ? TLS1_3_VERSION : TLS1_2_VERSION);
	/* Ours in order, but who would rather have ChaCha20 has no hardware for
	 * AES. */
	SSL_CTX_set_options(c, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
	SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_timeout(c, SESSION_SECONDS);
	/* One for each whole handshake and one for each return: clients keep the
	 * newest, and a second one is work for nothing. */
	SSL_CTX_set_num_tickets(c, 1);
	if (SSL_CTX_set_cipher_list(c, ciphers) != 1)
		return why_set(why, E_USAGE, "OpenSSL knows no cipher in \"%.200s\"", ciphers);
	if (SSL_CTX_set_ciphersuites(c, suites) != 1)
		return why_set(why, E_USAGE, "OpenSSL does not know \"%.200s\"", suites);
	if (SSL_CTX_set1_curves_list(c, curves) != 1)
		return why_set(why, E_USAGE, "OpenSSL does not know the curves \"%.200s\"", curves);
	/* DHE (RFC 7919), where the operator wants it, needs parameters; these fit
	 * the certificate's key. */
	(void)SSL_CTX_set_dh_auto(c, 1);
	if (!tls_tickets_attach(c))
		return why_set(why, E_INTERNAL, "cannot set up tickets: %s", tls_first_error());
	return OK;
}

/* In wire form: each with its length before it. */
static void
site_set_alpn(SSL_CTX *c, struct shown *s, const struct tls_terms *t)
{
	for (size_t i = 0; i < t->n_alpn; i++) {
		size_t n = strlen(t->alpn[i]);

		CHECK(n > 0 && n < 256);
		s->alpn = must_grow(s->alpn, s->n_alpn + n + 1, 1);
		s->alpn[s->n_alpn] = (unsigned char)n;
		memcpy(s->alpn + s->n_alpn + 1, t->alpn[i], n);
		s->n_alpn += (unsigned)n + 1;
	}
	if (s->n_alpn > 0)
		SSL_CTX_set_alpn_select_cb(c, on_alpn, s);
}

/* Those who may vouch for clients; and clients are told their names, so that
 * they know which certificate to show. */
static enum err
set_client_ca(SSL_CTX *c, const struct tls_terms *t, const struct tls_file *pem, struct why *why)
{
	X509_STORE *store = SSL_CTX_get_cert_store(c);
	BIO *memory = BIO_new_mem_buf(pem->data, (int)pem->n);
	unsigned n = 0;
	X509 *x;

	while ((x = PEM_read_bio_X509_AUX(memory, NULL, NULL, NULL)) != NULL) {
		if (X509_STORE_add_cert(store, x) == 1 && SSL_CTX_add_client_CA(c, x) == 1)
			n++;
		X509_free(x);
	}
	BIO_free(memory);
	ERR_clear_error();
	if (n == 0)
		return why_set(why, E_USAGE, "%.256s: there is no certificate in PEM form in it",
			       t->client_ca);
	SSL_CTX_set_verify_depth(c, CLIENT_CHAIN);
	SSL_CTX_set_verify(
		c, SSL_VERIFY_PEER | (t->verify == TLS_VERIFY_REQUIRE ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0),
		NULL);
	return OK;
}

/* What clients have to do with. */
struct trust_files {
	struct tls_file ca, crl;
};

static enum err
make_context(struct group *g, const struct tls_terms *t, const struct trust_files *f, struct why *why)
{
	struct shown *s = must_alloc(sizeof(*s));
	enum err e;

	if ((g->context = tls_context_new(TLS_server_method())) == NULL ||
	    SSL_CTX_set_ex_data(g->context, shown_index, s) != 1) {
		free(s);
		return why_set(why, E_INTERNAL, "cannot set up TLS: %s", tls_first_error());
	}
	if ((e = set_context_terms(g->context, t, why)) != OK)
		return e;
	site_set_alpn(g->context, s, t);
	SSL_CTX_set_tlsext_status_cb(g->context, on_status);
	if (t->verify != TLS_VERIFY_NONE && (e = set_client_ca(g->context, t, &f->ca, why)) != OK)
		return e;
	if (t->verify != TLS_VERIFY_NONE && t->crl != NULL && (e = tls_crl_use(g->context, t->crl, &f->crl, why)) != OK)
		return e;
	for (int i = 0; i < TYPES; i++) {
		if (g->of_type[i] == NULL)
			continue;
		s->of_type[i] = tls_certificate_ref(g->of_type[i]);
		if ((e = tls_certificate_use(s->of_type[i], g->context, why)) != OK)
			return e;
	}
	return OK;
}

/* -- ciphers and keys ------------------------------------------------------- */

/* Names of a group, as the first of its certificates is called. */
static void
warn_of(struct tls_site *s, const struct group *g)
{
	const struct tls_certificate_facts *f = NULL;
	char text[512];

	for (int t = 0; t < TYPES && f == NULL; t++)
		if (g->of_type[t] != NULL)
			f = tls_certificate_facts(g->of_type[t]);
	CHECK(f != NULL);
	snprintf(
		text, sizeof(text),
		"tls.ciphers has none that fits the key (%s) of the certificate of %.128s: clients of TLS 1.2 cannot "
		"connect, only those of TLS 1.3; add ciphers for it (openssl ciphers -v), a certificate with another "
		"key, or min_version = \"1.3\"",
		f->type, f->names[0]);
	s->warning = must_strdup(text);
}

static void
judge_ciphers(struct tls_site *s)
{
	for (unsigned i = 0; i < s->n_groups && s->warning == NULL; i++)
		if (!tls_ciphers_fit(s->groups[i].context, s->groups[i].of_type, TYPES))
			warn_of(s, &s->groups[i]);
}

bool
tls_site_crl_lacks(const struct tls_site *s, struct why *why)
{
	return s->has_crl && tls_crl_lacks(s->groups[0].context, why);
}

bool
tls_site_crl_until(const struct tls_site *s, int64_t *until)
{
	if (!s->has_crl)
		return false;
	*until = tls_crl_until(s->groups[0].context);
	return *until != INT64_MAX;
}

const char *
tls_site_warning(const struct tls_site *s)
{
	return s->warning;
}

/* -- names and groups ------------------------------------------------------- */

static unsigned
type_of(const struct tls_certificate *c)
{
	const char *type = tls_certificate_facts(c)->type;

	return strcmp(type, "RSA") == 0     ? 0 :
	       strcmp(type, "EC") == 0      ? 1 :
	       strcmp(type, "ED25519") == 0 ? 2 :
					      3;
}

static int
by_certificate_name(const void *a, const void *b)
{
	return strcmp(((const struct named *)a)->name, ((const struct named *)b)->name);
}

static const struct named *
find_exact(const struct tls_site *s, const char *name)
{
	struct named key = { .name = (char *)(uintptr_t)name };

	return s->n_names > 0 ? bsearch(&key, s->names, s->n_names, sizeof(key), by_certificate_name) : NULL;
}

/* As it is, else "*." in place of its first label. */
static const struct named *
find_named(const struct tls_site *s, const char *name)
{
	const struct named *n = name[0] != '\0' ? find_exact(s, name) : NULL;
	const char *dot = strchr(name, '.');
	char wild[256];

	if (n != NULL || dot == NULL || dot == name || strlen(dot) > sizeof(wild) - 2)
		return n;
	wild[0] = '*';
	memcpy(wild + 1, dot, strlen(dot) + 1);
	return find_exact(s, wild);
}

bool
tls_site_has(const struct tls_site *s, const char *name)
{
	return find_named(s, name) != NULL;
}

/* All names of all certificates, sorted; of those with one name and one type of
 * key the first counts. */
static void
collect(struct tls_site *s, struct tls_certificate *const *certificates, size_t n)
{
	size_t all = 0, kept = 0;

	for (size_t i = 0; i < n; i++)
		all += tls_certificate_facts(certificates[i])->n_names;
	s->names = must_array(all + 1, sizeof(*s->names));
	/* From the last to the first, so that the first has the last word. */
	for (size_t i = n; i-- > 0;) {
		const struct tls_certificate_facts *f = tls_certificate_facts(certificates[i]);

		for (unsigned k = 0; k < f->n_names; k++) {
			struct named *new = &s->names[s->n_names++];

			new->name = must_strdup(f->names[k]);
			new->of_type[type_of(certificates[i])] = certificates[i];
		}
	}
	/* Equal names stay in that order: a merge sort. */
	qsort(s->names, s->n_names, sizeof(*s->names), by_certificate_name);
	for (size_t i = 0; i < s->n_names; i++) {
		struct named *now = &s->names[i], *last = kept > 0 ? &s->names[kept - 1] : NULL;

		if (last == NULL || strcmp(last->name, now->name) != 0) {
			s->names[kept++] = *now;
			continue;
		}
		for (int t = 0; t < TYPES; t++)
			if (now->of_type[t] != NULL)
				last->of_type[t] = now->of_type[t];
		free(now->name);
	}
	s->n_names = (unsigned)kept;
}

static unsigned
certificate_group(struct tls_site *s, struct tls_certificate *const of_type[TYPES])
{
	struct group *g;

	for (unsigned i = s->n_groups; i-- > 0;)
		if (memcmp(s->groups[i].of_type, of_type, sizeof(s->groups[i].of_type)) == 0)
			return i;
	s->groups = must_grow(s->groups, s->n_groups + 1, sizeof(*s->groups));
	g = &s->groups[s->n_groups];
	*g = (struct group){ 0 };
	memcpy(g->of_type, of_type, sizeof(g->of_type));
	return s->n_groups++;
}

/* The same in every process: a ticket outlives the one that gave it.  Who comes back by one is not
 * verified again, so none is good once there is another list of those who are revoked. */
static void
bind_site(struct tls_site *s, const struct tls_terms *t, const struct trust_files *f)
{
	unsigned char parts[3 * SHA256_DIGEST_LENGTH + 1];
	size_t n = 2 * SHA256_DIGEST_LENGTH;

	SHA256((const unsigned char *)t->service, strlen(t->service), parts);
	SHA256((const unsigned char *)f->ca.data, f->ca.n, parts + SHA256_DIGEST_LENGTH);
	if (f->crl.n > 0) {
		SHA256((const unsigned char *)f->crl.data, f->crl.n, parts + n);
		n += SHA256_DIGEST_LENGTH;
	}
	parts[n++] = (unsigned char)t->verify;
	SHA256(parts, n, s->bound);
}

static enum err
fill_site(struct tls_site *s, const struct tls_terms *t, struct tls_certificate *const *certificates,
	  size_t n, struct why *why)
{
	struct trust_files f = { .ca = { 0 } };
	enum err e = OK;

	if (t->verify != TLS_VERIFY_NONE && (e = tls_file_read(t->client_ca, false, &f.ca, why)) != OK)
		return e;
	if (t->verify != TLS_VERIFY_NONE && t->crl != NULL && (e = tls_file_read(t->crl, false, &f.crl, why)) != OK) {
		tls_file_free(&f.ca);
		return e;
	}
	bind_site(s, t, &f);
	collect(s, certificates, n);
	for (unsigned i = 0; i < s->n_names; i++)
		s->names[i].group = certificate_group(s, s->names[i].of_type);
	s->fallback = find_exact(s, tls_certificate_facts(certificates[0])->names[0])->group;
	for (unsigned i = 0; i < s->n_groups && e == OK; i++)
		e = make_context(&s->groups[i], t, &f, why);
	s->has_crl = f.crl.n > 0;
	if (e == OK)
		judge_ciphers(s);
	tls_file_free(&f.ca);
	tls_file_free(&f.crl);
	return e;
}

enum err
tls_site_new(const struct tls_terms *terms, struct tls_certificate *const *certificates, size_t n,
	     struct tls_site **out, struct why *why)
{
	struct tls_site *s = must_alloc(sizeof(*s));
	enum err e;

	CHECK(n > 0);
	pthread_once(&prepared, prepare);
	ERR_clear_error();
	s->magic = MAGIC;
	s->refs = 1;
	e = fill_site(s, terms, certificates, n, why);
	if (e != OK)
		tls_site_unref(&s);
	*out = s;
	return e;
}

struct tls_site *
tls_site_ref(struct tls_site *s)
{
	atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
	return s;
}

void
tls_site_unref(struct tls_site **sp)
{
	struct tls_site *s = *sp;

	*sp = NULL;
	if (s == NULL || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) > 1)
		return;
	CHECK(s->magic == MAGIC);
	s->magic = 0;
	for (unsigned i = 0; i < s->n_groups; i++)
		SSL_CTX_free(s->groups[i].context);
	for (unsigned i = 0; i < s->n_names; i++)
		free(s->names[i].name);
	free(s->groups);
	free(s->names);
	free(s->warning);
	free(s);
}

SSL_CTX *
tls_site_context(const struct tls_site *s)
{
	return s->groups[s->fallback].context;
}

/* -- a connection ----------------------------------------------------------- */

/* Who comes back by a name must have been given the ticket by that name and by
 * this service: neither another certificate nor another's idea of who may be a
 * client is inherited. */
static bool
bind_session(SSL *ssl, const struct tls_site *s, const char *name)
{
	unsigned char parts[2 * SHA256_DIGEST_LENGTH], bound[SHA256_DIGEST_LENGTH];

	memcpy(parts, s->bound, sizeof(s->bound));
	SHA256((const unsigned char *)name, strlen(name), parts + sizeof(s->bound));
	SHA256(parts, sizeof(parts), bound);
	return SSL_set_session_id_context(ssl, bound, SSL_MAX_SID_CTX_LENGTH) == 1;
}

struct tls *
tls_accept(const struct tls_site *s, int fd, const char *name, const struct tls_tickets *tickets)
{
	const struct named *named = find_named(s, name);
	struct tls *t;

	tls_forget_errors();
	t = tls_wrap(SSL_new(s->groups[named != NULL ? named->group : s->fallback].context), fd);
	if (t == NULL)
		return NULL;
	t->serves = true;
	t->tickets = tickets;
	if (tickets == NULL) {
		SSL_set_options(t->ssl, SSL_OP_NO_TICKET);
		SSL_set_num_tickets(t->ssl, 0);
	}
	if ((name[0] != '\0' && (t->server_name = strdup(name)) == NULL) || !bind_session(t->ssl, s, name)) {
		tls_free(&t);
		ERR_clear_error();
		return NULL;
	}
	SSL_set_accept_state(t->ssl);
	return t;
}
