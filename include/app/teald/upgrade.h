/* upgrade.h - an upgrade, seen from the process that serves and is asked for one: it has a
 * successor started, waits until that is prepared, ends what is under way, gives everything
 * away, and lives on while it holds something that it could not give.
 *
 *	asked -> starting -> preparing -> freezing -> yielding -> given -> served
 *
 * Up to the yielding it may fail, and then nothing has changed.
 * Thread: main. */
#ifndef APP_TEALD_UPGRADE_H
#define APP_TEALD_UPGRADE_H

#include "app/teald/succession.h"

struct observe;
struct prom;
struct kernel_services;
struct upgrade;

/* What is given away; each is its owner's, and outlives it. */
struct upgrade_parts {
	struct control *control;
	struct proxy *proxy;
	struct store **store;	/* closed by the upgrade, NULL then */
	struct kernel_services **kernel_services;	/* likewise */
	struct admin *admin;
	struct observe *observe;	/* NULL: there is none */
	struct succession **succession;	/* *succession is not NULL in a process that took over */
	/* Nothing is held any more: the process ends. */
	void (*on_done)(void *arg);
	void *arg;
};

struct upgrade_result {
	enum err
		e;	/* OK; E_CONFLICT, E_UNSUPPORTED: not begun; E_TIMEOUT, E_INTERNAL: failed; E_UNKNOWN: it may have been */
	const char *message;	/* a sentence; "" with OK */
	bool changed;
	const struct other_generation *successor;	/* NULL: it never was */
	double seconds;	/* from the question to the answer */
};

/* A command that waits; its owner is the command, until done(). */
struct upgrade_wait {
	char by[RECORD_NAME];
	struct str binary, config;	/* paths; empty: as before.  Good during upgrade_ask() */
	void (*done)(struct upgrade_wait *w, const struct upgrade_result *result);
};

struct upgrade *upgrade_new(const struct upgrade_parts *parts);
/* A waiting command is told that teald ends; the other process hears no more. */
void upgrade_end(struct upgrade *u);
/* After that, and once no worker can answer any more.  *up is NULL on return. */
void upgrade_free(struct upgrade **up);

/* done() may be called from inside. */
void upgrade_ask(struct upgrade *u, struct upgrade_wait *w);
/* The supervisor was told to (SIGUSR2). */
void upgrade_on_signal(struct upgrade *u);

/* -- what is said of it (upgrade_status.c) ---------------------------------------------- */

/* Borrowed, until the loop goes on. */
struct upgrade_view {
	const struct other_generation *predecessor, *successor;	/* NULL: there is none */
	const char *state, *by;	/* of an upgrade under way; NULL: none is */
	double seconds;	/* since it was asked for */
};
struct upgrade_view upgrade_view(void);

/* Since the first process of all that took over from each other. */
struct upgrade_totals {
	uint64_t done, failed;
};
struct upgrade_totals upgrade_totals(void);
void upgrade_count(bool done);
/* What goes on in the successor: appended to PEER_YOURS, and taken from it. */
void upgrade_bequeath(struct buf *row);
void upgrade_inherit(struct str row);

/* Writes "generations" and "upgrade". */
void upgrade_status_json(struct json *j);
void upgrade_metrics(struct prom *p);

#endif
