/* test_services.c - services that come and go while control runs, with the real
 * embedded store, health checks and nodes, and an engine that obeys the test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/hash.h"
#include "control/flip_steps.h"
#include "control/nodes.h"
#include "control/reload_commit.h"
#include "control/services.h"
#include "scaled.h"
#include "wait.h"

#define SLOTS 64

/* -- an engine that obeys ------------------------------------------------------- */

struct fake {
	struct engine engine;
	bool hold_acks;	/* say nothing of snapshots until told to */
	struct {
		unsigned opened;
		uint64_t generation;
		uint64_t connections;	/* of green */
		unsigned drains;	/* that end the service */
		double timeout;	/* of the last */
		bool forgetting;
		unsigned published;	/* snapshots that came by themselves */
		uint64_t committed;	/* the generation of the one that came with a reload */
		unsigned usable;	/* of green, in that one */
	} of[SLOTS];	/* by the service's index */
};

static struct fake *
fake_of(struct engine *e)
{
	return (struct fake *)e;
}

static enum err
fake_open(struct engine *e, struct service *s, struct why *why)
{
	(void)why;
	fake_of(e)->of[s->index].opened++;
	return OK;
}

static void
fake_publish(struct engine *e, struct service *s, struct snapshot **snapshot)
{
	uint64_t generation = (*snapshot)->generation;

	snapshot_unref(snapshot);
	fake_of(e)->of[s->index].generation = generation;
	fake_of(e)->of[s->index].published++;
	if (!fake_of(e)->hold_acks)
		e->on_acked(e->arg, e, s, 0, generation);
}

static void
fake_drain(struct engine *e, struct service *s, enum color color, const struct drain_orders *orders)
{
	(void)color;
	fake_of(e)->of[s->index].drains += orders->all;
	fake_of(e)->of[s->index].timeout = orders->timeout;
}

static uint64_t
fake_count(struct engine *e, const struct service *s, enum color color)
{
	return color == GREEN ? fake_of(e)->of[s->index].connections : 0;
}

static void
fake_forget(struct engine *e, struct service *s)
{
	fake_of(e)->of[s->index].forgetting = true;
}

static enum err
fake_prepare(struct engine *e, const struct reload *r, struct why *why)
{
	(void)e;
	(void)r;
	(void)why;
	return OK;
}

static void
fake_commit(struct engine *e, const struct reload *r)
{
	for (size_t i = 0; i < r->n; i++) {
		const struct snapshot *snapshot = r->services[i].snapshot;
		struct service *s = r->services[i].service;

		if (snapshot == NULL)
			continue;
		fake_of(e)->of[s->index].committed = snapshot->generation;
		fake_of(e)->of[s->index].usable = snapshot->colors[GREEN].n;
		e->on_acked(e->arg, e, s, 0, snapshot->generation);
	}
}

static void
fake_close(struct engine *e)
{
	e->on_closed(e->arg);
}

static const struct engine_class fake_class = { ENGINE_PROXY, .name = "fake" };

/* -- a small teald -------------------------------------------------------------- */

struct rig {
	char dir[64];
	const struct config *configs[4];	/* as they came: services that leave point to theirs */
	size_t n_configs;
	const struct config *config;	/* the last */
	struct ev_loop *loop;
	struct jobs *jobs;
	struct store *store;
	struct fake fake;
	struct control control;
	bool used[SLOTS];	/* indexes */
	unsigned removed;	/* services that were freed */
};

#define POOLS "node_pools: { main = [\"127.0.0.11\", \"127.0.0.12\"]; };\n"
/* One backend on each color, of which nothing is asked. */
#define PLAIN(name, port) \
	"{ name = \"" name "\"; listen = \"127.0.0.1:" port "\"; health: { type = \"none\"; }; drain: { timeout = 7.0; };" \
	" green: { backends = [\"127.0.0.1:1\"]; }; blue: { backends = [\"127.0.0.1:2\"]; }; }"
