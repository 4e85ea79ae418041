/* tls.h - TLS for io: one end of one connection, by OpenSSL.
 * Users speak to io.h, which asks here when a connection has TLS: that alone
 * knows that a read may have to wait for room to write, and the reverse.  The
 * process ignores SIGPIPE.  Any thread, one at a time; contexts are shared. */
#ifndef NET_TLS_H
#define NET_TLS_H

#include <ev.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"

struct ssl_ctx_st;	/* SSL_CTX */
struct tls;
struct tls_site;
struct tls_tickets;

/* The server's end on an accepted socket, for a client that asked for name
 * ("" when it asked for none): with one of the site's certificates.  The site
 * is only needed for the call; tickets, which a worker owns, as long as the
 * connection lives, or NULL: nothing is resumed.  NULL when memory is out. */
struct tls *tls_accept(const struct tls_site *site, int fd, const char *name, const struct tls_tickets *tickets);
/* Says goodbye unless something went wrong, and frees; the descriptor stays, to
 * be closed or shut down at once. */
void tls_free(struct tls **tp);

/* 1: done.  0: wait for what tls_interest(t, EV_READ) says.  -1: failed, see
 * tls_why(). */
int tls_handshake(struct tls *t);

/* Why a handshake failed, as far as metrics tell them apart. */
enum tls_failure {
	TLS_FAILED,	/* the two could not agree, or one did not keep to the protocol */
	TLS_GONE,	/* the peer left */
	TLS_CERTIFICATE,	/* the peer's certificate is missing or not accepted */
	TLS_MEMORY	/* it was out on our side: the peer has no part in it */
};
enum tls_failure tls_failure(const struct tls *t);

/* As recv(2) and send(2); a failure that is TLS's has errno EPROTO, one for want of memory ENOMEM.  A stream
 * cut off without TLS's goodbye is an error as well.  more: as in io_write(). */
ssize_t tls_read(struct tls *t, void *p, size_t n);
ssize_t tls_write(struct tls *t, const void *p, size_t n, bool more);
/* Says that nothing more will be written; shutdown(2) or close(2) are to follow
 * at once, and take it along.  1: said.  0: when there is room to write.  -1: as
 * tls_write(). */
int tls_shutdown(struct tls *t);
/* The stream ends broken: tls_free() is to say no goodbye, which would make it
 * look whole. */
void tls_abandon(struct tls *t);
/* Bytes were received but not read: no event will tell. */
bool tls_pending(const struct tls *t);
/* Takes in what has come and is TLS's own; false when something else has come, be
 * it a part of a record, or the end. */
bool tls_is_quiet(struct tls *t);
/* Likewise; true when the end has come, or a failure, and no data is unread. */
bool tls_has_ended(struct tls *t);
/* What the descriptor must be watched for so that reading (EV_READ) and
 * writing (EV_WRITE) go on. */
int tls_interest(const struct tls *t, int events);
/* What such an event allows: the reverse. */
int tls_allows(const struct tls *t, int events);
/* Reading is wanted (or not) and bytes are pending: the watcher is told in the
 * next turn of the loop. */
void tls_remind(struct tls *t, struct ev_loop *loop, ev_io *watcher, bool wanted);
/* splice(2) from, or to, the descriptor moves what was, or will be, said: the
 * kernel does the cryptography. */
bool tls_can_splice_from(const struct tls *t);
bool tls_can_splice_to(const struct tls *t);
/* How it failed, in words; "" when it has not. */
const char *tls_why(const struct tls *t);

/* What a certificate says of its owner. */
struct tls_peer {
	char *subject, *issuer;	/* RFC 4514 */
	char *serial;	/* hexadecimal */
	char fingerprint[65];	/* SHA-256, hexadecimal */
	const char *verified;	/* "ok", or why not */
};

/* What was agreed.  All of it lives as long as the connection's TLS. */
struct tls_facts {
	const char *server_name;	/* that the client asked for, lower case; "": none */
	const char *protocol;	/* "TLSv1.3" */
	const char *cipher;	/* "TLS_AES_128_GCM_SHA256" */
	const char *alpn;	/* "http/1.1"; "": none */
	bool resumed;
	const struct tls_peer *peer;	/* NULL: it showed no certificate */
};

/* After the handshake. */
void tls_facts(struct tls *t, struct tls_facts *out);

/* That protocol was agreed by ALPN. */
bool tls_speaks(const struct tls *t, const char *protocol);
/* That the client asked for; "": none.  The server's end. */
const char *tls_server_name(const struct tls *t);
/* The same, at less cost: TLS 1.3 or else 1.2, and whether it came back. */
bool tls_is_1_3(const struct tls *t);
bool tls_is_resumed(const struct tls *t);

/* The kernel offers TLS: what travels may be spliced. */
bool tls_kernel_offers(void);

#endif
