/* kube_node.h - what a Kubernetes API says of nodes (core/v1 Node, NodeList, and the
 * events of a watch: kubernetes.io/docs/reference/using-api/api-concepts).
 * Of the large objects only what decides about traffic is kept.
 * Pure; memory is bounded by what is given to it. */
#ifndef MODEL_KUBE_NODE_H
#define MODEL_KUBE_NODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

/* Of metadata.name (RFC 1123: 253 bytes), and of an address; with NUL. */
#define KUBE_NAME 254
/* Of a taint that drains, "KEY:EFFECT" (317 and 16 bytes); with NUL. */
#define KUBE_TAINT 352
/* Of a resourceVersion; opaque, in practice digits; with NUL. */
#define KUBE_VERSION 64
/* Of a sentence of the API; with NUL. */
#define KUBE_MESSAGE 200

/* Bits of kube_node.signals. */
#define KUBE_EXCLUDED 1	/* label node.kubernetes.io/exclude-from-external-load-balancers, whatever its value */
#define KUBE_TAINTED 2	/* ToBeDeletedByClusterAutoscaler, or one of the terms' taints */
#define KUBE_DELETING 4	/* metadata.deletionTimestamp */
#define KUBE_CORDONED 8	/* spec.unschedulable */
#define KUBE_NOT_READY 16	/* the condition Ready is not True, or missing */

struct kube_node {
	char name[KUBE_NAME];	/* never "" */
	char host[KUBE_NAME];	/* its first address of the wanted type, an IP address in its usual form; "": it has none */
	uint64_t version;	/* resourceVersion as a number; 0: it is none */
	unsigned signals;
	char taint[KUBE_TAINT];	/* the first one that drains; "": none */
};

/* What is looked for in nodes; borrowed. */
struct kube_terms {
	const char *address;	/* status.addresses[].type: "InternalIP" */
	char *const *taints;	/* "KEY" or "KEY:EFFECT" */
	size_t n_taints;
};

/* One page of a list. */
struct kube_page {
	struct kube_node *list;	/* an array of n, owned */
	size_t n;
	char version[KUBE_VERSION];	/* of the list: where a watch begins */
	char *next;	/* the token for `continue`, owned; NULL: this was the last page */
};
void kube_page_free(struct kube_page *p);

/* Reads a NodeList.  OK: *out is the caller's, for kube_page_free().  E_STORE with the reason: it is no
 * such list, or not whole; *out holds nothing then. */
MUST_USE enum err kube_page_read(struct str json, const struct kube_terms *terms, struct kube_page *out, struct why *why);

enum kube_event_kind {
	KUBE_EVENT_NODE,	/* ADDED or MODIFIED: this is what it is now */
	KUBE_EVENT_GONE,	/* DELETED: what it was last */
	KUBE_EVENT_BOOKMARK,	/* nothing but the version */
	KUBE_EVENT_ERROR	/* a Status: the watch is over */
};

struct kube_event {
	enum kube_event_kind kind;
	struct kube_node node;	/* of NODE and GONE */
	char version[KUBE_VERSION];	/* not of ERROR */
	unsigned code;	/* of ERROR: as HTTP's; 410: list again */
	char message[KUBE_MESSAGE];	/* of ERROR */
};

/* Reads one line of a watch, without its end.  E_STORE with the reason: it is no event of a node. */
MUST_USE enum err kube_event_read(struct str json, const struct kube_terms *terms, struct kube_event *out, struct why *why);

/* The sentence of a Status, as answers other than 200 have it; "" where there is none. */
void kube_status_read(struct str json, char message[KUBE_MESSAGE]);

/* The one form of an address or name: an IP address as inet_ntop(3) writes it, a name in small letters.  False: it is
 * neither. */
bool kube_host_form(const char *text, char host[KUBE_NAME]);

/* resourceVersion as a number: those of one resource can be compared where both are numbers.  0: it is none. */
uint64_t kube_version_number(const char *version);

#endif
