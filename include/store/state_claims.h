/* state_claims.h - the claims and the holds of the services, in a file beside the state: one line
 * of JSON, replaced as a whole.
 *	{"format":"teal-claims","version":1,"claims":[{"service","epoch","at_us","until_us",
 *	"by","reason","token"},...],"holds":[{"service","epoch","at_us","until_us","by","reason"},...]}
 *
 * They are not in the state file because a teald that knows no claims refuses what it does
 * not know there.  A claim is of one epoch, so both need not be written at once: one
 * that is not of its service's epoch is over.
 *
 * Thread: as of store/state_file.h and store/state_disk.h. */
#ifndef STORE_STATE_CLAIMS_H
#define STORE_STATE_CLAIMS_H

#include "store/state_disk.h"
#include "store/state_file.h"

#define STATE_CLAIMS_FILE "teal.claims"
#define STATE_CLAIMS_VERSION 1

/* Appends the whole file: the claims of each service's `next` that are of its epoch.
 * False when it does not fit into out. */
MUST_USE bool state_claims_encode(const struct state *s, struct buf *out);
/* Gives the services of *s their claims.  Of a file that is damaged or of another format nothing
 * is taken, of what cannot be a claim not that one: E_STORE, with a sentence that goes on after the
 * file's name.  What is not known is skipped. */
MUST_USE enum err state_claims_decode(struct str file, struct state *s, struct why *why);

/* The file of a folder whose state is kept by a struct state_disk. */
struct state_claims {
	struct state_disk disk;
	uint64_t written;	/* hash of what the file has */
};

/* Reads it, once the state has been: what is wrong with it is logged, and then there are
 * no claims. */
void state_claims_open(struct state_claims *c, const struct state_disk *state, struct state *s);
void state_claims_close(struct state_claims *c);

/* What is to be written before the state is. */
struct claims_write {
	struct buf text;
	bool due;	/* the file has another */
	enum err result;
};

/* Main: false when there is more than fits; then nothing is left to be done.  Otherwise
 * state_claims_end() is due. */
MUST_USE bool state_claims_begin(const struct state_claims *c, const struct state *s, struct claims_write *w);
/* Any thread, as state_disk_write(): OK at once where nothing is due. */
MUST_USE enum err state_claims_write(const struct state_claims *c, struct claims_write *w, struct why *why);
/* Main: the file is what w says, if that went well. */
void state_claims_end(struct state_claims *c, struct claims_write *w);

#endif
