/* test_backends.c - a service that serves gets another list of backends: what is the same in both
 * stays the very same, and what differs comes and goes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "control/backends.h"
#include "control/engines.h"
#include "control/nodes.h"
#include "control/resolve.h"

#define MOST 4

static struct {
	struct ev_loop *loop;
	struct control control;
	struct service_ctl ctl;
	struct service_ctl *by_name;
	struct store store;
	struct engine engine;
	struct service *service;
	struct service_config first, next;
	struct backend_config green[2][MOST];
	struct config config[2];
	struct pool_config pool[2];
	unsigned published, usable;
} t;

static void
take_snapshot(struct engine *e, struct service *s, struct snapshot **snapshot)
{
	(void)e;
	(void)s;
	t.published++;
	t.usable = (*snapshot)->colors[GREEN].n;
	snapshot_unref(snapshot);
}

static void
on_health(void *arg, struct service *s, struct backend *b, enum backend_state was)
{
	(void)arg;
	(void)s;
	(void)b;
	(void)was;
}

static void
put(struct backend_config *b, const char *host, unsigned port, unsigned weight)
{
	*b = (struct backend_config){ .host = (char *)host, .port = port, .weight = weight };
	if (addr_parse_ip(host, port, &b->address))
		b->health_address = b->address;
}

static int
begin(void **state)
{
	const struct health_events events = { .changed = on_health };

	(void)state;
	memset(&t, 0, sizeof(t));
	t.loop = ev_loop_new(0);
	put(&t.green[0][0], "127.0.0.1", 1, 1);
	put(&t.green[0][1], "127.0.0.2", 1, 1);
	t.first = (struct service_config){
		.name = (char *)"shop",
		.labels_json = (char *)"",
		.colors = { { .backends = t.green[0], .n_backends = 2 } },
		.health = { .type = HEALTH_NONE },
	};
	t.next = t.first;
	t.next.colors[GREEN].backends = t.green[1];
	for (int i = 0; i < 2; i++) {
		t.pool[i] = (struct pool_config){ .name = (char *)"main" };
		t.config[i] = (struct config){ .pools = &t.pool[i], .n_pools = 1 };
	}
	t.service = service_new(&t.first, 0, 1);
	t.service->known = true;
	t.engine.publish = take_snapshot;
	t.engine.n_threads = 1;
	t.ctl = (struct service_ctl){ .service = t.service, .control = &t.control };
	t.ctl.rollout.state = ROLLOUT_APPLIED;
	engines_join(&t.ctl, &t.engine);
	t.by_name = &t.ctl;
	t.control.loop = t.loop;
	t.control.config = &t.config[0];
	t.control.services = &t.by_name;
	t.control.by_name = &t.by_name;
	t.control.n = 1;
	t.control.store = &t.store;
	bus_init(&t.control.bus);
	resolve_init(&t.control);
	t.control.nodes = nodes_new(&t.control);
	t.control.health = health_new(t.loop, &t.service, 1, &events);
	return 0;
}

static int
end(void **state)
{
	(void)state;
	nodes_free(&t.control.nodes);
	resolve_close(&t.control);
	health_free(&t.control.health);
	engines_free(&t.ctl);
	service_free(&t.service);
	ev_loop_destroy(t.loop);
	return 0;
}

static struct backend *
at(size_t i)
{
	assert_true(i < t.service->colors[GREEN].n);
	return t.service->colors[GREEN].backends[i];
}

static void
reconfigure(size_t n)
{
	t.next.colors[GREEN].n_backends = n;
	t.service->config = &t.next;
	backends_reconfigure(&t.ctl);
}

static void
test_what_is_the_same_stays_and_nothing_is_published(void **state)
{
	struct backend *a = at(0), *b = at(1);

	(void)state;
	put(&t.green[1][0], "127.0.0.2", 1, 1);
	put(&t.green[1][1], "127.0.0.1", 1, 1);
	reconfigure(2);
	assert_ptr_equal(at(0), a);
	assert_ptr_equal(at(1), b);
	assert_int_equal(t.published, 0);
}

static void
test_one_comes_one_goes_one_stays_with_its_verdict(void **state)
{
	struct backend *b = at(1);

	(void)state;
	b->ejections = 7;
	put(&t.green[1][0], "127.0.0.2", 1, 5);
	put(&t.green[1][1], "127.0.0.3", 1, 1);
	reconfigure(2);
	assert_int_equal(t.service->colors[GREEN].n, 2);
	assert_ptr_equal(at(0), b);
	assert_int_equal(b->weight, 5);
	assert_int_equal(b->ejections, 7);
	assert_string_equal(at(1)->text, "127.0.0.3:1");
	assert_true(at(1)->late);
	assert_int_equal(t.published, 1);
	assert_int_equal(t.usable, 2);

	/* Another port is another backend. */
	put(&t.green[1][0], "127.0.0.2", 2, 5);
	reconfigure(1);
	assert_int_equal(t.service->colors[GREEN].n, 1);
	assert_string_equal(at(0)->text, "127.0.0.2:2");
}