#define POOLED(name, port) \
	"{ name = \"" name "\"; listen = \"127.0.0.1:" port "\"; health: { type = \"none\"; }; nodes = \"main\";" \
	" green: { port = 1; }; blue: { port = 2; }; }"

static const struct config *
load(struct rig *r, const char *services)
{
	struct complaints errors = { 0 }, warnings = { 0 };
	char *path = must_printf("%s/teal.conf", r->dir);
	const struct config *config;
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fprintf(f, "state_dir = \"%s\";\nworkers = 1;\n" POOLS "services = ( %s );\n", r->dir, services);
	fclose(f);
	if (config_load(path, &config, &errors, &warnings) != OK)
		fail_msg("%s", errors.n > 0 ? errors.lines[0] : "?");
	complaints_free(&errors);
	complaints_free(&warnings);
	unlink(path);
	free(path);
	assert_true(r->n_configs < ARRAY_LEN(r->configs));
	r->configs[r->n_configs++] = config;
	return config;
}

static struct service *
make(struct rig *r, const struct service_config *sc)
{
	unsigned index = 0;

	while (r->used[index])
		index++;
	assert_true(index < SLOTS);
	r->used[index] = true;
	memset(&r->fake.of[index], 0, sizeof(r->fake.of[index]));
	return service_new(sc, index, 1);
}

static void
on_removed(void *arg, struct service *s)
{
	struct rig *r = arg;

	r->used[s->index] = false;
	r->removed++;
	service_free(&s);
}

static void
begin(struct rig *r, const char *services)
{
	struct service *list[SLOTS];
	struct why why;

	r->config = load(r, services);
	r->loop = ev_loop_new(EVFLAG_AUTO);
	r->jobs = jobs_new(r->loop, 1);
	r->store = store_file_new(r->config, r->jobs);
	r->fake.engine = (struct engine){ .class = &fake_class, .n_threads = 1, .open = fake_open,
					  .publish = fake_publish, .drain = fake_drain, .count = fake_count,
					  .close = fake_close, .forget = fake_forget, .prepare = fake_prepare,
					  .commit = fake_commit };
	for (size_t i = 0; i < r->config->n_services; i++)
		list[i] = make(r, &r->config->services[i]);
	if (control_open(&r->control, r->loop, r->config, r->jobs, r->store, (struct engine *[]){ &r->fake.engine }, 1,
			 list, r->config->n_services, &why) != OK)
		fail_msg("%s", why.text);
	r->control.on_removed = on_removed;
	r->control.arg = r;
	WAIT_UNTIL(r->loop, r->control.life == LIFE_SERVING);
}

static struct service_ctl *
find(struct rig *r, const char *name)
{
	return control_find(&r->control, str_from(name));
}

/* The services of that configuration by name: some go, some come, the others stay as
 * they are. */
static void
become(struct rig *r, const char *services)
{
	const struct config *to = load(r, services);

	for (size_t i = r->control.n; i-- > 0;) {
		struct service_ctl *ctl = r->control.services[i];
		const struct service_config *its = NULL;

		for (size_t k = 0; k < to->n_services; k++)
			if (strcmp(to->services[k].name, ctl->service->config->name) == 0)
				its = &to->services[k];
		if (its == NULL)
			control_remove_service(&r->control, ctl);
	}
	for (size_t k = 0; k < to->n_services; k++)
		if (find(r, to->services[k].name) == NULL)
			(void)control_add_service(&r->control, make(r, &to->services[k]), NULL);
	r->config = to;
	r->store->reconfigure(r->store, to);
}

static void
forget(struct rig *r, struct service *s)
{
	assert_true(r->fake.of[s->index].forgetting);
	r->fake.engine.on_forgotten(r->fake.engine.arg, &r->fake.engine, s);
}

