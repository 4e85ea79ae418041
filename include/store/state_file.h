/* state_file.h - what the embedded store knows, and the text it is kept as.
 * Pure: bytes in, verdict out; no file is touched here.
 *
 * The file is one line that says what follows, then exactly that:
 *	{"format":"teal-state","version":1,"bytes":N,"hash":"0123456789abcdef"}
 *	{"services":[…],"history":[…],"nodes":[…]}
 * Files without nodes are older, or nothing was said of any.  Claims are in a file of
 * their own (store/state_claims.h): a teald of another version reads this one.
 *
 * Thread: main, but state_header() may run anywhere. */
#ifndef STORE_STATE_FILE_H
#define STORE_STATE_FILE_H

#include "base/buf.h"
#include "base/err.h"
#include "base/list.h"
#include "model/node.h"
#include "model/record.h"

#define STATE_VERSION 1
#define STATE_EPOCH_MAX ((uint64_t)INT64_MAX)
/* Larger files are neither written nor read. */
#define STATE_MAX ((size_t)64 << 20)
/* How much history is kept: so many in all, and so many of each service even
 * if they are older than those. */
#define STATE_HISTORY 1000
#define STATE_HISTORY_EACH 20

struct state_service {
	char name[RECORD_NAME];
	bool known;	/* it has a record; else only a history */
	unsigned entries;	/* it has in the history */
	uint64_t told;	/* the last configuration, counted from 1, whose store has told of it */
	struct record record;	/* as the file has it */
	struct record next;	/* as the file that is being written has it */
};

/* What was said about the nodes of a pool. */
struct state_pool {
	char *name;
	struct overlay now;	/* as the file has it */
	struct overlay next;	/* as the file that is being written has it */
};

/* A line of the history. */
struct state_entry {
	struct link link;
	struct state_service *service;
	struct audit_entry entry;
	size_t n;
	char text[];	/* n bytes of JSON, made once: a thousand are written with every flip */
};

struct state {
	struct state_service **services;	/* in order of their names */
	size_t n, room;
	struct state_pool **pools;
	size_t n_pools;
	struct link history;	/* oldest first */
	size_t n_history;
};

void state_init(struct state *s);
void state_free(struct state *s);

/* NULL when there is none. */
struct state_service *state_find(const struct state *s, const char *name);
/* The one of that name, made when there is none. */
struct state_service *state_add(struct state *s, const char *name);
/* Record and history of `from` are those of `to` from now on, which has had no record of its own; pointers
 * to the service stay good.  False: `from` has no record, or `to` has one; nothing was done. */
bool state_rename(struct state *s, const char *from, const char *to);
/* Likewise of pools. */
struct state_pool *state_find_pool(const struct state *s, const char *name);
struct state_pool *state_add_pool(struct state *s, const char *name);

/* Replaces what is not UTF-8, so that reading gives back what was written;
 * false when state_decode() would refuse it. */
MUST_USE bool state_accept_record(struct record *r);
/* A line for the history, not in it yet; the caller's. */
struct state_entry *state_entry_new(struct state *s, const struct audit_entry *entry);
/* Puts it in and drops what has become too old.  Consumes *ep. */
void state_remember(struct state *s, struct state_entry **ep);
void state_entry_free(struct state_entry **ep);

/* Appends the payload: each service's `next`, the history, then the entries
 * of `more`.  False when it does not fit into out. */
MUST_USE bool state_encode(const struct state *s, const struct link *more, struct buf *out);
/* The first line of a file with this payload, and its length. */
#define STATE_HEADER 128
size_t state_header(struct str payload, char text[STATE_HEADER]);

/* Reads a whole file into *s, which is empty before.  E_STORE when it is torn,
 * altered, foreign, newer, or holds what cannot be: *why is the end of a
 * sentence that begins with the file's name, and *s has to be freed all the
 * same. */
MUST_USE enum err state_decode(struct str file, struct state *s, struct why *why);

#endif
