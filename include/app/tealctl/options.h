/* options.h - tealctl's command line, checked before anything is sent. */
#ifndef APP_TEALCTL_OPTIONS_H
#define APP_TEALCTL_OPTIONS_H

#include <stdbool.h>

#include "app/tealctl/admin_way.h"
#include "app/tealctl/claim_token.h"
#include "base/buf.h"
#include "base/err.h"
#include "proto/admin_command.h"
#include "proto/admin_line.h"

enum options_task {
	OPTIONS_RUN,	/* send line */
	OPTIONS_HELP,	/* print text; nothing is sent */
};

/* Asked for again and again, and how it is shown. */
enum options_view {
	VIEW_ONCE,
	VIEW_WATCH,	/* status --watch */
	VIEW_TOP,
};

/* A reading of the status as objects of Kubernetes. */
enum export_kind {
	EXPORT_NONE,
	EXPORT_GATEWAY,	/* Gateway and route */
	EXPORT_SERVICE,	/* Services of type NodePort */
};

struct options {
	enum options_task task;
	enum options_view view;
	double interval;	/* seconds between two readings of a view */
	unsigned sort;	/* of top: enum top_sort */
	enum export_kind export;
	const char *filter;	/* of top: "" for all; borrowed */
	struct admin_way way;	/* borrowed from argv or the environment */
	bool json;
	bool no_color;
	bool remote;	/* a tealctl elsewhere started this one by ssh; json is set, too */
	char claim_token[CLAIM_TOKEN_WORD];	/* --token=…, where no argument says it */
	struct buf text;	/* the line with its newline, or the help */
	struct admin_line line;	/* the line split again; request points into it */
	struct admin_request request;
};

/* Fills o from argv; end it with options_free() in any case.  E_USAGE and
 * E_UNKNOWN_COLOR with a sentence. */
MUST_USE enum err options_parse(struct options *o, int argc, char **argv, struct why *why);
void options_free(struct options *o);

#endif