static int
setup(void **state)
{
	struct rig *r = calloc(1, sizeof(*r));

	strcpy(r->dir, "/tmp/teal-services-XXXXXX");
	assert_non_null(mkdtemp(r->dir));
	*state = r;
	return 0;
}

static int
teardown(void **state)
{
	struct rig *r = *state;
	struct service *left[SLOTS];
	char *command = must_printf("rm -r %s", r->dir);
	size_t n = 0;

	r->store->close(&r->store);
	for (size_t i = 0; i < r->control.n; i++)
		left[n++] = r->control.services[i]->service;
	assert_true(list_empty(&r->control.leaving));
	control_close(&r->control);
	while (n > 0)
		service_free(&left[--n]);
	jobs_free(&r->jobs);
	ev_loop_destroy(r->loop);
	while (r->n_configs > 0)
		config_unref(&r->configs[--r->n_configs]);
	assert_int_equal(system(command), 0);
	free(command);
	free(r);
	return 0;
}

struct asker {
	struct flip_watcher watcher;
	bool done;
	enum err error;
	enum changed changed;
	char message[256];
};

static void
asker_on_event(struct flip_watcher *w, const struct flip_event *e)
{
	(void)w;
	(void)e;
}

static void
asker_on_done(struct flip_watcher *w, const struct flip_outcome *o)
{
	struct asker *a = container_of(w, struct asker, watcher);

	assert_false(a->done);
	a->done = true;
	a->error = o->error;
	a->changed = o->changed;
	str_copy(a->message, sizeof(a->message), str_from(o->message != NULL ? o->message : ""));
}

/* Without a gate: nothing listens there. */
static void
flip(struct rig *r, const char *name, enum color to, struct asker *a)
{
	const struct flip_request q = { .kind = CHANGE_FLIP, .to = to, .force = true, .by = { .user = "ci" } };

	*a = (struct asker){ .watcher = { .progress = asker_on_event, .done = asker_on_done } };
	flip_start(find(r, name), &q, &a->watcher);
}

/* -- stories -------------------------------------------------------------------- */

static void
test_one_that_comes_is_served_and_the_others_hear_nothing_of_it(void **state)
{
	struct rig *r = *state;
	struct service *shop, *pay;
	uint64_t generation;

	begin(r, PLAIN("shop", "80"));
	shop = find(r, "shop")->service;
	generation = shop->generation;
	become(r, PLAIN("shop", "80") "," PLAIN("pay", "81"));
	pay = find(r, "pay")->service;
	WAIT_UNTIL(r->loop, pay->acked > 0);
	assert_int_equal(r->fake.of[pay->index].opened, 1);
	assert_int_equal(pay->applied_epoch, 1);
	assert_int_equal(service_healthy(pay, GREEN), 1);
	assert_int_equal(r->control.n, 2);
	assert_ptr_equal(find(r, "shop")->service, shop);
	assert_int_equal(shop->generation, generation);
	assert_int_equal(r->fake.of[shop->index].opened, 1);
}

static void
test_one_whose_backends_do_not_answer_is_served_after_their_time(void **state)
{
	struct rig *r = *state;
	struct service *slow;

	begin(r, PLAIN("shop", "80"));
	/* Nothing listens on port 1; two failures are not a verdict of `fall` 100. */
	become(r, PLAIN("shop", "80") ", { name = \"slow\"; listen = \"127.0.0.1:81\";"
	       " health: { type = \"tcp\"; timeout = 0.2; fall = 100; };"
	       " green: { backends = [\"127.0.0.1:1\"]; }; blue: { backends = [\"127.0.0.1:2\"]; }; }");
	slow = find(r, "slow")->service;
	WAIT_UNTIL(r->loop, slow->acked > 0);
	assert_int_equal(service_healthy(slow, GREEN), 0);
}

