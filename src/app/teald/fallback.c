/* fallback.c - the copy of a configuration, instead of its broken file.  Thread: main, alone. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/teald/fallback.h"
#include "app/teald/supervised.h"
#include "base/log.h"
#include "control/config_keeper.h"

/* Errors of the file that the log names, each in a line of its own. */
#define ERRORS_TOLD 20

static struct {
	bool taken;
	char path[ADDR_TEXT + 400];	/* of the file */
	char checksum[CONFIG_CHECKSUM];
	struct complaints errors;
	struct why why;
} fallback;

/* Its owner is who serves, and could have written anything: read with the rights of
 * that user, it tells root nothing that the user may not see. */
static enum err
load_as(uid_t owner, const struct config_copy *copy, const struct config **config, struct complaints *errors)
{
	struct complaints warnings;
	bool other = geteuid() == 0 && owner != 0;
	enum err e;

	if (other && seteuid(owner) != 0)
		return E_INTERNAL;
	e = config_load_copy(copy, config, errors, &warnings);
	if (other)
		CHECK(seteuid(0) == 0);
	complaints_free(&warnings);
	return e;
}

/* The same file, in the same state_dir, served by the user it belongs to. */
static bool
copy_fits(const char *copy_path, const char *path, uid_t owner, const struct config_copy *copy,
	  const struct config *config)
{
	char *expected = config_keeper_path(config);
	bool fits = strcmp(expected, copy_path) == 0 && strcmp(config->path, path) == 0 &&
		    strcmp(config->checksum, copy->checksum) == 0 &&
		    (owner == 0 || owner == (config->user != NULL ? config->uid : geteuid()));

	free(expected);
	return fits;
}

static bool
take_copy(const char *copy_path, const char *path, const struct config **config)
{
	struct complaints errors = { 0 };
	const struct config *kept = NULL;
	struct config_copy copy;
	struct why why;
	uid_t owner;
	enum err e = config_keeper_read(copy_path, &copy, &owner, &why);

	/* What the file says is what the copy says: that does not help. */
	if (e == OK && *config != NULL && strcmp((*config)->checksum, copy.checksum) == 0) {
		config_copy_free(&copy);
		return false;
	}
	if (e == OK && (e = load_as(owner, &copy, &kept, &errors)) != OK)
		(void)why_set(&why, e, "%.900s",
			      errors.n > 0 ? errors.lines[0] : "cannot be read as the user it belongs to");
	else if (e == OK && !copy_fits(copy_path, path, owner, &copy, kept))
		e = why_set(&why, E_USAGE, "is not of this file, or not of the user who serves");
	if (e == OK) {
		config_unref(config);
		*config = kept;
	} else {
		fprintf(stderr, "teald: the copy %s of the last configuration cannot be used: %s\n",
			copy_path, why.text);
		config_unref(&kept);
	}
	complaints_free(&errors);
	config_copy_free(&copy);
	return e == OK;
}

bool
fallback_take(const char *path, enum err e, struct complaints *errors, const struct config **config)
{
	bool unfit;
	const char *copy_path = supervised_copy(&unfit);

	if (copy_path == NULL || (e == OK && !unfit) || !take_copy(copy_path, path, config)) {
		complaints_free(errors);
		return false;
	}
	fallback.taken = true;
	fallback.errors = *errors;
	*errors = (struct complaints){ 0 };
	(void)str_copy(fallback.path, sizeof(fallback.path), str_from(path));
	if (fallback.errors.n > 0)
		(void)why_set(&fallback.why, E_USAGE, "%zu error%s in the file: %.900s", fallback.errors.n,
			      fallback.errors.n == 1 ? "" : "s", fallback.errors.lines[0]);
	else if (e != OK)
		(void)why_set(&fallback.why, E_USAGE, "certificates that the file names cannot be used");
	else
		(void)why_set(&fallback.why, E_USAGE,
			      "the last start with the file failed: see teald.failed");
	fprintf(stderr,
		"teald: %s is broken; the last configuration that was obeyed is served instead, from %s\n",
		path, copy_path);
	return true;
}

bool
fallback_is_taken(void)
{
	return fallback.taken;
}

void
fallback_log(void)
{
	if (!fallback.taken)
		return;
	for (size_t i = 0; i < fallback.errors.n && i < ERRORS_TOLD; i++)
		LOG_ERROR("config.error", LS("message", fallback.errors.lines[i]));
	LOG_ERROR(
		"config.fallback", LS("config", fallback.path), LS("message", fallback.why.text),
		LS("hint",
		   "the last configuration that was obeyed is served: correct the file, then tealctl reload"));
}
