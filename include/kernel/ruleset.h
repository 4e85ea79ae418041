/* ruleset.h - what the kernel does with packets to our services: one nftables
 * table of ours, and a thread that keeps it as main wants it.
 *
 * The table is `inet teal_NAME`; no rule of ours is ever outside it, and nothing
 * but it is ever written.  Every packet passes two tests (of TCP's flags: who comes again from a port
 * whose last connection is still remembered; of conntrack's state: packets that it cannot place); for the rest
 * only a flow's first one looks at it:
 *
 *	prerouting, output	address . protocol . port -> the flow's mark (kernel/mark.h),
 *	  (nat)			one lookup: *that element is what a flip changes*;
 *				then the service's door (networks, limits of sources), then
 *				service . color of the mark -> the chain of that color's backends,
 *				which translates the address
 *	postrouting (nat)	masquerade of flows with marks of ours, unless transparent
 *
 * What finds no element (expired, refused) or no backend is answered with a TCP
 * reset or ICMP port unreachable, and never reaches the local stack.  So is what is
 * no SYN and belongs to no flow, as after a cut.  Established flows stay what they are,
 * by conntrack, whatever happens here, while the table stands.
 *
 * What packets see changes in one transaction of the kernel.  Chains of backends are never
 * changed: a new one is made, the element leads to it, and the old one goes a second later,
 * so that a packet under way never finds half of anything.
 *
 * Measured up to the answer on main's loop, 1,000 services with 2 x 20 backends, on two busy
 * cores: the whole load 0.3 to 0.6 s (by source hash, with 251 slots a color, 1.3 s), a
 * flip 0.03 to 0.1 ms (99th percentile 0.25), a backend that comes or goes 1 ms, all
 * lifetimes renewed 2 ms, a table adopted that is right 25 to 50 ms; of one service a flip takes as
 * long.  A packet of a flow that exists costs what it costs with a DNAT map by hand, within 5 %; the first of
 * a flow (UDP, masquerade) up to 15 % more; both with 1,000 services as with one, within 5 %.
 *
 * What it does not do: clients on addresses of the loopback are not forwarded from wildcards, for the
 * kernel routes them only with net.ipv4.conf.IFACE.route_localnet=1 (who lists 127.0.0.1 has set it).
 * With net.netfilter.nf_conntrack_tcp_loose=0 those who were cut hear nothing; it is 1 unless changed.
 *
 * Main's thread makes all calls; answers come as upcalls on its loop. */
#ifndef KERNEL_RULESET_H
#define KERNEL_RULESET_H

#include <ev.h>
#include <stdio.h>

#include "base/err.h"
#include "kernel/mark.h"
#include "model/config.h"
#include "model/ending.h"
#include "model/snapshot.h"

/* Of teal_NAME: letters, digits, '_' and '-' behind a letter. */
#define RULESET_TABLE_MAX 32

/* One service, as configured.  All that is pointed to outlives the ruleset. */
struct ruleset_service {
	const char *name;
	enum service_mode mode;	/* MODE_TCP or MODE_UDP */
	/* 0.0.0.0 and :: mean every local address of the family. */
	const struct addr *listen;
	size_t n_listen;
	const struct addr *preview;
	size_t n_preview;	/* may be 0 */
	bool source_hash;	/* else in turn, by weight */
	bool transparent;	/* backends see the client's address; else masquerade */
	bool local_clients;	/* processes of this host too */
	const struct limits_config *limits;	/* allow, deny, per_source, source_prefix6, source_rate */
};

struct ruleset_config {
	const char *table;	/* NAME */
	/* Who we are, over restarts: "teal" and this are the proof that a table is ours.
	 * At most 100 letters, digits and any of _-.: */
	const char *owner;
	unsigned tag;	/* 1 to 255; with claims: where the search begins, or what was given */
	bool tag_given;	/* by the configuration: no other one will do */
	bool claims;	/* the tag is claimed against every other teald of the host */
	const struct ruleset_service *services;
	size_t n_services;	/* 0 to MARK_SERVICES */
	const struct addr *sources;	/* of masqueraded flows, in turn; those of a family: none, the kernel's choice */
	size_t n_sources;
	/* Seconds that the elements that lead to a color live unless ruleset_renew()
	 * comes in time; 0: for ever. */
	double max_age;
	/* Seconds that conntrack keeps an established connection of TCP without a packet
	 * (nf_conntrack_tcp_timeout_established); 0: 432000, as it comes. */
	unsigned established;
};

