/* rights.h - who may do what on the admin socket and the admin listener.
 * Root and the user teald runs as may do everything.  Other users have what
 * admin.roles of the configuration gives them, by user or by group, on the
 * services it names, and may always ask who they are; and so have those who
 * came by the listener, by what their certificate or token says.
 *
 * Users and groups are those the kernel recorded when the peer connected; no
 * name is looked up.  Thread: main. */
#ifndef APP_TEALD_RIGHTS_H
#define APP_TEALD_RIGHTS_H

#include <stdbool.h>
#include <sys/types.h>

#include "app/teald/admin_caller.h"
#include "base/json.h"
#include "base/log.h"
#include "model/config.h"
#include "proto/admin_command.h"

/* What a role must match for things that belong to no service. */
#define RIGHTS_EVERYWHERE "*"

/* What a peer may do.  Shared by a connection and its commands, which may
 * outlive it; never changed. */
struct rights {
	unsigned refs;
	const struct config *config;	/* one reference */
	struct admin_caller *caller;	/* one reference; NULL: a user of this machine */
	uid_t uid;	/* of a caller (uid_t)-1, which no user has; likewise gid */
	gid_t gid;
	gid_t *groups;	/* supplementary */
	size_t n_groups;
	const char *because;	/* a phrase: "is root"; NULL: by roles only */
	size_t n_roles;
	const struct role_config *roles[];	/* those that are the peer's, in order */
};

/* Holds a reference to config; groups are copied, n of them; own: what teald runs as.
 * NULL: out of memory. */
struct rights *
rights_new(const struct config *config, uid_t uid, gid_t gid, const gid_t *groups, size_t n, uid_t own);
/* The same for the peer of a connected Unix socket.  NULL with errno. */
struct rights *rights_of_peer(const struct config *config, int fd, uid_t own, pid_t *pid);
/* The same for who came by the admin listener; takes a reference of its own.  NULL: out of memory. */
struct rights *rights_of_caller(const struct config *config, struct admin_caller *caller);
/* For log lines: its "uid", or the "user" that a caller is. */
struct log_field rights_log_who(const struct rights *r);
/* What the same peer may do by another configuration.  NULL: out of memory. */
struct rights *rights_renew(const struct rights *old, const struct config *config);
struct rights *rights_ref(struct rights *r);
/* Consumes the reference; *rp is NULL on return. */
void rights_unref(struct rights **rp);

/* May it on that service?  RIGHTS_EVERYWHERE: on all that there ever can be. */
bool rights_have(const struct rights *r, enum admin_right right, const char *service);
/* On any of the configured services, or everywhere. */
bool rights_have_any(const struct rights *r, enum admin_right right);

/* May it do what is asked?  E_DENIED: why says who lacks which right where, and
 * missing, unless it is NULL, is the service; "" when any would have done.
 * user: the name of r->uid. */
MUST_USE enum err rights_check(const struct rights *r, const struct admin_request *request, const char *user,
			       const char **missing, struct why *why);

/* Writes what whoami tells: groups, roles, rights (all of them, wherever) and
 * the rights on each service. */
void rights_json(struct json *j, const struct rights *r);

#endif
