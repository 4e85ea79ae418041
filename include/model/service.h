/* service.h - one entrance at run time.  Main owns it; workers use config,
 * index and what is said to be shared, and nothing else. */
#ifndef MODEL_SERVICE_H
#define MODEL_SERVICE_H

#include <stdint.h>

#include "model/admission.h"
#include "model/backend.h"
#include "model/backend_index.h"
#include "model/config.h"
#include "model/judged.h"
#include "model/maglev.h"
#include "model/record.h"
#include "model/source.h"
#include "model/tally.h"

struct service_ctl;

#define SERVICE_MAGIC 0x73657276u

/* Backends that have gone, of whom is remembered what they have served. */
#define SERVICE_FORMER_MAX 256
struct service_former {
	char text[ADDR_TEXT];
	enum color color;
	struct backend_account *account;	/* one reference */
};

/* A backend of a node that the service has no more, or has by other terms. */
struct service_parted {
	struct backend *backend;	/* one reference */
	uint64_t generation;	/* the last that may have had it */
};

struct service {
	uint32_t magic;
	unsigned index;	/* in the configuration's order */
	const struct service_config *config;	/* outlives the service */

	/* Shared. */
	bool renamed;	/* the process before has it by config->rename; said before its connections come */
	_Atomic bool open;	/* its color is known: a first snapshot is on its way to the workers, or there */
	struct admission admission;	/* max_connections, main entrance */
	struct admission queue;	/* clients that wait for a place there */
	_Atomic uint32_t *waiting;	/* of them, those of each worker */
	_Atomic uint64_t ticket;	/* the last one given to a waiting client; higher than all of the process before */
	/* By line (data/queue.h) and worker the lowest ticket; 0: no client waits. */
	_Atomic uint64_t *first[2];
	/* Once a configuration had such limits they stay; to be asked only where the present one has. */
	struct source_counts *source_counts;	/* NULL: no max_connections_per_source */
	struct source_rates *source_rates;	/* NULL: no source_rate */
	_Atomic(struct judged *) judged;	/* of its clients; NULL: none has come yet */
	/* Lines about refused clients: second of the clock << 32 | lines in it. */
	_Atomic uint64_t refusal_lines;
	_Atomic uint64_t refusals_untold;

	/* Main's. */
	struct service_ctl *ctl;	/* what control adds to it; NULL: control does not have it */
	const struct config *held;	/* that config is of; one reference, or NULL: its owner holds that */
	/* As config says it, but for the moment of a reload in which that changes. */
	bool colorless;
	/* record is from the store, or it has no colors: listeners may open.  Of one that
	 * has colors since a reload false until the store has answered: it is served as it was. */
	bool known;
	struct record record;
	struct {
		struct backend **backends;	/* one reference each */
		size_t n;
		bool on_backup;	/* the last snapshot published has backups alone */
		struct maglev *maglev;	/* one reference; NULL: not made yet, or not needed */
	} colors[COLORS];
	/* Those of nodes that were dropped, or replaced by others, with connections: as long as they have some. */
	struct service_parted *parted;
	size_t n_parted;
	struct backend_index by_text;	/* all backends, from the first that came after the start on; before it, none */
	struct service_former *former;	/* the one that went first comes first */
	size_t n_former;
	uint64_t generation;	/* of the last snapshot published */
	uint64_t acked;	/* generation that every thread of its engines obeys */
	uint64_t applied_epoch;	/* epoch of that generation */
	struct ssl_ctx_st *backend_tls;	/* what backends are spoken to with; one reference, or NULL: plain */
	struct ssl_ctx_st *check_tls;	/* what they are checked with by terms of health.tls; the same */
	/* One for each thread that counts: a worker's is the one of its index; and the last one,
	 * main's: what a predecessor has counted, and still counts (control/peer.h). */
	struct tally *tallies;
	unsigned n_tallies;
	struct tally *inherited;	/* that one */
};

/* Aborts when memory is out.  config must outlive it. */
struct service *service_new(const struct service_config *config, unsigned index, unsigned workers);
/* From now on its limits are those of config: how many may be in, wait, come from one
 * source and how fast.  What is held stays counted.  Main, before any other thread obeys config. */
