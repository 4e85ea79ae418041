/* proxy_needs.c - what the proxy is, and what its services need of the process.
 * Thread: main. */
#include "data/proxy.h"
#include "model/route.h"

/* What a worker's pipes for splicing may come to. */
#define PIPES_EACH (2 * PROXY_PIPES)
/* What a service without a limit counts as. */
#define UNLIMITED 500000

const struct engine_class proxy_class = { .kind = ENGINE_PROXY, .name = "proxy", .proxies = true };

void
proxy_needs(const struct config *config, struct engine_needs *out)
{
	struct bindings all;
	uint64_t most = 0;

	bindings_make(config, NULL, &all);
	/* Every worker has a socket of its own for each address. */
	*out = (struct engine_needs){ .descriptors = (uint64_t)PIPES_EACH * config->workers,
				      .listeners = (uint64_t)all.n * config->workers };
	bindings_free(&all);
	for (size_t i = 0; i < config->n_services; i++) {
		const struct service_config *s = &config->services[i];
		uint64_t its;

		if (s->engine != ENGINE_PROXY)
			continue;
		its = 2 * (uint64_t)(s->max_connections > 0 ? s->max_connections : UNLIMITED);
		if (s->limits.queue_timeout > 0)
			its += 2 * (uint64_t)s->limits.queue;
		out->descriptors += its;
		if (its > most)
			most = its;
	}
	out->least = (uint64_t)PIPES_EACH * config->workers + most;
}
