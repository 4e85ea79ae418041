/* admin_way.h - how a teald is reached, and what tealctl shows it of itself.  All borrowed, from the command line
 * or the environment. */
#ifndef APP_TEALCTL_ADMIN_WAY_H
#define APP_TEALCTL_ADMIN_WAY_H

struct admin_way {
	const char *socket;	/* a path, "tls://HOST[:PORT]" or "ssh://…" */
	/* Of tls:// alone. */
	const char *cert, *key;	/* PEM files; key NULL: in the file of cert; cert NULL: a token, or nothing */
	const char *ca;	/* PEM file of those who may vouch for teald; NULL: the system's */
	const char *token_file;	/* NULL: none */
	const char *token;	/* of the environment; NULL: none */
};

#endif
