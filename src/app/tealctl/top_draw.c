/* top_draw.c - the screen of `top`.  Columns that do not fit are left out, the
 * least needed first.  One thread. */
#include <jansson.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "app/tealctl/say.h"
#include "app/tealctl/top_draw.h"
#include "base/clock.h"

static const char *const color_words[] = { "green", "blue" };
static const enum style color_styles[] = { STYLE_GREEN, STYLE_BLUE };
/* Lines above the list and below it. */
#define ABOVE 4
#define BELOW 1

/* What there is room for. */
struct layout {
	int name;	/* width of the first column */
	bool mode, epoch, rates, bytes, quality, graphs;
};

void
top_column(struct buf *out, const struct top_screen *ts, enum style style, int width, const char *fmt, ...)
{
	int want = abs(width), have;
	char text[1024];
	struct buf safe;
	struct str s;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	buf_init(&safe, 8 * sizeof(text));
	text_safe(&safe, str_from(text));
	s = buf_str(&safe);
	have = screen_width(s);
	if (have > want && want > 0) {
		/* Cut between characters. */
		while (screen_width(s) > want - 1 ||
		       (s.n < buf_len(&safe) && ((unsigned char)s.p[s.n] & 0xc0) == 0x80))
			s.n--;
		have = screen_width(s) + 1;
	}
	buf_printf(out, "%s%*s%.*s%s%s%*s", output_on(ts->out, style),
		   width < 0 && have < want ? want - have : 0, "", (int)s.n, s.p,
		   s.n < buf_len(&safe) ? (ts->utf8 ? "…" : "~") : "", output_off(ts->out, style),
		   width > 0 && have < want ? want - have : 0, "");
	buf_free(&safe);
}

/* "0" "3.4" "118" "12.4k" */
static const char *
figure(double v, char text[16])
{
	static const char units[] = "kMGTP";
	int u = -1;

	while (v >= 9999.5 && u < 4) {
		v /= 1000;
		u++;
	}
	if (u < 0 && (v >= 9.95 || v == floor(v)))
		snprintf(text, 16, "%.0f", v);
	else if (u < 0)
		snprintf(text, 16, "%.1f", v);
	else
		snprintf(text, 16, "%.1f%c", v, units[u]);
	return text;
}

/* "0" "120B" "1.2M": per second, where the head says so. */
static const char *
volume(double v, char text[16])
{
	static const char units[] = "BKMGTP";
	int u = 0;

	while (v >= 999.5 && u < 5) {
		v /= 1024;
		u++;
	}
	snprintf(text, 16, u > 0 && v < 9.95 ? "%.1f%c" : "%.0f%c", v, units[u]);
	return text;
}

const char *
top_color_sign(const struct top_screen *ts, int color)
{
	return ts->utf8 ? (color == 0 ? "●" : "■") : (color == 0 ? "o" : "#");
}

/* Connections of the last readings, as high as the highest of both colors. */
static void
put_graph(struct buf *out, const struct top_screen *ts, const struct top_service *s, int color, int cells)
{
	static const char *const bars[] = { " ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█" };
	static const char *const plain[] = { " ", ".", ".", "-", "-", "=", "=", "#", "#" };
	uint32_t max = 4;

	for (int c = 0; c < 2; c++)
		for (int i = TOP_PAST - cells; i < TOP_PAST; i++)
			max = s->colors[c].past[i] > max ? s->colors[c].past[i] : max;
	buf_printf(out, "%s", output_on(ts->out, color_styles[color]));
	for (int i = TOP_PAST - cells; i < TOP_PAST; i++) {
		uint32_t v = s->colors[color].past[i];
		int height = v == 0 ? 0 : 1 + (int)((uint64_t)v * 7 / max);

		buf_printf(out, "%s", ts->utf8 ? bars[height] : plain[height]);
	}
	buf_printf(out, "%s", output_off(ts->out, color_styles[color]));
}

/* Between two parts. */
static void
then(struct buf *out)
{
	if (buf_len(out) > 0)
		buf_append(out, "; ", 2);
}

