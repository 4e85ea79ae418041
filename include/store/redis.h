/* redis.h - one connection to a Redis server: commands in, replies out, by
 * callback, never blocking.  hiredis formats and parses; sockets, timers,
 * TLS and limits are ours, so that a server that is down, slow or talking
 * rubbish costs a callback with an error and nothing else.
 * Thread: main; names are resolved on the jobs' helper thread. */
#ifndef STORE_REDIS_H
#define STORE_REDIS_H

#include <ev.h>
#include <hiredis/hiredis.h>

#include "base/err.h"
#include "model/config.h"
#include "net/jobs.h"

struct redis;

/* A whole reply is never larger than this; a larger one ends the connection. */
#define REDIS_REPLY_MAX (16 * 1024 * 1024)
/* Commands sent and not answered; one more is refused. */
#define REDIS_PENDING_MAX 1024

/* OK: reply is the server's (also an error reply, type REDIS_REPLY_ERROR) and
 * the receiver's until the callback returns.  E_STORE: it was not sent, at
 * least not whole, or the server refused to be used (-READONLY, -LOADING, …,
 * which end the connection): not executed in either case.  E_UNKNOWN: sent,
 * but the answer never came (timeout, connection lost): it may or may not have
 * been executed.  why says more, reply is NULL.  Called exactly once for each
 * command. */
typedef void redis_reply_fn(void *arg, enum err e, const redisReply *reply, const struct why *why);

struct redis_events {
	/* Connected, authenticated, database selected, and proven to be a master
	 * that is no cluster: commands are accepted from now on. */
	void (*up)(void *arg);
	/* Lost, or could not be reached (told once for each change, and with the
	 * first failure at the start); reconnecting goes on by itself with
	 * jittered pauses of 0.1 to 1 s. */
	void (*down)(void *arg, const struct why *why);
	/* A message on a subscribed channel. */
	void (*message)(void *arg, struct str channel, struct str payload);
	void *arg;
};

/* Begins to connect, to where config.store says.  channel: NULL for commands;
 * else this connection only subscribes to it (again after each reconnect).
 * No callback comes from inside.  config and jobs outlive it. */
struct redis *redis_new(struct ev_loop *loop, const struct config *config, struct jobs *jobs,
			const char *channel, const struct redis_events *events);
/* Commands without answer get E_UNKNOWN first (E_STORE those that were not sent);
 * *rp is NULL on return.  Any callback may do this, or send commands. */
void redis_free(struct redis **rp);

bool redis_is_up(const struct redis *r);
/* "10.0.0.5:6379", "unix:/run/redis.sock": where it is or last tried to be. */
const char *redis_where(const struct redis *r);
/* Why the last attempt failed; "" while it is up, or nothing has failed yet. */
const char *redis_why(const struct redis *r);

/* Sends one command; arguments are copied.  timeout in seconds from now; when
 * it passes, the connection is given up (a late answer could otherwise be
 * taken for the next one's) and all pending commands get E_UNKNOWN.  When the
 * connection is not up, done(E_STORE) comes from inside. */
void redis_command(struct redis *r, double timeout, size_t argc, const struct str *argv, redis_reply_fn *done,
		   void *arg);

#endif
