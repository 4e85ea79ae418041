/* admin_caller.h - who is at the other end of a connection of the admin listener, as its certificate
 * or token says.  Never changed; made by the listener's thread, given to main once. */
#ifndef APP_TEALD_ADMIN_CALLER_H
#define APP_TEALD_ADMIN_CALLER_H

#include "base/buf.h"
#include "model/admin_token.h"
#include "model/config.h"
#include "model/record.h"
#include "net/tls_names.h"

#define CALLER_SUBJECT 512

struct admin_caller {
	unsigned refs;	/* main's */
	/* "cn:ci-shop", "san:ci.example" or "token:ci-shop": in the audit and the histories, and by
	 * which connections are of one user.  No user of this machine has such a name. */
	char name[RECORD_NAME];
	char subject[CALLER_SUBJECT];	/* of the certificate (RFC 4514); "": it came by a token */
	char peer[ADDR_TEXT];	/* whence it connects */
	char hash[CLAIM_HASH];	/* of the token; "": it came by a certificate */
	struct tls_names names;	/* of the certificate */
};

/* One reference, the caller's.  NULL: out of memory. */
struct admin_caller *admin_caller_by_certificate(const struct tls_names *names, const char *subject, const char *peer);
struct admin_caller *admin_caller_by_token(const struct admin_token *token, const char *peer);
struct admin_caller *admin_caller_ref(struct admin_caller *c);
void admin_caller_unref(struct admin_caller **cp);

/* Is the role among those that its certificate or token gives it? */
bool admin_caller_has_role(const struct admin_caller *c, const struct config *config, const struct role_config *role);
/* A sentence when its token was taken back, no certificate is accepted any more, or its time is over at `now`
 * (seconds since 1970); else NULL.  Whether its certificate was revoked is the listener's to say. */
const char *admin_caller_is_over(const struct admin_caller *c, const struct config *config, int64_t now);

/* For another process, and back; NULL: it is none, or memory is out. */
void admin_caller_put(const struct admin_caller *c, struct buf *row);
struct admin_caller *admin_caller_take(struct str row);

#endif
