/* certs_watch.c - inotify on the folders that files lie in.  Thread: main. */
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "control/certs_watch.h"

#define EVENTS (IN_CLOSE_WRITE | IN_MOVED_TO | IN_CREATE | IN_DELETE | IN_ATTRIB | IN_ONLYDIR)
/* As the kernel has it (ELOOP). */
#define LINKS_MAX 40

struct certs_watch {
	struct ev_loop *loop;
	ev_io io;
	int fd;
	struct watches {
		int *list;
		size_t n;
	} now, before;	/* before: while they are named again */
	void (*changed)(void *arg);
	void *arg;
};

static bool
has(const struct watches *all, int wd)
{
	for (size_t i = 0; i < all->n; i++)
		if (all->list[i] == wd)
			return true;
	return false;
}

/* Something happened to a file; or the kernel has let go of a folder, which is
 * gone.  That it has let go of one that we did not want any more is no news. */
static bool
is_news(const struct certs_watch *w, const struct inotify_event *e)
{
	return !(e->mask & IN_IGNORED) || has(&w->now, e->wd);
}

static void
certs_watch_on_event(struct ev_loop *loop, ev_io *w, int revents)
{
	struct certs_watch *watch = container_of(w, struct certs_watch, io);
	char buffer[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
	bool news = false;
	ssize_t n;

	(void)loop;
	(void)revents;
	/* Which file it was does not matter: all are looked at. */
	while ((n = read(watch->fd, buffer, sizeof(buffer))) > 0)
		for (ssize_t at = 0; at < n;) {
			const struct inotify_event *e = (const struct inotify_event *)(buffer + at);

			news |= is_news(watch, e);
			at += (ssize_t)(sizeof(*e) + e->len);
		}
	if (news)
		watch->changed(watch->arg);
}

struct certs_watch *
certs_watch_new(struct ev_loop *loop, void (*changed)(void *arg), void *arg)
{
	int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	struct certs_watch *w;

	if (fd < 0)
		return NULL;
	w = must_alloc(sizeof(*w));
	w->loop = loop;
	w->fd = fd;
	w->changed = changed;
	w->arg = arg;
	ev_io_init(&w->io, certs_watch_on_event, fd, EV_READ);
	ev_io_start(loop, &w->io);
	return w;
}

void
certs_watch_begin(struct certs_watch *w)
{
	w->before = w->now;
	w->now = (struct watches){ 0 };
}

void
certs_watch_end(struct certs_watch *w)
{
	for (size_t i = 0; i < w->before.n; i++)
		if (!has(&w->now, w->before.list[i]))
			(void)inotify_rm_watch(w->fd, w->before.list[i]);
	free(w->before.list);
	w->before = (struct watches){ 0 };
}

void
certs_watch_free(struct certs_watch **wp)
{
	struct certs_watch *w = *wp;

	*wp = NULL;
	if (w == NULL)
		return;
	ev_io_stop(w->loop, &w->io);
	close(w->fd);
	free(w->now.list);
	free(w);
}

static void
watch_folder(struct certs_watch *w, const char *folder)
{
	int wd = inotify_add_watch(w->fd, folder[0] != '\0' ? folder : "/", EVENTS);

	/* One that we may not list tells nothing: then the clock has to do. */
	if (wd < 0 || has(&w->now, wd))
		return;
	w->now.list = must_grow(w->now.list, w->now.n + 1, sizeof(*w->now.list));
	w->now.list[w->now.n++] = wd;
}

/* Puts what a link says in its place: rest is what followed it. */
static bool
follow(const char *folder, const char *target, const char *rest, char path[PATH_MAX])
{
	char joined[PATH_MAX];
	int n = target[0] == '/' ? snprintf(joined, sizeof(joined), "%s%s", target, rest) :
				   snprintf(joined, sizeof(joined), "%s/%s%s", folder, target, rest);

	if (n < 0 || n >= (int)sizeof(joined))
		return false;
	memcpy(path, joined, (size_t)n + 1);
	return true;
}

/* Walks the path, link by link. */
void
certs_watch_add(struct certs_watch *w, const char *file)
{
	char path[PATH_MAX], part[PATH_MAX], target[PATH_MAX], *slash;
	unsigned links = 0;
	size_t at = 1;

	if (snprintf(path, sizeof(path), "%s%s", file[0] == '/' ? "" : "./", file) >= (int)sizeof(path))
		return;
	for (;;) {
		size_t n = at + strcspn(path + at, "/");
		ssize_t got;

		memcpy(part, path, n);
		part[n] = '\0';
		if ((got = readlink(part, target, sizeof(target) - 1)) > 0 && links++ < LINKS_MAX) {
			target[got] = '\0';
			slash = strrchr(part, '/');
			*slash = '\0';
			watch_folder(w, part);
			if (!follow(part, target, path + n, path))
				return;
			at = 1;
			continue;
		}
		if (path[n] == '\0')
			break;
		at = n + 1;
	}
	*strrchr(path, '/') = '\0';
	watch_folder(w, path);
}
