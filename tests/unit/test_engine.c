/* test_engine.c - the kernel engine between control and the two that do the
 * work, which are replaced here by ones that write down what they are told. */
#include "config_file.h"

#include "kernel/engine.h"
#include "kernel/flows.h"
#include "kernel/ruleset.h"
#include "model/balance.h"
#include "wait.h"

/* -- a ruleset and flows that only listen ----------------------------------- */

static struct {
	struct ruleset_calls calls;
	struct ruleset_config config;
	bool adopted, closed, removed, begun;
	unsigned renewals;
	struct snapshot *last[2];	/* by service */
	struct ruleset_counts counts[2];
	ruleset_counts_fn *counting;
	void *counting_arg;

	flows_fn *counted;
	void *counted_arg;
	uint64_t active[COLORS];
	unsigned watched, kept, cuts, drains;
	bool slow;	/* news of connections are read when the test says so */
	flows_fn *news;
	void *news_arg;
	enum color kept_color;
	struct flows_match cut;
	enum ending cut_ending;
	struct drain_orders orders;
} k;

struct ruleset {
	int unused;
};
struct flows {
	int unused;
};
static struct ruleset the_ruleset;
static struct flows the_flows;

enum ending
ruleset_refusal_ending(enum ruleset_refusal r)
{
	return r == REFUSED_DENIED ? END_DENIED : r == REFUSED_STALE ? END_STALE : END_NO_BACKEND;
}

enum err
ruleset_open(struct ev_loop *loop, const struct ruleset_config *config, const struct ruleset_calls *calls,
	     struct ruleset **out, struct why *why)
{
	(void)loop;
	(void)why;
	k.config = *config;
	k.calls = *calls;
	*out = &the_ruleset;
	return OK;
}

unsigned
ruleset_tag(const struct ruleset *r)
{
	(void)r;
	return k.config.tag;
}

unsigned
ruleset_number(const struct ruleset *r, size_t service)
{
	(void)r;
	return 100 + (unsigned)service;
}

bool
ruleset_is_adopted(const struct ruleset *r)
{
	assert_non_null(r);
	return k.adopted;
}

void
ruleset_publish(struct ruleset *r, size_t service, struct snapshot **snapshot)
{
	(void)r;
	/* Whoever is led to a color must be known to flows. */
	assert_true(k.watched > 0);
	snapshot_unref(&k.last[service]);
	k.last[service] = *snapshot;
	*snapshot = NULL;
}

void
ruleset_publish_all(struct ruleset *r, struct snapshot **snapshots)
{
	for (size_t i = 0; i < k.config.n_services; i++)
		if (snapshots[i] != NULL)
			ruleset_publish(r, i, &snapshots[i]);
	ruleset_renew(r);
}

void
ruleset_begin(struct ruleset *r)
{
	(void)r;
	k.begun = true;
}

void
ruleset_renew(struct ruleset *r)
{
	(void)r;
	k.renewals++;
}

void
ruleset_read_counts(struct ruleset *r, ruleset_counts_fn *done, void *arg)
{
	(void)r;
	k.counting = done;
	k.counting_arg = arg;
}

enum err
ruleset_close(struct ruleset **rp, bool remove, struct why *why)
{
	(void)why;
	*rp = NULL;
	k.closed = true;
	k.removed = remove;
	/* As the real one: what was asked is answered before it ends. */
	if (k.counting != NULL)
		k.counting(k.counting_arg, k.counts);
	return OK;
}

void
ruleset_print(const struct ruleset_config *config, struct snapshot *const *snapshots, FILE *out)
{
	for (size_t i = 0; i < config->n_services; i++)
		fprintf(out, "%s %s %u\n", config->services[i].name, color_word(snapshots[i]->active),
			snapshots[i]->colors[GREEN].n);
}

enum err
flows_open(struct flows **out, struct ev_loop *loop, const struct flows_options *o, struct why *why)
{
	(void)loop;
	(void)why;
	assert_int_equal(o->tag, k.config.tag);
	*out = &the_flows;
	return OK;
}

void
flows_close(struct flows **fp)
{
	*fp = NULL;
}

void
flows_watch(struct flows *f, unsigned id, struct service *s, uint64_t epoch)
{
	(void)f;
	assert_int_equal(epoch, s->record.epoch);
	assert_true(id >= 100);
	k.watched++;
}

void
flows_recount(struct flows *f, flows_fn *done, void *arg)
{
	(void)f;
	k.counted = done;
	k.counted_arg = arg;
}

