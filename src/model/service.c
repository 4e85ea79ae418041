/* service.c - life of a service, and the sums over its workers and backends.
 * Thread: main. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "model/service.h"
#include "net/tls_client.h"

const char *
change_word(enum change c)
{
	switch (c) {
	case CHANGE_INITIAL:
		return "initial";
	case CHANGE_FLIP:
		return "flip";
	case CHANGE_ROLLBACK:
		return "rollback";
	case CHANGE_LOCK:
		return "lock";
	case CHANGE_UNLOCK:
		return "unlock";
	case CHANGE_CLAIM:
		return "claim";
	case CHANGE_RELEASE:
		return "release";
	case CHANGE_SHIFT:
		return "shift";
	case CHANGE_HOLD:
		return "hold";
	case CHANGE_UNHOLD:
		return "unhold";
	}
	return "";
}

bool
record_same_lock(const struct record *a, const struct record *b)
{
	if (!a->lock.on || !b->lock.on)
		return a->lock.on == b->lock.on;
	return a->lock.at_us == b->lock.at_us && strcmp(a->lock.by, b->lock.by) == 0 &&
	       strcmp(a->lock.reason, b->lock.reason) == 0;
}

bool
record_same_claim(const struct record *a, const struct record *b)
{
	if (!a->claim.on || !b->claim.on)
		return a->claim.on == b->claim.on;
	return a->claim.epoch == b->claim.epoch && a->claim.at_us == b->claim.at_us &&
	       a->claim.until_us == b->claim.until_us && strcmp(a->claim.token, b->claim.token) == 0 &&
	       strcmp(a->claim.by, b->claim.by) == 0 && strcmp(a->claim.reason, b->claim.reason) == 0;
}

bool
record_same_hold(const struct record *a, const struct record *b)
{
	if (!a->hold.on || !b->hold.on)
		return a->hold.on == b->hold.on;
	return a->hold.epoch == b->hold.epoch && a->hold.at_us == b->hold.at_us && a->hold.until_us == b->hold.until_us &&
	       strcmp(a->hold.by, b->hold.by) == 0 && strcmp(a->hold.reason, b->hold.reason) == 0;
}

void
record_hold_name(const struct record *r, int64_t now_us, char name[RECORD_HOLD_NAME])
{
	name[0] = '\0';
	if (record_held(r, now_us))
		snprintf(name, RECORD_HOLD_NAME, "%lld", (long long)r->hold.until_us);
}

bool
record_same(const struct record *a, const struct record *b)
{
	return a->color == b->color && a->epoch == b->epoch && a->change == b->change && a->at_us == b->at_us &&
	       a->forced == b->forced && strcmp(a->by, b->by) == 0 && strcmp(a->reason, b->reason) == 0 &&
	       strcmp(a->revision, b->revision) == 0 && record_same_lock(a, b) && record_same_claim(a, b) &&
	       share_same(&a->share, &b->share) && record_same_hold(a, b);
}

bool
change_from_word(const char *word, enum change *out)
{
	for (int c = CHANGE_INITIAL; c <= CHANGE_LAST; c++)
		if (strcmp(word, change_word((enum change)c)) == 0) {
			*out = (enum change)c;
			return true;
		}
	return false;
}

void
audit_set_host(struct audit_entry *a)
{
	if (gethostname(a->host, sizeof(a->host)) != 0)
		a->host[0] = '\0';
	a->host[sizeof(a->host) - 1] = '\0';
}

/* By TLS a backend is expected to be who it was configured as: by that name, or
 * by its address.  NULL: it is spoken to plainly.  address: room for that. */
static const char *
expected_name(const struct service_config *c, const struct backend *b, char address[INET6_ADDRSTRLEN])
{
	const struct addr *a = &b->address;

	if (!c->backend_tls.on)
		return NULL;
	if (c->backend_tls.server_name != NULL)
		return c->backend_tls.server_name;
	if (b->name != NULL)
		return b->name;
	return addr_family(a) == AF_INET ? inet_ntop(AF_INET, &a->u.in.sin_addr, address, INET6_ADDRSTRLEN) :
					   inet_ntop(AF_INET6, &a->u.in6.sin6_addr, address, INET6_ADDRSTRLEN);
}

static void
expect_name(const struct service_config *c, struct backend *b, unsigned workers)
{
	char address[INET6_ADDRSTRLEN];
	const char *name = expected_name(c, b, address);

	if (name != NULL)
		backend_expect(b, name, workers);
}

bool
service_expects(const struct service *s, const struct backend *b)
{
	char address[INET6_ADDRSTRLEN];
	const char *name = expected_name(s->config, b, address);

	if (name == NULL || b->server_name == NULL)
		return name == b->server_name;
	return strcmp(name, b->server_name) == 0;
}

