/* redis_server.h - a real redis-server for a test: in a folder of its own, on a
 * Unix socket there and, when asked, on ports the kernel chose; gone with the
 * test. */
#ifndef TESTS_UNIT_REDIS_SERVER_H
#define TESTS_UNIT_REDIS_SERVER_H

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <hiredis/hiredis.h>

#include "base/check.h"
#include "wait.h"

struct redis_server {
	pid_t pid;	/* 0: not running */
	const char *dir;	/* where its files are */
	char path[108];	/* its socket */
};

static inline unsigned
free_port(void)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(in);

	assert_return_code(bind(fd, (struct sockaddr *)&in, sizeof(in)), errno);
	assert_return_code(getsockname(fd, (struct sockaddr *)&in, &len), errno);
	close(fd);
	return ntohs(in.sin_port);
}

static inline bool
redis_server_accepts(const struct redis_server *s)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), rc;

	snprintf(un.sun_path, sizeof(un.sun_path), "%s", s->path);
	rc = connect(fd, (struct sockaddr *)&un, sizeof(un));
	close(fd);
	return rc == 0;
}

/* Starts it in dir and waits until it accepts.  options: as on its command line,
 * separated by blanks: "--requirepass x".  name tells several in one dir apart. */
static inline void
redis_server_start(struct redis_server *s, const char *dir, const char *name, const char *options)
{
	char *command, *words[64], *save = NULL, *last;
	size_t n = 0;
	int log, status;
	pid_t ended;

	s->dir = dir;
	snprintf(s->path, sizeof(s->path), "%s/%s.sock", dir, name);
	command = must_printf("redis-server --unixsocket %s --dir %s --dbfilename %s.rdb --appendonly no "
			      "--daemonize no --bind 127.0.0.1%s %s",
			      s->path, dir, name, strstr(options, "--port") == NULL ? " --port 0" : "",
			      options);
	last = strstr(options, "--sentinel");
	if (last != NULL) {	/* a file of its own, which it rewrites */
		free(command);
		command = must_printf("redis-server %s/%s.conf %s", dir, name, options);
	}
	for (char *w = strtok_r(command, " ", &save); w != NULL; w = strtok_r(NULL, " ", &save))
		words[n++] = strcmp(w, "''") == 0 ? strcpy(w, "") : w;
	words[n] = NULL;
	assert_return_code(s->pid = fork(), errno);
	if (s->pid == 0) {
		char *path = must_printf("%s/%s.log", dir, name);

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		log = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
		dup2(log, 1);
		dup2(log, 2);
		execvp(words[0], words);
		_exit(127);
	}
	free(command);
	POLL_UNTIL((ended = waitpid(s->pid, &status, WNOHANG)) == s->pid || redis_server_accepts(s));
	if (ended == s->pid)
		fail_msg("redis-server %s ended with status %d; is it installed?", options, status);
}

/* Has it execute one command, by a connection that no clock of a test touches.
 * When this returns, all that it was asked before is answered. */
static inline void
redis_server_do(const struct redis_server *s, const char *command)
{
	redisContext *c = redisConnectUnix(s->path);
	redisReply *r;

	assert_non_null(c);
	for (int i = 0; i < 2; i++) {	/* what it read with the first is written before the second */
		r = redisCommand(c, i == 0 ? command : "PING");
		assert_non_null(r);
		if (i == 0 && r->type == REDIS_REPLY_ERROR)
			fail_msg("%s: %s", command, r->str);
		freeReplyObject(r);
	}
	redisFree(c);
}

/* What clients in this loop asked of it is answered, and the clock stands: before
 * it falls silent nothing is under way whose timeout is NEVER. */
static inline void
redis_server_settle(const struct redis_server *s, struct ev_loop *loop)
{
	clock_stop();
	for (int step = 0; step < 8; step++) {	/* more than a hello has */
		redis_server_do(s, "PING");
		for (int turn = 0; turn < 3; turn++)
			ev_run(loop, EVRUN_NOWAIT);
	}
}

static inline void
redis_server_stop(struct redis_server *s)
{
	if (s->pid == 0)
		return;
	kill(s->pid, SIGKILL);
	waitpid(s->pid, NULL, 0);
	unlink(s->path);
	s->pid = 0;
}

#endif
