/* top.c - from readings of the status to rates, and their order.  One thread. */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>

#include "app/tealctl/say.h"
#include "app/tealctl/top.h"
#include "base/clock.h"

static const char *const color_words[] = { "green", "blue" };
static const char *const sort_words[] = {
	"order", "name", "trouble", "connections", "new", "out", "changed", "errors", "latency"
};

const char *
top_sort_word(enum top_sort s)
{
	return sort_words[s];
}

bool
top_sort_from_word(const char *word, enum top_sort *out)
{
	for (size_t i = 0; i < ARRAY_LEN(sort_words); i++)
		if (strcmp(word, sort_words[i]) == 0) {
			*out = (enum top_sort)i;
			return true;
		}
	return false;
}

static uint64_t
count_at(json_t *o, const char *path)
{
	json_t *v = json_at(o, path);

	return json_is_integer(v) && json_integer_value(v) > 0 ? (uint64_t)json_integer_value(v) : 0;
}

static void
take_string(char *to, size_t size, json_t *o, const char *path)
{
	const char *text = json_string_value(json_at(o, path));

	str_copy(to, size, str_from(text != NULL ? text : ""));
}

static int
top_color_at(json_t *o, const char *path)
{
	const char *word = json_string_value(json_at(o, path));

	for (int c = 0; word != NULL && c < 2; c++)
		if (strcmp(word, color_words[c]) == 0)
			return c;
	return -1;
}

static double
rate_of(uint64_t now, uint64_t before, double seconds)
{
	return now > before && seconds > 0 ? (double)(now - before) / seconds : 0;
}

static void
take_top_color(struct top_color *c, json_t *o, double seconds)
{
	/* Where requests are counted, they are what is new. */
	const char *what = json_at(o, "requests_total") != NULL ? "requests_total" : "connections_total";
	uint64_t begun = count_at(o, what), in = count_at(o, "bytes_in"), out = count_at(o, "bytes_out"), gone;

	c->healthy = (unsigned)count_at(o, "healthy");
	c->total = (unsigned)count_at(o, "total");
	gone = count_at(o, "drained") + count_at(o, "node_down") + c->healthy;
	c->missed = c->total > gone ? (unsigned)(c->total - gone) : 0;
	c->connections = count_at(o, "connections");
	c->new_rate = rate_of(begun, c->begun, seconds);
	c->in_rate = rate_of(in, c->in, seconds);
	c->out_rate = rate_of(out, c->out, seconds);
	c->begun = begun;
	c->in = in;
	c->out = out;
	memmove(c->past, c->past + 1, sizeof(c->past) - sizeof(c->past[0]));
	c->past[TOP_PAST - 1] = c->connections < UINT32_MAX ? (uint32_t)c->connections : UINT32_MAX;
}

/* Of a teald that does not judge: by what can be seen here. */
static int
guessed_trouble(const struct top_service *s)
{
	const struct top_color *active = s->active >= 0 ? &s->colors[s->active] : NULL;

	if (active == NULL || (active->healthy == 0 && active->total > 0))
		return 2;
	return active->missed > 0 || top_figures_bad(&active->minute) || count_at(s->object, "waiting") > 0;
}

static int
trouble_of(const struct top_service *s)
{
	json_t *list = json_at(s->object, "trouble"), *one;
	int worst = 0;
	size_t i;

	if (!json_is_array(list))
		return guessed_trouble(s);
	json_array_foreach(list, i, one)
	{
		const char *severity = json_string_value(json_at(one, "severity"));
		int how = severity != NULL && strcmp(severity, "critical") == 0 ? 2 : 1;

		worst = how > worst ? how : worst;
	}
	return worst;
}

static void
take_service(struct top_service *s, json_t *o, double uptime, size_t place)
{
	/* Of one that was not there before, nothing is known to have moved. */
	double seconds = s->readings > 0 ? uptime - s->uptime : 0;
	uint64_t failed = count_at(o, "failed_total"), errors = count_at(o, "errors_total");
	json_t *deadline = json_at(o, "drain.deadline_in");

	json_decref(s->object);
	s->object = json_incref(o);
	take_string(s->mode, sizeof(s->mode), o, "mode");
	take_string(s->changed, sizeof(s->changed), o, "changed_at");
	s->place = place;
	s->active = top_color_at(o, "active");
	s->epoch = count_at(o, "epoch");
	s->colorless = json_object_get(json_at(o, "colors"), "") != NULL;
	if (s->colorless)
		s->active = 0;	/* drawn as the first, without its name */
	for (int c = 0; c < 2; c++) {
		const char *word = s->colorless && c == 0 ? "" : color_words[c];

		take_top_color(&s->colors[c], json_object_get(json_at(o, "colors"), word), seconds);
		top_take_figures(&s->colors[c].minute, json_object_get(json_at(o, "quality"), word));
	}
	s->failed_rate = rate_of(failed, s->failed, seconds);
	s->failed = failed;
	s->errors_rate = rate_of(errors, s->errors, seconds);
	s->errors = errors;
	s->draining = top_color_at(o, "drain.color");
	s->left = count_at(o, "drain.remaining");
	s->until = json_is_number(deadline) ? clock_now() + json_number_value(deadline) : 0;
	s->locked = json_has(o, "locked");
	s->trouble = trouble_of(s);
	s->readings++;
	s->uptime = uptime;
}

