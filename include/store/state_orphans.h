/* state_orphans.h - services that the state has a flipped color of and the configuration names neither so nor
 * as a former name: perhaps one has another name now, and traffic would silently begin with `initial`.
 * Thread: main, or that of a check before there is any other. */
#ifndef STORE_STATE_ORPHANS_H
#define STORE_STATE_ORPHANS_H

#include "model/config.h"
#include "store/state_file.h"

/* The first of them by name in *first, NULL: none; returns how many there are. */
size_t state_orphans(const struct state *s, const struct config *config, const struct state_service **first);
/* The state would have this one begin with its initial color: not known by its name, nor by `rename`. */
bool state_begins(const struct state *s, const struct service_config *sc);

#endif
