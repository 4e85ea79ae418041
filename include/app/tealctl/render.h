/* render.h - from teald's JSON to what a person, or a script, reads. */
#ifndef APP_TEALCTL_RENDER_H
#define APP_TEALCTL_RENDER_H

#include <jansson.h>

#include "app/tealctl/output.h"
#include "proto/admin_command.h"

struct render {
	struct output *out;
	const struct admin_request *request;
	double started;	/* clock_now() when the command went out */
	bool introduced;	/* a flip's title line is printed */
};

/* One progress object. */
void render_event(struct render *r, json_t *object);
/* The last object, when it is ok. */
void render_reply(struct render *r, json_t *object);

/* tealctl's own line of `version`. */
void render_client_version(struct render *r);

/* The parts of it. */
void render_status(struct render *r, json_t *object);
void render_checked(struct render *r, json_t *object);
void render_check(struct render *r, json_t *object);
void render_flip_event(struct render *r, json_t *object);
void render_flip(struct render *r, json_t *object);
void render_drain(struct render *r, json_t *object);
void render_history(struct render *r, json_t *object);
void render_streamed(struct render *r, json_t *object);

#endif
