/* startup.h - what teald does to its process before it serves: descriptors,
 * folders, privileges.
 * Thread: main, before any other exists. */
#ifndef APP_TEALD_STARTUP_H
#define APP_TEALD_STARTUP_H

#include <stdint.h>

#include "base/err.h"
#include "model/engine.h"

/* Raises RLIMIT_NOFILE to two descriptors for each connection of each limit,
 * and a reserve; logs a warning naming both numbers when it falls short.
 * Returns how many descriptors connections may use; the rest is kept for the
 * admin socket, metrics, checks and pipes. */
uint32_t startup_descriptors(const struct engine_needs *needs);

/* Makes state_dir if only its last part is missing, and gives it to the user
 * that teald will run as. */
MUST_USE enum err startup_state_dir(const struct config *config, struct why *why);

/* Becomes config->user, for good.  Nothing to do when none is named.
 * keep: capabilities that stay, bits, and CAP_NET_BIND_SERVICE, nothing else. */
MUST_USE enum err startup_drop_privileges(const struct config *config, uint64_t keep, struct why *why);
/* Which of those, bits, this thread has. */
MUST_USE uint64_t startup_capabilities(uint64_t bits);
/* Unless root is to serve, gives those capabilities up too: threads that were started
 * before still have them, those that are started from now on do not. */
MUST_USE enum err startup_drop_capabilities(uint64_t bits, struct why *why);

#endif