void
flows_catch_up(struct flows *f, flows_fn *done, void *arg)
{
	(void)f;
	if (!k.slow)
		done(arg, 0);
	else {
		k.news = done;
		k.news_arg = arg;
	}
}

uint64_t
flows_count(const struct flows *f, unsigned id, enum entrance entrance, enum color color)
{
	(void)f;
	(void)id;
	return entrance == ENTRANCE_MAIN ? k.active[color] : 1000;
}

void
flows_holders(struct flows *f, unsigned id, enum color color, unsigned max, holders_fn *done, void *arg)
{
	(void)f;
	(void)id;
	(void)color;
	(void)max;
	done(arg, &(struct holders){ NULL, 0, true });
}

void
flows_cut(struct flows *f, const struct flows_match *match, enum ending ending, flows_fn *done, void *arg)
{
	(void)f;
	(void)done;
	(void)arg;
	k.cuts++;
	k.cut = *match;
	k.cut_ending = ending;
}

void
flows_drain(struct flows *f, unsigned id, enum color color, const struct drain_orders *orders)
{
	(void)f;
	(void)id;
	(void)color;
	k.drains++;
	k.orders = *orders;
}

void
flows_keep(struct flows *f, unsigned id, enum color color)
{
	(void)f;
	(void)id;
	k.kept++;
	k.kept_color = color;
}

void
flows_usage(const struct flows *f, struct flows_usage *out)
{
	(void)f;
	*out = (struct flows_usage){ .entries = 7, .max = 10, .clashed = 3, .dropped = 2 };
}

unsigned
flows_established_timeout(void)
{
	return 0;
}

size_t
flows_lacks(struct flows_lack list[FLOWS_LACKS])
{
	(void)list;
	return 0;
}

/* -- the engine on it --------------------------------------------------------- */

static struct {
	struct ev_loop *loop;
	struct kernel *kernel;
	struct engine *engine;
	struct service *services[2];
	uint64_t acked;	/* as control was told */
	unsigned closed;
	char trouble[64];
	bool gone;	/* as the end said of the table */
} w;

static void
on_acked(void *arg, struct engine *e, struct service *s, unsigned thread, uint64_t generation)
{
	(void)arg;
	assert_ptr_equal(e, w.engine);
	assert_int_equal(thread, 0);
	s->acked = generation;
	w.acked = generation;
}

static void
on_closed(void *arg)
{
	(void)arg;
	w.closed++;
}

static void
on_trouble(void *arg, struct engine *e, const char *why)
{
	(void)arg;
	assert_string_equal(e->class->name, "kernel");
	snprintf(w.trouble, sizeof(w.trouble), "%s", why != NULL ? why : "over");
}

/* One service of the proxy, one of the kernel. */
#define CONF(top, keys) \
	"state_dir = \"/s\"; " top "\nservices = (\n" \
	"{ name = \"web\"; listen = \"127.0.0.1:80\"; green: { backends = [\"127.0.0.1:81\"]; };" \
	" blue: { backends = [\"127.0.0.1:82\"]; }; },\n" \
	"{ name = \"dns\"; mode = \"udp\"; engine = \"kernel\"; listen = \"127.0.0.1:80\"; " keys \
	" green: { backends = [\"127.0.0.1:91\", \"127.0.0.1:93\"]; }; blue: { backends = [\"127.0.0.1:92\"]; }; } );\n"

static struct service *
dns(void)
{
	return w.services[1];
}

static void
begin(const char *conf, bool adopted)
{
	struct why why;

	memset(&k, 0, sizeof(k));
	memset(&w, 0, sizeof(w));
	k.adopted = adopted;
	good(conf);
	w.loop = ev_loop_new(0);
	for (unsigned i = 0; i < 2; i++)
		w.services[i] = service_new(&t.config->services[i], i, 1);
	assert_int_equal(kernel_open(&w.kernel, w.loop, t.config, w.services, 2, "me", &why), OK);
	w.engine = kernel_engine(w.kernel);
	w.engine->on_acked = on_acked;
	w.engine->on_closed = on_closed;
	w.engine->on_trouble = on_trouble;
	dns()->record.epoch = 5;
}

static void
end(void)
{
	w.gone = kernel_free(&w.kernel);
	snapshot_unref(&k.last[0]);
	for (unsigned i = 0; i < 2; i++)
		service_free(&w.services[i]);
	ev_loop_destroy(w.loop);
}

