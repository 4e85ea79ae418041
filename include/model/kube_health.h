/* kube_health.h - what kube-proxy answers about a node, and about a Service on it.
 * Sources: kubernetes.io, "Virtual IPs and Service Proxies" (traffic policies), "Create an External Load
 * Balancer" (healthCheckNodePort) and KEP-3836 (nodeEligible).  Two servers, both of GET /healthz:
 * port 10256 tells of kube-proxy and the node as a whole; the healthCheckNodePort of a Service with
 * externalTrafficPolicy Local counts its ready endpoints on the node.  Both say 503 where a load
 * balancer is to send nothing new.  Pure. */
#ifndef MODEL_KUBE_HEALTH_H
#define MODEL_KUBE_HEALTH_H

#include "base/str.h"

/* Names a number of endpoints, as the body does in localEndpoints; it wins over that. */
#define KUBE_WEIGHT_HEADER "X-Load-Balancing-Endpoint-Weight"
#define KUBE_PROXY_PORT 10256
#define KUBE_HEALTH_PATH "/healthz"

struct kube_health {
	bool counted;	/* endpoints is known */
	unsigned endpoints;
	bool ineligible;	/* "nodeEligible": false: the node is being taken out of the cluster */
	bool unwell;	/* "serviceProxyHealthy": false: kube-proxy has not written its rules for long */
};

/* header: the value of that header, empty where there is none.  What makes no sense counts as not said. */
void kube_health_read(struct str header, struct str body, struct kube_health *out);
/* Why nothing new is to go there: "HTTP status 503: no endpoints on the node". */
void kube_health_reason(const struct kube_health *k, unsigned status, char *out, size_t n);

#endif
