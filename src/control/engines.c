/* engines.c - orders to all engines of a service, and one answer from what they
 * say.  Thread: main. */
#include <stdlib.h>
#include <string.h>

#include "control/engines.h"
#include "net/tls_client.h"

/* One engine of a service, and what its threads have reported. */
struct service_engine {
	struct engine *engine;
	uint64_t *acked;	/* generation, by thread */
};

static struct service_engine *
find_engine(const struct service_ctl *ctl, const struct engine *engine)
{
	for (size_t i = 0; i < ctl->n_engines; i++)
		if (ctl->engines[i].engine == engine)
			return &ctl->engines[i];
	return NULL;
}

bool
engines_has(const struct service_ctl *ctl, const struct engine *engine)
{
	return find_engine(ctl, engine) != NULL;
}

/* The generation that every thread of every engine obeys. */
static bool
take_least(struct service_ctl *ctl)
{
	uint64_t least = UINT64_MAX;

	for (size_t i = 0; i < ctl->n_engines; i++)
		for (unsigned t = 0; t < ctl->engines[i].engine->n_threads; t++)
			if (ctl->engines[i].acked[t] < least)
				least = ctl->engines[i].acked[t];
	if (ctl->n_engines == 0 || least <= ctl->service->acked)
		return false;
	ctl->service->acked = least;
	return true;
}

void
engines_join(struct service_ctl *ctl, struct engine *engine)
{
	CHECK(engine->n_threads > 0 && find_engine(ctl, engine) == NULL);
	ctl->engines = must_grow(ctl->engines, ctl->n_engines + 1, sizeof(*ctl->engines));
	ctl->engines[ctl->n_engines++] = (struct service_engine){
		engine, must_array(engine->n_threads, sizeof(uint64_t))
	};
}

bool
engines_leave(struct service_ctl *ctl, struct engine *engine)
{
	struct service_engine *se = find_engine(ctl, engine);

	CHECK(se != NULL);
	free(se->acked);
	*se = ctl->engines[--ctl->n_engines];
	return take_least(ctl);
}

void
engines_free(struct service_ctl *ctl)
{
	for (size_t i = 0; i < ctl->n_engines; i++)
		free(ctl->engines[i].acked);
	free(ctl->engines);
	ctl->engines = NULL;
	ctl->n_engines = 0;
}

bool
engines_ack(struct service_ctl *ctl, const struct engine *engine, unsigned thread, uint64_t generation)
{
	struct service_engine *se = find_engine(ctl, engine);

	/* It has left: its last reports are still on their way. */
	if (se == NULL)
		return false;
	CHECK(thread < engine->n_threads && generation <= ctl->service->generation);
	if (generation > se->acked[thread])
		se->acked[thread] = generation;
	return take_least(ctl);
}

enum err
engines_open(struct service_ctl *ctl, struct why *why)
{
	enum err e = OK;

	for (size_t i = 0; i < ctl->n_engines && e == OK; i++) {
		struct engine *engine = ctl->engines[i].engine;

		if (engine->open != NULL)
			e = engine->open(engine, ctl->service, why);
	}
	return e;
}

void
engines_publish(struct service_ctl *ctl, struct snapshot **snapshot)
{
	for (size_t i = 0; i < ctl->n_engines; i++) {
		struct engine *engine = ctl->engines[i].engine;
		struct snapshot *its = snapshot_ref(*snapshot);

		engine->publish(engine, ctl->service, &its);
	}
	snapshot_unref(snapshot);
}

void
engines_drain_but(struct service_ctl *ctl, const struct engine *but, enum color color, const struct drain_orders *orders)
{
	for (size_t i = 0; i < ctl->n_engines; i++)
		if (ctl->engines[i].engine != but)
			ctl->engines[i].engine->drain(ctl->engines[i].engine, ctl->service, color, orders);
}

void
engines_drain(struct service_ctl *ctl, enum color color, const struct drain_orders *orders)
{
	engines_drain_but(ctl, NULL, color, orders);
}

