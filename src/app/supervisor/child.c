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
 *	O: upgrade failed: ERROR: WHY
 *				nothing was started, or N has ended before "yielded"; ERROR is
 *				a word of base/err.h
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

static _Noreturn void
child_become(struct program p, const int ends[CHILD_ENDS], const struct past *past, pid_t predecessor)
{
	char text[PATH_MAX + 16];
	sigset_t later;
	/* Above all that is handed over. */
	int above = 3 + (int)sockets_count();
	int link = fcntl(ends[CHILD_LINK], F_DUPFD, above),
	    last_words = fcntl(ends[CHILD_LAST_WORDS], F_DUPFD, above);

	/* Ctrl-C of a terminal is for the supervisor, which passes it on once. */
	(void)setpgid(0, 0);
	/* Until it can reload or upgrade, what asks for that waits: it would end it. */
	sigemptyset(&later);
	sigaddset(&later, SIGHUP);
	sigaddset(&later, SIGUSR2);
	sigprocmask(SIG_SETMASK, &later, NULL);
	signal(SIGPIPE, SIG_DFL);
	if (predecessor > 0) {
		(void)dup2(ends[CHILD_ERR], STDERR_FILENO);
		snprintf(text, sizeof(text), "%d %d", fcntl(ends[CHILD_LINE], F_DUPFD, above),
			 (int)predecessor);
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

void
child_close(int *ends, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		if (ends[i] >= 0)
			close(ends[i]);
		ends[i] = -1;
	}
}

bool
child_start(struct child *c, const struct program *p, const struct past *past, pid_t predecessor)
{
	int pairs[CHILD_ENDS][2], theirs[CHILD_ENDS];
	bool made;

	memset(pairs, -1, sizeof(pairs));
	made = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pairs[CHILD_LINK]) == 0 &&
	       pipe2(pairs[CHILD_LAST_WORDS], O_CLOEXEC | O_NONBLOCK) == 0;
	if (made && predecessor > 0)
		made = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pairs[CHILD_LINE]) == 0 &&
		       pipe2(pairs[CHILD_ERR], O_CLOEXEC) == 0 &&
		       fcntl(pairs[CHILD_ERR][0], F_SETFL, O_NONBLOCK) == 0;
	*c = (struct child){ .born = clock_now(), .doing = "starting" };
	for (int i = 0; i < CHILD_ENDS; i++) {
		c->ends[i] = pairs[i][0];
		theirs[i] = pairs[i][1];
	}
	c->pid = made ? fork() : -1;
	if (c->pid == 0)
		child_become(*p, theirs, past, predecessor);
	child_close(theirs, CHILD_ENDS);
	if (c->pid > 0)
		return true;
	child_close(c->ends, CHILD_ENDS);
	c->pid = 0;
	return false;
}

bool
child_tell(const struct child *c, const char *text, int fd)
{
	struct iovec iov = { .iov_base = (void *)(uintptr_t)text, .iov_len = strlen(text) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

	return fds_send(c->ends[CHILD_LINK], &m, &fd, fd >= 0, MSG_DONTWAIT) >= 0;
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

	while (c->ends[CHILD_LINK] >= 0) {
		n = fds_receive(c->ends[CHILD_LINK], &m, fds, &n_fds);
		if (n < 0 && errno == EAGAIN)
			return;
		if ((m.msg_flags & MSG_CTRUNC) != 0)
			fprintf(stderr,
				"teald: out of descriptors: a listening socket will not outlive a crash; "
				"raise LimitNOFILE\n");
		text[n > 0 ? n : 0] = '\0';
		if (n > 0)
			on_message(c, text, (size_t)n, fds, n_fds);
		else
			child_close(&c->ends[CHILD_LINK], 1);
	}
}

void
child_read_err(struct child *c)
{
	struct pollfd out = { .fd = STDERR_FILENO, .events = POLLOUT };
	size_t max = (sizeof(c->said) - 1) / 2, n;
	ssize_t got;

	while (c->ends[CHILD_ERR] >= 0) {
		/* The last half stays. */
		if ((n = c->n_said) > max) {
			memmove(c->said, c->said + n - max, max);
			c->n_said = n = max;
		}
		got = read(c->ends[CHILD_ERR], c->said + n, max);
		if (got < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (got <= 0) {
			child_close(&c->ends[CHILD_ERR], 1);
			return;
		}
		c->n_said += (size_t)got;
		c->said[c->n_said] = '\0';
		/* A reader that has stopped holds nothing up here. */
		if (poll(&out, 1, 0) == 1)
			(void)!write(STDERR_FILENO, c->said + n, (size_t)got);
	}
}

void
child_bury(struct child *c, char *words, size_t size)
{
	ssize_t n = read(c->ends[CHILD_LAST_WORDS], words, size - 1);

	words[n > 0 ? n : 0] = '\0';
	child_read_err(c);
	child_close(c->ends, CHILD_ENDS);
}
