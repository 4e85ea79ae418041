/* reload.h - takes over a changed configuration in one transaction: read and check
 * the file, plan, commit.  Whatever fails before the commit changes nothing.
 * One at a time: one that is asked for meanwhile waits, and further ones join it.
 * The file is read and checked on a helper, so that one that hangs (a fifo, a
 * network file system) delays only those who wait for it.
 * Thread: main. */
#ifndef CONTROL_RELOAD_H
#define CONTROL_RELOAD_H

#include "control/control.h"
#include "control/hosts.h"
#include "model/config_plan.h"

struct reloads;

/* How one ended; all of it is borrowed for the call. */
struct reload_result {
	/* OK; E_CONFIG: errors has them, or why; E_UNSUPPORTED: it needs an upgrade;
	 * E_INTERNAL: the file cannot be read in time, teald stops. */
	enum err e;
	const char *message;	/* a sentence; "" with OK */
	const struct complaints *errors, *warnings;	/* of the file; may be empty */
	bool changed;
	uint64_t generation;	/* that is obeyed now */
};

/* A command that waits; its owner is the command, until done(). */
struct reload_wait {
	struct link link;
	bool dry_run;	/* the plan only */
	char by[RECORD_NAME];	/* for the log */
	/* The file is good; before done().  NULL: not told. */
	void (*planned)(struct reload_wait *w, const struct config_plan *plan);
	/* Once; w is the asker's again. */
	void (*done)(struct reload_wait *w, const struct reload_result *result);
};

/* What is obeyed, and how the last one went. */
struct reload_status {
	uint64_t generation;	/* 1: what the start read */
	int64_t loaded_at_us;	/* when that was read; wall clock */
	const char *checksum;	/* of the file then */
	bool last_good;	/* the last file that was not only looked at was taken over */
	bool from_copy;	/* what is obeyed is the copy that the start took for a broken file */
};

struct reloads *reloads_new(struct control *c);
/* Waiting commands are told that teald stops.  False: a helper that hangs is left
 * behind, and what it reads with it; *rp is NULL on return either way. */
bool reloads_free(struct reloads **rp);

/* All that the configuration asks for is open: it is kept, unless it was a copy itself. */
void reload_opened(struct reloads *r, bool from_copy);

void reload_ask(struct reloads *r, struct reload_wait *w);
/* While it is on, those that ask wait. */
void reload_hold(struct reloads *r, bool on);
/* None is under way. */
bool reload_is_idle(const struct reloads *r);
/* One waits. */
bool reload_is_awaited(const struct reloads *r);
/* It is the asker's again, and done() will not be called; false: it has begun. */
bool reload_take_back(struct reloads *r, struct reload_wait *w);
/* One more engine obeys that generation. */
void reload_on_committed(struct reloads *r, uint64_t generation);
/* A look-up of a host is over. */
void reload_on_name(struct reloads *r, const struct hostname *name);
struct reload_status reload_status(const struct reloads *r);
/* The start has read the file that the teald before this one obeyed, or another one: it
 * counts on. */
void reload_inherit(struct reloads *r, uint64_t generation, int64_t loaded_at_us, struct str checksum);

#endif
