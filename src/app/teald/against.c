/* against.c - asks a running teald for its list of keys, as `tealctl config` does.
 * Thread: main, alone. */
#include <jansson.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "app/teald/against.h"
#include "base/buf.h"
#include "model/config_plan.h"

/* Of one answer from it. */
#define PATIENCE_SECONDS 10
#define REPLY_MAX ((size_t)16 << 20)
#define PIECE 65536

static int
dial_daemon(const char *path, struct why *why)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	const struct timeval patience = { .tv_sec = PATIENCE_SECONDS };
	int fd;

	if (!str_copy(un.sun_path, sizeof(un.sun_path), str_from(path))) {
		(void)why_set(why, E_USAGE, "--against: the path of a socket has at most %zu bytes", sizeof(un.sun_path) - 1);
		return -1;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) != 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) != 0 ||
	    connect(fd, (const struct sockaddr *)&un, sizeof(un)) != 0) {
		(void)why_set(why, E_INTERNAL, "--against: no teald answers on %s: %s", path, strerror(errno));
		if (fd >= 0)
			close(fd);
		return -1;
	}
	return fd;
}

/* One line back; false with the reason. */
static bool
ask_daemon(int fd, const char *line, struct buf *reply, struct why *why)
{
	char *room;
	ssize_t n;

	if (send(fd, line, strlen(line), MSG_NOSIGNAL) != (ssize_t)strlen(line)) {
		(void)why_set(why, E_INTERNAL, "--against: teald does not take the question: %s", strerror(errno));
		return false;
	}
	while (buf_len(reply) == 0 || buf_str(reply).p[buf_len(reply) - 1] != '\n') {
		if ((room = buf_reserve(reply, PIECE)) == NULL) {
			(void)why_set(why, E_INTERNAL, "--against: the answer is too long");
			return false;
		}
		n = recv(fd, room, PIECE, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			(void)why_set(why, E_INTERNAL, "--against: teald does not answer: %s",
				      n == 0 ? "it closed the connection" : strerror(errno));
			return false;
		}
		buf_commit(reply, (size_t)n);
	}
	return true;
}

static bool
take_reply_keys(struct config_section *s, json_t *of)
{
	json_t *list = json_object_get(of, "keys"), *key;
	size_t i;

	json_array_foreach(list, i, key)
	{
		const char *name = json_string_value(json_object_get(key, "key"));
		const char *value = json_string_value(json_object_get(key, "value"));

		if (name == NULL || value == NULL)
			return false;
		config_section_add(s, name, value);
	}
	return json_is_array(list);
}

static bool
take_reply_services(struct config_keys *k, json_t *object)
{
	json_t *list = json_object_get(object, "services"), *service;
	size_t i;

	json_array_foreach(list, i, service)
	{
		const char *name = json_string_value(json_object_get(service, "service"));

		if (name == NULL || !take_reply_keys(config_keys_add(k, name, NULL), service))
			return false;
	}
	return json_is_array(list);
}

static enum err
parse_reply(struct str text, struct config_keys *k, struct why *why)
{
	json_error_t error;
	json_t *object = json_loadb(text.p, text.n, 0, &error);
	const char *message = json_string_value(json_object_get(object, "message"));
	const char *word = json_string_value(json_object_get(object, "error"));
	enum err e = OK;

	if (word != NULL)
		e = why_set(why, err_from_word(word), "--against: %.800s", message != NULL ? message : word);
	else if (!take_reply_keys(&k->settings, object) || !take_reply_services(k, object))
		e = why_set(why, E_INTERNAL, "--against: what answers there does not talk like teald");
	json_decref(object);
	return e;
}

static enum err
print_plan(const struct config_keys *running, const struct config *config)
{
	struct config_keys *to = config_keys_new(config);
	struct config_plan *p = config_plan_new(running, to);
	struct buf text;

	buf_init(&text, REPLY_MAX);
	config_plan_text(p, &text);
	fwrite(buf_str(&text).p, 1, buf_len(&text), stdout);
	buf_free(&text);
	config_plan_free(&p);
	config_keys_free(&to);
	return OK;
}

enum err
against_print(const char *path, const struct config *config, struct why *why)
{
	struct config_keys *running = config_keys_empty();
	enum err e = E_INTERNAL;
	struct buf reply;
	int fd;

	buf_init(&reply, REPLY_MAX);
	if ((fd = dial_daemon(path, why)) >= 0 && ask_daemon(fd, "config\n", &reply, why))
		e = parse_reply(buf_str(&reply), running, why);
	if (e == OK)
		e = print_plan(running, config);
	if (fd >= 0)
		close(fd);
	buf_free(&reply);
	config_keys_free(&running);
	return e;
}
