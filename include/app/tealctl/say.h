/* say.h - sentences and records with the fields of a JSON object in them.
 *
 *	say(out, reply, "{service}: {active} is active, epoch {epoch}");
 *	say(out, reply, "flipped\t{service}\t{active}\t{epoch}");
 *
 * {a.b} is member b of member a.  {x:time}, {x:duration}, {x:ms} and {x:bytes}
 * make a value readable, {x:connections} counts them, {x:list} joins an array
 * with commas.  A color's word is
 * shown in its color.  Templates are ours; what comes from the object is made
 * safe. */
#ifndef APP_TEALCTL_SAY_H
#define APP_TEALCTL_SAY_H

#include <jansson.h>

#include "app/tealctl/output.h"
#include "base/buf.h"

/* The member at a dotted path; NULL when there is none.  Borrowed. */
json_t *json_at(json_t *object, const char *path);
/* The member is there and neither null, false, 0, "" nor empty. */
bool json_has(json_t *object, const char *path);

void say_into(struct buf *b, const struct output *o, json_t *object, const char *template);
/* Why a command was refused: "error: message"; "internal" is left out where there is a message, which says more. */
void say_refusal(struct buf *b, json_t *reply);
void say(struct output *o, json_t *object, const char *template);
/* Adds a cell for each of the paths, separated by spaces. */
void say_cells(struct table *t, json_t *object, const char *paths);

#endif