/* What teald judges to be wrong, but what is told here anyway. */
static void
note_trouble(struct buf *out, const struct top_service *s)
{
	static const char *const told[] = { "color_unknown", "no_backend", "errors", "waiting" };
	json_t *one;
	size_t i;

	json_array_foreach(json_at(s->object, "trouble"), i, one)
	{
		const char *what = json_string_value(json_at(one, "what")), *words = json_string_value(json_at(one, "message"));
		bool is_told = what == NULL || words == NULL;

		for (size_t k = 0; k < ARRAY_LEN(told) && !is_told; k++)
			is_told = strcmp(what, told[k]) == 0;
		if (is_told)
			continue;
		then(out);
		buf_printf(out, "%s%s", strcmp(what, "rollback_impossible") == 0 ? "no way back: " : "", words);
	}
}

static void
note(struct buf *out, const struct top_service *s)
{
	static const struct output plain;
	double left = s->until - clock_now();
	const struct top_color *a = s->active >= 0 ? &s->colors[s->active] : NULL;
	struct buf more;

	if (a == NULL)
		buf_printf(out, "color not known yet");
	else if (a->healthy == 0 && a->total > 0)
		buf_printf(out, s->colorless ? "no backend is up" : "%s has no backend up", color_words[s->active]);
	if (s->draining >= 0) {
		then(out);
		buf_printf(out, "%s drains, %llu left", color_words[s->draining],
			   (unsigned long long)s->left);
		if (s->until > 0)
			buf_printf(out, ", %.0f s", left > 0 ? ceil(left) : 0);
	}
	if (s->failed_rate > 0) {
		then(out);
		buf_printf(out, "%.1f/s fail", s->failed_rate);
	}
	if (s->errors_rate > 0) {
		then(out);
		buf_printf(out, "%.1f/s 5xx", s->errors_rate);
	}
	buf_init(&more, 256);
	top_quality_note(&more, s);
	if (buf_len(&more) > 0) {
		then(out);
		buf_append(out, buf_str(&more).p, buf_len(&more));
	}
	buf_free(&more);
	note_trouble(out, s);
	if (json_has(s->object, "waiting")) {
		then(out);
		say_into(out, &plain, s->object, "{waiting} wait");
	}
	if (s->locked) {
		then(out);
		say_into(out, &plain, s->object, "locked by {locked.by}: {locked.reason}");
	}
	if (json_has(s->object, "claimed")) {
		then(out);
		say_into(out, &plain, s->object, "claimed by {claimed.by}: {claimed.reason}");
	}
}

static void
put_color(struct buf *out, const struct top_screen *ts, const struct top_service *s, int c,
	  const struct layout *l)
{
	const struct top_color *t = &s->colors[c];
	bool active = s->active == c, bad = t->missed > 0 || (t->healthy == 0 && t->total > 0);
	enum style style = active && !s->colorless ? color_styles[c] : STYLE_PLAIN;
	char a[16], b[16], up[32];

	snprintf(up, sizeof(up), "%s%u/%u", bad ? (t->healthy == 0 ? "x " : "! ") : "", t->healthy, t->total);
	buf_printf(out, " ");
	top_column(out, ts, bad ? (active ? STYLE_BAD : STYLE_NOTE) : style, -7, "%s", up);
	top_column(out, ts, style, -TOP_FIGURE, "%s", figure((double)t->connections, a));
	if (l->rates)
		top_column(out, ts, style, -TOP_FIGURE, "%s", figure(t->new_rate, a));
	if (l->bytes)
		top_column(out, ts, style, -TOP_FIGURE, "%s", volume(t->out_rate, b));
	if (l->quality)
		top_quality_cells(out, ts, style, &t->minute);
	if (l->graphs) {
		buf_printf(out, " ");
		put_graph(out, ts, s, c, 16);
	}
}

static int
color_width(const struct layout *l)
{
	return 1 + 7 + TOP_FIGURE + (l->rates ? TOP_FIGURE : 0) + (l->bytes ? TOP_FIGURE : 0) +
	       (l->quality ? 2 * TOP_FIGURE : 0) + (l->graphs ? 17 : 0);
}