/* With all of its backends that are not down. */
static void
publish(enum color active)
{
	struct service *s = dns();
	struct snapshot *snap;
	unsigned n[COLORS] = { 0, 0 };

	for (int c = 0; c < COLORS; c++)
		for (size_t i = 0; i < s->colors[c].n; i++)
			n[c] += s->colors[c].backends[i]->state != BACKEND_DOWN;
	snap = snapshot_new(++s->generation, s->record.epoch, active, n);
	for (int c = 0; c < COLORS; c++)
		for (size_t i = 0, at = 0; i < s->colors[c].n; i++)
			if (s->colors[c].backends[i]->state != BACKEND_DOWN) {
				snap->colors[c].usable[at] = backend_ref(s->colors[c].backends[i]);
				snap->colors[c].weights[at++] = 100;
			}
	s->record.color = active;
	w.engine->publish(w.engine, s, &snap);
	assert_null(snap);
}

static void
take(void)
{
	k.calls.on_acked(k.calls.arg, 0, dns()->generation);
}

static void
serve(const char *conf, bool adopted)
{
	begin(conf, adopted);
	k.counted(k.counted_arg, 0);
	publish(GREEN);
	take();
	assert_int_equal(w.acked, 1);
}

static void
test_only_its_own_services_are_in_the_table(void **state)
{
	(void)state;
	begin(CONF("kernel: { table = \"edge\"; };",
		   "preview = \"127.0.0.1:99\"; balance = \"source_hash\";"),
	      false);
	assert_string_equal(k.config.table, "edge");
	assert_string_equal(k.config.owner, "me");
	assert_true(k.config.tag >= 1 && k.config.tag <= 255);
	assert_true(k.config.max_age == 0);
	assert_int_equal(k.config.n_services, 1);
	assert_string_equal(k.config.services[0].name, "dns");
	assert_int_equal(k.config.services[0].mode, MODE_UDP);
	assert_int_equal(k.config.services[0].n_preview, 1);
	assert_true(k.config.services[0].source_hash);
	assert_false(k.config.services[0].transparent || k.config.services[0].local_clients);
	end();
}

static void
test_nothing_is_taken_before_what_was_there_is_counted(void **state)
{
	(void)state;
	begin(CONF("", ""), true);
	assert_int_equal(k.watched, 1);
	assert_non_null(k.counted);
	assert_false(k.begun);
	publish(GREEN);
	assert_true(k.begun);
	take();
	assert_int_equal(w.acked, 0);
	k.counted(k.counted_arg, 17);
	assert_int_equal(w.acked, 1);
	k.active[BLUE] = 4;
	assert_int_equal(w.engine->count(w.engine, dns(), BLUE), 4);
	end();
}

static void
test_a_flip_keeps_the_new_color_and_cuts_its_previews_once_acked(void **state)
{
	(void)state;
	serve(CONF("", "preview = \"127.0.0.1:99\";"), false);
	assert_int_equal(k.kept_color, GREEN);
	dns()->record.epoch++;
	publish(BLUE);
	assert_int_equal(k.kept_color, BLUE);
	assert_int_equal(k.last[0]->active, BLUE);
	assert_int_equal(k.cuts, 0);
	take();
	assert_int_equal(w.acked, 2);
	assert_int_equal(k.cuts, 1);
	assert_int_equal(k.cut_ending, END_PREVIEW);
	assert_int_equal(k.cut.service, 100);
	assert_int_equal(k.cut.entrance, ENTRANCE_PREVIEW);
	assert_int_equal(k.cut.color, BLUE);
	/* Another snapshot of the same color cuts nobody. */
	publish(BLUE);
	take();
	assert_int_equal(k.cuts, 1);
	end();
}

static void
test_flows_of_a_backend_that_went_down(void **state)
{
	static const char *const confs[] = { CONF("", "on_down = \"keep\";"),
					     CONF("", "on_down = \"reset\";") };

	(void)state;
	for (unsigned reset = 0; reset < 2; reset++) {
		struct backend *b;

		serve(confs[reset], false);
		b = dns()->colors[GREEN].backends[1];
		b->state = BACKEND_DOWN;
		atomic_store(&b->connections, 3);
		publish(GREEN);
		assert_int_equal(k.cuts, 0);
		take();
		assert_int_equal(k.cuts, reset);
		if (reset) {
			assert_int_equal(k.cut_ending, END_BACKEND_DOWN);
			assert_int_equal(k.cut.color, GREEN);
			assert_int_equal(k.cut.entrance, FLOWS_ANY);
			assert_true(addr_equal(&k.cut.backend, &b->address));
		}
		atomic_store(&b->connections, 0);
		publish(GREEN);
		take();
		assert_int_equal(k.cuts, reset);
		end();
	}
}

