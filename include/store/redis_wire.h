/* redis_wire.h - one conversation with one server that speaks Redis' protocol
 * (Redis, Sentinel): connect, TLS, commands in order, replies in order.  It
 * ends once and is opened anew by its owner; it knows nothing of masters,
 * passwords or reconnecting.
 * Thread: main. */
#ifndef STORE_REDIS_WIRE_H
#define STORE_REDIS_WIRE_H

#include "base/buf.h"
#include "base/list.h"
#include "net/io.h"
#include "store/redis.h"

/* The elements of all arrays of one reply. */
#define REDIS_ELEMENTS_MAX (256 * 1024)
/* A line of the protocol that is no bulk: an error, a number. */
#define REDIS_LINE_MAX (64 * 1024)

struct wire_events {
	/* Connected, TLS included: commands are taken. */
	void (*open)(void *arg);
	/* Ended, by anything but wire_close(); the commands without answer were
	 * told before. */
	void (*closed)(void *arg, const struct why *why);
	/* A message on a subscribed channel; NULL where none is expected. */
	void (*message)(void *arg, struct str channel, struct str payload);
};

enum wire_state { WIRE_CLOSED, WIRE_CONNECTING, WIRE_SHAKING, WIRE_OPEN };

struct wire {
	struct ev_loop *loop;
	const struct wire_events *events;
	void *arg;
	enum wire_state state;
	unsigned conversation;	/* which one: changes when it ends */
	char where[288];	/* "10.0.0.5:6379", for messages */
	char host[254];	/* what the certificate must say */
	struct ssl_ctx_st *tls;	/* NULL: plain; borrowed */
	struct io io;
	ev_timer timer;	/* runs out when something takes too long */
	double timer_at;	/* clock_now() then; 0: not running */
	double open_by;	/* clock_now() when connecting has taken too long */
	double open_timeout;	/* seconds, for the message */
	int refused;	/* errno of a connect that failed at once */

	redisReader *reader;
	redisReplyObjectFunctions reader_functions;
	size_t reader_elements;	/* of the reply in the making */
	size_t reader_bytes;	/* fed since the last whole reply */
	bool reader_refused;	/* more elements than we take */

	struct buf out;
	unsigned long long out_end, out_sent;	/* bytes of this conversation: queued, written */
	struct link pending;	/* struct wire_command, in order */
	unsigned n_pending;
	struct link lost;	/* those without answer that are still to be told */
};

struct wire_target {
	const struct addr *address;
	const char *host;	/* for the certificate; "" without TLS */
	const char *where;	/* for messages */
	struct ssl_ctx_st *tls;	/* NULL: plain; outlives the conversation */
};

void wire_init(struct wire *w, struct ev_loop *loop, const struct wire_events *events, void *arg);
/* Begins; closed before.  timeout in seconds, until open().  Never calls back
 * from inside. */
void wire_open(struct wire *w, const struct wire_target *to, double timeout);
/* Ends it without closed(); when it returns, commands without answer have been
 * told E_UNKNOWN or E_STORE with the reason.  Harmless when closed, and from
 * inside of any callback. */
void wire_close(struct wire *w, const struct why *why);
static inline bool
wire_is_open(const struct wire *w)
{
	return w->state == WIRE_OPEN;
}

/* As redis_command(): OK with the reply; E_STORE when nothing of it, or not all
 * of it, left this host; E_UNKNOWN.  done may end the conversation or start
 * another, but the struct must outlive it. */
void wire_send(struct wire *w, double timeout, size_t argc, const struct str *argv, redis_reply_fn *done,
	       void *arg);

/* Seconds until the last of what is asked must be answered; 0: nothing is. */
double wire_patience(const struct wire *w);

/* A server's words made fit for a message: at most 200 bytes, printable. */
struct wire_text {
	char s[204];
};
struct wire_text wire_text(const redisReply *reply);
/* The reply is an error whose first word is this: "NOPERM". */
bool wire_is_error(const redisReply *reply, const char *code);

#endif
