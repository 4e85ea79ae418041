/* drill.h - the drill: a load, flips, reloads, upgrades or crashes in the
 * middle of it, a verdict.  What is done each time is a turn. */
#ifndef APP_TEALBENCH_DRILL_H
#define APP_TEALBENCH_DRILL_H

#include "app/tealbench/drill_verdict.h"
#include "app/tealbench/load.h"

#define DRILL_SAMPLES 8
#define DRILL_FLIPS_MAX 100000

enum drill_during { DURING_FLIP, DURING_RELOAD, DURING_UPGRADE, DURING_CRASH };

/* How to do it: by Teal's admin socket, or by a command. */
struct drill_config {
	struct load_config load;
	struct load_config streams;	/* of connections that last; 0 connections: none */
	enum drill_during during;
	const char *admin, *service;
	const char *command;	/* for /bin/sh, with COLOR in its environment */
	const char *pid_command;	/* crash: prints the process to kill */
	const char *wait;	/* applied or drained */
	char color[DRILL_COLORS][LOAD_NAME_MAX + 1];
	uint64_t flips;
	uint64_t requests;	/* at least so many; 0: as the duration says */
	double duration;	/* at most so long, with requests; exactly, without */
	double every;	/* seconds between flips; 0: spread evenly */
	double late;	/* seconds; 0: nothing is late */
	double flip_timeout;
	bool json;
};

/* A request that should not have gone so. */
struct drill_sample {
	uint64_t at, began;
	const char *what;
	char name[LOAD_NAME_MAX + 1];
	unsigned flips;	/* asked for by then */
};

/* What one load thread saw; only it writes. */
struct drill_thread {
	uint64_t right, wrong, unnamed, late;
	uint64_t died;	/* failed with a process that was killed */
	uint64_t by[DRILL_COLORS];
	signed char color[LOAD_NAMES_MAX];	/* of that name, plus 1; -1: none; 0: not looked at */
	unsigned samples;
	struct drill_sample sample[DRILL_SAMPLES];
	struct timeline timeline;
};

struct drill {
	struct load_observer observer;	/* first: it is what the threads know */
	const struct drill_config *config;
	struct load_observer stream_observer;
	struct load_run run, streams;
	struct drill_thread *threads;
	struct drill_flips flips;
	struct silence silence;
	uint64_t began, late_ns;
	_Atomic uint64_t streams_broken, streams_died;	/* by themselves; with a killed process */
	/* Since when the last one killed is dead (UINT64_MAX: dying), and the first
	 * answer since to a request begun after that; 0: none. */
	_Atomic uint64_t dead, serves_again;
	/* Between main and the drill's thread. */
	_Atomic bool stop, flipped;
};

/* The connection to teald; blocking, with deadlines.  One thread. */
struct drill_admin {
	int fd;
	char *line;	/* what came and was not taken yet */
	size_t n;
};

MUST_USE enum err drill_admin_open(struct drill_admin *a, const char *path, struct why *why);
void drill_admin_close(struct drill_admin *a);
MUST_USE bool drill_admin_send(struct drill_admin *a, const char *line);
/* The next object, to be given back with json_decref(), or NULL: nothing in
 * time, or the connection has ended. */
struct json_t *drill_admin_next(struct drill_admin *a, uint64_t deadline);
/* The active color of a service. */
MUST_USE enum err drill_admin_active(struct drill_admin *a, const char *service,
				     char color[LOAD_NAME_MAX + 1], struct why *why);
/* One flip from the other color; fills f.  False: teald is not there any more. */
bool drill_admin_flip(struct drill_admin *a, const struct drill_config *config, struct drill_flip *f);
/* The same by the command. */
void drill_command_flip(const struct drill_config *config, struct drill_flip *f);

const char *drill_during_word(enum drill_during during);
/* One reload, upgrade or crash; fills f. */
void drill_turn(struct drill *d, struct drill_flip *f);
/* Any thread: a request that began then was answered. */
void drill_saw_success(struct drill *d, uint64_t began, uint64_t now);
/* Any thread: was what failed a connection of a process that was killed? */
bool drill_died_with_it(struct drill *d, uint64_t connected, enum load_error error);

/* Prints what came of it; true when the drill was passed. */
bool drill_report(struct drill *d);

#endif
