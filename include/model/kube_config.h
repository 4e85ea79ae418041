/* kube_config.h - of a configuration: a pool whose nodes a Kubernetes API tells.
 * Part of the immutable tree (model/config.h). */
#ifndef MODEL_KUBE_CONFIG_H
#define MODEL_KUBE_CONFIG_H

#include <stdbool.h>
#include <stddef.h>

#include "model/quorum.h"
#include "proto/http_url.h"

/* Of a pool that is watched: of labels of metrics, and of a file's name; with NUL. */
#define KUBE_POOL_NAME 64

/* status.addresses[].type, by the words of the API. */
enum kube_address { KUBE_INTERNAL_IP, KUBE_EXTERNAL_IP, KUBE_HOSTNAME, KUBE_INTERNAL_DNS, KUBE_EXTERNAL_DNS };

struct kube_config {
	struct http_url *servers;	/* of API servers of one cluster, tried in turn */
	size_t n_servers;	/* 0: the kubeconfig names one */
	char *kubeconfig;	/* a file that says the next four, and a server; read again for every request; NULL: none */
	char *context;	/* of that file; NULL: its current-context */
	char *named;	/* the server that the file named when this was read; NULL: none, or it could not be read */
	char *token_file;	/* Authorization: Bearer, read again for every request; NULL: none is sent */
	char *ca;	/* NULL: the system's */
	char *cert, *key;	/* the client's; NULL: none, and key: in the file of the certificate */
	char *selector;	/* labelSelector; NULL: every node */
	enum kube_address address;	/* InternalIP */
	char **taints;	/* that drain: "key" or "key:Effect" */
	size_t n_taints;
	double drain_timeout;	/* 60.0 seconds: connections to a node that is about to be taken down end within */
	struct quorum min_ready;	/* 50%: cordons count while so many of the pool stay ready */
};

/* All keys have the same values. */
bool kube_config_same(const struct kube_config *a, const struct kube_config *b);
/* Of what decides which nodes there are and what becomes of each: servers, selector, address, taints and min_ready, not how the API is
 * convinced.  Where it is the same, so is the answer. */
#define KUBE_DIGEST 9	/* with NUL */
const char *kube_config_digest(const struct kube_config *k, char out[KUBE_DIGEST]);
/* As the API writes it: "InternalIP". */
const char *kube_address_word(enum kube_address a);

#endif
