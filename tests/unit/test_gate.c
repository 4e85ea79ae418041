/* test_gate.c - gates that share the places for their connects: each is done, and
 * once; the connects go to a real socket. */
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "control/control.h"
#include "control/gate.h"
#include "wait.h"

#define GATES 6
#define BACKENDS 5

struct rig {
	struct ev_loop *loop;
	struct control control;
	struct service_ctl ctl;
	struct service_config sc;
	struct backend_config backends[BACKENDS];
	int listener;
	struct one {
		struct gate *gate;
		unsigned done, place;
	} list[GATES];
	unsigned all_done;
};

static void
on_done(struct gate *g, void *arg)
{
	struct one *o = arg;
	struct rig *r = container_of(o - (o->place), struct rig, list[0]);

	assert_ptr_equal(g, o->gate);
	o->done++;
	r->all_done++;
}

static int
setup(void **state)
{
	struct rig *r = calloc(1, sizeof(*r));
	struct addr a;

	r->loop = ev_loop_new(EVFLAG_AUTO);
	r->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(addr_parse_ip("127.0.0.1", 0, &a));
	assert_int_equal(bind(r->listener, &a.u.sa, a.len), 0);
	assert_int_equal(getsockname(r->listener, &a.u.sa, &a.len), 0);
	assert_int_equal(listen(r->listener, 128), 0);
	r->sc.name = "web";
	r->sc.labels_json = "";
	r->sc.health.type = HEALTH_NONE;
	r->sc.health.timeout = 1000;
	r->sc.min_healthy = (struct quorum){ 100, true };
	for (int i = 0; i < BACKENDS; i++)
		r->backends[i] = (struct backend_config){ .address = a, .health_address = a, .host = "127.0.0.1", .weight = 1 };
	for (int c = 0; c < COLORS; c++)
		r->sc.colors[c] = (struct color_config){ .backends = r->backends, .n_backends = BACKENDS };
	r->control.loop = r->loop;
	list_init(&r->control.gates);
	r->ctl.control = &r->control;
	r->ctl.service = service_new(&r->sc, 0, 1);
	for (int i = 0; i < BACKENDS; i++)
		r->ctl.service->colors[BLUE].backends[i]->state = BACKEND_UP;
	*state = r;
	return 0;
}

static int
teardown(void **state)
{
	struct rig *r = *state;

	service_free(&r->ctl.service);
	close(r->listener);
	ev_loop_destroy(r->loop);
	free(r);
	return 0;
}

static void
begin(struct rig *r, unsigned places, unsigned gates)
{
	/* The rest of them are other services'. */
	r->control.gate_probes = GATE_PROBES_MAX - places;
	for (unsigned i = 0; i < gates; i++) {
		r->list[i].place = i;
		r->list[i].gate = gate_new(&r->ctl, BLUE, on_done, &r->list[i]);
	}
}

static void
assert_each_is_done_once(struct rig *r, unsigned places, unsigned gates)
{
	WAIT_UNTIL(r->loop, r->all_done >= gates);
	/* What is due yet comes in these turns. */
	for (int i = 0; i < 2 * GATES * BACKENDS; i++)
		ev_run(r->loop, EVRUN_NOWAIT);
	for (unsigned i = 0; i < gates; i++) {
		assert_int_equal(r->list[i].done, 1);
		assert_int_equal(r->list[i].gate->healthy, BACKENDS);
	}
	assert_int_equal(r->control.gate_probes, GATE_PROBES_MAX - places);
	assert_true(list_empty(&r->control.gates));
	for (unsigned i = 0; i < gates; i++)
		gate_free(&r->list[i].gate);
}

/* A flip keeps its gate to its end: a second answer of it would come in the middle of
 * the flip's next step. */
static void
test_gates_that_wait_for_places_are_done_once(void **state)
{
	struct rig *r = *state;

	for (unsigned places = 1; places <= BACKENDS + 1; places++)
		for (unsigned gates = 1; gates <= GATES; gates++) {
			memset(r->list, 0, sizeof(r->list));
			r->all_done = 0;
			begin(r, places, gates);
			assert_each_is_done_once(r, places, gates);
		}
}

/* None is kept waiting until another is through. */
static void
test_gates_take_turns(void **state)
{
	struct rig *r = *state;
	size_t least = 0, most = 0;

	begin(r, 1, GATES);
	while (r->all_done == 0) {
		ev_run(r->loop, EVRUN_ONCE);
		least = most = r->list[0].gate->begun;
		for (unsigned i = 1; i < GATES; i++) {
			least = r->list[i].gate->begun < least ? r->list[i].gate->begun : least;
			most = r->list[i].gate->begun > most ? r->list[i].gate->begun : most;
		}
		/* The first had got in line before the others came. */
		assert_true(most - least <= 2);
	}
	assert_each_is_done_once(r, 1, GATES);
}

/* Its place, or the turn it was called for, is another's then. */
static void
test_one_that_is_given_up_leaves_the_others_their_turn(void **state)
{
	struct rig *r = *state;

	begin(r, 1, 3);
	for (unsigned i = 0; i < 2; i++) {
		WAIT_UNTIL(r->loop, r->list[i].gate->begun > 0);
		gate_free(&r->list[i].gate);
	}
	WAIT_UNTIL(r->loop, r->list[2].done > 0);
	assert_int_equal(r->list[2].gate->healthy, BACKENDS);
	gate_free(&r->list[2].gate);
	assert_int_equal(r->control.gate_probes, GATE_PROBES_MAX - 1);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_gates_that_wait_for_places_are_done_once),
		T(test_gates_take_turns),
		T(test_one_that_is_given_up_leaves_the_others_their_turn),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
