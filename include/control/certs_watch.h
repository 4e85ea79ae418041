/* certs_watch.h - told by the kernel when files change: written, replaced by a
 * rename, or reached by symbolic links that now lead elsewhere.
 * Thread: main. */
#ifndef CONTROL_CERTS_WATCH_H
#define CONTROL_CERTS_WATCH_H

#include <ev.h>

struct certs_watch;

/* changed(arg) is called, perhaps often, when something happened near a file
 * that is watched.  NULL when the kernel has no more of these: look yourself. */
struct certs_watch *certs_watch_new(struct ev_loop *loop, void (*changed)(void *arg), void *arg);
void certs_watch_free(struct certs_watch **wp);
/* The folder of the file and of every link on the way to it, from now on. */
void certs_watch_add(struct certs_watch *w, const char *path);
/* Nothing is watched any more. */
void certs_watch_clear(struct certs_watch *w);

#endif