static void
test_a_stop_leaves_everything_as_it_is(void **state)
{
	const struct drain_orders orders = { .timeout = 1, .ending = END_STOP };

	(void)state;
	serve(CONF("", ""), false);
	k.active[GREEN] = 9;
	w.engine->close(w.engine);
	assert_int_equal(w.closed, 0);
	WAIT_UNTIL(w.loop, w.closed == 1);
	assert_int_equal(w.engine->count(w.engine, dns(), GREEN), 0);
	w.engine->drain(w.engine, dns(), GREEN, &orders);
	assert_int_equal(k.drains, 0);
	assert_false(k.last[0]->refuse);
	end();
	assert_true(k.closed);
	assert_false(k.removed || w.gone);
}

static void
test_a_stop_that_removes_refuses_first(void **state)
{
	const struct drain_orders orders = { .timeout = 1, .ending = END_STOP };

	(void)state;
	serve(CONF("kernel: { on_stop = \"remove\"; };", ""), false);
	k.active[GREEN] = 9;
	w.engine->close(w.engine);
	assert_true(k.last[0]->refuse);
	assert_int_equal(w.closed, 0);
	k.slow = true;
	take();
	assert_int_equal(w.closed, 0);
	k.news(k.news_arg, 0);
	assert_int_equal(w.closed, 1);
	assert_int_equal(w.engine->count(w.engine, dns(), GREEN), 9);
	w.engine->drain(w.engine, dns(), GREEN, &orders);
	assert_int_equal(k.drains, 1);
	assert_int_equal(k.orders.ending, END_STOP);
	/* A late change of health opens nothing again. */
	publish(GREEN);
	assert_true(k.last[0]->refuse);
	end();
	assert_true(k.removed && w.gone);
}

static void
test_what_never_closed_is_never_removed(void **state)
{
	(void)state;
	serve(CONF("kernel: { on_stop = \"remove\"; };", ""), false);
	end();
	assert_true(k.closed);
	assert_false(k.removed);
}

static void
count(uint64_t denied, uint64_t strays)
{
	WAIT_UNTIL(w.loop, k.counting != NULL);
	k.counts[0].refused[REFUSED_DENIED] = denied;
	k.counts[0].strays = strays;
	k.counting(k.counting_arg, k.counts);
	k.counting = NULL;
}

static void
test_counters_of_an_older_table_begin_at_zero(void **state)
{
	(void)state;
	serve(CONF("", ""), true);
	clock_pass();
	k.counts[0] = (struct ruleset_counts){ { 0 }, 0 };
	count(100, 50);
	assert_int_equal(service_ended(dns(), ENTRANCE_MAIN, GREEN, END_DENIED), 0);
	assert_int_equal(w.engine->strays(w.engine, dns()), 0);
	count(103, 51);
	assert_int_equal(service_ended(dns(), ENTRANCE_MAIN, GREEN, END_DENIED), 3);
	assert_int_equal(w.engine->strays(w.engine, dns()), 1);
	/* A new rule counts from zero. */
	count(2, 0);
	assert_int_equal(service_ended(dns(), ENTRANCE_MAIN, GREEN, END_DENIED), 5);
	assert_int_equal(w.engine->strays(w.engine, dns()), 1);
	clock_go();
	end();
}

/* The value of a gauge; -1: it has none now. */
static int64_t
gauge(const char *metric)
{
	const struct engine_class *class = w.engine->class;
	uint64_t value;

	for (size_t i = 0; i < class->n_gauges; i++)
		if (strcmp(class->gauges[i].metric, metric) == 0)
			return class->gauges[i].read(w.engine, &value) ? (int64_t)value : -1;
	fail_msg("no gauge %s", metric);
	return -1;
}

static void
assert_status(const char *expected)
{
	struct buf b;
	struct json j;

	buf_init(&b, 4096);
	json_init(&j, &b);
	json_object(&j, NULL);
	w.engine->class->status(w.engine, &j);
	json_object_end(&j);
	assert_int_equal(buf_len(&b), strlen(expected));
	assert_memory_equal(buf_str(&b).p, expected, strlen(expected));
	buf_free(&b);
}

static void
test_a_stop_while_counters_are_read(void **state)
{
	(void)state;
	serve(CONF("", ""), true);
	assert_non_null(k.counting);
	end();
	assert_true(k.closed);
}

