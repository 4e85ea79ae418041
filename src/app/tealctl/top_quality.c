/* top_quality.c - how well each color answers, as `top` shows it.  One thread. */
#include <jansson.h>
#include <stdio.h>

#include "app/tealctl/say.h"
#include "app/tealctl/top_draw.h"

#define WORD 24

/* A share worth a look, and errors that may be chance. */
#define FEW 0.01
#define CHANCE 5

void
top_take_figures(struct top_figures *f, json_t *o)
{
	json_t *share = json_at(o, "error_rate"), *p50 = json_at(o, "p50"), *p99 = json_at(o, "p99");

	*f = (struct top_figures){ .error_rate = -1, .p50 = -1, .p99 = -1 };
	f->requests = (uint64_t)json_integer_value(json_at(o, "requests"));
	f->errors = (uint64_t)json_integer_value(json_at(o, "errors"));
	if (json_is_number(share))
		f->error_rate = json_number_value(share);
	if (json_is_number(p50))
		f->p50 = json_number_value(p50);
	if (json_is_number(p99))
		f->p99 = json_number_value(p99);
}

bool
top_figures_bad(const struct top_figures *f)
{
	return f->error_rate > FEW && f->errors >= CHANCE;
}

/* "0%" "0.02%" "2.1%" "14%"; "-": no requests. */
static const char *
share_word(double share, char text[WORD])
{
	double percent = share * 100;

	if (share < 0)
		return "-";
	snprintf(text, WORD, percent == 0 || percent >= 9.95 ? "%.0f%%" : percent < 0.1 ? "%.2f%%" : "%.1f%%", percent);
	return text;
}

/* "0.8ms" "12ms" "1.4s"; "-": not known. */
static const char *
latency_word(double seconds, char text[WORD])
{
	double ms = seconds * 1000;

	if (seconds < 0)
		return "-";
	if (ms < 999.5)
		snprintf(text, WORD, ms < 9.95 ? "%.1fms" : "%.0fms", ms);
	else
		snprintf(text, WORD, seconds < 99.5 ? "%.1fs" : "%.0fs", seconds);
	return text;
}

void
top_quality_heads(struct buf *out, const struct top_screen *ts)
{
	top_column(out, ts, STYLE_HEAD, -TOP_FIGURE, "ERR");
	top_column(out, ts, STYLE_HEAD, -TOP_FIGURE, "P99");
}

void
top_quality_cells(struct buf *out, const struct top_screen *ts, enum style style, const struct top_figures *f)
{
	char text[WORD];

	top_column(out, ts, top_figures_bad(f) ? STYLE_BAD : style, -TOP_FIGURE, "%s", share_word(f->error_rate, text));
	top_column(out, ts, style, -TOP_FIGURE, "%s", latency_word(f->p99, text));
}

void
top_quality_note(struct buf *out, const struct top_service *s)
{
	struct top_figures before, after;
	char a[WORD], b[WORD];

	top_take_figures(&before, json_at(s->object, "quality.flip.before"));
	top_take_figures(&after, json_at(s->object, "quality.flip.after"));
	if (top_figures_bad(&after) && after.error_rate > before.error_rate)
		buf_printf(out, "%s fail since the flip, %s before it", share_word(after.error_rate, a),
			   share_word(before.error_rate < 0 ? 0 : before.error_rate, b));
}

static void
put_answer_figures(struct buf *out, const struct top_screen *ts, json_t *o)
{
	static const struct output plain;
	struct top_figures f;
	char share[WORD], p50[WORD], p99[WORD];

	top_take_figures(&f, o);
	buf_printf(out, "%s%s failed%s, p50 %s, p99 %s, of ", output_on(ts->out, top_figures_bad(&f) ? STYLE_BAD : STYLE_PLAIN),
		   share_word(f.error_rate, share), output_off(ts->out, top_figures_bad(&f) ? STYLE_BAD : STYLE_PLAIN),
		   latency_word(f.p50, p50), latency_word(f.p99, p99));
	if (json_at(o, "classes") != NULL)
		say_into(out, &plain, o,
			 "{requests}: {classes.2xx} 2xx, {classes.3xx} 3xx, {classes.4xx} 4xx, {classes.5xx} 5xx\n");
	else
		say_into(out, &plain, o, "{requests} sessions, {errors} failed\n");
}

/* "    ■ blue   last minute        2.1% failed, p50 …" */
static void
put_quality_line(struct buf *out, const struct top_screen *ts, const char *color, const char *what, json_t *o)
{
	int c = color != NULL && strcmp(color, "blue") == 0;

	if (color == NULL || !json_is_object(o))
		return;
	top_column(out, ts, c == 0 ? STYLE_GREEN : STYLE_BLUE, 12, "  %s %s", top_color_sign(ts, c), color);
	top_column(out, ts, STYLE_PLAIN, 18, "%s", what);
	put_answer_figures(out, ts, o);
}

void
top_quality_lines(struct buf *out, const struct top_screen *ts, const struct top_service *s)
{
	json_t *q = json_at(s->object, "quality"), *flip = json_at(q, "flip");

	put_quality_line(out, ts, "green", "last minute", json_at(q, "green"));
	put_quality_line(out, ts, "blue", "last minute", json_at(q, "blue"));
	if (!json_is_object(flip))
		return;
	put_quality_line(out, ts, json_string_value(json_at(flip, "from")), "before the flip", json_at(flip, "before"));
	put_quality_line(out, ts, json_string_value(json_at(flip, "to")), "since the flip", json_at(flip, "after"));
}
