/* world.h - a small teald for the tests of what faces people: two services,
 * the real control, and a store and an engine that do what the test says.
 * The test and the server share a thread, so every wait turns the loop. */
#ifndef TESTS_UNIT_WORLD_H
#define TESTS_UNIT_WORLD_H

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>

#include "control/control.h"
#include "control/drain.h"
#include "control/services.h"
#include "wait.h"

#define WORLD_SERVICES 2

struct world {
	struct ev_loop *loop;
	char dir[64], socket[96];
	struct config config;
	struct service_config services[WORLD_SERVICES];	/* shop, and pay with a preview */
	struct backend_config backends[WORLD_SERVICES][COLORS];
	struct addr listen[WORLD_SERVICES], preview;
	int listeners[COLORS];	/* what the backends answer with */
	struct service *running[WORLD_SERVICES];
	struct control control;
	struct jobs *jobs;
	/* The store. */
	struct store store;
	struct record records[WORLD_SERVICES];
	struct audit_entry history[32];
	size_t n_history;
	bool hold_writes;
	struct store_write held;
	store_done_fn *held_done;
	void *held_arg;
	/* The engine. */
	struct engine engine;
	uint64_t connections[WORLD_SERVICES][COLORS];
	bool stopped;
	bool hold_holders;
	holders_fn *holders_done;
	void *holders_arg;
};

static struct world *
world_of_store(const struct store *s)
{
	return container_of(s, struct world, store);
}

static struct world *
world_of_engine(const struct engine *e)
{
	return container_of(e, struct world, engine);
}

static int
world_index(const char *service)
{
	return strcmp(service, "shop") == 0 ? 0 : 1;
}

static enum err
world_store_open(struct store *s, struct why *why)
{
	struct world *w = world_of_store(s);

	(void)why;
	for (int i = 0; i < WORLD_SERVICES; i++) {
		w->records[i].epoch = 1;
		s->on_record(s->arg, w->services[i].name, &w->records[i]);
	}
	s->on_ready(s->arg);
	return OK;
}

static void
world_write_now(struct world *w, const struct store_write *write, store_done_fn *done, void *arg)
{
	struct record *r = &w->records[world_index(write->service)];
	static const struct why why = { "" };

	*r = write->next;
	if (w->n_history < ARRAY_LEN(w->history))
		w->history[w->n_history++] = write->entry;
	w->store.on_record(w->store.arg, write->service, r);
	done(arg, OK, r, &why);
}

static void
world_store_write(struct store *s, const struct store_write *write, store_done_fn *done, void *arg)
{
	struct world *w = world_of_store(s);

	if (!w->hold_writes) {
		world_write_now(w, write, done, arg);
		return;
	}
	w->held = *write;
	w->held_done = done;
	w->held_arg = arg;
}

static inline void
world_release_write(struct world *w)
{
	w->hold_writes = false;
	world_write_now(w, &w->held, w->held_done, w->held_arg);
	w->held_done = NULL;
}

static void
world_store_note(struct store *s, const struct audit_entry *entry)
{
	(void)s;
	(void)entry;
}

static void
world_store_history(struct store *s, const char *service, unsigned last, store_history_fn *done, void *arg)
{
	struct world *w = world_of_store(s);
	static const struct why why = { "" };

	(void)service;
	done(arg, OK, w->history, w->n_history < last ? w->n_history : last, &why);
}

static void
world_store_status(const struct store *s, struct store_status *out)
{
	(void)s;
	*out = (struct store_status){ .type = "file", .up = true, .age = 0.25 };
}

static void
world_publish(struct engine *e, struct service *s, struct snapshot **snapshot)
{
	uint64_t generation = (*snapshot)->generation;

	snapshot_unref(snapshot);
	e->on_acked(e->arg, e, s, 0, generation);
}

static void
world_drain(struct engine *e, struct service *s, enum color color, const struct drain_orders *orders)
{
	(void)e;
	(void)s;
	(void)color;
	(void)orders;
}

static void
world_tell_holders(holders_fn *done, void *arg)
{
	struct holder h = { .backend = "127.0.0.1:10080", .age = 12.1, .idle = 0.5, .bytes_in = 1, .bytes_out = 2 };

	CHECK(addr_parse_ip("10.0.0.9", 5555, &h.client));
	done(arg, &(struct holders){ &h, 1, true });
}

static void
world_holders(struct engine *e, struct service *s, enum color color, unsigned max, holders_fn *done, void *arg)
{
	struct world *w = world_of_engine(e);

	(void)s;
	(void)color;
	(void)max;
	w->holders_done = done;
	w->holders_arg = arg;
	if (!w->hold_holders)
		world_tell_holders(done, arg);
}

static uint64_t
world_count(struct engine *e, const struct service *s, enum color color)
{
	return world_of_engine(e)->connections[s->index][color];
}

static void
world_engine_close(struct engine *e)
{
	e->on_closed(e->arg);
}

static void
world_on_stopped(void *arg)
{
	((struct world *)arg)->stopped = true;
}

static void
world_on_removed(void *arg, struct service *s)
{
	struct world *w = arg;

	CHECK(w->running[s->index] == s);
	service_free(&w->running[s->index]);
}

/* A socket that completes connects and never answers. */
static int
world_listen(struct addr *a)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	CHECK(addr_parse_ip("127.0.0.1", 0, a));
	CHECK(fd >= 0 && bind(fd, &a->u.sa, a->len) == 0 && listen(fd, 64) == 0);
	CHECK(getsockname(fd, &a->u.sa, &a->len) == 0);
	return fd;
}

