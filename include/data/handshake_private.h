/* handshake_private.h - private to handshake*.c: one connection, and the stages it
 * goes through.
 * Thread: the owning worker. */
#ifndef DATA_HANDSHAKE_PRIVATE_H
#define DATA_HANDSHAKE_PRIVATE_H

#include "data/handshake.h"
#include "data/lane.h"
#include "net/io.h"
#include "proto/tls_hello.h"

/* What is waited for now.  LINGER: it has failed and been told so; until it has
 * read that, what it still sends is thrown away, or the kernel's reset would
 * overtake our last words.  READY: all is known, but descriptors are out. */
enum handshake_stage { HANDSHAKE_PROXY, HANDSHAKE_HELLO, HANDSHAKE_TLS, HANDSHAKE_LINGER, HANDSHAKE_READY };

struct handshake {
	uint32_t magic;
	uint8_t stage;	/* enum handshake_stage */
	uint8_t color;	/* it counts for that */
	bool kept;	/* by this process: another one would not take it */
	bool slow;	/* the hello comes in pieces: its socket was told how much is enough */
	struct io io;
	struct listener *listener;
	struct deadline deadline;	/* the stage's */
	struct deadline again;	/* of a Unix socket whose hello comes in pieces */
	struct link link;	/* lane->handshaking */
	struct handshake_facts facts;
	double tls_begun;	/* worker->now: the ClientHello was there */
	size_t wanted;	/* bytes of the hello that were waited for last */
	char *part;	/* owned: a PROXY header that came in pieces, as far as it is there */
	size_t n_part;
};

enum handshake_step {
	HANDSHAKE_WAIT,	/* call again when there is more to read */
	HANDSHAKE_DONE,	/* the stage is over */
	HANDSHAKE_BROKEN,	/* end it, by *ending */
};

/* Clients of that listener say something by TLS first. */
bool handshake_looks_at_hello(const struct listener *li);
/* One of that listener that is empty: no descriptor, no permit, not counted.  NULL without memory. */
struct handshake *handshake_alloc(struct listener *li);
/* It is a connection of the color that it would be given now, and in its lane's list; and is not any
 * more. */
void handshake_count(struct handshake *hs);
void handshake_uncount(struct handshake *hs);
/* Counted, but in no list and without a watcher: goes on with the stage it is in.  It may end. */
void handshake_go_on(struct handshake *hs);
/* One that holds nothing, and is not counted. */
void handshake_free(struct handshake *hs);

/* Reads the PROXY header and not a byte more, and believes it. */
enum handshake_step handshake_read_proxy(struct handshake *hs, enum ending *ending);
/* Forgets the part that is there. */
void handshake_drop_part(struct handshake *hs);

/* Looks at the ClientHello, and takes nothing off the socket.  WAIT: what to
 * wait for is settled.  BROKEN: it was told so; linger. */
enum handshake_step handshake_read_hello(struct handshake *hs, struct tls_hello *hello, enum ending *ending,
				     const char **words);
/* The lane for a client that asks for this name; NULL: none. */
struct lane *handshake_lane(const struct listener *li, const char *name);
/* Says so in a way that is understood before any handshake. */
void handshake_alert(struct handshake *hs, enum tls_alert alert);

#endif
