/* backend_account.c - what a backend has served.  Written by the threads that count, read by main. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "model/backend_account.h"
#include "model/tally.h"

const double backend_bounds[BACKEND_BUCKETS] = { 0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 5.0 };

struct backend_account *
backend_account_new(unsigned threads)
{
	struct backend_account *a = must_alloc(sizeof(*a) + threads * sizeof(a->tallies[0]));

	atomic_init(&a->refs, 1);
	a->n = threads;
	return a;
}

struct backend_account *
backend_account_ref(struct backend_account *a)
{
	atomic_fetch_add_explicit(&a->refs, 1, memory_order_relaxed);
	return a;
}

void
backend_account_unref(struct backend_account **ap)
{
	struct backend_account *a = *ap;

	*ap = NULL;
	if (a == NULL || atomic_fetch_sub_explicit(&a->refs, 1, memory_order_acq_rel) > 1)
		return;
	for (unsigned i = 0; i < a->n; i++)
		free(atomic_load_explicit(&a->tallies[i], memory_order_relaxed));
	free(a);
}

const char *
backend_class_word(unsigned class)
{
	static const char *const words[BACKEND_CLASSES] = { "1xx", "2xx", "3xx", "4xx", "5xx", "other" };

	CHECK(class < BACKEND_CLASSES);
	return words[class];
}

/* -- counting --------------------------------------------------------------------- */

static struct backend_tally *
tally_for(struct backend_account *a, unsigned thread)
{
	struct backend_tally *t;

	if (a == NULL)
		return NULL;
	CHECK(thread < a->n);
	t = atomic_load_explicit(&a->tallies[thread], memory_order_relaxed);
	if (t != NULL || (t = aligned_alloc(64, sizeof(*t))) == NULL)
		return t;
	memset(t, 0, sizeof(*t));
	atomic_store_explicit(&a->tallies[thread], t, memory_order_release);
	return t;
}

void
backend_account_request(struct backend_account *a, unsigned thread, unsigned status, double first_byte)
{
	struct backend_tally *t = tally_for(a, thread);
	unsigned class = status / 100 - 1, i = 0;

	if (t == NULL)
		return;
	tally_add(&t->requests[class < BACKEND_CLASSES - 1 ? class : BACKEND_CLASSES - 1], 1);
	if (first_byte < 0)
		return;
	while (i < BACKEND_BUCKETS && first_byte > backend_bounds[i])
		i++;
	tally_add(&t->first_bytes[i], 1);
	tally_add(&t->first_byte_us, (uint64_t)(first_byte * 1e6));
}

void
backend_account_bytes(struct backend_account *a, unsigned thread, uint64_t in, uint64_t out)
{
	struct backend_tally *t = tally_for(a, thread);

	if (t == NULL)
		return;
	tally_add(&t->bytes_in, in);
	tally_add(&t->bytes_out, out);
}

void
backend_account_retry(struct backend_account *a, unsigned thread)
{
	struct backend_tally *t = tally_for(a, thread);

	if (t != NULL)
		tally_add(&t->retries, 1);
}

/* -- sums --------------------------------------------------------------------------- */

void
backend_account_sum(const struct backend_account *a, struct backend_sum *out)
{
	memset(out, 0, sizeof(*out));
	for (unsigned i = 0; a != NULL && i < a->n; i++) {
		const struct backend_tally *t = atomic_load_explicit(&a->tallies[i], memory_order_acquire);

		if (t == NULL)
			continue;
		for (unsigned k = 0; k < BACKEND_CLASSES; k++)
			out->requests[k] += tally_read(&t->requests[k]);
		for (unsigned k = 0; k <= BACKEND_BUCKETS; k++)
			out->first_bytes[k] += tally_read(&t->first_bytes[k]);
		out->first_byte_us += tally_read(&t->first_byte_us);
		out->bytes_in += tally_read(&t->bytes_in);
		out->bytes_out += tally_read(&t->bytes_out);
		out->retries += tally_read(&t->retries);
	}
}

static void
raise(_Atomic uint64_t *counter, uint64_t n)
{
	if (n > tally_read(counter))
		atomic_store_explicit(counter, n, memory_order_relaxed);
}

void
backend_account_inherit(struct backend_account *a, const struct backend_sum *theirs)
{
	static const struct backend_sum nothing;
	struct backend_tally *t;

	if (memcmp(theirs, &nothing, sizeof(nothing)) == 0 || (t = tally_for(a, a->n - 1)) == NULL)
		return;
	for (unsigned k = 0; k < BACKEND_CLASSES; k++)
		raise(&t->requests[k], theirs->requests[k]);
	for (unsigned k = 0; k <= BACKEND_BUCKETS; k++)
		raise(&t->first_bytes[k], theirs->first_bytes[k]);
	raise(&t->first_byte_us, theirs->first_byte_us);
	raise(&t->bytes_in, theirs->bytes_in);
	raise(&t->bytes_out, theirs->bytes_out);
	raise(&t->retries, theirs->retries);
}
