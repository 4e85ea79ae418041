/* admin.c - the admin socket: its file, its clients, and who makes way for
 * whom.
 * Thread: main.  Born in admin_bind(), serves from admin_start() on, dies in
 * admin_close(). */
#include <stdlib.h>
#include <sys/file.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

#include "app/admin_user.h"
#include "base/clock.h"
#include "app/command.h"
#include "net/sock.h"

#define BACKLOG 512
/* Accepted before others have their turn. */
#define ACCEPTS_A_TURN 16
/* Until accepting is tried again when descriptors or memory are out. */
#define PAUSE_SECONDS 0.1
/* One line in the log stands for all of so many seconds. */
#define COMPLAIN_SECONDS 10.0
#define SWEEP_SECONDS 1.0
/* Names of users that a directory is asked for at a time. */
#define NAME_HELPERS_MAX 8
/* How long the end waits for those, seconds. */
#define GOODBYE 0.2
/* Another process may be starting on the same path: it is waited for. */
#define LOCK_TRIES 200
#define LOCK_NAP_MS 10

static const char busy_reply[] =
	"{\"ok\":false,\"error\":\"internal\",\"message\":\"all places of the admin socket are taken by "
	"running commands; try again\"}\n";

/* Two that start at once must not both find the path free: the folder is
 * locked from the look to listen().  Returns the lock or -1. */
static int
lock_folder(const char *path, struct why *why)
{
	char *folder = must_strdup(path), *slash = strrchr(folder, '/');
	struct timespec nap = { 0, LOCK_NAP_MS * 1000000L };
	int fd;

	if (slash == NULL)
		strcpy(folder, ".");
	else
		slash[slash == folder ? 1 : 0] = '\0';
	fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) {
		(void)why_set(why, E_USAGE, "admin.socket %s: the folder %s: %s%s", path, folder, strerror(errno),
			      errno == ENOENT ? "; create it first" : "");
		goto out;
	}
	for (int i = 0; flock(fd, LOCK_EX | LOCK_NB) != 0; i++) {
		if (errno == EWOULDBLOCK && i < LOCK_TRIES) {
			nanosleep(&nap, NULL);
			continue;
		}
		(void)why_set(why, E_USAGE, "admin.socket %s: cannot lock the folder %s: %s", path, folder,
			      strerror(errno));
		close(fd);
		fd = -1;
		break;
	}
out:
	free(folder);
	return fd;
}

/* The group the configuration names, and the user to be dropped to: it is
 * teald's own, and removes the file at the end. */
static int
give_away(const struct config *config, const char *path)
{
	uid_t uid = config->user != NULL && geteuid() == 0 ? config->uid : (uid_t)-1;
	gid_t gid = config->admin.group != NULL ? config->admin.gid : (gid_t)-1;

	if (gid == (gid_t)-1 && uid != (uid_t)-1)
		gid = config->gid;
	return uid == (uid_t)-1 && gid == (gid_t)-1 ? 0 : lchown(path, uid, gid);
}

/* With the folder locked.  Nobody can connect between bind() and listen(), and
 * the file has its mode from the first moment on. */
static int
bind_locked(struct admin *a, const struct addr *addr, struct why *why)
{
	const char *path = addr->u.un.sun_path;
	struct why reason;
	struct stat st;
	mode_t mask;
	int fd, rc;

	if (sock_claim_unix(addr, &reason) != OK) {
		(void)why_set(why, E_USAGE, "admin.socket: %.900s", reason.text);
		return -1;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0) {
		(void)why_set(why, E_USAGE, "admin.socket %s: %s", path, strerror(errno));
		return -1;
	}
	mask = umask(~a->config->admin.mode & 0777);
	rc = bind(fd, &addr->u.sa, addr->len);
	umask(mask);
	if (rc != 0) {
		(void)why_set(why, E_USAGE, "admin.socket %s: cannot bind: %s", path, strerror(errno));
		close(fd);
		return -1;
	}
	if (give_away(a->config, path) != 0)
		(void)why_set(why, E_USAGE, "admin.socket %s: cannot give it to group %s: %s", path,
			      a->config->admin.group != NULL ? a->config->admin.group : "of the user",
			      strerror(errno));
	else if (listen(fd, BACKLOG) != 0 || lstat(path, &st) != 0)
		(void)why_set(why, E_USAGE, "admin.socket %s: %s", path, strerror(errno));
	else {
		a->dev = st.st_dev;
		a->ino = st.st_ino;
		return fd;
	}
	unlink(path);
	close(fd);
	return -1;
}

