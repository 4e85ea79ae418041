/* secret.c - reading a password, and forgetting it.  Any thread. */
#include <stdlib.h>
#include <string.h>

#include "model/plain_file.h"
#include "model/secret.h"

#define SECRET_MAX 4096

enum err
secret_read(const char *path, char **out, mode_t *mode, struct why *why)
{
	char bytes[SECRET_MAX + 3];	/* and the end of the line, and one too many */
	ssize_t got = plain_file_read(path, bytes, sizeof(bytes), mode, why);
	size_t n = got > 0 ? (size_t)got : 0;
	enum err e = OK;

	*out = NULL;
	if (got < 0)
		return E_USAGE;
	if (n > 0 && bytes[n - 1] == '\n')
		n--;
	if (n > 0 && bytes[n - 1] == '\r')
		n--;
	if (n == 0)
		e = why_set(why, E_USAGE, "%.256s is empty", path);
	else if (n > SECRET_MAX)
		e = why_set(why, E_USAGE, "%.256s is longer than %d bytes", path, SECRET_MAX);
	else if (memchr(bytes, '\n', n) != NULL || memchr(bytes, '\0', n) != NULL)
		e = why_set(why, E_USAGE, "%.256s is not one line of text", path);
	else
		*out = must_alloc(n + 1);
	if (*out != NULL)
		memcpy(*out, bytes, n);
	explicit_bzero(bytes, sizeof(bytes));
	return e;
}

void
secret_free(char **secret)
{
	if (*secret != NULL)
		explicit_bzero(*secret, strlen(*secret));
	free(*secret);
	*secret = NULL;
}
