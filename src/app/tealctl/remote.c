/* remote.c - runs tealctl on another machine, by ssh.  One thread. */
#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#include "app/tealctl/remote.h"
#include "base/clock.h"

#define SCHEME "ssh://"
/* Time for ssh to end by itself when all has been said. */
#define END_SECONDS 5.0
/* The command for the shell there; four bytes for each of a line's at worst. */
#define COMMAND_MAX (5 * ADMIN_LINE_MAX)
#define SSH_WORDS_MAX 64

struct address {
	char where[320];	/* user@host or host */
	char port[8];	/* "" the usual one */
	char path[108];	/* of the socket; "" the usual one */
};

bool
remote_is_url(const char *socket)
{
	return strncmp(socket, SCHEME, strlen(SCHEME)) == 0;
}

/* Nothing ssh or a shell might take for something else. */
static bool
is_plain_word(struct str s, const char *more)
{
	if (s.n == 0 || s.p[0] == '-')
		return false;
	for (size_t i = 0; i < s.n; i++)
		if (!(s.p[i] >= 'a' && s.p[i] <= 'z') && !(s.p[i] >= 'A' && s.p[i] <= 'Z') &&
		    !(s.p[i] >= '0' && s.p[i] <= '9') && strchr(more, s.p[i]) == NULL)
			return false;
	return true;
}

static enum err
bad_address(const char *url, const char *what, struct why *why)
{
	return why_set(why, E_USAGE, "%.200s: %s; it is ssh://[USER@]HOST[:PORT][/SOCKET]", url, what);
}

static enum err
parse_address(const char *url, struct address *out, struct why *why)
{
	const char *p = url + strlen(SCHEME), *slash = strchr(p, '/');
	struct str all = { p, slash != NULL ? (size_t)(slash - p) : strlen(p) }, host = all, user = { p, 0 };
	const char *at = memrchr(all.p, '@', all.n), *colon;
	bool bracket;
	uint64_t port;

	if (at != NULL) {
		user.n = (size_t)(at - all.p);
		host = (struct str){ at + 1, all.n - user.n - 1 };
		if (!is_plain_word(user, "._+-"))
			return bad_address(url, "the user's name is none", why);
	}
	bracket = host.n > 0 && host.p[0] == '[';
	colon = memrchr(host.p, ':', host.n);
	if (colon != NULL && (!bracket || colon[-1] == ']')) {
		struct str digits = { colon + 1, host.n - (size_t)(colon + 1 - host.p) };

		if (!str_to_u64(digits, 65535, &port) || port == 0)
			return bad_address(url, "the port is none", why);
		snprintf(out->port, sizeof(out->port), "%u", (unsigned)port);
		host.n = (size_t)(colon - host.p);
	}
	if (bracket && host.n > 2 && host.p[host.n - 1] == ']')
		host = (struct str){ host.p + 1, host.n - 2 };
	else if (bracket)
		return bad_address(url, "the host is none", why);
	if (!is_plain_word(host, bracket ? ".:%-_" : "._-") || user.n > 64 || host.n > 253)
		return bad_address(url, "the host is none", why);
	snprintf(out->where, sizeof(out->where), "%.*s%s%.*s", (int)user.n, user.p, user.n > 0 ? "@" : "",
		 (int)host.n, host.p);
	/* "ssh://host/" has no socket. */
	if (slash != NULL && slash[1] != '\0' && !str_copy(out->path, sizeof(out->path), str_from(slash)))
		return bad_address(url, "the socket's path is too long", why);
	return OK;
}

bool
remote_quote(struct buf *out, struct str word)
{
	static const char quiet[] = "._/:@%+,=-";
	bool plain = word.n > 0 && word.p[0] != '=';
	bool fits = true;

	for (size_t i = 0; i < word.n && plain; i++)
		plain = is_plain_word((struct str){ word.p + i, 1 }, quiet) || word.p[i] == '-';
	if (plain)
		return buf_append(out, word.p, word.n);
	fits = buf_append(out, "'", 1);
	/* Shells disagree on what a backslash is between quotes. */
	for (size_t i = 0; i < word.n && fits; i++)
		if (word.p[i] == '\'' || word.p[i] == '\\')
			fits = buf_append(out, "'\\", 2) && buf_append(out, word.p + i, 1) &&
			       buf_append(out, "'", 1);
		else
			fits = buf_append(out, word.p + i, 1);
	return fits && buf_append(out, "'", 1);
}

static bool
put_shell_word(struct buf *out, struct str word)
{
	return buf_append(out, " ", 1) && remote_quote(out, word);
}

static bool
put_remote_option(struct buf *out, const struct admin_opt *opt)
{
	struct buf b;
	bool fits;

	buf_init(&b, ADMIN_LINE_MAX + 8);
	fits = buf_printf(&b, "--%s%s", opt->key.p, opt->has_value ? "=" : "") &&
	       buf_append(&b, opt->value.p, opt->value.n) && put_shell_word(out, buf_str(&b));
	buf_free(&b);
	return fits;
}

