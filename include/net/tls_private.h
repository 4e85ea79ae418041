/* tls_private.h - private to tls*.c: OpenSSL, and the one struct they share. */
#ifndef NET_TLS_PRIVATE_H
#define NET_TLS_PRIVATE_H

#include <openssl/ssl.h>

#include "net/tls.h"

struct tls_memory;

struct tls {
	SSL *ssl;
	/* What the last call waits for, when it is not the obvious. */
	bool read_wants_write, write_wants_read;
	bool up;	/* the handshake is done */
	bool broken;	/* nothing more may be said */
	bool said_bye;
	bool dry;	/* the last read found too little for a record */
	bool serves;	/* our end is the server's */
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
/* The one behind an SSL, in its callbacks. */
struct tls *tls_of(const SSL *ssl);

/* What either end's context begins with; NULL when memory is out. */
SSL_CTX *tls_context_new(const SSL_METHOD *method);

/* The first thing OpenSSL complains about; the others are its consequences. */
const char *tls_first_error(void);

#endif
