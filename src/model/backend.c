/* backend.c - life of a backend object.  Any thread may hold references;
 * created by main. */
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/clock.h"
#include "model/backend.h"

struct backend *
backend_try_new(enum color color, const struct addr *address, const struct addr *health_address)
{
	struct backend *b = aligned_alloc(64, (sizeof(*b) + 63) / 64 * 64);

	if (b == NULL)
		return NULL;
	memset(b, 0, sizeof(*b));
	b->magic = BACKEND_MAGIC;
	atomic_init(&b->refs, 1);
	b->terms = NODE_NO_TERMS;
	b->color = color;
	b->address = *address;
	b->health_address = *health_address;
	addr_format(address, b->text);
	b->weight = 1;
	b->share = b->agent.percent = 100;
	b->state = BACKEND_CHECKING;
	b->since_us = clock_wall_us();
	return b;
}

struct backend *
backend_new(enum color color, const struct addr *address, const struct addr *health_address)
{
	struct backend *b = backend_try_new(color, address, health_address);

	CHECK(b != NULL);
	return b;
}

void
backend_expect(struct backend *b, const char *server_name, unsigned workers)
{
	CHECK(b->server_name == NULL);
	b->server_name = must_strdup(server_name);
	b->memories = must_array(workers, sizeof(*b->memories));
	b->n_memories = workers;
}

struct backend *
backend_new_named(enum color color, const char *name, unsigned port, unsigned health_port,
		  const struct addr *address)
{
	struct addr at = address != NULL ? *address : (struct addr){ 0 }, health = at;
	struct backend *b;

	addr_set_port(&at, port);
	addr_set_port(&health, health_port != 0 ? health_port : port);
	b = backend_new(color, &at, &health);
	b->name = must_strdup(name);
	b->port = port;
	b->health_port = health_port;
	if (address == NULL)
		snprintf(b->text, sizeof(b->text), "%.100s:%u", name, port);
	return b;
}

void
backend_check_at(struct backend *b, const struct addr *at)
{
	b->health_at = b->health_address = *at;
}

void
backend_share_node(struct backend *b, const struct backend *other)
{
	b->host = other->host != NULL ? must_strdup(other->host) : NULL;
	b->drain = other->drain;
	b->terms = other->terms;
	b->drained_at = other->drained_at;
}

void
backend_succeed(struct backend *b, const struct backend *old)
{
	b->weight = old->weight;
	b->endpoints = old->endpoints;
	b->agent = old->agent;
	(void)backend_weigh(b);
	b->backup = old->backup;
	backend_share_node(b, old);
	b->node_at = old->node_at;
	b->node_down = old->node_down;
	b->leaving = old->leaving;
	b->state = old->state;
	b->since_us = old->since_us;
	memcpy(b->error, old->error, sizeof(b->error));
	b->ejected_until = old->ejected_until;
	b->ramp_from = old->ramp_from;
	b->ejections = old->ejections;
	memcpy(b->checks, old->checks, sizeof(b->checks));
	atomic_store_explicit(&b->connect_failures, old->connect_failures, memory_order_relaxed);
	atomic_store_explicit(&b->bad_answers, old->bad_answers, memory_order_relaxed);
}

bool
backend_same_name(const struct backend *a, const struct backend *b)
{
	return a->name != NULL && b->name != NULL && a->port == b->port && node_same_host(a->name, b->name);
}

struct backend *
backend_ref(struct backend *b)
{
	CHECK(b->magic == BACKEND_MAGIC);
	atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
	return b;
}

void
backend_unref(struct backend **bp)
{
	struct backend *b = *bp;

	*bp = NULL;
	if (b == NULL)
		return;
	CHECK(b->magic == BACKEND_MAGIC);
	if (atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) == 1) {
		b->magic = 0;
		free(b->host);
		free(b->name);
		free(b->server_name);
		for (unsigned i = 0; i < b->n_memories; i++)
			tls_memory_forget(&b->memories[i]);
		free(b->memories);
		backend_account_unref(&b->account);
		free(b);
	}
}

const char *
backend_state_word(enum backend_state s)
{
	switch (s) {
	case BACKEND_CHECKING:
		return "checking";
	case BACKEND_UP:
		return "up";
	case BACKEND_DRAINING:
		return "draining";
	case BACKEND_DOWN:
		return "down";
	}
	return "";
}

static bool
is_ejected(const struct backend *b)
{
	return b->state == BACKEND_UP && b->ejected_until > 0;
}

const char *
backend_word(const struct backend *b)
{
	return is_ejected(b) ? "ejected" : backend_state_word(b->state);
}

const char *
backend_admin_word(const struct backend *b)
{
	return backend_is_wanted(b) ? "ready" : "drain";
}

bool
backend_is_wanted(const struct backend *b)
{
	return b->weight > 0 && b->share > 0 && !b->drain && !b->agent.drain;
}

bool
backend_counts(const struct backend *b)
{
	return backend_is_wanted(b) && !b->backup && b->state != BACKEND_DRAINING;
}

bool
backend_weigh(struct backend *b)
{
	unsigned endpoints = b->endpoints < BACKEND_WEIGHT_MAX ? b->endpoints : BACKEND_WEIGHT_MAX;
	unsigned share = b->agent.percent * (endpoints > 0 ? endpoints : 1), was = b->share;

	b->share = share;
	return share != was;
}

enum backend_use
backend_use(const struct backend *b)
{
	if (!backend_is_wanted(b) || !backend_has_address(b))
		return BACKEND_NEVER;
	if (b->state != BACKEND_UP || is_ejected(b))
		return BACKEND_SPARE;
	return b->backup ? BACKEND_STANDBY : BACKEND_USED;
}
