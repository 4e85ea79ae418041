/* watched_file.c - the last known nodes on disk, as JSON.  Any thread. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "store/watched_file.h"
#include "store/state_disk.h"

/* One at a time: the thread of a watch that is told to stop may still write when another one begins. */
static pthread_mutex_t writing = PTHREAD_MUTEX_INITIALIZER;

static char *
file_path(const char *state_dir, const char *pool)
{
	return must_printf("%s/teal.nodes.%s", state_dir, pool);
}

static void
put_node(struct json *j, const struct watched *w)
{
	json_object(j, NULL);
	json_cstr(j, "name", w->node.name);
	json_cstr(j, "host", w->node.host);
	json_u64(j, "signals", w->node.signals);
	json_cstr(j, "taint", w->node.taint);
	json_bool(j, "deleted", w->deleted);
	json_cstr(j, "why", watched_why_word(w->why));
	json_u64(j, "since_us", (uint64_t)w->since_us);
	json_object_end(j);
}

bool
watched_text_write(struct buf *out, const char *pool, const struct watched_set *s, int64_t seen_us)
{
	struct json j;

	json_init(&j, out);
	json_object(&j, NULL);
	json_cstr(&j, "pool", pool);
	json_u64(&j, "seen_us", (uint64_t)seen_us);
	json_array(&j, "nodes");
	for (size_t i = 0; i < s->n; i++)
		put_node(&j, &s->list[i]);
	json_array_end(&j);
	json_object_end(&j);
	json_line_end(&j);
	return !out->failed;
}

enum err
watched_file_write(const char *state_dir, const char *pool, const struct watched_set *s, int64_t seen_us,
		   bool (*may)(void *arg), void *arg, struct why *why)
{
	char *path = file_path(state_dir, pool), *tmp = must_printf("%s.%d.tmp", path, (int)getpid());
	struct state_disk disk = { .dir = (char *)(uintptr_t)state_dir, .file = path, .tmp = tmp, .lock_fd = -1 };
	struct buf text;
	enum err e = OK;

	buf_init(&text, WATCHED_TEXT_MAX);
	if (!watched_text_write(&text, pool, s, seen_us)) {
		e = why_set(why, E_NOT_DURABLE, "it does not fit into memory");
	} else {
		pthread_mutex_lock(&writing);
		if (may == NULL || may(arg))
			e = state_disk_write(&disk, buf_str(&text), STR(""), why);
		pthread_mutex_unlock(&writing);
	}
	buf_free(&text);
	free(tmp);
	free(path);
	return e;
}

static const char *
kept_text(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text != NULL ? text : "";
}

static bool
take_kept_node(struct watched_set *s, const json_t *o)
{
	struct kube_node n = { .signals = (unsigned)json_integer_value(json_object_get(o, "signals")) };
	const char *host = kept_text(o, "host");
	enum watched_why why;
	struct watched *w;

	if (!str_copy(n.name, sizeof(n.name), str_from(kept_text(o, "name"))) || n.name[0] == '\0' ||
	    !str_copy(n.taint, sizeof(n.taint), str_from(kept_text(o, "taint"))) ||
	    (host[0] != '\0' && !kube_host_form(host, n.host)) || !watched_why_from_word(kept_text(o, "why"), &why) ||
	    !watched_put(s, &n, 0))
		return false;
	w = watched_find(s, n.name);
	w->deleted = json_is_true(json_object_get(o, "deleted"));
	w->since_us = json_integer_value(json_object_get(o, "since_us"));
	watched_set_why(w, why);
	return true;
}

enum err
watched_text_read(struct str text, struct watched_set *out, int64_t *seen_us, struct why *why)
{
	json_error_t error;
	json_t *root = json_loadb(text.p, text.n, 0, &error);
	const json_t *nodes = json_object_get(root, "nodes"), *one;
	enum err e = json_is_array(nodes) ? OK : why_set(why, E_STORE, "it is not what teald has written");
	size_t i;

	*out = (struct watched_set){ 0 };
	json_array_foreach(nodes, i, one)
		if (e == OK && !take_kept_node(out, one))
			e = why_set(why, E_STORE, "its node %zu makes no sense", i);
	*seen_us = json_integer_value(json_object_get(root, "seen_us"));
	json_decref(root);
	if (e != OK)
		watched_free(out);
	return e;
}

enum err
watched_file_read(const char *state_dir, const char *pool, struct watched_set *out, int64_t *seen_us, struct why *why)
{
	char *path = file_path(state_dir, pool);
	/* O_NONBLOCK: a fifo of that name must not hang the start. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	enum err e = OK;
	struct buf text;
	struct stat st;

	*out = (struct watched_set){ 0 };
	*seen_us = 0;
	buf_init(&text, WATCHED_TEXT_MAX);
	if (fd < 0)
		e = errno == ENOENT ? OK : why_set(why, E_STORE, "cannot be opened: %s", strerrordesc_np(errno));
	else if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || (size_t)st.st_size > WATCHED_TEXT_MAX)
		e = why_set(why, E_STORE, "is no plain file, or too long");
	else if ((e = state_disk_take(fd, (size_t)st.st_size, &text, why)) == OK)
		e = watched_text_read(buf_str(&text), out, seen_us, why);
	if (fd >= 0)
		close(fd);
	if (e != OK) {
		watched_free(out);
		*seen_us = 0;
	}
	buf_free(&text);
	free(path);
	return e;
}
