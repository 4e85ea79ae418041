/* tcp_lane.h - a lane's sessions, those of HTTP's upgraded exchanges as well; and the table of
 * their mode, tcp_mode.
 * Thread: the owning worker. */
#ifndef DATA_TCP_LANE_H
#define DATA_TCP_LANE_H

#include "data/lane.h"
#include "data/mode.h"

/* As in struct mode. */
void tcp_lane_init(struct lane *l);
void tcp_lane_obey(struct lane *l, const struct service_config *old, bool changed);
void tcp_lane_take_snapshot(struct lane *l, bool flipped);
bool tcp_lane_drain_step(struct lane *l, enum color color, double now, bool over);
/* client_timeout or server_timeout as it was set, or idle_timeout: seconds; 0: none. */
double tcp_idle_timeout(const struct service_config *c, double timeout);
/* For lane->user_timeout: what a backend leaves unacknowledged is given up when a connection on
 * which nothing moves would be: then the kernel notices, too, where a client that goes
 * on talking keeps that clock from running out.  0: by the system's own limit, which comes first. */
double tcp_user_timeout(double idle);

#endif