struct backend *
service_configured_backend(const struct service_config *config, enum color color, const struct backend_config *bc)
{
	struct backend *b;

	if (bc->address.len > 0)
		b = backend_new(color, &bc->address, &bc->health_address);
	else
		b = backend_new_named(color, bc->host, bc->port, bc->health_port, NULL);
	if (bc->health_at.len > 0)
		backend_check_at(b, &bc->health_at);
	b->weight = bc->weight;
	b->backup = bc->backup;
	if (config->pool != NULL && config->colors[color].port != 0)
		b->host = must_strdup(bc->host);
	return b;
}

/* -- accounts of backends ------------------------------------------------------------ */

/* Of another backend of that color and address: one that has gone, or that this one takes the place of.  The caller's
 * reference; NULL: there is none. */
static struct backend_account *
known_account(struct service *s, const struct backend *b)
{
	const struct backend *other = backend_index_twin(&s->by_text, b);

	if (other != NULL)
		return backend_account_ref(other->account);
	for (size_t i = 0; i < s->n_former; i++) {
		struct service_former *f = &s->former[i];
		struct backend_account *account = f->account;

		if (f->color != b->color || strcmp(f->text, b->text) != 0)
			continue;
		memmove(f, f + 1, (--s->n_former - i) * sizeof(*f));
		return account;
	}
	return NULL;
}

/* A service whose backends stay as they are needs none. */
static void
index_present(struct service *s)
{
	if (s->by_text.room > 0)
		return;
	for (int c = 0; c < COLORS; c++)
		for (size_t i = 0; i < s->colors[c].n; i++)
			backend_index_add(&s->by_text, s->colors[c].backends[i]);
}

static void
open_account(struct service *s, struct backend *b)
{
	if (b->account == NULL)
		b->account = known_account(s, b);
	if (b->account == NULL)
		b->account = backend_account_new(s->n_tallies);
}

/* Where many come and go the oldest are forgotten. */
static void
remember_account(struct service *s, const struct backend *b)
{
	struct service_former *f;

	if (b->account == NULL)
		return;
	if (s->n_former == SERVICE_FORMER_MAX) {
		backend_account_unref(&s->former[0].account);
		memmove(s->former, s->former + 1, --s->n_former * sizeof(*f));
	}
	s->former = must_grow(s->former, s->n_former + 1, sizeof(*f));
	f = &s->former[s->n_former++];
	*f = (struct service_former){ .color = b->color, .account = backend_account_ref(b->account) };
	memcpy(f->text, b->text, sizeof(f->text));
}

void
service_set_limits(struct service *s, const struct service_config *config)
{
	const struct limits_config *l = &config->limits;

	admission_set_limit(&s->admission, config->max_connections);
	admission_set_limit(&s->queue, l->queue);
	if (l->per_source > 0 && s->source_counts == NULL)
		s->source_counts = source_counts_new(l->per_source);
	else if (l->per_source > 0)
		source_counts_set_limit(s->source_counts, l->per_source);
	if (l->source_rate.burst > 0 && s->source_rates == NULL)
		s->source_rates = source_rates_new(&l->source_rate);
	else if (l->source_rate.burst > 0)
		source_rates_set(s->source_rates, &l->source_rate);
}

struct service *
service_new(const struct service_config *config, unsigned index, unsigned workers)
{
	struct service *s = aligned_alloc(64, (sizeof(*s) + 63) / 64 * 64);
	/* Who forwards in the kernel counts on a thread of its own, and on main. */
	unsigned writers = workers + (config->engine == ENGINE_KERNEL), tallies = writers + 1;

	CHECK(s != NULL);
	memset(s, 0, sizeof(*s));
	s->magic = SERVICE_MAGIC;
	s->index = index;
	s->config = config;
	s->colorless = config->colorless;
	admission_init(&s->admission, 0);
	admission_init(&s->queue, 0);
	service_set_limits(s, config);
	/* Those who come from another process have waited for longer: theirs began there, earlier. */
	atomic_init(&s->ticket, (uint64_t)(clock_now() * 1e6));
	s->waiting = must_array(tallies, sizeof(*s->waiting));
	for (size_t i = 0; i < ARRAY_LEN(s->first); i++)
		s->first[i] = must_array(tallies, sizeof(*s->first[i]));
	s->record.color = config->initial;
	for (int c = 0; c < COLORS; c++) {
		const struct color_config *cc = &config->colors[c];

		s->colors[c].backends = must_array(cc->n_backends, sizeof(struct backend *));
		s->colors[c].n = cc->n_backends;
		for (size_t i = 0; i < cc->n_backends; i++) {
			s->colors[c].backends[i] =
				service_configured_backend(config, (enum color)c, &cc->backends[i]);
			expect_name(config, s->colors[c].backends[i], workers);
			s->colors[c].backends[i]->account = backend_account_new(tallies);
		}
	}
	s->tallies = tally_array(tallies, config->mode == MODE_HTTP);
	s->n_tallies = tallies;
	s->inherited = &s->tallies[writers];
	return s;
}

