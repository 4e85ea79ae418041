/* test_observe_feed.c - what the status page is told: the history, the frames,
 * and the events they travel in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "world.h"

#include "app/teald/observe_feed.h"
#include "control/flip.h"

struct stage {
	struct world *w;
	struct history history;
	struct feed feed;
};

static int
set_up(void **state)
{
	struct stage *s = must_alloc(sizeof(*s));

	s->w = world_new();
	history_open(&s->history, &s->w->control);
	feed_open(&s->feed, &s->w->control, &s->history);
	*state = s;
	return 0;
}

static int
tear_down(void **state)
{
	struct stage *s = *state;

	assert_int_equal(s->feed.snapshot != NULL ? s->feed.snapshot->refs : 1, 1);
	feed_close(&s->feed);
	assert_int_equal(s->feed.bytes, 0);
	history_close(&s->history);
	world_free(s->w);
	free(s);
	return 0;
}

/* The JSON of a frame, which must be one event of that name; consumes it. */
static json_t *
read_frame(struct frame *frame, const char *name)
{
	char head[64];
	struct str text;
	json_error_t error;
	json_t *o;
	int n = snprintf(head, sizeof(head), "event: %s\ndata: ", name);

	assert_non_null(frame);
	text = buf_str(&frame->bytes);
	assert_int_equal(strncmp(text.p, head, (size_t)n), 0);
	assert_int_equal(memcmp(text.p + text.n - 2, "\n\n", 2), 0);
	/* One line, whatever is in it. */
	assert_ptr_equal(memchr(text.p + n, '\n', text.n), text.p + text.n - 2);
	o = json_loadb(text.p + n, text.n - (size_t)n - 2, JSON_REJECT_DUPLICATES, &error);
	if (o == NULL)
		fail_msg("%s at byte %d of %.*s", error.text, error.position, (int)text.n, text.p);
	frame_unref(&frame);
	return o;
}

/* "services.0.numbers.3"; NULL when there is none. */
static json_t *
at(json_t *o, const char *path)
{
	char part[64];
	size_t n;

	for (; *path != '\0' && o != NULL; path += n + (path[n] == '.')) {
		n = strcspn(path, ".");
		snprintf(part, sizeof(part), "%.*s", (int)n, path);
		o = json_is_array(o) ? json_array_get(o, (size_t)atoi(part)) : json_object_get(o, part);
	}
	return o;
}

#define TEXT_AT(o, path) json_string_value(at((o), (path)))
#define NUMBER_AT(o, path) json_number_value(at((o), (path)))

static void
flip_if(struct stage *s, enum color to, const char *reason, const enum color *expect)
{
	struct flip_request q = {
		.kind = CHANGE_FLIP, .to = to, .wait = FLIP_WAIT_APPLIED, .by = { .user = "ci" }, .has_expect = expect != NULL
	};
	struct service_ctl *ctl = s->w->control.services[0];

	if (expect != NULL)
		q.expect = *expect;
	str_copy(q.reason, sizeof(q.reason), str_from(reason));
	flip_start(ctl, &q, NULL);
	WAIT_UNTIL(s->w->loop, list_empty(&ctl->flips));
}

static void
flip(struct stage *s, enum color to, const char *reason)
{
	flip_if(s, to, reason, NULL);
}

/* It is refused: another color is active. */
static void
flip_late(struct stage *s, enum color to, const char *reason)
{
	flip_if(s, to, reason, &to);
}