/* The words of the line again, each in quotes where it must be: tealctl there
 * reads them as this one did. */
static bool
make_command(struct buf *out, const struct options *o, const struct address *a)
{
	const struct admin_line *line = &o->line;
	bool fits = buf_printf(out, "tealctl --remote"), dashes = false;

	if (a->path[0] != '\0')
		fits = fits && put_shell_word(out, STR("-s")) && put_shell_word(out, str_from(a->path));
	for (size_t i = 0; i < line->n_args && fits; i++) {
		/* Words that look like options come last. */
		dashes = dashes || line->args[i].p[0] == '-';
		if (!dashes)
			fits = put_shell_word(out, line->args[i]);
	}
	for (size_t i = 0; i < line->n_opts && fits; i++)
		fits = put_remote_option(out, &line->opts[i]);
	if (dashes)
		fits = fits && put_shell_word(out, STR("--"));
	for (size_t i = 0, behind = 0; i < line->n_args && fits; i++) {
		behind = behind || line->args[i].p[0] == '-';
		if (behind)
			fits = put_shell_word(out, line->args[i]);
	}
	return fits && buf_append(out, "", 1);
}

/* ssh and its arguments; text holds the words of TEAL_SSH. */
static enum err
make_argv(const char **argv, char *text, const struct address *a, const char *command, struct why *why)
{
	/* Not the keyboard, no terminal, nothing forwarded; and a way that is dead
	 * is noticed.  The first word counts: TEAL_SSH can say otherwise. */
	static const char *const usual[] = {
		"-T", "-a", "-x", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10",
		"-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3",
	};
	size_t n = 0;

	for (char *word = strtok(text, " \t\n"); word != NULL; word = strtok(NULL, " \t\n")) {
		if (n == SSH_WORDS_MAX)
			return why_set(why, E_USAGE, "TEAL_SSH has more than %d words", SSH_WORDS_MAX);
		argv[n++] = word;
	}
	if (n == 0)
		argv[n++] = "ssh";
	for (size_t i = 0; i < ARRAY_LEN(usual); i++)
		argv[n++] = usual[i];
	if (a->port[0] != '\0') {
		argv[n++] = "-p";
		argv[n++] = a->port;
	}
	argv[n++] = "--";
	argv[n++] = a->where;
	argv[n++] = command;
	argv[n] = NULL;
	return OK;
}

static enum err
run_ssh(struct remote *r, const char *const *argv, struct admin_link *c, struct why *why)
{
	posix_spawn_file_actions_t files;
	int pair[2], error;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
		return why_set(why, E_INTERNAL, "socketpair: %s", strerror(errno));
	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_adddup2(&files, pair[1], 0);
	posix_spawn_file_actions_adddup2(&files, pair[1], 1);
	error = posix_spawnp(&r->pid, argv[0], &files, NULL, (char *const *)(uintptr_t)argv, environ);
	posix_spawn_file_actions_destroy(&files);
	close(pair[1]);
	if (error != 0) {
		r->pid = 0;
		close(pair[0]);
		return why_set(why, E_INTERNAL, "cannot run %s: %s%s", argv[0], strerror(error),
			       error == ENOENT ? "; is the OpenSSH client installed?" : "");
	}
	admin_link_take(c, pair[0]);
	return OK;
}

enum err
remote_open(struct remote *r, const struct options *o, struct admin_link *c, struct why *why)
{
	const char *env = getenv("TEAL_SSH"), *argv[SSH_WORDS_MAX + 32];
	struct address a = { .port = "" };
	struct buf command;
	char *text;
	enum err e;

	*r = (struct remote){ .pid = 0 };
	if ((e = parse_address(o->way.socket, &a, why)) != OK)
		return e;
	memcpy(r->where, a.where, sizeof(r->where));
	text = must_strdup(env != NULL ? env : "");
	buf_init(&command, COMMAND_MAX);
	if (!make_command(&command, o, &a))
		e = why_set(why, E_USAGE, "the command is too long for ssh");
	if (e == OK)
		e = make_argv(argv, text, &a, buf_str(&command).p, why);
	if (e == OK)
		e = run_ssh(r, argv, c, why);
	buf_free(&command);
	free(text);
	return e;
}

int
remote_end(struct remote *r, struct admin_link *c)
{
	const struct timespec nap = { 0, 5000000 };
	double until = clock_now() + END_SECONDS;
	bool killed = false;
	int status;
	pid_t pid;

	if (r->pid == 0)
		return -1;
	/* It ends when the tealctl there does, whose standard input ends now. */
	admin_link_close(c);
	while ((pid = waitpid(r->pid, &status, killed ? 0 : WNOHANG)) != r->pid) {
		if (pid < 0 && errno != EINTR)
			break;
		if (pid == 0 && clock_now() > until) {
			kill(r->pid, SIGKILL);
			killed = true;
		} else if (pid == 0) {
			nanosleep(&nap, NULL);
		}
	}
	r->pid = 0;
	return pid > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}
