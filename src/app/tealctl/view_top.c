/* view_top.c - `top`: its keys, and its records for a pipe.  One thread. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "app/tealctl/say.h"
#include "app/tealctl/top.h"

#define PAGE 10

struct view_top {
	struct view view;
	struct output *out;
	struct top top;
	struct top_screen screen;
};

static struct view_top *
top_view_of(struct view *v)
{
	return container_of(v, struct view_top, view);
}

static void
ask_for(struct view_top *v)
{
	struct str name = str_from(v->screen.open);
	bool fits = name.n > 0;

	buf_clear(&v->view.ask);
	if (fits)
		fits = buf_append(&v->view.ask, "status ", 7) && admin_line_quote(&v->view.ask, name);
	if (!fits) {
		buf_clear(&v->view.ask);
		buf_printf(&v->view.ask, "status --brief");
	}
	buf_append(&v->view.ask, "\n", 1);
}

static void
take_top_status(struct view *view, json_t *status)
{
	struct view_top *v = top_view_of(view);
	json_t *first = json_array_get(json_at(status, "services"), 0);
	bool detail = json_at(first, "colors.green.backends") != NULL || json_at(first, "colors..backends") != NULL;

	/* The answer may still be that to the question before the last key. */
	if (!detail)
		top_take(&v->top, status);
	else if (v->screen.open[0] != '\0')
		top_take_one(&v->top, status);
	if (v->screen.open[0] != '\0' && top_find(&v->top, v->screen.open) == NULL) {
		v->screen.open[0] = '\0';
		ask_for(v);
	}
}

static void
draw_top(struct view *view, const struct screen *s, const char *lost, struct buf *out)
{
	struct view_top *v = top_view_of(view);

	top_draw(&v->top, &v->screen, s, lost, out);
}

static void
move_cursor(struct view_top *v, long by)
{
	struct top *t = &v->top;
	long to = (long)v->screen.cursor + by;

	if (t->n_shown == 0)
		return;
	to = to < 0 ? 0 : to < (long)t->n_shown ? to : (long)t->n_shown - 1;
	v->screen.cursor = (size_t)to;
	memcpy(v->screen.at, t->shown[to]->name, sizeof(v->screen.at));
}

static void
open_or_close(struct view_top *v)
{
	if (v->screen.open[0] != '\0')
		v->screen.open[0] = '\0';
	else if (v->screen.cursor < v->top.n_shown)
		memcpy(v->screen.open, v->top.shown[v->screen.cursor]->name, sizeof(v->screen.open));
	ask_for(v);
}

/* Into the filter. */
static void
type(struct view_top *v, enum key k, char c)
{
	char *f = v->top.filter;
	size_t n = strlen(f);

	if (k == KEY_ESCAPE)
		f[0] = '\0';
	else if (k == KEY_BACKSPACE && n > 0)
		f[n - 1] = '\0';
	else if (k == KEY_CHAR && c > ' ' && c < 0x7f && n + 1 < sizeof(v->top.filter))
		memcpy(f + n, (char[]){ c, '\0' }, 2);
	v->screen.typing = k == KEY_CHAR || k == KEY_BACKSPACE;
	v->screen.at[0] = '\0';
	v->screen.cursor = 0;
	top_arrange(&v->top);
}

static void
escape(struct view_top *v)
{
	if (v->screen.help)
		v->screen.help = false;
	else if (v->screen.open[0] != '\0')
		open_or_close(v);
	else
		type(v, KEY_ESCAPE, '\0');
}

static bool
letter(struct view_top *v, char c)
{
	switch (c) {
	case 'q':
	case 'Q':
		return false;
	case 's':
		v->top.sort = (enum top_sort)((v->top.sort + 1) % TOP_SORTS);
		top_arrange(&v->top);
		break;
	case 'S':
	case 'r':
		v->top.reversed = !v->top.reversed;
		top_arrange(&v->top);
		break;
	case '/':
		v->screen.typing = true;
		break;
	case 'h':
	case '?':
		v->screen.help = !v->screen.help;
		break;
	case 'j':
		move_cursor(v, 1);
		break;
	case 'k':
		move_cursor(v, -1);
		break;
	default:
		break;
	}
	return true;
}

