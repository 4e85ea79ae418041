/* slow_start.h - a backend that comes back, from a failed check or an ejection,
 * begins with a small share and grows to its own within slow_start.
 * Thread: main. */
#ifndef CONTROL_SLOW_START_H
#define CONTROL_SLOW_START_H

#include "control/control.h"

/* What another teald let begin slowly goes on growing here. */
void slow_start_adopt(struct service_ctl *ctl);
void slow_start_init(struct control *c);
/* b is used again: it grows from now on, where slow_start is configured and the
 * way of balancing has shares. */
void slow_start_begin(struct service_ctl *ctl, struct backend *b);
/* The weight that b has now, in hundredths. */
uint32_t slow_start_weight(const struct service *s, const struct backend *b, double now);

#endif
