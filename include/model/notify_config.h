/* notify_config.h - of a configuration: who is told of events, and of which.
 * Part of the immutable tree (model/config.h). */
#ifndef MODEL_NOTIFY_CONFIG_H
#define MODEL_NOTIFY_CONFIG_H

#include <stdbool.h>
#include <stddef.h>

#include "proto/http_url.h"

/* Of metrics and logs; with NUL. */
#define NOTIFY_NAME 64

enum notify_format { NOTIFY_JSON, NOTIFY_GRAFANA };
/* NOTIFY_ONCE: of a fleet, events of a flip come from the teald that was asked for it. */
enum notify_fleet { NOTIFY_ONCE, NOTIFY_EVERY };

/* One of notify: a receiver of events. */
struct notify_config {
	char *name;	/* unique; of the host and port where none is given */
	struct http_url url;
	char **events;	/* names, or globs with '*' */
	size_t n_events;	/* at least 1 */
	char **services;	/* likewise, of services; 0: all, and events of none */
	size_t n_services;
	char **tags;	/* of format "grafana": more of them */
	size_t n_tags;
	enum notify_format format;	/* json */
	enum notify_fleet fleet;	/* once */
	char *secret_file, *secret;	/* signs what is sent; NULL: it is not signed */
	char *token_file, *token;	/* Authorization: Bearer; NULL: none */
	char *ca;	/* NULL: the system's */
	bool verify;	/* true */
	double timeout;	/* 5.0 seconds for one attempt, above 0 */
	double retry_for;	/* 300.0 seconds from the event on; 0: one attempt */
	unsigned queue;	/* 1000 events that may wait */
};

#endif
