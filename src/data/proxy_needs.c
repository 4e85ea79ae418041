/* proxy_needs.c - what the proxy is, and what its services need of the process.
 * Thread: main. */
#include <stdio.h>

#include "data/proxy.h"
#include "model/route.h"

/* What a worker's pipes for splicing may come to. */
#define PIPES_EACH (2 * PROXY_PIPES)
/* What a service without a limit counts as. */
#define UNLIMITED 500000

static bool
read_clients(const struct engine *e, uint64_t *value)
{
	*value = atomic_load_explicit(&e->clients->held, memory_order_relaxed);
	return true;
}

static bool
read_clients_max(const struct engine *e, uint64_t *value)
{
	*value = atomic_load_explicit(&e->clients->limit, memory_order_relaxed);
	return *value > 0;
}

static bool
read_pauses(const struct engine *e, uint64_t *value)
{
	*value = atomic_load_explicit(&container_of(e, const struct proxy, engine)->pauses, memory_order_relaxed);
	return true;
}

/* Of all workers that counter, at `at` of struct worker. */
static uint64_t
sum_of_workers(const struct engine *e, size_t at)
{
	const struct proxy *p = container_of(e, struct proxy, engine);
	uint64_t sum = 0;

	for (unsigned i = 0; i < p->n_workers; i++)
		sum += tally_read((const _Atomic uint64_t *)((uintptr_t)&p->workers[i] + at));
	return sum;
}

static bool
read_http2_connections(const struct engine *e, uint64_t *value)
{
	*value = sum_of_workers(e, offsetof(struct worker, http2_connections));
	return true;
}

/* Counted one after the other: one that changes its version meanwhile is in both. */
static bool
read_http1_connections(const struct engine *e, uint64_t *value)
{
	uint64_t http2 = sum_of_workers(e, offsetof(struct worker, http2_connections));
	uint64_t all = sum_of_workers(e, offsetof(struct worker, http_connections));

	*value = all > http2 ? all - http2 : 0;
	return true;
}

static bool
read_flows(const struct engine *e, uint64_t *value)
{
	*value = atomic_load_explicit(&container_of(e, const struct proxy, engine)->flows.held, memory_order_relaxed);
	return true;
}

static bool
read_http2_streams(const struct engine *e, uint64_t *value)
{
	*value = sum_of_workers(e, offsetof(struct worker, http2_streams));
	return true;
}

static bool
read_http2_upstreams(const struct engine *e, uint64_t *value)
{
	*value = sum_of_workers(e, offsetof(struct worker, http2_upstreams));
	return true;
}

static bool
read_flows_max(const struct engine *e, uint64_t *value)
{
	*value = atomic_load_explicit(&container_of(e, const struct proxy, engine)->flows.limit, memory_order_relaxed);
	return true;
}

/* Half of what connections have, and three quarters of the ports of which each flow has one (ip(7),
 * ip_local_port_range): a flood of senders leaves the rest to others, of this process and of this machine. */
void
proxy_share_flows(struct proxy *p)
{
	uint32_t clients = atomic_load_explicit(&p->clients.limit, memory_order_relaxed);
	uint32_t share = atomic_load_explicit(&p->descriptors.limit, memory_order_relaxed) / 2;
	unsigned low = 32768, high = 60999;
	FILE *f = fopen("/proc/sys/net/ipv4/ip_local_port_range", "re");

	if (f != NULL) {
		if (fscanf(f, "%u %u", &low, &high) != 2 || high < low)
			low = high = 0;
		fclose(f);
	}
	if (clients > 0 && clients / 2 < share)
		share = clients / 2;
	if ((high - low + 1) / 4 * 3 < share)
		share = (high - low + 1) / 4 * 3;
	admission_set_limit(&p->flows, share > 0 ? share : 1);
}