void service_set_limits(struct service *s, const struct service_config *config);
/* Its configuration is config from now on, which is of tree: that one is held.  Main, once no
 * other thread reads s->config. */
void service_obey(struct service *s, const struct service_config *config, const struct config *tree);
/* Frees it and its references to backends; *sp is NULL on return. */
void service_free(struct service **sp);

/* The i-th of the counters of that color and entrance, from 0; NULL behind the last.  Without colors
 * all of them are green's: also what is left of colors that it had. */
const struct tally_color *service_tally(const struct service *s, enum entrance entrance, enum color color, unsigned i);
/* LS("color", …) and LU("epoch", …), which lines about a service without colors do not have. */
struct log_field service_color_field(const struct service_config *config, enum color color);
struct log_field service_epoch_field(const struct service_config *config, uint64_t epoch);
/* Connections now on that color of an entrance: the sum over workers, and of a predecessor. */
uint64_t service_connections(const struct service *s, enum entrance entrance, enum color color);
/* Those of this process alone. */
uint64_t service_own_connections(const struct service *s, enum entrance entrance, enum color color);
/* Connections that ended so since the start. */
uint64_t service_ended(const struct service *s, enum entrance entrance, enum color color, enum ending ending);
/* Counters of the main entrance since the start, over workers and predecessors.  What is of HTTP
 * counts requests where others count connections. */
struct service_totals {
	uint64_t begun[COLORS];	/* the refused not counted */
	uint64_t in[COLORS], out[COLORS];	/* bytes from and to clients */
	uint64_t failed;	/* ended badly or refused; what drains and the stop cut is not */
	/* Of HTTP only. */
	uint64_t requests[COLORS];	/* that are over */
	uint64_t errors;	/* those of them answered with 5xx */
	/* Of those that are over, the ones that went wrong: of HTTP answered with 5xx, else ended badly. */
	uint64_t bad[COLORS];
};
void service_totals(const struct service *s, struct service_totals *out);
/* Clients that wait for a place. */
uint64_t service_waiting(const struct service *s);
/* The color's table for source_hash, made when first asked for; borrowed.
 * A change of backends calls service_forget_maglev() first. */
struct maglev *service_maglev(struct service *s, enum color color);
void service_forget_maglev(struct service *s, enum color color);
/* Takes the caller's reference: the color has one more from now on. */
void service_add_backend(struct service *s, struct backend *b);
/* The same, right behind another one of its; NULL: the last. */
void service_insert_backend(struct service *s, struct backend *b, const struct backend *after);
/* One of the configuration, with its weight, for service_add_backend(); a name is not looked up.  One reference, the caller's. */
struct backend *service_configured_backend(const struct service_config *config, enum color color,
					   const struct backend_config *bc);
/* It is spoken to as the service's config says: plainly, or by TLS and expected to be of that name. */
bool service_expects(const struct service *s, const struct backend *b);
/* The color has it no more; the service's reference is dropped, so hold one. */
void service_remove_backend(struct service *s, struct backend *b);
/* One of a node that the service is about to drop goes on to be known as long as it has connections. */
void service_part(struct service *s, struct backend *b);
/* Forgets those of them that have none, and get none any more. */
void service_forget_parted(struct service *s);
/* Backends of the color that are USED (model/backend.h). */
size_t service_healthy(const struct service *s, enum color color);
/* Those that are to get nothing new: their node is drained, or their weight is 0. */
size_t service_drained(const struct service *s, enum color color);
/* The best use of any of them: those of that use get what is new. */
enum backend_use service_best(const struct service *s, enum color color);
/* Is there one that is up, backups included? */
static inline bool
service_can_serve(const struct service *s, enum color color)
{
	return service_best(s, color) >= BACKEND_STANDBY;
}
/* How many of the color's backends the gate wants of those that are wanted at
 * all, backups not counted: at least 1, which is what a service without colors, and so without a gate, needs;
 * 0 for one that needs no backends. */
size_t service_needed(const struct service *s, enum color color);

#endif
