/* peer_private.h - what the files of control/peer share; no other file includes it:
 * peer.c (the line's life, messages), peer_predecessor.c and peer_successor.c (the engine that each is to the other),
 * peer_holders.c, peer_state.c (what one teald tells the next when it hands over), peer_backends.c (of nodes and backends),
 * peer_fleet.c, peer_tally.c (counters), peer_quality.c (the last minute), peer_fields.c (records, orders).
 * Thread: main. */
#ifndef CONTROL_PEER_PRIVATE_H
#define CONTROL_PEER_PRIVATE_H

#include "base/tlv.h"
#include "control/drain.h"
#include "control/peer.h"

/* -- peer_fields.c: rows of fields -------------------------------------------------- */

/* The first field of that tag; numbers and doubles that are missing or of another length
 * are 0, text is "", a row is empty. */
bool peer_has(struct str row, enum peer_tag tag);
uint64_t peer_u64(struct str row, enum peer_tag tag);
double peer_double(struct str row, enum peer_tag tag);	/* not NaN; perhaps infinite */
struct str peer_str(struct str row, enum peer_tag tag);
/* The next field of that tag; *rest begins as the row. */
bool peer_each(struct str *rest, enum peer_tag tag, struct str *value);
void peer_put_str(struct buf *b, enum peer_tag tag, const char *text);
/* False: there is no such word. */
bool peer_color(struct str row, enum color *out);

void peer_put_record(struct buf *b, const struct record *r);
/* False: it is none. */
bool peer_take_record(struct str row, struct record *out);
/* The fields of the orders into the row that is open. */
/* Terms of a node, into its row. */
void peer_put_terms(struct buf *b, const struct node_terms *t);
void peer_take_terms(struct str row, struct node_terms *out);
void peer_put_orders(struct buf *b, const struct drain_orders *o);
void peer_take_orders(struct str row, struct drain_orders *out);

/* -- peer_tally.c ---------------------------------------------------------------- */

/* What the service has counted, predecessors included; brief: only what is there now. */
void peer_put_tally(struct buf *b, const struct service *s, bool brief);
/* Into its inherited tally; counters that would fall stay. */
void peer_take_tally(struct service *s, struct str row);
/* A row of WORD and COUNT; nothing for 0. */
void peer_put_word(struct buf *b, enum peer_tag tag, const char *word, uint64_t n);
void peer_put_histogram(struct buf *b, enum peer_tag tag, const struct tally_histogram *h, const double *bounds);
/* Replaces what is there; of other bounds: each bucket in the next greater one. */
void peer_take_histogram(struct str row, struct tally_histogram *h, const double *bounds);
/* Of the process: both to the next one, in several messages, and what it has inherited. */
void peer_send_process(struct peer *p);
void peer_take_process(struct control *c, struct str row);
/* What counts for the max_connections of the process: told where it has changed since, added to
 * ours, and, the predecessor gone, taken from it again. */
void peer_send_clients(struct peer *p);
void peer_take_clients(struct peer *p, struct str row);
void peer_drop_clients(struct peer *p);

/* -- peer_quality.c --------------------------------------------------------------- */

/* What a service's windows hold, into the row; and out of it, once its totals were taken. */
/* In peer_bake.c: the last bake, what a next one would compare with, and how others ended; of PEER_STATE_SERVICE. */
void peer_put_bake(struct buf *b, const struct service_ctl *ctl);
void peer_take_bake(struct service_ctl *ctl, struct str row);
void peer_put_quality(struct buf *b, const struct service_ctl *ctl);
void peer_take_quality(struct service_ctl *ctl, struct str row);

/* -- peer.c ------------------------------------------------------------------------ */

/* A backend of the predecessor: what was last added to ours for it. */
struct peer_backend {
	struct backend *backend;	/* one reference */
	uint32_t connections;
	uint64_t failures, bad_answers, cut;
};

/* A service as both have it. */
struct peer_service {
	uint64_t serial;	/* of ours, which may have been removed since */
	char name[RECORD_NAME];	/* as the predecessor knows it */
	bool joined;	/* the other one is an engine of it */

	/* In the successor: what was added to ours for the predecessor. */
	bool same_terms;	/* both check backends in the same way */
	struct record *record;	/* before it begins; NULL: none is known */
	uint32_t held, queued;
	struct peer_backend *backends;
	size_t n_backends;

	/* In the predecessor. */
	uint64_t wanted;	/* the successor's generation that it waits for; 0: none */
	uint64_t due;	/* ours that answers it */
	bool refuse;
	uint64_t told_brief, told_tally, told_backends;	/* hashes of what was sent last */
	bool asking, answered;
	uint64_t asked_with[COLORS];	/* connections here, when the question was sent ... */
	uint64_t own[COLORS];	/* ... and when the one that was answered last was */
	uint64_t theirs[COLORS];	/* its answer */
};

