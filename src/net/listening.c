/* listening.c - the sockets of a listening address.  Thread: main. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "net/handed.h"
#include "net/listening.h"
#include "net/sock.h"

/* Another process may be starting on the same path: it is waited for. */
#define LOCK_TRIES 200
#define LOCK_NAP_MS 10

static int
unix_answers(const struct addr *a)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), rc;

	if (fd < 0)
		return -1;
	rc = connect(fd, &a->u.sa, a->len);
	/* A full queue (EAGAIN) means that a process listens. */
	rc = rc == 0 || errno == EAGAIN || errno == EINPROGRESS ? 1 : errno == ECONNREFUSED ? 0 : -1;
	close(fd);
	return rc;
}

/* To connect() a socket that is bound and not listening yet looks abandoned: a
 * teald that waits for its store, say.  The kernel's table tells them from a
 * file that was left behind; connections accepted by a listener that is gone
 * carry its name as well, but are connected (state 03). */
static bool
unix_is_bound(const struct addr *a)
{
	FILE *f = fopen("/proc/net/unix", "re");
	char *line = NULL;
	size_t room = 0;
	unsigned state;
	bool found = false;
	int at;

	if (f == NULL)
		return false;
	while (!found && getline(&line, &room, f) > 0) {
		line[strcspn(line, "\n")] = '\0';
		at = 0;
		/* Num RefCount Protocol Flags Type St Inode Path */
		if (sscanf(line, "%*s %*s %*s %*s %*s %x %*s %n", &state, &at) == 1 && at > 0)
			found = state == 1 && strcmp(line + at, a->u.un.sun_path) == 0;
	}
	free(line);
	fclose(f);
	return found;
}

static enum err
claim_path(const struct addr *a, struct why *why)
{
	const char *path = a->u.un.sun_path;
	struct stat st;

	if (lstat(path, &st) != 0) {
		if (errno == ENOENT)
			return OK;
		return why_set(why, E_USAGE, "%s: %s", path, strerror(errno));
	}
	if (!S_ISSOCK(st.st_mode))
		return why_set(why, E_USAGE, "%s exists and is not a socket; choose another path or remove it", path);
	switch (unix_answers(a)) {
	case 1:
		return why_set(why, E_USAGE, "another process already answers on %s; stop it or choose another path",
			       path);
	case 0:
		if (unix_is_bound(a))
			return why_set(why, E_USAGE,
				       "another process is about to listen on %s; stop it or choose another path", path);
		if (unlink(path) != 0)
			return why_set(why, E_USAGE, "cannot remove the stale socket %s: %s", path, strerror(errno));
		return OK;
	default:
		return why_set(why, E_USAGE, "cannot tell whether a process listens on %s: %s", path, strerror(errno));
	}
}

static enum err
bind_error(const struct addr *a, bool datagram, struct why *why)
{
	char text[ADDR_TEXT];
	int e = errno;

	addr_format(a, text);
	if (e == EADDRINUSE)
		/* A socket of datagrams cannot leave its address while flows go on by it. */
		return why_set(why, E_USAGE, "cannot listen on %s: another process already does%s (see: ss -l%cnp)", text,
			       datagram ? ", or flows of UDP of what a reload took away there go on, until its "
					  "drain.timeout at most" :
					  "",
			       datagram ? 'u' : 't');
	if (e == EACCES)
		return why_set(why, E_USAGE,
			       "cannot listen on %s: permission denied (start as root, or grant CAP_NET_BIND_SERVICE)", text);
	if (e == EADDRNOTAVAIL)
		return why_set(why, E_USAGE,
			       "cannot listen on %s: this machine has no such address now; one that comes later (of "
			       "keepalived, say) is allowed by freebind = true or sysctl net.ipv%d.ip_nonlocal_bind=1; an IPv6 address may "
			       "still be tentative",
			       text, addr_family(a) == AF_INET6 ? 6 : 4);
	return why_set(why, E_USAGE, "cannot listen on %s: %s", text, strerror(e));
}

/* Two that start at once must not both find the path free: the folder is locked
 * from the look to bind(), or to listen().  *lock is -1 where it may not be read. */
