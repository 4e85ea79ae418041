/* screen.h - the whole terminal, drawn anew each time: plain ANSI sequences, as
 * every terminal of today knows them, so that no library is needed.  Whatever
 * ends this program, the terminal is put back. */
#ifndef APP_TEALCTL_SCREEN_H
#define APP_TEALCTL_SCREEN_H

#include <stdbool.h>

#include "base/buf.h"

struct screen {
	int rows, columns;
	int keys;	/* where keys are read; -1: nowhere */
};

enum key {
	KEY_NONE,	/* nothing more for now */
	KEY_GONE,	/* the terminal is */
	KEY_CHAR,	/* *c is it */
	KEY_ENTER,
	KEY_ESCAPE,
	KEY_BACKSPACE,
	KEY_UP,
	KEY_DOWN,
	KEY_PAGE_UP,
	KEY_PAGE_DOWN,
	KEY_HOME,
	KEY_END,
	KEY_OTHER,
};

/* Takes the terminal behind stdout; keys come from stdin if that is one, too. */
void screen_open(struct screen *s);
/* Puts it back; harmless twice. */
void screen_close(struct screen *s);

/* Shows lines of text, which may have colors (CSI ... m) and nothing else that
 * a terminal obeys.  What does not fit is cut. */
void screen_show(struct screen *s, struct str text);
/* The size was changed, or we were stopped and go on: show again. */
bool screen_changed(struct screen *s);
/* The next key that was pressed; never waits. */
enum key screen_key(struct screen *s, char *c);

/* Cells that a text without colors fills. */
int screen_width(struct str text);
/* The terminal knows characters beyond ASCII. */
bool screen_is_utf8(void);

/* What is printed to stdout goes into a text instead, until screen_captured(),
 * which appends it. */
void screen_capture(void);
void screen_captured(struct buf *out);

#endif
