/* fuzz_kube_node.c - lists, events and statuses of nodes: whatever the bytes, what is taken has a name and a form
 * that the pool can go by. */
#include <stdint.h>
#include <string.h>

#include "base/check.h"
#include "model/kube_node.h"
#include "model/watched.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
look(const struct kube_node *n)
{
	char form[KUBE_NAME];

	CHECK(n->name[0] != '\0' && memchr(n->name, '\0', sizeof(n->name)) != NULL);
	CHECK(n->host[0] == '\0' || (kube_host_form(n->host, form) && strcmp(n->host, form) == 0));
	CHECK(n->taint[0] == '\0' || n->signals & KUBE_TAINTED);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char *const taints[] = { (char *)(uintptr_t) "going:NoExecute" };
	static const struct quorum half = { .value = 50, .percent = true };
	const struct kube_terms terms = { "InternalIP", taints, 1 };
	struct str json = { (const char *)data, size };
	struct watched_set s = { 0 };
	char message[KUBE_MESSAGE];
	struct kube_event e;
	struct kube_page p;
	struct why why;

	if (kube_page_read(json, &terms, &p, &why) == OK) {
		for (size_t i = 0; i < p.n; i++)
			look(&p.list[i]);
		if (watched_replace(&s, p.list, p.n, 1))
			(void)watched_decide(&s, &half, 1, 0);
		kube_page_free(&p);
	}
	if (kube_event_read(json, &terms, &e, &why) == OK && (e.kind == KUBE_EVENT_NODE || e.kind == KUBE_EVENT_GONE)) {
		look(&e.node);
		(void)watched_put(&s, &e.node, 2);
	}
	for (size_t i = 1; i < s.n; i++)
		CHECK(strcmp(s.list[i - 1].node.name, s.list[i].node.name) < 0);
	watched_free(&s);
	kube_status_read(json, message);
	return 0;
}
