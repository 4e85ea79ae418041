/* kernel_services.c - opens the kernel engine, and remembers in state_dir which tables
 * may be in the kernel: they go on without teald, so the next one has to know of
 * them although its configuration may have another, or none.  Thread: main. */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/teald/kernel_services.h"
#include "app/teald/startup.h"
#include "base/log.h"
#include "base/thread.h"
#include "kernel/ruleset.h"
#include "store/state_cache.h"
#include "store/state_disk.h"

#define TABLES_FILE "teal.tables"
#define TABLES 8
#define NEEDED (UINT64_C(1) << CAP_NET_ADMIN)
#define PROGRAM (UINT64_C(1) << CAP_BPF | UINT64_C(1) << CAP_PERFMON)
#define LOOK 0.05	/* seconds between two looks whether everything is served */

struct tables {
	char names[TABLES][RULESET_TABLE_MAX + 1];
	size_t n;
};

/* A table of an earlier configuration. */
struct earlier {
	char name[RULESET_TABLE_MAX + 1];
	struct ruleset *ruleset;	/* NULL: it cannot be reached */
};

struct kernel_services {
	struct ev_loop *loop;
	const struct config *config;
	const struct control *control;
	struct kernel *kernel;	/* NULL: no service is of it */
	struct earlier earlier[TABLES];
	size_t n_earlier;
	ev_timer look;
};

/* -- what may be in the kernel ----------------------------------------------------- */

static void
remembered(const struct config *config, struct tables *t)
{
	char *path = must_printf("%s/" TABLES_FILE, config->state_dir), line[128];
	FILE *f = fopen(path, "re");

	t->n = 0;
	while (f != NULL && t->n < TABLES && fgets(line, sizeof(line), f) != NULL) {
		size_t length =
			strspn(line, "-0123456789_ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz");

		if (length > 0 && line[length] == '\n' &&
		    str_copy(t->names[t->n], sizeof(t->names[0]), (struct str){ line, length }))
			t->n++;
		else
			LOG_WARN("kernel.table_left", LS("path", path),
				 LS("error", "the file was cut short or overwritten: a table of an earlier configuration may be "
				    "left; nft list tables shows it, nft delete table inet NAME takes it away"));
	}
	if (f != NULL)
		fclose(f);
	free(path);
}

/* Whole or not at all: one that was forgotten would stay for ever. */
static enum err
remember(const struct config *config, const struct tables *t, struct why *why)
{
	char *path = must_printf("%s/" TABLES_FILE, config->state_dir), *tmp = must_printf("%s.tmp", path);
	FILE *f = t->n > 0 ? fopen(tmp, "we") : NULL;
	bool good = t->n == 0 ? unlink(path) == 0 || errno == ENOENT : f != NULL;

	for (size_t i = 0; good && i < t->n; i++)
		good = fprintf(f, "%s\n", t->names[i]) > 0;
	if (f != NULL) {
		good = fflush(f) == 0 && good && fsync(fileno(f)) == 0;
		good = fclose(f) == 0 && good && rename(tmp, path) == 0;
	}
	if (!good)
		why_set(why, E_USAGE, "cannot write %s: %s", path, strerror(errno));
	free(path);
	free(tmp);
	return good ? OK : E_USAGE;
}

/* Those that are there, as far as we know: our own if we have one, and the
 * earlier ones that are left. */
static void
tables_now(const struct kernel_services *f, bool own, struct tables *t)
{
	t->n = 0;
	if (own)
		str_copy(t->names[t->n++], sizeof(t->names[0]), str_from(f->config->kernel.table));
	for (size_t i = 0; i < f->n_earlier && t->n < TABLES; i++)
		str_copy(t->names[t->n++], sizeof(t->names[0]), str_from(f->earlier[i].name));
}

static void
remember_now(const struct kernel_services *f, bool own)
{
	struct tables t;
	struct why why;

	tables_now(f, own, &t);
	if (remember(f->config, &t, &why) != OK)
		LOG_WARN("kernel.not_forgotten", LS("error", why.text));
}

/* CAP_NET_ADMIN is needed for services of this engine, and to take away the table of
 * those that were there before. */
static bool
kernel_is_wanted(const struct config *config)
{
	struct tables t;

	remembered(config, &t);
	return config->kernel.on || t.n > 0;
}

/* And of those that a program of the kernel's needs the ones that we have: where they are missing it says so. */
static uint64_t
needed(const struct config *config)
{
	return NEEDED | (config->kernel.shortcut != SHORTCUT_OFF ? startup_capabilities(PROGRAM) : 0);
}

void
kernel_services_needs(const struct config *config, struct engine_needs *out)
{
	*out = (struct engine_needs){ .capabilities = kernel_is_wanted(config) ? needed(config) : 0 };
}

/* -- tables of earlier configurations ------------------------------------------------ */

/* While we may: its thread keeps the right to take it away. */
static void
find_earlier(struct kernel_services *f, const char *id)
{
	const struct ruleset_calls none = { .arg = NULL };
	struct tables t;
	struct why why;

	remembered(f->config, &t);
	for (size_t i = 0; i < t.n; i++) {
		struct earlier *e = &f->earlier[f->n_earlier];
		const struct ruleset_config rc = { .table = t.names[i], .owner = id, .tag = 1 };

		if (f->config->kernel.on && strcmp(t.names[i], f->config->kernel.table) == 0)
			continue;
		switch (ruleset_open(f->loop, &rc, &none, &e->ruleset, &why)) {
		case E_CONFLICT:
			continue;	/* another owner's by now, who looks after it */
		case OK:
			break;
		default:
			LOG_WARN("kernel.table_left", LS("name", t.names[i]), LS("error", why.text));
		}
		strcpy(e->name, t.names[i]);
		f->n_earlier++;
	}
}