static enum err
lock_folder(const char *path, int *lock, struct why *why)
{
	char *folder = must_strdup(path), *slash = strrchr(folder, '/');
	struct timespec nap = { 0, LOCK_NAP_MS * 1000000L };
	enum err e = OK;

	if (slash == NULL)
		strcpy(folder, ".");
	else
		slash[slash == folder ? 1 : 0] = '\0';
	*lock = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (*lock < 0 && errno != EACCES)
		e = why_set(why, E_USAGE, "%s: the folder %s: %s%s", path, folder, strerror(errno),
			    errno == ENOENT ? "; create it first" : "");
	for (int i = 0; *lock >= 0 && flock(*lock, LOCK_EX | LOCK_NB) != 0; i++) {
		if (errno == EWOULDBLOCK && i < LOCK_TRIES) {
			nanosleep(&nap, NULL);
			continue;
		}
		e = why_set(why, E_USAGE, "%s: cannot lock the folder %s: %s", path, folder, strerror(errno));
		close(*lock);
		*lock = -1;
	}
	free(folder);
	return e;
}

static enum err
start_one(int fd, const struct addr *at, int backlog, struct why *why)
{
	/* The first one has no SO_REUSEPORT, so that this fails if another program
	 * listens by now: bound sockets do not exclude each other, those that
	 * listen do.  From here on its siblings may join, who have it already. */
	if (listen(fd, backlog) != 0)
		return bind_error(at, false, why);
	sock_set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1);
	return OK;
}

/* The kernel gives the file the socket's own mode, less the umask: fchmod()
 * before, so that it never has more, and chmod() after, so that it has no less. */
static enum err
bind_path(int fd, const struct addr *at, const struct listening_terms *t, struct why *why)
{
	const char *path = at->u.un.sun_path;

	if (fchmod(fd, t->mode) != 0 || bind(fd, &at->u.sa, at->len) != 0)
		return bind_error(at, false, why);
	if (chmod(path, t->mode) != 0 || (t->backlog > 0 && listen(fd, t->backlog) != 0)) {
		(void)bind_error(at, false, why);
	} else if ((t->uid != (uid_t)-1 || t->gid != (gid_t)-1) && lchown(path, t->uid, t->gid) != 0) {
		(void)why_set(why, E_USAGE, "%s: cannot give it to its user and group: %s", path,
			      strerror(errno));
	} else {
		return OK;
	}
	unlink(path);
	return E_USAGE;
}

static enum err
open_path(struct listening *l, const struct listening_terms *t, struct why *why)
{
	int lock, fd = -1;
	enum err e;

	if ((e = lock_folder(l->at.u.un.sun_path, &lock, why)) != OK)
		return e;
	if ((e = claim_path(&l->at, why)) != OK)
		goto out;
	if ((fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) < 0)
		e = bind_error(&l->at, false, why);
	else
		e = bind_path(fd, &l->at, t, why);
	if (e == OK) {
		l->fds[l->n++] = fd;
		l->pin = open(l->at.u.un.sun_path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	} else if (fd >= 0) {
		close(fd);
	}
out:
	if (lock >= 0)
		close(lock);
	return e;
}

static enum err
open_port(struct listening *l, const struct listening_terms *t, struct why *why)
{
	int family = addr_family(&l->at), type = l->datagram ? SOCK_DGRAM : SOCK_STREAM;
	int fd = socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct addr at = l->at;
	enum err e = OK;

	if (fd < 0)
		return bind_error(&at, l->datagram, why);
	/* With it a socket of datagrams would share the address with any other that has it. */
	if (!l->datagram) {
		sock_set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
		sock_set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	}
	if (family == AF_INET6)
		sock_set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
	if (t->freebind)	/* of IPv6 sockets, too */
		sock_set_int(fd, IPPROTO_IP, IP_FREEBIND, 1);
	if (l->n > 0) {
		sock_set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1);
		/* Port 0 asked the kernel for a free one: the siblings share it. */
		getsockname(l->fds[0], &at.u.sa, &at.len);
	}
	if (bind(fd, &at.u.sa, at.len) != 0)
		e = bind_error(&at, l->datagram, why);
	else if (l->datagram)
		sock_set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1);	/* as in start_one() */
	else if (t->backlog > 0)
		e = start_one(fd, &at, t->backlog, why);
	if (e != OK)
		close(fd);
	else
		l->fds[l->n++] = fd;
	return e;
}

