/* admin_tls_thread.h - private to admin_tls*.c: the thread of the admin listener, and its connections. */
#ifndef APP_TEALD_ADMIN_TLS_THREAD_H
#define APP_TEALD_ADMIN_TLS_THREAD_H

#include <pthread.h>

#include "app/teald/admin_tls.h"
#include "base/list.h"
#include "net/acceptor.h"
#include "net/listening.h"
#include "net/mailbox.h"
#include "net/relay.h"
#include "net/spare.h"
#include "net/turn.h"

/* Of an address: main has the socket, the thread accepts from it. */
struct admin_tls_door {
	struct link link;	/* main's */
	struct listening listening;	/* main's */
	struct acceptor acceptor;	/* the thread's once it is open */
	struct link open;	/* the thread's */
	struct admin_tls_thread *thread;
	bool given;	/* to the thread */
	bool stays;	/* main's, during a reload */
};

/* Refusals of one kind that no line has told of. */
struct admin_tls_untold {
	double told;	/* clock_now() of the last line */
	uint64_t n;
	char why[256], peer[ADDR_TEXT];
};

struct admin_tls_thread {
	pthread_t id;
	struct ev_loop *loop;
	struct turn turn;
	struct mailbox mailbox;	/* receiver: this */
	struct mailbox *main;	/* receiver: struct admin_tls */
	const struct config *config;	/* one reference */
	struct tls_site *site;	/* one reference, or NULL: nothing is accepted */
	unsigned terms;	/* raised with each site */
	struct link doors;	/* struct admin_tls_door.open */
	struct link conns, ended;	/* struct admin_tls_conn; the oldest first */
	unsigned n, pending, open;
	uint64_t last_id;
	struct relay_buffers buffers;
	struct spare spare;
	ev_timer sweep;	/* runs while there are connections, or something to tell */
	ev_prepare reap;
	bool ending;
	double end_at;
	struct admin_tls_untold untold[ADMIN_TLS_RESULTS];
	char room[16384];
};

enum admin_tls_state {
	ADMIN_TLS_SHAKES,	/* the handshake is under way */
	ADMIN_TLS_ASKED,	/* it has shown no certificate: its first line must be a token */
	ADMIN_TLS_OPEN,	/* main has it */
	ADMIN_TLS_LINGERS,	/* refused: is given time to read why */
	ADMIN_TLS_ENDED
};

#define ADMIN_TLS_LINE 128

struct admin_tls_conn {
	struct link link;
	struct admin_tls_thread *thread;
	enum admin_tls_state state;
	struct addr peer;
	char peer_text[ADDR_TEXT];
	struct io client, main;	/* main: closed until it is open */
	struct relay up, down;	/* to main, to the client */
	double since;	/* clock_now() of its state, or of the moment when down was done */
	double moved;	/* of the last byte that the client took */
	uint64_t waiting;	/* bytes for it, then */
	uint64_t id;
	unsigned terms;	/* by which its certificate was judged */
	bool by_certificate;
	bool deaf;	/* main has closed its end: what the client says goes nowhere */
	char line[ADMIN_TLS_LINE];
	size_t n;
};

/* Born of an accepted connection; fd is consumed. */
void admin_tls_conn_new(struct admin_tls_thread *t, int fd, const struct addr *peer);
void admin_tls_conn_end(struct admin_tls_conn *c);
/* Its time is over, if it is. */
void admin_tls_conn_sweep(struct admin_tls_conn *c, double now);
/* By the thread's new terms. */
void admin_tls_conn_judge(struct admin_tls_conn *c);

/* Counts, and tells now or later. */
void admin_tls_refused(struct admin_tls_thread *t, enum admin_tls_result result, const char *peer, const char *why);
void admin_tls_count(enum admin_tls_result result);
void admin_tls_set_numbers(const struct admin_tls_thread *t);

/* Letters to main. */
void admin_tls_send_caller(struct admin_tls_thread *t, int fd, struct admin_caller **caller, uint64_t id);
void admin_tls_send_revoked(struct admin_tls_thread *t, uint64_t id);
void admin_tls_send_shut(struct admin_tls_door *door);

/* Started by main, which then only sends it letters.  NULL: why says that there can be no thread. */
struct admin_tls_thread *admin_tls_thread_start(struct mailbox *to_main, const struct config *config, struct why *why);
void admin_tls_thread_terms(struct admin_tls_thread *t, const struct config *config, struct tls_site *site);
void admin_tls_thread_open(struct admin_tls_thread *t, struct admin_tls_door *door);
/* The acceptor is closed, and then admin_tls_send_shut() called. */
void admin_tls_thread_shut(struct admin_tls_thread *t, struct admin_tls_door *door);
void admin_tls_thread_join(struct admin_tls_thread **tp);

#endif
