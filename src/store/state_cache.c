/* state_cache.c - the last known state on disk.  Thread: main; the disk is
 * the helper's. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/log.h"
#include "store/state_cache.h"
#include "store/state_claims.h"
#include "store/state_disk.h"

#define ID_FILE "teal.id"
/* Changes gather this long before they are written; a disk that failed is
 * tried again as often. */
#define WRITE_AFTER 0.05
#define RETRY_AFTER 5.0

struct cache_job {
	struct job job;
	struct state_cache *cache;
	struct buf payload;
	struct claims_write claims;
	enum err result;
	struct why why;
};

struct state_cache {
	struct jobs *jobs;
	struct state state;
	struct state_disk disk;
	struct state_claims claims;
	char id[TEAL_ID];
	bool busy;	/* a write is under way */
	bool dirty;	/* memory knows more than the disk */
	bool failed;	/* the last write did */
	ev_timer soon;
};

static void begin_write(struct state_cache *c);

static void
write_after(struct state_cache *c, double seconds)
{
	struct ev_loop *loop = jobs_loop(c->jobs);

	if (c->busy || ev_is_active(&c->soon))
		return;
	ev_timer_set(&c->soon, seconds, 0.0);
	ev_timer_start(loop, &c->soon);
}

/* On the helper thread. */
static void
cache_job_work(struct job *j)
{
	struct cache_job *cj = container_of(j, struct cache_job, job);
	struct str payload = buf_str(&cj->payload);
	char header[STATE_HEADER];
	size_t n = state_header(payload, header);

	if ((cj->result = state_claims_write(&cj->cache->claims, &cj->claims, &cj->why)) == OK)
		cj->result = state_disk_write(&cj->cache->disk, (struct str){ header, n }, payload, &cj->why);
}

static void
cache_job_done(struct job *j)
{
	struct cache_job *cj = container_of(j, struct cache_job, job);
	struct state_cache *c = cj->cache;

	c->busy = false;
	if (cj->result == OK && c->failed)
		LOG_INFO("state.written", LS("path", c->disk.file));
	else if (cj->result != OK && !c->failed)
		LOG_ERROR("state.not_written", LS("path", c->disk.file), LS("reason", cj->why.text));
	c->failed = cj->result != OK;
	if (c->failed)
		c->dirty = true;
	state_claims_end(&c->claims, &cj->claims);
	buf_free(&cj->payload);
	free(cj);
	if (c->dirty)
		write_after(c, c->failed ? RETRY_AFTER : WRITE_AFTER);
}

static void
begin_write(struct state_cache *c)
{
	struct cache_job *cj = must_alloc(sizeof(*cj));
	struct link none;

	list_init(&none);
	cj->job.work = cache_job_work;
	cj->job.done = cache_job_done;
	cj->cache = c;
	buf_init(&cj->payload, STATE_MAX);
	if (!state_encode(&c->state, &none, &cj->payload) ||
	    !state_claims_begin(&c->claims, &c->state, &cj->claims)) {
		buf_free(&cj->payload);
		free(cj);
		return;
	}
	c->busy = true;
	c->dirty = false;
	jobs_add(c->jobs, &cj->job);
}

static void
cache_on_soon(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct state_cache *c = container_of(t, struct state_cache, soon);

	(void)loop;
	(void)revents;
	if (!c->busy && c->dirty)
		begin_write(c);
}

static bool
is_id(const char *text, ssize_t n)
{
	if (n < TEAL_ID - 1)
		return false;
	/* A file whose blocks never reached the disk is zeros. */
	return strspn(text, "0123456789abcdef") >= TEAL_ID - 1 && strspn(text, "0") < TEAL_ID - 1;
}

bool
state_cache_random(char id[TEAL_ID])
{
	uint64_t bits;

	if (getrandom(&bits, sizeof(bits), 0) != sizeof(bits))
		return false;
	snprintf(id, TEAL_ID, "%016llx", (unsigned long long)bits);
	return true;
}

