/* route_path.h - prefixes of paths, by which services share a name: "/api" stands for "/api" and all
 * below it, never for "/apis".
 * Servers read paths in different ways: one resolves "..", one decodes "%2e" first, one takes "//" for "/".
 * A path is followed as it is written, and only if it leads to the same service however it may be read:
 * what is behind a prefix is reached by nothing that does not begin with it.
 * Pure; any thread. */
#ifndef MODEL_ROUTE_PATH_H
#define MODEL_ROUTE_PATH_H

#include <stdbool.h>

#include "base/err.h"
#include "base/str.h"

/* Bytes of a prefix, with its NUL. */
#define ROUTE_PREFIX 256
/* A path that may be read in several ways is no longer than that. */
#define ROUTE_PATH_MAX 4096

/* Brings a prefix as people write it, "/api" or "/api/", into its one form: without a slash at the end, so
 * "" is all.  NULL, or in a few words what is wrong with it. */
const char *route_prefix(const char *text, char out[ROUTE_PREFIX]);
/* Does the path lie under a prefix in that form? */
bool route_prefix_fits(struct str prefix, struct str path);

/* What a server may do with a path before it looks at it: bits. */
#define ROUTE_READ_DOTS 1	/* "." and ".." are resolved (RFC 3986 section 5.2.4) */
#define ROUTE_READ_MERGED 2	/* several slashes are one */
#define ROUTE_READ_BACKSLASH 4	/* is a slash */
#define ROUTE_READ_CUT 8	/* segments end at ';', the path at '?' and '#' */
#define ROUTE_READ_ALL 15

/* The path read so; decoded is what stands for path after percent-decoding, or path itself.  room: at
 * least path.n + 1 bytes. */
struct str route_path_read(struct str path, unsigned liberties, char *room);

/* pick(arg, path): whose it is.  *service: pick's answer for the path as it is written, without its query.
 * False: another reading has another answer. */
typedef int route_pick(const void *arg, struct str path);
MUST_USE bool route_path_agrees(struct str path, route_pick *pick, const void *arg, int *service);

#endif
