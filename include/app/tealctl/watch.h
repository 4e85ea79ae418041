/* watch.h - the status again and again: `status --watch`, and `top`.
 *
 * Both ask teald on one connection, or a tealctl on another machine by ssh:
 * that one, `tealctl --remote top`, passes lines on to its teald, those of
 * `status` and no others. */
#ifndef APP_TEALCTL_WATCH_H
#define APP_TEALCTL_WATCH_H

#include <jansson.h>

#include "app/tealctl/options.h"
#include "app/tealctl/output.h"
#include "app/tealctl/screen.h"

/* What is made of the readings. */
struct view {
	/* A reading, borrowed; the line that asks for the next one goes into ask. */
	void (*take)(struct view *v, json_t *status);
	/* Lines for a screen of that size; lost: why there is nothing newer, or NULL. */
	void (*draw)(struct view *v, const struct screen *s, const char *lost, struct buf *out);
	/* False: that key ends it. */
	bool (*key)(struct view *v, enum key key, char c);
	/* For a pipe: records of what was taken. */
	void (*print)(struct view *v);
	void (*free)(struct view *v);
	struct buf ask;	/* "status --brief\n" */
};

struct view *view_status_new(const struct options *o, struct output *out);
struct view *view_top_new(const struct options *o, struct output *out);

/* Watches as o->view says; returns the exit status. */
int watch(const struct options *o, struct output *out);

#endif
