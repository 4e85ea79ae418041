/* flows_wire.h - conntrack over netlink (linux/netfilter/nfnetlink_conntrack.h):
 * what is asked of it, and what it says of one flow.  No state but the sockets.
 * Thread: the socket's owner. */
#ifndef KERNEL_FLOWS_WIRE_H
#define KERNEL_FLOWS_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "net/addr.h"

/* One direction of a flow.  No padding, so that it can be hashed; addresses of
 * IPv4 are followed by zeros, ports are as on the wire. */
struct flow_tuple {
	uint8_t family;	/* AF_INET, AF_INET6; 0: not said */
	uint8_t protocol;	/* IPPROTO_TCP, IPPROTO_UDP */
	uint16_t zone;
	uint16_t src_port, dst_port;
	uint8_t src[16], dst[16];
};
_Static_assert(sizeof(struct flow_tuple) == 40, "no padding");

/* What kind of news a message is. */
enum flow_news { FLOW_LISTED, FLOW_BORN, FLOW_CHANGED, FLOW_GONE };

struct flow_fact {
	enum flow_news news;
	uint32_t id, mark;
	struct flow_tuple tuple;	/* as the client sends */
	struct flow_tuple reply;	/* as the backend answers: it is the source */
	uint32_t status;	/* IPS_… bits */
	uint8_t state;	/* TCP_CONNTRACK_…; 0: no TCP, or not said */
	bool unacknowledged;	/* TCP: one side owes the other an ACK */
	bool timed;	/* timeout is known: seconds until the kernel forgets it */
	uint32_t timeout;
	bool counted;	/* the following four are known (nf_conntrack_acct) */
	uint64_t packets_in, bytes_in, packets_out, bytes_out;	/* in: from the client */
	uint64_t began_ns, ended_ns;	/* wall clock (nf_conntrack_timestamp); 0: not known */
	/* Of the last packet that went by the shortcut, nanoseconds of CLOCK_MONOTONIC; 0: none did.  The four above
	 * have what went by it. */
	uint64_t shortcut_ns;
};

struct nlmsghdr;
/* Reads a message; listed: it answers a question.  False: it is not about a flow. */
bool flow_fact_read(const struct nlmsghdr *m, bool listed, struct flow_fact *f);

/* The fact is the receiver's until it returns.  False: no more of them are wanted. */
typedef bool flow_fact_fn(void *arg, struct flow_fact *fact);

/* A socket that hears of flows of that tag: their births, the ends of TCP
 * connections (TIME_WAIT, CLOSE, or the bit of the mark), their removals; all else stays in the
 * kernel.  Not blocking.  buffer: bytes that news may wait in. */
MUST_USE enum err flows_wire_listen(unsigned tag, unsigned buffer, int *fd, struct why *why);
/* Reads what waits, at most `most` messages; how many.  *lost is set when the
 * kernel had to throw some away. */
unsigned flows_wire_read(int fd, unsigned most, flow_fact_fn *fn, void *arg, bool *lost);

/* A socket for the other questions. */
MUST_USE enum err flows_wire_ask(int *fd, struct why *why);
/* Entries in the namespace's table, and how many there may be. */
MUST_USE enum err flows_wire_usage(int fd, uint64_t *entries, uint64_t *max, struct why *why);

/* Packets of the host that became no entry of conntrack, and went no further, since its start. */
struct flow_losses {
	uint64_t clashed;	/* the translated flow was like another one: above all where no port was free */
	uint64_t dropped;	/* the table was full */
};
/* False: the kernel does not say; as with flows_wire_dump() *fd may be -1 then, and is opened again. */
MUST_USE bool flows_wire_losses(int *fd, struct flow_losses *out);

/* Lists the flows whose mark is `mark` in the bits of mask; on a socket of dumps
 * alone, which is opened where *fd is -1 and stays: the end of a netlink socket
 * of this kind makes nftables' next transaction wait for an RCU grace period,
 * some ten milliseconds.  False when it was not all of them: fn wanted no more (errno is 0 then), or
 * the kernel failed. */
MUST_USE bool flows_wire_dump(int *fd, uint32_t mark, uint32_t mask, flow_fact_fn *fn, void *arg);

/* A batch of questions about single flows, to be asked at the latest when it is
 * full. */
#define FLOWS_WIRE_BATCH 128
struct flow_batch {
	unsigned n;
	size_t used;
	char room[FLOWS_WIRE_BATCH * 128];
};
/* Deletions: only the very flow with that id goes, not one that has taken its
 * place; those that went before are no error.  False, with errno, when the kernel
 * did not take them. */
/* Changes of connections of TCP: sequence numbers that conntrack has not followed are no reason to doubt a packet
 * any more; it was reset, and has so many seconds left. */
void flows_wire_add_tolerance(struct flow_batch *b, const struct flow_tuple *tuple);
void flows_wire_add_reset(struct flow_batch *b, const struct flow_tuple *tuple, uint32_t seconds);
void flows_wire_add_delete(struct flow_batch *b, const struct flow_tuple *tuple, uint32_t id);
bool flows_wire_order(int fd, struct flow_batch *b);
/* What is to be said of those, FLOW_LISTED; of those that are no more, nothing. */
void flows_wire_add_get(struct flow_batch *b, const struct flow_tuple *tuple);
void flows_wire_get(int fd, struct flow_batch *b, flow_fact_fn *fn, void *arg);

/* The source of that tuple. */
void flow_source(const struct flow_tuple *t, struct addr *out);

#endif
