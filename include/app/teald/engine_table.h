/* engine_table.h - the engines that teald has: one row for each kind.
 * Thread: main. */
#ifndef APP_TEALD_ENGINE_TABLE_H
#define APP_TEALD_ENGINE_TABLE_H

#include "model/engine.h"

/* In the order of enum engine_kind. */
extern const struct engine_class *const engine_classes[ENGINES];

/* What all of them need for that configuration. */
void engine_table_needs(const struct config *config, struct engine_needs *out);

#endif
