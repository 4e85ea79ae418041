/* config_account.h - private to config*.c: users and groups of the system, by name.
 * Start-up thread only. */
#ifndef MODEL_CONFIG_ACCOUNT_H
#define MODEL_CONFIG_ACCOUNT_H

#include <sys/types.h>

#include "model/config_cursor.h"

/* Looks the name up; when that is not possible it complains at s, as
 * key: "there is no user ..." or that it cannot be looked up now, which a later
 * start may find otherwise (reader.passing counts those). */
void account_user(const struct cursor *c, const config_setting_t *s, const char *name, uid_t *uid, gid_t *gid);
void account_group(const struct cursor *c, const config_setting_t *s, const char *name, gid_t *gid);

#endif
