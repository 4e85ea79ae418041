/* peer_backends.c - nodes and backends, from one teald to the next: what is wanted of them,
 * how they do and what they have served.
 * Thread: main.
 *
 * Health: where both check a backend in the same way (PEER_T_TERMS), the predecessor's
 * verdict counts, which many checks have made, and the successor's own answers so
 * far count for its next ones: a first snapshot has no backend that was not used a
 * moment ago, and lacks none.  By other terms the successor's own verdict is the only
 * one about them. */
#include "base/clock.h"
#include "base/hash.h"
#include "control/drain.h"
#include "control/health.h"
#include "control/nodes.h"
#include "control/peer_private.h"
#include "control/quality.h"
#include "proto/agent_check.h"

/* A backend, or a node, in a message takes at most so much. */
#define ROW_ROOM 2048
/* No ejection or slow start of a predecessor lasts longer from now, seconds. */
#define LONGEST 86400.0

/* -- nodes -------------------------------------------------------------------------- */

void
peer_send_nodes(struct peer *p, enum peer_type type, const char *pool, const struct overlay *now)
{
	size_t i = 0;

	do {
		struct buf b;

		peer_row(&b);
		peer_put_str(&b, PEER_T_POOL, pool);
		tlv_u64(&b, PEER_T_VERSION, now->version);
		tlv_u64(&b, PEER_T_FORCED, now->forced);
		for (; i < now->n && buf_len(&b) + ROW_ROOM < PEER_MESSAGE_MAX; i++) {
			size_t row = tlv_open(&b, PEER_T_NODE);

			peer_put_str(&b, PEER_T_ADDRESS, now->list[i].host);
			peer_put_str(&b, PEER_T_WORD, node_wish_word(now->list[i].wish));
			peer_put_terms(&b, &now->list[i].terms);
			tlv_close(&b, row);
		}
		tlv_u64(&b, PEER_T_LAST, i == now->n);
		peer_say(p, type, &b);
	} while (i < now->n);
}

static void
take_wish(struct overlay *o, struct str row)
{
	char host[NODE_HOST], word[16];
	struct node_terms terms;
	enum node_wish wish;

	if (str_copy(host, sizeof(host), peer_str(row, PEER_T_ADDRESS)) && node_is_host(host) &&
	    str_copy(word, sizeof(word), peer_str(row, PEER_T_WORD)) && node_wish_from_word(word, &wish))
		if (overlay_set(o, host, wish)) {
			peer_take_terms(row, &terms);
			overlay_set_terms(o, host, &terms);
		}
}

void
peer_take_nodes(struct peer *p, struct str row)
{
	struct store *store = p->control->store;
	struct str name = peer_str(row, PEER_T_POOL), rest = row, one;

	/* The first part of another pool's, or after a last one. */
	if (!str_eq(name, p->pool)) {
		overlay_free(&p->overlay);
		if (!str_copy(p->pool, sizeof(p->pool), name))
			return;
	}
	p->overlay.version = peer_u64(row, PEER_T_VERSION);
	p->overlay.forced = peer_u64(row, PEER_T_FORCED) != 0;
	while (peer_each(&rest, PEER_T_NODE, &one))
		take_wish(&p->overlay, one);
	if (peer_u64(row, PEER_T_LAST) == 0)
		return;
	store->on_nodes(store->arg, p->pool, &p->overlay);
	overlay_free(&p->overlay);
	p->pool[0] = '\0';
}

/* -- backends -------------------------------------------------------------------------- */

uint64_t
peer_backends_hash(const struct service *s)
{
	uint64_t hash = 1;

	for (int c = 0; c < COLORS; c++)
		for (size_t i = 0; i < s->colors[c].n; i++) {
			const struct backend *b = s->colors[c].backends[i];
			struct backend_sum served;
			const uint64_t now[] = {
				(uint64_t)(uintptr_t)b,
				atomic_load_explicit(&b->connections, memory_order_relaxed),
				atomic_load_explicit(&b->connect_failures, memory_order_relaxed),
				atomic_load_explicit(&b->bad_answers, memory_order_relaxed),
				atomic_load_explicit(&b->cut, memory_order_relaxed),
			};

			hash = hash_bytes(now, sizeof(now), hash);
			backend_account_sum(b->account, &served);
			hash = hash_bytes(&served, sizeof(served), hash);
		}
	return hash;
}