/* Without max_connections: what the descriptors are enough for if each client has a backend. */
static void
write_proxy_status(const struct engine *e, struct json *j)
{
	const struct proxy *p = container_of(e, const struct proxy, engine);
	uint32_t limit = atomic_load_explicit(&p->clients.limit, memory_order_relaxed);
	uint32_t descriptors = atomic_load_explicit(&p->descriptors.limit, memory_order_relaxed);
	bool by_descriptors = limit == 0 || limit > descriptors / 2;
	uint64_t http1, http2, streams;

	json_u64(j, "connections", atomic_load_explicit(&p->clients.held, memory_order_relaxed));
	json_u64(j, "max_connections", by_descriptors ? descriptors / 2 : limit);
	json_cstr(j, "limited_by", by_descriptors ? "descriptors" : "max_connections");
	json_bool(j, "paused", admission_is_full(&p->clients) ||
				       atomic_load_explicit(&p->descriptors.held, memory_order_relaxed) + 2 > descriptors);
	(void)read_http1_connections(e, &http1);
	(void)read_http2_connections(e, &http2);
	(void)read_http2_streams(e, &streams);
	json_object(j, "http1");
	json_u64(j, "connections", http1);
	json_object_end(j);
	json_object(j, "http2");
	json_u64(j, "connections", http2);
	json_u64(j, "streams", streams);
	json_object_end(j);
}

#define HTTP_CONNECTIONS "Connections of clients of services of HTTP after their handshakes, by what they speak."

static const struct engine_gauge gauges[] = {
	{ "teal_client_connections", PROM_GAUGE,
	  "Connections of clients of all services, in handshakes, previews and between requests too: those that count for "
	  "the max_connections of the process.", read_clients, NULL, NULL },
	{ "teal_client_connections_max", PROM_GAUGE,
	  "The max_connections of the process; absent where descriptors alone limit it.", read_clients_max, NULL, NULL },
	{ "teal_http_connections", PROM_GAUGE, HTTP_CONNECTIONS, read_http1_connections, "protocol", "HTTP/1" },
	{ "teal_http_connections", PROM_GAUGE, HTTP_CONNECTIONS, read_http2_connections, "protocol", "HTTP/2" },
	{ "teal_http2_streams", PROM_GAUGE, "Streams of clients of HTTP/2 under way: requests, and answers that wait for their windows.",
	  read_http2_streams, NULL, NULL },
	{ "teal_http2_backend_connections", PROM_GAUGE, "Connections to backends that speak HTTP/2.", read_http2_upstreams, NULL, NULL },
	{ "teal_accept_pauses_total", PROM_COUNTER,
	  "Times that a worker paused accepting, for a tenth of a second or until something came free: at the max_connections "
	  "of the process, or out of descriptors.", read_pauses, NULL, NULL },
	{ "teal_udp_flows", PROM_GAUGE, "Flows of UDP of all services of engine proxy, previews too.", read_flows, NULL, NULL },
	{ "teal_udp_flows_max", PROM_GAUGE,
	  "How many there can be: a share of descriptors, max_connections and net.ipv4.ip_local_port_range, so that others have some left.",
	  read_flows_max, NULL, NULL },
};

const struct engine_class proxy_class = {
	.kind = ENGINE_PROXY,
	.name = "proxy",
	.proxies = true,
	.gauges = gauges,
	.n_gauges = ARRAY_LEN(gauges),
	.status = write_proxy_status,
};

void
proxy_needs(const struct config *config, struct engine_needs *out)
{
	struct bindings all;
	uint64_t most = 0, sum = 0;

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
		its = (s->mode == MODE_UDP ? 1 : 2) * (uint64_t)(s->max_connections > 0 ? s->max_connections : UNLIMITED);
		if (s->limits.queue_timeout > 0)
			its += 2 * (uint64_t)s->limits.queue;
		sum += its;
		/* The built-in number is none that the file asks for. */
		if (s->own_max && s->max_connections > 0 && its > most)
			most = its;
	}
	if (config->max_connections > 0) {
		if (sum > 2 * (uint64_t)config->max_connections)
			sum = 2 * (uint64_t)config->max_connections;
		most = sum;
	}
	/* Pipes are fewer where descriptors are. */
	out->least = most > 0 ? out->descriptors + most : 0;
	out->descriptors += sum;
}