static void
test_one_that_goes_is_drained_forgotten_and_freed(void **state)
{
	struct rig *r = *state;
	struct service *pay;
	uint64_t acked;

	begin(r, PLAIN("shop", "80") "," PLAIN("pay", "81"));
	pay = find(r, "pay")->service;
	r->fake.of[pay->index].connections = 3;
	become(r, PLAIN("shop", "80"));
	assert_null(find(r, "pay"));
	assert_int_equal(r->control.n, 1);
	/* Both colors, with what belongs to no color, by its own time. */
	assert_int_equal(r->fake.of[pay->index].drains, 2);
	assert_true(r->fake.of[pay->index].timeout == 7);
	/* What its workers say of it, and the store, is not heard any more. */
	acked = pay->acked;
	r->fake.engine.on_acked(r->fake.engine.arg, &r->fake.engine, pay, 0, acked + 1);
	assert_int_equal(pay->acked, acked);
	r->store->on_record(r->store->arg, "pay", &(struct record){ .color = BLUE, .epoch = 9 });
	assert_int_equal(pay->record.epoch, 1);
	control_backend_refused(&r->control, pay);
	assert_int_equal(r->removed, 0);
	forget(r, pay);
	assert_int_equal(r->removed, 1);
}

static void
test_one_that_comes_back_has_its_epoch(void **state)
{
	struct rig *r = *state;
	struct service *pay;
	struct asker a;

	begin(r, PLAIN("shop", "80") "," PLAIN("pay", "81"));
	flip(r, "pay", BLUE, &a);
	WAIT_UNTIL(r->loop, a.done);
	assert_int_equal(a.error, OK);
	pay = find(r, "pay")->service;
	become(r, PLAIN("shop", "80"));
	/* It is back before the old one is gone. */
	become(r, PLAIN("shop", "80") "," PLAIN("pay", "81"));
	assert_ptr_not_equal(find(r, "pay")->service, pay);
	forget(r, pay);
	assert_int_equal(r->removed, 1);
	pay = find(r, "pay")->service;
	WAIT_UNTIL(r->loop, pay->acked > 0);
	assert_int_equal(pay->record.color, BLUE);
	assert_int_equal(pay->record.epoch, 2);
}

static void
test_flips_of_one_that_goes_are_answered(void **state)
{
	struct rig *r = *state;
	struct asker first, second;
	struct service *pay;

	begin(r, PLAIN("shop", "80") "," PLAIN("pay", "81"));
	pay = find(r, "pay")->service;
	flip(r, "pay", BLUE, &first);
	flip(r, "pay", BLUE, &second);
	/* The first one writes, the second one waits. */
	WAIT_UNTIL(r->loop, list_entry(list_first(&pay->ctl->flips), struct flip, link)->state == FLIP_STORING);
	become(r, PLAIN("shop", "80"));
	assert_true(first.done && second.done);
	assert_int_equal(second.error, E_UNKNOWN_SERVICE);
	assert_int_equal(second.changed, CHANGED_NO);
	assert_int_equal(first.error, E_UNKNOWN_SERVICE);
	assert_int_equal(first.changed, CHANGED_UNKNOWN);
	assert_non_null(strstr(first.message, "removed"));
	forget(r, pay);
	/* It lives until the store has answered. */
	WAIT_UNTIL(r->loop, r->removed == 1);
}

static void
on_changed(void *arg, enum err e, bool changed, const struct why *why)
{
	(void)why;
	assert_int_equal(e, OK);
	assert_true(changed);
	(*(unsigned *)arg)++;
}

static void
test_nodes_of_a_pool_are_those_of_one_that_comes(void **state)
{
	struct rig *r = *state;
	const struct pool_config *pool;
	struct service *pay;
	unsigned changed = 0;

	begin(r, POOLED("shop", "80"));
	pool = nodes_pool(&r->control, STR("main"));
	nodes_change(&r->control, pool, "127.0.0.13", NODE_ADD, true, NULL, on_changed, &changed);
	WAIT_UNTIL(r->loop, changed == 1);
	become(r, POOLED("shop", "80") "," POOLED("pay", "81"));
	pay = find(r, "pay")->service;
	assert_int_equal(pay->colors[GREEN].n, 3);
	assert_int_equal(service_healthy(pay, GREEN), 3);
	nodes_change(&r->control, pool, "127.0.0.13", NODE_REMOVE, true, NULL, on_changed, &changed);
	WAIT_UNTIL(r->loop, changed == 2);
	assert_int_equal(pay->colors[GREEN].n, 2);
	assert_int_equal(find(r, "shop")->service->colors[GREEN].n, 2);
}