static struct layout
lay_out_screen(const struct top *t, int columns)
{
	struct layout l = {
		.name = 12, .mode = true, .epoch = true, .rates = true, .bytes = true, .quality = true, .graphs = true
	};
	/* And what is to be left for the note before one of them may stay. */
	const struct {
		bool *column;
		int note;
	} optional[] = {
		{ &l.graphs, 24 }, { &l.bytes, 24 }, { &l.mode, 24 },
		{ &l.epoch, 20 }, { &l.quality, 12 }, { &l.rates, 6 }
	};
	int most = columns / 5 < 32 ? columns / 5 : 32;

	for (size_t i = 0; i < t->n_shown; i++) {
		int w = screen_width(str_from(t->shown[i]->name)) + 1;

		l.name = w > l.name && l.name < most ? (w < most ? w : most) : l.name;
	}
	for (size_t i = 0; i < ARRAY_LEN(optional); i++) {
		int width = 2 + l.name + (l.mode ? 6 : 0) + 9 + (l.epoch ? 7 : 0) + 2 * color_width(&l) + 2 +
			    optional[i].note;

		if (width > columns)
			*optional[i].column = false;
	}
	return l;
}

static void
put_heads(struct buf *out, const struct top_screen *ts, const struct layout *l)
{
	top_column(out, ts, STYLE_HEAD, 2 + l->name, "  SERVICE");
	if (l->mode)
		top_column(out, ts, STYLE_HEAD, 6, "MODE");
	top_column(out, ts, STYLE_HEAD, 9, "ACTIVE");
	if (l->epoch)
		top_column(out, ts, STYLE_HEAD, -6, "EPOCH");
	if (l->epoch)
		buf_printf(out, " ");
	for (int c = 0; c < 2; c++) {
		top_column(out, ts, STYLE_HEAD, -8, "%s", c == 0 ? "GREEN" : "BLUE");
		top_column(out, ts, STYLE_HEAD, -TOP_FIGURE, "CONNS");
		if (l->rates)
			top_column(out, ts, STYLE_HEAD, -TOP_FIGURE, "NEW/S");
		if (l->bytes)
			top_column(out, ts, STYLE_HEAD, -TOP_FIGURE, "OUT/S");
		if (l->quality)
			top_quality_heads(out, ts);
		if (l->graphs)
			buf_printf(out, "%17s", "");
	}
	top_column(out, ts, STYLE_HEAD, 0, "  NOTE");
	buf_append(out, "\n", 1);
}

static void
put_row(struct buf *out, const struct top_screen *ts, const struct top_service *s, const struct layout *l,
	bool cursor)
{
	struct buf notes;

	buf_init(&notes, 65536);
	note(&notes, s);
	buf_printf(out, "%s%s", cursor && ts->out->colors ? "\033[7m" : "", cursor ? "> " : "  ");
	top_column(out, ts, STYLE_PLAIN, l->name - 1, "%s", s->name);
	buf_printf(out, "%s ", cursor && ts->out->colors ? "\033[0m" : "");
	if (l->mode)
		top_column(out, ts, STYLE_PLAIN, 6, "%s", s->mode);
	if (s->active < 0)
		top_column(out, ts, STYLE_BAD, 9, "?");
	else if (s->colorless)
		top_column(out, ts, STYLE_PLAIN, 9, "-");
	else
		top_column(out, ts, color_styles[s->active], 9, "%s %s", top_color_sign(ts, s->active),
			 color_words[s->active]);
	if (l->epoch && s->colorless)
		top_column(out, ts, STYLE_PLAIN, -6, "-");
	else if (l->epoch)
		top_column(out, ts, STYLE_PLAIN, -6, "%llu", (unsigned long long)s->epoch);
	if (l->epoch)
		buf_printf(out, " ");
	put_color(out, ts, s, 0, l);
	if (s->colorless)
		top_column(out, ts, STYLE_PLAIN, -color_width(l), "%s", "");
	else
		put_color(out, ts, s, 1, l);
	buf_printf(out, "  ");
	top_column(out, ts, s->trouble == 2 ? STYLE_BAD : STYLE_NOTE, 0, "%.*s", (int)buf_len(&notes),
		 buf_str(&notes).p);
	buf_append(out, "\n", 1);
	buf_free(&notes);
}

