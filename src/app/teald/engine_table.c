/* engine_table.c - the one place that lists what engines there are.  Thread: main. */
#include "app/teald/engine_table.h"
#include "app/teald/kernel_services.h"
#include "data/proxy.h"
#include "kernel/engine.h"

const struct engine_class *const engine_classes[ENGINES] = { &proxy_class, &kernel_class };

void
engine_table_needs(const struct config *config, struct engine_needs *out)
{
	static void (*const needs[])(const struct config *, struct engine_needs *) = { proxy_needs, kernel_services_needs };

	*out = (struct engine_needs){ 0 };
	for (size_t i = 0; i < ARRAY_LEN(needs); i++) {
		struct engine_needs one;

		needs[i](config, &one);
		out->descriptors += one.descriptors;
		out->least += one.least;
		out->listeners += one.listeners;
		out->capabilities |= one.capabilities;
	}
}
