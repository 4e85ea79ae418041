/* top.h - what `top` knows: each service as last read, and what moved since the
 * reading before. */
#ifndef APP_TEALCTL_TOP_H
#define APP_TEALCTL_TOP_H

#include "app/tealctl/watch.h"

#define TOP_PAST 40	/* readings remembered for the small graphs */
#define TOP_NAME 72

enum top_sort {
	TOP_BY_ORDER,
	TOP_BY_NAME,
	TOP_BY_TROUBLE,
	TOP_BY_CONNECTIONS,
	TOP_BY_RATE,
	TOP_BY_OUT,
	TOP_BY_CHANGE,
	TOP_BY_ERRORS,
	TOP_BY_LATENCY
};
#define TOP_SORTS (TOP_BY_LATENCY + 1)
/* "order" "name" "trouble" "connections" "new" "out" "changed" "errors" "latency" */
const char *top_sort_word(enum top_sort s);
bool top_sort_from_word(const char *word, enum top_sort *out);

/* What became of a color's requests (of TCP, sessions) within a window; below 0: not known. */
struct top_figures {
	uint64_t requests, errors;
	double error_rate;	/* share of 1 */
	double p50, p99;	/* seconds */
};

/* Of one color: green is 0, blue 1. */
struct top_color {
	unsigned healthy, total;
	unsigned missed;	/* of them not up, and neither a drain nor a node that is down explains it */
	uint64_t connections;
	uint64_t begun, in, out;	/* counters */
	double new_rate, in_rate, out_rate;	/* per second */
	struct top_figures minute;	/* the last one */
	uint32_t past[TOP_PAST];	/* connections, the newest last */
};

struct top_service {
	char name[TOP_NAME];	/* as teald says it: not safe for a terminal */
	char mode[8], changed[32];
	size_t place;	/* in the last reading */
	bool colorless;	/* all of it is in the first color, which is not named */
	int active;	/* of the colors; -1: not known */
	uint64_t epoch, failed, errors;
	double failed_rate, errors_rate;	/* ended badly; answered with 5xx */
	struct top_color colors[2];
	int trouble;	/* by teald's own judgement: 2 critical, 1 a warning */
	int draining;	/* which color; -1: none */
	uint64_t left;
	double until;	/* clock_now() when the rest is cut; 0: never */
	bool locked;
	json_t *object;	/* as read; owned */
	unsigned readings;	/* since it was first seen, or teald began anew */
	double uptime;	/* teald's at the last: the distance of two by its own clock */
	bool moved;	/* to where the next reading is taken in */
};

struct top {
	struct top_service *services;	/* in the order of the last reading */
	size_t n;
	json_t *last;	/* owned; NULL: nothing yet */
	double at;	/* clock_now() when it came */
	double uptime;	/* teald's then */
	int64_t pid;
	/* What is shown. */
	enum top_sort sort;
	bool reversed;
	char filter[64];
	struct top_service **shown;	/* sorted and filtered */
	size_t n_shown;
	struct {
		uint64_t connections;
		double new_rate, in_rate, out_rate;
		unsigned trouble, draining, locked;
		size_t nodes;	/* that are down */
	} sum;	/* of all */
};

/* Takes a reading in, of all services. */
void top_take(struct top *t, json_t *status);
/* Or one of a single one; the others stay as they were. */
void top_take_one(struct top *t, json_t *status);
/* NULL when there is none of that name. */
struct top_service *top_find(struct top *t, const char *name);
/* Out of "quality" of a status; o may be NULL. */
void top_take_figures(struct top_figures *f, json_t *o);
/* So many failed that it is worth a look, and not by chance. */
bool top_figures_bad(const struct top_figures *f);
/* Sorts and filters anew. */
void top_arrange(struct top *t);
void top_free(struct top *t);

/* What `top` is doing besides showing the list. */
struct top_screen {
	const struct output *out;
	double interval;
	bool utf8;
	bool typing;	/* the filter is being typed */
	bool help;
	char open[TOP_NAME];	/* the service that is shown in detail; "" none */
	char at[TOP_NAME];	/* the service the cursor is on */
	size_t cursor, first;	/* places in shown */
};

/* The whole screen, as lines. */
void
top_draw(struct top *t, struct top_screen *ts, const struct screen *s, const char *lost, struct buf *out);

#endif
