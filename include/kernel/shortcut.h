/* shortcut.h - established connections past netfilter's hooks: a program of the kernel's
 * at the entrance of each interface (tcx) takes their packets, while conntrack and the
 * rules stay in charge of all that begins and ends (src/kernel/bpf/shortcut.c).
 *
 * Programs, links and maps are of this process alone and go with it, also when it is
 * killed: packets then take the way through the hooks again.  What was set in conntrack
 * for a connection (it tolerates sequence numbers that it has not followed) stays with it.
 *
 * Thread: opened on main, while the capabilities are there; then the flows thread's, but
 * for what says otherwise. */
#ifndef KERNEL_SHORTCUT_H
#define KERNEL_SHORTCUT_H

#include <stdbool.h>
#include <stdint.h>

#include <linux/types.h>

#include "base/err.h"
#include "kernel/flows_wire.h"
#include "kernel/shortcut_shared.h"

struct shortcut;

/* Loads the program for connections whose marks have that tag, and takes the interfaces of
 * the caller's network namespace: those that carry Ethernet and are no part of another, and,
 * unless everywhere, have no filters of a qdisc at their entrance, which would not see what it takes.  E_UNSUPPORTED and one line that says why where the kernel,
 * the rights or this build do not have what it takes: there is none then, *out is NULL. */
MUST_USE enum err shortcut_open(struct shortcut **out, unsigned tag, bool everywhere, struct why *why);
/* What it has counted, for a process that takes over: a descriptor, the caller's; and what the next
 * shortcut_open() goes on with, consumed. */
int shortcut_bequeath(const struct shortcut *s);
void shortcut_inherit(int counts);
/* *sp is NULL on return. */
void shortcut_close(struct shortcut **sp);

/* Packets to (SHORTCUT_PORT_SERVICE) or from (SHORTCUT_PORT_BACKEND) that port, 1 to 65535,
 * may be of our connections.  For good: another's packets are only looked up once more. */
void shortcut_port(struct shortcut *s, unsigned protocol, unsigned port, uint8_t what);
/* Timeouts of conntrack, seconds. */
void shortcut_timeouts(struct shortcut *s, uint32_t established, uint32_t unacknowledged, uint32_t udp_stream);

/* Readable when connections ask for something; what they ask is told, each as the client sends. */
int shortcut_asks_fd(const struct shortcut *s);
typedef void shortcut_ask_fn(void *arg, const struct flow_tuple *tuple, enum shortcut_asks what);
void shortcut_read_asks(struct shortcut *s, shortcut_ask_fn *fn, void *arg);

/* What has gone by it of that connection; false: nothing.  take: it is over, and forgotten. */
MUST_USE bool shortcut_count(struct shortcut *s, const struct flow_tuple *tuple, bool take, struct shortcut_count *out);

/* Forgets connections of which nothing has gone by for `idle` seconds and that is_alive() does not know: ends that
 * nobody has told of.  is_alive sets alive[i] of the n tuples, at most SHORTCUT_SWEPT. */
#define SHORTCUT_SWEPT 64
typedef void shortcut_alive_fn(void *arg, const struct flow_tuple *tuples, unsigned n, bool *alive);
void shortcut_sweep(struct shortcut *s, double idle, shortcut_alive_fn *is_alive, void *arg);

/* Readable when interfaces come or change; then they are looked at again. */
int shortcut_links_fd(const struct shortcut *s);
void shortcut_look_at_links(struct shortcut *s);

/* Interfaces that have it now, by name with commas; any thread. */
void shortcut_names(const struct shortcut *s, char *text, size_t size);

#endif
