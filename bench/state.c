/* state.c - what it costs to encode the largest state file: 500 services, and of
 * each as many lines of history as it keeps.  Main does it at every flip.
 *
 *	make bench-state
 *
 * Milliseconds, the least of many rounds: what other programs on the machine take
 * away only makes rounds longer. */
#include <stdio.h>

#include "base/check.h"
#include "base/clock.h"
#include "store/state_file.h"

#define SERVICES 500
#define ROUNDS 50

static void
fill(struct state *s)
{
	char name[32];

	for (unsigned i = 0; i < SERVICES; i++) {
		struct state_service *v;

		snprintf(name, sizeof(name), "service-%u", i);
		v = state_add(s, name);
		v->known = true;
		v->record = (struct record){ .color = BLUE, .epoch = 1, .change = CHANGE_INITIAL, .at_us = 1,
					     .by = "ci" };
		v->next = v->record;
		for (unsigned k = 0; k < STATE_HISTORY_EACH; k++) {
			struct audit_entry a = { .at_us = 1000 + k, .change = CHANGE_FLIP, .epoch = k, .to = BLUE,
						 .by = "ci", .reason = "deploy 8812", .result = "ok" };
			struct state_entry *e;

			str_copy(a.service, sizeof(a.service), str_from(name));
			e = state_entry_new(s, &a);
			state_remember(s, &e);
		}
	}
}

int
main(void)
{
	struct link none = { &none, &none };
	double best = 1e9;
	struct state s;
	size_t n = 0;

	state_init(&s);
	fill(&s);
	for (int round = 0; round < ROUNDS; round++) {
		struct buf payload;
		double began = clock_now(), took;

		buf_init(&payload, STATE_MAX);
		CHECK(state_encode(&s, &none, &payload));
		took = clock_now() - began;
		best = took < best ? took : best;
		n = buf_len(&payload);
		buf_free(&payload);
	}
	state_free(&s);
	printf("encoding %d services and %d lines of history, %zu bytes: %.2f ms\n", SERVICES,
	       SERVICES * STATE_HISTORY_EACH, n, best * 1e3);
	return 0;
}
