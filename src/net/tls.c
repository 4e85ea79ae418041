/* tls.c - OpenSSL behind io.  Any thread. */
#include <errno.h>
#include <ev.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "net/addr.h"
#include "net/tls.h"

struct tls {
	SSL *ssl;
	/* What the last call waits for, when it is not the obvious. */
	bool read_wants_write, write_wants_read;
	bool up;	/* the handshake is done */
	bool broken;	/* nothing more may be said */
	char why[256];
};

/* The first thing OpenSSL complains about; the others are its consequences. */
static const char *
first_error(void)
{
	unsigned long code = ERR_get_error();
	const char *reason = code != 0 ? ERR_reason_error_string(code) : NULL;

	ERR_clear_error();
	return reason != NULL ? reason : "TLS failed";
}

enum err
tls_client_context(const char *ca, struct ssl_ctx_st **out, struct why *why)
{
	SSL_CTX *context;
	enum err e = OK;
	struct stat st;

	*out = NULL;
	/* A FIFO would keep us here. */
	if (ca != NULL && (stat(ca, &st) != 0 || !S_ISREG(st.st_mode)))
		return why_set(why, E_USAGE, "cannot read certificates from %.256s: %s", ca,
			       stat(ca, &st) != 0 ? strerror(errno) : "it is not a plain file");
	ERR_clear_error();
	if ((context = SSL_CTX_new(TLS_client_method())) == NULL)
		return why_set(why, E_INTERNAL, "cannot set up TLS: %s", first_error());
	SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
	SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
	/* Our callers retry from where their buffer is then; and an idle
	 * connection should not hold 34 KiB. */
	SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
					  SSL_MODE_RELEASE_BUFFERS);
	if (ca == NULL && SSL_CTX_set_default_verify_paths(context) != 1)
		e = why_set(why, E_USAGE, "cannot read the system's certificates: %s", first_error());
	else if (ca != NULL && SSL_CTX_load_verify_file(context, ca) != 1)
		e = why_set(why, E_USAGE, "cannot read certificates from %.256s: %s", ca, first_error());
	if (e == OK)
		*out = context;
	else
		SSL_CTX_free(context);
	return e;
}

void
tls_context_free(struct ssl_ctx_st **context)
{
	SSL_CTX_free(*context);
	*context = NULL;
}

struct tls *
tls_connect(struct ssl_ctx_st *context, int fd, const char *host)
{
	struct tls *t = calloc(1, sizeof(*t));
	struct addr ip;
	int ok;

	ERR_clear_error();
	if (t == NULL || (t->ssl = SSL_new(context)) == NULL) {
		free(t);
		return NULL;
	}
	ok = SSL_set_fd(t->ssl, fd);
	if (addr_parse_ip(host, 0, &ip)) {
		ok &= X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(t->ssl), host);
	} else {
		SSL_set_hostflags(t->ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
		ok &= SSL_set1_host(t->ssl, host);
		ok &= (int)SSL_set_tlsext_host_name(t->ssl, host);
	}
	SSL_set_connect_state(t->ssl);
	if (ok != 1) {
		SSL_free(t->ssl);
		free(t);
		ERR_clear_error();
		return NULL;
	}
	return t;
}

void
tls_free(struct tls **tp)
{
	struct tls *t = *tp;

	*tp = NULL;
	if (t == NULL)
		return;
	/* OpenSSL does not push out a record that is half sent because of this: a
	 * caller may rely on its being lost. */
	if (t->up && !t->broken)
		(void)SSL_shutdown(t->ssl);
	SSL_free(t->ssl);
	ERR_clear_error();
	free(t);
}

/* Why a call of OpenSSL did not succeed; -1 with errno, or 0 at the end of
 * the stream.  *crossed: it waits for the other direction. */
static int
failed(struct tls *t, int rc, int crossing, bool *crossed)
{
	int saved = errno, error = SSL_get_error(t->ssl, rc);
	long verdict = SSL_get_verify_result(t->ssl);
	unsigned long code;

	*crossed = error == crossing;
	if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) {
		errno = EAGAIN;
		return -1;
	}
	if (error == SSL_ERROR_ZERO_RETURN)
		return 0;
	t->broken = true;
	code = ERR_peek_error();
	if (!t->up && verdict != X509_V_OK) {
		snprintf(t->why, sizeof(t->why), "its certificate is not accepted: %s",
			 X509_verify_cert_error_string(verdict));
		saved = EPROTO;
	} else if (error == SSL_ERROR_SYSCALL && saved != 0) {
		snprintf(t->why, sizeof(t->why), "%s", strerror(saved));
	} else if (error == SSL_ERROR_SYSCALL || ERR_GET_REASON(code) == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
		snprintf(t->why, sizeof(t->why), "%s",
			 t->up ? "connection closed" : "connection closed during the TLS handshake");
		saved = ECONNRESET;
	} else {
		snprintf(t->why, sizeof(t->why), "TLS: %s", first_error());
		saved = EPROTO;
	}
	ERR_clear_error();
	errno = saved;
	return -1;
}

static bool
is_broken(const struct tls *t)
{
	errno = EPROTO;
	return t->broken;
}

int
tls_handshake(struct tls *t)
{
	int rc;

	if (is_broken(t))
		return -1;
	ERR_clear_error();
	errno = 0;
	if ((rc = SSL_do_handshake(t->ssl)) == 1) {
		t->up = true;
		t->read_wants_write = false;
		return 1;
	}
	if (failed(t, rc, SSL_ERROR_WANT_WRITE, &t->read_wants_write) < 0 && errno == EAGAIN)
		return 0;
	if (!t->broken)
		snprintf(t->why, sizeof(t->why), "connection closed during the TLS handshake");
	t->broken = true;
	return -1;
}

static int
clip(size_t n)
{
	return n > INT_MAX ? INT_MAX : (int)n;
}

ssize_t
tls_read(struct tls *t, void *p, size_t n)
{
	int rc;

	if (is_broken(t))
		return -1;
	ERR_clear_error();
	errno = 0;
	if ((rc = SSL_read(t->ssl, p, clip(n))) > 0) {
		t->read_wants_write = false;
		return rc;
	}
	return failed(t, rc, SSL_ERROR_WANT_WRITE, &t->read_wants_write);
}

ssize_t
tls_write(struct tls *t, const void *p, size_t n)
{
	int rc;

	if (is_broken(t))
		return -1;
	ERR_clear_error();
	errno = 0;
	if ((rc = SSL_write(t->ssl, p, clip(n))) > 0) {
		t->write_wants_read = false;
		return rc;
	}
	if (failed(t, rc, SSL_ERROR_WANT_READ, &t->write_wants_read) == 0)
		errno = EPIPE;	/* the peer has said goodbye */
	return -1;
}

bool
tls_pending(const struct tls *t)
{
	return !t->broken && SSL_pending(t->ssl) > 0;
}

int
tls_interest(const struct tls *t, int events)
{
	return (events & EV_READ ? t->read_wants_write ? EV_WRITE : EV_READ : 0) |
	       (events & EV_WRITE ? t->write_wants_read ? EV_READ : EV_WRITE : 0);
}

const char *
tls_why(const struct tls *t)
{
	return t->why;
}
