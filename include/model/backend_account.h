/* backend_account.h - what a backend has served: requests, bytes, retries, the time to its first byte.
 * One tally for each thread that counts, which alone writes it; main sums when asked.  A tally is made when its thread
 * first counts something there: a backend that gets nothing costs nothing.
 * An account outlives its backend: the same address that comes back to the same color goes on with it, and requests that are
 * under way when a backend goes are counted.
 * Refcounted. */
#ifndef MODEL_BACKEND_ACCOUNT_H
#define MODEL_BACKEND_ACCOUNT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Answers by their first digit, and what has none of these: "1xx" to "5xx", "other". */
#define BACKEND_CLASSES 6
/* Upper bounds in seconds of a backend's first bytes; one more bucket for +Inf. */
#define BACKEND_BUCKETS 7
extern const double backend_bounds[BACKEND_BUCKETS];

/* The counters of one thread; zero: it has counted nothing. */
struct backend_tally {
	_Alignas(64) _Atomic uint64_t requests[BACKEND_CLASSES];
	_Atomic uint64_t bytes_in, bytes_out;	/* from and to clients */
	_Atomic uint64_t retries;
	_Atomic uint64_t first_bytes[BACKEND_BUCKETS + 1];	/* not cumulative */
	_Atomic uint64_t first_byte_us;
};

struct backend_account {
	_Atomic uint32_t refs;
	unsigned n;	/* threads; the last is main, which counts for predecessors */
	_Atomic(struct backend_tally *) tallies[];	/* NULL: that thread has counted nothing yet */
};

/* The sum over threads. */
struct backend_sum {
	uint64_t requests[BACKEND_CLASSES];
	uint64_t bytes_in, bytes_out, retries;
	uint64_t first_bytes[BACKEND_BUCKETS + 1];	/* not cumulative */
	uint64_t first_byte_us;
};

/* For so many threads; one reference, the caller's.  Aborts when memory is out. */
struct backend_account *backend_account_new(unsigned threads);
struct backend_account *backend_account_ref(struct backend_account *a);
/* Consumes the caller's reference, or NULL: *ap is NULL on return. */
void backend_account_unref(struct backend_account **ap);

const char *backend_class_word(unsigned class);

/* Only that thread may call these; a NULL: nothing is counted.  What finds no memory for its first count is lost. */

/* A request to it is over: the status its client was sent, and how long the backend took from the moment it had been reached
 * until its answer's head was there; < 0: there was none. */
void backend_account_request(struct backend_account *a, unsigned thread, unsigned status, double first_byte);
void backend_account_bytes(struct backend_account *a, unsigned thread, uint64_t in, uint64_t out);
/* It has failed, and that is why something was tried again. */
void backend_account_retry(struct backend_account *a, unsigned thread);

/* Any thread. */
void backend_account_sum(const struct backend_account *a, struct backend_sum *out);
/* What predecessors have counted is at least that; counters do not fall.  Main. */
void backend_account_inherit(struct backend_account *a, const struct backend_sum *theirs);

#endif
