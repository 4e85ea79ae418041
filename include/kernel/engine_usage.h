/* engine_usage.h - private to the engine: how the kernel's table does, for the
 * engine's gauges and its object in `status`.
 * Thread: main. */
#ifndef KERNEL_ENGINE_USAGE_H
#define KERNEL_ENGINE_USAGE_H

#include "kernel/flows.h"
#include "model/engine.h"

struct kernel_usage {
	const char *table;	/* of rules; the engine's */
	const char *trouble;	/* why the kernel does not take what we say; "": it does */
	struct flows_usage flows;
	enum shortcut_mode shortcut;	/* that is configured */
	const char *no_shortcut;	/* why it is not there; "" */
	char interfaces[256];	/* that have it, with commas */
};

void kernel_usage(const struct engine *e, struct kernel_usage *out);

#endif
