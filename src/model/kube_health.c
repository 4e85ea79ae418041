/* kube_health.c - reads kube-proxy's answers to health checks.  Any thread. */
#include <jansson.h>
#include <stdio.h>

#include "model/kube_health.h"

#define ENDPOINTS_MAX 1000000

static void
read_body(struct str body, struct kube_health *out)
{
	json_t *top = json_loadb(body.p, body.n, JSON_REJECT_DUPLICATES, NULL), *endpoints;

	if (top == NULL)
		return;
	endpoints = json_object_get(top, "localEndpoints");
	if (json_is_integer(endpoints) && json_integer_value(endpoints) >= 0 &&
	    json_integer_value(endpoints) <= ENDPOINTS_MAX) {
		out->counted = true;
		out->endpoints = (unsigned)json_integer_value(endpoints);
	}
	out->ineligible = json_is_false(json_object_get(top, "nodeEligible"));
	out->unwell = json_is_false(json_object_get(top, "serviceProxyHealthy"));
	json_decref(top);
}

void
kube_health_read(struct str header, struct str body, struct kube_health *out)
{
	uint64_t n;

	*out = (struct kube_health){ .counted = false };
	if (body.n > 0)
		read_body(body, out);
	if (str_to_u64(header, ENDPOINTS_MAX, &n)) {
		out->counted = true;
		out->endpoints = (unsigned)n;
	}
}

void
kube_health_reason(const struct kube_health *k, unsigned status, char *out, size_t n)
{
	const char *why = k->ineligible			     ? ": the node is leaving the cluster" :
			  k->unwell			     ? ": kube-proxy is not healthy" :
			  k->counted && k->endpoints == 0 ? ": no endpoints on the node" :
								"";

	snprintf(out, n, "HTTP status %u%s", status, why);
}
