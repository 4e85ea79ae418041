/* tls.h - TLS for io: one end of one connection, by OpenSSL.
 * Users speak to io.h, which asks here when a connection has TLS: that alone
 * knows that a read may have to wait for room to write, and the reverse.  The
 * process ignores SIGPIPE.  Any thread, one at a time; contexts are shared. */
#ifndef NET_TLS_H
#define NET_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"

struct ssl_ctx_st;	/* SSL_CTX */
struct tls;

/* What all connections of one client share: TLS 1.2 or later, and who may vouch
 * for a server: the PEM certificates of the file ca, or with NULL those the
 * system trusts.  OK: *out is the caller's.  E_USAGE: why says what is wrong
 * with the file.  Blocks as file systems do. */
MUST_USE enum err tls_client_context(const char *ca, struct ssl_ctx_st **out, struct why *why);
void tls_context_free(struct ssl_ctx_st **context);

/* The client's end on a connected socket.  host: the name or the IP address
 * that the server's certificate must carry.  NULL when memory is out. */
struct tls *tls_connect(struct ssl_ctx_st *context, int fd, const char *host);
/* Says goodbye unless something went wrong, and frees; the descriptor stays. */
void tls_free(struct tls **tp);

/* 1: done.  0: wait for what tls_interest(t, EV_READ) says.  -1: failed, see
 * tls_why(). */
int tls_handshake(struct tls *t);

/* As recv(2) and send(2); a failure that is TLS's has errno EPROTO.  A stream
 * cut off without TLS's goodbye is an error as well. */
ssize_t tls_read(struct tls *t, void *p, size_t n);
ssize_t tls_write(struct tls *t, const void *p, size_t n);
/* Bytes that were received and decrypted but not read: no event will tell. */
bool tls_pending(const struct tls *t);
/* What the descriptor must be watched for so that reading (EV_READ) and
 * writing (EV_WRITE) go on. */
int tls_interest(const struct tls *t, int events);
/* How it failed, in words; "" when it has not. */
const char *tls_why(const struct tls *t);

#endif
