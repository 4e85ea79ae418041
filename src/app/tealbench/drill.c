/* drill.c - `tealbench drill`: a load, flips, reloads, upgrades or crashes in
 * the middle of it, a verdict.  Main watches; the load's threads load and judge
 * what they get; one thread takes the turns and may block. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "app/tealbench/drill.h"
#include "app/tealbench/tealbench.h"

#define DRILL_OPTIONS_MAX (LOAD_OPTIONS_MAX + 20)
#define FLIPPER_SLEEP_NS 500000
/* A request that had not ended when the time was up still may. */
#define ENDLESS 1e6
#define SLOT_NS 1000000u

/* --- judging, on the load's threads --- */

static bool
names_color(const char *name, const char *color)
{
	size_t n = strlen(color);

	return strncmp(name, color, n) == 0 && !isalnum((unsigned char)name[n]);
}

/* 0, 1, or -1: an unknown backend. */
static int
answer_color(const struct drill *d, struct drill_thread *t, const struct flow *f)
{
	const char *name;

	if (f->name >= LOAD_NAMES_MAX)
		return -1;
	if (t->color[f->name] == 0) {
		name = f->thread->names.name[f->name].text;
		t->color[f->name] = -1;
		for (int c = 0; c < DRILL_COLORS; c++)
			if (names_color(name, d->config->color[c]))
				t->color[f->name] = (signed char)(c + 1);
	}
	return t->color[f->name] > 0 ? t->color[f->name] - 1 : -1;
}

static void
keep_sample(struct drill *d, struct drill_thread *t, const struct flow *f, const char *what, uint64_t now)
{
	struct drill_sample *s;

	if (t->samples == DRILL_SAMPLES)
		return;
	s = &t->sample[t->samples++];
	s->at = now;
	s->began = f->asked;
	s->what = what;
	s->flips = atomic_load(&d->flips.n);
	if (f->name < LOAD_NAMES_MAX)
		str_copy(s->name, sizeof(s->name), str_from(f->thread->names.name[f->name].text));
}

static void
on_done(struct load_observer *o, struct flow *f, uint64_t now)
{
	struct drill *d = container_of(o, struct drill, observer);
	struct drill_thread *t = &d->threads[f->thread->index];
	int color = answer_color(d, t, f);

	silence_broken(&d->silence, now);
	drill_saw_success(d, f->asked, now);
	timeline_add(&t->timeline, color >= 0 ? (unsigned)color : TIMELINE_LANES - 1, now);
	if (color < 0) {
		t->unnamed++;
		keep_sample(d, t, f, "answered by an unknown backend", now);
	} else if (drill_may_answer(&d->flips, f->asked, now, (unsigned)color)) {
		t->right++;
		t->by[color]++;
	} else {
		t->wrong++;
		t->by[color]++;
		keep_sample(d, t, f, "answered by the wrong color", now);
	}
	if (d->late_ns > 0 && now - f->intended > d->late_ns) {
		t->late++;
		keep_sample(d, t, f, "late", now);
	}
}

static void
on_failed(struct load_observer *o, struct flow *f, enum load_error error, uint64_t now)
{
	struct drill *d = container_of(o, struct drill, observer);
	struct drill_thread *t = &d->threads[f->thread->index];

	timeline_add(&t->timeline, TIMELINE_LANES - 1, now);
	if (drill_died_with_it(d, f->connecting, error))
		t->died++;
	else
		keep_sample(d, t, f, load_error_word(error), now);
}

static void
on_stream_done(struct load_observer *o, struct flow *f, uint64_t now)
{
	(void)o, (void)f, (void)now;
}

static void
on_stream_failed(struct load_observer *o, struct flow *f, enum load_error error, uint64_t now)
{
	struct drill *d = container_of(o, struct drill, stream_observer);

	(void)now;
	atomic_fetch_add(drill_died_with_it(d, f->connecting, error) ? &d->streams_died : &d->streams_broken, 1);
}

/* --- flipping, on a thread of its own --- */

static bool
flip_is_due(struct drill *d, uint64_t k)
{
	const struct drill_config *c = d->config;
	struct load_sums sums;
	double share = (double)(k + 1) / (double)(c->flips + 1);

	if (c->every > 0)
		return load_now() >= d->began + load_ns(c->every * (double)(k + 1));
	if (c->requests == 0)
		return load_now() >= d->began + load_ns(c->duration * share);
	sums = load_sum(d->run.threads, (unsigned)c->load.threads);
	return sums.done + sums.errors >= (uint64_t)((double)c->requests * share);
}

