/* rights.h - who may do what on the admin socket.
 * Root and the user teald runs as may do everything, everybody else nothing
 * but ask who they are.  Thread: any. */
#ifndef APP_RIGHTS_H
#define APP_RIGHTS_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/json.h"
#include "proto/admin_command.h"

struct rights {
	unsigned bits;	/* 1u << enum admin_right */
	const char *because;	/* a phrase for people: "is root" */
};

/* peer: as the kernel says of the connection; own: what teald runs as now. */
struct rights rights_of(uid_t peer, uid_t own);

bool rights_have(const struct rights *r, enum admin_right right);

/* Writes the member "rights":["read",…]. */
void rights_json(struct json *j, const struct rights *r);

#endif
