/* redis_script.h - Lua scripts run in the server: by their hash, and in full
 * where the server does not know them yet.
 * Thread: main. */
#ifndef STORE_REDIS_SCRIPT_H
#define STORE_REDIS_SCRIPT_H

#include "store/redis.h"

struct redis_script {
	const char *text;
	char sha[41];	/* filled on first use */
};

/* Reads services and pools (KEYS: their hashes; ARGV: prefix, number of services):
 * the time (seconds and us), each service's fields, each heartbeat, the ids of
 * those that said goodbye, and each pool's fields. */
extern struct redis_script redis_script_read;
/* Writes one service, or several as one: see redis_script.c for its arguments. */
extern struct redis_script redis_script_write;
/* Writes one pool's nodes: likewise. */
extern struct redis_script redis_script_nodes;
/* Who watches the nodes of a pool: likewise. */
extern struct redis_script redis_script_watch;
/* Writes a heartbeat, and forgets members that are long gone. */
extern struct redis_script redis_script_beat;
/* Says goodbye. */
extern struct redis_script redis_script_leave;

/* Like redis_command(); argc/argv are what follows the script: the number of
 * keys, keys, arguments. */
void redis_script_run(struct redis *r, struct redis_script *script, double timeout, size_t argc,
		      const struct str *argv, redis_reply_fn *done, void *arg);

#endif
