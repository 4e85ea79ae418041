/* lane_http.h - what a lane of a service of HTTP has besides: clients,
 * exchanges, and kept connections to backends.
 * Thread: the owning worker. */
#ifndef DATA_LANE_HTTP_H
#define DATA_LANE_HTTP_H

#include "data/lane.h"

void lane_http_init(struct lane *l);
/* l->config is another one than old: see lane_obey(). */
void lane_http_obey(struct lane *l, const struct service_config *old, bool changed);
/* Closes kept connections to backends; true: nothing else is here either. */
bool lane_http_is_empty(struct lane *l);
/* Cuts what is left and frees. */
void lane_http_free(struct lane *l);
/* The lane has taken a snapshot; flipped: of another color than before. */
void lane_http_take_snapshot(struct lane *l, bool flipped);
/* on_down = "reset": ends the exchanges of backends that are down. */
void lane_http_leave_down(struct lane *l);
/* A drain of the color begins: closes idle kept connections. */
void lane_http_drain(struct lane *l, enum color color);
/* Its part of a round; false when nothing of the color is left. */
bool lane_http_drain_step(struct lane *l, enum color color, double now, bool over);

#endif