static void
remove_earlier(struct kernel_services *f)
{
	size_t left = 0;
	struct why why;

	for (size_t i = 0; i < f->n_earlier; i++) {
		struct earlier *e = &f->earlier[i];

		if (e->ruleset != NULL) {
			if (ruleset_close(&e->ruleset, true, &why) == OK) {
				LOG_INFO("kernel.table_removed", LS("name", e->name));
				continue;
			}
			LOG_WARN("kernel.table_left", LS("name", e->name), LS("error", why.text));
		}
		if (left != i)
			strcpy(f->earlier[left].name, e->name);
		left++;
	}
	f->n_earlier = left;
	remember_now(f, f->kernel != NULL);
}

static void
kernel_services_on_look(struct ev_loop *loop, ev_timer *t, int revents)
{
	struct kernel_services *f = container_of(t, struct kernel_services, look);

	(void)revents;
	if (f->control->life == LIFE_STARTING)
		return;
	ev_timer_stop(loop, t);
	remove_earlier(f);
}

/* -- life --------------------------------------------------------------------------- */

static void
kernel_services_warn(const char *text)
{
	LOG_WARN("kernel.lacks", LS("hint", text));
}

static void
give_up_capability(void)
{
	struct why why;

	if (startup_drop_capabilities(NEEDED | PROGRAM, &why) != OK)
		LOG_WARN("kernel.lacks", LS("hint", why.text));
}

enum err
kernel_services_prepare(const struct config *config, struct why *why)
{
	enum err e = OK;

	if (kernel_is_wanted(config))
		thread_on_start(give_up_capability);
	if (config->kernel.on)
		e = kernel_check(config, kernel_services_warn, why);
	return e;
}

static enum err
open_alone(struct kernel_services *f, struct service **services, size_t n, struct why *why)
{
	const struct config *config = f->config;
	char id[TEAL_ID];
	struct tables t;
	enum err e = state_cache_read_id(config->state_dir, id, why);

	if (e != OK)
		return e;
	if (config->kernel.on && ((e = kernel_check(config, kernel_services_warn, why)) != OK ||
				  (e = kernel_open(&f->kernel, f->loop, config, services, n, id, why)) != OK))
		return e;
	find_earlier(f, id);
	tables_now(f, config->kernel.on, &t);
	if ((e = remember(config, &t, why)) != OK)
		return e;
	return startup_drop_capabilities(NEEDED | PROGRAM, why);
}

enum err
kernel_services_open(struct kernel_services **out, struct ev_loop *loop, const struct config *config,
	     struct service **services, size_t n, struct why *why)
{
	const struct state_owner owner = { config->user, config->uid, config->gid };
	struct state_disk disk;
	struct kernel_services *f;
	enum err e;

	*out = NULL;
	thread_on_start(NULL);
	if (!kernel_is_wanted(config))
		return OK;
	f = *out = must_alloc(sizeof(*f));
	*f = (struct kernel_services){ .loop = loop, .config = config };
	ev_timer_init(&f->look, kernel_services_on_look, LOOK, LOOK);
	/* Another teald that has this folder has this table as well: hands off.  The
	 * store takes the lock for good, a moment later. */
	if ((e = state_disk_open(&disk, config->state_dir, &owner, why)) == OK)
		e = open_alone(f, services, n, why);
	state_disk_close(&disk);
	return e;
}

struct engine *
kernel_services_engine(struct kernel_services *f)
{
	return f != NULL && f->kernel != NULL ? kernel_engine(f->kernel) : NULL;
}

int
kernel_services_bequeath(const struct kernel_services *f)
{
	return f != NULL && f->kernel != NULL ? kernel_shortcut_counts(f->kernel) : -1;
}

void
kernel_services_start(struct kernel_services *f, const struct control *control)
{
	if (f == NULL)
		return;
	f->control = control;
	if (f->n_earlier > 0)
		ev_timer_start(f->loop, &f->look);
}

void
kernel_services_close(struct kernel_services **fp)
{
	struct kernel_services *f = *fp;
	struct why why;

	*fp = NULL;
	if (f == NULL)
		return;
	ev_timer_stop(f->loop, &f->look);
	if (kernel_free(&f->kernel))
		remember_now(f, false);
	for (size_t i = 0; i < f->n_earlier; i++)
		(void)!ruleset_close(&f->earlier[i].ruleset, false, &why);
	free(f);
}

void
kernel_services_print(const struct config *config)
{
	char *path = must_printf("%s/teal.id", config->state_dir), id[TEAL_ID] = "";
	struct why why;

	/* A test writes nothing: before the first start the id is unknown. */
	if (access(path, R_OK) != 0 || state_cache_read_id(config->state_dir, id, &why) != OK)
		str_copy(id, sizeof(id), STR("0000000000000000"));
	free(path);
	if (config->kernel.on)
		kernel_print(config, id, stdout);
	else
		printf("# no service has engine = \"kernel\"\n");
}
