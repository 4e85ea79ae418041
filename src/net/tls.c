/* tls.c - OpenSSL behind io.  Any thread. */
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/decoder.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "base/str.h"
#include "net/tls_private.h"

#ifndef TCP_ULP
#define TCP_ULP 31
#endif

const char *
tls_first_error(void)
{
	unsigned long code = ERR_get_error();
	const char *reason = code != 0 ? ERR_reason_error_string(code) : NULL;

	ERR_clear_error();
	return reason != NULL ? reason : "TLS failed";
}

/* The name is that of a protocol among others that TCP can carry; a socket
 * that is not connected is told so only where the kernel knows it. */
bool
tls_kernel_offers(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool offers;

	if (fd < 0)
		return false;
	offers = setsockopt(fd, IPPROTO_TCP, TCP_ULP, "tls", 3) == 0 || errno == ENOTCONN;
	close(fd);
	return offers;
}

/* OpenSSL makes all algorithms of a kind when the first of them is asked for; those for
 * which memory is out then stay missing ("unsupported") until the process ends.  So each kind
 * is asked for here, before there are connections; and what is ours is made as early. */
static void
make_first(void)
{
	EVP_MD_free(EVP_MD_fetch(NULL, "SHA256", NULL));
	EVP_CIPHER_free(EVP_CIPHER_fetch(NULL, "AES-128-GCM", NULL));
	EVP_MAC_free(EVP_MAC_fetch(NULL, "HMAC", NULL));
	EVP_KDF_free(EVP_KDF_fetch(NULL, "HKDF", NULL));
	EVP_RAND_free(EVP_RAND_fetch(NULL, "CTR-DRBG", NULL));
	EVP_KEYMGMT_free(EVP_KEYMGMT_fetch(NULL, "RSA", NULL));
	EVP_KEYEXCH_free(EVP_KEYEXCH_fetch(NULL, "X25519", NULL));
	EVP_SIGNATURE_free(EVP_SIGNATURE_fetch(NULL, "RSA", NULL));
	EVP_ASYM_CIPHER_free(EVP_ASYM_CIPHER_fetch(NULL, "RSA", NULL));
	OSSL_DECODER_free(OSSL_DECODER_fetch(NULL, "RSA", NULL));
	tls_bio_make();
	ERR_clear_error();
}

SSL_CTX *
tls_context_new(const SSL_METHOD *method)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	SSL_CTX *context;

	pthread_once(&once, make_first);
	context = SSL_CTX_new(method);
	if (context == NULL)
		return NULL;
	SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
	SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
	/* Our callers retry from where their buffer is then; and an idle
	 * connection should not hold 34 KiB. */
	SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
					  SSL_MODE_RELEASE_BUFFERS);
#ifdef SSL_OP_ENABLE_KTLS
	/* Where it does not, asking at each connection would be in vain. */
	if (tls_kernel_offers())
		SSL_CTX_set_options(context, SSL_OP_ENABLE_KTLS);
#endif
	return context;
}

struct tls *
tls_wrap(SSL *ssl, int fd)
{
	struct tls *t = ssl != NULL ? calloc(1, sizeof(*t)) : NULL;

	if (t != NULL) {
		t->ssl = ssl;
		t->fd = fd;
	}
	if (t == NULL || SSL_set_app_data(ssl, t) != 1 || !tls_bio_attach(t)) {
		SSL_free(ssl);
		ERR_clear_error();
		free(t);
		return NULL;
	}
	return t;
}

struct tls *
tls_of(const SSL *ssl)
{
	return SSL_get_app_data(ssl);
}

static void
free_peer(struct tls_peer *p)
{
	if (p == NULL)
		return;
	free(p->subject);
	free(p->issuer);
	free(p->serial);
	free(p);
}

