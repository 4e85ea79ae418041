/* against.h - what another configuration would change of a teald that runs.
 * Thread: main, alone: nothing is started. */
#ifndef APP_TEALD_AGAINST_H
#define APP_TEALD_AGAINST_H

#include "base/err.h"
#include "model/config.h"

/* Asks the teald on that admin socket what it obeys, and writes the plan of config
 * to stdout.  E_USAGE, E_DENIED, E_INTERNAL with the reason: it does not answer, may not tell us,
 * or is of a release without `config`.  Waits at most some seconds. */
MUST_USE enum err against_print(const char *socket, const struct config *config, struct why *why);

#endif
