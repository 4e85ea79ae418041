/* secret.h - passwords that live in files of their own.  Any thread. */
#ifndef MODEL_SECRET_H
#define MODEL_SECRET_H

#include <sys/types.h>

#include "base/err.h"

/* Reads the file's only line, without its end.  OK: *out is the caller's, for
 * secret_free(); mode, unless NULL, is the file's.  E_USAGE with the reason,
 * which never shows what was read: missing, not readable, not a plain file,
 * empty, several lines, or longer than 4 KiB.  Blocks as file systems do. */
MUST_USE enum err secret_read(const char *path, char **out, mode_t *mode, struct why *why);
/* Wipes and frees; *secret is NULL on return. */
void secret_free(char **secret);

#endif
