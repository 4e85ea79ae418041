/* redis_script.h - Lua scripts run in the server: by their hash, and in full
 * where the server does not know them yet.
 * Thread: main. */
#ifndef CONTROL_REDIS_SCRIPT_H
#define CONTROL_REDIS_SCRIPT_H

#include "control/redis.h"

struct redis_script {
	const char *text;
	char sha[41];	/* filled on first use */
};

/* Reads services (KEYS: their hashes; ARGV: prefix): the time (seconds and us),
 * each hash's fields, each heartbeat, and the ids of those that said goodbye. */
extern struct redis_script redis_script_read;
/* Writes one service: see redis_script.c for its arguments. */
extern struct redis_script redis_script_write;
/* Writes a heartbeat, and forgets members that are long gone. */
extern struct redis_script redis_script_beat;
/* Says goodbye. */
extern struct redis_script redis_script_leave;

/* Like redis_command(); argc/argv are what follows the script: the number of
 * keys, keys, arguments. */
void redis_script_run(struct redis *r, struct redis_script *script, double timeout, size_t argc,
		      const struct str *argv, redis_reply_fn *done, void *arg);

#endif
