/* check.c - see the header.  Thread: main, or the process that it makes. */
#include <errno.h>
#include <grp.h>
#include <libgen.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "app/teald/check.h"
#include "app/teald/startup.h"
#include "control/certs_load.h"
#include "store/state_disk.h"
#include "store/state_orphans.h"

/* How the process that is another user's ends. */
#define CHECK_USAGE 2
#define CHECK_OTHER 1

enum err
check_as_user(const char *user, struct why *why)
{
	const struct passwd *pw = getpwnam(user);

	if (pw == NULL)
		return why_set(why, E_USAGE, "--user: there is no user \"%s\"", user);
	if (pw->pw_uid == geteuid())
		return OK;
	if (geteuid() != 0)
		return why_set(why, E_USAGE, "--user: only root can check as another user; begin with sudo -u %s", user);
	if (initgroups(user, pw->pw_gid) != 0 || setresgid(pw->pw_gid, pw->pw_gid, pw->pw_gid) != 0 ||
	    setresuid(pw->pw_uid, pw->pw_uid, pw->pw_uid) != 0)
		return why_set(why, E_USAGE, "--user: cannot become %s: %s", user, strerror(errno));
	return OK;
}

/* The first is what counts, unless both are of one kind; no error is only passing beside one that stays. */
static enum err
worse(enum err a, enum err b)
{
	return a == OK ? b : b == OK || a == b ? a : E_USAGE;
}

/* The file itself, pages, maps, passwords: root has read them, and a reload will as this user.  No error: a file that
 * is only tried may lie where that user never reads it. */
static void
read_again(const char *path, const char *user)
{
	const struct config *config = NULL;
	struct complaints errors, warnings;

	if (config_load(path, &config, &errors, &warnings) != OK)
		for (size_t i = 0; i < errors.n; i++)
			fprintf(stderr, "%s; so a reload would fail, which reads it as %s (warning)\n", errors.lines[i], user);
	complaints_free(&errors);
	complaints_free(&warnings);
	config_unref(&config);
}

/* -- state_dir ------------------------------------------------------------------ */

/* user: who would make it; NULL: root would, or it is not known. */
static void
warn_of_missing_dir(const char *dir, const char *user)
{
	char *copy = must_strdup(dir), *above = dirname(copy);

	if (access(above, F_OK) != 0)
		fprintf(stderr, "state_dir \"%s\" is not there, and neither is the folder above it, without which teald cannot make "
				"it: mkdir -p (warning)\n", dir);
	else if (user != NULL && access(above, W_OK | X_OK) != 0)
		fprintf(stderr, "state_dir \"%s\" is not there, and user \"%s\" cannot make it: install -d -o %s -m 750 %s, or "
				"StateDirectory= in the unit (warning)\n", dir, user, user, dir);
	free(copy);
}

static void
warn_of_orphans(const struct config *config, const struct state *state)
{
	const struct state_service *orphan;
	size_t n = state_orphans(state, config, &orphan);

	for (size_t i = 0; orphan != NULL && i < config->n_services; i++) {
		const struct service_config *sc = &config->services[i];
		char others[64] = "";

		if (!state_begins(state, sc))
			continue;
		if (n > 1)
			snprintf(others, sizeof(others), " and %zu more", n - 1);
		fprintf(stderr,
			"%s:%u: service \"%s\": the state in %s does not know it, so it begins with %s; but it knows \"%s\" (%s, "
			"epoch %llu)%s, which the file has not: if this is that one by another name, say rename = \"%s\" "
			"(warning)\n",
			sc->at.file, sc->at.line, sc->name, config->state_dir, color_word(sc->initial), orphan->name,
			color_word(orphan->record.color), (unsigned long long)orphan->record.epoch, others, orphan->name);
	}
}

static enum err
look_at_state(const struct config *config, const char *user)
{
	struct state state;
	struct why why;
	bool exists;
	enum err e;

	state_init(&state);
	e = state_disk_look(config->state_dir, &state, &exists, &why);
	/* Who will serve may be another user. */
	if (e == E_DENIED && user == NULL)
		e = OK;
	else if (e != OK)
		fprintf(stderr, "%s\n", why.text);
	/* Of a fleet Redis says what a service begins with. */
	else if (exists && config->store.type == STORE_FILE)
		warn_of_orphans(config, &state);
	state_free(&state);
	return e == OK ? OK : E_USAGE;
}

/* user: who has to be able to use it, NULL: not known; makes: as that user it is made where it is missing. */
static enum err
check_state_dir(const struct config *config, const char *user, bool makes)
{
	const char *dir = config->state_dir;
	struct stat st;
	bool found = stat(dir, &st) == 0;

	if (!found && errno == ENOENT) {
		warn_of_missing_dir(dir, makes ? user : NULL);
		return OK;
	}
	/* Others may reach it. */
	if (!found && user == NULL)
		return OK;
	if (found && !S_ISDIR(st.st_mode)) {
		fprintf(stderr, "state_dir \"%s\" is not a folder\n", dir);
		return E_USAGE;
	}
	if (user != NULL && access(dir, R_OK | W_OK | X_OK) != 0) {
		fprintf(stderr, "state_dir \"%s\" cannot be used by user \"%s\": %s; give it to that user: chown -R %s %s\n", dir,
			user, strerror(errno), user, dir);
		return E_USAGE;
	}
	return look_at_state(config, user);
}

static enum err
check_here(const struct config *config, const struct check *check, bool child)
{
	const char *user = child ? config->user : check->user;
	enum err e = certs_check_all(config);

	if (check->path == NULL)
		return e;
	if (child)
		read_again(check->path, user);
	return worse(e, check_state_dir(config, user, !child));
}

enum err
check_as_served(const struct config *config, const struct check *check)
{
	struct why why;
	int status;
	pid_t pid;
	enum err e;

	if (geteuid() != 0 || config->user == NULL)
		return check_here(config, check, false);
	fflush(NULL);
	if ((pid = fork()) < 0)
		return check_here(config, check, false);
	if (pid == 0) {
		if ((e = startup_drop_privileges(config, 0, &why)) != OK)
			fprintf(stderr, "teald: %s\n", why.text);
		else
			e = check_here(config, check, true);
		_exit(e == OK ? 0 : e == E_USAGE ? CHECK_USAGE : CHECK_OTHER);
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (!WIFEXITED(status))
		return E_INTERNAL;
	return WEXITSTATUS(status) == 0 ? OK : WEXITSTATUS(status) == CHECK_USAGE ? E_USAGE : E_INTERNAL;
}
