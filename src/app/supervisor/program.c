/* program.c - which program serves: where it lies, and how it is started. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/supervisor/supervisor.h"
#include "base/path_is_roots.h"

char *
program_beside(const char *teald)
{
	/* As in the build's folder, and where `make install` puts it. */
	static const char *const places[] = { "/teald-serve", "/../libexec/teal/teald-serve" };
	int folder = (int)(strrchr(teald, '/') - teald);

	for (size_t i = 0; i < ARRAY_LEN(places); i++) {
		char *path = must_printf("%.*s%s", folder, teald, places[i]);

		if (access(path, X_OK) == 0)
			return path;
		free(path);
	}
	return NULL;
}

/* The path that was asked for, or else that of now; the caller's from now on.  Where we
 * are root and the one who asks may not be, it is to be in root's hands, and is named
 * without links. */
static char *
path_asked(const char *path, const char *now, char *why, size_t size)
{
	char whole[PATH_MAX];

	if (*path == '\0' || strcmp(path, now) == 0)
		return must_strdup(now);
	if (geteuid() != 0)
		return must_strdup(path);
	if (realpath(path, whole) == NULL)
		snprintf(why, size, "%s: %s", path, strerror(errno));
	else if (!path_is_roots(whole))
		snprintf(why, size,
			 "%s: teald was started as root: this file and the folders above it must be root's, "
			 "and writable by root alone",
			 whole);
	else
		return must_strdup(whole);
	return NULL;
}

bool
program_open(struct program *p, const struct program *now, const char *binary, const char *config, char *why,
	     size_t size)
{
	const char *name = strrchr(binary, '/');
	char *beside = name != NULL && strcmp(name, "/teald") == 0 ? program_beside(binary) : NULL;
	struct stat st;

	*p = (struct program){ .fd = -1, .assume_initial = now->assume_initial };
	p->path = path_asked(beside != NULL ? beside : binary, now->path, why, size);
	free(beside);
	p->config = p->path != NULL ? path_asked(config, now->config, why, size) : NULL;
	p->fd = p->config != NULL ? open(p->path, O_PATH | O_CLOEXEC) : -1;
	if (p->fd >= 0 && fstat(p->fd, &st) == 0 && S_ISREG(st.st_mode))
		return true;
	if (p->fd >= 0)
		snprintf(why, size, "%s is not a file", p->path);
	else if (p->config != NULL)
		snprintf(why, size, "%s: %s", p->path, strerror(errno));
	program_close(p);
	return false;
}

void
program_close(struct program *p)
{
	if (p->fd >= 0)
		close(p->fd);
	free(p->path);
	free(p->config);
	*p = (struct program){ .fd = -1 };
}

void
program_exec(const struct program *p, bool successor)
{
	char *argv[6] = { p->path }, **next = argv + 1;
	const char *hint = "";
	struct stat there, own;

	if (successor)
		*next++ = "--successor";
	*next++ = "-c";
	*next++ = p->config;
	if (p->assume_initial)
		*next = "--assume-initial";
	/* By its name, which ps(1) shows then, unless another file has it now. */
	if (stat(p->path, &there) == 0 && fstat(p->fd, &own) == 0 && there.st_dev == own.st_dev &&
	    there.st_ino == own.st_ino)
		execv(p->path, argv);
	else
		(void)execveat(p->fd, "", argv, environ, AT_EMPTY_PATH);
	if (errno == ENOEXEC)
		hint = ": not a program, or one for another architecture";
	else if (errno == ENOENT)
		hint = ": what it needs to be loaded (ld.so) is missing: built for another system";
	fprintf(stderr, "teald: cannot start %s: %s%s\n", p->path, strerror(errno), hint);
}
