/* fuzz_route.c - lines of patterns, an empty one, then lines of names: each name
 * finds what a plain walk over the patterns finds. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "model/route.h"
#include "model/route_path.h"
#include "proto/http1_host.h"

#define PATTERNS 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char patterns[PATTERNS][ROUTE_PATTERN];
static int n_patterns;

static void
add_pattern(struct route *r, struct str line)
{
	char text[300], again[ROUTE_PATTERN], *new = patterns[n_patterns];

	if (n_patterns == PATTERNS || memchr(line.p, '\0', line.n) != NULL || !str_copy(text, sizeof(text), line) ||
	    route_pattern(text, new) != NULL)
		return;
	/* It is its own one form. */
	CHECK(route_pattern(new, again) == NULL && strcmp(new, again) == 0);
	for (int i = 0; i < n_patterns; i++)
		if (strcmp(patterns[i], new) == 0)
			return;
	route_add(r, new, "", n_patterns++);
}

static int
walk(const struct http1_host *host)
{
	size_t longest = 0;
	int found = -1;

	for (int i = 0; i < n_patterns; i++) {
		if (!http1_host_matches(patterns[i], host))
			continue;
		if (patterns[i][0] != '*')
			return i;
		if (strlen(patterns[i]) > longest) {
			longest = strlen(patterns[i]);
			found = i;
		}
	}
	return found;
}

static int
pick_prefix(const void *arg, struct str path)
{
	(void)arg;
	return route_prefix_fits(STR("/a/b"), path) ? 2 : route_prefix_fits(STR("/a"), path);
}

/* One that is followed is read so by a server that decodes, merges and resolves, and by one that does nothing. */
static void
check_path(struct str path)
{
	const char *query = memchr(path.p, '?', path.n);
	char room[ROUTE_PATH_MAX + 1];
	int service;

	if (query != NULL)
		path.n = (size_t)(query - path.p);
	if (path.n == 0 || path.p[0] != '/' || path.n > ROUTE_PATH_MAX || !route_path_agrees(path, pick_prefix, NULL, &service))
		return;
	CHECK(service == pick_prefix(NULL, path));
	CHECK(service == pick_prefix(NULL, route_path_read(path, ROUTE_READ_ALL, room)));
}

static void
check_name(const struct route *r, struct str name)
{
	struct http1_host host;
	int found = route_find(r, name);

	check_path(name);
	CHECK(found >= -1 && found < n_patterns);
	if (http1_host_parse(name, &host) != HTTP1_FINE)
		return;
	CHECK(found == walk(&host));
	if (host.n > 0 && host.name[host.n - 1] != '.')
		CHECK(found == route_find(r, (struct str){ host.name, host.n }));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *p = (const char *)data, *end = p + size;
	struct route *r = route_new();
	bool names = false;

	n_patterns = 0;
	while (p < end) {
		const char *newline = memchr(p, '\n', (size_t)(end - p));
		struct str line = { p, (size_t)((newline != NULL ? newline : end) - p) };

		if (names)
			check_name(r, line);
		else if (line.n == 0)
			names = true;
		else
			add_pattern(r, line);
		p = newline != NULL ? newline + 1 : end;
	}
	route_free(&r);
	return 0;
}