static bool
press(struct view *view, enum key k, char c)
{
	struct view_top *v = top_view_of(view);

	if (v->screen.typing && (k == KEY_CHAR || k == KEY_BACKSPACE || k == KEY_ESCAPE || k == KEY_ENTER)) {
		type(v, k, c);
		return true;
	}
	switch (k) {
	case KEY_CHAR:
		return letter(v, c);
	case KEY_ENTER:
		open_or_close(v);
		break;
	case KEY_ESCAPE:
	case KEY_BACKSPACE:
		escape(v);
		break;
	case KEY_UP:
		move_cursor(v, -1);
		break;
	case KEY_DOWN:
		move_cursor(v, 1);
		break;
	case KEY_PAGE_UP:
		move_cursor(v, -PAGE);
		break;
	case KEY_PAGE_DOWN:
		move_cursor(v, PAGE);
		break;
	case KEY_HOME:
		move_cursor(v, -(long)v->top.n);
		break;
	case KEY_END:
		move_cursor(v, (long)v->top.n);
		break;
	case KEY_NONE:
	case KEY_GONE:
	case KEY_OTHER:
		break;
	}
	return true;
}

/* What is not known is "-", as everywhere in a record. */
static const char *
record_word(double v, char text[32])
{
	if (v < 0)
		return "-";
	snprintf(text, 32, "%.6g", v);
	return text;
}

/* top NAME MODE ACTIVE EPOCH, per color HEALTHY TOTAL CONNECTIONS NEW IN OUT,
 * FAILED DRAINING LEFT LOCKED ERRORS, per color ERROR-SHARE P50 P99 */
static void
print_top(struct view *view)
{
	static const char *const columns[] = { "", "", "", "", "", "", "", "", "", "", "", "", "", NULL };
	static const char *const color_words[] = { "green", "blue" };
	struct view_top *v = top_view_of(view);

	for (size_t i = 0; i < v->top.n_shown; i++) {
		const struct top_service *s = v->top.shown[i];
		struct table t;

		table_init(&t, columns);
		table_add(&t, STYLE_PLAIN, STR("top"));
		say_cells(&t, s->object, "name mode active epoch");
		for (int c = 0; c < 2; c++) {
			if (c == 1 && s->colorless) {
				table_printf(&t, STYLE_PLAIN, "-\t-\t-\t-\t-\t-");
				continue;
			}
			table_printf(&t, STYLE_PLAIN, "%u\t%u\t%llu\t%.1f\t%.0f\t%.0f", s->colors[c].healthy,
				     s->colors[c].total, (unsigned long long)s->colors[c].connections,
				     s->colors[c].new_rate, s->colors[c].in_rate, s->colors[c].out_rate);
		}
		table_printf(&t, STYLE_PLAIN, "%.1f", s->failed_rate);
		table_printf(&t, STYLE_PLAIN, "%s\t%llu", s->draining >= 0 ? color_words[s->draining] : "-",
			     (unsigned long long)s->left);
		table_add(&t, STYLE_PLAIN, s->locked ? STR("locked") : STR("unlocked"));
		table_printf(&t, STYLE_PLAIN, "%.1f", s->errors_rate);
		for (int c = 0; c < 2; c++) {
			const struct top_figures *f = &s->colors[c].minute;
			char share[32], p50[32], p99[32];

			table_printf(&t, STYLE_PLAIN, "%s\t%s\t%s", record_word(f->error_rate, share),
				     record_word(f->p50, p50), record_word(f->p99, p99));
		}
		table_print(&t, v->out);
	}
}

static void
free_top(struct view *view)
{
	struct view_top *v = top_view_of(view);

	top_free(&v->top);
	buf_free(&view->ask);
	free(v);
}

struct view *
view_top_new(const struct options *o, struct output *out)
{
	struct view_top *v = must_alloc(sizeof(*v));

	v->view = (struct view){ take_top_status, draw_top, press, print_top, free_top, { 0 } };
	v->out = out;
	v->screen.out = out;
	v->screen.utf8 = screen_is_utf8();
	v->top.sort = o->sort;
	str_copy(v->top.filter, sizeof(v->top.filter), str_from(o->filter));
	buf_init(&v->view.ask, ADMIN_LINE_MAX);
	ask_for(v);
	return &v->view;
}
