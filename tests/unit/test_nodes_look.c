/* test_nodes_look.c - what the backends on a node make of it, and what is told of that. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "world.h"

#include "control/nodes.h"

#define HOSTS 2

struct stage {
	struct world *w;
	struct pool_config pool;
	char *hosts[HOSTS];
	struct bus_listener listener;
	char told[256];	/* events of nodes, in their order */
};

static void
hear(struct bus_listener *l, enum log_level level, const char *event, const struct service *s,
     const struct log_field *fields)
{
	struct stage *st = container_of(l, struct stage, listener);

	(void)level;
	(void)fields;
	if (strncmp(event, "node.", 5) != 0)
		return;
	assert_null(s);
	strcat(st->told, event);
	strcat(st->told, " ");
}

/* Both services are on the pool's first node, pay's as another hand writes it. */
static int
set_up(void **state)
{
	struct stage *s = must_alloc(sizeof(*s));
	struct config *c;

	s->w = world_new();
	s->hosts[0] = (char *)(uintptr_t)"fd00::11";
	s->hosts[1] = (char *)(uintptr_t)"10.0.0.12";
	s->pool = (struct pool_config){ .name = (char *)(uintptr_t)"main", .hosts = s->hosts, .n_hosts = HOSTS };
	c = &s->w->config;
	c->pools = &s->pool;
	c->n_pools = 1;
	for (unsigned i = 0; i < WORLD_SERVICES; i++) {
		s->w->services[i].pool = s->pool.name;
		for (int color = GREEN; color < COLORS; color++)
			s->w->running[i]->colors[color].backends[0]->host =
				must_strdup(i == 0 ? "fd00::11" : "FD00:0:0:0:0:0:0:11");
	}
	nodes_reconfigure(s->w->control.nodes, c);
	s->listener.hear = hear;
	bus_listen(&s->w->control.bus, &s->listener);
	*state = s;
	return 0;
}

static int
tear_down(void **state)
{
	struct stage *s = *state;

	bus_leave(&s->listener);
	world_free(s->w);
	free(s);
	return 0;
}

static struct backend *
backend_of(struct stage *s, unsigned service, enum color color)
{
	return s->w->running[service]->colors[color].backends[0];
}

static const struct node_view *
look(struct stage *s, size_t i)
{
	const struct node_view *list;
	size_t n;

	nodes_look(&s->w->control);
	list = nodes_views(&s->w->control, &s->pool, &n);
	assert_int_equal(n, HOSTS);
	assert_string_equal(list[i].host, s->hosts[i]);
	return &list[i];
}

static void
set_all(struct stage *s, enum backend_state state)
{
	for (unsigned i = 0; i < WORLD_SERVICES; i++)
		for (int color = GREEN; color < COLORS; color++)
			backend_of(s, i, (enum color)color)->state = state;
}

static void
a_node_is_the_sum_of_its_backends(void **state)
{
	struct stage *s = *state;
	const struct node_view *v;
	struct node_sum one = { 0 };

	atomic_store(&backend_of(s, 0, GREEN)->connections, 3);
	atomic_store(&backend_of(s, 1, BLUE)->connections, 4);
	backend_of(s, 0, BLUE)->state = BACKEND_DOWN;
	backend_of(s, 0, BLUE)->since_us = 77;
	strcpy(backend_of(s, 0, BLUE)->error, "connection refused");
	backend_of(s, 1, GREEN)->ejected_until = 1e9;
	backend_of(s, 1, GREEN)->since_us = 55;
	v = look(s, 0);
	assert_int_equal(v->sum.total, 4);
	assert_int_equal(v->sum.up, 3);
	assert_int_equal(v->sum.ejected, 1);
	assert_int_equal(v->sum.down, 1);
	assert_int_equal(v->sum.connections, 7);
	assert_string_equal(v->reason, "connection refused");
	assert_int_equal(v->does, NODE_UP);
	assert_int_equal(node_since_us(v), 55);
	assert_false(backend_of(s, 0, BLUE)->node_down);
	nodes_add_service(&one, s->w->running[0], 0);
	assert_int_equal(one.total, 2);
	assert_int_equal(one.connections, 3);
	/* On the other one is nothing, and nothing is known of it. */
	v = look(s, 1);
	assert_int_equal(v->sum.total, 0);
	assert_int_equal(v->does, NODE_UNKNOWN);
	assert_int_equal(node_since_us(v), 0);
	atomic_store(&backend_of(s, 0, GREEN)->connections, 0);
	atomic_store(&backend_of(s, 1, BLUE)->connections, 0);
}

