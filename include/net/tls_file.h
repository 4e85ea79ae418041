/* tls_file.h - reads the files that TLS is made of.
 * Any thread; blocks as file systems do. */
#ifndef NET_TLS_FILE_H
#define NET_TLS_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct tls_file {
	char *data;	/* owned; a NUL follows */
	size_t n;
};

/* The whole file.  secret: refused when everyone may read or write it.  E_USAGE:
 * why says what is wrong with it and, where that is known, how to mend it. */
MUST_USE enum err tls_file_read(const char *path, bool secret, struct tls_file *out, struct why *why);
/* Leaves no trace of it in memory. */
void tls_file_free(struct tls_file *f);

#endif