static void
put_agent(struct buf *b, const struct backend_agent *a)
{
	size_t row;

	if (a->said[0] == '\0')
		return;
	row = tlv_open(b, PEER_T_AGENT);
	peer_put_str(b, PEER_T_SAID, a->said);
	tlv_u64(b, PEER_T_PERCENT, a->percent);
	tlv_u64(b, PEER_T_DRAINS, a->drain);
	tlv_u64(b, PEER_T_DOWN, a->down);
	tlv_close(b, row);
}

static void
take_agent(struct backend_agent *a, struct str row)
{
	uint64_t percent = peer_u64(row, PEER_T_PERCENT);

	if (!peer_has(row, PEER_T_SAID))
		return;
	str_copy(a->said, sizeof(a->said), peer_str(row, PEER_T_SAID));
	a->percent = percent <= AGENT_PERCENT_MAX ? (unsigned)percent : 100;
	a->drain = peer_u64(row, PEER_T_DRAINS) != 0;
	a->down = peer_u64(row, PEER_T_DOWN) != 0;
}

static void
put_verdict(struct buf *b, const struct backend *be)
{
	char text[ADDR_TEXT];

	peer_put_str(b, PEER_T_STATE, backend_state_word(be->state));
	if (backend_has_address(be))
		peer_put_str(b, PEER_T_CHECKED_AT, addr_format(&be->health_address, text));
	tlv_u64(b, PEER_T_SINCE_US, (uint64_t)be->since_us);
	peer_put_str(b, PEER_T_ERROR, be->error);
	tlv_double(b, PEER_T_EJECTED_UNTIL, be->ejected_until);
	tlv_double(b, PEER_T_RAMP_FROM, be->ramp_from);
	tlv_u64(b, PEER_T_EJECTIONS, be->ejections);
	tlv_u64(b, PEER_T_ENDPOINTS, be->endpoints);
	put_agent(b, &be->agent);
	tlv_u64(b, PEER_T_CHECKS_FAILED, be->checks[0]);
	tlv_u64(b, PEER_T_CHECKS_PASSED, be->checks[1]);
	tlv_u64(b, PEER_T_FAILED_IN_ROW, atomic_load_explicit(&be->failed_in_row, memory_order_relaxed));
	tlv_u64(b, PEER_T_BAD_IN_ROW, atomic_load_explicit(&be->bad_in_row, memory_order_relaxed));
}

static void
put_served(struct buf *b, const struct backend *be)
{
	struct backend_sum sum;
	size_t row, bucket;

	backend_account_sum(be->account, &sum);
	for (unsigned i = 0; i < BACKEND_CLASSES; i++)
		peer_put_word(b, PEER_T_REQUESTS, backend_class_word(i), sum.requests[i]);
	tlv_u64(b, PEER_T_BYTES_IN, sum.bytes_in);
	tlv_u64(b, PEER_T_BYTES_OUT, sum.bytes_out);
	tlv_u64(b, PEER_T_RETRIES, sum.retries);
	row = tlv_open(b, PEER_T_FIRST_BYTE_SECONDS);
	for (unsigned i = 0; i <= BACKEND_BUCKETS; i++) {
		if (sum.first_bytes[i] == 0)
			continue;
		bucket = tlv_open(b, PEER_T_BUCKET);
		if (i < BACKEND_BUCKETS)
			tlv_double(b, PEER_T_BOUND, backend_bounds[i]);
		tlv_u64(b, PEER_T_COUNT, sum.first_bytes[i]);
		tlv_close(b, bucket);
	}
	tlv_u64(b, PEER_T_SUM_US, sum.first_byte_us);
	tlv_close(b, row);
}

