/* arrival_private.h - private to arrival*.c: one arrival, and the stages it
 * goes through.
 * Thread: the owning worker. */
#ifndef DATA_ARRIVAL_PRIVATE_H
#define DATA_ARRIVAL_PRIVATE_H

#include "data/arrival.h"
#include "net/io.h"
#include "proto/tls_hello.h"

/* What is waited for now.  LINGER: it has failed and been told so; until it has
 * read that, what it still sends is thrown away, or the kernel's reset would
 * overtake our last words.  READY: all is known, but descriptors are out. */
enum arrival_stage { ARRIVAL_PROXY, ARRIVAL_HELLO, ARRIVAL_HANDSHAKE, ARRIVAL_LINGER, ARRIVAL_READY };

struct arrival {
	uint32_t magic;
	uint8_t stage;	/* enum arrival_stage */
	uint8_t color;	/* it counts for that */
	bool slow;	/* the hello comes in pieces: its socket was told how much is enough */
	struct io io;
	struct listener *listener;
	struct deadline deadline;	/* the stage's */
	struct deadline again;	/* of a Unix socket whose hello comes in pieces */
	struct link link;	/* the lane's arriving */
	struct arrival_facts facts;
	size_t wanted;	/* bytes of the hello that were waited for last */
	char *part;	/* owned: a PROXY header that came in pieces, as far as it is there */
	size_t n_part;
};

enum arrival_step {
	ARRIVAL_WAIT,	/* call again when there is more to read */
	ARRIVAL_DONE,	/* the stage is over */
	ARRIVAL_BROKEN,	/* end it, by *ending */
};

/* Reads the PROXY header and not a byte more, and believes it. */
enum arrival_step arrival_read_proxy(struct arrival *a, enum ending *ending);
/* Forgets the part that is there. */
void arrival_drop_part(struct arrival *a);

/* Looks at the ClientHello, and takes nothing off the socket.  WAIT: what to
 * wait for is settled.  BROKEN: it was told so; linger. */
enum arrival_step arrival_read_hello(struct arrival *a, struct tls_hello *hello, enum ending *ending,
				     const char **words);
/* Whose client it is that asks for this name; NULL: nobody's. */
struct lane *arrival_lane(const struct listener *li, const char *name);
/* Says so in a way that is understood before any handshake. */
void arrival_alert(struct arrival *a, enum tls_alert alert);

#endif
