/* render.h - from teald's JSON to what a person, or a script, reads. */
#ifndef APP_TEALCTL_RENDER_H
#define APP_TEALCTL_RENDER_H

#include <jansson.h>

#include "app/tealctl/options.h"
#include "app/tealctl/output.h"
#include "proto/admin_command.h"

struct render {
	struct output *out;
	const struct admin_request *request;
	enum export_kind export;	/* of render_export() */
	double started;	/* clock_now() when the command went out */
	bool introduced;	/* a flip's title line is printed */
	json_t *draining;	/* the last such event; owned, NULL before */
	double draining_at;	/* clock_now() when it came */
};

/* One progress object. */
void render_event(struct render *r, json_t *object);
/* A second has passed without news: a pending line is brought up to date. */
void render_tick(struct render *r);
/* The last object, when it is ok. */
void render_reply(struct render *r, json_t *object);

/* The reply to `status SERVICE` as objects of Kubernetes, in YAML; returns the exit status.  What cannot
 * be described is said on standard error, and then nothing is printed. */
int render_export(struct render *r, json_t *object);

/* tealctl's own line of `version`. */
void render_client_version(struct render *r);

/* The parts of it. */
void render_status(struct render *r, json_t *object);
void render_checked(struct render *r, json_t *object);
void render_check(struct render *r, json_t *object);
void render_flip_event(struct render *r, json_t *object);
void render_bake(struct render *r, json_t *object);
void render_flip(struct render *r, json_t *object);
void render_drain(struct render *r, json_t *object);
void render_history(struct render *r, json_t *object);
void render_fleet(struct render *r, json_t *object);
void render_certs(struct render *r, json_t *object);
void render_planned(struct render *r, json_t *object);
void render_upgrade(struct render *r, json_t *object);
void render_reload(struct render *r, json_t *object);
void render_config(struct render *r, json_t *object);
void render_node(struct render *r, json_t *object);
void render_node_event(struct render *r, json_t *object);
/* The rows of a list of nodes, each with its pool. */
void render_node_rows(struct render *r, json_t *nodes);
void render_whoami(struct render *r, json_t *object);
void render_streamed(struct render *r, json_t *object);

#endif