void
service_obey(struct service *s, const struct service_config *config, const struct config *tree)
{
	const struct config *old = s->held;

	s->config = config;
	s->held = config_ref(tree);
	config_unref(&old);
}

void
service_free(struct service **sp)
{
	struct service *s = *sp;

	*sp = NULL;
	if (s == NULL)
		return;
	CHECK(s->magic == SERVICE_MAGIC);
	for (int c = 0; c < COLORS; c++) {
		for (size_t i = 0; i < s->colors[c].n; i++)
			backend_unref(&s->colors[c].backends[i]);
		free(s->colors[c].backends);
		maglev_unref(&s->colors[c].maglev);
	}
	for (size_t i = 0; i < s->n_parted; i++)
		backend_unref(&s->parted[i].backend);
	free(s->parted);
	for (size_t i = 0; i < s->n_former; i++)
		backend_account_unref(&s->former[i].account);
	free(s->former);
	backend_index_clear(&s->by_text);
	tls_context_free(&s->backend_tls);
	tls_context_free(&s->check_tls);
	free(s->tallies);
	free(s->waiting);
	free(atomic_load_explicit(&s->judged, memory_order_relaxed));
	for (size_t i = 0; i < ARRAY_LEN(s->first); i++)
		free(s->first[i]);
	source_counts_free(&s->source_counts);
	source_rates_free(&s->source_rates);
	config_unref(&s->held);
	s->magic = 0;
	free(s);
}

const struct tally_color *
service_tally(const struct service *s, enum entrance entrance, enum color color, unsigned i)
{
	if (s->colorless && color == GREEN && i >= s->n_tallies) {
		i -= s->n_tallies;
		color = BLUE;
	} else if (s->colorless && color == BLUE) {
		return NULL;
	}
	return i < s->n_tallies ? &s->tallies[i].colors[entrance][color] : NULL;
}

struct log_field
service_color_field(const struct service_config *config, enum color color)
{
	return config->colorless ? LR(NULL, STR("")) : LS("color", color_word(color));
}

struct log_field
service_epoch_field(const struct service_config *config, uint64_t epoch)
{
	return config->colorless ? LR(NULL, STR("")) : LU("epoch", epoch);
}

uint64_t
service_own_connections(const struct service *s, enum entrance entrance, enum color color)
{
	const struct tally_color *t;
	uint64_t sum = 0;

	for (unsigned i = 0; (t = service_tally(s, entrance, color, i)) != NULL; i++)
		if (i % s->n_tallies != s->n_tallies - 1)	/* the last is the predecessor's */
			sum += tally_read(&t->active);
	return sum;
}

uint64_t
service_connections(const struct service *s, enum entrance entrance, enum color color)
{
	const struct tally_color *t;
	uint64_t sum = 0;

	for (unsigned i = 0; (t = service_tally(s, entrance, color, i)) != NULL; i++)
		sum += tally_read(&t->active);
	return sum;
}

uint64_t
service_ended(const struct service *s, enum entrance entrance, enum color color, enum ending ending)
{
	const struct tally_color *t;
	uint64_t sum = 0;

	for (unsigned i = 0; (t = service_tally(s, entrance, color, i)) != NULL; i++)
		sum += tally_read(&t->ended[ending]);
	return sum;
}

static void
add_requests(const struct tally_http *t, enum color color, struct service_totals *out)
{
	for (unsigned i = 0; i < TALLY_CODES; i++) {
		uint64_t n = tally_read(&t->requests[i]);

		out->requests[color] += n;
		if (tally_code_word(i)[0] == '5') {
			out->errors += n;
			out->bad[color] += n;
		}
	}
}

void
service_totals(const struct service *s, struct service_totals *out)
{
	const struct tally_color *c;

	memset(out, 0, sizeof(*out));
	for (int color = GREEN; color < COLORS; color++)
		for (unsigned i = 0; (c = service_tally(s, ENTRANCE_MAIN, (enum color)color, i)) != NULL; i++) {
			out->begun[color] += tally_read(&c->active);
			out->in[color] += tally_read(&c->bytes_in);
			out->out[color] += tally_read(&c->bytes_out);
			if (c->http != NULL)
				add_requests(c->http, (enum color)color, out);
			for (enum ending e = 0; (int)e < ENDINGS; e++) {
				uint64_t n = tally_read(&c->ended[e]);

				if (!ending_is_refusal(e))
					out->begun[color] += n;
				if (ending_is_error(e) && e != END_DRAINED && e != END_STOP) {
					out->failed += n;
					out->bad[color] += c->http == NULL && ending_is_of_color(e) ? n : 0;
				}
			}
		}
}