static void
test_a_change_of_nodes_does_not_wait_for_one_that_goes(void **state)
{
	struct rig *r = *state;
	struct service *pay;
	unsigned changed = 0;

	begin(r, PLAIN("shop", "80") "," POOLED("pay", "81"));
	pay = find(r, "pay")->service;
	r->fake.hold_acks = true;
	nodes_change(&r->control, nodes_pool(&r->control, STR("main")), "127.0.0.13", NODE_ADD, true, NULL, on_changed,
		     &changed);
	WAIT_UNTIL(r->loop, pay->colors[GREEN].n == 3);
	assert_int_equal(changed, 0);
	become(r, PLAIN("shop", "80"));
	WAIT_UNTIL(r->loop, changed == 1);
	forget(r, pay);
}

static void
reload_to(struct rig *r, const char *services)
{
	const struct config *to = load(r, services);
	struct config_keys *was = config_keys_new(r->config), *is = config_keys_new(to);
	struct config_plan *plan = config_plan_new(was, is);
	struct certs_prepared certs = { .n = 0 };
	struct reload_run run;
	struct why why;

	assert_int_equal(reload_prepare(&run, &r->control, to, 2, plan, &certs, &why), OK);
	reload_commit(&run);
	reload_finish(&run);
	r->config = to;
	config_plan_free(&plan);
	config_keys_free(&was);
	config_keys_free(&is);
}

/* In one step: between a commit and a snapshot behind it, a connection could begin by
 * the new terms to an old backend. */
static void
test_a_reload_brings_backends_together_with_its_terms(void **state)
{
	struct rig *r = *state;
	struct service *shop, *pay;

	begin(r, PLAIN("shop", "80") "," POOLED("pay", "81"));
	shop = find(r, "shop")->service;
	pay = find(r, "pay")->service;
	r->fake.of[shop->index].published = r->fake.of[pay->index].published = 0;
	reload_to(r, "{ name = \"shop\"; listen = \"127.0.0.1:80\"; health: { type = \"none\"; };"
		     " green: { backends = [\"127.0.0.1:1\", \"127.0.0.1:3\"]; }; blue: { backends = [\"127.0.0.1:2\"]; }; },"
		     POOLED("pay", "81"));
	/* What is due at the end of a turn. */
	for (int i = 0; i < 3; i++)
		ev_run(r->loop, EVRUN_NOWAIT);
	assert_int_equal(r->fake.of[shop->index].published, 0);
	assert_int_equal(r->fake.of[pay->index].published, 0);
	assert_int_equal(r->fake.of[shop->index].usable, 2);
	assert_int_equal(r->fake.of[shop->index].committed, shop->generation);
	assert_int_equal(shop->acked, shop->generation);
	assert_int_equal(r->fake.of[pay->index].committed, 0);
}

static void
test_a_pending_walk_misses_no_service_that_stays(void **state)
{
	struct rig *r = *state;
	struct service *old;
	uint64_t next;

	begin(r, PLAIN("a", "80") "," PLAIN("b", "81") "," PLAIN("c", "82"));
	old = find(r, "a")->service;
	next = find(r, "a")->serial + 1;
	become(r, PLAIN("b", "81") "," PLAIN("c", "82") "," PLAIN("d", "83"));
	assert_ptr_equal(r->control.services[control_from(&r->control, next)], find(r, "b"));
	assert_int_equal(control_from(&r->control, find(r, "d")->serial), 2);
	assert_int_equal(control_from(&r->control, find(r, "d")->serial + 1), 3);
	forget(r, old);
}

