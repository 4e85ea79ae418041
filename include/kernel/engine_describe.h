/* engine_describe.h - private to the engine: its configuration in the words of
 * the ruleset.
 * Thread: main. */
#ifndef KERNEL_ENGINE_DESCRIBE_H
#define KERNEL_ENGINE_DESCRIBE_H

#include "kernel/ruleset.h"

/* The table that config asks for, with its services of engine "kernel" in
 * config's order; what it points to is config's and owner, but for the list of
 * services, which is the caller's to free(). */
struct ruleset_config kernel_describe(const struct config *config, const char *owner);

#endif