static void
test_other_terms_of_tls_make_another_with_the_same_verdict(void **state)
{
	struct backend *a = at(0);

	(void)state;
	a->ejections = 3;
	t.next.backend_tls.on = true;
	put(&t.green[1][0], "127.0.0.1", 1, 1);
	reconfigure(1);
	assert_int_equal(t.service->colors[GREEN].n, 1);
	assert_string_equal(at(0)->server_name, "127.0.0.1");
	assert_int_equal(at(0)->ejections, 3);
	assert_int_equal(at(0)->state, BACKEND_UP);
	assert_int_equal(t.usable, 1);
	t.next.backend_tls.server_name = (char *)"shop.example";
	reconfigure(1);
	assert_string_equal(at(0)->server_name, "shop.example");
	a = at(0);
	reconfigure(1);
	assert_ptr_equal(at(0), a);
}

/* From a list to the nodes of a pool, and to other nodes. */
static void
test_nodes_of_a_pool(void **state)
{
	static char *hosts[] = { (char *)"127.0.0.1", (char *)"127.0.0.4" };
	static char *others[] = { (char *)"127.0.0.4", (char *)"127.0.0.5" };
	struct overlay said = { .version = 1 };
	struct backend *a = at(0), *four;

	(void)state;
	t.pool[1].hosts = hosts;
	t.pool[1].n_hosts = 2;
	nodes_reconfigure(t.control.nodes, &t.config[1]);
	t.next.pool = (char *)"main";
	t.next.colors[GREEN].port = 1;
	put(&t.green[1][0], hosts[0], 1, 1);
	put(&t.green[1][1], hosts[1], 1, 1);
	reconfigure(2);
	assert_ptr_equal(at(0), a);
	assert_string_equal(a->host, "127.0.0.1");
	four = at(1);
	assert_string_equal(four->host, "127.0.0.4");

	/* What was said of nodes holds: one was added, one drains. */
	assert_true(overlay_set(&said, "127.0.0.9", NODE_READY));
	assert_true(overlay_set(&said, "127.0.0.4", NODE_DRAIN));
	t.store.on_nodes(&t.control, "main", &said);
	assert_int_equal(t.service->colors[GREEN].n, 3);
	assert_true(four->drain);
	t.pool[0].hosts = others;
	t.pool[0].n_hosts = 2;
	nodes_reconfigure(t.control.nodes, &t.config[0]);
	assert_int_equal(t.service->colors[GREEN].n, 3);
	assert_ptr_equal(at(0), four);
	assert_true(four->drain);
	assert_string_equal(at(1)->text, "127.0.0.9:1");
	assert_string_equal(at(2)->text, "127.0.0.5:1");

	/* Another port for all of them, the added one too. */
	t.next.colors[GREEN].port = 2;
	put(&t.green[1][0], others[0], 2, 1);
	put(&t.green[1][1], others[1], 2, 1);
	reconfigure(2);
	assert_int_equal(t.service->colors[GREEN].n, 3);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(addr_port(&at(i)->address), 2);

	/* Listed again: nodes have no say. */
	t.next.pool = NULL;
	t.next.colors[GREEN].port = 0;
	reconfigure(2);
	assert_int_equal(t.service->colors[GREEN].n, 2);
	assert_null(at(0)->host);
	assert_false(at(0)->drain);
	t.config[1].n_pools = 0;
	nodes_reconfigure(t.control.nodes, &t.config[1]);
	overlay_free(&said);
}

int
main(void)
{
#define TEST(test) cmocka_unit_test_setup_teardown(test, begin, end)
	const struct CMUnitTest tests[] = {
		TEST(test_what_is_the_same_stays_and_nothing_is_published),
		TEST(test_one_comes_one_goes_one_stays_with_its_verdict),
		TEST(test_other_terms_of_tls_make_another_with_the_same_verdict),
		TEST(test_nodes_of_a_pool),
	};

	log_set_level(LOG_ERROR_LEVEL + 1);
	return cmocka_run_group_tests_name("backends", tests, NULL, NULL);
}