/* Three lines: teald, the sums, and what is shown. */
static void
put_top(struct buf *out, const struct top *t, const struct top_screen *ts, const char *lost)
{
	char a[16], b[16], c[16], d[16];

	say_into(out, ts->out, t->last, "teald {version} on {host}, up {uptime:duration}, ");
	if (json_has(t->last, "ready"))
		buf_printf(out, "ready");
	else {
		buf_printf(out, "%snot ready: ", output_on(ts->out, STYLE_BAD));
		say_into(out, &(struct output){ .terminal = false }, t->last, "{not_ready}");
		buf_printf(out, "%s", output_off(ts->out, STYLE_BAD));
	}
	say_into(out, ts->out, json_at(t->last, "store"), "; store {type}, ");
	if (json_has(t->last, "store.up"))
		say_into(out, ts->out, json_at(t->last, "store"),
			 json_number_value(json_at(t->last, "store.age")) < 1 ? "up" :
										"up, {age:duration} old");
	else
		buf_printf(out, "%sdown%s", output_on(ts->out, STYLE_BAD), output_off(ts->out, STYLE_BAD));
	buf_printf(out, "\n%zu services, ", t->n);
	if (t->sum.trouble > 0)
		buf_printf(out, "%s%u in need%s", output_on(ts->out, STYLE_BAD), t->sum.trouble,
			   output_off(ts->out, STYLE_BAD));
	else if (t->sum.nodes == 0)
		buf_printf(out, "all well");
	else
		buf_printf(out, "none in need");
	if (t->sum.nodes > 0)
		buf_printf(out, ", %s%zu node%s down%s", output_on(ts->out, STYLE_BAD), t->sum.nodes,
			   t->sum.nodes == 1 ? "" : "s", output_off(ts->out, STYLE_BAD));
	buf_printf(out, ", %u draining, %u locked; %s connections, %s new/s, %s/s in, %s/s out\n",
		   t->sum.draining, t->sum.locked, figure((double)t->sum.connections, a),
		   figure(t->sum.new_rate, b), volume(t->sum.in_rate, c), volume(t->sum.out_rate, d));
	if (lost != NULL) {
		buf_printf(out, "%s%s; what is shown is ", output_on(ts->out, STYLE_BAD), lost);
		text_duration(out, clock_now() - t->at);
		buf_printf(out, " old; trying again%s", output_off(ts->out, STYLE_BAD));
	} else if (ts->typing || t->filter[0] != '\0') {
		buf_printf(out, "filter: ");
		top_column(out, ts, STYLE_HEAD, 0, "%s%s", t->filter, ts->typing ? "_" : "");
		buf_printf(out, "  (%zu of %zu; Esc: all)", t->n_shown, t->n);
	} else {
		buf_printf(out, "by %s%s", top_sort_word(t->sort), t->reversed ? ", reversed" : "");
	}
	buf_append(out, "\n", 1);
}

static void
draw_help(struct buf *out)
{
	buf_printf(
		out,
		"\n  up down PgUp PgDn Home End   move\n"
		"  Enter                        one service with its backends, and back\n"
		"  s  S                         sort by the next, reverse\n"
		"  /                            filter by name; Esc shows all again\n"
		"  h  ?                         this\n"
		"  q                            end\n\n"
		"  NEW/S is new connections per second, requests where the service speaks HTTP; OUT/S bytes\n"
		"  to clients; ERR the share of the last minute that failed (5xx), P99 the time that all but\n"
		"  one in a hundred took (of TCP, of the connect to a backend).  A color's first column is its\n"
		"  backends that are up, of all it has; ! means not all of them, x none.\n");
}

static void
put_backends(struct buf *out, const struct top_screen *ts, json_t *color)
{
	json_t *b;
	size_t i;

	json_array_foreach(json_at(color, "backends"), i, b)
	{
		const char *state = json_string_value(json_at(b, "state")),
			   *admin = json_string_value(json_at(b, "admin"));
		const char *error = json_string_value(json_at(b, "error"));
		bool well = state != NULL && (strcmp(state, "up") == 0 || strcmp(state, "draining") == 0),
		     drained = admin != NULL && strcmp(admin, "drain") == 0;
		struct buf since;

		buf_init(&since, 256);
		text_time(&since, json_at(b, "since"));
		top_column(out, ts, STYLE_PLAIN, 32, "    %s", json_string_value(json_at(b, "address")));
		top_column(out, ts, well ? STYLE_PLAIN : STYLE_BAD, 18, "%s%s", state != NULL ? state : "-",
			 drained ? ", drained" : "");
		top_column(out, ts, STYLE_PLAIN, -8, "%lld",
			 (long long)json_integer_value(json_at(b, "connections")));
		top_column(out, ts, STYLE_PLAIN, 0, "  %.*s", (int)buf_len(&since), buf_str(&since).p);
		top_column(out, ts, STYLE_BAD, 0, "  %s", error != NULL ? error : "");
		buf_append(out, "\n", 1);
		buf_free(&since);
	}
}