void
tls_free(struct tls **tp)
{
	struct tls *t = *tp;

	*tp = NULL;
	if (t == NULL)
		return;
	if (t->loop != NULL)
		ev_timer_stop(t->loop, &t->again);
	/* OpenSSL does not push out a record that is half sent because of this: a
	 * caller may rely on its being lost. */
	t->more = true;
	if (t->up && !t->broken && !t->said_bye)
		(void)SSL_shutdown(t->ssl);
	SSL_free(t->ssl);
	tls_forget_errors();
	free_peer(t->peer);
	free(t->alpn);
	free(t->server_name);
	free(t->why);
	free(t);
}

/* -- failures --------------------------------------------------------------- */

PRINTF_LIKE(3, 4)
static int
tls_fail(struct tls *t, int error, const char *fmt, ...)
{
	va_list ap;

	t->broken = true;
	if (t->why == NULL) {
		va_start(ap, fmt);
		if (vasprintf(&t->why, fmt, ap) < 0)
			t->why = NULL;
		va_end(ap);
	}
	ERR_clear_error();
	errno = error;
	return -1;
}

/* The peer showed no certificate, though it was asked for one. */
static bool
is_without_certificate(unsigned long code)
{
	switch (ERR_GET_REASON(code)) {
	case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
	case SSL_R_NO_CERTIFICATES_RETURNED:
		return true;
	}
	return false;
}

/* Where OpenSSL was refused memory it says so, or only what could not be done then;
 * malloc(3) has left its errno in any case. */
static bool
is_out_of_memory(int saved)
{
	return saved == ENOMEM || ERR_GET_REASON(ERR_peek_error()) == ERR_R_MALLOC_FAILURE ||
	       ERR_GET_REASON(ERR_peek_last_error()) == ERR_R_MALLOC_FAILURE;
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
	if (is_out_of_memory(saved)) {
		t->failure = TLS_MEMORY;
		return tls_fail(t, ENOMEM, "out of memory");
	}
	code = ERR_peek_error();
	if (!t->up && ((verdict != X509_V_OK && (SSL_get_verify_mode(t->ssl) & SSL_VERIFY_PEER)) ||
		       is_without_certificate(code))) {
		t->failure = TLS_CERTIFICATE;
		if (verdict == X509_V_OK)
			return tls_fail(t, EPROTO, "it showed no certificate");
		return tls_fail(t, EPROTO, "its certificate is not accepted: %s",
				X509_verify_cert_error_string(verdict));
	}
	if (error == SSL_ERROR_SYSCALL && saved != 0) {
		t->failure = TLS_GONE;
		return tls_fail(t, saved, "%s", strerror(saved));
	}
	if (error == SSL_ERROR_SYSCALL || ERR_GET_REASON(code) == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
		t->failure = TLS_GONE;
		return tls_fail(t, ECONNRESET, "%s",
				t->up ? "connection closed" : "connection closed during the TLS handshake");
	}
	return tls_fail(t, EPROTO, "TLS: %s", tls_first_error());
}

static bool
is_broken(const struct tls *t)
{
	errno = t->failure == TLS_MEMORY ? ENOMEM : EPROTO;
	return t->broken;
}

const char *
tls_why(const struct tls *t)
{
	return t->why != NULL ? t->why : t->broken ? "TLS failed" : "";
}

enum tls_failure
tls_failure(const struct tls *t)
{
	return t->failure;
}

/* -- moving bytes ----------------------------------------------------------- */

int
tls_handshake(struct tls *t)
{
	int rc;

	if (is_broken(t))
		return -1;
	tls_forget_errors();
	errno = 0;
	t->receives = 0;
	if ((rc = SSL_do_handshake(t->ssl)) == 1) {
		t->up = true;
		t->just_spoke = false;
		t->read_wants_write = false;
		return 1;
	}
	if (failed(t, rc, SSL_ERROR_WANT_WRITE, &t->read_wants_write) < 0)
		return errno == EAGAIN ? 0 : -1;
	t->failure = TLS_GONE;
	return tls_fail(t, ECONNRESET, "connection closed during the TLS handshake");
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
	tls_forget_errors();
	errno = 0;
	t->dry = false;
	t->receives = 0;
	if ((rc = SSL_read(t->ssl, p, clip(n))) > 0) {
		t->read_wants_write = false;
		return rc;
	}
	t->dry |= t->by_kernel;
	return failed(t, rc, SSL_ERROR_WANT_WRITE, &t->read_wants_write);
}

