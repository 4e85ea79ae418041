/* reload_names.h - private to reload*.c: names of hosts that a file brings are looked up
 * before it is obeyed.  One that was there before stays as it is, found or not.
 * Thread: main, but for the collecting. */
#ifndef CONTROL_RELOAD_NAMES_H
#define CONTROL_RELOAD_NAMES_H

#include "control/hosts.h"
#include "model/config.h"

/* A backend of `to` whose name `from` does not have. */
struct new_name {
	const struct service_config *service;
	enum color color;
	const char *host;
	const struct hostname *asked;	/* that is waited for; NULL: it is known, or answered */
	const struct hostname *waited_for;	/* the same, also once it has answered */
	bool found;	/* or it need not be */
	char problem[200];	/* why not; "": it has not been answered */
};

struct reload_names {
	struct new_name *list;
	size_t n;
	struct new_name **asked;	/* those that were asked for, by what is waited for */
	size_t n_asked;
	size_t waiting;	/* of them */
};

/* Any thread; out needs reload_names_free(). */
void reload_names_collect(const struct config *from, const struct config *to, struct reload_names *out);
/* Asks for them all. */
void reload_names_ask(struct reload_names *names, struct hosts *hosts);
/* A look-up is over. */
void reload_names_on_answer(struct reload_names *names, const struct hostname *name);
/* A line for each that was not found, or has not been answered.  False: there are some. */
bool reload_names_judge(const struct reload_names *names, struct complaints *errors);
void reload_names_free(struct reload_names *names);

#endif
