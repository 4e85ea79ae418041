/* forward.c - opens the kernel engine, and remembers its table in state_dir:
 * a table goes on without teald, so the next one has to know of it although its
 * configuration may have another, or none.  Thread: main, before it serves. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/forward.h"
#include "app/startup.h"
#include "base/log.h"
#include "control/state_cache.h"

#define TABLE_FILE "teal.table"
#define NAME_MAX_BYTES 64

static char *
table_path(const struct config *config)
{
	return must_printf("%s/" TABLE_FILE, config->state_dir);
}

/* The name of the table that was made last; "" when there was none. */
static void
remembered(const struct config *config, char name[NAME_MAX_BYTES])
{
	char *path = table_path(config);
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	ssize_t n = fd >= 0 ? read(fd, name, NAME_MAX_BYTES - 1) : 0;

	name[n > 0 ? n : 0] = '\0';
	if (name[strspn(name, "-0123456789_ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")] != '\0')
		name[0] = '\0';
	if (fd >= 0)
		close(fd);
	free(path);
}

static enum err
remember(const struct config *config, struct why *why)
{
	const char *name = config->kernel.table;
	char *path = table_path(config);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0640);
	enum err e = OK;

	if (fd < 0 || write(fd, name, strlen(name)) != (ssize_t)strlen(name) || fsync(fd) != 0)
		e = why_set(why, E_USAGE, "cannot write %s: %s", path, strerror(errno));
	if (fd >= 0)
		close(fd);
	free(path);
	return e;
}

void
forward_forget(const struct config *config)
{
	char *path = table_path(config);

	if (unlink(path) != 0 && errno != ENOENT)
		LOG_WARN("kernel.not_forgotten", LS("path", path), LS("error", strerror(errno)));
	free(path);
}

bool
forward_is_wanted(const struct config *config)
{
	char name[NAME_MAX_BYTES];

	remembered(config, name);
	return config->kernel.on || name[0] != '\0';
}

static void
remove_earlier(struct ev_loop *loop, const struct config *config, const char *name, const char *id)
{
	struct why why = { "" };
	enum err e = kernel_remove(loop, name, id, &why);

	/* Somebody else's by now: they look after it. */
	if (e != OK && e != E_CONFLICT)
		LOG_WARN("kernel.table_left", LS("name", name), LS("error", why.text));
	else
		LOG_INFO("kernel.table_removed", LS("name", name));
	if (e != OK && e != E_CONFLICT)
		return;
	if (!config->kernel.on)
		forward_forget(config);
}

static void
forward_warn(const char *text)
{
	LOG_WARN("kernel.lacks", LS("hint", text));
}

enum err
forward_open(struct kernel **out, struct ev_loop *loop, const struct config *config,
	     struct service **services, size_t n, struct why *why)
{
	char name[NAME_MAX_BYTES], id[TEAL_ID];
	enum err e;

	*out = NULL;
	if (!forward_is_wanted(config))
		return OK;
	remembered(config, name);
	if ((e = state_cache_read_id(config->state_dir, id, why)) != OK)
		return e;
	if (config->kernel.on && ((e = kernel_check(config, forward_warn, why)) != OK ||
				  (e = kernel_open(out, loop, config, services, n, id, why)) != OK))
		return e;
	if (name[0] != '\0' && (!config->kernel.on || strcmp(name, config->kernel.table) != 0))
		remove_earlier(loop, config, name, id);
	if (config->kernel.on && (e = remember(config, why)) != OK)
		return e;
	return startup_drop_net_admin(why);
}

void
forward_print(const struct config *config)
{
	struct why why;
	char id[TEAL_ID] = "";
	char *path = must_printf("%s/teal.id", config->state_dir);

	/* A test writes nothing: before the first start nobody knows. */
	if (access(path, R_OK) != 0 || state_cache_read_id(config->state_dir, id, &why) != OK)
		str_copy(id, sizeof(id), STR("0000000000000000"));
	free(path);
	if (config->kernel.on)
		kernel_print(config, id, stdout);
	else
		printf("# no service has engine = \"kernel\"\n");
}
