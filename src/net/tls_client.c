/* tls_client.c - the client's end: whom we believe, and who we say we are.
 * Any thread. */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "net/addr.h"
#include "net/tls_client.h"
#include "net/tls_private.h"

/* Called when the server has given us something to come back with. */
static int
on_new_session(SSL *ssl, SSL_SESSION *session)
{
	struct tls *t = tls_of(ssl);

	if (t == NULL || t->memory == NULL || t->broken)
		return 0;
	tls_memory_forget(t->memory);
	t->memory->session = session;
	t->memory->context = tls_context_ref(SSL_get_SSL_CTX(ssl));
	return 1;	/* it is ours */
}

void
tls_memory_forget(struct tls_memory *m)
{
	SSL_SESSION_free(m->session);
	SSL_CTX_free(m->context);
	*m = (struct tls_memory){ 0 };
}

static enum err
load_ca_pem(SSL_CTX *context, const char *pem, struct why *why)
{
	BIO *memory = BIO_new_mem_buf(pem, -1);
	unsigned n = 0;
	bool good = memory != NULL;
	X509 *x;

	while (good && (x = PEM_read_bio_X509(memory, NULL, NULL, NULL)) != NULL) {
		good = X509_STORE_add_cert(SSL_CTX_get_cert_store(context), x) == 1;
		X509_free(x);
		n++;
	}
	BIO_free(memory);
	/* The end of the text is an error of its own, which says nothing. */
	if (good && n > 0) {
		ERR_clear_error();
		return OK;
	}
	return why_set(why, E_USAGE, "the authorities' certificates cannot be read: %s", tls_first_error());
}

static enum err
load_ca(SSL_CTX *context, const char *ca, struct why *why)
{
	struct stat st;

	if (ca == NULL) {
		if (SSL_CTX_set_default_verify_paths(context) == 1)
			return OK;
		return why_set(why, E_USAGE, "cannot read the system's certificates: %s", tls_first_error());
	}
	/* A FIFO would keep us here. */
	if (stat(ca, &st) != 0 || !S_ISREG(st.st_mode))
		return why_set(why, E_USAGE, "cannot read certificates from %.256s: %s", ca,
			       stat(ca, &st) != 0 ? strerror(errno) : "it is not a plain file");
	if (SSL_CTX_load_verify_file(context, ca) == 1)
		return OK;
	return why_set(why, E_USAGE, "cannot read certificates from %.256s: %s", ca, tls_first_error());
}

/* Each name behind its length, which takes the place of the comma before it. */
static unsigned
alpn_in_wire_form(const char *alpn, unsigned char wire[256])
{
	size_t n = strlen(alpn), from = 0;

	CHECK(n > 0 && n < 256);
	for (size_t i = 0; i <= n; i++)
		if (alpn[i] == ',' || alpn[i] == '\0') {
			wire[from] = (unsigned char)(i - from);
			from = i + 1;
		} else {
			wire[i + 1] = (unsigned char)alpn[i];
		}
	return (unsigned)n + 1;
}

static bool
client_set_alpn(SSL_CTX *context, const char *alpn)
{
	unsigned char wire[256];
	unsigned n = alpn_in_wire_form(alpn, wire);

	return SSL_CTX_set_alpn_protos(context, wire, n) == 0;
}

enum err
tls_client_context(const struct tls_client_options *o, struct ssl_ctx_st **out, struct why *why)
{
	SSL_CTX *context;
	enum err e = OK;

	*out = NULL;
	ERR_clear_error();
	if ((context = tls_context_new(TLS_client_method())) == NULL)
		return why_set(why, E_INTERNAL, "cannot set up TLS: %s", tls_first_error());
	SSL_CTX_set_verify(context, o->blind ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(context, on_new_session);
	if (!o->blind)
		e = o->ca_pem != NULL ? load_ca_pem(context, o->ca_pem, why) : load_ca(context, o->ca, why);
	if (e == OK && o->alpn != NULL && !client_set_alpn(context, o->alpn))
		e = why_set(why, E_INTERNAL, "cannot set up TLS: %s", tls_first_error());
	if (e == OK)
		*out = context;
	else
		SSL_CTX_free(context);
	return e;
}

struct ssl_ctx_st *
tls_context_ref(struct ssl_ctx_st *context)
{
	if (context != NULL)
		SSL_CTX_up_ref(context);
	return context;
}

void
tls_context_free(struct ssl_ctx_st **context)
{
	SSL_CTX_free(*context);
	*context = NULL;
}

/* Whom the certificate must name, and whom we ask for. */
static bool
expect(SSL *ssl, const char *host)
{
	struct addr ip;

	if (addr_parse_ip(host, 0, &ip))
		return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1;
	SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	return SSL_set1_host(ssl, host) == 1 && SSL_set_tlsext_host_name(ssl, host) == 1;
}

struct tls *
tls_connect(struct ssl_ctx_st *context, int fd, const char *host, struct tls_memory *memory)
{
	struct tls *t;

	ERR_clear_error();
	if ((t = tls_wrap(SSL_new(context), fd)) == NULL)
		return NULL;
	if (!expect(t->ssl, host)) {
		tls_free(&t);
		return NULL;
	}
	SSL_set_connect_state(t->ssl);
	t->memory = memory;
	if (memory != NULL && memory->session != NULL && memory->context == context)
		(void)SSL_set_session(t->ssl, memory->session);
	ERR_clear_error();
	return t;
}

bool
tls_offer(struct tls *t, const char *protocols)
{
	unsigned char wire[256];
	unsigned n = alpn_in_wire_form(protocols, wire);

	return SSL_set_alpn_protos(t->ssl, wire, n) == 0;
}
