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
/* Between these two all files are named; what was watched before and is not named
 * again is watched no longer, and what is goes on being so without a gap. */
void certs_watch_begin(struct certs_watch *w);
void certs_watch_end(struct certs_watch *w);
/* The folder of the file and of every link on the way to it. */
void certs_watch_add(struct certs_watch *w, const char *path);

#endif