/* OpenSSL writes a record at a time. */
ssize_t
tls_write(struct tls *t, const void *p, size_t n, bool more)
{
	size_t sent = 0;

	if (is_broken(t))
		return -1;
	tls_forget_errors();
	do {
		int rc;

		errno = 0;
		t->more = more || n - sent > SSL3_RT_MAX_PLAIN_LENGTH;
		if ((rc = SSL_write(t->ssl, (const char *)p + sent, clip(n - sent))) > 0) {
			t->write_wants_read = false;
			sent += (size_t)rc;
			continue;
		}
		if (failed(t, rc, SSL_ERROR_WANT_READ, &t->write_wants_read) == 0)
			errno = EPIPE;	/* the peer has said goodbye */
		if (sent > 0 && errno == EAGAIN)
			break;
		t->more = false;
		return -1;
	} while (sent < n);
	/* Nor is what OpenSSL says of itself to wait. */
	t->more = false;
	return (ssize_t)sent;
}

int
tls_shutdown(struct tls *t)
{
	int rc;

	if (is_broken(t))
		return -1;
	if (t->said_bye || !t->up)
		return 1;
	tls_forget_errors();
	errno = 0;
	/* The end of the stream follows. */
	t->more = true;
	/* 0: said, not answered. */
	if ((rc = SSL_shutdown(t->ssl)) >= 0) {
		t->said_bye = true;
		return 1;
	}
	if (failed(t, rc, SSL_ERROR_WANT_READ, &t->write_wants_read) < 0 && errno == EAGAIN)
		return 0;
	/* A peer that has sent its close_notify need not wait for ours: many do not. */
	return SSL_get_shutdown(t->ssl) & SSL_RECEIVED_SHUTDOWN ? 1 : -1;
}

void
tls_abandon(struct tls *t)
{
	t->broken = true;
}

bool
tls_pending(const struct tls *t)
{
	return !t->broken && !t->dry && SSL_has_pending(t->ssl);
}

/* As tls_read(), of a byte that stays: 1 it is there, 0 the end, -1 with errno. */
static ssize_t
look_at_handshake(struct tls *t)
{
	char byte;
	int rc;

	if (t->broken) {
		errno = EPROTO;
		return -1;
	}
	tls_forget_errors();
	errno = 0;
	t->dry = t->just_spoke = false;
	t->receives = 0;
	rc = SSL_peek(t->ssl, &byte, 1);
	if (rc > 0)
		return 1;
	t->dry |= t->by_kernel;
	return failed(t, rc, SSL_ERROR_WANT_WRITE, &t->read_wants_write);
}

bool
tls_is_quiet(struct tls *t)
{
	return look_at_handshake(t) < 0 && errno == EAGAIN && !t->read_wants_write &&
	       !SSL_has_pending(t->ssl);
}

bool
tls_has_ended(struct tls *t)
{
	ssize_t n = look_at_handshake(t);

	return n == 0 || (n < 0 && errno != EAGAIN);
}

int
tls_interest(const struct tls *t, int events)
{
	return (events & EV_READ ? t->read_wants_write ? EV_WRITE : EV_READ : 0) |
	       (events & EV_WRITE ? t->write_wants_read ? EV_READ : EV_WRITE : 0);
}

int
tls_allows(const struct tls *t, int events)
{
	return events | (t->read_wants_write && (events & EV_WRITE) ? EV_READ : 0) |
	       (t->write_wants_read && (events & EV_READ) ? EV_WRITE : 0);
}

static void
tls_on_again(struct ev_loop *loop, ev_timer *w, int revents)
{
	struct tls *t = container_of(w, struct tls, again);

	(void)revents;
	ev_feed_event(loop, t->watcher, EV_READ);
}

