/* flip_watcher.c - the tie between an answer under way and the one who waits for it:
 * either may go first.  Thread: main. */
#include "control/flip.h"

void
flip_watch(struct flip_watcher **place, struct flip_watcher *watcher)
{
	*place = watcher;
	if (watcher != NULL)
		watcher->held = place;
}

struct flip_watcher *
flip_let_go(struct flip_watcher **place)
{
	struct flip_watcher *w = *place;

	*place = NULL;
	if (w != NULL)
		w->held = NULL;
	return w;
}

void
flip_tell(struct flip_watcher *watcher, const struct flip_event *e)
{
	if (watcher != NULL)
		watcher->progress(watcher, e);
}

void
flip_end(struct flip_watcher **place, const struct flip_outcome *o)
{
	struct flip_watcher *w = flip_let_go(place);

	if (w != NULL)
		w->done(w, o);
}

void
flip_unwatch(struct flip_watcher *watcher)
{
	if (watcher->held != NULL)
		*watcher->held = NULL;
	watcher->held = NULL;
}
