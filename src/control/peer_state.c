/* peer_state.c - what one teald knows and the next one goes on with.
 * Thread: main. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "control/bake.h"
#include "control/certs.h"
#include "control/drain.h"
#include "control/engines.h"
#include "control/nodes.h"
#include "control/outlier.h"
#include "control/peer_private.h"
#include "control/quality.h"
#include "control/reload.h"
#include "control/slow_start.h"
#include "model/config_keys.h"

/* -- how backends are checked ----------------------------------------------------- */

static bool
is_of_checks(const char *key)
{
	return strstr(key, "health") != NULL || strncmp(key, "backend_tls", 11) == 0 ||
	       strcmp(key, "proxy_protocol.send") == 0 || strcmp(key, "source_address") == 0;
}

static uint64_t
terms_of(const struct config_keys *keys, const char *service)
{
	const char *key, *value;
	uint64_t hash = 1;
	size_t at = 0;

	for (size_t i = 0; i < keys->n; i++)
		while (strcmp(keys->services[i].name, service) == 0 &&
		       config_section_next(&keys->services[i], &at, &key, &value))
			if (is_of_checks(key)) {
				hash = hash_bytes(key, strlen(key), hash);
				hash = hash_bytes(value, strlen(value), hash);
			}
	return hash;
}

/* -- a service --------------------------------------------------------------------------- */

static void
put_flip_counts(struct buf *b, const struct service_ctl *ctl)
{
	struct tally_histogram seconds = { .sum_us = (uint64_t)(ctl->flip_seconds.sum * 1e6) };

	for (int c = 0; c < COLORS; c++)
		for (int e = OK; e < ERR_COUNT; e++) {
			size_t row;

			if (ctl->flips_total.by_result[c][e] == 0)
				continue;
			row = tlv_open(b, PEER_T_FLIPS);
			peer_put_str(b, PEER_T_COLOR, color_word((enum color)c));
			peer_put_str(b, PEER_T_WORD, err_word((enum err)e));
			tlv_u64(b, PEER_T_COUNT, ctl->flips_total.by_result[c][e]);
			tlv_close(b, row);
		}
	for (int i = 0; i <= TALLY_BUCKETS; i++)
		seconds.count[i] = ctl->flip_seconds.count[i];
	peer_put_histogram(b, PEER_T_FLIP_SECONDS, &seconds, tally_bounds);
}

static void
inherit_flips(struct service_ctl *ctl, struct str row)
{
	struct tally_histogram seconds = { .sum_us = 0 };
	struct str rest = row, one;
	enum color color;

	while (peer_each(&rest, PEER_T_FLIPS, &one))
		for (int e = OK; peer_color(one, &color) && e < ERR_COUNT; e++)
			if (str_eq(peer_str(one, PEER_T_WORD), err_word((enum err)e)))
				ctl->flips_total.by_result[color][e] += peer_u64(one, PEER_T_COUNT);
	peer_take_histogram(peer_str(row, PEER_T_FLIP_SECONDS), &seconds, tally_bounds);
	for (int i = 0; i <= TALLY_BUCKETS; i++)
		ctl->flip_seconds.count[i] += seconds.count[i];
	ctl->flip_seconds.sum += (double)seconds.sum_us / 1e6;
}

static void
put_wish(struct buf *b, const struct rollout *r)
{
	size_t row = tlv_open(b, PEER_T_WISH);

	tlv_u64(b, PEER_T_EPOCH, r->wish.epoch);
	tlv_u64(b, PEER_T_AT_US, (uint64_t)r->wish.at_us);
	peer_put_str(b, PEER_T_BY, r->wish.by);
	tlv_double(b, PEER_T_TIMEOUT, r->wish.timeout);
	tlv_close(b, row);
}

