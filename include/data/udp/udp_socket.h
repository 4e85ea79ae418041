/* udp_socket.h - one worker's socket where datagrams of clients come, and the flows that came by it.
 * The kernel gives all that one client sends to one of an address' sockets, by a hash of the addresses (SO_REUSEPORT),
 * as long as there are as many sockets.  Their number never changes once they are bound, neither by a reload nor by an
 * upgrade, which hands them over: so each has a table of its own, and no worker asks another one.
 * Born in open() of struct mode_datagrams; once its listener has closed it stays as long as it has flows.
 * Thread: the owning worker. */
#ifndef DATA_UDP_SOCKET_H
#define DATA_UDP_SOCKET_H

#include "base/hash.h"
#include "data/lane.h"

/* Datagrams that are received at once. */
#define UDP_BATCH 32
#define UDP_DATAGRAM_MAX 65536

struct udp_flow;

/* Of whom a flow is: the sender, and which of our addresses it spoke to, where the socket is bound to all of them. */
struct udp_key {
	struct endpoint client, local;	/* local.family 0: the socket's */
	uint32_t scope;	/* of a link-local client (RFC 4007): the interface */
};

struct udp_control {
	_Alignas(struct cmsghdr) char room[CMSG_SPACE(sizeof(struct in6_pktinfo))];
};

/* What a worker has for all of its sockets. */
struct udp_worker {
	struct hash_secret secret;
	struct link sockets;	/* struct udp_socket */
	struct link lanes;	/* struct udp_lane */
	double complained;	/* worker->now of the last line about too many flows */
	unsigned closed;	/* sockets that wait for their last flow to end */
	struct mmsghdr in[UDP_BATCH], out[UDP_BATCH];
	struct iovec parts[UDP_BATCH];
	struct addr senders[UDP_BATCH];
	struct udp_control controls[UDP_BATCH], answer;
	char bytes[UDP_BATCH][UDP_DATAGRAM_MAX];	/* pages that no datagram has filled cost nothing */
};

struct udp_socket {
	struct worker *worker;
	struct listener *listener;	/* NULL: it has closed */
	struct lane *lane;	/* of the listener */
	struct link link;	/* udp_worker->sockets */
	ev_io watcher;
	uint64_t cookie;	/* the kernel's name for it, the same in another process (SO_COOKIE) */
	bool any;	/* bound to all addresses: which one a datagram came to is asked for */
	bool yielded;	/* another process reads it */
	bool awaits;	/* nothing is read until another process has handed its flows over, ... */
	double awaits_until;	/* ... or then (worker->now); 0: it was not resumed yet */
	double ends_at;	/* of one that was closed: its flows end */
	bool parting;	/* the word that its flows have gone is to be said, or is being heard */
	struct link farewell;	/* udp_lane->farewells, of one that yielded */
	struct udp_flow **table;	/* [hash & mask] */
	unsigned n_flows, mask;
};

extern const struct mode_datagrams udp_datagrams;

/* Makes what the worker needs, if a service of that configuration is of UDP. */
void udp_worker_fit(struct udp_worker **u, const struct config *config);
/* Receives up to UDP_BATCH datagrams, and with names from whom; n of them are in u->in and u->parts.
 * -1 with errno; 0: none. */
int udp_receive(struct udp_worker *u, int fd, bool names);

/* The one of that cookie; NULL: the worker has none. */
struct udp_socket *udp_socket_find(struct worker *w, uint64_t cookie);
/* Reads from now on, if nothing but the wait for another process' flows stood in its way. */
void udp_socket_waits_no_more(struct udp_socket *s);
/* What is due: waits and closed sockets that have lasted long enough. */
void udp_sockets_tick(struct worker *w);
/* Frees those that have closed and have no flow any more: no stack frame knows them. */
void udp_sockets_reap(struct worker *w);

/* Its table. */
struct udp_flow *udp_socket_flow(struct udp_socket *s, const struct udp_key *key, uint32_t hash);
uint32_t udp_socket_hash(const struct udp_socket *s, const struct udp_key *key);
void udp_socket_add(struct udp_socket *s, struct udp_flow *f);
void udp_socket_remove(struct udp_socket *s, struct udp_flow *f);

#endif