/* Flips once; false: no more of it. */
static bool
flip_once(struct drill *d, struct drill_admin *admin, unsigned *active)
{
	const struct drill_config *c = d->config;
	unsigned k = atomic_load(&d->flips.n);
	struct drill_flip *f = &d->flips.list[k];
	char now_active[LOAD_NAME_MAX + 1];
	bool there = true;

	f->color = c->during == DURING_FLIP ? !*active : *active;
	atomic_store(&f->asked, load_now());
	atomic_store_explicit(&d->flips.n, k + 1, memory_order_release);
	if (c->during != DURING_FLIP) {
		drill_turn(d, f);
		return true;
	}
	if (c->command != NULL)
		drill_command_flip(c, f);
	else
		there = drill_admin_flip(admin, c, f);
	if (f->made) {
		*active = f->color;
		return there;
	}
	if (!there || c->command != NULL)
		return false;	/* who knows what it did */
	if (atomic_load(&f->refused))
		return true;
	if (drill_admin_active(admin, c->service, now_active, NULL) != OK)
		return false;
	*active = strcmp(now_active, c->color[1]) == 0;
	return true;
}

static bool
streams_stand(const struct drill *d)
{
	const struct load_config *c = &d->config->streams;

	return c->connections == 0 ||
	       load_sum(d->streams.threads, (unsigned)c->threads).settled >= c->connections;
}

static void *
flipper_run(void *arg)
{
	struct drill *d = arg;
	const struct drill_config *c = d->config;
	struct timespec nap = { 0, FLIPPER_SLEEP_NS };
	struct drill_admin admin = { .fd = -1 };
	unsigned active = d->flips.first;
	bool going = c->command != NULL || c->during != DURING_FLIP || drill_admin_open(&admin, c->admin, NULL) == OK;

	while (!atomic_load(&d->stop) && !streams_stand(d))
		nanosleep(&nap, NULL);
	for (uint64_t k = 0; going && k < c->flips && !atomic_load(&d->stop);) {
		if (!flip_is_due(d, k)) {
			nanosleep(&nap, NULL);
			continue;
		}
		going = flip_once(d, &admin, &active);
		k++;
	}
	drill_admin_close(&admin);
	atomic_store(&d->flipped, true);
	return NULL;
}

/* --- all of it --- */

static bool
drill_enough(struct load_run *run, const struct load_sums *sums)
{
	struct drill *d = container_of(run, struct drill, run);
	const struct drill_config *c = d->config;
	uint64_t now = load_now();
	bool flipped = atomic_load(&d->flipped);

	if (now >= d->began + load_ns(c->duration) + (flipped ? 0 : load_ns(c->flip_timeout)))
		return true;
	if (c->requests > 0)
		return flipped && sums->done + sums->errors >= c->requests;
	return false;
}

static bool
drill_run(struct drill *d)
{
	const struct drill_config *c = d->config;
	pthread_t flipper;
	bool passed;

	d->threads = must_array(c->load.threads, sizeof(*d->threads));
	d->flips.list = must_array(c->flips > 0 ? c->flips : 1, sizeof(*d->flips.list));
	d->late_ns = load_ns(c->late);
	load_run_init(&d->run, &c->load);
	d->run.enough = drill_enough;
	if (c->streams.connections > 0) {
		load_run_init(&d->streams, &c->streams);
		d->run.beside = &d->streams;
	}
	d->began = load_now();
	for (unsigned i = 0; i < c->load.threads; i++)
		timeline_init(&d->threads[i].timeline, d->began, SLOT_NS);
	CHECK(pthread_create(&flipper, NULL, flipper_run, d) == 0);
	load_run_go(&d->run);
	atomic_store(&d->stop, true);
	pthread_join(flipper, NULL);
	passed = drill_report(d);
	load_run_free(&d->run);
	if (c->streams.connections > 0)
		load_run_free(&d->streams);
	free(d->threads);
	free(d->flips.list);
	return passed;
}

/* --- options --- */

static bool
is_color(const char *word)
{
	size_t n = strlen(word);

	return n > 0 && n <= LOAD_NAME_MAX &&
	       strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == n;
}