/* Of an older teald: none. */
static void
take_wish_of_flip(struct rollout *r, struct str row)
{
	if (!peer_has(row, PEER_T_EPOCH))
		return;
	r->wish.epoch = peer_u64(row, PEER_T_EPOCH);
	r->wish.at_us = (int64_t)peer_u64(row, PEER_T_AT_US);
	r->wish.timeout = peer_double(row, PEER_T_TIMEOUT);
	(void)str_copy(r->wish.by, sizeof(r->wish.by), peer_str(row, PEER_T_BY));
}

static void
put_drain(struct buf *b, const struct drain *d)
{
	size_t row = tlv_open(b, PEER_T_DRAIN);

	peer_put_str(b, PEER_T_COLOR, color_word(d->color));
	tlv_u64(b, PEER_T_EPOCH, d->epoch);
	peer_put_orders(b, &d->orders);
	tlv_u64(b, PEER_T_AT_START, d->at_start);
	tlv_u64(b, PEER_T_CUT_BEFORE, d->cut_before);
	tlv_close(b, row);
}

static void
take_drain_legacy(struct service_ctl *ctl, struct str row)
{
	struct drain_legacy d = { .epoch = peer_u64(row, PEER_T_EPOCH),
				  .at_start = peer_u64(row, PEER_T_AT_START),
				  .cut_before = peer_u64(row, PEER_T_CUT_BEFORE) };
	uint64_t cut;

	if (!peer_color(row, &d.color))
		return;
	peer_take_orders(row, &d.orders);
	/* Of a color that has more of them than were told, none is counted twice. */
	cut = service_ended(ctl->service, ENTRANCE_MAIN, d.color, END_DRAINED);
	if (d.cut_before > cut)
		d.cut_before = cut;
	rollout_inherit(ctl, &d);
}

static void
send_service(struct peer *p, struct peer_service *ps, const struct service_ctl *ctl, const struct config_keys *keys)
{
	const struct service *s = ctl->service;
	uint64_t strays;
	struct buf b;

	peer_row(&b);
	peer_put_str(&b, PEER_T_SERVICE, ps->name);
	peer_put_str(&b, PEER_T_MODE, mode_word(s->config->mode));
	peer_put_str(&b, PEER_T_ENGINE, engine_word(s->config->engine));
	tlv_u64(&b, PEER_T_HOLDS, ps->joined);
	tlv_u64(&b, PEER_T_TERMS, terms_of(keys, s->config->name));
	tlv_u64(&b, PEER_T_GENERATION, s->generation);
	if (s->known && !s->colorless)
		peer_put_record(&b, &s->record);
	put_flip_counts(&b, ctl);
	put_wish(&b, &ctl->rollout);
	(void)engines_strays(ctl, &strays);
	tlv_u64(&b, PEER_T_STRAYS, strays);
	tlv_u64(&b, PEER_T_CUT, ctl->cut);
	tlv_u64(&b, PEER_T_CUT_EPOCH, ctl->cut_epoch);
	if (ctl->drain != NULL)
		put_drain(&b, ctl->drain);
	peer_put_bake(&b, ctl);
	peer_put_tally(&b, s, false);
	peer_say(p, PEER_STATE_SERVICE, &b);
	peer_send_backends(p, ps, s, true);
	peer_row(&b);
	peer_put_str(&b, PEER_T_SERVICE, ps->name);
	peer_put_quality(&b, ctl);
	peer_say(p, PEER_STATE_QUALITY, &b);
}

static void
send_pool(void *arg, const char *pool, const struct overlay *said)
{
	peer_send_nodes(arg, PEER_STATE_POOL, pool, said);
}

