/* redis_hello.h - what is said first to a server: who we are, which database,
 * and is it what we need: a master, loaded, and no cluster.
 * Thread: main. */
#ifndef STORE_REDIS_HELLO_H
#define STORE_REDIS_HELLO_H

#include "store/redis_wire.h"

/* OK: it may be used.  E_STORE: it may not, and why says so. */
typedef void redis_hello_fn(void *arg, enum err e, const struct why *why);

struct redis_hello {
	/* The caller's, set before the start; all outlive it. */
	struct wire *wire;
	const char *user, *password;	/* NULL: the default one, none */
	unsigned database;
	bool sentinel;	/* it is one: only the password is asked for */
	redis_hello_fn *done;
	void *arg;

	/* Ours; to be read in done. */
	bool wrong_password;	/* it was the password that it did not like */

	enum redis_question {
		ASK_AUTH,
		ASK_SELECT,
		ASK_PING,
		ASK_ROLE,
		ASK_ROLE_BY_INFO,
		ASK_CLUSTER,
		ASK_NOTHING
	} question;	/* that is out */
	bool again;	/* only the role, of a server in use */
	bool role_by_info;	/* ROLE itself may not be asked */
	double timeout;	/* s, of each question: a server that is far away answers all of them, one after the other */
};

/* Begins, on a wire that is open; each question may take timeout seconds.  done is called once, not from inside; not
 * at all when the wire ends first: its closed() tells that. */
void redis_hello_start(struct redis_hello *h, double timeout);
/* Asks a server in use whether it still is a master; does nothing while that is
 * being asked.  done as above. */
void redis_hello_again(struct redis_hello *h, double timeout);

/* NULL, or why a server that gives this answer to any command cannot be used
 * just now: it is no master any more, it is loading, it is a cluster. */
const char *redis_hello_refusal(const redisReply *reply);

#endif
