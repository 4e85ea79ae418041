/* store_file_private.h - what the files of the embedded store share; no other file includes it: store_file.c, store_file_batch.c
 * (the writes of one file).
 * Thread: main. */
#ifndef STORE_STORE_FILE_PRIVATE_H
#define STORE_STORE_FILE_PRIVATE_H

#include "store/state_claims.h"
#include "store/state_disk.h"
#include "store/state_file.h"
#include "store/store.h"

/* A write that waits, or is in the file now being written. */
struct store_pending {
	struct link link;
	struct state_service *service;	/* NULL: it is about nodes */
	struct state_pool *pool;	/* of those */
	struct overlay nodes;
	store_nodes_fn *nodes_done;
	uint64_t expect_epoch;
	uint64_t batch;	/* the same for those that are written as one, which stand side by side */
	bool same;	/* it is only compared */
	bool saw_lock;	/* locked, as far as the caller knew */
	struct record saw_claim;	/* what its claim, and its hold, were for the caller */
	enum store_meaning means;
	char token[CLAIM_HASH];	/* "": none is presented */
	struct record next;
	struct state_entry *entry;	/* NULL once it is in the history, or where none is wanted */
	enum err verdict;	/* of the check against the record */
	bool against_next;	/* a conflict with a write of the same file */
	store_done_fn *done;
	void *arg;
	struct why why;
};

struct store_file {
	struct store store;
	uint32_t magic;
	const struct config *config;
	uint64_t configurations;	/* whose records have been told */
	struct jobs *jobs;
	struct ev_loop *loop;
	bool opened;
	struct state state;
	struct state_disk disk;
	struct state_claims claims;

	struct link queue;	/* struct store_pending */
	struct link writing;	/* those in the file now being written */
	struct link entries;	/* their lines for the history, not in it yet */
	struct link notes;	/* lines added meanwhile */
	uint64_t batches;	/* writes so far */
	bool busy;	/* a file is being written */
	bool delivering;	/* callbacks are being called */
	bool dirty;	/* memory has lines, or the disk a doubt, that a write would settle */
	bool up;	/* the last write went well */
	double well;	/* clock_now() then */
	double written;	/* clock_now() of the last attempt */
	ev_timer soon;	/* begins a write; at once, or when notes have waited */
};

/* Takes the queue, in its order; true when anything of it is to be written. */
bool store_file_stage(struct store_file *f);
/* The file was written, or not, or nothing of the batch needed one: each write has its answer. */
void store_file_settle(struct store_file *f, enum err result, const struct why *why);
/* Lines for the history that came meanwhile. */
void store_file_remember_notes(struct store_file *f);

#endif
