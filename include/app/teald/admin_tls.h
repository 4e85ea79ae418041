/* admin_tls.h - the admin listener: the protocol of the admin socket by TLS, for those who show a client
 * certificate or a token.
 * A thread of its own accepts, does the handshakes and the cryptography, and judges who comes; main gets a
 * Unix socket for each that was let in, with who that is, and meets it as any client of the admin
 * socket.  So no client of the network holds main up, and a connection goes along with an upgrade.
 * Thread: main. */
#ifndef APP_TEALD_ADMIN_TLS_H
#define APP_TEALD_ADMIN_TLS_H

#include <ev.h>

#include "app/teald/admin_caller.h"
#include "net/tls_site.h"

/* Connections in all, those that have not yet shown who they are, and those of one address (of IPv6 one
 * network of 64 bits). */
#define ADMIN_TLS_MAX 192
#define ADMIN_TLS_PENDING_MAX 64
#define ADMIN_TLS_EACH 16
/* Descriptors: of each connection two, and its end in main. */
#define ADMIN_TLS_DESCRIPTORS (3 * ADMIN_TLS_MAX + 16)

/* What became of connections: the label of teal_admin_tls_connections_total. */
#define ADMIN_TLS_TABLE(X) \
	X(ACCEPTED, "accepted") \
	X(CERTIFICATE, "certificate")	/* none, or one that is not accepted: unknown, expired, revoked */ \
	X(TOKEN, "token")	/* none, or one that is unknown or expired */ \
	X(HANDSHAKE, "handshake")	/* no TLS, or it failed otherwise */ \
	X(TIMEOUT, "timeout") \
	X(NETWORK, "network")	/* admin.allow does not let it in */ \
	X(LIMIT, "limit")	/* too many at a time */

enum admin_tls_result {
#define X(name, word) ADMIN_TLS_##name,
	ADMIN_TLS_TABLE(X)
#undef X
	ADMIN_TLS_RESULTS
};

struct admin_tls_totals {
	uint64_t n[ADMIN_TLS_RESULTS];
	unsigned open, pending;
	unsigned listeners;
};

struct admin_tls;

struct admin_tls_calls {
	/* fd is theirs, and *caller is consumed. */
	void (*take)(void *arg, int fd, struct admin_caller **caller, uint64_t id);
	/* The certificate of that one is not accepted any more. */
	void (*revoked)(void *arg, uint64_t id);
	void *arg;
};

/* Listens on what the configuration says; nothing is accepted yet.  NULL with a sentence on error. */
struct admin_tls *admin_tls_bind(const struct config *config, struct why *why);
/* Accepts from here on, once admin_tls_show() has been called. */
void admin_tls_start(struct admin_tls *t, struct ev_loop *loop, const struct config *config,
		     const struct admin_tls_calls *calls);
/* What clients are shown, and by what they are judged; those that are there are judged again.  Consumes
 * the reference. */
void admin_tls_show(struct admin_tls *t, struct tls_site *site);

/* A reload in two steps: opens what is new, and obeys; or gives it up.  E_CONFIG: nothing was changed. */
MUST_USE enum err admin_tls_prepare(struct admin_tls *t, const struct config *to, struct why *why);
void admin_tls_abandon(struct admin_tls *t);
void admin_tls_reconfigure(struct admin_tls *t, const struct config *to);

/* Another process accepts from now on; connections go on here until their clients leave. */
void admin_tls_yield(struct admin_tls *t);
/* Connections whose client is still there. */
unsigned admin_tls_left(const struct admin_tls *t);
/* Waits a moment for what is on its way to clients; *tp is NULL on return. */
void admin_tls_close(struct admin_tls **tp);

/* Since the start of the first process.  Any thread. */
struct admin_tls_totals admin_tls_totals(void);
const char *admin_tls_word(enum admin_tls_result result);
/* What another process has counted. */
void admin_tls_inherit(enum admin_tls_result result, uint64_t n);

#endif