static enum err
parse_colors(struct drill_config *c, const char *text, struct why *why)
{
	const char *comma = strchr(text, ',');

	if (comma == NULL ||
	    !str_copy(c->color[0], sizeof(c->color[0]), (struct str){ text, (size_t)(comma - text) }) ||
	    !str_copy(c->color[1], sizeof(c->color[1]), str_from(comma + 1)) || !is_color(c->color[0]) ||
	    !is_color(c->color[1]) || strcmp(c->color[0], c->color[1]) == 0)
		return why_set(why, E_USAGE, "--colors=%s: two names expected, like green,blue", text);
	return OK;
}

static enum err
check_drill(struct drill_config *c, struct why *why)
{
	const struct load_mode *mode = c->load.mode;

	if (mode != &load_mode_http && mode != &load_mode_http_close && mode != &load_mode_http2 &&
	    (strcmp(mode->word, "tcp-connect") != 0))
		return why_set(why, E_USAGE, "--mode=%s: a drill knows http, http-close, http2 and tcp-connect",
			       mode->word);
	if (c->during == DURING_CRASH && c->command != NULL)
		return why_set(why, E_USAGE, "--during=crash kills by itself: --pid-cmd=COMMAND says whom");
	if (c->during != DURING_CRASH && c->pid_command != NULL)
		return why_set(why, E_USAGE, "--pid-cmd belongs to --during=crash");
	if ((c->admin == NULL) == (c->command == NULL && c->pid_command == NULL))
		return why_set(why, E_USAGE, "one of --admin=SOCKET and --%s=COMMAND is needed",
			       c->during == DURING_CRASH  ? "pid-cmd"
			       : c->during == DURING_FLIP ? "flip-cmd"
							  : "cmd");
	if (c->admin != NULL && c->during == DURING_FLIP && (c->service == NULL || !is_color(c->service)))
		return why_set(why, E_USAGE, "--service=NAME is needed: whose color is to change");
	if (strcmp(c->wait, "applied") != 0 && strcmp(c->wait, "drained") != 0)
		return why_set(why, E_USAGE, "--wait=%s: applied or drained expected", c->wait);
	if (!(c->flip_timeout > 0))
		return why_set(why, E_USAGE, "--flip-timeout must be above 0");
	return OK;
}

/* Which of the two is active now. */
static enum err
find_first_answer(struct drill *d, struct drill_config *c, const char *said, struct why *why)
{
	char active[LOAD_NAME_MAX + 1];
	struct drill_admin admin;
	enum err e;

	str_copy(active, sizeof(active), str_from(said != NULL ? said : c->color[0]));
	if (c->admin != NULL && c->service != NULL) {
		if ((e = drill_admin_open(&admin, c->admin, why)) == OK)
			e = drill_admin_active(&admin, c->service, active, why);
		drill_admin_close(&admin);
		if (e != OK)
			return e;
	}
	if (strcmp(active, c->color[0]) != 0 && strcmp(active, c->color[1]) != 0)
		return why_set(why, E_USAGE, "%s is active, which is not one of --colors=%s,%s", active,
			       c->color[0], c->color[1]);
	d->flips.first = strcmp(active, c->color[1]) == 0;
	return OK;
}

static const char *const during_words[] = {
	[DURING_FLIP] = "flip",
	[DURING_RELOAD] = "reload",
	[DURING_UPGRADE] = "upgrade",
	[DURING_CRASH] = "crash",
};

const char *
drill_during_word(enum drill_during during)
{
	return during_words[during];
}

static enum err
parse_during(struct drill_config *c, const char *text, struct why *why)
{
	for (size_t i = 0; i < ARRAY_LEN(during_words); i++) {
		if (strcmp(text, during_words[i]) == 0) {
			c->during = (enum drill_during)i;
			return OK;
		}
	}
	return why_set(why, E_USAGE, "--during=%s: flip, reload, upgrade or crash expected", text);
}

