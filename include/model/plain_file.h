/* plain_file.h - the bytes of a file that the configuration names.  Any thread that loads one. */
#ifndef MODEL_PLAIN_FILE_H
#define MODEL_PLAIN_FILE_H

#include <sys/types.h>

#include "base/err.h"

/* Reads up to size bytes; mode, unless NULL, is the file's.  Returns how many there are, -1 with the reason when it
 * cannot be read or is no plain file.  Blocks as file systems do, but never on a FIFO. */
MUST_USE ssize_t plain_file_read(const char *path, char *bytes, size_t size, mode_t *mode, struct why *why);

#endif