static void
an_event_has_a_name_and_lines_of_data(void **state)
{
	static const struct {
		const char *data, *event;
	} cases[] = {
		{ "{}", "event: x\ndata: {}\n\n" },
		{ "", "event: x\ndata: \n\n" },
		{ "a\nb", "event: x\ndata: a\ndata: b\n\n" },
		{ "a\n", "event: x\ndata: a\ndata: \n\n" },
		{ "\n\n", "event: x\ndata: \ndata: \ndata: \n\n" },
		{ "event: evil\n\ndata: y", "event: x\ndata: event: evil\ndata: \ndata: data: y\n\n" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct buf out;

		buf_init(&out, 4096);
		sse_event(&out, "x", str_from(cases[i].data));
		buf_append(&out, "", 1);
		assert_string_equal(buf_str(&out).p, cases[i].event);
		buf_free(&out);
	}
}

static void
a_snapshot_has_everything(void **state)
{
	struct stage *s = *state;
	json_t *o = read_frame(feed_snapshot(&s->feed), "snapshot");

	assert_int_equal(json_array_size(at(o, "services")), WORLD_SERVICES);
	assert_string_equal(TEXT_AT(o, "services.0.service.name"), "shop");
	assert_string_equal(TEXT_AT(o, "services.0.service.active"), "green");
	assert_int_equal(json_array_size(at(o, "services.0.numbers")), 18);
	assert_int_equal(json_array_size(at(o, "services.0.quality")), 3);
	assert_true(json_is_null(at(o, "services.0.quality.0")) && json_is_null(at(o, "services.0.quality.2")));
	assert_null(at(o, "services.0.service.quality"));
	assert_true(json_is_null(at(o, "services.0.history.0")));
	assert_int_equal(json_array_size(at(o, "services.0.service.colors.blue.backends")), 1);
	assert_true(json_is_true(at(o, "teald.ready")));
	assert_string_equal(TEXT_AT(o, "store.type"), "file");
	assert_true(json_is_null(at(o, "fleet")));
	assert_int_equal(json_array_size(at(o, "flips")), 0);
	assert_true(NUMBER_AT(o, "now") > 1.7e12);
	json_decref(o);
}

static void
who_comes_at_the_same_time_gets_the_same_bytes(void **state)
{
	struct stage *s = *state;
	struct frame *a = feed_snapshot(&s->feed), *b = feed_snapshot(&s->feed), *c, *d;

	assert_ptr_equal(a, b);
	d = feed_delta(&s->feed);
	frame_unref(&d);
	c = feed_snapshot(&s->feed);
	assert_ptr_not_equal(a, c);
	frame_unref(&a);
	frame_unref(&b);
	frame_unref(&c);
}

static void
a_delta_has_only_what_changed(void **state)
{
	struct stage *s = *state;
	struct backend *b = s->w->running[1]->colors[GREEN].backends[0];
	json_t *o;

	feed_begin(&s->feed);
	o = read_frame(feed_delta(&s->feed), "delta");
	assert_int_equal(json_object_size(o), 3);	/* now, services, numbers */
	assert_int_equal(json_object_size(at(o, "services")) + json_object_size(at(o, "numbers")), 0);
	json_decref(o);

	/* A connection more: numbers, and with the next sample the backend's. */
	atomic_store(&s->w->running[1]->tallies[0].colors[ENTRANCE_MAIN][GREEN].active, 5);
	atomic_store(&b->connections, 5);
	history_sample(&s->history, s->history.sampled + 1);
	s->feed.points = 1;
	o = read_frame(feed_delta(&s->feed), "delta");
	assert_int_equal(json_object_size(at(o, "services")), 0);
	assert_int_equal(json_object_size(at(o, "numbers")), 1);
	assert_int_equal(NUMBER_AT(o, "numbers.1.0"), 5);
	assert_int_equal(NUMBER_AT(o, "numbers.1.4"), 5);	/* begun in that second */
	assert_int_equal(json_object_size(at(o, "backends")), 1);
	assert_int_equal(NUMBER_AT(o, "backends.1.0.0"), 5);
	assert_int_equal(NUMBER_AT(o, "points"), 1);
	json_decref(o);

	/* Sessions that ended, one of them badly. */
	atomic_store(&s->w->running[1]->tallies[0].colors[ENTRANCE_MAIN][GREEN].ended[END_DONE], 3);
	atomic_store(&s->w->running[1]->tallies[0].colors[ENTRANCE_MAIN][GREEN].ended[END_CONNECT], 1);
	s->feed.points = 1;
	o = read_frame(feed_delta(&s->feed), "delta");
	assert_int_equal(json_object_size(at(o, "quality")), 1);
	assert_int_equal(json_array_size(at(o, "quality.1.0")), 10);
	assert_int_equal(NUMBER_AT(o, "quality.1.0.1"), 4);
	assert_int_equal(NUMBER_AT(o, "quality.1.0.7"), 1);
	assert_true(json_is_null(at(o, "quality.1.1")) && json_is_null(at(o, "quality.1.2")));
	json_decref(o);

	/* A backend that is down: its service, whole. */
	b->state = BACKEND_DOWN;
	strcpy(b->error, "connection refused");
	o = read_frame(feed_delta(&s->feed), "delta");
	assert_int_equal(json_object_size(at(o, "services")), 1);
	assert_string_equal(TEXT_AT(o, "services.1.colors.green.backends.0.error"), "connection refused");
	assert_null(at(o, "teald"));
	json_decref(o);
	s->w->control.maintenance = true;
	o = read_frame(feed_delta(&s->feed), "delta");
	assert_string_equal(TEXT_AT(o, "teald.not_ready"), "in maintenance");
	json_decref(o);
	atomic_store(&b->connections, 0);
}

static void
a_flip_is_told_as_it_goes(void **state)
{
	struct stage *s = *state;
	json_t *o;

	feed_begin(&s->feed);
	s->w->connections[0][GREEN] = 3;
	flip(s, BLUE, "<script>\n\"x\"</script> \xff");
	o = read_frame(feed_delta(&s->feed), "delta");
	assert_string_equal(TEXT_AT(o, "services.0.active"), "blue");
	assert_string_equal(TEXT_AT(o, "services.0.drain.color"), "green");
	assert_int_equal(NUMBER_AT(o, "services.0.drain.at_start"), 3);
	assert_int_equal(json_array_size(at(o, "flips")), 1);
	assert_string_equal(TEXT_AT(o, "flips.0.result"), "draining");
	assert_string_equal(TEXT_AT(o, "flips.0.by"), "ci");
	assert_string_equal(TEXT_AT(o, "flips.0.reason"), "<script>\n\"x\"</script> \xef\xbf\xbd");
	assert_int_equal(NUMBER_AT(o, "flips.0.epoch"), 2);
	assert_int_equal(NUMBER_AT(o, "numbers.0.3"), 3);
	json_decref(o);

	s->w->connections[0][GREEN] = 0;
	WAIT_UNTIL(s->w->loop, s->w->control.services[0]->drain == NULL);
	o = read_frame(feed_delta(&s->feed), "delta");
	assert_true(json_is_null(at(o, "services.0.drain")));
	assert_string_equal(TEXT_AT(o, "flips.0.result"), "drained");
	json_decref(o);
	o = read_frame(feed_delta(&s->feed), "delta");
	assert_null(at(o, "flips"));
	json_decref(o);
}

static void
a_flip_back_ends_the_drain_and_a_refusal_says_why(void **state)
{
	struct stage *s = *state;
	json_t *o;

	s->w->connections[0][GREEN] = 3;
	flip(s, BLUE, "one");
	flip(s, GREEN, "two");
	assert_string_equal(history_flip(&s->history, 1)->result, "kept");
	s->w->connections[0][GREEN] = 0;
	close(s->w->listeners[BLUE]);
	flip(s, BLUE, "three");
	s->w->listeners[BLUE] = -1;
	assert_int_equal(s->history.n_flips, 3);
	assert_true(history_flip(&s->history, 3)->refused);
	assert_string_equal(history_flip(&s->history, 3)->result, "unhealthy");
	assert_non_null(strstr(history_flip(&s->history, 3)->message, "refused"));
	o = read_frame(feed_snapshot(&s->feed), "snapshot");
	assert_int_equal(json_array_size(at(o, "flips")), 3);
	assert_true(json_is_true(at(o, "flips.2.refused")));
	json_decref(o);
	/* A pipeline that tries again and again pushes nothing out. */
	json_decref(read_frame(feed_delta(&s->feed), "delta"));
	for (int i = 0; i < HISTORY_FLIPS; i++)
		flip_late(s, BLUE, "once more");
	assert_int_equal(s->history.n_flips, 4);
	assert_string_equal(history_flip(&s->history, 4)->result, "conflict");
	assert_int_equal(history_flip(&s->history, 4)->times, HISTORY_FLIPS);
	assert_string_equal(history_flip(&s->history, 4)->reason, "once more");
	o = read_frame(feed_delta(&s->feed), "delta");
	assert_int_equal(NUMBER_AT(o, "flips.0.times"), HISTORY_FLIPS);
	assert_int_equal(json_array_size(at(o, "flips")), 1);
	json_decref(o);
}

static void
only_so_many_flips_are_remembered(void **state)
{
	struct stage *s = *state;

	for (int i = 0; i < HISTORY_FLIPS + 3; i++)
		flip(s, i % 2 == 0 ? BLUE : GREEN, "again");
	assert_int_equal(s->history.n_flips, HISTORY_FLIPS + 3);
	assert_int_equal(history_oldest_flip(&s->history), 4);
	assert_null(history_flip(&s->history, 3));
	assert_int_equal(history_flip(&s->history, 4)->epoch, 5);
	assert_null(history_flip(&s->history, HISTORY_FLIPS + 4));
	assert_null(history_flip(&s->history, 0));
}

static void
what_the_store_knew_is_there_from_the_start(void **state)
{
	struct stage *s = *state;

	flip(s, BLUE, "before");
	history_close(&s->history);
	history_open(&s->history, &s->w->control);
	assert_int_equal(s->history.n_flips, 1);
	assert_string_equal(history_flip(&s->history, 1)->reason, "before");
	assert_string_equal(history_flip(&s->history, 1)->by, "ci");
}

static void
samples_are_rates_and_keep_their_distance(void **state)
{
	struct stage *s = *state;
	struct tally_color *c = &s->w->running[0]->tallies[1].colors[ENTRANCE_MAIN][BLUE];
	json_t *o;

	atomic_store(&c->active, 2);
	atomic_store(&c->ended[END_DONE], 8);
	atomic_store(&c->ended[END_DENIED], 100);	/* never began */
	atomic_store(&c->ended[END_DRAINED], 1);	/* the drain's work, no failure */
	atomic_store(&c->bytes_in, 4000);
	history_sample(&s->history, s->history.sampled + 2);	/* main was late */
	assert_int_equal(s->history.n_points, 2);
	assert_int_equal(history_point(&s->history, 0, 0)->connections[BLUE], 2);
	assert_int_equal(history_point(&s->history, 0, 1)->connections[BLUE], 2);
	assert_int_equal(history_point(&s->history, 0, 0)->rate[BLUE], 55);
	assert_true(s->history.services[0]->rates.in[BLUE] == 2000);
	assert_true(s->history.services[0]->rates.failed == 50);
	assert_int_equal(history_point(&s->history, 0, 0)->bad[BLUE], 0);
	atomic_store(&c->active, 0);
	atomic_store(&c->ended[END_DONE], 8);
	atomic_store(&c->ended[END_CONNECT], 2);	/* the color's fault */
	history_sample(&s->history, s->history.sampled + 1);
	assert_int_equal(history_point(&s->history, 0, 0)->rate[BLUE], 0);
	assert_int_equal(history_point(&s->history, 0, 0)->bad[BLUE], 20);
	/* A clock that stood still is no sample. */
	history_sample(&s->history, s->history.sampled);
	assert_int_equal(s->history.n_points, 3);
	o = read_frame(feed_snapshot(&s->feed), "snapshot");
	assert_int_equal(json_array_size(at(o, "services.0.history.1")), 3);
	assert_int_equal(NUMBER_AT(o, "services.0.history.1.0"), 2);
	assert_true(NUMBER_AT(o, "services.0.history.3.0") == 5.5);
	assert_int_equal(NUMBER_AT(o, "services.0.history.3.2"), 0);
	assert_true(json_is_null(at(o, "services.0.history.4")));
	assert_int_equal(NUMBER_AT(o, "services.0.history.5.2"), 2);
	assert_true(json_is_null(at(o, "services.1.history.0")));
	json_decref(o);
	/* Nor is a night's sleep more than the window. */
	history_sample(&s->history, s->history.sampled + 40000);
	assert_int_equal(s->history.n_points, HISTORY_POINTS);
	for (int i = 0; i < HISTORY_POINTS; i++)
		history_sample(&s->history, s->history.sampled + 1);
	assert_int_equal(s->history.n_points, HISTORY_POINTS);
}

/* Of thousands of services main looks at some in each turn; a point there is only once all have theirs. */
static void
a_sample_is_one_whatever_happens_between_its_turns(void **state)
{
	struct stage *s = *state;
	struct history *h = &s->history;

	h->slice = 1;
	atomic_store(&s->w->running[0]->tallies[0].colors[ENTRANCE_MAIN][GREEN].active, 3);
	atomic_store(&s->w->running[1]->tallies[0].colors[ENTRANCE_MAIN][GREEN].active, 4);
	ev_invoke(s->w->loop, &h->timer, EV_TIMER);
	assert_int_equal(h->n_points, 0);
	WAIT_UNTIL(s->w->loop, h->n_points > 0);
	assert_int_equal(history_point(h, 0, 0)->connections[GREEN], 3);
	assert_int_equal(history_point(h, 1, 0)->connections[GREEN], 4);
	/* The next one is due before this one has its second turn. */
	ev_invoke(s->w->loop, &h->timer, EV_TIMER);
	atomic_store(&s->w->running[1]->tallies[0].colors[ENTRANCE_MAIN][GREEN].active, 5);
	ev_invoke(s->w->loop, &h->timer, EV_TIMER);
	assert_int_equal(history_point(h, 1, 0)->connections[GREEN], 5);
	WAIT_UNTIL(s->w->loop, h->next_points == 0);
	/* One that was looked at goes. */
	ev_invoke(s->w->loop, &h->timer, EV_TIMER);
	atomic_store(&s->w->running[1]->tallies[0].colors[ENTRANCE_MAIN][GREEN].active, 6);
	world_remove(s->w, 0);
	WAIT_UNTIL(s->w->loop, h->next_points == 0);
	assert_int_equal(h->n, 1);
	assert_int_equal(history_point(h, 0, 0)->connections[GREEN], 6);
	assert_int_equal(history_point(h, 0, 1)->connections[GREEN], 5);
}

static void
latency_is_of_what_was_observed_lately(void **state)
{
	struct stage *s = *state;
	struct tally_color *c = &s->w->running[0]->tallies[1].colors[ENTRANCE_MAIN][GREEN];
	json_t *o;

	history_sample(&s->history, s->history.sampled + 1);
	assert_null(s->history.services[0]->latency);
	for (int i = 0; i < 99; i++)
		tally_observe(&c->connect_seconds, 0.0004);
	tally_observe(&c->connect_seconds, 2.0);
	history_sample(&s->history, s->history.sampled + 2);	/* main was late */
	assert_in_range(history_latency(&s->history, 0, 0).p50[GREEN], 251, 500);
	assert_in_range(history_latency(&s->history, 0, 1).p50[GREEN], 251, 500);
	assert_in_range(history_latency(&s->history, 0, 0).p99[GREEN], 251, 500);
	assert_int_equal(history_latency(&s->history, 0, 2).p50[GREEN], 0);
	assert_int_equal(history_latency(&s->history, 0, 0).p50[BLUE], 0);
	assert_int_equal(history_latency(&s->history, 1, 0).p99[GREEN], 0);
	tally_observe(&c->connect_seconds, 2.0);
	history_sample(&s->history, s->history.sampled + 1);
	assert_in_range(history_latency(&s->history, 0, 0).p99[GREEN], 1000000, 2500000);
	for (int i = 2; i < HISTORY_LATENCY_SAMPLES; i++)
		history_sample(&s->history, s->history.sampled + 1);
	assert_in_range(history_latency(&s->history, 0, 0).p99[GREEN], 1000000, 2500000);
	/* The many have left the window, the one has not; then that has, too. */
	history_sample(&s->history, s->history.sampled + 1);
	assert_in_range(history_latency(&s->history, 0, 0).p50[GREEN], 1000000, 2500000);
	history_sample(&s->history, s->history.sampled + 1);
	assert_int_equal(history_latency(&s->history, 0, 0).p50[GREEN], 0);
	o = read_frame(feed_snapshot(&s->feed), "snapshot");
	assert_int_equal(json_array_size(at(o, "services.0.history.6")), s->history.n_points);
	assert_true(json_is_null(at(o, "services.0.history.6.0")));
	assert_true(NUMBER_AT(o, "services.0.history.6.1") > 0.25 && NUMBER_AT(o, "services.0.history.6.1") <= 0.5);
	assert_true(NUMBER_AT(o, "services.0.history.8.3") >= 1000);
	assert_true(json_is_null(at(o, "services.0.history.7")));
	assert_int_equal(json_array_size(at(o, "services.0.numbers")), 18);
	assert_true(json_is_null(at(o, "services.0.numbers.14")));
	json_decref(o);
}

/* -- the next teald ----------------------------------------------------------------- */

static struct history next;

static void
give_to_next(void *arg, const struct buf *row)
{
	struct str bytes = buf_str(row);

	/* Cut anywhere, and with more that it does not know. */
	for (size_t n = 0; n < bytes.n; n += n < 600 ? 1 : 97)
		if (arg != NULL)
			history_take(arg, (struct str){ bytes.p, n });
	history_take(&next, bytes);
}

static void
what_was_seen_goes_to_the_next_process(void **state)
{
	struct stage *s = *state;
	struct tally_color *c = &s->w->running[0]->tallies[1].colors[ENTRANCE_MAIN][GREEN];
	struct history cut;
	double sampled;

	for (int i = 1; i <= 5; i++) {
		s->w->connections[0][GREEN] = 0;
		atomic_store(&c->active, (uint64_t)i);
		tally_observe(&c->connect_seconds, 0.0004);
		history_sample(&s->history, s->history.sampled + 1);
	}
	flip(s, BLUE, "deploy 8812");
	flip_late(s, GREEN, "too late");
	flip_late(s, GREEN, "too late");
	sampled = s->history.sampled;

	/* It has begun two seconds later, with a sample of its own. */
	history_open(&next, &s->w->control);
	history_open(&cut, &s->w->control);
	next.sampled = sampled + 1;
	atomic_store(&c->active, 9);
	history_sample(&next, sampled + 2);
	assert_int_equal(next.n_points, 1);
	history_give(&s->history, give_to_next, &cut);
	assert_int_equal(next.n_points, 7);
	for (size_t ago = 0; ago < 7; ago++)
		assert_int_equal(history_point(&next, 0, ago)->connections[GREEN], ago == 0 ? 9 : ago == 1 ? 5 : 7 - ago);
	assert_in_range(history_latency(&next, 0, 2).p50[GREEN], 251, 500);
	assert_in_range(history_latency(&next, 0, 6).p99[GREEN], 251, 500);
	assert_int_equal(history_latency(&next, 0, 0).p50[GREEN], 0);
	assert_int_equal(history_point(&next, 1, 3)->connections[GREEN], 0);
	/* The flip that the record tells of, too, is one. */
	assert_int_equal(next.n_flips, 2);
	assert_string_equal(history_flip(&next, 1)->reason, "deploy 8812");
	assert_int_equal(history_flip(&next, 1)->epoch, 2);
	assert_string_equal(history_flip(&next, 2)->result, "conflict");
	assert_int_equal(history_flip(&next, 2)->times, 2);
	assert_true(history_flip(&next, 2)->refused);
	/* Of its own is what comes now. */
	atomic_store(&c->active, 3);
	history_sample(&next, sampled + 3);
	assert_int_equal(history_point(&next, 0, 0)->connections[GREEN], 3);
	assert_int_equal(history_point(&next, 0, 1)->connections[GREEN], 9);
	assert_int_equal(next.n_points, 8);
	/* Too old to be drawn, or of other steps. */
	next.sampled += HISTORY_POINTS;
	history_give(&s->history, give_to_next, NULL);
	assert_int_equal(next.n_points, 8);
	history_close(&cut);
	history_close(&next);
}

static void
who_watches_begins_anew_when_services_come_or_go(void **state)
{
	struct stage *s = *state;
	json_t *o;

	atomic_store(&s->w->running[1]->tallies[1].colors[ENTRANCE_MAIN][BLUE].active, 2);
	history_sample(&s->history, s->history.sampled + 1);
	json_decref(read_frame(feed_delta(&s->feed), "delta"));
	world_remove(s->w, 0);
	o = read_frame(feed_delta(&s->feed), "snapshot");
	assert_int_equal(json_array_size(at(o, "services")), 1);
	assert_string_equal(TEXT_AT(o, "services.0.service.name"), "pay");
	assert_int_equal(NUMBER_AT(o, "services.0.history.1.0"), 2);
	json_decref(o);
	/* From then on places are those of that list. */
	atomic_store(&s->w->running[1]->tallies[1].colors[ENTRANCE_MAIN][BLUE].active, 3);
	history_sample(&s->history, s->history.sampled + 1);
	o = read_frame(feed_delta(&s->feed), "delta");
	assert_int_equal(NUMBER_AT(o, "numbers.0.1"), 3);
	assert_null(at(o, "numbers.1"));
	json_decref(o);
	world_add(s->w, 0);
	o = read_frame(feed_delta(&s->feed), "snapshot");
	assert_string_equal(TEXT_AT(o, "services.1.service.name"), "shop");
	assert_int_equal(NUMBER_AT(o, "services.0.history.1.1"), 3);
	/* Of what was before it went nothing is left. */
	assert_true(json_is_null(at(o, "services.1.history.0")));
	json_decref(o);
	json_decref(read_frame(feed_delta(&s->feed), "delta"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_event_has_a_name_and_lines_of_data),
		cmocka_unit_test_setup_teardown(a_snapshot_has_everything, set_up, tear_down),
		cmocka_unit_test_setup_teardown(who_comes_at_the_same_time_gets_the_same_bytes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_delta_has_only_what_changed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_flip_is_told_as_it_goes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_flip_back_ends_the_drain_and_a_refusal_says_why, set_up, tear_down),
		cmocka_unit_test_setup_teardown(only_so_many_flips_are_remembered, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_the_store_knew_is_there_from_the_start, set_up, tear_down),
		cmocka_unit_test_setup_teardown(samples_are_rates_and_keep_their_distance, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_sample_is_one_whatever_happens_between_its_turns, set_up, tear_down),
		cmocka_unit_test_setup_teardown(latency_is_of_what_was_observed_lately, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_was_seen_goes_to_the_next_process, set_up, tear_down),
		cmocka_unit_test_setup_teardown(who_watches_begins_anew_when_services_come_or_go, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