static void
it_goes_with_the_last_and_comes_with_the_first(void **state)
{
	struct stage *s = *state;

	assert_int_equal(look(s, 0)->does, NODE_UP);
	assert_string_equal(s->told, "");	/* it was never away */
	set_all(s, BACKEND_DOWN);
	backend_of(s, 1, BLUE)->state = BACKEND_UP;
	assert_int_equal(look(s, 0)->does, NODE_UP);
	backend_of(s, 1, BLUE)->state = BACKEND_DOWN;
	backend_of(s, 1, BLUE)->since_us = INT64_MAX;
	assert_int_equal(look(s, 0)->does, NODE_DOWN);
	assert_true(node_since_us(look(s, 0)) == INT64_MAX);
	assert_true(backend_of(s, 0, GREEN)->node_down && backend_of(s, 1, BLUE)->node_down);
	assert_string_equal(s->told, "node.down ");
	/* One that was replaced is not checked yet: no news of the node. */
	backend_of(s, 0, GREEN)->state = BACKEND_CHECKING;
	assert_int_equal(look(s, 0)->does, NODE_DOWN);
	backend_of(s, 0, GREEN)->state = BACKEND_UP;
	assert_int_equal(look(s, 0)->does, NODE_UP);
	assert_false(backend_of(s, 1, BLUE)->node_down);
	assert_string_equal(s->told, "node.down node.up ");
}

static void
at_the_start_nothing_is_known(void **state)
{
	struct stage *s = *state;

	set_all(s, BACKEND_CHECKING);
	assert_int_equal(look(s, 0)->does, NODE_UNKNOWN);
	backend_of(s, 0, GREEN)->state = BACKEND_DOWN;
	assert_int_equal(look(s, 0)->does, NODE_UNKNOWN);
	assert_string_equal(s->told, "");
	set_all(s, BACKEND_DOWN);
	assert_int_equal(look(s, 0)->does, NODE_DOWN);
	assert_string_equal(s->told, "node.down ");
}

static void
a_change_of_health_is_looked_at_by_itself(void **state)
{
	struct stage *s = *state;

	assert_int_equal(look(s, 0)->does, NODE_UP);
	set_all(s, BACKEND_DOWN);
	nodes_look_soon(&s->w->control);
	nodes_look_soon(&s->w->control);
	WAIT_UNTIL(s->w->loop, s->told[0] != '\0');
	assert_string_equal(s->told, "node.down ");
}

static void
a_configuration_with_other_hosts_forgets_none_that_stays(void **state)
{
	struct stage *s = *state;
	char *hosts[HOSTS] = { s->hosts[1], s->hosts[0] };

	set_all(s, BACKEND_DOWN);
	assert_int_equal(look(s, 0)->does, NODE_DOWN);
	/* In another order, as a reload may bring them. */
	s->hosts[0] = hosts[0];
	s->hosts[1] = hosts[1];
	assert_int_equal(look(s, 0)->does, NODE_UNKNOWN);
	assert_int_equal(look(s, 1)->does, NODE_DOWN);
	assert_true(backend_of(s, 0, GREEN)->node_down);
	assert_string_equal(s->told, "node.down ");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_node_is_the_sum_of_its_backends, set_up, tear_down),
		cmocka_unit_test_setup_teardown(it_goes_with_the_last_and_comes_with_the_first, set_up, tear_down),
		cmocka_unit_test_setup_teardown(at_the_start_nothing_is_known, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_change_of_health_is_looked_at_by_itself, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_configuration_with_other_hosts_forgets_none_that_stays, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