/* Of other bounds: each bucket in the next greater one. */
static void
take_served(struct backend *be, struct str row)
{
	struct str first_bytes = peer_str(row, PEER_T_FIRST_BYTE_SECONDS), rest = row, one;
	struct backend_sum sum = { .bytes_in = peer_u64(row, PEER_T_BYTES_IN),
				   .bytes_out = peer_u64(row, PEER_T_BYTES_OUT),
				   .retries = peer_u64(row, PEER_T_RETRIES),
				   .first_byte_us = peer_u64(first_bytes, PEER_T_SUM_US) };

	if (be->account == NULL)
		return;
	while (peer_each(&rest, PEER_T_REQUESTS, &one))
		for (unsigned i = 0; i < BACKEND_CLASSES; i++)
			if (str_eq(peer_str(one, PEER_T_WORD), backend_class_word(i)))
				sum.requests[i] = peer_u64(one, PEER_T_COUNT);
	while (peer_each(&first_bytes, PEER_T_BUCKET, &one)) {
		unsigned i = 0;

		while (i < BACKEND_BUCKETS &&
		       (!peer_has(one, PEER_T_BOUND) || backend_bounds[i] < peer_double(one, PEER_T_BOUND)))
			i++;
		sum.first_bytes[i] += peer_u64(one, PEER_T_COUNT);
	}
	backend_account_inherit(be->account, &sum);
}

static void
put_backend(struct buf *b, const struct service *s, const struct backend *be, bool whole)
{
	size_t row = tlv_open(b, PEER_T_BACKEND);

	peer_put_str(b, PEER_T_COLOR, color_word(be->color));
	peer_put_str(b, PEER_T_ADDRESS, be->text);
	/* Flows in the kernel are found there. */
	tlv_u64(b, PEER_T_CONNECTIONS, s->config->engine == ENGINE_PROXY ?
					       atomic_load_explicit(&be->connections, memory_order_relaxed) :
					       0);
	tlv_u64(b, PEER_T_CONNECT_FAILURES, atomic_load_explicit(&be->connect_failures, memory_order_relaxed));
	tlv_u64(b, PEER_T_CUT, atomic_load_explicit(&be->cut, memory_order_relaxed));
	tlv_u64(b, PEER_T_BAD_ANSWERS, atomic_load_explicit(&be->bad_answers, memory_order_relaxed));
	put_served(b, be);
	if (whole)
		put_verdict(b, be);
	tlv_close(b, row);
}

void
peer_send_backends(struct peer *p, struct peer_service *ps, const struct service *s, bool whole)
{
	enum peer_type type = whole ? PEER_STATE_BACKENDS : PEER_TALLY_BACKENDS;
	struct buf b;

	peer_row(&b);
	peer_put_str(&b, PEER_T_SERVICE, ps->name);
	for (int c = 0; c < COLORS; c++)
		for (size_t i = 0; i < s->colors[c].n; i++) {
			put_backend(&b, s, s->colors[c].backends[i], whole);
			if (buf_len(&b) + ROW_ROOM < PEER_MESSAGE_MAX)
				continue;
			peer_say(p, type, &b);
			peer_row(&b);
			peer_put_str(&b, PEER_T_SERVICE, ps->name);
		}
	peer_say(p, type, &b);
}

static struct backend *
find_backend_of(const struct service *s, struct str row)
{
	struct str address = peer_str(row, PEER_T_ADDRESS);
	enum color color;

	if (!peer_color(row, &color))
		return NULL;
	for (size_t i = 0; i < s->colors[color].n; i++)
		if (backend_has_address(s->colors[color].backends[i]) &&
		    str_eq(address, s->colors[color].backends[i]->text))
			return s->colors[color].backends[i];
	return NULL;
}

