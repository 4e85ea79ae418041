/* secure.c - OpenSSL for both ends of a test.  Any thread. */
#include <arpa/inet.h>
#include <errno.h>
#include <ev.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#include "app/tealbench/secure.h"
#include "base/check.h"

/* Good for as long as any test lasts. */
#define CERTIFICATE_DAYS 30

static const char *
reason(void)
{
	const char *text = ERR_reason_error_string(ERR_peek_last_error());

	return text != NULL ? text : "unknown reason";
}

static void
set_options(SSL_CTX *context)
{
	SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
	SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION);
	SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
					  SSL_MODE_RELEASE_BUFFERS);
}

/* Called by OpenSSL with each session a server offers; 1: we keep it. */
static int
on_session(SSL *s, SSL_SESSION *session)
{
	struct ssl_session_st **keep = SSL_get_app_data(s);

	if (keep == NULL)
		return 0;
	secure_session_free(keep);
	*keep = session;
	return 1;
}

enum err
secure_client_context(const char *ca, bool insecure, bool resume, struct ssl_ctx_st **out, struct why *why)
{
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());
	bool good;

	CHECK(context != NULL);
	set_options(context);
	SSL_CTX_set_verify(context, insecure ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_session_cache_mode(context, resume ? SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL :
							 SSL_SESS_CACHE_OFF);
	if (resume)
		SSL_CTX_sess_set_new_cb(context, on_session);
	ERR_clear_error();
	good = insecure || (ca != NULL ? SSL_CTX_load_verify_locations(context, ca, NULL) == 1 :
					 SSL_CTX_set_default_verify_paths(context) == 1);
	if (!good) {
		SSL_CTX_free(context);
		return why_set(why, E_USAGE, "--ca=%s: %s", ca != NULL ? ca : "", reason());
	}
	*out = context;
	return OK;
}

static bool
extend(X509 *x, int nid, const char *value)
{
	X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, nid, value);
	bool good = e != NULL && X509_add_ext(x, e, -1) == 1;

	X509_EXTENSION_free(e);
	return good;
}

static bool
make_certificate(SSL_CTX *context, const char *name)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *x = X509_new();
	char names[128];
	bool good = key != NULL && x != NULL;

	/* A dot at an end is no host name; the others still are. */
	snprintf(names, sizeof(names), "DNS:localhost,DNS:%s,IP:127.0.0.1", name);
	good = good && X509_set_version(x, X509_VERSION_3) == 1 &&
	       ASN1_INTEGER_set(X509_get_serialNumber(x), 1) == 1 &&
	       X509_gmtime_adj(X509_getm_notBefore(x), -3600) != NULL &&
	       X509_gmtime_adj(X509_getm_notAfter(x), CERTIFICATE_DAYS * 86400L) != NULL &&
	       X509_set_pubkey(x, key) == 1 &&
	       X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
					  (const unsigned char *)name, -1, -1, 0) == 1 &&
	       X509_set_issuer_name(x, X509_get_subject_name(x)) == 1 &&
	       extend(x, NID_subject_alt_name, names) && extend(x, NID_basic_constraints, "CA:TRUE") &&
	       X509_sign(x, key, EVP_sha256()) > 0 && SSL_CTX_use_certificate(context, x) == 1 &&
	       SSL_CTX_use_PrivateKey(context, key) == 1;
	X509_free(x);
	EVP_PKEY_free(key);
	return good;
}

enum err
secure_server_context(const char *cert, const char *key, const char *name, struct ssl_ctx_st **out,
		      struct why *why)
{
	SSL_CTX *context = SSL_CTX_new(TLS_server_method());

	CHECK(context != NULL);
	set_options(context);
	SSL_CTX_set_session_id_context(context, (const unsigned char *)"tealbench", 9);
	ERR_clear_error();
	*out = context;
	if (cert == NULL && make_certificate(context, name))
		return OK;
	if (cert == NULL)
		why_set(why, E_INTERNAL, "no certificate could be made: %s", reason());
	else if (SSL_CTX_use_certificate_chain_file(context, cert) != 1)
		why_set(why, E_USAGE, "--cert=%s: %s", cert, reason());
	else if (SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1 ||
		 SSL_CTX_check_private_key(context) != 1)
		why_set(why, E_USAGE, "--key=%s: %s", key, reason());
	else
		return OK;
	secure_context_free(out);
	return E_USAGE;
}

void
secure_context_free(struct ssl_ctx_st **context)
{
	SSL_CTX_free(*context);
	*context = NULL;
}

