/* succession.h - the line between two serving processes of which one takes over from
 * the other, and the successor's side; the predecessor's is upgrade.h.
 *
 *	predecessor			successor
 *	HELLO		->		opens all that is not public, first checks
 *			<-		HELLO, PREPARED with channels for the workers
 *	freezes: commands end
 *	NO		->		(it could not: the successor ends)
 *	yields: state, YOURS	->	opens the store, serves
 *			<-		SERVING
 *	ADMIN …, what peers tell <->	until the predecessor holds nothing
 *
 * Thread: main. */
#ifndef APP_TEALD_SUCCESSION_H
#define APP_TEALD_SUCCESSION_H

#include "base/err.h"
#include "base/json.h"
#include "control/control.h"
#include "net/line.h"

/* Of the messages below: a successor of another number is offered no connection, and what it
 * says of services is not understood, so that all drains in the predecessor. */
#define SUCCESSION_FORMAT 1

/* Types on the line; those from SUCCESSION_TYPES on are control/peer's (peer_wire.h). */
enum succession_type {
	SUCCESSION_HELLO = 1,	/* both, first */
	SUCCESSION_PREPARED = 2,	/* successor: with one channel for each worker of the other */
	SUCCESSION_NO = 3,	/* predecessor: it goes on serving; why */
	SUCCESSION_YOURS = 4,	/* predecessor: the state has been said, it accepts nothing any more */
	SUCCESSION_ADMIN = 5,	/* predecessor: a connection of the admin socket, with its descriptor */
	SUCCESSION_SERVING = 6,	/* successor: it accepts, and every service is published */
	SUCCESSION_HELD = 7,	/* predecessor: what it still has, whenever that changes */
	/* predecessor: the same for one of the admin listener.  A type of its own: who does not know it must not take it for
	 * one of the socket, whose peer, as the kernel says, would be teald itself. */
	SUCCESSION_CALLER = 8,
	SUCCESSION_HISTORY = 9,	/* predecessor, behind all that: what the status page remembers; several (observe_inherit.c) */
	SUCCESSION_TYPES = 64
};

/* Fields of these; numbers are u64 unless it says otherwise. */
enum succession_tag {
	SUCCESSION_T_FORMAT = 1,
	SUCCESSION_T_PID = 2,
	SUCCESSION_T_VERSION = 3,	/* str */
	SUCCESSION_T_WORKERS = 4,
	SUCCESSION_T_WHY = 5,	/* str: a sentence */
	SUCCESSION_T_UPGRADES_DONE = 6,
	SUCCESSION_T_UPGRADES_FAILED = 7,
	SUCCESSION_T_LOG_LEVEL = 8,	/* str: the lowest that is written */
	SUCCESSION_T_HANGUP = 9,	/* a SIGHUP has not been answered: the file is to be read again */
	SUCCESSION_T_INPUT = 10,	/* str: read, and not executed */
	SUCCESSION_T_OUTPUT = 11,	/* str: not taken by the peer yet */
	SUCCESSION_T_CLIENTS = 12,	/* connections of any kind */
	SUCCESSION_T_COMMANDS = 13,	/* admin commands that are not answered yet */
	SUCCESSION_T_CALLER = 15,	/* str: a row of admin_caller_put() */
	SUCCESSION_T_ADMIN_TLS = 16,	/* str: counters of the admin listener, each 8 bytes, in the order of ADMIN_TLS_TABLE */
	SUCCESSION_T_STORE = 14,	/* which store it is, a hash of its keys in the configuration */

	/* SUCCESSION_HISTORY: of a service SERVICE, SAMPLED, STEP and LINE, several; or FLIP, several, the oldest first. */
	SUCCESSION_T_SERVICE = 32,	/* str: the name that the predecessor knows it by */
	SUCCESSION_T_SAMPLED = 33,	/* double: clock_now() of the newest values */
	SUCCESSION_T_STEP = 34,	/* double: seconds between two */
	SUCCESSION_T_LINE = 35,	/* row of WORD, COLOR and VALUES */
	SUCCESSION_T_WORD = 36,	/* str */
	SUCCESSION_T_COLOR = 37,	/* str */
	SUCCESSION_T_VALUES = 38,	/* str: each 4 bytes, the oldest first */
	SUCCESSION_T_FLIP = 39,	/* row of SERVICE, COLOR and: */
	SUCCESSION_T_AT_US = 40,
	SUCCESSION_T_KIND = 41,	/* str */
	SUCCESSION_T_EPOCH = 42,
	SUCCESSION_T_BY = 43,	/* str */
	SUCCESSION_T_REASON = 44,	/* str */
	SUCCESSION_T_RESULT = 45,	/* str */
	SUCCESSION_T_REFUSED = 46,	/* how often; 0: it was not */
	SUCCESSION_T_MESSAGE = 47,	/* str */
	SUCCESSION_T_SECONDS = 48,	/* double */
	SUCCESSION_T_CUT = 49
};

struct admin;
struct observe;
struct proxy;

/* The process at the other end. */
struct other_generation {
	pid_t pid;
	char version[32];
	uint64_t format;	/* 0: it has not said hello */
	double since;	/* clock_now() when its part began */
	uint64_t clients, commands;	/* of a predecessor: what it holds */
	uint64_t store;	/* which; 0: not said */
};

/* HELLO: who we are, how many workers we have, and which store. */
void succession_greet(struct peer_line *l, const struct config *config);
/* Takes a HELLO in. */
void succession_on_hello(struct other_generation *o, struct str row);
/* A field of a row; false: it has none. */
bool succession_u64(struct str row, uint16_t tag, uint64_t *out);
bool succession_str(struct str row, uint16_t tag, struct str *out);

/* -- the successor -------------------------------------------------------------------- */

struct succession;

/* What a successor does when it is told to, by its owner. */
struct succession_calls {
	/* The other process has let go: opens what two cannot have at a time.  False: it has given up. */
	bool (*open)(void *arg);
	/* Everything is its own from now on: opens the store and begins to serve.  reload: the
	 * configuration is to be read again, for a SIGHUP came meanwhile. */
	void (*take_over)(void *arg, bool reload);
	/* It does not come to it: the process ends, with this reason. */
	void (*give_up)(void *arg, const char *why);
	void *arg;
};

/* First thing in main(): the line from the environment (TEAL_PREDECESSOR).  False: there is
 * none, and nothing below is of use. */
bool succession_join(void);
bool succession_is_on(void);
/* Before the predecessor is asked to let go of anything: can state_dir be used?  It may be the
 * predecessor's. */
MUST_USE enum err succession_check_store(const struct config *config, struct why *why);
/* After control_prepare(). */
struct succession *succession_new(struct control *c, struct proxy *p, const struct succession_calls *calls);
/* The first checks are in (control's on_prepared()). */
void succession_prepared(struct succession *s);
/* Once it serves: connections of the admin socket, live ones, counters, what the status page remembers.  o: NULL,
 * there is none. */
void succession_serve(struct succession *s, struct admin *a, struct observe *o);
/* *sp is NULL on return. */
void succession_free(struct succession **sp);

/* NULL: there is no other process, or none any more. */
const struct other_generation *succession_predecessor(const struct succession *s);

#endif
