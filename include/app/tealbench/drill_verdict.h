/* drill_verdict.h - what a drill's answers prove: which color may have
 * answered a request, how many did not, the longest silence, and what
 * happened when.  Pure; times are nanoseconds of one clock, 0 means never. */
#ifndef APP_TEALBENCH_DRILL_VERDICT_H
#define APP_TEALBENCH_DRILL_VERDICT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define DRILL_COLORS 2

/* One flip: written by the thread that flips, read by those that load while
 * it happens.  asked is set before the flip can have any effect. */
struct drill_flip {
	_Atomic uint64_t asked, applied;
	_Atomic bool refused;	/* it is certain that nothing changed */
	uint64_t dead;	/* a crash: when it was over */
	uint64_t drained, epoch, cut;	/* drained 0: not waited for, or not in time */
	unsigned color;	/* made active: 0 or 1 */
	bool made;	/* applied was heard of */
	char error[64];	/* why not; "" */
};

struct drill_flips {
	unsigned first;	/* the color active before them all */
	_Atomic unsigned n;	/* flips asked for so far */
	struct drill_flip *list;
};

/* May that color have answered a request that began and ended then?  Only the
 * color of the last flip applied before it began, and those of flips that
 * were asked for before it ended. */
bool drill_may_answer(const struct drill_flips *flips, uint64_t began, uint64_t ended, unsigned color);

#define TIMELINE_LANES 3	/* the two colors, and whatever failed */
#define TIMELINE_SLOTS 2048

/* Events counted in slots of time; when they are used up, two become one and
 * twice as long.  One writer. */
struct timeline {
	uint64_t began, width;
	unsigned used;
	uint32_t count[TIMELINE_LANES][TIMELINE_SLOTS];
};

void timeline_init(struct timeline *t, uint64_t began, uint64_t width);
void timeline_add(struct timeline *t, unsigned lane, uint64_t at);
/* Adds what `from` counted; both have the same beginning, and widths that are
 * one's first width times a power of two. */
void timeline_merge(struct timeline *to, const struct timeline *from);

/* The longest time between two successes, over all threads; zeroed at first. */
struct silence {
	_Atomic uint64_t last, longest, since;
};

void silence_broken(struct silence *s, uint64_t now);

/* What decides. */
struct drill_count {
	uint64_t right, wrong, unnamed, late;	/* answers: of the right color, the wrong one, an unknown backend */
	uint64_t failed, reset;	/* not answered; reset ones among them */
	uint64_t broken;	/* streams */
	uint64_t flips_wanted, flips_made;
	const char *turns;	/* what they are: flips */
	bool interrupted;
};

/* The sentence; true: nothing was lost and everything was done.  At least
 * 256 bytes. */
bool drill_verdict(const struct drill_count *c, char text[256]);

#endif
