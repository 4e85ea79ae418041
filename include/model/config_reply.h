/* config_reply.h - what a service of HTTP says in the site's words: pages instead of teald's own
 * answers, header lines, redirects.  Part of the configuration (model/config.h), immutable. */
#ifndef MODEL_CONFIG_REPLY_H
#define MODEL_CONFIG_REPLY_H

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"
#include "model/status_set.h"

/* Bytes of a page.  An answer has to fit into a socket that is read at all. */
#define ERROR_PAGE_MAX ((size_t)16 << 10)

/* A file, read with the configuration. */
struct error_page {
	struct status_set status;	/* of which answers of teald's own it is the body */
	char *file;	/* as written */
	const char *type;	/* Content-Type: by the file's suffix; never NULL */
	bool json;	/* that one is for clients that would rather read JSON */
	char *bytes;
	size_t n;	/* 1 to ERROR_PAGE_MAX */
};

/* A header line that is set, whatever the message says under that name, or removed. */
struct header_config {
	char *name;
	char *value;	/* NULL: removed */
};

/* At most so many of each direction, ... */
#define HEADERS_SET_MAX 32
/* ... and so many bytes in lines that are set: a message's head has room for them. */
#define HEADERS_SET_BYTES 4096

struct headers_config {
	struct header_config *list;
	size_t n;
};

struct reply_config {
	struct error_page *pages;
	size_t n_pages;	/* in the file's order: the first that fits counts */
	bool maintenance;	/* requests are answered with 503; not those of the preview */
	char *redirect;	/* "https://new.example" or with a path, without a slash at the end; NULL: none */
	unsigned redirect_status;	/* 301, 302, 307 or 308; 302 */
	struct headers_config request_headers, response_headers;
};

/* The page for an answer with that status; json: the client would rather read that.  NULL: none. */
const struct error_page *reply_page(const struct reply_config *r, unsigned status, bool json);

#endif
