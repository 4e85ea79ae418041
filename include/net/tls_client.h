/* tls_client.h - what all TLS connections to one kind of server share.
 * Contexts are immutable once made and shared by all threads. */
#ifndef NET_TLS_CLIENT_H
#define NET_TLS_CLIENT_H

#include "net/tls.h"

struct tls_client_options {
	const char *ca;	/* PEM file of those who may vouch for the server; NULL: the system's */
	const char *ca_pem;	/* those themselves, instead of a file; NULL: ca says */
	bool blind;	/* the server's certificate is not verified */
	const char *alpn;	/* the one protocol we speak; NULL: none is named */
};

/* TLS 1.2 or later.  OK: *out is the caller's.  E_USAGE: why says what is wrong
 * with a file.  Blocks as file systems do. */
MUST_USE enum err
tls_client_context(const struct tls_client_options *options, struct ssl_ctx_st **out, struct why *why);
/* One more owner. */
struct ssl_ctx_st *tls_context_ref(struct ssl_ctx_st *context);
void tls_context_free(struct ssl_ctx_st **context);

/* The session that was last agreed with one server, of one thread: the next
 * handshake with it is shorter.  All zero is empty. */
struct tls_memory {
	void *session;	/* SSL_SESSION, owned */
	struct ssl_ctx_st *context;	/* that it was agreed with; one reference */
};
void tls_memory_forget(struct tls_memory *m);

/* The client's end on a connected socket.  host: the name or the IP address
 * that the server's certificate must carry.  memory: what is known of it, must
 * outlive the connection, or NULL.  NULL when memory is out. */
struct tls *tls_connect(struct ssl_ctx_st *context, int fd, const char *host, struct tls_memory *memory);

/* Before its handshake: `protocols`, with commas between them and at most 255 bytes, are those that it names, whatever the context says.  False:
 * memory is out. */
bool tls_offer(struct tls *t, const char *protocols);

#endif