void
peer_write_state(struct peer *p)
{
	const struct control *c = p->control;
	const struct reload_status config = reload_status(c->reloads);
	struct config_keys *keys = config_keys_new(c->config);
	struct buf b;

	peer_row(&b);
	tlv_u64(&b, PEER_T_CONFIG_GENERATION, config.generation);
	tlv_u64(&b, PEER_T_CONFIG_LOADED_US, (uint64_t)config.loaded_at_us);
	peer_put_str(&b, PEER_T_CONFIG_CHECKSUM, config.checksum);
	tlv_u64(&b, PEER_T_MAINTENANCE, c->maintenance);
	tlv_u64(&b, PEER_T_STORE_READY, c->store_ready);
	tlv_double(&b, PEER_T_CONFIRMED_AT, c->confirmed_at);
	if (c->certs->tickets.n > 0) {
		tlv_str(&b, PEER_T_TICKET_KEYS,
			(struct str){ (const char *)&c->certs->tickets, sizeof(c->certs->tickets) });
		tlv_double(&b, PEER_T_ROTATED_AT, c->certs->rotated_at);
	}
	peer_say(p, PEER_STATE_PROCESS, &b);
	peer_send_process(p);
	peer_send_clients(p);
	nodes_each_pool(c->nodes, send_pool, p);
	peer_send_notify(p);
	for (size_t i = 0; i < p->n; i++)
		send_service(p, &p->services[i], peer_ctl(p, &p->services[i]), keys);
	config_keys_free(&keys);
}

/* -- taking it ------------------------------------------------------------------------------ */

static bool
was_told_of(const struct peer *p, const char *service)
{
	for (size_t i = 0; i < p->n_messages; i++)
		if (p->messages[i].type == PEER_STATE_SERVICE &&
		    str_eq(peer_str(p->messages[i].row, PEER_T_SERVICE), service))
			return true;
	return false;
}

/* Ours that is the predecessor's of that name, or is so now that it has another one. */
static struct service_ctl *
heir_of(const struct peer *p, struct str name)
{
	struct control *c = p->control;
	struct service_ctl *ctl = control_find(c, name);

	for (size_t i = 0; ctl == NULL && i < c->n; i++) {
		const struct service_config *sc = c->services[i]->service->config;

		if (sc->rename != NULL && str_eq(name, sc->rename) && !was_told_of(p, sc->name)) {
			ctl = c->services[i];
			ctl->service->renamed = true;
		}
	}
	return ctl;
}

static int
by_serial(const void *a, const void *b)
{
	const struct peer_service *x = a, *y = b;

	return x->serial < y->serial ? -1 : x->serial > y->serial;
}

static bool
has_heir(const struct peer *p, const struct service_ctl *ctl)
{
	for (size_t i = 0; i < p->n; i++)
		if (p->services[i].serial == ctl->serial)
			return true;
	return false;
}

/* Which of ours they are. */
static void
pair_services(struct peer *p)
{
	for (size_t i = 0; i < p->n_messages; i++) {
		struct str row = p->messages[i].row, name = peer_str(row, PEER_T_SERVICE);
		struct service_ctl *ctl = p->messages[i].type == PEER_STATE_SERVICE ? heir_of(p, name) : NULL;
		struct peer_service *ps;

		/* Of another mode or engine it is another service, as in a reload. */
		if (ctl == NULL || has_heir(p, ctl) ||
		    !str_eq(peer_str(row, PEER_T_MODE), mode_word(ctl->service->config->mode)) ||
		    !str_eq(peer_str(row, PEER_T_ENGINE), engine_word(ctl->service->config->engine)))
			continue;
		p->services = must_grow(p->services, p->n + 1, sizeof(*p->services));
		ps = &p->services[p->n++];
		memset(ps, 0, sizeof(*ps));
		ps->serial = ctl->serial;
		str_copy(ps->name, sizeof(ps->name), name);
	}
	if (p->n > 0)
		qsort(p->services, p->n, sizeof(*p->services), by_serial);
	peer_sort(p);
}

