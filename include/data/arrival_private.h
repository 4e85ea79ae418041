/* arrival_private.h - private to arrival*.c: one arrival, and the stages it
 * goes through.
 * Thread: the owning worker. */
#ifndef DATA_ARRIVAL_PRIVATE_H
#define DATA_ARRIVAL_PRIVATE_H

#include "data/arrival.h"
#include "net/io.h"

enum arrival_stage { ARRIVAL_PROXY, ARRIVAL_SERVED };

struct arrival {
	uint32_t magic;
	uint8_t stage;	/* enum arrival_stage: what is done, or waited for, now */
	uint8_t color;	/* it counts for that */
	struct io io;
	struct listener *listener;
	struct deadline deadline;	/* the stage's */
	struct link link;	/* the lane's arriving */
	struct arrival_facts facts;
	char *part;	/* owned: what came in pieces, as far as it is there */
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

#endif
