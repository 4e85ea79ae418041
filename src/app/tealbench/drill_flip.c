/* drill_flip.c - how a drill flips: through teald's admin socket, or by any
 * command.  Thread: the flipper's; it may block. */
#include <jansson.h>

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "app/tealbench/drill.h"

#define LINE_MAX_BYTES (1 << 20)
#define ACTIVE_SECONDS 5.

extern char **environ;

enum err
drill_admin_open(struct drill_admin *a, const char *path, struct why *why)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };

	*a = (struct drill_admin){ .fd = -1, .line = must_alloc(LINE_MAX_BYTES) };
	if (!str_copy(un.sun_path, sizeof(un.sun_path), str_from(path)))
		return why_set(why, E_USAGE, "--admin=%s: the path is too long", path);
	a->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (a->fd < 0 || connect(a->fd, (struct sockaddr *)&un, sizeof(un)) < 0)
		return why_set(why, E_USAGE, "--admin=%s: %s", path, strerror(errno));
	return OK;
}

void
drill_admin_close(struct drill_admin *a)
{
	if (a->fd >= 0)
		close(a->fd);
	a->fd = -1;
	free(a->line);
	a->line = NULL;
}

bool
drill_admin_send(struct drill_admin *a, const char *line)
{
	size_t n = strlen(line), at = 0;
	ssize_t sent;

	while (at < n) {
		sent = send(a->fd, line + at, n - at, MSG_NOSIGNAL);
		if (sent < 0 && errno != EINTR)
			return false;
		at += sent > 0 ? (size_t)sent : 0;
	}
	return true;
}

json_t *
drill_admin_next(struct drill_admin *a, uint64_t deadline)
{
	struct pollfd p = { .fd = a->fd, .events = POLLIN };
	uint64_t now;
	json_t *object;
	char *end;
	ssize_t got;

	while ((end = memchr(a->line, '\n', a->n)) == NULL) {
		now = load_now();
		if (now >= deadline || a->n == LINE_MAX_BYTES ||
		    poll(&p, 1, (int)((deadline - now) / 1000000u) + 1) < 0)
			return NULL;
		if (p.revents == 0)
			continue;
		got = recv(a->fd, a->line + a->n, LINE_MAX_BYTES - a->n, 0);
		if (got <= 0)
			return NULL;
		a->n += (size_t)got;
	}
	object = json_loadb(a->line, (size_t)(end - a->line), 0, NULL);
	a->n -= (size_t)(end + 1 - a->line);
	memmove(a->line, end + 1, a->n);
	return object;
}

static const char *
member_text(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text != NULL ? text : "";
}

enum err
drill_admin_active(struct drill_admin *a, const char *service, char color[LOAD_NAME_MAX + 1], struct why *why)
{
	char line[256];
	json_t *reply;
	enum err e = OK;

	snprintf(line, sizeof(line), "active %s\n", service);
	if (!drill_admin_send(a, line) || (reply = drill_admin_next(a, load_now() + load_ns(ACTIVE_SECONDS))) == NULL)
		return why_set(why, E_INTERNAL, "teald does not answer on its admin socket");
	str_copy(color, LOAD_NAME_MAX + 1, str_from(member_text(reply, "color")));
	if (!json_is_true(json_object_get(reply, "ok")))
		e = why_set(why, err_from_word(member_text(reply, "error")), "%s",
			    member_text(reply, "message"));
	json_decref(reply);
	return e;
}

/* A progress object; the rest is for people. */
static void
flip_progress(struct drill_flip *f, const json_t *o)
{
	const char *event = member_text(o, "event");

	if (strcmp(event, "applied") == 0) {
		f->epoch = (uint64_t)json_integer_value(json_object_get(o, "epoch"));
		atomic_store(&f->applied, load_now());
		f->made = true;
	} else if (strcmp(event, "drained") == 0) {
		f->drained = load_now();
		f->cut = (uint64_t)json_integer_value(json_object_get(o, "cut"));
	}
}

bool
drill_admin_flip(struct drill_admin *a, const struct drill_config *config, struct drill_flip *f)
{
	char line[512];
	uint64_t deadline;
	json_t *o;
	bool last = false;

	snprintf(line, sizeof(line), "flip %s %s --expect=%s --wait=%s --reason=drill\n", config->service,
		 config->color[f->color], config->color[!f->color], config->wait);
	deadline = load_now() + load_ns(config->flip_timeout);
	if (!drill_admin_send(a, line)) {
		str_copy(f->error, sizeof(f->error), STR("the admin socket is closed"));
		return false;
	}
	while (!last) {
		if ((o = drill_admin_next(a, deadline)) == NULL) {
			str_copy(f->error, sizeof(f->error), STR("no answer from the admin socket"));
			return false;
		}
		flip_progress(f, o);
		if (json_object_get(o, "ok") != NULL) {
			last = true;
			str_copy(f->error, sizeof(f->error), str_from(member_text(o, "error")));
			if (!f->made && json_is_false(json_object_get(o, "changed")))
				atomic_store(&f->refused, true);
		}
		json_decref(o);
	}
	return true;
}

static bool
is_color_entry(const char *entry)
{
	return strncmp(entry, "COLOR=", 6) == 0;
}

/* The environment with COLOR in it; NULL-terminated, freed by the caller. */
static char **
environment_with(char *color)
{
	size_t n = 0, k = 0;
	char **out;

	while (environ[n] != NULL)
		n++;
	out = must_array(n + 2, sizeof(*out));
	for (size_t i = 0; i < n; i++)
		if (!is_color_entry(environ[i]))
			out[k++] = environ[i];
	out[k] = color;
	return out;
}

void
drill_command_flip(const struct drill_config *config, struct drill_flip *f)
{
	char color[LOAD_NAME_MAX + 16], shell[] = "sh", dash_c[] = "-c", *command = strdup(config->command);
	char *argv[] = { shell, dash_c, command, NULL }, **env;
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attributes;
	sigset_t none;
	int status = 0, failed;
	pid_t pid;

	CHECK(command != NULL);
	snprintf(color, sizeof(color), "COLOR=%s", config->color[f->color]);
	env = environment_with(color);
	sigemptyset(&none);
	posix_spawn_file_actions_init(&files);
	/* What it prints must not get in between our lines. */
	posix_spawn_file_actions_adddup2(&files, STDERR_FILENO, STDOUT_FILENO);
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setsigmask(&attributes, &none);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
	failed = posix_spawn(&pid, "/bin/sh", &files, &attributes, argv, env);
	while (failed == 0 && waitpid(pid, &status, 0) < 0)
		failed = errno == EINTR ? 0 : errno;
	if (failed != 0) {
		snprintf(f->error, sizeof(f->error), "%s", strerror(failed));
	} else if (status != 0) {
		snprintf(f->error, sizeof(f->error), "the command failed (%d)",
			 WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status));
	} else {
		atomic_store(&f->applied, load_now());
		f->made = true;
	}
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&files);
	free(env);
	free(command);
}