static bool
is_ip(const char *host)
{
	unsigned char raw[16];

	return inet_pton(AF_INET, host, raw) == 1 || inet_pton(AF_INET6, host, raw) == 1;
}

struct ssl_st *
secure_connect(struct ssl_ctx_st *context, int fd, const char *host, struct ssl_session_st **keep)
{
	SSL *s = SSL_new(context);
	bool good;

	if (s == NULL)
		return NULL;
	good = SSL_set_fd(s, fd) == 1;
	/* An address is no server name (RFC 6066 section 3). */
	if (host != NULL && is_ip(host))
		good = good && X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(s), host) == 1;
	else if (host != NULL)
		good = good && SSL_set_tlsext_host_name(s, host) == 1 && SSL_set1_host(s, host) == 1;
	SSL_set_app_data(s, keep);
	if (keep != NULL && *keep != NULL)
		good = good && SSL_set_session(s, *keep) == 1;
	SSL_set_connect_state(s);
	if (!good) {
		SSL_free(s);
		return NULL;
	}
	return s;
}

struct ssl_st *
secure_accept(struct ssl_ctx_st *context, int fd)
{
	SSL *s = SSL_new(context);

	if (s == NULL || SSL_set_fd(s, fd) != 1) {
		SSL_free(s);
		return NULL;
	}
	SSL_set_accept_state(s);
	return s;
}

void
secure_free(struct ssl_st **sp)
{
	/* Without a goodbye OpenSSL would call the session broken, and it could
	 * not be resumed. */
	if (*sp != NULL && SSL_is_init_finished(*sp)) {
		ERR_clear_error();
		SSL_shutdown(*sp);
	}
	SSL_free(*sp);
	*sp = NULL;
}

void
secure_session_free(struct ssl_session_st **session)
{
	SSL_SESSION_free(*session);
	*session = NULL;
}

/* After a call that did not do it: errno as recv(2) has it. */
static int
errno_of_result(SSL *s, int result)
{
	int failed = errno, why = SSL_get_error(s, result);

	switch (why) {
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE:
		errno = EAGAIN;
		break;
	case SSL_ERROR_SYSCALL:
		errno = failed != 0 ? failed : ECONNRESET;
		break;
	default:
		errno = ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING ? ECONNRESET :
												 EPROTO;
	}
	return why;
}

int
secure_handshake(struct ssl_st *s, int *events)
{
	int n;

	ERR_clear_error();
	errno = 0;
	if ((n = SSL_do_handshake(s)) == 1)
		return 1;
	switch (errno_of_result(s, n)) {
	case SSL_ERROR_WANT_READ:
		*events = EV_READ;
		return 0;
	case SSL_ERROR_WANT_WRITE:
		*events = EV_WRITE;
		return 0;
	}
	return -1;
}

bool
secure_resumed(struct ssl_st *s)
{
	return SSL_session_reused(s);
}

ssize_t
secure_read(struct ssl_st *s, void *p, size_t n)
{
	int got;

	ERR_clear_error();
	errno = 0;
	if ((got = SSL_read(s, p, n < INT_MAX ? (int)n : INT_MAX)) > 0)
		return got;
	return errno_of_result(s, got) == SSL_ERROR_ZERO_RETURN ? 0 : -1;
}

ssize_t
secure_write(struct ssl_st *s, const void *p, size_t n)
{
	int sent;

	ERR_clear_error();
	errno = 0;
	if ((sent = SSL_write(s, p, n < INT_MAX ? (int)n : INT_MAX)) > 0)
		return sent;
	if (errno_of_result(s, sent) == SSL_ERROR_ZERO_RETURN)
		errno = EPIPE;
	return -1;
}

bool
secure_end(struct ssl_st *s)
{
	ERR_clear_error();
	return SSL_shutdown(s) >= 0;
}

bool
secure_offer(SSL_CTX *context, const char *protocol)
{
	unsigned char wire[256];
	size_t n = strlen(protocol);

	CHECK(n < sizeof(wire));
	wire[0] = (unsigned char)n;
	memcpy(wire + 1, protocol, n);
	return SSL_CTX_set_alpn_protos(context, wire, (unsigned)n + 1) == 0;
}

bool
secure_speaks(SSL *s, const char *protocol)
{
	const unsigned char *chosen;
	unsigned n;

	SSL_get0_alpn_selected(s, &chosen, &n);
	return n == strlen(protocol) && memcmp(chosen, protocol, n) == 0;
}
