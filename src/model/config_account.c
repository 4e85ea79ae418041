/* config_account.c - users and groups by name; see the header. */
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>

#include "model/config_account.h"

#define ROOM ((size_t)1 << 20)	/* a group of very many */

/* What getpwnam_r(3) may return when it has only not found the name. */
static bool
is_missing(int error)
{
	return error == 0 || error == ENOENT || error == ESRCH || error == EBADF || error == EPERM;
}

static void
account_error(const struct cursor *c, const config_setting_t *s, const char *kind, const char *name,
	      int error)
{
	if (is_missing(error)) {
		cursor_key_error(c, s, "there is no %s \"%s\"", kind, show(name).s);
		return;
	}
	if (c->r->muted == 0)
		c->r->passing++;
	cursor_key_error(c, s, "the %s \"%s\" cannot be looked up now: %s", kind, show(name).s,
			 strerror(error));
}

void
account_user(const struct cursor *c, const config_setting_t *s, const char *name, uid_t *uid, gid_t *gid)
{
	char *room = must_alloc(ROOM);
	struct passwd pw, *found = NULL;
	int error = getpwnam_r(name, &pw, room, ROOM, &found);

	if (found != NULL) {
		*uid = pw.pw_uid;
		if (gid != NULL)
			*gid = pw.pw_gid;
	} else {
		account_error(c, s, "user", name, error);
	}
	free(room);
}

void
account_group(const struct cursor *c, const config_setting_t *s, const char *name, gid_t *gid)
{
	char *room = must_alloc(ROOM);
	struct group gr, *found = NULL;
	int error = getgrnam_r(name, &gr, room, ROOM, &found);

	if (found != NULL)
		*gid = gr.gr_gid;
	else
		account_error(c, s, "group", name, error);
	free(room);
}