void
engines_forget(struct service_ctl *ctl)
{
	for (size_t i = ctl->n_engines; i-- > 0;) {
		struct engine *engine = ctl->engines[i].engine;

		if (engine->forget != NULL)
			engine->forget(engine, ctl->service);
		else
			(void)engines_leave(ctl, engine);
	}
}

void
engines_show(struct service_ctl *ctl, struct tls_site *site, struct ssl_ctx_st *backend)
{
	for (size_t i = 0; i < ctl->n_engines; i++) {
		struct engine *engine = ctl->engines[i].engine;

		if (engine->show != NULL)
			engine->show(engine, ctl->service, site != NULL ? tls_site_ref(site) : NULL,
				     tls_context_ref(backend));
	}
	tls_site_unref(&site);
	tls_context_free(&backend);
}

uint64_t
engines_count_but(const struct service_ctl *ctl, const struct engine *but, enum color color)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < ctl->n_engines; i++)
		if (ctl->engines[i].engine != but)
			sum += ctl->engines[i].engine->count(ctl->engines[i].engine, ctl->service, color);
	return sum;
}

uint64_t
engines_count(const struct service_ctl *ctl, enum color color)
{
	return engines_count_but(ctl, NULL, color);
}

uint64_t
engines_count_of(const struct service_ctl *ctl, struct engine *engine, enum color color)
{
	return find_engine(ctl, engine) != NULL ? engine->count(engine, ctl->service, color) : 0;
}

bool
engines_proxy(const struct service_ctl *ctl)
{
	for (size_t i = 0; i < ctl->n_engines; i++)
		if (ctl->engines[i].engine->class->proxies)
			return true;
	return false;
}

bool
engines_strays(const struct service_ctl *ctl, uint64_t *sum)
{
	bool any = false;

	*sum = ctl->strays;
	for (size_t i = 0; i < ctl->n_engines; i++) {
		const struct engine *engine = ctl->engines[i].engine;

		if (engine->strays == NULL)
			continue;
		*sum += engine->strays(engine, ctl->service);
		any = true;
	}
	return any;
}

/* -- who holds a color ----------------------------------------------------------- */

struct holders_query {
	holders_fn *done;
	void *arg;
	size_t waiting;	/* engines that have not answered */
	unsigned max;
	struct holders all;
};

static void
holders_on_answer(void *arg, const struct holders *some)
{
	struct holders_query *q = arg;
	size_t room = q->max - q->all.n, n = some->n < room ? some->n : room;

	q->all.list = must_grow(q->all.list, q->all.n + n + 1, sizeof(struct holder));
	if (n > 0)
		memcpy(q->all.list + q->all.n, some->list, n * sizeof(struct holder));
	q->all.n += n;
	q->all.truncated |= some->truncated || n < some->n;
	if (--q->waiting > 0)
		return;
	q->done(q->arg, &q->all);
	free(q->all.list);
	free(q);
}

void
engines_holders_but(struct service_ctl *ctl, const struct engine *but, enum color color, unsigned max, holders_fn *done,
		    void *arg)
{
	struct holders_query *q = must_alloc(sizeof(*q));
	static const struct holders none;

	*q = (struct holders_query){ .done = done, .arg = arg, .waiting = 1, .max = max };
	for (size_t i = 0; i < ctl->n_engines; i++)
		q->waiting += ctl->engines[i].engine != but;
	for (size_t i = 0; i < ctl->n_engines; i++) {
		struct engine *engine = ctl->engines[i].engine;

		if (engine != but)
			engine->holders(engine, ctl->service, color, max, holders_on_answer, q);
	}
	/* Answers may come from inside: q is there until this last one. */
	holders_on_answer(q, &none);
}

void
engines_holders(struct service_ctl *ctl, enum color color, unsigned max, holders_fn *done, void *arg)
{
	engines_holders_but(ctl, NULL, color, max, done, arg);
}
