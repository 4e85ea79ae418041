/* upgrade_private.h - what upgrade.c and upgrade_give.c share; no other file includes it.
 * Thread: main. */
#ifndef APP_TEALD_UPGRADE_PRIVATE_H
#define APP_TEALD_UPGRADE_PRIVATE_H

#include "app/teald/upgrade.h"

enum upgrade_state {
	UPGRADE_NONE,
	UPGRADE_WAITING,	/* for a reload under way, or for the process before this one */
	UPGRADE_STARTING,	/* the supervisor has been asked */
	UPGRADE_PREPARING,	/* the successor runs */
	UPGRADE_FREEZING,	/* it is prepared; what is under way ends */
	UPGRADE_YIELDING,	/* workers stop accepting; there is no way back */
	UPGRADE_GIVEN,	/* the successor has been told that all is its own */
	UPGRADE_SERVED	/* and it serves */
};

struct upgrade {
	struct upgrade_parts parts;
	struct ev_loop *loop;
	enum upgrade_state state;
	struct upgrade_wait *wait;	/* NULL: a signal asked, or it has been answered */
	char by[RECORD_NAME];
	char *binary, *config;	/* "": as before */
	struct peer_line line;
	struct peer *peer;	/* NULL before there was a line */
	struct other_generation other;
	int channels[FDS_MAX];	/* of the successor's that is prepared */
	unsigned n_channels;
	int shortcut_counts;	/* of the kernel engine, for the successor; -1: none */
	bool is_prepared;	/* the successor at the other end of the line */
	double asked, frozen, yielded;	/* clock_now() */
	double deadline;	/* of what is waited for */
	uint64_t told_clients, told_commands;	/* as the successor knows */
	double goodbye;	/* clock_now() when the last words were said; 0: not yet */
	ev_timer look;
};

void upgrade_become(struct upgrade *u, enum upgrade_state state);

/* upgrade_give.c */

/* There is no way back from here on: workers stop accepting, then all is given. */
void upgrade_yield_all(struct upgrade *u);
/* To the successor that is prepared; also to another one, when the first has died. */
void upgrade_give_all(struct upgrade *u);
/* Tells the successor what is still held here, if that has changed. */
void upgrade_tell_held(struct upgrade *u);
/* All is given: leaves when nothing is held any more, or ends what is, for it is time. */
void upgrade_look_whether_over(struct upgrade *u, double now);

#endif
