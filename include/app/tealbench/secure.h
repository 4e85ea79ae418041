/* secure.h - TLS for both ends of a test, straight on OpenSSL: what is being
 * tested has its own (net/tls.h), and a mistake there must not be in both.
 * Descriptors are non-blocking.  Any thread, one connection at a time;
 * contexts are shared. */
#ifndef APP_TEALBENCH_SECURE_H
#define APP_TEALBENCH_SECURE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"

struct ssl_st;	/* SSL */
struct ssl_ctx_st;	/* SSL_CTX */
struct ssl_session_st;	/* SSL_SESSION */

/* A client's context.  ca: a PEM file of who may vouch for the server; NULL:
 * whom the system trusts.  insecure: no verification.  resume: sessions
 * that servers offer are put where secure_connect() was told.  E_USAGE with the sentence. */
MUST_USE enum err
secure_client_context(const char *ca, bool insecure, bool resume, struct ssl_ctx_st **out, struct why *why);
/* A server's, with a certificate and its key in PEM files, or with NULL a key
 * and a certificate made up on the spot, signed by itself, for that name,
 * localhost and 127.0.0.1. */
MUST_USE enum err secure_server_context(const char *cert, const char *key, const char *name,
					struct ssl_ctx_st **out, struct why *why);
/* Its handshakes name that one protocol (ALPN), at most 255 bytes; false: memory is out. */
MUST_USE bool secure_offer(struct ssl_ctx_st *context, const char *protocol);
/* After a handshake: was that one agreed to? */
bool secure_speaks(struct ssl_st *s, const char *protocol);
void secure_context_free(struct ssl_ctx_st **context);

/* One end on a connected socket.  host, client only: the server name to send
 * and to find in the certificate; NULL: none is sent, none is looked for.
 * session: one to resume, or NULL.  keep: where a new session that the server
 * offers is put, replacing (and freeing) the one there; NULL: nowhere.
 * NULL when memory is out. */
struct ssl_st *
secure_connect(struct ssl_ctx_st *context, int fd, const char *host, struct ssl_session_st **keep);
struct ssl_st *secure_accept(struct ssl_ctx_st *context, int fd);
/* Says goodbye unless something went wrong, and frees; the descriptor stays. */
void secure_free(struct ssl_st **sp);
void secure_session_free(struct ssl_session_st **session);

/* 1: done.  0: wait for *events (EV_READ or EV_WRITE).  -1: failed. */
int secure_handshake(struct ssl_st *s, int *events);
/* Did the handshake resume an earlier session? */
bool secure_resumed(struct ssl_st *s);
/* As recv(2) and send(2).  A stream cut off without TLS's goodbye fails with
 * ECONNRESET, other failures of TLS with EPROTO. */
ssize_t secure_read(struct ssl_st *s, void *p, size_t n);
ssize_t secure_write(struct ssl_st *s, const void *p, size_t n);
/* Ends our direction only. */
bool secure_end(struct ssl_st *s);

#endif