uint64_t
service_waiting(const struct service *s)
{
	return atomic_load_explicit(&s->queue.held, memory_order_relaxed);
}

void
service_add_backend(struct service *s, struct backend *b)
{
	enum color c = b->color;

	expect_name(s->config, b, s->n_tallies);
	index_present(s);
	open_account(s, b);
	backend_index_add(&s->by_text, b);
	s->colors[c].backends = must_grow(s->colors[c].backends, s->colors[c].n + 1, sizeof(struct backend *));
	s->colors[c].backends[s->colors[c].n++] = b;
	service_forget_maglev(s, c);
}

void
service_insert_backend(struct service *s, struct backend *b, const struct backend *after)
{
	struct backend **list;
	enum color c = b->color;
	size_t i;

	service_add_backend(s, b);
	if (after == NULL)
		return;
	list = s->colors[c].backends;
	for (i = s->colors[c].n - 1; i > 0 && list[i - 1] != after; i--)
		list[i] = list[i - 1];
	list[i] = b;
}

void
service_remove_backend(struct service *s, struct backend *b)
{
	struct backend **list = s->colors[b->color].backends;
	enum color c = b->color;
	size_t i = 0;

	while (i < s->colors[c].n && list[i] != b)
		i++;
	CHECK(i < s->colors[c].n);
	remember_account(s, b);
	backend_index_remove(&s->by_text, b);
	memmove(&list[i], &list[i + 1], (s->colors[c].n - i - 1) * sizeof(*list));
	s->colors[c].n--;
	service_forget_maglev(s, c);
	backend_unref(&b);
}

void
service_part(struct service *s, struct backend *b)
{
	s->parted = must_grow(s->parted, s->n_parted + 1, sizeof(*s->parted));
	s->parted[s->n_parted++] = (struct service_parted){ backend_ref(b), s->generation };
}

void
service_forget_parted(struct service *s)
{
	size_t n = 0;

	for (size_t i = 0; i < s->n_parted; i++)
		if (s->acked <= s->parted[i].generation ||
		    atomic_load_explicit(&s->parted[i].backend->connections, memory_order_relaxed) > 0)
			s->parted[n++] = s->parted[i];
		else
			backend_unref(&s->parted[i].backend);
	s->n_parted = n;
}

size_t
service_healthy(const struct service *s, enum color color)
{
	size_t up = 0;

	for (size_t i = 0; i < s->colors[color].n; i++)
		up += backend_use(s->colors[color].backends[i]) == BACKEND_USED;
	return up;
}

enum backend_use
service_best(const struct service *s, enum color color)
{
	enum backend_use best = BACKEND_NEVER;

	for (size_t i = 0; i < s->colors[color].n; i++) {
		enum backend_use use = backend_use(s->colors[color].backends[i]);

		if (use > best)
			best = use;
	}
	return best;
}

size_t
service_drained(const struct service *s, enum color color)
{
	size_t drained = 0;

	for (size_t i = 0; i < s->colors[color].n; i++)
		drained += !backend_is_wanted(s->colors[color].backends[i]);
	return drained;
}

size_t
service_needed(const struct service *s, enum color color)
{
	const struct quorum *q = &s->config->min_healthy;
	size_t needed = q->value, wanted = 0;

	if (s->colorless)
		return s->config->backendless ? 0 : 1;
	/* Of those that are to get anything at all times. */
	for (size_t i = 0; i < s->colors[color].n; i++)
		wanted += backend_counts(s->colors[color].backends[i]);
	if (q->percent)
		needed = (wanted * q->value + 99) / 100;
	return needed > 0 ? needed : 1;
}

struct maglev *
service_maglev(struct service *s, enum color color)
{
	struct backend **wanted;
	size_t n = 0;

	if (s->colors[color].maglev != NULL)
		return s->colors[color].maglev;
	wanted = must_array(s->colors[color].n, sizeof(*wanted));
	for (size_t i = 0; i < s->colors[color].n; i++)
		/* A backup would own clients that it does not get. */
		if (backend_is_wanted(s->colors[color].backends[i]) && !s->colors[color].backends[i]->backup &&
		    backend_has_address(s->colors[color].backends[i]))
			wanted[n++] = s->colors[color].backends[i];
	s->colors[color].maglev = maglev_new(wanted, n);
	free(wanted);
	return s->colors[color].maglev;
}

void
service_forget_maglev(struct service *s, enum color color)
{
	maglev_unref(&s->colors[color].maglev);
}