/* What was added for the predecessor's backend of that name: to the same object always. */
static struct peer_backend *
account_of(struct peer_service *ps, const struct service *s, struct str row)
{
	struct str address = peer_str(row, PEER_T_ADDRESS);
	struct backend *b;
	enum color color;

	if (!peer_color(row, &color))
		return NULL;
	for (size_t i = 0; i < ps->n_backends; i++)
		if (ps->backends[i].backend->color == color && str_eq(address, ps->backends[i].backend->text))
			return &ps->backends[i];
	if ((b = find_backend_of(s, row)) == NULL)
		return NULL;
	ps->backends = must_grow(ps->backends, ps->n_backends + 1, sizeof(*ps->backends));
	ps->backends[ps->n_backends] = (struct peer_backend){ .backend = backend_ref(b) };
	return &ps->backends[ps->n_backends++];
}

static void
add_growth(_Atomic uint64_t *ours, uint64_t *before, uint64_t now)
{
	if (now <= *before)
		return;
	atomic_fetch_add_explicit(ours, now - *before, memory_order_relaxed);
	*before = now;
}

static void
take_account(struct peer_backend *account, struct str row)
{
	struct backend *b = account->backend;

	peer_add_difference(&b->connections, &account->connections, peer_u64(row, PEER_T_CONNECTIONS));
	add_growth(&b->connect_failures, &account->failures, peer_u64(row, PEER_T_CONNECT_FAILURES));
	add_growth(&b->cut, &account->cut, peer_u64(row, PEER_T_CUT));
	add_growth(&b->bad_answers, &account->bad_answers, peer_u64(row, PEER_T_BAD_ANSWERS));
	take_served(b, row);
}

/* By the predecessor; one that does not say where checks by the configuration alone. */
static bool
is_checked_there(const struct backend *b, struct str row)
{
	struct str at = peer_str(row, PEER_T_CHECKED_AT);
	char text[ADDR_TEXT];

	return at.n == 0 || str_eq(at, addr_format(&b->health_address, text));
}

static void
take_verdict(struct control *c, struct service *s, struct backend *b, struct str row, bool same_terms)
{
	double now = clock_now(), until = peer_double(row, PEER_T_EJECTED_UNTIL), from = peer_double(row, PEER_T_RAMP_FROM);
	struct str state = peer_str(row, PEER_T_STATE);

	for (enum backend_state its = BACKEND_UP; same_terms && is_checked_there(b, row) && its <= BACKEND_DOWN; its++)
		if (str_eq(state, backend_state_word(its))) {
			health_adopt(c->health, s, b, its);
			b->since_us = (int64_t)peer_u64(row, PEER_T_SINCE_US);
			str_copy(b->error, sizeof(b->error), peer_str(row, PEER_T_ERROR));
			b->endpoints = (unsigned)peer_u64(row, PEER_T_ENDPOINTS);
			take_agent(&b->agent, peer_str(row, PEER_T_AGENT));
			(void)backend_weigh(b);
			service_forget_maglev(s, b->color);
		}
	b->ejected_until = until > now && until < now + LONGEST ? until : 0;
	b->ramp_from = from > now - LONGEST && from < now ? from : 0;
	b->late = false;
	b->ejections += peer_u64(row, PEER_T_EJECTIONS);
	b->checks[0] += peer_u64(row, PEER_T_CHECKS_FAILED);
	b->checks[1] += peer_u64(row, PEER_T_CHECKS_PASSED);
	atomic_store_explicit(&b->failed_in_row, (uint32_t)peer_u64(row, PEER_T_FAILED_IN_ROW), memory_order_relaxed);
	atomic_store_explicit(&b->bad_in_row, (uint32_t)peer_u64(row, PEER_T_BAD_IN_ROW), memory_order_relaxed);
}

void
peer_take_backends(struct peer *p, struct str row, bool whole)
{
	struct peer_service *ps = peer_find(p, peer_str(row, PEER_T_SERVICE));
	struct service_ctl *ctl = ps != NULL ? peer_ctl(p, ps) : NULL;
	struct str one;

	while (ctl != NULL && peer_each(&row, PEER_T_BACKEND, &one)) {
		struct peer_backend *account = account_of(ps, ctl->service, one);
		struct backend *b = whole ? find_backend_of(ctl->service, one) : NULL;

		if (account != NULL)
			take_account(account, one);
		if (b != NULL)
			take_verdict(p->control, ctl->service, b, one, ps->same_terms);
	}
}