static void
inherit_service(struct peer *p, struct str row, const struct config_keys *keys)
{
	struct peer_service *ps = peer_find(p, peer_str(row, PEER_T_SERVICE));
	struct service_ctl *ctl = ps != NULL ? peer_ctl(p, ps) : NULL;
	struct service *s;
	struct record record;
	bool colored;

	if (ctl == NULL || ps->record != NULL || ps->joined)
		return;
	s = ctl->service;
	ps->same_terms = peer_u64(row, PEER_T_TERMS) == terms_of(keys, s->config->name);
	s->generation = peer_u64(row, PEER_T_GENERATION) % (UINT64_MAX / 2);
	ctl->strays = peer_u64(row, PEER_T_STRAYS);
	ctl->cut = peer_u64(row, PEER_T_CUT);
	ctl->cut_epoch = peer_u64(row, PEER_T_CUT_EPOCH);
	inherit_flips(ctl, row);
	take_wish_of_flip(&ctl->rollout, peer_str(row, PEER_T_WISH));
	peer_take_account(p, row);
	quality_restart(ctl->quality, s, clock_now());
	bake_restart(ctl, clock_now());
	if (!s->colorless)
		peer_take_bake(ctl, row);
	if (peer_has(row, PEER_T_DRAIN) && !s->colorless)
		take_drain_legacy(ctl, peer_str(row, PEER_T_DRAIN));
	colored = peer_take_record(row, &record);
	if (colored && !s->colorless) {
		ps->record = must_alloc(sizeof(record));
		*ps->record = record;
	}
	/* Where only one of them has colors, it cannot obey what the other one does. */
	if (colored != s->colorless && peer_u64(row, PEER_T_HOLDS) != 0)
		peer_join(p, ps, ctl);
}

static void
inherit_quality(struct peer *p, struct str row)
{
	struct peer_service *ps = peer_find(p, peer_str(row, PEER_T_SERVICE));
	struct service_ctl *ctl = ps != NULL ? peer_ctl(p, ps) : NULL;

	if (ctl != NULL)
		peer_take_quality(ctl, row);
}

static void
inherit_process(struct control *c, struct str row)
{
	reload_inherit(c->reloads, peer_u64(row, PEER_T_CONFIG_GENERATION),
		       (int64_t)peer_u64(row, PEER_T_CONFIG_LOADED_US), peer_str(row, PEER_T_CONFIG_CHECKSUM));
	c->maintenance = peer_u64(row, PEER_T_MAINTENANCE) != 0;
	/* However long it takes until we have read it ourselves, this is what it says. */
	c->store_ready |= peer_u64(row, PEER_T_STORE_READY) != 0;
	c->confirmed_at = peer_double(row, PEER_T_CONFIRMED_AT);
	certs_inherit_tickets(c->certs, peer_str(row, PEER_T_TICKET_KEYS), peer_double(row, PEER_T_ROTATED_AT));
	peer_take_process(c, row);
}

void
peer_take_state(struct peer *p)
{
	struct config_keys *keys = config_keys_new(p->control->config);

	pair_services(p);
	for (size_t i = 0; i < p->n_messages; i++)
		if (p->messages[i].type == PEER_TALLY_PROCESS) {
			peer_take_process(p->control, p->messages[i].row);
			peer_take_clients(p, p->messages[i].row);
		}
	/* Nodes before backends, which they bring. */
	for (unsigned type = PEER_STATE_PROCESS; type <= PEER_STATE_EVENT; type++)
		for (size_t i = 0; i < p->n_messages; i++) {
			struct str row = p->messages[i].row;

			if (p->messages[i].type != type)
				continue;
			if (type == PEER_STATE_PROCESS)
				inherit_process(p->control, row);
			else if (type == PEER_STATE_POOL)
				peer_take_nodes(p, row);
			else if (type == PEER_STATE_SERVICE)
				inherit_service(p, row, keys);
			else if (type == PEER_STATE_BACKENDS)
				peer_take_backends(p, row, true);
			else if (type == PEER_STATE_QUALITY)
				inherit_quality(p, row);
			else if (type == PEER_STATE_RECEIVER)
				peer_take_receiver(p, row);
			else if (type == PEER_STATE_EVENT)
				peer_take_event(p, row);
		}
	for (size_t i = 0; i < p->n; i++) {
		struct service_ctl *ctl = peer_ctl(p, &p->services[i]);

		outlier_adopt(ctl);
		slow_start_adopt(ctl);
	}
	config_keys_free(&keys);
}