void
tls_remind(struct tls *t, struct ev_loop *loop, ev_io *watcher, bool wanted)
{
	if (t->loop != NULL)
		ev_timer_stop(t->loop, &t->again);
	if (!wanted || !t->up || !tls_pending(t))
		return;
	t->loop = loop;
	t->watcher = watcher;
	ev_timer_init(&t->again, tls_on_again, 0.0, 0.0);
	ev_timer_start(loop, &t->again);
}

bool
tls_can_splice_from(const struct tls *t)
{
	return !t->broken && BIO_get_ktls_recv(SSL_get_rbio(t->ssl)) && !SSL_has_pending(t->ssl);
}

bool
tls_can_splice_to(const struct tls *t)
{
	return !t->broken && BIO_get_ktls_send(SSL_get_wbio(t->ssl));
}

/* -- what was agreed -------------------------------------------------------- */

static char *
serial_text(X509 *x)
{
	BIGNUM *n = ASN1_INTEGER_to_BN(X509_get0_serialNumber(x), NULL);
	char *hex = n != NULL ? BN_bn2hex(n) : NULL, *text = hex != NULL ? strdup(hex) : NULL;

	OPENSSL_free(hex);
	BN_free(n);
	return text;
}

static struct tls_peer *
look_at_peer(const SSL *ssl, X509 *x)
{
	struct tls_peer *p = calloc(1, sizeof(*p));
	unsigned char digest[EVP_MAX_MD_SIZE];
	long verdict = SSL_get_verify_result(ssl);
	unsigned n = 0;

	if (p == NULL)
		return NULL;
	p->subject = tls_name_text(X509_get_subject_name(x));
	p->issuer = tls_name_text(X509_get_issuer_name(x));
	p->serial = serial_text(x);
	if (X509_digest(x, EVP_sha256(), digest, &n) == 1)
		for (unsigned i = 0; i < n && 2 * i + 2 < sizeof(p->fingerprint); i++)
			snprintf(p->fingerprint + 2 * i, 3, "%02x", digest[i]);
	if (p->subject == NULL || p->issuer == NULL || p->serial == NULL) {
		free_peer(p);
		return NULL;
	}
	p->verified = verdict == X509_V_OK ? "ok" : X509_verify_cert_error_string(verdict);
	return p;
}

void
tls_facts(struct tls *t, struct tls_facts *out)
{
	X509 *x = SSL_get0_peer_certificate(t->ssl);
	const unsigned char *alpn;
	unsigned n;

	SSL_get0_alpn_selected(t->ssl, &alpn, &n);
	if (t->alpn == NULL && n > 0)
		t->alpn = str_dup((struct str){ (const char *)alpn, n });
	if (t->peer == NULL && x != NULL)
		t->peer = look_at_peer(t->ssl, x);
	*out = (struct tls_facts){
		.server_name = t->server_name != NULL ? t->server_name : "",
		.protocol = SSL_get_version(t->ssl),
		.cipher = SSL_get_cipher_name(t->ssl),
		.alpn = t->alpn != NULL ? t->alpn : "",
		.resumed = SSL_session_reused(t->ssl) == 1,
		.peer = t->peer,
	};
	tls_forget_errors();
}

bool
tls_speaks(const struct tls *t, const char *protocol)
{
	const unsigned char *alpn;
	unsigned n;

	SSL_get0_alpn_selected(t->ssl, &alpn, &n);
	return n == strlen(protocol) && memcmp(alpn, protocol, n) == 0;
}

bool
tls_is_1_3(const struct tls *t)
{
	return SSL_version(t->ssl) == TLS1_3_VERSION;
}

bool
tls_is_resumed(const struct tls *t)
{
	return SSL_session_reused(t->ssl) == 1;
}

const char *
tls_server_name(const struct tls *t)
{
	return t->server_name != NULL ? t->server_name : "";
}
