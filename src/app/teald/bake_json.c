/* bake_json.c - a bake as replies, events and status show it.  Thread: main. */
#include <math.h>

#include "app/teald/bake_json.h"
#include "base/clock.h"
#include "model/share.h"

/* Enough for people, and finite: JSON knows no infinity. */
#define E_MOST 9999.0

static double
json_sized(double x)
{
	return round(fmin(x, E_MOST) * 1e6) / 1e6;
}

static void
put_counted(struct json *j, const char *name, const struct judge_counts *c, double rate)
{
	json_object(j, name);
	json_u64(j, "clients", c->exposures);
	for (int s = 0; s < JUDGE_SEEN_SIGNALS; s++)
		json_u64(j, judge_signal_word((enum judge_signal)s), c->errors[s]);
	json_u64(j, "signals", c->told);
	json_u64(j, "signals_bad", c->told_bad);
	json_double(j, "rate", json_sized(rate));
	json_object_end(j);
}

static void
put_tests(struct json *j, const struct judge_evidence *e)
{
	json_array(j, "tests");
	for (int s = 0; s < JUDGE_SIGNALS; s++) {
		json_object(j, NULL);
		json_cstr(j, "signal", judge_signal_word((enum judge_signal)s));
		json_double(j, "log10_e", json_sized(e->log10_e[s]));
		json_double(j, "needed", json_sized(e->log10_needed[s]));
		json_double(j, "bound", json_sized(e->bound[s]));
		json_object_end(j);
	}
	json_array_end(j);
}

void
bake_members_json(struct json *j, const struct bake *b)
{
	const struct judge_evidence *e = &b->evidence;
	bool over = b->state == BAKE_OVER;
	double seconds = fmin(clock_now(), b->until) - b->started;
	char until[CLOCK_TEXT];

	clock_format(b->until_us, 3, until);
	json_cstr(j, "to", color_word(b->to));
	json_double(j, "seconds", round(fmax(seconds, 0) * 10) / 10);
	json_double(j, "of", b->until - b->started);
	json_cstr(j, "until", until);
	json_cstr(j, "verdict", over ? bake_verdict_word(b->verdict) : NULL);
	json_cstr(j, "on_regression", on_regression_word(b->on_regression));
	json_cstr(j, "control", b->facts.control == JUDGE_BEFORE ? "before" : "concurrent");
	if (b->hold_back > 0)
		json_double(j, "hold_back", b->hold_back / 100.0);
	else
		json_null(j, "hold_back");
	json_object(j, "evidence");
	json_cstr(j, "text", b->text);
	put_counted(j, "new", &b->facts.fresh, e->new_rate);
	put_counted(j, "old", &b->facts.old, e->old_rate);
	json_bool(j, "worse", e->worse);
	json_cstr(j, "signal", judge_signal_word(e->signal));
	json_double(j, "log10_e", json_sized(e->log10_e[e->signal]));
	json_double(j, "needed", json_sized(e->log10_needed[e->signal]));
	json_double(j, "could_be", json_sized(e->could_be));
	put_tests(j, e);
	json_object_end(j);
}

void
bake_json(struct json *j, const struct service_ctl *ctl)
{
	if (ctl->bake == NULL) {
		json_null(j, "bake");
		return;
	}
	json_object(j, "bake");
	json_u64(j, "epoch", ctl->bake->epoch);
	json_cstr(j, "by", ctl->bake->by);
	bake_members_json(j, ctl->bake);
	json_object_end(j);
}