static void
put_detail(struct buf *out, const struct top_screen *ts, const struct top_service *s)
{
	char a[16], b[16], d[16];
	struct buf notes;

	buf_append(out, "\n", 1);
	say_into(out, ts->out, s->object,
		 s->colorless ? "{name} ({mode}), without colors\n" : "{name} ({mode}): {active} is active, epoch {epoch}\n");
	if (json_has(s->object, "changed_by"))
		say_into(out, ts->out, s->object,
			 json_has(s->object, "reason") ?
				 "{change} {changed_at:time} by {changed_by}: {reason}\n" :
				 "{change} {changed_at:time} by {changed_by}\n");
	buf_init(&notes, 65536);
	note(&notes, s);
	top_column(out, ts, s->trouble == 2 ? STYLE_BAD : STYLE_NOTE, 0, "%.*s", (int)buf_len(&notes),
		 buf_str(&notes).p);
	buf_free(&notes);
	buf_append(out, "\n", 1);
	if (!s->colorless)
		top_quality_lines(out, ts, s);
	for (int c = 0; c < (s->colorless ? 1 : 2); c++) {
		const struct top_color *t = &s->colors[c];

		if (!s->colorless)
			top_column(out, ts, color_styles[c], 18, "%s %s %s", top_color_sign(ts, c), color_words[c],
				 s->active == c   ? "(active)" :
				 s->draining == c ? "(drains)" :
						    "(idle)");
		buf_printf(out, "%u/%u up, %llu connections, %s new/s, %s/s in, %s/s out  ", t->healthy,
			   t->total, (unsigned long long)t->connections, figure(t->new_rate, a),
			   volume(t->in_rate, b), volume(t->out_rate, d));
		put_graph(out, ts, s, c, TOP_PAST);
		buf_append(out, "\n", 1);
		put_backends(out, ts, json_object_get(json_at(s->object, "colors"), s->colorless ? "" : color_words[c]));
	}
}

/* The cursor stays on its service, wherever that has moved to. */
static void
place_cursor(const struct top *t, struct top_screen *ts, size_t rows)
{
	for (size_t i = 0; i < t->n_shown && ts->at[0] != '\0'; i++)
		if (strcmp(t->shown[i]->name, ts->at) == 0)
			ts->cursor = i;
	if (ts->cursor >= t->n_shown)
		ts->cursor = t->n_shown > 0 ? t->n_shown - 1 : 0;
	if (ts->cursor < ts->first)
		ts->first = ts->cursor;
	if (ts->cursor >= ts->first + rows)
		ts->first = ts->cursor - rows + 1;
	if (ts->first + rows > t->n_shown)
		ts->first = t->n_shown > rows ? t->n_shown - rows : 0;
}

void
top_draw(struct top *t, struct top_screen *ts, const struct screen *s, const char *lost, struct buf *out)
{
	size_t rows = s->rows > ABOVE + BELOW ? (size_t)(s->rows - ABOVE - BELOW) : 1;
	const struct top_service *open = ts->open[0] != '\0' ? top_find(t, ts->open) : NULL;
	struct layout l;

	if (t->last == NULL) {
		buf_printf(out, "%s\n", lost != NULL ? lost : "asking teald");
		return;
	}
	put_top(out, t, ts, lost);
	if (ts->help) {
		draw_help(out);
		return;
	}
	if (open != NULL) {
		put_detail(out, ts, open);
		return;
	}
	l = lay_out_screen(t, s->columns);
	place_cursor(t, ts, rows);
	put_heads(out, ts, &l);
	for (size_t i = ts->first; i < t->n_shown && i < ts->first + rows; i++)
		put_row(out, ts, t->shown[i], &l, i == ts->cursor && s->keys >= 0);
	if (t->n_shown == 0)
		buf_printf(out, "  none of %zu services\n", t->n);
	if (s->keys >= 0)
		top_column(out, ts, STYLE_HEAD, 0, "q end  s sort  / filter  Enter backends  h help");
}
