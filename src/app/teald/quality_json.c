/* quality_json.c - how well a service does by color, as JSON.  Thread: main. */
#include <math.h>

#include "app/teald/quality_json.h"
#include "app/teald/status.h"
#include "base/clock.h"
#include "control/quality.h"

static const char *const class_words[QUALITY_CLASSES] = { "1xx", "2xx", "3xx", "4xx", "5xx" };

static bool
is_http(const struct service_ctl *ctl)
{
	return ctl->service->config->mode == MODE_HTTP;
}

/* Digits that mean something: of a time microseconds. */
static double
rounded(double v, double digits)
{
	return round(v * digits) / digits;
}

static void
quantile_json(struct json *j, const char *key, const struct quality_figures *f, bool http, double p)
{
	double seconds;

	if (quality_quantile(f, http, p, &seconds))
		json_double(j, key, rounded(seconds, 1e6));
	else
		json_null(j, key);
}

/* -- for status ------------------------------------------------------------------- */

static void
figures_json(struct json *j, const char *key, const struct quality_figures *f, bool http)
{
	json_object(j, key);
	json_double(j, "seconds", rounded(f->seconds, 10));
	json_u64(j, "requests", f->sum.count);
	if (http) {
		json_object(j, "classes");
		for (unsigned i = 0; i < QUALITY_CLASSES; i++)
			json_u64(j, class_words[i], f->sum.classes[i]);
		json_object_end(j);
	}
	json_u64(j, "errors", f->sum.errors);
	if (f->sum.count > 0)
		json_double(j, "error_rate", rounded((double)f->sum.errors / (double)f->sum.count, 1e6));
	else
		json_null(j, "error_rate");
	quantile_json(j, "p50", f, http, 0.5);
	quantile_json(j, "p99", f, http, 0.99);
	json_object_end(j);
}

static void
flip_quality_json(struct json *j, const struct service_ctl *ctl, double now)
{
	const struct quality_flip *flip = &ctl->quality->flip;
	struct quality_figures after;

	if (flip->epoch == 0) {
		json_null(j, "flip");
		return;
	}
	after = quality_after(ctl->quality, ctl->service, now);
	json_object(j, "flip");
	status_time_json(j, "at", flip->at_us);
	json_u64(j, "epoch", flip->epoch);
	json_cstr(j, "from", color_word(flip->from));
	json_cstr(j, "to", color_word(flip->to));
	figures_json(j, "before", &flip->before, is_http(ctl));
	figures_json(j, "after", &after, is_http(ctl));
	json_object_end(j);
}

void
quality_json(struct json *j, const struct service_ctl *ctl)
{
	double now = clock_now();

	json_object(j, "quality");
	for (enum color c = GREEN; c <= (ctl->service->colorless ? GREEN : BLUE); c++) {
		const struct quality_figures f = quality_recent(ctl->quality, ctl->service, c, now);

		figures_json(j, ctl->service->colorless ? "" : color_word(c), &f, is_http(ctl));
	}
	flip_quality_json(j, ctl, now);
	json_object_end(j);
}

/* -- for the page ------------------------------------------------------------------- */

static void
short_json(struct json *j, const struct quality_figures *f, bool http)
{
	if (f->sum.count == 0) {
		json_null(j, NULL);
		return;
	}
	json_array(j, NULL);
	json_double(j, NULL, round(f->seconds));
	json_u64(j, NULL, f->sum.count);
	for (unsigned i = 0; i < QUALITY_CLASSES; i++)
		json_u64(j, NULL, f->sum.classes[i]);
	json_u64(j, NULL, f->sum.errors);
	quantile_json(j, NULL, f, http, 0.5);
	quantile_json(j, NULL, f, http, 0.99);
	json_array_end(j);
}

void
quality_json_short(struct json *j, const char *key, const struct service_ctl *ctl)
{
	const struct quality_flip *flip = &ctl->quality->flip;
	double now = clock_now();
	struct quality_figures f;

	json_array(j, key);
	for (enum color c = GREEN; c <= BLUE; c++) {
		f = quality_recent(ctl->quality, ctl->service, c, now);
		short_json(j, &f, is_http(ctl));
	}
	if (flip->epoch == 0) {
		json_null(j, NULL);
	} else {
		json_array(j, NULL);
		json_i64(j, NULL, flip->at_us / 1000);
		json_u64(j, NULL, flip->epoch);
		json_cstr(j, NULL, color_word(flip->to));
		short_json(j, &flip->before, is_http(ctl));
		f = quality_after(ctl->quality, ctl->service, now);
		short_json(j, &f, is_http(ctl));
		json_array_end(j);
	}
	json_array_end(j);
}
