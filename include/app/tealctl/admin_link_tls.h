/* admin_link_tls.h - private to admin_link*.c: the way to a teald by TLS. */
#ifndef APP_TEALCTL_ADMIN_LINK_TLS_H
#define APP_TEALCTL_ADMIN_LINK_TLS_H

#include "app/tealctl/admin_link.h"

/* As admin_link_open(), for tls://HOST[:PORT]; what it has opened until it fails is closed by
 * admin_link_close(). */
MUST_USE enum err admin_link_open_tls(struct admin_link *c, const struct admin_way *way, double seconds, struct why *why);

#endif
