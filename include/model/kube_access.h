/* kube_access.h - where an API server is and what it is shown: what a pool's keys say, or a file of kubectl's
 * (kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig).
 * Values with memory of their own; any one thread. */
#ifndef MODEL_KUBE_ACCESS_H
#define MODEL_KUBE_ACCESS_H

#include <sys/types.h>

#include "base/err.h"
#include "base/str.h"
#include "model/kube_config.h"

struct ssl_ctx_st;

/* Every text is owned; NULL: it is not said.  What a file says in itself (…_pem) wins over the file it names. */
struct kube_access {
	struct http_url server;	/* of the kubeconfig; at.host "": the pool's keys name the servers */
	char *server_name;	/* that the server's certificate must carry; NULL: the host of its URL */
	char *ca, *ca_pem;	/* NULL both: the system's */
	char *token, *token_file;	/* a file wins over a token that stands beside it */
	char *cert, *cert_pem;	/* the client's certificate */
	char *key, *key_pem;	/* NULL both: it is in the file of the certificate */
};

/* Reads a kubeconfig, YAML or JSON.  path: what it is called in messages, and what its relative paths begin at.  context: NULL: its
 * current-context.  E_USAGE with "PATH:LINE: what is wrong", which never shows a secret; *out holds nothing then. */
MUST_USE enum err kube_access_parse(struct str text, const char *path, const char *context, struct kube_access *out, struct why *why);
/* What the pool's keys come to, its kubeconfig read.  mode, unless NULL: of that file, 0 without one.  E_USAGE as above.  Blocks as
 * file systems do. */
MUST_USE enum err kube_access_read(const struct kube_config *config, struct kube_access *out, mode_t *mode, struct why *why);
void kube_access_free(struct kube_access *a);

/* The token, read from its file where there is one; NULL: none is sent.  *token is the caller's, for secret_free().  mode as
 * above, of that file. */
MUST_USE enum err kube_access_token(const struct kube_access *a, char **token, mode_t *mode, struct why *why);
/* TLS with what it says; *context is the caller's. */
MUST_USE enum err kube_access_tls(const struct kube_access *a, struct ssl_ctx_st **context, struct why *why);

#endif
