/* view_status.c - `status --watch`: what status shows, kept up to date.  One
 * thread. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "app/tealctl/render.h"
#include "app/tealctl/watch.h"
#include "base/clock.h"

struct view_status {
	struct view view;
	const struct options *o;
	struct output *out;
	json_t *last;	/* owned; NULL: nothing yet */
	double at;	/* clock_now() when it came */
};

static struct view_status *
status_view_of(struct view *v)
{
	return container_of(v, struct view_status, view);
}

static void
status_take(struct view *v, json_t *status)
{
	struct view_status *s = status_view_of(v);

	json_decref(s->last);
	s->last = json_incref(status);
	s->at = clock_now();
}

static void
status_draw(struct view *v, const struct screen *screen, const char *lost, struct buf *out)
{
	struct view_status *s = status_view_of(v);
	struct render r = { .out = s->out, .request = &s->o->request };

	(void)screen;
	if (lost != NULL) {
		buf_printf(out, "%s%s%s", output_on(s->out, STYLE_BAD), lost, output_off(s->out, STYLE_BAD));
		if (s->last != NULL) {
			buf_printf(out, "; what is shown is ");
			text_duration(out, clock_now() - s->at);
			buf_printf(out, " old");
		}
		buf_printf(out, "; trying again\n\n");
	}
	if (s->last == NULL)
		return;
	screen_capture();
	render_status(&r, s->last);
	screen_captured(out);
}

static bool
status_key(struct view *v, enum key key, char c)
{
	(void)v;
	return !(key == KEY_CHAR && (c == 'q' || c == 'Q')) && key != KEY_ESCAPE;
}

static void
status_print(struct view *v)
{
	struct view_status *s = status_view_of(v);
	struct render r = { .out = s->out, .request = &s->o->request };

	render_status(&r, s->last);
	output_line(s->out, "%s", "");
}

static void
status_free(struct view *v)
{
	struct view_status *s = status_view_of(v);

	json_decref(s->last);
	buf_free(&v->ask);
	free(s);
}

struct view *
view_status_new(const struct options *o, struct output *out)
{
	struct view_status *s = must_alloc(sizeof(*s));

	s->view = (struct view){ status_take, status_draw, status_key, status_print, status_free, { 0 } };
	s->o = o;
	s->out = out;
	buf_init(&s->view.ask, ADMIN_LINE_MAX);
	buf_append(&s->view.ask, buf_str(&o->text).p, buf_len(&o->text));
	return &s->view;
}