static void
adopt_handed(struct listening *l)
{
	int fd;

	while ((fd = handed_take(&l->at, l->datagram)) >= 0) {
		l->fds = must_grow(l->fds, l->n + 1, sizeof(int));
		l->fds[l->n++] = fd;
		if (addr_family(&l->at) != AF_UNIX && !l->datagram)
			sock_set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	}
	l->adopted = l->n;
	if (l->n > 0)
		l->pin = handed_take_file(&l->at);
}

/* What is open from now on is not lost with this process.  The duplicates of a
 * Unix socket have one queue. */
void
listening_keep(const struct listening *l)
{
	bool local = addr_family(&l->at) == AF_UNIX;

	if (local && l->adopted > 0)
		return;
	handed_keep(l->fds + l->adopted, local ? 1 : l->n - l->adopted);
	if (l->pin >= 0)
		handed_keep(&l->pin, 1);
}

enum err
listening_open(struct listening *l, const struct addr *at, const struct listening_terms *terms, unsigned n,
	       struct why *why)
{
	bool local = addr_family(at) == AF_UNIX;
	enum err e = OK;

	*l = (struct listening){ .at = *at, .pin = -1, .datagram = terms->datagram };
	adopt_handed(l);
	l->fds = must_grow(l->fds, n > l->n ? n : l->n, sizeof(int));
	while (l->n < n && e == OK && !(l->datagram && l->adopted > 0)) {
		int fd;

		if (!(local && l->n > 0)) {
			e = local ? open_path(l, terms, why) : open_port(l, terms, why);
			/* One that another user made shares its address with none of ours. */
			if (e == OK || l->adopted == 0)
				continue;
		}
		fd = fcntl(l->fds[l->n % (l->adopted > 0 ? l->adopted : 1)], F_DUPFD_CLOEXEC, 0);
		e = fd >= 0 ? OK : bind_error(at, false, why);
		if (fd >= 0)
			l->fds[l->n++] = fd;
	}
	if (e == OK) {
		if (terms->backlog > 0)
			listening_keep(l);
		return OK;
	}
	for (unsigned i = 0; i < l->n; i++)
		close(l->fds[i]);
	/* Of what was made here the supervisor knows nothing yet. */
	l->forgotten = l->adopted == 0;
	listening_close(l);
	return e;
}

enum err
listening_claim(const struct listening *l, int backlog, struct why *why)
{
	enum err e = OK;

	for (unsigned i = 0; i < l->n && e == OK && !l->datagram; i++)
		e = start_one(l->fds[i], &l->at, backlog, why);
	return e;
}

enum err
listening_start(const struct listening *l, int backlog, struct why *why)
{
	enum err e = listening_claim(l, backlog, why);

	if (e == OK)
		listening_keep(l);
	return e;
}

void
listening_forget(struct listening *l)
{
	struct addr at = { .len = sizeof(at.u) };

	if (l->n > 0 && getsockname(l->fds[0], &at.u.sa, &at.len) == 0)
		handed_forget(&at, l->datagram);
	l->forgotten = true;
}

void
listening_close(struct listening *l)
{
	struct stat ours, now;
	bool ends;

	if (l->fds == NULL)
		return;
	if (l->pin >= 0) {
		ends = handed_is_borrowed() ? l->adopted == 0 : !handed_keeps() || l->forgotten;
		if (ends && fstat(l->pin, &ours) == 0 && lstat(l->at.u.un.sun_path, &now) == 0 &&
		    ours.st_dev == now.st_dev && ours.st_ino == now.st_ino)
			unlink(l->at.u.un.sun_path);
		close(l->pin);
	}
	free(l->fds);
	*l = (struct listening){ .pin = -1 };
}