static void
test_trouble_is_told_and_shown(void **state)
{
	(void)state;
	serve(CONF("", ""), false);
	k.calls.on_trouble(k.calls.arg, "no memory");
	assert_string_equal(w.trouble, "no memory");
	assert_status("{\"table\":\"teal_main\",\"problem\":\"no memory\",\"entries\":7,\"max\":10,\"tracked\":0,\"insert_failed\":3,\"dropped\":2}");
	assert_int_equal(gauge("teal_kernel_trouble"), 1);
	assert_int_equal(gauge("teal_conntrack_entries"), 7);
	assert_int_equal(gauge("teal_conntrack_max_entries"), 10);
	assert_int_equal(gauge("teal_conntrack_insert_failed_total"), 3);
	assert_int_equal(gauge("teal_conntrack_dropped_total"), 2);
	k.calls.on_trouble(k.calls.arg, NULL);
	assert_string_equal(w.trouble, "over");
	assert_int_equal(gauge("teal_kernel_trouble"), 0);
	assert_status("{\"table\":\"teal_main\",\"problem\":null,\"entries\":7,\"max\":10,\"tracked\":0,\"insert_failed\":3,\"dropped\":2}");
	end();
}

static uint64_t committed;

static void
on_committed(void *arg, struct engine *e, uint64_t generation)
{
	(void)arg, (void)e;
	committed = generation;
}

/* What is of the kernel changes at a start only; others' services may. */
static void
test_another_configuration_leaves_its_services_alone(void **state)
{
	struct reload_service list[2];
	struct service_config other;
	struct service *removed[1];
	struct reload r;
	struct why why;

	(void)state;
	serve(CONF("", ""), false);
	w.engine->on_committed = on_committed;
	committed = 0;
	for (unsigned i = 0; i < 2; i++)
		list[i] = (struct reload_service){ .service = w.services[i], .config = &t.config->services[i] };
	r = (struct reload){ t.config, t.config, 7, list, 2, removed, 0 };
	list[0].changed = true;
	assert_int_equal(w.engine->prepare(w.engine, &r, &why), OK);
	w.engine->abandon(w.engine);
	assert_int_equal(w.engine->prepare(w.engine, &r, &why), OK);
	w.engine->commit(w.engine, &r);
	assert_int_equal(committed, 0);
	WAIT_UNTIL(w.loop, committed == 7);

	list[1].changed = true;
	assert_int_equal(w.engine->prepare(w.engine, &r, &why), E_USAGE);
	assert_non_null(strstr(why.text, "service \"dns\": engine \"kernel\""));
	list[1].changed = false;
	other = t.config->services[1];
	other.engine = ENGINE_PROXY;
	list[1].config = &other;
	assert_int_equal(w.engine->prepare(w.engine, &r, &why), E_USAGE);
	/* It is gone. */
	r.n = 1;
	removed[0] = w.services[1];
	r.n_removed = 1;
	assert_int_equal(w.engine->prepare(w.engine, &r, &why), E_USAGE);
	assert_non_null(strstr(why.text, "is removed only at a start"));
	/* One of the proxy's turns to the kernel. */
	r.n = 2;
	r.n_removed = 0;
	list[1].config = &t.config->services[1];
	other.engine = ENGINE_KERNEL;
	list[0].config = &other;
	assert_int_equal(w.engine->prepare(w.engine, &r, &why), E_USAGE);
	end();
}

static void
test_a_test_prints_every_backend(void **state)
{
	char *text = NULL;
	size_t n = 0;
	FILE *out = open_memstream(&text, &n);

	(void)state;
	good(CONF("", "initial = \"blue\";"));
	kernel_print(t.config, "me", out);
	fclose(out);
	assert_string_equal(text, "dns blue 2\n");
	free(text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_only_its_own_services_are_in_the_table),
		cmocka_unit_test(test_nothing_is_taken_before_what_was_there_is_counted),
		cmocka_unit_test(test_a_flip_keeps_the_new_color_and_cuts_its_previews_once_acked),
		cmocka_unit_test(test_flows_of_a_backend_that_went_down),
		cmocka_unit_test(test_a_stop_leaves_everything_as_it_is),
		cmocka_unit_test(test_a_stop_that_removes_refuses_first),
		cmocka_unit_test(test_what_never_closed_is_never_removed),
		cmocka_unit_test(test_counters_of_an_older_table_begin_at_zero),
		cmocka_unit_test(test_a_stop_while_counters_are_read),
		cmocka_unit_test(test_trouble_is_told_and_shown),
		cmocka_unit_test(test_another_configuration_leaves_its_services_alone),
		cmocka_unit_test(test_a_test_prints_every_backend),
	};

	return cmocka_run_group_tests(tests, enter, leave);
}