static void
test_names_may_be_exchanged(void **state)
{
	struct rig *r = *state;
	const struct config *to;
	struct service_ctl *a, *b;

	begin(r, PLAIN("a", "80") "," PLAIN("b", "81") "," PLAIN("c", "82"));
	a = find(r, "a");
	b = find(r, "b");
	to = load(r, PLAIN("b", "80") "," PLAIN("z", "81") "," PLAIN("c", "82"));
	control_configure_service(&r->control, a, &to->services[0]);
	control_configure_service(&r->control, b, &to->services[1]);
	control_configure_service(&r->control, find(r, "c"), &to->services[2]);
	assert_null(find(r, "a"));
	assert_ptr_equal(find(r, "b"), a);
	assert_ptr_equal(find(r, "z"), b);
	to = load(r, PLAIN("z", "80") "," PLAIN("b", "81") "," PLAIN("c", "82"));
	control_configure_service(&r->control, a, &to->services[0]);
	control_configure_service(&r->control, b, &to->services[1]);
	assert_ptr_equal(find(r, "z"), a);
	assert_ptr_equal(find(r, "b"), b);
	assert_non_null(find(r, "c"));
	/* The lists by name and by age are whole. */
	for (size_t i = 1; i < r->control.n; i++) {
		assert_true(strcmp(r->control.by_name[i - 1]->service->config->name,
				   r->control.by_name[i]->service->config->name) < 0);
		assert_true(r->control.services[i - 1]->serial < r->control.services[i]->serial);
	}
}

#define NAMES 20

/* Whatever comes and goes, each is found, by name and in the list. */
static void
test_any_order_of_comings_and_goings(void **state)
{
	struct service_config configs[NAMES];
	struct rig *r = *state;
	uint64_t random = 7;
	bool there[NAMES] = { false };
	char names[NAMES][8];
	size_t n = 1;

	begin(r, PLAIN("n", "80"));
	for (unsigned i = 0; i < NAMES; i++) {
		snprintf(names[i], sizeof(names[i]), "n%u", i);
		configs[i] = r->config->services[0];
		configs[i].name = names[i];
	}
	for (unsigned round = 0; round < scaled(200, 4000); round++) {
		unsigned i = (unsigned)(random_unit(&random) * NAMES);
		struct service_ctl *ctl = find(r, names[i]);

		assert_true((ctl != NULL) == there[i]);
		if (there[i]) {
			struct service *s = ctl->service;

			control_remove_service(&r->control, ctl);
			forget(r, s);
			n--;
		} else {
			(void)control_add_service(&r->control, make(r, &configs[i]), NULL);
			n++;
		}
		there[i] = !there[i];
		assert_int_equal(r->control.n, n);
		for (size_t k = 1; k < n; k++) {
			assert_true(r->control.services[k - 1]->serial < r->control.services[k]->serial);
			assert_true(strcmp(r->control.by_name[k - 1]->service->config->name,
					   r->control.by_name[k]->service->config->name) < 0);
		}
	}
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_one_that_comes_is_served_and_the_others_hear_nothing_of_it),
		T(test_one_whose_backends_do_not_answer_is_served_after_their_time),
		T(test_one_that_goes_is_drained_forgotten_and_freed),
		T(test_one_that_comes_back_has_its_epoch),
		T(test_flips_of_one_that_goes_are_answered),
		T(test_nodes_of_a_pool_are_those_of_one_that_comes),
		T(test_a_change_of_nodes_does_not_wait_for_one_that_goes),
		T(test_a_reload_brings_backends_together_with_its_terms),
		T(test_a_pending_walk_misses_no_service_that_stays),
		T(test_names_may_be_exchanged),
		T(test_any_order_of_comings_and_goings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
