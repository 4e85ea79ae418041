/* top_draw.h - what the pieces of the screen of `top` share: cells and numbers. */
#ifndef APP_TEALCTL_TOP_DRAW_H
#define APP_TEALCTL_TOP_DRAW_H

#include "app/tealctl/top.h"

/* Cells of a number. */
#define TOP_FIGURE 7

/* A cell of `width` characters, filled up; width < 0: to the right; 0: as long as it is.
 * What does not fit is cut, and nothing in it is taken as an order by the terminal. */
void top_column(struct buf *out, const struct top_screen *ts, enum style style, int width, const char *fmt, ...)
	PRINTF_LIKE(5, 6);
/* A color's disc or square. */
const char *top_color_sign(const struct top_screen *ts, int color);

/* How well a color answers: the share that failed, and p99; two cells. */
void top_quality_heads(struct buf *out, const struct top_screen *ts);
void top_quality_cells(struct buf *out, const struct top_screen *ts, enum style style, const struct top_figures *f);
/* For the note of a service: errors that the last flip brought.  "" : none. */
void top_quality_note(struct buf *out, const struct top_service *s);
/* Lines: the last minute of both colors, before and after the last flip. */
void top_quality_lines(struct buf *out, const struct top_screen *ts, const struct top_service *s);

#endif
