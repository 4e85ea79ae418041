/* talk.h - one command and all that teald says to it. */
#ifndef APP_TEALCTL_TALK_H
#define APP_TEALCTL_TALK_H

#include "app/tealctl/options.h"
#include "app/tealctl/output.h"

/* Sends o's line, shows what comes back, and returns the exit status of the
 * contract with scripts: see tealctl(1). */
int talk(const struct options *o, struct output *out);

#endif