/* A load of its own beside the other: connections that must last. */
static enum err
settle_streams(struct drill_config *c, uint64_t n, struct why *why)
{
	struct load_config *s = &c->streams;
	struct option_spec unused[LOAD_OPTIONS_MAX];
	const char *target = s->target_text, *mode = NULL;
	uint64_t size = s->size, rate = s->rate;
	bool unchecked;

	load_options(s, &mode, &unchecked, unused);
	s->target_text = target != NULL ? target : c->load.target_text;
	s->connections = n;
	s->size = size;
	s->rate = rate;
	s->host = c->load.host;
	s->sni = c->load.sni;
	s->ca = c->load.ca;
	s->tls = c->load.tls;
	s->insecure = c->load.insecure;
	s->own = c->load.own;
	s->hello = c->load.hello && target == NULL;
	s->timeout = c->load.timeout;
	s->check = c->load.check;
	s->lasting = true;
	s->duration = ENDLESS;
	return n == 0 ? OK : load_config_settle(s, c->load.mode->http ? "ws" : "tcp-small", why);
}

enum err
drill_main(int argc, char **argv, struct why *why)
{
	struct drill_config c = { .flips = 10, .late = 1, .flip_timeout = 60, .wait = "drained" };
	struct option_spec options[DRILL_OPTIONS_MAX];
	const char *mode = NULL, *colors = "green,blue", *first = NULL, *during = during_words[DURING_FLIP];
	uint64_t streams = 0;
	bool unchecked = false;
	size_t n = load_options(&c.load, &mode, &unchecked, options);
	const struct option_spec own[] = {
		{ "admin", OPTION_TEXT, &c.admin, 0, 0 },
		{ "service", OPTION_TEXT, &c.service, 0, 0 },
		{ "during", OPTION_TEXT, &during, 0, 0 },
		{ "flip-cmd", OPTION_TEXT, &c.command, 0, 0 },
		{ "cmd", OPTION_TEXT, &c.command, 0, 0 },
		{ "pid-cmd", OPTION_TEXT, &c.pid_command, 0, 0 },
		{ "flips", OPTION_COUNT, &c.flips, 0, DRILL_FLIPS_MAX },
		{ "count", OPTION_COUNT, &c.flips, 0, DRILL_FLIPS_MAX },
		{ "streams", OPTION_COUNT, &streams, 0, 100000 },
		{ "stream-target", OPTION_TEXT, &c.streams.target_text, 0, 0 },
		{ "stream-rate", OPTION_COUNT, &c.streams.rate, 1, 10000000 },
		{ "stream-size", OPTION_SIZE, &c.streams.size, 1, INT64_MAX },
		{ "every", OPTION_SECONDS, &c.every, 0, 0 },
		{ "wait", OPTION_TEXT, &c.wait, 0, 0 },
		{ "late", OPTION_SECONDS, &c.late, 0, 0 },
		{ "flip-timeout", OPTION_SECONDS, &c.flip_timeout, 0, 0 },
		{ "colors", OPTION_TEXT, &colors, 0, 0 },
		{ "active", OPTION_TEXT, &first, 0, 0 },
	};
	struct drill d = { .observer = { on_done, on_failed },
			   .stream_observer = { on_stream_done, on_stream_failed },
			   .config = &c };
	enum err e;

	_Static_assert(ARRAY_LEN(own) <= DRILL_OPTIONS_MAX - LOAD_OPTIONS_MAX, "no room for all options");
	memcpy(options + n, own, sizeof(own));
	if ((e = options_parse(options, n + ARRAY_LEN(own), argc, argv, why)) != OK)
		return e;
	c.load.check = !unchecked;
	if (mode != NULL && strcmp(mode, "tcp-connect") == 0)
		c.load.hello = true;
	if ((e = parse_during(&c, during, why)) == OK && (e = load_config_settle(&c.load, mode, why)) == OK &&
	    (e = check_drill(&c, why)) == OK && (e = parse_colors(&c, colors, why)) == OK &&
	    (e = settle_streams(&c, streams, why)) == OK && (e = find_first_answer(&d, &c, first, why)) == OK) {
		c.requests = c.load.requests;
		c.duration = c.load.duration;
		c.json = c.load.json;
		/* How long it goes on is the drill's to say. */
		c.load.requests = 0;
		c.load.duration = ENDLESS;
		c.load.observer = &d.observer;
		c.streams.observer = &d.stream_observer;
		e = drill_run(&d) ? OK : why_set(why, E_INTERNAL, "the drill has failed");
	}
	load_config_free(&c.load);
	load_config_free(&c.streams);
	return e;
}
