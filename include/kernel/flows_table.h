/* flows_table.h - what flows remembers of each flow, and of the backends they go
 * to.  Thread: the flows thread. */
#ifndef KERNEL_FLOWS_TABLE_H
#define KERNEL_FLOWS_TABLE_H

#include "base/hash.h"
#include "kernel/flows_wire.h"
#include "kernel/mark.h"
#include "model/backend.h"
#include "model/ending.h"

/* A flow that only a dump has shown may never have an event (it began while events
 * were not read): the dump's last word is kept to tell its end by. */
struct shadow {
	struct flow_tuple tuple, reply;
	uint64_t bytes_in, bytes_out;
	uint32_t status;
	uint32_t timeout;	/* seconds left to it */
	double at;	/* clock_now() then */
	bool counted;
};

/* Whether its end is worth a line (model/access.h), and of which share it is. */
enum flow_line { LINE_NONE, LINE_OF_ALL, LINE_SAMPLED, LINE_OF_ERROR };

struct flow {
	uint64_t key;	/* flow_key(); 0: the place is free */
	double born, closed;	/* clock_now(); closed 0: not yet */
	struct shadow *shadow;	/* owned; NULL: its birth was heard of */
	uint32_t mark;
	uint32_t place;	/* index of the backend */
	uint8_t seen;	/* the last round of counting that met it */
	uint8_t state;	/* TCP_CONNTRACK_… when last heard of; 0: none */
	uint8_t ending;	/* enum ending once closed or cut */
	uint8_t line;	/* enum flow_line, once closed */
	bool holds;	/* is in its color's count */
	bool cut;	/* by us; its removal is on the way */
	bool logged;	/* its bytes are counted, its line is written */
};

/* Open addressing by linear probing, never more than three quarters full. */
struct flow_table {
	struct flow *slots;
	size_t size;	/* a power of two */
	size_t n;
	struct hash_secret secret;
};

void flow_table_init(struct flow_table *t);
void flow_table_free(struct flow_table *t);
/* Of the tuple as the client sends and conntrack's id: never 0. */
uint64_t flow_key(const struct flow_table *t, const struct flow_tuple *tuple, uint32_t id);
/* NULL when there is none.  Pointers hold until the next flow_add() or
 * flow_remove(). */
struct flow *flow_find(const struct flow_table *t, uint64_t key);
/* A zeroed one with that key, which must not be there. */
struct flow *flow_add(struct flow_table *t, uint64_t key);
/* Frees its shadow as well. */
void flow_remove(struct flow_table *t, struct flow *f);

/* One address that flows of one color of one service go to. */
struct place {
	uint8_t address[16];
	uint16_t port;	/* as on the wire */
	uint16_t service;
	uint8_t family, color;
	bool listed;	/* is of the service now */
	uint32_t n;	/* flows that have not ended */
	uint32_t next;	/* of the service: its index plus one; 0: none */
	struct backend *backend;	/* one reference; NULL: none of the service's */
};

struct place_table {
	struct place *list;
	size_t n, room;
	uint32_t first[MARK_SERVICES + 1];	/* of each service: its index plus one; 0: none */
	uint32_t *index;	/* of list, plus one; 0: free */
	size_t size;	/* of index: a power of two */
	struct hash_secret secret;
};

void place_table_init(struct place_table *t);
/* Gives the references back. */
void place_table_free(struct place_table *t);
/* The index of the place, made if it is new. */
uint32_t place_of(struct place_table *t, unsigned service, enum color color, const struct addr *a);
/* Keeps those with keep[i] != 0 and those with a backend; keep[i] is then the
 * index it has now. */
void place_table_prune(struct place_table *t, uint32_t *keep);
/* The first of a service, and the one after it; NULL: there is none. */
static inline struct place *
place_first(const struct place_table *t, unsigned service)
{
	return t->first[service] != 0 ? &t->list[t->first[service] - 1] : NULL;
}
static inline struct place *
place_next(const struct place_table *t, const struct place *p)
{
	return p->next != 0 ? &t->list[p->next - 1] : NULL;
}
void place_address(const struct place *p, struct addr *out);

#endif
