/* judged.c - which clients have met a color, and trouble.  Shared by workers and main. */
#include <stdlib.h>

#include "base/hash.h"
#include "model/judged.h"

#define NETWORK6 8	/* bytes of an IPv6 address that tell clients apart: one has many of the rest */

unsigned
judged_ending(enum ending ending, bool answered)
{
	/* Before an answer that is no fault of the client's, nor of Teal's. */
	static const unsigned char faults[ENDINGS] = {
		[END_CONNECT] = 1, [END_CONNECT_TIMEOUT] = 1, [END_BACKEND_TLS] = 1, [END_NO_BACKEND] = 1,
		[END_BACKEND_RESET] = 1, [END_RESPONSE_TIMEOUT] = 1, [END_SERVER_TIMEOUT] = 1,
	};

	if (ending == END_BAD_RESPONSE)
		return JUDGE_ANSWER;
	if (answered)
		return JUDGED_WELL;
	return faults[ending] ? JUDGE_CONNECT : JUDGED_NOT;
}

/* What was made already, by another thread, stays. */
static struct judged *
judged_put(_Atomic(struct judged *) *place, struct judged *made)
{
	struct judged *j = NULL;

	if (atomic_compare_exchange_strong_explicit(place, &j, made, memory_order_acq_rel, memory_order_acquire))
		return made;
	free(made);
	return j;
}

static struct judged *
judged_of(_Atomic(struct judged *) *place)
{
	struct judged *j = atomic_load_explicit(place, memory_order_acquire), *made;

	if (j != NULL || (made = calloc(1, sizeof(*made))) == NULL)
		return j;
	made->secret = hash_secret_new().k[0];
	return judged_put(place, made);
}

/* Was it unset? */
static bool
set_bit(_Atomic uint64_t *word, uint64_t bit)
{
	return (atomic_fetch_or_explicit(word, bit, memory_order_relaxed) & bit) == 0;
}

static bool
has_bit(const _Atomic uint64_t *word, uint64_t bit)
{
	return (atomic_load_explicit(word, memory_order_relaxed) & bit) != 0;
}

void
judged_mark(_Atomic(struct judged *) *place, struct tally_color *t, const uint8_t *client, size_t n, unsigned how)
{
	struct judged *j;
	uint64_t group, bit;
	size_t word;

	if (client == NULL || how == JUDGED_NOT || (j = judged_of(place)) == NULL)
		return;
	group = hash_bytes(client, n > NETWORK6 ? NETWORK6 : n, j->secret) % JUDGED_GROUPS;
	word = group / 64;
	bit = 1ull << group % 64;
	if (how == JUDGED_WELL && has_bit(&j->seen[word], bit))
		return;
	if (has_bit(&j->troubled[word], bit) || has_bit(&j->troubled_before[word], bit))
		return;
	if (set_bit(&j->seen[word], bit))
		tally_add(&t->exposures, 1);
	if (how != JUDGED_WELL && set_bit(&j->troubled[word], bit))
		tally_add(&t->troubles[how], 1);
}

static void
clear_bits(_Atomic uint64_t *words)
{
	for (size_t i = 0; i < JUDGED_GROUPS / 64; i++)
		atomic_store_explicit(&words[i], 0, memory_order_relaxed);
}

void
judged_begin_slice(struct judged *j)
{
	if (j != NULL)
		clear_bits(j->seen);
}

void
judged_begin_window(struct judged *j)
{
	if (j == NULL)
		return;
	for (size_t i = 0; i < JUDGED_GROUPS / 64; i++)
		atomic_store_explicit(&j->troubled_before[i],
				      atomic_exchange_explicit(&j->troubled[i], 0, memory_order_relaxed),
				      memory_order_relaxed);
	clear_bits(j->seen);
}

bool
judged_remember(const struct judged *j, struct judged_memory *out)
{
	if (j == NULL)
		return false;
	out->secret = j->secret;
	for (size_t i = 0; i < JUDGED_GROUPS / 64; i++) {
		out->troubled[i] = atomic_load_explicit(&j->troubled[i], memory_order_relaxed);
		out->troubled_before[i] = atomic_load_explicit(&j->troubled_before[i], memory_order_relaxed);
	}
	return true;
}

void
judged_restore(_Atomic(struct judged *) *place, const struct judged_memory *from)
{
	struct judged *made = calloc(1, sizeof(*made));

	if (made == NULL)
		return;
	made->secret = from->secret;
	for (size_t i = 0; i < JUDGED_GROUPS / 64; i++) {
		atomic_init(&made->troubled[i], from->troubled[i]);
		atomic_init(&made->troubled_before[i], from->troubled_before[i]);
	}
	(void)judged_put(place, made);
}
