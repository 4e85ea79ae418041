/* tls_private.h - private to tls*.c: OpenSSL, and the one struct they share. */
#ifndef NET_TLS_PRIVATE_H
#define NET_TLS_PRIVATE_H

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "net/tls.h"
#include "net/tls_certificate.h"

struct tls_memory;

struct tls {
	SSL *ssl;
	int fd;
	/* What the last call waits for, when it is not the obvious. */
	bool read_wants_write, write_wants_read;
	bool up;	/* the handshake is done */
	bool broken;	/* nothing more may be said */
	bool said_bye;
	bool dry;	/* the last read found nothing more at the descriptor */
	bool serves;	/* our end is the server's */
	bool more;	/* what is written now has company that follows at once */
	bool by_kernel;	/* which may do the cryptography: OpenSSL reads and writes itself */
	unsigned char receives;	/* of the call that is under way */
	bool just_spoke;	/* in the handshake: nothing can have come back yet */
	enum tls_failure failure;
	char *why;	/* owned; NULL: nothing failed, or no memory to say it */
	char *server_name;	/* owned, the server's end */
	char *alpn;	/* owned; NULL: not looked at yet, or none */
	struct tls_peer *peer;	/* owned; NULL: not looked at yet */
	const struct tls_tickets *tickets;	/* the server's end */
	struct tls_memory *memory;	/* the client's end, or NULL */
	struct ev_loop *loop;	/* of again */
	ev_io *watcher;	/* that again tells */
	ev_timer again;	/* active: bytes are pending, and wanted */
};

/* Around ssl, which is consumed.  NULL when memory is out, or ssl is NULL. */
struct tls *tls_wrap(SSL *ssl, int fd);
/* Once a process, before any tls_bio_attach(). */
void tls_bio_make(void);
/* Puts it on its descriptor.  False when memory is out. */
bool tls_bio_attach(struct tls *t);
/* The one behind an SSL, in its callbacks. */
struct tls *tls_of(const SSL *ssl);

/* Clients of TLS 1.2 can be shown one of these certificates (some may be NULL) by
 * the context's ciphers; also when it is of TLS 1.3 alone. */
bool tls_ciphers_fit(SSL_CTX *c, struct tls_certificate *const *certificates, unsigned n);

struct tls_file;
/* The context's clients are refused whose certificates are on one of the file's lists, or whose authorities have none.
 * E_USAGE: why says what is wrong. */
MUST_USE enum err tls_crl_use(SSL_CTX *c, const char *path, const struct tls_file *pem, struct why *why);
/* One of the authorities has no list that is good now, which why says. */
bool tls_crl_lacks(SSL_CTX *c, struct why *why);
/* As tls_site_crl_until(). */
int64_t tls_crl_until(SSL_CTX *c);

/* A certificate's subject or issuer as RFC 2253 writes it, owned by the caller; NULL when
 * memory is out. */
char *tls_name_text(const X509_NAME *name);

/* The context for clients that ask for no name; the site's. */
SSL_CTX *tls_site_context(const struct tls_site *s);

/* What either end's context begins with; NULL when memory is out. */
SSL_CTX *tls_context_new(const SSL_METHOD *method);

/* The first thing OpenSSL complains about; the others are its consequences. */
const char *tls_first_error(void);

/* OpenSSL looks at what is left of old complaints when it is asked about a new
 * one; clearing none costs five times as much as looking. */
static inline void
tls_forget_errors(void)
{
	if (ERR_peek_error() != 0)
		ERR_clear_error();
}

#endif