/* Why a flow was refused; ending_word() is the label of teal_rejected_total. */
#define RULESET_REFUSAL_TABLE(X) \
	X(REFUSED_DENIED, END_DENIED)	/* allow and deny */ \
	X(REFUSED_SOURCE_LIMIT, END_SOURCE_LIMIT) \
	X(REFUSED_SOURCE_RATE, END_SOURCE_RATE) \
	X(REFUSED_NO_BACKEND, END_NO_BACKEND) \
	X(REFUSED_STALE, END_STALE)	/* expired, or the snapshot says refuse */

enum ruleset_refusal {
#define X(name, ending) name,
	RULESET_REFUSAL_TABLE(X)
#undef X
};
#define X(name, ending) +1
enum { RULESET_REFUSALS = 0 RULESET_REFUSAL_TABLE(X) };
#undef X
enum ending ruleset_refusal_ending(enum ruleset_refusal r);

/* Of one service, since the table was made, for it outlives teald. */
struct ruleset_counts {
	uint64_t refused[RULESET_REFUSALS];
	uint64_t strays;	/* packets of no flow, as after a cut, answered with a reset */
};

struct ruleset_calls {
	/* That generation of the service, or a newer one, is what the kernel does. */
	void (*on_acked)(void *arg, size_t service, uint64_t generation);
	/* A transaction failed, and the sentence says why; it is tried again every
	 * second.  Once for each trouble; why NULL: it is over. */
	void (*on_trouble)(void *arg, const char *why);
	void *arg;
};

struct ruleset;

/* The tag of marks: the one claimed. */
unsigned ruleset_tag(const struct ruleset *r);
/* Blocks for some milliseconds: for start-up.  Reads the table, if there is one;
 * writes nothing but the claim of its tag, with which the table begins.  Every service has its number from now on: that of its name in the
 * table, or a free one.  config is copied, not what it points to.  E_DENIED without
 * CAP_NET_ADMIN; E_CONFLICT, with the owner's name, when the table is another's;
 * E_UNSUPPORTED when the kernel has no nftables. */
MUST_USE enum err ruleset_open(struct ev_loop *loop, const struct ruleset_config *config,
			       const struct ruleset_calls *calls, struct ruleset **out, struct why *why);
/* The service's number in marks. */
unsigned ruleset_number(const struct ruleset *r, size_t service);
/* Did ruleset_open() find a table of ours? */
bool ruleset_is_adopted(const struct ruleset *r);

/* New flows are to obey this snapshot; consumes the reference.  on_acked() follows;
 * of several on the way the newest is enough.  Nothing is written before
 * ruleset_begin(). */
void ruleset_publish(struct ruleset *r, size_t service, struct snapshot **snapshot);
/* The same for each service that has an entry in snapshots[number of services] (NULL: as
 * it is), in one transaction, and with all lifetimes renewed.  Consumes the references. */
void ruleset_publish_all(struct ruleset *r, struct snapshot **snapshots);
/* What is known is enough to begin with: a table that was found goes on as it is, where
 * that is what is wanted, and becomes what is wanted where not, in one transaction.  Services
 * that had no snapshot yet refuse their clients as stale, so wait for all that have a
 * chance. */
void ruleset_begin(struct ruleset *r);
/* The elements live for max_age seconds again, from now.  Nothing where max_age is 0. */
void ruleset_renew(struct ruleset *r);

/* Reads the counters; done is called once, counts is the receiver's until it returns
 * and has one for each service; NULL when they could not be read. */
typedef void ruleset_counts_fn(void *arg, const struct ruleset_counts *counts);
void ruleset_read_counts(struct ruleset *r, ruleset_counts_fn *done, void *arg);

/* Waits until what is under way is in the kernel and ends the thread; the table is
 * taken away, or stays.  Blocks; upcalls of what was under way are made; *rp is NULL on return.
 * The error is that of the removal. */
enum err ruleset_close(struct ruleset **rp, bool remove, struct why *why);

/* Writes the text of a new table as `nft -f` takes it; snapshots may be NULL, or some
 * of them: refused.  No kernel is asked. */
void ruleset_print(const struct ruleset_config *config, struct snapshot *const *snapshots, FILE *out);

#endif
