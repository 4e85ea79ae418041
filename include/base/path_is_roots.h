/* path_is_roots.h - may what a path leads to be trusted by root.  Any thread. */
#ifndef BASE_PATH_IS_ROOTS_H
#define BASE_PATH_IS_ROOTS_H

#include <stdbool.h>

/* path: absolute and without links, as of realpath(3).  True: neither it nor a folder
 * above it belongs to another than root, or can be written by one. */
bool path_is_roots(const char *path);

#endif