struct admin *
admin_bind(const struct config *config, struct why *why)
{
	const char *path = config->admin.socket;
	struct admin *a = must_alloc(sizeof(*a));
	struct addr addr = { .len = sizeof(struct sockaddr_un) };
	int fd = -1, lock;

	a->config = config;
	io_init(&a->listener, -1, NULL);
	list_init(&a->clients);
	list_init(&a->dead);
	list_init(&a->commands);
	list_init(&a->users);
	addr.u.un.sun_family = AF_UNIX;
	if (!str_copy(addr.u.un.sun_path, sizeof(addr.u.un.sun_path), str_from(path))) {
		(void)why_set(why, E_USAGE, "admin.socket %s: longer than %zu bytes", path,
			      sizeof(addr.u.un.sun_path) - 1);
	} else if ((lock = lock_folder(path, why)) >= 0) {
		fd = bind_locked(a, &addr, why);
		close(lock);
	}
	if (fd < 0) {
		free(a);
		return NULL;
	}
	a->listener.watcher.fd = fd;
	return a;
}

static bool
may_complain(double *last)
{
	if (clock_now() - *last < COMPLAIN_SECONDS)
		return false;
	*last = clock_now();
	return true;
}

/* One try: whoever is refused does not get a place to wait.  What it sent is
 * taken first: closed over unread bytes, a connection is reset. */
