/* child.c - a process that serves: how it is started, and what is said over the
 * link, a pair of SOCK_SEQPACKET sockets (numbers are decimal text, \0 a zero byte):
 *
 *	ready			it serves
 *	beat			main's loop runs
 *	keep (with sockets)	they are to outlive it
 *	forget ADDRESS		they are not any more; answered with "forgot"
 *	notify TEXT		for the service manager
 *	config PATH		of a copy of its configuration, for one that has to be started in its place
 *	unfit			the configuration it was started with cannot be served
 *
 * Of an upgrade, from the one that serves (O) and its successor (N):
 *
 *	O: upgrade SECONDS\0BINARY\0CONFIG\0
 *				start a successor, which is killed when it is not prepared
 *				within SECONDS; both paths may be empty: as before
 *	N: prepared		it waits for O; SECONDS no longer run
 *	O: yielded		there is no way back; said before N is told "yours", so that
 *				it is known whose death would be whose when one dies then
 *	N: ready		as ever: it serves
 *
 * and to them, none longer than CHILD_WORD_MAX:
 *
 *	O: successor PID (with one descriptor)
 *				its end of the line to N; once more when that N has died
 *				after "yielded" and another one is started
 *	O: upgrade failed: WHY	nothing was started, or N has ended before "yielded"
 *	N: alone RESTARTS AT	O has ended; before "yours" N is a restart after a crash
 *
 * N has the option --successor, which an older teald refuses before it touches
 * anything, and TEAL_PREDECESSOR="FD PID": its end of the line and O's process.
 * Until O has yielded, "forget" and "notify" of N do nothing, what N keeps is closed
 * again if N ends, and SIGTERM ends N.  After that, those of O do nothing. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "app/supervisor/supervisor.h"
#include "base/clock.h"
#include "base/fds.h"

#define MESSAGE_MAX (2 * PATH_MAX + 64)

/* The child's ends. */
struct ends {
	int link, last_words, line, err;
};

static _Noreturn void
child_become(struct program p, const struct ends *e, const struct past *past, pid_t predecessor)
{
	char text[PATH_MAX + 16];
	sigset_t later;
	/* Above all that is handed over. */
	int above = 3 + (int)sockets_count();
	int link = fcntl(e->link, F_DUPFD, above), last_words = fcntl(e->last_words, F_DUPFD, above);

	/* Ctrl-C of a terminal is for the supervisor, which passes it on once. */
	(void)setpgid(0, 0);
	/* Until it can reload or upgrade, what asks for that waits: it would end it. */
	sigemptyset(&later);
	sigaddset(&later, SIGHUP);
	sigaddset(&later, SIGUSR2);
	sigprocmask(SIG_SETMASK, &later, NULL);
	signal(SIGPIPE, SIG_DFL);
	if (predecessor > 0) {
		(void)dup2(e->err, STDERR_FILENO);
		snprintf(text, sizeof(text), "%d %d", fcntl(e->line, F_DUPFD, above), (int)predecessor);
		setenv("TEAL_PREDECESSOR", text, 1);
	}
	snprintf(text, sizeof(text), "%d %d %u %lld %u", link, last_words, past->restarts,
		 (long long)past->restarted_at, past->fallbacks);
	setenv("TEAL_SUPERVISOR", text, 1);
	if (past->crashed && *past->copy != '\0') {
		snprintf(text, sizeof(text), "%d %s", past->unfit, past->copy);
		setenv("TEAL_FALLBACK", text, 1);
	}
	privileges_restore();
	p.fd = fcntl(p.fd, F_DUPFD_CLOEXEC, above);
	if (link >= 0 && last_words >= 0 && p.fd >= 0 && sockets_hand_over())
		program_exec(&p, predecessor > 0);
	else
		fprintf(stderr, "teald: out of descriptors for another process: %s\n", strerror(errno));
	_exit(1);
}

static void
close_one(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void
close_child(struct child *c)
{
	close_one(&c->link);
	close_one(&c->last_words);
	close_one(&c->line);
	close_one(&c->err);
}

bool
child_start(struct child *c, const struct program *p, const struct past *past, pid_t predecessor)
{
	int link[2] = { -1, -1 }, words[2] = { -1, -1 }, line[2] = { -1, -1 }, err[2] = { -1, -1 }, error;
	bool made = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, link) == 0 &&
		    pipe2(words, O_CLOEXEC | O_NONBLOCK) == 0;
	struct ends ends;

	if (made && predecessor > 0)
		made = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, line) == 0 && pipe2(err, O_CLOEXEC) == 0 &&
		       fcntl(err[0], F_SETFL, O_NONBLOCK) == 0;
	*c = (struct child){ .link = link[0], .last_words = words[0], .line = line[0], .err = err[0],
			     .born = clock_now(), .doing = "starting" };
	ends = (struct ends){ link[1], words[1], line[1], err[1] };
	c->pid = made ? fork() : -1;
	if (c->pid == 0)
		child_become(*p, &ends, past, predecessor);
	error = errno;
	close_one(&ends.link);
	close_one(&ends.last_words);
	close_one(&ends.line);
	close_one(&ends.err);
	if (c->pid > 0)
		return true;
	close_child(c);
	c->pid = 0;
	errno = error;
	return false;
}

bool
child_tell(const struct child *c, const char *text, int fd)
{
	struct iovec iov = { .iov_base = (void *)(uintptr_t)text, .iov_len = strlen(text) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

	return fds_send(c->link, &m, &fd, fd >= 0, MSG_DONTWAIT) >= 0;
}

void
child_read(struct child *c,
	   void (*on_message)(struct child *c, const char *text, size_t n, const int *fds, unsigned n_fds))
{
	char text[MESSAGE_MAX + 1];
	struct iovec iov = { .iov_base = text, .iov_len = MESSAGE_MAX };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	int fds[FDS_MAX];
	unsigned n_fds;
	ssize_t n;

	while (c->link >= 0) {
		n = fds_receive(c->link, &m, fds, &n_fds);
		if (n < 0 && errno == EAGAIN)
			return;
		if ((m.msg_flags & MSG_CTRUNC) != 0)
			fprintf(stderr, "teald: out of descriptors: a listening socket will not outlive a crash; "
					"raise LimitNOFILE\n");
		text[n > 0 ? n : 0] = '\0';
		if (n > 0)
			on_message(c, text, (size_t)n, fds, n_fds);
		else
			close_one(&c->link);
	}
}

void
child_read_err(struct child *c)
{
	struct pollfd out = { .fd = STDERR_FILENO, .events = POLLOUT };
	size_t max = sizeof(c->said) / 2, n;
	ssize_t got;

	while (c->err >= 0) {
		/* The last half stays. */
		if ((n = c->n_said) > max) {
			memmove(c->said, c->said + n - max, max);
			c->n_said = n = max;
		}
		got = read(c->err, c->said + n, max);
		if (got < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (got <= 0) {
			close_one(&c->err);
			return;
		}
		c->n_said += (size_t)got;
		/* A reader that has stopped holds nothing up here. */
		if (poll(&out, 1, 0) == 1)
			(void)!write(STDERR_FILENO, c->said + n, (size_t)got);
	}
}

void
child_bury(struct child *c, char *words, size_t size)
{
	ssize_t n = c->last_words >= 0 ? read(c->last_words, words, size - 1) : 0;

	words[n > 0 ? n : 0] = '\0';
	child_read_err(c);
	close_child(c);
}
