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
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "app/supervisor/supervisor.h"
#include "base/clock.h"

#define MESSAGE_MAX 512
#define FDS_MAX 253	/* of one message (unix(7), SCM_MAX_FD) */

static char copy_path[MESSAGE_MAX];	/* "" before one has told */
static bool unfit;

static _Noreturn void
child_become(char **argv, int link, int last_words, unsigned restarts, int64_t restarted_at)
{
	char text[96], fallback[sizeof(copy_path) + 16];
	sigset_t hangup;
	/* Above all that is handed over. */
	int above = 3 + (int)sockets_count();

	/* Ctrl-C of a terminal is for the supervisor, which passes it on once. */
	(void)setpgid(0, 0);
	/* Until it can reload, a hangup waits: it would end it. */
	sigemptyset(&hangup);
	sigaddset(&hangup, SIGHUP);
	sigprocmask(SIG_SETMASK, &hangup, NULL);
	signal(SIGPIPE, SIG_DFL);
	link = fcntl(link, F_DUPFD, above);
	last_words = fcntl(last_words, F_DUPFD, above);
	snprintf(text, sizeof(text), "%d %d %u %lld", link, last_words, restarts, (long long)restarted_at);
	setenv("TEAL_SUPERVISOR", text, 1);
	if (restarts > 0 && *copy_path != '\0') {
		snprintf(fallback, sizeof(fallback), "%d %s", unfit, copy_path);
		setenv("TEAL_FALLBACK", fallback, 1);
	}
	privileges_restore();
	if (link >= 0 && last_words >= 0 && sockets_hand_over())
		execv(argv[0], argv);
	fprintf(stderr, "teald: cannot start %s: %s\n", argv[0], strerror(errno));
	_exit(1);
}

bool
child_start(struct child *c, char **argv, unsigned restarts, int64_t restarted_at)
{
	int link[2], words[2];

	*c = (struct child){ .link = -1, .last_words = -1, .doing = "starting" };
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, link) != 0)
		return false;
	if (pipe2(words, O_CLOEXEC | O_NONBLOCK) != 0) {
		close(link[0]);
		close(link[1]);
		return false;
	}
	c->pid = fork();
	if (c->pid == 0)
		child_become(argv, link[1], words[1], restarts, restarted_at);
	unfit = false;
	close(link[1]);
	close(words[1]);
	c->link = link[0];
	c->last_words = words[0];
	c->born = clock_now();
	if (c->pid > 0)
		return true;
	close(link[0]);
	close(words[0]);
	*c = (struct child){ .link = -1, .last_words = -1 };
	return false;
}

static void
keep_handed(struct msghdr *m)
{
	for (struct cmsghdr *h = CMSG_FIRSTHDR(m); h != NULL; h = CMSG_NXTHDR(m, h)) {
		unsigned n = (unsigned)((h->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		int fds[FDS_MAX];

		if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS || n > FDS_MAX)
			continue;
		memcpy(fds, CMSG_DATA(h), n * sizeof(int));
		sockets_keep(fds, n);
		notify_keep(fds, n);
	}
}

static void
take_message(struct child *c, char *text, size_t n, struct msghdr *m, const struct child_calls *calls)
{
	text[n] = '\0';
	if (strcmp(text, "ready") == 0) {
		c->ready = true;
		calls->ready();
	} else if (strcmp(text, "beat") == 0) {
		c->beats = true;
		c->silent = 0;
	} else if (strcmp(text, "keep") == 0) {
		keep_handed(m);
		if ((m->msg_flags & MSG_CTRUNC) != 0)
			fprintf(stderr, "teald: out of descriptors: a listening socket will not outlive a crash; raise "
					"LimitNOFILE\n");
	} else if (strncmp(text, "forget ", 7) == 0) {
		sockets_forget(text + 7, (socklen_t)(n - 7));
		(void)!send(c->link, "forgot", 6, MSG_NOSIGNAL | MSG_DONTWAIT);
	} else if (strncmp(text, "config ", 7) == 0) {
		snprintf(copy_path, sizeof(copy_path), "%s", text + 7);
	} else if (strcmp(text, "unfit") == 0) {
		unfit = true;
	} else if (strncmp(text, "notify ", 7) == 0) {
		const char *status = strstr(text + 7, "STATUS=");

		if (status != NULL)
			snprintf(c->doing, sizeof(c->doing), "%.*s", (int)strcspn(status + 7, "\n"), status + 7);
		calls->said(text + 7);
	}
}

void
child_read(struct child *c, const struct child_calls *calls)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int) * FDS_MAX)];
	} control;
	char text[MESSAGE_MAX + 1];
	struct iovec iov = { .iov_base = text, .iov_len = MESSAGE_MAX };
	ssize_t n;

	while (c->link >= 0) {
		struct msghdr m = { .msg_iov = &iov,
				    .msg_iovlen = 1,
				    .msg_control = control.room,
				    .msg_controllen = sizeof(control) };

		n = recvmsg(c->link, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
		if (n > 0) {
			take_message(c, text, (size_t)n, &m, calls);
			continue;
		}
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		close(c->link);
		c->link = -1;
	}
}

void
child_bury(struct child *c, char *words, size_t size)
{
	ssize_t n = c->last_words >= 0 ? read(c->last_words, words, size - 1) : 0;

	words[n > 0 ? n : 0] = '\0';
	if (c->link >= 0)
		close(c->link);
	if (c->last_words >= 0)
		close(c->last_words);
	c->link = c->last_words = -1;
}