static void
refuse(struct admin *a, int fd)
{
	a->refused++;
	if (may_complain(&a->complained_busy))
		LOG_WARN("admin.refused", LS("why", "all clients are busy"), LU("clients", a->n_clients),
			 LU("refused", a->refused));
	for (int i = 0; i < 16 && recv(fd, a->scratch, sizeof(a->scratch), MSG_DONTWAIT) > 0; i++)
		continue;
	if (send(fd, busy_reply, sizeof(busy_reply) - 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		LOG_DEBUG("admin.refused_unheard", LS("why", strerror(errno)));
	close(fd);
}

static void
admit(struct admin *a, int fd)
{
	struct rights *rights;
	struct admin_user *u;
	pid_t pid = 0;

	if ((rights = rights_of_peer(a->config, fd, a->own_uid, &pid)) == NULL) {
		LOG_WARN("admin.refused", LS("why", strerror(errno)));
		close(fd);
		return;
	}
	u = admin_user_of(a, rights->uid);
	if (admin_user_has_room(a, u)) {
		admin_client_new(a, fd, &rights, pid);
		return;
	}
	rights_unref(&rights);
	refuse(a, fd);
}

static void
admin_on_accept(struct ev_loop *loop, ev_io *w, int revents)
{
	struct admin *a = container_of(w, struct admin, listener.watcher);
	int fd;

	(void)revents;
	for (int i = 0; i < ACCEPTS_A_TURN; i++) {
		fd = accept4(w->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd >= 0) {
			admit(a, fd);
			continue;
		}
		if (io_would_block())
			return;
		if (errno == ECONNABORTED || ((errno == EMFILE || errno == ENFILE) && spare_give(&a->spare)))
			continue;
		/* Descriptors or memory are out.  An idle client's place may be
		 * just what is missing; if not, wait rather than spin. */
		if (may_complain(&a->complained_full))
			LOG_WARN("admin.accept_paused", LS("why", strerror(errno)), LF("seconds", PAUSE_SECONDS));
		admin_make_room(a);
		io_want(loop, &a->listener, 0);
		ev_timer_set(&a->pause, PAUSE_SECONDS, 0.0);
		ev_timer_start(loop, &a->pause);
		return;
	}
}

static void
pause_on_over(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct admin *a = container_of(t, struct admin, pause);

	(void)revents;
	io_want(loop, &a->listener, EV_READ);
}

static void
sweep_on_time(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct admin *a = container_of(t, struct admin, sweep);
	bool busy = false;

	(void)revents;
	LIST_EACH(link, &a->clients) {
		struct client *c = list_entry(link, struct client, link);

		if (client_is_idle(c))
			continue;
		client_sweep(c);
		busy = busy || client_is_open(c);
	}
	busy |= admin_users_tell(a);
	if (!busy)
		ev_timer_stop(loop, t);
}

void
admin_watch_busy(struct admin *a)
{
	if (ev_is_active(&a->sweep))
		return;
	ev_timer_set(&a->sweep, SWEEP_SECONDS, SWEEP_SECONDS);
	ev_timer_start(a->loop, &a->sweep);
}

static void
bury(struct admin *a)
{
	LIST_EACH(link, &a->dead) {
		struct client *c = list_entry(link, struct client, link);

		list_remove(link);
		buf_free(&c->in);
		buf_free(&c->out);
		rights_unref(&c->rights);
		c->magic = 0;
		free(c);
	}
	if (a->control != NULL && a->control->life != LIFE_STOPPED)
		spare_keep(&a->spare);
}

/* Before the loop sleeps: no callback is on the stack that could hold one. */
static void
reap_on_turn(struct ev_loop *loop, ev_prepare *p, int revents)
{
	struct admin *a = container_of(p, struct admin, reap);

	(void)revents;
	admin_users_bound_replies(a);
	bury(a);
	ev_prepare_stop(loop, p);
}

void
admin_start(struct admin *a, struct control *c)
{
	a->control = c;
	a->loop = c->loop;
	a->own_uid = geteuid();
	if (gethostname(a->host, sizeof(a->host)) != 0)
		a->host[0] = '\0';
	a->host[sizeof(a->host) - 1] = '\0';
	/* Threads of their own: a directory that hangs must not hold up the store,
	 * whose writes wait in control's, nor one user's name that of another. */
	a->jobs = jobs_new_growing(c->loop, 1, NAME_HELPERS_MAX);
	a->names = names_new(c->loop, a->jobs);
	events_open(&a->events, &c->bus);
	ev_timer_init(&a->pause, pause_on_over, 0.0, 0.0);
	ev_timer_init(&a->sweep, sweep_on_time, 0.0, 0.0);
	ev_prepare_init(&a->reap, reap_on_turn);
	spare_init(&a->spare, ADMIN_SPARE);
	io_init(&a->listener, a->listener.watcher.fd, admin_on_accept);
	io_want(a->loop, &a->listener, EV_READ);
	LOG_INFO("admin.listening", LS("socket", a->config->admin.socket));
}

struct admin *
admin_open(struct control *c, struct why *why)
{
	struct admin *a = admin_bind(c->config, why);

	if (a != NULL)
		admin_start(a, c);
	return a;
}

/* Only what is still ours: another teald may have come after somebody removed
 * our file by hand.  Our open socket pins the inode, so its number cannot have
 * been given to another meanwhile. */
static void
remove_file(const struct admin *a)
{
	const char *path = a->config->admin.socket;
	struct stat st;

	if (lstat(path, &st) != 0 || st.st_dev != a->dev || st.st_ino != a->ino)
		return;
	if (unlink(path) != 0)
		LOG_DEBUG("admin.left_behind", LS("socket", path), LS("why", strerror(errno)));
}

static void
stop_serving(struct admin *a)
{
	struct link *link;

	while ((link = list_first(&a->commands)) != NULL)
		command_abandon(list_entry(link, struct command, link));
	while ((link = list_first(&a->clients)) != NULL)
		client_close(list_entry(link, struct client, link));
	events_close(&a->events);
	ev_timer_stop(a->loop, &a->pause);
	ev_timer_stop(a->loop, &a->sweep);
	ev_prepare_stop(a->loop, &a->reap);
	bury(a);
	(void)admin_users_tell(a);
	admin_users_free(a);
	spare_close(&a->spare);
	names_free(&a->names);
	/* A directory that does not answer holds up no end. */
	jobs_leave(&a->jobs, GOODBYE);
}

void
admin_close(struct admin **ap)
{
	struct admin *a = *ap;

	*ap = NULL;
	if (a == NULL)
		return;
	if (a->control != NULL)
		stop_serving(a);
	remove_file(a);
	if (a->loop != NULL)
		io_close(a->loop, &a->listener);
	else
		close(io_fd(&a->listener));
	free(a);
}
