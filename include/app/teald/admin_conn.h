/* admin_conn.h - one connection of the admin socket, and what the files
 * behind the socket (admin.c, admin_conn.c, command.c) share.
 * Thread: main. */
#ifndef APP_TEALD_ADMIN_CONN_H
#define APP_TEALD_ADMIN_CONN_H

#include "app/teald/admin.h"
#include "app/teald/admin_tls.h"
#include "app/teald/events.h"
#include "app/teald/user_names.h"
#include "app/teald/rights.h"
#include "base/buf.h"
#include "base/list.h"
#include "net/acceptor.h"
#include "net/io.h"
#include "net/listening.h"
#include "net/spare.h"
#include "proto/admin_line.h"

#define CLIENT_MAGIC 0x61646d63u
/* A reply never grows beyond this; status of a large fleet fits. */
#define CLIENT_REPLY_MAX ((size_t)16 << 20)
/* A listener that is so far behind is not listening. */
#define CLIENT_EVENTS_MAX ((size_t)1 << 20)
/* Commands that go on after their client left; more are not watched to
 * their end. */
#define ADMIN_ORPHANS_MAX 1024
#define ADMIN_SPARE 4
/* Of a reply that is not taken yet, so much goes to another process. */
#define ADMIN_GIVE_MAX ((size_t)64 << 10)

struct command;
struct admin_user;
struct upgrade;

/* What is begun of that which clients ask for. */
enum admin_reads {
	ADMIN_READS_ALL,
	ADMIN_READS_QUICK,	/* what is answered at once; other commands wait, and so do their clients */
	ADMIN_READS_NONE	/* nothing is accepted or read */
};

struct admin {
	const struct config *config;
	struct control *control;	/* NULL before admin_start() */
	struct ev_loop *loop;
	struct listening listening;
	struct acceptor acceptor;
	struct admin_tls *tls;	/* the admin listener */
	struct spare spare;
	double complained_full, complained_busy;	/* clock_now() of the last line about it */
	uint64_t refused;	/* for want of a place, since the start */
	ev_timer sweep;	/* runs while a client is busy */
	ev_prepare reap;	/* frees the dead when their callbacks are over */
	struct link clients;	/* longest idle first */
	struct link dead;
	unsigned n_clients;
	struct link users;	/* struct admin_user */
	struct link commands;	/* all under way, with or without a client */
	struct events events;
	unsigned n_orphans;
	struct user_names *names;
	struct jobs *jobs;	/* for names */
	struct upgrade *upgrade;	/* NULL before it can be asked for one */
	enum admin_reads reads;
	admin_give_fn *give;	/* another process serves: clients go there; NULL: none does */
	void *give_arg;
	uid_t own_uid;
	bool closing;	/* who still comes is closed */
	bool shown;	/* the admin listener has had a certificate */
	char host[65];	/* this machine, for the audit log */
	/* Refusals that the histories still take, as of when. */
	double denied_credit, denied_at;
	char scratch[ADMIN_LINE_MAX + 1];
};

struct admin_conn {
	uint32_t magic;
	struct admin *admin;
	struct link link;	/* on clients, then on dead */
	struct link mine;	/* on user->clients */
	struct admin_user *user;	/* NULL: dead */
	struct io io;	/* closed: the client is dead */
	pid_t pid;	/* 0: by the admin listener */
	uint64_t id;	/* the admin listener's; 0: by another process's, or the socket */
	struct rights *rights;	/* whose they are is in there, too; a reference */
	struct buf in;	/* the line so far; no memory while there is none */
	struct buf out;	/* what the peer has not taken yet; likewise */
	struct command *command;	/* under way, NULL: none */
	double touched;	/* clock_now() of the last sign of life */
	double moved;	/* clock_now() when out last shrank or began */
	bool skipping;	/* until the newline of a line that was too long */
	bool eof;	/* nothing more will come */
	bool waiting;	/* in is a whole line, which is not begun before ADMIN_READS_ALL */
	bool stepping;	/* admin_conn_step() is on the stack */
};

/* A reply that no command made; its message. */
void admin_conn_refuse(struct admin_conn *c, enum err e, const char *message);

/* Takes over fd and *rights, NULL on return.  NULL without memory: fd is closed. */
struct admin_conn *admin_conn_new(struct admin *a, int fd, struct rights **rights, pid_t pid);

/* Closes now; what is under way learns that its client left.  The memory
 * stays until this turn of the loop is over. */
void admin_conn_close(struct admin_conn *c);

static inline bool
admin_conn_is_open(const struct admin_conn *c)
{
	return io_is_open(&c->io);
}

/* Nothing is under way and nothing is owed: it may make way for another. */
static inline bool
admin_conn_is_idle(const struct admin_conn *c)
{
	return c->command == NULL && !c->waiting && buf_len(&c->out) == 0;
}

/* Sends a line, or as much as the peer takes now and the rest later.  Closes
 * the client when the line does not fit. */
void admin_conn_send(struct admin_conn *c, struct str line);
/* The same; takes the bytes over without a copy where it can.  Frees text. */
void admin_conn_send_buf(struct admin_conn *c, struct buf *text);

/* c->command is over: reads the next line. */
void admin_conn_resume(struct admin_conn *c);

/* What it is watched for follows a change of the socket's. */
void admin_conn_refresh(struct admin_conn *c);
/* Begins what has waited for it. */
void admin_conn_thaw(struct admin_conn *c);
/* Another process takes it, if nothing is under way; else later, by itself. */
void admin_conn_give(struct admin_conn *c);
/* What another process had read of it, and had yet to send. */
void admin_conn_restore(struct admin_conn *c, struct str in, struct str out);

/* Once a second while busy: closes who is stuck, notices who left. */
void admin_conn_sweep(struct admin_conn *c);

/* Starts the sweep, which ends by itself. */
void admin_watch_busy(struct admin *a);

#endif