static struct top_service *
find_or_add(struct top *t, const char *name, size_t place)
{
	if (place < t->n && strcmp(t->services[place].name, name) == 0)
		return &t->services[place];
	for (size_t i = 0; i < t->n; i++)
		if (strcmp(t->services[i].name, name) == 0)
			return &t->services[i];
	return NULL;
}

struct top_service *
top_find(struct top *t, const char *name)
{
	return find_or_add(t, name, SIZE_MAX);
}

/* The services of this reading, each with what was known of it before. */
static void
take_services(struct top *t, json_t *services, double uptime)
{
	size_t n = json_array_size(services);
	struct top_service *all = must_array(n + 1, sizeof(*all)), *old;
	char name[TOP_NAME];

	for (size_t i = 0; i < n; i++) {
		json_t *o = json_array_get(services, i);

		take_string(name, sizeof(name), o, "name");
		if ((old = find_or_add(t, name, i)) != NULL && !old->moved) {
			all[i] = *old;
			old->moved = true;
			old->object = NULL;
		}
		memcpy(all[i].name, name, sizeof(name));
		take_service(&all[i], o, uptime, i);
	}
	for (size_t i = 0; i < t->n; i++)
		json_decref(t->services[i].object);
	free(t->services);
	t->services = all;
	t->n = n;
}

static void
add_up(struct top *t)
{
	json_t *nodes = json_at(t->last, "nodes");
	/* An answer about one service does not tell of them. */
	size_t down = json_is_array(nodes) ? json_array_size(nodes) : t->sum.nodes;

	memset(&t->sum, 0, sizeof(t->sum));
	t->sum.nodes = down;
	for (size_t i = 0; i < t->n; i++) {
		const struct top_service *s = &t->services[i];

		for (int c = 0; c < 2; c++) {
			t->sum.connections += s->colors[c].connections;
			t->sum.new_rate += s->colors[c].new_rate;
			t->sum.in_rate += s->colors[c].in_rate;
			t->sum.out_rate += s->colors[c].out_rate;
		}
		t->sum.trouble += s->trouble > 0;
		t->sum.draining += s->draining >= 0;
		t->sum.locked += s->locked;
	}
}

/* What is told of teald itself; one that began anew counts from zero. */
static void
take_teald(struct top *t, json_t *status)
{
	double uptime = json_number_value(json_at(status, "uptime"));
	int64_t pid = json_integer_value(json_at(status, "pid"));

	if (pid != t->pid || uptime < t->uptime)
		for (size_t i = 0; i < t->n; i++)
			t->services[i].readings = 0;
	t->uptime = uptime;
	t->pid = pid;
	t->at = clock_now();
	json_decref(t->last);
	t->last = json_incref(status);
}

void
top_take(struct top *t, json_t *status)
{
	take_teald(t, status);
	take_services(t, json_at(status, "services"), t->uptime);
	add_up(t);
	top_arrange(t);
}

void
top_take_one(struct top *t, json_t *status)
{
	json_t *o = json_array_get(json_at(status, "services"), 0);
	const char *name = json_string_value(json_at(o, "name"));
	struct top_service *s = name != NULL ? top_find(t, name) : NULL;

	take_teald(t, status);
	if (s != NULL)
		take_service(s, o, t->uptime, s->place);
	add_up(t);
	top_arrange(t);
}

/* -- the order -------------------------------------------------------------- */

static enum top_sort sorting;
static bool reversing;

static double
sum_of(const struct top_service *s, enum top_sort by)
{
	const struct top_color *a = &s->colors[0], *b = &s->colors[1];

	switch (by) {
	case TOP_BY_TROUBLE:
		return s->trouble * 4 + (s->draining >= 0) * 2 + s->locked;
	case TOP_BY_CONNECTIONS:
		return (double)(a->connections + b->connections);
	case TOP_BY_RATE:
		return a->new_rate + b->new_rate;
	case TOP_BY_OUT:
		return a->out_rate + b->out_rate;
	case TOP_BY_ERRORS:
		return fmax(a->minute.error_rate, b->minute.error_rate);
	case TOP_BY_LATENCY:
		return fmax(a->minute.p99, b->minute.p99);
	case TOP_BY_ORDER:
	case TOP_BY_NAME:
	case TOP_BY_CHANGE:
		break;
	}
	return 0;
}

/* Largest and latest first, names from a on; equal ones as teald has them. */
static int
compare_services(const void *x, const void *y)
{
	const struct top_service *a = *(struct top_service *const *)x, *b = *(struct top_service *const *)y;
	double da = sum_of(a, sorting), db = sum_of(b, sorting);
	int c = sorting == TOP_BY_NAME   ? strcmp(a->name, b->name) :
		sorting == TOP_BY_CHANGE ? strcmp(b->changed, a->changed) :
					   (da < db) - (da > db);

	if (c == 0)
		c = (a->place > b->place) - (a->place < b->place);
	return reversing ? -c : c;
}

void
top_arrange(struct top *t)
{
	free(t->shown);
	t->shown = must_array(t->n + 1, sizeof(struct top_service *));
	t->n_shown = 0;
	for (size_t i = 0; i < t->n; i++)
		if (strcasestr(t->services[i].name, t->filter) != NULL)
			t->shown[t->n_shown++] = &t->services[i];
	sorting = t->sort;
	reversing = t->reversed;
	qsort(t->shown, t->n_shown, sizeof(struct top_service *), compare_services);
}

void
top_free(struct top *t)
{
	for (size_t i = 0; i < t->n; i++)
		json_decref(t->services[i].object);
	free(t->services);
	free(t->shown);
	json_decref(t->last);
}