enum err
state_cache_read_id(const char *dir, char id[TEAL_ID], struct why *why)
{
	char *path = must_printf("%s/" ID_FILE, dir), text[TEAL_ID + 1] = "";
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
	ssize_t n = fd < 0 ? -1 : read(fd, text, TEAL_ID);
	enum err e = OK;

	if (n >= 0 && is_id(text, n)) {
		memcpy(id, text, TEAL_ID - 1);
		id[TEAL_ID - 1] = '\0';
	} else if (n >= 0 && state_cache_random(id)) {
		if (pwrite(fd, id, TEAL_ID - 1, 0) != TEAL_ID - 1 || ftruncate(fd, TEAL_ID - 1) != 0 ||
		    fsync(fd) != 0)
			e = why_set(why, E_USAGE, "cannot write %s: %s", path, strerror(errno));
	} else {
		e = why_set(why, E_USAGE, "cannot read %s: %s", path, strerror(errno));
	}
	if (fd >= 0)
		close(fd);
	free(path);
	return e;
}

static enum err
read_cache_file(struct state_cache *c, const struct config *config, struct why *why)
{
	struct state_owner owner = { config->user, config->uid, config->gid };
	struct buf file;
	struct why what;
	bool exists;
	enum err e;

	if (config->state_dir == NULL)
		return why_set(
			why, E_USAGE,
			"state_dir is not set: teald keeps the last known colors and its identity there");
	if ((e = state_disk_open(&c->disk, config->state_dir, &owner, why)) != OK)
		return e;
	buf_init(&file, STATE_MAX + STATE_HEADER);
	e = state_disk_read(&c->disk, &file, &exists, &what);
	if (e == OK && exists)
		e = state_decode(buf_str(&file), &c->state, &what);
	buf_free(&file);
	if (e != OK)
		return why_set(why, e,
			       "%s %s. It is left as it is. Bring back a good copy, or move it away to begin "
			       "with what the store says",
			       c->disk.file, what.text);
	state_claims_open(&c->claims, &c->disk, &c->state);
	return state_cache_read_id(config->state_dir, c->id, why);
}

struct state_cache *
state_cache_open(const struct config *config, struct jobs *jobs, struct why *why)
{
	struct state_cache *c = must_alloc(sizeof(*c));

	c->jobs = jobs;
	c->disk.lock_fd = -1;
	state_init(&c->state);
	ev_timer_init(&c->soon, cache_on_soon, 0.0, 0.0);
	if (read_cache_file(c, config, why) == OK)
		return c;
	state_claims_close(&c->claims);
	state_disk_close(&c->disk);
	state_free(&c->state);
	free(c);
	return NULL;
}

void
state_cache_close(struct state_cache **cp)
{
	struct state_cache *c = *cp;

	*cp = NULL;
	if (c == NULL)
		return;
	while (c->busy || (c->dirty && !c->failed)) {
		if (!c->busy)
			begin_write(c);
		jobs_wait(c->jobs);
	}
	ev_timer_stop(jobs_loop(c->jobs), &c->soon);
	state_claims_close(&c->claims);
	state_disk_close(&c->disk);
	state_free(&c->state);
	free(c);
}

const struct record *
state_cache_find(const struct state_cache *c, const char *service)
{
	const struct state_service *v = state_find(&c->state, service);

	return v != NULL && v->known ? &v->record : NULL;
}

void
state_cache_put(struct state_cache *c, const char *service, const struct record *r)
{
	struct state_service *v = state_add(&c->state, service);

	struct record clean = *r;

	/* A record that the file's reader would refuse must not get into it. */
	if (!state_accept_record(&clean))
		return;
	v->known = true;
	v->record = v->next = clean;
	c->dirty = true;
	write_after(c, WRITE_AFTER);
}

const struct overlay *
state_cache_nodes(const struct state_cache *c, const char *pool)
{
	const struct state_pool *p = state_find_pool(&c->state, pool);

	return p != NULL && p->now.version > 0 ? &p->now : NULL;
}

void
state_cache_put_nodes(struct state_cache *c, const char *pool, const struct overlay *o)
{
	struct state_pool *p = state_add_pool(&c->state, pool);

	overlay_copy(&p->now, o);
	overlay_copy(&p->next, o);
	c->dirty = true;
	write_after(c, WRITE_AFTER);
}

const char *
state_cache_id(const struct state_cache *c)
{
	return c->id;
}
