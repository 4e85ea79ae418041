/* udp_flow.h - what one client's datagrams are to a service: a flow, with a socket of its own that is connected to
 * the backend that was chosen for the first of them.  So the kernel says which answers are whose, and which backend
 * has no such port (ICMP).
 * Born with the first datagram, ends once in udp_flow_end(), freed at the end of the loop turn.  Holds one backend
 * reference, a permit and a place among the process' flows.
 * Thread: the owning worker. */
#ifndef DATA_UDP_FLOW_H
#define DATA_UDP_FLOW_H

#include "data/dial.h"
#include "data/udp/udp_socket.h"

#define UDP_FLOW_MAGIC 0x75647066u
/* Seconds after which traffic makes a flow a lasting one, and the longest that one waits for traffic that is none:
 * as conntrack has it (nf_conntrack_proto_udp.c). */
#define UDP_LASTS_AFTER 2.0
#define UDP_YOUNG_IDLE 30.0

struct udp_flow {
	uint32_t magic;
	uint32_t hash;
	struct udp_flow *next;	/* in the table */
	struct udp_socket *socket;
	struct udp_key key;
	struct dial dial;	/* lane, permit, color, backend; its deadline is that of idling */
	struct io server;
	struct link young;	/* udp_lane->young; alone: it lasts, or is on its way to another process */
	bool lasting;	/* it does not give its place to a new one */
	bool kept;	/* by this process: another one would not take it */
	float first_byte;	/* seconds from birth to the first answer; < 0: there was none */
	uint64_t bytes_in, bytes_out, datagrams_in, datagrams_out;
};

extern const struct dial_ops udp_flow_dial_ops;

/* A flow for the sender; NULL: it is refused, which is counted and told. */
struct udp_flow *udp_flow_new(struct udp_socket *s, const struct udp_key *key, uint32_t hash);
/* One that is zero but for what every flow has.  NULL without memory. */
struct udp_flow *udp_flow_alloc(struct udp_socket *s, const struct udp_key *key, uint32_t hash);
/* Its socket is connected, and it is in its lane's list: waits for answers. */
void udp_flow_watch(struct udp_flow *f);
void udp_flow_unwatch(struct udp_flow *f);
void udp_flow_on_server(struct ev_loop *loop, ev_io *w, int revents);
/* Sends n of the received datagrams to the backend, from the first; returns how many it is done with: fewer, and the
 * flow has ended, where the backend refuses, which is told of what was sent before. */
unsigned udp_flow_forward(struct udp_flow *f, unsigned first, unsigned n);
/* Once, for every flow, by the one reason it has. */
void udp_flow_end(struct udp_flow *f, enum ending ending);
/* Out of all lists but the worker's of what has ended: as udp_flow_end() without a word. */
void udp_flow_leave(struct udp_flow *f);
void udp_flow_idled(struct deadline *d);
/* So many datagrams found no way: counted. */
void udp_flow_dropped(const struct lane *l, enum entrance entrance, enum color color, unsigned n);

#endif
