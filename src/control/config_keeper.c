/* config_keeper.c - the copy of the configuration.  Thread: main, but for
 * keeping_work() and config_keeper_read(). */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "control/config_keeper.h"
#include "store/state_disk.h"

#define COPY_FILE "teal.config"

/* The helper's until done() is called. */
struct keeping {
	struct job job;
	struct config_keeper *keeper;
	const struct config *config;	/* one reference */
	enum err e;
	struct why why;
};

struct config_keeper {
	struct keeping *now;	/* NULL: none is written */
	const struct config *next;	/* one reference; NULL: none waits */
	struct jobs *jobs;
};

char *
config_keeper_path(const struct config *config)
{
	return must_printf("%s/" COPY_FILE, config->state_dir);
}

static enum err
write_copy(const struct config *config, struct why *why)
{
	char *path = config_keeper_path(config), *tmp = must_printf("%s.tmp", path);
	struct state_disk disk = {
		.dir = config->state_dir, .file = path, .tmp = tmp, .lock_fd = -1, .mode = S_IRUSR | S_IWUSR
	};
	struct buf text;
	enum err e;

	buf_init(&text, CONFIG_COPY_MAX);
	config_copy_put(config, &text);
	if (text.failed)
		e = why_set(why, E_NOT_DURABLE, "it does not fit into memory");
	/* One that a crash left, with a mode that may be another. */
	else if (unlink(tmp) != 0 && errno != ENOENT)
		e = why_set(why, E_NOT_DURABLE, "%s is in the way: %s", tmp, strerrordesc_np(errno));
	else
		e = state_disk_write(&disk, buf_str(&text), STR(""), why);
	buf_free(&text);
	free(tmp);
	free(path);
	return e;
}

/* Helper. */
static void
keeping_work(struct job *j)
{
	struct keeping *w = container_of(j, struct keeping, job);

	w->e = write_copy(w->config, &w->why);
}

static void copy_next(struct config_keeper *k);

static void
keeping_done(struct job *j)
{
	struct keeping *w = container_of(j, struct keeping, job);
	struct config_keeper *k = w->keeper;

	k->now = NULL;
	if (w->e == OK)
		LOG_DEBUG("config.copied", LS("config", w->config->path));
	else
		LOG_WARN("config.copy_failed", LS("error", err_word(w->e)), LS("message", w->why.text),
			 LS("hint",
			    "after a crash a broken file would be replaced by an older one, or by none"));
	config_unref(&w->config);
	free(w);
	copy_next(k);
}

static void
copy_next(struct config_keeper *k)
{
	if (k->now != NULL || k->next == NULL)
		return;
	k->now = must_alloc(sizeof(*k->now));
	*k->now = (struct keeping){ .job = { .work = keeping_work, .done = keeping_done },
				    .keeper = k,
				    .config = k->next };
	k->next = NULL;
	jobs_add(k->jobs, &k->now->job);
}

void
config_keeper_keep(struct config_keeper *k, struct jobs *jobs, const struct config *config)
{
	config_unref(&k->next);
	k->next = config_ref(config);
	k->jobs = jobs;
	copy_next(k);
}

struct config_keeper *
config_keeper_new(void)
{
	struct config_keeper *k = must_alloc(sizeof(*k));

	*k = (struct config_keeper){ 0 };
	return k;
}

bool
config_keeper_free(struct config_keeper **kp)
{
	struct config_keeper *k = *kp;
	bool idle = k->now == NULL;

	*kp = NULL;
	config_unref(&k->next);
	if (idle)
		free(k);
	return idle;
}

enum err
config_keeper_read(const char *path, struct config_copy *copy, uid_t *owner, struct why *why)
{
	/* O_NONBLOCK: a fifo of that name must not hang the start. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct buf text;
	struct stat st;
	enum err e = OK;

	*copy = (struct config_copy){ 0 };
	if (fd < 0)
		return why_set(why, E_USAGE, "cannot be opened: %s", strerrordesc_np(errno));
	buf_init(&text, CONFIG_COPY_MAX);
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || (st.st_mode & (S_IWGRP | S_IWOTH)) != 0)
		e = why_set(why, E_USAGE, "is no plain file that only its owner may write");
	else
		e = state_disk_take(fd, (size_t)st.st_size, &text, why);
	close(fd);
	*owner = st.st_uid;
	if (e == OK)
		e = config_copy_parse(buf_str(&text), copy, why);
	buf_free(&text);
	return e;
}