static void
world_configure(struct world *w)
{
	static struct label labels[] = { { (char *)(uintptr_t)"project", (char *)(uintptr_t)"demo" } };
	static const char *const names[] = { "shop", "pay" };
	struct addr backend[COLORS];

	for (int c = 0; c < COLORS; c++)
		w->listeners[c] = world_listen(&backend[c]);
	CHECK(addr_parse_ip("127.0.0.1", 8080, &w->preview));
	for (int i = 0; i < WORLD_SERVICES; i++) {
		struct service_config *s = &w->services[i];

		CHECK(addr_parse_ip("127.0.0.1", 80 + (unsigned)i, &w->listen[i]));
		*s = (struct service_config){
			.name = (char *)(uintptr_t)names[i],
			.listen = &w->listen[i],
			.n_listen = 1,
			.health = { .type = HEALTH_NONE, .interval = 2, .timeout = 1, .rise = 1, .fall = 1 },
			.min_healthy = { 50, true },
			.drain = { .timeout = 30, .idle = 5 },
			.max_connections = 1000,
			.labels_json = (char *)(uintptr_t)"",
		};
		for (int c = 0; c < COLORS; c++) {
			w->backends[i][c].address = w->backends[i][c].health_address = backend[c];
			w->backends[i][c].weight = 1;
			s->colors[c] = (struct color_config){ .backends = &w->backends[i][c], .n_backends = 1 };
		}
	}
	w->services[0].labels = labels;
	w->services[0].n_labels = 1;
	w->services[0].labels_json = (char *)(uintptr_t)"\"project\":\"demo\"";
	w->services[1].preview = &w->preview;
	w->services[1].n_preview = 1;
	w->config.refs = 1;
	w->config.workers = 2;
	w->config.admin.socket = w->socket;
	w->config.admin.mode = 0640;
	w->config.observe.on = w->config.observe.backend_metrics = true;
	CHECK(addr_parse_ip("127.0.0.1", 0, &w->config.observe.listen));
	w->config.services = w->services;
	w->config.n_services = WORLD_SERVICES;
}

static inline struct world *
world_new(void)
{
	static const struct engine_class world_class = { ENGINE_PROXY, .name = "world", .proxies = true };
	struct world *w = must_alloc(sizeof(*w));
	struct why why;

	w->loop = ev_loop_new(EVBACKEND_EPOLL);
	strcpy(w->dir, "/tmp/teal-world-XXXXXX");
	CHECK(mkdtemp(w->dir) != NULL);
	snprintf(w->socket, sizeof(w->socket), "%s/admin.sock", w->dir);
	world_configure(w);
	for (unsigned i = 0; i < WORLD_SERVICES; i++)
		w->running[i] = service_new(&w->services[i], i, w->config.workers);
	w->store = (struct store){ .open = world_store_open, .write = world_store_write, .note = world_store_note,
				   .history = world_store_history, .status = world_store_status };
	w->engine = (struct engine){ .class = &world_class, .n_threads = 1, .publish = world_publish, .drain = world_drain,
				     .holders = world_holders, .count = world_count, .close = world_engine_close };
	w->jobs = jobs_new(w->loop, 1);
	CHECK(control_open(&w->control, w->loop, &w->config, w->jobs, &w->store,
			   (struct engine *[]){ &w->engine }, 1, w->running, WORLD_SERVICES,
			   &why) == OK);
	w->control.on_stopped = world_on_stopped;
	w->control.on_removed = world_on_removed;
	w->control.arg = w;
	WAIT_UNTIL(w->loop, w->control.life == LIFE_SERVING);
	return w;
}

/* The service of that index goes, and is freed as soon as nothing names it. */
static inline void
world_remove(struct world *w, unsigned i)
{
	control_remove_service(&w->control, w->running[i]->ctl);
}

/* Another one of that name. */
static inline void
world_add(struct world *w, unsigned i)
{
	w->running[i] = service_new(&w->services[i], i, w->config.workers);
	(void)control_add_service(&w->control, w->running[i], NULL);
	w->store.on_record(w->store.arg, w->services[i].name, &w->records[i]);
}

static inline void
world_free(struct world *w)
{
	control_close(&w->control);
	jobs_free(&w->jobs);
	for (int i = 0; i < WORLD_SERVICES; i++)
		service_free(&w->running[i]);
	for (int c = 0; c < COLORS; c++)
		close(w->listeners[c]);
	ev_loop_destroy(w->loop);
	rmdir(w->dir);
	free(w);
}

/* What has arrived at a test's socket. */
struct inbox {
	char text[16 << 20];
	size_t n;
	bool eof;
};

/* Takes what is there; never waits. */
static inline void
inbox_fill(struct inbox *in, int fd)
{
	ssize_t n;

	while (in->n < sizeof(in->text) - 1) {
		n = recv(fd, in->text + in->n, sizeof(in->text) - 1 - in->n, MSG_DONTWAIT);
		if (n <= 0) {
			in->eof = in->eof || n == 0 || (errno != EAGAIN && errno != EINTR);
			break;
		}
		in->n += (size_t)n;
	}
	in->text[in->n] = '\0';
}

/* Turns the loop once without sleeping, then looks; for WAIT_UNTIL. */
static inline bool
inbox_has(struct world *w, struct inbox *in, int fd, const char *text)
{
	ev_run(w->loop, EVRUN_NOWAIT);
	inbox_fill(in, fd);
	return strstr(in->text, text) != NULL;
}

#endif