struct peer_message {
	unsigned type;
	struct str row;	/* memory of its own */
};

/* Who asked for holders, or is asked. */
struct peer_question {
	struct link link;
	uint64_t number;
	holders_fn *done;
	void *arg;
	struct holders all;
};

struct peer {
	struct engine engine;
	struct control *control;
	enum peer_role other;
	peer_send_fn *send;
	void *send_arg;
	uint32_t clients;	/* of the max_connections of the process: as told last, or added to ours */
	bool active;	/* begun, or yielded, and not gone */
	struct peer_service *services;	/* by serial */
	size_t n;
	struct peer_service **by_name;
	/* In the successor, before it begins: what has been told so far. */
	struct peer_message *messages;
	size_t n_messages;
	/* In the predecessor. */
	ev_timer tick;
	unsigned ticks;
	char (*shared)[RECORD_NAME];	/* services that the successor has, as told so far */
	size_t n_shared;
	uint64_t last_question;
	struct link questions;	/* struct peer_question */
	uint64_t last_refresh;
	struct fleet fleet;	/* as told so far, of the reading that is under way */
	/* Nodes of a pool, as told so far. */
	char pool[RECORD_NAME];
	struct overlay overlay;
};

/* NULL: we do not have it, or no more. */
struct service_ctl *peer_ctl(const struct peer *p, const struct peer_service *ps);
struct peer_service *peer_find(const struct peer *p, struct str name);
struct peer_service *peer_find_by_service(const struct peer *p, const struct service *s);
/* Fills by_name, when all services are there. */
void peer_sort(struct peer *p);
void peer_say(struct peer *p, enum peer_type type, struct buf *row);
/* A row for one message; to be freed by peer_say(). */
void peer_row(struct buf *b);
/* The same, which begins with the service's name. */
void peer_service_row(struct buf *b, const struct peer_service *ps);
/* The engine is that peer's. */
struct peer *peer_of_engine(const struct engine *e);
void peer_join(struct peer *p, struct peer_service *ps, struct service_ctl *ctl);

/* -- peer_holders.c: who holds a color ------------------------------------------------ */

/* A holder in a message takes at most so much. */
#define PEER_HOLDER_ROOM 512

/* The engine's `holders`: asks the other one. */
void peer_holders(struct engine *e, struct service *s, enum color color, unsigned max, holders_fn *done, void *arg);
void peer_take_holders(struct peer *p, struct str row);
void peer_answer_holders(struct peer_question *q);	/* with what has come; frees it */
/* The other one's question. */
void peer_take_who(struct peer *p, struct str row);

/* -- peer_predecessor.c: in the successor -------------------------------------------- */

extern const struct engine peer_predecessor;
void peer_take_acked(struct peer *p, struct str row);
/* What the predecessor has counted, and holds now, of the service that the row names. */
void peer_take_account(struct peer *p, struct str row);
/* *ours becomes so much more or less, and *before is now. */
void peer_add_difference(_Atomic uint32_t *ours, uint32_t *before, uint64_t now);
/* It wants to know how many connections are here. */
void peer_answer_ask(struct peer *p, struct str row);

/* -- peer_successor.c: in the predecessor -------------------------------------------- */

extern const struct engine peer_successor;
void peer_take_counts(struct peer *p, struct str row);	/* the answer to that */
void peer_obey_record(struct peer *p, struct str row);
void peer_obey_drain(struct peer *p, struct str row);
/* Services that both have; the others drain here. */
void peer_take_shared(struct peer *p, struct str row);
/* What has changed since it was told last; backends and whole tallies only where asked for. */
void peer_tell_accounts(struct peer *p, bool backends, bool tallies);

/* -- peer_fleet.c: what a command that waits in the predecessor must know of the others ---- */

void peer_ask_fleet(void *arg);
void peer_answer_fleet(struct peer *p, struct str row);
void peer_take_fleet(struct peer *p, struct str row);

/* -- peer_notify.c ------------------------------------------------------------------- */

/* Of the one that tells: nothing is sent to receivers from here on. */
void peer_send_notify(struct peer *p);
void peer_take_receiver(struct peer *p, struct str row);
void peer_take_event(struct peer *p, struct str row);

/* -- peer_state.c -------------------------------------------------------------------- */

void peer_write_state(struct peer *p);
/* All that was told, by p->messages. */
void peer_take_state(struct peer *p);

/* -- peer_backends.c ------------------------------------------------------------------ */

void peer_send_nodes(struct peer *p, enum peer_type type, const char *pool, const struct overlay *now);
void peer_take_nodes(struct peer *p, struct str row);
void peer_send_backends(struct peer *p, struct peer_service *ps, const struct service *s, bool whole);
void peer_take_backends(struct peer *p, struct str row, bool whole);
/* As one number, for comparison: connections and failures of all. */
uint64_t peer_backends_hash(const struct service *s);

#endif
