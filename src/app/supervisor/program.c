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

char *
program_beside(const char *teald)
{
	/* As in the build's folder, and where `make install` puts it. */
	static const char *const places[] = { "/teald-serve", "/../libexec/teal/teald-serve" };
	const char *slash = strrchr(teald, '/');

	for (size_t i = 0; i < ARRAY_LEN(places); i++) {
		char *path = must_printf("%.*s%s", slash != NULL ? (int)(slash - teald) : 1,
					 slash != NULL ? teald : ".", places[i]);

		if (access(path, X_OK) == 0)
			return path;
		free(path);
	}
	return NULL;
}

/* Neither the file nor what leads to it can be changed but by root. */
static bool
only_root_writes(const char *path)
{
	char part[PATH_MAX];
	struct stat st;

	for (snprintf(part, sizeof(part), "%s", path);; *strrchr(part, '/') = '\0') {
		if (lstat(*part != '\0' ? part : "/", &st) != 0 || st.st_uid != 0)
			return false;
		if ((st.st_mode & (S_IWGRP | S_IWOTH)) != 0 && !(S_ISDIR(st.st_mode) && (st.st_mode & S_ISVTX) != 0))
			return false;
		if (*part == '\0')
			return true;
	}
}

/* A path that was asked for, the caller's from now on.  Where we are root and the one
 * who asked may not be, it is to be in root's hands, and is named without links. */
static char *
path_asked(const char *path, char *why, size_t size)
{
	char whole[PATH_MAX];

	if (geteuid() != 0)
		return must_strdup(path);
	if (realpath(path, whole) == NULL)
		snprintf(why, size, "%s: %s", path, strerror(errno));
	else if (!only_root_writes(whole))
		snprintf(why, size, "%s: teald was started as root: this file and the folders above it must be root's, "
				    "and writable by root alone", whole);
	else
		return must_strdup(whole);
	return NULL;
}

bool
program_open(struct program *p, const struct program *now, const char *binary, const char *config, char *why, size_t size)
{
	const char *name = strrchr(binary, '/');
	char *beside = NULL;
	struct stat st;

	*p = (struct program){ .fd = -1, .assume_initial = now->assume_initial };
	if (*binary != '\0' && strcmp(name != NULL ? name + 1 : binary, "teald") == 0)
		beside = program_beside(binary);
	if (beside != NULL)
		binary = beside;
	p->path = *binary != '\0' ? path_asked(binary, why, size) : must_strdup(now->path);
	free(beside);
	if (p->path != NULL)
		p->config = *config != '\0' && strcmp(config, now->config) != 0 ? path_asked(config, why, size) :
										 must_strdup(now->config);
	if (p->path != NULL && p->config != NULL) {
		p->fd = open(p->path, O_PATH | O_CLOEXEC);
		if (p->fd < 0)
			snprintf(why, size, "%s: %s", p->path, strerror(errno));
		else if (fstat(p->fd, &st) != 0 || !S_ISREG(st.st_mode))
			snprintf(why, size, "%s is not a file", p->path);
		else
			return true;
	}
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
	fprintf(stderr, "teald: cannot start %s: %s%s\n", p->path, strerror(errno),
		errno == ENOEXEC  ? ": not a program, or one for another architecture" :
		errno == ENOENT ? ": what it needs to be loaded (ld.so) is missing: built for another system" :
				  "");
}
