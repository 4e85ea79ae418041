/* fuzz_peer.c - messages of another generation of teald: whatever it says, nothing of
 * ours breaks, what it holds is counted off again when it goes, and totals never fall.
 * Input: messages of a type, a length (two bytes) and a row. */
#include <ev.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/log.h"
#include "control/control.h"
#include "control/engines.h"
#include "control/peer.h"
#include "store/store_successor.h"

#define SERVICES 2

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct world {
	struct ev_loop *loop;
	struct config config;
	struct service_config sc[SERVICES];
	struct backend_config backends[SERVICES][COLORS];
	struct service *services[SERVICES];
	struct engine engine;
	struct control control;
	struct store *store;
	struct peer *peer;
};

static void
swallow(void *arg, enum peer_type type, const struct buf *row)
{
	(void)arg;
	(void)type;
	CHECK(buf_len(row) <= PEER_MESSAGE_MAX && !row->failed);
}

static void
obey(struct engine *e, struct service *s, struct snapshot **snapshot)
{
	uint64_t generation = (*snapshot)->generation;

	snapshot_unref(snapshot);
	e->on_acked(e->arg, e, s, 0, generation);
}

static void
drain(struct engine *e, struct service *s, enum color color, const struct drain_orders *orders)
{
	(void)e;
	(void)s;
	(void)color;
	CHECK(orders->ending == END_DRAINED || orders->ending == END_STOP);
}

static uint64_t
count(struct engine *e, const struct service *s, enum color color)
{
	(void)e;
	return service_own_connections(s, ENTRANCE_MAIN, color);
}

static void
holders(struct engine *e, struct service *s, enum color color, unsigned max, holders_fn *done, void *arg)
{
	struct holder one = { .age = 1 };

	(void)e;
	(void)s;
	(void)color;
	CHECK(addr_parse_ip("10.0.0.1", 80, &one.client));
	done(arg, &(struct holders){ &one, max > 0, false });
}

static void
on_holders(void *arg, const struct holders *h)
{
	(void)h;
	(*(unsigned *)arg)++;
}

static const struct engine_class class = { ENGINE_PROXY, .name = "fuzz" };

static void
open_world(struct world *w)
{
	static const char *const names[SERVICES] = { "web", "pay" };
	struct why why;

	*w = (struct world){ .loop = ev_loop_new(EVFLAG_AUTO) };
	for (unsigned i = 0; i < SERVICES; i++) {
		w->sc[i] = (struct service_config){ .name = (char *)(uintptr_t)names[i],
						    .labels_json = "",
						    .mode = i == 0 ? MODE_TCP : MODE_HTTP,
						    .health.type = HEALTH_NONE,
						    .slow_start = 10,
						    .drain = { .timeout = 30 } };
		for (int c = 0; c < COLORS; c++) {
			struct backend_config *b = &w->backends[i][c];

			CHECK(addr_parse_ip("127.0.0.1", 7000 + (unsigned)c, &b->address));
			b->health_address = b->address;
			b->host = "127.0.0.1";
			b->weight = 1;
			w->sc[i].colors[c] = (struct color_config){ .backends = b, .n_backends = 1 };
		}
		w->services[i] = service_new(&w->sc[i], i, 1);
	}
	w->config.refs = 1;
	w->config.services = w->sc;
	w->config.n_services = SERVICES;
	w->engine = (struct engine){ .class = &class, .n_threads = 1, .publish = obey, .drain = drain, .count = count, .holders = holders };
	w->store = store_successor_new(w->loop, "redis", true);
	CHECK(control_prepare(&w->control, w->loop, &w->config, NULL, w->store,
			      (struct engine *[]){ &w->engine }, 1, w->services, SERVICES, &why) == OK);
}

static void
close_world(struct world *w)
{
	control_forget(&w->control);
	peer_free(&w->peer);
	control_close(&w->control);
	w->store->close(&w->store);
	for (unsigned i = 0; i < SERVICES; i++) {
		for (int c = 0; c < COLORS; c++)
			CHECK(service_connections(w->services[i], ENTRANCE_MAIN, (enum color)c) == 0 &&
			      w->services[i]->colors[c].backends[0]->connections == 0);
		CHECK(w->services[i]->admission.held == 0 && w->services[i]->queue.held == 0);
		service_free(&w->services[i]);
	}
	ev_loop_destroy(w->loop);
}

/* Messages up to one of type 0, or the end. */
static void
say(struct world *w, const uint8_t **data, size_t *size)
{
	while (*size >= 3) {
		unsigned type = (*data)[0];
		size_t n = (*data)[1] | (size_t)(*data)[2] << 8;

		*data += 3;
		*size -= 3;
		if (type == 0)
			return;
		if (n > *size)
			n = *size;
		peer_on_message(w->peer, type, (struct str){ (const char *)*data, n });
		ev_run(w->loop, EVRUN_NOWAIT);
		*data += n;
		*size -= n;
	}
}

/* As the successor's, then as the predecessor's. */
static void
hear_predecessor(const uint8_t *data, size_t size)
{
	unsigned asked = 0, answered = 0;
	struct world w;
	struct why why;
	uint64_t before[SERVICES];

	open_world(&w);
	w.peer = peer_new(&w.control, PEER_IS_PREDECESSOR, swallow, NULL);
	say(&w, &data, &size);
	peer_begin(w.peer);
	CHECK(control_begin(&w.control, &why) == OK);
	for (size_t i = 0; i < w.control.n; i++, asked++)
		engines_holders(w.control.services[i], GREEN, 5, on_holders, &answered);
	for (unsigned i = 0; i < SERVICES; i++)
		before[i] = service_ended(w.services[i], ENTRANCE_MAIN, GREEN, END_DONE);
	say(&w, &data, &size);
	for (unsigned i = 0; i < SERVICES; i++)
		CHECK(service_ended(w.services[i], ENTRANCE_MAIN, GREEN, END_DONE) >= before[i]);
	peer_gone(w.peer);
	CHECK(asked == answered);
	close_world(&w);
}

static void
hear_successor(const uint8_t *data, size_t size)
{
	static const struct record green = { .color = GREEN, .epoch = 3, .change = CHANGE_INITIAL };
	struct world w;
	struct why why;

	open_world(&w);
	CHECK(control_begin(&w.control, &why) == OK);
	for (unsigned i = 0; i < SERVICES; i++)
		w.store->on_record(w.store->arg, w.sc[i].name, &green);
	w.peer = peer_new(&w.control, PEER_IS_SUCCESSOR, swallow, NULL);
	peer_yield(w.peer);
	while (size >= 3)
		say(&w, &data, &size);
	for (unsigned i = 0; i < SERVICES; i++)
		CHECK(w.services[i]->record.epoch >= 3);
	close_world(&w);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	log_set_level(LOG_ERROR_LEVEL);
	hear_predecessor(data, size);
	hear_successor(data, size);
	return 0;
}
